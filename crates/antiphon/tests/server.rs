//! The server as its users start it: routes, files, bounds, TLS, HTTP/2.

mod support;

use std::{fs, path::PathBuf, sync::Arc};

use antiphon::{Config, Error, ErrorKind, Role, Server, ServerTls, Upgrade, WebSocket, peer::Peer};
use axum::{Router, response::Response, routing::get};
use http::{Method, Request, Version};
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use support::{
    ask, connect, echo, expect_echo, field, handshake, open, open_on, read_rest, start, status,
    until,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::TlsConnector;

#[tokio::test]
async fn echoes_and_counts() {
    let running = start(Server::new().route("/ws", echo)).await;
    let mut socket = open(&running, "/ws").await;
    expect_echo(&mut socket, "hello").await;
    assert_eq!((running.connections(), running.sockets()), (1, 1));
    let close = socket
        .close(1000, "bye")
        .await
        .expect("closed")
        .expect("answered");
    assert_eq!(u16::from(close.code), 1000);
    drop(socket);
    until(|| running.connections() == 0 && running.sockets() == 0).await;

    let head = ask(
        &mut connect(&running).await,
        "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    .await;
    assert_eq!(status(&head), 426);
    let head = ask(
        &mut connect(&running).await,
        &handshake("/ws", "Origin: http://evil.example\r\n"),
    )
    .await;
    assert_eq!(status(&head), 403);
    let stats = running.stats();
    assert_eq!(
        (stats.accepted, stats.upgraded, stats.rejected_upgrades),
        (3, 1, 2)
    );
}

#[tokio::test]
async fn several_addresses_and_listeners() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let given = listener.local_addr().expect("an address");
    let running = start(
        Server::new()
            .route("/ws", echo)
            .listener(listener)
            .bind("127.0.0.1:0"),
    )
    .await;
    assert_eq!(
        (running.local_addrs().len(), running.local_addrs()[0]),
        (3, given)
    );
    for address in running.local_addrs() {
        let stream = TcpStream::connect(address)
            .await
            .expect("the server accepts");
        expect_echo(&mut open_on(stream, "/ws", "").await, "here too").await;
    }
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_at_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let rows = [
        (Server::new(), ErrorKind::Config, "no address".to_owned()),
        (
            Server::new().bind(address),
            ErrorKind::Io,
            address.to_string(),
        ),
        (
            Server::new().bind("no address"),
            ErrorKind::Io,
            "no address".to_owned(),
        ),
        (
            Server::new()
                .bind("127.0.0.1:0")
                .static_root("/no/such/folder"),
            ErrorKind::Config,
            "/no/such/folder".to_owned(),
        ),
    ];
    for (server, kind, part) in rows {
        let error = server.start().await.expect_err(&part);
        assert_eq!(error.kind(), &kind);
        assert!(error.to_string().contains(&part), "{error}");
    }
}

#[tokio::test]
async fn the_end_of_a_handler_closes_the_socket() {
    async fn end(upgrade: Upgrade) -> Response {
        upgrade.on_socket(|mut socket| async move {
            let message = socket.recv().await?.expect("a message");
            match message.as_text() {
                Some("ok") => Ok(()),
                Some("error") => Err(Error::new(ErrorKind::Config, "the application failed")),
                Some("drop") => {
                    drop(socket);
                    Ok(())
                }
                Some("close") => {
                    socket.close(4000, "own reasons").await?;
                    Ok(())
                }
                _ => panic!("this panic belongs to the test"),
            }
        })
    }
    let running = start(Server::new().route("/", end)).await;
    let rows = [
        ("ok", 1000_u16),
        ("error", 1011),
        ("drop", 1000),
        ("close", 4000),
        ("panic", 1011),
    ];
    for (what, expected) in rows {
        let mut socket = open(&running, "/").await;
        socket.send(what).await.expect("sent");
        assert_eq!(socket.recv().await.expect("a clean end"), None, "{what}");
        let close = socket.close_frame().expect("a Close frame");
        assert_eq!(u16::from(close.code), expected, "{what}");
    }
    until(|| running.sockets() == 0).await;
    let stats = running.stats();
    assert_eq!(
        (stats.upgraded, stats.handler_errors, stats.handler_panics),
        (5, 1, 1)
    );
}

#[tokio::test]
async fn a_panic_in_a_plain_route_is_an_answer() {
    async fn broken() -> String {
        panic!("this panic belongs to the test")
    }
    let running = start(Server::new().route("/ws", echo).route("/broken", broken)).await;
    let head = ask(
        &mut connect(&running).await,
        "GET /broken HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    .await;
    assert_eq!(status(&head), 500);
    expect_echo(&mut open(&running, "/ws").await, "still here").await;
}

#[tokio::test]
async fn violations_are_told_by_name() {
    let running = start(Server::new().route("/ws", echo)).await;
    let mut stream = connect(&running).await;
    ask(&mut stream, &handshake("/ws", "")).await;
    // An unmasked text frame.
    stream.write_all(b"\x81\x02Hi").await.expect("written");
    let mut answer = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer)
        .await
        .expect("a clean end");
    assert_eq!(
        (answer[0], &answer[2..4]),
        (0x88, &1002_u16.to_be_bytes()[..])
    );
}

#[tokio::test]
async fn the_settings_of_the_server_hold_for_its_routes() {
    let mut config = Config::default();
    config.max_message_size = 10;
    let server = Server::new()
        .config(config)
        .compression(antiphon::DeflateConfig::default())
        .origins(antiphon::Origins::only(["https://app.example"]).expect("an origin"))
        .subprotocols(["chat"])
        .route("/ws", echo)
        .route("/own", async |upgrade: Upgrade| {
            echo(
                upgrade
                    .max_message_size(20)
                    .no_compression()
                    .subprotocols(["own"]),
            )
            .await
        });
    let running = start(server).await;
    let fields = "Origin: https://app.example\r\nSec-WebSocket-Protocol: own, chat\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\n";
    for (path, subprotocol, compressed) in [("/ws", "chat", true), ("/own", "own", false)] {
        let head = ask(&mut connect(&running).await, &handshake(path, fields)).await;
        assert_eq!(field(&head, "sec-websocket-protocol"), Some(subprotocol));
        assert_eq!(
            field(&head, "sec-websocket-extensions").is_some(),
            compressed,
            "{path}"
        );
    }
    for (path, size, fits) in [
        ("/ws", 10, true),
        ("/ws", 11, false),
        ("/own", 20, true),
        ("/own", 21, false),
    ] {
        let mut socket = open(&running, path).await;
        socket.send("x".repeat(size)).await.expect("sent");
        assert_eq!(
            socket.recv().await.expect("no error").is_some(),
            fits,
            "{path} {size}"
        );
        if !fits {
            assert_eq!(
                u16::from(socket.close_frame().expect("a Close frame").code),
                1009
            );
        }
    }
}

#[tokio::test]
async fn connections_have_a_cap() {
    let running = start(Server::new().route("/ws", echo).max_connections(2)).await;
    let mut first = open(&running, "/ws").await;
    let _second = open(&running, "/ws").await;
    let answer = read_rest(&mut connect(&running).await).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 503"),
        "{answer}"
    );
    until(|| running.stats().refused_connections == 1).await;
    expect_echo(&mut first, "not disturbed").await;
    drop(first);
    until(|| running.connections() == 1).await;
    expect_echo(&mut open(&running, "/ws").await, "room again").await;
}

#[tokio::test]
async fn an_address_has_a_cap() {
    let running = start(
        Server::new()
            .route("/ws", echo)
            .max_connections_per_address(1),
    )
    .await;
    let first = open(&running, "/ws").await;
    read_rest(&mut connect(&running).await).await;
    until(|| running.stats().refused_addresses == 1).await;
    let other = tokio::net::TcpSocket::new_v4().expect("a socket");
    other
        .bind("127.0.0.2:0".parse().expect("an address"))
        .expect("another loopback address");
    let other = other
        .connect(running.local_addrs()[0])
        .await
        .expect("the server accepts");
    expect_echo(&mut open_on(other, "/ws", "").await, "another address").await;
    drop(first);
    until(|| running.sockets() == 0).await;
    expect_echo(&mut open(&running, "/ws").await, "room again").await;
}

#[tokio::test]
async fn handshakes_have_a_cap() {
    let running = start(Server::new().route("/ws", echo).max_handshakes(1)).await;
    let mut established = open(&running, "/ws").await;
    let mut silent = connect(&running).await;
    until(|| running.connections() == 2).await;
    read_rest(&mut connect(&running).await).await;
    until(|| running.stats().refused_handshakes == 1).await;
    expect_echo(&mut established, "not disturbed").await;
    let head = ask(&mut silent, &handshake("/ws", "")).await;
    assert_eq!(status(&head), 101);
    expect_echo(&mut open(&running, "/ws").await, "room again").await;
}

#[tokio::test]
async fn behind_a_proxy_clients_are_counted_and_named_by_its_headers() {
    async fn who(peer: Peer, upgrade: Upgrade) -> Response {
        upgrade.on_socket(move |socket| async move {
            socket
                .send(format!("{:?} {}", peer.address(), peer.is_secure()))
                .await?;
            Ok(())
        })
    }
    let server = Server::new()
        .route("/who", who)
        .route("/ws", echo)
        .trusted_proxies(["127.0.0.1".parse().expect("a network")])
        .max_connections_per_address(2);
    let running = start(server).await;
    let from = |client: &str| {
        format!("X-Forwarded-For: 1.1.1.1, {client}\r\nX-Forwarded-Proto: https\r\n")
    };
    let mut socket = open_on(connect(&running).await, "/who", &from("203.0.113.9")).await;
    let message = socket.recv().await.expect("no error").expect("a message");
    assert_eq!(message.as_text(), Some("Some(203.0.113.9) true"));
    drop(socket);
    until(|| running.connections() == 0).await;

    let mut sockets = Vec::new();
    for client in ["203.0.113.9", "203.0.113.9", "203.0.113.10", "203.0.113.11"] {
        sockets.push(open_on(connect(&running).await, "/ws", &from(client)).await);
    }
    let head = ask(
        &mut connect(&running).await,
        &handshake("/ws", &from("203.0.113.9")),
    )
    .await;
    assert_eq!((status(&head), running.stats().refused_addresses), (429, 1));
    // The proxy speaks TLS to browsers: the own origin is https.
    let origin = format!("{}Origin: https://server.example\r\n", from("203.0.113.12"));
    assert_eq!(
        status(&ask(&mut connect(&running).await, &handshake("/ws", &origin)).await),
        101
    );
}

#[tokio::test]
async fn request_heads_have_bounds() {
    let running = start(
        Server::new()
            .route("/ws", echo)
            .router(Router::new().route("/page", get(|| async { "page" }))),
    )
    .await;
    let fields = |count: usize| {
        (0..count)
            .map(|i| format!("X-{i}: y\r\n"))
            .collect::<String>()
    };
    let rows = [
        (
            format!("GET /page HTTP/1.1\r\nHost: x\r\n{}\r\n", fields(90)),
            200,
        ),
        (
            format!("GET /page HTTP/1.1\r\nHost: x\r\n{}\r\n", fields(101)),
            431,
        ),
        (
            format!("GET /page HTTP/1.1\r\nHost: x\r\n{}\r\n", fields(2000)),
            431,
        ),
        (
            format!(
                "GET /page HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
                "y".repeat(100 * 1024)
            ),
            431,
        ),
        (
            format!(
                "GET /page?{} HTTP/1.1\r\nHost: x\r\n\r\n",
                "y".repeat(8 * 1024)
            ),
            414,
        ),
        (
            format!("GET /page?{} HTTP/1.1\r\nHost: x\r\n\r\n", "y".repeat(8000)),
            200,
        ),
        ("GET /page HTTP/1.1\r\n\r\n".to_owned(), 400),
        (
            "GET /page HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(),
            400,
        ),
        (
            "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(),
            405,
        ),
        ("GET /page HTTP/1.1\r\nHost : x\r\n\r\n".to_owned(), 400),
        ("nonsense\r\n\r\n".to_owned(), 400),
        (handshake("/ws", &fields(101)), 431),
    ];
    for (request, expected) in rows {
        let mut stream = connect(&running).await;
        // The server may hang up before all is written.
        let _ = stream.write_all(request.as_bytes()).await;
        assert_eq!(
            status(&support::read_head(&mut stream).await),
            expected,
            "{}",
            &request[..60.min(request.len())]
        );
    }
}

/// A folder that is gone with its test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("antiphon-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).expect("written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_route_wins_over_a_file() {
    let folder = Folder::new("static");
    folder.write("index.html", "<p>home");
    folder.write("ws", "a file");
    folder.write(".env", "SECRET");
    let running = start(Server::new().route("/ws", echo).static_root(&folder.0)).await;
    let rows = [
        ("/", 200, "<p>home"),
        ("/.env", 404, ""),
        ("/nothing", 404, ""),
    ];
    for (target, expected, content) in rows {
        let mut stream = connect(&running).await;
        let head = ask(
            &mut stream,
            &format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        )
        .await;
        assert_eq!(
            (status(&head), read_rest(&mut stream).await.as_str()),
            (expected, content),
            "{target}"
        );
        assert_eq!(field(&head, "x-content-type-options"), Some("nosniff"));
    }
    let head = ask(
        &mut connect(&running).await,
        "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    .await;
    assert_eq!(status(&head), 426);
    let head = ask(
        &mut connect(&running).await,
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    assert_eq!(status(&head), 405);
    expect_echo(&mut open(&running, "/ws").await, "the route").await;
}

fn certificate() -> (String, String) {
    let issued =
        rcgen::generate_simple_self_signed(["server.example".to_owned()]).expect("a certificate");
    (issued.cert.pem(), issued.signing_key.serialize_pem())
}

/// A client that trusts one certificate.
fn trusting(certificate: &str, alpn: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM"))
        .expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

async fn connect_tls(
    running: &antiphon::Running,
    connector: &TlsConnector,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let name = ServerName::try_from("server.example").expect("a name");
    connector.connect(name, connect(running).await).await
}

#[tokio::test]
async fn tls_certificates_are_replaced_while_sockets_are_open() {
    async fn who(peer: Peer, upgrade: Upgrade) -> Response {
        upgrade.on_socket(move |socket| async move {
            socket
                .send(format!("{} {:?}", peer.is_secure(), peer.server_name()))
                .await?;
            Ok(())
        })
    }
    let folder = Folder::new("certificates");
    let (old, old_key) = certificate();
    let (path, key_path) = (
        folder.write("server.crt", &old),
        folder.write("server.key", &old_key),
    );
    let tls = ServerTls::from_pem_files(&path, &key_path).expect("good files");
    let running = start(Server::new().route("/ws", echo).route("/who", who).tls(tls)).await;

    let stream = connect_tls(&running, &trusting(&old, &["http/1.1"]))
        .await
        .expect("TLS");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    // The own origin is https here.
    let mut socket = open_on(stream, "/ws", "Origin: https://server.example\r\n").await;
    expect_echo(&mut socket, "over TLS").await;
    let mut stream = connect_tls(&running, &trusting(&old, &[]))
        .await
        .expect("TLS");
    let head = ask(
        &mut stream,
        &handshake("/ws", "Origin: http://server.example\r\n"),
    )
    .await;
    assert_eq!(status(&head), 403);
    let stream = connect_tls(&running, &trusting(&old, &[]))
        .await
        .expect("TLS");
    let message = open_on(stream, "/who", "")
        .await
        .recv()
        .await
        .expect("no error")
        .expect("a message");
    assert_eq!(message.as_text(), Some("true Some(\"server.example\")"));

    folder.write("server.crt", "broken");
    let error = running.reload_tls().expect_err("a bad file is refused");
    assert!(error.to_string().contains("server.crt"), "{error}");
    connect_tls(&running, &trusting(&old, &[]))
        .await
        .expect("the old certificate stays");

    let (new, new_key) = certificate();
    folder.write("server.crt", &new);
    folder.write("server.key", &new_key);
    running.reload_tls().expect("good files");
    connect_tls(&running, &trusting(&new, &[]))
        .await
        .expect("the new certificate");
    connect_tls(&running, &trusting(&old, &[]))
        .await
        .expect_err("the old one is gone");
    expect_echo(&mut socket, "not disturbed").await;
}

#[tokio::test]
async fn plain_http_on_a_tls_port_is_told_so() {
    let (certificate, key) = certificate();
    let tls = ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).expect("a pair");
    let running = start(Server::new().route("/ws", echo).tls(tls)).await;
    let mut stream = connect(&running).await;
    let head = ask(&mut stream, &handshake("/ws", "")).await;
    assert_eq!(status(&head), 400);
    let length: usize = field(&head, "content-length")
        .expect("a length")
        .parse()
        .expect("a number");
    stream.shutdown().await.expect("our side is done");
    let body = read_rest(&mut stream).await;
    assert!(
        body.contains("wss://") && body.len() == length,
        "{body:?} {length}"
    );

    let mut stream = connect(&running).await;
    stream
        .write_all(b"\x16\x03\x01\xff\xffgarbage")
        .await
        .expect("written");
    stream.shutdown().await.expect("our side is done");
    read_rest(&mut stream).await;
    until(|| running.stats().tls_failures == 1 && running.connections() == 0).await;
}

#[tokio::test]
async fn client_certificates_are_asked_for() {
    let (certificate, key) = certificate();
    let tls = ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).expect("a pair");
    let tls = tls
        .require_client_certificates(certificate.as_bytes())
        .expect("an authority");
    let running = start(Server::new().route("/ws", echo).tls(tls)).await;
    // In TLS 1.3 the client learns that it was refused when it reads.
    let mut stream = connect_tls(&running, &trusting(&certificate, &[]))
        .await
        .expect("the server's half");
    let _ = stream.write_all(handshake("/ws", "").as_bytes()).await;
    let mut byte = [0];
    tokio::io::AsyncReadExt::read(&mut stream, &mut byte)
        .await
        .expect_err("refused");
    until(|| running.stats().tls_failures == 1).await;
}

/// WebSockets over one HTTP/2 connection, as browsers open them (RFC 8441).
#[tokio::test]
async fn extended_connect_over_http2() {
    let running = start(Server::new().route("/ws", echo).http2(true)).await;
    let stream = TokioIo::new(connect(&running).await);
    let (mut send, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .handshake::<_, axum::body::Body>(stream)
        .await
        .expect("HTTP/2");
    tokio::spawn(connection);
    // The server's settings come with its first answer.
    let request = || {
        Request::builder()
            .version(Version::HTTP_2)
            .uri("http://server.example/ws")
    };
    let plain = request()
        .body(axum::body::Body::empty())
        .expect("a request");
    assert_eq!(
        send.send_request(plain).await.expect("an answer").status(),
        405
    );

    let extended = |origin: &str| {
        request()
            .method(Method::CONNECT)
            .extension(Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13")
            .header("origin", origin)
            .body(axum::body::Body::empty())
            .expect("a request")
    };
    let foreign = send
        .send_request(extended("http://evil.example"))
        .await
        .expect("an answer");
    assert_eq!(foreign.status(), 403);
    let mut sockets = Vec::new();
    for _ in 0..2 {
        let response = send
            .send_request(extended("http://server.example"))
            .await
            .expect("an answer");
        assert_eq!(response.status(), 200);
        assert!(!response.headers().contains_key("sec-websocket-accept"));
        let upgraded = hyper::upgrade::on(response).await.expect("a stream");
        sockets.push(WebSocket::from_io(
            TokioIo::new(upgraded),
            Role::Client,
            Config::default(),
        ));
    }
    for socket in &mut sockets {
        expect_echo(socket, "over HTTP/2").await;
    }
    assert_eq!((running.connections(), running.sockets()), (1, 2));
    let close = sockets[0]
        .close(1000, "")
        .await
        .expect("closed")
        .expect("answered");
    assert_eq!(u16::from(close.code), 1000);
    expect_echo(&mut sockets[1], "its neighbour goes on").await;
    until(|| running.sockets() == 1).await;

    // HTTP/1.1 on the same port.
    expect_echo(&mut open(&running, "/ws").await, "over HTTP/1.1").await;
}
