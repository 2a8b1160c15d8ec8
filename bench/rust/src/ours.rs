//! Ours: `antiphon::Server` with its defaults, for one handler or another.

use antiphon::{Codec, Config, DeflateConfig, Server, ServerTls};
use axum::handler::Handler;
use tokio::runtime::Builder;

use crate::{
    options::{Deflate, Options},
    peer::{Fault, MAX_MESSAGE},
    server::listen,
};

/// Serves this handler until the process is ended.
///
/// # Errors
///
/// The address or the certificate cannot be used.
pub fn run<H, T>(options: &Options, handler: H) -> Result<(), Fault>
where
    H: Handler<T, ()>,
    T: 'static,
{
    Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve(options, handler))
}

async fn serve<H, T>(options: &Options, handler: H) -> Result<(), Fault>
where
    H: Handler<T, ()>,
    T: 'static,
{
    let mut config = Config::default();
    config.max_message_size = MAX_MESSAGE;
    let mut server = Server::new()
        .route("/", handler)
        .config(config)
        .listener(listen(options.port)?);
    if options.deflate != Deflate::Off {
        let mut deflate = DeflateConfig::default();
        deflate.min_size = 0;
        deflate.codec = Codec::Pooled { window: 1024 };
        deflate.server_no_context_takeover = options.deflate == Deflate::Fresh;
        deflate.client_no_context_takeover = options.deflate == Deflate::Fresh;
        server = server.compression(deflate);
    }
    let scheme = if options.tls.is_some() { "wss" } else { "ws" };
    if let Some((certificate, key)) = &options.tls {
        server = server.tls(ServerTls::from_pem_files(certificate, key)?);
    }
    let running = server.start().await?;
    for address in running.local_addrs() {
        println!("listening on {scheme}://{address}/");
    }
    Ok(running.wait().await?)
}
