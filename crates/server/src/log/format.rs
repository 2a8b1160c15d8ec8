//! A line for people, or a JSON object: nothing that a peer has sent can begin a line, colour it or turn its direction.

use std::{
    fmt::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::{self, Format, Full, Writer},
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

use crate::{
    log::limiter::{Key, Limiter},
    value::printable,
};

/// What can change while the server runs.
pub(super) struct Manner {
    pub(super) json: AtomicBool,
    pub(super) limiter: Limiter,
    pub(super) clock: fn() -> Instant,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            json: AtomicBool::new(false),
            limiter: Limiter::default(),
            clock: Instant::now,
        }
    }
}

/// Writes events as the manner says.
pub(super) struct Lines {
    pub(super) text: Format<Full>,
    pub(super) manner: Arc<Manner>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let more = match Key::of(event) {
            None => 0,
            Some(key) => match self.manner.limiter.admit(key, (self.manner.clock)()) {
                Some(more) => more,
                None => return Ok(()),
            },
        };
        if self.manner.json.load(Ordering::Relaxed) {
            return writeln!(writer, "{}", object(context, event, more));
        }
        if more == 0 {
            return self.text.format_event(context, writer, event);
        }
        let mut line = String::new();
        let text = self.text.clone().with_ansi(writer.has_ansi_escapes());
        text.format_event(context, Writer::new(&mut line), event)?;
        writeln!(writer, "{} ({more} more were left out)", line.trim_end())
    }
}

/// How the fields of text lines are written.
pub(super) fn fields() -> impl for<'a> FormatFields<'a> + 'static {
    use tracing_subscriber::field::MakeExt as _;
    format::debug_fn(|writer, field, value| {
        let text = one_line(&format!("{value:?}"));
        let name = field.name();
        if name == "message" {
            writer.write_str(&text)
        } else if writer.has_ansi_escapes() {
            // Italic, dimmed, and back.
            write!(writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{text}")
        } else {
            write!(writer, "{name}={text}")
        }
    })
    .delimited(" ")
}

/// Text that stays on its line and does nothing to a terminal.
fn one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// The event as a JSON object.
fn object<S, N>(context: &FmtContext<'_, S, N>, event: &Event<'_>, more: u64) -> String
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    let mut time = String::new();
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    let metadata = event.metadata();
    let mut object = Map::new();
    object.insert("time".into(), time.into());
    object.insert("level".into(), metadata.level().as_str().into());
    object.insert("target".into(), metadata.target().into());
    let mut fields = Fields(Map::new());
    event.record(&mut fields);
    if let Some(message) = fields.0.remove("message") {
        object.insert("message".into(), message);
    }
    if !fields.0.is_empty() {
        object.insert("fields".into(), Value::Object(fields.0));
    }
    let spans: Vec<Value> = context
        .event_scope()
        .map(|scope| {
            scope
                .from_root()
                .map(|span| {
                    let extensions = span.extensions();
                    let fields = extensions.get::<FormattedFields<N>>();
                    match fields.filter(|fields| !fields.is_empty()) {
                        Some(fields) => format!("{}{{{fields}}}", span.name()).into(),
                        None => span.name().into(),
                    }
                })
                .collect()
        })
        .unwrap_or_default();
    if !spans.is_empty() {
        object.insert("spans".into(), spans.into());
    }
    if more > 0 {
        object.insert("leftOut".into(), more.into());
    }
    escaped(&Value::Object(object).to_string())
}

/// JSON lets some characters through that terminals obey. They stand in strings alone.
fn escaped(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if printable(c.encode_utf8(&mut [0; 4])).len() == c.len_utf8() {
            safe.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        }
    }
    safe
}

/// Fields as JSON values.
struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }
}
