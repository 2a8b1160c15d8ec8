//! UTF-8, whole or piece by piece, noticed as soon as it cannot become valid any more (RFC 6455 section 8.1).

/// Whether `bytes` are valid UTF-8.
#[must_use]
#[inline]
pub fn is_valid(bytes: &[u8]) -> bool {
    // Most short messages are ASCII, and that is told sooner.
    (bytes.len() <= SHORT && is_ascii(bytes)) || simdutf8::basic::from_utf8(bytes).is_ok()
}

/// Whether no byte has its top bit. Looks at all of them, which for a short text costs less than to stop early; at the
/// last ones perhaps twice.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    const TOP: u64 = 0x8080_8080_8080_8080;
    let pair = |pair: &[u8; 16]| {
        let [low, high] = pair.as_chunks::<8>().0 else {
            return TOP;
        };
        u64::from_ne_bytes(*low) | u64::from_ne_bytes(*high)
    };
    let seen = match (bytes.last_chunk::<16>(), bytes) {
        (Some(last), _) => {
            let pairs = bytes.as_chunks::<16>().0.iter();
            pairs.fold(pair(last), |seen, next| seen | pair(next))
        }
        (None, short) => {
            let byte = short.iter().fold(0, |seen, byte| seen | byte);
            u64::from(byte)
        }
    };
    seen & TOP == 0
}

/// Up to this size a text is looked at as ASCII first. Beyond, the other check does so itself, block by block.
const SHORT: usize = 1024;

/// Validates text that arrives in pieces of any size.
///
/// ```
/// use antiphon_proto::utf8::Validator;
///
/// let mut validator = Validator::default();
/// assert!(validator.push(b"\xe2\x82"));
/// assert!(validator.push(b"\xac"));
/// assert!(validator.finish());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Validator {
    /// The beginning of a character whose rest has not arrived.
    partial: [u8; 4],
    partial_len: u8,
}

impl Validator {
    /// Takes the next piece. `false` as soon as no continuation could make the text valid.
    #[must_use]
    pub fn push(&mut self, mut piece: &[u8]) -> bool {
        while self.partial_len > 0 {
            let Some((&byte, rest)) = piece.split_first() else {
                return true;
            };
            piece = rest;
            let len = usize::from(self.partial_len) + 1;
            self.partial[len - 1] = byte;
            match std::str::from_utf8(&self.partial[..len]) {
                Ok(_) => self.partial_len = 0,
                Err(error) if error.error_len().is_some() => return false,
                Err(_) => self.partial_len += 1,
            }
        }
        match simdutf8::compat::from_utf8(piece) {
            Ok(_) => true,
            Err(error) if error.error_len().is_some() => false,
            Err(error) => {
                let rest = &piece[error.valid_up_to()..];
                self.partial[..rest.len()].copy_from_slice(rest);
                self.partial_len = rest.len() as u8;
                true
            }
        }
    }

    /// Ends the text: `false` where it stops inside a character. The validator is new again afterwards.
    #[must_use]
    pub fn finish(&mut self) -> bool {
        std::mem::take(&mut self.partial_len) == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces_are_valid(pieces: &[&[u8]]) -> bool {
        let mut validator = Validator::default();
        pieces.iter().all(|piece| validator.push(piece)) && validator.finish()
    }

    #[test]
    fn every_split_gives_the_verdict_of_the_whole() {
        for text in [
            &b""[..],
            b"plain",
            "\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}".as_bytes(),
            "κόσμε 你好 🎵".as_bytes(),
            b"\xc0\x80",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xf8\x88\x80\x80\x80",
            b"\xce\xba\xff",
            b"\xe2\x82",
            b"\x80",
            b"\xf0\x90\x8d",
        ] {
            for i in 0..=text.len() {
                for j in i..=text.len() {
                    assert_eq!(
                        pieces_are_valid(&[&text[..i], &text[i..j], &text[j..]]),
                        is_valid(text),
                        "{text:?} {i} {j}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_place_is_looked_at() {
        for length in 0..200 {
            let mut text = vec![b'a'; length];
            assert!(is_valid(&text));
            for place in 0..length {
                text[place] = 0xff;
                assert!(!is_valid(&text), "{place} of {length}");
                text[place] = b'z';
            }
        }
    }

    #[test]
    fn an_impossible_character_is_noticed_before_its_end() {
        for (start, impossible) in [
            (&b"\xf4"[..], &b"\x90"[..]),
            (b"\xed", b"\xa0"),
            (b"\xe0", b"\x80"),
            (b"\xf0", b"\x8f"),
            (b"\xe2\x82", b"\x41"),
        ] {
            let mut validator = Validator::default();
            assert!(validator.push(start), "{start:?} may still become valid");
            assert!(
                !validator.push(impossible),
                "{start:?} {impossible:?} cannot"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_any_split(bytes in proptest::collection::vec(any::<u8>(), 0..40), cut in 0usize..40) {
            let cut = cut.min(bytes.len());
            prop_assert_eq!(pieces_are_valid(&[&bytes[..cut], &bytes[cut..]]), is_valid(&bytes));
        }

        #[test]
        fn any_text_byte_by_byte(text in any::<String>()) {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            prop_assert!(pieces_are_valid(&pieces));
        }
    }
}
