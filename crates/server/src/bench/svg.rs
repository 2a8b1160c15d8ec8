//! A picture of latencies that stands by itself: no script, no font, readable on light and on dark.

use std::fmt::Write as _;

use crate::bench::{
    latency::{Latencies, time},
    report::Report,
};

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 20.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 70.0;
const BOTTOM: f64 = 50.0;
/// Bars for each doubling of the latency.
const STEPS: u32 = 4;
/// Least distance between two labels of the axis.
const APART: f64 = 64.0;

/// The latencies as a histogram over a logarithmic axis, with percentiles.
pub(crate) fn picture(report: &Report) -> String {
    let latencies = report.latencies();
    let bars = latencies.bars(STEPS);
    let most = bars.iter().map(|bar| bar.count).max().unwrap_or(1).max(1);
    let (width, height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let low = bars
        .first()
        .map_or(1.0, |bar| bar.from.max(1) as f64)
        .log2();
    let high = bars.last().map_or(2.0, |bar| bar.to.max(2) as f64).log2();
    let x = |nanoseconds: f64| {
        LEFT + (nanoseconds.max(1.0).log2() - low) / (high - low).max(0.1) * width
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"{title}\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
         <rect class=\"back\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"28\">{title}</text>\n",
        title = escaped(&report.title()),
    );
    for bar in &bars {
        let (from, to) = (x(bar.from as f64), x(bar.to as f64));
        let tall = bar.count as f64 / most as f64 * height;
        let _ = writeln!(
            svg,
            "<rect class=\"bar\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\"><title>{} to {}: {}</title></rect>",
            TOP + height - tall,
            (to - from - 1.0).max(0.5),
            time(bar.from as f64),
            time(bar.to as f64),
            bar.count,
        );
    }
    let base = TOP + height;
    let _ = writeln!(
        svg,
        "<path class=\"axis\" d=\"M{LEFT} {base:.1}H{:.1}\"/>",
        WIDTH - RIGHT
    );
    axis(&mut svg, base, low, high, &x);
    percentiles(&mut svg, base, latencies, &x);
    svg.push_str("</svg>\n");
    svg
}

/// 1, 2, 5, 10, ... as far as there is room.
fn axis(svg: &mut String, base: f64, low: f64, high: f64, x: &impl Fn(f64) -> f64) {
    let mut last = f64::MIN;
    for power in 0..16 {
        for step in [1.0, 2.0, 5.0] {
            let value = step * 10f64.powi(power);
            let place = x(value);
            if value.log2() < low || value.log2() > high || place < last + APART {
                continue;
            }
            last = place;
            let _ = writeln!(
                svg,
                "<path class=\"axis\" d=\"M{place:.1} {base:.1}v6\"/><text class=\"label\" x=\"{place:.1}\" y=\"{:.1}\">{}</text>",
                base + 22.0,
                time(value)
            );
        }
    }
}

/// Lines at the percentiles, their labels above one another where they would touch.
fn percentiles(svg: &mut String, base: f64, latencies: &Latencies, x: &impl Fn(f64) -> f64) {
    if latencies.count() == 0 {
        return;
    }
    let marks = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9")];
    for (line, (part, name)) in marks.into_iter().enumerate() {
        let value = latencies.quantile(part) as f64;
        let place = x(value).clamp(LEFT, WIDTH - RIGHT);
        let top = TOP - 22.0 + line as f64 * 14.0;
        let anchor = if place > WIDTH * 0.8 { "end" } else { "start" };
        let aside = if anchor == "end" { -4.0 } else { 4.0 };
        let _ = writeln!(
            svg,
            "<path class=\"mark\" d=\"M{place:.1} {:.1}V{base:.1}\"/><text class=\"note\" text-anchor=\"{anchor}\" x=\"{:.1}\" y=\"{top:.1}\">{name} {}</text>",
            top - 8.0,
            place + aside,
            time(value)
        );
    }
}

const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#24292f}
.title{font-weight:600;font-size:15px}
.label{text-anchor:middle;fill:#57606a}
.back{fill:#fff}
.bar{fill:#3b82f6}
.axis{stroke:#8c959f;fill:none}
.mark{stroke:#cf222e;stroke-dasharray:3 3;fill:none}
@media(prefers-color-scheme:dark){
text{fill:#e6edf3}
.label{fill:#9198a1}
.back{fill:#0d1117}
.bar{fill:#4493f8}
.axis{stroke:#656c76}
.mark{stroke:#ff7b72}
}
";

/// Text as XML has it.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}
