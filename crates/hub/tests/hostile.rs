//! What a client must not get by asking for it in the right moment.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use antiphon_hub::{config::HubConfig, hub::Hub};
use tokio::sync::Notify;

use self::support::{user, v1, v2};

#[tokio::test(start_paused = true)]
async fn the_key_of_a_publication_has_a_length() {
    let hub = Hub::new(HubConfig::default());
    let mut peer = v2(&hub, user("ada")).await;
    for (length, code) in [(0, 107), (1, 0), (255, 0), (256, 107)] {
        let key = "k".repeat(length);
        let text = format!(
            r#"{{"event":"$publish","id":1,"data":{{"ch":"a","event":"e","key":"{key}"}}}}"#
        );
        assert_eq!(peer.ask(&text).await["code"], code, "{length}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_and_goes_leaves_a_bounded_number_of_events_behind() {
    let mut config = HubConfig::default();
    config.max_handlers = 1;
    let hub = Hub::new(config);
    let (go, handled) = (Arc::new(Notify::new()), Arc::new(AtomicU64::new(0)));
    let (gate, count) = (go.clone(), handled.clone());
    hub.on("slow", move || {
        let (gate, count) = (gate.clone(), count.clone());
        async move {
            gate.notified().await;
            count.fetch_add(1, Relaxed);
        }
    });
    for (refused, waiting) in [(0, 3), (2, 3), (4, 3)] {
        let peer = v1(&hub, user("ada")).await;
        for _ in 0..waiting {
            peer.send(r#"{"event":"slow"}"#).await;
        }
        peer.socket.close(1000, "").await.unwrap();
        peer.served.await.unwrap();
        assert_eq!(hub.stats().refused_messages, refused);
    }
    // All of the first, and of the others what was being handled.
    for _ in 0..5 {
        go.notify_one();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(handled.load(Relaxed), 5);
}
