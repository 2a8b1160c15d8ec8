//! One connection from its first message to its last: the only room that touches a socket.

mod bucket;
mod built_in;
mod conversation;
mod guard;
mod login;
mod recorded;
mod words;

use std::{
    any::Any,
    future::poll_fn,
    net::IpAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use antiphon::{Upgrade, WebSocket};
use axum::response::Response;
use tokio::time::timeout;

use self::{
    conversation::Session,
    guard::{Panicked, guarded},
    words::end,
};
use crate::{
    code::{CloseReason, ErrorCode, close, event},
    hub::{Client, Hub, Request},
    id::ConnectionId,
    identity::Identity,
    json::Json,
    occurrence::{Cause, Side},
    refusal::Refusal,
    registry::Connection,
    wire::Wire,
};

/// What is known about a client before its first message.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Hello {
    /// Who it is. `None`: it has to say so in its first message, which only `antiphon.v2.json` can.
    pub identity: Option<Identity>,
    /// Where it comes from.
    pub address: Option<IpAddr>,
    /// What it says that it is.
    pub user_agent: Option<Arc<str>>,
    /// The id that its connection will have. Default: a random one.
    pub id: Option<ConnectionId>,
    /// Something of the application's that is kept with the connection: see [`Client::attachment`].
    pub attachment: Option<Arc<dyn Any + Send + Sync>>,
}

impl Hello {
    /// A client whose identity is known.
    #[must_use]
    pub fn from_identity(identity: Identity) -> Self {
        Self {
            identity: Some(identity),
            ..Self::default()
        }
    }
}

impl Hub {
    /// Answers a request for a WebSocket and serves it: `antiphon.v2.json` where the client offers it, otherwise hotgo's
    /// envelope. Origin and limits are those of `upgrade`.
    ///
    /// ```
    /// use antiphon::{Server, Upgrade};
    /// use antiphon_hub::{config::HubConfig, hub::Hub, identity::Identity, session::Hello};
    ///
    /// let hub = Hub::new(HubConfig::default());
    /// let server = Server::new().route("/socket", move |upgrade: Upgrade| {
    ///     let hub = hub.clone();
    ///     async move { hub.accept(upgrade, Hello::from_identity(Identity::default())) }
    /// });
    /// ```
    ///
    /// # Panics
    ///
    /// If called outside of a tokio runtime.
    pub fn accept(&self, upgrade: Upgrade, mut hello: Hello) -> Response {
        if hello.address.is_none() {
            hello.address = upgrade.peer().address();
        }
        let hub = self.clone();
        upgrade
            .subprotocols(Wire::SUBPROTOCOLS)
            .on_socket(move |socket| {
                let served = hub.serve(socket, hello);
                async move {
                    served.await;
                    Ok(())
                }
            })
    }

    /// Serves one open socket until it ends; why it did.
    ///
    /// # Cancel safety
    ///
    /// Cancelled, the connection is dropped and leaves every index.
    pub fn serve(
        &self,
        socket: WebSocket,
        hello: Hello,
    ) -> impl Future<Output = Cause> + Send + use<> {
        let wire = Wire::of(socket.subprotocol());
        self.serve_as(socket, wire, hello)
    }

    /// As [`serve`](Self::serve), with a wire that was agreed elsewhere.
    ///
    /// # Cancel safety
    ///
    /// As [`serve`](Self::serve).
    pub fn serve_as(
        &self,
        socket: WebSocket,
        wire: Wire,
        hello: Hello,
    ) -> impl Future<Output = Cause> + Send + use<> {
        // What is needed only at the beginning and at the end has memory of its own then, and the session always: this
        // future is as long-lived as the connection, nearly all connections are idle, and a future inside of another is
        // there twice.
        let hub = self.clone();
        let opening = Box::pin(async move {
            let (registered, socket) = hub.open(socket, wire, hello).await?;
            let session = Box::new(Session::new(&registered.0, socket));
            Ok((registered, session))
        });
        async move {
            let (registered, mut session) = match opening.await {
                Ok(opened) => opened,
                Err(cause) => return cause,
            };
            let ended = poll_fn(|cx| session.poll(cx)).await;
            Box::pin(async move {
                let cause = session.conclude(ended).await;
                registered.leave(&cause).await;
                cause
            })
            .await
        }
    }

    /// From an open socket to a connection that is in every index and will be welcomed.
    async fn open(
        &self,
        mut socket: WebSocket,
        wire: Wire,
        mut hello: Hello,
    ) -> Result<(Registered, WebSocket), Cause> {
        let mut first = None;
        let identity = match hello.identity.take() {
            Some(identity) => identity,
            None => match self.first_message(wire, &mut socket).await {
                Ok((identity, request)) => {
                    first = Some(request);
                    identity
                }
                Err(reason) => {
                    self.0.counters.refused_logins.fetch_add(1, Relaxed);
                    return Err(end(wire, &socket, &reason, Duration::ZERO).await);
                }
            },
        };
        let connection = Connection::new(
            hello.id.unwrap_or_else(ConnectionId::random),
            wire,
            Arc::new(identity),
            hello.address,
            hello.user_agent,
            hello.attachment,
        );
        let client = self.handle(Arc::new(connection));
        if let Err(refusal) = self.let_in(&client).await {
            let reason = refusal.close().cloned();
            // Whoever might be let in a little later is not told to stay away.
            let reason = reason.unwrap_or(if refusal.is_temporary() {
                close::SERVER_ERROR
            } else {
                close::PERMISSION_DENIED
            });
            if let Some(request) = first {
                let frame = self.answer_frame(wire, &request, Err(refusal));
                if let Some(frame) = frame {
                    let _ = socket.send_prepared(frame.prepared(wire)).await;
                }
            }
            return Err(end(wire, &socket, &reason, self.spread(&reason)).await);
        }
        let registered = Registered(client.clone());
        let tags = client.identity().tags.clone();
        for tag in &tags {
            if let Err(refusal) = self.join_tag(&client, tag) {
                tracing::debug!(connection = %client.id(), %tag, "a tag of the login is not joined: {refusal}");
            }
        }
        if wire == Wire::V2 {
            let data = Json::of(&self.welcome(&client)).ok();
            let frame = match &first {
                Some(request) => self.answer_frame(wire, request, Ok(data)),
                None => Some(self.push_frame(wire, event::CONNECTED, data.as_ref())),
            };
            if let Some(frame) = frame
                && client.connection.welcome(frame)
            {
                self.0.flow.queued.fetch_add(1, Relaxed);
            }
        }
        Ok((registered, socket))
    }

    /// Who a client says that it is, within the time for it.
    async fn first_message(
        &self,
        wire: Wire,
        socket: &mut WebSocket,
    ) -> Result<(Identity, Request), CloseReason> {
        if wire == Wire::V1 {
            return Err(close::INVALID_TOKEN);
        }
        let limit = self.config().authentication_timeout;
        timeout(limit, async {
            let Ok(Some(message)) = socket.recv().await else {
                return Err(close::CONNECTION_CLOSED);
            };
            let incoming = wire
                .parse(message.as_bytes())
                .map_err(|_| close::BAD_REQUEST)?;
            let request = Request::new(Arc::from(&*incoming.event), incoming.id, incoming.data);
            let outcome = if *incoming.event == *event::CONNECT {
                self.identify(&request).await
            } else {
                Err(Refusal::of(ErrorCode::Unauthorized).closing(close::STALE))
            };
            match outcome {
                Ok(identity) => Ok((identity, request)),
                Err(refusal) => {
                    let reason = refusal.close().cloned().unwrap_or(close::INVALID_TOKEN);
                    if let Some(frame) = self.answer_frame(wire, &request, Err(refusal)) {
                        let _ = socket.send_prepared(frame.prepared(wire)).await;
                    }
                    Err(reason)
                }
            }
        })
        .await
        .unwrap_or_else(|_| {
            self.0
                .counters
                .authentication_timeouts
                .fetch_add(1, Relaxed);
            Err(close::STALE)
        })
    }

    async fn let_in(&self, client: &Client) -> Result<(), Refusal> {
        if let Some(connect) = self.gates(|gates| gates.connect.clone()) {
            let decided = timeout(
                self.config().handler_timeout,
                guarded(async { connect(client.clone()).await }),
            )
            .await;
            match decided {
                Ok(Ok(decision)) => decision?,
                Ok(Err(Panicked)) => {
                    self.0.counters.handler_panics.fetch_add(1, Relaxed);
                    return Err(Refusal::of(ErrorCode::Internal).closing(close::SERVER_ERROR));
                }
                Err(_) => {
                    self.0.counters.handler_timeouts.fetch_add(1, Relaxed);
                    return Err(Refusal::of(ErrorCode::Timeout).closing(close::SERVER_ERROR));
                }
            }
        }
        self.admit(client)
    }
}

/// A connection that is in the indexes, and leaves them whatever happens.
struct Registered(Client);

impl Registered {
    async fn leave(self, cause: &Cause) {
        let client = &self.0;
        let hub = client.hub();
        if !hub.detach(client, cause) {
            return;
        }
        if let Some(disconnect) = hub.gates(|gates| gates.disconnect.clone()) {
            let told = guarded(async { disconnect(client.clone(), cause.clone()).await });
            match timeout(hub.config().handler_timeout, told).await {
                Ok(Ok(())) => {}
                Ok(Err(Panicked)) => {
                    hub.0.counters.handler_panics.fetch_add(1, Relaxed);
                }
                Err(_) => {
                    hub.0.counters.handler_timeouts.fetch_add(1, Relaxed);
                }
            }
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let cause = Cause::new(Side::Server, 1006, "the connection was dropped");
        self.0.hub().detach(&self.0, &cause);
    }
}
