//! One order: of messages for all who get them, of events for the one who sent them.

use std::sync::{Arc, Mutex};

use antiphon_hub::{
    hub::{Client, Hub},
    router::{Data, Reply},
    wire::Wire,
};
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};

use crate::{
    stage::{hub, scenarios, seconds, settle, subscribe},
    support::{Peer, connect, user, v1, v2},
};

scenarios! {
    Threads concurrent_publishers_give_a_tag_one_order;
    Threads concurrent_publishers_give_all_one_order;
    Threads concurrent_publishers_give_a_users_devices_one_order;
    Threads one_publisher_is_heard_in_its_own_order;
    Virtual events_of_one_client_are_handled_in_order;
    Virtual replies_come_in_the_order_of_requests;
    Virtual clients_are_handled_beside_each_other;
    Virtual a_batch_is_handled_in_its_order;
    Virtual a_client_sees_its_own_publications_before_its_reply;
}

const PUBLISHERS: usize = 4;
const EACH: usize = 200;

/// Publishes from several tasks at once; what each peer has seen.
async fn publish(
    hub: &Hub,
    peers: Vec<Peer>,
    target: fn(&Hub) -> antiphon_hub::audience::Audience,
) -> Vec<Vec<Value>> {
    let readers: Vec<_> = peers
        .into_iter()
        .map(|mut peer| {
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while seen.len() < PUBLISHERS * EACH {
                    let event = peer.next().await;
                    if event["event"] == "n" {
                        seen.push(event);
                    }
                }
                seen
            })
        })
        .collect();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let hub = hub.clone();
            tokio::spawn(async move {
                for number in 0..EACH {
                    target(&hub)
                        .send("n", publisher * EACH + number)
                        .await
                        .unwrap();
                    if number % 16 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let mut all = Vec::new();
    for reader in readers {
        all.push(reader.await.unwrap());
    }
    all
}

fn one_order(seen: &[Vec<Value>]) {
    let numbers = |events: &Vec<Value>| -> Vec<u64> {
        events
            .iter()
            .map(|event| event["data"].as_u64().unwrap())
            .collect()
    };
    let first = numbers(&seen[0]);
    for other in seen {
        assert_eq!(numbers(other), first);
    }
    for publisher in 0..PUBLISHERS {
        let own = (publisher * EACH) as u64..((publisher + 1) * EACH) as u64;
        let heard: Vec<_> = first
            .iter()
            .copied()
            .filter(|number| own.contains(number))
            .collect();
        assert_eq!(heard, own.collect::<Vec<_>>());
    }
}

async fn concurrent_publishers_give_a_tag_one_order() -> Hub {
    let hub = hub(|_| {});
    let mut peers = Vec::new();
    for number in 0..6 {
        let mut peer = v2(&hub, user(&number.to_string())).await;
        subscribe(&mut peer, "t").await;
        peers.push(peer);
    }
    for number in 6..9 {
        let mut peer = v1(&hub, user(&number.to_string())).await;
        let answer = peer.ask(r#"{"event":"join","data":{"id":"t"}}"#).await;
        assert_eq!(answer["data"], serde_json::json!(["t"]));
        peers.push(peer);
    }
    let seen = publish(&hub, peers, |hub| hub.tag("t")).await;
    one_order(&seen);
    let offsets: Vec<_> = seen[0]
        .iter()
        .map(|event| event["offset"].as_u64().unwrap())
        .collect();
    assert_eq!(
        offsets,
        (1..=(PUBLISHERS * EACH) as u64).collect::<Vec<_>>()
    );
    hub
}

async fn concurrent_publishers_give_all_one_order() -> Hub {
    let hub = hub(|_| {});
    let mut peers = Vec::new();
    for number in 0..8 {
        peers.push(v2(&hub, user(&number.to_string())).await);
    }
    one_order(&publish(&hub, peers, Hub::all).await);
    hub
}

async fn concurrent_publishers_give_a_users_devices_one_order() -> Hub {
    let hub = hub(|_| {});
    let mut peers = Vec::new();
    for _ in 0..5 {
        peers.push(v2(&hub, user("ada")).await);
    }
    one_order(&publish(&hub, peers, |hub| hub.user("ada")).await);
    hub
}

/// Over different paths: to the connection, its user, its tag and all.
async fn one_publisher_is_heard_in_its_own_order() -> Hub {
    let hub = hub(|_| {});
    let mut peer = v2(&hub, user("ada")).await;
    subscribe(&mut peer, "t").await;
    let id = hub.user("ada").clients()[0].id();
    for number in 0..400 {
        let audience = match number % 4 {
            0 => hub.all(),
            1 => hub.user("ada"),
            2 => hub.tag("t"),
            _ => hub.connection(id),
        };
        audience.send("n", number).await.unwrap();
    }
    for number in 0..400 {
        assert_eq!(peer.next().await["data"], number);
    }
    hub
}

/// A hub whose handler `n` takes its time and notes what it was given.
fn slow_notes(each: Duration) -> (Hub, Arc<Mutex<Vec<u64>>>) {
    let hub = hub(|config| config.message_rate = 0);
    let notes = Arc::new(Mutex::new(Vec::new()));
    let pages = notes.clone();
    hub.on("n", move |Data(number): Data<u64>| {
        let pages = pages.clone();
        async move {
            sleep(each * u32::try_from(number % 3).unwrap()).await;
            pages.lock().unwrap().push(number);
            Reply(number)
        }
    });
    (hub, notes)
}

async fn events_of_one_client_are_handled_in_order() -> Hub {
    let (hub, notes) = slow_notes(Duration::from_millis(7));
    let peer = v2(&hub, user("ada")).await;
    for number in 0..200 {
        peer.send(format!(r#"{{"event":"n","data":{number}}}"#))
            .await;
    }
    while notes.lock().unwrap().len() < 200 {
        sleep(seconds(1)).await;
    }
    assert_eq!(*notes.lock().unwrap(), (0..200).collect::<Vec<_>>());
    hub
}

async fn replies_come_in_the_order_of_requests() -> Hub {
    let (hub, _) = slow_notes(Duration::from_millis(7));
    let mut peer = v2(&hub, user("ada")).await;
    for number in 1..=100 {
        peer.send(format!(r#"{{"event":"n","id":{number},"data":{number}}}"#))
            .await;
    }
    for number in 1..=100 {
        let answer = peer.next().await;
        assert_eq!(
            (&answer["id"], &answer["data"]),
            (&number.into(), &number.into())
        );
    }
    hub
}

async fn clients_are_handled_beside_each_other() -> Hub {
    let (hub, notes) = slow_notes(seconds(1));
    let mut peers = Vec::new();
    for number in 0..10 {
        let peer = connect(&hub, Wire::V2, user(&number.to_string()));
        peer.send(r#"{"event":"n","data":1}"#).await;
        peers.push(peer);
    }
    let start = Instant::now();
    while notes.lock().unwrap().len() < 10 {
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(start.elapsed().as_secs(), 1);
    hub
}

async fn a_batch_is_handled_in_its_order() -> Hub {
    let (hub, notes) = slow_notes(Duration::from_millis(1));
    let mut peer = v2(&hub, user("ada")).await;
    let lines: Vec<_> = (1..=64)
        .map(|number| format!(r#"{{"event":"n","id":{number},"data":{number}}}"#))
        .collect();
    peer.send(lines.join("\n")).await;
    for number in 1..=64 {
        assert_eq!(peer.next().await["id"], number);
    }
    assert_eq!(*notes.lock().unwrap(), (1..=64).collect::<Vec<_>>());
    hub
}

async fn a_client_sees_its_own_publications_before_its_reply() -> Hub {
    let hub = hub(|_| {});
    hub.on("say", |client: Client| async move {
        client.send("said", 1).unwrap();
        client.hub().user("ada").send("said", 2).await.unwrap();
        Reply(3)
    });
    let mut peer = v2(&hub, user("ada")).await;
    peer.send(r#"{"event":"say","id":1}"#).await;
    for number in 1..=3 {
        assert_eq!(peer.next().await["data"], number);
    }
    settle().await;
    hub
}
