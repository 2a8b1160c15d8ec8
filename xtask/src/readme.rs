//! Finds the commands that a page shows, so that none of them can go stale.
//!
//! Every line of a `sh` block is a command. An HTML comment on the line above the block says how it is run:
//! `<!-- ci: server -->` starts the first line in the background, waits until it listens, runs the lines after it, and
//! ends it by its id; `<!-- ci: runs it -->` marks the test command itself, which is running already; `<!-- ci: install -->`
//! marks a block that installs the command (the binary under test takes its place). In the guide there are also
//! `<!-- ci: client -->`, a client that stays in the background, and `<!-- ci: shows TEXT -->`: each command says TEXT.

/// How a block is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Each line runs to its end and must succeed.
    Plain,
    /// The first line is a server for the lines after it.
    Server,
    /// The block is the test command, which is running already.
    Itself,
    /// The block installs what is tested here.
    Install,
    /// A client of the server that goes on listening.
    Client,
    /// Each line runs to its end and says this.
    Shows(String),
}

/// A block of commands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// How it is run.
    pub(crate) kind: Kind,
    /// The line of the opening fence, from 1.
    pub(crate) line: usize,
    /// Its commands, continued lines joined, comments left out.
    pub(crate) commands: Vec<String>,
}

/// Finds the `sh` blocks.
///
/// # Errors
///
/// A marker that nobody knows.
pub(crate) fn blocks(text: &str) -> Result<Vec<Block>, String> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut kind, mut inside, mut continued) = (Kind::Plain, None, false);
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        match inside {
            Some(_) if trimmed == "```" => (inside, kind, continued) = (None, Kind::Plain, false),
            Some(true) => {
                let Some(block) = blocks.last_mut() else {
                    continue;
                };
                let command = trimmed.strip_prefix("$ ").unwrap_or(trimmed);
                if command.is_empty() || command.starts_with('#') {
                    continue;
                }
                let piece = command.trim_end_matches('\\').trim_end();
                match block.commands.last_mut() {
                    Some(last) if continued => {
                        last.push(' ');
                        last.push_str(piece);
                    }
                    _ => block.commands.push(piece.to_owned()),
                }
                continued = command.ends_with('\\');
            }
            Some(false) => {}
            None if trimmed == "```sh" => {
                blocks.push(Block {
                    kind: kind.clone(),
                    line: index + 1,
                    commands: Vec::new(),
                });
                inside = Some(true);
            }
            None if trimmed.starts_with("```") => inside = Some(false),
            None => match trimmed.strip_prefix("<!-- ci:") {
                Some(marker) => {
                    kind = match marker.trim_end_matches("-->").trim() {
                        "server" => Kind::Server,
                        "runs it" => Kind::Itself,
                        "install" => Kind::Install,
                        "client" => Kind::Client,
                        other => match other.strip_prefix("shows ") {
                            Some(words) => Kind::Shows(words.to_owned()),
                            None => {
                                return Err(format!(
                                    "line {}: no such marker `{other}`",
                                    index + 1
                                ));
                            }
                        },
                    }
                }
                None if !trimmed.is_empty() => kind = Kind::Plain,
                None => {}
            },
        }
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_with_their_kind() {
        let text = "# x\n\n```sh\n# note\na b \\\n  c\nd\n```\n\n<!-- ci: server -->\n```sh\n$ s\n```\n```rust\nfn\n```\n<!-- ci: runs it -->\n\n```sh\nt\n```\n<!-- ci: shows \"a\":1 -->\n```sh\nu\n```\n";
        let block = |kind, line, commands: &[&str]| Block {
            kind,
            line,
            commands: commands.iter().map(ToString::to_string).collect(),
        };
        let expected = [
            block(Kind::Plain, 3, &["a b c", "d"]),
            block(Kind::Server, 11, &["s"]),
            block(Kind::Itself, 19, &["t"]),
            block(Kind::Shows("\"a\":1".to_owned()), 23, &["u"]),
        ];
        assert_eq!(blocks(text).unwrap(), expected);
        assert!(blocks("<!-- ci: nonsense -->\n").is_err());
    }
}
