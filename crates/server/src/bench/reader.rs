//! Frames out of bytes, in place: only an unfinished frame and an unfinished message are copied.

use antiphon_proto::{
    config::Role,
    error::Violation,
    frame::{Header, MAX_HEADER, Opcode},
    message::MessageKind,
};

use crate::bench::fault::{Fault, Kind};

/// What has come.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    /// A message; if `compressed`, as it stands on the wire.
    Message {
        kind: MessageKind,
        compressed: bool,
        payload: &'a [u8],
    },
    /// A ping, to be answered.
    Ping(&'a [u8]),
    /// Close: code and reason.
    Close(&'a [u8]),
}

/// What one connection has not finished.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// The bytes of a frame that is not whole.
    frame: Vec<u8>,
    /// Its length with its header, once known; 0 before.
    whole: usize,
    /// The fragments so far.
    message: Vec<u8>,
    begun: Option<(MessageKind, bool)>,
}

impl Reader {
    /// Hands out everything that is whole with these bytes. A frame or message longer than `limit` is a fault.
    ///
    /// # Errors
    ///
    /// The first rule that the server broke, or the fault that `each` has found: nothing can be read after it.
    pub(crate) fn read(
        &mut self,
        mut bytes: &[u8],
        limit: usize,
        deflate: bool,
        mut each: impl FnMut(Piece<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        while !self.frame.is_empty() {
            let Some(rest) = self.complete(bytes, limit, deflate)? else {
                return Ok(());
            };
            bytes = rest;
            if self.whole > 0 && self.frame.len() == self.whole {
                let mut frame = std::mem::take(&mut self.frame);
                self.whole = 0;
                self.frames(&frame, limit, deflate, &mut each)?;
                frame.clear();
                // Long frames come again: their memory is kept.
                self.frame = frame;
            }
        }
        let rest = self.frames(bytes, limit, deflate, &mut each)?;
        if !rest.is_empty() {
            self.frame.extend_from_slice(rest);
            self.measure(limit, deflate)?;
        }
        Ok(())
    }

    /// Adds to the unfinished frame what belongs to it; `None` where it is still not whole.
    fn complete<'a>(
        &mut self,
        bytes: &'a [u8],
        limit: usize,
        deflate: bool,
    ) -> Result<Option<&'a [u8]>, Fault> {
        let room = match self.whole {
            0 => MAX_HEADER,
            whole => whole,
        };
        let taken = room.saturating_sub(self.frame.len()).min(bytes.len());
        let before = self.frame.len();
        self.frame.extend_from_slice(&bytes[..taken]);
        if self.whole == 0 {
            self.measure(limit, deflate)?;
            if self.whole > 0 && self.frame.len() > self.whole {
                // A short frame, and what came with the search for its header.
                self.frame.truncate(self.whole);
                return Ok(Some(&bytes[self.whole - before..]));
            }
        }
        let whole = self.whole > 0 && self.frame.len() == self.whole;
        Ok((whole || taken < bytes.len()).then(|| &bytes[taken..]))
    }

    /// Learns how long the unfinished frame will be, as soon as its header tells.
    fn measure(&mut self, limit: usize, deflate: bool) -> Result<(), Fault> {
        if let Some((header, length)) = Header::parse(&self.frame, Role::Server, deflate)? {
            self.whole = length + bounded(&header, limit)?;
            let more = self.whole.saturating_sub(self.frame.len());
            self.frame.reserve_exact(more);
        }
        Ok(())
    }

    /// Hands out the whole frames at the beginning, and returns the rest.
    fn frames<'a>(
        &mut self,
        mut bytes: &'a [u8],
        limit: usize,
        deflate: bool,
        each: &mut impl FnMut(Piece<'_>) -> Result<(), Fault>,
    ) -> Result<&'a [u8], Fault> {
        while let Some((header, length)) = Header::parse(bytes, Role::Server, deflate)? {
            let payload_length = bounded(&header, limit)?;
            let Some((payload, rest)) = bytes[length..].split_at_checked(payload_length) else {
                return Ok(bytes);
            };
            bytes = rest;
            match header.opcode {
                Opcode::Text | Opcode::Binary if self.begun.is_some() => {
                    return Err(Violation::MessageInsideMessage.into());
                }
                Opcode::Text | Opcode::Binary => {
                    let kind = if header.opcode == Opcode::Text {
                        MessageKind::Text
                    } else {
                        MessageKind::Binary
                    };
                    if header.fin {
                        each(Piece::Message {
                            kind,
                            compressed: header.rsv1,
                            payload,
                        })?;
                    } else {
                        self.begun = Some((kind, header.rsv1));
                        self.message.clear();
                        self.message.extend_from_slice(payload);
                    }
                }
                Opcode::Continuation => {
                    let Some((kind, compressed)) = self.begun else {
                        return Err(Violation::ContinuationWithoutStart.into());
                    };
                    if self.message.len() + payload.len() > limit {
                        return Err(too_long(limit));
                    }
                    self.message.extend_from_slice(payload);
                    if header.fin {
                        self.begun = None;
                        each(Piece::Message {
                            kind,
                            compressed,
                            payload: &self.message,
                        })?;
                    }
                }
                Opcode::Ping => each(Piece::Ping(payload))?,
                Opcode::Pong => {}
                Opcode::Close => each(Piece::Close(payload))?,
            }
        }
        Ok(bytes)
    }
}

fn bounded(header: &Header, limit: usize) -> Result<usize, Fault> {
    usize::try_from(header.length)
        .ok()
        .filter(|length| *length <= limit.max(125))
        .ok_or_else(|| too_long(limit))
}

fn too_long(limit: usize) -> Fault {
    Fault::new(
        Kind::Length,
        format!("a message of more than {limit} bytes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of these bytes, however they are cut: each message, ping and Close as text; or the fault.
    fn read(bytes: &[u8], step: usize, limit: usize) -> (Vec<String>, Option<Kind>) {
        let mut reader = Reader::default();
        let mut seen = Vec::new();
        for piece in bytes.chunks(step) {
            let outcome = reader.read(piece, limit, true, |piece| {
                seen.push(match piece {
                    Piece::Message {
                        kind,
                        compressed,
                        payload,
                    } => format!("{kind:?} {compressed} {}", payload.len()),
                    Piece::Ping(payload) => format!("ping {}", payload.len()),
                    Piece::Close(payload) => format!("close {}", payload.len()),
                });
                Ok(())
            });
            if let Err(fault) = outcome {
                return (seen, Some(fault.kind));
            }
        }
        (seen, None)
    }

    #[test]
    fn frames_may_be_cut_anywhere() {
        let mut long = vec![0x82, 126, 1, 0];
        long.extend([7; 256]);
        let mut huge = vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0];
        huge.extend([7; 65_536]);
        for (bytes, seen, fault) in [
            (&[0x81, 2, b'h', b'i'][..], &["Text false 2"][..], None),
            (
                &[0x81, 0, 0x82, 0],
                &["Text false 0", "Binary false 0"],
                None,
            ),
            (&[0xc1, 1, 0], &["Text true 1"], None),
            (
                &[0x01, 1, b'a', 0x00, 1, b'b', 0x80, 1, b'c'],
                &["Text false 3"],
                None,
            ),
            (
                &[0x01, 1, b'a', 0x89, 1, b'p', 0x80, 1, b'c'],
                &["ping 1", "Text false 2"],
                None,
            ),
            (&[0x8a, 1, 0, 0x88, 2, 3, 0xe8], &["close 2"], None),
            (&long, &["Binary false 256"], None),
            (&huge, &["Binary false 65536"], None),
            (&[0x80, 1, b'x'], &[], Some(Kind::Protocol)),
            (&[0x01, 1, b'a', 0x81, 1, b'b'], &[], Some(Kind::Protocol)),
            (&[0x81, 0x81, 1, 2, 3, 4, 5], &[], Some(Kind::Masked)),
            (&[0x83, 0], &[], Some(Kind::Protocol)),
            (&[0x81, 126, 0, 5], &[], Some(Kind::Protocol)),
            (
                &[0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0],
                &[],
                Some(Kind::Length),
            ),
        ] {
            for step in [1, 2, 3, 5, 7, 1 << 20] {
                let (found, kind) = read(bytes, step, 100_000);
                assert_eq!(
                    (found, kind),
                    (seen.iter().map(|&text| text.to_owned()).collect(), fault),
                    "{step}"
                );
            }
        }
    }

    #[test]
    fn messages_in_fragments_are_bounded_like_whole_ones() {
        let mut bytes = vec![0x01, 100];
        bytes.extend([b'a'; 100]);
        for _ in 0..2 {
            bytes.extend([0x00, 100]);
            bytes.extend([b'a'; 100]);
        }
        assert_eq!(read(&bytes, 50, 250).1, Some(Kind::Length));
        assert_eq!(read(&bytes, 50, 300).1, None);
    }
}
