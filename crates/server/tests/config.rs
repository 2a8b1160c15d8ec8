//! `antiphon config` as people and programs use it.

mod support;

use support::{Outcome, Scratch, antiphon, run};

/// Runs with these variables.
fn run_with(args: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let output = antiphon(args)
        .envs(variables.iter().copied())
        .output()
        .expect("the binary runs");
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn a_new_file_is_complete_private_and_good() {
    let file = Scratch::new("init.toml", b"precious");
    let outcome = run(["config", "init", file.path()], b"");
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("exists; "), "{}", outcome.stderr);
    let kept = std::fs::read(&file.0).expect("it is still there");
    assert_eq!(kept, b"precious", "nothing is overwritten unasked");

    let outcome = run(["config", "init", file.path(), "--force"], b"");
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&file.0)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let outcome = run(["config", "check", file.path()], b"");
    assert_eq!(
        (outcome.code, outcome.stderr.as_str()),
        (Some(0), ""),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stdout.ends_with(" is good\n"), "{}", outcome.stdout);
    let outcome = run(["config", "init", "/no/such/folder/x.toml"], b"");
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stderr.contains("no such file"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn every_new_file_has_secrets_of_its_own() {
    let (a, b) = (Scratch::new("a.toml", b""), Scratch::new("b.toml", b""));
    for file in [&a, &b] {
        let outcome = run(["config", "init", file.path(), "--force"], b"");
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    }
    let secret = |file: &Scratch| -> String {
        let text = std::fs::read_to_string(&file.0).expect("it is there");
        let line = text.lines().find(|line| line.starts_with("secret = "));
        line.expect("a secret is set").to_owned()
    };
    assert_ne!(secret(&a), secret(&b));
    let hidden = run(["config", "print", "--config", a.path()], b"");
    assert!(
        hidden.stdout.contains("secret = \"***\""),
        "{}",
        hidden.stdout
    );
    let bare = secret(&a).replace("secret = ", "").replace('"', "");
    assert!(!hidden.stdout.contains(&bare));
}

#[test]
fn every_problem_has_its_line_and_the_exit_code_is_1() {
    let file = Scratch::new(
        "bad.toml",
        b"[server]\nlisen = \"1\"\n[outbox]\noverflow = \"dorp\"\n",
    );
    let outcome = run_with(
        &["config", "check", file.path(), "--set", "limits.inbox=none"],
        &[("ANTIPHON_SERVER__DRAIN", "soon")],
    );
    assert_eq!(outcome.code, Some(1));
    let name = file.path();
    let expected = [
        format!("{name}:2:1: server.lisen: unknown key; did you mean server.listen?"),
        format!("{name}:4:1: outbox.overflow: 'dorp' is unknown; did you mean \"drop\"?"),
        "ANTIPHON_SERVER__DRAIN: server.drain: 'soon' cannot be used;".into(),
        "--set limits.inbox: limits.inbox: 'none' does not fit;".into(),
        "antiphon: error: the configuration has 4 problems; ".into(),
    ];
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{}", outcome.stderr);
    for (line, expected) in lines.iter().zip(&expected) {
        assert!(line.starts_with(expected.as_str()), "{line}");
    }
    assert!(outcome.stdout.is_empty(), "{}", outcome.stdout);
}

#[test]
fn programs_read_json() {
    let file = Scratch::new("bad.toml", b"[server]\n\n lisen = \"1\"\n");
    let outcome = run(["config", "check", file.path(), "--json"], b"");
    assert_eq!(outcome.code, Some(1));
    let answer: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("it is JSON");
    assert_eq!(answer["ok"], false);
    let problem = &answer["problems"][0];
    assert_eq!(
        (&problem["line"], &problem["column"]),
        (&3.into(), &2.into())
    );
    assert_eq!(problem["key"], "server.lisen");

    let outcome = run_with(
        &["config", "print", "--json"],
        &[("ANTIPHON_SERVER__LISTEN", "9")],
    );
    let answer: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("it is JSON");
    assert_eq!(answer["values"]["server.listen"], "127.0.0.1:9");
    assert_eq!(
        answer["sources"]["server.listen"],
        "ANTIPHON_SERVER__LISTEN"
    );
}

#[test]
fn only_a_file_that_was_named_is_read() {
    let folder = std::env::temp_dir().join(format!("antiphon-config-cwd-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let path = folder.join("antiphon.toml");
    std::fs::write(&path, "[server]\nlisten = \"7\"\n").expect("it can be written");
    for (args, variable, expected) in [
        (
            &["config", "print"][..],
            None,
            "listen = \"127.0.0.1:8199\"\n",
        ),
        (
            &["config", "print", "--config", "antiphon.toml"],
            None,
            "listen = \"127.0.0.1:7\" # antiphon.toml:2:1\n",
        ),
        (
            &["config", "print"],
            Some("antiphon.toml"),
            "listen = \"127.0.0.1:7\" # antiphon.toml:2:1\n",
        ),
        (
            &["config", "print", "--defaults"],
            Some("antiphon.toml"),
            "listen = \"127.0.0.1:8199\"\n",
        ),
    ] {
        let mut command = antiphon(args);
        command
            .current_dir(&folder)
            .envs(variable.map(|file| ("ANTIPHON_CONFIG", file)));
        let output = command.output().expect("the binary runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(expected), "{args:?} {variable:?}: {text}");
    }
    std::fs::remove_dir_all(&folder).expect("it can be removed");
}

#[test]
fn a_canary_among_the_secrets_is_never_printed() {
    let text = "[metrics]\ntoken = \"canary-canary-canary\"\n[admin]\ntoken = \"canary\"\nlisten = \"1\"\n";
    let file = Scratch::new("canary.toml", text.as_bytes());
    let variables = [(
        "ANTIPHON_AUTH__SECRET",
        "canary-of-thirty-two-characters-or-more",
    )];
    for args in [
        &["config", "check", file.path()][..],
        &["config", "check", file.path(), "--json"],
        &["config", "print", "--config", file.path()],
        &[
            "config",
            "print",
            "--json",
            "--set",
            "admin.token=canary-canary-canary",
        ],
    ] {
        let outcome = run_with(args, &variables);
        for stream in [&outcome.stdout, &outcome.stderr] {
            let stream = stream.replace(file.path(), "");
            assert!(!stream.contains("canary"), "{args:?}: {stream}");
        }
    }
}

#[test]
fn wrong_options_are_explained() {
    for (args, words) in [
        (&["config", "chek"][..], "did you mean 'check'"),
        (&["config", "check", "--set", "server.listen"], "KEY=VALUE"),
        (&["config", "print", "--bogus"], "--bogus"),
    ] {
        let outcome = run(args, b"");
        assert_eq!(outcome.code, Some(2), "{args:?}");
        assert!(
            outcome.stderr.contains(words),
            "{args:?}: {}",
            outcome.stderr
        );
    }
    for args in [
        &["config", "--help"][..],
        &["config", "check", "--help"],
        &["config", "print", "--help"],
        &["config", "init", "--help"],
    ] {
        let outcome = run(args, b"");
        assert_eq!(outcome.code, Some(0), "{args:?}");
        assert!(
            outcome.stdout.contains("xample"),
            "{args:?}: {}",
            outcome.stdout
        );
    }
}
