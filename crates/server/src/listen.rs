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

/// A runtime for a server: a thread for each core.
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
        () = reload_certificates(&running) => {}
        () = stop_signal() => {}
    }
    tracing::info!(
        "stopping: {} connections are asked to go; a second signal drops them",
        running.sockets()
    );
    running.shutdown();
    tokio::select! {
        ended = running.wait() => ended.map_err(Failure::from),
        () = stop_signal() => {
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

/// Ctrl-C, or the SIGTERM of a service manager.
#[cfg(unix)]
pub(crate) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};

    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        // Without a handler the signals end the process, which is what they are for.
        return future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
pub(crate) async fn stop_signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        future::pending::<()>().await;
    }
}

/// SIGHUP: the files of the certificate have been renewed.
#[cfg(unix)]
async fn reload_certificates(running: &Running) {
    use tokio::signal::unix::{SignalKind, signal};

    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        return future::pending().await;
    };
    while hangup.recv().await.is_some() {
        match running.reload_tls() {
            Ok(()) => tracing::info!("certificates are read again"),
            Err(error) => tracing::error!("the old certificate stays: {error}"),
        }
    }
}

#[cfg(not(unix))]
async fn reload_certificates(_running: &Running) {
    future::pending::<()>().await;
}
