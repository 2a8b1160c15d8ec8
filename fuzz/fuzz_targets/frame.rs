//! A frame header is parsed the same from any prefix that proves it, and written back as it was.
#![no_main]

use antiphon_proto::{config::Role, frame::Header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, bool, &[u8])| {
    let (client, compression, bytes) = input;
    let sender = if client { Role::Client } else { Role::Server };
    match Header::parse(bytes, sender, compression) {
        Ok(Some((header, length))) => {
            let mut written = Vec::new();
            header.encode(&mut written);
            assert_eq!(written, bytes[..length], "a header has one form only");
            assert_eq!(
                Header::parse(&bytes[..length], sender, compression),
                Ok(Some((header, length)))
            );
            assert_eq!(
                Header::parse(&bytes[..length - 1], sender, compression),
                Ok(None)
            );
        }
        Ok(None) => assert!(bytes.len() < 14),
        Err(violation) => {
            assert!(violation.close_code().is_sendable());
            assert_eq!(
                violation.close_code().get(),
                1002,
                "a header alone breaks the protocol, nothing else"
            );
        }
    }
});
