//! The end of a server: everybody is told, handlers may finish, nothing stays.

mod support;

use std::{sync::Arc, time::Duration};

use antiphon::{Server, ServerTls, Upgrade};
use axum::response::Response;
use support::{
    ask, connect, echo, expect_echo, handshake, open, open_on, read_head, read_rest, start, status,
    until,
};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Notify};

#[tokio::test]
async fn all_sockets_get_1001_and_the_server_ends() {
    let server = Server::new().route("/ws", echo);
    let running = start(server).await;
    let mut sockets = Vec::new();
    for _ in 0..50 {
        let mut socket = open(&running, "/ws").await;
        expect_echo(&mut socket, "open").await;
        sockets.push(socket);
    }
    let mut idle = connect(&running).await;
    let head = ask(&mut idle, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(status(&head), 404);

    running.shutdown();
    for socket in &mut sockets {
        assert_eq!(socket.recv().await.expect("a clean end"), None);
        let close = socket.close_frame().expect("a Close frame");
        assert_eq!(
            (u16::from(close.code), close.reason.as_str()),
            (1001, "server shutting down")
        );
    }
    assert_eq!(read_rest(&mut idle).await, "");
    running.wait().await.expect("the end");
    assert_eq!((running.connections(), running.sockets()), (0, 0));
    TcpStream::connect(running.local_addrs()[0])
        .await
        .expect_err("nobody listens");
}

#[tokio::test]
async fn run_returns_when_its_end_has_come() {
    let end = Arc::new(Notify::new());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let ending = end.clone();
    let server = Server::new()
        .route("/ws", echo)
        .listener(listener)
        .shutdown_on(async move { ending.notified().await });
    let run = tokio::spawn(server.run());
    let mut socket = open_on(
        TcpStream::connect(address).await.expect("accepted"),
        "/ws",
        "",
    )
    .await;
    expect_echo(&mut socket, "open").await;
    end.notify_one();
    assert_eq!(socket.recv().await.expect("a clean end"), None);
    run.await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn a_handler_may_finish_its_work() {
    let (working, finish, finished) = (
        Arc::new(Notify::new()),
        Arc::new(Notify::new()),
        Arc::new(Notify::new()),
    );
    let (told, go, done) = (working.clone(), finish.clone(), finished.clone());
    let handler = move |upgrade: Upgrade| {
        let (told, go, done) = (told.clone(), go.clone(), done.clone());
        async move {
            upgrade.on_socket(move |mut socket| async move {
                assert_eq!(socket.recv().await?, None);
                told.notify_one();
                go.notified().await;
                done.notify_one();
                Ok(())
            })
        }
    };
    let running = start(Server::new().route("/ws", handler)).await;
    let mut socket = open(&running, "/ws").await;
    until(|| running.sockets() == 1).await;
    running.shutdown();
    assert_eq!(socket.recv().await.expect("a clean end"), None);
    working.notified().await;
    assert_eq!(running.sockets(), 1);
    finish.notify_one();
    running.wait().await.expect("the end");
    finished.notified().await;
}

#[tokio::test]
async fn a_handler_that_never_ends_is_dropped_at_the_deadline_or_when_forced() {
    async fn stuck(upgrade: Upgrade) -> Response {
        upgrade.on_socket(|_socket| std::future::pending())
    }
    for force in [false, true] {
        let timeout = if force {
            Duration::from_secs(3600)
        } else {
            Duration::ZERO
        };
        let running = start(Server::new().route("/ws", stuck).drain_timeout(timeout)).await;
        let _socket = open(&running, "/ws").await;
        until(|| running.sockets() == 1).await;
        running.shutdown();
        if force {
            tokio::task::yield_now().await;
            assert_eq!(running.sockets(), 1);
            running.shutdown();
        }
        running.wait().await.expect("the end");
        assert_eq!(running.sockets(), 0);
    }
}

#[tokio::test]
async fn requests_under_way_are_answered() {
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (asked.clone(), answer.clone());
    let slow = move || {
        let (tell, wait) = (tell.clone(), wait.clone());
        async move {
            tell.notify_one();
            wait.notified().await;
            "answered"
        }
    };
    let running = start(Server::new().route("/slow", slow)).await;
    let mut stream = connect(&running).await;
    stream
        .write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("written");
    asked.notified().await;
    running.shutdown();
    answer.notify_one();
    assert_eq!(status(&read_head(&mut stream).await), 200);
    assert_eq!(read_rest(&mut stream).await, "answered");
    running.wait().await.expect("the end");
}

#[tokio::test]
async fn over_tls_too() {
    let issued =
        rcgen::generate_simple_self_signed(["server.example".to_owned()]).expect("a certificate");
    let (certificate, key) = (issued.cert.pem(), issued.signing_key.serialize_pem());
    let tls = ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).expect("a pair");
    let running = start(Server::new().route("/ws", echo).tls(tls).http2(true)).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(issued.cert.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = rustls::pki_types::ServerName::try_from("server.example").expect("a name");
    let stream = connector
        .connect(name, connect(&running).await)
        .await
        .expect("TLS");
    let mut socket = open_on(stream, "/ws", "").await;
    expect_echo(&mut socket, "open").await;
    let mut silent = connect(&running).await;
    until(|| running.connections() == 2).await;
    running.shutdown();
    assert_eq!(socket.recv().await.expect("a clean end"), None);
    assert_eq!(
        u16::from(socket.close_frame().expect("a Close frame").code),
        1001
    );
    assert_eq!(read_rest(&mut silent).await, "");
    running.wait().await.expect("the end");
    let head = handshake("/ws", "");
    assert!(
        TcpStream::connect(running.local_addrs()[0]).await.is_err(),
        "nobody listens for {}",
        head.len()
    );
}

#[tokio::test]
async fn over_http2_too() {
    use antiphon::{Config, Role, WebSocket};
    use http::{Method, Request, Version};
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let running = start(Server::new().route("/ws", echo).http2(true)).await;
    let (mut send, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .handshake::<_, axum::body::Body>(TokioIo::new(connect(&running).await))
        .await
        .expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let request = || {
        Request::builder()
            .version(Version::HTTP_2)
            .uri("http://server.example/ws")
    };
    // The server's settings come with its first answer.
    let plain = request()
        .body(axum::body::Body::empty())
        .expect("a request");
    assert_eq!(
        send.send_request(plain).await.expect("an answer").status(),
        405
    );
    let extended = request()
        .method(Method::CONNECT)
        .extension(hyper::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .body(axum::body::Body::empty())
        .expect("a request");
    let response = send.send_request(extended).await.expect("an answer");
    let upgraded = hyper::upgrade::on(response).await.expect("a stream");
    let mut socket = WebSocket::from_io(TokioIo::new(upgraded), Role::Client, Config::default());
    expect_echo(&mut socket, "open").await;
    running.shutdown();
    assert_eq!(socket.recv().await.expect("a clean end"), None);
    assert_eq!(
        u16::from(socket.close_frame().expect("a Close frame").code),
        1001
    );
    running.wait().await.expect("the end");
    connection.await.expect("no panic").expect("a clean end");
}

/// Clients that leave in every phase, and nothing is left of them.
#[tokio::test]
async fn nothing_stays_of_clients_that_leave() {
    let running = start(Server::new().route("/ws", echo)).await;
    for round in 0..60 {
        let mut stream = connect(&running).await;
        match round % 5 {
            0 => {}
            1 => stream.write_all(b"GET /ws HT").await.expect("written"),
            2 => stream
                .write_all(handshake("/ws", "").as_bytes())
                .await
                .expect("written"),
            3 => {
                ask(&mut stream, &handshake("/ws", "")).await;
                stream.write_all(b"\x81\x85\0\0").await.expect("written");
            }
            _ => {
                let mut socket = open_on(stream, "/ws", "").await;
                expect_echo(&mut socket, "hello").await;
            }
        }
    }
    until(|| {
        running.stats().accepted == 60 && running.connections() == 0 && running.sockets() == 0
    })
    .await;
    running.shutdown();
    running.wait().await.expect("the end");
}
