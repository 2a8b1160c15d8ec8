//! No circle between the rooms of a crate, and no import through the crate root.

use std::collections::{BTreeMap, BTreeSet};

use super::{Broken, File, broken, rust};
use crate::source;

/// Checks every crate of the house.
pub(super) fn check(files: &[File]) -> Vec<Broken> {
    let mut crates: BTreeMap<&str, Vec<&File>> = BTreeMap::new();
    for file in rust(files) {
        if let Some((folder, _)) = file.path.split_once("/src/") {
            crates.entry(folder).or_default().push(file);
        }
    }
    crates.values().flat_map(|files| one_crate(files)).collect()
}

/// An import: from which room to which, and on which line.
type Edges = BTreeMap<String, BTreeMap<String, usize>>;

fn one_crate(files: &[&File]) -> Vec<Broken> {
    let rooms: BTreeMap<String, &File> =
        files.iter().map(|file| (room(&file.path), *file)).collect();
    let mut found = Vec::new();
    let mut edges = Edges::new();
    for (name, file) in &rooms {
        // The page that lists the rooms re-exports from all of them; it is no corridor and nobody imports from it.
        if name.is_empty() {
            continue;
        }
        for (line, path) in imports(&file.text) {
            let Some(target) = resolve(name, &path) else {
                continue;
            };
            match longest(&rooms, &target) {
                Some(room) if room == *name => {}
                Some(room) => {
                    edges
                        .entry(name.clone())
                        .or_default()
                        .entry(room)
                        .or_insert(line);
                }
                None => {
                    let text = path.join("::");
                    found.push(broken(file, line, format!("{text}: import from the room where a thing lives, not through the crate root")));
                }
            }
        }
    }
    for circle in circles(&edges) {
        let (from, to) = (&circle[0], &circle[1 % circle.len()]);
        let line = edges[from][to];
        let text = circle
            .iter()
            .chain([from])
            .cloned()
            .collect::<Vec<_>>()
            .join(" -> ");
        found.push(broken(
            rooms[from],
            line,
            format!("circle of rooms: {text}; arrows only point downwards"),
        ));
    }
    found
}

/// `crates/x/src/a/b.rs` is the room `a::b`; `lib.rs` and `main.rs` are the root, the empty name.
fn room(path: &str) -> String {
    let inside = path.split_once("/src/").map_or(path, |(_, inside)| inside);
    let inside = inside.trim_end_matches(".rs").trim_end_matches("/mod");
    if inside == "lib" || inside == "main" {
        String::new()
    } else {
        inside.replace('/', "::")
    }
}

/// Paths that start with `crate` or `super` in the code that is no test, with the line each statement starts on.
fn imports(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let (mut statement, mut start) = (String::new(), 1);
    for (index, line) in source::lines(text).iter().enumerate() {
        if line.test {
            break;
        }
        if statement.is_empty() {
            start = index + 1;
        }
        statement.push_str(&line.code);
        statement.push(' ');
        let is_open_import = statement
            .trim_start()
            .trim_start_matches("pub ")
            .starts_with("use ")
            && !statement.contains(';');
        if !is_open_import {
            found.extend(
                source::paths(&statement)
                    .into_iter()
                    .map(|path| (start, path)),
            );
            statement.clear();
        }
    }
    found
}

/// The absolute path of an import, without `crate`. None: it climbs above the root.
fn resolve(room: &str, path: &[String]) -> Option<Vec<String>> {
    let mut base: Vec<String> = room.split("::").map(str::to_owned).collect();
    let mut rest = path;
    if rest[0] == "crate" {
        base.clear();
        rest = &rest[1..];
    }
    while rest.first().is_some_and(|part| part == "super") {
        base.pop()?;
        rest = &rest[1..];
    }
    base.extend(rest.iter().cloned());
    Some(base)
}

/// The room that holds the thing: the longest beginning of the path that is a file.
fn longest(rooms: &BTreeMap<String, &File>, path: &[String]) -> Option<String> {
    (1..=path.len())
        .rev()
        .map(|length| path[..length].join("::"))
        .find(|name| rooms.contains_key(name))
}

/// Each strongly connected group of rooms gives one circle, as a list of rooms in import order.
fn circles(edges: &Edges) -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = Vec::new();
    let mut told = BTreeSet::new();
    for start in edges.keys() {
        if told.contains(start) {
            continue;
        }
        if let Some(circle) = way_back(edges, start) {
            told.extend(circle.iter().cloned());
            found.push(circle);
        }
    }
    found
}

/// The shortest way from a room back to itself.
fn way_back(edges: &Edges, start: &String) -> Option<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut ways = std::collections::VecDeque::from([vec![start.clone()]]);
    while let Some(way) = ways.pop_front() {
        for next in edges.get(way.last()?).into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                return Some(way);
            }
            if seen.insert(next.clone()) {
                let mut longer = way.clone();
                longer.push(next.clone());
                ways.push_back(longer);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<File> = files
            .iter()
            .map(|(name, text)| File {
                path: format!("crates/x/src/{name}"),
                text: (*text).to_owned(),
            })
            .collect();
        check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn arrows_downwards_are_fine() {
        assert!(
            found(&[
                ("lib.rs", "pub mod a;\npub use crate::a::A;"),
                ("a.rs", "use crate::b::B;"),
                ("b.rs", "")
            ])
            .is_empty()
        );
        assert!(
            found(&[
                ("a.rs", "use crate::a::c::C;"),
                ("a/c.rs", "use crate::b::B;"),
                ("b.rs", "")
            ])
            .is_empty()
        );
        assert!(
            found(&[
                ("a.rs", "use crate::b::B;"),
                ("b.rs", "#[cfg(test)]\nmod tests {\n use crate::a::A;\n}")
            ])
            .is_empty()
        );
        assert!(
            found(&[
                ("a.rs", "use crate::b::B;"),
                ("b.rs", "// use crate::a::A;")
            ])
            .is_empty()
        );
    }

    #[test]
    fn a_circle_is_named_with_its_way() {
        let circle = found(&[
            ("a.rs", "\nuse crate::b::B;"),
            ("b.rs", "use super::c::{\n  C,\n};"),
            ("c.rs", "fn f() { crate::a::g() }"),
        ]);
        assert_eq!(
            circle,
            ["crates/x/src/a.rs:2: circle of rooms: a -> b -> c -> a; arrows only point downwards"]
        );
    }

    #[test]
    fn a_child_that_calls_its_parent_back_is_a_circle() {
        assert_eq!(
            found(&[("a.rs", "use crate::a::c::C;"), ("a/c.rs", "use super::A;")]).len(),
            1
        );
    }

    #[test]
    fn the_root_is_no_corridor() {
        let corridor = found(&[("a.rs", "use crate::Thing;"), ("lib.rs", "")]);
        assert_eq!(
            corridor,
            [
                "crates/x/src/a.rs:1: crate::Thing: import from the room where a thing lives, not through the crate root"
            ]
        );
    }
}
