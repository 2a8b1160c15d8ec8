//! The client against servers that answer rightly, wrongly, endlessly or not at all.

mod client_support;

use std::{future::Future, time::Duration};

use antiphon::{Client, Codec, DeflateConfig, ErrorKind, Violation};
use client_support::{
    accept, check_echo, check_error, connect_to, field, listen, read_head, serve_echo, switching,
};
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::{Instant, sleep},
};

/// The head that this client sends for this URL.
async fn request(client: &Client, url: &str) -> String {
    let (near, mut far) = duplex(64 * 1024);
    let (_, head) = tokio::join!(client.connect_with(near, url), async {
        let head = read_head(&mut far).await;
        drop(far);
        head
    });
    head
}

#[tokio::test]
async fn the_request_is_what_the_rfc_asks_for() {
    let client = Client::new()
        .subprotocols(["a", "b"])
        .origin("https://page.example")
        .header("X-One", "1");
    let head = request(&client, "ws://server.example:8080/path?query=1").await;
    assert!(head.starts_with("GET /path?query=1 HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("host", Some("server.example:8080")),
        ("upgrade", Some("websocket")),
        ("connection", Some("Upgrade")),
        ("sec-websocket-version", Some("13")),
        ("sec-websocket-protocol", Some("a, b")),
        ("sec-websocket-extensions", None),
        ("origin", Some("https://page.example")),
        ("x-one", Some("1")),
        (
            "user-agent",
            Some(concat!("antiphon/", env!("CARGO_PKG_VERSION"))),
        ),
        ("authorization", None),
        ("content-length", None),
        ("transfer-encoding", None),
    ] {
        assert_eq!(field(&head, name), value, "{name} in {head}");
    }
    assert_eq!(field(&head, "sec-websocket-key").map(str::len), Some(24));
}

#[tokio::test]
async fn settings_show_in_the_request() {
    let plain = Client::new();
    for (client, url, name, value) in [
        (
            plain.clone(),
            "ws://server.example",
            "host",
            Some("server.example"),
        ),
        (
            plain.clone(),
            "ws://server.example:80/",
            "host",
            Some("server.example"),
        ),
        (plain.clone(), "ws://[::1]:81/", "host", Some("[::1]:81")),
        (
            plain.clone(),
            "ws://scott:tiger@server.example/",
            "authorization",
            Some("Basic c2NvdHQ6dGlnZXI="),
        ),
        (
            plain.clone(),
            "ws://scott:tiger@server.example/",
            "host",
            Some("server.example"),
        ),
        (
            plain.clone(),
            "ws://scott:ti%40ger@server.example/",
            "authorization",
            Some("Basic c2NvdHQ6dGlAZ2Vy"),
        ),
        (
            plain.clone().header("Authorization", "Bearer x"),
            "ws://scott:tiger@server.example/",
            "authorization",
            Some("Bearer x"),
        ),
        (
            plain.clone().header("User-Agent", "mine"),
            "ws://server.example/",
            "user-agent",
            Some("mine"),
        ),
        (plain.clone(), "ws://server.example/", "origin", None),
    ] {
        let head = request(&client, url).await;
        assert_eq!(field(&head, name), value, "{url}: {head}");
    }
    let head = request(
        &plain.compression(DeflateConfig::default()),
        "ws://server.example/",
    )
    .await;
    assert!(
        field(&head, "sec-websocket-extensions")
            .unwrap()
            .starts_with("permessage-deflate"),
        "{head}"
    );
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_reported_when_connecting() {
    for (client, url, kind, text) in [
        (
            Client::new().header("Upgrade", "x"),
            "ws://a/",
            ErrorKind::Config,
            "upgrade belongs to the handshake",
        ),
        (
            Client::new().header("Host", "a/b"),
            "ws://a/",
            ErrorKind::Config,
            "Host",
        ),
        (
            Client::new().header("Sec-WebSocket-Key", "x"),
            "ws://a/",
            ErrorKind::Config,
            "belongs to the handshake",
        ),
        (
            Client::new().header("Proxy-Authorization", "x"),
            "ws://a/",
            ErrorKind::Config,
            "cannot be set",
        ),
        (
            Client::new().header("a b", "x"),
            "ws://a/",
            ErrorKind::Config,
            "HTTP does not allow",
        ),
        (
            Client::new().header("a", "x\r\ny: z"),
            "ws://a/",
            ErrorKind::Config,
            "HTTP does not allow",
        ),
        (
            Client::new().origin("\n"),
            "ws://a/",
            ErrorKind::Config,
            "Origin",
        ),
        (
            Client::new().subprotocol("a b"),
            "ws://a/",
            ErrorKind::Config,
            "subprotocol",
        ),
        (
            Client::new().subprotocols(["a", "a"]),
            "ws://a/",
            ErrorKind::Config,
            "subprotocol",
        ),
        (
            Client::new(),
            "ftp://a/",
            ErrorKind::Url,
            "ftp://a/ cannot be connected to",
        ),
        (
            Client::new(),
            "ws://a/#fragment",
            ErrorKind::Url,
            "fragment",
        ),
        (
            Client::new(),
            "ws://",
            ErrorKind::Url,
            "cannot be connected to",
        ),
        (Client::new(), "", ErrorKind::Url, "cannot be connected to"),
        (
            Client::new(),
            "ws://scott:tiger@/",
            ErrorKind::Url,
            "cannot be connected to",
        ),
    ] {
        let error = client.connect(url).await.unwrap_err();
        assert_eq!(error.kind(), &kind, "{url}: {error}");
        assert!(error.to_string().contains(text), "{url}: {error}");
        assert!(!format!("{error} {error:?}").contains("tiger"), "{error}");
    }
}

/// RFC 6455 section 4.1: what the client must check before it believes that this is a WebSocket.
#[tokio::test(start_paused = true)]
async fn wrong_answers_fail_the_connection() {
    type Answer = fn(&str) -> String;
    let rows: [(&str, u16, Answer); 18] = [
        ("wrong accept", 101, |head| {
            switching(head, "").replace(&accept(head), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        }),
        ("no accept", 101, |head| {
            switching(head, "").replace("Sec-WebSocket-Accept", "X-Accept")
        }),
        ("two accepts", 101, |head| {
            switching(head, &format!("Sec-WebSocket-Accept: {}\r\n", accept(head)))
        }),
        ("no upgrade", 101, |head| {
            switching(head, "").replace("Upgrade: websocket\r\n", "")
        }),
        ("another upgrade", 101, |head| {
            switching(head, "").replace("websocket\r\n", "h2c\r\n")
        }),
        ("no connection", 101, |head| {
            switching(head, "").replace("Connection: Upgrade\r\n", "")
        }),
        ("connection: close", 101, |head| {
            switching(head, "").replace("Connection: Upgrade", "Connection: close")
        }),
        ("HTTP/1.0", 101, |head| {
            switching(head, "").replace("HTTP/1.1", "HTTP/1.0")
        }),
        ("unasked subprotocol", 101, |head| {
            switching(head, "Sec-WebSocket-Protocol: zzz\r\n")
        }),
        ("two subprotocols", 101, |head| {
            switching(head, "Sec-WebSocket-Protocol: a, b\r\n")
        }),
        ("unasked extension", 101, |head| {
            switching(head, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
        }),
        ("unknown extension", 101, |head| {
            switching(head, "Sec-WebSocket-Extensions: x-frob\r\n")
        }),
        ("a page", 200, |_| {
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".into()
        }),
        ("400", 400, |_| {
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".into()
        }),
        ("403", 403, |_| "HTTP/1.1 403 Forbidden\r\n\r\n".into()),
        ("redirect", 302, |_| {
            "HTTP/1.1 302 Found\r\nLocation: ws://elsewhere/\r\nContent-Length: 0\r\n\r\n".into()
        }),
        ("500", 500, |_| {
            "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".into()
        }),
        ("426", 426, |_| {
            "HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 8\r\nContent-Length: 0\r\n\r\n"
                .into()
        }),
    ];
    for (row, status, answer) in rows {
        let result = connect_to(&Client::new(), move |head| answer(head).into_bytes()).await;
        check_error(result, &ErrorKind::Handshake(status), "server.example", row);
    }
    for (row, answer) in [
        ("not HTTP", "SSH-2.0-OpenSSH_9.6\r\n"),
        ("cut off", "HTTP/1.1 101 Switching"),
        ("nothing", ""),
        (
            "a bad field",
            "HTTP/1.1 101 Switching Protocols\r\nUp grade: websocket\r\n\r\n",
        ),
    ] {
        let result = connect_to(&Client::new(), move |_| answer.into()).await;
        check_error(result, &ErrorKind::Connect, "server.example", row);
    }
}

#[tokio::test(start_paused = true)]
async fn unusual_but_right_answers_are_taken() {
    type Answer = fn(&str) -> String;
    let rows: [(&str, Answer); 5] = [
        ("token list", |head| {
            switching(head, "").replace("Connection: Upgrade", "Connection: keep-alive, Upgrade")
        }),
        ("case", |head| {
            switching(head, "").replace("Upgrade: websocket", "UPGRADE: WebSocket")
        }),
        ("no reason phrase", |head| {
            switching(head, "").replace("101 Switching Protocols", "101 ")
        }),
        ("a hint before", |head| {
            format!(
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{}",
                switching(head, "")
            )
        }),
        ("unknown fields", |head| {
            switching(head, "X-A: b\r\nSet-Cookie: a=b\r\n")
        }),
    ];
    for (row, answer) in rows {
        let result = connect_to(&Client::new(), move |head| answer(head).into_bytes()).await;
        assert!(result.is_ok(), "{row}: {:?}", result.err());
    }
    let mut deflate = DeflateConfig::default();
    deflate.codec = Codec::Dedicated;
    let client = Client::new().subprotocols(["a", "b"]).compression(deflate);
    let fields = "Sec-WebSocket-Protocol: b\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
    let socket = connect_to(&client, |head| switching(head, fields).into_bytes())
        .await
        .unwrap();
    assert_eq!(socket.subprotocol(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn a_message_right_behind_the_answer_is_not_lost() {
    let answer = |head: &str| [switching(head, "").as_bytes(), b"\x81\x05early"].concat();
    let mut socket = connect_to(&Client::new(), answer).await.unwrap();
    assert_eq!(
        socket.recv().await.unwrap().unwrap().as_text(),
        Some("early")
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_masks_is_found_out() {
    let answer = |head: &str| [switching(head, "").as_bytes(), b"\x81\x82\0\0\0\0hi"].concat();
    let mut socket = connect_to(&Client::new(), answer).await.unwrap();
    assert_eq!(
        socket.recv().await.unwrap_err().violation(),
        Some(Violation::MaskUnexpected)
    );
}

#[tokio::test(start_paused = true)]
async fn the_servers_messages_are_limited() {
    let answer = |head: &str| [switching(head, "").as_bytes(), b"\x82\x05large"].concat();
    let mut socket = connect_to(&Client::new().max_message_size(4), answer)
        .await
        .unwrap();
    assert_eq!(
        socket.recv().await.unwrap_err().violation(),
        Some(Violation::MessageTooBig { limit: 4 })
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_carries_the_beginning_of_its_body() {
    let long = "x".repeat(5000);
    for (row, answer, expected) in [
        (
            "length",
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 9\r\n\r\nno ticket".to_owned(),
            "no ticket".to_owned(),
        ),
        (
            "to the end",
            "HTTP/1.1 401 Unauthorized\r\n\r\nno ticket".to_owned(),
            "no ticket".to_owned(),
        ),
        (
            "chunked",
            "HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"
                .to_owned(),
            "no".to_owned(),
        ),
        (
            "long",
            format!("HTTP/1.1 401 Unauthorized\r\n\r\n{long}"),
            long[..1024].to_owned(),
        ),
        (
            "cut off",
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 90\r\n\r\nno".to_owned(),
            "no".to_owned(),
        ),
    ] {
        let error = connect_to(&Client::new(), move |_| answer.into_bytes())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Handshake(401), "{row}");
        assert_eq!(String::from_utf8_lossy(error.body()), expected, "{row}");
        assert!(
            error
                .to_string()
                .contains("401 Unauthorized; it wants credentials"),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_whose_body_stalls_is_still_a_refusal() {
    let (near, mut far) = duplex(4096);
    let server = tokio::spawn(async move {
        read_head(&mut far).await;
        far.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 90\r\n\r\nno")
            .await
            .unwrap();
        // Never the rest; ends when the client goes.
        far.read_to_end(&mut Vec::new()).await
    });
    let error = Client::new()
        .connect_with(near, "ws://server.example/")
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.body()),
        (&ErrorKind::Handshake(401), &b"no"[..])
    );
    server.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_deadline_ends_every_wait() {
    let started = Instant::now();
    let (near, far) = duplex(4096);
    let error = Client::new()
        .connect_with(near, "ws://server.example/")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Timeout);
    assert!(
        error
            .to_string()
            .contains("waiting for the server's answer"),
        "{error}"
    );
    assert_eq!(started.elapsed(), Duration::from_secs(10));
    drop(far);

    // One byte of the head each second keeps nobody waiting longer.
    let started = Instant::now();
    let (near, mut far) = duplex(4096);
    let server = tokio::spawn(async move {
        let head = read_head(&mut far).await;
        for byte in switching(&head, "").bytes() {
            sleep(Duration::from_secs(1)).await;
            if far.write_u8(byte).await.is_err() {
                return true;
            }
        }
        false
    });
    let client = Client::new().handshake_timeout(Duration::from_secs(3));
    let error = client
        .connect_with(near, "ws://server.example/")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Timeout);
    assert_eq!(started.elapsed(), Duration::from_secs(3));
    assert!(server.await.unwrap(), "the connection was dropped");
}

#[tokio::test(start_paused = true)]
async fn an_endless_head_is_refused_early() {
    for (row, line) in [
        ("long fields", vec![b'a'; 4096]),
        ("many fields", b"X-A: b\r\n".to_vec()),
    ] {
        let (near, mut far) = duplex(1024);
        let server = tokio::spawn(async move {
            read_head(&mut far).await;
            far.write_all(b"HTTP/1.1 101 Switching Protocols\r\nX: ")
                .await
                .unwrap();
            let mut sent = 0_usize;
            while sent < 100 * 1024 * 1024 && far.write_all(&line).await.is_ok() {
                sent += line.len();
            }
            sent
        });
        let result = Client::new()
            .connect_with(near, "ws://server.example/")
            .await;
        check_error(result, &ErrorKind::Connect, "longer than 16 KiB", row);
        let sent = server.await.unwrap();
        assert!(sent < 64 * 1024, "{row}: {sent} bytes were taken");
    }
}

#[tokio::test]
async fn connects_over_tcp() {
    let (server, port) = listen().await;
    let server = tokio::spawn(async move {
        for _ in 0..2 {
            serve_echo(server.accept().await.unwrap().0).await;
        }
    });
    for host in ["127.0.0.1", "localhost"] {
        check_echo(
            Client::new()
                .connect(format!("ws://{host}:{port}/"))
                .await
                .unwrap(),
        )
        .await;
    }
    server.await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let (gone, port) = listen().await;
    drop(gone);
    let result = Client::new()
        .connect(format!("ws://127.0.0.1:{port}/"))
        .await;
    check_error(
        result,
        &ErrorKind::Connect,
        "nothing listens there",
        "closed port",
    );
}

#[tokio::test]
async fn dropping_connect_closes_the_connection() {
    let (server, port) = listen().await;
    for http2 in [false, true] {
        let client = Client::new().http2(http2);
        let connecting =
            tokio::spawn(async move { client.connect(format!("ws://127.0.0.1:{port}/")).await });
        let (mut accepted, _) = server.accept().await.unwrap();
        // The first bytes are here: the handshake is under way.
        accepted.read_u8().await.unwrap();
        connecting.abort();
        // Ends, by end of stream or by reset, because the client's side was closed.
        let _ = accepted.read_to_end(&mut Vec::new()).await;
    }
}

#[tokio::test]
async fn redirects_are_followed_only_when_asked_and_credentials_stay() {
    let (first, first_port) = listen().await;
    let (second, second_port) = listen().await;
    let url = format!("ws://scott:tiger@127.0.0.1:{first_port}/a/b");
    let client = Client::new()
        .header("Cookie", "a=b")
        .header("X-Kept", "yes");
    for (redirects, location, follows, keeps) in [
        (0, "/c".to_owned(), false, false),
        (1, "/c".to_owned(), true, true),
        (1, "c?d".to_owned(), true, true),
        (1, format!("http://127.0.0.1:{second_port}/c"), true, false),
        (1, format!("//127.0.0.1:{second_port}/c"), true, false),
    ] {
        let here = !location.contains(&second_port.to_string());
        let answer = format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        );
        let serving = async {
            let (mut io, _) = first.accept().await.unwrap();
            let asked = read_head(&mut io).await;
            assert!(
                field(&asked, "authorization").is_some() && field(&asked, "cookie").is_some(),
                "{asked}"
            );
            io.write_all(answer.as_bytes()).await.unwrap();
            if !follows {
                return None;
            }
            let (io, _) = if here {
                first.accept().await.unwrap()
            } else {
                second.accept().await.unwrap()
            };
            Some(serve_echo(io).await)
        };
        let client = client.clone().max_redirects(redirects);
        let connecting = async {
            match client.connect(&url).await {
                Ok(socket) => {
                    check_echo(socket).await;
                    None
                }
                Err(error) => Some(error),
            }
        };
        let (error, reached) = tokio::join!(connecting, serving);
        match (error, reached) {
            (None, Some(head)) => {
                assert_eq!(
                    field(&head, "authorization").is_some(),
                    keeps,
                    "{location}: {head}"
                );
                assert_eq!(
                    field(&head, "cookie").is_some(),
                    keeps,
                    "{location}: {head}"
                );
                assert_eq!(field(&head, "x-kept"), Some("yes"), "{location}");
            }
            (Some(error), None) => {
                assert_eq!(
                    error.kind(),
                    &ErrorKind::Handshake(307),
                    "{location}: {error}"
                );
                assert!(error.to_string().contains(&location), "{error}");
            }
            (error, reached) => panic!("{location}: {error:?} {reached:?}"),
        }
    }
}

#[tokio::test]
async fn redirects_end_after_the_allowed_number() {
    let (server, port) = listen().await;
    let server = tokio::spawn(async move {
        for _ in 0..4 {
            let (mut io, _) = server.accept().await.unwrap();
            read_head(&mut io).await;
            io.write_all(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")
                .await
                .unwrap();
        }
    });
    let result = Client::new()
        .max_redirects(3)
        .connect(format!("ws://127.0.0.1:{port}/"))
        .await;
    check_error(result, &ErrorKind::Handshake(302), "/again", "a circle");
    server.await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn any_connection_will_do() {
    let (near, far) = tokio::net::UnixStream::pair().unwrap();
    let server = tokio::spawn(serve_echo(far));
    check_echo(
        Client::new()
            .connect_with(near, "ws://server.example/")
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(
        field(&server.await.unwrap(), "host"),
        Some("server.example")
    );
}

/// A runtime whose time stands still, for one case of a property.
fn in_virtual_time<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(future)
}

proptest! {
    /// Whatever a server answers, the client comes to an end: noise is never taken for a WebSocket.
    #[test]
    fn noise_is_refused(answer in prop::collection::vec(any::<u8>(), 0..2048), as_head in any::<bool>()) {
        let answer = if as_head { [b"HTTP/1.1 101 Switching Protocols\r\n", &answer[..]].concat() } else { answer };
        prop_assert!(in_virtual_time(connect_to(&Client::new(), |_| answer)).is_err());
    }

    /// One wrong byte in a right answer either does not matter or is an error; it is never a panic or a hang.
    #[test]
    fn a_wrong_byte_is_survived(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let answer = move |head: &str| {
            let mut answer = switching(head, "").into_bytes();
            let place = place.index(answer.len());
            answer[place] = byte;
            answer
        };
        if let Err(error) = in_virtual_time(connect_to(&Client::new(), answer)) {
            prop_assert!(matches!(error.kind(), ErrorKind::Handshake(_) | ErrorKind::Connect), "{}", error);
        }
    }
}
