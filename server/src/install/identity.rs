//! The server's identity: a P-256 key and a certificate signed by itself, whose key the link pins.
//!
//! Invariant: the pin depends on the key alone, so a new certificate for the same key keeps all links valid.

use super::InstallError;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{CertificateParams, DnType, KeyPair};
use sha2::{Digest, Sha256};
use waxwing_protocol::Pin;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

/// A new key with its certificate.
pub struct Identity {
    /// PKCS#8, DER.
    pub private_key_der: Zeroizing<Vec<u8>>,
    /// X.509, DER; valid from 1975 to 4096, since clients trust the pin and nothing else.
    pub certificate_der: Vec<u8>,
}

impl Identity {
    /// Makes a key and signs its certificate.
    pub fn generate() -> Result<Self, InstallError> {
        let failed = |error: rcgen::Error| InstallError::Identity(error.to_string());
        let key = KeyPair::generate().map_err(failed)?;
        let mut parameters = CertificateParams::new(Vec::new()).map_err(failed)?;
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, "Waxwing server");
        let certificate = parameters.self_signed(&key).map_err(failed)?;
        Ok(Self { private_key_der: Zeroizing::new(key.serialize_der()), certificate_der: certificate.der().to_vec() })
    }
}

/// SHA-256 of the certificate's SubjectPublicKeyInfo.
pub fn pin(certificate_der: &[u8]) -> Result<Pin, InstallError> {
    let (_, certificate) =
        X509Certificate::from_der(certificate_der).map_err(|error| InstallError::Identity(error.to_string()))?;
    Ok(Pin(Sha256::digest(certificate.public_key().raw).into()))
}

/// The certificate as PEM (RFC 7468).
pub fn pem(certificate_der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for (index, letter) in BASE64_STANDARD.encode(certificate_der).chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            text.push('\n');
        }
        text.push(letter);
    }
    text + "\n-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_identity_has_its_own_pin() {
        let (one, two) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        assert_ne!(pin(&one.certificate_der).unwrap(), pin(&two.certificate_der).unwrap());
        let text = pem(&one.certificate_der);
        assert!(text.lines().all(|line| line.len() <= 64));
        let (_, read) = x509_parser::pem::parse_x509_pem(text.as_bytes()).unwrap();
        assert_eq!(read.contents, one.certificate_der);
    }
}
