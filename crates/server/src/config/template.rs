//! What is written from the table of keys: the file of `config init`, and the tables of docs/configuration.md.

use std::fmt::Write as _;

use crate::config::{
    key::{Item, Key, Kind},
    schema::SECTIONS,
};

/// A complete file: every key with its words, commented out with its default. `values` are set in it.
pub(crate) fn file(values: &[(&str, &str)]) -> String {
    let mut out = String::from(
        "# Configuration of `antiphon serve`. Every key is here, with its default.\n\
         # Remove the # before a key to set it; then: antiphon config check FILE\n\
         #\n\
         # Times: \"10s\", \"250ms\", \"2m\", \"1h\". Sizes: 65536, \"64KiB\", \"1MiB\".\n\
         # Every key can also be set in the environment: ANTIPHON_SERVER__LISTEN=0.0.0.0:8199 is server.listen.\n",
    );
    for section in SECTIONS {
        out.push('\n');
        comment(&mut out, section.about);
        match section.path.strip_suffix("[]") {
            // A table of a list would be one more entry; it only begins where somebody wants one.
            Some(path) => {
                let _ = writeln!(out, "#[[{path}]]");
            }
            None => {
                let _ = writeln!(out, "[{}]", section.path);
            }
        }
        for key in section.keys {
            if matches!(key.kind, Kind::Table | Kind::Tables) {
                continue;
            }
            out.push('\n');
            comment(&mut out, key.about);
            let set = values.iter().find(|(path, _)| *path == key.path);
            let _ = match set {
                Some((_, value)) => writeln!(out, "{} = {value}", key.name()),
                None if key.default.is_empty() => {
                    writeln!(out, "#{} = {}", key.name(), example(key))
                }
                None => writeln!(out, "#{} = {}", key.name(), key.default),
            };
        }
    }
    out
}

fn comment(out: &mut String, text: &str) {
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let _ = writeln!(out, "# {line}");
    }
}

/// How a key without a default may look.
fn example(key: &Key) -> &'static str {
    match key.kind {
        Kind::Switch => "true",
        Kind::Count(..) | Kind::Unbounded | Kind::Ratio => "1",
        Kind::Time(_) => "\"10s\"",
        Kind::Size(_) | Kind::AutoSize => "\"1MiB\"",
        Kind::Text | Kind::Secret => "\"...\"",
        Kind::Path => "\"/path\"",
        Kind::File => "\"path/to/file\"",
        Kind::SecretFile => "\"path/to/secret\"",
        Kind::Listen => "\"127.0.0.1:8190\"",
        Kind::Url => "\"https://app.example/path\"",
        Kind::List(Item::Origin) => "[\"https://app.example\"]",
        Kind::List(Item::Network) => "[\"10.0.0.0/8\"]",
        Kind::List(_) => "[\"...\"]",
        Kind::Choice(["disconnect", ..]) => "\"drop\"",
        Kind::Choice(_) => "\"...\"",
        Kind::Table | Kind::Tables => "",
    }
}

/// Around the tables of docs/configuration.md.
#[cfg(test)]
pub(crate) const MARKS: (&str, &str) = (
    "<!-- keys: made by `antiphon config`; a test keeps them true -->",
    "<!-- end of keys -->",
);

/// The tables of docs/configuration.md.
#[cfg(test)]
pub(crate) fn page() -> String {
    let mut out = String::new();
    for section in SECTIONS {
        let title = match section.path.strip_suffix("[]") {
            Some(path) => format!("[[{path}]]"),
            None => format!("[{}]", section.path),
        };
        let _ = writeln!(out, "\n### `{title}`\n\n{}\n", about(section));
        out.push_str("| key | takes | default | what it is | reload |\n|---|---|---|---|---|\n");
        for key in section.keys {
            if matches!(key.kind, Kind::Table | Kind::Tables) {
                continue;
            }
            let default = match key.default {
                "" => "none".to_owned(),
                default => format!("`{default}`"),
            };
            let _ = writeln!(
                out,
                "| `{}` | {} | {default} | {} | {} |",
                key.name(),
                cell(&key.kind.words()),
                cell(&key.line()),
                if key.live { "yes" } else { "restart" }
            );
        }
    }
    out
}

#[cfg(test)]
fn about(section: &crate::config::schema::Section) -> String {
    section
        .about
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
