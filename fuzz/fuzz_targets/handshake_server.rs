//! Any request is accepted or refused with a documented status, and what is accepted has the answer of the RFC.
#![no_main]

use std::sync::Arc;

use antiphon_proto::{
    config::DeflateConfig,
    handshake::{key, server::ServerHandshake},
};
use http::{HeaderName, HeaderValue, Method, Request, Version};
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// Which of the fields of a right request are there, so that the fuzzer gets past them.
    present: u8,
    post: bool,
    old: bool,
    extensions: &'a [u8],
    subprotocols: &'a [u8],
    fields: Vec<(u8, &'a [u8])>,
}

const FIELDS: [(&str, &str); 5] = [
    ("host", "example.com"),
    ("upgrade", "websocket"),
    ("connection", "keep-alive, Upgrade"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

const NAMES: [&str; 10] = [
    "host",
    "upgrade",
    "connection",
    "sec-websocket-version",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "content-length",
    "transfer-encoding",
    "origin",
];

fuzz_target!(|input: Input| {
    let mut request = Request::new(());
    if input.post {
        *request.method_mut() = Method::POST;
    }
    if input.old {
        *request.version_mut() = Version::HTTP_10;
    }
    let headers = request.headers_mut();
    for (i, (name, value)) in FIELDS.into_iter().enumerate() {
        if input.present & (1 << i) != 0 {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
    }
    let more = [(6, input.extensions), (5, input.subprotocols)];
    for (name, value) in input.fields.iter().copied().chain(more) {
        let name = HeaderName::from_static(NAMES[usize::from(name) % NAMES.len()]);
        if let Ok(value) = HeaderValue::from_bytes(value)
            && !value.is_empty()
        {
            headers.append(name, value);
        }
    }
    let mut handshake = ServerHandshake::default();
    handshake.subprotocols = vec!["chat".into(), "superchat".into()];
    handshake.deflate = Some(Arc::new(DeflateConfig::default()));
    match handshake.judge(&request, None) {
        Ok(accepted) => {
            assert_eq!(accepted.response.status(), 101);
            assert_eq!(
                (request.method(), request.version()),
                (&Method::GET, Version::HTTP_11)
            );
            let sent = request
                .headers()
                .get_all("sec-websocket-key")
                .iter()
                .collect::<Vec<_>>();
            assert_eq!(sent.len(), 1);
            let answer = &accepted.response.headers()["sec-websocket-accept"];
            assert_eq!(answer, key::accept(sent[0].as_bytes()).as_str());
            if let Some(params) = accepted.negotiated.deflate {
                assert!((8..=15).contains(&params.server_max_window_bits));
                assert!((8..=15).contains(&params.client_max_window_bits));
            }
            if let Some(subprotocol) = accepted.negotiated.subprotocol {
                assert!(["chat", "superchat"].contains(&&*subprotocol));
            }
        }
        Err(rejection) => {
            assert!(
                [400, 405, 426, 505].contains(&rejection.status().as_u16()),
                "{rejection:?}"
            );
            assert!(!rejection.reason().is_empty() && !rejection.to_string().is_empty());
            let response = rejection.response(request.version());
            assert_eq!(response.headers()["sec-websocket-version"], "13");
        }
    }
});
