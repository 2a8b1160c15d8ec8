//! Nothing that opens a door is in the log, on stdout or among the metrics.

use serde_json::json;

use super::{
    backend::Backend,
    site::{Site, V2, client},
    token::{OTHER, claims, now, signed},
};

/// No secret and no token of this test is written without it.
const CANARY: &str = "canaryQz7Wn4";

#[tokio::test]
async fn no_secret_is_ever_written() {
    let secret = |name: &str| format!("{CANARY}-{name}-3Kd7PwS1uJf4GaEx8Hq2LmZ0rTn5VbYc");
    let backend = Backend::start(|question| match &*question.path {
        "/connect" => Some(json!({"result": {}})),
        "/events" => Some(json!({})),
        _ => None,
    })
    .await;
    let at = backend.address;
    let config = format!(
        "drain = \"100ms\"\n\n[auth]\nmode = \"jwt\"\nsecret = \"{}\"\nprevious_secret = \"{}\"\n\
         previous_valid_until = \"2099-01-01T00:00:00Z\"\ncookie = \"sid\"\n\n\
         [hooks]\nsecret = \"{}\"\nforward_headers = [\"cookie\"]\n\
         connect.url = \"http://{at}/connect?key={CANARY}\"\nrpc.url = \"http://{at}/rpc?key={CANARY}\"\n\n\
         [webhooks]\nurl = \"http://{at}/events?key={CANARY}\"\nsecret = \"{}\"\nbatch_delay = \"10ms\"\n\n\
         [admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{}\"\n\n[logs]\nrate = 1000\n",
        secret("auth"),
        secret("previous"),
        secret("hooks"),
        secret("webhooks"),
        secret("admin"),
    );
    let mut site = Site::start_with(&config, &["-vvv"]);
    let header = format!(r#"{{"alg":"HS256","kid":"{CANARY}"}}"#);
    let good = signed(&secret("auth"), &header, &claims("7", json!({})));
    let old = signed(&secret("previous"), &header, &claims("7", json!({})));
    let forged = signed(OTHER, &header, &claims("7", json!({})));
    let expired = signed(
        &secret("auth"),
        &header,
        &claims("7", json!({"exp": now() - 90})),
    );
    let tokens = [&good, &old, &forged, &expired];

    for token in tokens {
        for (query, headers) in [
            (String::new(), format!("Authorization: Bearer {token}\r\n")),
            (format!("?token={token}"), String::new()),
            (format!("?access_token={token}"), String::new()),
            (
                String::new(),
                format!("Sec-WebSocket-Protocol: {V2}, antiphon.token.{token}\r\n"),
            ),
            (String::new(), format!("Cookie: sid={token}\r\n")),
            (format!("?authorization={CANARY}"), String::new()),
            (format!("?ticket={CANARY}"), String::new()),
            (
                format!("?authorization={token}"),
                "Origin: https://evil.example\r\n".into(),
            ),
        ] {
            let answer = site.handshake(&query, &headers).await;
            let said = format!("{}{}", answer.head, answer.body);
            let said_token = token
                .rsplit('.')
                .next()
                .is_some_and(|part| said.contains(&part.to_lowercase()));
            assert!(!said.contains(CANARY) && !said_token, "{said}");
        }
        let mut peer = site.open(&client().subprotocol(V2), "").await;
        let _ = peer.ask("$connect", json!({"token": token})).await;
    }
    let welcomed = async || {
        let v2 = client().subprotocol(V2);
        site.welcomed(&v2.header("authorization", &*good), "").await
    };
    for token in tokens {
        let _ = welcomed()
            .await
            .ask("$refresh", json!({"token": token}))
            .await;
    }
    let mut peer = welcomed().await;
    // The backend fails.
    assert_eq!(peer.code("rpc", json!({})).await, 100);
    // A secret that is no text, one that is too short, and a file that is broken in the middle of one.
    #[cfg(unix)]
    for bad in [
        format!("\n[auth]\nmode = \"jwt\"\nsecret = [\"{CANARY}\"]\n"),
        format!("\n[auth]\nmode = \"jwt\"\nsecret = \"{CANARY}\"\n"),
        format!("\n[auth]\nmode = \"jwt\"\nsecret = \"{CANARY}\n"),
        format!("\n[auth]\nmode = \"jwt\"\nsecret = {CANARY}\n"),
        format!("\n[admin]\ntoken = 7\ntoken = \"{CANARY}\"\n"),
    ] {
        let before = site.log().matches("the old one stays").count();
        site.rewrite(&bad);
        site.signal(rustix::process::Signal::HUP);
        site.logged("the old one stays", before).await;
    }
    let mut said = site.metrics().await;
    #[cfg(unix)]
    {
        site.signal(rustix::process::Signal::TERM);
        assert_eq!(site.ended().await, Some(0), "{}", site.log());
    }
    assert!(
        site.log().contains("TRACE"),
        "the log is at its most talkative"
    );
    said += &site.output();
    for token in tokens {
        for part in token.split('.') {
            assert!(!said.contains(part), "{part} in {}", line_of(&said, part));
        }
    }
    assert!(!said.contains(CANARY), "{}", line_of(&said, CANARY));
}

fn line_of<'a>(text: &'a str, part: &str) -> &'a str {
    text.lines()
        .find(|line| line.contains(part))
        .unwrap_or_default()
}
