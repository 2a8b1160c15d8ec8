//! One open connection: what waits to be written, what has come, and the way out.

use std::io;

use antiphon_proto::{config::DeflateParams, frame::Opcode};

use crate::bench::{
    fault::{Fault, Kind},
    opening::Opened,
    reader::{Piece, Reader},
    socket::Socket,
    tape,
};

/// A connection.
#[derive(Debug)]
pub(crate) struct Peer {
    socket: Socket,
    reader: Reader,
    deflate: Option<DeflateParams>,
    early: Vec<u8>,
    /// What the socket did not take.
    pending: Vec<u8>,
    written: usize,
    /// Control frames to be sent.
    answers: Vec<u8>,
    has_closed: bool,
    is_ending: bool,
}

/// Most bytes of answers to pings that wait for a server that takes nothing.
const MAX_ANSWERS: usize = 64 * 1024;

impl From<Opened> for Peer {
    fn from(opened: Opened) -> Self {
        Self {
            socket: opened.socket,
            reader: Reader::default(),
            deflate: opened.deflate,
            early: opened.early,
            pending: Vec::new(),
            written: 0,
            answers: Vec::new(),
            has_closed: false,
            is_ending: false,
        }
    }
}

impl Peer {
    /// How messages are compressed, if they are.
    pub(crate) const fn deflate(&self) -> Option<DeflateParams> {
        self.deflate
    }

    /// Whether everything has been taken.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Writes frames; what the socket does not take waits.
    ///
    /// # Errors
    ///
    /// The connection has failed.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut bytes = bytes;
        if self.pending.is_empty() {
            while !bytes.is_empty() {
                match self.socket.write(bytes) {
                    Ok(count) => bytes = &bytes[count..],
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(ended(&error)),
                }
            }
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes what waits, as far as the socket takes it.
    ///
    /// # Errors
    ///
    /// The connection has failed.
    pub(crate) fn flush(&mut self) -> Result<(), Fault> {
        self.socket.flush().map_err(|error| ended(&error))?;
        while self.written < self.pending.len() {
            match self.socket.write(&self.pending[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ended(&error)),
            }
        }
        self.pending.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads once and hands out what is whole; pings are answered. `false`: there is no more for now.
    ///
    /// # Errors
    ///
    /// What the server has done wrong, its Close among it, or what `each` has found.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        limit: usize,
        mut each: impl FnMut(Message<'_>) -> Result<(), Fault>,
    ) -> Result<bool, Fault> {
        let count;
        let bytes = if self.early.is_empty() {
            match self.socket.read(buffer) {
                Ok(0) => return Err(Fault::new(Kind::Ended, "the server hung up without Close")),
                Ok(read) => count = read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
                Err(error) => return Err(ended(&error)),
            }
            &buffer[..count]
        } else {
            // There may be more where this came from.
            count = buffer.len();
            &std::mem::take(&mut self.early)
        };
        let answers = &mut self.answers;
        self.reader
            .read(bytes, limit, self.deflate.is_some(), |piece| match piece {
                Piece::Message {
                    kind,
                    compressed,
                    payload,
                } => each(Message {
                    is_text: kind == antiphon_proto::message::MessageKind::Text,
                    compressed,
                    payload,
                }),
                Piece::Ping(payload) => {
                    if answers.len() < MAX_ANSWERS {
                        tape::control(Opcode::Pong, payload, answers);
                    }
                    Ok(())
                }
                Piece::Close(payload) => Err(closed(payload)),
            })?;
        if !self.answers.is_empty() {
            let answers = std::mem::take(&mut self.answers);
            self.send(&answers)?;
        }
        Ok(self.is_ending || !self.socket.is_drained(count, buffer.len()))
    }

    /// Sends Close.
    pub(crate) fn say_goodbye(&mut self) {
        let mut frame = Vec::new();
        tape::control(Opcode::Close, &1000u16.to_be_bytes(), &mut frame);
        // Nothing depends on whether it arrives.
        let _ = self.send(&frame);
    }

    /// The connection under it.
    pub(crate) fn into_socket(self) -> Socket {
        self.socket
    }

    /// The server has said that it sends no more: a short read is not the end of what is there.
    pub(crate) const fn note_end(&mut self) {
        self.is_ending = true;
    }

    /// The server has sent Close: only its hanging up is left.
    pub(crate) const fn note_close(&mut self) {
        self.has_closed = true;
    }

    /// Whether the server has sent Close.
    pub(crate) const fn has_closed(&self) -> bool {
        self.has_closed
    }
}

/// A message as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    /// Text, not binary.
    pub(crate) is_text: bool,
    /// It stands as on the wire, compressed.
    pub(crate) compressed: bool,
    /// Its bytes.
    pub(crate) payload: &'a [u8],
}

/// An I/O error of an open connection.
fn ended(error: &io::Error) -> Fault {
    Fault::new(Kind::Ended, crate::failure::plain(error))
}

/// A Close that nobody has asked for.
fn closed(payload: &[u8]) -> Fault {
    let what = match payload {
        [high, low, reason @ ..] => format!(
            "the server closed with {} {}",
            u16::from_be_bytes([*high, *low]),
            crate::value::printable(&String::from_utf8_lossy(reason))
        ),
        _ => "the server closed without a code".to_owned(),
    };
    Fault::new(Kind::Closed, what.trim_end().to_owned())
}
