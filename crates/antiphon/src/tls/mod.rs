//! What both ends of TLS share: the cryptography, and certificates and keys read from PEM.

pub(crate) mod client;
pub mod server;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::error::{Error, ErrorKind, Result};

/// The cryptography of every TLS connection of this crate. It is passed explicitly and never installed for the whole
/// process, which belongs to the application.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// All certificates of a PEM text; `name` is what the error calls it: a path, or "the certificate".
pub(crate) fn certificates(pem: &[u8], name: &str) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| {
            config(format!("{name} is not valid PEM: {source}")).with_source(source)
        })?;
    if certificates.is_empty() {
        return Err(config(format!(
            "{name} holds no certificate; a PEM file with a CERTIFICATE section is needed"
        )));
    }
    Ok(certificates)
}

/// The first private key of a PEM text, in PKCS#8, PKCS#1 or SEC1 form.
pub(crate) fn private_key(pem: &[u8], name: &str) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|source| {
        config(format!(
            "{name} holds no private key that can be used: {source}"
        ))
        .with_source(source)
    })
}

/// The error for a certificate, a key or a setting that cannot be used.
pub(crate) fn config(context: String) -> Error {
    Error::new(ErrorKind::Config, context)
}
