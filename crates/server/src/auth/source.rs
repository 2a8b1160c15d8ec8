//! Where a handshake carries its credential, and how it is kept out of logs.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{
    HeaderMap,
    header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL},
};
use percent_encoding::percent_decode_str;

use crate::setting::Secret;

/// A subprotocol that starts so is no subprotocol but a token; it is never agreed on.
pub(crate) const PROTOCOL_PREFIX: &str = "antiphon.token.";

/// Parameters of a URL that carry a token, in the order in which they count.
const TOKEN_PARAMETERS: &[&str] = &["authorization", "access_token", "token"];
/// The parameter that carries a ticket.
const TICKET_PARAMETER: &str = "ticket";

/// What a client shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A JWT, or whatever stood in its place.
    Token(Secret),
    /// A one-time ticket.
    Ticket(Secret),
    /// Nothing; the first message may bring it.
    #[default]
    None,
}

/// Finds the credential of a handshake. The first place that has one counts, also when it is no good: the header
/// `Authorization`, the query, a subprotocol, the cookie of this name.
pub(crate) fn find(headers: &HeaderMap, query: Option<&str>, cookie: Option<&str>) -> Credential {
    let mut values = headers
        .get_all(AUTHORIZATION)
        .iter()
        .filter(|value| !value.is_empty());
    if let Some(value) = values.next() {
        // Two headers, or bytes that are no text: nobody can say which of them was meant.
        let token = match value.to_str() {
            Ok(text) if values.next().is_none() => bare(text),
            _ => Secret::new("?"),
        };
        return Credential::Token(token);
    }
    let query = query.unwrap_or_default();
    for name in TOKEN_PARAMETERS {
        if let Some(value) = parameter(query, name) {
            return Credential::Token(value);
        }
    }
    if let Some(value) = parameter(query, TICKET_PARAMETER) {
        return Credential::Ticket(value);
    }
    if let Some(token) = protocol(headers) {
        return Credential::Token(token);
    }
    cookie
        .and_then(|name| from_cookies(headers, name))
        .map_or(Credential::None, Credential::Token)
}

/// Whether an offered subprotocol is a token.
pub(crate) fn is_token_protocol(name: &str) -> bool {
    name.get(..PROTOCOL_PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(PROTOCOL_PREFIX))
}

/// Without `Bearer `, which hotgo removes wherever it stands; other servers know the scheme in any case.
fn bare(text: &str) -> Secret {
    let text = text.trim();
    let text = match text.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("bearer ") => &text[7..],
        _ => text,
    };
    let found = Secret::new(text.replace("Bearer ", "").trim());
    if found.expose().is_empty() {
        // There is a header, and it says nothing: that is bad, not absent.
        return Secret::new("?");
    }
    found
}

/// The first value of this name that is not empty.
fn parameter(query: &str, name: &str) -> Option<Secret> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, value)| !value.is_empty() && decoded(key) == name)
        .map(|(_, value)| Secret::new(decoded(value)))
}

/// Without percent signs and pluses; what is no UTF-8 is no token either.
fn decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

/// The token among the offered subprotocols: the JWT itself, or any text as base64url.
fn protocol(headers: &HeaderMap) -> Option<Secret> {
    let mut found = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .filter(|name| is_token_protocol(name))
        .map(|name| &name[PROTOCOL_PREFIX.len()..]);
    let text = found.next()?;
    if found.next().is_some() {
        return Some(Secret::new("?"));
    }
    if text.contains('.') {
        return Some(Secret::new(text));
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    Some(Secret::new(text.unwrap_or_else(|| "?".to_owned())))
}

fn from_cookies(headers: &HeaderMap, name: &str) -> Option<Secret> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|(key, value)| *key == name && !value.is_empty())
        .map(|(_, value)| Secret::new(value.trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    /// What is found, as text: `T:token`, `K:ticket` or nothing.
    fn check(headers: &[(&'static str, &[u8])], query: &str, expected: &str) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_bytes(value).unwrap(),
            );
        }
        let found = match find(&map, Some(query), Some("sid")) {
            Credential::Token(token) => format!("T:{}", token.expose()),
            Credential::Ticket(ticket) => format!("K:{}", ticket.expose()),
            Credential::None => String::new(),
        };
        assert_eq!(found, expected, "{headers:?} {query}");
    }

    #[test]
    fn where_credentials_are_found() {
        for (header, query, expected) in [
            ("Bearer a.b.c", "", "T:a.b.c"),
            ("bearer a.b.c", "", "T:a.b.c"),
            ("a.b.c", "", "T:a.b.c"),
            ("a.Bearer b.c", "", "T:a.b.c"),
            ("", "authorization=x", "T:x"),
            ("Bearer", "authorization=x", "T:Bearer"),
            ("Bearer ", "authorization=x", "T:Bearer"),
            ("Basic eDp5", "authorization=x", "T:Basic eDp5"),
            ("bad", "authorization=good", "T:bad"),
            ("", "", ""),
            ("", "a=b&authorization=x", "T:x"),
            ("", "access_token=y", "T:y"),
            ("", "token=z", "T:z"),
            ("", "token=z&authorization=x&access_token=y", "T:x"),
            ("", "authorization=&token=z", "T:z"),
            ("", "authorization=1&authorization=2", "T:1"),
            ("", "authorization=Bearer%20x", "T:Bearer x"),
            ("", "authorization=Bearer+x", "T:Bearer x"),
            ("", "%61uthorization=x", "T:x"),
            ("", "xauthorization=x", ""),
            ("", "authorization", ""),
            ("", "ticket=k", "K:k"),
            ("", "ticket=k&token=t", "T:t"),
            ("", "authorization=%ff", "T:\u{fffd}"),
        ] {
            check(&[("authorization", header.as_bytes())], query, expected);
        }
    }

    #[test]
    fn where_else_they_are_found() {
        for (name, value, expected) in [
            (
                "sec-websocket-protocol",
                &b"antiphon.v2.json, antiphon.token.a.b.c"[..],
                "T:a.b.c",
            ),
            (
                "sec-websocket-protocol",
                b"antiphon.token.YS5iLmM",
                "T:a.b.c",
            ),
            ("sec-websocket-protocol", b"antiphon.token.=", "T:?"),
            (
                "sec-websocket-protocol",
                b"antiphon.token.a.b.c, antiphon.token.d.e.f",
                "T:?",
            ),
            ("sec-websocket-protocol", b"antiphon.v2.json", ""),
            ("cookie", b"a=b; sid=c", "T:c"),
            ("cookie", b"a=b; xsid=c", ""),
            ("cookie", b"sid=", ""),
            ("authorization", b"\xff", "T:?"),
        ] {
            check(&[(name, value)], "", expected);
        }
        check(
            &[("authorization", b"a"), ("authorization", b"b")],
            "",
            "T:?",
        );
        assert!(is_token_protocol("antiphon.token.x"));
        assert!(is_token_protocol("Antiphon.Token.x"));
        assert!(!is_token_protocol("antiphon.v2.json"));
        assert!(!is_token_protocol("antiphon.tokeé"));
    }
}
