//! One runtime on one thread, a listener, TLS if it is asked for, and a task for each connection.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::Builder,
    task,
    time::sleep,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs::{self, Ticketer},
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use crate::{
    options::Options,
    peer::{BACKLOG, Fault, Peer},
};

/// Runs a peer until the process is ended.
///
/// # Errors
///
/// The address or the certificate cannot be used.
pub fn run<P: Peer>(options: &Options, peer: P) -> Result<(), Fault> {
    Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(accept(options, peer))
}

async fn accept<P: Peer>(options: &Options, peer: P) -> Result<(), Fault> {
    let tls = acceptor(options)?;
    let listener = listen(options.port)?;
    let scheme = if tls.is_some() { "wss" } else { "ws" };
    println!("listening on {scheme}://{}/", listener.local_addr()?);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // No descriptor is left: some connection has to go first.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let (peer, tls) = (peer.clone(), tls.clone());
        // How a connection ends says nothing here: the generator judges.
        tokio::spawn(task::unconstrained(async move {
            let _ = match tls {
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => peer.serve(stream).await,
                    Err(error) => Err(error.into()),
                },
                None => peer.serve(stream).await,
            };
        }));
    }
}

/// A listener on this machine; port 0 lets the system choose.
///
/// # Errors
///
/// The port is taken.
pub fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    socket.listen(BACKLOG)
}

/// TLS with the settings of `antiphon::Server`, so that only the WebSocket differs.
fn acceptor(options: &Options) -> Result<Option<TlsAcceptor>, Fault> {
    let Some((certificate, key)) = &options.tls else {
        return Ok(None);
    };
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.ticketer = Ticketer::new()?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}
