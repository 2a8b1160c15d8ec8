//! Reads Rust source as far as the house rules need it: what is code, what is comment, which rooms it names.

/// One line of a file, split into its code (comments and literals blanked) and the rest.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// The code of the line; what stood in a string or character literal is left out.
    pub(crate) code: String,
    /// The line stands in the unit tests at the end of the file.
    pub(crate) test: bool,
}

/// Splits a file into lines of code. Raw strings, nested comments and lifetimes are understood.
pub(crate) fn lines(text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = blank(text)
        .lines()
        .map(|code| Line {
            code: code.to_owned(),
            test: false,
        })
        .collect();
    let tests = lines.windows(2).position(|pair| {
        pair[0].code.trim() == "#[cfg(test)]"
            && pair[1].code.trim_start().starts_with("mod ")
            && pair[1].code.contains('{')
    });
    for line in lines.iter_mut().skip(tests.unwrap_or(usize::MAX)) {
        line.test = true;
    }
    lines
}

/// Replaces comments and the content of literals by nothing, keeping the line breaks.
fn blank(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let next = bytes.get(at + 1).copied();
        match bytes[at] {
            '/' if next == Some('/') => {
                while at < bytes.len() && bytes[at] != '\n' {
                    at += 1;
                }
            }
            '/' if next == Some('*') => {
                let mut depth = 0;
                while at < bytes.len() {
                    if bytes[at] == '/' && bytes.get(at + 1) == Some(&'*') {
                        depth += 1;
                        at += 2;
                    } else if bytes[at] == '*' && bytes.get(at + 1) == Some(&'/') {
                        depth -= 1;
                        at += 2;
                        if depth == 0 {
                            break;
                        }
                    } else {
                        keep_break(bytes[at], &mut out);
                        at += 1;
                    }
                }
            }
            'r' if raw_hashes(&bytes, at).is_some() => {
                let hashes = raw_hashes(&bytes, at).unwrap_or(0);
                at += hashes + 2;
                out.push_str("\"\"");
                while at < bytes.len() {
                    if bytes[at] == '"'
                        && (1..=hashes).all(|offset| bytes.get(at + offset) == Some(&'#'))
                    {
                        at += hashes + 1;
                        break;
                    }
                    keep_break(bytes[at], &mut out);
                    at += 1;
                }
            }
            '"' => {
                at += 1;
                out.push_str("\"\"");
                while at < bytes.len() && bytes[at] != '"' {
                    if bytes[at] == '\\' {
                        at += 1;
                    }
                    if at < bytes.len() {
                        keep_break(bytes[at], &mut out);
                    }
                    at += 1;
                }
                at += 1;
            }
            // A character literal: 'x', '\n', '\u{..}'. A lifetime has no closing quote two characters on.
            '\'' if next == Some('\\') => {
                at += 3;
                while at < bytes.len() && bytes[at] != '\'' {
                    at += 1;
                }
                at += 1;
            }
            '\'' if bytes.get(at + 2) == Some(&'\'') => at += 3,
            other => {
                out.push(other);
                at += 1;
            }
        }
    }
    out
}

fn keep_break(character: char, out: &mut String) {
    if character == '\n' {
        out.push('\n');
    }
}

/// The number of `#` of a raw string that starts here.
fn raw_hashes(bytes: &[char], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).map(|index| bytes[index]);
    if before.is_some_and(|character| {
        (character.is_alphanumeric() && character != 'b') || character == '_'
    }) {
        return None;
    }
    let hashes = bytes[at + 1..]
        .iter()
        .take_while(|character| **character == '#')
        .count();
    (bytes.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

/// The paths that start with `crate` or `super` in a piece of code, groups in braces written out:
/// `use crate::{a::B, c}` gives `crate::a::B` and `crate::c`.
pub(crate) fn paths(code: &str) -> Vec<Vec<String>> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let starts = (tokens[at] == "crate" || tokens[at] == "super")
            && tokens.get(at + 1).is_some_and(|token| token == "::")
            && (at == 0 || tokens[at - 1] != "::");
        if starts {
            at = walk(&tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

fn walk(
    tokens: &[String],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<Vec<String>>,
) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") => {
                at += 1;
                while at < tokens.len() && tokens[at] != "}" {
                    if tokens[at] == "," {
                        at += 1;
                    } else {
                        let next = walk(tokens, at, &path, found);
                        at = next.max(at + 1);
                    }
                }
                return at + 1;
            }
            Some(word) if is_word(word) || word == "*" => {
                path.push(word.to_owned());
                at += 1;
                // `use a as b`: the new name is no path.
                if tokens.get(at).is_some_and(|token| token == "as") {
                    at += 2;
                }
                if tokens.get(at).is_some_and(|token| token == "::") {
                    at += 1;
                } else {
                    found.push(path);
                    return at;
                }
            }
            _ => {
                found.push(path);
                return at;
            }
        }
    }
}

fn is_word(token: &str) -> bool {
    token
        .chars()
        .all(|character| character.is_alphanumeric() || character == '_')
}

fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut characters = code.chars().peekable();
    while let Some(character) = characters.next() {
        if character.is_alphanumeric() || character == '_' {
            let mut word = String::from(character);
            while let Some(more) = characters.next_if(|next| next.is_alphanumeric() || *next == '_')
            {
                word.push(more);
            }
            tokens.push(word);
        } else if character == ':' && characters.next_if_eq(&':').is_some() {
            tokens.push("::".to_owned());
        } else if !character.is_whitespace() {
            tokens.push(character.to_string());
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        for (text, expected) in [
            ("let a = 1; // dbg!", "let a = 1; "),
            ("let a = \"dbg! // \\\" x\"; b", "let a = \"\"; b"),
            ("let a = r#\"dbg! \" \"#; b", "let a = \"\"; b"),
            ("a /* x /* y */ z */ b", "a  b"),
            ("let c = '\"'; let d = '\\''; e", "let c = ; let d = ; e"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("\"two\nlines\" b", "\"\"\n b"),
        ] {
            assert_eq!(blank(text), expected, "{text}");
        }
    }

    #[test]
    fn paths_are_written_out() {
        for (code, expected) in [
            ("use crate::frame::Opcode;", vec!["crate::frame::Opcode"]),
            (
                "use crate::{close::CloseCode, mask};",
                vec!["crate::close::CloseCode", "crate::mask"],
            ),
            (
                "use super::super::a::{b, c::{d, e as f}};",
                vec![
                    "super::super::a::b",
                    "super::super::a::c::d",
                    "super::super::a::c::e",
                ],
            ),
            ("let x = crate::utf8::check(y);", vec!["crate::utf8::check"]),
            ("pub(crate) fn f() {}", vec![]),
            ("use super::*;", vec!["super::*"]),
        ] {
            let found: Vec<String> = paths(code).iter().map(|path| path.join("::")).collect();
            assert_eq!(found, expected, "{code}");
        }
    }

    #[test]
    fn tests_at_the_end_are_told_apart() {
        let lines = lines("fn a() {}\n#[cfg(test)]\nmod tests {\n    use super::*;\n}\n");
        assert_eq!(
            lines.iter().map(|line| line.test).collect::<Vec<_>>(),
            [false, true, true, true, true]
        );
    }
}
