//! A server in several threads is one server: its bounds, its counts, its end.

mod support;

use std::{collections::HashSet, thread, time::Duration};

use antiphon::{Server, Upgrade};
use axum::response::Response;
use support::{ask, connect, echo, expect_echo, field, handshake, open, read_rest, start, until};

/// Echoes, and says in which thread.
async fn here(upgrade: Upgrade) -> Response {
    let name = thread::current().name().unwrap_or_default().to_owned();
    let mut response = echo(upgrade).await;
    let name = name.parse().expect("a name in ASCII");
    response.headers_mut().insert("x-thread", name);
    response
}

async fn threads(running: &antiphon::Running, index: usize) -> HashSet<String> {
    let mut names = HashSet::new();
    for _ in 0..100 {
        let address = running.local_addrs()[index];
        let mut stream = tokio::net::TcpStream::connect(address)
            .await
            .expect("the server accepts");
        let head = ask(&mut stream, &handshake("/ws", "")).await;
        names.insert(field(&head, "x-thread").expect("a name").to_owned());
    }
    names
}

#[tokio::test]
async fn connections_are_dealt_out_to_threads() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let server = Server::new()
        .route("/ws", here)
        .listener(listener)
        .workers(2);
    let running = start(server).await;
    let expected = HashSet::from(["antiphon-0".to_owned(), "antiphon-1".to_owned()]);
    assert!(threads(&running, 0).await.is_subset(&expected));
    let names = threads(&running, 1).await;
    assert!(names.is_subset(&expected));
    assert!(!cfg!(target_os = "linux") || names == expected, "{names:?}");
    until(|| running.connections() == 0).await;
    assert_eq!(running.stats().upgraded, 200);
    let running = start(Server::new().route("/ws", here).workers(0)).await;
    expect_echo(&mut open(&running, "/ws").await, "as many as cores").await;
}

#[tokio::test]
async fn bounds_are_those_of_the_whole_server() {
    let server = Server::new().route("/ws", echo).workers(3);
    let running = start(server.max_connections(2)).await;
    let mut first = open(&running, "/ws").await;
    let second = open(&running, "/ws").await;
    for _ in 0..20 {
        let answer = read_rest(&mut connect(&running).await).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503"));
    }
    assert_eq!(running.stats().refused_connections, 20);
    expect_echo(&mut first, "not disturbed").await;
    drop(second);
    until(|| running.connections() == 1).await;
    expect_echo(&mut open(&running, "/ws").await, "room again").await;
}

#[tokio::test]
async fn all_threads_end_with_the_server() {
    async fn stubborn(upgrade: Upgrade) -> Response {
        upgrade.on_socket(async |_socket| std::future::pending().await)
    }
    let server = Server::new()
        .route("/ws", echo)
        .route("/stubborn", stubborn)
        .drain_timeout(Duration::from_millis(200))
        .workers(3);
    let running = start(server).await;
    let mut sockets = Vec::new();
    for _ in 0..12 {
        sockets.push(open(&running, "/ws").await);
    }
    let mut stubborn = open(&running, "/stubborn").await;
    running.shutdown();
    for mut socket in sockets {
        assert_eq!(socket.recv().await.expect("a clean end"), None);
        let close = socket.close_frame().expect("a Close frame");
        assert_eq!(u16::from(close.code), 1001);
    }
    let _ = stubborn.recv().await;
    running.wait().await.expect("ended");
    assert_eq!((running.connections(), running.sockets()), (0, 0));
    let address = running.local_addrs()[0];
    // The listeners go with their threads.
    until(|| std::net::TcpStream::connect(address).is_err()).await;
}

/// Without the runtime that began them, too.
#[test]
fn threads_end_with_the_runtime_that_began_them() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let address = runtime.block_on(async {
        let running = start(Server::new().route("/ws", echo).workers(2)).await;
        expect_echo(&mut open(&running, "/ws").await, "here").await;
        running.local_addrs()[0]
    });
    drop(runtime);
    for _ in 0..500 {
        if std::net::TcpStream::connect(address).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("the workers outlive the server");
}

#[tokio::test]
async fn a_taken_address_is_an_error() {
    let first = start(Server::new().route("/ws", echo).workers(2)).await;
    let second = Server::new()
        .route("/ws", echo)
        .workers(2)
        .bind(first.local_addrs()[0]);
    second.start().await.expect_err("taken");
    expect_echo(&mut open(&first, "/ws").await, "still here").await;
}
