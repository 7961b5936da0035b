//! The account vault: both private keys, sealed under a random vault key, which is wrapped twice.
//!
//! It also holds the recovery code's wrap key, so that a new password needs a new vault key but not the recovery code:
//! whoever opens the vault has all that this key could open. For the same reason a user whose password was stolen needs
//! a new recovery code, too.
//! The invariant: a vault opens only under the username that it was sealed for, a wrap only as the kind that it was
//! made as, and whoever tries learns nothing but that it failed. This module must not know who stores them.

use super::{AccountError, AccountKey, AccountSecrets, BackupKey, IdentityKey};
use crate::{fields::Fields, seal};
use minicbor::{Decode, Encode};
use rsa::rand_core::CryptoRng;
use std::fmt;
use zeroize::Zeroizing;

const VAULT_LABEL: &str = "waxwing account vault";
const WRAP_LABEL: &str = "waxwing vault key";
/// The first byte of a vault and of a wrap.
const VERSION: u8 = 2;
/// Nothing longer is a vault.
const LIMIT: usize = 16 * 1024;

/// The private keys of an account. They are wiped when dropped.
pub struct AccountKeys {
    /// Signs device lists and credentials.
    pub identity: IdentityKey,
    /// Unwraps the keys of backups.
    pub backup: BackupKey,
    secret: Zeroizing<[u8; 32]>,
    /// What the recovery code wraps the vault key with; none until the keys were first sealed and opened.
    recovery_wrap: Option<Zeroizing<[u8; 32]>>,
}

/// What the server stores of an account's keys.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedVault {
    /// The keys under the vault key.
    pub vault: Vec<u8>,
    /// The vault key under the password.
    pub password_wrap: Vec<u8>,
    /// The vault key under the recovery code.
    pub recovery_wrap: Vec<u8>,
}

/// By what a vault key is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrapKind {
    /// The password.
    Password,
    /// The recovery code.
    Recovery,
}

/// The plaintext of a vault. Its first field tells versions apart for good: later fields may be added to this one.
#[derive(Encode, Decode)]
struct Content<'a> {
    #[n(0)]
    version: u8,
    /// PKCS#8 DER.
    #[cbor(n(1), with = "minicbor::bytes")]
    identity: &'a [u8],
    /// PKCS#8 DER.
    #[cbor(n(2), with = "minicbor::bytes")]
    backup: &'a [u8],
    #[cbor(n(3), with = "minicbor::bytes")]
    secret: &'a [u8],
    #[cbor(n(4), with = "minicbor::bytes")]
    recovery_wrap: &'a [u8],
}

impl AccountKeys {
    /// Makes the keys of a new account; takes about 0.6 s.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let secret = random(rng);
        Self { identity: IdentityKey::generate(rng), backup: BackupKey::generate(rng), secret, recovery_wrap: None }
    }

    /// New keys and a new vault secret that take the place of these; takes about 0.6 s. The recovery code stays, unless
    /// [`Self::seal`] gets another. The old keys are still needed: the identity for [`super::rotation::sign`], and the
    /// others to read backups that were made before.
    pub fn rotate(&self, rng: &mut impl CryptoRng) -> Self {
        Self { recovery_wrap: self.recovery_wrap.clone(), ..Self::generate(rng) }
    }

    /// What all devices of the account keep: it changes with [`Self::rotate`] only.
    pub fn account_key(&self) -> AccountKey {
        AccountKey::of(&self.secret)
    }

    /// 32 random bytes that go into the keys of backups beside what is wrapped to the backup key, because RSA alone
    /// would not outlast a quantum computer.
    pub fn vault_secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// Seals the keys under a new vault key, and that key under both secrets. A new password or code seals anew; without
    /// `recovery` the code that the vault was sealed with before stays.
    ///
    /// # Errors
    /// [`AccountError::OutOfMemory`], [`AccountError::NoRecoveryCode`].
    pub fn seal(
        &self,
        username: &str,
        password: &AccountSecrets,
        recovery: Option<&AccountSecrets>,
        rng: &mut impl CryptoRng,
    ) -> Result<SealedVault, AccountError> {
        let vault_key: Zeroizing<[u8; 32]> = random(rng);
        let recovery = recovery.map(|secrets| &secrets.wrap).or(self.recovery_wrap.as_ref());
        let recovery = recovery.ok_or(AccountError::NoRecoveryCode)?;
        let identity = self.identity.to_private_der();
        let backup = self.backup.to_private_der();
        let content = Content {
            version: VERSION,
            identity: identity.as_bytes(),
            backup: backup.as_bytes(),
            secret: self.secret.as_slice(),
            recovery_wrap: recovery.as_slice(),
        };
        // Room for all, so that it never moves and leaves no copy behind.
        let mut plaintext = Zeroizing::new(Vec::with_capacity(LIMIT));
        minicbor::encode(&content, &mut *plaintext).map_err(|_| AccountError::OutOfMemory)?;
        let mut wrap =
            |kind, key: &[u8; 32]| versioned(seal::seal(key, &wrap_context(username, kind), vault_key.as_slice(), rng));
        let password_wrap = wrap(WrapKind::Password, &password.wrap);
        let recovery_wrap = wrap(WrapKind::Recovery, recovery);
        let vault = versioned(seal::seal(&vault_key, &vault_context(username), &plaintext, rng));
        Ok(SealedVault { vault, password_wrap, recovery_wrap })
    }

    /// Opens a vault by one of its wraps.
    ///
    /// # Errors
    /// [`AccountError::Locked`], whatever is wrong.
    pub fn open(
        username: &str,
        vault: &[u8],
        wrap: &[u8],
        kind: WrapKind,
        secrets: &AccountSecrets,
    ) -> Result<Self, AccountError> {
        Self::try_open(username, vault, wrap, kind, secrets).ok_or(AccountError::Locked)
    }

    fn try_open(username: &str, vault: &[u8], wrap: &[u8], kind: WrapKind, secrets: &AccountSecrets) -> Option<Self> {
        if vault.len() > LIMIT || wrap.len() != 1 + seal::OVERHEAD + 32 {
            return None;
        }
        let wrap = wrap.strip_prefix(&[VERSION])?;
        let opened = seal::open(&secrets.wrap, &wrap_context(username, kind), wrap)?;
        let vault_key: Zeroizing<[u8; 32]> = Zeroizing::new(opened.as_slice().try_into().ok()?);
        let plaintext = seal::open(&vault_key, &vault_context(username), vault.strip_prefix(&[VERSION])?)?;
        let mut decoder = minicbor::Decoder::new(&plaintext);
        let content: Content<'_> = decoder.decode().ok()?;
        if content.version != VERSION || decoder.position() != plaintext.len() {
            return None;
        }
        Some(Self {
            identity: IdentityKey::from_private_der(content.identity).ok()?,
            backup: BackupKey::from_private_der(content.backup).ok()?,
            secret: Zeroizing::new(content.secret.try_into().ok()?),
            recovery_wrap: Some(Zeroizing::new(content.recovery_wrap.try_into().ok()?)),
        })
    }
}

impl fmt::Debug for AccountKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountKeys").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl fmt::Debug for SealedVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedVault({} bytes)", self.vault.len())
    }
}

fn random(rng: &mut impl CryptoRng) -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    rng.fill_bytes(bytes.as_mut());
    bytes
}

fn versioned(sealed: Vec<u8>) -> Vec<u8> {
    [&[VERSION], sealed.as_slice()].concat()
}

fn vault_context(username: &str) -> Vec<u8> {
    Fields::labelled(VAULT_LABEL).fixed(&[VERSION]).text(username).finish()
}

fn wrap_context(username: &str, kind: WrapKind) -> Vec<u8> {
    let kind = match kind {
        WrapKind::Password => "password",
        WrapKind::Recovery => "recovery",
    };
    Fields::labelled(WRAP_LABEL).fixed(&[VERSION]).text(username).text(kind).finish()
}

#[cfg(test)]
mod tests;
