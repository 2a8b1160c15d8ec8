//! `antiphon connect`: a conversation with a WebSocket endpoint, by a person or by a pipe.

mod input;
mod output;
mod session;
mod terminal;

use std::io::{IsTerminal as _, stdin, stdout};

use antiphon::{Client, ClientTls, Config, Proxy};
use tokio::{runtime, signal};

use crate::{
    cli::connect::ConnectArgs,
    failure::{Exit, Failure},
};

/// Connects, talks, closes.
///
/// # Errors
///
/// The failure's exit code says how it ended.
pub(crate) fn run(args: &ConnectArgs) -> Result<(), Failure> {
    let client = client(args)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::new(
                Exit::Failure,
                format!("cannot start: {error}"),
                "check the limits of this process",
            )
        })?;
    let ended = runtime.block_on(async {
        let socket = tokio::select! {
            socket = client.connect(&args.url) => socket?,
            _ = signal::ctrl_c() => return Err(Failure::silent(Exit::Interrupted)),
        };
        if stdin().is_terminal() && stdout().is_terminal() && !args.once && args.execute.is_empty()
        {
            terminal::talk(args, socket).await
        } else {
            session::pipe(args, socket).await
        }
    });
    // A read of stdin cannot be cancelled: the process ends without it.
    runtime.shutdown_background();
    ended
}

fn client(args: &ConnectArgs) -> Result<Client, Failure> {
    if !args.url.contains("://") {
        let what = format!("'{}' is no URL", args.url);
        return Err(Failure::new(
            Exit::Usage,
            what,
            format!("write it as ws://{}", args.url.trim_start_matches('/')),
        ));
    }
    let mut config = Config::default();
    config.max_message_size = args.max_message_size;
    // The size is the bound, however the server makes its messages up: some cut them every 4 KiB.
    config.max_fragments = config
        .max_fragments
        .max(u32::try_from(args.max_message_size / 64).unwrap_or(u32::MAX));
    config.max_inflate_ratio = u32::MAX;
    config.ping_interval = (!args.ping_interval.is_zero()).then_some(args.ping_interval);
    let mut client = Client::new()
        .config(config)
        .handshake_timeout(args.timeout)
        .subprotocols(args.handshake.subprotocols.iter().map(String::as_str))
        .http2(args.http2);
    for (name, value) in &args.handshake.headers {
        client = client.header(name.clone(), value.clone());
    }
    if let Some(origin) = &args.handshake.origin {
        client = client.origin(origin);
    }
    if let Some(deflate) = args.compression.config() {
        client = client.compression(deflate);
    }
    if args.no_proxy {
        client = client.proxy(Proxy::none());
    } else if let Some(url) = &args.proxy {
        client = client.proxy(Proxy::url(url.as_str())?);
    }
    let mut tls = ClientTls::new();
    if let Some(path) = &args.tls.ca {
        let pem = std::fs::read(path).map_err(|error| Failure::file(path, &error))?;
        tls = tls.root_pem(pem);
    }
    if let (Some(certificate), Some(key)) = (&args.tls.cert, &args.tls.key) {
        let read = |path: &std::path::Path| {
            std::fs::read(path).map_err(|error| Failure::file(path, &error))
        };
        tls = tls.client_certificate(read(certificate)?, read(key)?);
    }
    if args.tls.insecure {
        tls = tls.danger_accept_invalid_certificates();
    }
    Ok(client.tls(tls))
}
