//! The extractor in servers that are not ours, and every reason to refuse a request.

mod support;

use antiphon::{DeflateConfig, Origins, Upgrade, upgrade::Rejection};
use axum::{Router, body::Body, http::HeaderValue, response::Response, routing::any};
use http::{Request, header::HeaderName};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use support::{ask, echo, expect_echo, field, handshake, open_on, read_rest, status};
use tokio::net::{TcpListener, TcpStream};

/// An axum application as anybody has it.
async fn serve(app: Router) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn connect(address: std::net::SocketAddr) -> TcpStream {
    TcpStream::connect(address)
        .await
        .expect("the server accepts")
}

#[tokio::test]
async fn an_axum_application_echoes() {
    let address = serve(Router::new().route("/ws", any(echo))).await;
    let mut socket = open_on(connect(address).await, "/ws", "").await;
    expect_echo(&mut socket, "hello").await;
    let close = socket
        .close(1000, "bye")
        .await
        .expect("closed")
        .expect("answered");
    assert_eq!(u16::from(close.code), 1000);
}

#[tokio::test]
async fn plain_hyper_echoes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a client");
            let service = service_fn(|mut request: Request<Incoming>| async move {
                let response = match Upgrade::from_request(&mut request) {
                    Ok(upgrade) => echo(upgrade).await,
                    Err(rejection) => rejection.response(),
                };
                Ok::<_, Rejection>(response)
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            tokio::spawn(connection);
        }
    });
    let mut socket = open_on(connect(address).await, "/", "").await;
    expect_echo(&mut socket, "hello").await;

    let mut stream = connect(address).await;
    let head = ask(&mut stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(
        (status(&head), field(&head, "websocket-error")),
        (426, Some("missing-upgrade"))
    );
}

/// One row for each rule: what is replaced in a good request, by what, and the answer.
#[tokio::test]
async fn what_is_no_opening_handshake_is_refused_with_its_reason() {
    let address = serve(Router::new().route("/ws", any(echo))).await;
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let rows = [
        ("Upgrade: websocket\r\n", "", 426, "missing-upgrade"),
        (
            "Upgrade: websocket\r\n",
            "Upgrade: h2c\r\n",
            426,
            "missing-upgrade",
        ),
        ("Connection: Upgrade\r\n", "", 400, "missing-connection"),
        (
            "Connection: Upgrade\r\n",
            "Connection: keep-alive\r\n",
            400,
            "missing-connection",
        ),
        ("GET", "POST", 405, "method-not-get"),
        ("HTTP/1.1", "HTTP/1.0", 400, "http-version"),
        ("Sec-WebSocket-Version: 13\r\n", "", 426, "missing-version"),
        ("Version: 13", "Version: 12", 426, "unsupported-version"),
        (key, "", 400, "missing-key"),
        (key, &key.repeat(2), 400, "repeated-key"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "AAAA", 400, "invalid-key"),
        ("Host: server.example\r\n", "", 400, "missing-host"),
        (
            "Host: server.example\r\n",
            "Host: a\r\nHost: b\r\n",
            400,
            "repeated-host",
        ),
        (
            "Host: server.example\r\n",
            "Host: a b\r\n",
            400,
            "invalid-host",
        ),
        (
            "Upgrade: websocket\r\n",
            "Upgrade: websocket\r\nContent-Length: 5\r\n",
            400,
            "body",
        ),
        (
            "Upgrade: websocket\r\n",
            "Upgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
            400,
            "body",
        ),
        (
            "Upgrade: websocket\r\n",
            "Upgrade: websocket\r\nOrigin: http://evil.example\r\n",
            403,
            "origin-not-allowed",
        ),
        (
            "Upgrade: websocket\r\n",
            "Upgrade: websocket\r\nOrigin: https://server.example\r\n",
            403,
            "origin-not-allowed",
        ),
        (
            "Upgrade: websocket\r\n",
            "Upgrade: websocket\r\nOrigin: null\r\n",
            403,
            "origin-null",
        ),
        (
            "Upgrade: websocket\r\n",
            "Upgrade: websocket\r\nOrigin: http://server.example/\r\n",
            403,
            "origin-malformed",
        ),
    ];
    for (part, replacement, expected, reason) in rows {
        let request = handshake("/ws", "").replacen(part, replacement, 1);
        let mut stream = connect(address).await;
        let head = ask(&mut stream, &request).await;
        assert_eq!(
            (status(&head), field(&head, "websocket-error")),
            (expected, Some(reason)),
            "{request}"
        );
        assert_eq!(field(&head, "connection"), Some("close"), "{request}");
        if expected == 426 {
            assert_eq!(field(&head, "upgrade"), Some("websocket"));
            assert_eq!(field(&head, "sec-websocket-version"), Some("13"));
        }
        let body = read_rest(&mut stream).await;
        assert!(
            body.ends_with('\n') && body.len() > 10,
            "{request}: {body:?}"
        );
    }
}

#[tokio::test]
async fn the_own_origin_and_programs_are_let_in() {
    let address = serve(Router::new().route("/ws", any(echo))).await;
    for origin in [
        "",
        "Origin: http://server.example\r\n",
        "Origin: http://SERVER.example:80\r\n",
    ] {
        let mut socket = open_on(connect(address).await, "/ws", origin).await;
        expect_echo(&mut socket, "in").await;
    }
}

#[tokio::test]
async fn origins_are_a_matter_of_the_route() {
    async fn listed(upgrade: Upgrade) -> Result<Response, antiphon::Error> {
        Ok(echo(upgrade.origins(Origins::only(["https://app.example"])?)).await)
    }
    async fn any_origin(upgrade: Upgrade) -> Response {
        echo(upgrade.origins(Origins::allow_any())).await
    }
    let app = Router::new()
        .route(
            "/listed",
            any(async |upgrade: Upgrade| listed(upgrade).await.expect("a good list")),
        )
        .route("/any", any(any_origin));
    let address = serve(app).await;
    let rows = [
        ("/listed", "https://app.example", 101),
        ("/listed", "http://app.example", 403),
        ("/listed", "http://server.example", 403),
        ("/any", "https://evil.example", 101),
        ("/any", "null", 101),
    ];
    for (path, origin, expected) in rows {
        let head = ask(
            &mut connect(address).await,
            &handshake(path, &format!("Origin: {origin}\r\n")),
        )
        .await;
        assert_eq!(status(&head), expected, "{path} {origin}");
    }
}

#[tokio::test]
async fn headers_of_layers_stay_on_the_answer() {
    async fn layer(request: axum::extract::Request, next: axum::middleware::Next) -> Response {
        let mut response = next.run(request).await;
        let fields = response.headers_mut();
        fields.insert(
            HeaderName::from_static("x-trace-id"),
            HeaderValue::from_static("42"),
        );
        fields.append("set-cookie", HeaderValue::from_static("a=1"));
        response
    }
    let app = Router::new()
        .route("/ws", any(echo))
        .layer(axum::middleware::from_fn(layer));
    let address = serve(app).await;
    let head = ask(&mut connect(address).await, &handshake("/ws", "")).await;
    assert_eq!(status(&head), 101);
    assert_eq!(
        (field(&head, "x-trace-id"), field(&head, "set-cookie")),
        (Some("42"), Some("a=1"))
    );
    let head = ask(
        &mut connect(address).await,
        "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    .await;
    assert_eq!(
        (status(&head), field(&head, "x-trace-id")),
        (426, Some("42"))
    );
}

#[tokio::test]
async fn subprotocols_are_chosen_as_the_route_says() {
    async fn preferred(upgrade: Upgrade) -> Response {
        echo(upgrade.subprotocols(["v2", "v1"])).await
    }
    async fn required(upgrade: Upgrade) -> Response {
        echo(upgrade.subprotocols(["v2"]).require_subprotocol()).await
    }
    async fn selected(upgrade: Upgrade) -> Response {
        let last = upgrade
            .requested_subprotocols()
            .last()
            .map(ToOwned::to_owned);
        echo(upgrade.select_subprotocol(move |_| last.clone())).await
    }
    let app = Router::new()
        .route("/preferred", any(preferred))
        .route("/required", any(required))
        .route("/selected", any(selected))
        .route("/none", any(echo));
    let address = serve(app).await;
    let rows = [
        ("/preferred", "v1, v2", 101, Some("v2")),
        ("/preferred", "v1", 101, Some("v1")),
        ("/preferred", "v3", 101, None),
        ("/required", "v1, v2", 101, Some("v2")),
        ("/required", "v1", 400, None),
        ("/selected", "a, b,c", 101, Some("c")),
        ("/none", "v1", 101, None),
    ];
    for (path, offer, expected, subprotocol) in rows {
        let fields = format!("Sec-WebSocket-Protocol: {offer}\r\n");
        let head = ask(&mut connect(address).await, &handshake(path, &fields)).await;
        assert_eq!(
            (status(&head), field(&head, "sec-websocket-protocol")),
            (expected, subprotocol),
            "{path} {offer}"
        );
    }
}

#[tokio::test]
async fn compression_is_negotiated_where_it_is_wanted() {
    async fn compressed(upgrade: Upgrade) -> Response {
        echo(upgrade.compression(DeflateConfig::default())).await
    }
    let address = serve(
        Router::new()
            .route("/plain", any(echo))
            .route("/compressed", any(compressed)),
    )
    .await;
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let head = ask(&mut connect(address).await, &handshake("/plain", offer)).await;
    assert_eq!(
        (status(&head), field(&head, "sec-websocket-extensions")),
        (101, None)
    );
    let head = ask(
        &mut connect(address).await,
        &handshake("/compressed", offer),
    )
    .await;
    let extensions = field(&head, "sec-websocket-extensions").expect("an extension");
    assert!(extensions.starts_with("permessage-deflate"), "{extensions}");
    let head = ask(&mut connect(address).await, &handshake("/compressed", "")).await;
    assert_eq!(
        (status(&head), field(&head, "sec-websocket-extensions")),
        (101, None)
    );
}

#[tokio::test]
async fn a_page_and_a_socket_can_share_an_address() {
    async fn both(upgrade: Option<Upgrade>) -> Response {
        match upgrade {
            Some(upgrade) => echo(upgrade).await,
            None => Response::new(Body::from("<p>a page")),
        }
    }
    let address = serve(Router::new().route("/", any(both))).await;
    let mut stream = connect(address).await;
    let head = ask(
        &mut stream,
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(
        (status(&head), read_rest(&mut stream).await.as_str()),
        (200, "<p>a page")
    );
    let mut socket = open_on(connect(address).await, "/", "").await;
    expect_echo(&mut socket, "socket").await;
    let head = ask(
        &mut connect(address).await,
        &handshake("/", "").replace("13", "8"),
    )
    .await;
    assert_eq!(status(&head), 426, "a bad handshake is none of the page");
}

#[tokio::test]
async fn frames_behind_the_request_are_not_lost() {
    let address = serve(Router::new().route("/ws", any(echo))).await;
    let mut stream = connect(address).await;
    // "Hi" in a masked text frame (with a masking key of zeros) directly behind the request.
    let request = format!("{}\u{1}", handshake("/ws", ""));
    let mut bytes = request.into_bytes();
    bytes.pop();
    bytes.extend([0x81, 0x82, 0, 0, 0, 0, b'H', b'i']);
    tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes)
        .await
        .expect("written");
    assert_eq!(status(&support::read_head(&mut stream).await), 101);
    let mut frame = [0; 4];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut frame)
        .await
        .expect("the echo");
    assert_eq!(&frame, b"\x81\x02Hi");
}
