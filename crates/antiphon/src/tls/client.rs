//! What a client trusts and shows when it speaks TLS.

use std::{error::Error as StdError, fmt, fs, io, path::PathBuf, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls_platform_verifier::Verifier;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OnceCell,
    task::spawn_blocking,
};
use tokio_rustls::TlsConnector;

use crate::{
    error::{Error, ErrorKind, Result},
    tls,
};

/// The name of HTTP/1.1 in ALPN (RFC 7301).
pub(crate) const ALPN_HTTP1: &[u8] = b"http/1.1";
/// The name of HTTP/2 in ALPN (RFC 9113 section 3.2).
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";

/// How a client speaks TLS: which servers it believes and what it shows them.
///
/// The default trusts what the operating system trusts, checks the server's name, speaks TLS 1.2 and 1.3 and shows no
/// certificate. Files are read when the first `wss` connection is made, once; an unusable one is reported there.
///
/// ```no_run
/// use antiphon::{Client, ClientTls};
///
/// # async fn example() -> antiphon::Result<()> {
/// let tls = ClientTls::new().root_pem_file("private-ca.pem").client_certificate_file("me.pem", "me.key");
/// let socket = Client::new().tls(tls).connect("wss://internal.example/ws").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct ClientTls {
    roots: Vec<Pem>,
    system_roots: bool,
    certificate: Option<(Pem, Pem)>,
    alpn: Option<Vec<Vec<u8>>>,
    server_name: Option<String>,
    accept_invalid: bool,
}

impl ClientTls {
    /// The defaults: the operating system's trust, no client certificate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the certificates in this PEM text, and no others unless [`system_roots`](Self::system_roots) is called.
    /// May be called several times.
    #[must_use]
    pub fn root_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(Pem::Text(pem.into()));
        self
    }

    /// Trusts the certificates in this PEM file; see [`root_pem`](Self::root_pem).
    #[must_use]
    pub fn root_pem_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.roots.push(Pem::File(path.into()));
        self
    }

    /// Trusts what the operating system trusts beside the roots that were given here.
    #[must_use]
    pub fn system_roots(mut self) -> Self {
        self.system_roots = true;
        self
    }

    /// Shows this certificate (a PEM chain, leaf first) when the server asks for one, and proves it with this PEM key.
    #[must_use]
    pub fn client_certificate(
        mut self,
        chain: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.certificate = Some((Pem::Text(chain.into()), Pem::Text(key.into())));
        self
    }

    /// Shows a certificate from these PEM files; see [`client_certificate`](Self::client_certificate).
    #[must_use]
    pub fn client_certificate_file(
        mut self,
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.certificate = Some((Pem::File(chain.into()), Pem::File(key.into())));
        self
    }

    /// Offers these protocols in ALPN instead of `http/1.1` (and `h2`, where the client asks for HTTP/2).
    #[must_use]
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = Some(protocols.into_iter().map(Into::into).collect());
        self
    }

    /// Expects this name in the server's certificate, and asks for it (SNI), instead of the URL's host.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Believes any certificate: anybody between here and the server can read and change everything. For tests and for
    /// looking at a broken server, never for data that matters. Proxies reached over TLS are still verified.
    #[must_use]
    pub fn danger_accept_invalid_certificates(mut self) -> Self {
        self.accept_invalid = true;
        self
    }

    /// Reads the files and builds what connections share.
    fn build(&self, http2: bool) -> Result<TlsSettings> {
        let provider = tls::provider();
        let verifier = self.verifier(&provider)?;

        let believed: Arc<dyn ServerCertVerifier> = if self.accept_invalid {
            Arc::new(BelieveAnything(Arc::clone(&provider)))
        } else {
            Arc::clone(&verifier)
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(believed);
        let mut server = match &self.certificate {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = chain.certificates("client certificate")?;
                let key = key.key()?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    tls::config(
                        "the client certificate and its key cannot be used together".to_owned(),
                    )
                    .with_source(error)
                })?
            }
        };
        let http1 = vec![ALPN_HTTP1.to_vec()];
        server.alpn_protocols = match &self.alpn {
            Some(protocols) => protocols.clone(),
            None if http2 => vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()],
            None => http1.clone(),
        };
        let mut server_http1 = server.clone();
        if server_http1
            .alpn_protocols
            .iter()
            .any(|protocol| protocol == ALPN_HTTP2)
        {
            server_http1.alpn_protocols = http1.clone();
        }

        // A proxy is another party: it is always verified, and never sees the client certificate.
        let mut proxy = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        proxy.alpn_protocols = http1;

        let server_name = self.server_name.clone();
        Ok(TlsSettings {
            server: Arc::new(server),
            server_http1: Arc::new(server_http1),
            proxy: Arc::new(proxy),
            server_name,
        })
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
        let mut roots = Vec::new();
        for pem in &self.roots {
            roots.extend(pem.certificates("root certificate")?);
        }
        if !roots.is_empty() && !self.system_roots {
            let mut store = RootCertStore::empty();
            for root in roots {
                store.add(root).map_err(|error| {
                    tls::config("a root certificate cannot be used".to_owned()).with_source(error)
                })?;
            }
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider));
            return Ok(verifier.build().map_err(unusable)?);
        }
        match Verifier::new_with_extra_roots(roots, Arc::clone(provider)) {
            Ok(verifier) => Ok(Arc::new(verifier)),
            // Nothing would ever be verified by the operating system's roots here; so their absence does not matter.
            Err(_) if self.accept_invalid => Ok(Arc::new(BelieveNothing)),
            Err(error) => Err(tls::config(
                "the operating system has no trusted root certificates; install them (often the package \
                 ca-certificates), or give some with ClientTls::root_pem_file"
                    .to_owned(),
            )
            .with_source(error)),
        }
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("roots", &self.roots.len())
            .field(
                "system_roots",
                &(self.system_roots || self.roots.is_empty()),
            )
            .field("client_certificate", &self.certificate.is_some())
            .field("server_name", &self.server_name)
            .field("danger_accept_invalid_certificates", &self.accept_invalid)
            .finish_non_exhaustive()
    }
}

/// PEM text, or the file that holds it.
#[derive(Clone)]
enum Pem {
    Text(Vec<u8>),
    File(PathBuf),
}

impl Pem {
    fn read(&self, what: &str) -> Result<Vec<u8>> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => fs::read(path).map_err(|error| {
                tls::config(format!(
                    "the {what} in {} cannot be read: {error}",
                    path.display()
                ))
                .with_source(error)
            }),
        }
    }

    fn name(&self, what: &str) -> String {
        match self {
            Self::Text(_) => format!("the given {what}"),
            Self::File(path) => format!("the {what} in {}", path.display()),
        }
    }

    fn certificates(&self, what: &str) -> Result<Vec<CertificateDer<'static>>> {
        tls::certificates(&self.read(what)?, &self.name(what))
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>> {
        let what = "client key";
        tls::private_key(&self.read(what)?, &self.name(what))
    }
}

/// The settings of one client, read when they are first needed and then shared by its connections.
#[derive(Debug)]
pub(crate) struct LazyTls {
    tls: ClientTls,
    http2: bool,
    built: OnceCell<TlsSettings>,
}

impl LazyTls {
    pub(crate) fn new(tls: ClientTls, http2: bool) -> Self {
        Self {
            tls,
            http2,
            built: OnceCell::new(),
        }
    }

    /// # Cancel safety
    ///
    /// Cancel-safe: what was read is thrown away, and read again by the next call.
    pub(crate) async fn get(&self) -> Result<&TlsSettings> {
        self.built
            .get_or_try_init(|| async {
                let (tls, http2) = (self.tls.clone(), self.http2);
                // The operating system's roots are a hundred files.
                match spawn_blocking(move || tls.build(http2)).await {
                    Ok(built) => built,
                    Err(error) => Err(unusable(error)),
                }
            })
            .await
    }
}

/// What the connections of one client share.
#[derive(Clone, Debug)]
pub(crate) struct TlsSettings {
    server: Arc<ClientConfig>,
    server_http1: Arc<ClientConfig>,
    proxy: Arc<ClientConfig>,
    server_name: Option<String>,
}

impl TlsSettings {
    /// The TLS handshake with the server `host` (IPv6 without brackets).
    pub(crate) async fn server<T>(
        &self,
        io: T,
        host: &str,
        allow_http2: bool,
    ) -> Result<TlsStream<T>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let config = if allow_http2 {
            &self.server
        } else {
            &self.server_http1
        };
        handshake(
            config,
            io,
            self.server_name.as_deref().unwrap_or(host),
            "server",
        )
        .await
    }

    /// The TLS handshake with a proxy.
    pub(crate) async fn proxy<T>(&self, io: T, host: &str) -> Result<TlsStream<T>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        handshake(&self.proxy, io, host, "proxy").await
    }
}

/// A client's TLS stream over any transport.
pub(crate) type TlsStream<T> = tokio_rustls::client::TlsStream<T>;

async fn handshake<T>(
    config: &Arc<ClientConfig>,
    io: T,
    host: &str,
    party: &str,
) -> Result<TlsStream<T>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(host.to_owned()).map_err(|_| {
        Error::new(
            ErrorKind::Url,
            format!("{host} is not a name that a certificate can be for"),
        )
    })?;
    TlsConnector::from(Arc::clone(config)).connect(name, io).await.map_err(|error| {
        explain(&error, host, party).unwrap_or_else(|| {
            let context = format!(
                "the {party} {host} ended the connection during the TLS handshake ({error}); does it speak TLS on this port?"
            );
            Error::new(ErrorKind::Tls, context).with_source(error)
        })
    })
}

/// Words for a TLS failure, if there is one behind this error. A server that wants a client certificate reports its
/// absence only after the handshake (TLS 1.3), so errors of later steps come here too.
pub(crate) fn explain(error: &(dyn StdError + 'static), host: &str, party: &str) -> Option<Error> {
    let tls = find(error)?;
    let context = match tls {
        rustls::Error::InvalidCertificate(problem) => explain_certificate(problem, host, party),
        rustls::Error::AlertReceived(alert) => {
            use rustls::AlertDescription as Alert;
            match alert {
                Alert::CertificateRequired
                | Alert::BadCertificate
                | Alert::UnknownCA
                | Alert::AccessDenied => format!(
                    "the {party} {host} wants a client certificate that it trusts (TLS alert {alert:?}); give one with \
                     ClientTls::client_certificate_file"
                ),
                Alert::NoApplicationProtocol => format!(
                    "the {party} {host} speaks none of the offered protocols (TLS alert {alert:?}); offer others with ClientTls::alpn"
                ),
                Alert::UnrecognisedName => format!(
                    "the {party} does not know the name {host} (TLS alert {alert:?}); set the right one with ClientTls::server_name"
                ),
                _ => format!("the {party} {host} refused the TLS handshake (TLS alert {alert:?})"),
            }
        }
        rustls::Error::InvalidMessage(_) => {
            format!(
                "the {party} {host} does not speak TLS on this port ({tls}); use ws:// if it is not meant to"
            )
        }
        _ => format!("TLS with the {party} {host} failed: {tls}"),
    };
    Some(Error::new(ErrorKind::Tls, context).with_source(tls.clone()))
}

fn explain_certificate(problem: &CertificateError, host: &str, party: &str) -> String {
    match problem {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the certificate of the {party} {host} is signed by nobody that this machine trusts; give its issuer with \
             ClientTls::root_pem_file"
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
            "the certificate of the {party} {host} has expired; it must be renewed there (or the clock here is wrong)"
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!(
                "the certificate of the {party} {host} is not valid yet; is the clock here right?"
            )
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let names = match problem {
                CertificateError::NotValidForNameContext { presented, .. }
                    if !presented.is_empty() =>
                {
                    // `DnsName("example.com")`: the name is what people want to read.
                    let names: Vec<_> = presented
                        .iter()
                        .map(|name| name.split('"').nth(1).unwrap_or(name))
                        .collect();
                    format!(" but for {}", names.join(", "))
                }
                _ => String::new(),
            };
            format!(
                "the certificate of the {party} is not for {host}{names}; connect to a name that it is for, or name the \
                 expected one with ClientTls::server_name"
            )
        }
        CertificateError::Revoked => {
            format!("the certificate of the {party} {host} was revoked by its issuer")
        }
        _ => format!("the certificate of the {party} {host} cannot be accepted: {problem}"),
    }
}

/// The TLS error in a chain of causes. An `io::Error` does not list what it wraps as its cause, so it is opened.
fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        if let Some(inner) = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            let inner: &'a (dyn StdError + 'static) = inner;
            return find(inner);
        }
        cause = error.source();
    }
    None
}

fn unusable(error: impl StdError + Send + Sync + 'static) -> Error {
    tls::config(format!("TLS cannot be set up: {error}")).with_source(error)
}

/// The verifier behind `danger_accept_invalid_certificates`: believes any certificate, but still checks that the
/// server holds its key.
#[derive(Debug)]
struct BelieveAnything(Arc<CryptoProvider>);

impl ServerCertVerifier for BelieveAnything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Stands for roots that are missing: no certificate is from an issuer that is known.
#[derive(Debug)]
struct BelieveNothing;

impl ServerCertVerifier for BelieveNothing {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Err(CertificateError::UnknownIssuer.into())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Err(CertificateError::UnknownIssuer.into())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Err(CertificateError::UnknownIssuer.into())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
