//! Runs the steps one after the other, shows progress that a person can follow, and counts.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use crate::context::{Context, Tally, target_directory};
use crate::steps::{self, Step};

/// Runs the chosen steps; the last line says `N passed, M failed`.
pub(crate) fn run(root: &Path, only: &[String], skip: &[String], list: bool) -> ExitCode {
    let all = steps::all();
    if list {
        for step in &all {
            println!("{:<18} {}", step.name, step.about);
        }
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = only
        .iter()
        .chain(skip)
        .find(|name| all.iter().all(|step| step.name != **name))
    {
        eprintln!("xtask: error: there is no step `{unknown}`; see `cargo xtask ci --list`");
        return ExitCode::from(2);
    }
    let chosen: Vec<Step> = all
        .into_iter()
        .filter(|step| {
            (only.is_empty() || only.iter().any(|name| name == step.name))
                && !skip.iter().any(|name| name == step.name)
        })
        .collect();
    let target = target_directory(root);
    let logs = target.join("ci");
    if let Err(error) = fs::create_dir_all(&logs) {
        eprintln!("xtask: error: cannot create {}: {error}", logs.display());
        return ExitCode::FAILURE;
    }
    let started = Instant::now();
    let mut rows = Vec::new();
    for (index, step) in chosen.iter().enumerate() {
        println!(
            "[{:>5.0}s] {:>2}/{} {}: {}",
            started.elapsed().as_secs_f32(),
            index + 1,
            chosen.len(),
            step.name,
            step.about
        );
        let log = logs.join(format!("{}.log", step.name));
        // A log from an earlier run must not be taken for this one's.
        let _ = fs::remove_file(&log);
        let context = Context {
            root: root.to_path_buf(),
            target: target.clone(),
            log: log.clone(),
        };
        let begun = Instant::now();
        let tally = match (step.run)(&context) {
            Ok(tally) if tally.passed + tally.failed > 0 => tally,
            Ok(_) => {
                context.write("the step counted nothing: a check that checks nothing is a failure");
                Tally::one(false)
            }
            Err(error) => {
                context.write(&format!("{error:#}"));
                let mut tally = Tally::one(false);
                tally.note = error
                    .to_string()
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                tally
            }
        };
        if tally.failed > 0 {
            println!(
                "----- {} failed; its output ({}):",
                step.name,
                log.display()
            );
            println!("{}", fs::read_to_string(&log).unwrap_or_default());
            println!("----- end of {}", step.name);
        }
        rows.push((step.name, begun.elapsed().as_secs_f32(), tally));
    }
    summary(&rows, skip, started.elapsed().as_secs_f32())
}

fn summary(rows: &[(&str, f32, Tally)], skipped: &[String], seconds: f32) -> ExitCode {
    let mut total = Tally::default();
    println!(
        "\n{:<18} {:>7} {:>7} {:>8}",
        "step", "passed", "failed", "seconds"
    );
    for (name, seconds, tally) in rows {
        println!(
            "{name:<18} {:>7} {:>7} {seconds:>8.1}  {}",
            tally.passed, tally.failed, tally.note
        );
        total.add(tally);
    }
    for name in skipped {
        println!("{name:<18} left out on request");
    }
    println!(
        "{:<18} {:>7} {:>7} {seconds:>8.1}",
        "all", total.passed, total.failed
    );
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed == 0 && total.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
