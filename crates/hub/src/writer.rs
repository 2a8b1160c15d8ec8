//! From queues to sockets: what a send has put into many queues is written in short runs, without their sessions.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, atomic::Ordering::Relaxed},
};

use antiphon::{Gather, Message};
use tokio::runtime::{Handle, Id};

use crate::{
    outbox::{Bounds, Budget, Flow, Frame, Offered, Outbox},
    registry::{Connection, lock},
    share::Share,
    wire::Wire,
};

/// Connections that are written to in a row. A run takes about as long as a task may keep others waiting.
const RUN: usize = 32;

/// The runtimes in which sessions run: a server may have one for each core, and each writes to its own connections. A
/// thread may have several, one after the other or in turns, so that threads do not tell them apart.
#[derive(Debug, Default)]
pub(crate) struct Homes(Mutex<Vec<Home>>);

#[derive(Debug)]
struct Home {
    id: Id,
    runtime: Handle,
    share: Arc<Share>,
}

/// Most runtimes that are told apart, those that have ended included.
const MAX_HOMES: usize = 1024;

/// The home of a session beyond them: it writes for itself.
const NO_HOME: u16 = u16::MAX;

impl Homes {
    /// The number of the current runtime.
    pub(crate) fn current(&self) -> u16 {
        let Ok(runtime) = Handle::try_current() else {
            return NO_HOME;
        };
        let id = runtime.id();
        let mut homes = lock(&self.0);
        let known = homes.iter().position(|home| home.id == id);
        let number = known.unwrap_or_else(|| {
            if homes.len() < MAX_HOMES {
                let share = Arc::default();
                homes.push(Home { id, runtime, share });
                homes.len() - 1
            } else {
                usize::from(NO_HOME)
            }
        });
        u16::try_from(number).unwrap_or(NO_HOME)
    }

    /// What the sessions of a runtime share.
    pub(crate) fn share(&self, home: u16) -> Option<Arc<Share>> {
        let homes = lock(&self.0);
        homes.get(usize::from(home)).map(|home| home.share.clone())
    }

    fn runtime(&self, home: u16) -> Option<Handle> {
        let homes = lock(&self.0);
        homes
            .get(usize::from(home))
            .map(|home| home.runtime.clone())
    }
}

/// Connections that a send has given something to write.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Most sends are for one connection, or for many.
    one: Option<(u16, Arc<Connection>)>,
    /// The runs that still grow, one for each home, and those that are full.
    growing: Vec<(u16, Vec<Arc<Connection>>)>,
    full: Vec<(u16, Vec<Arc<Connection>>)>,
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
            Offered::Queued => {
                self.has_queued(outbox, connection);
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

    /// Offers a run to a connection, where that takes all of it or nothing; whether it has.
    pub(crate) fn offer_run(
        &mut self,
        connection: &Arc<Connection>,
        run: &Frame,
        bounds: Bounds,
    ) -> bool {
        let mut outbox = connection.outbox();
        let has_room = outbox.offer_run(run, bounds);
        if has_room {
            self.has_queued(outbox, connection);
        }
        has_room
    }

    fn has_queued(&mut self, mut outbox: MutexGuard<'_, Outbox>, connection: &Arc<Connection>) {
        if outbox.is_traced || outbox.home == NO_HOME {
            let waker = outbox.take_reader();
            drop(outbox);
            if let Some(waker) = waker {
                waker.wake();
            }
        } else if outbox.make_due() {
            let home = outbox.home;
            drop(outbox);
            self.add(home, connection.clone());
        }
    }

    fn add(&mut self, home: u16, connection: Arc<Connection>) {
        if self.growing.is_empty() {
            let Some((first, one)) = self.one.take() else {
                self.one = Some((home, connection));
                return;
            };
            self.put(first, one);
        }
        self.put(home, connection);
    }

    fn put(&mut self, home: u16, connection: Arc<Connection>) {
        let known = self.growing.iter().position(|(known, _)| *known == home);
        let index = known.unwrap_or_else(|| {
            self.growing.push((home, Vec::with_capacity(RUN)));
            self.growing.len() - 1
        });
        let run = &mut self.growing[index].1;
        if run.len() == RUN {
            self.full
                .push((home, mem::replace(run, Vec::with_capacity(RUN))));
        }
        run.push(connection);
    }

    /// Has everything written: by the session where there is one connection, by tasks of their own where there are many,
    /// so that other tasks have their turns in between and other threads may take a share.
    pub(crate) fn write(self, homes: &Homes, budget: &Arc<Budget>, flow: &Arc<Flow>) {
        if let Some((_, one)) = self.one {
            one.wake_reader();
        }
        for (home, connections) in self.full.into_iter().chain(self.growing) {
            let run = Run {
                connections,
                budget: budget.clone(),
                flow: flow.clone(),
            };
            // Where the runtime has gone the run is dropped, and leaves its work to the sessions.
            if let Some(runtime) = homes.runtime(home) {
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
            if pen.write(&connection, &self.budget, None) != Wrote::All {
                // It has to wait for its socket, is about to end, or records its frames: the session's matter.
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
    last: Last,
    gather: Gather,
    messages: u64,
    bytes: u64,
}

/// What was last written. In a fan-out the next connection is to have the same.
#[derive(Debug, Default)]
struct Last {
    frames: Vec<Frame>,
    wire: Option<Wire>,
    messages: u64,
    bytes: u64,
}

impl Last {
    fn is(&self, frames: &[Frame], wire: Wire) -> bool {
        self.wire == Some(wire)
            && self.frames.len() == frames.len()
            && self.frames.iter().zip(frames).all(|(a, b)| a.is_same(b))
    }
}

impl Pen {
    pub(crate) fn new() -> Self {
        Self {
            frames: Vec::new(),
            last: Last::default(),
            gather: Gather::new(),
            messages: 0,
            bytes: 0,
        }
    }

    /// Moves what waits for a connection to its socket, as much as there is room for. The queue is locked inside the socket:
    /// whoever takes first writes first. A session says what it does with each message; where frames are recorded, nobody
    /// else takes them.
    pub(crate) fn write(
        &mut self,
        connection: &Connection,
        budget: &Arc<Budget>,
        session: Option<&mut dyn FnMut(&Message)>,
    ) -> Wrote {
        let mut has_written = false;
        let sender = connection.sender();
        let Some(socket) = &*sender else {
            // There is no session yet, which begins with writing, or none any more.
            return Wrote::All;
        };
        let wire = connection.wire;
        let more = socket.with_permit(|permit| {
            let now = self.gather.now();
            let mut outbox = connection.outbox();
            if outbox.is_traced && session.is_none() {
                return true;
            }
            let more = outbox.take(permit.bytes(), &mut self.frames, budget, now);
            drop(outbox);
            if self.frames.is_empty() {
                return more;
            }
            if self.last.is(&self.frames, wire) {
                permit.send_again(&self.gather);
            } else {
                let frames = self.frames.iter().flat_map(Frame::parts);
                let frames = frames.map(|frame| frame.prepared(wire));
                permit.send_all(frames.clone(), &mut self.gather);
                self.last.wire = Some(wire);
                (self.last.messages, self.last.bytes) = frames.fold((0, 0), |sum, frame| {
                    (sum.0 + 1, sum.1 + frame.message().len() as u64)
                });
                mem::swap(&mut self.last.frames, &mut self.frames);
            }
            self.messages += self.last.messages;
            self.bytes += self.last.bytes;
            self.frames.clear();
            has_written = true;
            more
        });
        drop(sender);
        if has_written && let Some(each) = session {
            for frame in self.last.frames.iter().flat_map(Frame::parts) {
                each(frame.prepared(wire).message());
            }
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
