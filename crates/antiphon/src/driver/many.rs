//! The driver's short ways: many messages of one read at once, and answers that pass the output by.

use std::{
    collections::VecDeque,
    io::IoSlice,
    task::{Context, Poll, ready},
};

use antiphon_proto::{
    connection::Input,
    message::{Message, MessageKind},
    sender::Batch,
};
use tokio::{io::ReadBuf, time::Instant};

use crate::{
    driver::{CORK_LIMIT, Driver, Item, Owned, Want},
    error::Error,
};

/// Messages that a receiver takes at once, of those that were read together, and about how many bytes of them.
const MAX_AHEAD: usize = 16;
const MAX_AHEAD_BYTES: usize = 16 * 1024;

/// Where a message stands in a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) kind: MessageKind,
    pub(crate) start: usize,
    pub(crate) length: usize,
}

/// Messages that were received together with the latest one, and follow it.
#[derive(Debug, Default)]
pub(crate) struct Ahead(pub(crate) VecDeque<Message>);

/// What many messages may be received as.
#[derive(Debug)]
pub(crate) enum Many {
    /// Where the places say.
    InBuffer,
    One(Message),
}

impl Driver {
    /// The next messages, where they stand in `buffer` or by themselves; `None` after the closing handshake.
    pub(crate) fn poll_many(
        &mut self,
        cx: &Context<'_>,
        buffer: &mut [u8],
        places: &mut Vec<Place>,
    ) -> Poll<Result<Option<Many>, Error>> {
        loop {
            let fresh = self.unread.is_empty()
                && !self.has_inbox()
                && !(self.end_reported || self.skip_message || self.inside_parts)
                && self.connection.is_open()
                && self.connection.is_between_messages()
                && self
                    .connection
                    .expected()
                    .is_none_or(|expected| expected <= buffer.len());
            if !fresh {
                match ready!(self.poll_receive(cx, Want::Whole))? {
                    Some(Item::Message(message)) => {
                        return Poll::Ready(Ok(Some(Many::One(message))));
                    }
                    // The rest of a message whose reader was dropped.
                    Some(Item::Part { .. }) => continue,
                    None => return Poll::Ready(Ok(None)),
                }
            }
            self.register_receiver(cx);
            if self.has_output() && !self.corked {
                let _ = self.poll_write_out();
            }
            let mut read = ReadBuf::new(buffer);
            let mut by_all = Context::from_waker(&self.waker);
            let Poll::Ready(result) = self.transport.poll_read(&mut by_all, &mut read) else {
                ready!(self.poll_timer());
                continue;
            };
            let now = Instant::now().into_std();
            let filled = read.filled().len();
            if result.is_err() || filled == 0 {
                if let Err(error) = result {
                    self.failed(error);
                }
                self.connection.handle_eof(now);
                continue;
            }
            self.connection.deliver_parts(false);
            let mut input = Input::new(&mut buffer[..filled]);
            while let Some(message) = self.connection.take_whole(now, &mut input) {
                let (kind, length) = (message.kind(), message.as_bytes().len());
                let start = filled - input.remaining().len() - length;
                places.push(Place {
                    kind,
                    start,
                    length,
                });
            }
            // The beginning of a long message, say, is taken from here: it need not be kept as it came.
            while places.is_empty() && !input.is_empty() {
                self.deliver(Want::Whole);
                let event = self.connection.handle_input(now, &mut input);
                let event = event.unwrap_or(None).map(Owned::from);
                if let Some(Item::Message(message)) = self.digest(event) {
                    self.keep_unread(&input);
                    return Poll::Ready(Ok(Some(Many::One(message))));
                }
            }
            self.keep_unread(&input);
            if !places.is_empty() {
                return Poll::Ready(Ok(Some(Many::InBuffer)));
            }
        }
    }

    /// The next message of what has been read, where it is a common one: whole, good, and not compressed.
    #[inline]
    pub(crate) fn next_whole(&mut self) -> Option<Message> {
        if self.unread.is_empty() || self.skip_message || self.inside_parts {
            return None;
        }
        self.connection.deliver_parts(false);
        let now = self.now();
        let mut input = Input::new(self.unread.rest());
        let message = self.connection.take_whole(now, &mut input)?.to_message();
        let left = input.remaining().len();
        self.unread.leave(left);
        Some(message)
    }

    /// Adds the messages that follow what was just received, as far as they are common ones, so that one lock serves
    /// many.
    pub(crate) fn take_ahead(&mut self, ahead: &mut Option<Box<Ahead>>) {
        if self.unread.is_empty() || self.has_inbox() {
            return;
        }
        // Only now: a socket that waits for the rest of a message owns nothing for those behind it.
        let Some(first) = self.next_whole() else {
            return;
        };
        let mut bytes = first.len();
        let ahead =
            ahead.get_or_insert_with(|| Box::new(Ahead(VecDeque::with_capacity(MAX_AHEAD))));
        let Ahead(ahead) = &mut **ahead;
        ahead.push_back(first);
        while ahead.len() < MAX_AHEAD
            && bytes < MAX_AHEAD_BYTES
            && let Some(message) = self.next_whole()
        {
            bytes += message.len();
            ahead.push_back(message);
        }
    }

    /// Queues a message where nothing but that is to be done: in a handler's turn, with room. Whether it did.
    #[inline]
    pub(crate) fn queue_in_turn(&mut self, message: &Message) -> bool {
        self.corked
            && !self.write_failed
            && self.connection.buffered()
                < CORK_LIMIT.min(self.connection.config().write_high_water)
            && self.queue(|connection| connection.send(message)).is_ok()
    }

    /// Writes a batch past the output, where nothing waits there. What the transport does not take is queued. Whether it
    /// did: else the batch is as it was.
    pub(crate) fn write_batch(&mut self, batch: &mut Batch) -> bool {
        if self.write_failed || self.transport.holds_back() {
            return false;
        }
        let Some(frames) = self.connection.batch_output(batch) else {
            return false;
        };
        let mut cx = Context::from_waker(&self.waker);
        let frames = [IoSlice::new(frames)];
        // What fails here fails again where the batch is queued, and is told there.
        let Poll::Ready(Ok(written @ 1..)) = self.transport.poll_write(&mut cx, &frames) else {
            return false;
        };
        let now = self.now();
        self.connection.wrote_batch(now, batch, written);
        true
    }
}
