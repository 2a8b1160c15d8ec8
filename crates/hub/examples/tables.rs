//! Writes the generated tables (`--write`), or says which file is not what the table makes it.

use std::{error::Error, fs, path::Path};

use antiphon_hub::code::tables;

fn main() -> Result<(), Box<dyn Error>> {
    let write = std::env::args().any(|argument| argument == "--write");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .ok_or("this crate lies two levels below the root")?;
    let page = root.join("docs/protocol.md");
    let filled = tables::fill(&fs::read_to_string(&page)?)?;
    for (path, text) in [
        (page, filled),
        (
            root.join("web/src/generated/protocol.ts"),
            tables::typescript(),
        ),
    ] {
        if fs::read_to_string(&path).is_ok_and(|current| current == text) {
            continue;
        }
        if !write {
            return Err(format!("{} is old: run `{}`", path.display(), tables::COMMAND).into());
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text)?;
        println!("written: {}", path.display());
    }
    Ok(())
}
