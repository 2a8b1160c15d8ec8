//! Logins that a backend makes and ends by the HTTP API.

use serde_json::json;

use super::{
    site::{Site, V2, api, client, jwt},
    token::{SECRET, date, now, signed, token, token_with},
};

#[tokio::test]
async fn a_ticket_lets_one_client_in_once() {
    let site = Site::start(&(jwt("") + api()));
    let asked = json!({"user": "7", "tags": ["news"], "info": {"name": "Ada"}});
    let answer = site.call("ticket", &asked).await;
    let ticket = answer["result"]["ticket"]
        .as_str()
        .expect("a ticket")
        .to_owned();
    assert_eq!(answer["result"]["ttl"], 30);
    let query = format!("?ticket={ticket}");
    // A page of another origin does not use it up.
    let foreign = "Origin: https://evil.example\r\n";
    assert_eq!(site.handshake(&query, foreign).await.status, 403);
    let v2 = client().subprotocol(V2);
    let mut peer = site.open(&v2, &query).await;
    let welcome = peer.next().await;
    assert_eq!(
        (&welcome["data"]["user"], &welcome["data"]["tags"]),
        (&json!("7"), &json!(["news"]))
    );
    let again = site.handshake(&query, "").await;
    assert_eq!(
        (again.status, &again.json()["error"]["reason"]),
        (401, &json!("ticket_invalid"))
    );
    assert!(!site.output().contains(&ticket));
}

#[tokio::test]
async fn a_backend_revokes_lists_and_kicks() {
    let site = Site::start(&(jwt("") + api()));
    let mut peer = site.user("7").await;
    let listed = site.call("connections", &json!({"user": "7"})).await;
    assert_eq!(listed["result"]["total"], 1);
    let sent = site
        .call(
            "send",
            &json!({"target": {"user": "7"}, "event": "hi", "data": [1]}),
        )
        .await;
    assert_eq!(sent["result"]["queued"], 1, "{sent}");
    assert_eq!(peer.next().await["data"], json!([1]));
    let revoked = site.call("revoke", &json!({"user": "7"})).await;
    assert_eq!(revoked["result"]["closed"], 1);
    assert_eq!(peer.end().await.0, 3510);
    let refused = site
        .handshake("", &format!("Authorization: Bearer {}\r\n", token("7")))
        .await;
    assert_eq!(refused.json()["error"]["reason"], "token_revoked");
}

#[tokio::test]
async fn a_session_of_hotgo_is_opened_and_ended() {
    let auth = format!(
        "\n[auth]\nmode = \"hotgo\"\nsecret = \"{SECRET}\"\n[auth.sessions]\nadopt = false\n"
    );
    let site = Site::start(&(auth + api()));
    let claims = json!({"id": 7, "app": "admin", "username": "ada", "loginAt": date(now())});
    let token = signed(SECRET, r#"{"alg":"HS256","typ":"JWT"}"#, &claims);
    let query = format!("?authorization={token}");
    assert_eq!(site.handshake(&query, "").await.json()["code"], 61);
    let opened = site.call("login", &json!({"token": token})).await;
    assert_eq!(opened["result"]["closed"], 0, "{opened}");
    let mut peer = site.open(&client(), &query).await;
    peer.send(json!({"event": "ping"})).await;
    assert_eq!(peer.next().await["event"], "ping");
    let ended = site.call("logout", &json!({"token": token})).await;
    assert_eq!(ended["result"]["closed"], 1, "{ended}");
    assert_eq!(peer.end().await.0, 3510);
    assert_eq!(site.handshake(&query, "").await.json()["code"], 61);
}

#[tokio::test]
async fn one_login_is_revoked_on_both_wires_and_another_stays() {
    let site = Site::start(&(jwt("") + api()));
    let revoked = token_with("7", json!({"jti": "s1"}));
    let other = token_with("7", json!({"jti": "s2"}));
    let mut new = site.peer(&revoked).await;
    let old = client().header("authorization", &*revoked);
    let mut old = site.open(&old, "").await;
    // Its answer says that it is in the hub.
    old.send(json!({"event": "ping"})).await;
    assert_eq!(old.next().await["event"], "ping");
    let mut stays = site.peer(&other).await;
    let answer = site.call("revoke", &json!({"session": "s1"})).await;
    assert_eq!(answer["result"]["closed"], 2, "{answer}");
    let (code, events) = new.end().await;
    assert_eq!(code, 3510, "{events:?}");
    assert_eq!(events[0]["event"], "$disconnect", "{events:?}");
    assert_eq!(events[0]["data"]["reconnect"], false, "{events:?}");
    let (code, events) = old.end().await;
    assert_eq!((code, &events[0]["event"]), (3510, &json!("kick")));
    let answer = site.handshake(&format!("?token={revoked}"), "").await;
    assert_eq!(answer.json()["error"]["reason"], "token_revoked");
    assert_eq!(stays.code("$ping", json!(null)).await, 0);
    let reply = stays.ask("$refresh", json!({"token": revoked})).await;
    assert_ne!(reply["code"], 0, "it is no way back: {reply}");
}

#[tokio::test]
async fn a_new_token_in_a_message_does_not_close_its_own_connection() {
    let auth = format!(
        "\n[auth]\nmode = \"hotgo\"\nsecret = \"{SECRET}\"\n[auth.sessions]\nmulti_login = false\n"
    );
    let site = Site::start(&(auth + api()));
    let token = |at: u64| {
        let claims = json!({"id": 7, "app": "admin", "username": "ada", "loginAt": date(at)});
        signed(SECRET, r#"{"alg":"HS256","typ":"JWT"}"#, &claims)
    };
    let (old, new) = (token(now() - 10), token(now()));
    let v2 = client().subprotocol(V2);
    let mut peer = site.open(&v2, &format!("?authorization={old}")).await;
    let mut other = site.open(&v2, &format!("?authorization={old}")).await;
    peer.next().await;
    other.next().await;
    assert_eq!(peer.code("$refresh", json!({"token": new})).await, 0);
    assert_eq!(other.end().await.0, 3511);
    assert_eq!(peer.code("$ping", json!(null)).await, 0);
}
