//! Ctrl-C: the first ends the measurement, and what has been measured is told; the second ends the process.

use std::{
    io, process,
    sync::{
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use crate::failure::{Exit, Failure};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Listens for Ctrl-C and SIGTERM from now on. Where the system has nothing for it, they end the process.
pub(crate) fn watch() {
    let (ready, is_ready) = mpsc::channel();
    let thread = thread::Builder::new().spawn(move || listen(ready));
    if thread.is_ok() {
        // An error as well: there is nothing to wait for any more.
        let _ = is_ready.recv();
    }
}

fn listen(ready: mpsc::Sender<()>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        drop(ready);
        signals.next().await;
        ASKED.store(true, Relaxed);
        signals.next().await;
        process::exit(Exit::Interrupted as i32)
    })
}

#[cfg(unix)]
struct Signals([tokio::signal::unix::Signal; 2]);

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        ]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Whether the run is to end now.
pub(crate) fn is_asked() -> bool {
    ASKED.load(Relaxed)
}

/// The run ended before there was anything to tell.
pub(crate) fn too_early() -> Failure {
    Failure::new(
        Exit::Interrupted,
        "interrupted before anything was measured",
        "once it measures, Ctrl-C shows what it has",
    )
}
