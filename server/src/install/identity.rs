//! The server's identity: a P-256 key and a certificate signed by itself, whose key the link pins.
//!
//! Invariants: the pin depends on the key alone, so a new certificate for the same key keeps all links valid; a successor's
//! certificate names all keys before it, each vouching for the next, so that whoever knows one of them can follow.

use super::InstallError;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair, PublicKeyData as _, SigningKey as _};
use waxwing_protocol::{
    KEY_HISTORY_OID, KeyStatement, Pin, ServerCertificate, encode_key_history, key_statement_message, limits,
};
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
        Self::certify(KeyPair::generate().map_err(failed)?, &[])
    }

    /// Makes a key that this identity's key vouches for.
    pub fn successor(&self) -> Result<Self, InstallError> {
        let current = certificate(&self.certificate_der)?;
        if current.former.len() >= limits::KEY_HISTORY {
            return Err(InstallError::KeyHistoryFull);
        }
        let old = KeyPair::try_from(self.private_key_der.as_slice()).map_err(failed)?;
        let new = KeyPair::generate().map_err(failed)?;
        let message = key_statement_message(&current.pin(), &Pin::of_key(&new.subject_public_key_info()));
        let signature = old.sign(&message).map_err(failed)?;
        let mut history = current.former;
        history.push(KeyStatement { key: current.key, signature });
        Self::certify(new, &history)
    }

    fn certify(key: KeyPair, history: &[KeyStatement]) -> Result<Self, InstallError> {
        let mut parameters = CertificateParams::new(Vec::new()).map_err(failed)?;
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, "Waxwing server");
        if !history.is_empty() {
            let history = encode_key_history(history);
            let history = history.ok_or_else(|| InstallError::Identity("the former keys are malformed".into()))?;
            parameters.custom_extensions =
                vec![CustomExtension::from_oid_content(&KEY_HISTORY_OID.map(u64::from), history)];
        }
        let certificate = parameters.self_signed(&key).map_err(failed)?;
        Ok(Self { private_key_der: Zeroizing::new(key.serialize_der()), certificate_der: certificate.der().to_vec() })
    }
}

/// SHA-256 of the certificate's SubjectPublicKeyInfo.
pub fn pin(certificate_der: &[u8]) -> Result<Pin, InstallError> {
    certificate(certificate_der).map(|certificate| certificate.pin())
}

fn certificate(der: &[u8]) -> Result<ServerCertificate, InstallError> {
    ServerCertificate::read(der).map_err(|error| InstallError::Identity(error.to_string()))
}

fn failed(error: rcgen::Error) -> InstallError {
    InstallError::Identity(error.to_string())
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
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};

    #[test]
    fn each_identity_has_its_own_pin() {
        let (one, two) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        assert_ne!(pin(&one.certificate_der).unwrap(), pin(&two.certificate_der).unwrap());
        let text = pem(&one.certificate_der);
        assert!(text.lines().all(|line| line.len() <= 64));
        let read = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
        assert_eq!(read.as_ref(), one.certificate_der);
    }

    #[test]
    fn each_successor_names_all_keys_before_it() {
        let mut identity = Identity::generate().unwrap();
        let mut keys = Vec::new();
        for _ in 0..limits::KEY_HISTORY {
            keys.push(certificate(&identity.certificate_der).unwrap().key);
            identity = identity.successor().unwrap();
            let named = certificate(&identity.certificate_der).unwrap().former;
            assert_eq!(named.into_iter().map(|statement| statement.key).collect::<Vec<_>>(), keys);
        }
        assert!(matches!(identity.successor(), Err(InstallError::KeyHistoryFull)));
    }
}
