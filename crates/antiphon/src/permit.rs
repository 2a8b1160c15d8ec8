//! A permit to send: many shared frames go out under one lock and, where that is possible, in one write.

use antiphon_proto::sender::Prepared;

use crate::{
    driver::{Driver, shared::Gather},
    error::{Error, ErrorKind, Result},
    socket::Sender,
};

/// Room in the output of a socket, which is locked as long as this lives. See [`Sender::with_permit`].
#[derive(Debug)]
pub struct Permit<'a>(&'a mut Driver);

impl Permit<'_> {
    /// Bytes that may be queued until more than `write_high_water` wait. At least 1.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let connection = self.0.connection();
        let most = connection.config().write_high_water;
        most.saturating_sub(connection.buffered()).max(1)
    }

    /// Sends frames in this order. What the transport does not take at once is queued, also where that is more than there
    /// is room for.
    pub fn send_all<'p, F>(&mut self, frames: F, gather: &mut Gather)
    where
        F: IntoIterator<Item = &'p Prepared, IntoIter: Clone>,
    {
        self.0.send_shared(frames.into_iter(), gather);
    }

    /// Sends what was last sent with this `gather`, to whatever socket, without looking at the frames again. Nothing where
    /// nothing was.
    pub fn send_again(&mut self, gather: &Gather) {
        self.0.send_held(gather);
    }
}

impl Sender {
    /// Calls `send` if there is room for a message, with the socket locked: what it takes out of a queue of its own and
    /// sends stays in order with what other tasks take out of the same queue. It must not use the socket otherwise: that would
    /// wait for the lock that it holds, for ever.
    ///
    /// ```
    /// # use antiphon::{Gather, Prepared, Result, Sender};
    /// # use std::collections::VecDeque;
    /// fn send(senders: &[Sender], queue: &VecDeque<Prepared>) -> Result<()> {
    ///     let mut gather = Gather::new();
    ///     for sender in senders {
    ///         sender.with_permit(|permit| permit.send_all(queue, &mut gather))?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Full`] where more than `write_high_water` bytes wait, or why the connection ended.
    pub fn with_permit<R>(&self, send: impl FnOnce(&mut Permit<'_>) -> R) -> Result<R> {
        let mut driver = self.shared().lock();
        let connection = driver.connection();
        if !connection.is_open() {
            return Err(driver.closed_error());
        }
        if !driver.has_room() || connection.inside_message() {
            return Err(Error::new(
                ErrorKind::Full,
                "too much output waits for the peer to read",
            ));
        }
        Ok(send(&mut Permit(&mut driver)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use antiphon_proto::config::{Config, Role};

    use super::*;
    use crate::{counting::Counting, socket::WebSocket};

    fn frames(count: usize, length: usize) -> Vec<Prepared> {
        (0..count)
            .map(|number| Prepared::new(number.to_string().repeat(length).into()))
            .collect()
    }

    /// Either role, frames that are gathered and frames that are too long for it, a pipe that takes them all and one that
    /// takes them piece by piece, behind what waits already: all arrive whole and in order.
    #[tokio::test]
    async fn frames_arrive_in_order_whatever_takes_them() {
        for (role, other) in [(Role::Server, Role::Client), (Role::Client, Role::Server)] {
            for (count, length) in [(1, 1), (3, 100), (16, 125), (40, 1000), (3, 20_000)] {
                for pipe in [64, 1 << 20] {
                    let (near, far) = tokio::io::duplex(pipe);
                    let socket = WebSocket::from_io(far, role, Config::default());
                    let mut peer = WebSocket::from_io(near, other, Config::default());
                    let sender = socket.sender();
                    let frames = frames(count, length);
                    let mut gather = Gather::new();
                    sender
                        .with_permit(|permit| permit.send_all(&frames, &mut gather))
                        .unwrap();
                    let again =
                        sender.with_permit(|permit| permit.send_all(&frames[..1], &mut gather));
                    let driving =
                        tokio::spawn(async move { socket.flush().await.map(|()| socket) });
                    let last = frames.first().filter(|_| again.is_ok());
                    for frame in frames.iter().chain(last) {
                        let got = peer.recv().await.unwrap();
                        assert_eq!(
                            got.as_ref(),
                            Some(frame.message()),
                            "{role:?} {count} {pipe}"
                        );
                    }
                    let _open = driving.await.unwrap().unwrap();
                }
            }
        }
    }

    #[tokio::test]
    async fn sixteen_frames_leave_each_socket_in_one_write() {
        let frames = frames(16, 125);
        let mut gather = Gather::new();
        for _ in 0..3 {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let writes = Arc::new(AtomicUsize::new(0));
            // A direct transport is not told from others here: what is written past the output shows in the same count.
            let far = Counting(far, Arc::clone(&writes));
            let socket = WebSocket::from_io(far, Role::Server, Config::default());
            let mut peer = WebSocket::from_io(near, Role::Client, Config::default());
            socket
                .sender()
                .with_permit(|permit| permit.send_all(&frames, &mut gather))
                .unwrap();
            assert_eq!(writes.load(Relaxed), 1);
            for frame in &frames {
                let got = peer.recv().await.unwrap();
                assert_eq!(got.as_ref(), Some(frame.message()));
            }
        }
    }

    /// Over TCP, where nothing waits, frames are not queued: the same bytes serve all sockets, and what is gathered anew is
    /// not what was gathered before.
    #[tokio::test]
    async fn gathered_frames_are_those_that_were_asked_for() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = tokio::net::TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(near, listener.accept());
        let (near, (far, _)) = (near.unwrap(), far.unwrap());
        let socket = WebSocket::new(
            far,
            Role::Server,
            Arc::default(),
            Default::default(),
            None,
            Default::default(),
        );
        let mut peer = WebSocket::from_io(near, Role::Client, Config::default());
        let frames = frames(5, 30);
        let mut gather = Gather::new();
        for range in [0..2, 0..3, 0..2, 1..3, 1..2, 0..5, 2..5, 2..5] {
            let frames = &frames[range];
            socket
                .sender()
                .with_permit(|permit| permit.send_all(frames, &mut gather))
                .unwrap();
            assert_eq!(socket.buffered_amount(), 0);
            for frame in frames {
                let got = peer.recv().await.unwrap();
                assert_eq!(got.as_ref(), Some(frame.message()));
            }
        }
    }

    /// Whatever was sent last goes out once more, to another socket too: what was gathered, one frame alone, what is too
    /// long to be gathered, and nothing.
    #[tokio::test]
    async fn the_same_frames_are_sent_again_without_being_named() {
        for (count, length) in [(0, 0), (1, 30), (5, 30), (3, 20_000)] {
            let frames = frames(count, length);
            let mut gather = Gather::new();
            for again in [false, true, true] {
                let (near, far) = tokio::io::duplex(1 << 20);
                let socket = WebSocket::from_io(far, Role::Server, Config::default());
                let mut peer = WebSocket::from_io(near, Role::Client, Config::default());
                let sent = socket.sender().with_permit(|permit| {
                    if again {
                        permit.send_again(&gather);
                    } else {
                        permit.send_all(&frames, &mut gather);
                    }
                });
                sent.unwrap();
                for frame in &frames {
                    let got = peer.recv().await.unwrap();
                    assert_eq!(got.as_ref(), Some(frame.message()), "{count} {again}");
                }
                assert_eq!(socket.buffered_amount(), 0);
            }
        }
    }

    #[tokio::test]
    async fn where_there_is_no_room_nothing_is_asked_for() {
        let (_near, far) = tokio::io::duplex(64);
        let socket = WebSocket::from_io(far, Role::Server, Config::default());
        let sender = socket.sender();
        let frames = frames(1, 100_000);
        let mut gather = Gather::new();
        let sent = sender.with_permit(|room| {
            assert_eq!(room.bytes(), 64 * 1024);
            room.send_all(&frames, &mut gather);
        });
        assert!(sent.is_ok());
        let refused = sender.with_permit(|_| unreachable!());
        assert_eq!(*refused.unwrap_err().kind(), ErrorKind::Full);
        drop(socket);
        assert!(sender.buffered_amount() > 0);
    }
}
