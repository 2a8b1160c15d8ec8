//! The hub's decisions, asked of auth and of the backend's hooks; what happens in it, told to the backend.

use std::{
    sync::{Arc, Weak},
    time::SystemTime,
};

use antiphon_hub::{
    code::{CloseReason, ErrorCode, close},
    hub::{Client, Next, Request},
    json::Json,
    occurrence::{Occurrence, Subject},
    refusal::Refusal,
};

use super::{
    Use,
    door::{Kept, Means, admit},
    logins::OfSite,
    site::Site,
};
use crate::{
    auth::{error::TokenError, source::Credential},
    demo,
    hooks::{
        answer::Refusal as HookRefusal,
        question::{Caller, ConnectHook, Forwarded},
    },
    setting::Secret,
    traces,
    webhooks::event::Event,
};

/// Connects the hub to the rest. The hub outlives its site by a moment; what it asks then is refused.
pub(crate) fn wire(site: &Arc<Site>) {
    let hub = &site.hub;
    let weak = Arc::downgrade(site);
    site.api.set_logins(Arc::new(OfSite(weak.clone())));

    if let Some(traces) = site.traces.clone() {
        hub.layer(move |client: Client, request: Request, next: Next| {
            let traces = traces.clone();
            async move {
                let event: Arc<str> = request.event().into();
                traces.event(&event, next.run(client, request)).await
            }
        });
    }
    let of = weak.clone();
    hub.authenticate(move |token| {
        let site = of.upgrade();
        async move {
            let site = site.ok_or_else(stopping)?;
            let credential = Credential::Token(Secret::new(token));
            admit(&site, &credential, Means::Message)
                .await
                .map_err(refused)
        }
    });
    if site.purpose == Use::Demo {
        demo::install(hub);
    }
    if site.hooks.asks_connect() {
        let of = weak.clone();
        hub.on_connect(move |client| connect(of.clone(), client));
        hub.on_refresh(|client, identity| async move {
            // What the backend has said stands above what a new token says, too.
            let kept = client.attachment::<Kept>();
            Ok(match kept.and_then(|kept| kept.answer.get()) {
                Some(answer) => answer.identify(identity),
                None => identity,
            })
        });
    }
    let hooks = &site.loaded().config.hooks;
    if hooks.subscribe.url.is_some() {
        let of = weak.clone();
        hub.on_join(move |client, tag| {
            let site = of.upgrade();
            async move {
                let site = site.ok_or_else(stopping)?;
                let asked = site.hooks.subscribe(&caller(&client), &tag, None).await;
                asked.map(drop).map_err(hook_refused)
            }
        });
    }
    if hooks.publish.url.is_some() {
        let of = weak.clone();
        hub.on_publish(move |client, mut publication| {
            let site = of.upgrade();
            async move {
                let site = site.ok_or_else(stopping)?;
                let data = publication.data.clone().unwrap_or_else(Json::null);
                let caller = caller(&client);
                let asked = site.hooks.publish(&caller, &publication.tag, &data);
                if let Some(data) = asked.await.map_err(hook_refused)?.data {
                    publication.data = Some(data);
                }
                Ok(publication)
            }
        });
    }
    if hooks.rpc.url.is_some() {
        let of = weak.clone();
        hub.on("*", move |client: Client, request: Request| {
            let site = of.upgrade();
            async move {
                let site = site.ok_or_else(stopping)?;
                let data = request.data();
                let caller = caller(&client);
                let asked = site.hooks.rpc(&caller, request.event(), Some(&data));
                Ok::<_, Refusal>(asked.await.map_err(hook_refused)?.data)
            }
        });
    }
    hub.observe(move |occurrence| {
        if let Some(site) = weak.upgrade() {
            seen(&site, occurrence);
        }
    });
}

/// The backend says who a client is, or that it may not connect.
async fn connect(site: Weak<Site>, client: Client) -> Result<(), Refusal> {
    let site = site.upgrade().ok_or_else(stopping)?;
    let identity = client.identity();
    let kept = client.attachment::<Kept>();
    let hook = ConnectHook {
        connection: client.id(),
        user: identity.user.clone(),
        data: None,
        name: None,
        version: None,
        address: client.address(),
        headers: kept.map_or_else(Forwarded::default, |kept| kept.headers.clone()),
    };
    let parent = kept.and_then(|kept| kept.trace.as_ref());
    let asked = traces::under(parent, site.hooks.connect(&hook));
    let mut answer = asked.await.map_err(hook_refused)?;
    if let Some(data) = answer.data.take() {
        client.greet(data);
    }
    client.identify(answer.identify((*identity).clone()))?;
    if let Some(kept) = kept {
        let _ = kept.answer.set(Box::new(answer));
    }
    Ok(())
}

fn caller(client: &Client) -> Caller {
    let kept = client.attachment::<Kept>();
    Caller {
        connection: client.id(),
        user: client.user(),
        meta: kept.and_then(|kept| kept.answer.get()?.meta.clone()),
        headers: kept.map_or_else(Forwarded::default, |kept| kept.headers.clone()),
    }
}

fn seen(site: &Site, occurrence: &Occurrence) {
    let webhooks = &site.webhooks;
    match occurrence {
        Occurrence::Connected(subject) => {
            if let Some(client) = site.hub.client(subject.connection) {
                // Whoever was revoked between its login and now has not been met by the revocation.
                let now = SystemTime::now();
                if site.state.revocations.is_revoked(&client.identity(), now) {
                    client.disconnect(close::REVOKED);
                }
            }
            webhooks.offer(Event::connect(
                subject.connection,
                &identity(subject),
                subject.address,
            ));
        }
        Occurrence::Disconnected { subject, cause } => webhooks.offer(Event::disconnect(
            subject.connection,
            &identity(subject),
            subject.address,
            cause.code,
            cause.reason.as_str(),
        )),
        Occurrence::UserOnline { user } => webhooks.offer(Event::user_online(user.clone())),
        Occurrence::UserOffline { user } => webhooks.offer(Event::user_offline(user.clone())),
        Occurrence::TagOccupied { tag } => webhooks.offer(Event::tag_occupied(tag.clone())),
        Occurrence::TagVacated { tag } => webhooks.offer(Event::tag_vacated(tag.clone())),
        _ => {}
    }
}

/// As much of an identity as is told.
fn identity(subject: &Subject) -> antiphon_hub::identity::Identity {
    let mut identity = antiphon_hub::identity::Identity::default();
    identity.user.clone_from(&subject.user);
    identity.session.clone_from(&subject.session);
    identity.app.clone_from(&subject.app);
    identity.platform.clone_from(&subject.platform);
    identity
}

fn stopping() -> Refusal {
    Refusal::of(ErrorCode::NotAvailable).closing(close::RESTART)
}

/// What a client reads whose token is no good.
pub(crate) fn refused(error: TokenError) -> Refusal {
    let code = match error.code() {
        109 => ErrorCode::TokenExpired,
        100 => ErrorCode::Internal,
        _ => ErrorCode::Unauthorized,
    };
    let reason = close::ALL
        .iter()
        .find(|reason| reason.code == error.close_code())
        .cloned()
        .unwrap_or(close::INVALID_TOKEN);
    Refusal::of(code)
        .saying(format!("{}: {error}", error.reason()))
        .closing(reason)
}

fn hook_refused(refusal: HookRefusal) -> Refusal {
    let mut made = Refusal::new(refusal.code, refusal.message);
    if refusal.temporary {
        made = made.temporary();
    }
    match refusal.disconnect {
        Some((code, reason)) => made.closing(CloseReason::new(code, reason)),
        None => made,
    }
}
