//! The relay's TLS: version 1.3 only, post-quantum key exchange first, one protocol, nothing resumed; and that of the HTTP
//! door, which only carries it.

use super::{RelayError, ServerIdentity};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use std::sync::Arc;
use waxwing_protocol::{ALPN, Pin, ServerCertificate};

impl ServerIdentity {
    /// SHA-256 of the certificate's SubjectPublicKeyInfo: what links pin.
    pub fn pin(&self) -> Result<Pin, RelayError> {
        let certificate = ServerCertificate::read(&self.certificate_der).map_err(|_| RelayError::Certificate)?;
        Ok(certificate.pin())
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, RelayError> {
        PrivateKeyDer::try_from(self.private_key_der.to_vec()).map_err(|_| RelayError::PrivateKey)
    }
}

/// TLS of the HTTP door, under the operator's own certificate if there is one. Nothing relies on it.
pub(super) fn http(identity: &ServerIdentity, own: Option<&CertifiedKey>) -> Result<ServerConfig, RelayError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let shown = match own {
        Some(own) => own.clone(),
        None => {
            let certificate = CertificateDer::from(identity.certificate_der.clone());
            CertifiedKey::from_der(vec![certificate], identity.private_key()?, &provider)?
        }
    };
    let mut configuration = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(configuration)
}

/// The configuration of connections that speak our protocol. The provider is named, so that nothing else in the process can replace it.
pub(super) fn configuration(identity: &ServerIdentity) -> Result<ServerConfig, RelayError> {
    let certificate = CertificateDer::from(identity.certificate_der.clone());
    let key = identity.private_key()?;
    let mut configuration = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    configuration.alpn_protocols = vec![ALPN.to_vec()];
    configuration.session_storage = Arc::new(NoServerSessionStorage {});
    configuration.send_tls13_tickets = 0;
    configuration.max_early_data_size = 0;
    Ok(configuration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::NamedGroup;
    use zeroize::Zeroizing;

    #[test]
    fn the_post_quantum_exchange_comes_first_and_nothing_is_resumed() {
        let made = rcgen::generate_simple_self_signed(["waxwing".to_owned()]).unwrap();
        let identity = ServerIdentity {
            certificate_der: made.cert.der().to_vec(),
            private_key_der: Zeroizing::new(made.signing_key.serialize_der()),
        };
        let configuration = configuration(&identity).unwrap();
        assert_eq!(configuration.crypto_provider().kx_groups[0].name(), NamedGroup::X25519MLKEM768);
        assert_eq!(configuration.alpn_protocols, [b"waxwing/1"]);
        assert_eq!((configuration.send_tls13_tickets, configuration.max_early_data_size), (0, 0));
        assert!(!configuration.session_storage.can_cache());
        let key = rcgen::PublicKeyData::subject_public_key_info(&made.signing_key);
        assert_eq!(identity.pin().unwrap(), Pin::of_key(&key));
        assert!(ServerIdentity { certificate_der: vec![1, 2, 3], ..identity }.pin().is_err());
    }
}
