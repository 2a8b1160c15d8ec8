//! Self-checking scenarios: hostile and unlucky clients. Each has a hub of its own, and leaves nothing behind.
//!
//! `SCENARIO=part-of-a-name cargo test -p antiphon-hub --test stress -- --nocapture` runs some of them.

mod support;

#[path = "stress/gates.rs"]
mod gates;
#[path = "stress/limits.rs"]
mod limits;
#[path = "stress/login.rs"]
mod login;
#[path = "stress/order.rs"]
mod order;
#[path = "stress/presence.rs"]
mod presence;
#[path = "stress/slow.rs"]
mod slow;
#[path = "stress/stage.rs"]
mod stage;
#[path = "stress/weaknesses.rs"]
mod weaknesses;

use std::panic::{AssertUnwindSafe, catch_unwind};

use stage::perform;

#[test]
fn scenarios() {
    stage::silence_expected_panics();
    let wanted = std::env::var("SCENARIO").unwrap_or_default();
    let all = [
        slow::SCENARIOS,
        order::SCENARIOS,
        gates::SCENARIOS,
        limits::SCENARIOS,
        login::SCENARIOS,
        presence::SCENARIOS,
        weaknesses::SCENARIOS,
    ];
    let mut failed = Vec::new();
    let mut count = 0;
    for scenario in all.into_iter().flatten() {
        if !scenario.name.contains(&wanted) {
            continue;
        }
        count += 1;
        println!("{}", scenario.name);
        if catch_unwind(AssertUnwindSafe(|| perform(scenario))).is_err() {
            println!("{}: FAILED", scenario.name);
            failed.push(scenario.name);
        }
    }
    println!("{count} scenarios");
    assert!(failed.is_empty(), "failed: {failed:?}");
    assert!(!wanted.is_empty() || count >= 60, "only {count} scenarios");
}
