//! Who is online, as all nodes of a cluster tell it together: each coming and going once.

mod support;

use std::{
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    time::Duration,
};

use antiphon_hub::{
    broker::{
        Broker, LeaseKey, LeaseKind,
        memory::{Limits, MemoryBroker},
    },
    cluster::{MAX_SURVEYED, PAUSE},
    config::HubConfig,
    hub::Hub,
    json::Json,
    occurrence::Occurrence,
    presence::Filter,
};
use proptest::prelude::*;
use support::{
    Peer,
    bus::{Double, cluster, gone, member, node, settle},
    user, v2,
};
use tokio::time::{Instant, sleep};

/// What the hubs tell of users and tags, as `node+user` and `node-user`, with a `#` before tags.
fn news(hubs: &[Hub]) -> Arc<Mutex<Vec<String>>> {
    let news = Arc::new(Mutex::new(Vec::new()));
    for (node, hub) in hubs.iter().enumerate() {
        let news = news.clone();
        hub.observe(move |occurrence| {
            let told = match occurrence {
                Occurrence::UserOnline { user } => format!("{node}+{user}"),
                Occurrence::UserOffline { user } => format!("{node}-{user}"),
                Occurrence::TagOccupied { tag } => format!("{node}+#{tag}"),
                Occurrence::TagVacated { tag } => format!("{node}-#{tag}"),
                _ => return,
            };
            news.lock().unwrap().push(told);
        });
    }
    news
}

fn take(news: &Mutex<Vec<String>>) -> Vec<String> {
    std::mem::take(&mut news.lock().unwrap())
}

#[tokio::test(start_paused = true)]
async fn online_and_offline_are_told_once_for_all_nodes() {
    let (_bus, hubs) = cluster(2).await;
    let news = news(&hubs);
    let first = member(&hubs[0], "ada", "room").await;
    settle().await;
    assert_eq!(take(&news), ["0+ada", "0+#room"]);
    let second = member(&hubs[1], "ada", "room").await;
    settle().await;
    gone(first).await;
    assert_eq!(take(&news), [""; 0]);
    assert_eq!(hubs[1].stats().cluster.unwrap().leases, 2);
    gone(second).await;
    let mut told = take(&news);
    told.sort_unstable();
    assert_eq!(told, ["1-#room", "1-ada"]);
    assert_eq!(hubs[1].stats().cluster.unwrap().leases, 0);
}

#[tokio::test(start_paused = true)]
async fn who_was_online_before_the_company_came_is_not_told_again() {
    let bus = MemoryBroker::default();
    let first = node(&bus);
    let news_of_first = news(std::slice::from_ref(&first));
    let ada = v2(&first, user("ada")).await;
    let bob = member(&first, "bob", "room").await;
    assert_eq!(take(&news_of_first), ["0+ada", "0+bob", "0+#room"]);
    let second = node(&bus);
    settle().await;
    assert_eq!(first.stats().cluster.unwrap().leases, 3);
    let news_of_second = news(std::slice::from_ref(&second));
    let ada_too = v2(&second, user("ada")).await;
    settle().await;
    gone(ada).await;
    assert_eq!(take(&news_of_first), [""; 0]);
    gone(bob).await;
    let mut told = take(&news_of_first);
    told.sort_unstable();
    assert_eq!(told, ["0-#room", "0-bob"]);
    gone(ada_too).await;
    assert_eq!(take(&news_of_second), ["0-ada"]);
}

#[tokio::test(start_paused = true)]
async fn for_a_node_that_is_lost_one_other_tells_who_is_offline() {
    let (bus, hubs) = cluster(3).await;
    let news = news(&hubs);
    let _ada = v2(&hubs[0], user("ada")).await;
    settle().await;
    assert_eq!(take(&news), ["0+ada"]);
    // A node that leases and is never heard of again.
    for (kind, name) in [
        (LeaseKind::User, "ada"),
        (LeaseKind::User, "eve"),
        (LeaseKind::Tag, "room"),
    ] {
        let key = LeaseKey {
            kind,
            name: name.into(),
            node: 7.into(),
            connection: 8.into(),
        };
        bus.lease(key, Json::null(), Duration::from_secs(10))
            .await
            .unwrap();
    }
    sleep(Duration::from_secs(9)).await;
    assert_eq!(take(&news), [""; 0]);
    sleep(Duration::from_millis(1100)).await;
    let mut told = take(&news);
    told.sort_unstable_by(|a, b| a[1..].cmp(&b[1..]));
    let heir = hubs
        .iter()
        .enumerate()
        .min_by_key(|(_, hub)| hub.node_id())
        .unwrap()
        .0;
    assert_eq!(told, [format!("{heir}-#room"), format!("{heir}-eve")]);
    for hub in &hubs {
        assert_eq!(hub.stats().cluster.unwrap().lost_nodes, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_cut_off_is_offline_and_comes_back_online() {
    let double = Double::default();
    let cut = Hub::with_broker(HubConfig::default(), Arc::new(double.clone()));
    cut.join_cluster().unwrap();
    let hubs = [cut, node(&double.bus)];
    settle().await;
    let news = news(&hubs);
    let ada = v2(&hubs[0], user("ada")).await;
    let _bob = v2(&hubs[0], user("bob")).await;
    let _bob_too = v2(&hubs[1], user("bob")).await;
    settle().await;
    assert_eq!(take(&news).len(), 2);
    double.hangs.store(true, Relaxed);
    sleep(Duration::from_secs(14)).await;
    assert_eq!(take(&news), ["1-ada"]);
    let late = v2(&hubs[0], user("eve")).await;
    double.hangs.store(false, Relaxed);
    sleep(Duration::from_secs(10)).await;
    let mut told = take(&news);
    told.sort_unstable();
    assert_eq!(told, ["0+ada", "0+eve"]);
    gone(ada).await;
    gone(late).await;
    assert_eq!(take(&news), ["0-ada", "0-eve"]);
    assert_eq!(hubs[0].stats().cluster.unwrap().leases, 1);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_messages_keeps_no_node_from_renewing() {
    let (_bus, hubs) = cluster(2).await;
    let news = news(&hubs);
    let _ada = v2(&hubs[1], user("ada")).await;
    settle().await;
    let until = Instant::now() + Duration::from_secs(25);
    while Instant::now() < until {
        for _ in 0..300 {
            hubs[0].user("nobody").send("flood", ()).await.unwrap();
        }
        tokio::time::advance(Duration::from_millis(500)).await;
    }
    assert_eq!(take(&news), ["1+ada"]);
    assert_eq!(hubs[0].stats().cluster.unwrap().lost_nodes, 0);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_releases_what_it_has() {
    let (bus, hubs) = cluster(2).await;
    let news = news(&hubs);
    let _ada = v2(&hubs[0], user("ada")).await;
    settle().await;
    hubs[0].leave_cluster().await;
    assert_eq!(take(&news), ["0+ada", "0-ada"]);
    assert_eq!(bus.count(LeaseKind::User, "ada".into()).await, Ok(0));
    hubs[0].join_cluster().unwrap();
    settle().await;
    assert_eq!(take(&news), ["0+ada"]);
}

#[tokio::test(start_paused = true)]
async fn one_node_lists_no_more_than_it_may_for_another() {
    let (_bus, hubs) = cluster(2).await;
    let mut peers = Vec::new();
    for number in 0..MAX_SURVEYED + 5 {
        peers.push(v2(&hubs[1], user(&format!("u{number}"))).await);
    }
    assert_eq!(
        hubs[0].cluster_users(None, usize::MAX).await.result.len(),
        MAX_SURVEYED
    );
    assert_eq!(
        hubs[0].all().cluster_members(usize::MAX).await.result.len(),
        MAX_SURVEYED
    );
    let page = hubs[0]
        .cluster_connections(&Filter::default(), 999, 100)
        .await
        .result;
    assert_eq!((page.items.len(), page.total), (1, MAX_SURVEYED + 5));
    settle().await;
    // Far more than are leased at a time.
    assert_eq!(hubs[1].stats().cluster.unwrap().leases, MAX_SURVEYED + 5);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_refused_is_made_later() {
    let mut limits = Limits::default();
    limits.leases = 1;
    let bus = MemoryBroker::new(limits);
    let hubs = [node(&bus), node(&bus)];
    settle().await;
    let news = news(&hubs);
    let ada = v2(&hubs[0], user("ada")).await;
    settle().await;
    let _bob = v2(&hubs[0], user("bob")).await;
    settle().await;
    assert_eq!(take(&news), ["0+ada"]);
    gone(ada).await;
    sleep(PAUSE * 2).await;
    assert_eq!(take(&news), ["0-ada", "0+bob"]);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Connect(usize, usize),
    Leave(usize),
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize, 0..3_usize).prop_map(|(node, user)| Step::Connect(node, user)),
        4 => any::<prop::sample::Index>().prop_map(|index| Step::Leave(index.index(1000))),
        2 => Just(Step::Settle),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn online_and_offline_balance_whoever_comes_and_goes_where(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (_bus, hubs) = cluster(3).await;
            let news = news(&hubs);
            let mut peers: Vec<(usize, Peer)> = Vec::new();
            // For each user: whether it is online, and how often it has come and gone.
            let mut model = [(0_usize, 0_usize); 3];
            let mut settled = true;
            let mut exact = true;
            for step in steps.into_iter().chain([Step::Settle]) {
                match step {
                    Step::Connect(node, name) => {
                        exact &= settled;
                        peers.push((name, v2(&hubs[node], user(&name.to_string())).await));
                        model[name].0 += usize::from(!peers[..peers.len() - 1].iter().any(|peer| peer.0 == name));
                        settled = false;
                    }
                    Step::Leave(index) if !peers.is_empty() => {
                        exact &= settled;
                        let (name, peer) = peers.swap_remove(index % peers.len());
                        drop(peer.socket);
                        peer.served.await.unwrap();
                        model[name].1 += usize::from(!peers.iter().any(|peer| peer.0 == name));
                        settled = false;
                    }
                    _ => {
                        settle().await;
                        settled = true;
                        let told = news.lock().unwrap();
                        for (name, (came, went)) in model.iter().enumerate() {
                            let count = |sign: char| {
                                told.iter().filter(|told| told[1..] == format!("{sign}{name}")).count()
                            };
                            let (online, offline) = (count('+'), count('-'));
                            assert_eq!(online - offline, came - went, "{told:?}");
                            // What is over before the bus was told is not told.
                            assert!(online <= *came, "{told:?}");
                            assert!(!exact || online == *came, "{told:?}");
                        }
                    }
                }
            }
        });
    }
}
