//! Opening handshakes that come in one piece: read and answered without an HTTP connection around them.
//!
//! Only what is plainly the beginning of a WebSocket is read here, by the parser that hyper uses. Everything else, and
//! everything in doubt, is hyper's, which reads the same bytes from their beginning.

use std::{mem::MaybeUninit, sync::Arc};

use arc_swap::ArcSwap;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, Version, header};

/// Paths that are remembered. Further ones are answered through hyper, as all are the first time.
const MAX_PATHS: usize = 64;

/// Whose the paths are: only a route of ours takes a connection from anybody but hyper.
#[derive(Debug, Default)]
pub(crate) struct Paths(ArcSwap<Vec<(Arc<str>, bool)>>);

impl Paths {
    /// Whether the route at this path is known to open sockets of ours.
    pub(crate) fn is_ours(&self, path: &str) -> bool {
        let known = self.0.load();
        known.iter().any(|(known, ours)| *ours && **known == *path)
    }

    /// Remembers a route of ours. One that was somebody else's once stays his.
    pub(crate) fn learn(&self, path: &str) {
        let known = self.0.load();
        if known.len() < MAX_PATHS && !known.iter().any(|(known, _)| **known == *path) {
            self.put(path, true);
        }
    }

    /// Remembers that a path needs hyper, whatever was believed before.
    pub(crate) fn unlearn(&self, path: &str) {
        self.put(path, false);
    }

    fn put(&self, path: &str, ours: bool) {
        let path: Arc<str> = path.into();
        self.0.rcu(|known| {
            let others = known.iter().filter(|(known, _)| *known != path).cloned();
            others
                .take(MAX_PATHS - 1)
                .chain([(path.clone(), ours)])
                .collect::<Vec<_>>()
        });
    }
}

/// A request for a WebSocket, and everything that was read with it.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) request: Request<Body>,
    /// All bytes, and where those behind the request begin.
    pub(crate) bytes: Bytes,
    pub(crate) rest: usize,
}

/// The request that these bytes begin with, if it is a whole one for a WebSocket on a path of ours: GET, HTTP/1.1, no
/// body, at most so many fields and so long a target.
pub(crate) fn read(
    bytes: &[u8],
    paths: &Paths,
    max_fields: usize,
    max_target: usize,
) -> Option<Opening> {
    if !bytes.starts_with(b"GET /") {
        return None;
    }
    let mut fields = [const { MaybeUninit::uninit() }; 128];
    let fields = fields.get_mut(..max_fields)?;
    let mut head = httparse::Request::new(&mut []);
    let parsed = head.parse_with_uninit_headers(bytes, fields);
    let Ok(httparse::Status::Complete(rest)) = parsed else {
        return None;
    };
    let target = head.path.filter(|target| target.len() <= max_target)?;
    let path = target.split(['?', '#']).next().unwrap_or_default();
    if head.version != Some(1) || head.method != Some("GET") || !paths.is_ours(path) {
        return None;
    }
    let all = Bytes::copy_from_slice(bytes);
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::GET;
    *request.version_mut() = Version::HTTP_11;
    *request.uri_mut() = Uri::from_maybe_shared(same_place(&all, bytes, target.as_bytes())).ok()?;
    let fields = request.headers_mut();
    fields.reserve(head.headers.len());
    let mut upgrade = false;
    for field in &*head.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        match name {
            header::UPGRADE => upgrade = true,
            header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::EXPECT => return None,
            _ => {}
        }
        let value = same_place(&all, bytes, field.value);
        fields.append(name, HeaderValue::from_maybe_shared(value).ok()?);
    }
    upgrade.then_some(Opening {
        request,
        bytes: all,
        rest,
    })
}

/// The place in a copy that a part has in its original.
fn same_place(copy: &Bytes, original: &[u8], part: &[u8]) -> Bytes {
    let start = part.as_ptr().addr().wrapping_sub(original.as_ptr().addr());
    match start.checked_add(part.len()) {
        Some(end) if end <= copy.len() => copy.slice(start..end),
        _ => Bytes::copy_from_slice(part),
    }
}

/// The head of an answer that switches protocols. It has no body, whatever fields speak of one.
pub(crate) fn head<B>(response: &Response<B>) -> Vec<u8> {
    let mut head = Vec::with_capacity(256);
    head.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    for (name, value) in response.headers() {
        if name == header::CONTENT_LENGTH || name == header::TRANSFER_ENCODING {
            continue;
        }
        head.extend_from_slice(name.as_ref());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "GET /ws?x=1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nX: a\r\nx: b\r\n\r\n";

    fn paths() -> Paths {
        let paths = Paths::default();
        paths.learn("/ws");
        paths
    }

    #[test]
    fn a_whole_request_is_read_as_it_came() {
        let bytes = format!("{GOOD}\u{1}\u{2}behind");
        let opening = read(bytes.as_bytes(), &paths(), 100, 100).expect("a WebSocket");
        assert_eq!(opening.request.uri(), "/ws?x=1");
        assert_eq!(opening.request.version(), Version::HTTP_11);
        let all: Vec<_> = opening.request.headers().get_all("x").iter().collect();
        assert_eq!(all, ["a", "b"]);
        assert_eq!(opening.request.headers().len(), 4);
        assert_eq!(&opening.bytes[opening.rest..], b"\x01\x02behind");
    }

    #[test]
    fn what_is_not_plain_is_left_to_hyper() {
        let rows = [
            ("nothing", String::new()),
            ("half", GOOD[..GOOD.len() - 1].to_owned()),
            ("a letter", "G".to_owned()),
            ("another path", GOOD.replace("/ws", "/page")),
            ("a longer path", GOOD.replace("/ws", "/ws/")),
            ("another method", GOOD.replace("GET", "POST")),
            ("a small method", GOOD.replace("GET", "get")),
            ("HTTP/1.0", GOOD.replace("1.1", "1.0")),
            ("absolute form", GOOD.replace("/ws", "http://x/ws")),
            ("no upgrade", GOOD.replace("Upgrade", "Downgrade")),
            ("a body", GOOD.replace("X: a", "Content-Length: 0")),
            ("chunks", GOOD.replace("X: a", "Transfer-Encoding: chunked")),
            ("expects", GOOD.replace("X: a", "Expect: 100-continue")),
            ("a folded field", GOOD.replace("X: a", "X: a\r\n b")),
            ("space before the colon", GOOD.replace("X: a", "X : a")),
            ("no name", GOOD.replace("X: a", ": a")),
            ("a control character", GOOD.replace("X: a", "X: \u{1}")),
            ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
            ("a long target", GOOD.replace("x=1", &"x".repeat(100))),
            ("many fields", GOOD.replace("X: a", &"X: a\r\n".repeat(100))),
        ];
        for (about, bytes) in rows {
            assert!(
                read(bytes.as_bytes(), &paths(), 100, 100).is_none(),
                "{about}"
            );
        }
    }

    #[test]
    fn an_answer_has_its_fields_and_no_body() {
        let response = Response::builder()
            .header("content-length", "0")
            .header("x", "1")
            .header("x", "2")
            .body(())
            .expect("a response");
        assert_eq!(
            String::from_utf8(head(&response)).expect("ASCII"),
            "HTTP/1.1 101 Switching Protocols\r\nx: 1\r\nx: 2\r\n\r\n"
        );
    }

    #[test]
    fn paths_are_learnt_once_and_unlearnt_for_good() {
        let paths = paths();
        assert!(paths.is_ours("/ws") && !paths.is_ours("/w"));
        paths.unlearn("/ws");
        paths.learn("/ws");
        assert!(!paths.is_ours("/ws"));
        for n in 0..2 * MAX_PATHS {
            paths.learn(&format!("/{n}"));
        }
        assert_eq!(paths.0.load().len(), MAX_PATHS);
        assert!(!paths.is_ours("/ws") && paths.is_ours("/0"));
        paths.unlearn("/new");
        assert_eq!(paths.0.load().len(), MAX_PATHS);
    }
}
