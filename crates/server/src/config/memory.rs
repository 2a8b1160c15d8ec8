//! How much memory there is: the limit of the cgroup, or of the machine.

use std::{fs, path::Path};

use crate::config::schema::MemoryBudget;

/// What is assumed where the system does not say.
const UNKNOWN: usize = 1 << 30;

impl MemoryBudget {
    /// The bound in bytes: what was set, or a quarter of the memory that this process may use.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Auto => available() / 4,
        }
    }
}

/// Memory that this process may use, in bytes.
fn available() -> usize {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let machine = fs::read_to_string("/proc/meminfo").ok();
    limits(Path::new("/sys/fs/cgroup"), &groups)
        .into_iter()
        .chain(machine.as_deref().and_then(total))
        .min()
        .unwrap_or(UNKNOWN)
}

/// The limits of the groups that the process is in, and of those above: the least of them holds.
fn limits(root: &Path, groups: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, Some(group)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            Some("") => (root.to_path_buf(), "memory.max"),
            Some(names) if names.split(',').any(|name| name == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // Inside of a container the path may be the host's, while its own group is mounted at the root.
        let own = root.join(group.trim_start_matches('/'));
        for folder in own
            .ancestors()
            .take_while(|folder| folder.starts_with(&root))
        {
            let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
            found.extend(text.trim().parse::<usize>().ok());
        }
    }
    found
}

/// `MemTotal` of /proc/meminfo, in bytes.
fn total(text: &str) -> Option<usize> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_the_machine_is_found() {
        for (text, expected) in [
            ("MemTotal:       24 kB\nMemFree: 1 kB", Some(24 * 1024)),
            ("MemFree: 1 kB", None),
            ("MemTotal: x kB", None),
            ("MemTotal: 99999999999999999999 kB", None),
            ("", None),
        ] {
            assert_eq!(total(text), expected, "{text}");
        }
    }

    #[test]
    fn the_least_limit_of_the_groups_holds() {
        let root = std::env::temp_dir().join(format!("antiphon-cgroup-{}", std::process::id()));
        let inner = root.join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(root.join("a/memory.max"), "1000\n").unwrap();
        fs::write(inner.join("memory.max"), "max\n").unwrap();
        for (groups, expected) in [
            ("0::/a/b", vec![1000]),
            ("0::/", vec![]),
            ("0::/not/there", vec![]),
            ("nonsense", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(limits(&root, groups), expected, "{groups}");
        }
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_budget_is_what_was_set_or_a_part_of_what_there_is() {
        assert_eq!(MemoryBudget::Bytes(7).bytes(), 7);
        assert!(MemoryBudget::Auto.bytes() > 0);
    }
}
