//! Load for a server that sends what one connection publishes to all others.

use std::time::{Duration, Instant};

use antiphon_proto::{
    config::{Codec, DeflateConfig},
    deflate::{InflateLimits, Inflater},
};
use mio::{Events, Poll};
use rand::RngExt as _;

use crate::{
    bench::{
        audience::{Audience, SIZE_OF_MARK},
        echo::{READ_BUFFER, nanoseconds, say_goodbye},
        fault::{Fault, Faults, Kind},
        interrupt,
        latency::Latencies,
        meter::{Meter, Phase, Usage},
        opening::{Target, poll, wait},
        payload,
        peer::{Message, Peer},
        schedule::Schedule,
        script::{Script, Values},
        tape,
        usage::Process,
    },
    failure::{Exit, Failure},
};

/// Between two looks for deliveries that are too late.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Until what was published first is published again, for subscribers that were not there yet.
const PRIME_EVERY: Duration = Duration::from_millis(500);
/// What a wait may be too long by.
const FINE: Duration = Duration::from_millis(1);
/// Most bytes around payloads in one message.
const AROUND: usize = 1 << 20;
/// Most connections that keep a codec of their own.
const MAX_CODECS: usize = 1_000;

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) subscribers: usize,
    pub(crate) publishers: usize,
    /// Most messages of a publisher that are not yet with all subscribers.
    pub(crate) in_flight: usize,
    /// Messages published a second; `None`: the next ones when the last are delivered.
    pub(crate) rate: Option<f64>,
    /// Bytes of a payload.
    pub(crate) size: usize,
    pub(crate) script: Script,
    pub(crate) warmup: Duration,
    pub(crate) duration: Duration,
    pub(crate) process: Option<Process>,
    pub(crate) quiet: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Connections that were opened.
    pub(crate) opened: usize,
    /// Messages published in the window.
    pub(crate) published: u64,
    /// Deliveries in the window.
    pub(crate) deliveries: u64,
    /// Whether the server compresses.
    pub(crate) deflate: Option<antiphon_proto::config::DeflateParams>,
    pub(crate) latencies: Latencies,
    pub(crate) lag: Latencies,
    pub(crate) faults: Faults,
    pub(crate) usage: Usage,
}

/// Opens the connections and runs the plan.
///
/// # Errors
///
/// Nobody listens, nobody receives anything, or this process cannot do it. What the server does wrong is in the outcome.
pub(crate) fn run(target: &Target, plan: &Plan) -> Result<Outcome, Failure> {
    let mut poll = poll()?;
    let mut faults = Faults::default();
    let count = plan.subscribers + plan.publishers;
    let opened = target.open_all(&mut poll, count, &mut faults)?;
    let mut fanout = Fanout::new(plan, target.timeout, faults);
    for opened in opened {
        let peer = opened.map(Peer::from);
        let deflate = peer.as_ref().and_then(Peer::deflate);
        fanout.outcome.opened += usize::from(peer.is_some());
        fanout.outcome.deflate = fanout.outcome.deflate.or(deflate);
        let mut codec = DeflateConfig::default();
        if count <= MAX_CODECS {
            codec.codec = Codec::Dedicated;
        }
        fanout.lines.push(Line {
            inflater: deflate.map(|params| {
                let bits = params.server_max_window_bits;
                Inflater::new(params.server_no_context_takeover, bits, &codec)
            }),
            shares: deflate.is_some_and(|params| params.server_no_context_takeover),
            peer,
            tail: Vec::new(),
        });
    }
    fanout.introduce();
    fanout.prime(&mut poll)?;
    fanout.run(&mut poll)?;
    let (peers, outcome) = fanout.finish();
    say_goodbye(&mut poll, peers)?;
    Ok(outcome)
}

/// A connection.
struct Line {
    peer: Option<Peer>,
    inflater: Option<Inflater>,
    /// Its messages are compressed without context: equal bytes are equal messages.
    shares: bool,
    /// The end of a stream that may be the beginning of a payload.
    tail: Vec<u8>,
}

/// All connections: subscribers first, publishers behind them.
struct Fanout<'a> {
    plan: &'a Plan,
    lines: Vec<Line>,
    audience: Audience,
    /// The payload without its number.
    payload: String,
    schedule: Option<Schedule>,
    meter: Meter,
    phase: Phase,
    now: u64,
    timeout: Duration,
    buffer: Vec<u8>,
    inflated: Vec<u8>,
    /// The latest compressed message without context, and what it says in `inflated`.
    known: Vec<u8>,
    /// What a publisher was told.
    said: String,
    outcome: Outcome,
}

impl<'a> Fanout<'a> {
    fn new(plan: &'a Plan, timeout: Duration, faults: Faults) -> Self {
        let mut rng = rand::rng();
        let mark: [u8; 8] = std::array::from_fn(|_| rng.random_range(b'a'..=b'p'));
        let mut body = payload::text(plan.size - 8);
        body.splice(..0, mark);
        Self {
            plan,
            lines: Vec::new(),
            audience: Audience::new(&body, plan.subscribers, plan.publishers, plan.in_flight),
            payload: String::from_utf8_lossy(&body).into_owned(),
            schedule: plan.rate.map(|rate| Schedule::new(rate, plan.publishers)),
            meter: Meter::new(plan.warmup, plan.duration, plan.process, plan.quiet),
            phase: Phase::Warmup,
            now: 0,
            timeout,
            buffer: vec![0; READ_BUFFER],
            inflated: Vec::new(),
            known: Vec::new(),
            said: String::new(),
            outcome: Outcome {
                faults,
                ..Outcome::default()
            },
        }
    }

    /// Says to the server what it wants to hear first.
    fn introduce(&mut self) {
        let script = &self.plan.script;
        for index in 0..self.lines.len() {
            let is_subscriber = index < self.plan.subscribers;
            let subscribe = if is_subscriber {
                &script.subscribe[..]
            } else {
                &[]
            };
            let mut frames = Vec::new();
            for template in script.hello.iter().chain(subscribe) {
                let values = Values {
                    connection: index,
                    ..Values::default()
                };
                tape::frame(
                    script.kind,
                    script.fill(template, values).as_bytes(),
                    &mut frames,
                );
            }
            if self.lines[index].peer.is_none() && is_subscriber {
                self.audience.leave(index);
            }
            self.send(index, &frames);
        }
    }

    /// Publishes until every subscriber has received something: only then is everybody there.
    fn prime(&mut self, poll: &mut Poll) -> Result<(), Failure> {
        let mut events = Events::with_capacity(1024);
        for index in 0..self.lines.len() {
            self.receive(index);
        }
        let began = Instant::now();
        let mut next = began;
        while self.audience.absent() > 0 {
            let now = Instant::now();
            if now >= next {
                next = now + PRIME_EVERY;
                // Number 0 is nobody's: only that it comes counts.
                let frames = self.frames(0, 0, 1);
                self.send(self.plan.subscribers, &frames);
            }
            if interrupt::is_asked() {
                return Err(interrupt::too_early());
            }
            let is_alone = self.lines[self.plan.subscribers..]
                .iter()
                .all(|line| line.peer.is_none());
            if is_alone || now > began + self.timeout {
                return self.nobody();
            }
            wait(poll, &mut events, Some(LOOK_EVERY))?;
            self.take(&events);
        }
        Ok(())
    }

    /// Not all subscribers receive what is published.
    fn nobody(&mut self) -> Result<(), Failure> {
        let absent = self.audience.absent();
        let said = match self.said.as_str() {
            "" => String::new(),
            said => format!(" (the server said: {})", crate::value::printable(said)),
        };
        // What has ended a connection says more than what came before.
        let said = match self.outcome.faults.first() {
            [] => said,
            [first, ..] => format!(" ({first})"),
        };
        if absent == self.audience.present() {
            return Err(Failure::new(
                Exit::Failure,
                format!("nothing that was published came to a subscriber{said}"),
                "check --preset, --subscribe and --publish, and what the server allows",
            ));
        }
        let fault = Fault::new(
            Kind::Late,
            format!("nothing of what was published came{said}"),
        );
        for index in 0..self.plan.subscribers {
            if self.audience.is_absent(index) {
                self.outcome.faults.add(index, &fault);
                self.drop_line(index);
            }
        }
        Ok(())
    }

    fn run(&mut self, poll: &mut Poll) -> Result<(), Failure> {
        let plan = self.plan;
        self.meter = Meter::new(plan.warmup, plan.duration, plan.process, plan.quiet);
        let mut events = Events::with_capacity(1024);
        let mut looked = Instant::now();
        loop {
            let now = Instant::now();
            self.now = nanoseconds(now - self.meter.began);
            if let Some(phase) = self.meter.turn(now) {
                self.phase = phase;
            }
            self.publish();
            if now >= looked + LOOK_EVERY {
                looked = now;
                self.look();
                let (messages, latencies) = (self.outcome.deliveries, &self.outcome.latencies);
                self.meter.show(now, messages, latencies);
            }
            if self.is_done() || interrupt::is_asked() {
                break;
            }
            wait(poll, &mut events, Some(self.time_to_wait(now)))?;
            self.take(&events);
        }
        if self.phase != Phase::Over {
            self.meter.stop();
        }
        self.meter.hide();
        Ok(())
    }

    fn is_done(&self) -> bool {
        let publishers = &self.lines[self.plan.subscribers..];
        if self.audience.present() == 0 || publishers.iter().all(|line| line.peer.is_none()) {
            return true;
        }
        self.phase == Phase::Over
            && (0..self.plan.publishers).all(|publisher| {
                let is_paid = self.schedule.as_ref().is_none_or(|schedule| {
                    self.audience.published(publisher) >= schedule.owed(publisher)
                });
                publishers[publisher].peer.is_none()
                    || is_paid && self.audience.outstanding(publisher) == 0
            })
    }

    fn time_to_wait(&self, now: Instant) -> Duration {
        let passed = now - self.meter.began;
        if self.phase == Phase::Over {
            return LOOK_EVERY;
        }
        let wait = LOOK_EVERY.min(self.meter.until_turn(passed));
        match &self.schedule {
            // The system's timers are too coarse for what is due at once.
            Some(schedule) => wait.min(schedule.next().saturating_sub(passed + FINE)),
            None => wait,
        }
    }

    /// Publishes what may be published now.
    fn publish(&mut self) {
        if let Some(schedule) = &mut self.schedule {
            let end = nanoseconds(self.meter.end()).saturating_sub(1);
            let _ = schedule.advance(self.now.min(end));
        }
        for publisher in 0..self.plan.publishers {
            let index = self.plan.subscribers + publisher;
            let is_free = self.lines[index].peer.as_ref().is_some_and(Peer::is_idle);
            if !is_free {
                continue;
            }
            let published = self.audience.published(publisher);
            let room = self.plan.in_flight as u64 - self.audience.outstanding(publisher);
            let count = match &self.schedule {
                Some(schedule) => room.min(schedule.owed(publisher).saturating_sub(published)),
                None if self.phase == Phase::Over => 0,
                None => room,
            };
            if count == 0 {
                continue;
            }
            let first = published + 1;
            for number in first..first + count {
                let sent_at = match &self.schedule {
                    Some(schedule) => schedule.time_of(publisher, number - 1),
                    None => self.now,
                };
                if self.phase == Phase::Window {
                    self.outcome.published += 1;
                    if room == self.plan.in_flight as u64 {
                        self.outcome.lag.add(self.now.saturating_sub(sent_at), 1);
                    }
                }
                self.audience.publish(publisher, sent_at);
            }
            let frames = self.frames(publisher, first, count);
            self.send(index, &frames);
        }
    }

    /// The frames of messages of a publisher.
    fn frames(&mut self, publisher: usize, first: u64, count: u64) -> Vec<u8> {
        let script = &self.plan.script;
        let mut frames = Vec::new();
        for number in first..first + count {
            let stamp = payload::stamp(publisher as u64, number);
            let stamp = str::from_utf8(&stamp).unwrap_or_default();
            self.payload.replace_range(8..SIZE_OF_MARK, stamp);
            let values = Values {
                connection: self.plan.subscribers + publisher,
                number,
                time: self.now / 1_000,
                payload: &self.payload,
            };
            let text = script.fill(&script.publish, values);
            tape::frame(script.kind, text.as_bytes(), &mut frames);
        }
        frames
    }

    fn send(&mut self, index: usize, frames: &[u8]) {
        let line = &mut self.lines[index];
        if let Some(Err(fault)) = line.peer.as_mut().map(|peer| peer.send(frames)) {
            self.outcome.faults.add(index, &fault);
            self.drop_line(index);
        }
    }

    fn drop_line(&mut self, index: usize) {
        self.lines[index].peer = None;
        if index < self.plan.subscribers {
            self.audience.leave(index);
        }
    }

    /// Handles what has happened.
    fn take(&mut self, events: &Events) {
        for event in events {
            let index = event.token().0;
            if index >= self.lines.len() {
                continue;
            }
            if event.is_writable()
                && let Some(Err(fault)) = self.lines[index].peer.as_mut().map(Peer::flush)
            {
                self.outcome.faults.add(index, &fault);
                self.drop_line(index);
            }
            if event.is_read_closed()
                && let Some(peer) = &mut self.lines[index].peer
            {
                peer.note_end();
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.receive(index);
            }
        }
    }

    /// Reads and judges what is there.
    fn receive(&mut self, index: usize) {
        let is_subscriber = index < self.plan.subscribers;
        let script = &self.plan.script;
        let limit = self.plan.size * (self.plan.in_flight + 2) + AROUND;
        let mut answers = Vec::new();
        loop {
            let Self {
                lines,
                audience,
                buffer,
                inflated,
                known,
                said,
                schedule,
                meter,
                phase,
                now,
                outcome,
                ..
            } = self;
            let Line {
                peer,
                inflater,
                shares,
                tail,
            } = &mut lines[index];
            let Some(peer) = peer else { return };
            let window = nanoseconds(meter.start())..nanoseconds(meter.end());
            let mut heard = false;
            let more = peer.read(buffer, limit, |message: Message<'_>| {
                if !heard {
                    heard = true;
                    *now = nanoseconds(meter.began.elapsed());
                }
                let mut text = message.payload;
                if message.compressed {
                    let Some(inflater) = inflater else {
                        return Err(antiphon_proto::error::Violation::Rsv1.into());
                    };
                    if !*shares || *known != text {
                        inflated.clear();
                        let limits = InflateLimits {
                            max_size: limit,
                            max_ratio: u32::MAX,
                        };
                        inflater.inflate(text, true, limits, inflated)?;
                        known.clear();
                        if *shares {
                            known.extend_from_slice(text);
                        }
                    }
                    text = inflated;
                }
                if let Some((question, answer)) = script.answers
                    && question.is_in(text)
                {
                    tape::frame(script.kind, answer.as_bytes(), &mut answers);
                }
                if !is_subscriber {
                    if !audience.is_payload(text) && said.len() < 300 {
                        *said = String::from_utf8_lossy(&text[..text.len().min(300)]).into_owned();
                    }
                    return Ok(());
                }
                let joined;
                if script.is_stream && !tail.is_empty() {
                    tail.extend_from_slice(text);
                    joined = std::mem::take(tail);
                    text = &joined;
                }
                let rest =
                    audience.deliver(index, text, script.is_stream, |delivery| match delivery {
                        Ok(sent_at) => {
                            if *phase == Phase::Window {
                                outcome.deliveries += 1;
                            }
                            let counts = match schedule {
                                Some(_) => window.contains(&sent_at),
                                None => *phase == Phase::Window,
                            };
                            if counts {
                                outcome.latencies.add(now.saturating_sub(sent_at), 1);
                            }
                        }
                        Err(fault) => outcome.faults.add(index, &fault),
                    });
                if script.is_stream {
                    *tail = rest.to_vec();
                }
                Ok(())
            });
            let more = match more {
                Ok(more) => more,
                Err(fault) => {
                    self.outcome.faults.add(index, &fault);
                    self.drop_line(index);
                    return;
                }
            };
            if !answers.is_empty() {
                let answers = std::mem::take(&mut answers);
                self.send(index, &answers);
            }
            if !more {
                return;
            }
        }
    }

    /// Finds what should have been delivered long ago.
    fn look(&mut self) {
        let timeout = nanoseconds(self.timeout);
        let is_over = self.phase == Phase::Over
            && self.now > nanoseconds(self.meter.end()).saturating_add(timeout);
        for publisher in 0..self.plan.publishers {
            while let Some(oldest) = self.audience.oldest(publisher)
                && (is_over || self.now > oldest.saturating_add(timeout))
            {
                self.give_up(publisher);
            }
            let index = self.plan.subscribers + publisher;
            if let Some(schedule) = &self.schedule
                && is_over
            {
                let published = self.audience.published(publisher);
                let unsent = schedule.owed(publisher).saturating_sub(published);
                let fault = Fault::new(Kind::Late, "messages could not be published in time");
                self.outcome.faults.add_many(index, &fault, unsent);
            }
            if is_over {
                self.lines[index].peer = None;
            }
        }
    }

    /// The time of a publisher's oldest message is over.
    fn give_up(&mut self, publisher: usize) {
        for index in 0..self.plan.subscribers {
            let (lost, late) = self.audience.give_up(index, publisher);
            let fault = Fault::new(Kind::Lost, "messages never came, later ones did");
            self.outcome.faults.add_many(index, &fault, lost);
            if late > 0 {
                let said = match self.said.as_str() {
                    "" => String::new(),
                    said => format!("; the server said: {}", crate::value::printable(said)),
                };
                let fault = Fault::new(Kind::Late, format!("deliveries did not come{said}"));
                self.outcome.faults.add_many(index, &fault, late);
                self.drop_line(index);
            }
        }
    }

    /// The connections that are left, and what came of it.
    fn finish(mut self) -> (Vec<Option<Peer>>, Outcome) {
        self.outcome.usage = self.meter.usage();
        let peers = self.lines.into_iter().map(|line| line.peer);
        (peers.collect(), self.outcome)
    }
}
