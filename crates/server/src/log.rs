//! Logs and panics: to stderr, one line each, coloured only on a terminal.

use std::{env, panic};

use tracing_subscriber::EnvFilter;

use crate::{
    cli::GlobalArgs,
    failure::{Exit, Failure},
    value,
};

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
    let filter = EnvFilter::try_new(global.log.as_deref().unwrap_or(level)).map_err(|error| {
        Failure::new(
            Exit::Usage,
            format!("the log filter is not understood: {error}"),
            "write it as level or crate=level,...",
        )
    })?;
    // The target is the library's; a filter that is a constant cannot fail to parse.
    let filter = match (control, "antiphon::control=trace".parse()) {
        (true, Ok(directive)) => filter.add_directive(directive),
        _ => filter,
    };
    let colour = matches!(
        anstream::AutoStream::choice(&std::io::stderr()),
        anstream::ColorChoice::Always | anstream::ColorChoice::AlwaysAnsi
    );
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(global.verbose > 0)
        .init();
    Ok(())
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
