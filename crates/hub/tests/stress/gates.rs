//! The application's code at its worst: it panics, hangs, or is interrupted.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use antiphon_hub::{
    code::close,
    hub::{Client, Hub, Next, Publication, Request},
    occurrence::{Cause, Occurrence, Side},
    refusal::Refusal,
    router::{Data, Reply},
    wire::Wire,
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    stage::{all_events, expected_panic, hub, leave, scenarios, seconds, settle, stranger},
    support::{connect, user, v1, v2},
};

scenarios! {
    Virtual heartbeats_pass_slow_handlers_in_both_wires;
    Virtual a_panicking_handler_answers_for_itself_alone;
    Virtual a_hanging_handler_is_answered_with_113;
    Virtual panics_of_gates_are_answered;
    Virtual a_panic_or_a_hang_at_the_door_closes_with_3003;
    Virtual a_panicking_authenticator_closes_with_3003;
    Virtual a_hanging_authenticator_closes_with_3502;
    Virtual a_hanging_goodbye_holds_nothing_up;
    Virtual panicking_observers_disturb_nobody;
    Virtual observers_may_use_the_hub;
    Virtual only_so_many_handlers_run_at_once;
    Virtual middleware_stands_around_handlers_in_its_order;
    Virtual the_most_precise_handler_wins;
    Virtual a_client_that_leaves_has_its_requests_handled;
    Virtual a_client_that_is_kicked_has_nothing_more_handled;
    Virtual a_dropped_session_leaves_no_trace;
    Virtual a_handler_may_close_its_own_client;
    Virtual a_handler_may_disconnect_everybody;
}

async fn heartbeats_pass_slow_handlers_in_both_wires() -> Hub {
    let hub = hub(|_| {});
    hub.on("slow", || sleep(seconds(20)));
    let start = Instant::now();
    let mut older = v1(&hub, user("a")).await;
    older.send(r#"{"event":"slow"}"#).await;
    let mut newer = v2(&hub, user("b")).await;
    newer.send(r#"{"event":"slow","id":1}"#).await;
    for _ in 0..3 {
        assert_eq!(older.ask(r#"{"event":"ping"}"#).await["event"], "ping");
        assert_eq!(newer.ask(r#"{"event":"$ping","id":2}"#).await["id"], 2);
    }
    assert_eq!(start.elapsed().as_secs(), 0);
    assert_eq!(newer.next().await["id"], 1);
    assert_eq!(start.elapsed().as_secs(), 20);
    hub
}

async fn a_panicking_handler_answers_for_itself_alone() -> Hub {
    let hub = hub(|_| {});
    hub.on("later", || async { expected_panic() });
    hub.on("at-once", || {
        expected_panic();
        async {}
    });
    hub.on("fine", || async { Reply(1) });
    let mut peer = v2(&hub, user("ada")).await;
    for (id, event, code) in [(1, "later", 100), (2, "at-once", 100), (3, "fine", 0)] {
        peer.send(format!(r#"{{"event":"{event}","id":{id}}}"#))
            .await;
        let answer = peer.next().await;
        assert_eq!((&answer["id"], &answer["code"]), (&json!(id), &json!(code)));
    }
    assert_eq!(hub.stats().handler_panics, 2);
    hub
}

async fn a_hanging_handler_is_answered_with_113() -> Hub {
    let hub = hub(|_| {});
    hub.on("hang", || async { pending::<()>().await });
    hub.on("fine", || async { Reply(1) });
    let mut peer = v2(&hub, user("ada")).await;
    let start = Instant::now();
    peer.send(r#"{"event":"hang","id":1}"#).await;
    peer.send(r#"{"event":"fine","id":2}"#).await;
    let answer = peer.next().await;
    assert_eq!((&answer["id"], &answer["code"]), (&json!(1), &json!(113)));
    assert_eq!(answer["temporary"], true);
    assert_eq!(start.elapsed().as_secs(), 30);
    assert_eq!(peer.next().await["id"], 2);
    assert_eq!(hub.stats().handler_timeouts, 1);
    hub
}

async fn panics_of_gates_are_answered() -> Hub {
    let hub = hub(|_| {});
    hub.on_join(|_, _| async {
        expected_panic();
        Ok(())
    });
    hub.on_publish(|_, publication: Publication| async {
        expected_panic();
        Ok(publication)
    });
    hub.layer(|_, _: Request, _: Next| {
        expected_panic();
        async { Ok(None) }
    });
    hub.on("fine", || async {});
    hub.authenticate(|_| {
        expected_panic();
        async { Err(Refusal::denied("no")) }
    });
    let mut peer = v2(&hub, user("ada")).await;
    for frame in [
        r#"{"event":"$subscribe","id":1,"ch":"t"}"#,
        r#"{"event":"$publish","id":2,"ch":"t","data":{"data":1}}"#,
        r#"{"event":"fine","id":3}"#,
    ] {
        assert_eq!(peer.ask(frame).await["code"], 100, "{frame}");
    }
    assert_eq!(hub.tag("t").count(), 0);
    let answer = peer
        .ask(r#"{"event":"$refresh","id":4,"data":{"token":"x"}}"#)
        .await;
    assert_eq!(answer["code"], 100);
    assert_eq!(peer.closed().await.0, 3003);
    assert_eq!(hub.stats().handler_panics, 4);
    hub
}

async fn a_panic_or_a_hang_at_the_door_closes_with_3003() -> Hub {
    let hub = hub(|_| {});
    hub.on_connect(|client: Client| {
        let user = client.user().unwrap();
        if &*user == "at-once" {
            expected_panic();
        }
        async move {
            match &*user {
                "later" => expected_panic(),
                "hang" => pending().await,
                _ => {}
            }
            Ok(())
        }
    });
    let start = Instant::now();
    for (name, after) in [("at-once", 0), ("later", 0), ("hang", 30)] {
        let mut peer = connect(&hub, Wire::V2, user(name));
        assert_eq!(peer.closed().await.0, 3003, "{name}");
        assert_eq!(start.elapsed().as_secs(), after, "{name}");
        assert_eq!(peer.served.await.unwrap().code, 3003);
    }
    assert_eq!(hub.stats().accepted, 0);
    let peer = v2(&hub, user("fine")).await;
    assert_eq!(hub.all().count(), 1);
    leave(peer).await;
    hub
}

async fn a_panicking_authenticator_closes_with_3003() -> Hub {
    let hub = hub(|_| {});
    hub.authenticate(|_| {
        expected_panic();
        async { Err(Refusal::denied("no")) }
    });
    let mut peer = stranger(&hub);
    peer.send(r#"{"event":"$connect","id":1,"data":{"token":"x"}}"#)
        .await;
    let (code, _, events) = peer.closed().await;
    assert_eq!((code, &events[0]["code"]), (3003, &json!(100)));
    hub
}

async fn a_hanging_authenticator_closes_with_3502() -> Hub {
    let hub = hub(|_| {});
    hub.authenticate(|_| pending());
    let mut peer = stranger(&hub);
    peer.send(r#"{"event":"$connect","id":1,"data":{"token":"x"}}"#)
        .await;
    let start = Instant::now();
    assert_eq!(peer.closed().await.0, 3502);
    assert_eq!(start.elapsed().as_secs(), 10);
    hub
}

async fn a_hanging_goodbye_holds_nothing_up() -> Hub {
    let hub = hub(|_| {});
    hub.on_disconnect(|client: Client, _| async move {
        if &*client.user().unwrap() == "hang" {
            pending::<()>().await;
        }
        expected_panic();
    });
    let hanging = v2(&hub, user("hang")).await;
    let panicking = v2(&hub, user("panic")).await;
    let start = Instant::now();
    drop(hanging.socket);
    settle().await;
    assert_eq!((hub.all().count(), hub.user("hang").count()), (1, 0));
    hanging.served.await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 30);
    assert_eq!(leave(panicking).await.code, 1000);
    let stats = hub.stats();
    assert_eq!((stats.handler_timeouts, stats.handler_panics), (1, 1));
    hub
}

async fn panicking_observers_disturb_nobody() -> Hub {
    let hub = hub(|_| {});
    let count = Arc::new(AtomicUsize::new(0));
    hub.observe(|_| expected_panic());
    let counter = count.clone();
    hub.observe(move |_| {
        counter.fetch_add(1, SeqCst);
    });
    let mut stream = hub.occurrences();
    let peer = v2(&hub, user("ada")).await;
    leave(peer).await;
    // Online, connected, offline, disconnected.
    assert_eq!(count.load(SeqCst), 4);
    for _ in 0..4 {
        stream.try_recv().unwrap();
    }
    assert!(stream.try_recv().is_err());
    hub
}

/// What an observer sends at once still comes after the welcome.
async fn observers_may_use_the_hub() -> Hub {
    let hub = hub(|_| {});
    let own = hub.clone();
    hub.observe(move |occurrence| match occurrence {
        Occurrence::Connected(subject) => {
            let client = own.client(subject.connection).expect("it is there");
            client.send("hello", 1).unwrap();
            client.join("lobby").unwrap();
        }
        Occurrence::Joined { subject, .. } => {
            own.client(subject.connection)
                .unwrap()
                .send("hello", 2)
                .unwrap();
        }
        _ => {}
    });
    let mut peer = v2(&hub, user("ada")).await;
    assert_eq!(peer.next().await["data"], 1);
    assert_eq!(peer.next().await["data"], 2);
    assert_eq!(hub.tag("lobby").count(), 1);
    leave(peer).await;
    // The observer holds the hub, and the hub the observer: the test ends that.
    hub
}

async fn only_so_many_handlers_run_at_once() -> Hub {
    let hub = hub(|config| config.max_handlers = 3);
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (running.clone(), most.clone());
    hub.on("work", move || {
        let (now, peak) = (now.clone(), peak.clone());
        async move {
            peak.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            sleep(seconds(1)).await;
            now.fetch_sub(1, SeqCst);
            Reply(1)
        }
    });
    let mut peers = Vec::new();
    for number in 0..20 {
        peers.push(v2(&hub, user(&number.to_string())).await);
    }
    let start = Instant::now();
    for peer in &peers {
        peer.send(r#"{"event":"work","id":1}"#).await;
    }
    for peer in &mut peers {
        assert_eq!(peer.next().await["data"], 1);
    }
    assert_eq!((most.load(SeqCst), start.elapsed().as_secs()), (3, 7));
    hub
}

async fn middleware_stands_around_handlers_in_its_order() -> Hub {
    let hub = hub(|_| {});
    for name in ["outer", "inner"] {
        hub.layer(
            move |client: Client, request: Request, next: Next| async move {
                client.send(name, 0).unwrap();
                if request.event() == "forbidden" && name == "inner" {
                    return Err(Refusal::denied("not you"));
                }
                next.run(client, request).await
            },
        );
    }
    hub.on("*", || async { Reply(1) });
    let mut peer = v2(&hub, user("ada")).await;
    for (event, code) in [("fine", 0), ("forbidden", 103)] {
        peer.send(format!(r#"{{"event":"{event}","id":1}}"#)).await;
        assert_eq!(peer.next().await["event"], "outer");
        assert_eq!(peer.next().await["event"], "inner");
        assert_eq!(peer.next().await["code"], code);
    }
    hub
}

async fn the_most_precise_handler_wins() -> Hub {
    let hub = hub(|_| {});
    hub.on("chat/*", || async { Reply("chat") });
    hub.on("*", || async { Reply("any") });
    hub.on("chat/send", || async { Reply("send") });
    let mut peer = v2(&hub, user("ada")).await;
    for (event, data) in [("chat/send", "send"), ("chat/x", "chat"), ("x", "any")] {
        let answer = peer.ask(&format!(r#"{{"event":"{event}","id":1}}"#)).await;
        assert_eq!(answer["data"], data);
    }
    hub
}

/// A hub whose `work` takes a second, and how often it has been done.
fn work() -> (Hub, Arc<AtomicUsize>) {
    let hub = hub(|_| {});
    let done = Arc::new(AtomicUsize::new(0));
    let counter = done.clone();
    hub.on("work", move |Data(_): Data<u64>| {
        let counter = counter.clone();
        async move {
            sleep(seconds(1)).await;
            counter.fetch_add(1, SeqCst);
        }
    });
    (hub, done)
}

async fn a_client_that_leaves_has_its_requests_handled() -> Hub {
    let (hub, done) = work();
    let peer = v2(&hub, user("ada")).await;
    for number in 0..5 {
        peer.send(format!(r#"{{"event":"work","data":{number}}}"#))
            .await;
    }
    settle().await;
    assert_eq!(leave(peer).await.by, Side::Client);
    assert_eq!(hub.all().count(), 0);
    sleep(seconds(6)).await;
    assert_eq!(done.load(SeqCst), 5);
    hub
}

async fn a_client_that_is_kicked_has_nothing_more_handled() -> Hub {
    let (hub, done) = work();
    let mut peer = v2(&hub, user("ada")).await;
    for number in 0..5 {
        peer.send(format!(r#"{{"event":"work","data":{number}}}"#))
            .await;
    }
    settle().await;
    hub.user("ada").disconnect(close::REVOKED).await;
    assert_eq!(peer.closed().await.0, 3510);
    sleep(seconds(6)).await;
    assert_eq!(done.load(SeqCst), 1, "what had begun");
    hub
}

async fn a_dropped_session_leaves_no_trace() -> Hub {
    let (hub, done) = work();
    let peer = v2(&hub, user("ada")).await;
    hub.user("ada").join("t").await.unwrap();
    peer.send(r#"{"event":"work","data":1}"#).await;
    settle().await;
    hub.all().send("x", "y".repeat(1000)).await.unwrap();
    peer.served.abort();
    assert!(peer.served.await.unwrap_err().is_cancelled());
    assert_eq!(
        (
            hub.all().count(),
            hub.user("ada").count(),
            hub.tag("t").count()
        ),
        (0, 0, 0)
    );
    sleep(seconds(2)).await;
    assert_eq!(done.load(SeqCst), 0);
    assert_eq!(hub.stats().ended.get(&1006), Some(&1));
    hub
}

async fn a_handler_may_close_its_own_client() -> Hub {
    let hub = hub(|_| {});
    hub.on("leave", || async {
        Err::<(), _>(Refusal::new(1234, "enough").closing(close::FORCE_NO_RECONNECT))
    });
    let mut peer = v2(&hub, user("ada")).await;
    peer.send(r#"{"event":"leave","id":1}"#).await;
    let (code, _, events) = peer.closed().await;
    assert_eq!(code, 3503);
    assert_eq!(events[0]["code"], 1234);
    assert_eq!(events[1]["event"], "$disconnect");
    hub
}

async fn a_handler_may_disconnect_everybody() -> Hub {
    let hub = hub(|_| {});
    hub.on("end", |client: Client| async move {
        Reply(
            client
                .hub()
                .all()
                .disconnect(close::FORCE_RECONNECT)
                .await
                .connections,
        )
    });
    let mut peers = Vec::new();
    for number in 0..5 {
        peers.push(v2(&hub, user(&number.to_string())).await);
    }
    peers[0].send(r#"{"event":"end","id":1}"#).await;
    for peer in &mut peers {
        let (code, _, events) = peer.closed().await;
        assert_eq!(code, 3011);
        assert_eq!(events.last().unwrap()["data"]["reconnect"], true);
    }
    for peer in peers {
        let cause: Cause = peer.served.await.unwrap();
        assert_eq!((cause.by, cause.code), (Side::Server, 3011));
    }
    let mut late = v2(&hub, user("late")).await;
    assert!(all_events(&mut late).await.is_empty());
    hub
}
