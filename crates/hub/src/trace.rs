//! The frames of a few connections, recorded for whoever looks for a fault: bounded, and nothing where it is off.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use serde::Serialize;
use tokio::time::Instant;

use crate::{
    code::event,
    id::ConnectionId,
    registry::{lock, unix_millis},
};

/// Most connections whose frames are recorded at the same time.
pub const MAX_TRACED: usize = 16;

/// Most connections that have ended and whose frames are still there; the one that ended first goes first.
pub const MAX_ENDED: usize = 16;

/// Most frames that are kept of one connection: its latest ones.
pub const MAX_FRAMES: usize = 200;

/// Longest text that is kept of one frame, in bytes.
pub const MAX_TEXT: usize = 1024;

/// How long a connection is recorded; then it stops by itself.
pub const MAX_TIME: Duration = Duration::from_secs(600);

/// Why a connection is not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotTraced {
    /// It is not connected to this node.
    Gone,
    /// [`MAX_TRACED`] others are.
    TooMany,
}

impl fmt::Display for NotTraced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the connection is gone"),
            Self::TooMany => write!(f, "{MAX_TRACED} connections are traced already"),
        }
    }
}

impl std::error::Error for NotTraced {}

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// From the client.
    In,
    /// To the client.
    Out,
}

/// What a frame was. Pings and pongs are the socket's own: a session does not see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FrameKind {
    /// A text message.
    Text,
    /// A binary message.
    Binary,
    /// A Close.
    Close,
}

/// A frame that was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TracedFrame {
    /// Its number, from 1; what is missing in between was more than is kept.
    pub seq: u64,
    /// When it was read or given to the socket, in Unix milliseconds.
    pub at: u64,
    /// Which way it went.
    pub direction: Way,
    /// What it was.
    pub kind: FrameKind,
    /// Bytes of the payload, before compression.
    pub bytes: usize,
    /// The beginning of it. Bytes that are no text are written in hexadecimal digits; of a Close it is code and reason.
    pub text: Arc<str>,
    /// The text is longer.
    pub cut: bool,
    /// It may hold a token: the text is not shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}

/// What a frame held.
pub(crate) enum Payload<'a> {
    Text(&'a [u8]),
    Binary(&'a [u8]),
    Close(u16, &'a str),
}

/// The frames of one connection.
#[derive(Debug)]
struct Record {
    frames: VecDeque<TracedFrame>,
    next: u64,
    begun: Instant,
}

/// All records.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Records>);

#[derive(Debug, Default)]
struct Records {
    open: HashMap<ConnectionId, Record>,
    /// Of connections that are gone, or whose recording was stopped.
    ended: VecDeque<(ConnectionId, Record)>,
}

impl Recorder {
    /// Begins; `false` where there are too many. What was recorded of the connection before stays.
    pub(crate) fn begin(&self, id: ConnectionId) -> bool {
        let mut records = lock(&self.0);
        if records.open.contains_key(&id) {
            return true;
        }
        if records.open.len() >= MAX_TRACED {
            return false;
        }
        let older = records.ended.iter().position(|(ended, _)| *ended == id);
        let older = older.and_then(|place| records.ended.remove(place));
        let mut record = older.map_or_else(Record::new, |(_, record)| record);
        record.begun = Instant::now();
        records.open.insert(id, record);
        true
    }

    /// Ends; `false` where it was not recorded.
    pub(crate) fn end(&self, id: ConnectionId) -> bool {
        lock(&self.0).end(id)
    }

    /// Writes a frame down; `false` where the time of its connection is over, or it is not recorded.
    pub(crate) fn record(&self, id: ConnectionId, way: Way, payload: &Payload<'_>) -> bool {
        let mut records = lock(&self.0);
        match records.open.get_mut(&id) {
            None => return false,
            Some(record) if record.begun.elapsed() < MAX_TIME => {
                record.push(way, payload);
                return true;
            }
            Some(_) => {}
        }
        records.end(id);
        false
    }

    /// Those that are recorded, and those whose time is over by now and are not any more.
    pub(crate) fn open(&self) -> (Vec<ConnectionId>, Vec<ConnectionId>) {
        let mut records = lock(&self.0);
        let (over, open): (Vec<_>, Vec<_>) = {
            let each = records.open.iter();
            each.map(|(id, record)| (*id, record.begun.elapsed() >= MAX_TIME))
                .partition(|(_, over)| *over)
        };
        let over: Vec<ConnectionId> = over.into_iter().map(|(id, _)| id).collect();
        for id in &over {
            records.end(*id);
        }
        (open.into_iter().map(|(id, _)| id).collect(), over)
    }

    /// The frames behind this number that are kept.
    pub(crate) fn frames(&self, id: ConnectionId, after: u64) -> Vec<TracedFrame> {
        let records = lock(&self.0);
        let ended = || {
            let mut ended = records.ended.iter();
            ended.find(|(ended, _)| *ended == id).map(|(_, one)| one)
        };
        let record = records.open.get(&id).or_else(ended);
        record.map_or_else(Vec::new, |record| {
            let frames = record.frames.iter();
            frames.filter(|frame| frame.seq > after).cloned().collect()
        })
    }
}

impl Records {
    fn end(&mut self, id: ConnectionId) -> bool {
        let Some(record) = self.open.remove(&id) else {
            return false;
        };
        if self.ended.len() >= MAX_ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back((id, record));
        true
    }
}

impl Record {
    fn new() -> Self {
        Self {
            frames: VecDeque::new(),
            next: 1,
            begun: Instant::now(),
        }
    }

    fn push(&mut self, direction: Way, payload: &Payload<'_>) {
        if self.frames.len() >= MAX_FRAMES {
            self.frames.pop_front();
        }
        let close;
        let (kind, bytes) = match *payload {
            Payload::Text(bytes) => (FrameKind::Text, bytes),
            Payload::Binary(bytes) => (FrameKind::Binary, bytes),
            Payload::Close(code, reason) => {
                close = format!("{code} {reason}");
                (FrameKind::Close, close.as_bytes())
            }
        };
        let hidden = direction == Way::In
            && kind != FrameKind::Close
            && WITH_TOKEN.iter().any(|name| holds(bytes, name.as_bytes()));
        let (text, cut) = if hidden {
            (String::new(), false)
        } else {
            shown(bytes)
        };
        self.frames.push_back(TracedFrame {
            seq: self.next,
            at: unix_millis(SystemTime::now()),
            direction,
            kind,
            bytes: match *payload {
                // Two bytes of the payload are the code.
                Payload::Close(_, reason) => 2 + reason.len(),
                Payload::Text(bytes) | Payload::Binary(bytes) => bytes.len(),
            },
            text: text.into(),
            cut,
            hidden,
        });
        self.next += 1;
    }
}

/// Events whose data is a token.
const WITH_TOKEN: [&str; 2] = [event::CONNECT, event::REFRESH];

fn holds(bytes: &[u8], name: &[u8]) -> bool {
    bytes.windows(name.len()).any(|window| window == name)
}

/// As much of a payload as is kept, as text, and whether there is more.
fn shown(bytes: &[u8]) -> (String, bool) {
    let Ok(text) = str::from_utf8(bytes) else {
        let most = MAX_TEXT / 2;
        let digits = bytes.iter().take(most).map(|byte| format!("{byte:02x}"));
        return (digits.collect(), bytes.len() > most);
    };
    let mut ends = (0..=MAX_TEXT.min(text.len())).rev();
    let end = ends.find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    (text[..end].to_owned(), end < text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(recorder: &Recorder, id: ConnectionId) -> Vec<String> {
        let frames = recorder.frames(id, 0).into_iter();
        frames.map(|frame| frame.text.to_string()).collect()
    }

    #[test]
    fn a_text_is_cut_between_two_characters_and_bytes_are_shown_in_digits() {
        let long = "\u{e4}".repeat(MAX_TEXT);
        let cases: [(&[u8], &str, bool); 5] = [
            (b"", "", false),
            (b"ab", "ab", false),
            (b"\xff\x00", "ff00", false),
            (long.as_bytes(), &long[..MAX_TEXT], true),
            (&[0x80; MAX_TEXT], &"80".repeat(MAX_TEXT / 2), true),
        ];
        for (bytes, text, cut) in cases {
            assert_eq!(shown(bytes), (text.to_owned(), cut));
        }
        let odd = format!("a{long}");
        assert_eq!(shown(odd.as_bytes()).0.len(), MAX_TEXT - 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_latest_frames_are_kept_of_few_connections_for_some_time() {
        let recorder = Recorder::default();
        let id = |number: u128| ConnectionId::from(number);
        for number in 0..MAX_TRACED as u128 {
            assert!(recorder.begin(id(number)));
        }
        assert!(!recorder.begin(id(99)));
        assert!(recorder.begin(id(0)), "it is recorded already");
        for number in 0..MAX_FRAMES + 5 {
            let text = number.to_string();
            assert!(recorder.record(id(0), Way::Out, &Payload::Text(text.as_bytes())));
        }
        let frames = recorder.frames(id(0), 0);
        assert_eq!(
            (frames.len(), frames[0].seq, &*frames[0].text),
            (MAX_FRAMES, 6, "5")
        );
        assert_eq!(recorder.frames(id(0), MAX_FRAMES as u64).len(), 5);

        assert!(recorder.end(id(1)) && !recorder.end(id(1)));
        assert!(!recorder.record(id(1), Way::In, &Payload::Text(b"x")));
        tokio::time::advance(MAX_TIME).await;
        assert!(!recorder.record(id(0), Way::In, &Payload::Text(b"late")));
        assert_eq!(recorder.open().1.len(), MAX_TRACED - 2);
        assert_eq!(
            recorder.frames(id(0), 0).len(),
            MAX_FRAMES,
            "what was recorded stays"
        );
    }

    #[test]
    fn what_has_ended_makes_room_for_what_ends_later() {
        let recorder = Recorder::default();
        for number in 0..=MAX_ENDED as u128 {
            let id = ConnectionId::from(number);
            assert!(recorder.begin(id));
            recorder.record(id, Way::In, &Payload::Text(b"x"));
            recorder.end(id);
        }
        assert!(recorder.frames(0.into(), 0).is_empty());
        assert_eq!(recorder.frames(1.into(), 0).len(), 1);
    }

    #[test]
    fn a_message_with_a_token_is_not_shown() {
        let recorder = Recorder::default();
        let id = ConnectionId::from(1);
        recorder.begin(id);
        for (way, text) in [
            (Way::In, r#"{"event":"$refresh","data":{"token":"canary"}}"#),
            (Way::In, r#"{"event":"say"}"#),
            (Way::Out, r#"{"event":"$refresh","data":{"ttl":5}}"#),
        ] {
            recorder.record(id, way, &Payload::Text(text.as_bytes()));
        }
        recorder.record(id, Way::Out, &Payload::Close(3503, "away"));
        let shown = texts(&recorder, id);
        assert_eq!(shown[0], "");
        assert_eq!(shown[1], r#"{"event":"say"}"#);
        assert_eq!(shown[2], r#"{"event":"$refresh","data":{"ttl":5}}"#);
        assert_eq!(shown[3], "3503 away");
        let frames = recorder.frames(id, 0);
        assert!(frames[0].hidden && !frames[1].hidden);
        assert_eq!(frames[3].bytes, 6);
    }
}
