//! How servers are talked to in a fan-out: what they want to hear, as templates, and what they want answered.

use antiphon_proto::message::MessageKind;

use crate::cli::bench::{FanoutArgs, Preset};

/// What is said to a server.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// The subprotocol to offer.
    pub(crate) subprotocol: Option<&'static str>,
    /// What each connection says first.
    pub(crate) hello: Vec<String>,
    /// What a subscriber says then.
    pub(crate) subscribe: Vec<String>,
    /// What a publisher says for each message.
    pub(crate) publish: String,
    /// Text or binary.
    pub(crate) kind: MessageKind,
    /// Questions of the server, and what it is to hear.
    pub(crate) answers: Option<(Question, &'static str)>,
    /// Messages of the server are pieces of a stream of bytes: a payload may stand in two of them.
    pub(crate) is_stream: bool,
    channel: String,
}

/// How a question looks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question {
    /// It is the whole message.
    Is(&'static str),
    /// It stands at the end.
    EndsWith(&'static str),
}

impl Question {
    /// Whether this is the question.
    pub(crate) fn is_in(self, message: &[u8]) -> bool {
        match self {
            Self::Is(text) => message == text.as_bytes(),
            Self::EndsWith(text) => message.ends_with(text.as_bytes()),
        }
    }
}

/// What stands for the placeholders.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Values<'a> {
    /// `{connection}`
    pub(crate) connection: usize,
    /// `{seq}`
    pub(crate) number: u64,
    /// `{time}`, in microseconds
    pub(crate) time: u64,
    /// `{payload}`
    pub(crate) payload: &'a str,
}

impl Script {
    /// The preset's words, or those that were given instead.
    pub(crate) fn new(args: &FanoutArgs) -> Self {
        let mut script = Self::preset(args.preset);
        let given = |words: &[String]| -> Vec<String> {
            words
                .iter()
                .filter(|text| !text.is_empty())
                .cloned()
                .collect()
        };
        if !args.hello.is_empty() {
            script.hello = given(&args.hello);
        }
        if !args.subscribe.is_empty() {
            script.subscribe = given(&args.subscribe);
        }
        if let Some(publish) = &args.publish {
            script.publish.clone_from(publish);
        }
        if args.binary {
            script.kind = MessageKind::Binary;
        }
        script.channel.clone_from(&args.channel);
        script
    }

    fn preset(preset: Preset) -> Self {
        let words = |text: &[&str]| text.iter().map(|&text| text.to_owned()).collect();
        let plain = Self {
            subprotocol: None,
            hello: Vec::new(),
            subscribe: Vec::new(),
            publish: "{payload}".to_owned(),
            kind: MessageKind::Text,
            answers: None,
            is_stream: false,
            channel: String::new(),
        };
        match preset {
            Preset::Broadcast => plain,
            Preset::Antiphon => Self {
                subprotocol: Some("antiphon.v2.json"),
                subscribe: words(&[r#"{"event":"$subscribe","id":1,"data":{"ch":"{channel}"}}"#]),
                publish:
                    r#"{"event":"$publish","data":{"ch":"{channel}","event":"message","data":"{payload}"}}"#
                        .to_owned(),
                answers: Some((Question::Is("{}"), "{}")),
                ..plain
            },
            Preset::Centrifugo => Self {
                hello: words(&[r#"{"id":1,"connect":{}}"#]),
                subscribe: words(&[r#"{"id":2,"subscribe":{"channel":"{channel}"}}"#]),
                // A command without an id, or with 0, is refused: the server hangs up.
                publish: r#"{"id":1{seq},"publish":{"channel":"{channel}","data":"{payload}"}}"#.to_owned(),
                answers: Some((Question::Is("{}"), "{}")),
                ..plain
            },
            Preset::Nats => Self {
                hello: words(&[concat!(
                    r#"CONNECT {"verbose":false,"pedantic":false,"lang":"antiphon","version":"0","protocol":1}"#,
                    "\r\n"
                )]),
                subscribe: words(&["SUB {channel} 1\r\n"]),
                publish: "PUB {channel} {length}\r\n{payload}\r\n".to_owned(),
                kind: MessageKind::Binary,
                answers: Some((Question::EndsWith("PING\r\n"), "PONG\r\n")),
                is_stream: true,
                ..plain
            },
            Preset::SocketIo => Self {
                hello: words(&["40"]),
                publish: r#"42["message","{payload}"]"#.to_owned(),
                answers: Some((Question::Is("2"), "3")),
                ..plain
            },
        }
    }

    /// A template with its placeholders filled.
    pub(crate) fn fill(&self, template: &str, values: Values<'_>) -> String {
        let mut text = String::with_capacity(template.len() + values.payload.len());
        let mut rest = template;
        while let Some(start) = rest.find('{') {
            text.push_str(&rest[..start]);
            rest = &rest[start..];
            let end = rest.find('}').map_or(0, |end| end + 1);
            let value = match &rest[..end] {
                "{connection}" => values.connection.to_string(),
                "{seq}" => values.number.to_string(),
                "{time}" => values.time.to_string(),
                "{length}" => values.payload.len().to_string(),
                "{channel}" => self.channel.clone(),
                "{payload}" => values.payload.to_owned(),
                // Braces are common in templates.
                _ => {
                    text.push('{');
                    rest = &rest[1..];
                    continue;
                }
            };
            text.push_str(&value);
            rest = &rest[end..];
        }
        text + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled() {
        let mut script = Script::preset(Preset::Antiphon);
        script.channel = "tea".to_owned();
        let values = Values {
            connection: 7,
            number: 12,
            time: 99,
            payload: "abc",
        };
        for (template, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("{payload}", "abc"),
            ("{\"a\":{\"b\":{seq}}}", "{\"a\":{\"b\":12}}"),
            (
                "PUB {channel} {length}\r\n{payload}\r\n",
                "PUB tea 3\r\nabc\r\n",
            ),
            ("{connection}-{time}", "7-99"),
            ("{unknown} { {", "{unknown} { {"),
            ("{{payload}}", "{abc}"),
        ] {
            assert_eq!(script.fill(template, values), expected);
        }
        for preset in [Preset::Antiphon, Preset::Centrifugo] {
            let script = Script::preset(preset);
            for text in script
                .hello
                .iter()
                .chain(&script.subscribe)
                .chain([&script.publish])
            {
                let filled = script.fill(text, values);
                serde_json::from_str::<serde_json::Value>(&filled).unwrap();
            }
        }
    }
}
