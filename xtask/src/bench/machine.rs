//! What a result depends on besides the code: the machine, and who else was using it.

use std::fs;

use anyhow::{Context as _, Result};

use crate::bench::peers::answer;

/// Ticks of the clock in /proc in a second, on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// Share of a core that other processes may use before a sample counts as disturbed.
pub(super) const DISTURBED: f64 = 0.08;

/// What is told about the machine: nothing that would identify it.
pub(super) struct Machine {
    /// Facts, each with its name.
    pub(super) facts: Vec<(&'static str, String)>,
    /// Cores that this process may use.
    pub(super) cores: usize,
}

impl Machine {
    /// Asks the system.
    pub(super) fn read() -> Self {
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut facts = vec![
            (
                "processor",
                processor(&read("/proc/cpuinfo")).unwrap_or_else(|| "unknown".to_owned()),
            ),
            ("cores", cores.to_string()),
            (
                "kernel",
                format!("Linux {}", released(&read("/proc/sys/kernel/osrelease"))),
            ),
            (
                "TCP",
                read("/proc/sys/net/ipv4/tcp_congestion_control")
                    .trim()
                    .to_owned(),
            ),
        ];
        for (name, question) in [
            ("rustc", "--version"),
            ("go", "version"),
            ("node", "--version"),
        ] {
            if let Some(version) = answer(name, question) {
                facts.push((name, version));
            }
        }
        Self { facts, cores }
    }
}

/// The version of a kernel without what its builder has added: that may name a machine.
fn released(text: &str) -> &str {
    text.trim().split('-').next().unwrap_or_default()
}

/// The model in /proc/cpuinfo; where that names none, its numbers.
fn processor(text: &str) -> Option<String> {
    let field = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        })
    };
    let model = field("model name")?;
    Some(match (field("cpu family"), field("model")) {
        (Some(family), Some(number)) => format!("{model} (family {family}, model {number})"),
        _ => model,
    })
}

/// The busy time of all cores and of the processes that belong to a sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    all: f64,
    server: f64,
    own: f64,
}

impl Clock {
    /// Reads all three.
    pub(super) fn read(server: u32) -> Result<Self> {
        let all = fs::read_to_string("/proc/stat")?;
        let server = fs::read_to_string(format!("/proc/{server}/stat"))?;
        let own = fs::read_to_string("/proc/self/stat")?;
        Ok(Self {
            all: busy(&all).context("/proc/stat cannot be read")?,
            server: used(&server, false).context("the server's stat cannot be read")?,
            own: used(&own, true).context("/proc/self/stat cannot be read")?,
        })
    }

    /// The share of a core that others used between two readings, steal included. The generator has ended by then, so
    /// its time is that of this process's children.
    pub(super) fn others(self, later: Self, seconds: f64) -> f64 {
        let ours = (later.server - self.server) + (later.own - self.own);
        ((later.all - self.all - ours) / seconds.max(0.001)).max(0.0)
    }
}

/// Seconds in which the cores were busy: user, nice, system, irq, softirq and steal, but neither idle nor iowait.
fn busy(stat: &str) -> Option<f64> {
    let line = stat.lines().find(|line| line.starts_with("cpu "))?;
    let ticks: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .map_while(|word| word.parse().ok())
        .collect();
    (ticks.len() >= 8)
        .then(|| (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6] + ticks[7]) / TICKS)
}

/// Seconds of processor time in a line of /proc/PID/stat, with or without those of children that were waited for.
fn used(stat: &str, children: bool) -> Option<f64> {
    // The name of the program stands in parentheses and may have spaces and parentheses itself.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |index: usize| fields.get(index)?.parse::<f64>().ok();
    let mut ticks = field(11)? + field(12)?;
    if children {
        ticks += field(13)? + field(14)?;
    }
    Some(ticks / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_as_the_kernel_writes_it() {
        let stat = "cpu  100 20 30 4000 50 6 7 8 0 0\ncpu0 1 2 3\n";
        assert_eq!(busy(stat), Some((100 + 20 + 30 + 6 + 7 + 8) as f64 / TICKS));
        let one = "4711 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 300 200 40 60 20 0";
        assert_eq!(used(one, false), Some(5.0));
        assert_eq!(used(one, true), Some(6.0));
        assert_eq!(used("4711 (x", false), None);
        assert_eq!(released("6.18.44-cloud-v9\n"), "6.18.44");
        let info = "processor\t: 0\ncpu family\t: 6\nmodel\t\t: 207\nmodel name\t: A Processor\n";
        assert_eq!(
            processor(info).as_deref(),
            Some("A Processor (family 6, model 207)")
        );
    }

    #[test]
    fn only_what_nobody_of_the_sample_used_is_others() {
        let clock = |all, server, own| Clock { all, server, own };
        let others = clock(10.0, 1.0, 2.0).others(clock(16.0, 3.5, 5.0), 3.0);
        assert!((others - 0.5 / 3.0).abs() < 1e-9, "{others}");
        assert!(clock(10.0, 1.0, 2.0).others(clock(11.0, 2.0, 3.0), 1.0) < 1e-9);
    }
}
