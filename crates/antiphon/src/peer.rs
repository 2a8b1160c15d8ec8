//! Who is at the other end: the address, also behind proxies that are trusted, and what TLS knows.

use std::{
    convert::Infallible,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use axum::extract::{ConnectInfo, FromRequestParts};
use http::{Extensions, HeaderMap, request};
use rustls_pki_types::CertificateDer;

use crate::error::{Error, ErrorKind, Result};

/// The other end of the connection that a request came on. In a [`Server`](crate::Server) handlers take it as an axum
/// extractor; under another server, whose connections are not known here, it is empty but for the address that axum's
/// `ConnectInfo` brings.
///
/// ```
/// use antiphon::{Server, Upgrade, peer::Peer};
///
/// let server = Server::new().route("/ws", |peer: Peer, upgrade: Upgrade| async move {
///     upgrade.on_socket(async move |socket| {
///         let hello = format!("you come from {:?}", peer.address());
///         socket.send(hello).await?;
///         Ok(())
///     })
/// });
/// ```
#[derive(Clone, Debug, Default)]
pub struct Peer {
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) forwarded: Option<IpAddr>,
    pub(crate) secure: bool,
    pub(crate) tls: Option<Arc<TlsPeer>>,
}

/// What the TLS handshake told about a client.
#[derive(Debug)]
pub(crate) struct TlsPeer {
    pub(crate) server_name: Option<String>,
    pub(crate) certificate: Option<CertificateDer<'static>>,
}

impl Peer {
    /// The address of the client: the one at the other end of the connection, or, if that is a
    /// [trusted proxy](crate::Server::trusted_proxies), the last one in `X-Forwarded-For` that is not.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.forwarded.or(self.remote.map(|remote| remote.ip()))
    }

    /// The other end of the TCP connection itself, which may be a proxy.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// Whether the client speaks TLS, with this server or with a trusted proxy that says so in `X-Forwarded-Proto`.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The server name that the client asked for in the TLS handshake.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.tls.as_ref()?.server_name.as_deref()
    }

    /// The verified certificate of the client (DER), where [client certificates] are asked for.
    ///
    /// [client certificates]: crate::tls::server::ServerTls::require_client_certificates
    #[must_use]
    pub fn client_certificate(&self) -> Option<&[u8]> {
        self.tls.as_ref()?.certificate.as_deref()
    }

    /// The peer of a request, from what the server laid down beside it.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_else(|| Self {
            remote: extensions
                .get::<ConnectInfo<SocketAddr>>()
                .map(|info| info.0),
            ..Self::default()
        })
    }

    /// The same peer as a request's headers show it, if they come from a proxy that is trusted.
    pub(crate) fn behind(&self, proxies: &[Network], headers: &HeaderMap) -> Self {
        let mut peer = self.clone();
        let trusted = |address: IpAddr| proxies.iter().any(|network| network.contains(address));
        if !self.remote.is_some_and(|remote| trusted(remote.ip())) {
            return peer;
        }
        peer.forwarded = forwarded_for(headers, trusted);
        if let Some(scheme) = headers.get_all("x-forwarded-proto").iter().next_back() {
            let scheme = scheme
                .as_bytes()
                .rsplit(|&byte| byte == b',')
                .next()
                .unwrap_or_default()
                .trim_ascii();
            peer.secure =
                scheme.eq_ignore_ascii_case(b"https") || scheme.eq_ignore_ascii_case(b"wss");
        }
        peer
    }
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut request::Parts,
        _state: &S,
    ) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

/// The right-most address that no trusted proxy has: every proxy appends the one that it was called from, and what
/// stands before the first untrusted one was written by the client.
fn forwarded_for(headers: &HeaderMap, trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let mut nearest = None;
    for value in headers.get_all("x-forwarded-for").iter().rev() {
        for entry in value.as_bytes().rsplit(|&byte| byte == b',') {
            let Some(address) = std::str::from_utf8(entry).ok().and_then(entry_address) else {
                return nearest;
            };
            nearest = Some(address);
            if !trusted(address) {
                return nearest;
            }
        }
    }
    nearest
}

/// An entry as proxies write it: an address, some with a port.
fn entry_address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let address = entry
        .parse()
        .ok()
        .or_else(|| entry.parse().ok().map(|address: SocketAddr| address.ip()));
    let bracketed = || {
        entry
            .strip_prefix('[')?
            .strip_suffix(']')?
            .parse()
            .ok()
            .map(IpAddr::V6)
    };
    address
        .or_else(bracketed)
        .map(|address: IpAddr| address.to_canonical())
}

/// A range of addresses: `10.0.0.0/8`, `2001:db8::/32`, or a single address.
///
/// ```
/// use antiphon::peer::Network;
///
/// let network: Network = "10.0.0.0/8".parse()?;
/// assert!(network.contains("10.1.2.3".parse().unwrap()));
/// assert!(!network.contains("11.1.2.3".parse().unwrap()));
/// # Ok::<(), antiphon::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: Ipv6Addr,
    bits: u8,
}

impl Network {
    /// Whether an address lies in the range. An IPv4 address and its IPv6-mapped form are the same.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(wide(address), self.bits) == self.base
    }
}

impl FromStr for Network {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            let advice = "write an address, or an address and a prefix length as in 10.0.0.0/8";
            Error::new(
                ErrorKind::Config,
                format!("{text:?} is not a range of addresses; {advice}"),
            )
        };
        let (address, bits) = text
            .split_once('/')
            .map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| refuse())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), |bits| bits.parse().map_err(|_| refuse()))?;
        if bits > width {
            return Err(refuse());
        }
        let bits = 128 - width + bits;
        Ok(Self {
            base: masked(wide(address), bits),
            bits,
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.base.to_ipv4_mapped().filter(|_| self.bits >= 96) {
            Some(base) => write!(f, "{base}/{}", self.bits - 96),
            None => write!(f, "{}/{}", self.base, self.bits),
        }
    }
}

/// What counts as one address where addresses are counted: an IPv4 address, or an IPv6 network of 64 bits, which is
/// what a single customer is given.
pub(crate) fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(masked(address, 64)),
        v4 => v4,
    }
}

fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::to_ipv6_mapped(&address),
        IpAddr::V6(address) => address,
    }
}

fn masked(address: Ipv6Addr, bits: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields = [(&'static str, &'static str)];

    fn headers(rows: &Fields) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for &(name, value) in rows {
            headers.append(name, value.parse().expect("a header value"));
        }
        headers
    }

    #[test]
    fn networks_contain_what_they_say() {
        let rows = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.9.9.9/8", "10.0.0.1", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("0.0.0.0/0", "203.0.113.7", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::1", "::1", true),
        ];
        for (network, address, expected) in rows {
            let network: Network = network.parse().expect(network);
            assert_eq!(
                network.contains(address.parse().expect(address)),
                expected,
                "{network} {address}"
            );
        }
        for text in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/",
            "10.0.0.0/x",
            "example.com",
            "10.0.0.0/-1",
        ] {
            let error = text.parse::<Network>().expect_err(text);
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
        assert_eq!(
            "10.1.2.3/8"
                .parse::<Network>()
                .expect("a network")
                .to_string(),
            "10.0.0.0/8"
        );
        assert_eq!(
            "2001:db8::1/32"
                .parse::<Network>()
                .expect("a network")
                .to_string(),
            "2001:db8::/32"
        );
    }

    #[test]
    fn forwarded_addresses_count_only_from_trusted_proxies() {
        let proxies: Vec<Network> = ["10.0.0.0/8", "::1"]
            .iter()
            .map(|text| text.parse().expect("a network"))
            .collect();
        let xff = "x-forwarded-for";
        let rows: [(&str, &Fields, &str); 12] = [
            ("203.0.113.1:9", &[(xff, "198.51.100.1")], "203.0.113.1"),
            ("10.0.0.1:9", &[], "10.0.0.1"),
            ("10.0.0.1:9", &[(xff, "198.51.100.1")], "198.51.100.1"),
            (
                "10.0.0.1:9",
                &[(xff, "1.1.1.1, 198.51.100.1")],
                "198.51.100.1",
            ),
            (
                "10.0.0.1:9",
                &[(xff, "198.51.100.1, 10.0.0.2")],
                "198.51.100.1",
            ),
            (
                "10.0.0.1:9",
                &[(xff, "198.51.100.1"), (xff, "10.0.0.2,10.0.0.3")],
                "198.51.100.1",
            ),
            ("10.0.0.1:9", &[(xff, "10.0.0.5, 10.0.0.2")], "10.0.0.5"),
            ("10.0.0.1:9", &[(xff, "198.51.100.1:4711")], "198.51.100.1"),
            ("10.0.0.1:9", &[(xff, "[2001:db8::5]:4711")], "2001:db8::5"),
            ("10.0.0.1:9", &[(xff, "[2001:db8::5]")], "2001:db8::5"),
            ("10.0.0.1:9", &[(xff, "unknown")], "10.0.0.1"),
            (
                "[::1]:9",
                &[(xff, "1.1.1.1, garbage, 10.0.0.7")],
                "10.0.0.7",
            ),
        ];
        for (remote, rows, expected) in rows {
            let peer = Peer {
                remote: Some(remote.parse().expect(remote)),
                ..Peer::default()
            };
            let seen = peer.behind(&proxies, &headers(rows)).address();
            assert_eq!(
                seen,
                Some(expected.parse().expect(expected)),
                "{remote} {rows:?}"
            );
        }
    }

    #[test]
    fn the_scheme_counts_only_from_trusted_proxies() {
        let proxies = ["10.0.0.0/8".parse().expect("a network")];
        let rows = [
            ("10.0.0.1:9", "https", true),
            ("10.0.0.1:9", "HTTPS", true),
            ("10.0.0.1:9", "wss", true),
            ("10.0.0.1:9", "http", false),
            ("10.0.0.1:9", "https, http", false),
            ("10.0.0.1:9", "http, https", true),
            ("203.0.113.1:9", "https", false),
        ];
        for (remote, scheme, expected) in rows {
            let peer = Peer {
                remote: Some(remote.parse().expect(remote)),
                ..Peer::default()
            };
            let seen = peer.behind(&proxies, &headers(&[("x-forwarded-proto", scheme)]));
            assert_eq!(seen.is_secure(), expected, "{remote} {scheme}");
        }
    }

    #[test]
    fn addresses_are_counted_by_network() {
        let rows = [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ];
        for (address, expected) in rows {
            let address: IpAddr = address.parse().expect(address);
            assert_eq!(
                counted(address),
                expected.parse::<IpAddr>().expect(expected)
            );
        }
    }
}
