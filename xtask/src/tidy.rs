//! The house rules: each broken one is named with its place and a sentence that tells the rule.

mod circles;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::source;

/// A file of the tree: its path from the root, with `/`, and its text.
pub(crate) struct File {
    /// The path from the root.
    pub(crate) path: String,
    /// The whole text.
    pub(crate) text: String,
}

/// A broken rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// The file.
    pub(crate) path: String,
    /// The line, from 1.
    pub(crate) line: usize,
    /// A sentence that tells the rule.
    pub(crate) rule: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.rule)
    }
}

type Rule = fn(&[File]) -> Vec<Broken>;

/// Every rule with its name.
const RULES: &[(&str, Rule)] = &[
    ("import walls between crates", walls),
    ("no circle between rooms", circles::check),
    ("first line of every file", first_lines),
    ("size of rooms", sizes),
    ("nothing left for later", leftovers),
    ("no machine in the tree", machines),
    ("few features", features),
    ("a core without I/O and clock", pure_core),
];

/// Lines of code that a room may have before it must explain itself.
const MAX_LINES: usize = 700;

/// `feature =` in a thousand lines of code.
const MAX_FEATURES: usize = 2;

/// Which workspace crates each crate may depend on.
const WALLS: &[(&str, &[&str])] = &[
    ("crates/proto", &[]),
    ("crates/antiphon", &["antiphon-proto"]),
    ("crates/hub", &["antiphon", "antiphon-proto"]),
    (
        "crates/server",
        &["antiphon-hub", "antiphon", "antiphon-proto"],
    ),
    ("measure", &["antiphon-hub", "antiphon", "antiphon-proto"]),
    ("xtask", &[]),
];

const HOUSE: &[&str] = &[
    "antiphon-proto",
    "antiphon",
    "antiphon-hub",
    "antiphon-server",
];

/// Directories that hold nothing of ours.
const FOREIGN: &[&str] = &[
    "target",
    "node_modules",
    "dist",
    "coverage",
    ".git",
    "__pycache__",
    "corpus",
    "artifacts",
];

/// Runs all rules and prints what is broken.
pub(crate) fn run(root: &Path) -> ExitCode {
    let files = match read(root) {
        Ok(files) => files,
        Err(error) => {
            eprintln!("xtask: error: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let (mut passed, mut failed) = (0, 0);
    for (name, rule) in RULES {
        let broken = rule(&files);
        for broken in &broken {
            println!("{broken}");
        }
        println!("{} {name}", if broken.is_empty() { "ok" } else { "not ok" });
        if broken.is_empty() {
            passed += 1
        } else {
            failed += 1
        }
    }
    println!(
        "{passed} rules kept, {failed} broken, {} files read",
        files.len()
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Reads the text files of the tree.
fn read(root: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            if kind.is_dir() && !FOREIGN.contains(&name.as_str()) {
                folders.push(entry.path());
            } else if kind.is_file()
                && name != ".git"
                && let Ok(text) = fs::read_to_string(entry.path())
            {
                let path = entry
                    .path()
                    .strip_prefix(root)?
                    .to_string_lossy()
                    .into_owned();
                files.push(File { path, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn rust(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.path.ends_with(".rs"))
}

fn broken(file: &File, line: usize, rule: impl Into<String>) -> Broken {
    Broken {
        path: file.path.clone(),
        line,
        rule: rule.into(),
    }
}

/// A crate may use the crates below it, and nothing else of the house.
fn walls(files: &[File]) -> Vec<Broken> {
    let mut found = Vec::new();
    for (folder, allowed) in WALLS {
        let manifest = format!("{folder}/Cargo.toml");
        let Some(file) = files.iter().find(|file| file.path == manifest) else {
            continue;
        };
        let mut section = "";
        for (index, line) in file.text.lines().enumerate() {
            if line.starts_with('[') {
                section = line;
            }
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            if section.contains("dependencies") && HOUSE.contains(&name) && !allowed.contains(&name)
            {
                found.push(broken(
                    file,
                    index + 1,
                    format!("{folder} must not depend on {name}: arrows only point downwards"),
                ));
            }
        }
    }
    found
}

/// Every file opens with a line that says what the room is for.
fn first_lines(files: &[File]) -> Vec<Broken> {
    let mut found = Vec::new();
    for file in files {
        let mut lines = file.text.lines();
        let mut first = lines.next().unwrap_or_default();
        if first.starts_with("#!/")
            || first.starts_with("<!DOCTYPE")
            || first.starts_with("<!doctype")
        {
            first = lines.next().unwrap_or_default();
        }
        let extension = file.path.rsplit('.').next().unwrap_or_default();
        let (good, wanted) = match extension {
            "rs" => (first.starts_with("//! "), "`//! `"),
            "py" => (
                first.starts_with("\"\"\"") || first.starts_with("# "),
                "`\"\"\"` or `# `",
            ),
            "ts" | "mjs" | "js" => (first.starts_with("//") || first.starts_with("/*"), "`// `"),
            "go" => (first.starts_with("// ") || first.starts_with("/*"), "`// `"),
            "sh" => (first.starts_with("# "), "`# `"),
            _ => continue,
        };
        if !good {
            found.push(broken(
                file,
                1,
                format!("a file opens with a line that says what it is for ({wanted})"),
            ));
        }
    }
    found
}

/// A long room explains itself at its top.
fn sizes(files: &[File]) -> Vec<Broken> {
    let mut found = Vec::new();
    for file in rust(files) {
        let lines = source::lines(&file.text);
        let code = lines
            .iter()
            .filter(|line| !line.test && !line.code.trim().is_empty())
            .count();
        let explained = file
            .text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .any(|line| line.contains("long because"));
        if code > MAX_LINES && !explained {
            found.push(broken(
                file,
                1,
                format!("{code} lines of code: a room above {MAX_LINES} lines says at its top that it is `long because ...`"),
            ));
        }
    }
    found
}

/// Nothing is left for later, and no debugging stays behind.
fn leftovers(files: &[File]) -> Vec<Broken> {
    // Written in two halves so that this file keeps its own rule.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let macros = [
        concat!("to", "do!"),
        concat!("db", "g!"),
        concat!("unimple", "mented!"),
    ];
    let mut found = Vec::new();
    for file in files {
        let extension = file.path.rsplit('.').next().unwrap_or_default();
        if ![
            "rs", "toml", "py", "go", "mjs", "js", "ts", "sh", "css", "html",
        ]
        .contains(&extension)
        {
            continue;
        }
        for (index, line) in file.text.lines().enumerate() {
            for word in words {
                if line
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .any(|part| part == word)
                {
                    found.push(broken(
                        file,
                        index + 1,
                        format!("{word}: what is not done is not in the tree"),
                    ));
                }
            }
        }
        if extension == "rs" {
            for (index, line) in source::lines(&file.text).iter().enumerate() {
                for name in macros {
                    if line.code.contains(name) {
                        found.push(broken(
                            file,
                            index + 1,
                            format!("{name} does not stay in the tree"),
                        ));
                    }
                }
            }
        }
    }
    found
}

/// The tree names no machine: no absolute path of a developer, no registry's host.
fn machines(files: &[File]) -> Vec<Broken> {
    // Written in two halves so that this file keeps its own rule.
    let words = [
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/wo", "rk/"),
        concat!("arti", "factory"),
        concat!("registry.", "npmjs"),
        concat!("index.", "crates.io"),
        concat!("py", "pi.org"),
        concat!("pythonho", "sted.org"),
        concat!("proxy.", "golang.org"),
    ];
    let mut found = Vec::new();
    for file in files {
        for (index, line) in file.text.lines().enumerate() {
            for word in words {
                let named = line.match_indices(word).any(|(at, _)| {
                    !word.starts_with('/')
                        || !line[..at]
                            .ends_with(|c: char| c.is_alphanumeric() || "._-~}*".contains(c))
                });
                if named {
                    found.push(broken(
                        file,
                        index + 1,
                        format!("{word}: the tree names no machine and no registry"),
                    ));
                }
            }
        }
    }
    found
}

/// Few features: fewer than two mentions in a thousand lines of code.
fn features(files: &[File]) -> Vec<Broken> {
    let mut found = Vec::new();
    for (folder, _) in WALLS {
        let (mut lines, mut mentions, mut first) = (0, 0, None);
        for file in rust(files).filter(|file| file.path.starts_with(&format!("{folder}/src/"))) {
            for (index, line) in source::lines(&file.text).iter().enumerate() {
                lines += usize::from(!line.code.trim().is_empty());
                if line.code.contains("feature =") {
                    mentions += 1;
                    first.get_or_insert((file, index + 1));
                }
            }
        }
        if let Some((file, line)) = first
            && mentions * 1000 >= MAX_FEATURES * lines
        {
            found.push(broken(
                file,
                line,
                format!("{folder} mentions features {mentions} times in {lines} lines: fewer than {MAX_FEATURES} in 1,000 are allowed"),
            ));
        }
    }
    found
}

/// The protocol core knows no socket, clock, thread or runtime.
fn pure_core(files: &[File]) -> Vec<Broken> {
    const BANNED: &[&str] = &[
        "std::net",
        "std::fs",
        "std::thread",
        "std::io::Read",
        "std::io::Write",
        "std::os",
        "Instant::now",
        "SystemTime::now",
        "tokio",
    ];
    let mut found = Vec::new();
    for file in rust(files).filter(|file| file.path.starts_with("crates/proto/src/")) {
        for (index, line) in source::lines(&file.text)
            .iter()
            .enumerate()
            .filter(|(_, line)| !line.test)
        {
            let grouped = line.code.contains("use std::io::{")
                && (line.code.contains("Read") || line.code.contains("Write"));
            for word in BANNED.iter().filter(|word| line.code.contains(**word)) {
                found.push(broken(
                    file,
                    index + 1,
                    format!("{word}: the core does no I/O and reads no clock; time is an argument"),
                ));
            }
            if grouped {
                found.push(broken(
                    file,
                    index + 1,
                    "std::io::{Read, Write}: the core does no I/O",
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: Rule, path: &str, text: &str) -> Vec<usize> {
        rule(&[File {
            path: path.to_owned(),
            text: text.to_owned(),
        }])
        .into_iter()
        .map(|broken| broken.line)
        .collect()
    }

    #[test]
    fn each_rule_keeps_its_rows() {
        let long = format!("//! Room.\n{}", "fn a() {}\n".repeat(701));
        let explained = format!(
            "//! Room, long because it holds a table.\n{}",
            "fn a() {}\n".repeat(701)
        );
        let tested = format!(
            "//! Room.\n#[cfg(test)]\nmod tests {{\n{}}}\n",
            "fn a() {}\n".repeat(701)
        );
        let later = format!("//! Room.\n// {}: more\n", concat!("TO", "DO"));
        let debug = format!("//! Room.\nfn a() {{ {}(1); }}\n", concat!("db", "g!"));
        let home = format!("see {}user/x", concat!("/ho", "me/"));
        let rows: &[(Rule, &str, &str, &[usize])] = &[
            (
                walls,
                "crates/proto/Cargo.toml",
                "[dependencies]\nantiphon.workspace = true\n",
                &[2],
            ),
            (
                walls,
                "crates/antiphon/Cargo.toml",
                "[dependencies]\nantiphon-proto.workspace = true\n",
                &[],
            ),
            (
                walls,
                "crates/antiphon/Cargo.toml",
                "[dev-dependencies]\nantiphon-hub = { path = \"../hub\" }\n",
                &[2],
            ),
            (
                walls,
                "crates/hub/Cargo.toml",
                "[package]\nname = \"antiphon-hub\"\n",
                &[],
            ),
            (first_lines, "a.rs", "//! Room.\n", &[]),
            (first_lines, "a.rs", "use x;\n", &[1]),
            (
                first_lines,
                "a.py",
                "#!/usr/bin/env python3\n\"\"\"Says.\"\"\"\n",
                &[],
            ),
            (first_lines, "a.go", "package main\n", &[1]),
            (first_lines, "a.mjs", "import x from 'x';\n", &[1]),
            (sizes, "a.rs", &long, &[1]),
            (sizes, "a.rs", &explained, &[]),
            (sizes, "a.rs", &tested, &[]),
            (leftovers, "a.rs", &later, &[2]),
            (leftovers, "a.rs", &debug, &[2]),
            (
                leftovers,
                "a.rs",
                "//! Room.\nlet a = \"x\"; // debugging\n",
                &[],
            ),
            (machines, "a.md", &home, &[1]),
            (machines, "a.md", "see docs/homework/ and ./x", &[]),
            (
                features,
                "crates/proto/src/a.rs",
                "#[cfg(feature = \"x\")]\n",
                &[1],
            ),
            (
                pure_core,
                "crates/proto/src/a.rs",
                "//! a\nuse std::net::TcpStream;\n",
                &[2],
            ),
            (
                pure_core,
                "crates/proto/src/a.rs",
                "//! a\nuse std::io::{IoSlice, Read};\n",
                &[2],
            ),
            (
                pure_core,
                "crates/proto/src/a.rs",
                "//! a\nuse std::io::IoSlice; // std::net\n",
                &[],
            ),
            (
                pure_core,
                "crates/antiphon/src/a.rs",
                "//! a\nuse std::net::TcpStream;\n",
                &[],
            ),
        ];
        for (rule, path, text, expected) in rows {
            assert_eq!(
                check(*rule, path, text),
                *expected,
                "{path}: {}",
                &text[..text.len().min(60)]
            );
        }
    }
}
