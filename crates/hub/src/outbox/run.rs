//! Several frames that are queued as one: what is published to a tag together.

use std::{
    mem, slice,
    sync::{Arc, OnceLock, atomic::AtomicUsize},
};

use super::{Bounds, Budget, Frame, Inner, Outbox};

impl Frame {
    /// A run of at least two frames, none of which is one itself. Each is charged to the budget for itself.
    pub(crate) fn run(parts: Vec<Self>, budget: &Arc<Budget>) -> Self {
        Self(Arc::new(Inner {
            push: None,
            encoded: [OnceLock::new(), OnceLock::new()],
            weight: parts.iter().map(Self::weight).sum(),
            has_key: parts.iter().any(Self::has_key),
            budget: budget.clone(),
            charged: AtomicUsize::new(0),
            parts: parts.into(),
        }))
    }

    /// Its frames: itself, where it is no run.
    pub(crate) fn parts(&self) -> &[Self] {
        if self.0.parts.is_empty() {
            slice::from_ref(self)
        } else {
            &self.0.parts
        }
    }
}

impl Outbox {
    /// Takes a whole run where all of it has room and none of it is a matter of keys and gaps; whether it has. Otherwise
    /// its frames are to be offered, one after the other.
    pub(crate) fn offer_run(&mut self, run: &Frame, bounds: Bounds) -> bool {
        let messages = run.parts().len();
        let fits = self.len() + messages <= bounds.messages
            && self.bytes + run.weight() <= bounds.bytes
            && self.gap.is_none()
            && self.closing.is_none()
            && !run.has_key();
        if !fits {
            return false;
        }
        if self.next.is_some() {
            for frame in run.parts() {
                self.append(frame.clone());
            }
            return true;
        }
        self.bytes += run.weight();
        // No more than the bound, and that is one of messages in memory.
        self.len += messages as u32;
        self.next = Some(run.clone());
        true
    }

    /// Makes the frames of a run entries of their own: what comes behind it, or takes only a part of it, counts them.
    pub(super) fn unpack(&mut self) {
        if !self.has_run() {
            return;
        }
        let Some(run) = mem::take(&mut self.next) else {
            return;
        };
        let mut parts = run.parts().iter().cloned();
        self.next = parts.next();
        self.entries.extend(parts.map(Some));
    }

    /// A run stands alone, and is more messages than places: that can be seen without looking at the frame.
    fn has_run(&self) -> bool {
        self.next.is_some() && self.entries.len() + 1 < self.len()
    }
}
