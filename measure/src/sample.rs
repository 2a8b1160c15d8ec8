//! What is sent: texts and JSON of a size, and frames as clients send them.

use antiphon_proto::{
    frame::{Header, Opcode},
    mask,
};

/// A masking key that is nothing special.
pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const WORDS: [&str; 12] = [
    "so", "message", "are", "who", "hears", "answer", "the", "channel", "and", "of", "room", "it",
];

/// ASCII text of words, different for each `seed`.
pub(crate) fn text(size: usize, seed: usize) -> String {
    let mut text = String::with_capacity(size + 8);
    let mut state = seed as u32 ^ 0x9e37_79b9;
    while text.len() < size {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push_str(WORDS[(state >> 16) as usize % WORDS.len()]);
        text.push(' ');
    }
    text.truncate(size);
    text
}

/// Text of which every fourth character or so takes more than one byte.
pub(crate) fn mixed(size: usize) -> String {
    let mut text: String = "so ein Gespräch, 你好 世界, déjà vu; "
        .chars()
        .cycle()
        .take(size)
        .collect();
    while text.len() > size {
        text.pop();
    }
    text
}

/// An object as applications send them, of just this size, different for each `seed`.
pub(crate) fn json(size: usize, seed: usize) -> String {
    let mut json = format!(
        "{{\"id\":{},\"user\":\"user-{}\",\"room\":\"lobby\",\"at\":{},\"text\":\"",
        100_000 + seed,
        seed % 97,
        1_795_177_846 + seed
    );
    let rest = size.saturating_sub(json.len() + 2);
    json.push_str(&text(rest, seed));
    json.push_str("\"}");
    json
}

/// A frame as a client sends it.
pub(crate) fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let header = Header {
        fin: true,
        rsv1: false,
        opcode,
        mask: Some(KEY),
        length: payload.len() as u64,
    };
    header.encode(&mut frame);
    mask::append(KEY, payload, &mut frame);
    frame
}

/// Bytes of the frame with which a server sends a payload of so many bytes.
pub(crate) fn answer_length(payload: usize) -> usize {
    payload
        + match payload {
            ..126 => 2,
            126..0x1_0000 => 4,
            _ => 10,
        }
}
