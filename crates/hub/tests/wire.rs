//! Both wires, row by row: what is read, what is refused and why, and every byte that is written.

use antiphon_hub::{
    code::ErrorCode,
    json::Json,
    wire::{Envelope, Fault, Incoming, MAX_BATCH, MAX_NAME, Wire},
};
use proptest::prelude::*;
use serde_json::Value;

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

/// Event, id, channel and data of what was read.
fn told(incoming: &Incoming) -> (&str, Option<u64>, Option<&str>, Option<&str>) {
    (
        &incoming.event,
        incoming.id,
        incoming.ch.as_deref(),
        incoming.data.as_ref().map(Json::as_str),
    )
}

#[test]
fn subprotocols_choose_the_wire() {
    for (subprotocol, expected) in [
        (None, Wire::V1),
        (Some("hotgo.v1"), Wire::V1),
        (Some("antiphon.v2.json"), Wire::V2),
        (Some("other"), Wire::V1),
    ] {
        assert_eq!(Wire::of(subprotocol), expected, "{subprotocol:?}");
    }
    assert_eq!(Wire::SUBPROTOCOLS, ["antiphon.v2.json", "hotgo.v1"]);
    assert_eq!((Wire::V1.name(), Wire::V2.name()), ("v1", "v2"));
}

#[test]
fn v1_reads_what_hotgo_reads() {
    for (text, event, data) in [
        (r#"{"event":"ping"}"#, "ping", None),
        (r#"{"event":"ping","data":null}"#, "ping", None),
        (
            r#"{"event":"join","data":{"id":"a"}}"#,
            "join",
            Some(r#"{"id":"a"}"#),
        ),
        (
            r#"{"event":"join","data":{"id":5}}"#,
            "join",
            Some(r#"{"id":5}"#),
        ),
        (r#"{"event":"join","data":{}}"#, "join", Some("{}")),
        // Keys in any case.
        (r#"{"Event":"a","DATA":{}}"#, "a", Some("{}")),
        (r#"{"EVENT":"a","Data":{}}"#, "a", Some("{}")),
        (r#"{"\u0065vent":"a"}"#, "a", None),
        // Other fields do not matter, those of v2 included.
        (
            r#"{"x":[1,{"y":2}],"event":"a","id":"no","ch":7}"#,
            "a",
            None,
        ),
        // The last one counts.
        (r#"{"event":"a","event":"b"}"#, "b", None),
        (
            r#"{"event":1,"Event":"b","data":[],"data":{}}"#,
            "b",
            Some("{}"),
        ),
        (r#"{"event":"a","data":{"x":1},"data":null}"#, "a", None),
        // Space anywhere; the data stays on one line.
        (
            " {\n\"event\" : \"a\", \"data\" : {\n\"b\" : 1\n}\n}\n",
            "a",
            Some(r#"{"b":1}"#),
        ),
        (
            r#"{"event":"admin/monitor/runInfo"}"#,
            "admin/monitor/runInfo",
            None,
        ),
        (r#"{"event":"\u00fc\n"}"#, "ü\n", None),
    ] {
        let incoming = Wire::V1.parse(text.as_bytes()).unwrap();
        assert_eq!(told(&incoming), (event, None, None, data), "{text}");
        assert!(!incoming.is_heartbeat());
    }
}

#[test]
fn v1_refuses_what_hotgo_drops() {
    let long = format!(r#"{{"event":"{}"}}"#, "a".repeat(MAX_NAME + 1));
    let deep = format!(
        r#"{{"event":"a","data":{{"b":{}{}}}}}"#,
        "[".repeat(64),
        "]".repeat(64)
    );
    for (text, fault, event) in [
        ("", Fault::NotJson { line: 1, column: 0 }, None),
        ("ping", Fault::NotJson { line: 1, column: 1 }, None),
        (
            r#"{"event":"a""#,
            Fault::NotJson {
                line: 1,
                column: 12,
            },
            None,
        ),
        (
            r#"{"event":"a"} {}"#,
            Fault::NotJson {
                line: 1,
                column: 15,
            },
            None,
        ),
        ("[]", Fault::NotAnObject, None),
        (r#"["event"]"#, Fault::NotAnObject, None),
        ("null", Fault::NotAnObject, None),
        ("7", Fault::NotAnObject, None),
        (r#""event""#, Fault::NotAnObject, None),
        ("{}", Fault::NoEvent, None),
        (r#"{"e_vent":"a"}"#, Fault::NoEvent, None),
        (r#"{"event":""}"#, Fault::NoEvent, None),
        (r#"{"event":null}"#, Fault::NoEvent, None),
        (r#"{"event":5}"#, Fault::EventType, None),
        (r#"{"event":{}}"#, Fault::EventType, None),
        (r#"{"event":"\ud800"}"#, Fault::EventType, None),
        (r#"{"event":"a","data":[]}"#, Fault::DataType, Some("a")),
        (r#"{"data":"x","event":"a"}"#, Fault::DataType, Some("a")),
        (r#"{"event":"a","data":1}"#, Fault::DataType, Some("a")),
        (
            r#"{"event":"a","data":{"b":1e999}}"#,
            Fault::NumberRange,
            Some("a"),
        ),
        (&long, Fault::NameTooLong, None),
        (&deep, Fault::TooDeep, Some("a")),
    ] {
        let bad = Wire::V1.parse(text.as_bytes()).unwrap_err();
        assert_eq!((bad.fault, bad.event.as_deref()), (fault, event), "{text}");
        assert_eq!(bad.code(), ErrorCode::BadRequest);
        assert_eq!(bad.id, None);
        assert!(!bad.to_string().is_empty() && !bad.fault.name().is_empty());
    }
    assert_eq!(
        Wire::V1.parse(b"{\"event\":\"\xff\"}").unwrap_err().fault,
        Fault::NotUtf8
    );
}

#[test]
fn v2_reads_ids_channels_and_any_data() {
    for (text, expected) in [
        (r#"{"event":"a"}"#, ("a", None, None, None)),
        (
            r#"{"event":"a","id":1,"ch":"room:1","data":[1,"x"]}"#,
            ("a", Some(1), Some("room:1"), Some(r#"[1,"x"]"#)),
        ),
        (
            r#"{"event":"a","id":18446744073709551615}"#,
            ("a", Some(u64::MAX), None, None),
        ),
        (
            r#"{"event":"a","id":null,"ch":null,"data":null}"#,
            ("a", None, None, Some("null")),
        ),
        (
            r#"{"event":"a","data":"text"}"#,
            ("a", None, None, Some(r#""text""#)),
        ),
        (
            r#"{"event":"a","ch":"","more":true}"#,
            ("a", None, Some(""), None),
        ),
        (
            r#"{"event":"a","Event":"b","DATA":1}"#,
            ("a", None, None, None),
        ),
        (" {\"event\":\n\"a\"}\n", ("a", None, None, None)),
    ] {
        let incoming = Wire::V2.parse(text.as_bytes()).unwrap();
        assert_eq!(told(&incoming), expected, "{text}");
        assert!(!incoming.is_heartbeat());
    }
    for text in ["{}", " { } ", "{}\n"] {
        assert!(
            Wire::V2.parse(text.as_bytes()).unwrap().is_heartbeat(),
            "{text}"
        );
    }
}

#[test]
fn v2_names_the_request_that_it_refuses() {
    let long = format!(
        r#"{{"id":4,"event":"a","ch":"{}"}}"#,
        "a".repeat(MAX_NAME + 1)
    );
    let longer = format!(r#"{{"id":4,"event":"{}"}}"#, "a".repeat(100_000));
    let deep = format!(
        r#"{{"event":"a","data":{},"id":4}}"#,
        "[".repeat(65) + &"]".repeat(65)
    );
    for (text, fault, id, event) in [
        (r#"{"x":1}"#, Fault::NoEvent, None, None),
        (r#"{"id":4}"#, Fault::NoEvent, Some(4), None),
        (r#"{"Event":"a","id":4}"#, Fault::NoEvent, Some(4), None),
        (r#"{"event":[],"id":4}"#, Fault::EventType, Some(4), None),
        (r#"{"event":"a","id":0}"#, Fault::IdType, None, Some("a")),
        (r#"{"event":"a","id":-1}"#, Fault::IdType, None, Some("a")),
        (r#"{"event":"a","id":1.5}"#, Fault::IdType, None, Some("a")),
        (r#"{"event":"a","id":1e3}"#, Fault::IdType, None, Some("a")),
        (r#"{"event":"a","id":"1"}"#, Fault::IdType, None, Some("a")),
        (
            r#"{"event":"a","id":18446744073709551616}"#,
            Fault::IdType,
            None,
            Some("a"),
        ),
        (
            r#"{"event":"a","id":4,"ch":{}}"#,
            Fault::ChannelType,
            Some(4),
            Some("a"),
        ),
        (&long, Fault::NameTooLong, Some(4), Some("a")),
        (&longer, Fault::NameTooLong, Some(4), None),
        (&deep, Fault::TooDeep, Some(4), Some("a")),
        (
            r#"{"event":"a","id":4}{}"#,
            Fault::NotJson {
                line: 1,
                column: 21,
            },
            None,
            None,
        ),
        ("[]", Fault::NotAnObject, None, None),
    ] {
        let bad = Wire::V2.parse(text.as_bytes()).unwrap_err();
        assert_eq!(
            (bad.fault, bad.id, bad.event.as_deref()),
            (fault, id, event),
            "{text}"
        );
    }
}

#[test]
fn names_of_255_bytes_are_accepted_however_they_are_written() {
    for event in ["a".repeat(MAX_NAME), "\\u0061".repeat(MAX_NAME)] {
        let text = format!(r#"{{"event":"{event}"}}"#);
        for wire in [Wire::V1, Wire::V2] {
            assert_eq!(
                *wire.parse(text.as_bytes()).unwrap().event,
                *"a".repeat(MAX_NAME)
            );
        }
    }
}

#[test]
fn depth_ends_the_work_and_costs_no_stack() {
    for depth in [64, 65, 100_000] {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let data = format!("{}0{}", open.repeat(depth), close.repeat(depth));
            let text = format!(r#"{{"event":"a","data":{data}}}"#);
            let result = Wire::V2
                .parse(text.as_bytes())
                .map(drop)
                .map_err(|bad| bad.fault);
            let expected = if depth == 64 {
                Ok(())
            } else {
                Err(Fault::TooDeep)
            };
            assert_eq!(result, expected, "{depth}");
            // What nobody reads may be as deep as it likes, and what never ends is no JSON.
            let text = format!(r#"{{"event":"a","other":{data}}}"#);
            assert!(Wire::V2.parse(text.as_bytes()).is_ok());
            let text = format!(r#"{{"event":"a","data":{}"#, open.repeat(depth));
            let bad = Wire::V2.parse(text.as_bytes()).unwrap_err();
            assert!(matches!(bad.fault, Fault::NotJson { .. }));
        }
    }
}

#[test]
fn a_frame_of_v2_holds_up_to_64_lines() {
    let read = |wire: Wire, text: &str| -> Vec<String> {
        wire.parse_all(text.as_bytes())
            .map(|item| match item {
                Ok(incoming) => incoming.event.into(),
                Err(bad) => bad.fault.name().to_owned(),
            })
            .collect()
    };
    for (text, expected) in [
        ("{\"event\":\"a\"}", vec!["a"]),
        ("{\"event\":\"a\"}\n{\"event\":\"b\"}\n", vec!["a", "b"]),
        ("\n\n{\"event\":\"a\"}\r\n \n{}\n", vec!["a", ""]),
        (
            "{\"event\":\"a\"}\nnonsense\n{\"event\":\"c\"}",
            vec!["a", "not_json", "c"],
        ),
        ("{\"event\":\n\"a\"}", vec!["not_json", "not_an_object"]),
        ("", vec!["not_json"]),
        (" \n ", vec!["not_json"]),
    ] {
        assert_eq!(read(Wire::V2, text), expected, "{text}");
    }
    assert_eq!(read(Wire::V1, "{\"event\":\n\"a\"}"), ["a"]);
    assert_eq!(
        read(Wire::V1, "{\"event\":\"a\"}\n{\"event\":\"b\"}"),
        ["not_json"]
    );
    let most = "{\"event\":\"a\"}\n".repeat(MAX_BATCH);
    assert_eq!(read(Wire::V2, &most), vec!["a"; MAX_BATCH]);
    let more = read(Wire::V2, &most.repeat(1000));
    assert_eq!(more.len(), MAX_BATCH + 1);
    assert_eq!(more[MAX_BATCH], "too_many");
    let last = Wire::V2.parse_all(most.repeat(2).as_bytes()).last();
    assert_eq!(
        last.map(|item| item.unwrap_err().code()),
        Some(ErrorCode::LimitExceeded)
    );
}

#[test]
fn v1_writes_the_frames_that_hotgo_writes() {
    fn at(envelope: Envelope<'_>) -> Envelope<'_> {
        Envelope {
            timestamp: 1_795_177_846,
            ..envelope
        }
    }
    let (tags, none, html) = (json(r#"["a"]"#), json("[]"), json(r#"{"b":"<ü>","a":1}"#));
    for (envelope, expected) in [
        (
            at(Envelope::reply("ping", None, None)),
            r#"{"event":"ping","code":0,"timestamp":1795177846}"#,
        ),
        (
            at(Envelope::reply("join", None, Some(&tags))),
            r#"{"event":"join","data":["a"],"code":0,"timestamp":1795177846}"#,
        ),
        (
            at(Envelope::reply("quit", None, Some(&none))),
            r#"{"event":"quit","data":[],"code":0,"timestamp":1795177846}"#,
        ),
        (
            at(Envelope {
                code: -1,
                error: Some("no & <never>\u{2028}\"ü\""),
                ..Envelope::push("err", None)
            }),
            "{\"event\":\"err\",\"code\":-1,\"errorMsg\":\"no \\u0026 \\u003cnever\\u003e\\u2028\\\"ü\\\"\",\"timestamp\":1795177846}",
        ),
        (
            at(Envelope::push("notice", Some(&html))),
            r#"{"event":"notice","data":{"b":"<ü>","a":1},"code":0,"timestamp":1795177846}"#,
        ),
        (
            Envelope::push("kick", None),
            r#"{"event":"kick","code":0,"timestamp":0}"#,
        ),
        // What v1 does not know is left out, and it knows only one code of errors.
        (
            Envelope {
                ch: Some("c"),
                offset: Some(1),
                epoch: Some("e"),
                retry_after_ms: Some(5),
                timestamp: 1,
                ..Envelope::error("a", Some(9), ErrorCode::TooManyRequests)
            },
            r#"{"event":"a","code":-1,"errorMsg":"too many requests","timestamp":1}"#,
        ),
        (
            Envelope {
                error: Some(""),
                ..Envelope::push("a", None)
            },
            r#"{"event":"a","code":0,"timestamp":0}"#,
        ),
    ] {
        assert_eq!(Wire::V1.encode(&envelope), format!("{expected}\n"));
    }
}

#[test]
fn v2_writes_what_is_set() {
    let data = json(r#"{"b":1,  "a":2}"#);
    let rows = [
        (
            Envelope {
                timestamp: 7,
                ..Envelope::reply("a", Some(1), Some(&data))
            },
            r#"{"event":"a","id":1,"data":{"b":1,  "a":2},"code":0,"timestamp":7}"#,
        ),
        (
            Envelope {
                timestamp: 7,
                ch: Some("c\"<"),
                offset: Some(0),
                epoch: Some("e"),
                ..Envelope::push("<p>", None)
            },
            r#"{"event":"<p>","ch":"c\"<","offset":0,"epoch":"e","code":0,"timestamp":7}"#,
        ),
        (
            Envelope {
                timestamp: 7,
                retry_after_ms: Some(250),
                ..Envelope::error("a", Some(2), ErrorCode::TooManyRequests)
            },
            r#"{"event":"a","id":2,"code":111,"errorMsg":"too many requests","temporary":true,"retryAfterMs":250,"timestamp":7}"#,
        ),
        (
            Envelope {
                timestamp: 7,
                code: 1001,
                error: Some("the room is full"),
                ..Envelope::reply("a", None, None)
            },
            r#"{"event":"a","code":1001,"errorMsg":"the room is full","timestamp":7}"#,
        ),
    ];
    for (envelope, expected) in rows {
        assert_eq!(Wire::V2.encode(&envelope), expected);
    }
}

#[test]
fn a_token_in_a_request_is_not_in_its_debug_text() {
    let text = br#"{"event":"$connect","data":{"token":"secret"}}"#;
    let shown = format!("{:?}", Wire::V2.parse(text).unwrap());
    assert!(
        shown.contains("$connect") && !shown.contains("secret"),
        "{shown}"
    );
}

/// Any JSON of at most three levels.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_what_serde_json_reads(
        event in any::<String>(),
        id in any::<Option<u64>>(),
        ch in any::<Option<String>>(),
        offset in any::<Option<u64>>(),
        data in prop::option::of(values()),
        code in any::<i32>(),
        error in any::<Option<String>>(),
        temporary in any::<bool>(),
        retry_after_ms in any::<Option<u64>>(),
        timestamp in any::<u64>(),
    ) {
        let json = data.as_ref().map(|data| Json::of(data).unwrap());
        let envelope = Envelope {
            event: &event, id, ch: ch.as_deref(), offset, epoch: ch.as_deref(), data: json.as_ref(), code,
            error: error.as_deref(), temporary, retry_after_ms, timestamp,
        };
        let text = error.clone().filter(|error| !error.is_empty());

        let v1: Value = serde_json::from_str(&Wire::V1.encode(&envelope)).unwrap();
        let keys: Vec<_> = v1.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected = vec!["event"];
        expected.extend(data.is_some().then_some("data"));
        expected.push("code");
        expected.extend(text.is_some().then_some("errorMsg"));
        expected.push("timestamp");
        prop_assert_eq!(keys, expected);
        prop_assert_eq!(&v1["code"], if code == 0 { 0 } else { -1 });

        let v2: Value = serde_json::from_str(&Wire::V2.encode(&envelope)).unwrap();
        for (key, value) in [
            ("event", Some(Value::from(event.clone()))),
            ("id", id.map(Value::from)),
            ("ch", ch.clone().map(Value::from)),
            ("offset", offset.map(Value::from)),
            ("epoch", ch.clone().map(Value::from)),
            ("data", data),
            ("code", Some(Value::from(code))),
            ("errorMsg", text.map(Value::from)),
            ("temporary", temporary.then_some(Value::from(true))),
            ("retryAfterMs", retry_after_ms.map(Value::from)),
            ("timestamp", Some(Value::from(timestamp))),
        ] {
            prop_assert_eq!(v2.get(key), value.as_ref(), "{}", key);
            if ["event", "data", "errorMsg", "timestamp"].contains(&key) {
                prop_assert_eq!(v1.get(key), value.as_ref(), "{}", key);
            }
        }
    }

    #[test]
    fn a_request_is_read_as_it_was_written(
        event in "[a-z$/ü\"\\\\\n]{1,20}",
        id in 1..=u64::MAX,
        ch in any::<String>().prop_filter("a name", |ch| ch.len() <= MAX_NAME),
        data in values(),
    ) {
        let text = serde_json::json!({"data": data, "ch": ch, "id": id, "event": event}).to_string();
        let incoming = Wire::V2.parse(text.as_bytes()).unwrap();
        let expected = data.to_string();
        prop_assert_eq!(told(&incoming), (event.as_str(), Some(id), Some(ch.as_str()), Some(expected.as_str())));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), text in "[{}\\[\\]\",:\\\\ent0-9eventdaidch\n ]*") {
        for wire in [Wire::V1, Wire::V2] {
            for input in [&bytes[..], text.as_bytes()] {
                prop_assert!(wire.parse_all(input).count() >= 1);
            }
        }
    }
}
