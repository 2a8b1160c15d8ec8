//! The tables as text: Markdown for docs/protocol.md, TypeScript for clients.

use std::fmt::Write;

use crate::code::{Direction, ErrorCode, SUBPROTOCOLS, close, event};

/// The command that writes the generated files anew.
pub const COMMAND: &str = "cargo xtask tables";

/// The tables as Markdown, each with its name: `events`, `error-codes` and `close-codes`.
#[must_use]
pub fn markdown() -> [(&'static str, String); 3] {
    [
        ("events", events()),
        ("error-codes", error_codes()),
        ("close-codes", close_codes()),
    ]
}

/// Puts the tables between `<!-- generated: NAME -->` and `<!-- /generated -->` of a page.
///
/// # Errors
///
/// A mark is missing; the text names it.
pub fn fill(page: &str) -> Result<String, String> {
    let mut page = page.to_owned();
    for (name, table) in markdown() {
        let (open, close) = (format!("<!-- generated: {name} -->"), "<!-- /generated -->");
        let start = page.find(&open).ok_or(format!("there is no `{open}`"))? + open.len();
        let end = page[start..]
            .find(close)
            .ok_or(format!("there is no `{close}` behind `{open}`"))?
            + start;
        page.replace_range(start..end, &format!("\n{table}"));
    }
    Ok(page)
}

/// The table for clients in TypeScript.
#[must_use]
pub fn typescript() -> String {
    let mut out = format!(
        "// Names and numbers of the protocol. Generated from crates/hub/src/code.rs: run `{COMMAND}` instead of editing.\n"
    );
    out.push_str("\n/** Subprotocols, the preferred one first. */\n");
    let names: Vec<String> = SUBPROTOCOLS
        .iter()
        .map(|name| format!("\"{name}\""))
        .collect();
    let _ = writeln!(
        out,
        "export const SUBPROTOCOLS = [{}] as const;",
        names.join(", ")
    );
    out.push_str(
        "\n/** Events that the server itself handles or sends. */\nexport const ReservedEvent = {\n",
    );
    for (constant, row) in event::NAMES.iter().zip(event::ALL) {
        let _ = writeln!(out, "  /** {} */\n  {constant}: \"{}\",", row.doc, row.name);
    }
    out.push_str("} as const;\n\n/** Why a request failed: `code` of a reply. Numbers from 1000 are the application's. */\nexport const ErrorCode = {\n");
    for code in ErrorCode::ALL {
        let _ = writeln!(
            out,
            "  /** {} */\n  {}: {},",
            code.doc(),
            code.name().to_uppercase(),
            code.number()
        );
    }
    out.push_str(
        "} as const;\n\n/** Codes of errors after which the same request may succeed later. */\n",
    );
    let temporary: Vec<String> = ErrorCode::ALL
        .iter()
        .filter(|code| code.is_temporary())
        .map(|code| code.number().to_string())
        .collect();
    let _ = writeln!(
        out,
        "export const TEMPORARY_ERRORS: readonly number[] = [{}];",
        temporary.join(", ")
    );
    out.push_str("\n/** Codes with which the server closes. */\nexport const CloseCode = {\n");
    for row in close::ROWS {
        let _ = writeln!(
            out,
            "  /** {} */\n  {}: {},",
            row.doc, row.name, row.close.code
        );
    }
    out.push_str(
        "} as const;\n\n/** Whether to connect again after a close code, for any code. */\n\
         export function reconnects(code: number): boolean {\n\
         \x20 return (\n\
         \x20   [1001, 1006, 1011, 1012, 1013].includes(code) ||\n\
         \x20   (code >= 3000 && code <= 3499) ||\n\
         \x20   (code >= 4000 && code <= 4499)\n\
         \x20 );\n\
         }\n",
    );
    out
}

fn events() -> String {
    let mut out = String::from(
        "| event | from | wires | data | data of the reply | |\n|---|---|---|---|---|---|\n",
    );
    for row in event::ALL {
        let from = match row.direction {
            Direction::ToServer => "client",
            Direction::ToClient => "server",
        };
        let _ = writeln!(
            out,
            "| `{}` | {from} | {} | {} | {} | {} |",
            row.name,
            row.wires,
            shape(row.data),
            shape(row.reply),
            row.doc
        );
    }
    out
}

/// A shape as code; words stay words.
fn shape(text: &str) -> String {
    match text {
        "" => String::new(),
        "none" => text.to_owned(),
        text => format!("`{text}`"),
    }
}

fn error_codes() -> String {
    let mut out =
        String::from("| code | name | `errorMsg` | temporary | |\n|---|---|---|---|---|\n");
    for code in ErrorCode::ALL {
        let temporary = if code.is_temporary() { "yes" } else { "no" };
        let _ = writeln!(
            out,
            "| {} | `{}` | {} | {temporary} | {} |",
            code.number(),
            code.name(),
            code.message(),
            code.doc()
        );
    }
    out
}

fn close_codes() -> String {
    let mut out = String::from("| code | name | reason | reconnect | |\n|---|---|---|---|---|\n");
    for row in close::ROWS {
        let reconnect = if row.close.reconnect { "yes" } else { "no" };
        let _ = writeln!(
            out,
            "| {} | `{}` | {} | {reconnect} | {} |",
            row.close.code,
            row.name.to_lowercase(),
            row.close.reason,
            row.doc
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_filled_between_its_marks_only() {
        let page = "a\n<!-- generated: events -->what was here<!-- /generated -->\nb\n<!-- generated: error-codes -->\n\
                    <!-- /generated --><!-- generated: close-codes --><!-- /generated -->";
        let filled = fill(page).unwrap();
        assert!(filled.starts_with("a\n<!-- generated: events -->\n| event |"));
        assert!(!filled.contains("what was here"));
        assert_eq!(fill(&filled).unwrap(), filled);
        assert!(fill("").unwrap_err().contains("generated: events"));
        assert!(
            fill("<!-- generated: events -->")
                .unwrap_err()
                .contains("/generated")
        );
    }
}
