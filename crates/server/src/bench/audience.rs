//! Who has received what: payloads found in whatever stands around them, byte for byte and in order.

use crate::bench::{
    fault::{Fault, Kind},
    payload::{STAMP, find, unstamp},
};

/// Letters that say to which run a payload belongs, and its stamp.
pub(crate) const SIZE_OF_MARK: usize = RUN + STAMP;
/// Letters of the run.
const RUN: usize = 8;

/// All subscribers, and what each publisher has published.
#[derive(Debug)]
pub(crate) struct Audience {
    /// A payload; the letters of the run count, its stamp is another in each message.
    payload: Vec<u8>,
    subscribers: Vec<Subscriber>,
    publishers: Vec<Publisher>,
    present: usize,
    absent: usize,
    /// Where the last payload stood in its message.
    place: usize,
}

#[derive(Clone, Debug)]
struct Subscriber {
    is_there: bool,
    has_heard: bool,
    /// For each publisher, the number of the next message.
    next: Vec<u64>,
    /// Publisher and number of messages that were skipped.
    missing: Vec<(usize, u64)>,
}

#[derive(Clone, Debug)]
struct Publisher {
    /// The number of the latest message; the first one is 1.
    published: u64,
    /// Messages up to this one are with everybody.
    settled: u64,
    /// For the messages after it: how many subscribers do not have it yet, and when it was sent or due.
    open: std::collections::VecDeque<(usize, u64)>,
}

impl Audience {
    /// An audience of which nobody has heard anything yet.
    pub(crate) fn new(
        payload: &[u8],
        subscribers: usize,
        publishers: usize,
        in_flight: usize,
    ) -> Self {
        let subscriber = Subscriber {
            is_there: true,
            has_heard: false,
            next: vec![1; publishers],
            missing: Vec::new(),
        };
        let publisher = Publisher {
            published: 0,
            settled: 0,
            open: std::collections::VecDeque::with_capacity(in_flight),
        };
        Self {
            payload: payload.to_vec(),
            subscribers: vec![subscriber; subscribers],
            publishers: vec![publisher; publishers],
            present: subscribers,
            absent: subscribers,
            place: 0,
        }
    }

    /// Subscribers that are connected.
    pub(crate) const fn present(&self) -> usize {
        self.present
    }

    /// Subscribers of these that have not received anything yet.
    pub(crate) const fn absent(&self) -> usize {
        self.absent
    }

    /// Whether this one is connected and has not received anything.
    pub(crate) fn is_absent(&self, index: usize) -> bool {
        let subscriber = &self.subscribers[index];
        subscriber.is_there && !subscriber.has_heard
    }

    /// Messages published.
    pub(crate) fn published(&self, publisher: usize) -> u64 {
        self.publishers[publisher].published
    }

    /// Messages that are not with everybody.
    pub(crate) fn outstanding(&self, publisher: usize) -> u64 {
        let publisher = &self.publishers[publisher];
        publisher.published - publisher.settled
    }

    /// When the oldest of them was sent, or due.
    pub(crate) fn oldest(&self, publisher: usize) -> Option<u64> {
        let open = &self.publishers[publisher].open;
        open.front().map(|(_, sent_at)| *sent_at)
    }

    /// The next message of a publisher is on its way.
    pub(crate) fn publish(&mut self, publisher: usize, sent_at: u64) {
        let present = self.present;
        let publisher = &mut self.publishers[publisher];
        publisher.published += 1;
        publisher.open.push_back((present, sent_at));
        publisher.settle();
    }

    /// A subscriber's connection has ended: nobody waits for it.
    pub(crate) fn leave(&mut self, index: usize) {
        let subscriber = &mut self.subscribers[index];
        if !std::mem::replace(&mut subscriber.is_there, false) {
            return;
        }
        self.present -= 1;
        self.absent -= usize::from(!subscriber.has_heard);
        for (publisher, next) in self.publishers.iter_mut().zip(&subscriber.next) {
            for number in *next..=publisher.published {
                publisher.take(number);
            }
        }
        for (publisher, number) in std::mem::take(&mut subscriber.missing) {
            self.publishers[publisher].take(number);
        }
    }

    /// The time of a publisher's oldest message is over: how many messages this subscriber has lost since, or, if all
    /// may still come, how many are late.
    pub(crate) fn give_up(&mut self, index: usize, publisher: usize) -> (u64, u64) {
        let subscriber = &mut self.subscribers[index];
        let from = &mut self.publishers[publisher];
        let oldest = from.settled + 1;
        if !subscriber.is_there || from.open.is_empty() {
            return (0, 0);
        }
        if !subscriber.missing.contains(&(publisher, oldest)) {
            let next = subscriber.next[publisher];
            let late = if next <= oldest {
                from.published + 1 - next
            } else {
                0
            };
            return (0, late);
        }
        let mut lost = 0;
        subscriber.missing.retain(|(whose, number)| {
            if *whose == publisher {
                from.take(*number);
                lost += 1;
            }
            *whose != publisher
        });
        (lost, 0)
    }

    /// Whether there is a payload of this run in a message.
    pub(crate) fn is_payload(&self, message: &[u8]) -> bool {
        find(message, &self.payload[..RUN]).is_some()
    }

    /// Judges the payloads in a message to a subscriber; `each` is told when a message was sent, or what is wrong. The
    /// end of a stream that may be the beginning of a payload is returned.
    pub(crate) fn deliver<'m>(
        &mut self,
        index: usize,
        message: &'m [u8],
        is_stream: bool,
        mut each: impl FnMut(Result<u64, Fault>),
    ) -> &'m [u8] {
        let mut rest = message;
        loop {
            let run = &self.payload[..RUN];
            let place = self.place;
            let is_there = rest
                .get(place..place + RUN)
                .is_some_and(|letters| letters == run);
            let found = if is_there {
                Some(place)
            } else {
                find(rest, run)
            };
            let Some(start) = found else {
                let kept = rest.len().min(RUN - 1);
                return &rest[rest.len() - kept..];
            };
            self.place = start;
            let Some(payload) = rest.get(start..start + self.payload.len()) else {
                if !is_stream {
                    let what = format!(
                        "{} bytes of a payload of {}",
                        rest.len() - start,
                        self.payload.len()
                    );
                    each(Err(Fault::new(Kind::Length, what)));
                }
                return &rest[start..];
            };
            if let Some(judged) = self.judge(index, payload).transpose() {
                each(judged);
            }
            rest = &rest[start + self.payload.len()..];
            if rest.len() < self.payload.len() && !is_stream {
                return &[];
            }
        }
    }

    /// Judges a payload. `None`: it was only to find out who is there.
    fn judge(&mut self, index: usize, payload: &[u8]) -> Result<Option<u64>, Fault> {
        let is_body = payload[SIZE_OF_MARK..] == self.payload[SIZE_OF_MARK..];
        let stamp = unstamp(&payload[RUN..SIZE_OF_MARK]);
        let Some((publisher, number)) = stamp.filter(|_| is_body) else {
            let place = (SIZE_OF_MARK..payload.len())
                .find(|place| payload[*place] != self.payload[*place])
                .unwrap_or(RUN);
            return Err(Fault::new(
                Kind::Payload,
                format!("byte {place} of a payload is another"),
            ));
        };
        let subscriber = &mut self.subscribers[index];
        if !std::mem::replace(&mut subscriber.has_heard, true) {
            self.absent -= 1;
        }
        if number == 0 {
            return Ok(None);
        }
        let known = usize::try_from(publisher).ok();
        let Some((publisher, from)) = known
            .and_then(|publisher| Some((publisher, self.publishers.get_mut(publisher)?)))
            .filter(|(_, from)| number <= from.published)
        else {
            let what = format!("message {number} of publisher {publisher}, which was not sent");
            return Err(Fault::new(Kind::Unasked, what));
        };
        let next = &mut subscriber.next[publisher];
        if number >= *next {
            let skipped = *next..number;
            subscriber
                .missing
                .extend(skipped.map(|number| (publisher, number)));
            *next = number + 1;
            return Ok(Some(from.take(number)));
        }
        let missing = &mut subscriber.missing;
        if let Some(place) = missing.iter().position(|late| *late == (publisher, number)) {
            missing.swap_remove(place);
            from.take(number);
            let what = format!("message {number} after {}", *next - 1);
            return Err(Fault::new(Kind::Order, what));
        }
        let what = format!("message {number} again, before {next}");
        Err(Fault::new(Kind::Duplicate, what))
    }
}

impl Publisher {
    /// One subscriber more has this message, or will never have it. When it was sent.
    fn take(&mut self, number: u64) -> u64 {
        let index = number.saturating_sub(self.settled + 1) as usize;
        let Some((count, sent_at)) = self.open.get_mut(index) else {
            return 0;
        };
        *count = count.saturating_sub(1);
        let sent_at = *sent_at;
        if index == 0 {
            self.settle();
        }
        sent_at
    }

    fn settle(&mut self) {
        while self.open.front().is_some_and(|(count, _)| *count == 0) {
            self.open.pop_front();
            self.settled += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::payload::{stamp, text};

    fn body() -> Vec<u8> {
        let mut body = text(60);
        body.splice(..0, *b"abcdefgh");
        body
    }

    fn message(number: u64) -> Vec<u8> {
        let mut bytes = body();
        bytes[RUN..SIZE_OF_MARK].copy_from_slice(&stamp(0, number));
        bytes
    }

    /// An audience of one to which four messages were published.
    fn audience() -> Audience {
        let mut audience = Audience::new(&body(), 1, 1, 4);
        for sent_at in 1..=4 {
            audience.publish(0, sent_at);
        }
        audience
    }

    fn kinds(audience: &mut Audience, text: &[u8]) -> Vec<Kind> {
        let mut seen = Vec::new();
        audience.deliver(0, text, false, |judged| {
            seen.extend(judged.err().map(|fault| fault.kind));
        });
        seen
    }

    #[test]
    fn every_fault_has_its_name() {
        for (numbers, expected, lost_and_late) in [
            (&[1, 2, 3, 4][..], &[][..], (0, 0)),
            (&[0, 0, 1, 2, 3, 4], &[], (0, 0)),
            (&[1, 3, 2, 4], &[Kind::Order], (0, 0)),
            (&[1, 2, 2, 3, 4], &[Kind::Duplicate], (0, 0)),
            (&[1, 2, 4], &[], (1, 0)),
            (&[1, 2], &[], (0, 2)),
            (&[1, 2, 3, 4, 5], &[Kind::Unasked], (0, 0)),
        ] {
            let mut audience = audience();
            let mut seen = Vec::new();
            for number in numbers {
                let text = [b"{\"data\":\"", &message(*number)[..], b"\"}"].concat();
                seen.extend(kinds(&mut audience, &text));
            }
            assert_eq!(seen, expected, "{numbers:?}");
            assert_eq!(audience.give_up(0, 0), lost_and_late, "{numbers:?}");
            audience.leave(0);
            assert_eq!(audience.outstanding(0), 0);
        }
    }

    #[test]
    fn other_bytes_and_other_lengths_are_faults() {
        let mut flipped = message(1);
        flipped[50] ^= 1;
        assert_eq!(kinds(&mut audience(), &flipped), [Kind::Payload]);
        let mut stamped = message(1);
        stamped[10] = b'z';
        assert_eq!(kinds(&mut audience(), &stamped), [Kind::Payload]);
        assert_eq!(kinds(&mut audience(), &message(1)[..50]), [Kind::Length]);
        assert_eq!(kinds(&mut audience(), b"{\"some\":\"reply\"}"), []);
    }

    #[test]
    fn several_payloads_in_one_message_are_all_found() {
        let mut audience = audience();
        let text: Vec<u8> = (1..=4)
            .flat_map(|number| [message(number), b"\n".to_vec()].concat())
            .collect();
        let mut times = Vec::new();
        audience.deliver(0, &text, false, |judged| times.extend(judged));
        assert_eq!(times, [1, 2, 3, 4]);
        assert_eq!(audience.outstanding(0), 0);
    }

    #[test]
    fn a_stream_may_be_cut_anywhere() {
        let text: Vec<u8> = (1..=4)
            .flat_map(|number| [b"MSG bench 1 68\r\n", &message(number)[..], b"\r\n"].concat())
            .collect();
        for cut in 1..text.len() {
            let mut audience = audience();
            let mut times = Vec::new();
            let tail = audience
                .deliver(0, &text[..cut], true, |judged| times.extend(judged))
                .to_vec();
            let rest = [&tail[..], &text[cut..]].concat();
            audience.deliver(0, &rest, true, |judged| times.extend(judged));
            assert_eq!(times, [1, 2, 3, 4], "{cut}");
        }
    }
}
