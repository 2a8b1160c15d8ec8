//! Opening handshakes that the server answers by itself: nothing but the speed tells them from those that hyper answers.

mod support;

use antiphon::{Config, Running, Server, Upgrade, upgrade::Rejection};
use axum::{
    body::Body,
    extract::{FromRequestParts, Request},
    http::{HeaderValue, StatusCode},
    response::{IntoResponse as _, Response},
};
use hyper_util::rt::TokioIo;
use support::{connect, echo, expect_echo, handshake, open, open_on, read_rest, start, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// "Hi", and a Close.
const FRAMES: &[u8] = b"\x81\x82\0\0\0\0Hi\x88\x82\0\0\0\0\x03\xe8";

fn server() -> Server {
    Server::new()
        .route("/ws", echo)
        .route("/refused", async || StatusCode::UNAUTHORIZED)
        .subprotocols(["chat"])
        .compression(antiphon::DeflateConfig::default())
}

/// Everything that the server says, with its fields in order and without the time.
async fn answer(running: &Running, parts: &[&[u8]]) -> String {
    let mut stream = connect(running).await;
    for part in parts {
        // What is refused need not be read to its end.
        let _ = stream.write_all(part).await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let _ = stream.shutdown().await;
    let said = read_rest(&mut stream).await;
    let dated = |line: &&str| !line.starts_with("date: ");
    let said: String = said.split_inclusive("\r\n").filter(dated).collect();
    let (head, rest) = said.split_once("\r\n\r\n").unwrap_or((&said, ""));
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    let mut fields: Vec<_> = lines.collect();
    fields.sort_unstable();
    // hyper speaks of closing where the connection was not to be kept, which says nothing of one that is switched.
    let fields = fields.join("\n").replace("Upgrade, close", "Upgrade");
    format!("{status}\n{fields}\n\n{rest}")
}

#[tokio::test]
async fn the_answers_are_those_of_hyper() {
    let good = handshake("/ws", "");
    let with = |fields: &str| handshake("/ws", fields);
    let rows = [
        good.clone(),
        with(
            "Sec-WebSocket-Protocol: other, chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n",
        ),
        with("Sec-WebSocket-Protocol: a b\r\n"),
        with("Sec-WebSocket-Extensions: ;\r\n"),
        with("Origin: http://evil.example\r\n"),
        with("Origin: http://server.example\r\n"),
        with("Host: other.example\r\n"),
        with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
        with("Sec-WebSocket-Version: 13\r\n"),
        with("Upgrade: websocket\r\n"),
        with("Connection: close\r\n"),
        with("Content-Length: 0\r\n"),
        with("Content-Length: 16\r\n"),
        with("Content-Length: 0\r\nContent-Length: 16\r\n"),
        with("Transfer-Encoding: chunked\r\n"),
        with("Expect: 100-continue\r\n"),
        with("X: a\r\n b\r\n"),
        with("X : a\r\n"),
        with("X: \u{1}\r\n"),
        with(&"X: a\r\n".repeat(94)),
        with(&"X: a\r\n".repeat(95)),
        with(&format!("X: {}\r\n", "x".repeat(16 * 1024))),
        with(&format!("X: {}\r\n", "x".repeat(15 * 1024))),
        handshake(&format!("/ws?{}", "x".repeat(8 * 1024 - 4)), ""),
        handshake(&format!("/ws?{}", "x".repeat(8 * 1024 - 3)), ""),
        handshake("http://server.example/ws", ""),
        handshake("http://other.example/ws", ""),
        handshake("/ws#part", ""),
        handshake("*", ""),
        handshake("/refused", ""),
        handshake("/nothing", ""),
        good.replace("\r\n", "\n"),
        good.replace("GET", "POST"),
        good.replace("GET", "HEAD"),
        good.replace("HTTP/1.1", "HTTP/1.0"),
        good.replace("HTTP/1.1", "HTTP/2.0"),
        good.replace("Host: server.example\r\n", ""),
        good.replace("server.example", "two words"),
        good.replace("Upgrade: websocket", "Upgrade: other"),
        good.replace("Connection: Upgrade", "Connection: keep-alive"),
        good.replace("Connection: Upgrade", "Connection: keep-alive, Upgrade"),
        good.replace("dGhl", "dGh"),
        good.replace("Version: 13", "Version: 8"),
        good.replace("Sec-WebSocket-Version: 13\r\n", ""),
        good.replace("\r\n\r\n", "\r\n"),
    ];
    let known = start(server()).await;
    for path in ["/ws", "/ws"] {
        open(&known, path).await;
    }
    let mut opened = 0;
    for row in &rows {
        let row = row.as_bytes();
        let again = b"GET /refused HTTP/1.1\r\nHost: x\r\n\r\n";
        for parts in [
            &[row, FRAMES][..],
            &[&[row, FRAMES].concat()],
            &[&row[..40], &row[40..], FRAMES],
            &[&[row, again].concat()],
        ] {
            // On a path that it knows nothing of, hyper answers.
            let fresh = start(server()).await;
            let (known_answer, fresh_answer) =
                tokio::join!(answer(&known, parts), answer(&fresh, parts));
            opened += usize::from(fresh_answer.starts_with("HTTP/1.1 101"));
            let about = String::from_utf8_lossy(&row[..row.len().min(400)]);
            assert_eq!(known_answer, fresh_answer, "{about}");
        }
    }
    assert!(opened > 20, "{opened}");
    until(|| known.connections() == 0).await;
    assert_eq!(known.sockets(), 0);
}

/// A route that takes the connection from hyper by itself.
async fn foreign(mut request: Request) -> Response {
    let upgrading = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut io = TokioIo::new(upgrading.await.expect("hyper's connection"));
        io.write_all(b"foreign").await.expect("written");
    });
    let fields = [("upgrade", "other"), ("connection", "upgrade")];
    (StatusCode::SWITCHING_PROTOCOLS, fields, Body::empty()).into_response()
}

#[tokio::test]
async fn a_route_that_needs_hyper_has_it() {
    async fn either(request: Request) -> Response {
        if request.headers().contains_key("x-foreign") {
            return foreign(request).await;
        }
        let (mut parts, _) = request.into_parts();
        let upgrade: Result<Upgrade, Rejection> =
            <Upgrade as FromRequestParts<()>>::from_request_parts(&mut parts, &()).await;
        match upgrade {
            Ok(upgrade) => echo(upgrade).await,
            Err(rejection) => rejection.response(),
        }
    }
    let running = start(
        Server::new()
            .route("/either", either)
            .route("/foreign", foreign),
    )
    .await;
    for (path, fields) in [
        ("/foreign", ""),
        ("/either", "X-Foreign: 1\r\n"),
        ("/either", ""),
        ("/either", ""),
        ("/either", "X-Foreign: 1\r\n"),
        ("/either", ""),
        ("/either", "X-Foreign: 1\r\n"),
        ("/foreign", ""),
    ] {
        let mut stream = connect(&running).await;
        if path == "/either" && fields.is_empty() {
            expect_echo(&mut open_on(stream, path, "").await, "ours").await;
            continue;
        }
        stream
            .write_all(handshake(path, fields).as_bytes())
            .await
            .expect("written");
        let said = read_rest(&mut stream).await;
        assert!(said.starts_with("HTTP/1.1 101"), "{said}");
        assert!(said.ends_with("foreign"), "{said}");
    }
}

#[tokio::test]
async fn layers_see_the_answer_and_may_replace_it() {
    async fn layer(request: Request, next: axum::middleware::Next) -> Response {
        let stop = request.headers().contains_key("x-stop");
        let mut response = next.run(request).await;
        if stop {
            return StatusCode::FORBIDDEN.into_response();
        }
        let fields = response.headers_mut();
        fields.insert("x-trace-id", HeaderValue::from_static("42"));
        response
    }
    let router = axum::Router::new()
        .route("/ws", axum::routing::any(echo))
        .layer(axum::middleware::from_fn(layer));
    let running = start(Server::new().router(router)).await;
    for _ in 0..3 {
        let head = support::ask(&mut connect(&running).await, &handshake("/ws", "")).await;
        assert_eq!(support::field(&head, "x-trace-id"), Some("42"));
        let mut stream = connect(&running).await;
        let head = support::ask(&mut stream, &handshake("/ws", "X-Stop: 1\r\n")).await;
        assert_eq!(support::status(&head), 403);
        // The connection is still one of HTTP.
        let head = support::ask(&mut stream, &handshake("/nothing", "")).await;
        assert_eq!(support::status(&head), 404);
    }
    until(|| running.sockets() == 0).await;
}

#[tokio::test]
async fn bytes_behind_the_request_are_frames_however_many() {
    let mut config = Config::default();
    config.max_message_size = 1024 * 1024;
    let running = start(Server::new().route("/ws", echo).config(config)).await;
    for _ in 0..3 {
        let mut stream = connect(&running).await;
        let mut bytes = handshake("/ws", "").into_bytes();
        // A message that ends far behind what is read with the request.
        bytes.extend_from_slice(b"\x82\xff\0\0\0\0\0\x01\0\0\0\0\0\0");
        bytes.extend_from_slice(&[7; 65_536]);
        stream.write_all(&bytes).await.expect("written");
        support::read_head(&mut stream).await;
        let mut reply = vec![0; 10 + 65_536];
        stream.read_exact(&mut reply).await.expect("an echo");
        assert_eq!(reply[..10], *b"\x82\x7f\0\0\0\0\0\x01\0\0");
        assert!(reply[10..].iter().all(|byte| *byte == 7));
    }
}
