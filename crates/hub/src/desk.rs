//! Who is here, as the bus is to know it: name by name what it knows, what it does not know yet, and what it is being told.

use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map::Entry},
    sync::{Arc, Mutex},
};

use crate::{
    broker::{BrokerError, ErrorKind, LeaseKind},
    id::ConnectionId,
    json::Json,
    registry::lock,
};

/// What is present: a user or a tag.
pub(crate) type Name = (LeaseKind, Arc<str>);

/// What the bus has to be told of connections that come and go.
///
/// It follows the registry and is no larger: what has not been told yet and is not true any more is never told. Of one
/// name one thing is told at a time, so that what the bus counts comes back in its order.
#[derive(Debug, Default)]
pub(crate) struct Desk(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    names: HashMap<Name, Page>,
    /// Names of which there is something to tell, each once.
    due: VecDeque<Name>,
    held: usize,
}

/// What concerns one name.
#[derive(Debug, Default)]
struct Page {
    /// To be leased.
    coming: HashMap<ConnectionId, Json>,
    /// Leased, or perhaps: a call that did not end in time may have done it.
    held: HashMap<ConnectionId, Json>,
    /// To be released.
    going: HashSet<ConnectionId>,
    /// Of this one the bus is being told.
    busy: Option<ConnectionId>,
    /// The world knows, from this node or another, that somebody is here.
    known: bool,
    due: bool,
}

/// Something to tell the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    Lease(Name, ConnectionId, Json),
    Release(Name, ConnectionId),
}

/// Something to tell the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The first connection of all nodes has come.
    Present(Name),
    /// The last one has gone.
    Absent(Name),
}

impl Desk {
    /// Connections are there. `known`: the world knows of the name.
    pub(crate) fn come(
        &self,
        name: Name,
        connections: impl IntoIterator<Item = (ConnectionId, Json)>,
        known: bool,
    ) {
        let mut books = lock(&self.0);
        let page = books.names.entry(name.clone()).or_default();
        page.known |= known;
        for (connection, value) in connections {
            page.going.remove(&connection);
            page.coming.insert(connection, value);
        }
        books.due(name);
    }

    /// A connection is not there any more.
    pub(crate) fn go(&self, name: Name, connection: ConnectionId) -> Option<News> {
        let mut books = lock(&self.0);
        let page = books.names.get_mut(&name)?;
        page.coming.remove(&connection);
        if page.held.contains_key(&connection) || page.busy == Some(connection) {
            page.going.insert(connection);
            books.due(name);
            return None;
        }
        // Nobody but this node can have told of it.
        let news = (page.is_blank() && page.known).then(|| News::Absent(name.clone()));
        books.close(name);
        news
    }

    /// The next thing to tell the bus.
    pub(crate) fn next(&self) -> Option<Job> {
        let mut books = lock(&self.0);
        while let Some(name) = books.due.pop_front() {
            let Some(page) = books.names.get_mut(&name) else {
                continue;
            };
            page.due = false;
            if page.busy.is_some() {
                continue;
            }
            // Who comes goes first: a user whose connection is replaced stays online.
            if let Some(connection) = page.coming.keys().next().copied()
                && let Some(value) = page.coming.remove(&connection)
            {
                page.busy = Some(connection);
                return Some(Job::Lease(name, connection, value));
            }
            if let Some(connection) = page.going.iter().next().copied() {
                page.going.remove(&connection);
                page.busy = Some(connection);
                return Some(Job::Release(name, connection));
            }
        }
        None
    }

    /// What has become of a [`Job::Lease`]: how many leases the name has.
    pub(crate) fn leased(
        &self,
        name: Name,
        connection: ConnectionId,
        value: Json,
        outcome: &Result<usize, BrokerError>,
    ) -> Option<News> {
        let mut books = lock(&self.0);
        let page = books.names.get_mut(&name)?;
        page.busy = None;
        let mut news = None;
        let mut held = false;
        match outcome {
            Ok(count) => {
                if *count == 1 && !page.known {
                    news = Some(News::Present(name.clone()));
                }
                page.known = true;
                held = page.held.insert(connection, value).is_none();
            }
            Err(error) => {
                if error.kind() == ErrorKind::Timeout {
                    held = page.held.insert(connection, value.clone()).is_none();
                }
                if error.is_temporary() && !page.going.contains(&connection) {
                    page.coming.entry(connection).or_insert(value);
                }
            }
        }
        books.held += usize::from(held);
        books.go_on(name);
        news
    }

    /// What has become of a [`Job::Release`]: how many leases the name has left.
    pub(crate) fn released(
        &self,
        name: Name,
        connection: ConnectionId,
        outcome: &Result<Option<usize>, BrokerError>,
    ) -> Option<News> {
        let mut books = lock(&self.0);
        let page = books.names.get_mut(&name)?;
        page.busy = None;
        let mut news = None;
        match outcome {
            Err(error) if error.is_temporary() => {
                if !page.coming.contains_key(&connection) {
                    page.going.insert(connection);
                }
            }
            _ => {
                let held = page.held.remove(&connection).is_some();
                if *outcome == Ok(Some(0)) {
                    page.known = false;
                    news = Some(News::Absent(name.clone()));
                }
                books.held -= usize::from(held);
            }
        }
        books.go_on(name);
        news
    }

    /// All leases may be gone: they are made again. `lost`: they are, and the world has been told.
    pub(crate) fn again(&self, lost: bool) {
        let mut books = lock(&self.0);
        let names: Vec<Name> = books.names.keys().cloned().collect();
        for name in names {
            if let Some(page) = books.names.get_mut(&name) {
                for (connection, value) in &page.held {
                    if !page.going.contains(connection) {
                        let entry = page.coming.entry(*connection);
                        entry.or_insert_with(|| value.clone());
                    }
                }
                if lost {
                    page.held.clear();
                    page.known = false;
                }
            }
            books.due(name);
        }
        if lost {
            books.held = 0;
        }
    }

    /// The world has been told that nobody is there.
    pub(crate) fn vacated(&self, names: &[Name]) {
        let mut books = lock(&self.0);
        for name in names {
            if let Some(page) = books.names.get_mut(name) {
                page.known = false;
            }
        }
    }

    /// The node leaves: all leases are to be released.
    pub(crate) fn leave(&self) {
        let mut books = lock(&self.0);
        let names: Vec<Name> = books.names.keys().cloned().collect();
        for name in names {
            if let Some(page) = books.names.get_mut(&name) {
                page.coming.clear();
                page.going.extend(page.held.keys().chain(&page.busy));
            }
            books.go_on(name);
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        *lock(&self.0) = Books::default();
    }

    /// How many leases the bus has of this node.
    pub(crate) fn held(&self) -> usize {
        lock(&self.0).held
    }

    /// Whether there is nothing that the bus knows or should know.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).names.is_empty()
    }
}

impl Page {
    fn is_blank(&self) -> bool {
        self.coming.is_empty()
            && self.held.is_empty()
            && self.going.is_empty()
            && self.busy.is_none()
    }
}

impl Books {
    fn due(&mut self, name: Name) {
        if let Some(page) = self.names.get_mut(&name)
            && !page.due
            && page.busy.is_none()
        {
            page.due = true;
            self.due.push_back(name);
        }
    }

    /// After a job: the next one of the name, or the end of its page.
    fn go_on(&mut self, name: Name) {
        let Some(page) = self.names.get(&name) else {
            return;
        };
        if page.coming.is_empty() && page.going.is_empty() {
            self.close(name);
        } else {
            self.due(name);
        }
    }

    /// Removes a page that has nothing on it.
    fn close(&mut self, name: Name) {
        if let Entry::Occupied(entry) = self.names.entry(name)
            && entry.get().is_blank()
        {
            entry.remove();
        }
    }
}
