//! A hub with a client in memory, and the API in front of it.

use std::{
    sync::{Arc, Mutex},
    time::SystemTime,
};

use antiphon::{Config, Role, WebSocket};
use antiphon_hub::{
    config::HubConfig, hub::Hub, identity::Identity, json::Json, permission::Permissions,
    session::Hello, wire::Wire,
};
use axum::{Router, body::Body};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::{Mutex as Turn, MutexGuard};
use tower_service::Service as _;

use crate::{
    api::{
        hotgo_routes, key, routes,
        state::{ApiState, Login, NotRevoked, Revoke},
    },
    config::schema::{Api, ApiKey},
    value,
};

/// A key that may do everything.
pub(super) const KEY: &str = "0123456789abcdef-may-do-everything";

/// Three keys, small bounds.
pub(super) fn settings() -> Api {
    let key = |name: &str, key: &str, scopes: &[&str]| ApiKey {
        name: name.into(),
        hash: value::to_hex(&key::hash(key.as_bytes())),
        scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
    };
    Api {
        keys: vec![
            key("all", KEY, &["*"]),
            key("publisher", "0123456789abcdef-publish-only", &["publish"]),
            key(
                "watcher",
                "0123456789abcdef-the-watcher",
                &["presence", "connections", "info"],
            ),
        ],
        max_body: 2048,
        max_batch: 4,
        ..Api::default()
    }
}

/// Remembers what was revoked, until it is told to be full.
#[derive(Debug, Default)]
struct Revoked(Mutex<(Vec<String>, bool)>);

impl Revoke for Revoked {
    fn revoke(&self, login: &Login<'_>, now: SystemTime) -> Result<SystemTime, NotRevoked> {
        let mut inner = self.0.lock().unwrap();
        if inner.1 {
            return Err(NotRevoked);
        }
        inner.0.push(format!("{login:?}"));
        Ok(now)
    }
}

/// The API, and Ada, who is in `news`.
pub(super) struct World {
    pub(super) hub: Hub,
    pub(super) state: ApiState,
    pub(super) ada: Peer,
    revoked: Arc<Revoked>,
    router: Router,
}

/// A connected client.
pub(super) struct Peer {
    pub(super) id: String,
    socket: Turn<WebSocket>,
}

/// Reads what a client gets.
pub(super) struct Reader<'a>(MutexGuard<'a, WebSocket>);

/// Somebody who may do everything.
pub(super) fn user(name: &str) -> Identity {
    Identity::user(name, Permissions::all().into())
}

/// Connects, and waits until the client is in every index.
pub(super) async fn connect(hub: &Hub, wire: Wire, identity: Identity) -> Peer {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let server = WebSocket::from_io(far, Role::Server, Config::default());
    let served = hub.clone();
    tokio::spawn(async move {
        served
            .serve_as(server, wire, Hello::from_identity(identity))
            .await
    });
    let mut socket = WebSocket::from_io(near, Role::Client, Config::default());
    let mut id = String::new();
    if wire == Wire::V2 {
        let hello = next(&mut socket).await;
        id = hello["data"]["client"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
    } else {
        socket.send(r#"{"event":"ping"}"#).await.unwrap();
        next(&mut socket).await;
    }
    Peer {
        id,
        socket: Turn::new(socket),
    }
}

async fn next(socket: &mut WebSocket) -> Value {
    loop {
        let message = socket.recv().await.unwrap().expect("an open connection");
        let value: Value = serde_json::from_str(message.as_text().unwrap()).unwrap();
        if value != json!({}) {
            return value;
        }
    }
}

impl Peer {
    pub(super) async fn reader(&self) -> Reader<'_> {
        Reader(self.socket.lock().await)
    }
}

impl Reader<'_> {
    pub(super) async fn next(&mut self) -> Value {
        next(&mut self.0).await
    }

    /// The code and the reason of the end; events before it are skipped.
    pub(super) async fn closed(&mut self) -> (u16, String) {
        while self.0.recv().await.unwrap().is_some() {}
        let close = self.0.close_frame().expect("a closing handshake");
        (close.code.get(), close.reason.as_str().to_owned())
    }
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(settings()).await
    }

    pub(super) async fn with(settings: Api) -> Self {
        let mut config = HubConfig::default();
        config.max_tags_per_connection = 5;
        let hub = Hub::new(config);
        let revoked = Arc::new(Revoked::default());
        let state = ApiState::new(hub.clone(), &settings, "node-1", revoked.clone());
        let mut ada = user("ada");
        ada.session = Some("s-ada".into());
        ada.info = Some(Json::parse(r#"{"name":"Ada"}"#).unwrap());
        ada.tags = vec!["news".into()];
        Self {
            ada: connect(&hub, Wire::V2, ada).await,
            router: routes(state.clone()).merge(hotgo_routes(state.clone(), "/socket/")),
            state,
            hub,
            revoked,
        }
    }

    pub(super) fn revoked(&self) -> Vec<String> {
        self.revoked.0.lock().unwrap().0.clone()
    }

    pub(super) fn fill_revocations(&self) {
        self.revoked.0.lock().unwrap().1 = true;
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, HeaderMap, String) {
        let response = self.router.clone().call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        (parts.status, parts.headers, text)
    }

    /// A request with a key, where one is given.
    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        key: &str,
        body: &str,
    ) -> (StatusCode, HeaderMap, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if !key.is_empty() {
            request = request.header("x-api-key", key);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let (status, headers, text) = self.send(request).await;
        let value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"));
        (status, headers, value)
    }

    pub(super) async fn post(&self, path: &str, body: &str) -> (StatusCode, HeaderMap, Value) {
        self.ask("POST", path, KEY, body).await
    }

    pub(super) async fn text(&self, path: &str, body: &str) -> String {
        let request = Request::post(path).header("x-api-key", KEY);
        let request = request.body(Body::from(body.to_owned())).unwrap();
        self.send(request).await.2
    }

    pub(super) async fn call(&self, name: &str, params: &Value) -> Value {
        let (status, _, answer) = self
            .post(&format!("/api/{name}"), &params.to_string())
            .await;
        assert_eq!(status, StatusCode::OK, "{name} {params}: {answer}");
        answer
    }

    /// A form.
    pub(super) async fn form(&self, path: &str, body: &'static str) -> Value {
        let request = Request::post(path)
            .header("x-api-key", KEY)
            .header("content-type", "application/x-www-form-urlencoded");
        let (_, _, text) = self.send(request.body(Body::from(body)).unwrap()).await;
        serde_json::from_str(&text).unwrap()
    }

    /// Publishes with this header.
    pub(super) async fn authorized(&self, value: &str) -> StatusCode {
        let request = Request::post("/api/publish").header("authorization", value);
        let body = json!({"channel": "news", "data": 1}).to_string();
        self.send(request.body(Body::from(body)).unwrap()).await.0
    }
}
