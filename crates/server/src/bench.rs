//! `antiphon bench`: load for any WebSocket server, and a judge of what it answers.

mod audience;
mod churn;
mod echo;
mod fanout;
mod fault;
mod idle;
mod interrupt;
mod judge;
mod latency;
mod meter;
mod opening;
mod payload;
mod peer;
mod ramp;
mod reader;
mod report;
mod schedule;
mod script;
mod socket;
mod svg;
mod tape;
mod tls;
mod usage;

use std::{fs::OpenOptions, io::Write as _, time::Duration};

use antiphon_proto::message::MessageKind;
use serde_json::json;

use crate::{
    bench::{
        echo::Plan,
        meter::Usage,
        opening::Target,
        payload::Payload,
        report::{Report, compression},
        script::Script,
        usage::Process,
    },
    cli::bench::{
        BenchArgs, BenchCommand, ChurnArgs, CommonArgs, EchoArgs, FanoutArgs, Growth, IdleArgs,
        MessageArgs, RampArgs,
    },
    failure::{Exit, Failure},
};

/// Most messages in flight on a connection where the rate is fixed.
const RATE_DEPTH: usize = 1024;

/// Measures, and tells what was found.
///
/// # Errors
///
/// The measurement could not be made, or the server was at fault.
pub(crate) fn run(args: &BenchArgs) -> Result<(), Failure> {
    let common = match &args.command {
        BenchCommand::Echo(args) => &args.common,
        BenchCommand::Fanout(args) => &args.common,
        BenchCommand::Churn(args) => &args.common,
        BenchCommand::Idle(args) => &args.common,
        BenchCommand::Ramp(args) => &args.common,
    };
    if let Some(path) = &common.svg {
        // Now, and not when the load has run for nothing.
        let file = OpenOptions::new().append(true).create(true).open(path);
        file.map_err(|error| Failure::file(path, &error))?;
    }
    interrupt::watch();
    let mut report = match &args.command {
        BenchCommand::Echo(args) => echo(args)?,
        BenchCommand::Fanout(args) => fanout(args)?,
        BenchCommand::Churn(args) => churn(args)?,
        BenchCommand::Idle(args) => idle(args)?,
        BenchCommand::Ramp(args) => ramp(args)?,
    };
    if interrupt::is_asked() {
        if report.is_empty() {
            return Err(interrupt::too_early());
        }
        report = report.result("interrupted", true);
    }
    let told = tell(common, &report);
    if let Some(path) = &common.svg {
        std::fs::write(path, svg::picture(&report)).map_err(|error| Failure::file(path, &error))?;
    }
    told
}

fn tell(common: &CommonArgs, report: &Report) -> Result<(), Failure> {
    let text = if common.json {
        report.json() + "\n"
    } else {
        report.text()
    };
    let mut stdout = std::io::stdout().lock();
    // A reader that hung up is no failure.
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    if interrupt::is_asked() {
        return Err(Failure::new(
            Exit::Interrupted,
            "interrupted",
            "the report is of what was measured until then",
        ));
    }
    if report.errors() == 0 {
        return Ok(());
    }
    let first = report
        .faults()
        .first()
        .map(String::as_str)
        .unwrap_or_default();
    Err(Failure::new(
        Exit::Failure,
        format!("{} faults, the first: {first}", report.errors()),
        "the report counts them by kind",
    ))
}

fn echo(args: &EchoArgs) -> Result<Report, Failure> {
    let common = &args.common;
    let process = prepare(common, args.connections)?;
    let depth = args.depth.unwrap_or(match args.rate {
        Some(_) => RATE_DEPTH,
        None => 1,
    });
    let plan = Plan {
        connections: args.connections,
        depth,
        rate: args.rate,
        raw: args.raw,
        warmup: args.time.warmup,
        duration: args.time.duration,
        ..plan(common, &args.message, process)?
    };
    let mut target = Target::new(common, args.message.compression.config(), None, true)?;
    target.raw = args.raw;
    let outcome = echo::run(&target, &plan)?;
    let bytes = outcome.messages * outcome.size as u64;
    let mut report = Report::new(
        "echo",
        target.name(),
        (outcome.messages, bytes),
        &outcome.latencies,
        &outcome.faults,
        outcome.usage,
    )
    .set("connections", plan.connections)
    .set("size", outcome.size)
    .set("depth", depth)
    .set("type", kind(plan.payload.kind))
    .set("rate", args.rate)
    .set("compression", compression(outcome.deflate))
    .set("raw", args.raw)
    .result("opened", outcome.opened)
    .result("bytes_sent_each", report::round(outcome.wire, 1))
    .result(
        "bytes_received_each",
        report::round(outcome.received as f64 / outcome.messages.max(1) as f64, 1),
    );
    if args.rate.is_some() {
        report = report.with_lag(&outcome.lag);
    }
    Ok(report)
}

fn fanout(args: &FanoutArgs) -> Result<Report, Failure> {
    let common = &args.common;
    let process = prepare(common, args.subscribers + args.publishers)?;
    let script = Script::new(args);
    let target = Target::new(common, args.compression.config(), script.subprotocol, true)?;
    let in_flight = args.in_flight.unwrap_or(match args.rate {
        Some(_) => RATE_DEPTH,
        None => 1,
    });
    let message = kind(script.kind);
    let plan = fanout::Plan {
        subscribers: args.subscribers,
        publishers: args.publishers,
        in_flight,
        rate: args.rate,
        size: args.size,
        script,
        warmup: args.time.warmup,
        duration: args.time.duration,
        process,
        quiet: common.json,
    };
    let outcome = fanout::run(&target, &plan)?;
    let bytes = outcome.deliveries * args.size as u64;
    let published = outcome.published as f64 / outcome.usage.seconds.max(1e-9);
    let mut report = Report::new(
        "fanout",
        target.name(),
        (outcome.deliveries, bytes),
        &outcome.latencies,
        &outcome.faults,
        outcome.usage,
    )
    .set("preset", name(args.preset))
    .set("connections", args.subscribers + args.publishers)
    .set("subscribers", args.subscribers)
    .set("publishers", args.publishers)
    .set("size", args.size)
    .set("in_flight", in_flight)
    .set("type", message)
    .set("rate", args.rate)
    .set("compression", compression(outcome.deflate))
    .result("opened", outcome.opened)
    .result("published", outcome.published)
    .result("published_per_second", report::round(published, 1));
    report.unit = "deliveries";
    if args.rate.is_some() {
        report = report.with_lag(&outcome.lag);
    }
    Ok(report)
}

fn churn(args: &ChurnArgs) -> Result<Report, Failure> {
    let common = &args.common;
    let process = prepare(common, args.connections)?;
    let target = Target::new(common, None, None, !args.no_resumption)?;
    let plan = churn::Plan {
        connections: args.connections,
        closes: !args.no_close_handshake,
        warmup: args.time.warmup,
        duration: args.time.duration,
        process,
        quiet: common.json,
    };
    let outcome = churn::run(&target, &plan)?;
    let mut report = Report::new(
        "churn",
        target.name(),
        (outcome.opened, 0),
        &outcome.latencies,
        &outcome.faults,
        outcome.usage,
    )
    .set("connections", args.connections)
    .set("close_handshake", plan.closes)
    .result("server_hangs_up", outcome.hangs_up);
    if target.is_secure() {
        let tls = json!({"resumed": outcome.resumed, "full": outcome.full});
        report = report.result("tls", tls);
    }
    report.unit = "handshakes";
    Ok(report)
}

fn idle(args: &IdleArgs) -> Result<Report, Failure> {
    let common = &args.common;
    let Some(process) = prepare(common, args.connections)? else {
        return Err(Failure::new(
            Exit::Usage,
            "whose memory is to be read is not said",
            "give the process of the server with --pid",
        ));
    };
    let plan = Plan {
        connections: args.connections,
        most: Some(args.messages),
        duration: common.timeout,
        ..plan(common, &args.message, Some(process))?
    };
    let target = Target::new(common, args.message.compression.config(), None, true)?;
    let outcome = idle::run(&target, &plan, process, args.duration)?;
    let echo = &outcome.echo;
    let report = Report::new(
        "idle",
        target.name(),
        (0, 0),
        &echo.latencies,
        &echo.faults,
        Usage::default(),
    );
    Ok(report
        .set("connections", args.connections)
        .set("messages_each", args.messages)
        .set("compression", compression(echo.deflate))
        .result("opened", echo.opened)
        .result("open", outcome.open)
        .result(
            "opening_seconds",
            report::round(outcome.opening.as_secs_f64(), 3),
        )
        .result("memory_bytes", outcome.memory()))
}

fn ramp(args: &RampArgs) -> Result<Report, Failure> {
    let common = &args.common;
    let connections = match args.by {
        Growth::Connections => args.to.unwrap_or(1_024),
        Growth::Rate => args.connections,
    };
    let process = prepare(common, connections)?;
    let plan = Plan {
        connections: args.connections,
        depth: match args.by {
            Growth::Connections => args.depth,
            Growth::Rate => RATE_DEPTH,
        },
        warmup: args.warmup,
        duration: args.duration,
        ..plan(common, &args.message, process)?
    };
    let target = Target::new(common, args.message.compression.config(), None, true)?;
    let ramp = ramp::run(&target, args, &plan)?;
    let outcome = &ramp.outcome;
    let mut report = Report::new(
        "ramp",
        target.name(),
        (outcome.messages, outcome.messages * outcome.size as u64),
        &outcome.latencies,
        &outcome.faults,
        outcome.usage,
    )
    .set("by", name(args.by))
    .set("size", outcome.size)
    .set("depth", plan.depth)
    .set("compression", compression(outcome.deflate))
    .result("steps", json!(ramp.steps))
    .result(
        "knee",
        json!(ramp.knee.and_then(|index| ramp.steps.get(index))),
    )
    .result("ended_by", ramp.ended);
    report.above = ramp.text(&plan);
    Ok(report)
}

/// A plan without load; what the commands differ in is theirs to say.
fn plan(
    common: &CommonArgs,
    message: &MessageArgs,
    process: Option<Process>,
) -> Result<Plan, Failure> {
    Ok(Plan {
        connections: 1,
        depth: 1,
        rate: None,
        payload: Payload::new(message)?,
        deflate: message.compression.config(),
        warmup: Duration::ZERO,
        duration: Duration::ZERO,
        raw: false,
        most: None,
        process,
        quiet: common.json,
    })
}

/// The name of a value of an option.
fn name(value: impl clap::ValueEnum) -> String {
    value
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

/// What every run needs: a core, files, the server's process.
fn prepare(common: &CommonArgs, connections: usize) -> Result<Option<Process>, Failure> {
    if common.busy_poll {
        usage::busy_poll();
    }
    if let Some(core) = common.pin {
        usage::pin(core)?;
    }
    usage::allow_files(connections)?;
    common.server_pid.map(Process::find).transpose()
}

const fn kind(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Text => "text",
        MessageKind::Binary => "binary",
    }
}
