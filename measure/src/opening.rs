//! Opening handshakes: a request judged, and a whole one through the server on a loopback connection.

use std::{hint::black_box, sync::Arc, time::Duration};

use antiphon::{Server, Upgrade};
use antiphon_proto::{config::DeflateConfig, handshake::server::ServerHandshake};
use http::Request;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::path::{Path, Step, step};

/// A browser sends more; none of it is needed.
pub(crate) const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

pub(crate) fn paths() -> Vec<Path> {
    vec![
        Path::new(
            "handshake/judge",
            "a parsed request, and its response",
            0,
            || judging(false),
        ),
        Path::new(
            "handshake/judge-deflate",
            "the same with an offer of compression",
            0,
            || judging(true),
        ),
        Path::new(
            "server/handshake",
            "from accepting to the response and the end, over loopback, with its client",
            0,
            serving,
        )
        .rounds(100),
    ]
}

fn judging(compression: bool) -> Step {
    let mut handshake = ServerHandshake::default();
    let mut request = Request::get("/")
        .header("Host", "127.0.0.1")
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Version", "13");
    if compression {
        handshake.deflate = Some(Arc::new(DeflateConfig::default()));
        let offer = "permessage-deflate; client_max_window_bits";
        request = request.header("Sec-WebSocket-Extensions", offer);
    }
    let request = request.body(()).expect("its fields are constants");
    step(move || assert!(black_box(handshake.judge(black_box(&request), None)).is_ok()))
}

fn serving() -> Step {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime of one thread");
    let running = runtime.block_on(async {
        Server::new()
            .route("/", |upgrade: Upgrade| async move {
                upgrade.on_socket(|mut socket| async move { socket.recv().await.map(|_| ()) })
            })
            .bind("127.0.0.1:0")
            .start()
            .await
            .expect("a free port on loopback")
    });
    let address = running.local_addrs()[0];
    Box::new(move |times| {
        runtime.block_on(async {
            for _ in 0..times {
                let opened = open(address);
                let opened = tokio::time::timeout(Duration::from_secs(60), opened).await;
                assert!(matches!(opened, Ok(Ok(()))));
            }
        });
    })
}

async fn open(address: std::net::SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    // A reset: thousands of these leave nothing behind in the system.
    stream.set_zero_linger()?;
    stream.write_all(REQUEST).await?;
    let mut response = [0; 1024];
    let mut length = 0;
    while !response[..length].ends_with(b"\r\n\r\n") {
        match stream.read(&mut response[length..]).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => length += read,
        }
    }
    Ok(())
}
