//! Frames that many connections share, written from where they stand.

use std::{
    io::IoSlice,
    task::{Context, Poll},
};

use antiphon_proto::sender::Prepared;
use tokio::time::Instant;

use crate::driver::Driver;

/// Most bytes of several frames that are copied together for one write. More is queued, where long frames are shared.
const MAX_GATHERED: usize = 16 * 1024;

/// Memory for sending the same frames to many sockets: frames that leave in one write are put together once, and used
/// again for every socket that is to have the same ones. It also reads the clock once for all of them, so it is made
/// anew for each round of sends.
#[derive(Debug)]
pub struct Gather {
    frames: Vec<Prepared>,
    /// Several frames behind each other; empty where that is not worth it.
    bytes: Vec<u8>,
    now: Instant,
}

impl Default for Gather {
    fn default() -> Self {
        Self::new()
    }
}

impl Gather {
    /// For a round that begins now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            frames: Vec::new(),
            bytes: Vec::new(),
            now: Instant::now(),
        }
    }

    /// When the round began.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Holds these frames, unless it does already.
    fn hold<'p>(&mut self, frames: impl Iterator<Item = &'p Prepared> + Clone) {
        let mut known = self.frames.iter();
        let same = frames
            .clone()
            .all(|frame| known.next().is_some_and(|known| known.is_same(frame)));
        if same && known.next().is_none() {
            return;
        }
        self.frames.clear();
        self.bytes.clear();
        self.frames.extend(frames.cloned());
        let length: usize = self.frames.iter().map(|frame| frame.frame().len()).sum();
        if self.frames.len() > 1 && length <= MAX_GATHERED {
            self.bytes.reserve(length);
            for frame in &self.frames {
                self.bytes.extend_from_slice(frame.frame());
            }
        }
    }

    /// What it holds as one piece; `None` where that is not worth it.
    fn bytes(&self) -> Option<&[u8]> {
        match &self.frames[..] {
            [one] => Some(one.frame()),
            _ => (!self.bytes.is_empty()).then_some(&self.bytes[..]),
        }
    }
}

impl Driver {
    /// Sends shared frames: in one write past the output where nothing waits there, else queued behind what does.
    pub(crate) fn send_shared<'p>(
        &mut self,
        frames: impl Iterator<Item = &'p Prepared> + Clone,
        gather: &mut Gather,
    ) {
        gather.hold(frames);
        self.send_held(gather);
    }

    /// Sends what was sent last, as [`send_shared`](Self::send_shared) does.
    pub(crate) fn send_held(&mut self, gather: &Gather) {
        let now = gather.now.into_std();
        let straight = !self.corked
            && !self.write_failed
            && !self.transport.holds_back()
            && self.connection.takes_frames();
        if straight && let Some(bytes) = gather.bytes() {
            let mut cx = Context::from_waker(&self.waker);
            let written = self.transport.poll_write(&mut cx, &[IoSlice::new(bytes)]);
            // What fails here fails again where it is queued, and is told there.
            if let Poll::Ready(Ok(written @ 1..)) = written {
                let rest = bytes.get(written..).unwrap_or_default();
                self.connection.wrote_frames(now, rest);
                if !rest.is_empty() {
                    // So that the transport wakes whoever carries the connection on.
                    self.write_now();
                }
                return;
            }
        }
        for frame in &gather.frames {
            // Whether it may be queued was asked before.
            let _ = self.queue(|connection| connection.send_prepared(frame));
        }
        self.write_now();
    }
}
