//! What the process uses, from `/proc`. Where there is none, there are no such numbers.

use std::{fs, str::FromStr};

/// Ticks of the processor's time in a second, as the kernel counts for programs on every platform that it supports.
const TICKS: f64 = 100.0;

/// What the process uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Memory in RAM, in bytes.
    pub(crate) resident: Option<u64>,
    /// Memory that is mapped, in bytes.
    pub(crate) virtual_memory: Option<u64>,
    /// Threads.
    pub(crate) threads: Option<u64>,
    /// Open files, sockets among them.
    pub(crate) files: Option<u64>,
    /// Most of them.
    pub(crate) max_files: Option<u64>,
    /// Seconds of the processor, in the program and in the kernel for it.
    pub(crate) processor: Option<f64>,
    /// When the process began, in Unix seconds.
    pub(crate) started: Option<f64>,
}

impl Usage {
    /// Looks.
    pub(crate) fn now() -> Self {
        let text = |name: &str| fs::read_to_string(name).unwrap_or_default();
        let mut usage = Self::read(
            &text("/proc/self/status"),
            &text("/proc/self/stat"),
            &text("/proc/stat"),
            &text("/proc/self/limits"),
        );
        usage.files = fs::read_dir("/proc/self/fd")
            .ok()
            // The folder that is being read is one of them.
            .map(|files| (files.count() as u64).saturating_sub(1));
        usage
    }

    /// As [`now`](Self::now), with memory and processor alone: what can be looked at each second.
    pub(crate) fn of_process() -> Self {
        let text = |name: &str| fs::read_to_string(name).unwrap_or_default();
        Self::read(&text("/proc/self/status"), &text("/proc/self/stat"), "", "")
    }

    fn read(status: &str, stat: &str, system: &str, limits: &str) -> Self {
        // The name in brackets may hold anything, brackets and spaces too.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().collect())
            .unwrap_or_default();
        // Counted from 3, the first behind the name: 14 and 15 are the times, 22 is the start.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let ticks = |number| field(number).map(|ticks| ticks / TICKS);
        let kib = |name| after::<u64>(status, name).map(|kib| kib * 1024);
        Self {
            resident: kib("VmRSS:"),
            virtual_memory: kib("VmSize:"),
            threads: after(status, "Threads:"),
            files: None,
            max_files: after(limits, "Max open files"),
            processor: ticks(14).zip(ticks(15)).map(|(user, system)| user + system),
            started: after::<f64>(system, "btime")
                .zip(ticks(22))
                .map(|(boot, since)| boot + since),
        }
    }
}

/// The first word behind a name at the beginning of a line.
fn after<T: FromStr>(text: &str, name: &str) -> Option<T> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_whatever_the_name_of_the_process() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 9 0 1234500 1 1";
        let usage = Usage::read(
            "Name:\ta) b (c\nVmSize:\t    2000 kB\nVmRSS:\t    1000 kB\nThreads:\t9\n",
            stat,
            "cpu 1 2 3\nbtime 1700000000\n",
            "Limit Soft Hard\nMax open files            1024                 4096                 files\n",
        );
        assert_eq!(
            usage,
            Usage {
                resident: Some(1_024_000),
                virtual_memory: Some(2_048_000),
                threads: Some(9),
                files: None,
                max_files: Some(1024),
                processor: Some(2.0),
                started: Some(1_700_012_345.0),
            }
        );
        assert_eq!(Usage::read("", "", "", ""), Usage::default());
        assert_eq!(
            Usage::read("VmRSS:", "1 (x)", "btime x", "Max open files unlimited").max_files,
            None
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_something() {
        let usage = Usage::now();
        assert!(
            usage.resident.is_some_and(|bytes| bytes > 4096),
            "{usage:?}"
        );
        assert!(usage.files.is_some_and(|files| files > 0), "{usage:?}");
        assert!(usage.started.is_some_and(|at| at > 1e9), "{usage:?}");
    }
}
