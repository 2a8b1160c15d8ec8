//! permessage-deflate with the default codecs: each direction, with and without what was sent before.

use std::hint::black_box;

use antiphon_proto::{
    config::DeflateConfig,
    deflate::{Deflater, InflateLimits, Inflater, compress_shared},
};

use crate::{
    path::{Path, Step, step},
    sample,
};

/// Different messages that are sent in turn.
const MESSAGES: usize = 16;

const LIMITS: InflateLimits = InflateLimits {
    max_size: 1024 * 1024,
    max_ratio: 100,
};

pub(crate) fn paths() -> Vec<Path> {
    let deflate = |size, fresh| move || deflating(size, fresh);
    let inflate = |size, fresh| move || inflating(size, fresh);
    vec![
        Path::new(
            "deflate/240-fresh",
            "JSON, without context takeover",
            240,
            deflate(240, true),
        )
        .rounds(300),
        Path::new(
            "deflate/240-takeover",
            "JSON, with what was sent before",
            240,
            deflate(240, false),
        )
        .rounds(300),
        Path::new("deflate/1K-fresh", "as above", 1024, deflate(1024, true)).rounds(200),
        Path::new(
            "deflate/1K-takeover",
            "as above",
            1024,
            deflate(1024, false),
        )
        .rounds(200),
        Path::new(
            "deflate/16K-fresh",
            "as above",
            16_384,
            deflate(16_384, true),
        )
        .rounds(30),
        Path::new(
            "deflate/16K-takeover",
            "as above",
            16_384,
            deflate(16_384, false),
        )
        .rounds(30),
        Path::new("inflate/240-fresh", "as above", 240, inflate(240, true)).rounds(300),
        Path::new("inflate/240-takeover", "as above", 240, inflate(240, false)).rounds(300),
        Path::new("inflate/1K-fresh", "as above", 1024, inflate(1024, true)).rounds(200),
        Path::new(
            "inflate/1K-takeover",
            "as above",
            1024,
            inflate(1024, false),
        )
        .rounds(200),
        Path::new(
            "inflate/16K-fresh",
            "as above",
            16_384,
            inflate(16_384, true),
        )
        .rounds(30),
        Path::new(
            "inflate/16K-takeover",
            "as above",
            16_384,
            inflate(16_384, false),
        )
        .rounds(30),
        Path::new(
            "deflate/1K-shared",
            "once for all receivers of a broadcast",
            1024,
            shared,
        )
        .rounds(200),
    ]
}

fn messages(size: usize) -> Vec<String> {
    (0..MESSAGES).map(|seed| sample::json(size, seed)).collect()
}

fn deflating(size: usize, fresh: bool) -> Step {
    let mut deflater = Deflater::new(fresh, 15, &DeflateConfig::default());
    let (messages, mut next) = (messages(size), 0);
    let mut out = Vec::with_capacity(2 * size);
    step(move || {
        out.clear();
        deflater.message(messages[next % MESSAGES].as_bytes(), &mut out);
        next += 1;
        black_box(&out);
    })
}

fn inflating(size: usize, fresh: bool) -> Step {
    let config = DeflateConfig::default();
    let mut deflater = Deflater::new(fresh, 15, &config);
    let mut inflater = Inflater::new(fresh, 15, &config);
    let mut out = Vec::with_capacity(2 * size);
    let mut receive = move |bytes: &[u8]| {
        out.clear();
        let inflated = inflater.inflate(bytes, true, LIMITS, &mut out);
        assert!(inflated.is_ok() && out.len() == size);
    };
    let mut compressed = Vec::new();
    // The context is the same after every turn from the second on: the frames of that turn can be repeated.
    for turn in 0..3 {
        for message in messages(size) {
            let mut bytes = Vec::new();
            deflater.message(message.as_bytes(), &mut bytes);
            receive(&bytes);
            if turn == 2 {
                compressed.push(bytes);
            }
        }
    }
    let mut next = 0;
    step(move || {
        receive(&compressed[next % MESSAGES]);
        next += 1;
    })
}

fn shared() -> Step {
    let (messages, mut next) = (messages(1024), 0);
    let mut out = Vec::with_capacity(2048);
    step(move || {
        out.clear();
        compress_shared(messages[next % MESSAGES].as_bytes(), 15, 1, &mut out);
        next += 1;
        black_box(&out);
    })
}
