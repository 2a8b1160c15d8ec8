//! The limit on tokio: the bytes that come go back. No HTTP and no WebSocket; one buffer for all connections.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use antiphon_bench_peers::{Fault, Peer, Transport, options::Options, run};
use tokio::io::ReadBuf;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 512 * 1024]);
}

#[derive(Clone)]
struct Raw;

impl Peer for Raw {
    async fn serve<S: Transport>(self, mut stream: S) -> Result<(), Fault> {
        let mut left = Vec::new();
        poll_fn(|context| {
            BUFFER.with_borrow_mut(|buffer| turn(&mut stream, buffer, &mut left, context))
        })
        .await?;
        Ok(())
    }
}

/// Reads and writes until the socket has nothing more or takes nothing more; ready at the end of the stream.
fn turn<S: Transport>(
    stream: &mut S,
    buffer: &mut [u8],
    left: &mut Vec<u8>,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while !left.is_empty() {
        let written = ready!(Pin::new(&mut *stream).poll_write(context, left))?;
        left.drain(..written);
    }
    *left = Vec::new();
    loop {
        let mut read = ReadBuf::new(buffer);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut read))?;
        let mut rest = read.filled();
        if rest.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !rest.is_empty() {
            match Pin::new(&mut *stream).poll_write(context, rest)? {
                Poll::Ready(written) => rest = &rest[written..],
                Poll::Pending => {
                    *left = rest.to_vec();
                    return Poll::Pending;
                }
            }
        }
    }
}

fn main() -> Result<(), Fault> {
    run(&Options::read(false, false), Raw)
}
