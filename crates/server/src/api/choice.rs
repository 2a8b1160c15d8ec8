//! Which connections a call means: those of a user, of a session, or one.

use antiphon_hub::{audience::Audience, hub::Client, id::ConnectionId};

use crate::api::{
    error::{CallError, connection_id},
    state::ApiState,
};

/// A user, a session and a connection; each that is given narrows the choice.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    user: Option<String>,
    session: Option<String>,
    client: Option<ConnectionId>,
}

impl Choice {
    /// Reads the choice of a call. An empty text is none, as it is at Centrifugo.
    ///
    /// # Errors
    ///
    /// Nothing is chosen, or `client` is no id.
    pub(crate) fn new(
        user: Option<String>,
        session: Option<String>,
        client: Option<&str>,
    ) -> Result<Self, CallError> {
        let given = |text: &String| !text.is_empty();
        let client = client
            .filter(|text| !text.is_empty())
            .map(|text| connection_id("client", text))
            .transpose()?;
        let choice = Self {
            user: user.filter(given),
            session: session.filter(given),
            client,
        };
        if choice.user.is_none() && choice.session.is_none() && choice.client.is_none() {
            return Err(CallError::field(
                "user",
                "one of user, client and session is needed",
            ));
        }
        Ok(choice)
    }

    /// Those who are meant, as audiences: a user or a connection alone is one, on whatever node; otherwise there is one for
    /// each connection of this node.
    ///
    /// # Errors
    ///
    /// As [`ApiState::scan`].
    pub(crate) async fn audiences(self, state: &ApiState) -> Result<Vec<Audience>, CallError> {
        let hub = state.hub();
        match (&self.user, &self.session, self.client) {
            (Some(user), None, None) => Ok(vec![hub.user(user.as_str())]),
            (None, None, Some(id)) => Ok(vec![hub.connection(id)]),
            _ => {
                let clients = self.clients(state).await?;
                let audiences = clients.iter().map(|client| hub.connection(client.id()));
                Ok(audiences.collect())
            }
        }
    }

    /// The connections of this node that are meant.
    ///
    /// # Errors
    ///
    /// As [`ApiState::scan`].
    pub(crate) async fn clients(self, state: &ApiState) -> Result<Vec<Client>, CallError> {
        let found = match (self.client, &self.user) {
            (Some(id), _) => state.hub().client(id).into_iter().collect(),
            (None, Some(user)) => state.hub().user(user.as_str()).clients(),
            (None, None) => {
                return state.scan(move |hub| self.keep(hub.all().clients())).await;
            }
        };
        Ok(self.keep(found))
    }

    fn keep(&self, mut clients: Vec<Client>) -> Vec<Client> {
        clients.retain(|client| {
            let identity = client.identity();
            let is = |wanted: &Option<String>, is: &Option<std::sync::Arc<str>>| {
                wanted.is_none() || wanted.as_deref() == is.as_deref()
            };
            is(&self.user, &identity.user) && is(&self.session, &identity.session)
        });
        clients
    }
}
