//! Key sets are fetched by the HTTP client of the server.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    auth::jwks::{BoxFuture, Fetch},
    outgoing::{Bounds, Http, endpoint::Endpoint},
};

/// The server's client, with the patience of `auth.jwks_timeout`.
#[derive(Clone)]
pub(crate) struct HttpFetch {
    /// The client.
    pub(crate) http: Http,
    /// From the call to the last byte.
    pub(crate) timeout: Duration,
}

impl Fetch for HttpFetch {
    fn get<'a>(&'a self, url: &'a str, max: usize) -> BoxFuture<'a, Result<Bytes, String>> {
        Box::pin(async move {
            let endpoint: Endpoint = url.parse()?;
            let bounds = Bounds {
                timeout: self.timeout,
                answer: max,
            };
            match self.http.get(&endpoint, bounds).await {
                Ok(answer) => Ok(answer.body),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}
