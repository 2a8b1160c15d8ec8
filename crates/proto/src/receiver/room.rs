//! Memory of a message that a shell reads into: for the rest of a long one, and for the next where one has just come.

use std::mem;

use bytes::BufMut;

use crate::{
    config::Config,
    error::Violation,
    frame::{Header, MAX_HEADER, Opcode},
    message::{LEAD, MessageKind},
    receiver::{BEHIND, MAX_ROOM, ROOM_AHEAD, Received, Receiver, ahead, complete, next},
};

/// From this size the rest of a message is read into its own memory. What is shorter is read with what follows it.
const ROOM_FROM: usize = 32 * 1024;

/// Bytes that are unmasked and checked while they are near the processor.
const PIECE: usize = 16 * 1024;

impl Receiver {
    /// How many bytes the next message is likely to take with its header, where there is to be room for it.
    #[inline]
    pub(crate) fn expected(&self) -> Option<usize> {
        let is_likely = self.next > 0 && !self.parts && self.is_between_messages();
        is_likely.then_some(self.next as usize)
    }

    /// Memory for the rest of a frame of a long message, or for the next message where that is likely to be a long one.
    /// Only for bytes as they come: nothing is compressed, and no part is wanted. What is put there is for
    /// [`receive_room`](Self::receive_room) to judge.
    pub(crate) fn room(&mut self) -> Option<impl BufMut + '_> {
        let room = match self.expected() {
            None => self.room_for_rest()?,
            Some(expected) => self.room_for_next(expected),
        };
        Some((&mut self.joined).limit(room.min(MAX_ROOM)))
    }

    fn room_for_rest(&mut self) -> Option<usize> {
        let frame = self.frame.filter(|frame| !frame.opcode.is_control())?;
        let partial = self.partial.as_ref()?;
        if frame.remaining < ROOM_FROM as u64 || self.parts || partial.parts || partial.compressed {
            return None;
        }
        let remaining = usize::try_from(frame.remaining).unwrap_or(usize::MAX);
        let come = self.joined.len();
        if self.joined.capacity() - come < remaining.min(ROOM_FROM) {
            let least = if frame.fin { 0 } else { come };
            let size = ahead(come, remaining).max(least);
            self.joined.reserve_exact(size.saturating_add(BEHIND));
        }
        let room = remaining.saturating_add(BEHIND);
        let room = room.min(self.joined.capacity() - come);
        // Less would be a small read, where a buffer would take more.
        (room >= ROOM_FROM).then_some(room)
    }

    fn room_for_next(&mut self, expected: usize) -> usize {
        let room = expected.saturating_add(BEHIND);
        self.joined = Vec::with_capacity(LEAD.saturating_add(room));
        self.joined.resize(LEAD, 0);
        self.lead = LEAD as u8;
        room
    }

    /// Nothing was put into the room: what was reserved for a message that has not begun is given back.
    pub(crate) fn leave_room(&mut self) {
        if self.is_between_messages() {
            self.joined = Vec::new();
            self.lead = 0;
        }
    }

    /// Takes what has been put into the [`room`](Self::room). What is not of the message goes to `rest`.
    pub(crate) fn receive_room(
        &mut self,
        config: &Config,
        rest: &mut Vec<u8>,
    ) -> Result<Option<Received<'static>>, Violation> {
        if self.is_between_messages() {
            self.begin_in_room(config, rest)?;
        }
        let (Some(mut frame), Some(partial)) = (self.frame, &mut self.partial) else {
            return Ok(None);
        };
        let digested = usize::from(self.lead) + usize::try_from(partial.wire).unwrap_or(usize::MAX);
        let remaining = usize::try_from(frame.remaining).unwrap_or(usize::MAX);
        let end = digested.saturating_add(remaining);
        if let Some(behind) = self.joined.get(end..) {
            rest.extend_from_slice(behind);
            self.joined.truncate(end);
        }
        let Some(arrived) = self.joined.get_mut(digested..) else {
            return Ok(None);
        };
        for piece in arrived.chunks_mut(PIECE) {
            frame.unmask(piece);
            if partial.kind == MessageKind::Text && !partial.utf8.push(piece) {
                return Err(Violation::TextUtf8);
            }
        }
        partial.wire += arrived.len() as u64;
        let (kind, parts, alone) = (partial.kind, partial.parts, partial.fragments == 1);
        self.frame = (frame.remaining > 0).then_some(frame);
        if self.frame.is_some() || !frame.fin {
            return Ok(None);
        }
        let length = self.joined.len() - usize::from(self.lead);
        self.next = next(length as u64, alone && rest.is_empty());
        self.finish_message()?;
        Ok(Some(complete(kind, self.take_joined(), parts)))
    }

    /// Begins the frame that stands where a long message was expected. What is not such a message goes to `rest`, so that
    /// nothing holds more memory than by any other way.
    fn begin_in_room(&mut self, config: &Config, rest: &mut Vec<u8>) -> Result<(), Violation> {
        let memory = mem::take(&mut self.joined);
        let lead = usize::from(mem::take(&mut self.lead));
        let arrived = memory.get(lead..).unwrap_or_default();
        // What is wrong with a header is found again where the rest is taken.
        let parsed = Header::parse(arrived, self.peer, self.inflater.is_some());
        let reserved = memory.capacity() as u64;
        match parsed.unwrap_or(None) {
            Some((header, start)) if is_kept(&header, (arrived.len() - start) as u64, reserved) => {
                self.begin_frame(&header, config)?;
                self.lead = (lead + start) as u8;
                self.joined = memory;
            }
            _ => {
                self.next = 0;
                rest.extend_from_slice(arrived);
            }
        }
        Ok(())
    }
}

/// Whether a frame may stay in memory that was reserved before it was known: a message that is not compressed and needs
/// about as much, of which enough has come, and behind which nothing has.
fn is_kept(header: &Header, come: u64, reserved: u64) -> bool {
    let begins = matches!(header.opcode, Opcode::Text | Opcode::Binary) && !header.rsv1;
    let needed = header.length.saturating_add(header.length / 8);
    let slack = (LEAD + MAX_HEADER + BEHIND) as u64;
    begins
        && come <= header.length.saturating_add(BEHIND as u64)
        && reserved <= needed.saturating_add(slack)
        && reserved <= come.saturating_mul(1 + ROOM_AHEAD as u64)
}
