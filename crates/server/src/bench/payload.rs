//! What messages consist of, and what tells one from another: a stamp with the connection and the number of the message.

use std::{fs, path::Path};

use antiphon_proto::message::MessageKind;
use rand::RngExt as _;

use crate::{
    cli::bench::MessageArgs,
    failure::{Exit, Failure},
};

/// Where a file's stamp goes.
const PLACEHOLDER: &[u8] = b"{seq}";
/// Letters of a whole stamp: 6 for the connection, 10 for the number.
pub(crate) const STAMP: usize = 16;
/// Bits of the number in a whole stamp.
const NUMBER_BITS: u32 = 40;

/// The letters of a stamp: `a` to `p`, four bits each. They need no escape in any text.
pub(crate) fn stamp(connection: u64, number: u64) -> [u8; STAMP] {
    let word = connection << NUMBER_BITS | number & ((1 << NUMBER_BITS) - 1);
    let mut letters = [0; STAMP];
    letters[..8].copy_from_slice(&spread((word >> 32) as u32).to_be_bytes());
    letters[8..].copy_from_slice(&spread(word as u32).to_be_bytes());
    letters
}

/// Four bits to each byte, as letters.
const fn spread(word: u32) -> u64 {
    let mut wide = word as u64;
    wide = (wide | wide << 16) & 0x0000_ffff_0000_ffff;
    wide = (wide | wide << 8) & 0x00ff_00ff_00ff_00ff;
    wide = (wide | wide << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    wide + 0x6161_6161_6161_6161
}

/// The connection and the number that these letters stand for, if they are a stamp or the end of one.
pub(crate) fn unstamp(letters: &[u8]) -> Option<(u64, u64)> {
    let word = letters.iter().try_fold(0u64, |word, letter| {
        let bits = letter.wrapping_sub(b'a');
        (bits < 16).then(|| word << 4 | u64::from(bits))
    })?;
    Some((word >> NUMBER_BITS, word & ((1 << NUMBER_BITS) - 1)))
}

/// A message without its stamp.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    /// Text or binary.
    pub(crate) kind: MessageKind,
    /// The bytes, with room for the stamp.
    pub(crate) body: Vec<u8>,
    /// Where the stamp stands.
    pub(crate) stamp_at: usize,
    /// How much of a stamp there is: its end, where the message is shorter than a stamp; 0 where there is none.
    pub(crate) letters: usize,
}

impl Payload {
    /// The message that was asked for.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or is no text although it is to be sent as text.
    pub(crate) fn new(args: &MessageArgs) -> Result<Self, Failure> {
        let mut kind = if args.binary {
            MessageKind::Binary
        } else {
            MessageKind::Text
        };
        let (body, stamp_at) = match args.payload.as_str() {
            "text" => (text(args.size), Some(0)),
            "json" => {
                let json = json(args.size).ok_or_else(|| {
                    Failure::new(
                        Exit::Usage,
                        "a JSON message has at least 64 bytes",
                        "give --size 64 or more, or --payload text",
                    )
                })?;
                let at = find(&json, PLACEHOLDER_JSON).unwrap_or(0);
                (json, Some(at))
            }
            "random" => {
                kind = MessageKind::Binary;
                let mut body = vec![0; args.size];
                rand::rng().fill(&mut body[..]);
                (body, Some(0))
            }
            path => {
                let bytes =
                    fs::read(path).map_err(|error| Failure::file(Path::new(path), &error))?;
                if kind == MessageKind::Text && !antiphon_proto::utf8::is_valid(&bytes) {
                    return Err(Failure::new(
                        Exit::Failure,
                        format!("{path} is no UTF-8"),
                        "send it with --binary",
                    ));
                }
                match find(&bytes, PLACEHOLDER) {
                    None => (bytes, None),
                    Some(at) => {
                        let mut body = bytes[..at].to_vec();
                        body.extend_from_slice(&[b'a'; STAMP]);
                        body.extend_from_slice(&bytes[at + PLACEHOLDER.len()..]);
                        (body, Some(at))
                    }
                }
            }
        };
        let letters = stamp_at.map_or(0, |at| STAMP.min(body.len() - at));
        Ok(Self {
            kind,
            body,
            stamp_at: stamp_at.unwrap_or(0),
            letters,
        })
    }

    /// Where the number of a message begins anew, as a mask; 0: messages cannot be told apart.
    pub(crate) fn number_mask(&self) -> u64 {
        let bits = (4 * self.letters as u32).min(NUMBER_BITS);
        (1 << bits) - 1
    }

    /// Whether the stamp tells the connection as well.
    pub(crate) const fn names_connection(&self) -> bool {
        self.letters == STAMP
    }
}

/// What stands for the stamp in a JSON message: as long as it.
const PLACEHOLDER_JSON: &[u8] = b"aaaaaaaaaaaaaaaa";

/// Words, so that compression has something to do.
const WORDS: &str = "the quick brown fox jumps over the lazy dog while every antiphon answers verse by verse and one choir \
listens to the other until the last response has been sung ";

/// The stamp and words behind it.
pub(crate) fn text(size: usize) -> Vec<u8> {
    let mut text = vec![b'a'; size.min(STAMP)];
    text.extend(WORDS.bytes().cycle().skip(3).take(size - text.len()));
    text
}

/// A document of this size, with names that come again and numbers that do not.
fn json(size: usize) -> Option<Vec<u8>> {
    use std::fmt::Write as _;

    let mut json = String::from("{\"id\":\"aaaaaaaaaaaaaaaa\",\"items\":[");
    let end = "],\"pad\":\"\"}";
    let mut number: u32 = 0x9e37_79b9;
    loop {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mut item = String::new();
        let _ = write!(
            item,
            "{}{{\"user\":{},\"name\":\"user {}\",\"online\":{},\"score\":{}.{}}}",
            if json.ends_with('[') { "" } else { "," },
            number >> 12,
            number >> 22,
            number & 1 == 0,
            number >> 16 & 0xfff,
            number >> 8 & 0xff,
        );
        if json.len() + item.len() + end.len() > size {
            break;
        }
        json.push_str(&item);
    }
    let pad = size.checked_sub(json.len() + end.len())?;
    json.push_str("],\"pad\":\"");
    json.extend(WORDS.chars().cycle().take(pad));
    json.push_str("\"}");
    Some(json.into_bytes())
}

/// Where `needle` stands.
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(payload: &str, size: usize, binary: bool) -> MessageArgs {
        use clap::Parser;

        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            message: MessageArgs,
        }
        let size = size.to_string();
        let mut line = vec!["bench", "--payload", payload, "--size", &size];
        if binary {
            line.push("--binary");
        }
        Line::parse_from(line).message
    }

    #[test]
    fn a_stamp_is_read_back() {
        for (connection, number) in [
            (0, 0),
            (1, 2),
            (0xff_ffff, (1 << 40) - 1),
            (77, 123_456_789),
        ] {
            let letters = stamp(connection, number);
            assert_eq!(unstamp(&letters), Some((connection, number)));
            assert_eq!(unstamp(&letters[14..]).unwrap().1, number & 0xff);
        }
        assert_eq!(&stamp(1, 2), b"aaaaabaaaaaaaaac");
        assert_eq!(unstamp(b"aaaaabaaaaaaaaaz"), None);
    }

    #[test]
    fn messages_have_the_size_that_was_asked_for() {
        for size in [0, 1, 15, 16, 17, 125, 126, 65_536] {
            let text = Payload::new(&args("text", size, false)).unwrap();
            assert_eq!((text.body.len(), text.letters), (size, size.min(16)));
            assert!(text.body.is_ascii());
            assert_eq!(
                Payload::new(&args("random", size, false))
                    .unwrap()
                    .body
                    .len(),
                size
            );
        }
        for size in [64, 100, 240, 1024, 16_384] {
            let json = Payload::new(&args("json", size, false)).unwrap();
            assert_eq!(json.body.len(), size);
            serde_json::from_slice::<serde_json::Value>(&json.body).unwrap();
            assert_eq!(&json.body[json.stamp_at..][..16], PLACEHOLDER_JSON);
        }
        assert!(Payload::new(&args("json", 30, false)).is_err());
        assert!(Payload::new(&args("/no/such/file", 30, false)).is_err());
    }

    #[test]
    fn numbers_begin_anew_where_there_is_no_room_for_them() {
        for (size, mask) in [
            (0, 0),
            (1, 0xf),
            (4, 0xffff),
            (10, (1 << 40) - 1),
            (125, (1 << 40) - 1),
        ] {
            assert_eq!(
                Payload::new(&args("text", size, false))
                    .unwrap()
                    .number_mask(),
                mask
            );
        }
    }
}
