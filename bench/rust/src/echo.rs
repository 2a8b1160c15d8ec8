//! The best echo that a `Stream` and `Sink` allows: every message that is ready is fed, and flushed once.

use futures_util::{FutureExt as _, Sink, SinkExt as _, Stream, StreamExt as _};

use crate::peer::Fault;

/// Sends back what `wanted` takes, until the peer goes.
///
/// # Errors
///
/// As the stream and the sink.
pub async fn echo<W, M, E>(mut socket: W, wanted: fn(&M) -> bool) -> Result<(), Fault>
where
    W: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin,
    E: Into<Fault>,
{
    while let Some(message) = socket.next().await {
        let mut ready = Some(message);
        while let Some(message) = ready {
            let message = message.map_err(Into::into)?;
            if wanted(&message) {
                socket.feed(message).await.map_err(Into::into)?;
            }
            ready = socket.next().now_or_never().flatten();
        }
        socket.flush().await.map_err(Into::into)?;
    }
    Ok(())
}
