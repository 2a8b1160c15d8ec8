//! What a backend answers, in the shapes of Centrifugo's proxies, and what the server makes of it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use antiphon_hub::{code::ErrorCode, identity::Identity, json::Json, permission::Permissions};
use serde::{Deserialize, de::DeserializeOwned, de::IgnoredAny};

/// Why a client gets no: an error for its request, or the end of its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The code for the client: one of the server's table, or the application's own.
    pub(crate) code: i32,
    /// A text for people.
    pub(crate) message: String,
    /// Whether the same request may succeed a little later.
    pub(crate) temporary: bool,
    /// With which code and reason the connection is to be closed, if it is.
    pub(crate) disconnect: Option<(u16, String)>,
}

impl Refusal {
    /// The refusal of the server's own table.
    pub(crate) fn of(code: ErrorCode) -> Self {
        Self {
            code: code.number(),
            message: code.message().into(),
            temporary: code.is_temporary(),
            disconnect: None,
        }
    }
}

/// A connection that is welcome.
#[derive(Clone, Default, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct ConnectAnswer {
    /// The user; `None` leaves who it is to the token, or the client anonymous.
    pub(crate) user: Option<Arc<str>>,
    /// What revokes this login alone.
    pub(crate) session: Option<Arc<str>>,
    /// The application that the user has signed in to.
    pub(crate) app: Option<Arc<str>>,
    /// The kind of device.
    pub(crate) platform: Option<Arc<str>>,
    /// When the connection has to end.
    pub(crate) expires_at: Option<SystemTime>,
    /// What others are shown about the client.
    pub(crate) info: Option<Json>,
    /// What the client is sent with the welcome.
    pub(crate) data: Option<Json>,
    /// Tags that the connection joins at once.
    pub(crate) tags: Vec<Arc<str>>,
    /// What the backend is told again in every later hook of the connection; clients never see it.
    pub(crate) meta: Option<Json>,
    /// What the client may do, instead of what its token or the configuration says.
    pub(crate) permissions: Option<Permissions>,
}

impl ConnectAnswer {
    /// Who it is now: what the backend says stands above what was known before.
    pub(crate) fn identify(&self, mut identity: Identity) -> Identity {
        let replace = |old: &mut Option<Arc<str>>, new: &Option<Arc<str>>| {
            if let Some(new) = new {
                *old = Some(Arc::clone(new));
            }
        };
        replace(&mut identity.user, &self.user);
        replace(&mut identity.session, &self.session);
        replace(&mut identity.app, &self.app);
        replace(&mut identity.platform, &self.platform);
        if self.expires_at.is_some() {
            identity.expires_at = self.expires_at;
        }
        if self.info.is_some() {
            identity.info.clone_from(&self.info);
        }
        if let Some(permissions) = &self.permissions {
            identity.permissions = Arc::new(permissions.clone());
        }
        identity.tags.extend(self.tags.iter().cloned());
        identity
    }
}

/// A client that may join a tag.
#[derive(Clone, Default, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct SubscribeAnswer {
    /// What others in the tag are shown about the client.
    pub(crate) info: Option<Json>,
    /// What the client is sent with the answer.
    pub(crate) data: Option<Json>,
    /// When the membership has to end.
    pub(crate) expires_at: Option<SystemTime>,
}

/// A message that may be published.
#[derive(Clone, Default, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct PublishAnswer {
    /// What is published instead of what the client has sent.
    pub(crate) data: Option<Json>,
    /// Whether the history must not keep it.
    pub(crate) skip_history: bool,
}

/// The answer to an event.
#[derive(Clone, Default, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct RpcAnswer {
    /// What the client is answered.
    pub(crate) data: Option<Json>,
}

/// An answer as it comes: fields that are unknown are for other servers and newer versions.
#[derive(Deserialize)]
struct Reply<R> {
    #[serde(default = "Option::default")]
    result: Option<R>,
    error: Option<WireError>,
    disconnect: Option<WireDisconnect>,
}

#[derive(Deserialize)]
struct WireError {
    code: i32,
    #[serde(default)]
    message: String,
    #[serde(default)]
    temporary: bool,
}

#[derive(Deserialize)]
struct WireDisconnect {
    code: u16,
    #[serde(default)]
    reason: String,
}

/// Most bytes of a reason in a Close frame (RFC 6455 section 5.5: 125 less the code).
const REASON: usize = 123;

/// Most bytes of an error's message.
const MESSAGE: usize = 1024;

/// What a hook's answer means.
///
/// # Errors
///
/// A sentence about an answer that means nothing; it does not repeat the answer.
pub(super) fn read<A: Meaning>(body: &[u8]) -> Result<Result<A, Refusal>, String> {
    let reply: Reply<A::Wire> = serde_json::from_slice(body).map_err(|error| {
        // serde's own words may quote a value, and values may be private.
        format!(
            "it is not the JSON that the documentation shows (line {}, column {})",
            error.line(),
            error.column()
        )
    })?;
    if let Some(WireDisconnect { code, reason }) = reply.disconnect {
        if !(3000..=4999).contains(&code) {
            return Err(format!("disconnect.code {code} is not within 3000 to 4999"));
        }
        let reason = shorten(reason, REASON);
        return Ok(Err(Refusal {
            message: reason.clone(),
            disconnect: Some((code, reason)),
            ..Refusal::of(ErrorCode::PermissionDenied)
        }));
    }
    if let Some(error) = reply.error {
        if error.code < 100 {
            return Err(format!("error.code {} is not 100 or more", error.code));
        }
        return Ok(Err(Refusal {
            code: error.code,
            message: shorten(error.message, MESSAGE),
            temporary: error.temporary,
            disconnect: None,
        }));
    }
    match reply.result {
        Some(result) => Ok(A::meaning(result)),
        None => Err("it has neither result, error nor disconnect".into()),
    }
}

/// What stands for an answer on the wire.
pub(super) trait Meaning: Sized {
    /// As it stands in `result`.
    type Wire: DeserializeOwned;

    /// What it means.
    fn meaning(wire: Self::Wire) -> Result<Self, Refusal>;
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireConnect {
    user: Option<Arc<str>>,
    session: Option<Arc<str>>,
    app: Option<Arc<str>>,
    platform: Option<Arc<str>>,
    expire_at: Option<u64>,
    info: Option<Json>,
    data: Option<Json>,
    channels: Option<Vec<Arc<str>>>,
    subs: Option<BTreeMap<Arc<str>, IgnoredAny>>,
    meta: Option<Json>,
    permissions: Option<Permissions>,
}

impl Meaning for ConnectAnswer {
    type Wire = WireConnect;

    fn meaning(wire: WireConnect) -> Result<Self, Refusal> {
        let mut tags = wire.channels.unwrap_or_default();
        for (tag, _) in wire.subs.unwrap_or_default() {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        Ok(Self {
            user: some(wire.user),
            session: some(wire.session),
            app: some(wire.app),
            platform: some(wire.platform),
            expires_at: expiry(wire.expire_at)?,
            info: wire.info,
            data: wire.data,
            tags,
            meta: wire.meta,
            permissions: wire.permissions,
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireSubscribe {
    info: Option<Json>,
    data: Option<Json>,
    expire_at: Option<u64>,
}

impl Meaning for SubscribeAnswer {
    type Wire = WireSubscribe;

    fn meaning(wire: WireSubscribe) -> Result<Self, Refusal> {
        Ok(Self {
            info: wire.info,
            data: wire.data,
            expires_at: expiry(wire.expire_at)?,
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WirePublish {
    data: Option<Json>,
    skip_history: bool,
}

impl Meaning for PublishAnswer {
    type Wire = WirePublish;

    fn meaning(wire: WirePublish) -> Result<Self, Refusal> {
        Ok(Self {
            data: wire.data,
            skip_history: wire.skip_history,
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireRpc {
    data: Option<Json>,
}

impl Meaning for RpcAnswer {
    type Wire = WireRpc;

    fn meaning(wire: WireRpc) -> Result<Self, Refusal> {
        Ok(Self { data: wire.data })
    }
}

/// Languages without `None` say it with an empty text.
fn some(text: Option<Arc<str>>) -> Option<Arc<str>> {
    text.filter(|text| !text.is_empty())
}

/// A time in seconds since 1970; 0 is none. What is over already is refused, and what no clock holds never ends.
fn expiry(seconds: Option<u64>) -> Result<Option<SystemTime>, Refusal> {
    let Some(seconds) = seconds.filter(|seconds| *seconds > 0) else {
        return Ok(None);
    };
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    match at {
        Some(at) if at <= SystemTime::now() => Err(Refusal::of(ErrorCode::Expired)),
        at => Ok(at),
    }
}

/// At most so many bytes, cut between characters.
fn shorten(mut text: String, most: usize) -> String {
    let end = (0..=most.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(body: &str) -> Result<Result<ConnectAnswer, Refusal>, String> {
        read(body.as_bytes())
    }

    #[test]
    fn a_welcome_says_who_it_is() {
        let answer = connect(
            r#"{"result":{"user":"42","expire_at":4102444800,"info":{"name":"A"},"data":{"hello":[1]},
                "channels":["a"],"subs":{"a":{},"b":{"info":1}},"meta":{"t":1},"unknown":true,
                "permissions":{"join":["room:*"]}}}"#,
        )
        .unwrap()
        .unwrap();
        assert_eq!(answer.user.as_deref(), Some("42"));
        assert_eq!(answer.data.as_ref().unwrap().as_str(), r#"{"hello":[1]}"#);
        assert_eq!(
            answer.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(),
            ["a", "b"]
        );

        let mut known = Identity::anonymous(Arc::new(Permissions::all()));
        known.user = Some("token".into());
        known.app = Some("app".into());
        known.tags = vec!["own".into()];
        let identity = answer.identify(known);
        assert_eq!(identity.user.as_deref(), Some("42"));
        assert_eq!(identity.app.as_deref(), Some("app"));
        assert_eq!(identity.tags.len(), 3);
        assert!(identity.expires_at.is_some() && identity.info.is_some());
        assert!(identity.permissions.join.allow("room:1", None));
        assert!(!identity.permissions.publish.allow("room:1", None));
    }

    #[test]
    fn an_empty_welcome_changes_nothing() {
        for body in [
            r#"{"result":{}}"#,
            r#"{"result":{"user":"","expire_at":0,"info":null,"channels":null,"subs":null},"error":null}"#,
        ] {
            let answer = connect(body).unwrap().unwrap();
            assert_eq!(answer, ConnectAnswer::default(), "{body}");
            let known = Identity::user("7", Arc::default());
            assert_eq!(answer.identify(known).user.as_deref(), Some("7"));
        }
    }

    #[test]
    fn refusals() {
        for (body, code, message, temporary, disconnect) in [
            (
                r#"{"error":{"code":1000,"message":"no"}}"#,
                1000,
                "no",
                false,
                None,
            ),
            (
                r#"{"error":{"code":111,"temporary":true}}"#,
                111,
                "",
                true,
                None,
            ),
            (
                r#"{"disconnect":{"code":4500,"reason":"banned"}}"#,
                103,
                "banned",
                false,
                Some(4500),
            ),
            (
                r#"{"result":{"user":"1"},"error":{"code":1001}}"#,
                1001,
                "",
                false,
                None,
            ),
            (
                r#"{"result":{"user":"1","expire_at":1}}"#,
                110,
                "expired",
                false,
                None,
            ),
        ] {
            let refusal = connect(body).unwrap().unwrap_err();
            assert_eq!(
                (refusal.code, refusal.message.as_str(), refusal.temporary),
                (code, message, temporary),
                "{body}"
            );
            assert_eq!(refusal.disconnect.map(|(code, _)| code), disconnect);
        }
        let long = format!(
            r#"{{"disconnect":{{"code":4500,"reason":"{}"}}}}"#,
            "ä".repeat(100)
        );
        let refusal = connect(&long).unwrap().unwrap_err();
        assert_eq!(refusal.disconnect.unwrap().1, "ä".repeat(61));
    }

    #[test]
    fn an_answer_that_means_nothing_is_an_error_and_is_not_repeated() {
        let deep = format!(
            r#"{{"result":{{"info":{}{}}}}}"#,
            "[".repeat(100),
            "]".repeat(100)
        );
        for body in [
            "",
            "canary",
            "{}",
            "[]",
            "null",
            r#"{"result":null}"#,
            r#"{"result":"canary"}"#,
            r#"{"result":{"user":7}}"#,
            r#"{"result":{"user":"canary","expire_at":"soon"}}"#,
            r#"{"result":{"permissions":{"canary":[]}}}"#,
            r#"{"error":{"message":"no code"}}"#,
            r#"{"error":{"code":0}}"#,
            r#"{"error":{"code":-1}}"#,
            r#"{"disconnect":{"code":1000}}"#,
            r#"{"disconnect":{"code":99999}}"#,
            r#"{"result":{}} trailing"#,
            &deep,
        ] {
            let error = connect(body).unwrap_err();
            assert!(!error.contains("canary"), "{body}: {error}");
        }
    }

    #[test]
    fn a_far_expiry_never_ends() {
        let body = format!(r#"{{"result":{{"expire_at":{}}}}}"#, u64::MAX);
        assert_eq!(connect(&body).unwrap().unwrap().expires_at, None);
    }
}
