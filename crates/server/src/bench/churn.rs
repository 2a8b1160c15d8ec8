//! Connections that are opened and closed, over and over.

use std::time::{Duration, Instant};

use mio::{Events, Poll};
use rustls::HandshakeKind;

use crate::{
    bench::{
        fault::{Fault, Faults, Kind},
        interrupt,
        latency::Latencies,
        meter::{Meter, Phase, Usage},
        opening::{Answer, Opened, Opening, Target, poll, wait},
        peer::Peer,
        usage::Process,
    },
    failure::{Exit, Failure},
};

/// Between two looks for connections that take too long.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Time for a server to hang up after its Close.
const HANG_UP: Duration = Duration::from_millis(100);
/// Connections that a server has to let wait so long, and not one that it has hung up, before no more is waited.
const LEFT_WAITING: u64 = 16;
/// The buffer into which all connections are read.
const READ_BUFFER: usize = 64 * 1024;
/// Faults after which a server is not asked any more.
const MAX_FAULTS: u64 = 10_000;

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Connections at a time.
    pub(crate) connections: usize,
    /// Whether each ends with a closing handshake.
    pub(crate) closes: bool,
    pub(crate) warmup: Duration,
    pub(crate) duration: Duration,
    pub(crate) process: Option<Process>,
    pub(crate) quiet: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Opening handshakes in the window.
    pub(crate) opened: u64,
    /// Of these: TLS sessions that were resumed.
    pub(crate) resumed: u64,
    /// Of these: whole TLS handshakes.
    pub(crate) full: u64,
    /// After its Close the server hung up, as RFC 6455 section 7.1.1 wants it; `None` where it never came to that.
    pub(crate) hangs_up: Option<bool>,
    /// From the first packet to the response.
    pub(crate) latencies: Latencies,
    pub(crate) faults: Faults,
    pub(crate) usage: Usage,
}

/// Runs the plan.
///
/// # Errors
///
/// Nobody listens, or this process cannot do it. What the server does wrong is in the outcome.
pub(crate) fn run(target: &Target, plan: &Plan) -> Result<Outcome, Failure> {
    let mut churn = Churn {
        target,
        plan,
        poll: poll()?,
        slots: (0..plan.connections).map(|_| Slot::Empty).collect(),
        meter: Meter::new(plan.warmup, plan.duration, plan.process, plan.quiet),
        phase: Phase::Warmup,
        buffer: vec![0; READ_BUFFER],
        ever: false,
        hung_up: 0,
        left_waiting: 0,
        outcome: Outcome::default(),
    };
    churn.run()?;
    let ended = churn.hung_up + churn.left_waiting > 0;
    churn.outcome.hangs_up = ended.then_some(churn.hung_up > 0);
    churn.outcome.usage = churn.meter.usage();
    Ok(churn.outcome)
}

enum Slot {
    Empty,
    Opening(Box<Opening>),
    /// Close has been sent; since then.
    Closing(Box<Peer>, Instant),
}

struct Churn<'a> {
    target: &'a Target,
    plan: &'a Plan,
    poll: Poll,
    slots: Vec<Slot>,
    meter: Meter,
    phase: Phase,
    buffer: Vec<u8>,
    /// A connection has been opened.
    ever: bool,
    /// Connections that the server ended after its Close, and such as it left to us.
    hung_up: u64,
    left_waiting: u64,
    outcome: Outcome,
}

impl Churn<'_> {
    fn run(&mut self) -> Result<(), Failure> {
        let mut events = Events::with_capacity(1024);
        for index in 0..self.slots.len() {
            self.begin(index)?;
        }
        let mut looked = Instant::now();
        while self.phase != Phase::Over {
            let now = Instant::now();
            if let Some(phase) = self.meter.turn(now) {
                self.phase = phase;
            }
            if now >= looked + LOOK_EVERY {
                looked = now;
                self.look(now)?;
                let (opened, latencies) = (self.outcome.opened, &self.outcome.latencies);
                self.meter.show(now, opened, latencies);
            }
            if self.outcome.faults.total() > MAX_FAULTS || interrupt::is_asked() {
                self.meter.stop();
                break;
            }
            let left = self.meter.until_turn(now - self.meter.began);
            wait(&mut self.poll, &mut events, Some(left.min(LOOK_EVERY)))?;
            for event in &events {
                self.advance(event.token().0, event.is_read_closed())?;
            }
        }
        self.meter.hide();
        Ok(())
    }

    /// Begins to open the next connection.
    fn begin(&mut self, index: usize) -> Result<(), Failure> {
        match self
            .target
            .open(self.poll.registry(), index, Instant::now())
        {
            Ok(opening) => self.slots[index] = Slot::Opening(Box::new(opening)),
            Err(fault) => self.fail(index, &fault)?,
        }
        Ok(())
    }

    fn advance(&mut self, index: usize, is_ending: bool) -> Result<(), Failure> {
        match &mut self.slots[index] {
            Slot::Empty => Ok(()),
            Slot::Opening(opening) => match opening.advance(&mut self.buffer, is_ending) {
                Ok(None) => Ok(()),
                Ok(Some(answer)) => {
                    let slot = std::mem::replace(&mut self.slots[index], Slot::Empty);
                    let Slot::Opening(opening) = slot else {
                        return Ok(());
                    };
                    self.opened(index, *opening, answer)
                }
                Err(fault) => self.fail(index, &fault),
            },
            Slot::Closing(peer, _) => {
                if is_ending {
                    peer.note_end();
                }
                self.close(index)
            }
        }
    }

    fn opened(&mut self, index: usize, opening: Opening, answer: Answer) -> Result<(), Failure> {
        self.ever = true;
        let now = Instant::now();
        if self.phase == Phase::Window {
            self.outcome.opened += 1;
            let took = now - opening.began;
            self.outcome.latencies.add(took.as_nanos() as u64, 1);
            match opening.socket.handshake_kind() {
                Some(HandshakeKind::Resumed) => self.outcome.resumed += 1,
                Some(_) => self.outcome.full += 1,
                None => {}
            }
        }
        if !self.plan.closes {
            opening.socket.abort();
            return self.begin(index);
        }
        let mut peer = Peer::from(Opened {
            socket: opening.socket,
            deflate: answer.deflate,
            early: answer.early,
        });
        peer.say_goodbye();
        self.slots[index] = Slot::Closing(Box::new(peer), now);
        self.close(index)
    }

    /// Whether it is known that the server waits for us to hang up.
    const fn waits_for_us(&self) -> bool {
        self.hung_up == 0 && self.left_waiting >= LEFT_WAITING
    }

    /// Waits for the server's Close, and for its hanging up: then the next connection's port is free at once.
    fn close(&mut self, index: usize) -> Result<(), Failure> {
        let waits_for_us = self.waits_for_us();
        let Slot::Closing(peer, _) = &mut self.slots[index] else {
            return Ok(());
        };
        if peer.flush().is_err() {
            return self.begin(index);
        }
        loop {
            // What is sent between our Close and the server's is no answer to anything.
            match peer.read(&mut self.buffer, usize::MAX >> 1, |_| Ok(())) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(fault) if fault.kind == Kind::Closed && !peer.has_closed() => {
                    peer.note_close();
                    if waits_for_us {
                        return self.hang_up(index);
                    }
                }
                Err(fault) => {
                    if peer.has_closed() {
                        self.hung_up += 1;
                    } else {
                        self.outcome.faults.add(index, &fault);
                    }
                    return self.begin(index);
                }
            }
        }
    }

    /// Ends what the server has closed and not ended, and begins anew. With a reset our port is free at once.
    fn hang_up(&mut self, index: usize) -> Result<(), Failure> {
        if let Slot::Closing(peer, _) = std::mem::replace(&mut self.slots[index], Slot::Empty) {
            peer.into_socket().abort();
        }
        self.begin(index)
    }

    /// Gives up what takes too long.
    fn look(&mut self, now: Instant) -> Result<(), Failure> {
        for index in 0..self.slots.len() {
            let (since, what) = match &self.slots[index] {
                Slot::Opening(opening) => (opening.began, "the opening handshake"),
                Slot::Closing(peer, since) if peer.has_closed() => {
                    // Some servers wait for us to hang up.
                    if now > *since + HANG_UP {
                        self.left_waiting += 1;
                        self.hang_up(index)?;
                    }
                    continue;
                }
                Slot::Closing(_, since) => (*since, "Close"),
                Slot::Empty => {
                    self.begin(index)?;
                    continue;
                }
            };
            if now > since + self.target.timeout {
                let fault = Fault::new(Kind::Late, format!("no answer to {what}"));
                self.outcome.faults.add(index, &fault);
                self.begin(index)?;
            }
        }
        Ok(())
    }

    /// A connection that could not be opened: the next try is a look later, so that a server that refuses is not hammered.
    fn fail(&mut self, index: usize, fault: &Fault) -> Result<(), Failure> {
        self.slots[index] = Slot::Empty;
        if fault.kind == Kind::Connect && !self.ever {
            return Err(Failure::new(
                Exit::Refused,
                format!("cannot connect to {}: {}", self.target.name(), fault.what),
                "check the host and the port, and that the server runs",
            ));
        }
        self.outcome.faults.add(index, fault);
        Ok(())
    }
}
