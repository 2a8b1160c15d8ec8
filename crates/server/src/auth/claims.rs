//! From the claims of a token that is genuine to an identity. A claim that is there and not of its type is refused.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use antiphon_hub::{
    identity::Identity,
    json::Json,
    permission::{Patterns, Permissions},
};
use serde_json::{Map, Value};

use crate::auth::{
    error::TokenError,
    settings::{self, AuthSettings, Mode},
};

/// The claims of a token.
pub(crate) type Claims = Map<String, Value>;

/// The longest name of a user, a session, an application, a tag or a pattern, in bytes.
pub(crate) const MAX_NAME: usize = 255;
/// Most tags that a token joins at once.
pub(crate) const MAX_TAGS: usize = 128;
/// The last second of the year 9999: what is later is a mistake, such as milliseconds.
const LAST_SECOND: u64 = 253_402_300_799;

/// What the claims are judged by.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    hotgo: bool,
    /// What a point in time without a zone is written in.
    offset: String,
    user_claim: String,
    anonymous: bool,
    allow_no_exp: bool,
    audience: Vec<String>,
    issuer: Vec<String>,
    leeway: Duration,
    /// For tokens that do not say what their client may do.
    permissions: Arc<Permissions>,
}

impl Rules {
    /// The rules of a configuration.
    pub(crate) fn new(settings: &AuthSettings, permissions: Arc<Permissions>) -> Self {
        Self {
            hotgo: settings.mode == Mode::Hotgo,
            offset: settings.sessions.utc_offset.clone(),
            user_claim: settings.user_claim.clone(),
            anonymous: settings.anonymous,
            allow_no_exp: settings.allow_no_exp,
            audience: settings.audience.clone(),
            issuer: settings.issuer.clone(),
            leeway: settings.leeway,
            permissions,
        }
    }

    /// Who the claims speak of.
    ///
    /// # Errors
    ///
    /// A claim is missing, malformed, or says no.
    pub(crate) fn identity(
        &self,
        claims: &Claims,
        now: SystemTime,
    ) -> Result<Identity, TokenError> {
        if self.hotgo {
            return self.hotgo(claims, now);
        }
        let expires = moment(claims, "exp", "exp is no number of seconds")?;
        let begins = moment(claims, "nbf", "nbf is no number of seconds")?;
        let issued = moment(claims, "iat", "iat is no number of seconds")?;
        if expires.is_none() && !self.allow_no_exp {
            return Err(TokenError::Malformed("exp is missing"));
        }
        if expires.is_some_and(|at| at + self.leeway <= now) {
            return Err(TokenError::Expired);
        }
        // A token from the future would outlive every revocation of its user.
        if [begins, issued]
            .into_iter()
            .flatten()
            .any(|at| at > now + self.leeway)
        {
            return Err(TokenError::NotYetValid);
        }
        self.audience(claims)?;
        let issuer = name(claims, "iss", "iss is no text")?;
        if !self.issuer.is_empty()
            && !issuer.is_some_and(|issuer| self.issuer.iter().any(|known| known == issuer))
        {
            return Err(TokenError::Issuer);
        }

        let user = self.user(claims)?;
        if user.is_none() && !self.anonymous {
            return Err(TokenError::Malformed("the user is missing"));
        }
        let mut identity = Identity::anonymous(self.permissions(claims)?);
        identity.user = user;
        identity.session = name(claims, "jti", "jti is no text")?.map(Into::into);
        identity.app = name(claims, "app", "app is no text")?.map(Into::into);
        identity.platform = name(claims, "platform", "platform is no text")?.map(Into::into);
        identity.issued_at = issued;
        identity.expires_at = expires;
        identity.info = info(claims.get("info"))?;
        identity.tags = tags(claims)?;
        Ok(identity)
    }

    /// hotgo's: identity only, no end; what others see is only what hotgo itself shows.
    fn hotgo(&self, claims: &Claims, now: SystemTime) -> Result<Identity, TokenError> {
        let user = text_or_number(claims.get("id"), "id is no number")?
            .filter(|user| user != "0")
            .ok_or(TokenError::Malformed("id is missing"))?;
        let issued = match claims.get("loginAt") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.is_empty() => None,
            Some(Value::String(text)) => Some(
                settings::point(&format!("{text}{}", self.offset))
                    .ok_or(TokenError::Malformed("loginAt is no point in time"))?,
            ),
            Some(_) => return Err(TokenError::Malformed("loginAt is no point in time")),
        };
        // Such a login would outlive every revocation; the zone of the other server may be set wrong.
        if issued.is_some_and(|at| at > now + self.leeway) {
            return Err(TokenError::NotYetValid);
        }
        if moment(claims, "exp", "exp is no number of seconds")?
            .is_some_and(|at| at + self.leeway <= now)
        {
            return Err(TokenError::Expired);
        }
        let mut info = Map::new();
        for key in ["id", "app", "username", "avatar"] {
            match claims.get(key) {
                Some(value @ (Value::String(_) | Value::Number(_))) => {
                    info.insert(key.to_owned(), value.clone());
                }
                None | Some(Value::Null) => {}
                Some(_) => return Err(TokenError::Malformed("a claim is no text")),
            }
        }
        let mut identity = Identity::user(user, self.permissions.clone());
        identity.app = name(claims, "app", "app is no text")?.map(Into::into);
        identity.issued_at = issued;
        identity.info = self::info(Some(&Value::Object(info)))?;
        Ok(identity)
    }

    fn user(&self, claims: &Claims) -> Result<Option<Arc<str>>, TokenError> {
        let user = if self.user_claim == "sub" {
            // RFC 7519 section 4.1.2: a text.
            name(claims, "sub", "sub is no text")?.map(str::to_owned)
        } else {
            name(claims, "sub", "sub is no text")?;
            text_or_number(claims.get(&self.user_claim), "the user is no text")?
        };
        Ok(user.map(Into::into))
    }

    fn audience(&self, claims: &Claims) -> Result<(), TokenError> {
        let wrong = TokenError::Malformed("aud is neither a text nor a list of texts");
        let named: Vec<&str> = match claims.get("aud") {
            None => Vec::new(),
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(all)) => all
                .iter()
                .map(|one| one.as_str().ok_or(wrong))
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(wrong),
        };
        // RFC 7519 section 4.1.3: who does not find itself in `aud` must reject the token.
        let ours = named
            .iter()
            .any(|one| self.audience.iter().any(|known| known == one));
        if ours || (self.audience.is_empty() && !claims.contains_key("aud")) {
            Ok(())
        } else {
            Err(TokenError::Audience)
        }
    }

    fn permissions(&self, claims: &Claims) -> Result<Arc<Permissions>, TokenError> {
        const WRONG: TokenError = TokenError::Malformed(
            "permissions is no object of lists: events, join, publish, presence",
        );
        match (claims.get("permissions"), claims.get("caps")) {
            (None, None) => Ok(self.permissions.clone()),
            (Some(permissions @ Value::Object(_)), None) => {
                let permissions: Permissions =
                    serde_json::from_value(permissions.clone()).map_err(|_| WRONG)?;
                let all = [
                    &permissions.events,
                    &permissions.join,
                    &permissions.publish,
                    &permissions.presence,
                ];
                if all
                    .into_iter()
                    .flat_map(|list| list.iter())
                    .any(|one| !is_name(one))
                {
                    return Err(TokenError::Malformed(
                        "a pattern in permissions is too long",
                    ));
                }
                Ok(Arc::new(permissions))
            }
            (None, Some(caps)) => self.caps(caps),
            (Some(_), None) => Err(WRONG),
            (Some(_), Some(_)) => Err(TokenError::Malformed("permissions and caps are both there")),
        }
    }

    /// Centrifugo's `caps`: `[{"channels": [..], "match": "wildcard", "allow": ["sub", "pub", "prs", "hst"]}]`.
    fn caps(&self, caps: &Value) -> Result<Arc<Permissions>, TokenError> {
        const WRONG: TokenError =
            TokenError::Malformed("caps is no list of {channels, match, allow}");
        let (mut join, mut publish, mut presence) = (Vec::new(), Vec::new(), Vec::new());
        for cap in caps.as_array().ok_or(WRONG)? {
            let cap = cap.as_object().ok_or(WRONG)?;
            let wildcard = match cap.get("match").map(Value::as_str) {
                None | Some(Some("")) => false,
                Some(Some("wildcard")) => true,
                _ => return Err(TokenError::Malformed("match in caps is not wildcard")),
            };
            let channels = texts(cap.get("channels").ok_or(WRONG)?).ok_or(WRONG)?;
            // Here a star is a pattern, and there it would be a name.
            let literal = |channel: &&str| !channel.contains('*') || wildcard;
            if !channels
                .iter()
                .all(|one| is_name(one) && literal(one) && !one.contains("{user}"))
            {
                return Err(TokenError::Malformed("a channel in caps is no name"));
            }
            for allow in texts(cap.get("allow").ok_or(WRONG)?).ok_or(WRONG)? {
                match allow {
                    "sub" => join.extend_from_slice(&channels),
                    "pub" => publish.extend_from_slice(&channels),
                    "prs" => presence.extend_from_slice(&channels),
                    "hst" => {}
                    _ => return Err(WRONG),
                }
            }
        }
        let mut permissions = Permissions::default();
        permissions.events = self.permissions.events.clone();
        permissions.join = Patterns::new(join);
        permissions.publish = Patterns::new(publish);
        permissions.presence = Patterns::new(presence);
        Ok(Arc::new(permissions))
    }
}

/// A NumericDate: whole seconds. A fraction, a text and `null` are refused: libraries that let them pass have let
/// tokens live for ever.
fn moment(
    claims: &Claims,
    key: &str,
    wrong: &'static str,
) -> Result<Option<SystemTime>, TokenError> {
    let Some(value) = claims.get(key) else {
        return Ok(None);
    };
    value
        .as_u64()
        .filter(|seconds| *seconds <= LAST_SECOND)
        .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))
        .map(Some)
        .ok_or(TokenError::Malformed(wrong))
}

fn name<'a>(
    claims: &'a Claims,
    key: &str,
    wrong: &'static str,
) -> Result<Option<&'a str>, TokenError> {
    match claims.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if is_name(text) => Ok(Some(text)),
        Some(_) => Err(TokenError::Malformed(wrong)),
    }
}

fn text_or_number(
    value: Option<&Value>,
    wrong: &'static str,
) -> Result<Option<String>, TokenError> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) if is_name(text) => Ok(Some(text.clone())),
        Some(Value::Number(number)) if number.is_u64() => Ok(Some(number.to_string())),
        Some(_) => Err(TokenError::Malformed(wrong)),
    }
}

/// A text that may stand for something: not empty, not long, without control characters.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_NAME && !text.contains(char::is_control)
}

fn info(value: Option<&Value>) -> Result<Option<Json>, TokenError> {
    value
        .map(|value| Json::of(value).map_err(|_| TokenError::Malformed("info is no JSON")))
        .transpose()
}

fn texts(value: &Value) -> Option<Vec<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}

/// `channels` (Centrifugo's name) and `tags` (ours), each once.
fn tags(claims: &Claims) -> Result<Vec<Arc<str>>, TokenError> {
    const WRONG: TokenError =
        TokenError::Malformed("channels and tags are lists of up to 128 names");
    let mut all: Vec<Arc<str>> = Vec::new();
    for key in ["channels", "tags"] {
        let Some(value) = claims.get(key) else {
            continue;
        };
        for tag in texts(value).ok_or(WRONG)? {
            if !is_name(tag) {
                return Err(WRONG);
            }
            if !all.iter().any(|known| **known == *tag) {
                all.push(tag.into());
            }
            if all.len() > MAX_TAGS {
                return Err(WRONG);
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn rules(settings: &AuthSettings) -> Rules {
        let mut permissions = Permissions::default();
        permissions.join = Patterns::new(["default"]);
        Rules::new(settings, Arc::new(permissions))
    }

    fn judge(settings: &AuthSettings, claims: &Value) -> Result<Identity, TokenError> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        rules(settings).identity(claims.as_object().unwrap(), now)
    }

    fn strict() -> AuthSettings {
        AuthSettings {
            mode: Mode::Jwt,
            ..AuthSettings::default()
        }
    }

    /// R55: every standard claim in every wrong type is refused, never passed over.
    #[test]
    fn a_claim_of_the_wrong_type_is_refused() {
        let wrong = [
            json!(null),
            json!(true),
            json!(1.5),
            json!(-1),
            json!(1e300),
            json!({}),
            json!([1]),
            json!(["x", 1]),
        ];
        let keys = [
            "exp",
            "nbf",
            "iat",
            "sub",
            "jti",
            "iss",
            "aud",
            "app",
            "platform",
            "permissions",
            "caps",
            "channels",
            "tags",
        ];
        for key in keys {
            for value in &wrong {
                if key == "permissions" && *value == json!({}) {
                    continue;
                }
                let mut claims = json!({"sub": "7", "exp": NOW + 60});
                claims[key] = value.clone();
                let found = judge(&strict(), &claims);
                assert!(
                    matches!(found, Err(TokenError::Malformed(_))),
                    "{key}: {value}: {found:?}"
                );
            }
        }
        for key in ["exp", "nbf", "iat"] {
            for value in ["never", "1800000060", ""].map(|text| json!(text)) {
                let mut claims = json!({"sub": "7", "exp": NOW + 60});
                claims[key] = value.clone();
                assert!(judge(&strict(), &claims).is_err(), "{key}: {value}");
            }
            let mut claims = json!({"sub": "7", "exp": NOW + 60});
            claims[key] = json!(u64::MAX);
            assert!(judge(&strict(), &claims).is_err(), "{key}");
        }
        for (key, value) in [("sub", ""), ("sub", "a\nb"), ("jti", ""), ("app", "\u{0}")] {
            let mut claims = json!({"sub": "7", "exp": NOW + 60});
            claims[key] = json!(value);
            assert!(judge(&strict(), &claims).is_err(), "{key}: {value:?}");
        }
        let long = "x".repeat(MAX_NAME + 1);
        assert!(judge(&strict(), &json!({"sub": long, "exp": NOW + 60})).is_err());
        let many: Vec<String> = (0..=MAX_TAGS).map(|n| n.to_string()).collect();
        assert!(
            judge(
                &strict(),
                &json!({"sub": "7", "exp": NOW + 60, "tags": many})
            )
            .is_err()
        );
    }

    #[test]
    fn times_are_judged_within_the_leeway() {
        for (claims, expected) in [
            (json!({}), Err(TokenError::Malformed("exp is missing"))),
            (json!({"exp": NOW - 29}), Ok(())),
            (json!({"exp": NOW - 30}), Err(TokenError::Expired)),
            (json!({"exp": 0}), Err(TokenError::Expired)),
            (json!({"exp": NOW + 60, "nbf": NOW + 30}), Ok(())),
            (
                json!({"exp": NOW + 60, "nbf": NOW + 31}),
                Err(TokenError::NotYetValid),
            ),
            (
                json!({"exp": NOW + 60, "iat": NOW + 31}),
                Err(TokenError::NotYetValid),
            ),
            (json!({"exp": NOW + 60, "iat": NOW}), Ok(())),
        ] {
            let mut claims = claims;
            claims["sub"] = json!("7");
            assert_eq!(judge(&strict(), &claims).map(drop), expected, "{claims}");
        }
        let endless = AuthSettings {
            allow_no_exp: true,
            ..strict()
        };
        assert!(judge(&endless, &json!({"sub": "7"})).is_ok());
        assert!(judge(&endless, &json!({"sub": "7", "exp": null})).is_err());
    }

    #[test]
    fn audience_and_issuer() {
        let settings = AuthSettings {
            audience: vec!["ours".into()],
            issuer: vec!["issuer".into()],
            ..strict()
        };
        for (settings, claims, expected) in [
            (&settings, json!({"aud": "ours", "iss": "issuer"}), Ok(())),
            (
                &settings,
                json!({"aud": ["x", "ours"], "iss": "issuer"}),
                Ok(()),
            ),
            (
                &settings,
                json!({"aud": "Ours", "iss": "issuer"}),
                Err(TokenError::Audience),
            ),
            (
                &settings,
                json!({"aud": [], "iss": "issuer"}),
                Err(TokenError::Audience),
            ),
            (
                &settings,
                json!({"iss": "issuer"}),
                Err(TokenError::Audience),
            ),
            (&settings, json!({"aud": "ours"}), Err(TokenError::Issuer)),
            (
                &settings,
                json!({"aud": "ours", "iss": "issuer/"}),
                Err(TokenError::Issuer),
            ),
            (
                &strict(),
                json!({"aud": "somebody"}),
                Err(TokenError::Audience),
            ),
            (&strict(), json!({"iss": "anybody"}), Ok(())),
        ] {
            let mut claims = claims;
            claims["sub"] = json!("7");
            claims["exp"] = json!(NOW + 60);
            assert_eq!(judge(settings, &claims).map(drop), expected, "{claims}");
        }
    }

    #[test]
    fn all_claims_arrive() {
        let claims = json!({
            "sub": "42", "jti": "s1", "iat": NOW - 5, "exp": NOW + 60, "app": "shop", "platform": "web",
            "info": {"b": 1, "a": [2]}, "channels": ["news", "x"], "tags": ["x", "y"],
            "permissions": {"join": ["room:*"], "events": ["ping"]},
        });
        let identity = judge(&strict(), &claims).unwrap();
        assert_eq!(identity.user.as_deref(), Some("42"));
        assert_eq!(identity.session.as_deref(), Some("s1"));
        assert_eq!(identity.app.as_deref(), Some("shop"));
        assert_eq!(identity.platform.as_deref(), Some("web"));
        assert_eq!(identity.info.unwrap().as_str(), r#"{"b":1,"a":[2]}"#);
        let tags: Vec<&str> = identity.tags.iter().map(AsRef::as_ref).collect();
        assert_eq!(tags, ["news", "x", "y"]);
        assert!(identity.permissions.join.allow("room:1", None));
        assert!(!identity.permissions.join.allow("default", None));
        assert!(identity.permissions.publish.is_empty());
        let plain = judge(&strict(), &json!({"sub": "42", "exp": NOW + 60})).unwrap();
        assert!(plain.permissions.join.allow("default", None));
    }

    #[test]
    fn capabilities_of_the_neighbour_are_understood() {
        for (caps, accepted) in [
            (
                json!([{"channels": ["a"], "allow": ["sub", "pub", "prs", "hst"]}]),
                true,
            ),
            (
                json!([{"channels": ["a*"], "match": "wildcard", "allow": ["sub"]}]),
                true,
            ),
            (json!([]), true),
            (json!([{"channels": ["a*"], "allow": ["sub"]}]), false),
            (
                json!([{"channels": ["a"], "match": "regex", "allow": ["sub"]}]),
                false,
            ),
            (json!([{"channels": ["{user}"], "allow": ["sub"]}]), false),
            (json!([{"channels": ["a"], "allow": ["all"]}]), false),
            (json!([{"channels": ["a"]}]), false),
            (json!({"channels": ["a"]}), false),
        ] {
            let found = judge(
                &strict(),
                &json!({"sub": "7", "exp": NOW + 60, "caps": caps}),
            );
            assert_eq!(found.is_ok(), accepted, "{caps}");
            if let Ok(identity) = found
                && caps != json!([])
            {
                assert!(identity.permissions.join.allow("a", None));
                assert!(!identity.permissions.join.allow("b", None));
            }
        }
    }

    #[test]
    fn the_user_may_stand_in_another_claim() {
        let settings = AuthSettings {
            user_claim: "uid".into(),
            ..strict()
        };
        for (claims, expected) in [
            (json!({"uid": 42}), Some("42")),
            (json!({"uid": "x", "sub": "y"}), Some("x")),
            (json!({"sub": "y"}), None),
            (json!({"uid": -1}), None),
            (json!({"uid": "x", "sub": 5}), None),
        ] {
            let mut claims = claims;
            claims["exp"] = json!(NOW + 60);
            let user = judge(&settings, &claims).ok().and_then(|found| found.user);
            assert_eq!(user.as_deref(), expected, "{claims}");
        }
    }

    #[test]
    fn hotgo_claims_show_only_what_is_public() {
        let settings = AuthSettings {
            mode: Mode::Hotgo,
            ..AuthSettings::default()
        };
        let claims = json!({
            "id": 1, "pid": 0, "deptId": 100, "roleId": 1, "roleKey": "super", "username": "admin",
            "realName": "canary-name", "avatar": "http://x/a.png", "email": "canary@x", "mobile": "canary-153",
            "app": "admin", "loginAt": "2027-01-01 00:00:00",
        });
        let identity = judge(&settings, &claims).unwrap();
        assert_eq!(identity.user.as_deref(), Some("1"));
        assert_eq!(identity.app.as_deref(), Some("admin"));
        assert!(identity.issued_at.is_some());
        assert_eq!(
            identity.info.unwrap().as_str(),
            r#"{"id":1,"app":"admin","username":"admin","avatar":"http://x/a.png"}"#
        );
        for claims in [
            json!({}),
            json!({"id": 0}),
            json!({"id": null}),
            json!({"id": -1}),
            json!({"id": 1, "username": {}}),
            json!({"id": 1, "loginAt": 5}),
            json!({"id": 1, "loginAt": "x"}),
            json!({"id": 1, "exp": "never"}),
        ] {
            assert!(judge(&settings, &claims).is_err(), "{claims}");
        }
    }
}
