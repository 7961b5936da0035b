//! The identity of an account: an RSA-3072 pair that signs (PSS, SHA-256, 32 bytes of salt) and does nothing else.
//!
//! The invariant: every signature covers a label that names its purpose. This module must not know what is signed.

use super::{KeyError, rsa_key};
use crate::fields::Fields;
use rsa::{
    Pss, RsaPrivateKey, RsaPublicKey,
    pkcs8::SecretDocument,
    rand_core::CryptoRng,
    sha2::{Digest, Sha256},
};
use std::fmt;

/// The length of every signature, in bytes.
pub(crate) const SIGNATURE: usize = 384;

/// The private half of an identity. It is wiped when dropped.
pub struct IdentityKey(RsaPrivateKey);

impl IdentityKey {
    /// Makes a new identity; takes about 0.3 s.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(rsa_key::generate(rng))
    }

    /// What others know the identity by.
    pub fn public(&self) -> IdentityPublicKey {
        IdentityPublicKey::new(self.0.to_public_key())
    }

    /// Reads PKCS#8 DER.
    pub(crate) fn from_private_der(der: &[u8]) -> Result<Self, KeyError> {
        rsa_key::private_from_der(der).map(Self)
    }

    /// PKCS#8 DER.
    pub(crate) fn to_private_der(&self) -> SecretDocument {
        rsa_key::private_to_der(&self.0)
    }

    /// Signs `body` for the purpose that `label` names: [`SIGNATURE`] bytes.
    #[expect(clippy::expect_used, reason = "signing fails for keys too small for the digest or inconsistent only")]
    pub(crate) fn sign(&self, label: &str, body: &[u8], rng: &mut impl CryptoRng) -> Vec<u8> {
        self.0
            .sign_with_rng(rng, Pss::<Sha256>::new_blinded(), &digest(label, body))
            .expect("a valid RSA-3072 key signs")
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityKey({:?}, private)", self.public())
    }
}

/// The public half of an identity: what contacts pin and the safety number is made of.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentityPublicKey {
    key: RsaPublicKey,
    fingerprint: [u8; 32],
}

impl IdentityPublicKey {
    fn new(key: RsaPublicKey) -> Self {
        let fingerprint = Sha256::digest(rsa_key::public_to_der(&key)).into();
        Self { key, fingerprint }
    }

    /// Reads a SubjectPublicKeyInfo (DER). Strict: canonical, RSA, 3072 bits, exponent 65537, nothing after it.
    ///
    /// # Errors
    /// Says what is wrong with the bytes; whoever sent them misbehaved.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        rsa_key::public_from_der(der).map(Self::new)
    }

    /// The SubjectPublicKeyInfo (DER), 422 bytes.
    pub fn to_der(&self) -> Vec<u8> {
        rsa_key::public_to_der(&self.key)
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Whether the identity signed `body` for the purpose that `label` names.
    pub(crate) fn signed(&self, label: &str, body: &[u8], signature: &[u8]) -> bool {
        self.verify_digest(&digest(label, body), signature)
    }

    fn verify_digest(&self, digest: &[u8], signature: &[u8]) -> bool {
        self.key.verify(Pss::<Sha256>::new(), digest, signature).is_ok()
    }
}

impl fmt::Debug for IdentityPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityPublicKey(")?;
        self.fingerprint.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

fn digest(label: &str, body: &[u8]) -> [u8; 32] {
    Sha256::digest(Fields::labelled(label).variable(body).finish()).into()
}

#[cfg(test)]
mod tests;
