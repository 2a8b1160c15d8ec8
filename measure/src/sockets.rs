//! A socket of the library between its transport and its handler: echo, one message at a time and sixteen at once.

use antiphon::{Config, Role, WebSocket};
use antiphon_proto::frame::Opcode;

use crate::{
    feed::{feed, runtime},
    path::{Path, Step},
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
    vec![
        Path::new(
            "echo/recv-125",
            "loop of `recv` and `send`, one message at a time",
            125,
            echo(How::Recv, 1, 125),
        )
        .rounds(1000),
        Path::new(
            "echo/recv-125x16",
            "the same, 16 in one read",
            125,
            echo(How::Recv, 16, 125),
        )
        .each(16)
        .rounds(200),
        Path::new(
            "echo/each-125",
            "`for_each`, one message at a time",
            125,
            echo(How::Each, 1, 125),
        )
        .rounds(1000),
        Path::new(
            "echo/each-125x16",
            "the same, 16 in one read",
            125,
            echo(How::Each, 16, 125),
        )
        .each(16)
        .rounds(200),
        Path::new(
            "echo/recv-16K",
            "loop of `recv` and `send`",
            16_384,
            echo(How::Recv, 1, 16_384),
        )
        .rounds(200),
        Path::new(
            "echo/each-16K",
            "`for_each`",
            16_384,
            echo(How::Each, 1, 16_384),
        )
        .rounds(200),
    ]
}

fn echoing(how: How, depth: usize, size: usize) -> Step {
    let batch = (0..depth)
        .flat_map(|seed| sample::frame(Opcode::Text, sample::text(size, seed).as_bytes()))
        .collect();
    let (io, turns) = feed(batch, depth * sample::answer_length(size));
    let runtime = runtime();
    // The socket ends where nothing comes any more; `Turns` says so if that is too early.
    runtime.spawn(async move {
        let mut socket = WebSocket::from_io(io, Role::Server, Config::default());
        match how {
            How::Recv => {
                while let Ok(Some(message)) = socket.recv().await {
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
            }
            How::Each => {
                let _ = socket
                    .for_each(|message, replies| replies.send(message))
                    .await;
            }
        }
    });
    Box::new(move |times| runtime.block_on(turns.run(times)))
}
