//! One path: a name, what it is, and how to get a step of it.

/// Does a path so many times.
pub type Step = Box<dyn FnMut(u64)>;

/// A path whose cost is of interest.
pub struct Path {
    /// `layer/what`, unique.
    pub name: &'static str,
    /// What is done, in a few words.
    pub about: &'static str,
    /// How many messages, frames or deliveries one step handles: costs are for one of them.
    pub each: u64,
    /// Bytes of payload that one step handles; 0 where that says nothing.
    pub bytes: u64,
    /// Steps over which instructions are averaged.
    pub rounds: u64,
    /// Makes what the step needs. What this costs is not measured.
    pub make: Box<dyn Fn() -> Step + Send + Sync>,
}

impl Path {
    /// A path of one message of so many bytes.
    pub(crate) fn new(
        name: &'static str,
        about: &'static str,
        bytes: usize,
        make: impl Fn() -> Step + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            about,
            each: 1,
            bytes: bytes as u64,
            rounds: 2000,
            make: Box::new(make),
        }
    }

    /// A step handles so many of them.
    pub(crate) fn each(self, each: u64) -> Self {
        Self {
            each,
            bytes: self.bytes * each,
            ..self
        }
    }

    /// Instructions are averaged over so many steps.
    pub(crate) fn rounds(self, rounds: u64) -> Self {
        Self { rounds, ..self }
    }
}

/// A step that calls `once` again and again.
pub(crate) fn step(mut once: impl FnMut() + 'static) -> Step {
    Box::new(move |times| {
        for _ in 0..times {
            once();
        }
    })
}
