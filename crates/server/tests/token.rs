//! `antiphon token`: what it prints, where, and how it ends.

mod support;

use std::{
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use support::{Outcome, Scratch, antiphon};

const SECRET: &str = "canary-x8Hq2LmZ0rTn5VbYc3Kd7PwS1";

/// Runs `antiphon token ARGS...` with a secret in its environment.
fn token(secret: Option<&str>, args: &[&str], stdin: &str) -> Outcome {
    let mut command: Command = antiphon(["token"]);
    command.args(args);
    if let Some(secret) = secret {
        command.env("ANTIPHON_AUTH_SECRET", secret);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut pipe = child.stdin.take().expect("stdin is piped");
    // A command that does not read its input is no failure of the test.
    let _ = pipe.write_all(stdin.as_bytes());
    drop(pipe);
    let output = child.wait_with_output().expect("the binary ends");
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn good(secret: Option<&str>, args: &[&str], stdin: &str) -> String {
    let outcome = token(secret, args, stdin);
    assert_eq!(outcome.code, Some(0), "{args:?}: {}", outcome.stderr);
    assert!(
        outcome.stderr.is_empty(),
        "{args:?}: stderr is for what is wrong: {}",
        outcome.stderr
    );
    outcome.stdout
}

fn bad(secret: Option<&str>, args: &[&str], stdin: &str, code: i32, words: &str) {
    let outcome = token(secret, args, stdin);
    assert_eq!(outcome.code, Some(code), "{args:?}: {}", outcome.stderr);
    assert!(
        outcome.stderr.contains(words) && outcome.stderr.contains("; "),
        "{args:?}: no '{words}' in: {}",
        outcome.stderr
    );
    assert!(!outcome.stderr.contains("canary"), "{}", outcome.stderr);
}

#[test]
fn a_new_token_is_signed_with_what_the_servers_configuration_says() {
    for (text, refusal) in [
        (
            format!("auth.mode = \"jwt\"\nauth.algorithm = \"HS384\"\nauth.secret = \"{SECRET}\""),
            None,
        ),
        (String::new(), Some("takes no tokens of this kind")),
        (
            format!("auth.mode = \"hotgo\"\nauth.secret = \"{SECRET}\""),
            Some("takes no tokens of this kind"),
        ),
        (
            "auth.mod = \"jwt\"".to_owned(),
            Some("the configuration has 1 problem"),
        ),
    ] {
        let file = Scratch::new("config", text.as_bytes());
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o600))
            .expect("the file is ours");
        let args = ["new", "--user", "42", "--config", file.path()];
        match refusal {
            Some(words) => bad(None, &args, "", 1, words),
            None => {
                let made = good(None, &args, "");
                good(Some(SECRET), &["check", "--algorithm", "HS384"], &made);
            }
        }
    }
}

#[test]
fn a_new_token_is_alone_on_stdout_and_passes_the_check() {
    let secret = good(None, &["secret"], "");
    let secret = secret.trim_end();
    assert_eq!(secret.len(), 43);
    let made = good(
        Some(secret),
        &[
            "new",
            "--user",
            "42",
            "--ttl",
            "10m",
            "--tag",
            "news",
            "--info",
            r#"{"name":"Ann"}"#,
            "--permission",
            "join=room:*",
            "--permission",
            "join=hall",
            "--app",
            "shop",
        ],
        "",
    );
    assert_eq!(made.lines().count(), 1);
    assert_eq!(made.matches('.').count(), 2);
    let told = good(Some(secret), &["check", "-"], &made);
    for words in [
        "valid\nuser      42\n",
        "ends in   ",
        r#"tags      ["news"]"#,
        r#"{"join":["room:*","hall"]}"#,
    ] {
        assert!(told.contains(words), "no '{words}' in: {told}");
    }
    let json = good(Some(secret), &["check", "--json"], &made);
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(json["valid"], true);
    assert_eq!(json["claims"]["sub"], "42");
    assert_eq!(json["claims"]["info"]["name"], "Ann");
    let life = json["claims"]["exp"]
        .as_u64()
        .zip(json["claims"]["iat"].as_u64());
    assert_eq!(life.map(|(exp, iat)| exp - iat), Some(600));
}

#[test]
fn a_token_that_is_not_valid_says_why() {
    let made = good(Some(SECRET), &["new", "--user", "42"], "");
    let other = "other-0f6c0d0c5b1d4f0e9b7a3c2d1e8f";
    bad(Some(other), &["check", "-"], &made, 3, "signature");
    let old = good(Some(SECRET), &["new", "--user", "42", "--ttl", "0s"], "");
    bad(
        Some(SECRET),
        &["check", "--leeway", "0s", "-"],
        &old,
        3,
        "expired",
    );
    bad(
        Some(SECRET),
        &["check", "-", "--audience", "x"],
        &made,
        3,
        "audience",
    );
    bad(
        Some(SECRET),
        &["check", "-", "-a", "HS512"],
        &made,
        3,
        "algorithm",
    );
    bad(Some(SECRET), &["check", "-"], "", 3, "no token");
    bad(Some(SECRET), &["check", "-"], "x", 3, "malformed");
    let outcome = token(Some(SECRET), &["check", "--json", "-"], "x");
    assert_eq!(outcome.code, Some(3));
    assert!(
        outcome
            .stdout
            .starts_with(r#"{"valid":false,"reason":"token_malformed""#)
    );
}

#[test]
fn keys_that_cannot_be_used_are_named() {
    let weak = Scratch::new("weak-secret", b"hotgo123\n");
    for (secret, args, code, words) in [
        (None, &["new", "--user", "1"][..], 1, "there is no key"),
        (None, &["check", "x"], 1, "there is no key"),
        (Some("hotgo123"), &["new", "--user", "1"], 1, "well-known"),
        (
            Some("hotgo123hotgo123hotgo123hotgo123"),
            &["check", "x"],
            1,
            "well-known",
        ),
        (
            Some("x8Hq2LmZ0rTn5"),
            &["new", "--user", "1"],
            1,
            "shorter than 32",
        ),
        (
            None,
            &["new", "--user", "1", "--secret-file", weak.path()],
            1,
            "well-known",
        ),
        (
            None,
            &["new", "--user", "1", "--secret-file", "/no/such/file"],
            1,
            "/no/such/file",
        ),
        (
            None,
            &["new", "--user", "1", "--key", weak.path()],
            1,
            "no private key",
        ),
        (
            None,
            &["check", "x", "--key", weak.path()],
            1,
            "no public key",
        ),
        (
            Some(SECRET),
            &["new", "--user", "1", "-a", "EdDSA"],
            2,
            "private key",
        ),
        (
            None,
            &["new", "--user", "1", "-a", "none"],
            2,
            "no such algorithm",
        ),
        (
            None,
            &["new", "--user", "1", "--permission", "all=x"],
            2,
            "PATTERN",
        ),
        (None, &["new", "--user", "1", "--info", "{"], 2, "no JSON"),
        (
            None,
            &["keygen", "-a", "HS256", "--out", "x"],
            2,
            "has a secret",
        ),
    ] {
        bad(secret, args, "", code, words);
    }
}

#[test]
fn pairs_of_keys_sign_and_check() {
    for (index, algorithm) in ["EdDSA", "ES256", "ES384", "RS256"].into_iter().enumerate() {
        let mark = Scratch::new("keys", b"");
        let folder = format!("{}-{index}.d", mark.path());
        good(None, &["keygen", "-a", algorithm, "--out", &folder], "");
        let (private, public) = (
            format!("{folder}/private.pem"),
            format!("{folder}/public.pem"),
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&private)
                .expect("it is there")
                .permissions();
            assert_eq!(mode.mode() & 0o777, 0o600);
        }
        let made = good(None, &["new", "--user", "42", "--key", &private], "");
        good(None, &["check", "--key", &public, "-"], &made);
        // The public key is no secret, and no other key checks the token.
        bad(Some(SECRET), &["check", "-"], &made, 3, "another algorithm");
        bad(
            None,
            &["keygen", "-a", algorithm, "--out", &folder],
            "",
            1,
            "there already",
        );
        std::fs::remove_dir_all(&folder).expect("it can be removed");
    }
}

#[test]
fn secrets_are_no_arguments() {
    for args in [
        &["new", "--user", "1", "--secret", SECRET][..],
        &["check", "x", "--secret", SECRET],
    ] {
        let outcome = token(None, args, "");
        assert_eq!(outcome.code, Some(2), "{args:?}");
    }
}
