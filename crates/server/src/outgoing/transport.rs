//! Connections of outgoing requests: TCP, and TLS that trusts what the operating system trusts.

use std::{
    fs,
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector},
    rt::TokioIo,
};
use rustls::{
    ClientConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use rustls_platform_verifier::Verifier;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OnceCell,
    task::spawn_blocking,
    time,
};
use tokio_rustls::TlsConnector;
use tower_service::Service;

/// Longest time for a name, a connection and its TLS, also where the request behind them has gone.
const CONNECT: Duration = Duration::from_secs(10);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Opens connections for the HTTP client.
#[derive(Clone)]
pub(super) struct Connector(Way);

#[derive(Clone)]
enum Way {
    Net {
        tcp: HttpConnector,
        tls: Arc<Tls>,
    },
    /// Virtual time needs connections that no kernel delays.
    #[cfg(test)]
    Memory(Arc<dyn Fn() -> io::Result<tokio::io::DuplexStream> + Send + Sync>),
}

/// TLS, set up when it is first needed: the operating system's roots are a hundred files.
struct Tls {
    roots: Option<PathBuf>,
    built: OnceCell<TlsConnector>,
}

impl Connector {
    /// Connections of the network. Certificates in the PEM file `roots` are trusted beside the operating system's.
    pub(super) fn new(roots: Option<PathBuf>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        let tls = Tls {
            roots,
            built: OnceCell::new(),
        };
        Self(Way::Net {
            tcp,
            tls: Arc::new(tls),
        })
    }

    /// Connections within the test.
    #[cfg(test)]
    pub(super) fn memory(
        connect: impl Fn() -> io::Result<tokio::io::DuplexStream> + Send + Sync + 'static,
    ) -> Self {
        Self(Way::Memory(Arc::new(connect)))
    }

    async fn connect(self, uri: Uri) -> Result<Transport, Failure> {
        match self.0 {
            Way::Net { mut tcp, tls } => {
                let stream = tcp.call(uri.clone()).await?.into_inner();
                if uri.scheme_str() != Some("https") {
                    return Ok(Transport::new(stream));
                }
                let host = uri.host().unwrap_or_default();
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let name = ServerName::try_from(host.to_owned())?;
                let connector = tls.get().await?;
                Ok(Transport::new(connector.connect(name, stream).await?))
            }
            #[cfg(test)]
            Way::Memory(connect) => Ok(Transport::new(connect()?)),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = Transport;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Transport, Failure>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        match &mut self.0 {
            Way::Net { tcp, .. } => tcp.poll_ready(context).map_err(Into::into),
            #[cfg(test)]
            Way::Memory(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.clone().connect(uri);
        Box::pin(async {
            match time::timeout(CONNECT, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err("no connection in time".into()),
            }
        })
    }
}

impl Tls {
    async fn get(&self) -> Result<&TlsConnector, Failure> {
        self.built
            .get_or_try_init(|| async {
                let roots = self.roots.clone();
                spawn_blocking(move || build(roots.as_deref())).await?
            })
            .await
    }
}

fn build(roots: Option<&Path>) -> Result<TlsConnector, Failure> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let extra = match roots {
        None => Vec::new(),
        Some(path) => certificates(path)?,
    };
    let verifier = Verifier::new_with_extra_roots(extra, Arc::clone(&provider)).map_err(|error| {
        format!("the operating system has no trusted root certificates; install them (often the package ca-certificates): {error}")
    })?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config).into())
}

/// The certificates of a PEM file.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let pem = fs::read(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{shown} is not valid PEM: {error}"))?;
    if certificates.is_empty() {
        return Err(format!(
            "{shown} holds no certificate; a PEM file with a CERTIFICATE section is needed"
        ));
    }
    Ok(certificates)
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open connection.
pub(super) struct Transport(TokioIo<Box<dyn Stream>>);

impl Transport {
    fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self(TokioIo::new(Box::new(stream)))
    }
}

impl Connection for Transport {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
