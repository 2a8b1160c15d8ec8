//! The certificate of a server: from files, or made for development and kept in memory alone.

use std::{
    fmt::Write as _,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use antiphon::ServerTls;
use aws_lc_rs::digest;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use crate::failure::{Exit, Failure};

/// Whom the certificate for development names.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// How long it is valid.
const VALID: Duration = Duration::from_secs(30 * 86_400);
/// How far it reaches back, for clients whose clock is slow.
const BACK: Duration = Duration::from_secs(3_600);

/// The certificate that was asked for, if any; one made for development is announced on stderr with its fingerprint.
///
/// # Errors
///
/// A file cannot be read, or holds no certificate or no key that belongs to it.
pub(crate) fn certificate(
    chain: Option<&Path>,
    key: Option<&Path>,
    self_signed: bool,
) -> Result<Option<ServerTls>, Failure> {
    if let (Some(certificate), Some(key)) = (chain, key) {
        return Ok(Some(ServerTls::from_pem_files(certificate, key)?));
    }
    if !self_signed {
        return Ok(None);
    }
    let made = SelfSigned::make(SystemTime::now()).map_err(|error| {
        Failure::new(
            Exit::Failure,
            format!("cannot make a certificate: {error}"),
            "use --tls-cert and --tls-key",
        )
    })?;
    anstream::eprintln!(
        "certificate for {}, valid for {} days, SHA-256 fingerprint {}",
        NAMES.join(", "),
        VALID.as_secs() / 86_400,
        made.fingerprint
    );
    Ok(Some(ServerTls::from_pem(
        made.certificate.as_bytes(),
        made.key.as_bytes(),
    )?))
}

/// A certificate that signs itself, and its key.
struct SelfSigned {
    certificate: String,
    key: String,
    /// As browsers and `openssl x509 -fingerprint -sha256` show it.
    fingerprint: String,
}

impl SelfSigned {
    fn make(now: SystemTime) -> Result<Self, rcgen::Error> {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut params = CertificateParams::new(NAMES.map(String::from))?;
        params
            .distinguished_name
            .push(DnType::CommonName, "antiphon development");
        params.not_before = date_time_ymd(1970, 1, 1) + since.saturating_sub(BACK);
        params.not_after = date_time_ymd(1970, 1, 1) + since + VALID;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let digest = digest::digest(&digest::SHA256, certificate.der());
        let mut fingerprint = String::new();
        for (index, byte) in digest.as_ref().iter().enumerate() {
            let colon = if index > 0 { ":" } else { "" };
            let _ = write!(fingerprint, "{colon}{byte:02X}");
        }
        Ok(Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            fingerprint,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_certificate_is_new_and_usable() {
        let first = SelfSigned::make(SystemTime::now()).unwrap();
        let second = SelfSigned::make(SystemTime::now()).unwrap();
        assert_ne!(first.fingerprint, second.fingerprint);
        assert_ne!(first.key, second.key);
        assert_eq!(first.fingerprint.len(), 32 * 3 - 1);
        assert!(ServerTls::from_pem(first.certificate.as_bytes(), first.key.as_bytes()).is_ok());
        assert!(ServerTls::from_pem(first.certificate.as_bytes(), second.key.as_bytes()).is_err());
    }
}
