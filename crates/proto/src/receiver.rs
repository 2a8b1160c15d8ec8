//! Bytes in, messages out: frames are unmasked in place, checked, joined and inflated within the bounds.

mod room;

use std::mem;

use bytes::{Buf as _, Bytes};

use crate::{
    close::CloseFrame,
    config::{Config, DeflateConfig, DeflateParams, Role},
    deflate::{InflateLimits, Inflater},
    error::Violation,
    frame::{Header, MAX_CONTROL, MAX_HEADER, Opcode},
    mask::{self, MaskingKey},
    message::{LEAD, LEAD_FROM, Message, MessageKind, Utf8Bytes, copied},
    utf8,
};

/// Most compressed bytes that are inflated into one part of a message. Deflate makes at most 1,032 bytes of one, so a
/// part stays below about 1 MiB whatever the peer sends.
const INFLATE_PIECE: u64 = 1024;

/// How many times what has come of a message may be reserved for the rest of it. Where the rest is longer, as much as has
/// come: what is reserved then has to be copied once more.
const ROOM_AHEAD: usize = 15;

/// Most bytes that are read at once into the memory of a message, so that others have their turn.
const MAX_ROOM: usize = 1024 * 1024;

/// Behind a message there is room for a few bytes more: a read that does not fill them has emptied the socket, and one that
/// does tells that messages follow each other, which are better read together.
const BEHIND: usize = 16;

/// From this size a message makes another one as long be expected.
const EXPECT_FROM: u64 = 8 * 1024;

/// Up to this size: of a longer one a single read could not bring enough to keep what was reserved.
const EXPECT_TO: u64 = (MAX_ROOM * ROOM_AHEAD) as u64;

/// What has to have come of a message before it is given bytes in front of it.
const LEAD_COME: usize = 1024;

/// Bytes that were read, consumed from the front. What is left after an event belongs to the next call.
#[derive(Debug)]
pub struct Input<'a>(&'a mut [u8]);

impl<'a> Input<'a> {
    /// The bytes of one read. They are unmasked in place, hence `mut`.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self(bytes)
    }

    /// What has not been consumed.
    #[must_use]
    pub fn remaining(&self) -> &[u8] {
        self.0
    }

    /// Whether everything is consumed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, n: usize) -> &'a mut [u8] {
        let (head, tail) = mem::take(&mut self.0).split_at_mut(n);
        self.0 = tail;
        head
    }

    fn take_up_to(&mut self, n: u64) -> &'a mut [u8] {
        let n = usize::try_from(n).unwrap_or(usize::MAX).min(self.0.len());
        self.take(n)
    }

    /// Throws away what is left.
    pub(crate) fn discard(&mut self) {
        self.0 = &mut [];
    }
}

/// The payload of a message or of a part of one: borrowed from the input where it can be, owned where it was joined.
#[derive(Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// The bytes stand in the input.
    Borrowed(&'a [u8]),
    /// The bytes were collected from several frames or reads, or inflated.
    Owned(Bytes),
}

impl Payload<'_> {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }

    /// The bytes in memory of their own, which holds about their size and no more.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Borrowed(bytes) => copied(bytes),
            Self::Owned(bytes) => bytes,
        }
    }
}

/// What the receiver found in the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received<'a> {
    Message(MessageKind, Payload<'a>),
    Part {
        kind: MessageKind,
        payload: Payload<'a>,
        last: bool,
    },
    Ping(Payload<'a>),
    Pong(Payload<'a>),
    Close(CloseFrame),
}

/// Makes the message of a kind from a payload that the receiver has validated.
pub(crate) fn message(kind: MessageKind, payload: Payload<'_>) -> Message {
    match kind {
        MessageKind::Text => Message::Text(Utf8Bytes::from_validated(payload.into_bytes())),
        MessageKind::Binary => Message::Binary(payload.into_bytes()),
    }
}

/// A frame whose payload has not all arrived.
#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    mask: Option<MaskingKey>,
    remaining: u64,
    /// How much of the payload has been unmasked, modulo 4.
    unmasked: u8,
}

impl Frame {
    /// Unmasks the next bytes of the payload, where they stand.
    fn unmask(&mut self, payload: &mut [u8]) {
        if let Some(key) = self.mask {
            mask::apply(key, usize::from(self.unmasked), payload);
        }
        self.remaining = self.remaining.saturating_sub(payload.len() as u64);
        self.unmasked = ((usize::from(self.unmasked) + payload.len()) & 3) as u8;
    }
}

/// A message whose last frame has not ended.
#[derive(Debug)]
struct Partial {
    kind: MessageKind,
    compressed: bool,
    /// Handed out in parts: from then on it is not joined any more, so that no limit on its size is needed.
    parts: bool,
    fragments: u32,
    /// Payload bytes as they came over the wire.
    wire: u64,
    utf8: utf8::Validator,
}

/// The receiving half of the protocol. An idle receiver owns no memory.
#[derive(Debug)]
pub(crate) struct Receiver {
    peer: Role,
    /// Hand out parts of messages as they arrive, instead of whole messages.
    parts: bool,
    lead: u8,
    /// How long the next frame is likely to be: as the latest one, where that was a long message and nothing followed it.
    next: u32,
    inflater: Option<Box<Inflater>>,
    scraps: Option<Box<Scraps>>,
    frame: Option<Frame>,
    partial: Option<Partial>,
    /// Joined payload of `partial`, behind `lead` other bytes.
    joined: Vec<u8>,
}

/// A header, or the payload of a control frame, that has not all arrived. Boxed, for that is rare: the memory of every
/// connection is larger by what stands in its receiver.
#[derive(Debug, Default)]
struct Scraps {
    header: [u8; MAX_HEADER],
    header_len: u8,
    control: Vec<u8>,
}

impl Receiver {
    pub(crate) fn new(role: Role, deflate: Option<(DeflateParams, &DeflateConfig)>) -> Self {
        let inflater = deflate.map(|(params, config)| {
            let (no_takeover, bits) = match role {
                Role::Server => (
                    params.client_no_context_takeover,
                    params.client_max_window_bits,
                ),
                Role::Client => (
                    params.server_no_context_takeover,
                    params.server_max_window_bits,
                ),
            };
            Box::new(Inflater::new(no_takeover, bits, config))
        });
        let peer = match role {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        };
        Self {
            peer,
            parts: false,
            inflater,
            scraps: None,
            frame: None,
            partial: None,
            joined: Vec::new(),
            lead: 0,
            next: 0,
        }
    }

    /// Whether to hand out parts instead of whole messages, from the next byte on.
    pub(crate) fn set_parts(&mut self, parts: bool) {
        self.parts = parts;
    }

    /// Whether nothing of a frame or a message has come that is not complete.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.frame.is_none() && self.partial.is_none() && self.scraps.is_none()
    }

    /// Bytes received of the message that is under way, over all its frames.
    pub(crate) fn under_way(&self) -> Option<u64> {
        self.partial.as_ref().map(|partial| partial.wire)
    }

    /// The common case, told by a few bytes: a good message in one frame, not compressed, that stands whole in the
    /// input. `None` leaves the input as it is, for [`receive`](Self::receive) to judge.
    #[inline]
    pub(crate) fn receive_whole<'a>(
        &mut self,
        input: &mut Input<'a>,
        config: &Config,
    ) -> Option<(MessageKind, &'a [u8])> {
        if self.parts || !self.is_between_messages() {
            return None;
        }
        let (kind, second, rest) = match input.remaining() {
            [0x81, second, rest @ ..] => (MessageKind::Text, *second, rest),
            [0x82, second, rest @ ..] => (MessageKind::Binary, *second, rest),
            _ => return None,
        };
        let masked = second & 0x80 != 0;
        let (length, header) = match (second & 0x7f, rest) {
            (short @ 0..126, _) => (usize::from(short), 2),
            (126, [high, low, ..]) => (usize::from(u16::from_be_bytes([*high, *low])), 4),
            _ => return None,
        };
        let minimal = header == 2 || length > 125;
        let allowed = length <= config.max_message_size
            && config.max_fragments > 0
            && config.max_frame_size.is_none_or(|limit| length <= limit);
        let start = header + if masked { 4 } else { 0 };
        let right_side = masked == (self.peer == Role::Client);
        let arrived = input.remaining().len() >= start + length;
        if !(minimal && allowed && right_side && arrived) {
            return None;
        }
        let (header, payload) = input.0[..start + length].split_at_mut(start);
        let key = header.last_chunk::<4>().filter(|_| masked).copied();
        if let Some(key) = key {
            mask::apply(key, 0, payload);
        }
        if kind == MessageKind::Text && !utf8::is_valid(payload) {
            if let Some(key) = key {
                mask::apply(key, 0, payload);
            }
            return None;
        }
        let payload = &input.take(start + length)[start..];
        self.next = next(length as u64, input.is_empty());
        Some((kind, payload))
    }

    /// Takes bytes until something is complete or the input is empty. Everything taken has been digested: the caller
    /// may stop at any time and lose nothing.
    pub(crate) fn receive<'a>(
        &mut self,
        input: &mut Input<'a>,
        config: &Config,
    ) -> Result<Option<Received<'a>>, Violation> {
        loop {
            let frame = match self.frame {
                Some(frame) => frame,
                None => {
                    let Some(header) = self.parse_header(input)? else {
                        return Ok(None);
                    };
                    self.begin_frame(&header, config)?
                }
            };
            let received = if frame.opcode.is_control() {
                self.receive_control(frame, input)?
            } else {
                self.receive_data(frame, input, config)?
            };
            if received.is_some() {
                return Ok(received);
            }
            if self.frame.is_some() && input.is_empty() {
                return Ok(None);
            }
        }
    }

    /// Gives the memory back: nothing more will be received.
    pub(crate) fn release(&mut self) {
        self.frame = None;
        self.partial = None;
        self.joined = Vec::new();
        self.scraps = None;
        self.lead = 0;
    }

    /// The joined payload, in memory that holds about as much and no more.
    fn take_joined(&mut self) -> Payload<'static> {
        let mut bytes = mem::take(&mut self.joined);
        // A vector grows by doubling; a message that the application keeps must not pin the slack.
        if bytes.capacity() - bytes.len() > bytes.len() / 8 {
            bytes.shrink_to_fit();
        }
        let mut bytes = Bytes::from(bytes);
        bytes.advance(mem::take(&mut self.lead).into());
        Payload::Owned(bytes)
    }

    fn parse_header(&mut self, input: &mut Input<'_>) -> Result<Option<Header>, Violation> {
        let compression = self.inflater.is_some();
        let Some(scraps) = &mut self.scraps else {
            if let Some((header, len)) = Header::parse(input.remaining(), self.peer, compression)? {
                input.take(len);
                return Ok(Some(header));
            }
            // Shorter than the longest header, or it would have been complete.
            let rest = input.take_up_to(u64::MAX);
            if !rest.is_empty() {
                let scraps = self.scraps.get_or_insert_default();
                scraps.header[..rest.len()].copy_from_slice(rest);
                scraps.header_len = rest.len() as u8;
            }
            return Ok(None);
        };
        while !input.is_empty() {
            let len = usize::from(scraps.header_len);
            scraps.header[len] = input.take(1)[0];
            scraps.header_len += 1;
            let parsed = Header::parse(&scraps.header[..=len], self.peer, compression)?;
            if let Some((header, _)) = parsed {
                self.scraps = None;
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    /// Judges a frame by its header and by what went before.
    fn begin_frame(&mut self, header: &Header, config: &Config) -> Result<Frame, Violation> {
        let kind = match header.opcode {
            Opcode::Text => Some(MessageKind::Text),
            Opcode::Binary => Some(MessageKind::Binary),
            Opcode::Continuation => None,
            Opcode::Close | Opcode::Ping | Opcode::Pong => return Ok(self.enter(header)),
        };
        if let Some(limit) = config.max_frame_size
            && header.length > limit as u64
        {
            return Err(Violation::FrameTooBig { limit });
        }
        let partial = match (kind, &mut self.partial) {
            (Some(_), Some(_)) => return Err(Violation::MessageInsideMessage),
            (None, None) => return Err(Violation::ContinuationWithoutStart),
            (Some(kind), none) => none.insert(Partial {
                kind,
                compressed: header.rsv1,
                parts: self.parts,
                fragments: 0,
                wire: 0,
                utf8: utf8::Validator::default(),
            }),
            (None, Some(partial)) => partial,
        };
        partial.parts |= self.parts;
        if partial.parts && header.length > 0 {
            // Parts leave as they arrive; only fragments that bring nothing can pile up.
            partial.fragments = 0;
        }
        partial.fragments += 1;
        if partial.fragments > config.max_fragments {
            return Err(Violation::TooManyFragments {
                limit: config.max_fragments,
            });
        }
        if !partial.parts {
            let limit = config.max_message_size;
            // Compressed data that does not compress is a little longer than the message.
            let slack = if partial.compressed {
                limit / 8 + 1024
            } else {
                0
            };
            if partial.wire.saturating_add(header.length)
                > (limit as u64).saturating_add(slack as u64)
            {
                return Err(Violation::MessageTooBig { limit });
            }
        }
        Ok(self.enter(header))
    }

    fn enter(&mut self, header: &Header) -> Frame {
        let frame = Frame {
            opcode: header.opcode,
            fin: header.fin,
            mask: header.mask,
            remaining: header.length,
            unmasked: 0,
        };
        self.frame = Some(frame);
        frame
    }

    fn receive_control<'a>(
        &mut self,
        frame: Frame,
        input: &mut Input<'a>,
    ) -> Result<Option<Received<'a>>, Violation> {
        let payload = self.take_payload(frame, u64::MAX, input);
        let payload = if self.frame.is_none() && self.scraps.is_none() {
            Payload::Borrowed(payload)
        } else {
            let scraps = self.scraps.get_or_insert_default();
            debug_assert!(scraps.control.len() + payload.len() <= MAX_CONTROL);
            scraps.control.extend_from_slice(payload);
            if self.frame.is_some() {
                return Ok(None);
            }
            let scraps = self.scraps.take();
            Payload::Owned(scraps.map_or_else(Vec::new, |scraps| scraps.control).into())
        };
        Ok(Some(match frame.opcode {
            Opcode::Ping => Received::Ping(payload),
            Opcode::Pong => Received::Pong(payload),
            _ => Received::Close(CloseFrame::parse(payload.as_bytes())?),
        }))
    }

    fn receive_data<'a>(
        &mut self,
        frame: Frame,
        input: &mut Input<'a>,
        config: &Config,
    ) -> Result<Option<Received<'a>>, Violation> {
        let most = match &mut self.partial {
            Some(partial) => {
                partial.parts |= self.parts;
                if partial.parts && partial.compressed {
                    INFLATE_PIECE
                } else {
                    u64::MAX
                }
            }
            None => return Err(Violation::ContinuationWithoutStart),
        };
        let payload = self.take_payload(frame, most, input);
        let frame_ended = self.frame.is_none();
        let last = frame_ended && frame.fin;
        let Some(partial) = &mut self.partial else {
            return Err(Violation::ContinuationWithoutStart);
        };
        let (kind, parts) = (partial.kind, partial.parts);
        if last {
            let length = partial.wire.saturating_add(payload.len() as u64);
            let alone = partial.fragments == 1 && !partial.compressed && input.is_empty();
            self.next = next(length, alone);
        }

        // The common case: a whole, uncompressed message stands in the input.
        if last && partial.wire == 0 && !partial.compressed {
            self.partial = None;
            if kind == MessageKind::Text && !utf8::is_valid(payload) {
                return Err(Violation::TextUtf8);
            }
            return Ok(Some(complete(kind, Payload::Borrowed(payload), parts)));
        }

        partial.wire += payload.len() as u64;
        if partial.compressed {
            let Some(inflater) = &mut self.inflater else {
                return Err(Violation::Rsv1);
            };
            let limits = InflateLimits {
                max_size: if parts {
                    usize::MAX
                } else {
                    config.max_message_size
                },
                max_ratio: config.max_inflate_ratio,
            };
            let start = self.joined.len();
            let inflated = inflater.inflate(payload, last, limits, &mut self.joined);
            // First what came first, so that the verdict does not hang on how the bytes were split.
            if kind == MessageKind::Text && !partial.utf8.push(&self.joined[start..]) {
                return Err(Violation::TextUtf8);
            }
            inflated?;
        } else {
            if kind == MessageKind::Text && !partial.utf8.push(payload) {
                return Err(Violation::TextUtf8);
            }
            if parts && self.joined.is_empty() {
                if last {
                    return self.finish_message().map(|_| {
                        Some(Received::Part {
                            kind,
                            payload: Payload::Borrowed(payload),
                            last,
                        })
                    });
                }
                return Ok((!payload.is_empty()).then_some(Received::Part {
                    kind,
                    payload: Payload::Borrowed(payload),
                    last,
                }));
            }
            let expected = self.frame.map_or(0, |frame| frame.remaining);
            let long = payload.len() as u64 + expected >= LEAD_FROM as u64;
            if self.joined.is_empty() && long && payload.len() >= LEAD_COME {
                let expected = ahead(
                    payload.len(),
                    usize::try_from(expected).unwrap_or(usize::MAX),
                );
                let size = LEAD + payload.len() + expected;
                self.joined.reserve_exact(size.saturating_add(BEHIND));
                self.joined.resize(LEAD, 0);
                self.lead = LEAD as u8;
            }
            make_room(&mut self.joined, payload.len(), expected, frame.fin);
            self.joined.extend_from_slice(payload);
        }
        if last {
            self.finish_message()?;
            return Ok(Some(complete(kind, self.take_joined(), parts)));
        }
        if parts && !self.joined.is_empty() {
            return Ok(Some(Received::Part {
                kind,
                payload: self.take_joined(),
                last,
            }));
        }
        Ok(None)
    }

    /// Ends the message that is under way.
    fn finish_message(&mut self) -> Result<(), Violation> {
        let Some(mut partial) = self.partial.take() else {
            return Ok(());
        };
        if partial.kind == MessageKind::Text && !partial.utf8.finish() {
            return Err(Violation::TextUtf8);
        }
        Ok(())
    }

    /// Takes what has arrived of the frame's payload, unmasked, and leaves the frame where that is its end.
    fn take_payload<'a>(&mut self, mut frame: Frame, most: u64, input: &mut Input<'a>) -> &'a [u8] {
        let payload = input.take_up_to(frame.remaining.min(most));
        frame.unmask(payload);
        self.frame = (frame.remaining > 0).then_some(frame);
        payload
    }
}

/// What is reserved for the bytes that are expected behind those that have come: all of them where that is no more than
/// `ROOM_AHEAD` times as much.
fn ahead(come: usize, expected: usize) -> usize {
    if expected <= come.saturating_mul(ROOM_AHEAD) {
        expected
    } else {
        come
    }
}

/// Makes room for `arrived` bytes, and for those that are expected behind them: a long message is not copied again and
/// again while it grows, and an announced length that nothing follows costs nothing.
fn make_room(joined: &mut Vec<u8>, arrived: usize, expected: u64, fin: bool) {
    let come = joined.len() + arrived;
    if joined.capacity() < come {
        let expected = usize::try_from(expected).unwrap_or(usize::MAX);
        let ahead = ahead(come, expected);
        // The last frame tells where the message ends. Fragments before it announce little each: at least doubled, as
        // a vector does by itself.
        let least = if fin { 0 } else { joined.len() };
        joined.reserve_exact(arrived.saturating_add(ahead).max(least));
    }
}

/// How long the next frame is likely to be behind a message of this length, `alone` in its frame and with nothing behind it.
#[inline]
fn next(length: u64, alone: bool) -> u32 {
    if alone && (EXPECT_FROM..=EXPECT_TO).contains(&length) {
        length as u32 + MAX_HEADER as u32
    } else {
        0
    }
}

fn complete(kind: MessageKind, payload: Payload<'_>, parts: bool) -> Received<'_> {
    if parts {
        Received::Part {
            kind,
            payload,
            last: true,
        }
    } else {
        Received::Message(kind, payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is held before, what arrives, what is announced behind it, and what is reserved for all of it.
    #[test]
    fn room_follows_what_has_come() {
        for (before, arrived, expected, fin, capacity) in [
            (0, 1000, 0, true, 1000),
            (0, 1000, 500, true, 1500),
            (0, 1000, 15_000, true, 16_000),
            (0, 1000, 15_001, true, 2000),
            (0, 1000, 1 << 62, true, 2000),
            (0, 1, u64::MAX, false, 2),
            (1000, 10, 0, true, 1010),
            (1000, 10, 0, false, 2000),
            (1000, 10, 5, false, 2000),
            (1000, 3000, 0, false, 4000),
            (1000, 1000, 30_000, true, 32_000),
            (1000, 1000, u64::MAX, true, 4000),
        ] {
            let mut joined = vec![0; before];
            make_room(&mut joined, arrived, expected, fin);
            assert_eq!(joined.capacity(), capacity, "{before} {arrived} {expected}");
        }
    }
}
