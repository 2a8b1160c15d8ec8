//! Any response is verified or refused, and what is verified has the accept value and nothing that was not asked for.
#![no_main]

use std::sync::Arc;

use antiphon_proto::{
    config::DeflateConfig,
    handshake::{client::ClientHandshake, key, uri::WebSocketUri},
};
use http::{HeaderName, HeaderValue, Response, StatusCode, Version};
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    uri: &'a str,
    status: u16,
    old: bool,
    present: u8,
    compression: bool,
    extensions: &'a [u8],
    fields: Vec<(u8, &'a [u8])>,
}

const NAMES: [&str; 5] = [
    "upgrade",
    "connection",
    "sec-websocket-accept",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
];

fuzz_target!(|input: Input| {
    if let Ok(uri) = input.uri.parse::<WebSocketUri>() {
        let written = uri.to_string();
        let again: WebSocketUri = written.parse().expect("what was written is read");
        assert_eq!(again.to_string(), written);
    }

    let mut handshake = ClientHandshake::default();
    handshake.subprotocols = vec!["chat".into()];
    handshake.deflate = input
        .compression
        .then(|| Arc::new(DeflateConfig::default()));
    let uri: WebSocketUri = "ws://example.com/".parse().expect("a right URI");
    let (request, pending) = handshake.request(&uri).expect("a right request");
    let accept = key::accept(request.headers()["sec-websocket-key"].as_bytes());

    let mut response = Response::new(());
    *response.status_mut() = if input.present & 0x80 != 0 {
        StatusCode::SWITCHING_PROTOCOLS
    } else {
        StatusCode::from_u16(input.status).unwrap_or(StatusCode::OK)
    };
    if input.old {
        *response.version_mut() = Version::HTTP_10;
    }
    let headers = response.headers_mut();
    for (i, (name, value)) in [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-accept", accept.as_str()),
    ]
    .into_iter()
    .enumerate()
    {
        if input.present & (1 << i) != 0 {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).expect("a right value"),
            );
        }
    }
    for (name, value) in input.fields.iter().copied().chain([(4, input.extensions)]) {
        let name = HeaderName::from_static(NAMES[usize::from(name) % NAMES.len()]);
        if let Ok(value) = HeaderValue::from_bytes(value)
            && !value.is_empty()
        {
            headers.append(name, value);
        }
    }
    if let Ok(negotiated) = pending.verify(&response) {
        assert_eq!(response.status(), 101);
        assert_ne!(response.version(), Version::HTTP_10);
        assert_eq!(response.headers()["sec-websocket-accept"], accept.as_str());
        assert!(
            negotiated
                .subprotocol
                .as_deref()
                .is_none_or(|name| name == "chat")
        );
        assert!(negotiated.deflate.is_none() || input.compression);
        if let Some(params) = negotiated.deflate {
            assert!((8..=15).contains(&params.server_max_window_bits));
            assert!((8..=15).contains(&params.client_max_window_bits));
        }
    }
});
