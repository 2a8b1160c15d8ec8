//! Runs one path so many times, for whoever counts instructions: `antiphon-measure mask/125 2000`; without a name, lists.

use std::process::ExitCode;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Steps before the counted ones: everything that is made once is made then.
const WARM_UP: u64 = 3;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(name) = arguments.next() else {
        for path in antiphon_measure::all() {
            println!(
                "{}\t{}\t{}\t{}",
                path.name, path.each, path.rounds, path.about
            );
        }
        return ExitCode::SUCCESS;
    };
    let times = arguments.next().and_then(|times| times.parse().ok());
    let path = antiphon_measure::all()
        .into_iter()
        .find(|path| path.name == name);
    let (Some(times), Some(path)) = (times, path) else {
        eprintln!("usage: antiphon-measure [NAME TIMES]");
        return ExitCode::from(2);
    };
    let mut step = (path.make)();
    step(WARM_UP);
    step(times);
    // Taking everything down again is not what is measured.
    std::process::exit(0);
}
