//! The address of another server: checked when it is read, and shown without what may be secret in it.

use std::{
    fmt,
    net::IpAddr,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::Uri;
use serde::{Deserialize, Deserializer, de};

/// An `http` or `https` address. Paths and queries often hold a token, so text shows only the scheme, host and port.
#[derive(Clone)]
pub(crate) struct Endpoint(Arc<Inner>);

struct Inner {
    uri: Uri,
    shown: Box<str>,
    warned: AtomicBool,
}

impl Endpoint {
    /// The whole address, for the request alone.
    pub(super) fn uri(&self) -> &Uri {
        &self.0.uri
    }

    /// Warns the first time that something is sent in the clear to another machine.
    pub(super) fn warn_if_exposed(&self) {
        if self.is_exposed() && !self.0.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "requests to {self} are not encrypted: everybody on the way can read and change them; use https"
            );
        }
    }

    /// Whether requests go to another machine without TLS.
    pub(crate) fn is_exposed(&self) -> bool {
        let host = self.0.uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let local = match host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => host == "localhost" || host.ends_with(".localhost"),
        };
        self.0.uri.scheme_str() == Some("http") && !local
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // No error repeats the text: it may hold a password.
        let uri: Uri = text.parse().map_err(
            |_| "not an address of the web: write it as https://host/path, with other characters as %XX",
        )?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err("not a whole address: write it as https://host/path".into());
        };
        if !matches!(scheme, "http" | "https") {
            return Err("the address must begin with https:// or http://".into());
        }
        if authority.as_str().contains('@') {
            return Err(
                "the address has a name or a password before the host: leave it out and check the signature instead"
                    .into(),
            );
        }
        if authority.host().is_empty()
            || (authority.as_str() != authority.host() && uri.port_u16().is_none())
        {
            return Err("the address has no host or no usable port".into());
        }
        let shown = format!("{scheme}://{authority}").into();
        Ok(Self(Arc::new(Inner {
            uri,
            shown,
            warned: AtomicBool::new(false),
        })))
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.0.uri == other.0.uri
    }
}

impl Eq for Endpoint {}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.shown)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        // Text, whether it is accepted, and whether it is open to others.
        for (text, expected) in [
            ("https://backend.example/antiphon?key=canary", Some(false)),
            ("http://backend.example/", Some(true)),
            ("http://10.0.0.1:8080/x", Some(true)),
            ("http://127.0.0.1:8080/x", Some(false)),
            ("http://[::1]:8080/x", Some(false)),
            ("http://[2001:db8::1]/x", Some(true)),
            ("http://localhost", Some(false)),
            ("http://api.localhost/x", Some(false)),
            ("http://localhost.example/x", Some(true)),
            ("", None),
            ("/only/path", None),
            ("backend.example/x", None),
            ("ftp://backend.example/x", None),
            ("https://user:canary@backend.example/x", None),
            ("https://backend.example:99999/x", None),
            ("https:///x", None),
            ("https://backend.example/a b", None),
        ] {
            let endpoint = text.parse::<Endpoint>();
            assert_eq!(
                endpoint.as_ref().ok().map(Endpoint::is_exposed),
                expected,
                "{text}"
            );
            assert!(!format!("{endpoint:?}").contains("canary"));
        }
    }
}
