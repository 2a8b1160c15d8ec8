//! What keys may not be together, though each by itself may be so.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    path::Path,
};

use jsonwebtoken::AlgorithmFamily;
use tracing_subscriber::EnvFilter;

use crate::{
    auth::keys,
    auth::settings::{AuthSettings, Mode},
    config::{
        disk::open_to_others,
        file::Said,
        problem::Problem,
        schema::{ApiKey, Config},
    },
    failure::plain,
    outgoing::endpoint::Endpoint,
    setting::Secret,
    value,
};

/// The shortest token of admin and metrics.
const MIN_TOKEN: usize = 16;

/// The shortest key of HS256 and its kind.
const MIN_SECRET: usize = 32;

/// SHA-256 of nothing: the hash of an empty key.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Problems (`true`) and warnings (`false`).
pub(crate) fn check(config: &Config, said: &Said) -> Vec<(bool, Problem)> {
    let mut rules = Rules {
        said,
        found: Vec::new(),
    };
    rules.server(config);
    rules.tls(config);
    rules.sizes(config);
    rules.tags(config);
    rules.auth(&config.auth);
    rules.api_keys(&config.api.keys);
    rules.tokens(config);
    rules.addresses(config);
    rules.paths(config);
    if EnvFilter::builder().parse(&config.logs.level).is_err() {
        rules.problem(
            "logs.level",
            format!("'{}' is no log filter", config.logs.level),
            "write it as info, or antiphon=debug,hyper=warn",
        );
    }
    rules.found
}

struct Rules<'a> {
    said: &'a Said,
    found: Vec<(bool, Problem)>,
}

impl Rules<'_> {
    fn problem(&mut self, path: &str, what: impl Into<String>, hint: impl Into<String>) {
        self.add(true, path, what.into(), hint.into());
    }

    fn warn(&mut self, path: &str, what: impl Into<String>, hint: impl Into<String>) {
        self.add(false, path, what.into(), hint.into());
    }

    fn add(&mut self, severe: bool, path: &str, what: String, hint: String) {
        let leaf = self.said.leaves.get(path).map(|leaf| &leaf.place);
        // A secret that came from a file was set where the file is named; a key that is missing, at its table.
        let place = leaf
            .or_else(|| self.said.places.get(path))
            .or_else(|| self.said.places.get(path.rsplit_once('.')?.0))
            .cloned();
        self.found
            .push((severe, Problem::new(path, place, what, hint)));
    }

    fn server(&mut self, config: &Config) {
        let server = &config.server;
        if server.insecure_any_origin && !server.origins.is_empty() {
            let what = "makes server.origins meaningless";
            self.problem("server.insecure_any_origin", what, "leave one of them out");
        }
        if !is_loopback(&server.listen) {
            if server.insecure_any_origin && !server.i_know {
                self.problem(
                    "server.insecure_any_origin",
                    format!(
                        "is refused on {}: other machines can reach it",
                        server.listen
                    ),
                    "list the origins in server.origins, or set server.i_know = true",
                );
            }
            let plain = config.tls.cert.is_none() && !config.tls.self_signed;
            if plain && server.trusted_proxies.is_empty() {
                self.warn(
                    "server.listen",
                    format!("is {}, without TLS: tokens and messages can be read on the way", server.listen),
                    "set tls.cert and tls.key, or name the proxy with TLS in server.trusted_proxies",
                );
            }
        }
        if let Some(root) = &server.static_root {
            match fs::metadata(root) {
                Ok(meta) if meta.is_dir() => {}
                Ok(_) => self.problem(
                    "server.static_root",
                    format!("{root} is no folder"),
                    "name a folder",
                ),
                Err(error) => self.unusable("server.static_root", root, &error),
            }
        }
    }

    fn unusable(&mut self, key: &str, path: &str, error: &std::io::Error) {
        let what = format!("cannot use {path}: {}", plain(error));
        self.problem(key, what, "check the path and who may read it");
    }

    fn tls(&mut self, config: &Config) {
        let tls = &config.tls;
        match (&tls.cert, &tls.key) {
            (Some(_), None) => self.problem("tls.cert", "needs its key", "set tls.key too"),
            (None, Some(_)) => self.problem("tls.key", "needs its certificate", "set tls.cert too"),
            _ => {}
        }
        if tls.self_signed && tls.cert.is_some() {
            self.problem("tls.self_signed", "and tls.cert are both set", "choose one");
        }
        for (key, path) in [("tls.cert", &tls.cert), ("tls.key", &tls.key)] {
            if let Some(path) = path
                && let Err(error) = fs::File::open(path)
            {
                self.unusable(key, path, &error);
            }
        }
        if let Some(path) = &tls.key
            && open_to_others(Path::new(path))
        {
            let hint = format!("keep it to yourself: chmod 600 {path}");
            self.warn("tls.key", format!("others may read {path}"), hint);
        }
    }

    fn sizes(&mut self, config: &Config) {
        let (message, outbox) = (config.websocket.max_message_size, config.outbox.max_bytes);
        if outbox < message {
            self.problem(
                "outbox.max_bytes",
                format!(
                    "is {}, less than websocket.max_message_size ({}): a message could come in and never go out",
                    value::bytes(outbox),
                    value::bytes(message)
                ),
                "make it at least as large",
            );
        }
        let budget = config.limits.memory_budget.bytes();
        if budget < outbox {
            self.problem(
                "limits.memory_budget",
                format!(
                    "is {}, less than one full outbox of outbox.max_bytes ({})",
                    value::bytes(budget),
                    value::bytes(outbox)
                ),
                "allow more memory, or less in one outbox",
            );
        }
    }

    fn tags(&mut self, config: &Config) {
        let mut seen = BTreeSet::new();
        let mut all = None;
        for (index, rule) in config.tags.iter().enumerate() {
            let key = format!("tags[{index}].pattern");
            if rule.pattern.is_empty() {
                self.problem(
                    &key,
                    "is missing",
                    "name tags, such as pattern = \"room:*\"",
                );
            } else if let Some(all) = all {
                let what = format!("is never reached: tags[{all}] holds for every tag");
                self.problem(
                    &key,
                    what,
                    "the first rule that matches holds: put it before",
                );
            } else if !seen.insert(&rule.pattern) {
                let what = format!("'{}' has a rule above", rule.pattern);
                self.problem(
                    &key,
                    what,
                    "the first rule that matches holds: leave one out",
                );
            }
            if rule.pattern == "*" {
                all = all.or(Some(index));
            }
        }
    }

    /// What the room that reads the keys will refuse, as far as it can be told without them.
    fn auth(&mut self, auth: &AuthSettings) {
        if auth.mode == Mode::None {
            return;
        }
        let algorithm = auth.algorithm;
        let public = [
            ("auth.public_key_file", auth.public_key_file.is_some()),
            ("auth.jwks_file", auth.jwks_file.is_some()),
            ("auth.jwks_url", auth.jwks_url.is_some()),
        ];
        let set: Vec<_> = public
            .iter()
            .filter(|(_, set)| *set)
            .map(|(key, _)| *key)
            .collect();
        if algorithm.family() != AlgorithmFamily::Hmac {
            if auth.secret.is_some() {
                let what = format!("is set, and {algorithm:?} has no secret");
                self.problem("auth.secret", what, "leave it out, or choose HS256");
            }
            if set.len() != 1 {
                let what = format!(
                    "is {algorithm:?} and needs one source of public keys, not {}",
                    set.len()
                );
                let hint = "set one of auth.public_key_file, auth.jwks_file and auth.jwks_url";
                self.problem("auth.algorithm", what, hint);
            }
            return;
        }
        for (key, secret) in [
            ("auth.secret", &auth.secret),
            ("auth.previous_secret", &auth.previous_secret),
        ] {
            // One that is too short has been told of.
            let long = |secret: &&Secret| secret.expose().len() >= keys::MIN_SECRET;
            if let Some(weak) = secret.as_ref().filter(long).and_then(keys::weakness) {
                let what = format!("{weak}: whoever guesses it can be every user");
                self.problem(key, what, "make one with: antiphon token secret");
            }
        }
        for key in set {
            let what = format!("is set, and {algorithm:?} has no public key");
            self.problem(
                key,
                what,
                "name the algorithm of the key, such as RS256, ES256 or EdDSA",
            );
        }
        for (key, secret) in [
            ("auth.secret", &auth.secret),
            ("auth.previous_secret", &auth.previous_secret),
        ] {
            if secret
                .as_ref()
                .is_some_and(|secret| secret.expose().len() < MIN_SECRET)
            {
                let what = format!(
                    "is shorter than {MIN_SECRET} bytes: whoever guesses it can be every user"
                );
                self.problem(key, what, "make one with: openssl rand -hex 32");
            }
        }
        if auth.secret.is_none() {
            let what = format!("needs auth.secret for {algorithm:?}: there is none by default");
            self.problem("auth.mode", what, "make one with: openssl rand -hex 32");
        }
    }

    fn api_keys(&mut self, keys: &[ApiKey]) {
        let (mut names, mut hashes) = (BTreeSet::new(), BTreeSet::new());
        for (index, key) in keys.iter().enumerate() {
            let path = |name| format!("api.keys[{index}].{name}");
            if key.name.is_empty() {
                self.problem(&path("name"), "is missing", "say whose key it is");
            } else if !names.insert(&key.name) {
                let what = format!("'{}' is the name of another key", key.name);
                self.problem(&path("name"), what, "each needs a name of its own");
            }
            let hash = key.hash.to_ascii_lowercase();
            if hash.is_empty() {
                let hint = "make it with: printf %s KEY | sha256sum";
                self.problem(&path("hash"), "is missing", hint);
            } else if hash.len() != 64 || !hash.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                // It may be the key itself, so it is not repeated here.
                let what = "is no SHA-256: that has 64 hexadecimal digits";
                self.problem(
                    &path("hash"),
                    what,
                    "make it with: printf %s KEY | sha256sum",
                );
            } else if hash == EMPTY {
                let hint = "make a key with: openssl rand -hex 32";
                self.problem(&path("hash"), "is the hash of an empty key", hint);
            } else if !hashes.insert(hash) {
                self.problem(
                    &path("hash"),
                    "is that of another key",
                    "each needs a key of its own",
                );
            }
            if key.scopes.is_empty() {
                let hint = "leave scopes out for all, or list some";
                self.problem(&path("scopes"), "allow nothing", hint);
            }
        }
    }

    fn tokens(&mut self, config: &Config) {
        for (key, token) in [
            ("admin.token", &config.admin.token),
            ("metrics.token", &config.metrics.token),
        ] {
            if token
                .as_ref()
                .is_some_and(|token| token.expose().len() < MIN_TOKEN)
            {
                let what = format!("is shorter than {MIN_TOKEN} characters");
                self.problem(key, what, "make one with: openssl rand -hex 32");
            }
        }
        if config.admin.listen.is_some() && config.admin.token.is_none() {
            let hint = "set admin.token or admin.token_file";
            self.problem(
                "admin.listen",
                "needs a token: there is none by default",
                hint,
            );
        }
        let admin = &config.admin;
        if admin.tls && config.tls.cert.is_none() && !config.tls.self_signed {
            let hint = "set tls.cert and tls.key, or leave it out";
            self.problem("admin.tls", "needs the certificate of [tls]", hint);
        }
        if let Some(listen) = &admin.listen
            && !admin.tls
            && !is_loopback(listen)
        {
            self.warn(
                "admin.listen",
                format!("is {listen}, which other machines can reach, and speaks no TLS"),
                "listen on 127.0.0.1 behind a proxy that does, or set admin.tls",
            );
        }
        let open = |token: &Option<Secret>| token.is_none();
        let endpoint = config.traces.endpoint.as_deref().unwrap_or_default();
        if let Err(error) = endpoint.parse::<Endpoint>()
            && !endpoint.is_empty()
        {
            self.problem("traces.endpoint", error, "see docs/metrics.md, Traces");
        }
        if let Some(listen) = &config.metrics.listen
            && open(&config.metrics.token)
            && !is_loopback(listen)
        {
            self.problem(
                "metrics.listen",
                format!("is {listen}, which other machines can reach, and needs a token"),
                "set metrics.token or metrics.token_file, or listen on 127.0.0.1",
            );
        }
    }

    /// Two of ours on one port: the same address is shared, unless it is the server's.
    fn addresses(&mut self, config: &Config) {
        let mut taken: BTreeMap<u16, (&str, &str)> = BTreeMap::new();
        let own = [
            ("server.listen", Some(&*config.server.listen)),
            ("api.listen", config.api.listen.as_deref()),
            ("admin.listen", config.admin.address()),
            ("metrics.listen", config.metrics.listen.as_deref()),
        ];
        for (key, address) in own {
            let Some(address) = address else { continue };
            let Some((host, port)) = address.rsplit_once(':') else {
                continue;
            };
            let Ok(port @ 1..) = port.parse::<u16>() else {
                continue;
            };
            let Some((other, other_host)) = taken.get(&port).copied() else {
                taken.insert(port, (key, host));
                continue;
            };
            // The admin page shares its address with nobody.
            let is_admin = [key, other].contains(&"admin.listen");
            if host == other_host && other != "server.listen" && !is_admin {
                continue;
            }
            let overlap = host == other_host || is_all(host) || is_all(other_host);
            if overlap && other == "server.listen" && key != "admin.listen" {
                let what = format!("is {address}, where server.listen is already");
                self.problem(
                    key,
                    what,
                    "leave it out to share the port, or choose another",
                );
            } else if overlap {
                let what = format!("is {address}, where {other} is already");
                self.problem(key, what, "choose another port");
            }
        }
    }

    /// Paths on the server's own address.
    fn paths(&mut self, config: &Config) {
        let mut taken: Vec<(&str, &str)> = vec![("server.path", &config.server.path)];
        taken.push(("health.live", &config.health.live));
        taken.push(("health.ready", &config.health.ready));
        if let Some(client) = &config.server.client {
            taken.push(("server.client", client));
        }
        if config.metrics.listen.is_none() && config.metrics.token.is_some() {
            taken.push(("metrics.path", &config.metrics.path));
        }
        if config.api.hotgo {
            taken.push(("api.hotgo", "/admin/monitor/userOnlineList"));
            taken.push(("api.hotgo", "/admin/monitor/userOffline"));
        }
        for (index, (key, path)) in taken.iter().enumerate() {
            if let Some((other, _)) = taken[..index].iter().find(|(_, other)| other == path) {
                let what = format!("is {path}, where {other} is already");
                self.problem(key, what, "choose another path");
            }
            let api = config.api.path.trim_end_matches('/');
            let below = path
                .strip_prefix(api)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            if !config.api.keys.is_empty() && config.api.listen.is_none() && below {
                let what = format!("is {path}, below api.path ({})", config.api.path);
                self.problem(key, what, "choose another path, or another api.path");
            }
        }
    }
}

fn is_all(host: &str) -> bool {
    matches!(host, "0.0.0.0" | "[::]")
}

/// Whether nobody outside of this machine can reach an address.
pub(crate) fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
