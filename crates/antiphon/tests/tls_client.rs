//! `wss`: whom the client believes, what it shows, and what it says when it does not believe.

mod client_support;

use std::{sync::Arc, time::Duration};

use antiphon::{Client, ClientTls, ErrorKind, Proxy};
use client_support::{check_echo, check_error, listen, read_head, serve_echo};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::{RootCertStore, ServerConfig, crypto::aws_lc_rs, server::WebPkiClientVerifier};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// An authority of the test's own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn issue(&self, names: &[&str], until: i32) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>(),
        )
        .unwrap();
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// A TLS acceptor with a certificate of this authority; with `clients`, client certificates of that one are required.
    fn acceptor(
        &self,
        names: &[&str],
        until: i32,
        clients: Option<&Self>,
        alpn: &[&[u8]],
    ) -> TlsAcceptor {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (certificate, key) = self.issue(names, until);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.0.der().clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = builder
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Takes one connection and echoes on it, if TLS gets that far.
async fn serve(acceptor: TlsAcceptor) -> (u16, JoinHandle<()>) {
    let (listener, port) = listen().await;
    let task = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        if let Ok(tls) = acceptor.accept(tcp).await {
            serve_echo(tls).await;
        }
    });
    (port, task)
}

fn client(tls: ClientTls) -> Client {
    Client::new().proxy(Proxy::none()).tls(tls)
}

#[tokio::test]
async fn a_given_root_is_believed_and_so_is_anything_where_asked() {
    let authority = Authority::new("one");
    let file = std::env::temp_dir().join(format!("antiphon-tls-client-{}.pem", std::process::id()));
    std::fs::write(&file, authority.pem()).unwrap();
    for (row, host, names, until, tls) in [
        (
            "root",
            "127.0.0.1",
            "127.0.0.1",
            2050,
            ClientTls::new().root_pem(authority.pem()),
        ),
        (
            "root file",
            "localhost",
            "localhost",
            2050,
            ClientTls::new().root_pem_file(&file),
        ),
        (
            "root file besides the system's",
            "localhost",
            "localhost",
            2050,
            ClientTls::new().root_pem_file(&file).system_roots(),
        ),
        (
            "name",
            "127.0.0.1",
            "a.example",
            2050,
            ClientTls::new()
                .root_pem(authority.pem())
                .server_name("a.example"),
        ),
        (
            "wildcard",
            "127.0.0.1",
            "*.server.example",
            2050,
            ClientTls::new()
                .root_pem(authority.pem())
                .server_name("a.server.example"),
        ),
        (
            "danger: issuer",
            "localhost",
            "localhost",
            2050,
            ClientTls::new().danger_accept_invalid_certificates(),
        ),
        (
            "danger: name",
            "localhost",
            "a.example",
            2050,
            ClientTls::new().danger_accept_invalid_certificates(),
        ),
        (
            "danger: expired",
            "localhost",
            "localhost",
            2001,
            ClientTls::new().danger_accept_invalid_certificates(),
        ),
    ] {
        let (port, server) = serve(authority.acceptor(&[names], until, None, &[b"http/1.1"])).await;
        let socket = client(tls).connect(format!("wss://{host}:{port}/")).await;
        check_echo(socket.unwrap_or_else(|error| panic!("{row}: {error}"))).await;
        server.await.unwrap();
    }
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test]
async fn what_is_not_believed_is_explained() {
    let (authority, other) = (Authority::new("one"), Authority::new("two"));
    let trusting = || ClientTls::new().root_pem(authority.pem());
    for (row, host, names, until, tls, text) in [
        (
            "unknown issuer",
            "localhost",
            "localhost",
            2050,
            ClientTls::new().root_pem(other.pem()),
            "signed by nobody",
        ),
        (
            "wrong given name",
            "localhost",
            "localhost",
            2050,
            trusting().server_name("x.example"),
            "is not for x.example",
        ),
        (
            "wrong name",
            "localhost",
            "a.example",
            2050,
            trusting(),
            "is not for localhost but for a.example;",
        ),
        (
            "wrong address",
            "127.0.0.1",
            "localhost",
            2050,
            trusting(),
            "is not for 127.0.0.1",
        ),
        (
            "wildcard of another depth",
            "localhost",
            "*.server.example",
            2050,
            trusting().server_name("a.b.server.example"),
            "is not for a.b.server.example",
        ),
        (
            "expired",
            "localhost",
            "localhost",
            2001,
            trusting(),
            "has expired",
        ),
    ] {
        let (port, server) = serve(authority.acceptor(&[names], until, None, &[])).await;
        let result = client(tls).connect(format!("wss://{host}:{port}/")).await;
        check_error(result, &ErrorKind::Tls, text, row);
        server.await.unwrap();
    }
}

#[tokio::test]
async fn client_certificates() {
    let (authority, clients) = (Authority::new("one"), Authority::new("two"));
    let (certificate, key) = clients.issue(&["me"], 2050);
    let (stranger, stranger_key) = authority.issue(&["me"], 2050);
    let tls = || ClientTls::new().root_pem(authority.pem());
    for (row, tls, refused) in [
        ("none", tls(), true),
        (
            "of another authority",
            tls().client_certificate(stranger.pem(), stranger_key.serialize_pem()),
            true,
        ),
        (
            "right",
            tls().client_certificate(certificate.pem(), key.serialize_pem()),
            false,
        ),
    ] {
        let (port, server) =
            serve(authority.acceptor(&["localhost"], 2050, Some(&clients), &[])).await;
        let result = client(tls)
            .connect(format!("wss://localhost:{port}/"))
            .await;
        if refused {
            check_error(result, &ErrorKind::Tls, "wants a client certificate", row);
        } else {
            check_echo(result.unwrap_or_else(|error| panic!("{row}: {error}"))).await;
        }
        server.await.unwrap();
    }
}

#[tokio::test]
async fn unusable_settings_are_named() {
    let authority = Authority::new("one");
    let (certificate, _) = authority.issue(&["me"], 2050);
    let (_, other_key) = authority.issue(&["me"], 2050);
    for (tls, text) in [
        (
            ClientTls::new().root_pem_file("/nowhere/ca.pem"),
            "/nowhere/ca.pem",
        ),
        (ClientTls::new().root_pem("nothing"), "holds no certificate"),
        (
            ClientTls::new().client_certificate(certificate.pem(), "nothing"),
            "holds no private key",
        ),
        (
            ClientTls::new().client_certificate(certificate.pem(), other_key.serialize_pem()),
            "cannot be used together",
        ),
    ] {
        let (_listener, port) = listen().await;
        let tls = tls.danger_accept_invalid_certificates();
        check_error(
            client(tls)
                .connect(format!("wss://localhost:{port}/"))
                .await,
            &ErrorKind::Config,
            text,
            text,
        );
    }
}

#[tokio::test]
async fn other_protocols_can_be_offered() {
    let authority = Authority::new("one");
    let tls = || ClientTls::new().root_pem(authority.pem());
    for (row, tls, agrees) in [
        ("offered", tls().alpn(["of-our-own"]), true),
        ("not offered", tls(), false),
    ] {
        let acceptor = authority.acceptor(&["localhost"], 2050, None, &[b"of-our-own"]);
        let (port, server) = serve(acceptor).await;
        let result = client(tls)
            .connect(format!("wss://localhost:{port}/"))
            .await;
        if agrees {
            check_echo(result.unwrap_or_else(|error| panic!("{row}: {error}"))).await;
        } else {
            check_error(
                result,
                &ErrorKind::Tls,
                "none of the offered protocols",
                row,
            );
        }
        server.await.unwrap();
    }
}

/// The deadline names what was waited for. Its time is moved only when the silent side has the first byte in its hands.
#[tokio::test]
async fn the_deadline_covers_the_proxy_and_tls() {
    let authority = Authority::new("one");
    for (url, through_proxy, text) in [
        ("ws://server.example/", true, "waiting for the proxy"),
        ("wss://server.example/", true, "waiting for the proxy"),
        ("wss://127.0.0.1:PORT/", false, "in the TLS handshake"),
        (
            "ws://127.0.0.1:PORT/",
            false,
            "waiting for the server's answer",
        ),
    ] {
        let (listener, port) = listen().await;
        let proxy = match through_proxy {
            true => Proxy::url(format!("http://127.0.0.1:{port}")).unwrap(),
            false => Proxy::none(),
        };
        let client = Client::new()
            .proxy(proxy)
            .tls(ClientTls::new().root_pem(authority.pem()));
        let url = url.replace("PORT", &port.to_string());
        let connecting = tokio::spawn(async move { client.connect(url).await });
        let (mut silent, _) = listener.accept().await.unwrap();
        silent.read_u8().await.unwrap();
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(10)).await;
        check_error(connecting.await.unwrap(), &ErrorKind::Timeout, text, text);
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_port_without_tls_is_recognised() {
    let authority = Authority::new("one");
    let (listener, port) = listen().await;
    let server = tokio::spawn(async move {
        let (mut io, _) = listener.accept().await.unwrap();
        io.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        io
    });
    let result = client(ClientTls::new().root_pem(authority.pem()))
        .connect(format!("wss://localhost:{port}/"))
        .await;
    check_error(result, &ErrorKind::Tls, "does not speak TLS", "plain");
    drop(server.await);
}

#[tokio::test]
async fn tls_never_gives_way_to_a_redirect_without_it() {
    let authority = Authority::new("one");
    let acceptor = authority.acceptor(&["localhost"], 2050, None, &[]);
    let (listener, port) = listen().await;
    let server = tokio::spawn(async move {
        let mut tls = acceptor
            .accept(listener.accept().await.unwrap().0)
            .await
            .unwrap();
        read_head(&mut tls).await;
        let answer = format!(
            "HTTP/1.1 302 Found\r\nLocation: ws://localhost:{port}/\r\nContent-Length: 0\r\n\r\n"
        );
        tls.write_all(answer.as_bytes()).await.unwrap();
        tls.shutdown().await.unwrap();
    });
    let client = client(ClientTls::new().root_pem(authority.pem())).max_redirects(5);
    check_error(
        client.connect(format!("wss://localhost:{port}/")).await,
        &ErrorKind::Url,
        "leave TLS",
        "downgrade",
    );
    server.await.unwrap();
}

/// TLS to the server runs inside the tunnel, also where the way to the proxy is TLS itself.
#[tokio::test]
async fn tls_through_proxies() {
    let authority = Authority::new("one");
    for proxy_speaks_tls in [false, true] {
        for secure in [false, true] {
            let (port, server) = if secure {
                serve(authority.acceptor(&["server.example"], 2050, None, &[])).await
            } else {
                let (listener, port) = listen().await;
                (
                    port,
                    tokio::spawn(async move {
                        drop(serve_echo(listener.accept().await.unwrap().0).await)
                    }),
                )
            };
            let (listener, proxy_port) = listen().await;
            let acceptor = authority.acceptor(&["localhost"], 2050, None, &[]);
            let proxy = tokio::spawn(async move {
                async fn relay(
                    mut near: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
                    port: u16,
                ) -> String {
                    let head = read_head(&mut near).await;
                    let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                    head
                }
                let (tcp, _) = listener.accept().await.unwrap();
                if proxy_speaks_tls {
                    relay(acceptor.accept(tcp).await.unwrap(), port).await
                } else {
                    relay(tcp, port).await
                }
            });
            let scheme = if proxy_speaks_tls { "https" } else { "http" };
            let client = Client::new()
                .tls(ClientTls::new().root_pem(authority.pem()))
                .proxy(Proxy::url(format!("{scheme}://localhost:{proxy_port}")).unwrap());
            let url = format!(
                "{}://server.example:{port}/",
                if secure { "wss" } else { "ws" }
            );
            check_echo(
                client
                    .connect(&url)
                    .await
                    .unwrap_or_else(|error| panic!("{scheme} {url}: {error}")),
            )
            .await;
            server.await.unwrap();
            assert!(
                proxy
                    .await
                    .unwrap()
                    .starts_with(&format!("CONNECT server.example:{port} "))
            );
        }
    }
}

#[tokio::test]
async fn a_proxy_is_verified_whatever_is_said_about_the_server() {
    let (authority, other) = (Authority::new("one"), Authority::new("two"));
    let (port, proxy) = serve(authority.acceptor(&["localhost"], 2050, None, &[])).await;
    let client = Client::new()
        .tls(
            ClientTls::new()
                .root_pem(other.pem())
                .danger_accept_invalid_certificates(),
        )
        .proxy(Proxy::url(format!("https://localhost:{port}")).unwrap());
    check_error(
        client.connect("wss://server.example/").await,
        &ErrorKind::Tls,
        "of the proxy localhost",
        "proxy",
    );
    proxy.await.unwrap();
}

/// RFC 8441: with ALPN h2 the WebSocket is one stream of an HTTP/2 connection.
mod http2 {
    use bytes::Bytes;
    use http::{Method, Request, Response, StatusCode, Version};
    use http_body_util::Full;
    use hyper::{body::Incoming, ext::Protocol, server::conn::http2, service::service_fn};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::{AsyncRead, AsyncWrite};

    use antiphon::{Config, Role, WebSocket};

    use super::*;
    use crate::client_support::echo;

    /// Answers every extended CONNECT with this status, and echoes after 200.
    async fn serve_http2(
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        extended: bool,
        status: StatusCode,
    ) {
        let service = service_fn(move |mut request: Request<Incoming>| async move {
            assert_eq!(
                (request.method(), request.version()),
                (&Method::CONNECT, Version::HTTP_2)
            );
            assert_eq!(
                request.extensions().get::<Protocol>().map(Protocol::as_str),
                Some("websocket")
            );
            assert_eq!(request.uri().path(), "/ws");
            assert_eq!(request.headers()["sec-websocket-version"], "13");
            assert!(!request.headers().contains_key("sec-websocket-key"));
            assert!(!request.headers().contains_key("connection"));
            if status == StatusCode::OK {
                tokio::spawn(async move {
                    let io = TokioIo::new(hyper::upgrade::on(&mut request).await.unwrap());
                    echo(WebSocket::from_io(io, Role::Server, Config::default())).await;
                });
            }
            let response = Response::builder()
                .status(status)
                .body(Full::new(Bytes::from_static(b"words")));
            Ok::<_, std::convert::Infallible>(if status == StatusCode::OK {
                Response::new(Full::default())
            } else {
                response.unwrap()
            })
        });
        let mut builder = http2::Builder::new(TokioExecutor::new());
        if extended {
            builder.enable_connect_protocol();
        }
        // Ends when the client has gone; how is its own business.
        let _ = builder.serve_connection(TokioIo::new(io), service).await;
    }

    #[tokio::test]
    async fn over_tls_the_server_chooses() {
        let authority = Authority::new("one");
        for (alpn, expect_http2) in [
            (&[b"h2".as_slice(), b"http/1.1"][..], true),
            (&[b"http/1.1"], false),
            (&[], false),
        ] {
            let acceptor = authority.acceptor(&["localhost"], 2050, None, alpn);
            let (listener, port) = listen().await;
            let server = tokio::spawn(async move {
                let tls = acceptor
                    .accept(listener.accept().await.unwrap().0)
                    .await
                    .unwrap();
                let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
                if http2 {
                    serve_http2(tls, true, StatusCode::OK).await;
                } else {
                    serve_echo(tls).await;
                }
                http2
            });
            let client = client(ClientTls::new().root_pem(authority.pem())).http2(true);
            check_echo(
                client
                    .connect(format!("wss://localhost:{port}/ws"))
                    .await
                    .unwrap(),
            )
            .await;
            assert_eq!(server.await.unwrap(), expect_http2);
        }
    }

    #[tokio::test]
    async fn without_tls_by_prior_knowledge() {
        let (listener, port) = listen().await;
        let server = tokio::spawn(async move {
            serve_http2(listener.accept().await.unwrap().0, true, StatusCode::OK).await;
        });
        check_echo(
            client(ClientTls::new())
                .http2(true)
                .connect(format!("ws://127.0.0.1:{port}/ws"))
                .await
                .unwrap(),
        )
        .await;
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_refusal_has_its_status_and_words() {
        for status in [StatusCode::FORBIDDEN, StatusCode::SERVICE_UNAVAILABLE] {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let server = tokio::spawn(serve_http2(far, true, status));
            let error = Client::new()
                .http2(true)
                .connect_with(near, "ws://server.example/ws")
                .await
                .unwrap_err();
            assert_eq!(
                (error.kind(), error.body()),
                (&ErrorKind::Handshake(status.as_u16()), &b"words"[..])
            );
            server.await.unwrap();
        }
    }

    #[tokio::test]
    async fn over_tls_a_server_without_extended_connect_is_asked_again() {
        let authority = Authority::new("one");
        let acceptor = authority.acceptor(&["localhost"], 2050, None, &[b"h2", b"http/1.1"]);
        let (listener, port) = listen().await;
        let server = tokio::spawn(async move {
            let tls = acceptor
                .accept(listener.accept().await.unwrap().0)
                .await
                .unwrap();
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let refusing = tokio::spawn(serve_http2(tls, false, StatusCode::OK));
            let tls = acceptor
                .accept(listener.accept().await.unwrap().0)
                .await
                .unwrap();
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            serve_echo(tls).await;
            refusing.await.unwrap();
        });
        let client = client(ClientTls::new().root_pem(authority.pem())).http2(true);
        check_echo(
            client
                .connect(format!("wss://localhost:{port}/ws"))
                .await
                .unwrap(),
        )
        .await;
        server.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_without_extended_connect_is_named() {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let server = tokio::spawn(serve_http2(far, false, StatusCode::OK));
        let result = Client::new()
            .http2(true)
            .connect_with(near, "ws://server.example/ws")
            .await;
        check_error(
            result,
            &ErrorKind::Connect,
            "RFC 8441",
            "h2 without RFC 8441",
        );
        server.await.unwrap();
    }
}
