//! Hooks: a backend in any language decides who connects, who joins, who publishes what, and what events are answered.

pub(crate) mod answer;
pub(crate) mod call;
pub(crate) mod question;
pub(crate) mod settings;

use antiphon_hub::{code::ErrorCode, json::Json};
use http::{HeaderMap, HeaderName};

use self::{
    answer::{ConnectAnswer, PublishAnswer, Refusal, RpcAnswer, SubscribeAnswer},
    call::{Hook, HookStats, Repeat},
    question::{Ask, Caller, Connect, ConnectHook, Forwarded},
    settings::Settings,
};
use crate::{
    outgoing::{Http, sign::Signer},
    traces::Traces,
};

/// The hooks of one backend. A hook that is off objects to nothing, and answers nothing.
pub(crate) struct Hooks {
    connect: Option<Hook>,
    subscribe: Option<Hook>,
    publish: Option<Hook>,
    rpc: Option<Hook>,
    forward: Vec<HeaderName>,
}

impl Hooks {
    /// The hooks that these settings turn on.
    pub(crate) fn new(settings: &Settings, http: &Http) -> Self {
        let signer = settings.secret.as_ref().map(Signer::new);
        let hook = |name, repeat, one| {
            Hook::new(
                name,
                repeat,
                one,
                settings.max_response_size,
                http,
                signer.as_ref(),
            )
        };
        Self {
            connect: hook("connect", Repeat::Temporary, &settings.connect),
            subscribe: hook("subscribe", Repeat::Temporary, &settings.subscribe),
            publish: hook("publish", Repeat::Unsent, &settings.publish),
            rpc: hook("rpc", Repeat::Unsent, &settings.rpc),
            forward: settings.forward_headers.clone(),
        }
    }

    /// The same hooks, whose requests are spans.
    pub(crate) fn traced(mut self, traces: Option<&Traces>) -> Self {
        let hooks = [
            &mut self.connect,
            &mut self.subscribe,
            &mut self.publish,
            &mut self.rpc,
        ];
        for hook in hooks.into_iter().flatten() {
            hook.traces = traces.cloned();
        }
        self
    }

    /// What to keep of a handshake's header fields for the hooks of its connection.
    pub(crate) fn forwarded(&self, headers: &HeaderMap) -> Forwarded {
        Forwarded::pick(&self.forward, headers)
    }

    /// Whether the backend is asked about connections.
    pub(crate) fn asks_connect(&self) -> bool {
        self.connect.is_some()
    }

    /// Asks whether a client may connect, and who it is. Without the hook: it may, and is who it was.
    ///
    /// # Errors
    ///
    /// The backend refuses, or has no usable answer (code 100, temporary).
    ///
    /// # Cancel safety
    ///
    /// As of all hooks: the question is given up; the backend may have seen it.
    pub(crate) async fn connect(&self, hook: &ConnectHook) -> Result<ConnectAnswer, Refusal> {
        match &self.connect {
            None => Ok(ConnectAnswer::default()),
            Some(backend) => backend.ask(&Connect::new(hook), &hook.headers).await,
        }
    }

    /// Asks whether a client may join a tag. Without the hook, or for a tag that it is not about: it may.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub(crate) async fn subscribe(
        &self,
        caller: &Caller,
        tag: &str,
        data: Option<&Json>,
    ) -> Result<SubscribeAnswer, Refusal> {
        match relevant(self.subscribe.as_ref(), tag, caller) {
            None => Ok(SubscribeAnswer::default()),
            Some(backend) => {
                let question = Ask::channel(caller, tag, data);
                backend.ask(&question, &caller.headers).await
            }
        }
    }

    /// Asks whether a client may publish something to a tag. Without the hook, or for a tag that it is not about: it may.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub(crate) async fn publish(
        &self,
        caller: &Caller,
        tag: &str,
        data: &Json,
    ) -> Result<PublishAnswer, Refusal> {
        match relevant(self.publish.as_ref(), tag, caller) {
            None => Ok(PublishAnswer::default()),
            Some(backend) => {
                let question = Ask::channel(caller, tag, Some(data));
                backend.ask(&question, &caller.headers).await
            }
        }
    }

    /// Hands an event to the backend.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect). Without the hook, or for an event that it is not about: code 104, method not found.
    pub(crate) async fn rpc(
        &self,
        caller: &Caller,
        event: &str,
        data: Option<&Json>,
    ) -> Result<RpcAnswer, Refusal> {
        match relevant(self.rpc.as_ref(), event, caller) {
            None => Err(Refusal::of(ErrorCode::MethodNotFound)),
            Some(backend) => {
                let question = Ask::method(caller, event, data);
                backend.ask(&question, &caller.headers).await
            }
        }
    }

    /// What each hook that is on has done so far, by its name.
    pub(crate) fn stats(&self) -> Vec<(&'static str, HookStats)> {
        [&self.connect, &self.subscribe, &self.publish, &self.rpc]
            .into_iter()
            .flatten()
            .map(|hook| (hook.name, hook.stats()))
            .collect()
    }
}

fn relevant<'a>(hook: Option<&'a Hook>, name: &str, caller: &Caller) -> Option<&'a Hook> {
    hook.filter(|hook| hook.only.allow(name, caller.user.as_deref()))
}

#[cfg(test)]
mod tests;
