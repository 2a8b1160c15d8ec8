//! The client against backends that are slow, large, broken, or somewhere else.

use std::{fs, time::Duration};

use axum::{Router, response::Redirect, routing::get};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpListener,
    time::{self, Instant},
};

use super::{
    testing::{backend, closed, raw, read_head, router},
    *,
};

const BOUNDS: Bounds = Bounds {
    timeout: Duration::from_secs(1),
    answer: 1024,
};

fn somewhere() -> Endpoint {
    "http://127.0.0.1/path?x=1".parse().unwrap()
}

async fn post(http: &Http) -> Result<Answer, Error> {
    http.post(&somewhere(), HeaderMap::new(), Bytes::from("{}"), BOUNDS)
        .await
}

#[tokio::test(start_paused = true)]
async fn it_posts_json_and_says_who_asks() {
    let (http, log) = backend(&Settings::default(), |seen| async move {
        (200, format!("{} {}", seen.path, seen.body.len()))
    });
    assert_eq!(post(&http).await.unwrap().body, "/path 2");
    let seen = &log.all()[0];
    assert_eq!(seen.headers["content-type"], "application/json");
    assert!(
        seen.headers["user-agent"]
            .to_str()
            .unwrap()
            .starts_with("antiphon/")
    );
    assert_eq!(
        http.get(&somewhere(), BOUNDS).await.unwrap().body,
        "/path 0"
    );
    assert_eq!(http.stats().requests, 2);
}

#[tokio::test(start_paused = true)]
async fn only_2xx_is_an_answer() {
    for (status, good) in [
        (200, true),
        (204, true),
        (301, false),
        (400, false),
        (404, false),
        (429, false),
        (500, false),
        (503, false),
    ] {
        let (http, _) = backend(&Settings::default(), move |_| async move {
            (status, String::new())
        });
        let answer = post(&http).await.map(|_| ());
        let expected = if good {
            Ok(())
        } else {
            Err(Error::Status(status))
        };
        assert_eq!(answer, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_ends_with_the_timeout() {
    let (http, _) = backend(&Settings::default(), |_| async {
        time::sleep(Duration::from_secs(60)).await;
        (200, String::new())
    });
    let begun = Instant::now();
    assert_eq!(post(&http).await.unwrap_err(), Error::Timeout);
    assert_eq!(begun.elapsed(), BOUNDS.timeout);
    assert_eq!(http.stats().timeouts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_ends_with_the_same_timeout() {
    let http = raw(&Settings::default(), |mut peer| async move {
        read_head(&mut peer).await;
        let _ = peer
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
            .await;
        while peer.write_all(b"x").await.is_ok() {
            time::sleep(Duration::from_millis(100)).await;
        }
    });
    let begun = Instant::now();
    assert_eq!(post(&http).await.unwrap_err(), Error::Timeout);
    assert_eq!(begun.elapsed(), BOUNDS.timeout);
}

#[tokio::test(start_paused = true)]
async fn large_answers_are_refused_whether_announced_or_not() {
    let announced = raw(&Settings::default(), |mut peer| async move {
        read_head(&mut peer).await;
        let _ = peer
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10485760\r\n\r\n")
            .await;
        time::sleep(Duration::from_secs(60)).await;
    });
    let endless = raw(&Settings::default(), |mut peer| async move {
        read_head(&mut peer).await;
        let _ = peer
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        while peer.write_all(b"5\r\nhello\r\n").await.is_ok() {}
    });
    let (whole, _) = backend(&Settings::default(), |_| async {
        (200, "x".repeat(10 << 20))
    });
    for http in [announced, endless, whole] {
        assert_eq!(post(&http).await.unwrap_err(), Error::TooLarge(1024));
        assert_eq!(http.stats().too_large, 1);
    }
    let (exact, _) = backend(&Settings::default(), |_| async { (200, "x".repeat(1024)) });
    assert_eq!(post(&exact).await.unwrap().body.len(), 1024);
}

#[tokio::test(start_paused = true)]
async fn broken_answers_are_errors() {
    for (answer, expected) in [
        (&b""[..], "broken"),
        (b"SSH-2.0-x\r\n", "broken"),
        (b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", "broken"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", "body"),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            "body",
        ),
    ] {
        let http = raw(&Settings::default(), move |mut peer| async move {
            read_head(&mut peer).await;
            let _ = peer.write_all(answer).await;
        });
        let error = post(&http).await.unwrap_err();
        assert_eq!(error.label(), expected, "{error}");
    }
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(2 * HEAD));
    let http = raw(&Settings::default(), move |mut peer| {
        let long = long.clone();
        async move {
            read_head(&mut peer).await;
            let _ = peer.write_all(long.as_bytes()).await;
        }
    });
    assert_eq!(post(&http).await.unwrap_err().label(), "broken");
    let error = post(&closed(&Settings::default())).await.unwrap_err();
    assert_eq!(error.label(), "connect");
}

#[tokio::test(start_paused = true)]
async fn redirects_are_not_followed() {
    let routes = Router::new()
        .route("/path", get(|| async { Redirect::temporary("/other") }))
        .route("/other", get(|| async { "wrong" }));
    let http = router(&Settings::default(), routes);
    let error = http.get(&somewhere(), BOUNDS).await.unwrap_err();
    assert_eq!(error, Error::Status(307));
    assert!(error.to_string().contains("redirects are not followed"));
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_a_turn_and_only_so_many() {
    let settings = Settings {
        max_concurrent: 1,
        max_waiting: 1,
        ..Settings::default()
    };
    let (http, log) = backend(&settings, |_| async {
        time::sleep(Duration::from_millis(600)).await;
        (200, String::new())
    });
    let begun = Instant::now();
    let (first, second, third) = tokio::join!(post(&http), post(&http), post(&http));
    assert!(first.is_ok());
    assert_eq!(
        second.unwrap_err(),
        Error::Timeout,
        "waiting counts as well"
    );
    assert_eq!(third.unwrap_err(), Error::Busy);
    assert_eq!(begun.elapsed(), BOUNDS.timeout);
    assert_eq!(log.count(), 2);
    let stats = http.stats();
    assert_eq!((stats.busy, stats.waiting), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_used_again() {
    let made = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&made);
    let http = raw(&Settings::default(), move |mut peer| {
        counter.fetch_add(1, Ordering::Relaxed);
        async move {
            while !read_head(&mut peer).await.is_empty() {
                let _ = peer
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .await;
            }
        }
    });
    for _ in 0..3 {
        http.get(&somewhere(), BOUNDS).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(made.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_network_and_tls() {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, secret) = (key.cert.pem(), key.signing_key.serialize_pem());
    let roots = std::env::temp_dir().join(format!("antiphon-roots-{}.pem", std::process::id()));
    fs::write(&roots, &chain).unwrap();

    let tls = antiphon::ServerTls::from_pem(chain.as_bytes(), secret.as_bytes()).unwrap();
    let routes = Router::new().fallback(|| async { "over TLS" });
    let server = antiphon::Server::new()
        .router(routes)
        .tls(tls)
        .bind("127.0.0.1:0")
        .start()
        .await
        .unwrap();
    let port = server.local_addrs()[0].port();
    let bounds = Bounds {
        timeout: Duration::from_secs(10),
        ..BOUNDS
    };

    let trusting = Settings {
        trusted_certificates: Some(roots.clone()),
        ..Settings::default()
    };
    let secure: Endpoint = format!("https://localhost:{port}/").parse().unwrap();
    let http = Http::new(&trusting).unwrap();
    assert_eq!(http.get(&secure, bounds).await.unwrap().body, "over TLS");
    let wary = Http::new(&Settings::default()).unwrap();
    assert_eq!(
        wary.get(&secure, bounds).await.unwrap_err().label(),
        "connect"
    );
    fs::remove_file(&roots).unwrap();
    assert!(
        Http::new(&trusting)
            .err()
            .unwrap()
            .contains("cannot be read")
    );

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody: Endpoint = format!("http://{}/", free.local_addr().unwrap())
        .parse()
        .unwrap();
    drop(free);
    let refused = wary.get(&nobody, bounds).await.unwrap_err();
    assert!(matches!(&refused, Error::Connect(why) if !why.is_empty()));
    server.shutdown();
}
