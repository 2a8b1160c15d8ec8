//! The pages of `serve`, part of the binary: their own script and style, nothing from elsewhere, a strict policy.

use axum::{Router, body::Body, response::Response, routing::get};
use bytes::Bytes;
use http::{HeaderValue, header};

/// Everything comes from this server; nobody frames the page; nothing is written inline.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

const DEMO: &str = include_str!("../pages/demo.html");
const WATCH: &str = include_str!("../pages/watch.html");
const APP_JS: &str = include_str!("../pages/app.js");
const WATCH_JS: &str = include_str!("../pages/watch.js");
const CHAT: &str = include_str!("../pages/chat.html");
const CHAT_JS: &str = include_str!("../pages/chat.js");
const CHAT_STYLE: &str = include_str!("../pages/chat.css");
const HUB_JS: &str = include_str!("../pages/hub.js");
const STYLE: &str = include_str!("../pages/style.css");
const ICON: &str = include_str!("../pages/icon.svg");

/// The echo's way to the chat, which a program has none of.
const TO_CHAT: &str = r#"<a class="quiet" href="/chat" data-text="chat">Chat</a>"#;

/// Which page stands at `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// Talk to an echo.
    Echo,
    /// Talk to a program.
    Command,
    /// See a file.
    Watch,
}

/// The page at `/` and the files that it needs.
pub(crate) fn routes(page: Page) -> Router {
    let html = match page {
        Page::Echo => Bytes::from_static(DEMO.as_bytes()),
        Page::Command => {
            let page = DEMO.replacen("data-mode=\"echo\"", "data-mode=\"command\"", 1);
            Bytes::from(page.replacen(TO_CHAT, "", 1))
        }
        Page::Watch => Bytes::from_static(WATCH.as_bytes()),
    };
    let (script_path, script) = match page {
        Page::Watch => ("/watch.js", WATCH_JS),
        _ => ("/app.js", APP_JS),
    };
    Router::new()
        .route(
            "/",
            get(move || async move { answer("text/html; charset=utf-8", html) }),
        )
        .route(
            script_path,
            get(move || async move { answer("text/javascript; charset=utf-8", script) }),
        )
        .route(
            "/style.css",
            get(|| async { answer("text/css; charset=utf-8", STYLE) }),
        )
        .route("/icon.svg", get(|| async { answer("image/svg+xml", ICON) }))
}

/// The chat at `/chat`, beside the page of the echo.
pub(crate) fn chat() -> Router {
    let files = [
        ("/chat", "text/html; charset=utf-8", CHAT),
        ("/chat.js", "text/javascript; charset=utf-8", CHAT_JS),
        ("/hub.js", "text/javascript; charset=utf-8", HUB_JS),
        ("/chat.css", "text/css; charset=utf-8", CHAT_STYLE),
    ];
    files
        .into_iter()
        .fold(Router::new(), |routes, (path, kind, body)| {
            routes.route(path, get(move || async move { answer(kind, body) }))
        })
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

    /// The policy forbids them, so a page that had one would be broken in every browser.
    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        for page in [DEMO, WATCH, CHAT] {
            for forbidden in [
                "<style",
                "style=",
                "onclick",
                "onload",
                "http://",
                "https://",
                "src=\"//",
                "href=\"//",
            ] {
                assert!(!page.contains(forbidden), "{forbidden}");
            }
            assert_eq!(
                page.matches("<script").count(),
                page.matches("<script type=\"module\" src=\"/").count()
            );
        }
        for script in [APP_JS, WATCH_JS, CHAT_JS, HUB_JS] {
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "http://",
                "https://",
            ] {
                assert!(!script.contains(forbidden), "{forbidden}");
            }
        }
        for style in [STYLE, CHAT_STYLE] {
            assert!(!style.contains("@import") && !style.contains("url("));
        }
    }

    #[test]
    fn the_browser_test_finds_its_elements() {
        for id in ["state", "message", "send", "log", "reconnect"] {
            assert_eq!(DEMO.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
        }
        assert!(DEMO.contains("data-mode=\"echo\"") && DEMO.contains(TO_CHAT));
    }

    #[test]
    fn both_languages_have_the_same_texts() {
        for script in [APP_JS, WATCH_JS, CHAT_JS] {
            let (_, rest) = script.split_once("  en: {").unwrap();
            let (english, rest) = rest.split_once("  zh: {").unwrap();
            let chinese = rest.split_once("};").unwrap().0;
            let keys = |text: &str| -> Vec<String> {
                let words: Vec<&str> = text.split(['\n', ',', '{']).collect();
                words
                    .iter()
                    .filter_map(|word| Some(word.trim().split_once(": \"")?.0.to_owned()))
                    .collect()
            };
            assert!(!keys(english).is_empty());
            assert_eq!(keys(english), keys(chinese));
        }
    }
}
