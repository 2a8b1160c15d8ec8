//! The configuration as a whole: what is refused and in which words, what overrides what, and that nothing drifts.
//! (It is long because each wrong file is a row with the whole of its answer.)

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use antiphon_hub::config::{LoginPolicy, Overflow};
use serde_json::Value;

use crate::config::{
    judge,
    key::Kind,
    load::{Changes, Loaded, Problems, Sources, changes, default, load},
    schema::{Config, SECTIONS},
    show, table, template,
};

/// A file for one test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(text: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("antiphon-config-{}-{number}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        let scratch = Self(path);
        scratch.mode(0o600);
        scratch
    }

    fn mode(&self, mode: u32) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&self.0, fs::Permissions::from_mode(mode)).unwrap();
        }
        #[cfg(not(unix))]
        let _ = mode;
    }

    fn name(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn loaded(text: &str) -> Result<Loaded, Problems> {
    let file = Scratch::new(text);
    load(&Sources {
        file: Some(file.0.clone()),
        ..Sources::default()
    })
}

/// The problems of a file, with `F` for its name.
fn problems(text: &str) -> Vec<String> {
    let file = Scratch::new(text);
    let sources = Sources {
        file: Some(file.0.clone()),
        ..Sources::default()
    };
    match load(&sources) {
        Ok(_) => Vec::new(),
        Err(Problems(problems)) => problems
            .iter()
            .map(|problem| problem.to_string().replace(&file.name(), "F"))
            .collect(),
    }
}

#[test]
fn each_wrong_file_says_what_is_wrong_where_and_what_to_do() {
    for (text, expected) in [
        (
            "[server]\nlisen = \"1\"",
            "F:2:1: server.lisen: unknown key; did you mean server.listen?",
        ),
        (
            "[sever]\nlisten = \"1\"",
            "F:1:2: sever: unknown section; did you mean server?",
        ),
        (
            "listen = \"1\"",
            "F:1:1: listen: unknown section; did you mean server.listen or api.listen or admin.listen or metrics.listen?",
        ),
        (
            "[server]\nlisten = true",
            "F:2:1: server.listen: true does not fit; it takes: HOST:PORT",
        ),
        (
            "[server]\nlisten = \":80\"",
            "F:2:1: server.listen: ':80' cannot be used; the host is missing: write 127.0.0.1:PORT, or 0.0.0.0:PORT for everybody",
        ),
        (
            "[server]\n\n  drain = \"1 day\"",
            "F:3:3: server.drain: '1 day' cannot be used; unknown unit: use ms, s, m or h",
        ),
        (
            "[server]\nhandshake_timeout = 0",
            "F:2:1: server.handshake_timeout: 0 is no time to wait; write it as 10s, 500ms or 2m",
        ),
        (
            "[server]\npath = \"socket\"",
            "F:2:1: server.path: 'socket' is no path of a URL; write it as /name, without ? and #, and without / at the end",
        ),
        (
            "[server]\norigins = [\"https://a.example\", \"b\"]",
            "F:2:1: server.origins: entry 2: 'b' is no origin; write it as https://HOST[:PORT] or https://*.HOST",
        ),
        (
            "server.trusted_proxies = [\"10.0.0.0/99\"]",
            "F:1:8: server.trusted_proxies: entry 1: '10.0.0.0/99' is no network; write it as 10.0.0.0/8 or fd00::/8",
        ),
        (
            "[limits]\ninbox = 0",
            "F:2:1: limits.inbox: 0 is too little; it takes: number, 1 to 65536",
        ),
        (
            "[limits]\ninbox = 99999",
            "F:2:1: limits.inbox: 99999 is too much; it takes: number, 1 to 65536",
        ),
        (
            "[limits]\nhandlers = -1",
            "F:2:1: limits.handlers: -1 is no whole number from 0; it takes: number, 1 to 1000000",
        ),
        (
            "[limits]\nmemory_budget = \"much\"",
            "F:2:1: limits.memory_budget: 'much' cannot be used; not a size: write it as 65536, 64KiB or 16MiB",
        ),
        (
            "[outbox]\noverflow = \"dorp\"",
            "F:2:1: outbox.overflow: 'dorp' is unknown; did you mean \"drop\"? It can be \"disconnect\", \"drop\" or \"latest\"",
        ),
        (
            "[login]\npolicy = \"first\"",
            "F:2:1: login.policy: 'first' is unknown; it can be \"all\", \"newest\", \"oldest\" or \"platform\"",
        ),
        (
            "[[tags]]\npattern = \"a\"\npresense = true",
            "F:3:1: tags[0].presense: unknown key; did you mean tags[0].presence?",
        ),
        (
            "[[tags]]\nnotices = true",
            "F:1:1: tags[0].pattern: is missing; name tags, such as pattern = \"room:*\"",
        ),
        (
            "[[tags]]\npattern = \"*\"\n[[tags]]\npattern = \"a\"",
            "F:4:1: tags[1].pattern: is never reached: tags[0] holds for every tag; the first rule that matches holds: put it before",
        ),
        (
            "[tags]\npattern = \"a\"",
            "F:1:2: tags: is a list of tables, not a table; write [[tags]] and its keys below",
        ),
        (
            "server = 1",
            "F:1:1: server: is a section, not a number; write [server] and its keys below",
        ),
        (
            "[permissions.anonymous]\njoin = \"*\"",
            "F:2:1: permissions.anonymous.join: '*' does not fit; it takes: list of patterns such as [\"a\", \"b\"]",
        ),
        (
            "[permissions.anonymos]\njoin = []",
            "F:1:14: permissions.anonymos: unknown key; did you mean permissions.anonymous?",
        ),
        (
            "[[api.keys]]\nname = \"a\"\nhash = \"secret-key\"",
            "F:3:1: api.keys[0].hash: is no SHA-256: that has 64 hexadecimal digits; make it with: printf %s KEY | sha256sum",
        ),
        (
            "[[api.keys]]\nhash = \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"\nname = \"a\"",
            "F:2:1: api.keys[0].hash: is the hash of an empty key; make a key with: openssl rand -hex 32",
        ),
        (
            "[api]\nkeys_file = \"/no/such\"",
            "F:2:1: api.keys_file: cannot read /no/such: no such file or directory; check the path and who may read it",
        ),
        (
            "[tls]\ncert = \"/dev/null\"",
            "F:2:1: tls.cert: needs its key; set tls.key too",
        ),
        (
            "[tls]\ncert = \"/no/such\"\nkey = \"/dev/null\"",
            "F:2:1: tls.cert: cannot use /no/such: no such file or directory; check the path and who may read it",
        ),
        (
            "[admin]\nlisten = \"8190\"",
            "F:2:1: admin.listen: needs a token: there is none by default; set admin.token or admin.token_file",
        ),
        (
            "[admin]\ntoken = \"0123456789abcdef\"\ntls = true",
            "F:3:1: admin.tls: needs the certificate of [tls]; set tls.cert and tls.key, or leave it out",
        ),
        (
            "[admin]\ntoken = \"0123456789abcdef\"\n[api]\nlisten = \"127.0.0.1:8190\"",
            "admin.listen: is 127.0.0.1:8190, where api.listen is already; choose another port",
        ),
        (
            "[metrics]\ntoken = \"short\"",
            "F:2:1: metrics.token: is shorter than 16 characters; make one with: openssl rand -hex 32",
        ),
        (
            "[metrics]\nlisten = \"0.0.0.0:9000\"",
            "F:2:1: metrics.listen: is 0.0.0.0:9000, which other machines can reach, and needs a token; set metrics.token or metrics.token_file, or listen on 127.0.0.1",
        ),
        (
            "[metrics]\nlisten = \"8199\"",
            "F:2:1: metrics.listen: is 127.0.0.1:8199, where server.listen is already; leave it out to share the port, or choose another",
        ),
        (
            "[health]\nready = \"/socket\"",
            "F:2:1: health.ready: is /socket, where server.path is already; choose another path",
        ),
        (
            "[server]\nclient = \"/socket\"",
            "F:2:1: server.client: is /socket, where server.path is already; choose another path",
        ),
        (
            "[outbox]\nmax_bytes = \"1KiB\"",
            "F:2:1: outbox.max_bytes: is 1.0 KiB, less than websocket.max_message_size (64.0 KiB): a message could come in and never go out; make it at least as large",
        ),
        (
            "[limits]\nmemory_budget = \"1KiB\"",
            "F:2:1: limits.memory_budget: is 1.0 KiB, less than one full outbox of outbox.max_bytes (1.0 MiB); allow more memory, or less in one outbox",
        ),
        (
            "[server]\ninsecure_any_origin = true\nlisten = \"0.0.0.0:80\"",
            "F:2:1: server.insecure_any_origin: is refused on 0.0.0.0:80: other machines can reach it; list the origins in server.origins, or set server.i_know = true",
        ),
        (
            "[logs]\nlevel = \"a=b=c\"",
            "F:2:1: logs.level: 'a=b=c' is no log filter; write it as info, or antiphon=debug,hyper=warn",
        ),
        (
            "[traces]\nendpoint = \"localhost\"",
            "F:2:1: traces.endpoint: is no URL; write it as https://HOST[:PORT]/PATH or http://...",
        ),
        (
            "[hooks]\nsecret = \"canary\"",
            "F:2:1: hooks.secret: the secret is too short: use at least 32 characters at random, such as from `openssl rand -hex 32`",
        ),
        (
            "[hooks]\nforward_headers = [\"Host\"]",
            "F:2:1: hooks.forward_headers: the header field host belongs to each connection alone and cannot be forwarded; docs/configuration.md has every key",
        ),
        (
            "[hooks.connect]\nurl = \"ftp://x\"",
            "F:2:1: hooks.connect.url: is no URL; write it as https://HOST[:PORT]/PATH or http://...",
        ),
        (
            "[auth]\nmode = \"jwt\"",
            "F:2:1: auth.mode: needs auth.secret for HS256: there is none by default; make one with: openssl rand -hex 32",
        ),
        (
            "[auth]\nmode = \"jwt\"\nsecret = \"canary\"",
            "F:3:1: auth.secret: is shorter than 32 bytes: whoever guesses it can be every user; make one with: openssl rand -hex 32",
        ),
        (
            "[auth]\nmode = \"jwt\"\nalgorithm = \"RS256\"",
            "F:3:1: auth.algorithm: is RS256 and needs one source of public keys, not 0; set one of auth.public_key_file, auth.jwks_file and auth.jwks_url",
        ),
        (
            "[auth]\nalgorithm = \"none\"",
            "F:2:1: auth.algorithm: 'none' is unknown; it can be \"HS256\", \"HS384\", \"HS512\", \"RS256\", \"RS384\", \"RS512\", \"PS256\", \"PS384\", \"PS512\", \"ES256\", \"ES384\" or \"EdDSA\"",
        ),
        (
            "[auth]\nprevious_valid_until = \"tomorrow\"",
            "F:2:1: auth.previous_valid_until: not a point in time: write it as 2027-01-31T00:00:00Z",
        ),
        (
            "[auth.sessions]\nmax_refresh_times = -2",
            "F:2:1: auth.sessions.max_refresh_times: -2 does not fit; it takes: number, -1 for no bound",
        ),
        (
            "[broker]\nkind = \"redis\"",
            "F:2:1: broker.kind: 'redis' is unknown; it can be \"memory\"",
        ),
    ] {
        assert_eq!(problems(text), [expected], "{text}");
    }
}

#[test]
fn what_is_not_toml_is_named_by_its_line() {
    for (text, place) in [
        ("[server]\nlisten = ", "F:2:10: not TOML: "),
        ("[server]\nlisten \"x\"", "F:2:"),
        (
            "[server]\nlisten = \"1\"\nlisten = \"2\"",
            "F:3:1: not TOML: duplicate key",
        ),
        ("[server\nlisten = 1", "F:1:8: not TOML: "),
    ] {
        let found = problems(text);
        assert!(
            !found.is_empty() && found[0].starts_with(place),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem_and_not_a_default() {
    for (path, words) in [
        ("/no/such/file", "no such file"),
        ("/", "not a file"),
        ("/dev/zero", "not a file"),
    ] {
        let sources = Sources {
            file: Some(path.into()),
            ..Sources::default()
        };
        let text = load(&sources).unwrap_err().to_string();
        assert!(text.contains(words), "{path}: {text}");
    }
    let long = Scratch::new(&"# long\n".repeat(200_000));
    let binary = Scratch::new("x");
    fs::write(&binary.0, b"\xff\xfe").unwrap();
    for (file, words) in [(&long, "longer than 1 MiB"), (&binary, "not UTF-8")] {
        let sources = Sources {
            file: Some(file.0.clone()),
            ..Sources::default()
        };
        let text = load(&sources).unwrap_err().to_string();
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let file =
        Scratch::new("[server]\nlisen = 1\ndrain = true\n[outbox]\nmax_bytes = \"x\"\n[nothing]\n");
    let mut sources = Sources {
        file: Some(file.0.clone()),
        environment: environment(&[
            ("ANTIPHON_LIMITS__INBX", "1"),
            ("ANTIPHON_TLS__KEY", "/dev/null"),
        ]),
        ..Sources::default()
    };
    sources.flag("websocket.max_fragments", "--max-fragments", "none");
    let Problems(found) = load(&sources).unwrap_err();
    let keys: BTreeSet<&str> = found.iter().map(|problem| problem.path.as_str()).collect();
    let expected = [
        "limits.inbx",
        "nothing",
        "outbox.max_bytes",
        "server.drain",
        "server.lisen",
        "tls.key",
        "websocket.max_fragments",
    ];
    assert_eq!(keys, BTreeSet::from(expected), "{found:#?}");
}

#[test]
fn variables_and_options_name_themselves() {
    for (name, value, expected) in [
        (
            "ANTIPHON_SERVER__LISEN",
            "1",
            "ANTIPHON_SERVER__LISEN: server.lisen: unknown key; did you mean server.listen?",
        ),
        (
            "ANTIPHON_SERVER__DRAIN",
            "soon",
            "ANTIPHON_SERVER__DRAIN: server.drain: 'soon' cannot be used; not a time: write it as 10s, 500ms or 2m",
        ),
        ("ANTIPHON_TAGS", "x", ""),
        (
            "ANTIPHON_API__KEYS",
            "x",
            "ANTIPHON_API__KEYS: api.keys: holds tables, which only the file can have; write it there; see --config",
        ),
        (
            "ANTIPHON_SERVER__",
            "x",
            "ANTIPHON_SERVER__: server.: unknown key",
        ),
    ] {
        let sources = Sources {
            environment: environment(&[(name, value)]),
            ..Sources::default()
        };
        let found = load(&sources)
            .err()
            .map(|problems| problems.to_string())
            .unwrap_or_default();
        assert!(
            found.starts_with(expected) && found.is_empty() == expected.is_empty(),
            "{name}: {found}"
        );
    }
    let mut sources = Sources::default();
    sources.set(&["server.lisen=1".into(), "api.keys=1".into()]);
    assert_eq!(
        load(&sources).unwrap_err().to_string(),
        "--set server.lisen: server.lisen: unknown key; did you mean server.listen?\n\
         --set api.keys: api.keys: holds tables, which only the file can have; write it there; see --config"
    );
}

#[test]
fn the_environment_overrides_the_file_and_options_override_both() {
    let file = Scratch::new(
        "[server]\nlisten = \"1\"\ndrain = \"1s\"\npath = \"/a\"\n[outbox]\nmax_bytes = \"2MiB\"",
    );
    let mut sources = Sources {
        file: Some(file.0.clone()),
        environment: environment(&[
            ("ANTIPHON_SERVER__LISTEN", "2"),
            ("ANTIPHON_SERVER__DRAIN", "2s"),
            ("ANTIPHON_OUTBOX__OVERFLOW", "drop"),
            (
                "ANTIPHON_SERVER__ORIGINS",
                "https://a.example, https://b.example",
            ),
            ("ANTIPHON_PERMISSIONS__ANONYMOUS__JOIN", "news,room:*"),
            ("ANTIPHON_AUTH_SECRET", "0123456789abcdef0123456789abcdef"),
            ("ANTIPHON_LISTEN", "an option of the command, and no key"),
            ("HOME", "/"),
        ]),
        ..Sources::default()
    };
    sources.flag("server.listen", "--listen", "3");
    let config = load(&sources).unwrap().config;
    assert_eq!(config.server.listen, "127.0.0.1:3");
    assert_eq!(config.server.drain, Duration::from_secs(2));
    assert_eq!(config.server.path, "/a");
    assert_eq!(
        config.server.origins,
        ["https://a.example", "https://b.example"]
    );
    assert_eq!(config.outbox.max_bytes, 2 << 20);
    assert_eq!(config.outbox.overflow, Overflow::Drop);
    assert!(config.auth.secret.is_some());
    assert!(config.permissions.anonymous.join.allow("room:1", None));
}

#[test]
fn a_complete_file_is_read() {
    let hash = "a".repeat(64);
    let text = format!(
        "[[tags]]\npattern = \"room:*\"\nnotices = true\noverflow = \"latest\"\n\
         [[tags]]\npattern = \"*\"\npresence = false\n\
         [login]\npolicy = \"platform\"\n\
         [[api.keys]]\nname = \"backend\"\nhash = \"{hash}\"\nscopes = [\"publish\"]\n\
         [permissions]\npublish = [\"user:{{user}}:*\"]\n"
    );
    let config = loaded(&text).unwrap().config;
    assert_eq!(config.tags.len(), 2);
    assert_eq!(config.tags[0].overflow, Some(Overflow::Latest));
    assert!(config.tags[0].presence && !config.tags[1].presence);
    assert_eq!(config.login.policy, LoginPolicy::Platform);
    assert_eq!(config.api.keys[0].scopes, ["publish"]);
    assert!(
        config
            .permissions
            .users()
            .publish
            .allow("user:7:x", Some("7"))
    );
}

#[test]
fn keys_of_the_api_may_stand_in_a_file_of_their_own() {
    let hash = |digit: &str| digit.repeat(64);
    let keys = Scratch::new(&format!("[[keys]]\nname = \"b\"\nhash = \"{}\"", hash("b")));
    let text = format!(
        "[api]\nkeys_file = {:?}\n[[api.keys]]\nname = \"a\"\nhash = \"{}\"",
        keys.name(),
        hash("a")
    );
    let config = loaded(&text).unwrap().config;
    let names: Vec<_> = config
        .api
        .keys
        .iter()
        .map(|key| key.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
    fs::write(
        &keys.0,
        format!("[[keys]]\nname = \"a\"\nhash = \"{}\"\nx = 1", hash("a")),
    )
    .unwrap();
    let found: Vec<_> = problems(&text)
        .iter()
        .map(|line| line.replace(&keys.name(), "K"))
        .collect();
    assert_eq!(
        found,
        [
            "K:2:1: api.keys[1].name: 'a' is the name of another key; each needs a name of its own",
            "K:3:1: api.keys[1].hash: is that of another key; each needs a key of its own",
            "K:4:1: api.keys[0].x: unknown key; there are: name, hash, scopes",
        ]
    );
}

#[cfg(unix)]
#[test]
fn a_secret_comes_from_a_file_that_nobody_else_can_read() {
    let secret = Scratch::new("0123456789abcdef-canary\n");
    let text = format!("[metrics]\ntoken_file = {:?}", secret.name());
    let config = loaded(&text).unwrap().config;
    assert_eq!(
        config.metrics.token.as_ref().map(|token| token.expose()),
        Some("0123456789abcdef-canary")
    );
    for (mode, content, words) in [
        (
            0o644,
            "0123456789abcdef-canary",
            "others may read it; keep it to yourself: chmod 600",
        ),
        (
            0o600,
            "\n",
            "it is empty; make one with: openssl rand -hex 32",
        ),
        (
            0o600,
            "canary",
            "F:2:1: metrics.token: is shorter than 16 characters",
        ),
    ] {
        fs::write(&secret.0, content).unwrap();
        secret.mode(mode);
        let found = problems(&text).join("\n");
        assert!(found.contains(words), "{mode:o}: {found}");
        assert!(!found.contains("canary"), "{found}");
    }
    let both = format!("{text}\ntoken = \"canary-canary-canary\"");
    assert_eq!(
        problems(&both),
        ["F:2:1: metrics.token_file: and metrics.token are both set; choose one"]
    );
}

#[cfg(unix)]
#[test]
fn a_secret_in_a_file_that_others_can_read_is_warned_of() {
    let file = Scratch::new("[metrics]\ntoken = \"canary-canary-canary\"");
    file.mode(0o644);
    let sources = Sources {
        file: Some(file.0.clone()),
        ..Sources::default()
    };
    let warnings = load(&sources).unwrap().warnings;
    let text = warnings
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        text.contains("metrics.token: is a secret in a file that others may read"),
        "{text}"
    );
    assert!(!text.contains("canary"), "{text}");
}

#[test]
fn plain_text_for_everybody_is_warned_of() {
    for (text, warned) in [
        ("[server]\nlisten = \"0.0.0.0:80\"", true),
        (
            "[server]\nlisten = \"0.0.0.0:80\"\n[tls]\nself_signed = true",
            false,
        ),
        (
            "[server]\nlisten = \"0.0.0.0:80\"\ntrusted_proxies = [\"10.0.0.0/8\"]",
            false,
        ),
        ("[server]\nlisten = \"localhost:80\"", false),
        ("[server]\nlisten = \"[::1]:80\"", false),
        (
            "[admin]\nlisten = \"0.0.0.0:80\"\ntoken = \"0123456789abcdef\"",
            true,
        ),
        (
            "[admin]\nlisten = \"0.0.0.0:80\"\ntoken = \"0123456789abcdef\"\ntls = true\n[tls]\nself_signed = true",
            false,
        ),
        ("[admin]\ntoken = \"0123456789abcdef\"", false),
    ] {
        assert_eq!(!loaded(text).unwrap().warnings.is_empty(), warned, "{text}");
    }
}

#[test]
fn ports_may_be_shared_where_both_agree() {
    let admin = "[admin]\ntoken = \"0123456789abcdef\"\nlisten = \"127.0.0.1:9000\"\n";
    for (rest, good) in [
        ("[metrics]\nlisten = \"127.0.0.1:9000\"", false),
        (
            "[metrics]\nlisten = \"127.0.0.1:9001\"\n[api]\nlisten = \"127.0.0.1:9001\"",
            true,
        ),
        (
            "[metrics]\nlisten = \"127.0.0.1:0\"\n[api]\nlisten = \"127.0.0.1:0\"",
            true,
        ),
        ("[api]\nlisten = \"0.0.0.0:9000\"", false),
        ("[server]\nlisten = \"0.0.0.0:9000\"", false),
    ] {
        let found = problems(&format!("{admin}{rest}"));
        assert_eq!(found.is_empty(), good, "{rest}: {found:?}");
    }
}

#[test]
fn no_secret_is_in_what_is_printed_or_debugged() {
    let text = "[metrics]\ntoken = \"canary-canary-canary\"\n[admin]\ntoken = \"canary-canary-canary\"\nlisten = \"1\"\n\
                [traces]\nendpoint = \"https://traces.example/v1?key=canary\"";
    let loaded = loaded(text).unwrap();
    for shown in [
        show::toml(&loaded.said),
        show::json(&loaded.said).to_string(),
        format!("{loaded:?}"),
    ] {
        let shown = shown.replace("https://traces.example/v1?key=canary", "");
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("***"), "{shown}");
    }
}

#[test]
fn what_is_printed_names_its_source_and_is_a_file_again() {
    let file = Scratch::new("[server]\ndrain = \"7s\"\n[[tags]]\npattern = \"a\"\nnotices = true");
    let sources = Sources {
        file: Some(file.0.clone()),
        environment: environment(&[("ANTIPHON_LIMITS__INBOX", "7")]),
        ..Sources::default()
    };
    let loaded = load(&sources).unwrap();
    let shown = show::toml(&loaded.said);
    for line in [
        format!("drain = \"7s\" # {}:2:1", file.name()),
        "inbox = 7 # ANTIPHON_LIMITS__INBOX".into(),
        "path = \"/socket\"".into(),
        "# max_connections is not set".into(),
        format!("[[tags]] # {}:3:3", file.name()),
    ] {
        assert!(
            shown.lines().any(|shown| shown == line),
            "{line} is not in\n{shown}"
        );
    }
    assert_eq!(self::loaded(&shown).unwrap().config, loaded.config);
    let json = show::json(&loaded.said);
    assert_eq!(json["values"]["limits.inbox"], 7);
    assert_eq!(json["values"]["tags"][0]["pattern"], "a");
    assert_eq!(json["sources"]["limits.inbox"], "ANTIPHON_LIMITS__INBOX");
    assert_eq!(json["sources"]["server.path"], Value::Null);
}

#[test]
fn a_reload_tells_what_is_applied_and_what_waits() {
    let old = loaded("[server]\nlisten = \"1\"\n[outbox]\nmax_messages = 5").unwrap();
    let new = "[server]\nlisten = \"2\"\ndrain = \"1s\"\n[outbox]\nmax_messages = 10000\n[[tags]]\npattern = \"a\"";
    let new = loaded(new).unwrap();
    assert_eq!(
        changes(&old, &new),
        Changes {
            applied: vec!["server.drain", "outbox.max_messages", "tags"],
            restart: vec!["server.listen"],
        }
    );
    // A default that is written down is no change.
    let same = loaded("[server]\nlisten = \"1\"\npath = \"/socket\"\n[outbox]\nmax_messages = 5\n")
        .unwrap();
    assert_eq!(changes(&old, &same), Changes::default());
}

/// The names of a struct's fields as serde knows them, by the words with which it refuses another.
fn fields(section: &str) -> BTreeSet<String> {
    let mut text = String::new();
    let (path, list) = match section.strip_suffix("[]") {
        Some(path) => (path, true),
        None => (section, false),
    };
    let wrap = if list { ("[[", "]]") } else { ("[", "]") };
    if !path.is_empty() {
        text = format!("{}{path}{}\n", wrap.0, wrap.1);
    }
    text.push_str("\"no such name\" = 1");
    let error = toml::from_str::<Config>(&text)
        .unwrap_err()
        .message()
        .to_owned();
    let (_, names) = error.split_once(", expected ").expect(&error);
    names
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_table_has_every_field_and_every_field_is_in_the_table() {
    let own = |path: &str| -> BTreeSet<String> {
        table::names(path).into_iter().map(str::to_owned).collect()
    };
    assert_eq!(fields(""), own(""), "sections");
    for section in SECTIONS {
        assert_eq!(fields(section.path), own(section.path), "{}", section.path);
    }
}

#[test]
fn every_default_of_the_table_is_that_of_the_settings() {
    let plain = |key: &&crate::config::key::Key| {
        !key.default.is_empty()
            && !key.path.contains("[]")
            && !matches!(key.kind, Kind::Table | Kind::Tables)
    };
    let mut text = String::new();
    for key in table::keys().filter(plain) {
        text.push_str(&format!("{} = {}\n", key.path, key.default));
    }
    assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config::default());
    for path in ["tags", "api.keys"] {
        let list = table::section(path, "[]").unwrap();
        let entry: Vec<_> = list
            .keys
            .iter()
            .filter(|key| !key.default.is_empty())
            .map(|key| format!("{} = {}", key.name(), key.default))
            .collect();
        let explicit =
            toml::from_str::<Config>(&format!("{path} = [{{ {} }}]", entry.join(", "))).unwrap();
        let implicit = toml::from_str::<Config>(&format!("{path} = [{{}}]")).unwrap();
        assert_eq!(explicit, implicit, "{path}");
    }
}

#[test]
fn every_key_is_documented_and_its_default_is_of_its_kind() {
    let mut seen = BTreeSet::new();
    for key in table::keys() {
        assert!(seen.insert(key.path), "{} is there twice", key.path);
        assert!(
            key.line().ends_with(['.', '?']),
            "{}: {}",
            key.path,
            key.line()
        );
        if !key.default.is_empty() {
            assert!(judge::judge(key.kind, default(key)).is_ok(), "{}", key.path);
        }
    }
}

#[test]
fn the_file_that_init_writes_is_good_and_holds_the_defaults() {
    let text = template::file(&[]);
    assert_eq!(loaded(&text).unwrap().config, Config::default());
    // With every mark of a comment taken away, every key is there and of its kind. Those without a default are examples.
    let with_default = |name: &str, value: &str| {
        table::keys().any(|key| key.name() == name && key.default == value)
    };
    let mut open = String::new();
    for line in text.lines() {
        let line = match line.strip_prefix('#') {
            Some(key) if !key.starts_with(' ') && !key.is_empty() => {
                let (name, value) = key.split_once(" = ").unwrap_or((key, ""));
                if key.starts_with("[[") || !with_default(name, value) {
                    continue;
                }
                key
            }
            _ => line,
        };
        open.push_str(line);
        open.push('\n');
    }
    assert!(open.contains("listen = \"127.0.0.1:8199\""), "{open}");
    for section in SECTIONS
        .iter()
        .filter(|section| !section.path.ends_with("[]"))
    {
        assert!(
            open.contains(&format!("[{}]", section.path)),
            "{}",
            section.path
        );
    }
    for key in table::keys().filter(|key| !matches!(key.kind, Kind::Table | Kind::Tables)) {
        assert!(
            text.contains(&format!("\n#{} = ", key.name())),
            "{}",
            key.path
        );
    }
}

#[test]
fn the_page_of_the_documentation_has_these_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let text = fs::read_to_string(&path).unwrap();
    let (begin, end) = template::MARKS;
    let (before, rest) = text.split_once(begin).expect("the page has its first mark");
    let (table, after) = rest.split_once(end).expect("the page has its last mark");
    let expected = format!("\n{}\n", template::page());
    if std::env::var_os("ANTIPHON_WRITE_DOCS").is_some() {
        fs::write(&path, format!("{before}{begin}{expected}{end}{after}")).unwrap();
    } else {
        assert!(
            table == expected,
            "docs/configuration.md is old: ANTIPHON_WRITE_DOCS=1 cargo test -p antiphon-server --bin antiphon"
        );
    }
}
