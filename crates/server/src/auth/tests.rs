//! Credentials, sessions, revocations and tickets together.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_800_000_000;
const SECRET: &str = "x8Hq2LmZ0rTn5VbYc3Kd7PwS1uJf4GaE";

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn context(path: &str) -> Context<'_> {
    Context {
        path,
        app: None,
        now: at(NOW),
    }
}

fn token(claims: &Value) -> Secret {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let message = format!(
        "{}.{}",
        part(r#"{"alg":"HS256","typ":"JWT"}"#),
        part(&claims.to_string())
    );
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    Secret::new(format!("{message}.{signature}"))
}

fn authenticator(mode: Mode, change: impl FnOnce(&mut AuthSettings)) -> Authenticator {
    let mut settings = AuthSettings {
        mode,
        secret: Some(Secret::new(SECRET)),
        ..AuthSettings::default()
    };
    change(&mut settings);
    let defaults = Defaults {
        users: Permissions::all().into(),
        anonymous: Arc::default(),
    };
    Authenticator::new(&settings, defaults, State::new(&settings), None).unwrap()
}

async fn user(
    authenticator: &Authenticator,
    credential: &Credential,
    context: Context<'_>,
) -> Result<Option<String>, &'static str> {
    authenticator
        .authenticate(credential, context)
        .await
        .map(|admitted| admitted.identity.user.map(|user| user.to_string()))
        .map_err(TokenError::reason)
}

fn jwt(more: &Value) -> Credential {
    let mut claims = json!({"sub": "7", "iat": NOW - 10, "exp": NOW + 60});
    for (key, value) in more.as_object().unwrap() {
        claims[key] = value.clone();
    }
    Credential::Token(token(&claims))
}

#[tokio::test]
async fn who_is_let_in() {
    let some = |name: &str| Ok(Some(name.to_owned()));
    let bad = Credential::Token(Secret::new("bad"));
    let good = jwt(&json!({}));
    let none = authenticator(Mode::None, |_| {});
    let strict = authenticator(Mode::Jwt, |settings| {
        settings.except_login = vec!["/public".into()];
    });
    let open = authenticator(Mode::Jwt, |settings| settings.anonymous = true);
    for (authenticator, credential, path, expected) in [
        (&none, &Credential::None, "/", Ok(None)),
        (&none, &bad, "/", Ok(None)),
        (&strict, &good, "/", some("7")),
        (&strict, &bad, "/", Err("token_malformed")),
        (&strict, &Credential::None, "/", Err("token_missing")),
        (&strict, &Credential::None, "/public", Ok(None)),
        (
            &strict,
            &Credential::None,
            "/public/x",
            Err("token_missing"),
        ),
        (&strict, &bad, "/public", Err("token_malformed")),
        (&open, &Credential::None, "/", Ok(None)),
        (&open, &bad, "/", Err("token_malformed")),
        (&open, &good, "/", some("7")),
        (
            &open,
            &Credential::Ticket(Secret::new("x")),
            "/",
            Err("ticket_invalid"),
        ),
    ] {
        assert_eq!(
            user(authenticator, credential, context(path)).await,
            expected,
            "{authenticator:?} {credential:?} {path}"
        );
    }
}

#[tokio::test]
async fn a_token_counts_for_its_application_only() {
    let authenticator = authenticator(Mode::Jwt, |_| {});
    for (claims, app, accepted) in [
        (json!({"app": "a"}), Some("a"), true),
        (json!({"app": "a"}), Some("b"), false),
        (json!({"app": "a"}), None, true),
        (json!({}), Some("a"), true),
    ] {
        let context = Context {
            app,
            ..context("/")
        };
        let found = user(&authenticator, &jwt(&claims), context).await;
        assert_eq!(found.is_ok(), accepted, "{claims} {app:?}");
    }
}

#[tokio::test]
async fn revoked_logins_stay_out() {
    let authenticator = authenticator(Mode::Jwt, |_| {});
    let session = jwt(&json!({"jti": "s"}));
    let other = jwt(&json!({"jti": "t"}));
    let newer = jwt(&json!({"jti": "u", "iat": NOW}));
    let revoked = authenticator.state().revocations.clone();
    revoked
        .revoke(Revocation::Session("s".into()), None, at(NOW))
        .unwrap();
    let all = [&session, &other, &newer];
    for (credential, accepted) in all.into_iter().zip([false, true, true]) {
        let found = user(&authenticator, credential, context("/")).await;
        assert_eq!(found.is_ok(), accepted);
    }
    let revocation = Revocation::User {
        user: "7".into(),
        before: at(NOW - 5),
    };
    revoked.revoke(revocation, None, at(NOW)).unwrap();
    for (credential, accepted) in all.into_iter().zip([false, false, true]) {
        let found = user(&authenticator, credential, context("/")).await;
        assert_eq!(found.is_ok(), accepted);
    }
    let Credential::Token(token) = &newer else {
        unreachable!()
    };
    authenticator.logout(token, at(NOW)).await.unwrap();
    assert_eq!(
        user(&authenticator, &newer, context("/")).await,
        Err("token_revoked")
    );
}

#[tokio::test(start_paused = true)]
async fn tickets_bring_their_client_once() {
    let authenticator = authenticator(Mode::Jwt, |_| {});
    let identity = Identity::user("9", Arc::default());
    let ticket = authenticator.ticket(identity.clone()).unwrap();
    let credential = Credential::Ticket(ticket);
    for expected in [Ok(Some("9".to_owned())), Err("ticket_invalid")] {
        assert_eq!(
            user(&authenticator, &credential, context("/")).await,
            expected
        );
    }
    let mut expired = identity;
    expired.expires_at = Some(at(NOW));
    let credential = Credential::Ticket(authenticator.ticket(expired).unwrap());
    assert_eq!(
        user(&authenticator, &credential, context("/")).await,
        Err("token_expired")
    );
}

fn hotgo(login: &str) -> Secret {
    token(&json!({"id": 1, "app": "admin", "username": "admin", "loginAt": login}))
}

#[tokio::test]
async fn tokens_of_hotgo_are_adopted_lengthened_and_ended() {
    let authenticator = authenticator(Mode::Hotgo, |_| {});
    // NOW is 2027-01-15 08:00:00.
    let token = hotgo("2027-01-14 08:00:00");
    let credential = Credential::Token(token.clone());
    let admitted = authenticator
        .authenticate(&credential, context("/"))
        .await
        .unwrap();
    assert_eq!(
        admitted.identity.expires_at,
        Some(at(NOW + 6 * 86_400)),
        "counted from the login"
    );
    assert_eq!(
        admitted.identity.session,
        Some(sessions::session_name(&token))
    );
    authenticator.logout(&token, at(NOW)).await.unwrap();
    assert_eq!(
        user(&authenticator, &credential, context("/")).await,
        Err("token_revoked")
    );
    for (login, expected) in [
        ("2027-01-08 08:00:00", Err("token_expired")),
        ("2027-01-15 09:00:00", Err("token_not_yet_valid")),
        ("", Err("token_malformed")),
        ("2027-01-08 08:00:01", Ok(Some("1".to_owned()))),
    ] {
        let credential = Credential::Token(hotgo(login));
        assert_eq!(
            user(&authenticator, &credential, context("/")).await,
            expected,
            "{login}"
        );
    }
}

#[tokio::test]
async fn without_adoption_only_registered_tokens_count() {
    let authenticator = authenticator(Mode::Hotgo, |settings| settings.sessions.adopt = false);
    let token = hotgo("2027-01-15 07:00:00");
    let credential = Credential::Token(token.clone());
    assert_eq!(
        user(&authenticator, &credential, context("/")).await,
        Err("token_revoked")
    );
    authenticator.register(&token, at(NOW)).await.unwrap();
    assert!(
        user(&authenticator, &credential, context("/"))
            .await
            .is_ok()
    );
    let forged = Secret::new(format!("{}x", token.expose()));
    assert!(authenticator.register(&forged, at(NOW)).await.is_err());
}

#[tokio::test]
async fn one_login_for_each_user_closes_the_older_one() {
    let authenticator = authenticator(Mode::Hotgo, |settings| {
        settings.sessions.multi_login = false;
    });
    let (old, new) = (hotgo("2027-01-15 07:00:00"), hotgo("2027-01-15 07:30:00"));
    let first = authenticator
        .authenticate(&Credential::Token(old.clone()), context("/"))
        .await
        .unwrap();
    assert!(first.replaced.is_empty());
    let second = authenticator
        .authenticate(&Credential::Token(new.clone()), context("/"))
        .await
        .unwrap();
    assert_eq!(second.replaced, [sessions::session_name(&old)]);
    let again = user(&authenticator, &Credential::Token(old), context("/")).await;
    assert_eq!(again, Err("token_revoked"));
    assert!(
        user(&authenticator, &Credential::Token(new), context("/"))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn nothing_shows_a_credential() {
    let authenticator = authenticator(Mode::Jwt, |_| {});
    let credential = jwt(&json!({"jti": "canary"}));
    let Credential::Token(token) = &credential else {
        unreachable!()
    };
    let admitted = authenticator
        .authenticate(&credential, context("/"))
        .await
        .unwrap();
    let shown = format!("{authenticator:?} {credential:?} {admitted:?}");
    assert!(!shown.contains(token.expose()) && !shown.contains(SECRET));
    assert!(!shown.contains("canary"), "{shown}");
}
