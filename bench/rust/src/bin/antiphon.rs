//! Ours: `antiphon::Server` with its defaults and one loop of `recv` and `send`.

use antiphon::{Codec, Config, DeflateConfig, Server, ServerTls, Upgrade};
use antiphon_bench_peers::{
    Fault, MAX_MESSAGE, listen,
    options::{Deflate, Options},
};
use axum::response::Response;
use tokio::runtime::Builder;

async fn answer(upgrade: Upgrade) -> Response {
    upgrade.on_socket(async |mut socket| {
        while let Some(message) = socket.recv().await? {
            socket.send(message).await?;
        }
        Ok(())
    })
}

async fn serve(options: &Options) -> Result<(), Fault> {
    let mut config = Config::default();
    config.max_message_size = MAX_MESSAGE;
    let mut server = Server::new()
        .route("/", answer)
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

fn main() -> Result<(), Fault> {
    let options = Options::read(false, true);
    Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve(&options))
}
