//! What processes cost: CPU time, memory; and which core this one runs on.

use std::{
    fs, io,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::failure::{Exit, Failure, plain};

/// This process looks for events all the time instead of sleeping until there are some.
static BUSY_POLL: AtomicBool = AtomicBool::new(false);

/// Nanoseconds in which it has looked and found nothing.
static IDLE: AtomicU64 = AtomicU64::new(0);

/// From now on this process does not sleep while it waits for events.
pub(crate) fn busy_poll() {
    BUSY_POLL.store(true, Relaxed);
}

pub(crate) fn is_busy_polling() -> bool {
    BUSY_POLL.load(Relaxed)
}

/// It has looked for events for so long and found none: that is not work.
pub(crate) fn add_idle(time: Duration) {
    IDLE.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
}

/// CPU time that this process has used, without what it spent looking for events that were not there.
pub(crate) fn own_cpu() -> Option<Duration> {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let time = Duration::try_from(time).ok()?;
        Some(time.saturating_sub(Duration::from_nanos(IDLE.load(Relaxed))))
    }
    #[cfg(not(unix))]
    None
}

/// The server's process, as /proc shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pid: u32,
}

/// Memory of a process in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// All that is resident.
    pub(crate) rss: u64,
    /// The same, with shared pages divided by those who share them.
    pub(crate) pss: u64,
}

impl Process {
    /// Finds the process.
    ///
    /// # Errors
    ///
    /// There is none, or this system does not show it.
    pub(crate) fn find(pid: u32) -> Result<Self, Failure> {
        let process = Self { pid };
        match process.cpu() {
            Ok(_) => Ok(process),
            Err(error) => {
                let hint = if cfg!(target_os = "linux") {
                    "check --server-pid"
                } else {
                    "--server-pid works on Linux alone"
                };
                Err(Failure::new(
                    Exit::Failure,
                    format!("cannot read process {pid}: {}", plain(&error)),
                    hint,
                ))
            }
        }
    }

    /// CPU time of all its threads, those that have ended included: utime and stime.
    ///
    /// # Errors
    ///
    /// It is gone.
    pub(crate) fn cpu(self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        ticks(&stat)
            .map(|ticks| Duration::from_secs_f64(ticks as f64 / ticks_a_second()))
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Its memory.
    ///
    /// # Errors
    ///
    /// It is gone, or belongs to somebody else.
    pub(crate) fn memory(self) -> io::Result<Memory> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid))?;
        memory(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

fn ticks_a_second() -> f64 {
    #[cfg(target_os = "linux")]
    {
        rustix::param::clock_ticks_per_second() as f64
    }
    #[cfg(not(target_os = "linux"))]
    100.0
}

/// The name of a process may hold anything; what follows its last parenthesis is the state and then numbers.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn memory(rollup: &str) -> Option<Memory> {
    let field = |name: &str| -> Option<u64> {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
        let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(number * 1024)
    };
    Some(Memory {
        rss: field("Rss:")?,
        pss: field("Pss:")?,
    })
}

/// Keeps this thread, and those it starts, on one core.
///
/// # Errors
///
/// There is no such core, or this system does not let us choose.
pub(crate) fn pin(core: usize) -> Result<(), Failure> {
    #[cfg(target_os = "linux")]
    {
        let mut set = rustix::thread::CpuSet::new();
        if core < rustix::thread::CpuSet::MAX_CPU {
            set.set(core);
        }
        rustix::thread::sched_setaffinity(None, &set).map_err(|error| {
            Failure::new(
                Exit::Failure,
                format!("cannot run on core {core}: {}", plain(&error.into())),
                "cores count from 0; nproc says how many there are",
            )
        })
    }
    #[cfg(not(target_os = "linux"))]
    Err(Failure::new(
        Exit::Failure,
        format!("cannot run on core {core} alone: this system has no call for it"),
        "leave out --pin",
    ))
}

/// Lets this process have as many connections.
///
/// # Errors
///
/// The system does not.
pub(crate) fn allow_files(connections: usize) -> Result<(), Failure> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

        // Standard streams, the poll, and what opens in between.
        let wanted = connections as u64 + 64;
        let limit = getrlimit(Resource::Nofile);
        if limit.current.is_some_and(|current| current < wanted) {
            let raised = Rlimit {
                current: Some(limit.maximum.map_or(wanted, |most| most.min(wanted))),
                maximum: limit.maximum,
            };
            let _ = setrlimit(Resource::Nofile, raised);
            if limit.maximum.is_some_and(|most| most < wanted) {
                return Err(Failure::new(
                    Exit::Failure,
                    format!("this process may not open {connections} connections"),
                    format!("raise its limit: ulimit -n {wanted}"),
                ));
            }
        }
    }
    #[cfg(not(unix))]
    let _ = connections;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        for (stat, expected) in [
            (
                "1 (antiphon) S 0 1 1 0 -1 4194560 9 9 9 9 12 34 0 0 20",
                Some(46),
            ),
            (
                "1 (a ) R 7 (b)) S 0 1 1 0 -1 4194560 9 9 9 9 1 2 0 0 20",
                Some(3),
            ),
            ("1 (a) S 0", None),
            ("", None),
        ] {
            assert_eq!(ticks(stat), expected, "{stat}");
        }
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let text =
            "55d0-7ffc ---p 0 00:00 0 [rollup]\nRss:    9876 kB\nPss:    1234 kB\nPss_Anon: 1 kB\n";
        let expected = Memory {
            rss: 9876 * 1024,
            pss: 1234 * 1024,
        };
        assert_eq!(memory(text), Some(expected));
        assert_eq!(memory("Rss: 1 kB\n"), None);
    }
}
