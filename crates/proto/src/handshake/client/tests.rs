//! The client's rules: what its request has, and one row for each response that it takes or refuses.

use proptest::prelude::*;

use super::*;
use crate::{config::Codec, handshake::server::ServerHandshake};

fn uri(text: &str) -> WebSocketUri {
    text.parse().unwrap()
}

fn handshake(subprotocols: &[&str], deflate: bool) -> ClientHandshake {
    ClientHandshake {
        subprotocols: subprotocols.iter().map(ToString::to_string).collect(),
        deflate: deflate.then(Arc::default),
        headers: HeaderMap::new(),
    }
}

fn fields(request: &Request<()>) -> Vec<(&str, &str)> {
    request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect()
}

/// RFC 6455 section 4.1, the requirements of the request, in our documented order.
#[test]
fn the_request_has_all_that_it_must_have() {
    let mut handshake = handshake(&["chat", "superchat"], true);
    handshake
        .headers
        .insert("origin", HeaderValue::from_static("http://example.com"));
    handshake
        .headers
        .append("x-a", HeaderValue::from_static("1"));
    handshake
        .headers
        .append("x-a", HeaderValue::from_static("2"));
    let (request, _) = handshake
        .request(&uri("ws://user:pw@server.example.com:8080/chat?a=b"))
        .unwrap();
    assert_eq!(request.method(), "GET");
    assert_eq!(request.version(), Version::HTTP_11);
    assert_eq!(request.uri(), "/chat?a=b");
    let key = request.headers()["sec-websocket-key"].to_str().unwrap();
    assert!(key::is_valid(key.as_bytes()));
    assert_eq!(
        fields(&request),
        [
            ("host", "server.example.com:8080"),
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-key", key),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "chat, superchat"),
            (
                "sec-websocket-extensions",
                "permessage-deflate; server_max_window_bits=10; client_max_window_bits, \
                 permessage-deflate; server_no_context_takeover; client_max_window_bits"
            ),
            ("authorization", "Basic dXNlcjpwdw=="),
            ("origin", "http://example.com"),
            ("x-a", "1"),
            ("x-a", "2"),
        ]
    );
    let (again, _) = handshake.request(&uri("ws://server.example.com/")).unwrap();
    assert_ne!(again.headers()["sec-websocket-key"], key);
}

#[test]
fn what_is_optional_is_left_out() {
    let (request, _) = handshake(&[], false)
        .request(&uri("wss://[::1]:443"))
        .unwrap();
    assert_eq!(request.uri(), "/");
    assert_eq!(request.headers()["host"], "[::1]");
    assert_eq!(request.headers().len(), 5);
}

/// RFC 8441 section 5.
#[test]
fn an_extended_connect_has_the_whole_uri_and_no_key() {
    let mut handshake = handshake(&["chat"], false);
    for (text, target) in [
        ("ws://h/a?b", "http://h/a?b"),
        ("wss://h", "https://h/"),
        ("wss://[::1]:9/x", "https://[::1]:9/x"),
    ] {
        let (request, _) = handshake.request_http2(&uri(text)).unwrap();
        assert_eq!(request.method(), "CONNECT");
        assert_eq!(request.version(), Version::HTTP_2);
        assert_eq!(request.uri(), target);
        assert_eq!(
            fields(&request),
            [
                ("sec-websocket-version", "13"),
                ("sec-websocket-protocol", "chat")
            ]
        );
    }
    handshake
        .headers
        .insert("host", HeaderValue::from_static("front.example:1"));
    let (request, _) = handshake.request_http2(&uri("wss://h/x")).unwrap();
    assert_eq!(request.uri(), "https://front.example:1/x");
    assert!(!request.headers().contains_key("host"));
}

#[test]
fn the_application_sets_host_and_authorization_but_not_the_handshake() {
    let mut own = handshake(&[], false);
    own.headers
        .insert("host", HeaderValue::from_static("front.example"));
    own.headers
        .insert("authorization", HeaderValue::from_static("Bearer x"));
    let (request, _) = own.request(&uri("ws://u:p@h/")).unwrap();
    assert_eq!(request.headers()["host"], "front.example");
    assert_eq!(request.headers().get_all("host").iter().count(), 1);
    assert_eq!(request.headers()["authorization"], "Bearer x");
    assert_eq!(request.headers().get_all("authorization").iter().count(), 1);

    for name in RESERVED {
        let mut wrong = handshake(&[], false);
        wrong
            .headers
            .insert(name.clone(), HeaderValue::from_static("x"));
        let error = wrong.request(&uri("ws://h/")).unwrap_err();
        assert_eq!(error, RequestError::HeaderReserved(name.clone()));
        assert!(error.to_string().contains(name.as_str()));
        assert!(wrong.request_http2(&uri("ws://h/")).is_err());
    }
    for hosts in [&[""][..], &["a b"], &["u@a"], &["a", "a"]] {
        let mut wrong = handshake(&[], false);
        for host in hosts {
            wrong.headers.append("host", HeaderValue::from_static(host));
        }
        assert_eq!(
            wrong.request(&uri("ws://h/")).unwrap_err(),
            RequestError::HostInvalid
        );
        assert_eq!(
            wrong.request_http2(&uri("ws://h/")).unwrap_err(),
            RequestError::HostInvalid
        );
    }
}

/// RFC 6455 section 4.1, item 10: subprotocols are tokens, not empty, and unique.
#[test]
fn subprotocols_are_checked_before_they_are_sent() {
    for wrong in ["", "a b", "a,b", "a\r\nb", "é", "a/b"] {
        let error = handshake(&["ok", wrong], false)
            .request(&uri("ws://h/"))
            .unwrap_err();
        assert_eq!(error, RequestError::SubprotocolInvalid(wrong.into()));
    }
    let error = handshake(&["a", "b", "a"], false)
        .request(&uri("ws://h/"))
        .unwrap_err();
    assert_eq!(error, RequestError::SubprotocolRepeated("a".into()));
}

/// A response that is right but for these changes: fields of the same name are replaced, `-` removes.
fn respond(request: &Request<()>, changes: &[(&str, &str)]) -> Response<()> {
    let accept = key::accept(request.headers()["sec-websocket-key"].as_bytes());
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let fields = response.headers_mut();
    fields.insert("upgrade", HeaderValue::from_static("websocket"));
    fields.insert("connection", HeaderValue::from_static("Upgrade"));
    fields.insert("sec-websocket-accept", value(accept));
    for (name, _) in changes {
        fields.remove(*name);
    }
    for (name, value) in changes.iter().filter(|(_, value)| *value != "-") {
        let name = HeaderName::try_from(*name).unwrap();
        fields.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    response
}

/// RFC 6455 section 4.1, what the client MUST check, items 1 to 6, and RFC 7692 section 7.1.
#[test]
fn responses_are_verified() {
    use ResponseError as Error;
    let client = handshake(&["chat", "superchat"], true);
    let plain = handshake(&[], false);
    let extensions = "sec-websocket-extensions";
    let protocol = "sec-websocket-protocol";
    let accept = "sec-websocket-accept";
    for (client, changes, expected) in [
        (&client, &[][..], Ok(None)),
        (&plain, &[], Ok(None)),
        // Item 2.
        (&client, &[("upgrade", "WebSocket")], Ok(None)),
        (&client, &[("upgrade", "-")], Err(Error::UpgradeMissing)),
        (&client, &[("upgrade", "")], Err(Error::UpgradeInvalid)),
        (&client, &[("upgrade", "h2c")], Err(Error::UpgradeInvalid)),
        (
            &client,
            &[("upgrade", "websocket, h2c")],
            Err(Error::UpgradeInvalid),
        ),
        (
            &client,
            &[("upgrade", "websocket"), ("upgrade", "websocket")],
            Err(Error::UpgradeInvalid),
        ),
        // Item 3.
        (&client, &[("connection", "keep-alive, Upgrade")], Ok(None)),
        (&client, &[("connection", "upgrade")], Ok(None)),
        (
            &client,
            &[("connection", "keep-alive"), ("connection", "Upgrade")],
            Ok(None),
        ),
        (
            &client,
            &[("connection", "-")],
            Err(Error::ConnectionMissing),
        ),
        (
            &client,
            &[("connection", "close")],
            Err(Error::ConnectionMissing),
        ),
        (
            &client,
            &[("connection", "xupgradey")],
            Err(Error::ConnectionMissing),
        ),
        // Item 4.
        (&client, &[(accept, "-")], Err(Error::AcceptMissing)),
        (&client, &[(accept, "")], Err(Error::AcceptMismatch)),
        (
            &client,
            &[(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")],
            Err(Error::AcceptMismatch),
        ),
        (
            &client,
            &[(accept, "a"), (accept, "a")],
            Err(Error::AcceptRepeated),
        ),
        // Item 5.
        (
            &plain,
            &[(extensions, "permessage-deflate")],
            Err(Error::ExtensionUnasked),
        ),
        (
            &client,
            &[(extensions, "x-webkit-deflate-frame")],
            Err(Error::ExtensionUnasked),
        ),
        (
            &client,
            &[(extensions, "foo, permessage-deflate")],
            Err(Error::ExtensionUnasked),
        ),
        (
            &client,
            &[(
                extensions,
                "permessage-deflate; server_max_window_bits=10, permessage-deflate",
            )],
            Err(Error::ExtensionRepeated),
        ),
        (
            &client,
            &[(extensions, "")],
            Err(Error::Extensions(ListError::Malformed)),
        ),
        (
            &client,
            &[(extensions, "permessage-deflate;")],
            Err(Error::Extensions(ListError::Malformed)),
        ),
        (
            &client,
            &[(extensions, "a,a,a,a,a,a,a,a,a")],
            Err(Error::Extensions(ListError::TooLong)),
        ),
        (
            &client,
            &[(extensions, "permessage-deflate; bogus")],
            Err(Error::DeflateParameter(ParameterError::Unknown)),
        ),
        (
            &client,
            &[(
                extensions,
                "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            )],
            Err(Error::DeflateParameter(ParameterError::Repeated)),
        ),
        (
            &client,
            &[(extensions, "permessage-deflate; client_max_window_bits")],
            Err(Error::DeflateAnswer(AnswerError::ServerWindow)),
        ),
        (
            &client,
            &[(
                extensions,
                "permessage-deflate; server_max_window_bits=9; client_max_window_bits",
            )],
            Err(Error::DeflateAnswer(AnswerError::ClientWindow)),
        ),
        (
            &client,
            &[(extensions, "permessage-deflate")],
            Err(Error::DeflateAnswer(AnswerError::ServerWindow)),
        ),
        (
            &client,
            &[(extensions, "permessage-deflate; server_max_window_bits=10")],
            Ok(None),
        ),
        // What servers answer that read no parameters: it fits the second offer.
        (
            &client,
            &[(
                extensions,
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            )],
            Ok(None),
        ),
        // Item 6.
        (&client, &[(protocol, "chat")], Ok(Some("chat"))),
        (&client, &[(protocol, "superchat")], Ok(Some("superchat"))),
        (
            &client,
            &[(protocol, "zzz")],
            Err(Error::SubprotocolUnasked),
        ),
        (
            &client,
            &[(protocol, "Chat")],
            Err(Error::SubprotocolUnasked),
        ),
        (&client, &[(protocol, "")], Err(Error::SubprotocolUnasked)),
        (
            &client,
            &[(protocol, "chat, superchat")],
            Err(Error::SubprotocolUnasked),
        ),
        (
            &client,
            &[(protocol, "chat"), (protocol, "chat")],
            Err(Error::SubprotocolRepeated),
        ),
        (
            &plain,
            &[(protocol, "chat")],
            Err(Error::SubprotocolUnasked),
        ),
    ] {
        let (request, pending) = client.request(&uri("ws://h/")).unwrap();
        let verified = pending.verify(&respond(&request, changes));
        let compressed = changes.iter().any(|(name, _)| *name == extensions);
        assert_eq!(
            verified.map(|agreed| (agreed.subprotocol, agreed.deflate.is_some())),
            expected.map(|subprotocol| (subprotocol.map(Arc::from), compressed)),
            "{changes:?}"
        );
    }
}

/// R05: no value of the server's window is more than an error.
#[test]
fn every_window_of_the_server_is_an_answer_or_an_error() {
    let (request, pending) = handshake(&[], true).request(&uri("ws://h/")).unwrap();
    for bits in 0..=300 {
        let answer = format!("permessage-deflate; server_max_window_bits={bits}");
        let verified = pending.verify(&respond(&request, &[("sec-websocket-extensions", &answer)]));
        match bits {
            8..=10 => assert_eq!(
                verified.unwrap().deflate.unwrap().server_max_window_bits,
                bits as u8
            ),
            11..=15 => assert_eq!(
                verified,
                Err(ResponseError::DeflateAnswer(AnswerError::ServerWindow))
            ),
            _ => assert_eq!(
                verified,
                Err(ResponseError::DeflateParameter(ParameterError::Value))
            ),
        }
    }
}

/// Item 1, and HTTP/1.0, which knows no 101.
#[test]
fn the_status_is_101_and_http_is_at_least_1_1() {
    let (request, pending) = handshake(&[], false).request(&uri("ws://h/")).unwrap();
    for status in [100, 200, 204, 301, 307, 400, 401, 403, 404, 426, 500, 503] {
        let status = StatusCode::from_u16(status).unwrap();
        let mut response = respond(&request, &[]);
        *response.status_mut() = status;
        let error = pending.verify(&response).unwrap_err();
        assert_eq!(error, ResponseError::Status(status));
        assert!(error.to_string().contains(status.as_str()));
    }
    for (version, expected) in [
        (Version::HTTP_09, Err(ResponseError::HttpVersion)),
        (Version::HTTP_10, Err(ResponseError::HttpVersion)),
        (Version::HTTP_11, Ok(Negotiated::default())),
    ] {
        let mut response = respond(&request, &[]);
        *response.version_mut() = version;
        assert_eq!(pending.verify(&response), expected);
    }
}

/// RFC 8441 section 5: a success, without `Upgrade`, `Connection` and `Sec-WebSocket-Accept`.
#[test]
fn responses_to_an_extended_connect_are_verified() {
    let (_, pending) = handshake(&["chat"], false)
        .request_http2(&uri("wss://h/"))
        .unwrap();
    for (status, field, expected) in [
        (200, None, Ok(None)),
        (
            200,
            Some(("sec-websocket-protocol", "chat")),
            Ok(Some("chat")),
        ),
        (
            200,
            Some(("sec-websocket-protocol", "zzz")),
            Err(ResponseError::SubprotocolUnasked),
        ),
        (
            200,
            Some(("sec-websocket-extensions", "permessage-deflate")),
            Err(ResponseError::ExtensionUnasked),
        ),
        (
            101,
            None,
            Err(ResponseError::Status(StatusCode::SWITCHING_PROTOCOLS)),
        ),
        (404, None, Err(ResponseError::Status(StatusCode::NOT_FOUND))),
    ] {
        let mut response = Response::builder().status(status).version(Version::HTTP_2);
        if let Some((name, value)) = field {
            response = response.header(name, value);
        }
        let verified = pending.verify(&response.body(()).unwrap());
        assert_eq!(
            verified.map(|agreed| agreed.subprotocol),
            expected.map(|subprotocol| subprotocol.map(Arc::from)),
            "{status} {field:?}"
        );
    }
}

/// Our two sides agree, over HTTP/1.1 and over HTTP/2.
#[test]
fn our_server_accepts_our_client() {
    let server = ServerHandshake {
        subprotocols: vec!["b".into(), "a".into()],
        deflate: Some(Arc::default()),
        ..ServerHandshake::default()
    };
    let client = handshake(&["a", "b"], true);
    let uri = uri("wss://[::1]:8199/ws?x=y");
    for ((request, pending), protocol) in [
        (client.request(&uri).unwrap(), None),
        (client.request_http2(&uri).unwrap(), Some("websocket")),
    ] {
        let accepted = server.judge(&request, protocol).unwrap();
        let negotiated = pending.verify(&accepted.response).unwrap();
        assert_eq!(negotiated, accepted.negotiated);
        assert_eq!(negotiated.subprotocol.as_deref(), Some("b"));
        assert_eq!(negotiated.deflate.unwrap().server_max_window_bits, 10);
    }
}

proptest! {
    #[test]
    fn no_response_panics(
        name in prop_oneof!["sec-websocket-(extensions|protocol|accept)", "upgrade", "connection"],
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let (request, pending) = handshake(&["chat"], true).request(&uri("ws://h/")).unwrap();
        let mut response = respond(&request, &[]);
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            response.headers_mut().insert(HeaderName::try_from(name).unwrap(), value);
        }
        let _ = pending.verify(&response);
    }

    #[test]
    fn what_our_server_answers_our_client_takes(
        client_window in 0usize..40_000,
        server_window in 0usize..40_000,
        bits in (8u8..=15, 8u8..=15, 8u8..=15, 8u8..=15),
    ) {
        let deflate = |window, server_max_window_bits, client_max_window_bits| {
            Some(Arc::new(DeflateConfig {
                codec: Codec::Pooled { window },
                server_max_window_bits,
                client_max_window_bits,
                ..DeflateConfig::default()
            }))
        };
        let server = ServerHandshake { deflate: deflate(server_window, bits.0, bits.1), ..ServerHandshake::default() };
        let mut client = handshake(&[], false);
        client.deflate = deflate(client_window, bits.2, bits.3);
        let (request, pending) = client.request(&uri("ws://h/")).unwrap();
        let accepted = server.judge(&request, None).unwrap();
        prop_assert_eq!(pending.verify(&accepted.response), Ok(accepted.negotiated));
    }
}
