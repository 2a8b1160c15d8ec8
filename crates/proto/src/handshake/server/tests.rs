//! The server's rules, one row for each way to keep or to break them. Long, because the rows are the register of what
//! servers elsewhere let pass.

use proptest::prelude::*;

use super::*;
use crate::config::DeflateParams;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The request of RFC 6455 section 1.2, without what is optional.
const GOOD: [(&str, &str); 5] = [
    ("host", "server.example.com"),
    ("upgrade", "websocket"),
    ("connection", "Upgrade"),
    ("sec-websocket-key", KEY),
    ("sec-websocket-version", "13"),
];

fn request(fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::new(());
    *request.uri_mut() = "/chat".parse().unwrap();
    for (name, value) in fields {
        let name = HeaderName::try_from(*name).unwrap();
        request
            .headers_mut()
            .append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    request
}

/// The good request with some fields taken out, then others put in.
fn changed(without: &str, with: &[(&str, &str)]) -> Request<()> {
    let kept = GOOD.iter().filter(|(name, _)| *name != without);
    request(&kept.chain(with).copied().collect::<Vec<_>>())
}

fn connect(fields: &[(&str, &str)]) -> Request<()> {
    let mut request = request(fields);
    *request.method_mut() = Method::CONNECT;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = "https://server.example.com/chat".parse().unwrap();
    request
}

fn judge<B>(request: &Request<B>, protocol: Option<&str>) -> Result<Negotiated, Rejection> {
    let handshake = ServerHandshake::default();
    let judged = handshake.judge(request, protocol);
    let judged = judged.map(|accepted| accepted.negotiated);
    // In two steps the answer is the same.
    let answered =
        ServerHandshake::check(request, protocol).and_then(|()| handshake.answer(request));
    assert_eq!(answered.map(|accepted| accepted.negotiated), judged);
    judged
}

#[track_caller]
fn refused(request: &Request<()>, protocol: Option<&str>, reason: &str, status: u16) {
    let rejection = judge(request, protocol).expect_err(reason);
    assert_eq!(rejection.reason(), reason);
    assert_eq!(
        rejection.response(request.version()).status(),
        status,
        "{reason}"
    );
}

/// RFC 6455 section 4.2.2, item 5: the fields of the answer, in our documented order.
#[test]
fn a_good_request_is_answered_with_101() {
    let handshake = ServerHandshake {
        subprotocols: vec!["superchat".into()],
        deflate: Some(Arc::default()),
        ..ServerHandshake::default()
    };
    let request = changed(
        "",
        &[
            ("sec-websocket-protocol", "chat, superchat"),
            ("sec-websocket-extensions", "permessage-deflate"),
        ],
    );
    let accepted = handshake.judge(&request, None).unwrap();
    assert_eq!(accepted.response.status(), 101);
    let fields: Vec<_> = accepted
        .response
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(
        fields,
        [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("sec-websocket-protocol", "superchat"),
            (
                "sec-websocket-extensions",
                "permessage-deflate; client_no_context_takeover"
            ),
        ]
    );
    assert_eq!(
        accepted.negotiated,
        Negotiated {
            subprotocol: Some("superchat".into()),
            deflate: Some(DeflateParams {
                server_no_context_takeover: false,
                client_no_context_takeover: true,
                server_max_window_bits: 15,
                client_max_window_bits: 15,
            }),
        }
    );
}

#[test]
fn what_is_legal_passes() {
    for (without, with) in [
        ("", &[][..]),
        ("upgrade", &[("upgrade", "WebSocket")]),
        ("upgrade", &[("upgrade", "h2c, websocket")]),
        ("upgrade", &[("upgrade", "h2c"), ("upgrade", "websocket")]),
        ("connection", &[("connection", "keep-alive, Upgrade")]),
        ("connection", &[("connection", "UPGRADE")]),
        (
            "connection",
            &[("connection", "keep-alive"), ("connection", "upgrade")],
        ),
        ("host", &[("host", "[::1]:8199")]),
        ("host", &[("host", "127.0.0.1")]),
        ("", &[("content-length", "0")]),
        ("", &[("sec-websocket-protocol", "chat, superchat")]),
        (
            "",
            &[
                ("sec-websocket-protocol", "chat"),
                ("sec-websocket-protocol", "superchat"),
            ],
        ),
        (
            "",
            &[(
                "sec-websocket-extensions",
                "permessage-deflate; client_max_window_bits",
            )],
        ),
        // R04: an offer that cannot be taken is declined, not refused.
        (
            "",
            &[(
                "sec-websocket-extensions",
                "permessage-deflate; server_max_window_bits=16",
            )],
        ),
        (
            "",
            &[(
                "sec-websocket-extensions",
                "permessage-deflate; bogus=1, x-other",
            )],
        ),
        ("", &[("origin", "https://elsewhere.example")]),
    ] {
        assert_eq!(
            judge(&changed(without, with), None),
            Ok(Negotiated::default()),
            "{with:?}"
        );
    }
    let mut absolute = changed("", &[]);
    *absolute.uri_mut() = "http://SERVER.example.com/chat".parse().unwrap();
    assert!(judge(&absolute, None).is_ok());
    // `:protocol` counts in HTTP/2 alone.
    assert!(judge(&changed("", &[]), Some("other")).is_ok());
}

/// RFC 6455 section 4.2.1, RFC 9112 section 3.2, and the register of what other servers let pass (R03, R08 to R12,
/// R15, R16). None of these is ever answered with 101.
#[test]
fn malformed_handshakes_are_refused() {
    let many = |count| {
        (0..count)
            .map(|index| format!("p{index}"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let (sixteen, seventeen) = (many(16), many(17));
    assert!(judge(&changed("", &[("sec-websocket-protocol", &sixteen)]), None).is_ok());
    let extensions = |count| ["foo"].repeat(count).join(",");
    assert!(
        judge(
            &changed("", &[("sec-websocket-extensions", &extensions(8))]),
            None
        )
        .is_ok()
    );
    for (without, with, reason, status) in [
        // "An |Upgrade| header field containing the value "websocket""
        ("upgrade", &[][..], "missing-upgrade", 426),
        ("upgrade", &[("upgrade", "")], "missing-upgrade", 426),
        ("upgrade", &[("upgrade", "h2c")], "missing-upgrade", 426),
        (
            "upgrade",
            &[("upgrade", "websockets")],
            "missing-upgrade",
            426,
        ),
        (
            "upgrade",
            &[("upgrade", "websocket/13")],
            "missing-upgrade",
            426,
        ),
        // "A |Connection| header field that includes the token "Upgrade""
        ("connection", &[], "missing-connection", 400),
        (
            "connection",
            &[("connection", "keep-alive")],
            "missing-connection",
            400,
        ),
        (
            "connection",
            &[("connection", "xupgradey")],
            "missing-connection",
            400,
        ),
        // "A |Host| header field containing the server's authority"
        ("host", &[], "missing-host", 400),
        ("", &[("host", "server.example.com")], "repeated-host", 400),
        ("", &[("host", "other.example.com")], "repeated-host", 400),
        ("host", &[("host", "")], "invalid-host", 400),
        ("host", &[("host", "a b")], "invalid-host", 400),
        ("host", &[("host", "user@a")], "invalid-host", 400),
        ("host", &[("host", "a/b")], "invalid-host", 400),
        ("host", &[("host", "a, b")], "invalid-host", 400),
        ("host", &[("host", "a:99999")], "invalid-host", 400),
        ("host", &[("host", "é")], "invalid-host", 400),
        // "A |Sec-WebSocket-Version| header field, with a value of 13."
        ("sec-websocket-version", &[], "missing-version", 426),
        (
            "sec-websocket-version",
            &[("sec-websocket-version", "")],
            "unsupported-version",
            426,
        ),
        (
            "sec-websocket-version",
            &[("sec-websocket-version", "0")],
            "unsupported-version",
            426,
        ),
        (
            "sec-websocket-version",
            &[("sec-websocket-version", "8")],
            "unsupported-version",
            426,
        ),
        (
            "sec-websocket-version",
            &[("sec-websocket-version", "12")],
            "unsupported-version",
            426,
        ),
        (
            "sec-websocket-version",
            &[("sec-websocket-version", "14")],
            "unsupported-version",
            426,
        ),
        (
            "sec-websocket-version",
            &[("sec-websocket-version", "013")],
            "unsupported-version",
            426,
        ),
        (
            "sec-websocket-version",
            &[("sec-websocket-version", "13, 8")],
            "unsupported-version",
            426,
        ),
        (
            "",
            &[("sec-websocket-version", "13")],
            "unsupported-version",
            426,
        ),
        (
            "",
            &[("sec-websocket-version", "8")],
            "unsupported-version",
            426,
        ),
        // "A |Sec-WebSocket-Key| header field with a base64-encoded value that, when decoded, is 16 bytes in length."
        ("sec-websocket-key", &[], "missing-key", 400),
        ("", &[("sec-websocket-key", KEY)], "repeated-key", 400),
        (
            "sec-websocket-key",
            &[("sec-websocket-key", "")],
            "invalid-key",
            400,
        ),
        (
            "sec-websocket-key",
            &[("sec-websocket-key", "abc")],
            "invalid-key",
            400,
        ),
        (
            "sec-websocket-key",
            &[("sec-websocket-key", "AQID")],
            "invalid-key",
            400,
        ),
        (
            "sec-websocket-key",
            &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZTE=")],
            "invalid-key",
            400,
        ),
        (
            "sec-websocket-key",
            &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZR==")],
            "invalid-key",
            400,
        ),
        // R10: a body.
        ("", &[("content-length", "5")], "body", 400),
        ("", &[("content-length", "00")], "body", 400),
        ("", &[("content-length", "+0")], "body", 400),
        (
            "",
            &[("content-length", "0"), ("content-length", "5")],
            "body",
            400,
        ),
        ("", &[("transfer-encoding", "chunked")], "body", 400),
        (
            "",
            &[("transfer-encoding", "identity"), ("content-length", "0")],
            "body",
            400,
        ),
        // Section 4.1, item 10: "non-empty strings ..., and MUST all be unique strings".
        (
            "",
            &[("sec-websocket-protocol", "")],
            "invalid-subprotocol",
            400,
        ),
        (
            "",
            &[("sec-websocket-protocol", "chat,,superchat")],
            "invalid-subprotocol",
            400,
        ),
        (
            "",
            &[("sec-websocket-protocol", "chat,")],
            "invalid-subprotocol",
            400,
        ),
        (
            "",
            &[("sec-websocket-protocol", "two words")],
            "invalid-subprotocol",
            400,
        ),
        (
            "",
            &[("sec-websocket-protocol", "a/b")],
            "invalid-subprotocol",
            400,
        ),
        (
            "",
            &[("sec-websocket-protocol", "\"chat\"")],
            "invalid-subprotocol",
            400,
        ),
        (
            "",
            &[("sec-websocket-protocol", "é")],
            "invalid-subprotocol",
            400,
        ),
        (
            "",
            &[("sec-websocket-protocol", "chat, chat")],
            "repeated-subprotocol",
            400,
        ),
        (
            "",
            &[
                ("sec-websocket-protocol", "chat"),
                ("sec-websocket-protocol", "chat"),
            ],
            "repeated-subprotocol",
            400,
        ),
        (
            "",
            &[("sec-websocket-protocol", &seventeen)],
            "too-many-subprotocols",
            400,
        ),
        // Section 9.1.
        (
            "",
            &[("sec-websocket-extensions", "")],
            "malformed-extensions",
            400,
        ),
        (
            "",
            &[("sec-websocket-extensions", "a b")],
            "malformed-extensions",
            400,
        ),
        (
            "",
            &[("sec-websocket-extensions", "a;b=\"c")],
            "malformed-extensions",
            400,
        ),
        (
            "",
            &[("sec-websocket-extensions", &extensions(9))],
            "too-many-extensions",
            400,
        ),
    ] {
        refused(&changed(without, with), None, reason, status);
    }
    // A plain request says what this address is for.
    refused(&request(&[("host", "h")]), None, "missing-upgrade", 426);
}

/// RFC 6455 section 4.2.1: "An HTTP/1.1 or higher GET request".
#[test]
fn the_method_is_get_and_http_is_at_least_1_1() {
    for method in [
        "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "get",
    ] {
        let mut request = changed("", &[]);
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        refused(&request, None, "method-not-get", 405);
    }
    for version in [Version::HTTP_09, Version::HTTP_10] {
        let mut request = changed("", &[]);
        *request.version_mut() = version;
        refused(&request, None, "http-version", 400);
    }
}

/// R11: the target and `Host` name the same server.
#[test]
fn an_absolute_target_agrees_with_the_host() {
    for target in [
        "http://other.example.com/chat",
        "http://server.example.com:81/chat",
    ] {
        let mut request = changed("", &[]);
        *request.uri_mut() = target.parse().unwrap();
        refused(&request, None, "invalid-host", 400);
    }
}

/// RFC 8441 sections 4 and 5.
#[test]
fn an_extended_connect_is_answered_with_200() {
    let handshake = ServerHandshake {
        subprotocols: vec!["chat".into()],
        deflate: Some(Arc::default()),
        ..ServerHandshake::default()
    };
    let request = connect(&[
        ("sec-websocket-protocol", "chat, superchat"),
        (
            "sec-websocket-extensions",
            "permessage-deflate; client_max_window_bits",
        ),
        ("sec-websocket-version", "13"),
        ("origin", "http://www.example.com"),
    ]);
    let accepted = handshake.judge(&request, Some("websocket")).unwrap();
    assert_eq!(accepted.response.status(), 200);
    let fields: Vec<_> = accepted
        .response
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(
        fields,
        [
            ("sec-websocket-protocol", "chat"),
            (
                "sec-websocket-extensions",
                "permessage-deflate; client_max_window_bits=10"
            ),
        ]
    );
    assert_eq!(accepted.negotiated.subprotocol.as_deref(), Some("chat"));

    for fields in [
        &[("sec-websocket-version", "13")][..],
        &[
            ("sec-websocket-version", "13"),
            ("host", "server.example.com"),
        ],
        // The key is not used there, whatever it is.
        &[
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "abc"),
        ],
    ] {
        assert!(
            judge(&connect(fields), Some("WebSocket")).is_ok(),
            "{fields:?}"
        );
    }
}

#[test]
fn malformed_extended_connects_are_refused() {
    let good = ("sec-websocket-version", "13");
    for (fields, protocol, reason, status) in [
        (&[good][..], None, "missing-protocol", 400),
        (&[good], Some(""), "unknown-protocol", 501),
        (&[good], Some("connect-udp"), "unknown-protocol", 501),
        (&[], Some("websocket"), "missing-version", 400),
        (
            &[("sec-websocket-version", "8")],
            Some("websocket"),
            "unsupported-version",
            400,
        ),
        (
            &[good, ("host", "other")],
            Some("websocket"),
            "invalid-host",
            400,
        ),
        (
            &[good, ("host", "a"), ("host", "a")],
            Some("websocket"),
            "repeated-host",
            400,
        ),
        (
            &[good, ("content-length", "1")],
            Some("websocket"),
            "body",
            400,
        ),
        (
            &[good, ("sec-websocket-protocol", "a b")],
            Some("websocket"),
            "invalid-subprotocol",
            400,
        ),
        (
            &[good, ("sec-websocket-extensions", ";")],
            Some("websocket"),
            "malformed-extensions",
            400,
        ),
    ] {
        refused(&connect(fields), protocol, reason, status);
    }
    let mut get = connect(&[good]);
    *get.method_mut() = Method::GET;
    refused(&get, None, "method-not-connect", 405);
    for (target, reason) in [
        ("/chat", "missing-host"),
        ("https://user@h/chat", "invalid-host"),
    ] {
        let mut connect = connect(&[good]);
        *connect.uri_mut() = target.parse().unwrap();
        refused(&connect, Some("websocket"), reason, 400);
    }
}

/// RFC 6455 section 4.2.2, item 4: a value "the server agrees to use" out of those that the client sent.
#[test]
fn subprotocols_are_chosen_by_the_servers_preference() {
    for (ours, required, offered, expected) in [
        (&[][..], false, None, Ok(None)),
        (&[], false, Some("a, b"), Ok(None)),
        (&["a"], false, None, Ok(None)),
        (&["a"], false, Some("b"), Ok(None)),
        (&["a"], false, Some("A"), Ok(None)),
        (&["a", "b"], false, Some("b, a"), Ok(Some("a"))),
        (&["a", "b"], false, Some("c, b"), Ok(Some("b"))),
        (&["a"], true, Some("a"), Ok(Some("a"))),
        (&["a"], true, Some("b"), Err(Rejection::SubprotocolRequired)),
        (&["a"], true, None, Err(Rejection::SubprotocolRequired)),
        // R18: what the server is configured with cannot leave unless a client sent it.
        (&["a\r\nb: c"], false, Some("a"), Ok(None)),
    ] {
        let handshake = ServerHandshake {
            subprotocols: ours.iter().map(ToString::to_string).collect(),
            require_subprotocol: required,
            ..ServerHandshake::default()
        };
        let request = match offered {
            Some(offered) => changed("", &[("sec-websocket-protocol", offered)]),
            None => changed("", &[]),
        };
        let answer = handshake.judge(&request, None).map(|accepted| {
            let field = accepted
                .response
                .headers()
                .get("sec-websocket-protocol")
                .cloned();
            let chosen = accepted.negotiated.subprotocol;
            assert_eq!(
                field.as_ref().map(HeaderValue::as_bytes),
                chosen.as_deref().map(str::as_bytes)
            );
            chosen
        });
        assert_eq!(
            answer.as_ref().map(Option::as_deref),
            expected.as_ref().copied(),
            "{ours:?} {offered:?}"
        );
    }
}

#[test]
fn a_hook_may_choose_among_what_is_offered() {
    type Choice = fn(&[&str]) -> Option<String>;
    for (choice, expected) in [
        (
            (|offered| offered.last().map(ToString::to_string)) as Choice,
            Some("b"),
        ),
        (|_| None, None),
        (|_| Some("other".into()), None),
    ] {
        let handshake = ServerHandshake {
            subprotocols: vec!["a".into()],
            choose_subprotocol: Some(Arc::new(choice)),
            ..ServerHandshake::default()
        };
        assert!(format!("{handshake:?}").contains("choose_subprotocol: true"));
        let accepted = handshake
            .judge(&changed("", &[("sec-websocket-protocol", "a, b")]), None)
            .unwrap();
        assert_eq!(accepted.negotiated.subprotocol.as_deref(), expected);
    }
}

/// RFC 6455 section 4.4: "MUST include a |Sec-WebSocket-Version| header field"; RFC 9110 section 15.5.22: 426 "MUST
/// send an Upgrade header field", and section 10.2.1: 405 an `Allow`.
#[test]
fn refusals_say_what_to_do() {
    let all = [
        (Rejection::MethodNotGet, 405, Some("GET")),
        (Rejection::MethodNotConnect, 405, Some("CONNECT")),
        (Rejection::HttpVersion, 400, None),
        (Rejection::UpgradeMissing, 426, None),
        (Rejection::ConnectionMissing, 400, None),
        (Rejection::ProtocolMissing, 400, None),
        (Rejection::ProtocolUnknown, 501, None),
        (Rejection::HostMissing, 400, None),
        (Rejection::HostRepeated, 400, None),
        (Rejection::HostInvalid, 400, None),
        (Rejection::BodyPresent, 400, None),
        (Rejection::VersionMissing, 426, None),
        (Rejection::VersionUnsupported, 426, None),
        (Rejection::KeyMissing, 400, None),
        (Rejection::KeyRepeated, 400, None),
        (Rejection::KeyInvalid, 400, None),
        (Rejection::SubprotocolInvalid, 400, None),
        (Rejection::SubprotocolRepeated, 400, None),
        (Rejection::SubprotocolsTooMany, 400, None),
        (Rejection::SubprotocolRequired, 400, None),
        (Rejection::ExtensionsMalformed, 400, None),
        (Rejection::ExtensionsTooMany, 400, None),
    ];
    let reasons: std::collections::HashSet<_> = all
        .iter()
        .map(|(rejection, ..)| rejection.reason())
        .collect();
    assert_eq!(reasons.len(), all.len());
    for (rejection, status, allow) in all {
        assert_eq!(rejection.status(), status);
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            let response = rejection.response(version);
            let field = |name: &str| {
                response
                    .headers()
                    .get(name)
                    .map(|value| value.to_str().unwrap())
            };
            let http1 = version < Version::HTTP_2;
            let upgrade = http1 && status == 426;
            assert_eq!(
                response.status(),
                if status == 426 && !http1 { 400 } else { status }
            );
            assert_eq!(field("sec-websocket-version"), Some("13"));
            assert_eq!(field("websocket-error"), Some(rejection.reason()));
            assert_eq!(field("content-type"), Some("text/plain; charset=utf-8"));
            assert_eq!(field("x-content-type-options"), Some("nosniff"));
            assert_eq!(field("connection"), http1.then_some("close"));
            assert_eq!(field("upgrade"), upgrade.then_some("websocket"));
            assert_eq!(field("allow"), allow);
            assert_eq!(*response.body(), format!("{rejection}\n"));
            assert_eq!(response.body().lines().count(), 1);
        }
    }
}

proptest! {
    #[test]
    fn no_field_panics(
        names in proptest::collection::vec(0usize..9, 0..6),
        values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 6),
        http2 in any::<bool>(),
        protocol in proptest::option::of("websocket|.*"),
    ) {
        let mut request = if http2 { connect(&[]) } else { changed("", &[]) };
        let fields = ["host", "upgrade", "connection", "sec-websocket-key", "sec-websocket-version",
            "sec-websocket-protocol", "sec-websocket-extensions", "content-length", "transfer-encoding"];
        for (name, value) in names.iter().zip(&values) {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                request.headers_mut().insert(fields[*name], value);
            }
        }
        let handshake = ServerHandshake { deflate: Some(Arc::default()), ..ServerHandshake::default() };
        if let Err(rejection) = handshake.judge(&request, protocol.as_deref()) {
            let status = rejection.response(request.version()).status();
            prop_assert!(status.is_client_error() || status.is_server_error());
        }
    }
}
