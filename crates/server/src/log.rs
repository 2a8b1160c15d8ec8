//! Logs and panics: to stderr, one line each, coloured only on a terminal, and never more of one kind than are useful.

mod format;
mod limiter;

use std::{
    env, panic,
    sync::{Arc, OnceLock, atomic::Ordering},
};

use tracing_subscriber::{
    EnvFilter, Layer as _, Registry,
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

use self::format::{Lines, Manner};
use crate::{
    cli::global::GlobalArgs,
    config::schema::{LogFormat, Logs},
    failure::{Exit, Failure},
    value,
};

/// The log of this process, once there is one.
static LOG: OnceLock<Log> = OnceLock::new();

/// What a configuration can change of a log that runs.
struct Log {
    manner: Arc<Manner>,
    filter: reload::Handle<EnvFilter, Registry>,
    /// The command line has said what is logged.
    is_filtered: bool,
}

/// Sends the log to stderr: warnings; `-v` adds what happens, `-vv` and `-vvv` details; `--quiet` leaves errors.
/// `control` adds control frames, whatever else is logged.
///
/// # Errors
///
/// `ANTIPHON_LOG` or `--log` is no filter.
pub(crate) fn start(global: &GlobalArgs, control: bool) -> Result<(), Failure> {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => "warn,antiphon=info",
        (false, 1) => "info,antiphon=debug",
        (false, 2) => "debug,antiphon=trace",
        (false, _) => "trace",
    };
    let filter = filter(global.log.as_deref().unwrap_or(level))?;
    // The target is the library's; a filter that is a constant cannot fail to parse.
    let filter = match (control, "antiphon::control=trace".parse()) {
        (true, Ok(directive)) => filter.add_directive(directive),
        _ => filter,
    };
    let colour = matches!(
        anstream::AutoStream::choice(&std::io::stderr()),
        anstream::ColorChoice::Always | anstream::ColorChoice::AlwaysAnsi
    );
    let manner = Arc::new(Manner::default());
    let (filter, handle) = reload::Layer::new(filter);
    let lines = layer(manner.clone(), std::io::stderr, global.verbose > 0, colour);
    if Registry::default()
        .with(filter.and_then(lines))
        .try_init()
        .is_ok()
    {
        let _ = LOG.set(Log {
            manner,
            filter: handle,
            is_filtered: global.log.is_some() || global.verbose > 0 || global.quiet,
        });
    }
    Ok(())
}

/// Logs from now on as the configuration says; the command line's `--log`, `-v` and `--quiet` stay above its level.
///
/// # Errors
///
/// `logs.level` is no filter.
pub(crate) fn configure(logs: &Logs) -> Result<(), Failure> {
    let filter = filter(&logs.level)?;
    let Some(log) = LOG.get() else { return Ok(()) };
    log.manner
        .json
        .store(logs.format == LogFormat::Json, Ordering::Relaxed);
    log.manner.limiter.set_rate(logs.rate);
    if !log.is_filtered {
        // It fails only where there is no log any more.
        let _ = log.filter.reload(filter);
    }
    Ok(())
}

/// Lines that were left out because there were too many of their kind.
pub(crate) fn left_out() -> u64 {
    LOG.get().map_or(0, |log| log.manner.limiter.left_out())
}

fn filter(text: &str) -> Result<EnvFilter, Failure> {
    EnvFilter::try_new(text).map_err(|error| {
        Failure::new(
            Exit::Usage,
            format!("the log filter is not understood: {error}"),
            "write it as level or crate=level,...",
        )
    })
}

fn layer<W>(
    manner: Arc<Manner>,
    writer: W,
    target: bool,
    colour: bool,
) -> impl tracing_subscriber::Layer<Registry>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    fmt::layer()
        .fmt_fields(format::fields())
        .event_format(Lines {
            text: fmt::format().with_target(target),
            manner,
        })
        .with_ansi(colour)
        .with_writer(writer)
}

/// A panic is a defect of ours: one line for the user, the backtrace only for those who ask for it.
pub(crate) fn tame_panics() {
    if env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
        return;
    }
    panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let what = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        anstream::eprintln!(
            "antiphon: error: internal defect at {place}: {}; please report it, with the output of RUST_BACKTRACE=1",
            value::printable(what.unwrap_or("no message"))
        );
    }));
}

#[cfg(test)]
mod tests;
