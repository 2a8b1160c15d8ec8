//! What is known of each key: the one table behind the reader, `config init`, `config print` and the page of keys.

/// A key of the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// Section and name, such as `server.listen`. `[]` stands for each table of a list: `tags[].pattern`.
    pub(crate) path: &'static str,
    /// What it holds.
    pub(crate) kind: Kind,
    /// The default as it is written in TOML; empty where there is none.
    pub(crate) default: &'static str,
    /// What it is for; lines as in the source.
    pub(crate) about: &'static str,
    /// Whether a reload applies it without a restart.
    pub(crate) live: bool,
}

impl Key {
    /// The table that it stands in: `server` of `server.listen`, `tags[]` of `tags[].pattern`.
    pub(crate) fn section(&self) -> &'static str {
        self.path
            .rsplit_once('.')
            .map_or("", |(section, _)| section)
    }

    /// Its own name: `listen` of `server.listen`.
    pub(crate) fn name(&self) -> &'static str {
        self.path
            .rsplit_once('.')
            .map_or(self.path, |(_, name)| name)
    }

    /// What it is for, in one line.
    pub(crate) fn line(&self) -> String {
        self.about.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Switch,
    /// A whole number from the first to the second.
    Count(u64, u64),
    /// A whole number from -1, which stands for no bound.
    Unbounded,
    /// A number from 0 to 1.
    Ratio,
    /// A time; the switch says whether 0 is allowed.
    Time(Zero),
    /// A number of bytes.
    Size(Zero),
    /// `"auto"`, or a number of bytes.
    AutoSize,
    /// Any text.
    Text,
    /// A path of a URL, from `/`.
    Path,
    /// A file or a folder.
    File,
    /// A file with a secret: nobody else may read it. Its content becomes the key of this name without `_file`.
    SecretFile,
    /// An address to listen on.
    Listen,
    /// A URL of http or https.
    Url,
    /// A secret: shown as `***`.
    Secret,
    /// A list of texts.
    List(Item),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A table; its keys have rows of their own.
    Table,
    /// A list of tables; their keys have rows of their own.
    Tables,
}

/// Whether 0 is a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zero {
    /// 0 has a meaning: never, or no bound.
    Allowed,
    /// At least one.
    Refused,
}

/// What a list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// Any text.
    Text,
    /// A pattern of names: `*` is any text, `{user}` the client's user.
    Pattern,
    /// An origin: `https://HOST[:PORT]`.
    Origin,
    /// A network: `10.0.0.0/8`.
    Network,
    /// One of these words.
    Choice(&'static [&'static str]),
}

impl Kind {
    /// The kind for people, in one or a few words.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Switch => "true or false".into(),
            Self::Count(0, u64::MAX) => "number".into(),
            Self::Count(least, u64::MAX) => format!("number from {least}"),
            Self::Count(least, most) => format!("number, {least} to {most}"),
            Self::Unbounded => "number, -1 for no bound".into(),
            Self::Ratio => "number, 0 to 1".into(),
            Self::Time(_) => "time".into(),
            Self::Size(_) => "size".into(),
            Self::AutoSize => "\"auto\" or a size".into(),
            Self::Text => "text".into(),
            Self::Path => "path of a URL".into(),
            Self::File => "file".into(),
            Self::SecretFile => "file with a secret".into(),
            Self::Listen => "HOST:PORT".into(),
            Self::Url => "URL".into(),
            Self::Secret => "secret".into(),
            Self::List(Item::Text) => "list of texts".into(),
            Self::List(Item::Pattern) => "list of patterns".into(),
            Self::List(Item::Origin) => "list of origins".into(),
            Self::List(Item::Network) => "list of networks".into(),
            Self::List(Item::Choice(words)) => format!("list of {}", quoted(words)),
            Self::Choice(words) => quoted(words),
            Self::Table => "table".into(),
            Self::Tables => "list of tables".into(),
        }
    }

    /// Whether its value must not be shown.
    pub(crate) fn is_secret(self) -> bool {
        matches!(self, Self::Secret)
    }
}

/// `"a", "b" or "c"`
pub(crate) fn quoted(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
