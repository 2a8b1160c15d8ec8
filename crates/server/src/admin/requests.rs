//! What the page may ask over its socket.

use std::{future::Future, sync::Arc};

use antiphon_hub::{
    code::close,
    hub::{Client, Next, Request},
    id::ConnectionId,
    identity::Identity,
    json::Json,
    permission::{Patterns, Permissions},
    refusal::Refusal,
    router::{Data, Reply},
    trace,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    admin::{
        actions::{Close, Send, Trace},
        people::{Page, Wanted, page, users},
        sampler::INTERVAL,
        shown::{Closed, Connection, Entry, now, unix_millis},
        state::{Admin, Visitor, WeakAdmin, over},
    },
    api::error::CallError,
    config::show,
};

/// Connections in the list of those with most that waits.
const SLOWEST: usize = 50;

/// Has the page's hub answer its requests.
pub(crate) fn install(admin: &Admin) {
    let hub = admin.hub();
    let of = admin.downgrade();
    hub.authenticate(move |csrf| {
        let of = of.clone();
        async move {
            let admin = of.upgrade()?;
            let session = admin.sessions().of_csrf(&csrf);
            let number = session.ok_or_else(wrong)?;
            let mut identity = Identity::anonymous(Arc::new(permissions()));
            identity.session = Some(number.to_string().into());
            Ok(identity)
        }
    });
    hub.on_connect(|client| async move {
        // The token of one session does not open another's socket.
        let own = visitor(&client)?.session.to_string();
        let is_own = client.identity().session.as_deref() == Some(&*own);
        if is_own { Ok(()) } else { Err(wrong()) }
    });
    hub.on_refresh(|_, _| async move { Err(Refusal::denied("log in again")) });
    let of = admin.downgrade();
    hub.layer(move |client: Client, request: Request, next: Next| {
        let of = of.clone();
        async move {
            let admin = of.upgrade()?;
            if !admin.sessions().touch(visitor(&client)?.session) {
                return Err(Refusal::denied("the session is over").closing(over()));
            }
            next.run(client, request).await
        }
    });

    on(admin, "admin/hello", |admin, _, _: Json| async move {
        Ok(hello(&admin))
    });
    on(
        admin,
        "admin/connections",
        |admin, _, wanted: Wanted| async move {
            wanted.check()?;
            admin.api().scan(move |hub| wanted.look(hub)).await
        },
    );
    on(
        admin,
        "admin/connection",
        |admin, _, One { id }| async move { Ok(connection(&admin, id)) },
    );
    on(admin, "admin/trace", |admin, by, trace: Trace| async move {
        trace.run(&admin, &by)
    });
    on(admin, "admin/users", |admin, _, asked: Names| async move {
        let limit = page(asked.limit, 50)?;
        let look = move |hub: &_| users(hub, asked.after.as_deref(), &asked.prefix, limit);
        admin.api().scan(look).await
    });
    on(admin, "admin/tags", |admin, _, asked: Names| async move {
        let limit = page(asked.limit, 50)?;
        let pattern = asked.pattern.filter(|pattern| !pattern.is_empty());
        let look = move |hub: &antiphon_hub::hub::Hub| {
            hub.tags(pattern.as_deref(), asked.after.as_deref(), limit)
        };
        let found = admin.api().scan(look).await?;
        let tags = found.items.into_iter();
        Ok(Page {
            items: tags
                .map(|(tag, count)| json!({"tag": &*tag, "count": count}))
                .collect(),
            total: found.total,
        })
    });
    on(admin, "admin/send", |admin, by, send: Send| async move {
        send.run(&admin, &by).await
    });
    on(admin, "admin/close", |admin, by, close: Close| async move {
        close.run(&admin, &by).await
    });
    on(admin, "admin/log", |admin, _, asked: Latest| async move {
        let limit = page(asked.limit, 200)?;
        Ok(Items::<Entry>::new(
            admin.journal().entries(asked.before, limit),
        ))
    });
    on(
        admin,
        "admin/closed",
        |admin, _, asked: Latest| async move {
            let limit = page(asked.limit, 100)?;
            Ok(Items::<Closed>::new(admin.journal().closed(limit)))
        },
    );
    on(admin, "admin/slow", |admin, _, _: Json| async move {
        let found = admin.api().scan(|hub| {
            let traced = hub.traced();
            let slow = hub.slowest(SLOWEST).into_iter();
            slow.filter_map(|details| hub.client(details.id))
                .map(|client| Connection::of(&client, &traced).listed())
                .collect::<Vec<_>>()
        });
        Ok(Items::new(found.await?))
    });
    on(admin, "admin/config", |admin, _, _: Json| async move {
        let Some(loaded) = admin.loaded() else {
            return Err(CallError::internal("the server is stopping"));
        };
        let rows = show::rows(&loaded.said);
        Ok(json!({"file": admin.file(), "rows": rows}))
    });
    on(admin, "admin/nodes", |admin, _, _: Json| async move {
        Ok(nodes(&admin))
    });
}

/// A request with data of this type, answered with what `handle` makes of it.
fn on<T, A, F, Answer>(admin: &Admin, event: &'static str, handle: F)
where
    T: DeserializeOwned + std::marker::Send + 'static,
    A: Serialize,
    F: Fn(Admin, Visitor, T) -> Answer + std::marker::Send + Sync + Clone + 'static,
    Answer: Future<Output = Result<A, CallError>> + std::marker::Send + 'static,
{
    let of: WeakAdmin = admin.downgrade();
    admin
        .hub()
        .on(event, move |client: Client, Data(data): Data<T>| {
            let (of, handle) = (of.clone(), handle.clone());
            async move {
                let admin = of.upgrade()?;
                let visitor = visitor(&client)?;
                let answer = handle(admin, visitor, data).await;
                answer.map(Reply).map_err(refusal)
            }
        });
}

fn refusal(error: CallError) -> Refusal {
    Refusal::new(error.code, error.message)
}

/// The page does its own, and nothing else.
fn permissions() -> Permissions {
    let mut permissions = Permissions::default();
    permissions.events = Patterns::new(["admin/*"]);
    permissions.join = Patterns::new(["stats", "log", "trace:*"]);
    permissions
}

fn visitor(client: &Client) -> Result<Visitor, Refusal> {
    let visitor = client.attachment::<Visitor>().copied();
    visitor.ok_or_else(wrong)
}

fn wrong() -> Refusal {
    Refusal::of(antiphon_hub::code::ErrorCode::Unauthorized)
        .saying("the token is not this session's")
        .closing(close::INVALID_TOKEN)
}

#[derive(Deserialize)]
struct One {
    id: ConnectionId,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Names {
    after: Option<String>,
    limit: Option<usize>,
    prefix: String,
    pattern: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Latest {
    before: Option<u64>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Items<T> {
    items: Vec<T>,
}

impl<T> Items<T> {
    fn new(items: Vec<T>) -> Self {
        Self { items }
    }
}

fn hello(admin: &Admin) -> serde_json::Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "node": admin.api().node(),
        "started_at": unix_millis(admin.started()),
        "now": now(),
        "dev": admin.is_dev(),
        "interval_ms": u64::try_from(INTERVAL.as_millis()).unwrap_or(u64::MAX),
        "samples": admin.samples().all(),
        "tracing": {
            "max_connections": trace::MAX_TRACED,
            "max_frames": trace::MAX_FRAMES,
            "max_bytes": trace::MAX_TEXT,
            "max_seconds": trace::MAX_TIME.as_secs(),
        },
    })
}

fn connection(admin: &Admin, id: ConnectionId) -> serde_json::Value {
    let hub = admin.api().hub();
    let traced = hub.traced();
    let open = hub
        .client(id)
        .map(|client| Connection::of(&client, &traced));
    let closed = admin.journal().end_of(id).filter(|_| open.is_none());
    json!({"connection": open, "closed": closed, "frames": hub.frames(id, 0)})
}

fn nodes(admin: &Admin) -> serde_json::Value {
    let api = admin.api();
    let now = now();
    let own = api.hub().node_id();
    let mut items: Vec<serde_json::Value> = Vec::new();
    for node in api.hub().cluster_info() {
        items.push(json!({
            "id": node.id,
            "node": node.name,
            "self": Some(node.id) == own,
            "version": &*node.version,
            "started_at": now.saturating_sub(node.uptime.saturating_mul(1000)),
            "connections": node.connections,
            "users": node.users,
            "tags": node.tags,
            "seen_at": now,
        }));
    }
    if items.is_empty() {
        let stats = api.hub().stats();
        items.push(json!({
            "id": api.uid(),
            "node": api.node(),
            "self": true,
            "version": env!("CARGO_PKG_VERSION"),
            "started_at": unix_millis(admin.started()),
            "connections": stats.connections,
            "users": stats.users,
            "tags": stats.tags,
            "seen_at": now,
        }));
    }
    json!({"items": items})
}
