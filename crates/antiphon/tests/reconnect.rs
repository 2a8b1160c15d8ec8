//! Sessions: connecting again after an end, and knowing when not to.

mod client_support;

use std::time::Duration;

use antiphon::{Backoff, Client, ErrorKind};
use client_support::{listen, read_head, switching};
use tokio::{io::AsyncWriteExt, net::TcpListener, time::timeout};

/// Waits of nothing, so that no test waits.
fn eager() -> Backoff {
    Backoff::new().base(Duration::ZERO).max(Duration::ZERO)
}

fn close(code: u16) -> Vec<u8> {
    [&[0x88, 2][..], &code.to_be_bytes()].concat()
}

/// What the server does with one connection.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// A session that ends with this close code.
    Close(u16),
    /// A session that is cut off.
    Cut,
    /// An answer that is no WebSocket.
    Answer(&'static str),
}

/// Serves these turns, one connection each, and counts those that came; then stops listening.
async fn serve(listener: TcpListener, turns: Vec<Turn>) -> usize {
    let mut served = 0;
    for turn in turns {
        let (mut io, _) = listener.accept().await.unwrap();
        let head = read_head(&mut io).await;
        served += 1;
        let answer = match turn {
            Turn::Close(code) => [switching(&head, "").into_bytes(), close(code)].concat(),
            Turn::Cut => switching(&head, "").into_bytes(),
            Turn::Answer(answer) => answer.as_bytes().to_vec(),
        };
        io.write_all(&answer).await.unwrap();
        io.shutdown().await.unwrap();
        // Reads on until the client has gone, so that nothing is lost in a reset.
        while tokio::io::AsyncReadExt::read(&mut io, &mut [0; 256])
            .await
            .is_ok_and(|read| read > 0)
        {}
    }
    served
}

#[tokio::test]
async fn sessions_follow_each_other_until_told_not_to() {
    const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    const GATEWAY: &str = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
    const MANY: &str = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n";
    const UNKNOWN: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    const MOVED: &str =
        "HTTP/1.1 301 Moved Permanently\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n";
    for (turns, sessions, kind) in [
        (
            vec![Turn::Close(1001), Turn::Close(1012), Turn::Close(3500)],
            3,
            None,
        ),
        (
            vec![Turn::Close(1000), Turn::Cut, Turn::Close(4999)],
            3,
            None,
        ),
        (
            vec![
                Turn::Answer(BUSY),
                Turn::Close(4000),
                Turn::Answer(GATEWAY),
                Turn::Close(4500),
            ],
            2,
            None,
        ),
        (
            vec![Turn::Close(3000), Turn::Answer(MANY), Turn::Answer(UNKNOWN)],
            1,
            Some(401),
        ),
        (vec![Turn::Answer(MOVED)], 0, Some(301)),
    ] {
        let (listener, port) = listen().await;
        let row = format!("{turns:?}");
        let expected = turns.len();
        let server = tokio::spawn(serve(listener, turns));
        let mut stream = Client::new()
            .reconnect(eager())
            .sessions(format!("ws://127.0.0.1:{port}/"));
        let mut seen = 0;
        while let Some(mut session) = stream.next().await {
            seen += 1;
            assert!(stream.error().is_none(), "{row}");
            while let Ok(Some(_)) = session.recv().await {}
        }
        assert_eq!(seen, sessions, "{row}");
        let error = stream.error().unwrap_or_else(|| panic!("{row}: no error"));
        match kind {
            Some(status) => assert_eq!(error.kind(), &ErrorKind::Handshake(status), "{row}"),
            None => assert!(
                error.close_frame().is_some() && error.to_string().contains("no reconnect"),
                "{row}: {error}"
            ),
        }
        assert!(stream.next().await.is_none(), "{row}: it stays stopped");
        assert_eq!(server.await.unwrap(), expected, "{row}");
    }
}

#[tokio::test]
async fn attempts_are_counted() {
    let (gone, port) = listen().await;
    drop(gone);
    let mut sessions = Client::new()
        .reconnect(eager().max_attempts(3))
        .sessions(format!("ws://127.0.0.1:{port}/"));
    assert!(sessions.next().await.is_none());
    assert_eq!(sessions.error().unwrap().kind(), &ErrorKind::Connect);
}

#[tokio::test]
async fn an_unusable_url_is_tried_once() {
    let mut sessions = Client::new().sessions("gopher://server.example");
    assert!(sessions.next().await.is_none());
    assert_eq!(sessions.error().unwrap().kind(), &ErrorKind::Url);
}

#[tokio::test]
async fn one_session_at_a_time() {
    let (listener, port) = listen().await;
    let server = tokio::spawn(serve(listener, vec![Turn::Cut, Turn::Close(3999)]));
    let mut sessions = Client::new()
        .reconnect(eager())
        .sessions(format!("ws://127.0.0.1:{port}/"));
    let first = sessions.next().await.unwrap();
    // While the first is held, the next is waited for; and this wait may be given up without harm.
    assert!(timeout(Duration::ZERO, sessions.next()).await.is_err());
    drop(first);
    let mut second = sessions.next().await.unwrap();
    while let Ok(Some(_)) = second.recv().await {}
    drop(second);
    assert!(sessions.next().await.is_none());
    server.await.unwrap();
}
