//! A handler's turns: all that it sends between two waits leaves in one write; and how its outcome ends the socket.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use antiphon_proto::close::{CloseCode, CloseFrame};

use crate::{
    error::Result,
    panic::Panicked,
    shutdown::{Bell, Phase},
    socket::{Shared, WebSocket},
    stats::{Counters, OpenSocket, count},
};

/// A part of a handler: what it sends meanwhile leaves in one write afterwards. It may panic.
///
/// A peer that pipelines sixteen messages is read once and answered once, by a handler that knows nothing of it.
fn turn<T>(socket: &Shared, part: impl FnOnce() -> T) -> Result<T, Panicked> {
    socket.lock().cork();
    let outcome = catch_unwind(AssertUnwindSafe(part));
    socket.lock().uncork();
    outcome.map_err(|_| Panicked)
}

/// The task of a socket on a server: runs the handler, and closes the socket as its outcome says. When the server
/// shuts down the socket is closed with 1001, and dropped at the end.
///
/// It is written by hand because it is most of what an idle connection weighs: nested `async` blocks would hold the
/// handler several times. It belongs into a task by itself.
pub(crate) struct Session<F, K> {
    /// None once it has ended, or where it panicked before its first wait. In memory of its own: tokio aligns a task to
    /// 128 bytes, which allocators round up to a power of two, so that a task is to have 256 bytes and no more.
    handler: Option<Pin<Box<F>>>,
    shared: Arc<Shared>,
    open: OpenSocket,
    _keep: K,
    /// Dropped last: whoever waits for the end of the server then finds nothing counted as open.
    bell: Bell,
}

impl<F, K> Session<F, K>
where
    F: Future<Output = Result<()>>,
{
    /// Begins to run a handler. `keep` lives as long as the socket.
    pub(crate) fn new(
        handler: impl FnOnce(WebSocket) -> F,
        socket: WebSocket,
        bell: Bell,
        open: OpenSocket,
        keep: K,
    ) -> Self {
        let shared = Arc::clone(socket.shared());
        let handler = turn(&shared, || Box::pin(handler(socket))).ok();
        if handler.is_none() {
            conclude(&shared, open.counters(), Err(Panicked));
        }
        Self {
            handler,
            shared,
            open,
            _keep: keep,
            bell,
        }
    }
}

impl<F, K> Future for Session<F, K>
where
    F: Future<Output = Result<()>>,
    K: Unpin,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let phase = this.bell.poll(cx);
        if phase == Phase::Aborting {
            return Poll::Ready(());
        }
        if let Some(handler) = &mut this.handler {
            let mut polled = turn(&this.shared, || handler.as_mut().poll(cx));
            // Not before the handler's turn: what it is about to close with goes first.
            if phase == Phase::Draining && !this.bell.told && matches!(polled, Ok(Poll::Pending)) {
                this.bell.told = true;
                start_close(&this.shared, CloseCode::GOING_AWAY, "server shutting down");
                polled = turn(&this.shared, || handler.as_mut().poll(cx));
            }
            let outcome = match polled {
                Ok(polled) => Ok(ready!(polled)),
                Err(panicked) => Err(panicked),
            };
            this.handler = None;
            conclude(&this.shared, this.open.counters(), outcome);
        }
        this.shared.lock().poll_closed(cx).map(drop)
    }
}

/// Closes the socket as the handler's outcome says.
fn conclude(shared: &Shared, counters: &Counters, outcome: Result<Result<()>, Panicked>) {
    match outcome {
        Ok(Ok(())) => start_close(shared, CloseCode::NORMAL, ""),
        Ok(Err(error)) => {
            count(&counters.handler_errors);
            tracing::debug!(?error, "a socket handler ended with an error");
            start_close(shared, CloseCode::INTERNAL_ERROR, "");
        }
        Err(_panicked) => {
            count(&counters.handler_panics);
            tracing::error!("a socket handler panicked; its socket is closed with 1011");
            start_close(shared, CloseCode::INTERNAL_ERROR, "");
        }
    }
}

fn start_close(shared: &Shared, code: CloseCode, reason: &'static str) {
    if let Err(error) = shared.start_close(CloseFrame::new(code, reason)) {
        tracing::debug!(?error, "a socket could not be closed");
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
    };

    use antiphon_proto::config::{Config, Role};
    use tokio::sync::Notify;

    use super::*;
    use crate::{counting::Counting, shutdown::Shutdown, socket::WebSocket};

    /// A handler in its turns, and what it comes to.
    async fn run<F: Future>(socket: Arc<Shared>, handler: F) -> F::Output {
        let mut handler = pin!(handler);
        poll_fn(|cx| turn(&socket, || handler.as_mut().poll(cx)).expect("no panic")).await
    }

    #[tokio::test]
    async fn the_replies_to_one_read_leave_in_one_write() {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let writes = Arc::new(AtomicUsize::new(0));
        let far = Counting(far, Arc::clone(&writes));
        let mut server = WebSocket::from_io(far, Role::Server, Config::default());
        let mut client = WebSocket::from_io(near, Role::Client, Config::default());
        for i in 0..16 {
            client.feed(format!("message {i}")).await.unwrap();
        }
        client.flush().await.unwrap();

        let shared = Arc::clone(server.shared());
        let handler = tokio::spawn(run(shared, async move {
            for _ in 0..17 {
                let message = server.recv().await?.expect("an open connection");
                server.send(message).await?;
            }
            Ok::<_, crate::error::Error>(server)
        }));
        for i in 0..16 {
            let reply = client.recv().await.unwrap().unwrap();
            assert_eq!(reply.as_text(), Some(&*format!("message {i}")));
        }
        assert_eq!(writes.load(Relaxed), 1);
        client.send("last").await.unwrap();
        assert_eq!(
            client.recv().await.unwrap().unwrap().as_text(),
            Some("last")
        );
        let _open = handler.await.unwrap().unwrap();
        assert_eq!(writes.load(Relaxed), 2);
    }

    /// The ping goes out when the turn ends; its deadline holds all the same, and so does that of a peer that takes
    /// nothing.
    #[tokio::test(start_paused = true)]
    async fn deadlines_hold_in_a_handlers_turns() {
        for (reply, seconds) in [(0, 35), (100_000, 10)] {
            let (_near, far) = tokio::io::duplex(1024);
            let mut server = WebSocket::from_io(far, Role::Server, Config::default());
            let shared = Arc::clone(server.shared());
            let start = tokio::time::Instant::now();
            let handler = async move {
                if reply > 0 {
                    server.feed(vec![0; reply]).await?;
                }
                server.recv().await
            };
            let error = run(shared, handler).await.unwrap_err();
            assert_eq!(*error.kind(), crate::error::ErrorKind::Timeout);
            assert_eq!(start.elapsed().as_secs(), seconds);
        }
    }

    /// Whoever drains its sockets with a code of its own ends the server right after: the code goes first.
    #[tokio::test]
    async fn what_a_handler_is_about_to_close_with_goes_before_the_servers_own() {
        for (tells, code) in [(true, 1012), (false, 1001)] {
            let (near, far) = tokio::io::duplex(1024);
            let server = WebSocket::from_io(far, Role::Server, Config::default());
            let mut client = WebSocket::from_io(near, Role::Client, Config::default());
            let (shutdown, told) = (Shutdown::new(), Arc::new(Notify::new()));
            let waits = Arc::clone(&told);
            let handler = move |socket: WebSocket| async move {
                waits.notified().await;
                socket.close(CloseCode::SERVICE_RESTART, "restart").await?;
                Ok(())
            };
            let open = OpenSocket::new(&Arc::default());
            let session = Session::new(handler, server, shutdown.bell(), open, ());
            let session = tokio::spawn(session);
            tokio::task::yield_now().await;
            if tells {
                told.notify_one();
            }
            shutdown.advance(Phase::Draining);
            assert_eq!(client.recv().await.unwrap(), None);
            let close = client.close_frame().expect("a Close frame");
            assert_eq!(u16::from(close.code), code);
            drop(client);
            told.notify_one();
            session.await.unwrap();
        }
    }
}
