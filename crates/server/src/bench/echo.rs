//! Load for a server that sends every message back.

use std::time::{Duration, Instant};

use antiphon_proto::{
    config::{Codec, DeflateConfig, DeflateParams},
    deflate::{InflateLimits, Inflater},
};
use mio::{Events, Poll};

use crate::{
    bench::{
        fault::{Fault, Faults, Kind},
        interrupt,
        judge::Account,
        latency::Latencies,
        meter::{Meter, Phase, Usage},
        opening::{Target, poll, wait},
        payload::Payload,
        peer::{Message, Peer},
        schedule::Schedule,
        tape::Tape,
        usage::Process,
    },
    failure::Failure,
};

/// The buffer into which all connections are read.
pub(crate) const READ_BUFFER: usize = 512 * 1024;
/// Between two looks for answers that are too late.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What a wait may be too long by.
const FINE: Duration = Duration::from_millis(1);
/// Most connections that keep a codec of their own for what they receive.
const MAX_CODECS: usize = 1_000;
/// Most time that the server has for the closing handshakes.
const GOODBYE: Duration = Duration::from_millis(500);

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Connections.
    pub(crate) connections: usize,
    /// Most messages in flight on one of them.
    pub(crate) depth: usize,
    /// Messages a second; `None`: the next ones when the last are answered.
    pub(crate) rate: Option<f64>,
    /// What is sent.
    pub(crate) payload: Payload,
    /// How it is compressed, if the server agrees.
    pub(crate) deflate: Option<DeflateConfig>,
    /// Time before the window.
    pub(crate) warmup: Duration,
    /// Time that is measured.
    pub(crate) duration: Duration,
    /// The server is a TCP echo.
    pub(crate) raw: bool,
    /// Most messages on a connection.
    pub(crate) most: Option<u64>,
    /// The server.
    pub(crate) process: Option<Process>,
    /// No progress is shown.
    pub(crate) quiet: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Connections that were opened.
    pub(crate) opened: usize,
    /// Answers in the window.
    pub(crate) messages: u64,
    /// Payload bytes of an answer.
    pub(crate) size: usize,
    /// Bytes of a sent payload on the wire.
    pub(crate) wire: f64,
    /// Bytes of all answers in the window on the wire, without headers.
    pub(crate) received: u64,
    /// How messages were compressed.
    pub(crate) deflate: Option<DeflateParams>,
    /// From when a message was sent, or due, to its answer.
    pub(crate) latencies: Latencies,
    /// How late messages left that were due and had nothing to wait for.
    pub(crate) lag: Latencies,
    /// What was wrong.
    pub(crate) faults: Faults,
    /// What it took.
    pub(crate) usage: Usage,
}

/// Opens the connections and runs the plan.
///
/// # Errors
///
/// Nobody listens, or this process cannot do it. What the server does wrong is in the outcome.
pub(crate) fn run(target: &Target, plan: &Plan) -> Result<Outcome, Failure> {
    let mut poll = poll()?;
    let mut faults = Faults::default();
    let opened = target.open_all(&mut poll, plan.connections, &mut faults)?;
    let peers = opened
        .into_iter()
        .map(|opened| opened.map(Peer::from))
        .collect();
    let mut echo = Echo::new(plan, peers, faults, target.timeout);
    echo.run(&mut poll)?;
    let (peers, outcome) = echo.finish();
    if !plan.raw {
        say_goodbye(&mut poll, peers)?;
    }
    Ok(outcome)
}

/// Connections that talk.
pub(crate) struct Echo<'a> {
    plan: &'a Plan,
    payload: Payload,
    tape: Tape,
    connections: Vec<Line>,
    schedule: Option<Schedule>,
    meter: Meter,
    timeout: Duration,
    buffer: Vec<u8>,
    inflated: Vec<u8>,
    /// Compressed answers that were good, by number: the same bytes need not be inflated again.
    known: Vec<Vec<u8>>,
    phase: Phase,
    /// The latest look at the clock, in nanoseconds from the beginning.
    now: u64,
    give_up_at: Option<Instant>,
    outcome: Outcome,
}

/// A connection and its account.
struct Line {
    peer: Option<Peer>,
    account: Account,
    inflater: Option<Inflater>,
    /// When the messages in flight were sent, in nanoseconds from the beginning.
    sent_at: u64,
    /// When something came.
    heard_at: u64,
}

impl<'a> Echo<'a> {
    /// Connections that are open.
    pub(crate) fn new(
        plan: &'a Plan,
        peers: Vec<Option<Peer>>,
        mut faults: Faults,
        timeout: Duration,
    ) -> Self {
        let mut payload = plan.payload.clone();
        let size = payload.body.len();
        let deflate = peers.iter().flatten().next().and_then(Peer::deflate);
        let tape = match (deflate, &plan.deflate) {
            (Some(params), Some(config)) => {
                Tape::compressed(&mut payload, plan.depth, config, params, !plan.raw)
            }
            _ => Tape::new(&payload, plan.depth, !plan.raw),
        };
        let takeover = deflate.is_some_and(|params| !params.server_no_context_takeover);
        let mut codec = DeflateConfig::default();
        if peers.len() <= MAX_CODECS {
            codec.codec = Codec::Dedicated;
        }
        let opened = peers.iter().flatten().count();
        let connections = peers
            .into_iter()
            .enumerate()
            .map(|(index, peer)| {
                let peer = peer.filter(|peer| {
                    let agreed = peer.deflate() == deflate;
                    if !agreed {
                        let what = "compression was agreed otherwise than with connection 0";
                        faults.add(index, &Fault::new(Kind::Handshake, what));
                    }
                    agreed
                });
                Line {
                    inflater: deflate.map(|params| {
                        let bits = params.server_max_window_bits;
                        Inflater::new(params.server_no_context_takeover, bits, &codec)
                    }),
                    peer,
                    // Compressed messages are made once for all: nobody says what the others say at the same time.
                    account: Account::from(if deflate.is_some() { index as u64 } else { 0 }),
                    sent_at: 0,
                    heard_at: 0,
                }
            })
            .collect();
        let known = if deflate.is_some() && !takeover {
            vec![Vec::new(); payload.number_mask() as usize + 1]
        } else {
            Vec::new()
        };
        Self {
            plan,
            connections,
            schedule: plan.rate.map(|rate| Schedule::new(rate, plan.connections)),
            meter: Meter::new(plan.warmup, plan.duration, plan.process, plan.quiet),
            timeout,
            buffer: vec![0; READ_BUFFER],
            inflated: Vec::new(),
            known,
            phase: Phase::Warmup,
            now: 0,
            give_up_at: None,
            outcome: Outcome {
                opened,
                size,
                wire: tape.wire,
                deflate,
                faults,
                ..Outcome::default()
            },
            tape,
            payload,
        }
    }

    /// The connections that are left, and what came of it.
    pub(crate) fn finish(mut self) -> (Vec<Option<Peer>>, Outcome) {
        self.outcome.usage = self.meter.usage();
        let peers = self.connections.into_iter().map(|line| line.peer);
        (peers.collect(), self.outcome)
    }

    /// Talks until the window is over and everything is answered.
    ///
    /// # Errors
    ///
    /// The system cannot wait any more.
    pub(crate) fn run(&mut self, poll: &mut Poll) -> Result<(), Failure> {
        let mut events = Events::with_capacity(1024);
        // What came while others were being opened has had its event.
        for index in 0..self.connections.len() {
            self.receive(index);
            self.talk(index);
        }
        let mut looked = Instant::now();
        while !self.is_done() && !interrupt::is_asked() {
            let now = Instant::now();
            self.now = nanoseconds(now - self.meter.began);
            match self.meter.turn(now) {
                Some(Phase::Window) => self.phase = Phase::Window,
                Some(Phase::Over) => {
                    self.phase = Phase::Over;
                    self.give_up_at = Some(now + self.timeout);
                }
                _ => {}
            }
            self.send_due();
            if now >= looked + LOOK_EVERY {
                looked = now;
                self.look();
                if self.give_up_at.is_some_and(|end| now > end) {
                    self.give_up();
                }
                let (messages, latencies) = (self.outcome.messages, &self.outcome.latencies);
                self.meter.show(now, messages, latencies);
            }
            wait(poll, &mut events, Some(self.time_to_wait(now)))?;
            for event in &events {
                let index = event.token().0;
                if event.is_writable() {
                    self.flush(index);
                }
                if event.is_read_closed()
                    && let Some(peer) = &mut self.connections[index].peer
                {
                    peer.note_end();
                }
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    self.receive(index);
                }
                self.talk(index);
            }
        }
        if self.phase != Phase::Over {
            self.meter.stop();
        }
        self.meter.hide();
        Ok(())
    }

    /// Everything has been said and answered, or there is nobody left.
    fn is_done(&self) -> bool {
        let is_over = self.phase == Phase::Over;
        if !is_over && self.plan.most.is_none() {
            return self.connections.iter().all(|line| line.peer.is_none());
        }
        self.connections.iter().enumerate().all(|(index, line)| {
            let is_paid = match (&self.schedule, self.plan.most) {
                (Some(schedule), _) => line.account.sent >= schedule.owed(index),
                (None, Some(most)) => is_over || line.account.sent >= most,
                (None, None) => true,
            };
            line.peer.is_none() || is_paid && line.account.outstanding() == 0
        })
    }

    /// How long nothing happens by itself.
    fn time_to_wait(&self, now: Instant) -> Duration {
        let passed = now - self.meter.began;
        let mut wait = LOOK_EVERY;
        if self.phase != Phase::Over {
            wait = wait.min(self.meter.until_turn(passed));
            if let Some(schedule) = &self.schedule {
                let due = schedule.next().saturating_sub(passed);
                // The system's timers are too coarse for the rest.
                wait = wait.min(if due < FINE {
                    Duration::ZERO
                } else {
                    due - FINE
                });
            }
        }
        wait
    }

    /// Sends what is due now. Nothing is due once the window is over.
    fn send_due(&mut self) {
        let Some(schedule) = &mut self.schedule else {
            return;
        };
        let end = nanoseconds(self.meter.end()).saturating_sub(1);
        for index in schedule.advance(self.now.min(end)) {
            self.talk(index);
        }
    }

    /// Sends what may be sent now.
    fn talk(&mut self, index: usize) {
        let line = &mut self.connections[index];
        let Some(peer) = line.peer.as_mut().filter(|peer| peer.is_idle()) else {
            return;
        };
        let outstanding = line.account.outstanding();
        let mut count = match &self.schedule {
            Some(schedule) => {
                let owed = schedule.owed(index).saturating_sub(line.account.sent);
                owed.min(self.plan.depth as u64 - outstanding)
            }
            None if outstanding > 0 || self.phase == Phase::Over => 0,
            None => self.plan.depth as u64,
        };
        if let Some(most) = self.plan.most {
            count = count.min(most.saturating_sub(line.account.sent));
        }
        if count == 0 {
            return;
        }
        line.sent_at = self.now;
        while count > 0 {
            let first = line.account.sent;
            let (frames, taken) =
                self.tape
                    .frames(index as u64, line.account.stamped(first), count as usize);
            if let (Some(schedule), Phase::Window) = (&self.schedule, self.phase)
                && outstanding == 0
            {
                let late = self.now.saturating_sub(schedule.time_of(index, first));
                self.outcome.lag.add(late, 1);
            }
            line.account.sent += taken as u64;
            count -= taken as u64;
            if let Err(fault) = peer.send(frames) {
                self.outcome.faults.add(index, &fault);
                line.peer = None;
                return;
            }
        }
    }

    fn flush(&mut self, index: usize) {
        let line = &mut self.connections[index];
        if let Some(Err(fault)) = line.peer.as_mut().map(Peer::flush) {
            self.outcome.faults.add(index, &fault);
            line.peer = None;
        }
    }

    /// Reads and judges what is there.
    fn receive(&mut self, index: usize) {
        let Self {
            connections,
            buffer,
            inflated,
            known,
            payload,
            schedule,
            meter,
            outcome,
            phase,
            now,
            ..
        } = self;
        let Outcome {
            messages,
            received,
            latencies,
            faults,
            ..
        } = outcome;
        let line = &mut connections[index];
        let (sent_at, began) = (line.sent_at, meter.began);
        let window = nanoseconds(meter.start())..nanoseconds(meter.end());
        let limit = payload.body.len() * 2 + 64 * 1024;
        while let Some(peer) = &mut line.peer {
            let (mut count, mut bytes, mut heard) = (0, 0, false);
            let (account, inflater) = (&mut line.account, &mut line.inflater);
            let more = peer.read(buffer, limit, |message: Message<'_>| {
                if !heard {
                    heard = true;
                    *now = nanoseconds(began.elapsed());
                }
                let Some(number) = judge(
                    account, payload, index, message, inflater, known, inflated, faults,
                )?
                else {
                    return Ok(());
                };
                count += 1;
                bytes += message.payload.len() as u64;
                if let Some(schedule) = &schedule {
                    // What was due in the window counts, whenever it comes.
                    let due = schedule.time_of(index, number);
                    if window.contains(&due) {
                        latencies.add(now.saturating_sub(due), 1);
                    }
                }
                Ok(())
            });
            if count > 0 {
                line.heard_at = *now;
                if *phase == Phase::Window {
                    *messages += count;
                    *received += bytes;
                    if schedule.is_none() {
                        latencies.add(now.saturating_sub(sent_at), count);
                    }
                }
            }
            match more {
                Ok(true) => {}
                Ok(false) => return,
                Err(fault) => {
                    faults.add(index, &fault);
                    line.peer = None;
                }
            }
        }
    }

    /// Finds the connections whose answers are too late.
    fn look(&mut self) {
        let timeout = nanoseconds(self.timeout);
        for index in 0..self.connections.len() {
            let line = &mut self.connections[index];
            let since = line.sent_at.max(line.heard_at);
            if line.peer.is_none()
                || line.account.outstanding() == 0
                || self.now < since.saturating_add(timeout)
            {
                continue;
            }
            if let Some((fault, count)) = line.account.give_up() {
                self.outcome.faults.add_many(index, &fault, count);
                if fault.kind == Kind::Late {
                    line.peer = None;
                }
            }
            self.talk(index);
        }
    }

    /// The time for the last answers is over.
    fn give_up(&mut self) {
        for (index, line) in self.connections.iter_mut().enumerate() {
            if line.peer.is_none() {
                continue;
            }
            if let Some((fault, count)) = line.account.give_up() {
                self.outcome.faults.add_many(index, &fault, count);
                line.peer = None;
            }
            if let Some(schedule) = &self.schedule {
                let unsent = line.account.sent..schedule.owed(index);
                let fault = Fault::new(Kind::Late, "messages could not be sent in time");
                let count = unsent.end.saturating_sub(unsent.start);
                self.outcome.faults.add_many(index, &fault, count);
                // They waited at least until now.
                for number in unsent {
                    let waited = self.now.saturating_sub(schedule.time_of(index, number));
                    self.outcome.latencies.add(waited, 1);
                }
                line.peer = None;
            }
        }
    }
}

/// Judges one answer; what is wrong with it is counted. Its number, if it has one.
#[expect(
    clippy::too_many_arguments,
    reason = "the parts of two structures that are borrowed apart"
)]
#[inline]
fn judge(
    account: &mut Account,
    payload: &Payload,
    index: usize,
    message: Message<'_>,
    inflater: &mut Option<Inflater>,
    known: &mut [Vec<u8>],
    inflated: &mut Vec<u8>,
    faults: &mut Faults,
) -> Result<Option<u64>, Fault> {
    // Compressed messages are counted off without the connection: they are made once for all.
    let connection = if inflater.is_some() { 0 } else { index as u64 };
    let judged = if message.compressed {
        let Some(inflater) = inflater else {
            return Err(antiphon_proto::error::Violation::Rsv1.into());
        };
        if let Some(good) = known.get(account.next_slot(known.len()))
            && *good == message.payload
            && let Some(number) = account.accept_known(message.is_text, payload)
        {
            return Ok(Some(number));
        }
        inflated.clear();
        let limits = InflateLimits {
            max_size: payload.body.len() * 2 + 64 * 1024,
            max_ratio: u32::MAX,
        };
        inflater.inflate(message.payload, true, limits, inflated)?;
        let judged = account.judge(payload, connection, message.is_text, inflated);
        if let Ok(number) = judged
            && let Some(slot) =
                known.get_mut((account.stamped(number) & payload.number_mask()) as usize)
        {
            slot.clear();
            slot.extend_from_slice(message.payload);
        }
        judged
    } else {
        account.judge(payload, connection, message.is_text, message.payload)
    };
    match judged {
        Ok(number) => Ok(Some(number)),
        Err((fault, number)) => {
            faults.add(index, &fault);
            Ok(number)
        }
    }
}

/// Sends Close to everybody and gives them a moment to answer.
///
/// # Errors
///
/// The system cannot wait any more.
pub(crate) fn say_goodbye(poll: &mut Poll, mut peers: Vec<Option<Peer>>) -> Result<(), Failure> {
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; READ_BUFFER];
    let mut open = 0;
    for peer in peers.iter_mut().flatten() {
        peer.say_goodbye();
        open += 1;
    }
    let end = Instant::now() + GOODBYE;
    while open > 0 && Instant::now() < end {
        wait(poll, &mut events, Some(LOOK_EVERY))?;
        for event in &events {
            let Some(slot) = peers.get_mut(event.token().0) else {
                continue;
            };
            while let Some(peer) = slot {
                match peer.read(&mut buffer, usize::MAX >> 1, |_| Ok(())) {
                    Ok(true) => {}
                    Ok(false) => break,
                    // The answer to ours. Reading on to the end would be politer than it is worth.
                    Err(_) => {
                        *slot = None;
                        open -= 1;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Nanoseconds, as far as they can be counted.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
