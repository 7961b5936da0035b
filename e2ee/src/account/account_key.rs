//! The account key: what all devices of an account share, and nobody else: it seals the names of the devices.
//!
//! The invariant: a name opens only for the device that it was sealed for, and all sealed names are equally long. This
//! module must not know where names are kept.

use crate::{derive::derive, fields::Fields, seal};
use rsa::rand_core::CryptoRng;
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const LABEL: &str = "waxwing account key v1";
const NAME_LABEL: &str = "waxwing device name v1";
/// The first byte of a sealed name.
const VERSION: u8 = 1;
/// The longest name of a device, in UTF-8 bytes.
pub const DEVICE_NAME: usize = 64;

/// 32 bytes, wiped when dropped. Devices keep it in their local databases.
#[derive(Clone)]
pub struct AccountKey(Zeroizing<[u8; 32]>);

impl AccountKey {
    pub(super) fn of(vault_secret: &[u8; 32]) -> Self {
        Self(derive(LABEL.as_bytes(), vault_secret, &[]))
    }

    /// Reads what [`Self::as_bytes`] gave.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// The raw key, to be stored in the local database.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals a device's name: always 94 bytes. Of a name longer than [`DEVICE_NAME`] the first whole characters are
    /// kept.
    pub fn seal_device_name(&self, device: &[u8; 16], name: &str, rng: &mut impl CryptoRng) -> Vec<u8> {
        let name = name.as_bytes().get(..name.floor_char_boundary(DEVICE_NAME)).unwrap_or_default();
        let mut padded = Vec::with_capacity(1 + DEVICE_NAME);
        // At most 64.
        padded.extend(u8::try_from(name.len()));
        padded.extend_from_slice(name);
        padded.resize(1 + DEVICE_NAME, 0);
        [&[VERSION], seal::seal(&self.0, &context(device), &padded, rng).as_slice()].concat()
    }

    /// The name of a device; none if it has none, or another key or another device's name was sealed. Whoever signed
    /// the list chose it: make it safe for a screen.
    pub fn open_device_name(&self, device: &[u8; 16], sealed: &[u8]) -> Option<String> {
        let padded = seal::open(&self.0, &context(device), sealed.strip_prefix(&[VERSION])?)?;
        let (length, name) = padded.split_first()?;
        let name = std::str::from_utf8(name.get(..usize::from(*length))?).ok()?;
        (!name.is_empty()).then(|| name.to_owned())
    }
}

impl PartialEq for AccountKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for AccountKey {}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountKey(secret)")
    }
}

fn context(device: &[u8; 16]) -> Vec<u8> {
    Fields::labelled(NAME_LABEL).fixed(device).finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::testing::{alice, mallory, rng};

    const LAPTOP: [u8; 16] = [1; 16];

    #[test]
    fn a_name_opens_for_its_account_and_device_only() {
        let key = alice().account_key();
        let sealed = key.seal_device_name(&LAPTOP, "Laptop 🐦", &mut rng());
        assert_eq!(key.open_device_name(&LAPTOP, &sealed).as_deref(), Some("Laptop 🐦"));
        let stored = AccountKey::from_bytes(key.as_bytes());
        assert_eq!(stored, key);
        assert_eq!(stored.open_device_name(&LAPTOP, &sealed).as_deref(), Some("Laptop 🐦"));
        assert_eq!(key.open_device_name(&[2; 16], &sealed), None);
        assert_eq!(mallory().account_key().open_device_name(&LAPTOP, &sealed), None);
        assert_ne!(key.as_bytes(), alice().vault_secret());
    }

    #[test]
    fn all_names_look_alike_and_long_ones_are_cut_between_characters() {
        let key = alice().account_key();
        for (name, opened) in [
            ("", None),
            ("x", Some("x".to_owned())),
            (&"x".repeat(64), Some("x".repeat(64))),
            (&"x".repeat(65), Some("x".repeat(64))),
            (&format!("{}é", "x".repeat(63)), Some("x".repeat(63))),
        ] {
            let sealed = key.seal_device_name(&LAPTOP, name, &mut rng());
            assert_eq!(sealed.len(), 94);
            assert_eq!(key.open_device_name(&LAPTOP, &sealed), opened);
        }
    }

    #[test]
    fn a_changed_or_cut_name_does_not_open() {
        let key = alice().account_key();
        let sealed = key.seal_device_name(&LAPTOP, "Laptop", &mut rng());
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert_eq!(key.open_device_name(&LAPTOP, &bad), None, "byte {at}");
            assert_eq!(key.open_device_name(&LAPTOP, &sealed[..at]), None, "cut at {at}");
        }
        assert_eq!(key.open_device_name(&LAPTOP, &[]), None);
    }

    #[test]
    fn the_key_is_never_printed() {
        assert_eq!(format!("{:?}", alice().account_key()), "AccountKey(secret)");
    }
}
