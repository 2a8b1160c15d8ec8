//! Messages handed to a function where they stand in what was read: no copy of them, and no future for each.

use std::{
    cell::Cell,
    fmt,
    future::poll_fn,
    task::{Context, Poll, ready},
};

use antiphon_proto::{connection::Connection, message::MessageRef, sender::Batch};
use bytes::Bytes;

use crate::{
    driver::{
        CORK_LIMIT,
        many::{Many, Place},
        with_scratch,
    },
    error::Result,
    socket::WebSocket,
};

thread_local! {
    /// The places of the messages of one read: one list for all sockets of the thread.
    static PLACES: Cell<Vec<Place>> = const { Cell::new(Vec::new()) };

    /// Memory for answers: a socket that waits owns none.
    static ANSWERS: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Places that the thread keeps memory for.
const MAX_PLACES: usize = 4096;

/// From this size an answer is looked for in the message that it answers.
const SHARE_FROM: usize = 16 * 1024;

/// What a function of [`WebSocket::for_each`] answers. Answers to messages that came together leave together.
pub struct Replies {
    batch: Batch,
    /// How far the output has to be written for the latest answers to have gone.
    position: Option<u64>,
    /// The memory of a long message while the function is called with it: an answer that stands in it is not copied.
    source: Option<Bytes>,
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies").finish_non_exhaustive()
    }
}

impl Replies {
    /// Sends a message.
    #[inline]
    pub fn send<'a>(&mut self, message: impl Into<MessageRef<'a>>) {
        match &self.source {
            None => self.batch.push(message.into()),
            Some(source) => self.batch.push_from(message.into(), source),
        }
    }
}

fn message<'a>(place: &Place, buffer: &'a [u8]) -> MessageRef<'a> {
    let payload = &buffer[place.start..place.start + place.length];
    MessageRef::new(place.kind, payload)
}

impl WebSocket {
    /// Hands every message to a function until the connection ends: the fastest way to answer, where an answer needs no
    /// waiting.
    ///
    /// It does what a loop over [`recv`](Self::recv) and [`send`](Self::send) does, with the same bounds. But messages
    /// are not copied for the function, and answers are copied once, into their frames. What must wait, or keeps the
    /// message, should use `recv`, or hand the work to a task that answers through a [`Sender`](crate::Sender).
    ///
    /// A peer that does not read holds up the messages that it sends: the function is not called again before its answers
    /// have found room.
    ///
    /// ```no_run
    /// # async fn example(mut socket: antiphon::WebSocket) -> antiphon::Result<()> {
    /// socket.for_each(|message, replies| replies.send(message)).await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and those of [`flush`](Self::flush).
    ///
    /// # Cancel safety
    ///
    /// Cancelled, answers that have found no room are lost; nothing else is.
    pub async fn for_each(
        &mut self,
        mut function: impl FnMut(MessageRef<'_>, &mut Replies),
    ) -> Result<()> {
        let batch = self.shared().lock().connection().batch();
        let mut replies = Replies {
            batch,
            position: None,
            source: None,
        };
        poll_fn(|cx| {
            let mut memory = ANSWERS.take();
            replies.batch.swap_memory(&mut memory);
            let done = self.poll_each(cx, &mut function, &mut replies);
            replies.batch.swap_memory(&mut memory);
            memory.shrink_to(2 * CORK_LIMIT);
            ANSWERS.set(memory);
            done
        })
        .await
    }

    fn poll_each(
        &mut self,
        cx: &Context<'_>,
        function: &mut impl FnMut(MessageRef<'_>, &mut Replies),
        replies: &mut Replies,
    ) -> Poll<Result<()>> {
        loop {
            ready!(self.poll_reply(cx, replies))?;
            if let Some(message) = self.receiver_mut().next_ahead() {
                function(MessageRef::from(&message), replies);
                continue;
            }
            let mut places = PLACES.take();
            let received = with_scratch(|buffer| {
                let received = self.shared().lock().poll_many(cx, buffer, &mut places);
                let mut place = places.iter();
                for place in place.by_ref() {
                    function(message(place, buffer), replies);
                    if replies.batch.len() >= CORK_LIMIT {
                        break;
                    }
                }
                // Answers have to leave first; the others are called with copies.
                let rest = place.map(|place| message(place, buffer).to_message());
                self.receiver_mut().put_ahead(rest);
                received
            });
            places.clear();
            places.shrink_to(MAX_PLACES);
            PLACES.set(places);
            match ready!(received)? {
                Some(Many::InBuffer) => {}
                Some(Many::One(message)) => {
                    let long = message.len() >= SHARE_FROM;
                    replies.source = long.then(|| message.clone().into_bytes());
                    function(MessageRef::from(&message), replies);
                    replies.source = None;
                }
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Queues the answers once there is room, and writes them where they are many or nobody does later.
    fn poll_reply(&self, cx: &Context<'_>, replies: &mut Replies) -> Poll<Result<()>> {
        if replies.batch.is_empty() && replies.position.is_none() {
            return Poll::Ready(Ok(()));
        }
        let mut driver = self.shared().lock();
        let position = match replies.position {
            Some(position) => position,
            None if driver.write_batch(&mut replies.batch) => driver.position(),
            None => {
                let queue = |connection: &mut Connection| connection.send_batch(&mut replies.batch);
                ready!(driver.poll_queue(cx, queue))?
            }
        };
        replies.position = Some(position);
        ready!(driver.poll_written(cx, position))?;
        replies.position = None;
        Poll::Ready(Ok(()))
    }
}
