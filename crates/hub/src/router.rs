//! From an event's name to a handler with typed arguments.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    hub::{Answer, BoxFuture, Client, Handler, Hub, Next, Publication, Request},
    identity::Identity,
    json::Json,
    occurrence::Cause,
    refusal::Refusal,
};

/// An argument of a handler, made from the client and its request.
pub trait Extract: Sized + Send {
    /// Makes it.
    ///
    /// # Errors
    ///
    /// What the client is answered when it cannot be made.
    fn extract(client: &Client, request: &Request) -> Result<Self, Refusal>;
}

impl Extract for Client {
    fn extract(client: &Client, _: &Request) -> Result<Self, Refusal> {
        Ok(client.clone())
    }
}

impl Extract for Hub {
    fn extract(client: &Client, _: &Request) -> Result<Self, Refusal> {
        Ok(client.hub().clone())
    }
}

impl Extract for Request {
    fn extract(_: &Client, request: &Request) -> Result<Self, Refusal> {
        Ok(request.clone())
    }
}

impl Extract for Json {
    fn extract(_: &Client, request: &Request) -> Result<Self, Refusal> {
        Ok(request.data())
    }
}

impl Extract for Arc<Identity> {
    fn extract(client: &Client, _: &Request) -> Result<Self, Refusal> {
        Ok(client.identity())
    }
}

/// The data of an event as a type. Data of another shape is answered with 107.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<T>(pub T);

impl<T: DeserializeOwned + Send> Extract for Data<T> {
    fn extract(_: &Client, request: &Request) -> Result<Self, Refusal> {
        request.data().to().map(Data).map_err(|error| {
            Refusal::bad_request(format!("the data of the event is wrong: {error}"))
        })
    }
}

/// What a handler may return: what becomes the data of the reply.
pub trait IntoReply {
    /// The data; `None` for a reply without.
    ///
    /// # Errors
    ///
    /// It has no JSON.
    fn into_reply(self) -> Answer;
}

impl IntoReply for () {
    fn into_reply(self) -> Answer {
        Ok(None)
    }
}

impl IntoReply for Json {
    fn into_reply(self) -> Answer {
        Ok(Some(self))
    }
}

impl<T: IntoReply> IntoReply for Option<T> {
    fn into_reply(self) -> Answer {
        self.map_or(Ok(None), IntoReply::into_reply)
    }
}

impl<T: IntoReply, E: Into<Refusal>> IntoReply for Result<T, E> {
    fn into_reply(self) -> Answer {
        self.map_err(Into::into)?.into_reply()
    }
}

/// A reply with a value of any type as its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<T>(pub T);

impl<T: Serialize> IntoReply for Reply<T> {
    fn into_reply(self) -> Answer {
        Json::of(&self.0)
            .map(Some)
            .map_err(|error| Refusal::internal(format!("the reply has no JSON: {error}")))
    }
}

/// A function that handles events: it takes up to four arguments that can be [extracted](Extract).
pub trait EventHandler<Arguments>: Send + Sync + 'static {
    /// Handles one.
    fn call(&self, client: Client, request: Request) -> BoxFuture<Answer>;
}

macro_rules! event_handler {
    ($($argument:ident),*) => {
        impl<Function, Output, $($argument),*> EventHandler<($($argument,)*)> for Function
        where
            Function: Fn($($argument),*) -> Output + Send + Sync + 'static,
            Output: Future + Send + 'static,
            Output::Output: IntoReply,
            $($argument: Extract,)*
        {
            #[expect(clippy::allow_attributes, reason = "what is unused depends on the number of arguments")]
            #[allow(non_snake_case, unused_variables)]
            fn call(&self, client: Client, request: Request) -> BoxFuture<Answer> {
                $(
                    let $argument = match $argument::extract(&client, &request) {
                        Ok(argument) => argument,
                        Err(refusal) => return Box::pin(std::future::ready(Err(refusal))),
                    };
                )*
                let output = self($($argument),*);
                Box::pin(async move { output.await.into_reply() })
            }
        }
    };
}

event_handler!();
event_handler!(A);
event_handler!(A, B);
event_handler!(A, B, C);
event_handler!(A, B, C, D);

impl Hub {
    /// Calls `handler` for events with this name, or for all whose names match where it has a `*`. A name without a star
    /// goes before patterns, an earlier pattern before later ones. The events of one client are handled one after the
    /// other, in their order; a handler that panics or takes too long is answered for, and ends nothing else.
    ///
    /// ```
    /// use antiphon_hub::{
    ///     config::HubConfig,
    ///     hub::{Client, Hub, SendError},
    ///     router::{Data, Reply},
    /// };
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize)]
    /// struct Say {
    ///     room: String,
    ///     text: String,
    /// }
    ///
    /// let hub = Hub::new(HubConfig::default());
    /// hub.on("say", |client: Client, Data(say): Data<Say>| async move {
    ///     let delivery = client.hub().tag(say.room).send("said", say.text).await?;
    ///     Ok::<_, SendError>(Reply(delivery))
    /// });
    /// ```
    pub fn on<Arguments>(&self, event: &str, handler: impl EventHandler<Arguments>) {
        let handler: Handler = Arc::new(move |client, request| handler.call(client, request));
        self.set_gates(|gates| {
            if event.contains('*') {
                gates.patterns.push((event.into(), handler));
            } else {
                gates.handlers.insert(event.into(), handler);
            }
        });
    }

    /// Puts `middleware` around all handlers; the first added is the outermost.
    ///
    /// ```
    /// use antiphon_hub::{
    ///     config::HubConfig,
    ///     hub::{Client, Hub, Next, Request},
    /// };
    ///
    /// let hub = Hub::new(HubConfig::default());
    /// hub.layer(|client: Client, request: Request, next: Next| async move {
    ///     let event = request.event().to_owned();
    ///     let answer = next.run(client, request).await;
    ///     println!("{event}: {}", if answer.is_ok() { "done" } else { "refused" });
    ///     answer
    /// });
    /// ```
    pub fn layer<F, Output>(&self, middleware: F)
    where
        F: Fn(Client, Request, Next) -> Output + Send + Sync + 'static,
        Output: Future<Output = Answer> + Send + 'static,
    {
        self.set_gates(|gates| {
            gates
                .middleware
                .push(Arc::new(move |client, request, next| {
                    Box::pin(middleware(client, request, next))
                }));
        });
    }

    /// Decides who is behind a token that came in a message, or refuses it.
    pub fn authenticate<F, Output>(&self, authenticate: F)
    where
        F: Fn(String) -> Output + Send + Sync + 'static,
        Output: Future<Output = Result<Identity, Refusal>> + Send + 'static,
    {
        self.set_gates(|gates| {
            gates.authenticate = Some(Arc::new(move |token| Box::pin(authenticate(token))))
        });
    }

    /// Decides whether a client is let in. A refusal's [close](Refusal::closing) is what its connection is closed with;
    /// without one it is 3507, or 3003 where the refusal is temporary.
    pub fn on_connect<F, Output>(&self, connect: F)
    where
        F: Fn(Client) -> Output + Send + Sync + 'static,
        Output: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        self.set_gates(|gates| {
            gates.connect = Some(Arc::new(move |client| Box::pin(connect(client))))
        });
    }

    /// Decides what a new token of a client makes of it (`$refresh`). Whoever [identifies](Client::identify) clients in
    /// [`on_connect`](Self::on_connect) needs it: a token alone would take that back. It has to stay the same user.
    pub fn on_refresh<F, Output>(&self, refresh: F)
    where
        F: Fn(Client, Identity) -> Output + Send + Sync + 'static,
        Output: Future<Output = Result<Identity, Refusal>> + Send + 'static,
    {
        self.set_gates(|gates| {
            gates.refresh = Some(Arc::new(move |client, identity| {
                Box::pin(refresh(client, identity))
            }))
        });
    }

    /// Is called when a client that was let in is gone.
    pub fn on_disconnect<F, Output>(&self, disconnect: F)
    where
        F: Fn(Client, Cause) -> Output + Send + Sync + 'static,
        Output: Future<Output = ()> + Send + 'static,
    {
        self.set_gates(|gates| {
            gates.disconnect = Some(Arc::new(move |client, cause| {
                Box::pin(disconnect(client, cause))
            }));
        });
    }

    /// Decides whether a client may join a tag that its permissions allow.
    pub fn on_join<F, Output>(&self, join: F)
    where
        F: Fn(Client, Arc<str>) -> Output + Send + Sync + 'static,
        Output: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        self.set_gates(|gates| {
            gates.join = Some(Arc::new(move |client, tag| Box::pin(join(client, tag))))
        });
    }

    /// Decides whether a client may publish what its permissions allow, and may change it.
    pub fn on_publish<F, Output>(&self, publish: F)
    where
        F: Fn(Client, Publication) -> Output + Send + Sync + 'static,
        Output: Future<Output = Result<Publication, Refusal>> + Send + 'static,
    {
        self.set_gates(|gates| {
            gates.publish = Some(Arc::new(move |client, publication| {
                Box::pin(publish(client, publication))
            }));
        });
    }

    /// The handler of an event, with the middleware around it.
    pub(crate) fn handler(&self, event: &str) -> Option<(Handler, Vec<crate::hub::Middleware>)> {
        self.gates(|gates| {
            let handler = gates.handlers.get(event).or_else(|| {
                let matching = gates
                    .patterns
                    .iter()
                    .find(|(pattern, _)| crate::permission::matches(pattern, event, None));
                matching.map(|(_, handler)| handler)
            })?;
            Some((handler.clone(), gates.middleware.clone()))
        })
    }
}
