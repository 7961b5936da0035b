//! Which server this is: the one with the pinned key, or with a later key that the pinned one vouches for.
//!
//! Invariant: a certificate is accepted only if its own key, or a former key that leads to it by valid signatures, has the
//! pin; and only with proof that the server holds the certificate's key. Names, dates and issuers mean nothing.

use crate::Error;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::ParsedCertificate,
};
use std::{
    collections::HashSet,
    io,
    sync::{Arc, OnceLock},
};
use waxwing_protocol::{ALPN, KeyStatement, Pin, ServerCertificate, key_statement_message};
use webpki::RawPublicKeyEntity;

/// The key that a server has proven to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServerKey {
    /// Its pin: what the link must say from now on, and what devices sign.
    pub(crate) pin: Pin,
    /// The pin of the server's first key: what secrets are derived with, so that they outlive the key.
    pub(crate) origin: Pin,
}

/// Why a certificate is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untrusted {
    /// Its key is another, and the pinned key does not vouch for it.
    Key,
    /// Its key has the pin, but what it says of its former keys does not hold.
    History,
}

/// TLS for one connection to the server with this pin. The second value knows the server's key after the handshake.
pub(super) fn tls(pin: Pin) -> Result<(ClientConfig, Arc<Verifier>), Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(Verifier { pin, provider: Arc::clone(&provider), key: OnceLock::new() });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| Error::ServerMisbehaves(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    config.enable_early_data = false;
    config.resumption = rustls::client::Resumption::disabled();
    Ok((config, verifier))
}

/// Whether a handshake failed because the server is not the right one.
pub(super) fn refusal(error: &io::Error) -> Option<Untrusted> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => Some(Untrusted::Key),
        rustls::Error::InvalidCertificate(CertificateError::BadEncoding) => Some(Untrusted::History),
        _ => None,
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Verifier {
    pin: Pin,
    provider: Arc<CryptoProvider>,
    key: OnceLock<ServerKey>,
}

impl Verifier {
    /// The server's key, once the handshake is done.
    pub(super) fn key(&self) -> Option<ServerKey> {
        self.key.get().copied()
    }

    /// Follows the keys to that of the certificate.
    fn follow(&self, certificate: &CertificateDer<'_>) -> Result<ServerKey, Untrusted> {
        let proven = ParsedCertificate::try_from(certificate).map_err(|_| Untrusted::Key)?.subject_public_key_info();
        let presented = Pin::of_key(&proven);
        let wrong = if presented == self.pin { Untrusted::History } else { Untrusted::Key };
        // `proven` is the key that the handshake's signature is checked by. If the two parsers disagree nothing is proven.
        let read = ServerCertificate::read(certificate).ok().filter(|read| read.key == proven.as_ref()).ok_or(wrong)?;

        let former = read.former.iter().map(|statement| Pin::of_key(&statement.key));
        let keys: Vec<Pin> = former.chain([presented]).collect();
        let distinct = keys.iter().collect::<HashSet<_>>().len() == keys.len();
        // All statements, also those before the pinned key: the first one claims the origin.
        let mut steps = read.former.iter().zip(keys.iter().zip(keys.iter().skip(1)));
        if !distinct || !steps.all(|(statement, (old, new))| self.holds(statement, old, new)) {
            return Err(wrong);
        }
        match keys.first() {
            Some(origin) if keys.contains(&self.pin) => Ok(ServerKey { pin: presented, origin: *origin }),
            _ => Err(Untrusted::Key),
        }
    }

    fn holds(&self, statement: &KeyStatement, old: &Pin, new: &Pin) -> bool {
        let key = SubjectPublicKeyInfoDer::from(statement.key.as_slice());
        let Ok(key) = RawPublicKeyEntity::try_from(&key) else { return false };
        let message = key_statement_message(old, new);
        let all = self.provider.signature_verification_algorithms.mapping.iter();
        let p256 = all.filter(|(scheme, _)| *scheme == SignatureScheme::ECDSA_NISTP256_SHA256);
        let mut p256 = p256.flat_map(|(_, algorithms)| algorithms.iter());
        p256.any(|algorithm| key.verify_signature(*algorithm, &message, &statement.signature).is_ok())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.follow(end_entity) {
            Ok(key) => {
                let _ = self.key.set(key);
                Ok(ServerCertVerified::assertion())
            }
            Err(Untrusted::Key) => Err(CertificateError::ApplicationVerificationFailure.into()),
            Err(Untrusted::History) => Err(CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
