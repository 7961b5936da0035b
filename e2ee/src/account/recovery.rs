//! The recovery code: what opens an account when its password is lost.
//!
//! The invariant: a code holds 165 random bits and a check that finds every single wrong character and every swap of
//! two, before anything is asked of the server. This module must not know where the code is kept: it is shown once.

use super::AccountSecrets;
use crate::fields::Fields;
use rsa::{
    rand_core::CryptoRng,
    sha2::{Digest, Sha256},
};
use std::{fmt, str::FromStr};
use zeroize::Zeroizing;

/// 32 characters, 5 bits each; without I, L, O and U, which look like others.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// How many characters are random.
const RANDOM: usize = 33;
/// How many characters there are in all: seven groups of five.
const LENGTH: usize = RANDOM + 2;
const GROUP: usize = 5;
/// The largest prime that two characters can count to.
const MODULUS: u16 = 1021;
const LABEL: &str = "waxwing recovery code v1";

/// A recovery code, as in `7Q2MX-…`: the values of its random characters, wiped when dropped.
pub struct RecoveryCode(Zeroizing<[u8; RANDOM]>);

/// Why a text is no recovery code; the message is for users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryCodeError {
    /// Too few or too many characters (this many).
    #[error("a recovery code has 35 letters and digits, these are {0}")]
    Length(usize),
    /// A character that no code contains.
    #[error("a recovery code does not contain '{0}'")]
    Character(char),
    /// The check characters do not fit: something is mistyped.
    #[error("there is a typing mistake in this recovery code")]
    Mistyped,
}

impl RecoveryCode {
    /// Makes a new code.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut values = Zeroizing::new([0; RANDOM]);
        rng.fill_bytes(values.as_mut());
        values.iter_mut().for_each(|value| *value &= 31);
        Self(values)
    }

    /// The account's secrets by this code; it needs no stretching, since nobody guesses 165 bits. `server` is the pin.
    pub fn secrets(&self, server: &[u8; 32], username: &str) -> AccountSecrets {
        let salt = Sha256::digest(Fields::labelled(LABEL).fixed(server).text(username).finish()).into();
        AccountSecrets::expand(&salt, self.0.as_slice())
    }

    /// Two characters' worth of a weighted sum: as the weights are distinct and not 0 modulo a prime above 31, no single
    /// change and no swap keeps it. The check characters' own weights (-32 and -1) are distinct from the others, too.
    fn check(&self) -> u16 {
        self.0.iter().zip(2..).fold(0, |sum, (value, weight)| (sum + u16::from(*value) * weight) % MODULUS)
    }
}

impl fmt::Display for RecoveryCode {
    /// Seven groups of five. This shows the secret: it is for the user's eyes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let check = self.check();
        let values = self.0.iter().map(|value| u16::from(*value)).chain([check / 32, check % 32]);
        for (position, value) in values.enumerate() {
            if position > 0 && position % GROUP == 0 {
                f.write_str("-")?;
            }
            let character = ALPHABET.get(usize::from(value)).ok_or(fmt::Error)?;
            write!(f, "{}", char::from(*character))?;
        }
        Ok(())
    }
}

impl FromStr for RecoveryCode {
    type Err = RecoveryCodeError;

    /// Forgives case, spaces, dashes, and O for 0, I and L for 1.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut values = Zeroizing::new([0; LENGTH]);
        let mut length = 0;
        for character in text.chars().filter(|character| !is_separator(*character)) {
            let value = value_of(character).ok_or(RecoveryCodeError::Character(character))?;
            if let Some(place) = values.get_mut(length) {
                *place = value;
            }
            length += 1;
        }
        let [random @ .., high, low] = &*values;
        if length != LENGTH {
            return Err(RecoveryCodeError::Length(length));
        }
        let code = Self(Zeroizing::new(*random));
        if code.check() == u16::from(*high) * 32 + u16::from(*low) {
            Ok(code)
        } else {
            Err(RecoveryCodeError::Mistyped)
        }
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(secret)")
    }
}

fn is_separator(character: char) -> bool {
    character.is_whitespace() || matches!(character, '-' | '_' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

fn value_of(character: char) -> Option<u8> {
    let plain = match character.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let position = ALPHABET.iter().position(|known| char::from(*known) == plain)?;
    u8::try_from(position).ok()
}

#[cfg(test)]
mod tests;
