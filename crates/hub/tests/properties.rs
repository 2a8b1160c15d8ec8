//! Whatever comes in whatever order, the indexes hold exactly the living, and what happens is told in pairs.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use antiphon::{Config, Role, WebSocket};
use antiphon_hub::{
    code::close,
    config::{HubConfig, LoginPolicy},
    hub::Hub,
    id::ConnectionId,
    occurrence::Occurrence,
    session::Hello,
    wire::Wire,
};
use proptest::prelude::*;
use support::{Peer, anonymous, user};
use tokio::time::{Duration, sleep};

const USERS: usize = 3;
const TAGS: usize = 3;
const MOST_OF_A_USER: usize = 3;
const MOST_TAGS: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    Connect {
        user: Option<usize>,
        newer: bool,
        tag: Option<usize>,
    },
    Join {
        who: usize,
        tag: usize,
    },
    Leave {
        who: usize,
        tag: usize,
    },
    JoinUser {
        user: usize,
        tag: usize,
    },
    LeaveTag {
        tag: usize,
    },
    Close {
        who: usize,
    },
    Drop {
        who: usize,
    },
    Abort {
        who: usize,
    },
    Kick {
        who: usize,
    },
    KickUser {
        user: usize,
    },
    KickTag {
        tag: usize,
    },
    Expire {
        who: usize,
    },
    Violate {
        who: usize,
    },
    Send,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = || 0..20_usize;
    let (user, tag) = (|| 0..USERS, || 0..TAGS);
    let connect = (
        prop::option::of(user()),
        any::<bool>(),
        prop::option::of(tag()),
    )
        .prop_map(|(user, newer, tag)| Step::Connect { user, newer, tag });
    let step = prop_oneof![
        12 => connect,
        8 => (who(), tag()).prop_map(|(who, tag)| Step::Join { who, tag }),
        3 => (who(), tag()).prop_map(|(who, tag)| Step::Leave { who, tag }),
        2 => (user(), tag()).prop_map(|(user, tag)| Step::JoinUser { user, tag }),
        1 => tag().prop_map(|tag| Step::LeaveTag { tag }),
        1 => who().prop_map(|who| Step::Close { who }),
        1 => who().prop_map(|who| Step::Drop { who }),
        1 => who().prop_map(|who| Step::Abort { who }),
        1 => who().prop_map(|who| Step::Kick { who }),
        1 => user().prop_map(|user| Step::KickUser { user }),
        1 => tag().prop_map(|tag| Step::KickTag { tag }),
        1 => who().prop_map(|who| Step::Expire { who }),
        1 => who().prop_map(|who| Step::Violate { who }),
        2 => Just(Step::Send),
    ];
    prop::collection::vec(step, 0..50)
}

/// A connection as it should be.
struct Living {
    id: ConnectionId,
    user: Option<usize>,
    tags: BTreeSet<usize>,
    served: tokio::task::JoinHandle<antiphon_hub::occurrence::Cause>,
    /// Reads, so that a Close is answered; ends with the connection.
    reading: tokio::task::JoinHandle<()>,
    sender: antiphon::Sender,
}

fn connect(
    hub: &Hub,
    id: ConnectionId,
    name: Option<usize>,
    newer: bool,
    tag: Option<usize>,
) -> Living {
    let mut identity = name.map_or_else(anonymous, |name| user(&format!("u{name}")));
    identity.tags = tag.iter().map(|tag| format!("t{tag}").into()).collect();
    let mut hello = Hello::from_identity(identity);
    hello.id = Some(id);
    let (near, far) = tokio::io::duplex(64 * 1024);
    let server = WebSocket::from_io(far, Role::Server, Config::default());
    let wire = if newer { Wire::V2 } else { Wire::V1 };
    let peer = Peer {
        served: tokio::spawn(hub.serve_as(server, wire, hello)),
        socket: WebSocket::from_io(near, Role::Client, Config::default()),
    };
    let (sender, mut receiver) = peer.socket.split();
    let reading = tokio::spawn(async move { while let Ok(Some(_)) = receiver.recv().await {} });
    Living {
        id,
        user: name,
        tags: tag.into_iter().collect(),
        served: peer.served,
        reading,
        sender,
    }
}

fn check(hub: &Hub, living: &[Living]) {
    let stats = hub.stats();
    let mut users: BTreeMap<String, usize> = BTreeMap::new();
    let mut tags: BTreeMap<String, usize> = BTreeMap::new();
    for one in living {
        if let Some(user) = one.user {
            *users.entry(format!("u{user}")).or_default() += 1;
        }
        for tag in &one.tags {
            *tags.entry(format!("t{tag}")).or_default() += 1;
        }
        let client = hub.client(one.id).expect("it lives");
        let own: BTreeSet<_> = client
            .tags()
            .iter()
            .map(|tag| tag[1..].parse().unwrap())
            .collect();
        assert_eq!(own, one.tags);
        assert!(client.is_open());
    }
    assert_eq!(
        (hub.all().count(), stats.connections),
        (living.len(), living.len())
    );
    let pairs = |page: antiphon_hub::presence::Page<(Arc<str>, usize)>| -> BTreeMap<String, usize> {
        page.items
            .into_iter()
            .map(|(name, count)| (name.to_string(), count))
            .collect()
    };
    assert_eq!(
        (pairs(hub.users(None, 100)), stats.users),
        (users.clone(), users.len())
    );
    assert_eq!(
        (pairs(hub.tags(None, None, 100)), stats.tags),
        (tags.clone(), tags.len())
    );
    for (name, count) in users {
        assert_eq!(hub.user(name).count(), count);
    }
    for (name, count) in tags {
        assert_eq!(hub.tag(name).count(), count);
    }
}

/// Online and offline, occupied and vacated, joined and left, connected and disconnected take turns for each name.
fn balanced(diary: &[Occurrence]) {
    let mut open = BTreeSet::new();
    for occurrence in diary {
        let (name, begins) = match occurrence {
            Occurrence::Connected(subject) => (format!("c {}", subject.connection), true),
            Occurrence::Disconnected { subject, .. } => {
                (format!("c {}", subject.connection), false)
            }
            Occurrence::UserOnline { user } => (format!("u {user}"), true),
            Occurrence::UserOffline { user } => (format!("u {user}"), false),
            Occurrence::TagOccupied { tag } => (format!("t {tag}"), true),
            Occurrence::TagVacated { tag } => (format!("t {tag}"), false),
            Occurrence::Joined { subject, tag } => {
                (format!("j {} {tag}", subject.connection), true)
            }
            Occurrence::Left { subject, tag } => (format!("j {} {tag}", subject.connection), false),
            other => panic!("{other:?}"),
        };
        let changed = if begins {
            open.insert(name.clone())
        } else {
            open.remove(&name)
        };
        assert!(changed, "{name} twice: {occurrence:?}");
    }
    assert!(open.is_empty(), "never ended: {open:?}");
}

async fn play(login: LoginPolicy, steps: Vec<Step>) {
    let mut config = HubConfig::default();
    config.login = login;
    config.max_connections_per_user = MOST_OF_A_USER;
    config.max_tags_per_connection = MOST_TAGS;
    let hub = Hub::new(config);
    let diary = Arc::new(Mutex::new(Vec::new()));
    let pages = diary.clone();
    hub.observe(move |occurrence| pages.lock().unwrap().push(occurrence.clone()));
    let mut living: Vec<Living> = Vec::new();
    let mut gone = Vec::new();
    for (number, step) in steps.into_iter().enumerate() {
        let count = living.len();
        let at = |who: usize| if count == 0 { None } else { Some(who % count) };
        let mut leaves: Vec<usize> = Vec::new();
        match step {
            Step::Connect { user, newer, tag } => {
                let new = connect(
                    &hub,
                    ConnectionId::from(number as u128 + 1),
                    user,
                    newer,
                    tag,
                );
                let devices: Vec<usize> = living
                    .iter()
                    .enumerate()
                    .filter_map(|(index, one)| {
                        (user.is_some() && one.user == user).then_some(index)
                    })
                    .collect();
                let refused = match login {
                    LoginPolicy::Oldest => !devices.is_empty(),
                    LoginPolicy::All => devices.len() >= MOST_OF_A_USER,
                    _ => false,
                };
                if refused {
                    gone.push(new);
                } else {
                    living.push(new);
                    if login == LoginPolicy::Newest {
                        leaves = devices;
                    }
                }
            }
            Step::Join { who, tag } => {
                if let Some(who) = at(who) {
                    let one = &mut living[who];
                    let client = hub.client(one.id).unwrap();
                    let fits = one.tags.contains(&tag) || one.tags.len() < MOST_TAGS;
                    assert_eq!(client.join(format!("t{tag}")).is_ok(), fits);
                    if fits {
                        one.tags.insert(tag);
                    }
                }
            }
            Step::Leave { who, tag } => {
                if let Some(who) = at(who) {
                    let one = &mut living[who];
                    let left = hub.client(one.id).unwrap().leave(&format!("t{tag}"));
                    assert_eq!(left, one.tags.remove(&tag));
                }
            }
            Step::JoinUser { user, tag } => {
                let _ = hub.user(format!("u{user}")).join(format!("t{tag}")).await;
                for one in living.iter_mut().filter(|one| one.user == Some(user)) {
                    if one.tags.len() < MOST_TAGS {
                        one.tags.insert(tag);
                    }
                }
            }
            Step::LeaveTag { tag } => {
                hub.all().leave(&format!("t{tag}")).await;
                for one in &mut living {
                    one.tags.remove(&tag);
                }
            }
            Step::Close { who } => {
                if let Some(who) = at(who) {
                    let _ = living[who].sender.close(1000, "").await;
                    leaves.push(who);
                }
            }
            Step::Drop { who } => {
                if let Some(who) = at(who) {
                    living[who].reading.abort();
                    leaves.push(who);
                }
            }
            Step::Abort { who } => {
                if let Some(who) = at(who) {
                    living[who].served.abort();
                    leaves.push(who);
                }
            }
            Step::Kick { who } => {
                if let Some(who) = at(who) {
                    let reached = hub
                        .connection(living[who].id)
                        .disconnect(close::REVOKED)
                        .await;
                    assert_eq!(reached.connections, 1);
                    leaves.push(who);
                }
            }
            Step::KickUser { user } => {
                hub.user(format!("u{user}"))
                    .disconnect(close::FORCE_RECONNECT)
                    .await;
                leaves = (0..count)
                    .filter(|who| living[*who].user == Some(user))
                    .collect();
            }
            Step::KickTag { tag } => {
                hub.tag(format!("t{tag}"))
                    .disconnect(close::FORCE_NO_RECONNECT)
                    .await;
                leaves = (0..count)
                    .filter(|who| living[*who].tags.contains(&tag))
                    .collect();
            }
            Step::Expire { who } => {
                if let Some(who) = at(who) {
                    let past = Some(std::time::SystemTime::UNIX_EPOCH);
                    hub.connection(living[who].id).refresh(past).await;
                    leaves.push(who);
                }
            }
            Step::Violate { who } => {
                if let Some(who) = at(who) {
                    let large = "x".repeat(2 * 1024 * 1024);
                    let _ = living[who].sender.send(large).await;
                    leaves.push(who);
                }
            }
            Step::Send => {
                let tagged = living.iter().filter(|one| one.tags.contains(&0)).count();
                let delivery = hub.tag("t0").send("x", 1).await.unwrap();
                assert_eq!(
                    (delivery.receivers, delivery.queued),
                    (tagged as u64, tagged as u64)
                );
                assert_eq!(hub.all().send("x", 1).await.unwrap().queued, count as u64);
            }
        }
        for who in leaves.into_iter().rev() {
            gone.push(living.remove(who));
        }
        // A dropped client lets go of its socket.
        gone.clear();
        sleep(Duration::from_millis(5)).await;
        check(&hub, &living);
    }
    living.drain(..).for_each(|one| one.reading.abort());
    sleep(Duration::from_secs(60)).await;
    check(&hub, &[]);
    let stats = hub.stats();
    assert_eq!((stats.memory_used, hub.waiting()), (0, (0, 0, 0)));
    assert_eq!(
        stats.queued,
        stats.written + stats.conflated + stats.discarded,
        "{stats:?}"
    );
    assert_eq!(stats.ended.values().sum::<u64>(), stats.accepted);
    balanced(&diary.lock().unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_indexes_hold_the_living_and_occurrences_are_balanced(
        login in prop_oneof![
            2 => Just(LoginPolicy::All),
            1 => Just(LoginPolicy::Newest),
            1 => Just(LoginPolicy::Oldest),
        ],
        steps in steps(),
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(play(login, steps));
    }
}
