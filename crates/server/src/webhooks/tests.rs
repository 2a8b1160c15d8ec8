//! Webhooks against backends that take, refuse, hang and come back: what arrives, in which order, and what is accounted.

use antiphon_hub::{id::ConnectionId, identity::Identity};
use serde_json::{Value, json};

use super::*;
use crate::{
    outgoing::{
        settings,
        sign::verify,
        testing::{Log, backend, closed},
    },
    setting::Secret,
};

const SECRET: &str = "0123456789abcdef-canary-89abcdef";

fn config() -> Settings {
    Settings {
        url: Some(
            "https://backend.example/events?token=canary"
                .parse()
                .unwrap(),
        ),
        ..Settings::default()
    }
}

/// Webhooks to a backend that answers with a status by the number of the request.
fn start(
    settings: &Settings,
    status: impl Fn(usize) -> u16 + Clone + Send + Sync + 'static,
) -> (Webhooks, Log) {
    let (http, log) = backend(&settings::Settings::default(), move |seen| {
        let status = status(seen.number);
        async move { (status, String::new()) }
    });
    (Webhooks::start(settings, &http, "node-1"), log)
}

fn online(user: usize) -> Event {
    Event::user_online(user.to_string().into())
}

fn users(body: &Value) -> Vec<usize> {
    let events = body["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| event["user"].as_str().unwrap().parse().unwrap())
        .collect()
}

fn balance(stats: Stats) {
    assert_eq!(
        stats.offered,
        stats.sent + stats.dropped() + stats.queued,
        "{stats:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_the_shape_of_the_documentation() {
    let settings = Settings {
        secret: Some(Secret::new(SECRET)),
        ..config()
    };
    let (webhooks, log) = start(&settings, |_| 200);
    let mut identity = Identity::user("42", std::sync::Arc::default());
    identity.session = Some("s1".into());
    let connection = ConnectionId::from(1);
    let address = Some([192, 0, 2, 1].into());
    webhooks.offer(Event::connect(connection, &identity, address));
    webhooks.offer(Event::user_online("42".into()));
    webhooks.offer(Event::tag_occupied("room:1".into()));
    webhooks.offer(Event::tag_vacated("room:1".into()));
    webhooks.offer(Event::disconnect(
        connection,
        &identity,
        address,
        1001,
        "going away",
    ));
    webhooks.offer(Event::user_offline("42".into()));
    time::sleep(Duration::from_millis(101)).await;

    let seen = &log.all()[0];
    let signature = seen.headers[SIGNATURE].to_str().unwrap();
    let window = Duration::from_secs(300);
    assert!(verify(&Secret::new(SECRET), signature, &seen.body, window));
    let mut body = seen.json();
    assert_eq!(
        (body["node"].as_str(), body["dropped"].as_u64()),
        (Some("node-1"), Some(0))
    );
    assert_eq!(body["id"].as_str().unwrap().len(), 32);
    assert!(body["time"].as_u64().unwrap() > 1_700_000_000_000);
    let run = body["events"][0]["id"]
        .as_str()
        .unwrap()
        .split_once('-')
        .unwrap()
        .0
        .to_owned();
    for (index, event) in body["events"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .enumerate()
    {
        let event = event.as_object_mut().unwrap();
        assert_eq!(event.remove("id").unwrap(), format!("{run}-{}", index + 1));
        assert_eq!(event.remove("seq").unwrap(), index + 1);
        assert!(event.remove("time").unwrap().as_u64().unwrap() > 1_700_000_000_000);
    }
    let client = "00000000000000000000000000000001";
    assert_eq!(
        body["events"],
        json!([
            {"type": "connect", "connection": client, "user": "42", "session": "s1", "address": "192.0.2.1"},
            {"type": "user_online", "user": "42"},
            {"type": "tag_occupied", "tag": "room:1"},
            {"type": "tag_vacated", "tag": "room:1"},
            {"type": "disconnect", "connection": client, "user": "42", "session": "s1", "address": "192.0.2.1",
             "code": 1001, "reason": "going away"},
            {"type": "user_offline", "user": "42"},
        ])
    );
    assert!(!format!("{webhooks:?} {settings:?}").contains("canary"));
    let stats = webhooks.stats();
    assert_eq!((stats.offered, stats.sent, stats.batches), (6, 6, 1));
}

#[tokio::test(start_paused = true)]
async fn batches_are_bounded_in_number_and_time_and_keep_the_order() {
    let (webhooks, log) = start(&config(), |_| 200);
    (0..250).for_each(|user| webhooks.offer(online(user)));
    time::sleep(Duration::from_millis(99)).await;
    assert_eq!(log.count(), 2, "full batches do not wait");
    time::sleep(Duration::from_millis(2)).await;
    let sizes: Vec<_> = log
        .all()
        .iter()
        .map(|seen| users(&seen.json()).len())
        .collect();
    assert_eq!(sizes, [100, 100, 50]);
    let all: Vec<_> = log
        .all()
        .iter()
        .flat_map(|seen| users(&seen.json()))
        .collect();
    assert_eq!(all, (0..250).collect::<Vec<_>>());

    webhooks.offer(online(250));
    time::sleep(Duration::from_millis(101)).await;
    assert_eq!(log.count(), 4);
    balance(webhooks.stats());
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_tried_again_before_any_later_one() {
    let settings = Settings {
        batch_size: 2,
        ..config()
    };
    let (webhooks, log) = start(&settings, |number| if number < 3 { 500 } else { 204 });
    (0..4).for_each(|user| webhooks.offer(online(user)));
    time::sleep(Duration::from_secs(60)).await;
    let bodies: Vec<_> = log.all().iter().map(|seen| seen.json()).collect();
    let told: Vec<_> = bodies.iter().map(users).collect();
    assert_eq!(told, [[0, 1], [0, 1], [0, 1], [0, 1], [2, 3]]);
    assert!(bodies[..4].iter().all(|body| body["id"] == bodies[0]["id"]));
    assert!(
        bodies[..4]
            .iter()
            .all(|body| body["events"] == bodies[0]["events"])
    );
    assert_ne!(bodies[4]["id"], bodies[0]["id"]);
    let stats = webhooks.stats();
    assert_eq!(
        (stats.sent, stats.batches, stats.retried, stats.dropped()),
        (4, 2, 3, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn after_the_last_try_a_batch_is_dropped_and_the_next_one_says_so() {
    let (webhooks, log) = start(&config(), |number| if number < 5 { 503 } else { 200 });
    (0..3).for_each(|user| webhooks.offer(online(user)));
    time::sleep(Duration::from_secs(120)).await;
    assert_eq!(log.count(), 5);
    let stats = webhooks.stats();
    assert_eq!(
        (stats.dropped_attempts, stats.queued, stats.retried),
        (3, 0, 4)
    );
    webhooks.offer(online(3));
    time::sleep(Duration::from_secs(1)).await;
    webhooks.offer(online(4));
    time::sleep(Duration::from_secs(1)).await;
    let bodies: Vec<_> = log.all().iter().map(|seen| seen.json()).collect();
    assert_eq!(
        (bodies[5]["dropped"].as_u64(), bodies[6]["dropped"].as_u64()),
        (Some(3), Some(0))
    );
    assert_eq!(
        bodies[5]["events"][0]["seq"], 4,
        "the lost ones leave a gap"
    );
    balance(webhooks.stats());
}

#[tokio::test(start_paused = true)]
async fn an_overflow_drops_the_newest_and_the_next_batch_says_how_many() {
    let settings = Settings {
        max_queue: 10,
        batch_size: 4,
        ..config()
    };
    let (webhooks, log) = start(&settings, |_| 200);
    (0..25).for_each(|user| webhooks.offer(online(user)));
    let stats = webhooks.stats();
    assert_eq!(
        (stats.offered, stats.queued, stats.dropped_overflow),
        (25, 10, 15)
    );
    balance(stats);
    time::sleep(Duration::from_secs(1)).await;
    webhooks.offer(online(25));
    time::sleep(Duration::from_secs(1)).await;
    let bodies: Vec<_> = log.all().iter().map(|seen| seen.json()).collect();
    let told: Vec<_> = bodies.iter().flat_map(users).collect();
    assert_eq!(told, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 25]);
    let losses: Vec<_> = bodies
        .iter()
        .map(|body| body["dropped"].as_u64().unwrap())
        .collect();
    assert_eq!(losses, [15, 0, 0, 0]);
    assert_eq!(bodies[3]["events"][0]["seq"], 26);
    balance(webhooks.stats());
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_hangs_delays_nobody_but_itself() {
    let (http, log) = backend(&settings::Settings::default(), |_| async {
        time::sleep(Duration::from_secs(3600)).await;
        (200, String::new())
    });
    let settings = Settings {
        max_queue: 100,
        ..config()
    };
    let webhooks = Webhooks::start(&settings, &http, "n");
    let begun = Instant::now();
    for user in 0..10_000 {
        webhooks.offer(online(user));
        if user % 1000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    balance(webhooks.stats());
    time::sleep(Duration::from_secs(600)).await;
    let stats = webhooks.stats();
    assert_eq!((stats.sent, stats.queued), (0, 0));
    assert_eq!(log.count() % 5, 0);
    balance(stats);
}

#[tokio::test(start_paused = true)]
async fn the_end_tells_what_waits_at_once() {
    let settings = Settings {
        batch_size: 10,
        batch_delay: Duration::from_secs(60),
        ..config()
    };
    let (webhooks, log) = start(&settings, |number| if number == 0 { 500 } else { 200 });
    (0..25).for_each(|user| webhooks.offer(online(user)));
    tokio::task::yield_now().await;
    let begun = Instant::now();
    webhooks.flush(Duration::from_secs(10)).await;
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    let told: Vec<_> = log.all()[1..]
        .iter()
        .flat_map(|seen| users(&seen.json()))
        .collect();
    assert_eq!(told, (0..25).collect::<Vec<_>>());
    webhooks.offer(online(25));
    let stats = webhooks.stats();
    assert_eq!(
        (stats.sent, stats.queued, stats.dropped_shutdown),
        (25, 0, 1)
    );
    balance(stats);
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_no_longer_than_it_may() {
    let (http, _) = backend(&settings::Settings::default(), |_| async {
        time::sleep(Duration::from_secs(3600)).await;
        (200, String::new())
    });
    let hanging = Webhooks::start(&config(), &http, "n");
    let closed = closed(&settings::Settings::default());
    let patient = Settings {
        attempts: 100,
        ..config()
    };
    let refusing = Webhooks::start(&patient, &closed, "n");
    for webhooks in [hanging, refusing] {
        (0..250).for_each(|user| webhooks.offer(online(user)));
        time::sleep(Duration::from_secs(1)).await;
        let begun = Instant::now();
        webhooks.flush(Duration::from_secs(3)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
        let stats = webhooks.stats();
        assert_eq!(
            (stats.sent, stats.queued, stats.dropped_shutdown),
            (0, 0, 250)
        );
        balance(stats);
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_is_wanted_is_told() {
    let settings = Settings {
        events: vec![EventKind::UserOffline, EventKind::TagOccupied],
        tags: Patterns::new(["room:*"]),
        ..config()
    };
    let (webhooks, log) = start(&settings, |_| 200);
    webhooks.offer(online(1));
    webhooks.offer(Event::user_offline("1".into()));
    webhooks.offer(Event::tag_occupied("room:1".into()));
    webhooks.offer(Event::tag_vacated("room:1".into()));
    webhooks.offer(Event::tag_occupied("other".into()));
    webhooks.flush(Duration::from_secs(1)).await;
    let body = log.all()[0].json();
    let kinds: Vec<_> = body["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["type"])
        .collect();
    assert_eq!(kinds, ["user_offline", "tag_occupied"]);
    assert_eq!(webhooks.stats().offered, 2);
    assert!(!webhooks.wants(EventKind::Connect));

    let http = closed(&settings::Settings::default());
    let off = Webhooks::start(&Settings::default(), &http, "n");
    off.offer(online(1));
    off.flush(Duration::from_secs(1)).await;
    assert_eq!(off.stats(), Stats::default());
}

#[tokio::test(start_paused = true)]
async fn a_good_status_is_enough_and_a_redirect_is_not() {
    let (http, _) = backend(&settings::Settings::default(), |_| async {
        (200, "x".repeat(10 << 20))
    });
    let talkative = Webhooks::start(&config(), &http, "n");
    let (moved, log) = start(&config(), |_| 308);
    for webhooks in [&talkative, &moved] {
        webhooks.offer(online(1));
    }
    time::sleep(Duration::from_secs(120)).await;
    assert_eq!(talkative.stats().sent, 1);
    assert_eq!((moved.stats().dropped_attempts, log.count()), (1, 5));
}
