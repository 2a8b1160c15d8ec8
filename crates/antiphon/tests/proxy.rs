//! Through proxies: HTTP CONNECT and SOCKS5, with and without credentials, and what a refusal looks like.

mod client_support;

use antiphon::{Client, ErrorKind, Proxy};
use client_support::{check_echo, check_error, field, listen, read_head, serve_echo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

/// What an HTTP proxy answers.
#[derive(Clone, Copy, Debug)]
enum Connect {
    Open,
    /// Opens only to `Basic c2NvdHQ6dGlnZXI=` (scott:tiger).
    Scott,
    Raw(&'static str),
}

/// Takes one connection; gives back the head that the client sent.
async fn http_proxy(listener: TcpListener, behaviour: Connect) -> String {
    let (mut near, _) = listener.accept().await.unwrap();
    let head = read_head(&mut near).await;
    let target = head
        .split(' ')
        .nth(1)
        .unwrap()
        .replace("server.example", "127.0.0.1");
    let refused = match behaviour {
        Connect::Raw(answer) => Some(answer),
        Connect::Scott if field(&head, "proxy-authorization") != Some("Basic c2NvdHQ6dGlnZXI=") => {
            Some(
                "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 4\r\n\r\nwho?",
            )
        }
        _ => None,
    };
    if let Some(answer) = refused {
        near.write_all(answer.as_bytes()).await.unwrap();
        // Reading to the end keeps the answer from being lost in a reset.
        let _ = near.read_to_end(&mut Vec::new()).await;
    } else {
        let mut far = TcpStream::connect(target).await.unwrap();
        near.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
            .await
            .unwrap();
        let _ = copy_bidirectional(&mut near, &mut far).await;
    }
    head
}

/// Takes one connection; gives back the target that the client named. `code` is the reply to CONNECT (0: opened).
async fn socks_proxy(
    listener: TcpListener,
    user: Option<(&'static str, &'static str)>,
    code: u8,
) -> Option<String> {
    let (mut near, _) = listener.accept().await.unwrap();
    assert_eq!(near.read_u8().await.ok()?, 5);
    let mut methods = vec![0; usize::from(near.read_u8().await.ok()?)];
    near.read_exact(&mut methods).await.ok()?;
    let method = if user.is_some() { 2 } else { 0 };
    if !methods.contains(&method) {
        near.write_all(&[5, 0xff]).await.ok()?;
        let _ = near.read_to_end(&mut Vec::new()).await;
        return None;
    }
    near.write_all(&[5, method]).await.ok()?;
    if let Some((name, password)) = user {
        assert_eq!(near.read_u8().await.ok()?, 1);
        let mut given = Vec::new();
        for _ in 0..2 {
            let mut part = vec![0; usize::from(near.read_u8().await.ok()?)];
            near.read_exact(&mut part).await.ok()?;
            given.push(String::from_utf8(part).unwrap());
        }
        let right = given == [name, password];
        near.write_all(&[1, u8::from(!right)]).await.ok()?;
        if !right {
            let _ = near.read_to_end(&mut Vec::new()).await;
            return None;
        }
    }
    let mut request = [0; 4];
    near.read_exact(&mut request).await.ok()?;
    assert_eq!(request[..3], [5, 1, 0]);
    let host = match request[3] {
        1 => {
            let mut address = [0; 4];
            near.read_exact(&mut address).await.ok()?;
            std::net::Ipv4Addr::from(address).to_string()
        }
        3 => {
            let mut name = vec![0; usize::from(near.read_u8().await.ok()?)];
            near.read_exact(&mut name).await.ok()?;
            String::from_utf8(name).unwrap()
        }
        4 => {
            let mut address = [0; 16];
            near.read_exact(&mut address).await.ok()?;
            std::net::Ipv6Addr::from(address).to_string()
        }
        other => panic!("address type {other}"),
    };
    let port = near.read_u16().await.ok()?;
    near.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0])
        .await
        .ok()?;
    if code == 0 {
        let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let _ = copy_bidirectional(&mut near, &mut far).await;
    } else {
        let _ = near.read_to_end(&mut Vec::new()).await;
    }
    Some(host)
}

#[tokio::test]
async fn http_connect_opens_a_tunnel_and_keeps_its_credentials_to_itself() {
    for (credentials, behaviour, expected) in [
        ("", Connect::Open, None),
        (
            "scott:tiger@",
            Connect::Scott,
            Some("Basic c2NvdHQ6dGlnZXI="),
        ),
        (
            "scott:tiger@",
            Connect::Open,
            Some("Basic c2NvdHQ6dGlnZXI="),
        ),
    ] {
        let (server, server_port) = listen().await;
        let (proxy, proxy_port) = listen().await;
        let server =
            tokio::spawn(async move { serve_echo(server.accept().await.unwrap().0).await });
        let proxy = tokio::spawn(http_proxy(proxy, behaviour));
        let client = Client::new()
            .proxy(Proxy::url(format!("http://{credentials}127.0.0.1:{proxy_port}")).unwrap());
        check_echo(
            client
                .connect(format!("ws://server.example:{server_port}/x"))
                .await
                .unwrap(),
        )
        .await;

        let (asked, reached) = (proxy.await.unwrap(), server.await.unwrap());
        assert!(
            asked.starts_with(&format!(
                "CONNECT server.example:{server_port} HTTP/1.1\r\n"
            )),
            "{asked}"
        );
        assert_eq!(
            field(&asked, "host"),
            Some(format!("server.example:{server_port}").as_str())
        );
        assert_eq!(field(&asked, "proxy-authorization"), expected);
        assert!(!asked.to_lowercase().contains("sec-websocket"), "{asked}");
        assert!(!reached.to_lowercase().contains("proxy"), "{reached}");
    }
}

#[tokio::test]
async fn an_http_proxy_that_refuses_is_named_with_its_status() {
    const EXTRA: &str = "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n";
    for (credentials, behaviour, text) in [
        (
            "",
            Connect::Scott,
            "407 Proxy Authentication Required; it wants a user and a password",
        ),
        (
            "scott:lion@",
            Connect::Scott,
            "407 Proxy Authentication Required; check the user and the password",
        ),
        (
            "",
            Connect::Raw("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"),
            "403 Forbidden; it does not allow tunnels",
        ),
        (
            "",
            Connect::Raw("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"),
            "502 Bad Gateway; it could not reach",
        ),
        (
            "",
            Connect::Raw("SSH-2.0-OpenSSH_9.6\r\n"),
            "did not answer as an HTTP proxy",
        ),
        ("", Connect::Raw(EXTRA), "sent data of its own"),
    ] {
        let (proxy, port) = listen().await;
        let proxy = tokio::spawn(http_proxy(proxy, behaviour));
        let client = Client::new()
            .proxy(Proxy::url(format!("http://{credentials}127.0.0.1:{port}")).unwrap());
        let result = client.connect("ws://server.example/").await;
        let row = format!("{credentials} {behaviour:?}");
        let error = result
            .as_ref()
            .err()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(
            error.contains(&format!("http://127.0.0.1:{port}")),
            "{row}: {error}"
        );
        assert!(!error.contains("lion"), "{row}: {error}");
        check_error(result, &ErrorKind::Proxy, text, &row);
        proxy.await.unwrap();
    }
}

#[tokio::test]
async fn socks5_opens_a_tunnel() {
    let scott = Some(("scott", "tiger"));
    for (scheme, credentials, user, host, named) in [
        ("socks5h", "", None, "server.example", "server.example"),
        (
            "socks5h",
            "scott:tiger@",
            scott,
            "server.example",
            "server.example",
        ),
        ("socks5h", "", None, "127.0.0.1", "127.0.0.1"),
        ("socks5", "scott:tiger@", scott, "127.0.0.1", "127.0.0.1"),
    ] {
        let (server, server_port) = listen().await;
        let (proxy, proxy_port) = listen().await;
        let server =
            tokio::spawn(async move { serve_echo(server.accept().await.unwrap().0).await });
        let proxy = tokio::spawn(socks_proxy(proxy, user, 0));
        let client = Client::new()
            .proxy(Proxy::url(format!("{scheme}://{credentials}127.0.0.1:{proxy_port}")).unwrap());
        check_echo(
            client
                .connect(format!("ws://{host}:{server_port}/"))
                .await
                .unwrap(),
        )
        .await;
        assert_eq!(
            proxy.await.unwrap().as_deref(),
            Some(named),
            "{scheme} {host}"
        );
        assert!(!server.await.unwrap().to_lowercase().contains("proxy"));
    }
}

#[tokio::test]
async fn socks5_without_remote_dns_resolves_here() {
    let (server, server_port) = listen().await;
    let (proxy, proxy_port) = listen().await;
    let server = tokio::spawn(async move { serve_echo(server.accept().await.unwrap().0).await });
    let proxy = tokio::spawn(socks_proxy(proxy, None, 0));
    let client =
        Client::new().proxy(Proxy::url(format!("socks5://127.0.0.1:{proxy_port}")).unwrap());
    check_echo(
        client
            .connect(format!("ws://localhost:{server_port}/"))
            .await
            .unwrap(),
    )
    .await;
    let named = proxy.await.unwrap().unwrap();
    assert!(
        named
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        "{named}"
    );
    server.await.unwrap();
}

#[tokio::test]
async fn a_socks_proxy_that_refuses_says_why() {
    let scott = Some(("scott", "tiger"));
    for (credentials, user, code, text) in [
        ("", scott, 0, "does not support user/pass"),
        ("scott:lion@", scott, 0, "credentials not accepted"),
        ("", None, 2, "not allowed"),
        ("", None, 5, "refused"),
    ] {
        let (proxy, port) = listen().await;
        let proxy = tokio::spawn(socks_proxy(proxy, user, code));
        let client = Client::new()
            .proxy(Proxy::url(format!("socks5h://{credentials}127.0.0.1:{port}")).unwrap());
        let result = client.connect("ws://server.example/").await;
        let error = result
            .as_ref()
            .err()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(
            error.contains(&format!("socks5h://127.0.0.1:{port}")) && !error.contains("lion"),
            "{error}"
        );
        check_error(
            result,
            &ErrorKind::Proxy,
            text,
            &format!("{credentials} {code}"),
        );
        proxy.await.unwrap();
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let (gone, port) = listen().await;
    drop(gone);
    let client = Client::new().proxy(Proxy::url(format!("http://127.0.0.1:{port}")).unwrap());
    let text = format!("the proxy http://127.0.0.1:{port} cannot be reached");
    check_error(
        client.connect("ws://server.example/").await,
        &ErrorKind::Proxy,
        &text,
        "gone",
    );
}

#[tokio::test]
async fn exceptions_are_reached_directly() {
    let (server, port) = listen().await;
    let server = tokio::spawn(async move { serve_echo(server.accept().await.unwrap().0).await });
    // Nothing listens at the proxy's address.
    let proxy = Proxy::url("http://127.0.0.1:1")
        .unwrap()
        .except("127.0.0.0/8");
    check_echo(
        Client::new()
            .proxy(proxy)
            .connect(format!("ws://127.0.0.1:{port}/"))
            .await
            .unwrap(),
    )
    .await;
    server.await.unwrap();
}

/// Run by the test below in a process of its own, because an environment belongs to a whole process.
#[tokio::test]
#[ignore = "needs the environment that the_environment_names_the_proxy gives it"]
async fn connect_as_the_environment_says() {
    let url = std::env::var("ANTIPHON_TEST_URL").expect("a URL");
    check_echo(Client::new().connect(url).await.unwrap()).await;
}

#[tokio::test]
async fn the_environment_names_the_proxy() {
    for (variable, no_proxy, host, proxied) in [
        ("HTTP_PROXY", "", "server.example", true),
        ("http_proxy", "", "server.example", true),
        ("ALL_PROXY", "", "server.example", true),
        ("HTTP_PROXY", "", "127.0.0.1", false),
        ("HTTP_PROXY", "localhost", "localhost", false),
        ("HTTPS_PROXY", "", "127.0.0.1", false),
    ] {
        let (server, server_port) = listen().await;
        let (proxy, proxy_port) = listen().await;
        let server =
            tokio::spawn(async move { serve_echo(server.accept().await.unwrap().0).await });
        let proxy = tokio::spawn(http_proxy(proxy, Connect::Open));
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
        for other in [
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "NO_PROXY",
            "REQUEST_METHOD",
        ] {
            child.env_remove(other).env_remove(other.to_lowercase());
        }
        let output = child
            .args(["--exact", "connect_as_the_environment_says", "--ignored"])
            .env(variable, format!("http://127.0.0.1:{proxy_port}"))
            .env("NO_PROXY", no_proxy)
            .env("ANTIPHON_TEST_URL", format!("ws://{host}:{server_port}/"))
            .output()
            .await
            .unwrap();
        let row = format!(
            "{variable} {host}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        assert!(output.status.success(), "{row}");
        assert!(row.contains("1 passed"), "{row}");
        server.await.unwrap();
        if proxied {
            assert!(
                proxy.await.unwrap().starts_with("CONNECT server.example:"),
                "{row}"
            );
        } else {
            assert!(!proxy.is_finished(), "{row}");
            proxy.abort();
        }
    }
}
