//! TLS of the accepting side: certificates that can be replaced while connections are open.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig, SupportedCipherSuite,
    crypto::{CryptoProvider, aws_lc_rs::Ticketer, hash::HashAlgorithm},
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    error::Result,
    hold::Hold,
    tls::{certificates, config, private_key, provider},
};

/// The certificate of a server, its key, and whether clients must show one too. Speaks TLS 1.2 and 1.3.
///
/// Where the client knows it, AES with 128 bits and SHA-256 is agreed on, whatever the client likes best: it is as
/// strong as the keys that are exchanged, and with SHA-384 a resumed handshake costs a quarter more.
///
/// Clones share the certificate: [`reload`](Self::reload) on one of them replaces it for all, without touching a
/// connection that is already open.
///
/// ```no_run
/// use antiphon::{Server, tls::server::ServerTls};
///
/// # async fn example() -> antiphon::Result<()> {
/// let tls = ServerTls::from_pem_files("server.crt", "server.key")?;
/// let certificates = tls.clone();
/// let running = Server::new().tls(tls).bind("0.0.0.0:443").start().await?;
/// // Later, when the files have been renewed:
/// if let Err(error) = certificates.reload() {
///     eprintln!("the old certificate stays: {error}");
/// }
/// # running.wait().await
/// # }
/// ```
#[derive(Clone)]
pub struct ServerTls {
    current: Arc<Current>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl ServerTls {
    /// Reads the certificate chain and its private key from two PEM files, which may be the same file.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming the file and the cause: it cannot be read, it is not
    /// PEM, it holds no certificate or no key, or the key does not belong to the certificate.
    pub fn from_pem_files(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self> {
        let files = Files {
            certificate: certificate.as_ref().to_owned(),
            key: key.as_ref().to_owned(),
        };
        let certified = files.read()?;
        Ok(Self::new(certified, Some(files)))
    }

    /// Takes the certificate chain and its private key as PEM texts.
    ///
    /// # Errors
    ///
    /// As [`from_pem_files`](Self::from_pem_files).
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self> {
        Ok(Self::new(
            certified((certificate, "the certificate"), (key, "the private key"))?,
            None,
        ))
    }

    /// Clients must show a certificate that one of these authorities (PEM) has signed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if no authority can be read.
    pub fn require_client_certificates(mut self, authorities: &[u8]) -> Result<Self> {
        self.clients = Some(client_verifier(authorities, true)?);
        Ok(self)
    }

    /// Clients may show a certificate that one of these authorities (PEM) has signed; see
    /// [`Peer::client_certificate`](crate::peer::Peer::client_certificate).
    ///
    /// # Errors
    ///
    /// As [`require_client_certificates`](Self::require_client_certificates).
    pub fn accept_client_certificates(mut self, authorities: &[u8]) -> Result<Self> {
        self.clients = Some(client_verifier(authorities, false)?);
        Ok(self)
    }

    /// Reads both files again and uses them from the next connection on. With certificates that did not come from
    /// files there is nothing to do.
    ///
    /// # Errors
    ///
    /// As [`from_pem_files`](Self::from_pem_files); the certificate in use then stays in use.
    pub fn reload(&self) -> Result<()> {
        if let Some(files) = &self.current.files {
            self.current.certified.store(Arc::new(files.read()?));
        }
        Ok(())
    }

    /// Uses another certificate and key (PEM texts) from the next connection on.
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Self::from_pem); the certificate in use then stays in use.
    pub fn replace(&self, certificate: &[u8], key: &[u8]) -> Result<()> {
        let certified = certified((certificate, "the certificate"), (key, "the private key"))?;
        self.current.certified.store(Arc::new(certified));
        Ok(())
    }

    /// What rustls needs to accept connections, offering HTTP/2 if asked to.
    pub(crate) fn server_config(&self, http2: bool) -> Result<Arc<ServerConfig>> {
        let unusable = |source: rustls::Error| {
            config(format!("TLS cannot be set up: {source}")).with_source(source)
        };
        let builder = ServerConfig::builder_with_provider(Arc::new(by_price()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(unusable)?;
        let mut server = match &self.clients {
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
            None => builder.with_no_client_auth(),
        }
        .with_cert_resolver(self.current.clone());
        server.ignore_client_order = true;
        // Tickets whose keys rotate: resumption without a cache that clients can fill.
        server.ticketer = Ticketer::new().map_err(unusable)?;
        // A session is resumed with a ticket of its own, and each resumption brings the next one: a second ticket would
        // be made, sent and thrown away.
        server.send_tls13_tickets = 1;
        server.alpn_protocols = if http2 {
            vec![b"h2".to_vec(), b"http/1.1".to_vec()]
        } else {
            vec![b"http/1.1".to_vec()]
        };
        Ok(Arc::new(server))
    }

    fn new(certified: CertifiedKey, files: Option<Files>) -> Self {
        Self {
            current: Arc::new(Current {
                certified: ArcSwap::from_pointee(certified),
                files,
            }),
            clients: None,
        }
    }
}

impl fmt::Debug for ServerTls {
    /// Shows where the certificate came from; never the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("files", &self.current.files)
            .field("client_certificates", &self.clients.is_some())
            .finish_non_exhaustive()
    }
}

/// Completes a handshake. Its last flight is still held back: it leaves with the answer to the request, or with a flush.
pub(crate) async fn accept<IO>(
    io: IO,
    tls: Arc<ServerConfig>,
) -> io::Result<Box<TlsStream<Hold<IO>>>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let accepting = TlsAcceptor::from(tls).accept(Hold::new(io));
    match accepting.into_fallible().await {
        Ok(mut stream) => {
            stream.get_mut().0.end();
            Ok(Box::new(stream))
        }
        Err((error, mut io)) => {
            // The alert that says why.
            io.end();
            let _ = io.flush().await;
            Err(error)
        }
    }
}

/// The certificate in use. New handshakes take it from here; running ones keep the one that they took.
struct Current {
    certified: ArcSwap<CertifiedKey>,
    files: Option<Files>,
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certified.load_full())
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn read(&self) -> Result<CertifiedKey> {
        let (certificate, key) = (read(&self.certificate)?, read(&self.key)?);
        certified(
            (&certificate, &self.certificate.display().to_string()),
            (&key, &self.key.display().to_string()),
        )
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|source| {
        config(format!("{} cannot be read: {source}", path.display())).with_source(source)
    })
}

/// A chain and its key, each with the name that an error gives it, checked to belong together.
fn certified(
    (certificate, certificate_name): (&[u8], &str),
    (key, key_name): (&[u8], &str),
) -> Result<CertifiedKey> {
    let chain = certificates(certificate, certificate_name)?;
    let private_key = private_key(key, key_name)?;
    CertifiedKey::from_der(chain, private_key, &provider()).map_err(|source| {
        config(format!(
            "{certificate_name} and {key_name} cannot be used together: {source}"
        ))
        .with_source(source)
    })
}

fn client_verifier(authorities: &[u8], required: bool) -> Result<Arc<dyn ClientCertVerifier>> {
    let name = "the list of client certificate authorities";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authorities, name)? {
        roots.add(certificate).map_err(|source| {
            config(format!(
                "{name} holds a certificate that cannot be used: {source}"
            ))
            .with_source(source)
        })?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = if required {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    builder
        .build()
        .map_err(|source| config(format!("{name} cannot be used: {source}")).with_source(source))
}

/// The cipher suites with SHA-384 behind the others.
fn by_price() -> CryptoProvider {
    let mut provider = CryptoProvider::clone(&provider());
    provider.cipher_suites.sort_by_key(|suite| {
        let hash = match suite {
            SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
            SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
        };
        hash.algorithm() == HashAlgorithm::SHA384
    });
    provider
}

#[cfg(test)]
mod tests {
    use rustls::{CipherSuite, ClientConfig, ClientConnection, ServerConnection};

    use super::*;
    use crate::error::ErrorKind;

    fn pair() -> (String, String) {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()])
            .expect("a self-signed certificate");
        (issued.cert.pem(), issued.signing_key.serialize_pem())
    }

    fn leaf(tls: &ServerTls) -> Vec<u8> {
        tls.current.certified.load().cert[0].to_vec()
    }

    #[test]
    fn a_pair_is_accepted_and_offers_the_protocols() {
        let (certificate, key) = pair();
        let tls = ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).expect("a good pair");
        assert_eq!(
            tls.server_config(false).expect("config").alpn_protocols,
            [b"http/1.1".to_vec()]
        );
        assert_eq!(
            tls.server_config(true).expect("config").alpn_protocols[0],
            b"h2".to_vec()
        );
        assert!(!format!("{tls:?}").contains("PRIVATE"));
    }

    /// Whether a client knows a suite.
    type Known = fn(CipherSuite) -> bool;

    /// What both agree on, where the client knows these suites in its usual order.
    fn agreed(tls: &ServerTls, certificate: &str, known: Known) -> Option<CipherSuite> {
        let mut of_client = CryptoProvider::clone(&provider());
        let suites = &mut of_client.cipher_suites;
        suites.retain(|suite| known(suite.suite()));
        let mut roots = RootCertStore::empty();
        let chain = certificates(certificate.as_bytes(), "the certificate").ok()?;
        roots.add(chain[0].clone()).ok()?;
        let client = ClientConfig::builder_with_provider(Arc::new(of_client))
            .with_safe_default_protocol_versions()
            .ok()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "localhost".try_into().ok()?;
        let mut client = ClientConnection::new(Arc::new(client), name).ok()?;
        let mut server = ServerConnection::new(tls.server_config(false).ok()?).ok()?;
        while client.is_handshaking() || server.is_handshaking() {
            let (mut out, mut back) = (Vec::new(), Vec::new());
            client.write_tls(&mut out).ok()?;
            server.read_tls(&mut &out[..]).ok()?;
            server.process_new_packets().ok()?;
            while server.wants_write() {
                server.write_tls(&mut back).ok()?;
            }
            client.read_tls(&mut &back[..]).ok()?;
            client.process_new_packets().ok()?;
        }
        Some(server.negotiated_cipher_suite()?.suite())
    }

    #[test]
    fn the_cheaper_suite_goes_first_and_none_is_refused() {
        let (certificate, key) = pair();
        let tls = ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).expect("a good pair");
        let agreed = |known: Known| agreed(&tls, &certificate, known);
        let tls12 = |suite: CipherSuite| suite.as_str().is_some_and(|name| name.contains("ECDHE"));
        let rows: [(Known, CipherSuite); 5] = [
            (|_| true, CipherSuite::TLS13_AES_128_GCM_SHA256),
            (
                |suite| suite == CipherSuite::TLS13_AES_256_GCM_SHA384,
                CipherSuite::TLS13_AES_256_GCM_SHA384,
            ),
            (
                |suite| suite == CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
                CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
            ),
            (tls12, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
            (
                |suite| suite == CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            ),
        ];
        for (known, suite) in rows {
            assert_eq!(agreed(known), Some(suite));
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        let ((certificate, key), (_, other_key)) = (pair(), pair());
        let rows: [(&str, &str, &str); 5] = [
            ("", &key, "the certificate holds no certificate"),
            ("nonsense", &key, "the certificate holds no certificate"),
            (&certificate, "", "the private key holds no private key"),
            (
                &certificate,
                &certificate,
                "the private key holds no private key",
            ),
            (
                &certificate,
                &other_key,
                "the certificate and the private key cannot be used together",
            ),
        ];
        for (certificate, key, expected) in rows {
            let error =
                ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).expect_err(expected);
            assert_eq!(error.kind(), &ErrorKind::Config);
            assert!(error.to_string().starts_with(expected), "{error}");
        }
        let tls = ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).expect("a good pair");
        let error = tls
            .require_client_certificates(b"")
            .expect_err("no authority");
        assert!(
            error.to_string().contains("client certificate authorities"),
            "{error}"
        );
    }

    #[test]
    fn a_bad_file_keeps_the_old_certificate_and_a_good_one_replaces_it() {
        let folder = std::env::temp_dir().join(format!("antiphon-tls-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for the files");
        let (certificate_path, key_path) = (folder.join("server.crt"), folder.join("server.key"));
        let (certificate, key) = pair();
        fs::write(&certificate_path, &certificate).expect("write");
        fs::write(&key_path, &key).expect("write");
        let tls = ServerTls::from_pem_files(&certificate_path, &key_path).expect("good files");
        let first = leaf(&tls);

        fs::write(&certificate_path, "-----BEGIN CERTIFICATE-----\nbroken").expect("write");
        let error = tls.reload().expect_err("a bad file is refused");
        assert!(error.to_string().contains("server.crt"), "{error}");
        assert_eq!(leaf(&tls), first);

        let (certificate, _) = pair();
        fs::write(&certificate_path, &certificate).expect("write");
        tls.reload()
            .expect_err("the key belongs to the old certificate");
        assert_eq!(leaf(&tls), first);

        fs::remove_file(&key_path).expect("remove");
        let error = tls.reload().expect_err("a file that is gone");
        assert!(
            error.to_string().contains("server.key cannot be read"),
            "{error}"
        );

        let (certificate, key) = pair();
        fs::write(&certificate_path, &certificate).expect("write");
        fs::write(&key_path, &key).expect("write");
        let clone = tls.clone();
        clone.reload().expect("good files");
        assert_ne!(leaf(&tls), first);
        fs::remove_dir_all(&folder).expect("clean up");
    }
}
