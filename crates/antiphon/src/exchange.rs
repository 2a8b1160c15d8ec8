//! One HTTP/1.1 request on a connection that may change hands afterwards: the opening handshake, and a proxy's CONNECT.

use std::{pin::pin, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{Request, response};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout_at},
};

/// Longest head of an answer in bytes.
pub(crate) const MAX_HEAD: usize = 16 * 1024;
/// Most header fields of an answer.
const MAX_HEADERS: usize = 100;
/// How much of a refusal's body is kept, in bytes.
pub(crate) const MAX_REFUSAL_BODY: usize = 1024;
/// Wait for a refusal's body; the refusal itself is more important than the rest of its text.
const REFUSAL_BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// How the other side answered.
pub(crate) enum Answer<T> {
    /// It switched protocols (101, or 2xx to CONNECT): the connection, and bytes that came behind the answer's head.
    Switched(response::Parts, T, Bytes),
    /// It answered as HTTP: the head and the beginning of the body.
    Refused(response::Parts, Bytes),
}

/// Sends the request and reads the answer's head, and takes the connection back if the protocol was switched.
///
/// # Cancel safety
///
/// Dropping the future drops the connection: nothing runs in the background.
pub(crate) async fn exchange<T>(io: T, request: Request<()>) -> hyper::Result<Answer<T>>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_header_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .title_case_headers(true)
        .handshake(TokioIo::new(io))
        .await?;
    let mut connection = pin!(connection.without_shutdown());
    let mut finished = None;
    let mut sending = pin!(sender.send_request(request.map(|()| Empty::<Bytes>::new())));

    // The connection may end in the same breath as the answer arrives; the answer decides.
    let response = loop {
        tokio::select! {
            biased;
            response = &mut sending => break response,
            end = &mut connection, if finished.is_none() => finished = Some(end),
        }
    };
    let response = match (response, finished) {
        (Ok(response), ended) => {
            finished = ended;
            response
        }
        // hyper tells the waiting request only that it was dropped; the connection knows why.
        (Err(error), Some(Err(cause))) if error.is_canceled() => return Err(cause),
        (Err(error), _) => return Err(error),
    };
    let (head, body) = response.into_parts();
    if head.extensions.get::<hyper::upgrade::OnUpgrade>().is_some() {
        let parts = match finished {
            Some(end) => end?,
            None => connection.await?,
        };
        // An empty `Bytes` from here still owns hyper's read buffer; a copy does not.
        let read_ahead = if parts.read_buf.is_empty() {
            Bytes::new()
        } else {
            Bytes::copy_from_slice(&parts.read_buf)
        };
        return Ok(Answer::Switched(head, parts.io.into_inner(), read_ahead));
    }

    let mut reading = pin!(beginning(body));
    let text = loop {
        tokio::select! {
            biased;
            text = &mut reading => break text,
            end = &mut connection, if finished.is_none() => finished = Some(end),
        }
    };
    Ok(Answer::Refused(head, text))
}

/// The beginning of a refusal's body: up to [`MAX_REFUSAL_BODY`] bytes, or what has come when it stalls.
pub(crate) async fn beginning(mut body: Incoming) -> Bytes {
    let deadline = Instant::now() + REFUSAL_BODY_TIMEOUT;
    let mut text = BytesMut::new();
    while text.len() < MAX_REFUSAL_BODY {
        let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await else {
            break;
        };
        if let Some(data) = frame.data_ref() {
            text.extend_from_slice(&data[..data.len().min(MAX_REFUSAL_BODY - text.len())]);
        }
    }
    text.freeze()
}
