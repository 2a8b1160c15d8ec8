//! Bars as SVG that can be read on light and on dark pages; no script, no font, no picture from anywhere.

use std::fmt::Write as _;

use crate::bench::figures::Figures;
use crate::bench::rows::{LIMITS, Row, Work};
use crate::bench::table::grouped;

/// A chart: its file's ending, its title, and the rows in it.
pub(super) const CHARTS: &[(&str, &str, &[&str])] = &[
    (
        "echo",
        "Echo: messages for each second of the server's CPU",
        &[
            "echo-125",
            "echo-125-depth-16",
            "echo-16k",
            "echo-1000",
            "echo-1m",
        ],
    ),
    (
        "deflate",
        "Compressed echo: messages for each second of the server's CPU",
        &[
            "deflate-1k",
            "deflate-1k-takeover",
            "deflate-240",
            "deflate-240-takeover",
        ],
    ),
    (
        "fanout",
        "Fan-out: deliveries for each second of the server's CPU",
        &[
            "fanout",
            "fanout-16",
            "fanout-10000",
            "fanout-10000-deflate",
        ],
    ),
    (
        "handshake",
        "Opening handshakes for each second of the server's CPU",
        &["handshake", "handshake-tls"],
    ),
    (
        "idle",
        "Memory of an idle connection: KiB, less is better",
        &["idle", "idle-deflate"],
    ),
];

const WIDTH: f64 = 760.0;
const LABEL: f64 = 170.0;
const NUMBER: f64 = 110.0;
const LINE: f64 = 22.0;
const BAR: f64 = 14.0;
const HEAD: f64 = 34.0;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#1f2328}.h{font-weight:600;font-size:13px}\
.t{font-weight:600;font-size:15px}.ours{fill:#0a6cbd}.peer{fill:#8c959f}.limit{fill:#c9a227}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.ours{fill:#4aa3f0}.peer{fill:#7d8590}.limit{fill:#d4b13f}}";

/// Draws these rows, each on a scale of its own; `None` if none of them was measured.
pub(super) fn bars(title: &str, rows: &[(&Row, &Figures)]) -> Option<String> {
    let (mut body, mut y) = (String::new(), HEAD);
    for (row, figures) in rows {
        let memory = matches!(row.work, Work::Idle { .. });
        let mut bars: Vec<(&str, f64)> = figures
            .iter()
            .map(|(name, figure)| (*name, figure.median.value))
            .collect();
        bars.sort_by(|(_, one), (_, other)| {
            if memory {
                one.total_cmp(other)
            } else {
                other.total_cmp(one)
            }
        });
        let most = bars.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        if most <= 0.0 {
            continue;
        }
        y += LINE;
        let _ = writeln!(
            body,
            "<text class=\"h\" x=\"8\" y=\"{y:.0}\">{}</text>",
            escaped(row.title)
        );
        y += 8.0;
        for (name, value) in bars {
            let class = if row.ours.iter().any(|(ours, _)| *ours == name) {
                "ours"
            } else if LIMITS.contains(&name) {
                "limit"
            } else {
                "peer"
            };
            let width = ((WIDTH - LABEL - NUMBER) * value / most).max(1.0);
            let number = if memory {
                format!("{:.2}", value / 1024.0)
            } else {
                grouped(value)
            };
            let base = y + BAR - 3.0;
            let _ = writeln!(
                body,
                "<text x=\"{:.0}\" y=\"{base:.0}\" text-anchor=\"end\">{}</text>\
                 <rect class=\"{class}\" x=\"{LABEL:.0}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"{BAR:.0}\"/>\
                 <text x=\"{:.1}\" y=\"{base:.0}\">{number}</text>",
                LABEL - 8.0,
                escaped(name),
                LABEL + width + 6.0,
            );
            y += LINE;
        }
    }
    if body.is_empty() {
        return None;
    }
    let (height, title) = (y + 10.0, escaped(title));
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" width=\"{WIDTH:.0}\" \
         height=\"{height:.0}\" role=\"img\" aria-label=\"{title}\">\n<style>{STYLE}</style>\n\
         <text class=\"t\" x=\"8\" y=\"24\">{title}</text>\n{body}</svg>\n"
    ))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::{Sample, figure};
    use crate::bench::rows::ROWS;

    /// Every tag is closed by its own name, in order, and nothing stands outside of one.
    fn well_formed(svg: &str) {
        let mut open = Vec::new();
        let mut rest = svg;
        while let Some(start) = rest.find('<') {
            let end = start + rest[start..].find('>').expect("a tag ends");
            let tag = &rest[start + 1..end];
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop().as_deref(), Some(name));
            } else if !tag.ends_with('/') {
                open.push(tag.split([' ', '\n']).next().unwrap_or_default().to_owned());
            }
            rest = &rest[end + 1..];
        }
        assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
    }

    #[test]
    fn a_chart_is_well_formed_and_shows_every_peer() {
        let value = |value| {
            figure(&[Sample {
                value,
                ..Sample::default()
            }])
            .unwrap()
        };
        let figures = Figures::from([
            ("antiphon", value(3.0e6)),
            ("raw-epoll", value(3.3e6)),
            ("a<b>&\"", value(1.0)),
        ]);
        let svg = bars("Echo & \"more\"", &[(&ROWS[0], &figures)]).unwrap();
        well_formed(&svg);
        for part in [
            "class=\"ours\"",
            "class=\"limit\"",
            "class=\"peer\"",
            "3,300,000",
            "a&lt;b&gt;&amp;",
            "dark",
        ] {
            assert!(svg.contains(part), "{part}");
        }
        assert_eq!(bars("Nothing", &[(&ROWS[0], &Figures::new())]), None);
    }

    #[test]
    fn every_row_is_drawn_once_except_those_that_repeat_another() {
        for row in ROWS.iter().filter(|row| row.name != "server") {
            let drawn = CHARTS
                .iter()
                .filter(|(.., rows)| rows.contains(&row.name))
                .count();
            assert_eq!(drawn, 1, "{}", row.name);
        }
    }
}
