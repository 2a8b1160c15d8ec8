//! Several hubs on one bus: what is sent, commanded and asked on one concerns them all.

mod support;

use std::{
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use antiphon_hub::{
    broker::{
        Body, Broker, CALL_TIMEOUT, Envelope, NodeId, Revoked, Subscription, memory::MemoryBroker,
    },
    code::close,
    config::{HubConfig, LoginPolicy},
    hub::Hub,
    presence::Filter,
    revocation::Revocation,
};
use serde_json::json;
use support::{
    anonymous,
    bus::{Double, cluster, gone, member, node, settle},
    user, v2,
};
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn a_message_meets_whom_it_is_for_on_every_node() {
    let (_bus, hubs) = cluster(3).await;
    let mut peers = Vec::new();
    for hub in &hubs {
        peers.push(member(hub, "ada", "news").await);
    }
    let last = hubs[2].all().clients()[0].id();
    for (hub, audience, event) in [
        (0, hubs[0].user("ada"), "user"),
        (1, hubs[1].tag("news"), "tag"),
        (2, hubs[2].all(), "all"),
    ] {
        let sent = audience.send(event, hub).await.unwrap();
        assert!(sent.remote && !sent.unreachable, "{sent:?}");
        assert_eq!(sent.queued, 1);
        for peer in &mut peers {
            assert_eq!(peer.next().await["event"], event);
        }
    }
    let sent = hubs[0].connection(last).send("one", 4).await.unwrap();
    assert!(sent.remote && sent.is_nobody());
    assert_eq!(peers[2].next().await["event"], "one");
    // Who is here is not looked for elsewhere.
    let sent = hubs[2].connection(last).send("here", 4).await.unwrap();
    assert!(!sent.remote);
    // The one that is left out is left out wherever it is.
    hubs[0]
        .all()
        .except(last)
        .send("not you", ())
        .await
        .unwrap();
    hubs[0].all().send_json("bare", None).await.unwrap();
    assert_eq!(peers[1].next().await["event"], "not you");
    assert_eq!(peers[2].next().await["event"], "here");
    let bare = peers[2].next().await;
    assert_eq!((&bare["event"], bare.get("data")), (&json!("bare"), None));
}

#[tokio::test(start_paused = true)]
async fn the_messages_of_one_publisher_keep_their_order_on_every_node() {
    let (_bus, hubs) = cluster(2).await;
    let mut here = member(&hubs[0], "ada", "news").await;
    let mut there = member(&hubs[1], "bob", "news").await;
    for number in 0..500 {
        hubs[0].tag("news").send("n", number).await.unwrap();
    }
    for peer in [&mut here, &mut there] {
        for number in 0..500 {
            let message = peer.next().await;
            assert_eq!(
                (&message["data"], &message["offset"]),
                (&json!(number), &json!(number + 1))
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_is_obeyed_on_every_node() {
    let (_bus, hubs) = cluster(2).await;
    let mut here = v2(&hubs[0], user("ada")).await;
    let mut there = v2(&hubs[1], user("ada")).await;
    let joined = hubs[0].user("ada").join("room").await.unwrap();
    assert_eq!((joined.connections, joined.remote), (1, true));
    settle().await;
    assert_eq!(hubs[1].tag("room").count(), 1);
    hubs[1].user("ada").leave("room").await;
    settle().await;
    assert_eq!(hubs[0].tag("room").count() + hubs[1].tag("room").count(), 0);

    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    hubs[0].user("ada").refresh(Some(end)).await;
    settle().await;
    let identity = hubs[1].user("ada").clients()[0].identity();
    assert_eq!(identity.expires_at, Some(end));

    let reached = hubs[1]
        .user("ada")
        .disconnect(close::FORCE_NO_RECONNECT)
        .await;
    assert_eq!((reached.connections, reached.remote), (1, true));
    assert_eq!(here.closed().await.0, 3503);
    assert_eq!(there.closed().await.0, 3503);
}

#[tokio::test(start_paused = true)]
async fn the_newest_login_wins_on_all_nodes() {
    let bus = MemoryBroker::default();
    let mut config = HubConfig::default();
    config.login = LoginPolicy::Platform;
    let node = |config: &HubConfig| {
        let hub = Hub::with_broker(config.clone(), Arc::new(bus.clone()));
        hub.join_cluster().unwrap();
        hub
    };
    let hubs = [node(&config), node(&config)];
    settle().await;
    let login = |platform: &str| {
        let mut identity = user("ada");
        identity.platform = Some(platform.into());
        identity
    };
    let mut old = v2(&hubs[0], login("web")).await;
    let _phone = v2(&hubs[0], login("phone")).await;
    // The clock of the wall is no virtual one.
    std::thread::sleep(Duration::from_millis(3));
    let _new = v2(&hubs[1], login("web")).await;
    assert_eq!(old.closed().await.0, 3511);
    old.served.await.unwrap();
    assert_eq!(hubs[0].user("ada").cluster_count().await.result, 2);
    for hub in &hubs {
        config.login = LoginPolicy::Newest;
        hub.reconfigure(config.clone());
    }
    std::thread::sleep(Duration::from_millis(3));
    let _last = v2(&hubs[0], login("tv")).await;
    // The others do not read, and are given up after a while.
    sleep(Duration::from_secs(5)).await;
    assert_eq!(hubs[1].user("ada").cluster_count().await.result, 1);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_login_is_closed_on_every_node_and_told() {
    let (_bus, hubs) = cluster(2).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    for hub in &hubs {
        let told = told.clone();
        hub.on_revoke(move |revocation| told.lock().unwrap().push(revocation.clone()));
    }
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let moment = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let login = |issued_at, session: &str| {
        let mut identity = user("ada");
        identity.issued_at = issued_at;
        identity.session = Some(session.into());
        identity
    };
    let mut old = v2(&hubs[0], login(moment(100), "a")).await;
    let mut unknown = v2(&hubs[1], login(None, "b")).await;
    let new = v2(&hubs[1], login(moment(200), "c")).await;
    let mut session = v2(&hubs[1], login(moment(300), "d")).await;

    let mut revocation = Revocation::new(Revoked::User("ada".into()), until);
    revocation.before = moment(150);
    let reached = hubs[0].revoke(revocation.clone()).await;
    assert_eq!((reached.connections, reached.remote), (1, true));
    assert_eq!(old.closed().await.0, 3510);
    assert_eq!(unknown.closed().await.0, 3510);
    for known in [None, Some(Arc::from("ada"))] {
        let mut revocation = Revocation::new(Revoked::Session("d".into()), until);
        revocation.user = known;
        hubs[0].revoke(revocation).await;
    }
    assert_eq!(session.closed().await.0, 3510);
    let reached = hubs[0]
        .revoke(Revocation::new(Revoked::Token("9f".into()), until))
        .await;
    assert_eq!(reached.connections, 0);
    settle().await;
    assert_eq!(hubs[1].all().count(), 1);
    drop(new);
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 8);
    assert_eq!(told.iter().filter(|told| **told == revocation).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_question_is_answered_by_all_nodes_together() {
    let (_bus, hubs) = cluster(3).await;
    let mut peers = Vec::new();
    for (hub, name) in [(0, "ada"), (1, "ada"), (1, "bob"), (2, "eve")] {
        peers.push(member(&hubs[hub], name, "room").await);
    }
    for hub in &hubs {
        let count = hub.tag("room").cluster_count().await;
        assert!(count.is_complete());
        // The second join of ada's connections met them all again.
        assert_eq!(count.result, 4);
        assert_eq!(hub.user("ada").cluster_count().await.result, 2);
        assert_eq!(hub.all().cluster_count().await.result, 4);
        let left_out = hubs[1].user("bob").clients()[0].id();
        let others = hub.tag("room").except(left_out);
        assert_eq!(others.cluster_count().await.result, 3);
        assert_eq!(others.cluster_members(9).await.result.len(), 3);
        assert_eq!(others.present(9).await.count, 3);
        let members = hub.tag("room").cluster_members(100).await.result;
        let mut names: Vec<_> = members
            .iter()
            .filter_map(|member| member.user.clone())
            .collect();
        names.sort_unstable();
        assert_eq!(
            names.iter().map(|name| &**name).collect::<Vec<_>>(),
            ["ada", "ada", "bob", "eve"]
        );
        assert_eq!(hub.tag("room").cluster_members(3).await.result.len(), 3);
        let users = hub.cluster_users(Some("ada"), 1).await.result;
        assert_eq!(users, [(Arc::from("bob"), 1)]);
        assert_eq!(
            hub.cluster_users(None, 10).await.result[0],
            (Arc::from("ada"), 2)
        );
        let tags = hub.cluster_tags(Some("ro*"), None, 10).await.result;
        assert_eq!(tags, [(Arc::from("room"), 4)]);
        let page = hub
            .cluster_connections(&Filter::default(), 1, 2)
            .await
            .result;
        assert_eq!((page.total, page.items.len()), (4, 2));
        let mut filter = Filter::default();
        filter.user = Some("ada".into());
        let page = hub.cluster_connections(&filter, 0, 10).await.result;
        assert!(
            page.items
                .iter()
                .all(|item| item.user.as_deref() == Some("ada") && item.wire == "v2")
        );
        assert_eq!(page.total, 2);
        let nodes = hub.cluster_info();
        assert_eq!(nodes.len(), 3);
    }
    sleep(Duration::from_secs(4)).await;
    let nodes = hubs[0].cluster_info();
    assert_eq!(nodes.iter().map(|node| node.connections).sum::<u64>(), 4);
}

/// A node that listens and never answers.
fn mute(bus: &MemoryBroker) -> (NodeId, Subscription) {
    let node = NodeId::random();
    (node, bus.subscribe(node).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_answer_is_named_and_the_rest_is_told() {
    let (bus, hubs) = cluster(2).await;
    let (silent, _stream) = mute(&bus);
    let _peers = (
        v2(&hubs[0], anonymous()).await,
        v2(&hubs[1], anonymous()).await,
    );
    settle().await;
    let start = Instant::now();
    let count = hubs[0].all().cluster_count().await;
    assert_eq!((count.result, count.missing), (2, vec![silent]));
    assert_eq!(start.elapsed().as_secs(), CALL_TIMEOUT.as_secs());
    // After a while it is not waited for any more.
    sleep(Duration::from_secs(12)).await;
    let start = Instant::now();
    assert!(hubs[0].all().cluster_count().await.is_complete());
    assert!(start.elapsed() < CALL_TIMEOUT);
    assert_eq!(hubs[0].cluster_info().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_sees_the_members_of_its_channel_on_every_node() {
    let double = Double::default();
    let hub = Hub::with_broker(HubConfig::default(), Arc::new(double.clone()));
    hub.join_cluster().unwrap();
    let other = node(&double.bus);
    settle().await;
    let mut ada = member(&hub, "ada", "room").await;
    let bob = member(&other, "bob", "room").await;
    let _eve = member(&other, "eve", "other").await;
    settle().await;
    let ask = r#"{"event":"$presence","id":1,"data":{"ch":"room"}}"#;
    let answer = ada.ask(ask).await;
    assert_eq!(answer["data"]["count"], 2);
    let members = answer["data"]["presence"].as_object().unwrap();
    let mut users: Vec<_> = members
        .values()
        .map(|member| member["user"].as_str().unwrap())
        .collect();
    users.sort_unstable();
    assert_eq!(users, ["ada", "bob"]);
    let one = other.tag("room").present(1).await;
    assert_eq!((one.members.len(), one.count, one.partial), (1, 2, false));
    assert_eq!(hub.user("bob").present(9).await.count, 1);

    double.hangs.store(true, Relaxed);
    let part = hub.tag("room").present(9).await;
    assert_eq!((part.members.len(), part.count, part.partial), (1, 1, true));
    double.hangs.store(false, Relaxed);
    gone(bob).await;
    assert_eq!(ada.ask(ask).await["data"]["count"], 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_alone_says_nothing_to_the_bus() {
    let double = Double::default();
    let hub = Hub::with_broker(HubConfig::default(), Arc::new(double.clone()));
    hub.join_cluster().unwrap();
    let mut peer = member(&hub, "ada", "room").await;
    assert!(!hub.all().send("a", 1).await.unwrap().remote);
    assert_eq!(hub.all().cluster_count().await.result, 1);
    sleep(Duration::from_secs(20)).await;
    hub.all().disconnect(close::SHUTDOWN).await;
    peer.closed().await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!(double.calls.load(Relaxed), 0);
    assert_eq!(hub.cluster_info().len(), 1);
    assert_eq!(hub.stats().cluster.unwrap().leases, 0);
    let lonely = Hub::new(HubConfig::default());
    lonely.join_cluster().unwrap();
    lonely.leave_cluster().await;
    assert_eq!((lonely.node_id(), lonely.cluster_info().len()), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_hangs_bounds_every_call_and_what_is_here_goes_on() {
    let double = Double::default();
    let hub = Hub::with_broker(HubConfig::default(), Arc::new(double.clone()));
    hub.join_cluster().unwrap();
    let other = node(&double.bus);
    settle().await;
    let mut peer = v2(&hub, user("ada")).await;
    let _there = v2(&other, user("ada")).await;
    settle().await;
    double.hangs.store(true, Relaxed);
    let until = SystemTime::now() + Duration::from_secs(60);

    let start = Instant::now();
    let ada = hub.user("ada");
    let sent = ada.send("a", 1);
    let (sent, got) = tokio::join!(sent, async {
        let got = peer.next().await;
        (got, start.elapsed())
    });
    let sent = sent.unwrap();
    assert!(sent.unreachable && !sent.remote && sent.queued == 1);
    assert_eq!((&got.0["event"], got.1.as_secs()), (&json!("a"), 0));
    assert_eq!(start.elapsed().as_secs(), 2);
    for call in 0..5 {
        let start = Instant::now();
        match call {
            0 => {
                assert!(hub.user("ada").join("room").await.unwrap().unreachable);
                assert_eq!(hub.tag("room").count(), 1);
            }
            1 => assert!(hub.user("ada").leave("room").await.unreachable),
            2 => assert!(hub.user("bob").refresh(None).await.unreachable),
            3 => {
                let revocation = Revocation::new(Revoked::User("bob".into()), until);
                assert!(hub.revoke(revocation).await.unreachable);
            }
            _ => {
                let count = hub.user("ada").cluster_count().await;
                assert_eq!((count.result, count.missing.len()), (1, 1));
            }
        }
        assert_eq!(start.elapsed().as_secs(), 2, "call {call}");
    }
    assert!(hub.stats().cluster.unwrap().errors >= 6);
    // What others say is heard all the same.
    other.user("ada").send("b", 2).await.unwrap();
    assert_eq!(peer.next().await["event"], "b");
    let start = Instant::now();
    hub.leave_cluster().await;
    assert!(start.elapsed().as_secs() <= 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_node_has_lost_is_counted() {
    let mut limits = antiphon_hub::broker::memory::Limits::default();
    limits.queue = 10;
    let bus = MemoryBroker::new(limits);
    let (here, there) = (node(&bus), node(&bus));
    settle().await;
    // On one thread nobody reads before this task waits.
    for number in 0..25 {
        let body = Body::Control(antiphon_hub::broker::Control::Leave {
            target: antiphon_hub::target::Target::All,
            tag: number.to_string().into(),
            except: None,
        });
        let from = here.node_id().unwrap();
        bus.publish(Envelope { from, body }).await.unwrap();
    }
    settle().await;
    assert_eq!(there.stats().cluster.unwrap().lost, 15);
    assert_eq!(here.stats().cluster.unwrap().lost, 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_is_not_heard_of_any_more() {
    let (_bus, hubs) = cluster(2).await;
    hubs[1].leave_cluster().await;
    settle().await;
    assert!(!hubs[0].all().send("a", 1).await.unwrap().remote);
    sleep(Duration::from_secs(12)).await;
    assert_eq!(hubs[0].cluster_info().len(), 1);
    // It may come back.
    hubs[1].join_cluster().unwrap();
    settle().await;
    assert_eq!(hubs[0].cluster_info().len(), 2);
    assert!(hubs[0].join_cluster().is_err());
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_hub() {
    let (bus, mut hubs) = cluster(2).await;
    drop(hubs.pop());
    settle().await;
    assert!(bus.is_alone());
}
