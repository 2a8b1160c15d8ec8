//! The hot paths of antiphon, each as a step that can be repeated: one list, measured in time and in instructions.
//!
//! Everything goes through public interfaces, so a path costs here what it costs an application; the only system calls
//! are those of `server`.
//!
//! - `cargo bench -p antiphon-measure` measures the time of each (`-- mask` only of some).
//! - `cargo xtask counts` counts the instructions of each and writes `docs/instructions.md`; CI compares.
//! - `cargo test -p antiphon-measure` runs each once.

pub mod path;

mod bytes;
mod compressed;
mod envelope;
mod feed;
mod groups;
mod opening;
mod sample;
mod sockets;

use crate::path::Path;

/// Every path, from the bytes up to the hub.
#[must_use]
pub fn all() -> Vec<Path> {
    [
        bytes::paths(),
        compressed::paths(),
        opening::paths(),
        sockets::paths(),
        envelope::paths(),
        groups::paths(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_path_runs_and_has_a_name_of_its_own() {
        let mut names = HashSet::new();
        for path in all() {
            assert!(names.insert(path.name), "{} twice", path.name);
            let mut step = (path.make)();
            step(1);
            step(2);
        }
    }
}
