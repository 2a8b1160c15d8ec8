//! Reads a TOML file: every value with its place, and everything that is wrong with it at once.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use crate::config::{
    judge,
    key::{Key, Kind},
    problem::{Place, Problem, nearest},
    table,
};

/// A value that somebody has set.
#[derive(Clone, PartialEq)]
pub(crate) struct Leaf {
    /// The value as the schema reads it. It may be a secret.
    pub(crate) value: Value,
    /// Where it was set.
    pub(crate) place: Place,
}

/// What a source says.
#[derive(Clone, Default)]
pub(crate) struct Said {
    /// By key; a list of tables is one value.
    pub(crate) leaves: BTreeMap<String, Leaf>,
    /// Places inside of lists of tables: `tags[0].pattern`.
    pub(crate) places: BTreeMap<String, Place>,
}

/// Reads the text of a file that is called `name`.
pub(crate) fn read(name: &str, text: &str, problems: &mut Vec<Problem>) -> Said {
    read_below("", name, text, problems)
}

/// The same for a file that holds the table at `prefix`.
pub(crate) fn read_below(
    prefix: &str,
    name: &str,
    text: &str,
    problems: &mut Vec<Problem>,
) -> Said {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader {
        name,
        lines: Lines::new(text),
        said: Said::default(),
        problems,
    };
    for error in &errors {
        let place = error.span().map(|span| reader.place(span.start));
        // The words are the parser's own; the text of the file, which may be a secret, is not among them.
        let what = format!("not TOML: {}", error.message().replace('\n', ", "));
        let hint = "see https://toml.io for how it is written";
        reader.problems.push(Problem::new("", place, what, hint));
    }
    // After an error of the parser the rest is a guess, and what is reported about it would mislead.
    if errors.is_empty() {
        reader.table(root.get_ref(), prefix, prefix, None);
    }
    reader.said
}

struct Reader<'a> {
    name: &'a str,
    lines: Lines,
    said: Said,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn place(&self, offset: usize) -> Place {
        let (line, column) = self.lines.at(offset);
        Place::File(self.name.to_owned(), line, column)
    }

    /// Reads a table. `pattern` names it in the table of keys, `path` for people; inside of a list of tables the values
    /// go to `object`.
    fn table(
        &mut self,
        table: &DeTable<'_>,
        pattern: &str,
        path: &str,
        mut object: Option<&mut Map<String, Value>>,
    ) {
        for (name, given) in table {
            let place = self.place(name.span().start);
            let (pattern, path) = (join(pattern, name.get_ref()), join(path, name.get_ref()));
            let value = given.get_ref();
            if let Some(key) = table::key(&pattern).filter(|key| !nested(key)) {
                if let Some(value) = self.value(key, value, &path, &place) {
                    match object.as_deref_mut() {
                        Some(object) => {
                            self.said.places.insert(path, place);
                            object.insert(key.name().to_owned(), value);
                        }
                        None => {
                            self.said.leaves.insert(path, Leaf { value, place });
                        }
                    }
                }
            } else if table::is_list(&pattern) {
                let list = self.list(value, &pattern, &path, &place);
                if let Some(value) = list {
                    self.said.leaves.insert(path, Leaf { value, place });
                }
            } else if table::is_section(&pattern) {
                match value {
                    DeValue::Table(table) => {
                        self.table(table, &pattern, &path, object.as_deref_mut());
                    }
                    other => self.problems.push(Problem::new(
                        path.clone(),
                        Some(place),
                        format!("is a section, not {}", type_of(other)),
                        format!("write [{path}] and its keys below"),
                    )),
                }
            } else {
                self.problems.push(unknown(&pattern, &path, place));
            }
        }
    }

    fn value(
        &mut self,
        key: &Key,
        given: &DeValue<'_>,
        path: &str,
        place: &Place,
    ) -> Option<Value> {
        match judge::judge(key.kind, json(given)) {
            Ok(value) => Some(value),
            Err((what, hint)) => {
                self.problems
                    .push(Problem::new(path, Some(place.clone()), what, hint));
                None
            }
        }
    }

    fn list(
        &mut self,
        given: &DeValue<'_>,
        pattern: &str,
        path: &str,
        place: &Place,
    ) -> Option<Value> {
        let DeValue::Array(items) = given else {
            self.problems.push(Problem::new(
                path,
                Some(place.clone()),
                format!("is a list of tables, not {}", type_of(given)),
                format!("write [[{path}]] and its keys below"),
            ));
            return None;
        };
        let mut list = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let place = self.place(item.span().start);
            match item.get_ref() {
                DeValue::Table(table) => {
                    let mut object = Map::new();
                    self.said.places.insert(path.clone(), place);
                    self.table(table, &format!("{pattern}[]"), &path, Some(&mut object));
                    list.push(Value::Object(object));
                }
                other => self.problems.push(Problem::new(
                    path,
                    Some(place),
                    format!("is a table, not {}", type_of(other)),
                    "write its keys between { and }",
                )),
            }
        }
        Some(Value::Array(list))
    }
}

/// A key whose own rows say what it holds.
fn nested(key: &Key) -> bool {
    matches!(key.kind, Kind::Table | Kind::Tables)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// A key that nobody knows, with the one that may be meant.
pub(crate) fn unknown(pattern: &str, path: &str, place: Place) -> Problem {
    let (section, name) = pattern.rsplit_once('.').unwrap_or(("", pattern));
    let known = table::names(section);
    let full = |name: &str| {
        join(
            path.rsplit_once('.').map_or("", |(section, _)| section),
            name,
        )
    };
    let elsewhere = || {
        let same = |key: &&Key| key.name() == name && !key.path.contains('[');
        let keys: Vec<_> = table::keys().filter(same).map(|key| key.path).collect();
        (!keys.is_empty()).then(|| keys.join(" or "))
    };
    let hint = if let Some(near) = nearest(name, known.iter().copied()) {
        format!("did you mean {}?", full(near))
    } else if let Some(keys) = elsewhere() {
        format!("did you mean {keys}?")
    } else if known.is_empty() {
        "see: antiphon config print --defaults".into()
    } else {
        format!("there are: {}", known.join(", "))
    };
    let what = if section.is_empty() {
        "unknown section"
    } else {
        "unknown key"
    };
    Problem::new(path, Some(place), what, hint)
}

fn json(given: &DeValue<'_>) -> Value {
    match given {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            let parsed = i128::from_str_radix(&digits, number.radix()).ok();
            match parsed {
                Some(number) => match (u64::try_from(number), i64::try_from(number)) {
                    (Ok(number), _) => number.into(),
                    (_, Ok(number)) => number.into(),
                    // Beyond every bound: as a fraction it is refused as what it is.
                    _ => (number as f64).into(),
                },
                None => Value::Null,
            }
        }
        DeValue::Float(number) => number
            .as_str()
            .replace('_', "")
            .parse::<f64>()
            .map_or(Value::Null, Value::from),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(_) => Value::Null,
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(_) => Value::Object(Map::new()),
    }
}

fn type_of(given: &DeValue<'_>) -> &'static str {
    match given {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Where lines begin.
struct Lines {
    text: String,
    starts: Vec<usize>,
}

impl Lines {
    fn new(text: &str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            text: text.to_owned(),
            starts: [0].into_iter().chain(ends).collect(),
        }
    }

    /// Line and column of a byte, from 1; columns count characters.
    fn at(&self, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts[line - 1];
        let column = self
            .text
            .get(start..offset)
            .map_or(1, |before| before.chars().count() + 1);
        (line, column)
    }
}
