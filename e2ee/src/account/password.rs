//! Passwords: their floor of strength, their one normal form, and what is derived from them.
//!
//! The invariant: no server, however it misbehaves, gets a password's derivation at a cost below the floor or makes a
//! client spend above the ceiling. This module must not know where the parameters come from or go to.

use super::AccountError;
use crate::{derive::derive, fields::Fields};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use rsa::{
    rand_core::CryptoRng,
    sha2::{Digest, Sha256},
};
use std::{fmt, ops::RangeInclusive};
use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize, Zeroizing};

const SALT_LABEL: &str = "waxwing password salt v1";
const SECRETS_LABEL: &str = "waxwing account secrets v1";

const MEMORY_KIB: RangeInclusive<u32> = 64 * 1024..=256 * 1024;
const ITERATIONS: RangeInclusive<u32> = 3..=10;
const PARALLELISM: RangeInclusive<u32> = 1..=8;

/// A password that is too easy to guess. Its text is a hint for the user, and holds nothing of the password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this password is too easy to guess: {hint}")]
pub struct WeakPassword {
    /// What would make it better, in a sentence or two.
    pub hint: String,
}

/// Requires a zxcvbn score of 3, "safely unguessable", because whoever runs the server can guess offline. `user_inputs`
/// are words that a guesser would try first: the username, the full name, the e-mail address.
///
/// # Errors
/// A hint for the user.
pub fn check_strength(password: &str, user_inputs: &[&str]) -> Result<(), WeakPassword> {
    let inputs: Vec<&str> = user_inputs.iter().copied().filter(|input| !input.is_empty()).chain(["waxwing"]).collect();
    let estimate = zxcvbn::zxcvbn(&normalise(password), &inputs);
    if estimate.score() >= zxcvbn::Score::Three {
        return Ok(());
    }
    let hint = estimate.feedback().map(ToString::to_string).filter(|hint| !hint.trim().is_empty());
    Err(WeakPassword { hint: hint.unwrap_or_else(|| "Add another word or two.".to_owned()) })
}

/// The form of a password that is hashed: Unicode NFC, so that a letter with an accent counts the same whether a
/// keyboard sends it as one character or as two. Nothing else is changed: no case, no space, no NUL, no length.
pub fn normalise(password: &str) -> Zeroizing<String> {
    // NFC makes a text at most three times longer, so it never moves and leaves no copy behind.
    let mut normal = Zeroizing::new(String::with_capacity(password.len().saturating_mul(3)));
    normal.extend(password.nfc());
    normal
}

/// How a password is stretched (Argon2id, version 1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfParameters {
    /// Random; new with each password.
    pub salt: [u8; 16],
    /// Memory, in KiB: from 64 MiB to 256 MiB.
    pub memory_kib: u32,
    /// Passes over the memory: 3 to 10.
    pub iterations: u32,
    /// Lanes: 1 to 8.
    pub parallelism: u32,
}

/// Why parameters are refused: whoever sent them misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KdfRefused {
    /// They would make the password easier to guess.
    #[error("the password derivation asked for is too weak")]
    TooWeak,
    /// They would exhaust this machine.
    #[error("the password derivation asked for is too expensive")]
    TooExpensive,
}

impl KdfParameters {
    /// 64 MiB, 3 passes, 4 lanes, and a new salt: about 0.2 s.
    pub fn recommended(rng: &mut impl CryptoRng) -> Self {
        let mut salt = [0; 16];
        rng.fill_bytes(&mut salt);
        Self { salt, memory_kib: 64 * 1024, iterations: 3, parallelism: 4 }
    }

    /// Whether all costs are within the compiled floor and ceiling. Takes no memory.
    ///
    /// # Errors
    /// Says on which side they are out; too expensive weighs more.
    pub fn check(&self) -> Result<(), KdfRefused> {
        let costs = [(self.memory_kib, MEMORY_KIB), (self.iterations, ITERATIONS), (self.parallelism, PARALLELISM)];
        if costs.iter().any(|(cost, allowed)| cost > allowed.end()) {
            return Err(KdfRefused::TooExpensive);
        }
        if costs.iter().any(|(cost, allowed)| cost < allowed.start()) {
            return Err(KdfRefused::TooWeak);
        }
        Ok(())
    }
}

/// Why a stretch failed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StretchError {
    Refused(KdfRefused),
    OutOfMemory,
}

impl From<StretchError> for AccountError {
    fn from(error: StretchError) -> Self {
        match error {
            StretchError::Refused(refused) => Self::Kdf(refused),
            StretchError::OutOfMemory => Self::OutOfMemory,
        }
    }
}

/// Argon2id of the normalised password under the costs of `kdf`; its salt is the hash of `salt`, which tells purposes
/// and places apart. The costs are checked before any memory is taken, and the memory is wiped after use.
pub(crate) fn stretch(password: &str, kdf: &KdfParameters, salt: Fields) -> Result<Zeroizing<[u8; 32]>, StretchError> {
    kdf.check().map_err(StretchError::Refused)?;
    // Unreachable: the floor and ceiling are within what Argon2 accepts.
    let unfit = |_| StretchError::Refused(KdfRefused::TooExpensive);
    let params = Params::new(kdf.memory_kib, kdf.iterations, kdf.parallelism, Some(32)).map_err(unfit)?;
    let mut memory = Vec::new();
    memory.try_reserve_exact(params.block_count()).map_err(|_| StretchError::OutOfMemory)?;
    memory.resize(params.block_count(), Block::default());
    let salt: [u8; 32] = Sha256::digest(salt.fixed(&kdf.salt).finish()).into();
    let mut output = Zeroizing::new([0; 32]);
    let result = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
        normalise(password).as_bytes(),
        &salt,
        output.as_mut(),
        &mut memory,
    );
    memory.iter_mut().for_each(Zeroize::zeroize);
    result.map(|()| output).map_err(unfit)
}

/// What a password or a recovery code gives: one half for the server, one that never leaves the client.
pub struct AccountSecrets {
    /// Proves knowledge to the server, which keeps a hash of it.
    pub auth: Zeroizing<[u8; 32]>,
    /// Opens the wrap of the vault key.
    pub(super) wrap: Zeroizing<[u8; 32]>,
}

impl AccountSecrets {
    /// HKDF-SHA-256 with a label for each half.
    pub(super) fn expand(salt: &[u8; 32], secret: &[u8]) -> Self {
        let half = |purpose: &str| derive(salt, secret, &Fields::labelled(SECRETS_LABEL).text(purpose).finish());
        Self { auth: half("auth"), wrap: half("wrap") }
    }
}

impl fmt::Debug for AccountSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountSecrets(secret)")
    }
}

/// Derives an account's secrets from its password; takes about 0.2 s and 64 MiB. `server` is the pin of the server's
/// identity, so the same password gives another server nothing.
///
/// # Errors
/// The parameters are refused, or there is no memory.
pub fn derive_password(
    password: &str,
    kdf: &KdfParameters,
    server: &[u8; 32],
    username: &str,
) -> Result<AccountSecrets, AccountError> {
    let stretched = stretch(password, kdf, Fields::labelled(SALT_LABEL).fixed(server).text(username))?;
    let salt = Sha256::digest(Fields::labelled(SECRETS_LABEL).text("password").finish()).into();
    Ok(AccountSecrets::expand(&salt, stretched.as_slice()))
}

#[cfg(test)]
mod tests;
