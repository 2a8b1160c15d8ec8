//! `antiphon serve --dev`: everything works without a configuration.

use antiphon::Message;
use serde_json::json;

use super::site::{Peer, V2, client};
use crate::support::Running;

#[tokio::test]
async fn the_demo_speaks_both_wires_and_echoes() {
    let mut server = Running::start("serve", &["--dev"]);
    assert_eq!(server.url, format!("ws://{}/", server.authority()));
    assert_eq!(
        server.line(),
        format!("open http://{}/", server.authority())
    );
    let page = server.get("/chat", "");
    assert!(
        page.starts_with("HTTP/1.1 200 ") && page.contains("text/html"),
        "{page}"
    );

    let mut echo = client()
        .connect(server.path("ws"))
        .await
        .expect("it is open");
    echo.send("hello").await.expect("it is open");
    let back = echo
        .recv()
        .await
        .expect("it is open")
        .expect("it comes back");
    assert_eq!(back.as_text(), Some("hello"));
    echo.send(Message::from(vec![0, 255]))
        .await
        .expect("it is open");
    let back = echo
        .recv()
        .await
        .expect("it is open")
        .expect("it comes back");
    assert_eq!(back.as_bytes(), [0, 255]);

    let socket = client()
        .subprotocol(V2)
        .connect(server.path("socket?name=Ada"))
        .await;
    let mut ada = Peer::new(socket.expect("it is open"));
    let welcome = ada.next().await;
    assert_eq!(
        (&welcome["event"], &welcome["data"]["user"]),
        (&json!("$connected"), &json!("Ada")),
        "{welcome}"
    );
    assert_eq!(ada.code("$subscribe", json!({"ch": "room:tea"})).await, 0);

    let mut bob = Peer::new(
        client()
            .connect(server.path("socket?name=Bob"))
            .await
            .expect("it is open"),
    );
    bob.send(json!({"event": "join", "data": {"id": "room:tea"}}))
        .await;
    assert_eq!(bob.next().await["data"], json!(["room:tea"]));
    bob.send(json!({"event": "chat/send", "data": {"room": "tea", "text": "hi"}}))
        .await;
    let heard = loop {
        let event = ada.next().await;
        if event["event"] == "chat/message" {
            break event;
        }
    };
    assert_eq!(
        (&heard["ch"], &heard["data"]["from"]),
        (&json!("room:tea"), &json!("Bob")),
        "{heard}"
    );
    assert_eq!(heard["data"]["text"], "hi");
}
