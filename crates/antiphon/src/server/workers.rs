//! Threads that each have a runtime and listeners of their own.

use std::{io, net, thread};

use tokio::{
    net::TcpListener,
    runtime::Builder,
    sync::{oneshot, watch},
};

use crate::error::{Error, ErrorKind, Result};

/// A thread that is ready and waits for the word to begin.
pub(crate) struct Worker {
    begin: oneshot::Sender<()>,
}

impl Worker {
    /// Starts a thread with these listeners. Once it is told to, it calls `accept` for each of them, in its own runtime,
    /// and then lives until the server has ended.
    pub(crate) async fn start(
        number: usize,
        listeners: Vec<net::TcpListener>,
        accept: impl Fn(TcpListener) + Send + 'static,
        ended: watch::Receiver<bool>,
    ) -> Result<Self> {
        let (begin, begun) = oneshot::channel();
        let (say, ready) = oneshot::channel();
        let work = move || run(listeners, accept, ended, say, begun);
        let spawned = thread::Builder::new()
            .name(format!("antiphon-{number}"))
            .spawn(work);
        let ready = match spawned {
            Ok(_detached) => ready
                .await
                .unwrap_or_else(|gone| Err(io::Error::other(gone))),
            Err(error) => Err(error),
        };
        ready.map_err(|source| {
            let context = format!("a worker cannot be started: {source}");
            Error::new(ErrorKind::Io, context).with_source(source)
        })?;
        Ok(Self { begin })
    }

    /// Begins to accept. A worker that is dropped instead ends without having accepted anything.
    pub(crate) fn begin(self) {
        // A thread that is gone has nothing to begin with.
        let _ = self.begin.send(());
    }
}

fn run(
    listeners: Vec<net::TcpListener>,
    accept: impl Fn(TcpListener),
    mut ended: watch::Receiver<bool>,
    ready: oneshot::Sender<io::Result<()>>,
    begun: oneshot::Receiver<()>,
) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error))),
    };
    runtime.block_on(async {
        let listeners = listeners.into_iter().map(TcpListener::from_std);
        let listeners = match listeners.collect::<io::Result<Vec<_>>>() {
            Ok(listeners) => listeners,
            Err(error) => return drop(ready.send(Err(error))),
        };
        if ready.send(Ok(())).is_err() || begun.await.is_err() {
            return;
        }
        listeners.into_iter().for_each(accept);
        // A server that is gone has ended.
        let _ = ended.wait_for(|ended| *ended).await;
    });
    // What a handler has left to threads for blocking work is not waited for.
    runtime.shutdown_background();
}
