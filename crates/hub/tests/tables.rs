//! The tables in docs/protocol.md and web/src/generated are those that crates/hub/src/code.rs makes.

use std::{fs, path::Path};

use antiphon_hub::code::tables;

#[test]
fn the_generated_files_are_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let page = read("docs/protocol.md");
    let command = tables::COMMAND;
    assert!(
        tables::fill(&page).unwrap() == page,
        "docs/protocol.md is old: run `{command}`"
    );
    assert!(
        tables::typescript() == read("web/src/generated/protocol.ts"),
        "web/src/generated/protocol.ts is old: run `{command}`"
    );
}
