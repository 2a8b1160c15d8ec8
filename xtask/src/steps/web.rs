//! The browser client and the pages: types, tests, size, and whether the committed pages are what the source builds.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::context::{Context, Tally};
use crate::process;
use crate::tools;

/// How long one script may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where the built pages are committed: the command holds them, and `cargo install` needs no Node.
const PAGES: &str = "crates/server/pages";

/// Types, then tests with the library that they build and weigh, then the pages.
pub(super) fn web(context: &Context) -> Result<Tally> {
    let folder = tools::npm(context, "web")?;
    let built = context.target.join("web-pages");
    // What an earlier run has left there must not be taken for this one's.
    let _ = fs::remove_dir_all(&built);
    let npm = |arguments: &[&str]| {
        let mut command = Command::new("npm");
        command
            .args(arguments)
            .current_dir(&folder)
            .env("NO_COLOR", "1")
            .env("PAGES_OUT", &built);
        process::run(context, PATIENCE, &mut command)
    };
    let mut tally = Tally::one(npm(&["run", "check"])?.0);
    let (good, output) = npm(&["test"])?;
    let tests = vitest(&output);
    tally.add(&tests);
    if !good && tests.failed == 0 {
        // Coverage or size, or it did not begin at all.
        tally.failed += 1;
    }
    let (good, _) = npm(&["run", "build:pages"])?;
    tally.add(&Tally::one(good));
    if good {
        let committed = files(&context.root.join(PAGES))?;
        let wrong = differences(&committed, &files(&built)?);
        for sentence in &wrong {
            context.write(&format!("not ok {sentence}"));
        }
        tally.passed += committed.len().saturating_sub(wrong.len());
        tally.failed += wrong.len();
        if let Some(first) = wrong.first() {
            tally.note.clone_from(first);
        }
    }
    Ok(tally)
}

/// The line of vitest that counts: `Tests  1 failed | 86 passed (87)`.
fn vitest(output: &str) -> Tally {
    let mut tally = Tally::default();
    let counts = output
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Tests "))
        .next_back()
        .unwrap_or_default();
    for part in counts.split(['|', '(']) {
        let mut words = part.split_whitespace();
        match (words.next().map(str::parse), words.next()) {
            (Some(Ok(count)), Some("passed")) => tally.passed = count,
            (Some(Ok(count)), Some("failed")) => tally.failed = count,
            _ => {}
        }
    }
    tally
}

type Files = BTreeMap<String, Vec<u8>>;

fn files(folder: &Path) -> Result<Files> {
    let entries = fs::read_dir(folder).with_context(|| format!("there is no {folder:?}"))?;
    entries
        .map(|entry| {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            Ok((name, fs::read(entry.path())?))
        })
        .collect()
}

/// A sentence for each file that is not what the source builds.
fn differences(committed: &Files, built: &Files) -> Vec<String> {
    let hint = "run `npm run build` in web and commit what it writes";
    let names = committed.keys().chain(built.keys());
    let names: std::collections::BTreeSet<_> = names.collect();
    names
        .into_iter()
        .filter_map(|name| match (committed.get(name), built.get(name)) {
            (Some(committed), Some(built)) if committed == built => None,
            (Some(_), Some(_)) => Some(format!("{PAGES}/{name} is older than its source: {hint}")),
            (None, _) => Some(format!("{PAGES}/{name} is missing: {hint}")),
            (_, None) => Some(format!("{PAGES}/{name} is built by nothing: remove it")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_of_vitest_are_counted() {
        for (line, passed, failed) in [
            ("      Tests  87 passed (87)", 87, 0),
            ("      Tests  1 failed | 86 passed (87)", 86, 1),
            ("      Tests  2 failed | 5 passed | 1 skipped (8)", 5, 2),
            ("no test files found", 0, 0),
        ] {
            let tally = vitest(&format!("Test Files  3 passed (3)\n{line}\n"));
            assert_eq!((tally.passed, tally.failed), (passed, failed), "{line}");
        }
    }

    #[test]
    fn each_file_that_is_not_as_it_is_built_is_named() {
        let files = |of: &[(&str, &str)]| -> Files {
            let pair = |&(name, text): &(&str, &str)| (name.to_owned(), text.as_bytes().to_vec());
            of.iter().map(pair).collect()
        };
        let committed = files(&[("a.js", "1"), ("b.js", "1"), ("old.js", "1")]);
        let built = files(&[("a.js", "1"), ("b.js", "2"), ("c.js", "3")]);
        let wrong = differences(&committed, &built);
        let starts = [
            "b.js is older",
            "c.js is missing",
            "old.js is built by nothing",
        ];
        assert_eq!(wrong.len(), starts.len(), "{wrong:?}");
        for (sentence, start) in wrong.iter().zip(starts) {
            assert!(
                sentence.starts_with(&format!("{PAGES}/{start}")),
                "{sentence}"
            );
        }
        assert!(differences(&built, &built).is_empty());
    }
}
