//! The limit on bare epoll (mio): the bytes that come go back. No runtime, no HTTP and no WebSocket.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read as _, Write as _},
};

use antiphon_bench_peers::{Fault, options::Options};
use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

const LISTENER: Token = Token(0);

struct Connection {
    stream: TcpStream,
    /// What the socket has not taken yet.
    left: Vec<u8>,
}

fn main() -> Result<(), Fault> {
    let options = Options::read(false, false);
    let mut listener = TcpListener::bind(([127, 0, 0, 1], options.port).into())?;
    println!("listening on ws://{}/", listener.local_addr()?);
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut connections = HashMap::new();
    let mut buffer = vec![0; 512 * 1024];
    let mut next = 1;
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let both = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(next), both)?;
                    connections.insert(
                        next,
                        Connection {
                            stream,
                            left: Vec::new(),
                        },
                    );
                    next += 1;
                }
            } else if let Some(connection) = connections.get_mut(&event.token().0)
                && turn(connection, &mut buffer).is_err()
            {
                connections.remove(&event.token().0);
            }
        }
    }
}

/// Reads and writes until the socket has nothing more or takes nothing more; an error also at the end of the stream.
fn turn(connection: &mut Connection, buffer: &mut [u8]) -> io::Result<()> {
    let left = std::mem::take(&mut connection.left);
    if !write(connection, &left)? {
        return Ok(());
    }
    loop {
        match connection.stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                // A short read has emptied the socket: the edge that comes next is a new one.
                if !write(connection, &buffer[..read])? || read < buffer.len() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes all, or keeps the rest; says whether nothing is left.
fn write(connection: &mut Connection, mut bytes: &[u8]) -> io::Result<bool> {
    while !bytes.is_empty() {
        match connection.stream.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                connection.left = bytes.to_vec();
                return Ok(false);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
