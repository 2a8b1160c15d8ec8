//! Frames of a connection, recorded for whoever looks for a fault.

mod support;

use antiphon_hub::{
    code::close,
    config::HubConfig,
    hub::Hub,
    id::ConnectionId,
    occurrence::Occurrence,
    trace::{FrameKind, MAX_TIME, MAX_TRACED, NotTraced, TracedFrame, Way},
    wire::Wire,
};
use support::{Peer, connect, user, v1, v2};

fn hub() -> Hub {
    Hub::new(HubConfig::default())
}

fn only(hub: &Hub) -> ConnectionId {
    hub.all().clients()[0].id()
}

/// Frames as one line each.
fn lines(frames: &[TracedFrame]) -> Vec<String> {
    let line = |frame: &TracedFrame| {
        let way = match frame.direction {
            Way::In => "<",
            Way::Out => ">",
        };
        let kind = match frame.kind {
            FrameKind::Close => " close",
            FrameKind::Binary => " binary",
            _ => "",
        };
        // Times differ from run to run.
        let text = frame
            .text
            .split(",\"timestamp\"")
            .next()
            .unwrap_or_default();
        format!("{way}{kind} {text}")
    };
    frames.iter().map(line).collect()
}

async fn ended(peer: Peer) {
    peer.served.await.expect("it ends");
}

#[tokio::test(start_paused = true)]
async fn both_directions_are_recorded_until_the_end_and_stay_readable() {
    for wire in [Wire::V1, Wire::V2] {
        let hub = hub();
        let mut peer = match wire {
            Wire::V1 => v1(&hub, user("ada")).await,
            Wire::V2 => v2(&hub, user("ada")).await,
        };
        let id = only(&hub);
        assert!(hub.frames(id, 0).is_empty());
        hub.trace(id).unwrap();
        assert_eq!(hub.traced(), [id]);
        peer.ask(r#"{"event":"ping","id":1}"#).await;
        hub.user("ada").send("news", 1).await.unwrap();
        assert_eq!(peer.next().await["event"], "news");
        let mut seen = hub.occurrences();
        assert!(
            hub.client(id)
                .unwrap()
                .disconnect(close::FORCE_NO_RECONNECT)
        );
        peer.closed().await;
        ended(peer).await;
        let frames = hub.frames(id, 0);
        let lines = lines(&frames);
        assert_eq!(lines[0], r#"< {"event":"ping","id":1}"#);
        assert!(lines[1].starts_with(r#"> {"event":"ping""#), "{lines:?}");
        assert!(
            lines[2].starts_with(r#"> {"event":"news","data":1"#),
            "{lines:?}"
        );
        let kick = match wire {
            Wire::V1 => r#"> {"event":"kick""#,
            Wire::V2 => r#"> {"event":"$disconnect""#,
        };
        assert!(lines[3].starts_with(kick), "{lines:?}");
        assert_eq!(lines[4], "> close 3503 force no reconnect");
        assert_eq!(frames.len(), 5, "{lines:?}");
        assert_eq!(hub.frames(id, 3).len(), 2);
        assert!(hub.traced().is_empty());
        let told = loop {
            if let Occurrence::Disconnected { subject, .. } = &*seen.recv().await.unwrap() {
                break subject.clone();
            }
        };
        assert_eq!((told.connection, told.wire), (id, wire));
    }
}

#[tokio::test(start_paused = true)]
async fn the_close_of_a_client_is_recorded_with_its_code() {
    let hub = hub();
    let peer = v2(&hub, user("ada")).await;
    let id = only(&hub);
    hub.trace(id).unwrap();
    peer.socket
        .send(antiphon::Message::from(vec![0xff, 0x00]))
        .await
        .unwrap();
    peer.socket.close(4001, "enough").await.unwrap();
    ended(peer).await;
    let lines = lines(&hub.frames(id, 0));
    assert_eq!(lines.first().map(String::as_str), Some("< binary ff00"));
    assert_eq!(
        lines.last().map(String::as_str),
        Some("< close 4001 enough")
    );
}

#[tokio::test(start_paused = true)]
async fn few_are_recorded_and_none_for_ever() {
    let hub = hub();
    assert_eq!(hub.trace(ConnectionId::random()), Err(NotTraced::Gone));
    let mut peers = Vec::new();
    for _ in 0..=MAX_TRACED {
        peers.push(v2(&hub, user("ada")).await);
    }
    let ids: Vec<ConnectionId> = hub
        .all()
        .clients()
        .iter()
        .map(|client| client.id())
        .collect();
    for id in &ids[..MAX_TRACED] {
        hub.trace(*id).unwrap();
        hub.trace(*id).unwrap();
    }
    assert_eq!(hub.trace(ids[MAX_TRACED]), Err(NotTraced::TooMany));
    assert!(hub.untrace(ids[0]) && !hub.untrace(ids[0]));
    hub.trace(ids[MAX_TRACED]).unwrap();
    tokio::time::advance(MAX_TIME).await;
    assert!(hub.traced().is_empty(), "it stops by itself");
    for peer in &mut peers {
        peer.ask(r#"{"event":"ping","id":1}"#).await;
    }
    let late = ids.iter().flat_map(|id| hub.frames(*id, 0));
    let late: Vec<TracedFrame> = late.filter(|frame| frame.text.contains("ping")).collect();
    assert!(late.is_empty(), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn an_occurrence_of_an_end_has_the_last_details() {
    let hub = hub();
    let mut seen = hub.occurrences();
    let mut peer = connect(&hub, Wire::V2, user("ada"));
    peer.next().await;
    peer.ask(r#"{"event":"$subscribe","id":1,"ch":"b"}"#).await;
    peer.ask(r#"{"event":"$subscribe","id":2,"ch":"a"}"#).await;
    drop(peer);
    let subject = loop {
        match &*seen.recv().await.unwrap() {
            Occurrence::Disconnected { subject, .. } => break subject.clone(),
            Occurrence::Connected(subject) => assert!(subject.tags.is_empty()),
            _ => {}
        }
    };
    assert_eq!(subject.tags, ["a".into(), "b".into()]);
    assert!(subject.last_active > 0);
}
