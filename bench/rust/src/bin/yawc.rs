//! yawc on hyper, with the read buffer of its own benchmark; its codecs are pooled where it can pool them.

use antiphon_bench_peers::{
    Fault, MAX_MESSAGE, Peer, Transport,
    echo::echo,
    http,
    options::{Deflate, Options},
    run,
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::Empty;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use tokio::task::unconstrained;
use yawc::{
    DeflatePool, Frame, Options as Settings, UpgradeFut, WebSocket, WebSocketError, frame::OpCode,
};

/// As in yawc's own benchmark.
const READ_BUFFER: usize = 128 * 1024;

#[derive(Clone)]
struct Yawc(Settings);

impl Peer for Yawc {
    async fn serve<S: Transport>(self, stream: S) -> Result<(), Fault> {
        http::serve(
            stream,
            service_fn(move |request| answer(request, self.0.clone())),
        )
        .await
    }
}

async fn answer(
    mut request: Request<Incoming>,
    settings: Settings,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, socket) = WebSocket::upgrade_with_options(&mut request, settings)?;
    tokio::spawn(unconstrained(open(socket)));
    Ok(response)
}

async fn open(socket: UpgradeFut) -> Result<(), Fault> {
    let socket = socket.await?.map(Ok::<Frame, WebSocketError>);
    echo(socket, |frame: &Frame| {
        matches!(frame.opcode(), OpCode::Text | OpCode::Binary)
    })
    .await
}

fn main() -> Result<(), Fault> {
    let options = Options::read(false, true);
    let settings = Settings::default()
        .with_limits(MAX_MESSAGE, MAX_MESSAGE)
        .with_read_buffer_capacity(READ_BUFFER)
        .with_utf8();
    let settings = match options.deflate {
        Deflate::Off => settings.without_compression(),
        Deflate::Takeover => settings.with_low_latency_compression(),
        Deflate::Fresh => settings
            .with_low_latency_compression()
            .server_no_context_takeover()
            .client_no_context_takeover()
            .with_deflate_pool(DeflatePool::new(16)),
    };
    run(&options, Yawc(settings))
}
