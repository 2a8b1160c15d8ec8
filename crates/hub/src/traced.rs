//! Which connections are recorded.

use crate::{
    hub::Hub,
    id::ConnectionId,
    trace::{NotTraced, TracedFrame},
};

impl Hub {
    /// Records the frames of a connection from now on, until [`untrace`](Self::untrace), its end, or
    /// [`MAX_TIME`](crate::trace::MAX_TIME): the latest [`MAX_FRAMES`](crate::trace::MAX_FRAMES), each with the first
    /// [`MAX_TEXT`](crate::trace::MAX_TEXT) bytes of its text. Other connections pay nothing for it.
    ///
    /// What clients say is in it, so it is for whoever may see that. Messages that hold a token are hidden.
    ///
    /// ```
    /// use antiphon_hub::{config::HubConfig, hub::Hub, id::ConnectionId, trace::NotTraced};
    ///
    /// let hub = Hub::new(HubConfig::default());
    /// let id = ConnectionId::random();
    /// assert_eq!(hub.trace(id), Err(NotTraced::Gone));
    /// assert!(hub.frames(id, 0).is_empty());
    /// ```
    ///
    /// # Errors
    ///
    /// It is not connected to this node, or as many are recorded as may be.
    pub fn trace(&self, id: ConnectionId) -> Result<(), NotTraced> {
        let connection = self.0.registry.get(id).ok_or(NotTraced::Gone)?;
        if !self.0.recorder.begin(id) {
            return Err(NotTraced::TooMany);
        }
        connection.set_traced(true);
        if self.0.registry.get(id).is_none() {
            // It has gone meanwhile, and its end has not met the record.
            self.0.recorder.end(id);
            return Err(NotTraced::Gone);
        }
        Ok(())
    }

    /// Stops recording a connection; `false` where it was not recorded. What was recorded stays readable until
    /// [`MAX_ENDED`](crate::trace::MAX_ENDED) others have stopped after it.
    pub fn untrace(&self, id: ConnectionId) -> bool {
        if let Some(connection) = self.0.registry.get(id) {
            connection.set_traced(false);
        }
        self.0.recorder.end(id)
    }

    /// The connections that are recorded now. It also stops those whose time is over.
    #[must_use]
    pub fn traced(&self) -> Vec<ConnectionId> {
        let (open, over) = self.0.recorder.open();
        for id in over {
            if let Some(connection) = self.0.registry.get(id) {
                connection.set_traced(false);
            }
        }
        open
    }

    /// The recorded frames of a connection with a number above `after`, the oldest first; also of one that has ended.
    #[must_use]
    pub fn frames(&self, id: ConnectionId, after: u64) -> Vec<TracedFrame> {
        self.0.recorder.frames(id, after)
    }
}
