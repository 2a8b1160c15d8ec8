//! Messages in, bytes out: frames are compressed, masked and queued for one vectored write.

use std::{
    collections::VecDeque,
    io::IoSlice,
    sync::{Arc, OnceLock},
};

use bytes::{Buf, Bytes};

use crate::{
    close::CloseFrame,
    config::{DeflateConfig, DeflateParams, Role},
    deflate::{
        self, Deflater,
        cohort::{Cohorts, Form},
    },
    frame::{Header, MAX_HEADER, Opcode},
    mask,
    message::{Message, MessageKind, MessageRef},
};

/// From this size a payload that needs no masking is written from where it stands; below, copying is cheaper.
const SHARE_PAYLOAD_FROM: usize = 16 * 1024;

/// From this size a prepared frame is written from where it stands.
const SHARE_FRAME_FROM: usize = 4 * 1024;

/// Memory that the first bytes of an empty queue are given, so that a few short messages need no second.
const FIRST_CHUNK: usize = 1024;

/// Bytes that wait to be written. An empty queue owns no memory.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// The first chunk, contiguous; most connections never need another.
    head: Vec<u8>,
    written: usize,
    // Boxed: the memory of every connection is larger by what stands here.
    rest: Option<Box<Rest>>,
    len: usize,
}

/// The chunks behind the first one.
#[derive(Debug, Default)]
struct Rest(VecDeque<Chunk>);

#[derive(Debug)]
enum Chunk {
    Owned(Vec<u8>),
    Shared(Bytes),
}

impl Output {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Fills `slices` with what is to be written next and says how many were filled.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let head = &self.head[self.written..];
        if self.rest.is_none()
            && !head.is_empty()
            && let Some(slice) = slices.first_mut()
        {
            *slice = IoSlice::new(head);
            return 1;
        }
        let rest = self.rest.iter().flat_map(|rest| &rest.0);
        let rest = rest.map(|chunk| match chunk {
            Chunk::Owned(bytes) => &bytes[..],
            Chunk::Shared(bytes) => &bytes[..],
        });
        let chunks = std::iter::once(head)
            .chain(rest)
            .filter(|chunk| !chunk.is_empty());
        slices
            .iter_mut()
            .zip(chunks)
            .map(|(slice, chunk)| *slice = IoSlice::new(chunk))
            .count()
    }

    /// Forgets `n` bytes that have been written.
    pub(crate) fn advance(&mut self, n: usize) {
        let mut n = n.min(self.len);
        self.len -= n;
        if self.len == 0 {
            *self = Self::default();
            return;
        }
        let head = self.head.len() - self.written;
        if n < head {
            self.written += n;
            return;
        }
        n -= head;
        self.head = Vec::new();
        self.written = 0;
        let Some(Rest(rest)) = self.rest.as_deref_mut() else {
            return;
        };
        while let Some(chunk) = rest.front_mut() {
            match chunk {
                Chunk::Shared(bytes) if n < bytes.len() => {
                    bytes.advance(n);
                    return;
                }
                Chunk::Shared(bytes) => n -= bytes.len(),
                Chunk::Owned(bytes) if n < bytes.len() => {
                    self.head = std::mem::take(bytes);
                    self.written = n;
                    rest.pop_front();
                    return;
                }
                Chunk::Owned(bytes) => n -= bytes.len(),
            }
            rest.pop_front();
        }
    }

    /// Forgets the written part of the first chunk once it is the larger one, so that a queue that is never empty does
    /// not grow for ever. Each byte that is moved has been paid for by one that was written.
    fn compact(&mut self) {
        if self.written > self.head.len() / 2 {
            self.head.drain(..self.written);
            self.head.shrink_to(2 * self.head.len());
            self.written = 0;
        }
    }

    /// Appends whatever `write` puts at the end of the vector, about `size` bytes.
    #[inline]
    fn append(&mut self, size: usize, write: impl FnOnce(&mut Vec<u8>)) {
        self.compact();
        let tail = match self.rest.as_deref_mut() {
            Some(Rest(rest)) if !rest.is_empty() => {
                if let Some(Chunk::Shared(_)) = rest.back() {
                    rest.push_back(Chunk::Owned(Vec::new()));
                }
                match rest.back_mut() {
                    Some(Chunk::Owned(tail)) => tail,
                    _ => return,
                }
            }
            _ => {
                if self.head.capacity() == 0 {
                    self.head.reserve_exact(size.max(FIRST_CHUNK));
                }
                &mut self.head
            }
        };
        let before = tail.len();
        write(tail);
        self.len += tail.len() - before;
    }

    /// Takes the bytes of a vector, and the vector itself where it can.
    fn append_all(&mut self, bytes: &mut Vec<u8>) {
        if self.len == 0 {
            self.len = bytes.len();
            self.written = 0;
            self.rest = None;
            self.head = std::mem::take(bytes);
        } else {
            self.append(bytes.len(), |out| out.append(bytes));
        }
    }

    fn share(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        let Rest(rest) = &mut **self.rest.get_or_insert_default();
        rest.push_back(Chunk::Shared(bytes));
    }
}

/// A message whose frame is made once and sent to many connections.
///
/// The plain frame is made at once, a compressed one at the first receiver that wants it; all receivers share the
/// bytes. Those that keep a context share a frame that refers to it where they have been sent the same before, and the
/// context as well. Cloning is free.
///
/// ```
/// use antiphon_proto::sender::Prepared;
///
/// let prepared = Prepared::new("to everybody".into());
/// assert_eq!(prepared.message().as_text(), Some("to everybody"));
/// ```
#[derive(Clone, Debug)]
pub struct Prepared(Arc<PreparedFrames>);

#[derive(Debug)]
struct PreparedFrames {
    message: Message,
    plain: Bytes,
    /// The compressed frame for each window size from 8 to 15 bits, which refers to nothing; `None` inside where
    /// compression does not pay.
    compressed: [OnceLock<Option<Bytes>>; 8],
    /// The compressed frames that refer to what their receivers have been sent before.
    cohorts: Cohorts,
}

impl Prepared {
    /// Frames `message` for clients. A server's connections send it as it is; a client's mask it anew.
    #[must_use]
    pub fn new(message: Message) -> Self {
        let plain = frame(message.kind(), false, message.as_bytes());
        Self(Arc::new(PreparedFrames {
            message,
            plain,
            compressed: Default::default(),
            cohorts: Cohorts::default(),
        }))
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.0.message
    }

    /// The frame as a server sends it where it does not compress.
    #[must_use]
    pub fn frame(&self) -> &Bytes {
        &self.0.plain
    }

    /// Whether both are one frame, made once.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn compressed(&self, window_bits: u8, level: u8) -> Option<&Bytes> {
        let slot = usize::from(window_bits.clamp(8, 15) - 8);
        let made = self.0.compressed[slot].get_or_init(|| {
            let mut payload = Vec::new();
            deflate::compress_shared(self.0.message.as_bytes(), window_bits, level, &mut payload);
            let smaller = payload.len() < self.0.message.len();
            smaller.then(|| frame(self.0.message.kind(), true, &payload))
        });
        made.as_ref()
    }
}

/// Messages that are sent together: answers to what came together, say. Each is copied once, into its frame.
#[derive(Debug)]
pub struct Batch {
    /// The frames, or the payloads alone where they are compressed or masked by the connection.
    bytes: Vec<u8>,
    /// Of payloads alone: what they are and how long.
    later: Vec<(MessageKind, usize)>,
    /// Of frames: payloads in memory of somebody else, and in front of which byte each is sent.
    shared: Vec<(usize, MessageKind, Bytes)>,
    framed: bool,
}

impl Batch {
    /// Adds a message.
    #[inline]
    pub fn push(&mut self, message: MessageRef<'_>) {
        let payload = message.as_bytes();
        if self.framed {
            if self.bytes.capacity() == 0 {
                self.bytes
                    .reserve(FIRST_CHUNK.max(MAX_HEADER + payload.len()));
            }
            let header = Header {
                fin: true,
                rsv1: false,
                opcode: message.kind().into(),
                mask: None,
                length: payload.len() as u64,
            };
            header.encode(&mut self.bytes);
        } else {
            self.later.push((message.kind(), payload.len()));
        }
        self.bytes.extend_from_slice(payload);
    }

    /// Adds a message that may stand in `memory`: a long one is then sent from there and not copied.
    pub fn push_from(&mut self, message: MessageRef<'_>, memory: &Bytes) {
        let payload = message.as_bytes();
        let start = payload
            .as_ptr()
            .addr()
            .checked_sub(memory.as_ptr().addr())
            .filter(|start| {
                start
                    .checked_add(payload.len())
                    .is_some_and(|end| end <= memory.len())
            });
        match start {
            Some(start) if self.framed && payload.len() >= SHARE_PAYLOAD_FROM => {
                let payload = memory.slice(start..start + payload.len());
                self.shared
                    .push((self.bytes.len(), message.kind(), payload));
            }
            _ => self.push(message),
        }
    }

    /// Exchanges the memory of an empty batch for another's, so that the batches of many connections may use the same.
    pub fn swap_memory(&mut self, memory: &mut Vec<u8>) {
        if self.is_empty() {
            memory.clear();
            std::mem::swap(&mut self.bytes, memory);
        }
    }

    /// About how many bytes it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        let shared: usize = self.shared.iter().map(|(.., bytes)| bytes.len()).sum();
        self.bytes.len() + self.later.len() + shared
    }

    /// Whether it holds no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A server's frame in memory of its own.
fn frame(kind: MessageKind, compressed: bool, payload: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(MAX_HEADER + payload.len());
    let header = Header {
        fin: true,
        rsv1: compressed,
        opcode: kind.into(),
        mask: None,
        length: payload.len() as u64,
    };
    header.encode(&mut bytes);
    bytes.extend_from_slice(payload);
    Bytes::from(bytes)
}

/// Compression of what is sent.
#[derive(Debug)]
struct Compression {
    deflater: Deflater,
    config: Arc<DeflateConfig>,
    window_bits: u8,
}

/// The sending half of the protocol.
#[derive(Debug)]
pub(crate) struct Sender {
    role: Role,
    compression: Option<Box<Compression>>,
    /// The kind of the message that is being sent in parts, and whether its first frame has gone.
    parts: Option<bool>,
}

impl Sender {
    pub(crate) fn new(role: Role, deflate: Option<(DeflateParams, Arc<DeflateConfig>)>) -> Self {
        let compression = deflate.map(|(params, config)| {
            let (no_takeover, window_bits) = match role {
                Role::Server => (
                    params.server_no_context_takeover,
                    params.server_max_window_bits,
                ),
                Role::Client => (
                    params.client_no_context_takeover,
                    params.client_max_window_bits,
                ),
            };
            Box::new(Compression {
                deflater: Deflater::new(no_takeover, window_bits, &config),
                config,
                window_bits,
            })
        });
        Self {
            role,
            compression,
            parts: None,
        }
    }

    /// Whether a message is being sent in parts.
    pub(crate) fn inside_message(&self) -> bool {
        self.parts.is_some()
    }

    /// Queues a whole message as one frame: a compressed message is never split, which some browsers cannot read.
    pub(crate) fn message(&mut self, message: &Message, out: &mut Output) {
        let payload = message.as_bytes();
        if self.is_plain() && payload.len() >= SHARE_PAYLOAD_FROM {
            self.shared(message.kind(), message.clone().into_bytes(), out);
        } else {
            self.payload(message.kind(), payload, out);
        }
    }

    /// Queues a payload that is written from where it stands.
    fn shared(&self, kind: MessageKind, payload: Bytes, out: &mut Output) {
        out.append(MAX_HEADER, |out| {
            self.header(true, false, kind.into(), payload.len(), None)
                .encode(out)
        });
        out.share(payload);
    }

    fn payload(&mut self, kind: MessageKind, payload: &[u8], out: &mut Output) {
        if let Some(compression) = &mut self.compression
            && payload.len() >= compression.config.min_size
        {
            let mut compressed = Vec::new();
            compression.deflater.message(payload, &mut compressed);
            self.frame(true, true, kind.into(), &compressed, out);
        } else {
            self.frame(true, false, kind.into(), payload, out);
        }
    }

    pub(crate) fn batch(&self) -> Batch {
        Batch {
            bytes: Vec::new(),
            later: Vec::new(),
            shared: Vec::new(),
            framed: self.is_plain(),
        }
    }

    /// Whether frames are sent as anybody would make them: without a mask, not compressed.
    pub(crate) fn is_plain(&self) -> bool {
        self.role == Role::Server && self.compression.is_none()
    }

    /// The frames of a batch as they are written, where this connection may write them as they are.
    pub(crate) fn frames<'a>(&self, batch: &'a Batch) -> Option<&'a [u8]> {
        let whole = batch.framed && batch.shared.is_empty();
        (whole && self.is_plain()).then_some(&batch.bytes[..])
    }

    /// Queues bytes of frames as they are.
    pub(crate) fn queue_bytes(bytes: &[u8], out: &mut Output) {
        if !bytes.is_empty() {
            out.append(bytes.len(), |out| out.extend_from_slice(bytes));
        }
    }

    /// Queues what is left of a batch of which the first `written` bytes have been written, and empties it.
    pub(crate) fn queue_rest(batch: &mut Batch, written: usize, out: &mut Output) {
        if let Some(rest) = batch.bytes.get(written..)
            && !rest.is_empty()
        {
            out.append(rest.len(), |out| out.extend_from_slice(rest));
        }
        batch.bytes.clear();
    }

    /// Queues the messages of a batch, and empties it.
    pub(crate) fn send_batch(&mut self, batch: &mut Batch, out: &mut Output) {
        if batch.framed {
            if self.is_plain() && batch.shared.is_empty() {
                return out.append_all(&mut batch.bytes);
            }
            let mut done = 0;
            for (at, kind, payload) in batch.shared.drain(..) {
                self.send_frames(&batch.bytes[done..at], out);
                if self.is_plain() {
                    self.shared(kind, payload, out);
                } else {
                    self.payload(kind, &payload, out);
                }
                done = at;
            }
            // A batch of another connection may be framed as this one must not.
            self.send_frames(&batch.bytes[done..], out);
            batch.bytes.clear();
            return;
        }
        let mut rest = &batch.bytes[..];
        for (kind, length) in batch.later.drain(..) {
            let (payload, others) = rest.split_at(length);
            self.payload(kind, payload, out);
            rest = others;
        }
        batch.bytes.clear();
    }

    /// Queues the messages of plain frames anew.
    fn send_frames(&mut self, mut frames: &[u8], out: &mut Output) {
        while let Ok(Some((header, start))) = Header::parse(frames, Role::Server, false) {
            let length = usize::try_from(header.length).unwrap_or(usize::MAX);
            let Some((payload, rest)) = frames[start..].split_at_checked(length) else {
                return;
            };
            let kind = match header.opcode {
                Opcode::Text => MessageKind::Text,
                _ => MessageKind::Binary,
            };
            self.payload(kind, payload, out);
            frames = rest;
        }
    }

    /// Queues a message that many connections share.
    pub(crate) fn prepared(&mut self, prepared: &Prepared, out: &mut Output) {
        if self.role == Role::Client {
            return self.message(prepared.message(), out);
        }
        let Some(bytes) = self.prepared_frame(prepared) else {
            return self.message(prepared.message(), out);
        };
        if bytes.len() >= SHARE_FRAME_FROM {
            out.share(bytes);
        } else {
            out.append(bytes.len(), |out| out.extend_from_slice(&bytes));
        }
    }

    /// The frame that this connection shares with others, which it has noted as sent; `None` where it has to make its own.
    fn prepared_frame(&mut self, prepared: &Prepared) -> Option<Bytes> {
        let plain = &prepared.0.plain;
        let message = prepared.message();
        let Some(compression) = &mut self.compression else {
            return Some(plain.clone());
        };
        if message.len() < compression.config.min_size {
            return Some(plain.clone());
        }
        let plaintext = message.as_bytes();
        let form = prepared
            .0
            .cohorts
            .form(&mut compression.deflater, plaintext, |compressed| {
                frame(message.kind(), true, compressed)
            });
        match form {
            Form::Shared(frame) => return Some(frame),
            Form::Plain => return Some(plain.clone()),
            Form::Alone => {}
        }
        match prepared.compressed(compression.window_bits, compression.config.level) {
            None => Some(plain.clone()),
            Some(frame) => compression
                .deflater
                .observe(plaintext)
                .then(|| frame.clone()),
        }
    }

    /// Queues the next part of a message as a fragment.
    pub(crate) fn part(&mut self, kind: MessageKind, payload: &[u8], last: bool, out: &mut Output) {
        let first = !self.parts.unwrap_or(false);
        let opcode = if first {
            kind.into()
        } else {
            Opcode::Continuation
        };
        if let Some(compression) = &mut self.compression {
            let mut compressed = Vec::new();
            compression.deflater.part(payload, last, &mut compressed);
            self.frame(last, first, opcode, &compressed, out);
        } else {
            self.frame(last, false, opcode, payload, out);
        }
        self.parts = (!last).then_some(true);
    }

    /// Claims the connection for a message in parts.
    pub(crate) fn begin_parts(&mut self) {
        self.parts = Some(false);
    }

    /// Queues a ping or a pong.
    pub(crate) fn control(&self, opcode: Opcode, payload: &[u8], out: &mut Output) {
        debug_assert!(opcode.is_control());
        self.frame(true, false, opcode, payload, out);
    }

    /// Queues a Close frame.
    pub(crate) fn close(&self, close: &CloseFrame, out: &mut Output) {
        let mut payload = Vec::new();
        close.encode(&mut payload);
        self.frame(true, false, Opcode::Close, &payload, out);
    }

    fn frame(&self, fin: bool, rsv1: bool, opcode: Opcode, payload: &[u8], out: &mut Output) {
        let size = MAX_HEADER + payload.len();
        out.append(size, |out| {
            out.reserve(size);
            let key = (self.role == Role::Client).then(mask::new_key);
            self.header(fin, rsv1, opcode, payload.len(), key)
                .encode(out);
            match key {
                Some(key) => mask::append(key, payload, out),
                None => out.extend_from_slice(payload),
            }
        });
    }

    fn header(
        &self,
        fin: bool,
        rsv1: bool,
        opcode: Opcode,
        length: usize,
        mask: Option<mask::MaskingKey>,
    ) -> Header {
        debug_assert_eq!(self.role == Role::Client, mask.is_some());
        Header {
            fin,
            rsv1,
            opcode,
            mask,
            length: length as u64,
        }
    }
}
