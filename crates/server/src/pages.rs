//! The pages of `serve`, part of the binary: their own script and style, nothing from elsewhere, a strict policy.
//!
//! They are built from `web/pages` and `web/src`, and committed as they were built.

use std::sync::{Arc, OnceLock};

use axum::{Router, body::Body, response::Response, routing::get};
use bytes::Bytes;
use http::{HeaderValue, header};

/// Everything comes from this server; nobody frames the page; nothing is written inline.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// A page and all that it needs but for the icon, which all share.
struct Files {
    html: &'static str,
    script: (&'static str, &'static str),
    style: (&'static str, &'static str),
}

macro_rules! files {
    ($name:literal) => {
        Files {
            html: include_str!(concat!("../pages/", $name, ".html")),
            script: (
                concat!("/", $name, ".js"),
                include_str!(concat!("../pages/", $name, ".js")),
            ),
            style: (
                concat!("/", $name, ".css"),
                include_str!(concat!("../pages/", $name, ".css")),
            ),
        }
    };
}

static ECHO: Files = files!("echo");
static CHAT: Files = files!("chat");
static WATCH: Files = files!("watch");
static ADMIN: Files = files!("admin");
const CLIENT: &str = include_str!("../pages/antiphon.js");
/// The licences of the libraries that the admin page holds.
const LICENSES: &str = include_str!("../pages/admin.licenses.txt");
const ICON: &str = include_str!("../pages/icon.svg");

/// How the echo's page says what is at the other end.
const MODE_ECHO: &str = "data-mode=\"echo\"";
const MODE_COMMAND: &str = "data-mode=\"command\"";

/// Where the demo's pages are told where the admin page is.
const NO_ADMIN: &str = "data-admin=\"\"";

/// Where the admin page is, once that is known: the pages of the demo link to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ToAdmin(Arc<OnceLock<String>>);

impl ToAdmin {
    /// From now on the pages say so. The address is made of a socket's, and safe in HTML.
    pub(crate) fn found(&self, address: String) {
        // A server has one admin page: the first address stays.
        let _ = self.0.set(address);
    }

    fn fill(&self, html: &'static str) -> Bytes {
        match self.0.get() {
            Some(address) => {
                let link = format!("data-admin=\"{address}\"");
                Bytes::from(html.replacen(NO_ADMIN, &link, 1))
            }
            None => Bytes::from_static(html.as_bytes()),
        }
    }
}

/// Which page stands at `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// Talk to a program.
    Command,
    /// See a file.
    Watch,
}

/// The page at `/` and the files that it needs.
pub(crate) fn routes(page: Page) -> Router {
    match page {
        Page::Command => {
            let html = Bytes::from(ECHO.html.replacen(MODE_ECHO, MODE_COMMAND, 1));
            at("/", &ECHO, move || html.clone())
        }
        Page::Watch => at("/", &WATCH, || Bytes::from_static(WATCH.html.as_bytes())),
    }
    .merge(icon())
}

/// The page of the echo at `/`, and the chat at `/chat` beside it.
pub(crate) fn demo(to_admin: &ToAdmin) -> Router {
    let page = |path, files: &'static Files| {
        let to_admin = to_admin.clone();
        at(path, files, move || to_admin.fill(files.html))
    };
    page("/", &ECHO).merge(page("/chat", &CHAT)).merge(icon())
}

/// The admin page at `/`: of a server of its own.
pub(crate) fn admin() -> Router {
    at("/", &ADMIN, || Bytes::from_static(ADMIN.html.as_bytes()))
        .merge(icon())
        .route("/licenses.txt", get(|| async { answer(TEXT, LICENSES) }))
}

/// The client as a module, for pages of every origin: whether they may connect is another matter.
pub(crate) fn client(path: &str) -> Router {
    let answer = || async {
        let mut response = answer(SCRIPT, CLIENT);
        let headers = response.headers_mut();
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_ORIGIN.as_str(), "*"),
            ("cross-origin-resource-policy", "cross-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    };
    Router::new().route(path, get(answer))
}

fn at(
    path: &str,
    files: &Files,
    html: impl Fn() -> Bytes + Clone + Send + Sync + 'static,
) -> Router {
    let (script, style) = (files.script, files.style);
    Router::new()
        .route(path, get(move || async move { answer(HTML, html()) }))
        .route(
            script.0,
            get(move || async move { answer(SCRIPT, script.1) }),
        )
        .route(style.0, get(move || async move { answer(STYLE, style.1) }))
}

fn icon() -> Router {
    Router::new().route("/icon.svg", get(|| async { answer(PICTURE, ICON) }))
}

/// A response that a browser takes for what it is and shares with no other site.
pub(crate) fn answer(kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in [
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: [&Files; 4] = [&ECHO, &CHAT, &WATCH, &ADMIN];

    /// A script without what only looks like something forbidden: names of XML's vocabularies are addresses that nobody
    /// fetches, and Preact sets HTML where an element asks for it, which none does.
    fn as_written(script: &str) -> String {
        let names = ["2000/svg", "1998/Math/MathML", "1999/xhtml", "1999/xlink"];
        let script = names.iter().fold(script.to_owned(), |script, name| {
            script.replace(&format!("http://www.w3.org/{name}"), "")
        });
        let mut parts = script.split(".innerHTML");
        let mut written = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let before: String = written.chars().rev().take(24).collect();
            let after: String = part.chars().take(12).collect();
            let asks = before.contains("lmth__.") || after.contains(".__html");
            written.push_str(if asks { "" } else { ".innerHTML" });
            written.push_str(part);
        }
        written
    }

    fn finds(text: &str, forbidden: &[&str]) -> Option<String> {
        let found = forbidden.iter().find(|word| text.contains(**word))?;
        Some(format!("{found:?}"))
    }

    /// The policy forbids them, so a page that had one would be broken in every browser.
    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        for files in PAGES {
            let (file, html) = (files.script.0, files.html);
            let tags = html
                .split('<')
                .skip(1)
                .filter_map(|rest| rest.split_once('>'));
            for (tag, _) in tags {
                let (names, values): (Vec<_>, Vec<_>) = tag
                    .split('"')
                    .enumerate()
                    .partition(|(index, _)| index % 2 == 0);
                for (_, name) in names {
                    assert!(!name.starts_with("style"), "{file}: <{tag}>");
                    assert_eq!(finds(name, &[" on", " style="]), None, "{file}: <{tag}>");
                }
                for (_, value) in values {
                    let begins = ["http:", "https:", "//", "javascript:", "data:"];
                    assert!(
                        !begins.iter().any(|begin| value.starts_with(begin)),
                        "{file}: <{tag}>"
                    );
                }
                assert!(
                    !["base", "iframe", "object"]
                        .iter()
                        .any(|name| tag.starts_with(name)),
                    "{file}: <{tag}>"
                );
            }
            let script = format!("<script type=\"module\" src=\"{file}\"");
            let style = format!("<link rel=\"stylesheet\" href=\"{}\"", files.style.0);
            for (of, whole) in [("<script", script), ("rel=\"stylesheet\"", style)] {
                assert_eq!(html.matches(of).count(), 1, "{file}: {of}");
                assert!(html.contains(&whole), "{file}: {whole}");
            }
            // What stands between the tags of a script would be one.
            assert!(html.contains("></script>"), "{file}");
        }
        let scripts = PAGES.map(|files| files.script);
        for (name, script) in scripts.into_iter().chain([("/antiphon.js", CLIENT)]) {
            let forbidden = [
                ".innerHTML",
                "dangerouslySetInnerHTML:",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function(",
                "importScripts",
                "http://",
                "https://",
                "sourceMappingURL",
            ];
            assert_eq!(finds(&as_written(script), &forbidden), None, "{name}");
            // One file each: nothing is imported, neither now nor later.
            let imports = script.match_indices("import").filter(|(at, word)| {
                let before = script[..*at].chars().next_back();
                let after = script[at + word.len()..].chars().next();
                let starts = before.is_none_or(|before| ";}\n".contains(before));
                starts && after.is_some_and(|after| "{\"'* (".contains(after))
            });
            assert_eq!(imports.count(), 0, "{name}");
        }
        for files in PAGES {
            let (name, style) = files.style;
            assert_eq!(
                finds(style, &["@import", "url(", "http:", "https:"]),
                None,
                "{name}"
            );
        }
    }

    #[test]
    fn the_client_is_a_module_with_a_client() {
        let (_, exports) = CLIENT.rsplit_once("export{").expect("it exports something");
        assert!(exports.contains("Client"), "{exports}");
        assert!(!CLIENT.contains("from\"") && CLIENT.len() < 32 * 1024);
    }

    #[test]
    fn the_browser_test_finds_its_elements() {
        for (files, ids) in [
            (&ECHO, &["state", "message", "send", "log", "reconnect"][..]),
            (
                &CHAT,
                &[
                    "state", "message", "log", "here", "online", "rooms", "snippet",
                ],
            ),
            (&WATCH, &["state", "file", "name"]),
        ] {
            for id in ids {
                assert_eq!(
                    files.html.matches(&format!("id=\"{id}\"")).count(),
                    1,
                    "{id}"
                );
            }
        }
        assert_eq!(ECHO.html.matches(MODE_ECHO).count(), 1);
    }

    #[test]
    fn the_pages_of_the_demo_say_where_the_admin_page_is_once_it_is_there() {
        let to_admin = ToAdmin::default();
        for files in [&ECHO, &CHAT] {
            assert_eq!(files.html.matches(NO_ADMIN).count(), 1);
            assert_eq!(to_admin.fill(files.html), files.html);
        }
        to_admin.found("http://127.0.0.1:8200/".into());
        for files in [&ECHO, &CHAT] {
            let html = to_admin.fill(files.html);
            let html = std::str::from_utf8(&html).unwrap();
            assert!(html.contains("data-admin=\"http://127.0.0.1:8200/\""));
        }
    }

    #[tokio::test]
    async fn every_file_is_there_with_its_kind_and_its_headers() {
        use tower_service::Service as _;
        let own = ("same-origin", None);
        let nowhere = ToAdmin::default();
        for (routes, path, kind, (policy, origin)) in [
            (demo(&nowhere), "/", HTML, own),
            (routes(Page::Command), "/echo.js", SCRIPT, own),
            (routes(Page::Watch), "/watch.css", STYLE, own),
            (demo(&nowhere), "/chat", HTML, own),
            (admin(), "/", HTML, own),
            (admin(), "/icon.svg", PICTURE, own),
            (admin(), "/licenses.txt", TEXT, own),
            (
                client("/lib/client.js"),
                "/lib/client.js",
                SCRIPT,
                ("cross-origin", Some("*")),
            ),
        ] {
            let request = http::Request::get(path).body(Body::empty()).unwrap();
            let mut routes = routes;
            let response = routes.call(request).await.unwrap();
            let header = |name: &str| {
                response
                    .headers()
                    .get(name)
                    .map(|value| value.to_str().unwrap())
            };
            assert_eq!(
                (response.status().as_u16(), header("content-type")),
                (200, Some(kind)),
                "{path}"
            );
            assert_eq!(header("content-security-policy"), Some(POLICY), "{path}");
            assert_eq!(
                header("cross-origin-resource-policy"),
                Some(policy),
                "{path}"
            );
            assert_eq!(header("access-control-allow-origin"), origin, "{path}");
        }
    }
}
