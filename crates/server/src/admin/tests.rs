//! The page's hub over sockets in memory and in virtual time.

use std::{sync::Arc, time::Duration};

use antiphon::{Config, Role, WebSocket};
use antiphon_hub::{
    config::HubConfig, hub::Hub, identity::Identity, json::Json, permission::Permissions,
    session::Hello, wire::Wire,
};
use serde_json::{Value, json};

use crate::{
    admin::{
        journal::MAX_PUSHED,
        pulse::{self, MAX_FRAMES_PUSHED},
        requests,
        sessions::View,
        state::{Admin, MAX_SOCKETS, Visitor},
    },
    api::state::ApiState,
    auth::revocation::Revocations,
    config::schema,
    setting::Secret,
};

const HOUR: Duration = Duration::from_secs(3600);

const TOKEN: &str = "0123456789abcdef";

/// A hub with its page.
fn page() -> (Hub, Admin) {
    let hub = Hub::new(HubConfig::default());
    let revocations = Arc::new(Revocations::new(100, HOUR));
    let api = ApiState::new(hub.clone(), &schema::Api::default(), "n", revocations);
    let settings = schema::Admin {
        token: Some(Secret::new(TOKEN)),
        ..schema::Admin::default()
    };
    let admin = Admin::new(&settings, api, None, false);
    requests::install(&admin);
    pulse::start(&admin);
    (hub, admin)
}

/// A client of either hub.
struct Peer(WebSocket);

impl Peer {
    fn of(hub: &Hub, hello: Hello) -> Self {
        let (near, far) = tokio::io::duplex(256 * 1024);
        let server = WebSocket::from_io(far, Role::Server, Config::default());
        let hub = hub.clone();
        tokio::spawn(async move { hub.serve_as(server, Wire::V2, hello).await });
        Self(WebSocket::from_io(near, Role::Client, Config::default()))
    }

    async fn user(hub: &Hub, identity: Identity) -> Self {
        let mut peer = Self::of(hub, Hello::from_identity(identity));
        assert_eq!(peer.next().await["event"], "$connected");
        peer
    }

    /// The next event that is no heartbeat.
    async fn next(&mut self) -> Value {
        loop {
            let message = self.0.recv().await.unwrap().expect("it is open");
            let value: Value = serde_json::from_slice(message.as_bytes()).unwrap();
            if value != json!({}) {
                return value;
            }
        }
    }

    async fn ask(&mut self, event: &str, data: Value) -> Value {
        let request = json!({"event": event, "id": 1, "data": data});
        self.0.send(request.to_string()).await.unwrap();
        loop {
            let next = self.next().await;
            if next["id"] == 1 {
                return next;
            }
        }
    }

    /// Does nothing but what a browser does by itself.
    async fn idle(&mut self, time: Duration) {
        let read = async { while self.0.recv().await.is_ok_and(|message| message.is_some()) {} };
        let _ = tokio::time::timeout(time, read).await;
    }

    async fn closed(&mut self) -> u16 {
        while let Ok(Some(_)) = self.0.recv().await {}
        self.0.close_frame().map_or(1006, |frame| frame.code.get())
    }
}

fn login(admin: &Admin) -> View {
    let opened = admin.login(&Secret::new(TOKEN), None);
    opened.unwrap().expect("the token is right").view
}

fn socket(admin: &Admin, session: u64) -> Peer {
    let mut hello = Hello::default();
    hello.attachment = Some(Arc::new(Visitor {
        session,
        address: None,
    }));
    Peer::of(admin.hub(), hello)
}

/// An open page.
async fn open(admin: &Admin) -> Peer {
    let view = login(admin);
    let mut peer = socket(admin, view.number);
    let reply = peer
        .ask("$connect", json!({"token": view.csrf.expose()}))
        .await;
    assert_eq!(reply["code"], 0, "{reply}");
    peer
}

fn named(name: &str) -> Identity {
    let mut identity = Identity::user(name, Permissions::all().into());
    let info = format!(r#"{{"username":"{} Shown"}}"#, name.to_uppercase());
    identity.info = Json::parse(&info).ok();
    identity
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_session_closes_its_sockets() {
    let (_hub, admin) = page();
    let mut peer = open(&admin).await;
    peer.idle(HOUR / 2).await;
    assert_eq!(peer.ask("admin/nodes", json!({})).await["code"], 0);
    peer.idle(HOUR - Duration::from_secs(2)).await;
    assert_eq!(admin.hub().all().count(), 1, "it was used meanwhile");
    assert_eq!(peer.closed().await, 3510);
    assert_eq!(admin.stats().sessions, 0);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_taken_away_lets_nobody_in() {
    let (_hub, admin) = page();
    let mut peer = open(&admin).await;
    admin.set_token(Some(&Secret::new(TOKEN)));
    assert_eq!(peer.ask("admin/nodes", json!({})).await["code"], 0);
    admin.set_token(None);
    assert_eq!(peer.closed().await, 3510);
    for token in [TOKEN, ""] {
        assert!(
            matches!(admin.login(&Secret::new(token), None), Ok(None)),
            "{token}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_has_few_sockets() {
    let (_hub, admin) = page();
    let view = login(&admin);
    let connect = json!({"token": view.csrf.expose()});
    let mut peers = Vec::new();
    for _ in 0..MAX_SOCKETS {
        let mut peer = socket(&admin, view.number);
        assert_eq!(peer.ask("$connect", connect.clone()).await["code"], 0);
        peers.push(peer);
    }
    let mut late = socket(&admin, view.number);
    assert_eq!(late.ask("$connect", connect).await["code"], 106);
    assert_eq!(late.closed().await, 1013);
    assert_eq!(admin.stats().refused_sockets, 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_while_nobody_watches() {
    let (hub, admin) = page();
    let _page = open(&admin).await;
    let before = admin.hub().stats().published;
    for number in 0..50 {
        drop(Peer::user(&hub, named(&number.to_string())).await);
    }
    let client = Peer::user(&hub, named("ada")).await;
    hub.trace(hub.user("ada").clients()[0].id()).unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(admin.hub().stats().published, before);
    assert!(!admin.samples().all().is_empty());
    assert_eq!(admin.journal().closed(100).len(), 50);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_entries_and_frames_is_cut_for_the_page_and_counted() {
    let (hub, admin) = page();
    let mut page = open(&admin).await;
    let mut ada = Peer::user(&hub, named("ada")).await;
    let id = hub.user("ada").clients()[0].id();
    hub.trace(id).unwrap();
    for ch in ["log".to_owned(), format!("trace:{id}")] {
        let join = json!({"event": "$subscribe", "id": 1, "ch": ch});
        page.0.send(join.to_string()).await.unwrap();
        while page.next().await["id"] != 1 {}
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    for number in 0..MAX_PUSHED + 100 {
        admin.journal().did("send", number.to_string(), None);
    }
    for _ in 0..MAX_FRAMES_PUSHED {
        ada.ask("no/such", json!({})).await;
    }
    let (mut entries, mut lost, mut frames) = (0, 0, 0);
    while entries + lost < MAX_PUSHED + 100 || frames < MAX_FRAMES_PUSHED {
        let next = page.next().await;
        match next["event"].as_str() {
            Some("entries") => {
                let items = next["data"]["items"].as_array().map_or(0, Vec::len);
                assert!(items <= MAX_PUSHED);
                entries += items;
                lost += usize::try_from(next["data"]["lost"].as_u64().unwrap()).unwrap();
            }
            Some("frame") => frames += 1,
            _ => {}
        }
    }
    assert!(lost >= 100);
    hub.untrace(id);
    loop {
        let next = page.next().await;
        if next["event"] == "ended" {
            assert_eq!(next["data"], json!({"reason": "stopped"}));
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_of_many_connections_is_a_page_and_small_in_itself() {
    let (hub, admin) = page();
    let mut page = open(&admin).await;
    let mut peers = Vec::new();
    for number in 0..1_000 {
        let mut identity = named(&format!("user-{number:04}"));
        if number == 7 {
            identity.info = Json::parse(&format!("{{\"x\":\"{}\"}}", "x".repeat(2048))).ok();
            identity.tags = (0..40).map(|tag| format!("t{tag:02}").into()).collect();
        }
        peers.push(Peer::user(&hub, identity).await);
    }
    for (asked, items, total) in [
        (json!({"limit": 500}), 500, 1_000),
        (json!({"limit": 500, "offset": 900}), 100, 1_000),
        (json!({"offset": 100_000}), 0, 1_000),
        (json!({"filter": {"name": "USER-000"}}), 10, 10),
        (
            json!({"filter": {"name": "9 shown"}, "newest": true}),
            50,
            100,
        ),
    ] {
        let reply = page.ask("admin/connections", asked.clone()).await;
        let found = reply["data"]["items"].as_array().map(Vec::len);
        assert_eq!(
            (found, &reply["data"]["total"]),
            (Some(items), &json!(total)),
            "{asked}"
        );
    }
    let seventh = json!({"filter": {"user": "user-0007"}});
    let listed = page.ask("admin/connections", seventh).await["data"]["items"][0].clone();
    assert_eq!(
        (
            listed["tags"].as_array().map(Vec::len),
            &listed["tags_count"]
        ),
        (Some(16), &json!(40))
    );
    assert_eq!(listed["info"], Value::Null);
    let whole = page
        .ask("admin/connection", json!({"id": listed["id"]}))
        .await["data"]
        .clone();
    assert_eq!(
        whole["connection"]["tags"].as_array().map(Vec::len),
        Some(40)
    );
    assert!(whole["connection"]["info"].is_object());
}
