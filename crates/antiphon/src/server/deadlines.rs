//! What becomes of connections that keep the server waiting, in virtual time.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use antiphon_proto::config::{Config, Role};
use axum::{Router, body::Body, response::Response, routing::any};
use bytes::Bytes;
use http::HeaderValue;
use hyper::body::{Body as HttpBody, Frame};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::{Instant, sleep, timeout},
};

use crate::{
    limits::{Lease, Limits},
    server::{
        connection::{Protocols, Site, Times, serve},
        opening::Paths,
    },
    shutdown::Shutdown,
    socket::WebSocket,
    stats::{Counters, OpenConnection, Stats},
    tls::server::ServerTls,
    upgrade::{Environment, Settings, Upgrade},
};

const HANDSHAKE: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(60);
const REQUEST: Duration = Duration::from_secs(45);

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A connection to a server of its own, in memory.
struct Line {
    io: DuplexStream,
    counters: Arc<Counters>,
    accepted: Instant,
    /// Without it the server is gone.
    _environment: Arc<Environment>,
}

impl Line {
    fn new(router: Router, http2: bool, tls: bool) -> Self {
        Self::with(router, http2, tls, &[])
    }

    /// To a server that knows these paths as its own.
    fn with(router: Router, http2: bool, tls: bool, known: &[&str]) -> Self {
        let paths = Paths::default();
        known.iter().for_each(|path| paths.learn(path));
        let counters = Arc::new(Counters::default());
        let mut config = Config::default();
        config.ping_interval = None;
        let settings = Settings {
            config: Arc::new(config),
            ..Settings::default()
        };
        let environment = Arc::new(Environment {
            settings,
            counters: counters.clone(),
            shutdown: Arc::new(Shutdown::new()),
        });
        let tls = tls.then(|| {
            let issued =
                rcgen::generate_simple_self_signed(["x".to_owned()]).expect("a certificate");
            let (certificate, key) = (issued.cert.pem(), issued.signing_key.serialize_pem());
            let tls = ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).expect("a pair");
            tls.server_config(http2).expect("a configuration")
        });
        let site = Arc::new(Site {
            router,
            environment: environment.clone(),
            limits: Limits::new(1, Some(1), 1),
            proxies: Vec::new(),
            times: Times {
                handshake: HANDSHAKE,
                idle: IDLE,
                request: REQUEST,
            },
            protocols: Protocols::new(http2),
            paths,
            tls,
        });
        let lease = Lease {
            _connection: site.limits.connection().expect("the first"),
            _address: None,
            _open: OpenConnection::new(&counters),
        };
        let handshake = site.limits.handshake().expect("the first");
        let (io, far) = duplex(4096);
        let accepted = Instant::now();
        tokio::spawn(serve(
            far,
            None,
            site,
            lease,
            handshake,
            accepted + HANDSHAKE,
        ));
        Self {
            io,
            counters,
            accepted,
            _environment: environment,
        }
    }

    /// Reads until the server hangs up: what came, and when it ended.
    async fn end(&mut self) -> (String, Duration) {
        let mut all = Vec::new();
        let _ = self.io.read_to_end(&mut all).await;
        (
            String::from_utf8_lossy(&all).into_owned(),
            self.accepted.elapsed(),
        )
    }

    /// Sends a request and reads an answer of this length.
    async fn ask(&mut self, request: &str, end: &str) -> String {
        self.io
            .write_all(request.as_bytes())
            .await
            .expect("written");
        let mut answer = Vec::new();
        while !answer.ends_with(end.as_bytes()) {
            answer.push(self.io.read_u8().await.expect("an answer"));
        }
        String::from_utf8(answer).expect("ASCII")
    }

    async fn stats(&self) -> Stats {
        // The connection counts as open until its task is gone.
        while self.counters.snapshot().open_connections > 0 {
            tokio::task::yield_now().await;
        }
        self.counters.snapshot()
    }
}

fn routes() -> Router {
    async fn echo(upgrade: Upgrade) -> Response {
        upgrade.on_socket(|mut socket| async move {
            while let Some(message) = socket.recv().await? {
                socket.send(message).await?;
            }
            Ok(())
        })
    }
    async fn slow(upgrade: Upgrade) -> Response {
        sleep(Duration::from_secs(3600)).await;
        echo(upgrade).await
    }
    async fn long(upgrade: Upgrade) -> Response {
        let mut response = echo(upgrade).await;
        let long = HeaderValue::try_from("x".repeat(8192)).expect("letters");
        response.headers_mut().insert("x-long", long);
        response
    }
    Router::new()
        .route("/ws", any(echo))
        .route("/long", any(long))
        .route("/slow-ws", any(slow))
        .route("/page", any(|| async { "page" }))
        .route("/slow", any(|| sleep(Duration::from_secs(3600))))
        .route("/large", any(|| async { Body::new(Large(1000)) }))
        .route("/quiet", any(|| async { Body::new(Quiet(None, 3)) }))
}

/// Many parts of 1 KiB, ready at once.
struct Large(usize);

impl HttpBody for Large {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.0 == 0 {
            return Poll::Ready(None);
        }
        self.0 -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 1024])))))
    }
}

/// A part now and then: every five minutes.
struct Quiet(Option<Pin<Box<tokio::time::Sleep>>>, usize);

impl HttpBody for Quiet {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.1 == 0 {
            return Poll::Ready(None);
        }
        let pause = self.0.get_or_insert_with(|| Box::pin(sleep(5 * IDLE)));
        std::task::ready!(pause.as_mut().poll(cx));
        self.0 = None;
        self.1 -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"part;")))))
    }
}

/// What a client sends at the beginning, and what every two seconds after it.
#[tokio::test(start_paused = true)]
async fn silent_half_sent_and_dripping_connections_are_closed_at_the_deadline() {
    let hello = "\u{16}\u{3}\u{1}\u{1}\0\u{1}\0\0\u{f0}";
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let rows = [
        ("", ""),
        ("GET /ws HT", ""),
        ("GET /ws HTTP/1.1\r\nHost: x\r\n", ""),
        ("GET /ws HTTP/1.1\r\nHost: x\r\nX: ", "y"),
        ("", "G"),
        (hello, ""),
        (hello, "\0"),
        (preface, ""),
        (&preface[..10], ""),
    ];
    for (begin, drip) in rows {
        for (http2, tls) in [(false, false), (true, false), (false, true), (true, true)] {
            let about = format!("{begin:?} {drip:?} http2 {http2} tls {tls}");
            // Speaking the wrong one of plain and TLS ends earlier, or never comes here.
            if tls != begin.starts_with(hello) && !begin.is_empty()
                || tls && begin.is_empty() && !drip.is_empty()
            {
                continue;
            }
            // Without HTTP/2 its preface is a bad request, answered at once.
            if !http2 && begin == preface {
                continue;
            }
            let mut line = Line::new(routes(), http2, tls);
            line.io.write_all(begin.as_bytes()).await.expect("written");
            let mut pace = tokio::time::interval(Duration::from_secs(2));
            let mut received = Vec::new();
            loop {
                let mut chunk = [0; 256];
                tokio::select! {
                    read = line.io.read(&mut chunk) => match read {
                        Ok(0) | Err(_) => break,
                        Ok(n) => received.extend_from_slice(&chunk[..n]),
                    },
                    _ = pace.tick(), if !drip.is_empty() => {
                        let _ = line.io.write_all(drip.as_bytes()).await;
                    }
                }
            }
            assert_eq!(line.accepted.elapsed(), HANDSHAKE, "{about}");
            let stats = line.stats().await;
            assert_eq!(
                (stats.handshake_timeouts, stats.open_connections),
                (1, 0),
                "{about}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_request_leaves_less_time_for_the_answer() {
    let request = UPGRADE.replace("/ws", "/slow-ws");
    for known in [&[][..], &["/slow-ws"]] {
        let mut line = Line::with(routes(), false, false, known);
        sleep(Duration::from_secs(7)).await;
        line.io
            .write_all(request.as_bytes())
            .await
            .expect("written");
        let (answer, time) = line.end().await;
        assert!(
            answer.starts_with("HTTP/1.1 503") && answer.contains("connection: close"),
            "{answer}"
        );
        assert_eq!(time, HANDSHAKE);
        assert_eq!(line.stats().await.handshake_timeouts, 1);
    }

    // A later request on the connection has the whole time.
    let mut line = Line::new(routes(), false, false);
    line.ask("GET /page HTTP/1.1\r\nHost: x\r\n\r\n", "page")
        .await;
    sleep(Duration::from_secs(30)).await;
    line.io
        .write_all(request.as_bytes())
        .await
        .expect("written");
    let (answer, time) = line.end().await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(time, Duration::from_secs(30) + HANDSHAKE);
}

/// One that is not taken at once is waited for, and not for ever.
#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_takes_ends_the_connection() {
    for known in [&[][..], &["/long"]] {
        let mut line = Line::with(routes(), false, false, known);
        let request = UPGRADE.replace("/ws", "/long");
        line.io
            .write_all(request.as_bytes())
            .await
            .expect("written");
        sleep(Duration::from_secs(11)).await;
        let stats = line.counters.snapshot();
        assert_eq!((stats.upgraded, stats.open_sockets), (0, 0), "{known:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_socket_is_left_alone() {
    for (http2, known) in [
        (false, &[][..]),
        (true, &[]),
        (false, &["/ws"]),
        (true, &["/ws"]),
    ] {
        let mut line = Line::with(routes(), http2, false, known);
        let answer = line.ask(UPGRADE, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        let counters = line.counters.clone();
        let mut config = Config::default();
        config.ping_interval = None;
        let mut socket = WebSocket::from_io(line.io, Role::Client, config);
        for text in ["now", "an hour later"] {
            socket.send(text).await.expect("sent");
            assert_eq!(
                socket
                    .recv()
                    .await
                    .expect("no error")
                    .expect("a message")
                    .as_text(),
                Some(text)
            );
            sleep(Duration::from_secs(3600)).await;
        }
        let stats = counters.snapshot();
        assert_eq!(
            (
                stats.open_sockets,
                stats.handshake_timeouts,
                stats.idle_timeouts
            ),
            (1, 0, 0)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed() {
    for http2 in [false, true] {
        for half_sent in ["", "GET /page HT"] {
            let mut line = Line::new(routes(), http2, false);
            sleep(Duration::from_secs(5)).await;
            line.ask("GET /page HTTP/1.1\r\nHost: x\r\n\r\n", "page")
                .await;
            sleep(Duration::from_secs(20)).await;
            line.ask("GET /page HTTP/1.1\r\nHost: x\r\n\r\n", "page")
                .await;
            line.io
                .write_all(half_sent.as_bytes())
                .await
                .expect("written");
            let (rest, time) = line.end().await;
            assert_eq!(
                (rest.as_str(), time),
                ("", Duration::from_secs(25) + IDLE),
                "{half_sent:?}"
            );
            assert_eq!(line.stats().await.idle_timeouts, 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_that_does_not_answer_is_given_up() {
    let mut line = Line::new(routes(), false, false);
    line.io
        .write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("written");
    let (answer, time) = line.end().await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(time, REQUEST);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_cut_and_a_quiet_route_is_not() {
    let mut line = Line::new(routes(), false, false);
    line.io
        .write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("written");
    sleep(IDLE / 2).await;
    // Reading on moves the deadline.
    line.io
        .read_exact(&mut [0; 64 * 1024])
        .await
        .expect("a part of the answer");
    sleep(IDLE * 2).await;
    assert_eq!(line.counters.snapshot().idle_timeouts, 1);
    let (_, time) = timeout(IDLE, line.end())
        .await
        .expect("the connection is closed");
    assert_eq!(time, IDLE / 2 + IDLE * 2);

    let mut line = Line::new(routes(), false, false);
    line.io
        .write_all(b"GET /quiet HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .expect("written");
    let (answer, time) = line.end().await;
    assert_eq!((answer.matches("part;").count(), time), (3, 15 * IDLE));
}
