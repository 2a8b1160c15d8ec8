//! From queues to sockets: what a send has put into many queues is written in short runs, without their sessions.

use std::{
    mem,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use antiphon::{Gather, Message};
use tokio::runtime::Handle;

use crate::{
    outbox::{Bounds, Budget, Flow, Frame, Offered},
    registry::Connection,
};

/// Connections that are written to in a row. A run takes about as long as a task may keep others waiting.
const RUN: usize = 32;

/// Connections that a send has given something to write.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Most sends are for one connection, or for many.
    one: Option<Arc<Connection>>,
    runs: Vec<Vec<Arc<Connection>>>,
}

impl Due {
    /// Offers a frame to a connection, and remembers it where it has to be written.
    pub(crate) fn offer(
        &mut self,
        connection: &Arc<Connection>,
        frame: &Frame,
        bounds: Bounds,
        budget: &Arc<Budget>,
    ) -> (Offered, bool) {
        let mut outbox = connection.outbox();
        let outcome = outbox.offer(frame, bounds, budget);
        let waker = match outcome.0 {
            Offered::Queued if outbox.is_traced => outbox.take_reader(),
            Offered::Queued if outbox.make_due() => {
                drop(outbox);
                self.add(connection.clone());
                return outcome;
            }
            Offered::Slow => outbox.take_waker(),
            _ => None,
        };
        drop(outbox);
        if let Some(waker) = waker {
            waker.wake();
        }
        outcome
    }

    fn add(&mut self, connection: Arc<Connection>) {
        let Some(one) = self.one.take() else {
            match self.runs.last_mut() {
                None => self.one = Some(connection),
                Some(run) if run.len() < RUN => run.push(connection),
                Some(_) => self.begin(connection),
            }
            return;
        };
        self.begin(one);
        self.add(connection);
    }

    fn begin(&mut self, connection: Arc<Connection>) {
        let mut run = Vec::with_capacity(RUN);
        run.push(connection);
        self.runs.push(run);
    }

    /// Has everything written: by the session where there is one connection, by tasks of their own where there are many,
    /// so that other tasks have their turns in between and other threads may take a share.
    pub(crate) fn write(self, budget: &Arc<Budget>, flow: &Arc<Flow>) {
        if let Some(one) = self.one {
            one.wake_reader();
        }
        if self.runs.is_empty() {
            return;
        }
        let runtime = Handle::try_current();
        for connections in self.runs {
            let run = Run {
                connections,
                budget: budget.clone(),
                flow: flow.clone(),
            };
            // Where there is no runtime the sessions write.
            if let Ok(runtime) = &runtime {
                runtime.spawn(async { run.write() });
            }
        }
    }
}

/// Connections that are written to in a row.
struct Run {
    connections: Vec<Arc<Connection>>,
    budget: Arc<Budget>,
    flow: Arc<Flow>,
}

impl Run {
    fn write(mut self) {
        let mut pen = Pen::new();
        for connection in mem::take(&mut self.connections) {
            if pen.write(&connection, &self.budget, |_| {}) != Wrote::All {
                // It has to wait for its socket, or is about to end: the session's matter.
                connection.wake();
            }
        }
        pen.account(&self.flow);
    }
}

impl Drop for Run {
    /// A run that never ran leaves its work to the sessions.
    fn drop(&mut self) {
        for connection in &self.connections {
            connection.wake_reader();
        }
    }
}

/// How far a write has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrote {
    /// Nothing waits any more.
    All,
    /// More waits.
    Some,
    /// The socket has no room, or has ended.
    Nothing,
}

/// What it takes to write to one socket after the other.
#[derive(Debug)]
pub(crate) struct Pen {
    frames: Vec<Frame>,
    gather: Gather,
    messages: u64,
    bytes: u64,
}

impl Pen {
    pub(crate) fn new() -> Self {
        Self {
            frames: Vec::new(),
            gather: Gather::new(),
            messages: 0,
            bytes: 0,
        }
    }

    /// Moves what waits for a connection to its socket, as much as there is room for. The queue is locked inside the socket:
    /// whoever takes first writes first.
    pub(crate) fn write(
        &mut self,
        connection: &Connection,
        budget: &Arc<Budget>,
        mut each: impl FnMut(&Message),
    ) -> Wrote {
        let sender = connection.sender();
        let Some(socket) = &*sender else {
            // There is no session yet, which begins with writing, or none any more.
            return Wrote::All;
        };
        let wire = connection.wire;
        let more = socket.with_room(|room| {
            let now = self.gather.now();
            let more = connection
                .outbox()
                .take(room.bytes(), &mut self.frames, budget, now);
            if !self.frames.is_empty() {
                let frames = self.frames.iter().map(|frame| frame.prepared(wire));
                room.send_all(frames, &mut self.gather);
            }
            more
        });
        drop(sender);
        for frame in self.frames.drain(..) {
            let message = frame.prepared(wire).message();
            self.messages += 1;
            self.bytes += message.len() as u64;
            each(message);
        }
        match more {
            Ok(false) => Wrote::All,
            Ok(true) => Wrote::Some,
            Err(_) => Wrote::Nothing,
        }
    }

    /// Whether anything has been written.
    pub(crate) fn has_written(&self) -> bool {
        self.messages > 0
    }

    pub(crate) fn account(&self, flow: &Flow) {
        if self.has_written() {
            flow.written.fetch_add(self.messages, Relaxed);
            flow.written_bytes.fetch_add(self.bytes, Relaxed);
        }
    }
}
