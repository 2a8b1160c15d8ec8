//! From the sources to one configuration: file below environment below command line.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::{
    auth::settings::SECRET_VARIABLE,
    config::{
        disk::{open_to_others, read},
        file::{self, Leaf, Said},
        judge,
        key::{Key, Kind},
        problem::{Place, Problem},
        rules,
        schema::Config,
        table,
    },
};

/// The variable that names the file.
pub(crate) const FILE_VARIABLE: &str = "ANTIPHON_CONFIG";

/// What every variable of the environment begins with.
pub(crate) const PREFIX: &str = "ANTIPHON_";

/// Where settings come from.
#[derive(Clone, Default)]
pub(crate) struct Sources {
    /// The file.
    pub(crate) file: Option<PathBuf>,
    /// The environment; what does not begin with `ANTIPHON_` is not looked at.
    pub(crate) environment: Vec<(String, String)>,
    /// Options: the key, the option as people write it, its value as text.
    pub(crate) flags: Vec<(String, String, String)>,
}

impl Sources {
    /// The environment of this process, and the file that `--config` or `ANTIPHON_CONFIG` names.
    pub(crate) fn of_process(file: Option<PathBuf>) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, text(value))))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        Self {
            file: file.or_else(|| {
                std::env::var_os(FILE_VARIABLE)
                    .filter(|name| !name.is_empty())
                    .map(PathBuf::from)
            }),
            environment,
            flags: Vec::new(),
        }
    }

    /// Also sets a key by an option of the command line: `sources.flag("server.listen", "--listen", "9000")`.
    pub(crate) fn flag(&mut self, key: &str, option: &str, value: &str) {
        self.flags
            .push((key.to_owned(), option.to_owned(), value.to_owned()));
    }

    /// Also sets keys by options of the form `KEY=VALUE`.
    pub(crate) fn set(&mut self, pairs: &[String]) {
        for pair in pairs {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.flag(key.trim(), &format!("--set {}", key.trim()), value);
        }
    }
}

/// A value that is no UTF-8 becomes one that no key takes for what it is not.
fn text(value: OsString) -> String {
    value
        .into_string()
        .unwrap_or_else(|value| value.to_string_lossy().into_owned())
}

/// A configuration that holds together.
pub(crate) struct Loaded {
    /// The settings.
    pub(crate) config: Config,
    /// What was set, by key; secrets are among the values.
    pub(crate) said: BTreeMap<String, Leaf>,
    /// What works and is still not as it should be.
    pub(crate) warnings: Vec<Problem>,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// Reads all sources. The same sources, files and environment give the same answer: a reload calls it again and compares
/// with [`changes`].
///
/// # Errors
///
/// All problems at once.
pub(crate) fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let mut problems = Vec::new();
    let mut said = Said::default();
    if let Some(path) = &sources.file {
        let name = path.display().to_string();
        match read(path) {
            Ok(text) => said = file::read(&name, &text, &mut problems),
            Err(what) => problems.push(Problem::new(
                "",
                None,
                format!("cannot read {name}: {what}"),
                "make one with: antiphon config init FILE",
            )),
        }
    }
    for (name, value) in &sources.environment {
        let Some(path) = name.strip_prefix(PREFIX) else {
            continue;
        };
        // A single underscore is of a name: ANTIPHON_LISTEN and its kind are options, not keys.
        if path.contains("__") || name == SECRET_VARIABLE {
            let path = if name == SECRET_VARIABLE {
                "auth.secret".to_owned()
            } else {
                path.to_ascii_lowercase().replace("__", ".")
            };
            one(
                &mut said,
                &path,
                value,
                Place::Variable(name.clone()),
                &mut problems,
            );
        }
    }
    for (path, option, value) in &sources.flags {
        one(
            &mut said,
            path,
            value,
            Place::Flag(option.clone()),
            &mut problems,
        );
    }
    let shown = said.leaves.clone();
    more_keys(&mut said, &mut problems);
    secrets(&mut said, &mut problems);
    let config = build(&said, &mut problems);
    let mut warnings = Vec::new();
    if let Some(config) = &config {
        let mut found = rules::check(config, &said);
        warnings = found
            .extract_if(.., |(severe, _)| !*severe)
            .map(|(_, problem)| problem)
            .collect();
        problems.extend(found.into_iter().map(|(_, problem)| problem));
        if let Some(path) = &sources.file {
            warnings.extend(open_secrets(path, &shown));
        }
    }
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded {
            config,
            said: shown,
            warnings,
        }),
        _ => {
            problems.sort_by_key(order);
            Err(Problems(problems))
        }
    }
}

/// As in the file; what stands elsewhere follows as it came.
fn order(problem: &Problem) -> (bool, usize, usize) {
    match &problem.place {
        Some(Place::File(_, line, column)) => (false, *line, *column),
        None if problem.path.is_empty() => (false, 0, 0),
        _ => (true, 0, 0),
    }
}

/// A value of the environment or of an option.
fn one(said: &mut Said, path: &str, text: &str, place: Place, problems: &mut Vec<Problem>) {
    let Some(key) = table::key(path) else {
        problems.push(if table::is_list(path) {
            tables(path, place)
        } else {
            file::unknown(path, path, place)
        });
        return;
    };
    if matches!(key.kind, Kind::Tables | Kind::Table) || path.contains('[') {
        problems.push(tables(path, place));
        return;
    }
    match judge::text(key.kind, text) {
        Ok(value) => {
            said.leaves.insert(path.to_owned(), Leaf { value, place });
        }
        Err((what, hint)) => problems.push(Problem::new(path, Some(place), what, hint)),
    }
}

fn tables(path: &str, place: Place) -> Problem {
    let what = "holds tables, which only the file can have";
    Problem::new(path, Some(place), what, "write it there; see --config")
}

/// The keys of the API in a file of their own.
fn more_keys(said: &mut Said, problems: &mut Vec<Problem>) {
    let Some(leaf) = said.leaves.get("api.keys_file").cloned() else {
        return;
    };
    let Some(name) = leaf.value.as_str() else {
        return;
    };
    let more = match read(Path::new(name)) {
        Ok(text) => file::read_below("api", name, &text, problems),
        Err(what) => {
            problems.push(unreadable("api.keys_file", &leaf.place, name, &what));
            return;
        }
    };
    for (path, leaf) in more.leaves {
        if path != "api.keys" {
            let what = format!("is no key of {name}");
            problems.push(Problem::new(
                path,
                Some(leaf.place),
                what,
                "it holds [[keys]] alone",
            ));
            continue;
        }
        let Value::Array(mut added) = leaf.value else {
            continue;
        };
        let keys = said.leaves.entry(path).or_insert_with(|| Leaf {
            value: Value::Array(Vec::new()),
            place: leaf.place.clone(),
        });
        let Value::Array(list) = &mut keys.value else {
            continue;
        };
        let before = list.len();
        list.append(&mut added);
        for (path, place) in &more.places {
            // The list goes on where the one of the main file ends.
            let moved = path
                .strip_prefix("api.keys[")
                .and_then(|rest| rest.split_once(']'))
                .and_then(|(index, rest)| Some((index.parse::<usize>().ok()?, rest)));
            if let Some((index, rest)) = moved {
                said.places
                    .insert(format!("api.keys[{}]{rest}", before + index), place.clone());
            }
        }
    }
}

/// Puts the content of each `*_file` with a secret where the secret belongs.
fn secrets(said: &mut Said, problems: &mut Vec<Problem>) {
    for key in table::keys().filter(|key| key.kind == Kind::SecretFile) {
        let Some(leaf) = said.leaves.remove(key.path) else {
            continue;
        };
        let target = key.path.trim_end_matches("_file");
        if said.leaves.contains_key(target) {
            let what = format!("and {target} are both set");
            problems.push(Problem::new(key.path, Some(leaf.place), what, "choose one"));
            continue;
        }
        let Some(name) = leaf.value.as_str() else {
            continue;
        };
        match secret(Path::new(name)) {
            Ok(secret) => {
                let leaf = Leaf {
                    value: Value::String(secret),
                    place: leaf.place,
                };
                said.leaves.insert(target.to_owned(), leaf);
            }
            Err((what, hint)) => {
                let what = format!("cannot use {name}: {what}");
                problems.push(Problem::new(key.path, Some(leaf.place), what, hint));
            }
        }
    }
}

fn secret(path: &Path) -> Result<String, judge::Wrong> {
    let text =
        read(path).map_err(|what| (what, "check the path and who may read it".to_owned()))?;
    if open_to_others(path) {
        return Err((
            "others may read it".into(),
            format!("keep it to yourself: chmod 600 {}", path.display()),
        ));
    }
    match text.trim_end() {
        "" => Err((
            "it is empty".into(),
            "make one with: openssl rand -hex 32".into(),
        )),
        secret => Ok(secret.to_owned()),
    }
}

/// A configuration file that holds secrets and that others may read.
fn open_secrets(path: &Path, said: &BTreeMap<String, Leaf>) -> Option<Problem> {
    let (key, leaf) = said.iter().find(|(path, leaf)| {
        matches!(leaf.place, Place::File(..))
            && table::key(path).is_some_and(|key| key.kind.is_secret())
    })?;
    open_to_others(path).then(|| {
        Problem::new(
            key,
            Some(leaf.place.clone()),
            "is a secret in a file that others may read",
            format!("chmod 600 {}", path.display()),
        )
    })
}

fn unreadable(key: &str, place: &Place, name: &str, what: &str) -> Problem {
    let what = format!("cannot read {name}: {what}");
    Problem::new(
        key,
        Some(place.clone()),
        what,
        "check the path and who may read it",
    )
}

/// Makes the settings of what was said; a section that cannot be read is named.
fn build(said: &Said, problems: &mut Vec<Problem>) -> Option<Config> {
    let all = said.leaves.iter().map(|(path, leaf)| (path, &leaf.value));
    let error = match serde_json::from_value(nest(all)) {
        Ok(config) => return Some(config),
        Err(error) => error,
    };
    // Every key has a default, so each can be tried alone: that one names itself.
    let mut found = false;
    for (path, leaf) in &said.leaves {
        let alone = nest([(path, &leaf.value)]);
        if let Err(error) = serde_json::from_value::<Config>(alone) {
            found = true;
            let what = error.to_string();
            let secret = table::key(path).is_some_and(|key| key.kind.is_secret());
            let what = if secret && leaf.value.as_str().is_none_or(|text| what.contains(text)) {
                "cannot be used".to_owned()
            } else {
                what
            };
            // Many of these words say themselves what to do.
            let hint = if what.contains(": ") {
                ""
            } else {
                "docs/configuration.md has every key"
            };
            problems.push(Problem::new(path, Some(leaf.place.clone()), what, hint));
        }
    }
    if !found {
        problems.push(Problem::new("", None, error.to_string(), ""));
    }
    None
}

/// `a.b = 1` becomes `{"a": {"b": 1}}`.
fn nest<'a>(leaves: impl IntoIterator<Item = (&'a String, &'a Value)>) -> Value {
    let mut root = Map::new();
    for (path, value) in leaves {
        insert(&mut root, path, value.clone());
    }
    Value::Object(root)
}

fn insert(at: &mut Map<String, Value>, path: &str, value: Value) {
    let Some((first, rest)) = path.split_once('.') else {
        at.insert(path.to_owned(), value);
        return;
    };
    let below = at.entry(first).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(below) = below {
        insert(below, rest, value);
    }
}

/// What a reload changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Keys that are in force at once.
    pub(crate) applied: Vec<&'static str>,
    /// Keys whose new value waits for a restart.
    pub(crate) restart: Vec<&'static str>,
}

/// The rules for tags as one value.
static TAGS: Key = Key {
    path: "tags",
    kind: Kind::Tables,
    default: "[]",
    about: "",
    live: true,
};

/// Compares the configuration that runs with one that has been read again.
pub(crate) fn changes(old: &Loaded, new: &Loaded) -> Changes {
    let mut changes = Changes::default();
    for key in table::keys().chain([&TAGS]) {
        if key.path.contains("[]") || value(old, key) == value(new, key) {
            continue;
        }
        if key.live {
            changes.applied.push(key.path);
        } else {
            changes.restart.push(key.path);
        }
    }
    // The content of the file of keys is no value of a key.
    if old.config.api.keys != new.config.api.keys && !changes.applied.contains(&"api.keys") {
        changes.applied.push("api.keys");
    }
    changes
}

fn value(loaded: &Loaded, key: &Key) -> Value {
    match loaded.said.get(key.path) {
        Some(leaf) => leaf.value.clone(),
        None => default(key),
    }
}

/// The default of a key, as the schema reads it.
pub(crate) fn default(key: &Key) -> Value {
    let text = format!("x = {}", key.default);
    match text.parse::<toml::Table>() {
        Ok(table) => table
            .get("x")
            .and_then(|value| serde_json::to_value(value).ok())
            .unwrap_or_default(),
        Err(_) => Value::Null,
    }
}
