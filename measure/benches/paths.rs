//! The time of every path: `cargo bench -p antiphon-measure`, or `-- NAME` for some, `-- --test` for one round each.

use antiphon_measure::path::Path;
use divan::{
    Bencher,
    counter::{BytesCount, ItemsCount},
};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

fn names() -> Vec<&'static str> {
    antiphon_measure::all()
        .iter()
        .map(|path| path.name)
        .collect()
}

fn find(name: &str) -> Path {
    let mut all = antiphon_measure::all().into_iter();
    all.find(|path| path.name == name)
        .expect("a name of `names`")
}

#[divan::bench(args = names(), max_time = 0.5)]
fn path(bencher: Bencher<'_, '_>, name: &str) {
    let path = find(name);
    let mut step = (path.make)();
    let bencher = bencher.counter(ItemsCount::new(path.each));
    if path.bytes > 0 {
        bencher
            .counter(BytesCount::new(path.bytes))
            .bench_local(|| step(1));
    } else {
        bencher.bench_local(|| step(1));
    }
}
