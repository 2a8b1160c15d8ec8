//! Every fuzz target for a while, on stable Rust: libFuzzer needs coverage counters, and those are no nightly feature.

use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::context::{Context, Tally};
use crate::process;
use crate::tools;

/// How long each target runs.
const SECONDS: u32 = 20;

/// What cargo-fuzz passes for `--sanitizer none`. The core has no unsafe code, so that a sanitizer would watch only
/// the dependencies; overflow checks and debug assertions are on in the profile.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// Builds the targets and runs them, one on each core.
pub(super) fn fuzz(context: &Context) -> Result<Tally> {
    tools::debian(context, "c++", "g++")?;
    let folder = context.root.join("fuzz");
    let host = host(context)?;
    let mut build = Command::new("cargo");
    build
        .args([
            "build",
            "--quiet",
            "--locked",
            "--release",
            "--target",
            &host,
        ])
        .current_dir(&folder);
    build
        .env("RUSTFLAGS", FLAGS)
        .env("CARGO_TARGET_DIR", context.target.join("fuzz"));
    process::must(context, Duration::from_secs(900), &mut build)?;
    let names = Mutex::new(targets(&std::fs::read_to_string(
        folder.join("Cargo.toml"),
    )?));
    let tally = Mutex::new(Ok(Tally::default()));
    // One on each core: a target has one thread.
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                // In a function of its own, for a lock in the loop's head would be held through its body.
                let next = || locked(&names).pop();
                while let Some(target) = next() {
                    let one = run(context, &host, &target);
                    let mut tally = locked(&tally);
                    match (&mut *tally, one) {
                        (Ok(tally), Ok(good)) => tally.add(&Tally::one(good)),
                        (Ok(_), Err(error)) => *tally = Err(error),
                        (Err(_), _) => {}
                    }
                }
            });
        }
    });
    tally.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs one target. Whether it found nothing wrong, and found its way.
fn run(context: &Context, host: &str, target: &str) -> Result<bool> {
    let work = context.target.join("fuzz-run").join(target);
    let corpus = work.join("corpus");
    std::fs::create_dir_all(&corpus)?;
    let built = context.target.join("fuzz").join(host).join("release");
    let mut run = Command::new(built.join(target));
    run.arg(format!("-max_total_time={SECONDS}")).args([
        "-max_len=4096",
        "-rss_limit_mb=1024",
        "-timeout=10",
        "-print_final_stats=1",
        "-verbosity=0",
    ]);
    run.arg(format!("-artifact_prefix={}/", work.display()))
        .arg(corpus)
        .current_dir(&work);
    let patience = Duration::from_secs(u64::from(SECONDS) + 60);
    let (good, output) = process::run(context, patience, &mut run)?;
    // A target that was not instrumented finds nothing, and must not look as if all were well.
    let found = output
        .lines()
        .find_map(|line| line.strip_prefix("stat::new_units_added:"));
    let guided = found.is_some_and(|count| count.trim().parse().is_ok_and(|count: u64| count > 0));
    let verdict = if good && guided { "ok" } else { "not ok" };
    context.write(&format!("{verdict} {target}"));
    Ok(good && guided)
}

/// The names of the targets.
fn targets(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == "[[bin]]";
        } else if let Some(name) = line.strip_prefix("name = \"").filter(|_| inside) {
            names.push(name.trim_end_matches('"').to_owned());
        }
    }
    names
}

/// The host's target triple. Naming it keeps the flags away from build scripts.
fn host(context: &Context) -> Result<String> {
    let output = process::must(
        context,
        Duration::from_secs(60),
        Command::new("rustc").arg("-vV"),
    )?;
    match output.lines().find_map(|line| line.strip_prefix("host: ")) {
        Some(host) => Ok(host.to_owned()),
        None => bail!("rustc does not say which host it is for"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_come_from_the_manifest() {
        let manifest = "[package]\nname = \"x\"\n[[bin]]\nname = \"frame\"\npath = \"a\"\n\n[[bin]]\nname = \"pair\"\n";
        assert_eq!(targets(manifest), ["frame", "pair"]);
    }
}
