//! Who is connected: by id, by user, by tag. Every index holds exactly the live connections.

use std::{
    any::Any,
    collections::{HashMap, hash_map::Entry},
    fmt,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher, RandomState},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::SystemTime,
};

use antiphon::Sender;

use crate::{
    code::CloseReason,
    config::{Overflow, PublishRule},
    id::ConnectionId,
    identity::Identity,
    json::Json,
    outbox::{Frame, Outbox},
    wire::Wire,
};

/// Locks, also after a panic of another holder: what is guarded is whole between two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection, as the hub knows it. What a send to thousands looks at comes first, so that it is in few lines of the
/// cache.
#[repr(C)]
pub(crate) struct Connection {
    /// The socket, from when its session begins until the connection leaves the indexes. Locked before the outbox.
    sender: Mutex<Option<Sender>>,
    outbox: Mutex<Outbox>,
    pub(crate) id: ConnectionId,
    /// Unix milliseconds of the latest message of the client.
    pub(crate) last_active: AtomicU64,
    pub(crate) wire: Wire,
    pub(crate) address: Option<IpAddr>,
    pub(crate) user_agent: Option<Arc<str>>,
    pub(crate) connected_at: SystemTime,
    /// What the application keeps with the connection.
    pub(crate) attachment: Option<Attachment>,
    /// What the application says with the welcome.
    pub(crate) greeting: OnceLock<Box<Json>>,
    identity: Mutex<Arc<Identity>>,
    /// `None` once the connection has left every index.
    tags: Mutex<Option<Vec<Arc<Group>>>>,
}

/// Something of the application's.
pub(crate) type Attachment = Arc<dyn Any + Send + Sync>;

impl Connection {
    pub(crate) fn new(
        id: ConnectionId,
        wire: Wire,
        identity: Arc<Identity>,
        address: Option<IpAddr>,
        user_agent: Option<Arc<str>>,
        attachment: Option<Attachment>,
    ) -> Self {
        let connected_at = SystemTime::now();
        Self {
            id,
            wire,
            address,
            user_agent,
            connected_at,
            last_active: AtomicU64::new(unix_millis(connected_at)),
            attachment,
            greeting: OnceLock::new(),
            identity: Mutex::new(identity),
            outbox: Mutex::new(Outbox::default()),
            sender: Mutex::new(None),
            tags: Mutex::new(None),
        }
    }

    pub(crate) fn identity(&self) -> Arc<Identity> {
        lock(&self.identity).clone()
    }

    /// A new login of the same user.
    pub(crate) fn set_identity(&self, identity: Arc<Identity>) {
        *lock(&self.identity) = identity;
        self.wake();
    }

    pub(crate) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        lock(&self.outbox)
    }

    /// The socket, where it is open and a session reads it.
    pub(crate) fn sender(&self) -> MutexGuard<'_, Option<Sender>> {
        lock(&self.sender)
    }

    /// Wakes the session, where that has something to do for what has been queued.
    pub(crate) fn wake_reader(&self) {
        let waker = self.outbox().take_reader();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// It may join tags.
    pub(crate) fn open(&self) {
        *lock(&self.tags) = Some(Vec::new());
    }

    /// It may join no tags: it was not let in.
    pub(crate) fn shut(&self) {
        *lock(&self.tags) = None;
    }

    /// Puts the first message of all before what has come for the connection since it is in the indexes.
    pub(crate) fn welcome(&self, frame: Frame) -> bool {
        self.outbox().welcome(frame)
    }

    /// Has the connection closed; `false` where it is being closed already.
    pub(crate) fn close(&self, reason: CloseReason) -> bool {
        let mut outbox = self.outbox();
        let first = outbox.close(reason);
        let waker = outbox.take_waker();
        drop(outbox);
        if let Some(waker) = waker {
            waker.wake();
        }
        first
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.outbox().closing().is_some()
    }

    /// Its session is told whether to record frames.
    pub(crate) fn set_traced(&self, is_traced: bool) {
        self.outbox().is_traced = is_traced;
    }

    pub(crate) fn wake(&self) {
        let waker = self.outbox().take_waker();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Names of its tags.
    pub(crate) fn tags(&self) -> Vec<Arc<str>> {
        lock(&self.tags)
            .iter()
            .flatten()
            .map(|group| group.name.clone())
            .collect()
    }

    pub(crate) fn has_tag(&self, name: &str) -> bool {
        lock(&self.tags)
            .iter()
            .flatten()
            .any(|group| *group.name == *name)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Milliseconds since 1970.
pub(crate) fn unix_millis(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

/// An id is random already: its own bits are its hash.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        self.0 = hasher.finish();
    }

    fn write_u128(&mut self, id: u128) {
        // The upper half; the lower one chooses the shard.
        self.0 = (id >> 64) as u64;
    }
}

/// Connections by their ids.
pub(crate) type Members = HashMap<ConnectionId, Arc<Connection>, BuildHasherDefault<IdHasher>>;

/// Connections that have something in common: a user, or a tag.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: Arc<str>,
    /// Tells apart two groups that had the same name one after the other.
    pub(crate) epoch: u32,
    pub(crate) manner: Manner,
    /// The bus counts who is in it. Changes under the lock of the state.
    pub(crate) shared: AtomicBool,
    state: Mutex<State>,
}

/// How a group behaves: what the configuration says about its name.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    pub(crate) overflow: Overflow,
    pub(crate) presence: bool,
    pub(crate) notices: bool,
    pub(crate) publish: PublishRule,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) members: Members,
    /// How many messages have been sent to the group.
    pub(crate) offset: u64,
    /// The group is empty and no more in the index: whoever holds it looks again.
    dead: bool,
}

impl Group {
    fn new(name: Arc<str>, manner: Manner) -> Self {
        Self {
            name,
            epoch: rand::random(),
            manner,
            shared: AtomicBool::new(false),
            state: Mutex::new(State::default()),
        }
    }

    /// The members. Messages to the group are put into their queues under this lock, so that all members see one order.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

const SHARDS: usize = 64;

type Index = HashMap<Arc<str>, Arc<Group>>;

/// Groups by their names.
#[derive(Debug)]
pub(crate) struct Groups {
    hasher: RandomState,
    shards: Box<[Mutex<Index>]>,
    count: AtomicUsize,
}

impl Groups {
    fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            count: AtomicUsize::new(0),
        }
    }

    fn shard(&self, name: &str) -> &Mutex<Index> {
        let hash = usize::try_from(self.hasher.hash_one(name) >> 32).unwrap_or(0);
        &self.shards[hash % SHARDS]
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Group>> {
        lock(self.shard(name)).get(name).cloned()
    }

    /// How many groups there are.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Calls `each` with every group; none of the locks is held.
    pub(crate) fn each(&self, mut each: impl FnMut(&Arc<Group>)) {
        for shard in &self.shards {
            let groups: Vec<Arc<Group>> = lock(shard).values().cloned().collect();
            groups.iter().for_each(&mut each);
        }
    }

    /// Names of the groups, from the smallest behind `after`, at most `limit`, such that `filter` accepts.
    pub(crate) fn names(
        &self,
        after: Option<&str>,
        limit: usize,
        mut filter: impl FnMut(&str) -> bool,
    ) -> Vec<Arc<str>> {
        // The heap keeps the smallest names: memory is for a page and not for all.
        let mut page = std::collections::BinaryHeap::new();
        for shard in &self.shards {
            for name in lock(shard).keys() {
                if after.is_some_and(|after| **name <= *after) || !filter(name) {
                    continue;
                }
                page.push(name.clone());
                if page.len() > limit {
                    page.pop();
                }
            }
        }
        page.into_sorted_vec()
    }

    /// Adds a member, after `admit` has agreed, and calls `then` while the group is locked with whether it is the
    /// group's first.
    pub(crate) fn insert<E, T>(
        &self,
        name: &Arc<str>,
        connection: &Arc<Connection>,
        manner: impl Fn(&str) -> Manner,
        admit: impl FnOnce(&Members) -> Result<T, E>,
        then: impl FnOnce(&Group, &State, bool),
    ) -> Result<(Arc<Group>, T), E> {
        let mut admit = Some(admit);
        let mut then = Some(then);
        loop {
            let group = {
                let mut shard = lock(self.shard(name));
                match shard.entry(name.clone()) {
                    Entry::Occupied(entry) => entry.get().clone(),
                    Entry::Vacant(entry) => {
                        self.count.fetch_add(1, Relaxed);
                        entry
                            .insert(Arc::new(Group::new(name.clone(), manner(name))))
                            .clone()
                    }
                }
            };
            let mut state = group.state();
            if state.dead {
                continue;
            }
            let admitted = match admit.take().map(|admit| admit(&state.members)) {
                Some(Ok(admitted)) => admitted,
                Some(Err(error)) => {
                    let empty = state.members.is_empty();
                    drop(state);
                    if empty {
                        self.bury(&group);
                    }
                    return Err(error);
                }
                // Taken only on the way out.
                None => continue,
            };
            state.members.insert(connection.id, connection.clone());
            if let Some(then) = then.take() {
                then(&group, &state, state.members.len() == 1);
            }
            drop(state);
            return Ok((group, admitted));
        }
    }

    /// Removes a member and calls `then` while the group is locked with whether it was the last.
    pub(crate) fn remove(
        &self,
        group: &Arc<Group>,
        id: ConnectionId,
        then: impl FnOnce(&Group, &State, bool),
    ) {
        let mut state = group.state();
        if state.members.remove(&id).is_none() {
            return;
        }
        let empty = state.members.is_empty();
        then(group, &state, empty);
        if !empty
            && state.members.capacity() > 64
            && state.members.len() < state.members.capacity() / 4
        {
            state.members.shrink_to_fit();
        }
        drop(state);
        if empty {
            self.bury(group);
        }
    }

    /// Takes a group out of the index if it is still empty.
    fn bury(&self, group: &Arc<Group>) {
        let mut shard = lock(self.shard(&group.name));
        let mut state = group.state();
        if state.members.is_empty() && !state.dead {
            state.dead = true;
            shard.remove(&group.name);
            self.count.fetch_sub(1, Relaxed);
        }
    }
}

/// Every connection.
pub(crate) struct Registry {
    shards: Box<[Mutex<Members>]>,
    count: AtomicUsize,
    /// Held while a message goes to all, so that all see one order.
    order: Mutex<()>,
    pub(crate) users: Groups,
    pub(crate) tags: Groups,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            count: AtomicUsize::new(0),
            order: Mutex::new(()),
            users: Groups::new(),
            tags: Groups::new(),
        }
    }

    fn shard(&self, id: ConnectionId) -> &Mutex<Members> {
        // Truncation is meant: any bits will do.
        let index = id.get() as usize % SHARDS;
        &self.shards[index]
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<Arc<Connection>> {
        lock(self.shard(id)).get(&id).cloned()
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Takes a place; `false` where there are `most` connections already.
    pub(crate) fn reserve(&self, most: usize) -> bool {
        self.count
            .fetch_update(Relaxed, Relaxed, |count| {
                (count < most).then_some(count + 1)
            })
            .is_ok()
    }

    /// Gives back a place that was taken and not used.
    pub(crate) fn unreserve(&self) {
        self.count.fetch_sub(1, Relaxed);
    }

    /// Adds a connection that is open and whose place is reserved.
    pub(crate) fn insert(&self, connection: &Arc<Connection>) {
        lock(self.shard(connection.id)).insert(connection.id, connection.clone());
    }

    /// Removes a connection from every index; `false` where it was in none.
    pub(crate) fn remove(
        &self,
        connection: &Arc<Connection>,
        mut left: impl FnMut(&Group, &State, bool),
        offline: impl FnOnce(&Group, &State, bool),
    ) -> bool {
        let Some(tags) = lock(&connection.tags).take() else {
            return false;
        };
        for group in tags {
            self.tags.remove(&group, connection.id, &mut left);
        }
        if let Some(user) = &connection.identity().user
            && let Some(group) = self.users.get(user)
        {
            self.users.remove(&group, connection.id, offline);
        }
        if lock(self.shard(connection.id))
            .remove(&connection.id)
            .is_some()
        {
            self.count.fetch_sub(1, Relaxed);
        }
        true
    }

    /// Calls `each` with every connection, one shard locked at a time, in one order for all callers.
    pub(crate) fn each(&self, mut each: impl FnMut(&Arc<Connection>)) {
        let _order = lock(&self.order);
        self.scan(&mut each);
    }

    /// Some connections, at most `most`, beside a send to all.
    pub(crate) fn some(
        &self,
        most: usize,
        is_meant: impl Fn(&&Arc<Connection>) -> bool,
    ) -> Vec<Arc<Connection>> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let left = most - found.len();
            if left == 0 {
                break;
            }
            let shard = lock(shard);
            found.extend(shard.values().filter(&is_meant).take(left).cloned());
        }
        found
    }

    /// As [`each`](Self::each), beside a send to all.
    pub(crate) fn scan(&self, mut each: impl FnMut(&Arc<Connection>)) {
        for shard in &self.shards {
            lock(shard).values().for_each(&mut each);
        }
    }

    /// Adds the connection to a tag. `Ok(None)`: it is there already.
    pub(crate) fn join(
        &self,
        connection: &Arc<Connection>,
        name: &Arc<str>,
        most: usize,
        manner: impl Fn(&str) -> Manner,
        then: impl FnOnce(&Group, &State, bool),
    ) -> Result<Option<Arc<Group>>, NotJoined> {
        let mut tags = lock(&connection.tags);
        let tags = tags.as_mut().ok_or(NotJoined::Gone)?;
        if tags.iter().any(|group| group.name == *name) {
            return Ok(None);
        }
        if tags.len() >= most {
            return Err(NotJoined::TooMany);
        }
        let (group, ()) =
            self.tags
                .insert(name, connection, manner, |_| Ok::<_, NotJoined>(()), then)?;
        if tags.capacity() == 0 {
            // Most connections have one tag or a few.
            tags.reserve_exact(1);
        }
        tags.push(group.clone());
        Ok(Some(group))
    }

    /// Removes the connection from a tag; `false` where it was not there.
    pub(crate) fn leave(
        &self,
        connection: &Arc<Connection>,
        name: &str,
        then: impl FnOnce(&Group, &State, bool),
    ) -> bool {
        let mut tags = lock(&connection.tags);
        let Some(tags) = tags.as_mut() else {
            return false;
        };
        let Some(index) = tags.iter().position(|group| *group.name == *name) else {
            return false;
        };
        let group = tags.swap_remove(index);
        if tags.is_empty() {
            *tags = Vec::new();
        }
        self.tags.remove(&group, connection.id, then);
        true
    }
}

/// Why a connection cannot join a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotJoined {
    /// It has as many tags as it may.
    TooMany,
    /// It is no more in the registry.
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A size class of the allocator ends there; the next one has 64 bytes more.
    #[test]
    fn a_connection_fits_into_320_bytes_with_its_counts() {
        assert!(size_of::<Connection>() + 2 * size_of::<usize>() <= 320);
    }
}
