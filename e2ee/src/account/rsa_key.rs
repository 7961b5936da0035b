//! What the identity key and the backup key have in common: both are RSA-3072 with exponent 65537.
//!
//! The invariant: no other kind of RSA key, and no second encoding of the same key, passes through here. It must not
//! know what a key is used for; that is the business of the types around it.

use rsa::{
    RsaPrivateKey, RsaPublicKey,
    pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, SecretDocument},
    rand_core::CryptoRng,
    traits::PublicKeyParts,
};

/// The size of every modulus, in bits.
const MODULUS_BITS: usize = 3072;
/// 65537, big-endian.
const EXPONENT: &[u8] = &[1, 0, 1];
/// No canonical SubjectPublicKeyInfo of such a key is longer, so nothing longer is parsed.
const PUBLIC_LIMIT: usize = 1024;

/// Why bytes are no key of ours: whoever handed them over misbehaved or is of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the canonical DER encoding of an RSA key.
    #[error("not an RSA key")]
    Malformed,
    /// Another size than 3072 bits.
    #[error("an RSA key of {0} bits instead of 3072")]
    Size(u32),
    /// Another public exponent than 65537.
    #[error("an RSA key with an unusual public exponent")]
    Exponent,
}

/// Makes a private key; takes about 0.3 s.
#[expect(clippy::expect_used, reason = "making a key fails for sizes below 1024 bits only")]
pub(crate) fn generate(rng: &mut impl CryptoRng) -> RsaPrivateKey {
    RsaPrivateKey::new(rng, MODULUS_BITS).expect("3072 bits is a valid size")
}

/// Reads a SubjectPublicKeyInfo (DER), canonical and nothing after it.
pub(crate) fn public_from_der(der: &[u8]) -> Result<RsaPublicKey, KeyError> {
    if der.len() > PUBLIC_LIMIT {
        return Err(KeyError::Malformed);
    }
    let key = RsaPublicKey::from_public_key_der(der).map_err(|_| KeyError::Malformed)?;
    check(&key)?;
    let canonical = key.to_public_key_der().is_ok_and(|again| again.as_bytes() == der);
    if canonical { Ok(key) } else { Err(KeyError::Malformed) }
}

/// The SubjectPublicKeyInfo (DER).
#[expect(clippy::expect_used, reason = "encoding fails for values above 256 MiB only")]
pub(crate) fn public_to_der(key: &RsaPublicKey) -> Vec<u8> {
    key.to_public_key_der().expect("an RSA key encodes").into_vec()
}

/// Reads a private key (PKCS#8 DER); its parts are checked against each other.
pub(crate) fn private_from_der(der: &[u8]) -> Result<RsaPrivateKey, KeyError> {
    let key = RsaPrivateKey::from_pkcs8_der(der).map_err(|_| KeyError::Malformed)?;
    check(&key)?;
    key.validate().map_err(|_| KeyError::Malformed)?;
    Ok(key)
}

/// The private key (PKCS#8 DER), wiped when dropped.
#[expect(clippy::expect_used, reason = "encoding fails for values above 256 MiB only")]
pub(crate) fn private_to_der(key: &RsaPrivateKey) -> SecretDocument {
    key.to_pkcs8_der().expect("an RSA key encodes")
}

fn check(key: &impl PublicKeyParts) -> Result<(), KeyError> {
    let bits = key.n().bits();
    if bits as usize != MODULUS_BITS {
        return Err(KeyError::Size(bits));
    }
    if *key.e_bytes() != *EXPONENT {
        return Err(KeyError::Exponent);
    }
    Ok(())
}
