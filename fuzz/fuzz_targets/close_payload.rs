//! A Close payload is accepted exactly where RFC 6455 allows it, and written back as it was.
#![no_main]

use antiphon_proto::{close::CloseFrame, error::Violation, frame::MAX_CONTROL};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    // The receiver judges a control frame's length by its header.
    let payload = &payload[..payload.len().min(MAX_CONTROL)];
    match CloseFrame::parse(payload) {
        Ok(close) => {
            let mut written = Vec::new();
            close.encode(&mut written);
            assert_eq!(written, payload);
            assert!(payload.is_empty() || close.code.is_sendable());
            // What a peer says is shown on terminals and in logs.
            assert!(!close.to_string().chars().any(char::is_control));
        }
        Err(Violation::ClosePayloadOneByte) => assert_eq!(payload.len(), 1),
        Err(Violation::CloseCodeInvalid(code)) => {
            assert_eq!(code.to_be_bytes(), payload[..2]);
            assert!(!matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999));
        }
        Err(Violation::CloseReasonUtf8) => assert!(std::str::from_utf8(&payload[2..]).is_err()),
        Err(other) => panic!("undocumented: {other:?}"),
    }
});
