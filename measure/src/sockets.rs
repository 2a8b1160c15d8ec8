//! A socket of the library between its transport and its handler: echo, one message at a time and sixteen at once; alone, and in a server.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::mpsc,
    thread,
    time::Duration,
};

use antiphon::{Config, Role, Server, Upgrade, WebSocket};
use antiphon_proto::frame::Opcode;

use crate::{
    feed::{feed, runtime},
    opening::REQUEST,
    path::{Path, Step, step},
    sample,
};

/// How the handler answers.
#[derive(Clone, Copy)]
enum How {
    /// A loop of `recv` and `send`.
    Recv,
    /// `for_each`.
    Each,
}

pub(crate) fn paths() -> Vec<Path> {
    let echo = |how, depth, size| move || echoing(how, depth, size);
    let served = |how, depth, size| move || serving(how, depth, size);
    let alone =
        |name, about, how, size| Path::new(name, about, size, echo(how, 1, size)).rounds(500);
    let many = |name, about, how, size| {
        Path::new(name, about, size, echo(how, 16, size))
            .each(16)
            .rounds(200)
    };
    vec![
        alone(
            "echo/recv-125",
            "loop of `recv` and `send`, one message at a time",
            How::Recv,
            125,
        ),
        many(
            "echo/recv-125x16",
            "the same, 16 in one read, each sent by itself",
            How::Recv,
            125,
        ),
        alone(
            "echo/each-125",
            "`for_each`, one message at a time",
            How::Each,
            125,
        ),
        many(
            "echo/each-125x16",
            "the same, 16 in one read",
            How::Each,
            125,
        ),
        alone(
            "echo/recv-16K",
            "loop of `recv` and `send`",
            How::Recv,
            16_384,
        ),
        alone("echo/each-16K", "`for_each`", How::Each, 16_384),
        Path::new(
            "server/recv-125",
            "the loop in a handler of the server, over loopback, with its client",
            125,
            served(How::Recv, 1, 125),
        ),
        Path::new(
            "server/recv-125x16",
            "the same, 16 in one read and in one write",
            125,
            served(How::Recv, 16, 125),
        )
        .each(16)
        .rounds(200),
        Path::new(
            "server/each-125",
            "`for_each` in a handler of the server",
            125,
            served(How::Each, 1, 125),
        ),
        Path::new(
            "server/each-125x16",
            "the same, 16 in one read",
            125,
            served(How::Each, 16, 125),
        )
        .each(16)
        .rounds(200),
    ]
}

async fn answer(mut socket: WebSocket, how: How) -> antiphon::Result<()> {
    match how {
        How::Recv => {
            while let Some(message) = socket.recv().await? {
                socket.send(message).await?;
            }
            Ok(())
        }
        How::Each => {
            socket
                .for_each(|message, replies| replies.send(message))
                .await
        }
    }
}

fn batch(depth: usize, size: usize) -> Vec<u8> {
    (0..depth)
        .flat_map(|seed| sample::frame(Opcode::Text, sample::text(size, seed).as_bytes()))
        .collect()
}

fn echoing(how: How, depth: usize, size: usize) -> Step {
    let (io, turns) = feed(batch(depth, size), depth * sample::answer_length(size));
    let runtime = runtime();
    // The socket ends where nothing comes any more; `Turns` says so if that is too early.
    runtime.spawn(async move {
        let socket = WebSocket::from_io(io, Role::Server, Config::default());
        answer(socket, how).await
    });
    Box::new(move |times| runtime.block_on(turns.run(times)))
}

/// A server on a thread of its own, and a client that does nothing but write and read.
fn serving(how: How, depth: usize, size: usize) -> Step {
    let (ready, address) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime of one thread");
        runtime.block_on(async {
            let running = Server::new()
                .route("/", move |upgrade: Upgrade| async move {
                    upgrade.on_socket(move |socket| answer(socket, how))
                })
                .bind("127.0.0.1:0")
                .start()
                .await
                .expect("a free port on loopback");
            let _ = ready.send(running.local_addrs()[0]);
            let _ = running.wait().await;
        });
    });
    let address = address.recv().expect("the server listens");
    let mut stream = TcpStream::connect(address).expect("it accepts");
    let mut response = [0; 1024];
    let opened = stream
        .set_nodelay(true)
        .and_then(|()| stream.set_read_timeout(Some(Duration::from_secs(60))))
        .and_then(|()| stream.write_all(REQUEST))
        .and_then(|()| stream.read(&mut response));
    assert!(opened.is_ok_and(|length| response[..length].ends_with(b"\r\n\r\n")));
    let batch = batch(depth, size);
    let mut answers = vec![0; depth * sample::answer_length(size)];
    step(move || {
        let answered = stream
            .write_all(&batch)
            .and_then(|()| stream.read_exact(&mut answers));
        assert!(answered.is_ok());
    })
}
