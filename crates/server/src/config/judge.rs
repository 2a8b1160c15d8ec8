//! Whether a value is of its key's kind.

use antiphon::{Origins, peer::Network};
use serde_json::Value;

use crate::{
    config::{
        key::{Item, Kind, Zero, quoted},
        problem::nearest,
    },
    value,
};

/// What is wrong with a value, and what to do.
pub(crate) type Wrong = (String, String);

/// Reads the text of a variable or an option: lists are separated by commas.
pub(crate) fn text(kind: Kind, text: &str) -> Result<Value, Wrong> {
    let given = match kind {
        Kind::Switch => match text {
            "true" | "1" => Value::Bool(true),
            "false" | "0" => Value::Bool(false),
            _ => Value::String(text.into()),
        },
        Kind::Count(..) => text
            .replace('_', "")
            .parse::<u64>()
            .map_or_else(|_| Value::String(text.into()), Value::from),
        Kind::Unbounded => text
            .parse::<i64>()
            .map_or_else(|_| Value::String(text.into()), Value::from),
        Kind::Ratio => text
            .parse::<f64>()
            .map_or_else(|_| Value::String(text.into()), Value::from),
        Kind::List(_) => text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(Value::from)
            .collect(),
        _ => Value::String(text.into()),
    };
    judge(kind, given)
}

/// Gives the value back as the schema reads it.
///
/// # Errors
///
/// It is not of this kind.
pub(crate) fn judge(kind: Kind, given: Value) -> Result<Value, Wrong> {
    let good = match (kind, &given) {
        (Kind::Switch, Value::Bool(_)) => true,
        (Kind::Count(least, most), Value::Number(number)) => match number.as_u64() {
            Some(number) if (least..=most).contains(&number) => true,
            Some(number) if number > most => return wrong(format!("{number} is too much"), kind),
            Some(number) => return wrong(format!("{number} is too little"), kind),
            None => return wrong(format!("{number} is no whole number from 0"), kind),
        },
        (Kind::Unbounded, Value::Number(number)) => number.as_i64().is_some_and(|n| n >= -1),
        (Kind::Ratio, Value::Number(number)) => {
            if !number.as_f64().is_some_and(|n| (0.0..=1.0).contains(&n)) {
                return wrong(format!("{number} is out of range"), kind);
            }
            true
        }
        (Kind::Time(zero), Value::String(_) | Value::Number(_)) => {
            let text = plain(&given);
            let time = value::duration(&text).map_err(|hint| unusable(&text, hint))?;
            if zero == Zero::Refused && time.is_zero() {
                return Err((
                    "0 is no time to wait".into(),
                    "write it as 10s, 500ms or 2m".into(),
                ));
            }
            true
        }
        (Kind::Size(zero), Value::String(_) | Value::Number(_)) => {
            let text = plain(&given);
            let parse = match zero {
                Zero::Allowed => value::size,
                Zero::Refused => value::positive_size,
            };
            parse(&text).map_err(|hint| unusable(&text, hint))?;
            true
        }
        (Kind::AutoSize, Value::String(text)) if text == "auto" => true,
        (Kind::AutoSize, Value::String(_) | Value::Number(_)) => {
            let text = plain(&given);
            value::positive_size(&text).map_err(|hint| unusable(&text, hint))?;
            true
        }
        (Kind::Text | Kind::File | Kind::SecretFile, Value::String(text)) => {
            if text.is_empty() {
                return Err((
                    "is empty".into(),
                    "leave the key out, or give it a value".into(),
                ));
            }
            true
        }
        (Kind::Secret, Value::String(text)) => {
            if text.is_empty() {
                return Err((
                    "is empty".into(),
                    "make one with: openssl rand -hex 32".into(),
                ));
            }
            true
        }
        (Kind::Path, Value::String(text)) => {
            if !path(text) {
                return Err((
                    format!("'{text}' is no path of a URL"),
                    "write it as /name, without ? and #, and without / at the end".into(),
                ));
            }
            true
        }
        (Kind::Listen, Value::String(text)) => {
            return match value::listen(text) {
                Ok(address) => Ok(Value::String(address)),
                Err(hint) => Err(unusable(text, hint)),
            };
        }
        (Kind::Listen, Value::Number(number)) => {
            return judge(kind, Value::String(number.to_string()));
        }
        (Kind::Url, Value::String(text)) => {
            if !url(text) {
                return Err((
                    "is no URL".into(),
                    "write it as https://HOST[:PORT]/PATH or http://...".into(),
                ));
            }
            true
        }
        (Kind::Choice(words), Value::String(word)) => {
            one_of(word, words)?;
            true
        }
        (Kind::List(item), Value::Array(items)) => {
            for (index, given) in items.iter().enumerate() {
                self::item(item, given)
                    .map_err(|(what, hint)| (format!("entry {}: {what}", index + 1), hint))?;
            }
            true
        }
        _ => false,
    };
    if good {
        return Ok(given);
    }
    let found = if kind.is_secret() {
        kind_of(&given).to_owned()
    } else {
        shown(&given)
    };
    wrong(format!("{found} does not fit"), kind)
}

fn item(item: Item, given: &Value) -> Result<(), Wrong> {
    let Value::String(text) = given else {
        return Err(("is no text".into(), "write it in quotes".into()));
    };
    if text.is_empty() {
        return Err(("is empty".into(), "leave it out".into()));
    }
    match item {
        Item::Text | Item::Pattern => Ok(()),
        Item::Origin => Origins::same_origin()
            .also([text.as_str()])
            .map(drop)
            .map_err(|_| {
                (
                    format!("'{text}' is no origin"),
                    "write it as https://HOST[:PORT] or https://*.HOST".into(),
                )
            }),
        Item::Network => text.parse::<Network>().map(drop).map_err(|_| {
            (
                format!("'{text}' is no network"),
                "write it as 10.0.0.0/8 or fd00::/8".into(),
            )
        }),
        Item::Choice(words) => one_of(text, words),
    }
}

fn one_of(word: &str, words: &[&str]) -> Result<(), Wrong> {
    if words.contains(&word) {
        return Ok(());
    }
    let hint = match nearest(word, words.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"? It can be {}", quoted(words)),
        None => format!("it can be {}", quoted(words)),
    };
    Err((format!("'{word}' is unknown"), hint))
}

fn wrong<T>(what: String, kind: Kind) -> Result<T, Wrong> {
    Err((what, format!("it takes: {}", example(kind))))
}

fn unusable(text: &str, hint: String) -> Wrong {
    (format!("'{text}' cannot be used"), hint)
}

/// The kind, with an example where its name alone does not show how to write it.
fn example(kind: Kind) -> String {
    let words = kind.words();
    match kind {
        Kind::Time(_) => format!("{words} such as \"10s\""),
        Kind::Size(_) | Kind::AutoSize => format!("{words} such as \"64KiB\""),
        Kind::Text | Kind::File | Kind::SecretFile | Kind::Secret => format!("{words} in quotes"),
        Kind::List(_) => format!("{words} such as [\"a\", \"b\"]"),
        _ => words,
    }
}

fn plain(given: &Value) -> String {
    match given {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn shown(given: &Value) -> String {
    match given {
        Value::String(text) => format!("'{text}'"),
        Value::Bool(_) | Value::Number(_) => given.to_string(),
        _ => kind_of(given).into(),
    }
}

fn kind_of(given: &Value) -> &'static str {
    match given {
        Value::Null => "a date",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

/// A path that a route can have.
fn path(text: &str) -> bool {
    text.starts_with('/')
        && (text.len() == 1 || !text.ends_with('/'))
        && !text.contains("//")
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte))
        && !text.split('/').any(|part| part == "." || part == "..")
}

fn url(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_takes_its_own_and_refuses_the_rest() {
        const WORDS: &[&str] = &["all", "newest"];
        for (kind, good, bad) in [
            (
                Kind::Switch,
                vec![json!(true)],
                vec![json!("true"), json!(1)],
            ),
            (
                Kind::Count(1, 9),
                vec![json!(1), json!(9)],
                vec![
                    json!(0),
                    json!(10),
                    json!(-1),
                    json!(1.5),
                    json!("1"),
                    json!(true),
                ],
            ),
            (
                Kind::Unbounded,
                vec![json!(-1), json!(0), json!(9)],
                vec![json!(-2), json!(0.5), json!("1")],
            ),
            (
                Kind::Ratio,
                vec![json!(0), json!(0.5), json!(1)],
                vec![json!(1.1), json!(-0.1), json!("1")],
            ),
            (
                Kind::Time(Zero::Refused),
                vec![json!("10s"), json!(2), json!(0.5)],
                vec![
                    json!("0s"),
                    json!("10 parsecs"),
                    json!(-1),
                    json!(true),
                    json!([]),
                ],
            ),
            (Kind::Time(Zero::Allowed), vec![json!(0)], vec![json!("")]),
            (
                Kind::Size(Zero::Refused),
                vec![json!("64KiB"), json!(10)],
                vec![json!(0), json!("1XB"), json!(1.5), json!(false)],
            ),
            (
                Kind::AutoSize,
                vec![json!("auto"), json!("1GiB")],
                vec![json!("none"), json!(0)],
            ),
            (Kind::Text, vec![json!("x")], vec![json!(""), json!(1)]),
            (
                Kind::Path,
                vec![json!("/"), json!("/a/b")],
                vec![
                    json!(""),
                    json!("a"),
                    json!("/a/"),
                    json!("//"),
                    json!("/a?b"),
                    json!("/{x}"),
                    json!("/.."),
                    json!(1),
                ],
            ),
            (
                Kind::Listen,
                vec![json!("8199"), json!(8199), json!("[::1]:0")],
                vec![json!(":1"), json!("x"), json!(99999)],
            ),
            (
                Kind::Url,
                vec![json!("http://a"), json!("https://a:1/b?c")],
                vec![json!("a"), json!("ftp://a"), json!("http://")],
            ),
            (
                Kind::Secret,
                vec![json!("x")],
                vec![json!(""), json!(1), json!(["x"])],
            ),
            (
                Kind::Choice(WORDS),
                vec![json!("all")],
                vec![json!("ALL"), json!(""), json!(1)],
            ),
            (
                Kind::List(Item::Text),
                vec![json!([]), json!(["a"])],
                vec![json!("a"), json!([1]), json!([""])],
            ),
            (
                Kind::List(Item::Origin),
                vec![json!(["https://a.example"])],
                vec![json!(["a.example"])],
            ),
            (
                Kind::List(Item::Network),
                vec![json!(["10.0.0.0/8", "::1"])],
                vec![json!(["10.0.0.0/99"]), json!(["x"])],
            ),
            (
                Kind::List(Item::Choice(WORDS)),
                vec![json!(["all"])],
                vec![json!(["al"])],
            ),
        ] {
            for given in good {
                assert!(judge(kind, given.clone()).is_ok(), "{kind:?} {given}");
            }
            for given in bad.into_iter().chain([json!({}), Value::Null]) {
                let (what, hint) =
                    judge(kind, given.clone()).expect_err(&format!("{kind:?} {given}"));
                assert!(!what.is_empty() && !hint.is_empty(), "{kind:?} {given}");
            }
        }
    }

    #[test]
    fn text_is_read_as_its_kind() {
        for (kind, given, expected) in [
            (Kind::Switch, "true", json!(true)),
            (Kind::Switch, "0", json!(false)),
            (Kind::Count(0, 9_999), "1_000", json!(1000)),
            (Kind::Ratio, "0.5", json!(0.5)),
            (Kind::List(Item::Text), "a, b,,c", json!(["a", "b", "c"])),
            (Kind::List(Item::Text), "", json!([])),
            (Kind::Time(Zero::Refused), "10s", json!("10s")),
            (Kind::Listen, "9000", json!("127.0.0.1:9000")),
        ] {
            assert_eq!(text(kind, given), Ok(expected), "{given}");
        }
        assert!(text(Kind::Switch, "yes").is_err() && text(Kind::Count(0, 1), "x").is_err());
    }

    #[test]
    fn a_secret_of_the_wrong_kind_is_not_shown() {
        let (what, hint) = judge(Kind::Secret, json!(12_345)).unwrap_err();
        assert!(
            !what.contains("12345") && !hint.contains("12345"),
            "{what} {hint}"
        );
    }
}
