//! What a step is told, and what it counts.

use std::fs;
use std::path::{Path, PathBuf};

/// What a step has counted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Checks or tests that passed.
    pub(crate) passed: usize,
    /// Checks or tests that failed.
    pub(crate) failed: usize,
    /// A few words for the summary.
    pub(crate) note: String,
}

impl Tally {
    /// One check that passed or failed.
    pub(crate) fn one(good: bool) -> Self {
        Self {
            passed: usize::from(good),
            failed: usize::from(!good),
            note: String::new(),
        }
    }

    /// Adds the counts of another.
    pub(crate) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// What a step needs to know about the run.
pub(crate) struct Context {
    /// The root of the workspace.
    pub(crate) root: PathBuf,
    /// Where everything temporary goes.
    pub(crate) target: PathBuf,
    /// The log of the step that runs.
    pub(crate) log: PathBuf,
}

impl Context {
    /// A folder below the target directory for things that a step installs.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// Appends to the log of the step.
    pub(crate) fn write(&self, text: &str) {
        use std::io::Write as _;
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log);
        if let Ok(mut file) = file {
            // A log that cannot be written must not end the run: the verdict does not depend on it.
            let _ = writeln!(file, "{text}");
        }
    }
}

/// Cargo's target directory: the environment's, or the workspace's own.
pub(crate) fn target_directory(root: &Path) -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => {
            std::path::absolute(&directory).unwrap_or_else(|_| PathBuf::from(directory))
        }
        None => root.join("target"),
    }
}
