//! Logins that do not count any more: their sockets are closed at once, on every node.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::{
    audience::Reached,
    broker::{Control, Revoked},
    code::close,
    hub::Hub,
    identity::Identity,
    registry::unix_millis,
    revocation::Revocation,
    target::Target,
};

impl Hub {
    /// Calls `told` with every revocation, of this node and of others, so that it can be remembered and the login refused
    /// when it comes again. It must not wait.
    pub fn on_revoke(&self, told: impl Fn(&Revocation) + Send + Sync + 'static) {
        self.set_gates(|gates| gates.revoke.push(Arc::new(told)));
    }

    /// Closes what a login has opened, with 3510, and tells [`on_revoke`](Self::on_revoke) and the other nodes.
    ///
    /// The connections of a user are found by an index. Those of a session are looked for among the connections of
    /// [`Revocation::user`]; without one among all, which takes as long as a send to all. Of a token the hub knows
    /// nothing: it is told on, and closes nothing.
    ///
    /// # Cancel safety
    ///
    /// It is done on this node when the first poll returns; other nodes may or may not be told.
    pub async fn revoke(&self, revocation: Revocation) -> Reached {
        let closed = self.revoke_here(&revocation);
        let control = || Control::Revoke {
            before: revocation.before.map(unix_millis),
            until: unix_millis(revocation.until),
            what: revocation.what,
            user: revocation.user,
        };
        self.command(&Target::All, closed, control).await
    }

    /// As [`revoke`](Self::revoke), without the other nodes.
    pub(super) fn revoke_here(&self, revocation: &Revocation) -> u64 {
        for told in self.gates(|gates| gates.revoke.clone()) {
            // One that panics has been reported by the panic hook, and keeps nobody's connection open.
            let _ = catch_unwind(AssertUnwindSafe(|| told(revocation)));
        }
        let audience = match (&revocation.what, &revocation.user) {
            (Revoked::User(user), _) | (Revoked::Session(_), Some(user)) => self.user(user.clone()),
            (Revoked::Session(_), None) => self.all(),
            (Revoked::Token(_), _) => return 0,
        };
        let mut closed = 0;
        for connection in audience.connections() {
            if is_revoked(&connection.identity(), revocation) {
                closed += u64::from(connection.close(close::REVOKED));
            }
        }
        closed
    }
}

fn is_revoked(identity: &Identity, revocation: &Revocation) -> bool {
    match &revocation.what {
        Revoked::User(_) => match (revocation.before, identity.issued_at) {
            (Some(before), Some(issued_at)) => issued_at <= before,
            _ => true,
        },
        Revoked::Session(session) => identity.session.as_ref() == Some(session),
        Revoked::Token(_) => false,
    }
}
