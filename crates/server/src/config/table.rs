//! Looks keys up in the table of all sections.

use crate::config::{
    key::Key,
    schema::{SECTIONS, Section},
};

/// Every key, in reading order.
pub(crate) fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// The key at `path`, where `[]` stands for each table of a list.
pub(crate) fn key(path: &str) -> Option<&'static Key> {
    keys().find(|key| key.path == path)
}

/// Whether there are keys below `path`.
pub(crate) fn is_section(path: &str) -> bool {
    SECTIONS.iter().any(|section| {
        section
            .path
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// Whether `path` is a list of tables.
pub(crate) fn is_list(path: &str) -> bool {
    section(path, "[]").is_some()
}

/// The section that is called `path` with this at its end.
pub(crate) fn section(path: &str, end: &str) -> Option<&'static Section> {
    SECTIONS
        .iter()
        .find(|section| section.path.strip_suffix(end) == Some(path))
}

/// The names that may stand in a section: its keys, and the sections below it.
pub(crate) fn names(path: &str) -> Vec<&'static str> {
    let mut names: Vec<_> = keys()
        .filter(|key| key.section() == path)
        .map(Key::name)
        .collect();
    for section in SECTIONS {
        let below = if path.is_empty() {
            Some(section.path)
        } else {
            section
                .path
                .strip_prefix(path)
                .and_then(|rest| rest.strip_prefix('.'))
        };
        if let Some(below) = below {
            let name = below.split('.').next().unwrap_or(below);
            let name = name.trim_end_matches("[]");
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}
