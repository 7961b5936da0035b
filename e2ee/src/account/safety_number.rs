//! The safety number: what two people compare to know that nobody sits between them.
//!
//! Modelled on Signal's numeric fingerprint (`libsignal/rust/protocol/src/fingerprint.rs`): for each side SHA-512 over
//! label ‖ username ‖ key, hashed on with the key 5,200 times, and of its first 30 bytes six groups of five digits; the
//! side whose digits come first in order comes first. The work makes a look-alike costlier to search for.
//! The invariant: both sides get the same number, and another identity or name on either side gives another. This
//! module must not know who has compared what.

use super::IdentityPublicKey;
use crate::fields::Fields;
use rsa::sha2::{Digest, Sha256, Sha512};
use std::fmt;

const LABEL: &str = "waxwing safety number v1";
const QR_LABEL: &str = "waxwing safety number qr v1";
/// How often a side is hashed, as with Signal.
const ITERATIONS: u32 = 5200;
/// How many digits stand together.
const GROUP: usize = 5;
/// How many groups stand in a row.
const ROW: usize = 4;
/// How a QR of ours begins, in every version.
const QR_PREFIX: &str = "waxwing-safety-number:";
const QR_VERSION: &str = "1";

/// The safety number of two accounts; [`fmt::Display`] gives three rows of four groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafetyNumber {
    digits: String,
    /// A full-length hash of each side, in order.
    sides: [[u8; 32]; 2],
}

/// A text that cannot be compared: no QR of a safety number, or one of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QrError {
    /// It is something else.
    #[error("this QR code is not a Waxwing safety number")]
    NotOurs,
    /// The other side has another version of Waxwing.
    #[error("this safety number is from another version of Waxwing: compare the digits instead")]
    OtherVersion,
}

impl SafetyNumber {
    /// The number of two accounts, in either order: usernames and identities. Takes some ten milliseconds.
    pub fn new(one: (&str, &IdentityPublicKey), other: (&str, &IdentityPublicKey)) -> Self {
        let mut digits = [one, other].map(|(username, key)| digits(username, key));
        digits.sort();
        let mut sides = [one, other].map(|(username, key)| {
            let side = Fields::labelled(QR_LABEL).text(username).variable(&key.to_der()).finish();
            Sha256::digest(side).into()
        });
        sides.sort_unstable();
        Self { digits: digits.concat(), sides }
    }

    /// The 60 digits without spaces.
    pub fn digits(&self) -> &str {
        &self.digits
    }

    /// What the QR code says: a version and, for each side, a hash of name and identity. Both sides show the same.
    pub fn qr(&self) -> String {
        let [one, other] = &self.sides;
        format!("{QR_PREFIX}{QR_VERSION}:{}:{}", hex(one), hex(other))
    }

    /// Whether the other side's QR code is of the same two identities and names. If not, somebody may sit in between.
    ///
    /// # Errors
    /// The text cannot be compared, which says nothing about the identities.
    pub fn matches_qr(&self, text: &str) -> Result<bool, QrError> {
        let rest = text.trim().strip_prefix(QR_PREFIX).ok_or(QrError::NotOurs)?;
        let (version, sides) = rest.split_once(':').ok_or(QrError::NotOurs)?;
        if version != QR_VERSION {
            return Err(QrError::OtherVersion);
        }
        let whole = sides.len() == 129 && sides.bytes().all(|c| c.is_ascii_hexdigit() || c == b':');
        if !whole {
            return Err(QrError::NotOurs);
        }
        Ok(text.trim() == self.qr())
    }
}

impl fmt::Display for SafetyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, digit) in self.digits.chars().enumerate() {
            if position > 0 && position % (GROUP * ROW) == 0 {
                f.write_str("\n")?;
            } else if position > 0 && position % GROUP == 0 {
                f.write_str(" ")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// The 30 digits of one side.
fn digits(username: &str, key: &IdentityPublicKey) -> String {
    let key = key.to_der();
    let mut hash = Sha512::digest(Fields::labelled(LABEL).text(username).variable(&key).finish());
    for _ in 0..ITERATIONS {
        hash = Sha512::new().chain_update(hash).chain_update(&key).finalize();
    }
    let group = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)) % 100_000;
    hash.chunks_exact(GROUP).take(6).map(|bytes| format!("{:05}", group(bytes))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
