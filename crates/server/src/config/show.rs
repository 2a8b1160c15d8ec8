//! The configuration that is in force, for people and for programs: each value with where it was set, no secrets.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::config::{
    file::Leaf,
    key::{Key, Kind},
    load::default,
    schema::SECTIONS,
    table,
};

/// What stands for a secret.
const HIDDEN: &str = "***";

/// As TOML. What is not a default has its source behind it.
pub(crate) fn toml(said: &BTreeMap<String, Leaf>) -> String {
    let mut out = String::new();
    for section in SECTIONS {
        if let Some(path) = section.path.strip_suffix("[]") {
            tables(&mut out, path, said);
            continue;
        }
        let _ = writeln!(
            out,
            "{}[{}]",
            if out.is_empty() { "" } else { "\n" },
            section.path
        );
        for key in section.keys {
            line(&mut out, key, said.get(key.path));
        }
    }
    out
}

fn line(out: &mut String, key: &Key, leaf: Option<&Leaf>) {
    if matches!(key.kind, Kind::Table | Kind::Tables) {
        return;
    }
    let _ = match leaf {
        Some(leaf) => writeln!(
            out,
            "{} = {} # {}",
            key.name(),
            written(&hidden(key.kind, &leaf.value)),
            leaf.place
        ),
        None if key.default.is_empty() => writeln!(out, "# {} is not set", key.name()),
        None => writeln!(out, "{} = {}", key.name(), key.default),
    };
}

fn tables(out: &mut String, path: &str, said: &BTreeMap<String, Leaf>) {
    let Some(leaf) = said.get(path) else { return };
    for item in leaf.value.as_array().into_iter().flatten() {
        let _ = writeln!(out, "\n[[{path}]] # {}", leaf.place);
        for (name, value) in item.as_object().into_iter().flatten() {
            let kind = table::key(&format!("{path}[].{name}")).map(|key| key.kind);
            let value = hidden(kind.unwrap_or(Kind::Secret), value);
            let _ = writeln!(out, "{name} = {}", written(&value));
        }
    }
}

/// As JSON: the values, and where those were set that are not defaults.
pub(crate) fn json(said: &BTreeMap<String, Leaf>) -> Value {
    let (mut values, mut sources) = (Map::new(), Map::new());
    for key in table::keys().filter(|key| !key.path.contains("[]")) {
        if matches!(key.kind, Kind::Table | Kind::Tables) {
            continue;
        }
        let value = match said.get(key.path) {
            Some(leaf) => {
                sources.insert(key.path.into(), leaf.place.to_string().into());
                hidden(key.kind, &leaf.value)
            }
            None => default(key),
        };
        values.insert(key.path.into(), value);
    }
    for section in SECTIONS {
        let Some(path) = section.path.strip_suffix("[]") else {
            continue;
        };
        let list = match said.get(path) {
            Some(leaf) => {
                sources.insert(path.into(), leaf.place.to_string().into());
                let items = leaf.value.as_array().into_iter().flatten();
                items
                    .map(|item| hidden_table(path, item))
                    .collect::<Vec<_>>()
            }
            None => Vec::new(),
        };
        values.insert(path.into(), list.into());
    }
    json!({ "values": values, "sources": sources })
}

/// A key as the admin page lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    /// Its path.
    pub(crate) key: String,
    /// Its value as TOML writes it; `None` where it is not set and has no default.
    pub(crate) value: Option<String>,
    /// Where it was set; `None` for a default.
    pub(crate) source: Option<String>,
    /// The value is not shown.
    pub(crate) secret: bool,
    /// What it is for.
    pub(crate) about: String,
}

/// As rows: every key, and each table of a list.
pub(crate) fn rows(said: &BTreeMap<String, Leaf>) -> Vec<Row> {
    let mut rows = Vec::new();
    for section in SECTIONS {
        if let Some(path) = section.path.strip_suffix("[]") {
            let leaf = said.get(path);
            let items = leaf.and_then(|leaf| leaf.value.as_array());
            for (index, item) in items.into_iter().flatten().enumerate() {
                let item = hidden_table(path, item);
                for (name, value) in item.as_object().into_iter().flatten() {
                    let key = table::key(&format!("{path}[].{name}"));
                    rows.push(Row {
                        key: format!("{path}[{index}].{name}"),
                        value: Some(written(value)),
                        source: leaf.map(|leaf| leaf.place.to_string()),
                        secret: key.is_none_or(|key| key.kind.is_secret()),
                        about: key.map(|key| key.line()).unwrap_or_default(),
                    });
                }
            }
            continue;
        }
        for key in section.keys {
            if matches!(key.kind, Kind::Table | Kind::Tables) {
                continue;
            }
            let leaf = said.get(key.path);
            let default = Some(key.default).filter(|default| !default.is_empty());
            rows.push(Row {
                key: key.path.to_owned(),
                value: match leaf {
                    Some(leaf) => Some(written(&hidden(key.kind, &leaf.value))),
                    None => default.map(str::to_owned),
                },
                source: leaf.map(|leaf| leaf.place.to_string()),
                secret: key.kind.is_secret(),
                about: key.line(),
            });
        }
    }
    rows
}

fn hidden_table(path: &str, item: &Value) -> Value {
    let entries = item.as_object().into_iter().flatten().map(|(name, value)| {
        let kind = table::key(&format!("{path}[].{name}")).map(|key| key.kind);
        (name.clone(), hidden(kind.unwrap_or(Kind::Secret), value))
    });
    Value::Object(entries.collect())
}

/// The value without what must not be seen.
fn hidden(kind: Kind, value: &Value) -> Value {
    match (kind, value) {
        (Kind::Secret, _) => HIDDEN.into(),
        (Kind::Url, Value::String(url)) => without_password(url).into(),
        _ => value.clone(),
    }
}

/// A URL may carry a name and a password, and often a key in its query.
fn without_password(url: &str) -> String {
    let (url, query) = match url.split_once('?') {
        Some((url, _)) => (url, "?***"),
        None => (url, ""),
    };
    let Some((scheme, rest)) = url.split_once("://") else {
        return HIDDEN.into();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{path}{query}"),
        None => format!("{scheme}://{authority}{path}{query}"),
    }
}

/// A value as TOML writes it.
pub(crate) fn written(value: &Value) -> String {
    toml::Value::try_from(value).map_or_else(|_| "\"\"".into(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_what_is_secret_in_it() {
        for (url, expected) in [
            ("https://a.example/x", "https://a.example/x"),
            (
                "https://me:canary@a.example/x?key=canary",
                "https://***@a.example/x?***",
            ),
            ("http://a.example", "http://a.example"),
            ("canary", "***"),
        ] {
            assert_eq!(without_password(url), expected);
        }
    }
}
