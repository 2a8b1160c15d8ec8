//! The programs that the project started from, run as the examples that they became. Seeds 000 and 001 are GoFrame's
//! guide, 002 a connection manager on gorilla/websocket, 004 an introduction to the protocol and to x/net/websocket.

#![allow(dead_code, missing_docs)]

use std::{sync::Arc, time::Duration};

use antiphon::{
    Client, ClientTls, CloseCode, Config, Message, Role, Running, Server, ServerTls, WebSocket,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[path = "../examples/byte_stream.rs"]
mod byte_stream;
#[path = "../examples/client.rs"]
mod client;
#[path = "../examples/connection_manager.rs"]
mod connection_manager;
#[path = "../examples/echo_page/main.rs"]
mod echo_page;

async fn start(server: Server) -> (Running, String) {
    let running = server.bind("127.0.0.1:0").start().await.unwrap();
    let address = running.local_addrs()[0].to_string();
    (running, address)
}

/// The answer to a plain GET.
async fn get(address: &str, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Seeds 000 and 001: the page at the root, the echo beside it, and the close that the page shows when the server stops.
#[tokio::test]
async fn the_echo_page_is_served_and_answers() {
    let (running, address) = start(echo_page::server()).await;
    let page = get(&address, "/").await;
    assert!(
        page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("new WebSocket"),
        "{page}"
    );
    assert!(!page.contains("//cdn"), "nothing foreign is loaded");

    let url = format!("ws://{address}/ws");
    let reply = client::exchange(&url, ClientTls::new(), "hello word")
        .await
        .unwrap();
    assert_eq!(reply, Some(Message::text("hello word")));

    let mut socket = Client::new().connect(&url).await.unwrap();
    running.shutdown();
    assert_eq!(socket.recv().await.unwrap(), None);
    assert_eq!(socket.close_frame().unwrap().code, CloseCode::GOING_AWAY);
    running.wait().await.unwrap();
}

/// Seed 001: the same over https and wss.
#[tokio::test]
async fn the_echo_page_is_served_over_tls() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let (running, address) = start(echo_page::server().tls(tls)).await;
    let port = address.rsplit(':').next().unwrap();
    let trust = ClientTls::new().root_pem(certificate.as_bytes());
    let url = format!("wss://localhost:{port}/wss");
    let reply = client::exchange(&url, trust, "hello word").await.unwrap();
    assert_eq!(reply, Some(Message::text("hello word")));
    running.shutdown();
    running.wait().await.unwrap();
}

/// Seed 001: the timeout of the client's handshake.
#[tokio::test(start_paused = true)]
async fn the_client_gives_up_on_a_server_that_never_answers() {
    let (near, _far) = tokio::io::duplex(1024);
    let client = Client::new().handshake_timeout(Duration::from_secs(1));
    let error = client
        .connect_with(near, "ws://127.0.0.1:8199/ws")
        .await
        .unwrap_err();
    assert_eq!(*error.kind(), antiphon::ErrorKind::Timeout);
}

/// Seed 002: a connection that answers pings lives on; the seed's own server cut it after 60 s.
#[tokio::test(start_paused = true)]
async fn the_connection_manager_keeps_a_live_connection() {
    let manager = Arc::new(connection_manager::Manager::default());
    let (near, far) = tokio::io::duplex(64 * 1024);
    let server = WebSocket::from_io(far, Role::Server, connection_manager::config());
    let serving = tokio::spawn(Arc::clone(&manager).serve(server, 1));
    let mut config = Config::default();
    config.ping_interval = None;
    let mut client = WebSocket::from_io(near, Role::Client, config);
    let silence = tokio::time::timeout(Duration::from_secs(75), client.recv()).await;
    assert!(silence.is_err(), "nothing but pings for 75 s");
    assert_eq!(manager.online(), 1);
    client.send("still here").await.unwrap();
    assert_eq!(
        client.recv().await.unwrap(),
        Some(Message::text("still here"))
    );
    client.close(1000, "").await.unwrap();
    serving.await.unwrap().unwrap();
    assert_eq!(manager.online(), 0);
}

/// Seed 002: its limit of 512 bytes is answered with 1009.
#[tokio::test]
async fn the_connection_manager_refuses_long_messages() {
    for (length, expected) in [(512, None), (513, Some(CloseCode::MESSAGE_TOO_BIG))] {
        let manager = Arc::new(connection_manager::Manager::default());
        let (near, far) = tokio::io::duplex(64 * 1024);
        let server = WebSocket::from_io(far, Role::Server, connection_manager::config());
        tokio::spawn(Arc::clone(&manager).serve(server, 1));
        let mut client = WebSocket::from_io(near, Role::Client, Config::default());
        client.send(vec![b'x'; length]).await.unwrap();
        let reply = client.recv().await.unwrap();
        assert_eq!(
            reply.map(|reply| reply.len()),
            expected.is_none().then_some(length)
        );
        assert_eq!(client.close_frame().map(|close| close.code), expected);
    }
}

/// Seed 002 died of "concurrent map writes" after a few hundred parallel connects.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_manager_survives_parallel_connects() {
    let manager = Arc::new(connection_manager::Manager::default());
    let (running, address) = start(connection_manager::server(Arc::clone(&manager))).await;
    let tasks: Vec<_> = (0..24)
        .map(|task| {
            let url = format!("ws://{address}/send");
            tokio::spawn(async move {
                for i in 0..400 {
                    let mut socket = Client::new().connect(&url).await.unwrap();
                    let text = format!("{task} {i}");
                    socket.send(text.as_str()).await.unwrap();
                    assert_eq!(socket.recv().await.unwrap(), Some(Message::text(text)));
                    socket.close(1000, "").await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    while manager.online() > 0 {
        tokio::task::yield_now().await;
    }
    running.shutdown();
    running.wait().await.unwrap();
}

/// Seed 004: copying bytes keeps what a message is, which the seed's library did not.
#[tokio::test]
async fn the_byte_stream_keeps_kinds_and_boundaries() {
    let (running, address) = start(byte_stream::server()).await;
    let url = format!("ws://{address}/echo");
    assert_eq!(
        byte_stream::exchange(&url, b"hello world!").await.unwrap(),
        b"hello world!"
    );
    let mut socket = Client::new().connect(&url).await.unwrap();
    for message in [
        Message::text("hello world!"),
        Message::binary(vec![0xff; 100_000]),
        Message::text(""),
        Message::text("last"),
    ] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.recv().await.unwrap(), Some(message));
    }
    socket.close(1000, "").await.unwrap();
    running.shutdown();
    running.wait().await.unwrap();
}

/// Seed 004: the bytes of its handshake.
#[tokio::test]
async fn the_handshake_of_the_seed_is_answered_as_it_says() {
    let (running, address) = start(
        echo_page::server()
            .subprotocols(["chat"])
            .origins(antiphon::Origins::allow_any()),
    )
    .await;
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let request = "GET /ws HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n\
        Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1024];
    let n = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..n]).to_lowercase();
    for line in [
        "http/1.1 101 switching protocols\r\n",
        "\r\nupgrade: websocket\r\n",
        "\r\nconnection: upgrade\r\n",
        "\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n",
        "\r\nsec-websocket-protocol: chat\r\n",
    ] {
        assert!(answer.contains(line), "{line:?} in {answer}");
    }
    drop(stream);
    running.shutdown();
    running.wait().await.unwrap();
}

/// Seed 004: its table of status codes. What is reserved is never sent.
#[test]
fn the_status_codes_of_the_seed() {
    for (code, name, sendable) in [
        (1000, "normal closure", true),
        (1001, "going away", true),
        (1002, "protocol error", true),
        (1003, "unsupported data", true),
        (1004, "reserved", false),
        (1005, "no status received", false),
        (1006, "abnormal closure", false),
        (1007, "invalid payload data", true),
        (1008, "policy violation", true),
        (1009, "message too big", true),
        (1010, "mandatory extension", true),
        (1011, "internal error", true),
        (1015, "TLS handshake", false),
    ] {
        assert_eq!(CloseCode::new(code).name(), name);
        assert_eq!(CloseCode::new(code).is_sendable(), sendable, "{code}");
    }
}
