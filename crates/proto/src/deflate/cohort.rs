//! One compressed form of a message for all connections whose windows hold the same.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::deflate::{Deflater, Settings, window::Window};

/// Most forms of one message. A connection beyond them is sent the form that refers to nothing.
const MAX_COHORTS: usize = 4;

/// The compressed forms of a message, each for connections that have been sent the same before.
#[derive(Debug, Default)]
pub(crate) struct Cohorts(Mutex<Vec<Cohort>>);

#[derive(Debug)]
struct Cohort {
    settings: Settings,
    capacity: u16,
    before: Window,
    after: Window,
    /// `None`: it would not be smaller, so it is sent as it is, and the windows stay as they are.
    frame: Option<Bytes>,
}

/// How a message is sent to a connection.
#[derive(Debug)]
pub(crate) enum Form {
    /// In this frame, which its cohort shares; the connection has noted the message.
    Shared(Bytes),
    /// As it is.
    Plain,
    /// In a form that does not refer to its window.
    Alone,
}

impl Cohorts {
    /// The form of this message for this connection; `frame` makes a frame of what has been compressed.
    pub(crate) fn form(
        &self,
        deflater: &mut Deflater,
        plaintext: &[u8],
        frame: impl FnOnce(&[u8]) -> Bytes,
    ) -> Form {
        if deflater.capacity == 0 || deflater.inside_message {
            return Form::Alone;
        }
        let mut cohorts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = cohorts.iter().position(|cohort| {
            cohort.settings == deflater.settings
                && cohort.capacity == deflater.capacity
                && cohort.before.is_same(&deflater.window)
        });
        let index = match found {
            Some(index) => index,
            None if cohorts.len() == MAX_COHORTS => return Form::Alone,
            None => {
                let mut compressed = Vec::new();
                if !deflater.at_once(plaintext, &mut compressed) {
                    return Form::Alone;
                }
                let before = deflater.window.share();
                let pays = compressed.len() < plaintext.len();
                let mut after = before.clone();
                if pays {
                    after.push(usize::from(deflater.capacity), plaintext);
                }
                cohorts.push(Cohort {
                    settings: deflater.settings,
                    capacity: deflater.capacity,
                    before,
                    after: after.share(),
                    frame: pays.then(|| frame(&compressed)),
                });
                cohorts.len() - 1
            }
        };
        let Some(cohort) = cohorts.get(index) else {
            return Form::Alone;
        };
        deflater.window = cohort.after.clone();
        match &cohort.frame {
            Some(frame) => Form::Shared(frame.clone()),
            None => Form::Plain,
        }
    }
}
