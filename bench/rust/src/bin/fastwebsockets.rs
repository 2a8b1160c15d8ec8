//! fastwebsockets on hyper, as in its own example. It writes each frame by itself; there is no way to feed it.

use antiphon_bench_peers::{Fault, Peer, Transport, http, options::Options, run};
use bytes::Bytes;
use fastwebsockets::{FragmentCollector, OpCode, WebSocketError, upgrade};
use http_body_util::Empty;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use tokio::task::unconstrained;

#[derive(Clone)]
struct Fast;

impl Peer for Fast {
    async fn serve<S: Transport>(self, stream: S) -> Result<(), Fault> {
        http::serve(stream, service_fn(answer)).await
    }
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, socket) = upgrade::upgrade(&mut request)?;
    tokio::spawn(unconstrained(echo(socket)));
    Ok(response)
}

async fn echo(socket: upgrade::UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(socket.await?);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}

fn main() -> Result<(), Fault> {
    run(&Options::read(false, false), Fast)
}
