//! Connections that are open and do nothing: what each one costs the server's memory.

use std::time::{Duration, Instant};

use mio::Events;
use serde_json::{Value, json};

use crate::{
    bench::{
        echo::{self, Echo, READ_BUFFER, say_goodbye},
        fault::Faults,
        interrupt,
        opening::{Target, poll, wait},
        peer::Peer,
        report::round,
        usage::{Memory, Process},
    },
    failure::{Exit, Failure, plain},
};

/// Between two looks at the clock.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Connections that were open at the end.
    pub(crate) open: usize,
    /// How long it took to open them.
    pub(crate) opening: Duration,
    pub(crate) before: Memory,
    pub(crate) after: Memory,
    pub(crate) echo: echo::Outcome,
}

impl Outcome {
    /// Bytes for each connection.
    pub(crate) fn memory(&self) -> Value {
        let each = |before: u64, after: u64| {
            let more = after as f64 - before as f64;
            round(more / self.open.max(1) as f64, 1)
        };
        let (before, after) = (self.before, self.after);
        json!({
            "rss_before": before.rss,
            "rss_after": after.rss,
            "rss_each": each(before.rss, after.rss),
            "pss_before": before.pss,
            "pss_after": after.pss,
            "pss_each": each(before.pss, after.pss),
        })
    }
}

/// Opens the connections, lets each echo what the plan says, idles, and reads the memory.
///
/// # Errors
///
/// Nobody listens, the process cannot be read, or this one may not open so many connections.
pub(crate) fn run(
    target: &Target,
    plan: &echo::Plan,
    process: Process,
    idle: Duration,
) -> Result<Outcome, Failure> {
    let mut poll = poll()?;
    let mut faults = Faults::default();
    // What a server makes once, with its first connection, is not the price of each of many.
    let first = target.open_all(&mut poll, 1, &mut faults)?;
    let first = first.into_iter().map(|opened| opened.map(Peer::from));
    let once = echo::Plan {
        connections: 1,
        ..plan.clone()
    };
    let mut echo = Echo::new(&once, first.collect(), faults, target.timeout);
    echo.run(&mut poll)?;
    let (first, outcome) = echo.finish();
    say_goodbye(&mut poll, first)?;
    let mut faults = outcome.faults;
    let before = memory(process)?;
    let began = Instant::now();
    let opened = target.open_all(&mut poll, plan.connections, &mut faults)?;
    let opening = began.elapsed();
    let peers = opened
        .into_iter()
        .map(|opened| opened.map(Peer::from))
        .collect();
    let mut echo = Echo::new(plan, peers, faults, target.timeout);
    echo.run(&mut poll)?;
    let (mut peers, mut outcome) = echo.finish();

    // Pings are answered, and a connection that ends is noticed.
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; READ_BUFFER];
    let end = Instant::now() + idle;
    let mut is_first = true;
    while is_first || Instant::now() < end && !interrupt::is_asked() {
        let left = end.saturating_duration_since(Instant::now());
        wait(&mut poll, &mut events, Some(left.min(LOOK_EVERY)))?;
        let heard: Vec<usize> = if std::mem::take(&mut is_first) {
            (0..peers.len()).collect()
        } else {
            events.iter().map(|event| event.token().0).collect()
        };
        for index in heard {
            while let Some(Some(peer)) = peers.get_mut(index) {
                // A server may greet whoever comes.
                match peer.read(&mut buffer, 1 << 20, |_| Ok(())) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(fault) => {
                        outcome.faults.add(index, &fault);
                        peers[index] = None;
                    }
                }
            }
        }
    }
    let after = memory(process)?;
    let open = peers.iter().flatten().count();
    say_goodbye(&mut poll, peers)?;
    Ok(Outcome {
        open,
        opening,
        before,
        after,
        echo: outcome,
    })
}

fn memory(process: Process) -> Result<Memory, Failure> {
    process.memory().map_err(|error| {
        Failure::new(
            Exit::Failure,
            format!("cannot read the memory of the server: {}", plain(&error)),
            "name a process of your own with --pid",
        )
    })
}
