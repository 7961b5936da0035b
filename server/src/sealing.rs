//! The data key: what the server encrypts, hashes and invents with it, so that a copy of the database alone opens nothing.
//!
//! Invariant: every purpose has its own sub-key and its own associated data, so a sealed value opens only as what it was
//! sealed as and for the account it was sealed for. It must not know where sealed values are kept.

use aes_gcm::{
    Aes256Gcm, Nonce,
    aead::{Aead, KeyInit, Payload},
};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;
use waxwing_protocol::Username;
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// First byte of every sealed value: the format described at [`DataKey::seal`].
const FORMAT: u8 = 1;
const NONCE: usize = 12;

/// 32 secret bytes, kept outside the database. Zeroised on drop, redacted in `Debug`.
#[derive(Clone, ZeroizeOnDrop)]
pub struct DataKey([u8; 32]);

/// What a sealed value is; part of its associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An account's vault, sealed by its client before.
    Vault,
    /// The vault key under the password, sealed by its client before.
    PasswordWrap,
    /// The vault key under the recovery code, sealed by its client before.
    RecoveryWrap,
    /// The hash of the password's auth secret.
    PasswordHash,
    /// The hash of the recovery code's auth secret.
    RecoveryHash,
    /// The full name that an account gave.
    FullName,
    /// The e-mail address that an account gave.
    Email,
}

/// Why sealing or opening failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealingError {
    /// The value is shorter than any sealed value, or of a format that this version does not know.
    #[error("the stored {0} is no sealed value of this version")]
    Format(Purpose),
    /// Sealed under another data key, for another account or purpose, or changed since.
    #[error("the stored {0} does not open under this data key")]
    Authentication(Purpose),
    /// The operating system gave no random bytes, or the value is longer than AES-GCM takes.
    #[error("sealing failed")]
    Seal,
}

impl Purpose {
    fn label(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::PasswordWrap => "password wrap",
            Self::RecoveryWrap => "recovery wrap",
            Self::PasswordHash => "password hash",
            Self::RecoveryHash => "recovery hash",
            Self::FullName => "full name",
            Self::Email => "e-mail address",
        }
    }

    fn sub_key(self) -> &'static [u8] {
        match self {
            Self::Vault | Self::PasswordWrap | Self::RecoveryWrap => b"waxwing data key v1 vault",
            Self::PasswordHash | Self::RecoveryHash => b"waxwing data key v1 credential",
            Self::FullName | Self::Email => b"waxwing data key v1 personal",
        }
    }

    /// The associated data: purpose and username, each behind its length (both are shorter than 256 bytes).
    fn associated_data(self, username: &Username) -> Vec<u8> {
        let mut data = Vec::with_capacity(64);
        for part in [self.label(), username.as_str()] {
            data.push(part.len() as u8);
            data.extend_from_slice(part.as_bytes());
        }
        data
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(<secret>)")
    }
}

impl DataKey {
    /// The key of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Seals a value for one account: format byte ‖ 12 random bytes of nonce ‖ AES-256-GCM ciphertext and tag.
    pub fn seal(&self, purpose: Purpose, username: &Username, plain: &[u8]) -> Result<Vec<u8>, SealingError> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| SealingError::Seal)?;
        let payload = Payload { msg: plain, aad: &purpose.associated_data(username) };
        let ciphertext = self.cipher(purpose).encrypt(&Nonce::from(nonce), payload).map_err(|_| SealingError::Seal)?;
        Ok([&[FORMAT], nonce.as_slice(), &ciphertext].concat())
    }

    /// Opens what [`DataKey::seal`] made with the same purpose and username.
    pub fn open(&self, purpose: Purpose, username: &Username, sealed: &[u8]) -> Result<Vec<u8>, SealingError> {
        let (nonce, ciphertext) = match sealed.split_first_chunk::<{ 1 + NONCE }>() {
            Some(([FORMAT, nonce @ ..], ciphertext)) => (*nonce, ciphertext),
            _ => return Err(SealingError::Format(purpose)),
        };
        let payload = Payload { msg: ciphertext, aad: &purpose.associated_data(username) };
        self.cipher(purpose).decrypt(&Nonce::from(nonce), payload).map_err(|_| SealingError::Authentication(purpose))
    }

    /// The keyed hash by which an e-mail address is found; white space around it and the case of its letters do not count.
    pub fn email_lookup(&self, email: &str) -> [u8; 32] {
        self.keyed_hash(b"waxwing data key v1 lookup", email.trim().to_lowercase().as_bytes())
    }

    /// The salt that an unknown username is answered with: always the same, and not told apart from a random one.
    pub fn fake_salt(&self, username: &Username) -> [u8; 16] {
        let hash = self.keyed_hash(b"waxwing data key v1 fake salt", username.as_str().as_bytes());
        let mut salt = [0; 16];
        salt.copy_from_slice(hash.split_at(16).0);
        salt
    }

    fn cipher(&self, purpose: Purpose) -> Aes256Gcm {
        Aes256Gcm::new((&*self.derive(purpose.sub_key())).into())
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn keyed_hash(&self, label: &[u8], message: &[u8]) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(self.derive(label).as_slice()).expect("any length");
        mac.update(message);
        mac.finalize().into_bytes().into()
    }

    fn derive(&self, label: &[u8]) -> Zeroizing<[u8; 32]> {
        self.sub_key(label, &[])
    }

    /// The key for one purpose, and for one of its users.
    #[expect(clippy::expect_used, reason = "HKDF-SHA-256 gives up to 8160 bytes")]
    pub(crate) fn sub_key(&self, label: &[u8], of: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, &self.0).expand_multi_info(&[label, of], key.as_mut_slice()).expect("32 bytes");
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Username {
        text.parse().unwrap()
    }

    #[test]
    fn a_sealed_value_opens_only_as_what_it_was_sealed_as() {
        let key = DataKey::from_bytes([7; 32]);
        let sealed = key.seal(Purpose::Vault, &name("alice"), b"vault").unwrap();
        assert_eq!(key.open(Purpose::Vault, &name("alice"), &sealed).unwrap(), b"vault");
        let refused = Err(SealingError::Authentication(Purpose::Vault));
        assert_eq!(key.open(Purpose::Vault, &name("alicf"), &sealed), refused);
        assert_eq!(DataKey::from_bytes([8; 32]).open(Purpose::Vault, &name("alice"), &sealed), refused);
        assert_eq!(
            key.open(Purpose::PasswordWrap, &name("alice"), &sealed),
            Err(SealingError::Authentication(Purpose::PasswordWrap))
        );
        for index in 1..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(key.open(Purpose::Vault, &name("alice"), &changed), refused);
        }
        for damaged in [&[][..], &sealed[..12], &[2; 60]] {
            assert_eq!(key.open(Purpose::Vault, &name("alice"), damaged), Err(SealingError::Format(Purpose::Vault)));
        }
        assert_ne!(key.seal(Purpose::Vault, &name("alice"), b"vault").unwrap(), sealed);
    }

    #[test]
    fn look_ups_and_fakes_are_stable_and_keyed() {
        let (key, other) = (DataKey::from_bytes([7; 32]), DataKey::from_bytes([8; 32]));
        assert_eq!(key.email_lookup(" Alice@Example.org "), key.email_lookup("alice@example.org"));
        assert_ne!(key.email_lookup("alice@example.org"), other.email_lookup("alice@example.org"));
        assert_eq!(key.fake_salt(&name("alice")), key.fake_salt(&name("alice")));
        assert_ne!(key.fake_salt(&name("alice")), key.fake_salt(&name("bob")));
        assert_ne!(key.fake_salt(&name("alice")), other.fake_salt(&name("alice")));
        assert_eq!(format!("{key:?}"), "DataKey(<secret>)");
    }
}
