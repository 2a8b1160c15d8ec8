//! The chat of `serve --dev`: rooms, who is in them, who is online. The first application of the hub, made to be copied.
//!
//! A room is a tag, `room:NAME`: the hub itself lets clients join it, lists its members and tells who comes and goes.
//! What is left for the application are these few events.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use antiphon_hub::{
    config::TagRule,
    hub::{Client, Hub, Publication},
    identity::Identity,
    occurrence::Occurrence,
    permission::Permissions,
    refusal::Refusal,
    router::{Data, Reply},
};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use tokio::{sync::broadcast::error::RecvError, time::sleep};

/// Longest message, in characters.
const MAX_TEXT: usize = 2000;
/// Longest name of a room or a user, in characters.
const MAX_NAME: usize = 40;
/// Most rooms and most users in a list.
const MAX_LISTED: usize = 200;
/// How long changes are collected before everybody is told of them.
const NEWS_INTERVAL: Duration = Duration::from_millis(250);

/// A client in this tag is told how the rooms and the users change.
const LOBBY: &str = "lobby";
const ROOM: &str = "room:";

/// Code of a refusal: the message is empty or too long.
const BAD_TEXT: i32 = 1001;
/// Code of a refusal: no room can have this name.
const BAD_ROOM: i32 = 1002;
/// Code of a refusal: the client is not in the room.
const NOT_IN_ROOM: i32 = 1003;

/// The rules for the tags of the chat: members of a room are told who comes and goes.
pub(crate) fn rules() -> Vec<TagRule> {
    let mut rooms = TagRule::new("room:*");
    rooms.notices = true;
    vec![rooms]
}

/// Who somebody says that they are: `?name=`. For development alone, where everybody may be anybody and do everything.
pub(crate) fn identity(query: &str) -> Identity {
    let name = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("name="))
        .map(|name| name.replace('+', " "));
    let name = name.map(|name| percent_decode_str(&name).decode_utf8_lossy().into_owned());
    let permissions = Arc::new(Permissions::all());
    match name.as_deref().map(str::trim) {
        Some(name) if is_name(name) => Identity::user(name, permissions),
        _ => Identity::anonymous(permissions),
    }
}

/// Makes a hub a chat.
///
/// # Panics
///
/// Outside of a runtime.
pub(crate) fn install(hub: &Hub) {
    hub.on("chat/send", send);
    hub.on("chat/typing", typing);
    hub.on("chat/rooms", |hub: Hub| async move { Reply(rooms(&hub)) });
    hub.on("chat/online", |hub: Hub| async move { Reply(online(&hub)) });
    hub.on_join(may_join);
    hub.on_publish(may_publish);
    tokio::spawn(tell_news(hub.clone()));
}

#[derive(Deserialize)]
struct Words {
    room: String,
    text: String,
}

/// A message as the members of a room get it.
#[derive(Serialize)]
struct Spoken<'a> {
    from: &'a str,
    client: String,
    text: &'a str,
    /// Unix milliseconds.
    at: u64,
}

async fn send(client: Client, Data(words): Data<Words>) -> Result<(), Refusal> {
    let from = name_of(&client)?;
    let room = own_room(&client, &words.room)?;
    let text = words.text.trim();
    if text.is_empty() || text.chars().count() > MAX_TEXT {
        let message = format!("a message has 1 to {MAX_TEXT} characters");
        return Err(Refusal::new(BAD_TEXT, message));
    }
    let message = Spoken {
        from: &from,
        client: client.id().to_string(),
        text,
        at: unix_millis(),
    };
    client.hub().tag(room).send("chat/message", message).await?;
    Ok(())
}

#[derive(Deserialize)]
struct Place {
    room: String,
}

#[derive(Serialize)]
struct Typing<'a> {
    from: &'a str,
    client: String,
}

/// Where somebody reads slowly, only the latest hint of each writer waits.
async fn typing(client: Client, Data(place): Data<Place>) -> Result<(), Refusal> {
    let from = name_of(&client)?;
    let room = own_room(&client, &place.room)?;
    let id = client.id().to_string();
    let others = client.hub().tag(room).except(client.id());
    let hint = Typing {
        from: &from,
        client: id.clone(),
    };
    others.latest(id).send("chat/typing", hint).await?;
    Ok(())
}

#[derive(Serialize)]
struct Rooms {
    rooms: Vec<Room>,
}

#[derive(Serialize)]
struct Room {
    name: String,
    count: usize,
}

fn rooms(hub: &Hub) -> Rooms {
    let tags = hub.tags(Some("room:*"), None, MAX_LISTED).items;
    let room = |(tag, count): (Arc<str>, usize)| {
        let name = tag.strip_prefix(ROOM)?.to_owned();
        Some(Room { name, count })
    };
    Rooms {
        rooms: tags.into_iter().filter_map(room).collect(),
    }
}

#[derive(Serialize)]
struct Online {
    users: Vec<User>,
    /// Of all users, also where not all are listed.
    count: usize,
}

#[derive(Serialize)]
struct User {
    name: Arc<str>,
    connections: usize,
}

fn online(hub: &Hub) -> Online {
    let page = hub.users(None, MAX_LISTED);
    let user = |(name, connections)| User { name, connections };
    Online {
        users: page.items.into_iter().map(user).collect(),
        count: page.total,
    }
}

/// Tells the lobby of changes: all of a moment together, and of them only the latest to whoever reads slowly.
async fn tell_news(hub: Hub) {
    let mut occurrences = hub.occurrences();
    loop {
        match occurrences.recv().await.as_deref() {
            Ok(Occurrence::Joined { tag, .. } | Occurrence::Left { tag, .. })
                if !tag.starts_with(ROOM) => {}
            Ok(Occurrence::Connected(_) | Occurrence::Disconnected { .. }) => {}
            Err(RecvError::Closed) => return,
            Ok(_) | Err(RecvError::Lagged(_)) => {
                sleep(NEWS_INTERVAL).await;
                occurrences = occurrences.resubscribe();
                let lobby = |key: &str| hub.tag(LOBBY).latest(key);
                // Only what is short of memory refuses it, and the next change tells it again.
                let _ = lobby("rooms").send("chat/rooms", rooms(&hub)).await;
                let _ = lobby("online").send("chat/online", online(&hub)).await;
            }
        }
    }
}

/// Tags of other names are nobody's concern here.
async fn may_join(_: Client, tag: Arc<str>) -> Result<(), Refusal> {
    if tag.strip_prefix(ROOM).is_none_or(is_name) {
        return Ok(());
    }
    let message =
        format!("a room's name has 1 to {MAX_NAME} characters, without space around them");
    Err(Refusal::new(BAD_ROOM, message))
}

/// What stands in a room was said by whom it names: `chat/send` sees to that, so nothing goes past it.
async fn may_publish(_: Client, publication: Publication) -> Result<Publication, Refusal> {
    if publication.tag.starts_with(ROOM) || &*publication.tag == LOBBY {
        return Err(Refusal::denied("use chat/send"));
    }
    Ok(publication)
}

fn name_of(client: &Client) -> Result<Arc<str>, Refusal> {
    let unnamed = || Refusal::denied("connect with a name first: ?name=");
    client.user().ok_or_else(unnamed)
}

/// The tag of a room that the client is in.
fn own_room(client: &Client, room: &str) -> Result<Arc<str>, Refusal> {
    let tag = format!("{ROOM}{room}");
    let held = client.tags().into_iter().find(|held| **held == *tag);
    held.ok_or_else(|| Refusal::new(NOT_IN_ROOM, "join the room first"))
}

/// Whether a room or a user can have this name.
fn is_name(name: &str) -> bool {
    let length = name.chars().count();
    (1..=MAX_NAME).contains(&length) && name.trim() == name && !name.contains(char::is_control)
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |time| {
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use antiphon::{Config, Role, WebSocket};
    use antiphon_hub::{config::HubConfig, session::Hello, wire::Wire};
    use serde_json::{Value, json};

    use super::*;

    /// Somebody with the page open, over a socket in memory.
    struct Tab {
        socket: WebSocket,
        client: Value,
    }

    impl Tab {
        async fn open(hub: &Hub, query: &str) -> Self {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let server = WebSocket::from_io(far, Role::Server, Config::default());
            let (hub, hello) = (hub.clone(), Hello::from_identity(identity(query)));
            tokio::spawn(async move { hub.serve_as(server, Wire::V2, hello).await });
            let socket = WebSocket::from_io(near, Role::Client, Config::default());
            let mut tab = Self {
                socket,
                client: Value::Null,
            };
            let connected = tab.next().await;
            assert_eq!(connected["event"], "$connected");
            tab.client = connected["data"]["client"].clone();
            tab
        }

        async fn next(&mut self) -> Value {
            let message = self.socket.recv().await.unwrap().expect("it is open");
            serde_json::from_str(message.as_text().unwrap()).unwrap()
        }

        /// The next event of this name; others before it are passed over.
        async fn event(&mut self, name: &str) -> Value {
            loop {
                let next = self.next().await;
                if next["event"] == name && next.get("id").is_none() {
                    return next["data"].clone();
                }
            }
        }

        async fn ask(&mut self, event: &str, data: Value) -> Value {
            let request = json!({"event": event, "id": 1, "data": data}).to_string();
            self.socket.send(request).await.unwrap();
            loop {
                let next = self.next().await;
                if next["id"] == 1 {
                    return next;
                }
            }
        }

        async fn enter(&mut self, room: &str) {
            let reply = self
                .ask("$subscribe", json!({"ch": format!("room:{room}")}))
                .await;
            assert_eq!(reply["code"], 0);
        }

        async fn say(&mut self, room: &str, text: &str) -> Value {
            self.ask("chat/send", json!({"room": room, "text": text}))
                .await["code"]
                .clone()
        }
    }

    fn chat() -> Hub {
        let mut config = HubConfig::default();
        config.tag_rules = rules();
        let hub = Hub::new(config);
        install(&hub);
        hub
    }

    #[test]
    fn a_name_is_what_stands_in_the_query() {
        for (query, user) in [
            ("name=ada", Some("ada")),
            ("a=b&name=Ada+Lovelace", Some("Ada Lovelace")),
            ("name=%E8%89%BE%E8%BE%BE", Some("\u{827e}\u{8fbe}")),
            ("name=%20ada%20", Some("ada")),
            ("name=", None),
            ("name=%0a%00x", None),
            ("nickname=ada", None),
            ("", None),
        ] {
            assert_eq!(identity(query).user.as_deref(), user, "{query:?}");
        }
        let (longest, longer) = ("n".repeat(MAX_NAME), "n".repeat(MAX_NAME + 1));
        assert!(identity(&format!("name={longest}")).user.is_some());
        assert!(identity(&format!("name={longer}")).user.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn all_in_a_room_hear_what_is_said_there() {
        let hub = chat();
        let mut ada = Tab::open(&hub, "name=ada").await;
        let mut bob = Tab::open(&hub, "name=bob").await;
        let mut eve = Tab::open(&hub, "name=eve").await;
        ada.enter("tea").await;
        bob.enter("tea").await;
        eve.enter("coffee").await;
        assert_eq!(bob.say("tea", " one ").await, 0);
        assert_eq!(bob.say("tea", "two").await, 0);
        assert_eq!(eve.say("coffee", "three").await, 0);
        for text in ["one", "two"] {
            let heard = ada.event("chat/message").await;
            assert_eq!(
                (&heard["from"], &heard["text"]),
                (&json!("bob"), &json!(text))
            );
            assert_eq!(heard["client"], bob.client);
        }
        assert_eq!(hub.tag("room:tea").send("end", ()).await.unwrap().queued, 2);
        assert_eq!(
            ada.next().await["event"],
            "end",
            "nothing of the other room"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_said_is_refused() {
        let hub = chat();
        let mut ada = Tab::open(&hub, "name=ada").await;
        ada.enter("tea").await;
        let (longest, longer) = ("\u{e4}".repeat(MAX_TEXT), "x".repeat(MAX_TEXT + 1));
        for (room, text, code) in [
            ("tea", &*longest, 0),
            ("tea", &*longer, BAD_TEXT),
            ("tea", " \n", BAD_TEXT),
            ("coffee", "hello", NOT_IN_ROOM),
        ] {
            assert_eq!(ada.say(room, text).await, code, "{room}");
        }
        assert_eq!(
            ada.ask("chat/send", json!({"room": "tea"})).await["code"],
            107
        );
        for (room, code) in [
            ("", BAD_ROOM),
            (" x", BAD_ROOM),
            ("a\nb", BAD_ROOM),
            ("\u{8336}", 0),
        ] {
            let reply = ada
                .ask("$subscribe", json!({"ch": format!("room:{room}")}))
                .await;
            assert_eq!(reply["code"], code, "{room}");
        }
        let forged = json!({"ch": "room:tea", "event": "chat/message", "data": {"from": "bob"}});
        assert_eq!(ada.ask("$publish", forged).await["code"], 103);
        let own = json!({"ch": "mine", "event": "x"});
        assert_eq!(ada.ask("$publish", own).await["code"], 0);

        let mut nobody = Tab::open(&hub, "").await;
        nobody.enter("tea").await;
        assert_eq!(nobody.say("tea", "boo").await, 103);
    }

    #[tokio::test(start_paused = true)]
    async fn others_see_who_types() {
        let hub = chat();
        let mut ada = Tab::open(&hub, "name=ada").await;
        let mut bob = Tab::open(&hub, "name=bob").await;
        ada.enter("tea").await;
        bob.enter("tea").await;
        let reply = bob.ask("chat/typing", json!({"room": "tea"})).await;
        assert_eq!(reply["code"], 0);
        assert_eq!(ada.event("chat/typing").await["from"], "bob");
        let reply = bob.ask("chat/typing", json!({"room": "coffee"})).await;
        assert_eq!(reply["code"], NOT_IN_ROOM);
    }

    #[tokio::test(start_paused = true)]
    async fn the_lobby_hears_of_rooms_and_users() {
        let hub = chat();
        let mut ada = Tab::open(&hub, "name=ada").await;
        assert_eq!(ada.ask("$subscribe", json!({"ch": LOBBY})).await["code"], 0);
        assert_eq!(ada.event("chat/online").await["count"], 1);
        let mut bob = Tab::open(&hub, "name=bob").await;
        bob.enter("tea").await;
        let tea = json!({"rooms": [{"name": "tea", "count": 1}]});
        assert_eq!(ada.event("chat/rooms").await, tea);
        let both = json!({"users": [{"name": "ada", "connections": 1}, {"name": "bob", "connections": 1}], "count": 2});
        assert_eq!(ada.event("chat/online").await, both);
        assert_eq!(bob.ask("chat/rooms", Value::Null).await["data"], tea);
        assert_eq!(bob.ask("chat/online", Value::Null).await["data"], both);
        drop(bob);
        assert_eq!(ada.event("chat/rooms").await, json!({"rooms": []}));
        assert_eq!(ada.event("chat/online").await["count"], 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_room_is_told_who_comes_and_goes() {
        let hub = chat();
        let mut ada = Tab::open(&hub, "name=ada").await;
        ada.enter("tea").await;
        let mut bob = Tab::open(&hub, "name=bob").await;
        bob.enter("tea").await;
        let joined = loop {
            let joined = ada.event("$join").await;
            if joined["members"][0]["user"] == "bob" || joined["members"][1]["user"] == "bob" {
                break joined;
            }
        };
        assert_eq!(joined["count"], 2);
        drop(bob);
        assert_eq!(ada.event("$leave").await["members"][0]["user"], "bob");
    }
    #[tokio::test(start_paused = true)]
    async fn lists_are_bounded() {
        let hub = chat();
        let mut ada = Tab::open(&hub, "name=ada").await;
        let _bob = Tab::open(&hub, "name=bob").await;
        for room in 0..=MAX_LISTED {
            let user = ["ada", "bob"][room % 2];
            hub.user(user)
                .join(format!("room:{room:03}"))
                .await
                .unwrap();
        }
        let rooms = ada.ask("chat/rooms", Value::Null).await["data"]["rooms"].clone();
        assert_eq!(rooms.as_array().unwrap().len(), MAX_LISTED);
        let mut others = Vec::new();
        for other in 0..MAX_LISTED {
            others.push(Tab::open(&hub, &format!("name={other}")).await);
        }
        let online = ada.ask("chat/online", Value::Null).await["data"].clone();
        assert_eq!(online["users"].as_array().unwrap().len(), MAX_LISTED);
        assert_eq!(online["count"], MAX_LISTED + 2);
    }
}
