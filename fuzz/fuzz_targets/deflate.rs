//! What is compressed inflates to itself; any other bytes inflate to something within the limits or to a violation, with
//! pooled codecs to the same as with one of its own, which is zlib's.
#![no_main]

use antiphon_proto::{
    config::{Codec, DeflateConfig},
    deflate::{Deflater, InflateLimits, Inflater},
    error::Violation,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u16, bool, bool, Vec<&[u8]>)| {
    let (bits, window, no_takeover, dedicated, messages) = input;
    let bits = 8 + bits % 8;
    let limits = InflateLimits {
        max_size: 64 * 1024,
        max_ratio: 100,
    };
    let mut config = DeflateConfig::default();
    config.codec = if dedicated {
        Codec::Dedicated
    } else {
        Codec::Pooled {
            window: usize::from(window % 8192),
        }
    };

    let mut deflater = Deflater::new(no_takeover, bits, &config);
    let mut inflater = Inflater::new(no_takeover, bits, &config);
    let mut hostile = Inflater::new(no_takeover, bits, &config);
    config.codec = Codec::Dedicated;
    let mut zlib = Inflater::new(no_takeover, 15, &config);
    let mut judged = bits == 15;
    let mut sane = true;
    for message in messages {
        let mut compressed = Vec::new();
        deflater.message(message, &mut compressed);
        let mut inflated = Vec::new();
        let unlimited = InflateLimits {
            max_size: usize::MAX,
            max_ratio: u32::MAX,
        };
        inflater
            .inflate(&compressed, true, unlimited, &mut inflated)
            .expect("our own data");
        assert_eq!(inflated, message);

        let mut out = Vec::new();
        if sane {
            let result = hostile.inflate(message, true, limits, &mut out);
            if judged {
                let mut by_zlib = Vec::new();
                let verdict = zlib.inflate(message, true, limits, &mut by_zlib);
                assert_eq!(result, verdict);
                assert!(result.is_err() || out == by_zlib);
                judged = result.is_ok();
            }
            match result {
                Ok(()) => assert!(out.len() <= limits.max_size),
                Err(
                    Violation::DeflateData
                    | Violation::MessageTooBig { .. }
                    | Violation::RatioTooHigh { .. },
                ) => sane = false,
                Err(other) => panic!("undocumented: {other:?}"),
            }
            assert!(out.len() <= limits.max_size + 1);
        }
    }
});
