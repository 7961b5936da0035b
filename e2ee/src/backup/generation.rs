//! The key of a generation of backups.
//!
//! The invariant: it comes from a wrapped seed and the vault secret together, never from one of them. This module must
//! not know when a new generation begins: after a device was removed, and after new account keys.

use super::{BackupError, versioned};
use crate::{
    account::{BackupKey, BackupPublicKey},
    derive::derive,
    fields::Fields,
};
use minicbor::{
    CborLen, Decode, Decoder, Encode, Encoder, decode,
    encode::{self, Write},
};
use rsa::rand_core::CryptoRng;
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const LABEL: &str = "waxwing backup generation v1";
/// The first byte of a wrapped seed.
const VERSION: u8 = 1;

/// 32 bytes and the generation's number; wiped when dropped. Devices keep it in their local databases.
#[derive(Clone)]
pub struct GenerationKey {
    number: u32,
    key: Zeroizing<[u8; 32]>,
}

impl GenerationKey {
    /// Makes a new generation's key, and the wrapped seed (385 bytes) by which [`Self::open`] finds it again.
    pub fn create(
        number: u32,
        backup: &BackupPublicKey,
        vault_secret: &[u8; 32],
        rng: &mut impl CryptoRng,
    ) -> (Self, Vec<u8>) {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut());
        let wrapped = backup.wrap(&label(number), &seed, rng);
        (Self::mix(number, &seed, vault_secret), [&[VERSION], wrapped.as_slice()].concat())
    }

    /// Opens what [`Self::create`] wrapped. Only with what a [`super::VerifiedManifest`] says.
    ///
    /// # Errors
    /// [`BackupError::Locked`], [`BackupError::Newer`], [`BackupError::Malformed`].
    pub fn open(
        number: u32,
        wrapped: &[u8],
        backup: &BackupKey,
        vault_secret: &[u8; 32],
        rng: &mut impl CryptoRng,
    ) -> Result<Self, BackupError> {
        let seed = backup.unwrap(&label(number), versioned(wrapped, VERSION)?, rng).ok_or(BackupError::Locked)?;
        let seed = Zeroizing::new(seed.as_slice().try_into().map_err(|_| BackupError::Locked)?);
        Ok(Self::mix(number, &seed, vault_secret))
    }

    /// Reads what [`Self::number`] and [`Self::as_bytes`] gave.
    pub fn from_bytes(number: u32, key: &[u8; 32]) -> Self {
        Self { number, key: Zeroizing::new(*key) }
    }

    /// The generation's number; the first is 1.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The raw key, to be stored in the local database.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.key
    }

    /// Both secrets have a fixed length, so that no other pair concatenates to the same.
    fn mix(number: u32, seed: &[u8; 32], vault_secret: &[u8; 32]) -> Self {
        let mut both = Zeroizing::new([0; 64]);
        let (first, second) = both.split_at_mut(32);
        first.copy_from_slice(seed);
        second.copy_from_slice(vault_secret);
        Self { number, key: derive(LABEL.as_bytes(), both.as_slice(), &label(number)) }
    }

    /// The key of one sealed thing, which `purpose` and `id` name.
    pub(super) fn subkey(&self, purpose: &str, id: &[u8]) -> Zeroizing<[u8; 32]> {
        derive(LABEL.as_bytes(), self.key.as_slice(), &Fields::labelled(purpose).variable(id).finish())
    }
}

fn label(number: u32) -> Vec<u8> {
    Fields::labelled(LABEL).number(number.into()).finish()
}

impl PartialEq for GenerationKey {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number && bool::from(self.key.ct_eq(&*other.key))
    }
}

impl Eq for GenerationKey {}

impl fmt::Debug for GenerationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GenerationKey({}, secret)", self.number)
    }
}

impl<C> Encode<C> for GenerationKey {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(2)?.u32(self.number)?.bytes(self.as_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for GenerationKey {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let malformed = || decode::Error::message("no generation key");
        let fields = d.array()?.filter(|fields| *fields >= 2).ok_or_else(malformed)?;
        let key = Self::from_bytes(d.u32()?, d.bytes()?.try_into().map_err(|_| malformed())?);
        for _ in 2..fields {
            d.skip()?;
        }
        Ok(key)
    }
}

impl<C> CborLen<C> for GenerationKey {
    fn cbor_len(&self, context: &mut C) -> usize {
        1 + self.number.cbor_len(context) + 34
    }
}

#[cfg(test)]
mod tests;
