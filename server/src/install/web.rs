//! The operator's own certificate for the HTTP door, read from PEM files.
//!
//! It is for browsers, tools and proxies; Waxwing's clients go by the pinned key whatever certificate stands outside.

use super::{InstallError, Web};
use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use std::{os::unix::fs::PermissionsExt as _, path::Path};

/// Reads the certificate, those that vouch for it and its key, and whether they belong together; none if the configuration
/// names none.
pub fn certificate(config: &Web) -> Result<Option<CertifiedKey>, InstallError> {
    let (Some(certificate), Some(key)) = (&config.certificate, &config.key) else { return Ok(None) };
    let failed = |file: &Path, reason: String| InstallError::Certificate { file: file.to_owned(), reason };
    let mode = std::fs::metadata(key).map_err(|error| failed(key, error.to_string()))?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(InstallError::Exposed { path: key.clone(), mode: mode & 0o777, wanted: 0o600 });
    }
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| failed(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(failed(certificate, "there is no certificate in it".into()));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, error.to_string()))?;
    let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
    let certified = certified
        .map_err(|error| failed(certificate, format!("it cannot be used with the key of http.key: {error}")))?;
    Ok(Some(certified))
}
