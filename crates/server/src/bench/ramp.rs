//! More and more load, step by step, until it is too much.

use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Write as _},
};

use serde::Serialize;

use crate::{
    bench::{
        echo::{self, Outcome, Plan},
        interrupt,
        latency::{grouped, time},
        opening::Target,
        report::round,
    },
    cli::bench::{Growth, RampArgs},
    failure::Failure,
};

/// Part of the rate that has to be reached.
const KEPT: f64 = 0.95;
/// Most steps.
const MAX_STEPS: usize = 1_000;

/// A step, as it is reported.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Step {
    connections: usize,
    rate: Option<f64>,
    pub(crate) messages_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    errors: u64,
    server_cpu_share: Option<f64>,
    generator_limited: bool,
}

/// Why a ramp ends at Ctrl-C. The step under way is not told: it is shorter than the others.
const INTERRUPTED: &str = "an interruption";

/// All steps.
pub(crate) struct Ramp {
    /// All that were made.
    pub(crate) steps: Vec<Step>,
    /// The last one that was within the limits, and what came of it; the first one where none was.
    pub(crate) knee: Option<usize>,
    pub(crate) outcome: Outcome,
    /// Why it ended.
    pub(crate) ended: &'static str,
}

/// Makes the steps.
///
/// # Errors
///
/// Nobody listens, or this process cannot do it.
pub(crate) fn run(target: &Target, args: &RampArgs, plan: &Plan) -> Result<Ramp, Failure> {
    let mut ramp = Ramp {
        steps: Vec::new(),
        knee: None,
        outcome: Outcome::default(),
        ended: "the last step",
    };
    for value in values(args) {
        let mut plan = plan.clone();
        match args.by {
            Growth::Connections => plan.connections = value,
            Growth::Rate => plan.rate = Some(value as f64),
        }
        let outcome = match echo::run(target, &plan) {
            // The steps before are worth telling.
            Err(_) if interrupt::is_asked() && !ramp.steps.is_empty() => {
                ramp.ended = INTERRUPTED;
                break;
            }
            outcome => outcome?,
        };
        if interrupt::is_asked() && !ramp.steps.is_empty() {
            ramp.ended = INTERRUPTED;
            break;
        }
        let step = step(&plan, &outcome);
        if plan.shows_steps() {
            let _ = writeln!(std::io::stderr(), "{}", row(&step));
        }
        let too_much = if step.errors > args.until_errors {
            Some("faults")
        } else if step.p99_us > args.until_p99.as_secs_f64() * 1e6 {
            Some("the latency")
        } else if plan
            .rate
            .is_some_and(|rate| step.messages_per_second < rate * KEPT)
        {
            Some("the rate was not reached")
        } else {
            None
        };
        let index = ramp.steps.len();
        ramp.steps.push(step);
        if index == 0 || too_much.is_none() {
            ramp.outcome = outcome;
        }
        if let Some(why) = too_much {
            ramp.ended = why;
            break;
        }
        ramp.knee = Some(index);
    }
    Ok(ramp)
}

/// What grows, from step to step; the last one is exact.
fn values(args: &RampArgs) -> Vec<usize> {
    let (first, last) = match args.by {
        Growth::Connections => (1, 1_024),
        Growth::Rate => (1_000, 1_000_000),
    };
    let (first, last) = (args.from.unwrap_or(first), args.to.unwrap_or(last));
    let mut values = vec![first];
    while values.len() < MAX_STEPS
        && let Some(latest) = values.last().copied().filter(|latest| *latest < last)
    {
        let next = match args.add {
            Some(more) => latest.saturating_add(more),
            None => ((latest as f64 * args.factor) as usize).max(latest + 1),
        };
        values.push(next.min(last));
    }
    values
}

fn step(plan: &Plan, outcome: &Outcome) -> Step {
    let seconds = outcome.usage.seconds.max(1e-9);
    let told = outcome.latencies.percentiles();
    Step {
        connections: plan.connections,
        rate: plan.rate,
        messages_per_second: round(outcome.messages as f64 / seconds, 1),
        p50_us: told.p50,
        p99_us: told.p99,
        errors: outcome.faults.total(),
        server_cpu_share: outcome.usage.server.map(|cpu| round(cpu / seconds, 4)),
        generator_limited: plan.rate.is_none() && outcome.usage.is_limited(),
    }
}

/// A step in one line.
fn row(step: &Step) -> String {
    let mut text = format!("{:>9} connections", grouped(step.connections as u64));
    if let Some(rate) = step.rate {
        let _ = write!(text, "  {:>11}/s due", grouped(rate as u64));
    }
    let _ = write!(
        text,
        "  {:>11}/s  p50 {:>7}  p99 {:>7}",
        grouped(step.messages_per_second as u64),
        time(step.p50_us * 1e3),
        time(step.p99_us * 1e3),
    );
    if let Some(share) = step.server_cpu_share {
        let _ = write!(text, "  server {:>3.0} %", share * 100.0);
    }
    if step.generator_limited {
        text.push_str("  (the generator was the limit)");
    }
    if step.errors > 0 {
        let _ = write!(text, "  {} faults", grouped(step.errors));
    }
    text
}

impl Plan {
    /// Somebody looks on.
    fn shows_steps(&self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }
}

impl Ramp {
    /// All steps, a line each; the knee is marked. Nothing where they have been seen as they were made.
    pub(crate) fn text(&self, plan: &Plan) -> String {
        if plan.shows_steps() && std::io::stdout().is_terminal() {
            return String::new();
        }
        let mut text = String::new();
        for (index, step) in self.steps.iter().enumerate() {
            let mark = if self.knee == Some(index) { '*' } else { ' ' };
            let _ = writeln!(text, "{mark}{}", row(step));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        ramp: RampArgs,
    }

    #[test]
    fn steps_grow_to_the_last_one() {
        for (options, expected) in [
            (&["--to", "10"][..], &[1, 2, 4, 8, 10][..]),
            (&["--from", "5", "--to", "5"], &[5]),
            (&["--from", "9", "--to", "5"], &[9]),
            (&["--to", "10", "--add", "4"], &[1, 5, 9, 10]),
            (&["--to", "4", "--factor", "1.1"], &[1, 2, 3, 4]),
            (&["--by", "rate", "--to", "3_000"], &[1000, 2000, 3000]),
        ] {
            let line = Line::parse_from(["ramp", "ws://host/"].iter().chain(options));
            assert_eq!(values(&line.ramp), expected, "{options:?}");
        }
    }
}
