//! Every call in one table: what answers, and what the OpenAPI document is made of.

use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};

use crate::api::{
    call::{Call, Running, run},
    channels::{Channels, History, HistoryRemove, Presence, PresenceStats, Subscribe, Unsubscribe},
    key::Scope,
    logins::{Login, Logout, Ticket},
    node::Info,
    people::{Connections, Disconnect, Kick, Refresh, Revoke, Users},
    sending::{Broadcast, Publish, Send},
    state::ApiState,
};

/// A named schema.
pub(crate) type Named = (String, RefOr<Schema>);

/// A call.
pub(crate) struct Row {
    /// Its name.
    pub(crate) name: &'static str,
    /// What a key needs for it.
    pub(crate) scope: Scope,
    /// What it does.
    pub(crate) about: &'static str,
    /// Makes it.
    pub(crate) run: for<'a> fn(&'a str, &'a ApiState) -> Running<'a>,
    /// Its parameters, its answer, and all that these are made of.
    pub(crate) schemas: fn() -> Schemas,
}

/// The types of a call.
pub(crate) struct Schemas {
    /// Name of its parameters.
    pub(crate) request: String,
    /// Name of its answer.
    pub(crate) answer: String,
    /// Both, and what they are made of.
    pub(crate) all: Vec<Named>,
}

/// All calls but `batch`.
pub(crate) const TABLE: &[Row] = &[
    row::<Publish>(),
    row::<Broadcast>(),
    row::<Send>(),
    row::<Subscribe>(),
    row::<Unsubscribe>(),
    row::<Presence>(),
    row::<PresenceStats>(),
    row::<Channels>(),
    row::<History>(),
    row::<HistoryRemove>(),
    row::<Connections>(),
    row::<Users>(),
    row::<Disconnect>(),
    row::<Kick>(),
    row::<Refresh>(),
    row::<Revoke>(),
    row::<Ticket>(),
    row::<Login>(),
    row::<Logout>(),
    row::<Info>(),
];

/// The call with this name.
pub(crate) fn find(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name == name)
}

const fn row<T: Call>() -> Row {
    Row {
        name: T::NAME,
        scope: T::SCOPE,
        about: T::ABOUT,
        run: run::<T>,
        schemas: schemas::<T>,
    }
}

fn schemas<T: Call>() -> Schemas {
    let mut all = vec![named::<T>(), named::<T::Answer>()];
    T::schemas(&mut all);
    T::Answer::schemas(&mut all);
    Schemas {
        request: T::name().into_owned(),
        answer: T::Answer::name().into_owned(),
        all,
    }
}

/// A type's name and its schema.
pub(crate) fn named<T: ToSchema>() -> Named {
    (T::name().into_owned(), T::schema())
}
