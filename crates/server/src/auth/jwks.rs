//! A set of keys at an address: cached, fetched once at a time, never more often than allowed.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::{
    sync,
    time::{Instant, timeout},
};

use crate::{
    auth::{
        error::TokenError,
        keys::{KeySet, MAX_KEY_SET},
        settings::AuthSettings,
    },
    failure::{Exit, Failure},
};

/// How long keys are used whose address does not answer any more: then a key that was withdrawn must not count.
pub(crate) const MAX_STALE: Duration = Duration::from_secs(86_400);

/// A future in a box.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Gets the body of a page; who implements it follows no redirect.
pub(crate) trait Fetch: Send + Sync {
    /// The body of a 200, at most `max` bytes of it; otherwise what went wrong, in words without secrets.
    fn get<'a>(&'a self, url: &'a str, max: usize) -> BoxFuture<'a, Result<Bytes, String>>;
}

/// The keys at one address.
pub(crate) struct Remote(Arc<Inner>);

struct Inner {
    url: String,
    algorithm: Algorithm,
    cache: Duration,
    patience: Duration,
    pause: Duration,
    fetch: Arc<dyn Fetch>,
    current: Mutex<Current>,
    /// Held while fetching; when the last fetch began.
    flight: sync::Mutex<Option<Instant>>,
}

#[derive(Clone, Default)]
struct Current {
    keys: Arc<KeySet>,
    /// When they came; `None` before the first time.
    since: Option<Instant>,
    /// Whether the latest fetch failed.
    failed: bool,
}

impl Remote {
    /// Keys that are fetched when they are first needed.
    ///
    /// # Errors
    ///
    /// The address is not fixed, not safe, or no address.
    pub(crate) fn new(
        url: &str,
        settings: &AuthSettings,
        fetch: Arc<dyn Fetch>,
    ) -> Result<Self, Failure> {
        safe(url).map_err(|what| {
            Failure::new(
                Exit::Failure,
                format!("auth.jwks_url {what}"),
                "write it as https://HOST/PATH; http is for this machine only",
            )
        })?;
        Ok(Self(Arc::new(Inner {
            url: url.to_owned(),
            algorithm: settings.algorithm,
            cache: settings.jwks_cache,
            patience: settings.jwks_timeout,
            pause: settings.jwks_refetch,
            fetch,
            current: Mutex::default(),
            flight: sync::Mutex::default(),
        })))
    }

    /// The key of a token.
    ///
    /// A known key is given at once while the cache is fresh. An unknown one, and an old cache, lead to a fetch, of
    /// which there is one at a time and none within `jwks_refetch` of the last. Old keys stay for a day when the
    /// address does not answer.
    ///
    /// # Cancel safety
    ///
    /// A fetch that has begun goes on without the caller.
    pub(crate) async fn find(&self, kid: Option<&str>) -> Result<DecodingKey, TokenError> {
        let seen = self.0.current();
        let fresh = seen.age().is_some_and(|age| age < self.0.cache);
        if fresh && let Ok(key) = seen.keys.find(kid) {
            return Ok(key.clone());
        }
        let inner = self.0.clone();
        // In a task of its own: a client that hangs up must not use up the fetch of all others.
        if tokio::spawn(async move { inner.refresh(seen.since).await })
            .await
            .is_err()
        {
            return Err(TokenError::KeysUnavailable);
        }
        let current = self.0.current();
        match current.age() {
            Some(age) if age < MAX_STALE.max(self.0.cache) => match current.keys.find(kid) {
                Ok(key) => Ok(key.clone()),
                // The key may be in the set that cannot be fetched.
                Err(_) if current.failed => Err(TokenError::KeysUnavailable),
                Err(error) => Err(error),
            },
            _ => Err(TokenError::KeysUnavailable),
        }
    }
}

impl Inner {
    fn current(&self) -> Current {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn refresh(&self, seen: Option<Instant>) {
        let mut last = self.flight.lock().await;
        // Somebody else has fetched while this one waited.
        if self.current().since != seen || last.is_some_and(|last| last.elapsed() < self.pause) {
            return;
        }
        *last = Some(Instant::now());
        let fetched = timeout(self.patience, self.fetch.get(&self.url, MAX_KEY_SET)).await;
        let parsed = match fetched {
            Ok(Ok(body)) => KeySet::parse(&body, self.algorithm),
            Ok(Err(error)) => Err(error),
            Err(_) => Err("no answer in time".to_owned()),
        };
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match parsed {
            Ok(keys) => {
                tracing::debug!(keys = keys.len(), "fetched the key set");
                *current = Current {
                    keys: Arc::new(keys),
                    since: Some(Instant::now()),
                    failed: false,
                };
            }
            Err(error) => {
                tracing::warn!(url = %shown(&self.url), %error, "cannot fetch the key set of auth.jwks_url");
                current.failed = true;
            }
        }
    }
}

impl Current {
    fn age(&self) -> Option<Duration> {
        self.since.map(|since| since.elapsed())
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("url", &shown(&self.0.url))
            .finish_non_exhaustive()
    }
}

/// Without the query, which may carry a key.
fn shown(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

fn safe(url: &str) -> Result<(), &'static str> {
    if url.contains(['{', '}', '$', '<', '>']) {
        return Err("must be a fixed address, without placeholders");
    }
    let uri: http::Uri = url.parse().map_err(|_| "is no address")?;
    let host = uri.host().filter(|host| !host.is_empty());
    let host = host.ok_or("has no host")?;
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err("must not carry a user or a password");
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let local = host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
    match uri.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if local => Ok(()),
        _ => Err("must be https"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const SET: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"one","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    struct Page {
        calls: AtomicUsize,
        answer: Mutex<Result<&'static str, &'static str>>,
        delay: Duration,
    }

    impl Page {
        fn new(delay: Duration) -> Arc<Self> {
            Arc::new(Self {
                calls: AtomicUsize::new(0),
                answer: Mutex::new(Ok(SET)),
                delay,
            })
        }

        fn calls(&self) -> usize {
            self.calls.load(Ordering::SeqCst)
        }
    }

    impl Fetch for Page {
        fn get<'a>(&'a self, _: &'a str, _: usize) -> BoxFuture<'a, Result<Bytes, String>> {
            Box::pin(async {
                self.calls.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(self.delay).await;
                let answer = *self.answer.lock().unwrap();
                answer
                    .map(|body| Bytes::from_static(body.as_bytes()))
                    .map_err(str::to_owned)
            })
        }
    }

    fn remote(page: &Arc<Page>) -> Remote {
        let settings = AuthSettings {
            algorithm: Algorithm::EdDSA,
            ..AuthSettings::default()
        };
        Remote::new("https://issuer.example/jwks", &settings, page.clone()).unwrap()
    }

    async fn wait(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn unknown_keys_cannot_hurry_the_fetches() {
        let page = Page::new(Duration::ZERO);
        let remote = remote(&page);
        assert!(remote.find(Some("one")).await.is_ok());
        for n in 0..1_000 {
            let kid = format!("../../etc/passwd{n}");
            assert_eq!(
                remote.find(Some(&kid)).await.err(),
                Some(TokenError::KeyUnknown)
            );
        }
        assert_eq!(page.calls(), 1);
        wait(10).await;
        for _ in 0..10 {
            assert!(remote.find(Some("two")).await.is_err());
        }
        assert_eq!(page.calls(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn many_clients_share_one_fetch() {
        let page = Page::new(Duration::from_millis(500));
        let remote = Arc::new(remote(&page));
        let clients: Vec<_> = (0..100)
            .map(|_| {
                let remote = remote.clone();
                tokio::spawn(async move { remote.find(Some("one")).await.is_ok() })
            })
            .collect();
        for client in clients {
            assert!(client.await.unwrap());
        }
        assert_eq!(page.calls(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_hangs_up_does_not_stop_the_fetch() {
        let page = Page::new(Duration::from_millis(500));
        let remote = remote(&page);
        let first = timeout(Duration::from_millis(100), remote.find(Some("one"))).await;
        assert!(first.is_err());
        assert!(remote.find(Some("one")).await.is_ok());
        assert_eq!(page.calls(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_is_given_up_in_time() {
        let page = Page::new(Duration::from_secs(3_600));
        let remote = remote(&page);
        let before = Instant::now();
        let found = remote.find(Some("one")).await;
        assert_eq!(found.err(), Some(TokenError::KeysUnavailable));
        assert_eq!(before.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn old_keys_stay_for_a_day_while_the_address_fails() {
        let page = Page::new(Duration::ZERO);
        let remote = remote(&page);
        assert!(remote.find(Some("one")).await.is_ok());
        *page.answer.lock().unwrap() = Err("503");
        wait(3_601).await;
        assert!(remote.find(Some("one")).await.is_ok());
        assert_eq!(page.calls(), 2);
        assert_eq!(
            remote.find(Some("two")).await.err(),
            Some(TokenError::KeysUnavailable)
        );
        *page.answer.lock().unwrap() = Ok("<html>");
        wait(86_400).await;
        assert_eq!(
            remote.find(Some("one")).await.err(),
            Some(TokenError::KeysUnavailable)
        );
        *page.answer.lock().unwrap() = Ok(SET);
        wait(10).await;
        assert!(remote.find(Some("one")).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_was_withdrawn_ends_with_the_cache() {
        let page = Page::new(Duration::ZERO);
        let remote = remote(&page);
        assert!(remote.find(None).await.is_ok());
        *page.answer.lock().unwrap() = Ok(r#"{"keys":[]}"#);
        wait(3_600).await;
        for kid in [Some("one"), None] {
            assert_eq!(remote.find(kid).await.err(), Some(TokenError::KeyUnknown));
        }
    }

    #[test]
    fn addresses() {
        for (url, accepted) in [
            ("https://issuer.example/jwks", true),
            ("http://127.0.0.1:8080/jwks", true),
            ("http://[::1]/jwks", true),
            ("http://localhost/jwks", true),
            ("http://issuer.example/jwks", false),
            ("http://127.0.0.1.example/jwks", false),
            ("https://user:word@issuer.example/", false),
            ("https://{iss}/jwks", false),
            ("file:///etc/passwd", false),
            ("ftp://127.0.0.1/", false),
            ("/jwks", false),
            ("", false),
        ] {
            assert_eq!(safe(url).is_ok(), accepted, "{url}");
        }
    }
}
