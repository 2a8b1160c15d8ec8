//! The host that a request names, and which hosts no web site can have.
//!
//! Any web site can let a name of its own point to this machine (DNS rebinding); its pages are then of the same origin as a
//! server here. A server that does not answer to foreign names is not met by that.

use std::net::IpAddr;

use axum::extract::Request;
use http::{Uri, header, uri::Authority};

/// The host of a request in lower case, without its port.
pub(crate) fn of_request(request: &Request) -> Option<String> {
    Some(authority(request)?.host().to_ascii_lowercase())
}

/// The host of a request with its port, as it stands there.
pub(crate) fn authority(request: &Request) -> Option<Authority> {
    match request.headers().get(header::HOST) {
        Some(host) => host.to_str().ok()?.parse().ok(),
        None => request.uri().authority().cloned(),
    }
}

/// The host of an origin.
pub(crate) fn of_origin(origin: &str) -> Option<String> {
    Some(origin.parse::<Uri>().ok()?.host()?.to_ascii_lowercase())
}

/// Names of this machine that no web site can have.
pub(crate) fn is_local(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || literal(host).is_some_and(|address| address.is_loopback())
}

/// The address where a host is one, and no name.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    literal.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        for (host, local) in [
            ("localhost", true),
            ("app.localhost", true),
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("[::1]", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(is_local(host), local, "{host}");
        }
        assert_eq!(
            of_origin("https://App.example:8443").as_deref(),
            Some("app.example")
        );
        assert!(literal("10.0.0.1").is_some() && literal("10.0.0.1.example").is_none());
    }
}
