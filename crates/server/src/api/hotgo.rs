//! The calls of hotgo's server around its socket, in its envelope: send to a tag, who is online, put somebody out. Unlike
//! there, each needs a key.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use antiphon_hub::{code::close, hub::Client, id::ConnectionId, json::Json};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::api::{error::CallError, sending::named, state::ApiState};

/// Entries of a page that does not say how many.
const PAGE: usize = 10;

/// Most entries of a page.
const MAX_PAGE: usize = 200;

/// Code of an envelope: done.
const DONE: i32 = 0;

/// Code of an envelope: the application refuses.
const REFUSED: i32 = -1;

/// Code of an envelope: the request is wrong.
const INVALID: i32 = 51;

/// Code of an envelope: no key, or one that may not.
pub(crate) const UNAUTHORIZED: i32 = 61;

/// hotgo's envelope around every answer.
#[derive(Debug, Serialize)]
pub(crate) struct Envelope {
    code: i32,
    message: String,
    data: Value,
    timestamp: u64,
    #[serde(rename = "traceID")]
    trace: String,
}

impl Envelope {
    /// An envelope with this code.
    pub(crate) fn new(code: i32, message: impl Into<String>, data: Value) -> Self {
        Self {
            code,
            message: message.into(),
            data,
            timestamp: seconds(SystemTime::now()),
            trace: ConnectionId::random().to_string(),
        }
    }

    fn done(data: Value) -> Self {
        Self::new(DONE, "OK", data)
    }

    fn invalid(error: &CallError) -> Self {
        Self::new(INVALID, error.message.clone(), Value::Null)
    }
}

/// What hotgo sends: its own envelope of the socket.
#[derive(Debug, Deserialize)]
struct Message {
    event: String,
    #[serde(default)]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    code: i64,
    #[serde(default)]
    timestamp: u64,
}

/// The message as hotgo puts it into the data of itself.
#[derive(Serialize)]
struct Wrapped<'a> {
    event: &'a str,
    data: Option<&'a RawValue>,
    code: i64,
    timestamp: u64,
}

/// `POST {socket}/send/toTag`: `tag` and `response`, as JSON or as a form.
pub(crate) async fn to_tag(state: &ApiState, form: bool, body: &str) -> Envelope {
    match send(state, form, body).await {
        Ok(()) => Envelope::done(Value::Null),
        Err(error) => Envelope::invalid(&error),
    }
}

async fn send(state: &ApiState, form: bool, body: &str) -> Result<(), CallError> {
    #[derive(Deserialize)]
    struct ToTag {
        tag: String,
        response: Message,
    }
    let text;
    let body = if form {
        text = from_form(body);
        text.as_str()
    } else {
        body
    };
    let ToTag { tag, response } = crate::api::call::read(body)?;
    let longest = state.hub().config().max_name_length;
    named("tag", &tag, longest)?;
    named("response.event", &response.event, longest)?;
    if response.event.starts_with('$') {
        let what = "names with $ are the protocol's";
        return Err(CallError::field("response.event", what));
    }
    let data = if state.double_wrap() {
        Some(Json::of(&Wrapped {
            event: &response.event,
            data: response.data.as_deref(),
            code: response.code,
            timestamp: response.timestamp,
        })?)
    } else {
        response.data.as_deref().map(Json::from_raw).transpose()?
    };
    state
        .hub()
        .tag(tag)
        .send_json(&response.event, data)
        .await?;
    Ok(())
}

/// `tag=..&response[event]=..&response[data]=..`, or `response` as JSON: the same as JSON.
fn from_form(body: &str) -> String {
    let fields = pairs(body);
    let json = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    let mut response = match fields.get("response") {
        Some(text) => json(text),
        None => Value::Object(serde_json::Map::new()),
    };
    if let Some(response) = response.as_object_mut() {
        for (name, value) in &fields {
            let inner = name.strip_prefix("response[");
            match inner.and_then(|name| name.strip_suffix(']')) {
                Some("event") => {
                    response.insert("event".into(), value.as_str().into());
                }
                Some(name @ ("data" | "code" | "timestamp")) => {
                    response.insert(name.into(), json(value));
                }
                _ => {}
            }
        }
    }
    let mut all = serde_json::Map::new();
    if let Some(tag) = fields.get("tag") {
        all.insert("tag".into(), tag.as_str().into());
    }
    all.insert("response".into(), response);
    Value::Object(all).to_string()
}

/// The fields of a form or a query. Of a list, `name[]` or `name[0]`, `name[0]` and on.
fn pairs(text: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    let mut fields = BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let mut name = decode(name);
        if let Some(list) = name.strip_suffix("[]") {
            let mut numbered = (0..2).map(|at| format!("{list}[{at}]"));
            let Some(free) = numbered.find(|name| !fields.contains_key(name)) else {
                continue;
            };
            name = free;
        }
        fields.insert(name, decode(value));
    }
    fields
}

/// A row of the list, with hotgo's names.
#[derive(Debug, Serialize)]
struct Online {
    id: String,
    ip: String,
    os: &'static str,
    browser: &'static str,
    #[serde(rename = "firstTime")]
    first: u64,
    #[serde(rename = "heartbeatTime")]
    heartbeat: u64,
    app: String,
    #[serde(rename = "userId")]
    user: Value,
    username: String,
    avatar: String,
}

impl Online {
    fn new(client: &Client) -> Self {
        let details = client.details();
        let shown: Value = details
            .info
            .as_ref()
            .and_then(|info| info.to().ok())
            .unwrap_or_default();
        let text = |name: &str| shown[name].as_str().unwrap_or_default().to_owned();
        let user: &str = details.user.as_deref().unwrap_or_default();
        let agent = details.user_agent.as_deref().unwrap_or_default();
        let identity = client.identity();
        Self {
            id: details.id.to_string(),
            ip: details
                .address
                .map(|address| address.to_string())
                .unwrap_or_default(),
            os: os(agent),
            browser: browser(agent),
            first: identity
                .issued_at
                .map_or(details.connected_at / 1000, seconds),
            heartbeat: details.last_active / 1000,
            app: details.app.as_deref().unwrap_or_default().to_owned(),
            user: match user.parse::<i64>() {
                Ok(number) => number.into(),
                Err(_) if user.is_empty() => 0.into(),
                Err(_) => user.into(),
            },
            username: text("username"),
            avatar: text("avatar"),
        }
    }
}

/// `GET /admin/monitor/userOnlineList`, sorted by login and id.
///
/// # Errors
///
/// As [`ApiState::scan`].
pub(crate) async fn online(state: &ApiState, query: &str) -> Result<Envelope, CallError> {
    let fields = pairs(query);
    let given = |name: &str| fields.get(name).filter(|value| !value.is_empty());
    let number = |name: &str, default: usize, most: usize| match given(name) {
        None => Ok(default),
        Some(text) => match text.parse() {
            Ok(number) if (1..=most).contains(&number) => Ok(number),
            _ => Err(CallError::field(name, format!("1 to {most}"))),
        },
    };
    let time = |name: &str| given(name).map(|text| (name.to_owned(), moment(text)));
    let (page, size) = match (
        number("page", 1, usize::MAX),
        number("pageSize", PAGE, MAX_PAGE),
    ) {
        (Ok(page), Ok(size)) => (page, size),
        (Err(error), _) | (_, Err(error)) => return Ok(Envelope::invalid(&error)),
    };
    let mut bounds = [None, None];
    for (bound, name) in bounds.iter_mut().zip(["firstTime[0]", "firstTime[1]"]) {
        match time(name) {
            Some((name, None)) => {
                let what = "Unix seconds or YYYY-MM-DD hh:mm:ss (UTC)";
                return Ok(Envelope::invalid(&CallError::field(&name, what)));
            }
            Some((_, moment)) => *bound = moment,
            None => {}
        }
    }
    let wanted = |name: &str| given(name).cloned();
    let (user, username, ip) = (wanted("userId"), wanted("username"), wanted("ip"));
    let mut rows = state
        .scan(move |hub| {
            let clients = match &user {
                // hotgo's page asks for 0 where it has no filter.
                Some(user) if user != "0" => hub.user(user.as_str()).clients(),
                _ => hub.all().clients(),
            };
            let mut rows: Vec<Online> = clients.iter().map(Online::new).collect();
            rows.retain(|row| {
                username.as_ref().is_none_or(|name| row.username == *name)
                    && ip.as_ref().is_none_or(|ip| row.ip.contains(ip.as_str()))
                    && bounds[0].is_none_or(|from| row.first >= from)
                    && bounds[1].is_none_or(|to| row.first <= to)
            });
            rows.sort_unstable_by(|a, b| (a.first, &a.id).cmp(&(b.first, &b.id)));
            rows
        })
        .await?;
    let total = rows.len();
    let start = (page - 1).saturating_mul(size).min(total);
    let list: Vec<Online> = rows
        .drain(start..total.min(start.saturating_add(size)))
        .collect();
    let data = serde_json::json!({
        "list": list,
        "page": page,
        "pageSize": size,
        "pageCount": total.div_ceil(size),
        "totalCount": total,
    });
    Ok(Envelope::done(data))
}

/// `POST /admin/monitor/userOffline`: a kick, and the close after it.
pub(crate) async fn offline(state: &ApiState, form: bool, body: &str) -> Envelope {
    let id = if form {
        pairs(body).remove("id")
    } else {
        #[derive(Deserialize)]
        struct Offline {
            id: String,
        }
        crate::api::call::read::<Offline>(body)
            .ok()
            .map(|offline| offline.id)
    };
    let Some(id) = id.filter(|id| !id.is_empty()) else {
        return Envelope::invalid(&CallError::field("id", "missing"));
    };
    let closed = match id.parse::<ConnectionId>() {
        Ok(id) => {
            let reached = state
                .hub()
                .connection(id)
                .disconnect(close::FORCE_NO_RECONNECT)
                .await;
            reached.connections > 0 || reached.remote
        }
        Err(_) => false,
    };
    if closed {
        Envelope::done(Value::Null)
    } else {
        Envelope::new(REFUSED, "already offline", Value::Null)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Unix seconds, Unix milliseconds, or `YYYY-MM-DD hh:mm:ss` in UTC.
fn moment(text: &str) -> Option<u64> {
    if let Ok(number) = text.parse::<u64>() {
        return Some(if number > 100_000_000_000 {
            number / 1000
        } else {
            number
        });
    }
    let (date, clock) = text.split_once([' ', 'T']).unwrap_or((text, "0:0:0"));
    let numbers = |text: &str, by: char| -> Option<[u64; 3]> {
        let parts: Vec<u64> = text
            .split(by)
            .map(|part| part.parse().ok())
            .collect::<Option<_>>()?;
        parts.try_into().ok()
    };
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(clock, ':')?;
    let valid = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !valid {
        return None;
    }
    // Days since 1970, with March as the first month, so that leap days come last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

fn os(agent: &str) -> &'static str {
    first(
        agent,
        &[
            ("Windows", "Windows"),
            ("Android", "Android"),
            ("iPhone", "iPhone"),
            ("iPad", "iPad"),
            ("Mac OS", "Mac OS"),
            ("Linux", "Linux"),
        ],
    )
}

fn browser(agent: &str) -> &'static str {
    first(
        agent,
        &[
            ("Edg/", "Edge"),
            ("OPR/", "Opera"),
            ("Firefox/", "Firefox"),
            ("Chrome/", "Chrome"),
            ("Safari/", "Safari"),
        ],
    )
}

fn first(agent: &str, names: &[(&str, &'static str)]) -> &'static str {
    names
        .iter()
        .find(|(mark, _)| agent.contains(mark))
        .map_or("", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_numbers_and_as_dates() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1700000000", Some(1_700_000_000)),
            ("1700000000123", Some(1_700_000_000)),
            ("1970-01-01 00:00:00", Some(0)),
            ("2023-11-14 22:13:20", Some(1_700_000_000)),
            ("2024-02-29", Some(1_709_164_800)),
            ("2024-03-01T00:00:01", Some(1_709_251_201)),
            ("1969-12-31 23:59:59", None),
            ("2024-13-01", None),
            ("2024-01-01 24:00:00", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(moment(text), expected, "{text}");
        }
    }

    #[test]
    fn a_form_is_the_same_as_json() {
        for (form, json) in [
            (
                "tag=a&response[event]=e&response[data][x]=1",
                r#"{"tag":"a","response":{"event":"e"}}"#,
            ),
            (
                "tag=a+b&response%5Bevent%5D=e&response%5Bdata%5D=%7B%22x%22%3A1%7D",
                r#"{"tag":"a b","response":{"data":{"x":1},"event":"e"}}"#,
            ),
            (
                "tag=a&response=%7B%22event%22%3A%22e%22%7D",
                r#"{"tag":"a","response":{"event":"e"}}"#,
            ),
            ("response=x", r#"{"response":"x"}"#),
        ] {
            assert_eq!(from_form(form), json, "{form}");
        }
        let list = pairs("firstTime[]=1&firstTime[]=2&firstTime[]=3");
        assert_eq!(
            (list["firstTime[0]"].as_str(), list["firstTime[1]"].as_str()),
            ("1", "2")
        );
    }
}
