//! Whether an answer is what was sent, byte for byte and in order.

use crate::bench::{
    fault::{Fault, Kind},
    payload::{Payload, STAMP, stamp, unstamp},
};

/// What one connection has sent and what has come back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    /// Messages sent.
    pub(crate) sent: u64,
    /// Messages that are settled: answered, or given up.
    pub(crate) settled: u64,
    /// The number of the next answer.
    expected: u64,
    /// Numbers before it that have not come.
    missing: Vec<u64>,
    /// How far the numbers in its stamps are ahead of these.
    ahead: u64,
}

impl Account {
    /// Nothing has been sent; the first stamp will have this number.
    pub(crate) fn from(first: u64) -> Self {
        Self {
            ahead: first,
            ..Self::default()
        }
    }

    /// What stands in the stamp of a message.
    pub(crate) const fn stamped(&self, number: u64) -> u64 {
        number + self.ahead
    }

    /// Messages that are on their way.
    pub(crate) const fn outstanding(&self) -> u64 {
        self.sent - self.settled
    }

    /// Judges an answer and tells its number.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and the number of the message that it settles all the same. The conversation can go on.
    pub(crate) fn judge(
        &mut self,
        payload: &Payload,
        connection: u64,
        is_text: bool,
        answer: &[u8],
    ) -> Result<u64, (Fault, Option<u64>)> {
        let letters = stamp(connection, self.stamped(self.expected));
        let letters = &letters[STAMP - payload.letters..];
        let (at, end) = (payload.stamp_at, payload.stamp_at + payload.letters);
        let body = &payload.body;
        let is_kind = is_text == (payload.kind == antiphon_proto::message::MessageKind::Text);
        let is_same = answer.len() == body.len()
            && answer[at..end] == *letters
            && answer[end..] == body[end..]
            && answer[..at] == body[..at];
        if is_same && is_kind && self.expected < self.sent {
            return Ok(self.next());
        }
        self.blame(payload, connection, is_kind, answer)
    }

    /// Which of `count` different messages the next answer repeats.
    pub(crate) const fn next_slot(&self, count: usize) -> usize {
        if count == 0 {
            return 0;
        }
        (self.stamped(self.expected) % count as u64) as usize
    }

    /// The next answer has come with bytes that are known to be right.
    pub(crate) fn accept_known(&mut self, is_text: bool, payload: &Payload) -> Option<u64> {
        let is_kind = is_text == (payload.kind == antiphon_proto::message::MessageKind::Text);
        (is_kind && self.expected < self.sent).then(|| self.next())
    }

    /// The next answer in turn is there.
    const fn next(&mut self) -> u64 {
        let number = self.expected;
        self.expected += 1;
        self.settled += 1;
        number
    }

    #[cold]
    fn blame(
        &mut self,
        payload: &Payload,
        connection: u64,
        is_kind: bool,
        answer: &[u8],
    ) -> Result<u64, (Fault, Option<u64>)> {
        let (at, end) = (payload.stamp_at, payload.stamp_at + payload.letters);
        let body = &payload.body;
        let found = answer.get(at..end).and_then(unstamp);
        let is_body = answer.len() == body.len()
            && answer[end..] == body[end..]
            && answer[..at] == body[..at];
        let is_known = is_body && found.is_some() && self.expected > 0;
        if self.outstanding() == 0 && !is_known {
            let what = "a message that nobody asked for";
            return Err((Fault::new(Kind::Unasked, what), None));
        }
        if !is_kind {
            let what = "text instead of binary, or binary instead of text";
            return Err((Fault::new(Kind::Type, what), self.instead()));
        }
        if answer.len() != body.len() {
            let what = format!("{} bytes instead of {}", answer.len(), body.len());
            return Err((Fault::new(Kind::Length, what), self.instead()));
        }
        let Some((whose, number)) = found.filter(|_| is_body) else {
            let place = (0..answer.len())
                .find(|place| !(at..end).contains(place) && answer[*place] != body[*place]);
            let what = format!(
                "byte {} of message {} is another",
                place.unwrap_or(at),
                self.expected
            );
            return Err((Fault::new(Kind::Payload, what), self.instead()));
        };
        if payload.names_connection() && whose != connection {
            let what = format!("message {number} of connection {whose}");
            return Err((Fault::new(Kind::Misdelivered, what), self.instead()));
        }
        let mask = payload.number_mask();
        self.out_of_turn(number.wrapping_sub(self.ahead) & mask, mask)
    }

    /// Something came for the next answer that is not right: the next one is settled all the same.
    fn instead(&mut self) -> Option<u64> {
        (self.expected < self.sent).then(|| self.next())
    }

    /// A good message, but not the next one. What was skipped may still come, late; or it is lost.
    fn out_of_turn(&mut self, number: u64, mask: u64) -> Result<u64, (Fault, Option<u64>)> {
        let ahead = number.wrapping_sub(self.expected) & mask;
        if ahead < self.sent - self.expected {
            self.missing.extend(self.expected..self.expected + ahead);
            self.expected += ahead;
            return Ok(self.next());
        }
        if let Some(index) = self.missing.iter().position(|late| late & mask == number) {
            let number = self.missing.remove(index);
            self.settled += 1;
            let what = format!("message {number} after {}", self.expected - 1);
            return Err((Fault::new(Kind::Order, what), Some(number)));
        }
        let (kind, what) = if self.expected == 0 || mask == 0 {
            (Kind::Unasked, "a message that nobody asked for".to_owned())
        } else {
            let what = format!("message {number} again, before {}", self.expected);
            (Kind::Duplicate, what)
        };
        Err((Fault::new(kind, what), None))
    }

    /// The time is over: settles what is missing. What will still come is not known: `Late` ends the conversation.
    pub(crate) fn give_up(&mut self) -> Option<(Fault, u64)> {
        let missing = self.missing.len() as u64;
        if missing == self.outstanding() && missing > 0 {
            let what = format!("message {} never came, later ones did", self.missing[0]);
            self.missing.clear();
            self.settled += missing;
            return Some((Fault::new(Kind::Lost, what), missing));
        }
        let outstanding = self.outstanding();
        (outstanding > 0).then(|| {
            let what = format!("message {} was not answered in time", self.expected);
            self.settled = self.sent;
            (Fault::new(Kind::Late, what), outstanding)
        })
    }
}

#[cfg(test)]
mod tests {
    use antiphon_proto::message::MessageKind;

    use super::*;
    use crate::bench::payload::text;

    fn payload(size: usize) -> Payload {
        Payload {
            kind: MessageKind::Text,
            body: text(size),
            stamp_at: 0,
            letters: STAMP.min(size),
        }
    }

    fn message(payload: &Payload, connection: u64, number: u64) -> Vec<u8> {
        let mut bytes = payload.body.clone();
        let letters = stamp(connection, number);
        bytes[..payload.letters].copy_from_slice(&letters[STAMP - payload.letters..]);
        bytes
    }

    /// Four messages are sent; what comes back is told by numbers, and by what is done to a message.
    #[test]
    fn every_fault_has_its_name() {
        type Bend = fn(&mut Vec<u8>);
        const AS_IT_IS: Bend = |_| {};
        const FLIPPED: Bend = |bytes| bytes[40] ^= 1;
        const FLIPPED_STAMP: Bend = |bytes| bytes[0] = b'z';
        const SHORT: Bend = |bytes| bytes.truncate(30);
        const LONG: Bend = |bytes| bytes.push(b'x');
        for (answers, bend, kinds) in [
            (&[0, 1, 2, 3][..], AS_IT_IS, &[][..]),
            (&[0, 2, 1, 3], AS_IT_IS, &[Kind::Order]),
            (
                &[3, 2, 1, 0],
                AS_IT_IS,
                &[Kind::Order, Kind::Order, Kind::Order],
            ),
            (&[0, 1, 1, 2, 3], AS_IT_IS, &[Kind::Duplicate]),
            (&[0, 1, 3], AS_IT_IS, &[Kind::Lost]),
            (&[0, 1, 2], AS_IT_IS, &[Kind::Late]),
            (&[0, 1, 2, 3, 3], AS_IT_IS, &[Kind::Duplicate]),
            (&[0], FLIPPED, &[Kind::Payload, Kind::Late]),
            (&[0], FLIPPED_STAMP, &[Kind::Payload, Kind::Late]),
            (&[0], SHORT, &[Kind::Length, Kind::Late]),
            (&[0], LONG, &[Kind::Length, Kind::Late]),
        ] {
            // Whole stamps; and two letters of them, whose numbers begin anew between these messages.
            for (letters, ahead) in [(STAMP, 0), (2, 254)] {
                let payload = Payload {
                    letters,
                    ..payload(60)
                };
                let mut account = Account {
                    sent: 4,
                    ahead,
                    ..Account::default()
                };
                let mut seen = Vec::new();
                for number in answers {
                    let mut bytes = message(&payload, 7, number + ahead);
                    bend(&mut bytes);
                    if let Err((fault, _)) = account.judge(&payload, 7, true, &bytes) {
                        seen.push(fault.kind);
                    }
                }
                seen.extend(account.give_up().map(|(fault, _)| fault.kind));
                assert_eq!(seen, kinds, "{answers:?} {ahead}");
                assert_eq!(account.outstanding(), 0);
            }
        }
    }

    #[test]
    fn messages_of_others_and_of_the_wrong_kind_are_faults() {
        let payload = payload(60);
        let mut account = Account {
            sent: 4,
            ..Account::default()
        };
        let kind = |result: Result<u64, (Fault, Option<u64>)>| result.unwrap_err().0.kind;
        let foreign = message(&payload, 8, 0);
        assert_eq!(
            kind(account.judge(&payload, 7, true, &foreign)),
            Kind::Misdelivered
        );
        let binary = message(&payload, 7, 1);
        assert_eq!(kind(account.judge(&payload, 7, false, &binary)), Kind::Type);
        let mut silent = Account::default();
        let early = message(&payload, 7, 0);
        assert_eq!(kind(silent.judge(&payload, 7, true, &early)), Kind::Unasked);
    }

    #[test]
    fn short_messages_are_told_apart_as_far_as_they_can_be() {
        for size in [1, 2, 15] {
            let payload = payload(size);
            let mut account = Account {
                sent: 1_000,
                ..Account::default()
            };
            for number in 0..1_000 {
                account
                    .judge(&payload, 0, true, &message(&payload, 0, number))
                    .unwrap();
            }
        }
        let payload = payload(0);
        let mut account = Account {
            sent: 1,
            ..Account::default()
        };
        account.judge(&payload, 0, true, b"").unwrap();
        let (fault, _) = account.judge(&payload, 0, true, b"").unwrap_err();
        assert_eq!(fault.kind, Kind::Unasked);
    }
}
