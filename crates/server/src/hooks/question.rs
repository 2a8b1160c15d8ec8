//! What a backend is asked, in the shapes of Centrifugo's proxies.

use std::{fmt, net::IpAddr, sync::Arc};

use antiphon_hub::{id::ConnectionId, json::Json};
use http::{HeaderMap, HeaderName};
use serde::Serialize;

/// Header fields of the opening handshake that hooks are handed on. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Forwarded(Option<Arc<HeaderMap>>);

impl Forwarded {
    /// Keeps these fields of a handshake's.
    pub(super) fn pick(names: &[HeaderName], headers: &HeaderMap) -> Self {
        let mut kept = HeaderMap::new();
        for name in names {
            for value in headers.get_all(name) {
                kept.append(name, value.clone());
            }
        }
        Self((!kept.is_empty()).then(|| Arc::new(kept)))
    }

    /// A copy for one request.
    pub(super) fn to_headers(&self) -> HeaderMap {
        self.0.as_deref().cloned().unwrap_or_default()
    }
}

/// Names only: the values are credentials.
impl fmt::Debug for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().flat_map(|headers| headers.keys());
        f.debug_list().entries(names).finish()
    }
}

/// A client that wants to connect.
#[derive(Clone)]
pub(crate) struct ConnectHook {
    /// Its connection.
    pub(crate) connection: ConnectionId,
    /// The user, if a token has named one already.
    pub(crate) user: Option<Arc<str>>,
    /// What the client has sent for the application.
    pub(crate) data: Option<Json>,
    /// What the client calls itself.
    pub(crate) name: Option<Arc<str>>,
    /// The client's version.
    pub(crate) version: Option<Arc<str>>,
    /// Where it comes from.
    pub(crate) address: Option<IpAddr>,
    /// Header fields of its handshake.
    pub(crate) headers: Forwarded,
}

/// A connected client that wants something.
#[derive(Clone)]
pub(crate) struct Caller {
    /// Its connection.
    pub(crate) connection: ConnectionId,
    /// The user; `None` for an anonymous client.
    pub(crate) user: Option<Arc<str>>,
    /// What the backend has said about the connection in its answer to the connect hook.
    pub(crate) meta: Option<Json>,
    /// Header fields of its handshake.
    pub(crate) headers: Forwarded,
}

/// How the client is connected; the same for all.
#[derive(Serialize)]
struct Way {
    transport: &'static str,
    protocol: &'static str,
    encoding: &'static str,
}

const WAY: Way = Way {
    transport: "websocket",
    protocol: "json",
    encoding: "json",
};

/// The body of the connect hook.
#[derive(Serialize)]
pub(super) struct Connect<'a> {
    client: ConnectionId,
    #[serde(flatten)]
    way: Way,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
}

impl<'a> Connect<'a> {
    pub(super) fn new(hook: &'a ConnectHook) -> Self {
        Self {
            client: hook.connection,
            way: WAY,
            user: hook.user.as_deref(),
            data: hook.data.as_ref(),
            name: hook.name.as_deref(),
            version: hook.version.as_deref(),
            address: hook.address,
        }
    }
}

/// The body of the other hooks.
#[derive(Serialize)]
pub(super) struct Ask<'a> {
    client: ConnectionId,
    #[serde(flatten)]
    way: Way,
    /// Empty for an anonymous client.
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<&'a Json>,
}

impl<'a> Ask<'a> {
    /// About a tag.
    pub(super) fn channel(caller: &'a Caller, tag: &'a str, data: Option<&'a Json>) -> Self {
        Self {
            channel: Some(tag),
            ..Self::new(caller, data)
        }
    }

    /// About an event.
    pub(super) fn method(caller: &'a Caller, event: &'a str, data: Option<&'a Json>) -> Self {
        Self {
            method: Some(event),
            ..Self::new(caller, data)
        }
    }

    fn new(caller: &'a Caller, data: Option<&'a Json>) -> Self {
        Self {
            client: caller.connection,
            way: WAY,
            user: caller.user.as_deref().unwrap_or_default(),
            channel: None,
            method: None,
            data,
            meta: caller.meta.as_ref(),
        }
    }
}
