//! A handler's turn: all that it sends between two waits leaves in one write.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use crate::socket::Shared;

/// Runs a handler of the socket and writes its output whenever it waits, and when it ends.
///
/// A peer that pipelines sixteen messages is read once and answered once, by a handler that knows nothing of it.
pub(crate) fn run<F: Future>(socket: Arc<Shared>, handler: F) -> Turns<F> {
    Turns { socket, handler }
}

pin_project! {
    /// See [`run`]. Written out, so that the handler's memory is there once.
    pub(crate) struct Turns<F> {
        socket: Arc<Shared>,
        #[pin]
        handler: F,
    }
}

impl<F: Future> Future for Turns<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.socket.lock().cork();
        let turn = this.handler.poll(cx);
        this.socket.lock().uncork();
        turn
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        pin::Pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        task::{Context, Poll},
    };

    use antiphon_proto::config::{Config, Role};
    use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

    use super::*;
    use crate::socket::WebSocket;

    /// Counts writes.
    struct Counting(DuplexStream, Arc<AtomicUsize>);

    impl AsyncRead for Counting {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Counting {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.1.fetch_add(1, Relaxed);
            Pin::new(&mut self.0).poll_write(cx, buf)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
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
}
