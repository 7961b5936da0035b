//! The key of a device's local database, and the file that keeps it under the account's password.
//!
//! The invariant: the file says whether it is damaged or the password is wrong, and opens at no cost outside the floor
//! and ceiling of password derivations. This module must not know where the file lies or what the key encrypts.
//!
//! The file: magic (8 bytes) ‖ version (1) ‖ memory KiB, passes, lanes (8 each, big-endian) ‖ salt (16) ‖ the sealed
//! key (60) ‖ SHA-256 of all that (32). In every version it begins with the magic and the version, and ends with the
//! hash.

use crate::{
    account::password::{KdfParameters, StretchError, stretch},
    fields::{Fields, Reader},
    seal,
};
use rsa::{
    rand_core::CryptoRng,
    sha2::{Digest, Sha256},
};
use std::fmt;
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"waxwing\0";
const VERSION: u8 = 1;
const LABEL: &str = "waxwing local key v1";
/// No version of the file is longer.
const LIMIT: usize = 64 * 1024;

/// The key of the local database: 32 random bytes, wiped when dropped.
pub struct LocalKey(Zeroizing<[u8; 32]>);

/// Why a local key does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalError {
    /// The file is whole, the password is not its password.
    #[error("wrong password")]
    WrongPassword,
    /// The file is not what was written.
    #[error("the file with the local key is damaged")]
    Damaged,
    /// A later version of Waxwing wrote the file.
    #[error("the file with the local key was written by a newer version")]
    Newer,
    /// The machine has not the memory that the derivation takes.
    #[error("not enough memory to derive the key")]
    OutOfMemory,
}

impl LocalKey {
    /// Makes a new key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill_bytes(key.as_mut());
        Self(key)
    }

    /// A key that was kept elsewhere, as in the system's keyring.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// The raw key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalKey(secret)")
    }
}

/// Wraps the key under a password, with a new salt; takes about 0.2 s and 64 MiB.
///
/// # Errors
/// [`LocalError::OutOfMemory`].
pub fn wrap(key: &LocalKey, password: &str, rng: &mut impl CryptoRng) -> Result<Vec<u8>, LocalError> {
    let kdf = KdfParameters::recommended(rng);
    let header = Fields::default()
        .fixed(MAGIC)
        .fixed(&[VERSION])
        .number(kdf.memory_kib.into())
        .number(kdf.iterations.into())
        .number(kdf.parallelism.into())
        .fixed(&kdf.salt)
        .finish();
    let sealed = seal::seal(&*wrap_key(password, &kdf)?, &header, key.as_bytes(), rng);
    let body = [header, sealed].concat();
    let hash = Sha256::digest(&body);
    Ok([body.as_slice(), &hash].concat())
}

/// Opens what [`wrap`] made.
///
/// # Errors
/// Says whether the password or the file is wrong.
pub fn unwrap(file: &[u8], password: &str) -> Result<LocalKey, LocalError> {
    let (body, hash) = file.split_last_chunk::<32>().ok_or(LocalError::Damaged)?;
    if file.len() > LIMIT || !body.starts_with(MAGIC) || Sha256::digest(body).as_slice() != hash {
        return Err(LocalError::Damaged);
    }
    match body.get(MAGIC.len()) {
        Some(&VERSION) => {}
        Some(&later) if later > VERSION => return Err(LocalError::Newer),
        _ => return Err(LocalError::Damaged),
    }
    let (kdf, header, sealed) = parse(body).ok_or(LocalError::Damaged)?;
    let opened = seal::open(&*wrap_key(password, &kdf)?, header, sealed).ok_or(LocalError::WrongPassword)?;
    opened.as_slice().try_into().map(LocalKey::from_bytes).map_err(|_| LocalError::Damaged)
}

/// The parameters, the header that is bound to the sealed key, and the sealed key.
fn parse(body: &[u8]) -> Option<(KdfParameters, &[u8], &[u8])> {
    let mut reader = Reader(body);
    reader.array::<{ MAGIC.len() + 1 }>()?;
    let kdf = KdfParameters {
        memory_kib: reader.number()?.try_into().ok()?,
        iterations: reader.number()?.try_into().ok()?,
        parallelism: reader.number()?.try_into().ok()?,
        salt: reader.array()?,
    };
    let sealed = reader.rest();
    let header = body.strip_suffix(sealed)?;
    (sealed.len() == seal::OVERHEAD + 32).then_some((kdf, header, sealed))
}

fn wrap_key(password: &str, kdf: &KdfParameters) -> Result<Zeroizing<[u8; 32]>, LocalError> {
    stretch(password, kdf, Fields::labelled(LABEL)).map_err(|error| match error {
        // We never write such a file, so somebody else did.
        StretchError::Refused(_) => LocalError::Damaged,
        StretchError::OutOfMemory => LocalError::OutOfMemory,
    })
}

#[cfg(test)]
mod tests;
