//! Lists, parameters, offers and answers: the examples of RFC 7692 section 7.1, and agreement for any two configs.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn headers(lines: &[&str]) -> HeaderMap {
    lines
        .iter()
        .map(|line| {
            (
                header::SEC_WEBSOCKET_EXTENSIONS,
                HeaderValue::from_str(line).unwrap(),
            )
        })
        .collect()
}

/// An extension and its parameters as one text, to compare with.
fn show(extension: &Extension<'_>) -> String {
    extension.parameters.iter().fold(
        extension.name.to_owned(),
        |text, (name, value)| match value {
            Some(value) => format!("{text};{name}={value}"),
            None => format!("{text};{name}"),
        },
    )
}

fn config(codec: Codec, change: impl FnOnce(&mut DeflateConfig)) -> DeflateConfig {
    let mut config = DeflateConfig {
        codec,
        ..DeflateConfig::default()
    };
    change(&mut config);
    config
}

fn read(text: &str) -> Result<DeflateParameters, ParameterError> {
    DeflateParameters::read(&parse(&headers(&[text])).unwrap()[0])
}

/// RFC 6455 section 9.1.
#[test]
fn lists_are_read_over_lines_and_with_quotes() {
    for (lines, expected) in [
        (&[][..], Ok(&[][..])),
        (&["foo"], Ok(&["foo"][..])),
        (&["foo, bar; baz=2"], Ok(&["foo", "bar;baz=2"])),
        (&["foo", "bar; baz=2"], Ok(&["foo", "bar;baz=2"])),
        (&["a;b=\"c\""], Ok(&["a;b=c"])),
        (&["a;b=\"c\\d\""], Ok(&["a;b=cd"])),
        (&[" a ;\tb = c ; d ,e "], Ok(&["a;b=c;d", "e"])),
        (&["a,,b"], Ok(&["a", "b"])),
        (&[", ,a,"], Ok(&["a"])),
        (&["a;b;b;b"], Ok(&["a;b;b;b"])),
        (&[""], Err(ListError::Malformed)),
        (&[","], Err(ListError::Malformed)),
        (&["a", ""], Err(ListError::Malformed)),
        (&[";"], Err(ListError::Malformed)),
        (&["a;"], Err(ListError::Malformed)),
        (&["a;;b"], Err(ListError::Malformed)),
        (&["a;=b"], Err(ListError::Malformed)),
        (&["a;b="], Err(ListError::Malformed)),
        (&["a;b=\"\""], Err(ListError::Malformed)),
        (&["a;b=\"c d\""], Err(ListError::Malformed)),
        (&["a;b=\"c"], Err(ListError::Malformed)),
        (&["a;b=\"c\"d"], Err(ListError::Malformed)),
        (&["a;b=c=d"], Err(ListError::Malformed)),
        (&["a b"], Err(ListError::Malformed)),
        (&["a=b"], Err(ListError::Malformed)),
        (&["\"a\""], Err(ListError::Malformed)),
        (&["a/b"], Err(ListError::Malformed)),
    ] {
        let headers = headers(lines);
        let read = parse(&headers).map(|list| list.iter().map(show).collect::<Vec<_>>());
        assert_eq!(
            read,
            expected.map(|list| list.iter().map(ToString::to_string).collect()),
            "{lines:?}"
        );
    }
    assert_eq!(
        parse(
            &[(
                header::SEC_WEBSOCKET_EXTENSIONS,
                HeaderValue::from_bytes(b"a\xff").unwrap()
            )]
            .into_iter()
            .collect()
        ),
        Err(ListError::Malformed)
    );
}

/// R03 and R04: neither many offers nor many parameters cost more than their reading.
#[test]
fn lists_are_bounded() {
    for (count, extension, expected) in [
        (MAX_EXTENSIONS, "permessage-deflate,", None),
        (
            MAX_EXTENSIONS + 1,
            "permessage-deflate,",
            Some(ListError::TooLong),
        ),
        (10_000, "permessage-deflate,", Some(ListError::TooLong)),
        (20_000, ",", Some(ListError::Malformed)),
        (32_000, " ", Some(ListError::Malformed)),
        (10_000, "\"", Some(ListError::Malformed)),
    ] {
        assert_eq!(
            parse(&headers(&[&extension.repeat(count)])).err(),
            expected,
            "{count} {extension}"
        );
    }
    for (count, expected) in [
        (MAX_PARAMETERS, None),
        (MAX_PARAMETERS + 1, Some(ListError::TooLong)),
    ] {
        assert_eq!(
            parse(&headers(&[&format!("a{}", ";b".repeat(count))])).err(),
            expected
        );
    }
}

/// RFC 7692 section 7.1: "a server MUST decline ... if the negotiation offer contains an extension parameter not
/// defined for use in an offer, ... with an invalid value, ... multiple extension parameters with the same name".
#[test]
fn parameters_are_read_strictly() {
    for (text, expected) in [
        (
            "x; server_no_context_takeover=1",
            Err(ParameterError::Value),
        ),
        (
            "x; client_no_context_takeover=true",
            Err(ParameterError::Value),
        ),
        ("x; server_max_window_bits", Err(ParameterError::Value)),
        ("x; server_max_window_bits=0", Err(ParameterError::Value)),
        ("x; server_max_window_bits=7", Err(ParameterError::Value)),
        ("x; server_max_window_bits=16", Err(ParameterError::Value)),
        ("x; server_max_window_bits=255", Err(ParameterError::Value)),
        ("x; server_max_window_bits=264", Err(ParameterError::Value)),
        ("x; server_max_window_bits=08", Err(ParameterError::Value)),
        ("x; server_max_window_bits=+9", Err(ParameterError::Value)),
        ("x; server_max_window_bits=-9", Err(ParameterError::Value)),
        ("x; server_max_window_bits=1e1", Err(ParameterError::Value)),
        (
            "x; server_max_window_bits=99999999999999999999999999",
            Err(ParameterError::Value),
        ),
        ("x; client_max_window_bits=16", Err(ParameterError::Value)),
        ("x; client_max_window_bits=010", Err(ParameterError::Value)),
        (
            "x; server_no_context_takeover; server_no_context_takeover",
            Err(ParameterError::Repeated),
        ),
        (
            "x; client_no_context_takeover; client_no_context_takeover",
            Err(ParameterError::Repeated),
        ),
        (
            "x; server_max_window_bits=9; server_max_window_bits=9",
            Err(ParameterError::Repeated),
        ),
        (
            "x; client_max_window_bits; client_max_window_bits=9",
            Err(ParameterError::Repeated),
        ),
        ("x; bogus", Err(ParameterError::Unknown)),
        ("x; bogus=1", Err(ParameterError::Unknown)),
        ("x; Server_max_window_bits=9", Err(ParameterError::Unknown)),
        ("x", Ok("permessage-deflate")),
        (
            "x; server_max_window_bits=\"10\"",
            Ok("permessage-deflate; server_max_window_bits=10"),
        ),
        (
            "x; client_max_window_bits",
            Ok("permessage-deflate; client_max_window_bits"),
        ),
        (
            "x; client_max_window_bits=15",
            Ok("permessage-deflate; client_max_window_bits=15"),
        ),
        (
            "x; client_max_window_bits=8; server_max_window_bits=15; client_no_context_takeover; \
             server_no_context_takeover",
            Ok(
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                server_max_window_bits=15; client_max_window_bits=8",
            ),
        ),
    ] {
        assert_eq!(
            read(text).map(|parameters| parameters.to_string()),
            expected.map(ToOwned::to_owned),
            "{text}"
        );
    }
    for bits in 8..=15 {
        assert_eq!(
            read(&format!("x; server_max_window_bits={bits}"))
                .unwrap()
                .server_max_window_bits,
            Some(bits)
        );
    }
}

/// What servers answer, after `permessage-deflate`; "-" declines.
#[test]
fn servers_answer_the_first_legal_offer() {
    let dedicated = config(Codec::Dedicated, |_| {});
    let pooled = config(Codec::Pooled { window: 1024 }, |_| {});
    let odd = config(Codec::Pooled { window: 1025 }, |_| {});
    let tiny = config(Codec::Pooled { window: 1 }, |_| {});
    let huge = config(Codec::Pooled { window: usize::MAX }, |_| {});
    let none = config(Codec::Pooled { window: 0 }, |_| {});
    let forgetful = config(Codec::Dedicated, |config| {
        config.server_no_context_takeover = true;
        config.client_no_context_takeover = true;
    });
    let capped = config(Codec::Dedicated, |config| {
        config.server_max_window_bits = 12;
        config.client_max_window_bits = 11;
    });
    let wild = config(Codec::Dedicated, |config| {
        config.server_max_window_bits = 0;
        config.client_max_window_bits = 255;
    });
    for (name, config, offer, expected) in [
        // RFC 7692 section 5.1: no offer, no answer; an unknown extension is ignored.
        ("dedicated", &dedicated, "", "-"),
        ("dedicated", &dedicated, "x-webkit-deflate-frame, foo", "-"),
        ("dedicated", &dedicated, "Permessage-Deflate", "-"),
        ("dedicated", &dedicated, "permessage-deflate", ""),
        ("dedicated", &dedicated, "foo, permessage-deflate", ""),
        // Section 7.1.1.1.
        (
            "dedicated",
            &dedicated,
            "permessage-deflate; server_no_context_takeover",
            "; server_no_context_takeover",
        ),
        // Section 7.1.1.2.
        (
            "dedicated",
            &dedicated,
            "permessage-deflate; client_no_context_takeover",
            "; client_no_context_takeover",
        ),
        // Section 7.1.2.1: "the same or smaller value".
        (
            "dedicated",
            &dedicated,
            "permessage-deflate; server_max_window_bits=10",
            "; server_max_window_bits=10",
        ),
        (
            "dedicated",
            &dedicated,
            "permessage-deflate; server_max_window_bits=15",
            "; server_max_window_bits=15",
        ),
        (
            "dedicated",
            &dedicated,
            "permessage-deflate; server_max_window_bits=8",
            "; server_max_window_bits=8",
        ),
        // Section 7.1.2.2.
        (
            "dedicated",
            &dedicated,
            "permessage-deflate; client_max_window_bits",
            "",
        ),
        (
            "dedicated",
            &dedicated,
            "permessage-deflate; client_max_window_bits=15",
            "",
        ),
        (
            "dedicated",
            &dedicated,
            "permessage-deflate; client_max_window_bits=9",
            "; client_max_window_bits=9",
        ),
        // Section 7.1.3, the examples: the fallback is taken only when the first cannot be.
        (
            "dedicated",
            &dedicated,
            "permessage-deflate; client_max_window_bits; server_max_window_bits=10, \
             permessage-deflate; client_max_window_bits",
            "; server_max_window_bits=10",
        ),
        (
            "dedicated",
            &dedicated,
            "permessage-deflate; bogus, permessage-deflate",
            "",
        ),
        (
            "dedicated",
            &dedicated,
            "permessage-deflate; server_max_window_bits=16, permessage-deflate",
            "",
        ),
        (
            "dedicated",
            &dedicated,
            "permessage-deflate; server_max_window_bits",
            "-",
        ),
        ("dedicated", &dedicated, "permessage-deflate; bogus=1", "-"),
        // The window of the pool.
        (
            "pooled",
            &pooled,
            "permessage-deflate; client_max_window_bits",
            "; client_max_window_bits=10",
        ),
        (
            "pooled",
            &pooled,
            "permessage-deflate; client_max_window_bits=9",
            "; client_max_window_bits=9",
        ),
        (
            "pooled",
            &pooled,
            "permessage-deflate; client_max_window_bits=12",
            "; client_max_window_bits=10",
        ),
        (
            "pooled",
            &pooled,
            "permessage-deflate",
            "; client_no_context_takeover",
        ),
        (
            "pooled",
            &pooled,
            "permessage-deflate; client_no_context_takeover; client_max_window_bits",
            "; client_no_context_takeover",
        ),
        (
            "odd",
            &odd,
            "permessage-deflate; client_max_window_bits",
            "; client_max_window_bits=11",
        ),
        (
            "tiny",
            &tiny,
            "permessage-deflate; client_max_window_bits",
            "; client_max_window_bits=8",
        ),
        ("huge", &huge, "permessage-deflate", ""),
        (
            "none",
            &none,
            "permessage-deflate",
            "; server_no_context_takeover; client_no_context_takeover",
        ),
        (
            "none",
            &none,
            "permessage-deflate; client_max_window_bits",
            "; server_no_context_takeover; client_no_context_takeover",
        ),
        // What the configuration insists on.
        (
            "forgetful",
            &forgetful,
            "permessage-deflate",
            "; server_no_context_takeover; client_no_context_takeover",
        ),
        (
            "capped",
            &capped,
            "permessage-deflate",
            "; client_no_context_takeover; server_max_window_bits=12",
        ),
        (
            "capped",
            &capped,
            "permessage-deflate; client_max_window_bits; server_max_window_bits=15",
            "; server_max_window_bits=12; client_max_window_bits=11",
        ),
        (
            "capped",
            &capped,
            "permessage-deflate; client_max_window_bits=9; server_max_window_bits=9",
            "; server_max_window_bits=9; client_max_window_bits=9",
        ),
        (
            "wild",
            &wild,
            "permessage-deflate; client_max_window_bits",
            "; server_max_window_bits=8",
        ),
    ] {
        let lines = if offer.is_empty() {
            vec![]
        } else {
            vec![offer]
        };
        let headers = headers(&lines);
        let answer =
            accept(&parse(&headers).unwrap(), config).map(|(answer, _)| answer.to_string());
        let expected = (expected != "-").then(|| format!("permessage-deflate{expected}"));
        assert_eq!(answer, expected, "{name}: {offer}");
    }
}

#[test]
fn clients_offer_what_their_memory_bears() {
    for (config, expected) in [
        (
            config(Codec::Dedicated, |_| {}),
            &["; client_max_window_bits"][..],
        ),
        (
            config(Codec::Pooled { window: 1024 }, |_| {}),
            &[
                "; server_max_window_bits=10; client_max_window_bits",
                "; server_no_context_takeover; client_max_window_bits",
            ],
        ),
        (
            config(Codec::Pooled { window: 0 }, |_| {}),
            &["; server_no_context_takeover; client_no_context_takeover; client_max_window_bits"],
        ),
        (
            config(Codec::Pooled { window: 1024 }, |config| {
                config.server_no_context_takeover = true
            }),
            &["; server_no_context_takeover; client_max_window_bits"],
        ),
        (
            config(Codec::Dedicated, |config| {
                config.client_max_window_bits = 9;
                config.server_max_window_bits = 12;
                config.client_no_context_takeover = true;
            }),
            &[
                "; client_no_context_takeover; server_max_window_bits=12; client_max_window_bits=9",
                "; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=9",
            ],
        ),
    ] {
        let offers: Vec<_> = offers(&config)
            .iter()
            .map(DeflateParameters::to_string)
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|text| format!("permessage-deflate{text}"))
            .collect();
        assert_eq!(offers, expected);
    }
}

/// RFC 7692 sections 7.1.1 and 7.1.2, from the client's side: server forgets, client forgets, bits, bits.
#[test]
fn answers_are_confirmed_against_the_offers() {
    for (offered, answer, expected) in [
        (&["x"][..], "x", Ok((false, false, 15, 15))),
        (
            &["x"],
            "x; server_no_context_takeover; client_no_context_takeover",
            Ok((true, true, 15, 15)),
        ),
        (
            &["x"],
            "x; server_max_window_bits=8",
            Ok((false, false, 8, 15)),
        ),
        (
            &["x"],
            "x; client_max_window_bits=10",
            Err(AnswerError::ClientWindowUnasked),
        ),
        (
            &["x; server_no_context_takeover"],
            "x",
            Err(AnswerError::ServerKeepsContext),
        ),
        (
            &["x; server_no_context_takeover"],
            "x; server_no_context_takeover",
            Ok((true, false, 15, 15)),
        ),
        (
            &["x; client_no_context_takeover"],
            "x",
            Ok((false, true, 15, 15)),
        ),
        (
            &["x; server_max_window_bits=10"],
            "x; server_max_window_bits=10",
            Ok((false, false, 10, 15)),
        ),
        (
            &["x; server_max_window_bits=10"],
            "x; server_max_window_bits=9",
            Ok((false, false, 9, 15)),
        ),
        (
            &["x; server_max_window_bits=10"],
            "x; server_max_window_bits=11",
            Err(AnswerError::ServerWindow),
        ),
        (
            &["x; server_max_window_bits=10"],
            "x",
            Err(AnswerError::ServerWindow),
        ),
        (
            &["x; client_max_window_bits"],
            "x; client_max_window_bits=8",
            Ok((false, false, 15, 8)),
        ),
        (
            &["x; client_max_window_bits"],
            "x; client_max_window_bits",
            Err(AnswerError::ClientWindow),
        ),
        (
            &["x; client_max_window_bits=9"],
            "x; client_max_window_bits=10",
            Err(AnswerError::ClientWindow),
        ),
        (
            &["x; client_max_window_bits=9"],
            "x; client_max_window_bits=9",
            Ok((false, false, 15, 9)),
        ),
        (
            &["x; client_max_window_bits=9"],
            "x",
            Ok((false, false, 15, 9)),
        ),
        // The second offer is as good as the first; an error speaks of the first.
        (
            &[
                "x; server_max_window_bits=10",
                "x; server_no_context_takeover",
            ],
            "x; server_no_context_takeover; client_no_context_takeover",
            Ok((true, true, 15, 15)),
        ),
        (
            &[
                "x; server_max_window_bits=10",
                "x; server_no_context_takeover",
            ],
            "x",
            Err(AnswerError::ServerWindow),
        ),
    ] {
        let offers: Vec<_> = offered.iter().map(|offer| read(offer).unwrap()).collect();
        let params = confirm(&offers, &read(answer).unwrap()).map(|params| {
            (
                params.server_no_context_takeover,
                params.client_no_context_takeover,
                params.server_max_window_bits,
                params.client_max_window_bits,
            )
        });
        assert_eq!(params, expected, "{offered:?} {answer}");
    }
    assert!(confirm(&[], &DeflateParameters::default()).is_err());
}

prop_compose! {
    fn any_config()(
        codec in prop_oneof![
            Just(Codec::Dedicated),
            (0usize..70_000).prop_map(|window| Codec::Pooled { window }),
            (0usize..16).prop_map(|bits| Codec::Pooled { window: 1 << bits }),
        ],
        forget in any::<(bool, bool)>(),
        bits in any::<(u8, u8)>().prop_map(|(a, b)| (a % 18, b % 18)),
    ) -> DeflateConfig {
        DeflateConfig {
            codec,
            server_no_context_takeover: forget.0,
            client_no_context_takeover: forget.1,
            server_max_window_bits: bits.0,
            client_max_window_bits: bits.1,
            ..DeflateConfig::default()
        }
    }
}

fn window_is_borne(config: &DeflateConfig, forgets: bool, bits: u8) -> bool {
    forgets || bits <= pooled_bits(config.codec).unwrap_or(0)
}

proptest! {
    #[test]
    fn no_list_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            let headers: HeaderMap = [(header::SEC_WEBSOCKET_EXTENSIONS, value)].into_iter().collect();
            let _ = parse(&headers).map(|list| accept(&list, &DeflateConfig::default()));
        }
    }

    #[test]
    fn both_sides_agree_whatever_their_configs(client in any_config(), server in any_config()) {
        let offers = offers(&client);
        let list = offers.iter().map(DeflateParameters::to_string).collect::<Vec<_>>().join(", ");
        let offered = headers(&[&list]);
        let (answer, of_server) = accept(&parse(&offered).unwrap(), &server).unwrap();
        let answer = read(&answer.to_string()).unwrap();
        let of_client = confirm(&offers, &answer).unwrap();
        prop_assert_eq!(of_server, of_client);
        // Neither side has to hold more than it wants to.
        prop_assert!(window_is_borne(&client, of_client.server_no_context_takeover, of_client.server_max_window_bits));
        prop_assert!(window_is_borne(&server, of_server.client_no_context_takeover, of_server.client_max_window_bits));
        prop_assert!(!server.server_no_context_takeover || of_server.server_no_context_takeover);
        prop_assert!(!client.client_no_context_takeover || of_client.client_no_context_takeover);
        prop_assert!(of_server.server_max_window_bits <= clamp(server.server_max_window_bits));
        prop_assert!(of_client.client_max_window_bits <= clamp(client.client_max_window_bits));
    }
}
