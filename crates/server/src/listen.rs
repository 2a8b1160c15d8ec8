//! From options to a running server: addresses, certificate, bounds, signals, and a quiet end.

use std::{
    future,
    io::{self, Write as _},
    net::{IpAddr, SocketAddr},
};

use antiphon::{Config, Error, ErrorKind, Origins, Running, Server};
use axum::Router;
use tokio::runtime::Runtime;

use crate::{
    cli::server::ListenArgs,
    failure::{Exit, Failure},
    tls,
};

/// A runtime for what a server does beside its connections, which have threads of their own.
///
/// # Errors
///
/// The system gives no threads.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    Runtime::new().map_err(|error| {
        Failure::new(
            Exit::Failure,
            format!("cannot start: {error}"),
            "check the limits of this process",
        )
    })
}

/// Serves these routes until a signal; prints the address first, and where there is a `page` the page's below it.
///
/// # Errors
///
/// An address, a certificate or a bound that cannot be used.
pub(crate) async fn serve(args: &ListenArgs, routes: Router, page: bool) -> Result<(), Failure> {
    let running = start(args, routes).await?;
    let (mut stop, mut hangup) = (Stop::new(), Hangup::new());
    let addresses = running.local_addrs();
    let secure = if args.tls_cert.is_some() || args.tls_self_signed {
        "s"
    } else {
        ""
    };
    for (index, address) in addresses.iter().enumerate() {
        if index == 0 {
            say(&format!("listening on ws{secure}://{address}/"));
            if page {
                say(&format!("open http{secure}://{}/", for_browsers(*address)));
            }
        } else {
            tracing::info!("also listening on ws{secure}://{address}/");
        }
    }
    tokio::select! {
        ended = running.wait() => return ended.map_err(Failure::from),
        () = reload_certificates(&running, &mut hangup) => {}
        () = stop.signal() => {}
    }
    tracing::info!(
        "stopping: {} connections are asked to go; a second signal drops them",
        running.sockets()
    );
    running.shutdown();
    tokio::select! {
        ended = running.wait() => ended.map_err(Failure::from),
        () = stop.signal() => {
            running.shutdown();
            running.wait().await.map_err(Failure::from)
        }
    }
}

/// Longest message of a client, unless said otherwise.
const MESSAGE_SIZE: usize = 64 * 1024;

/// A fragment this small may make up a message of the size that was asked for.
const SMALL_FRAGMENT: usize = 64;

async fn start(args: &ListenArgs, routes: Router) -> Result<Running, Failure> {
    let mut config = Config::default();
    config.max_message_size = MESSAGE_SIZE;
    if let Some(size) = args.max_message_size {
        // Whoever names a size has thought of the memory: the size is the bound then, however a message is made up.
        config.max_message_size = size;
        config.max_fragments = config
            .max_fragments
            .max(u32::try_from(size / SMALL_FRAGMENT).unwrap_or(u32::MAX));
        config.max_inflate_ratio = u32::MAX;
    }
    config.ping_interval = Some(args.ping_interval()).filter(|interval| !interval.is_zero());
    let origins = if args.any_origin {
        Origins::allow_any()
    } else {
        Origins::same_origin()
            .also(args.origins.iter().map(String::as_str))
            .map_err(|error| {
                Failure::new(
                    Exit::Usage,
                    error.to_string(),
                    "write an origin as https://HOST[:PORT]",
                )
            })?
    };
    let mut server = Server::new()
        .bind(args.listen())
        .router(routes)
        .workers(0)
        .http2(true)
        .config(config)
        .origins(origins)
        .subprotocols(args.subprotocols.iter().map(String::as_str))
        .drain_timeout(args.drain());
    if let Some(tls) = tls::certificate(
        args.tls_cert.as_deref(),
        args.tls_key.as_deref(),
        args.tls_self_signed,
    )? {
        server = server.tls(tls);
    }
    if let Some(deflate) = args.compression.config() {
        server = server.compression(deflate);
    }
    if let Some(most) = args.max_connections {
        server = server.max_connections(most);
    }
    server.start().await.map_err(|error| unusable(&error))
}

pub(crate) fn unusable(error: &Error) -> Failure {
    let hint = match error.kind() {
        ErrorKind::Io => "choose another --listen, or stop the program that has it",
        _ => "check the options; --help explains them",
    };
    Failure::caused(Exit::Failure, error, hint)
}

/// A line on stdout, for scripts that wait for it. Nobody has to read it.
pub(crate) fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// "All addresses" is nothing that a browser can open.
pub(crate) fn for_browsers(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from(([127, 0, 0, 1], address.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], address.port()))
        }
        _ => address,
    }
}

/// Ctrl-C, or the SIGTERM of a service manager. Whoever reads the address may send one: make this before it is said.
pub(crate) struct Stop {
    #[cfg(unix)]
    signals: Option<[tokio::signal::unix::Signal; 2]>,
}

impl Stop {
    /// Listens from now on. Without a handler the signals end the process, which is what they are for.
    #[cfg(unix)]
    pub(crate) fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};

        let interrupt = signal(SignalKind::interrupt());
        let terminate = signal(SignalKind::terminate());
        Self {
            signals: interrupt
                .ok()
                .zip(terminate.ok())
                .map(|(interrupt, terminate)| [interrupt, terminate]),
        }
    }

    /// The next of them.
    #[cfg(unix)]
    pub(crate) async fn signal(&mut self) {
        let Some([interrupt, terminate]) = &mut self.signals else {
            return future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }

    /// Nothing has to be made here.
    #[cfg(not(unix))]
    pub(crate) fn new() -> Self {
        Self {}
    }

    /// The next Ctrl-C.
    #[cfg(not(unix))]
    pub(crate) async fn signal(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            future::pending::<()>().await;
        }
    }
}

/// SIGHUP. It ends the process until this is made, so make it before the address is said.
pub(crate) struct Hangup {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Hangup {
    /// Listens from now on.
    #[cfg(unix)]
    pub(crate) fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};

        Self {
            signal: signal(SignalKind::hangup()).ok(),
        }
    }

    /// The next one.
    #[cfg(unix)]
    pub(crate) async fn signal(&mut self) {
        match &mut self.signal {
            Some(signal) => drop(signal.recv().await),
            None => future::pending().await,
        }
    }

    /// There is no such signal here.
    #[cfg(not(unix))]
    pub(crate) fn new() -> Self {
        Self {}
    }

    /// Never.
    #[cfg(not(unix))]
    pub(crate) async fn signal(&mut self) {
        future::pending().await
    }
}

/// At each SIGHUP: the files of the certificate have been renewed.
async fn reload_certificates(running: &Running, hangup: &mut Hangup) {
    loop {
        hangup.signal().await;
        match running.reload_tls() {
            Ok(()) => tracing::info!("certificates are read again"),
            Err(error) => tracing::error!("the old certificate stays: {error}"),
        }
    }
}
