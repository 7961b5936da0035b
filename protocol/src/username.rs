//! Usernames: the only names that the server knows.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use std::{fmt, str::FromStr};

/// A valid username: 3 to 32 of `a-z 0-9 _ . -`, the first a letter or a digit, always in lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Username(String);

/// Why a text is no username; the message is for users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsernameError {
    /// Fewer than 3 or more than 32 characters.
    #[error("a username has 3 to 32 characters")]
    Length,
    /// Something else than a letter, a digit, `_`, `.` or `-`.
    #[error("a username consists of the letters a-z, digits, '_', '.' and '-'")]
    Character,
    /// The first character is neither a letter nor a digit.
    #[error("a username begins with a letter or a digit")]
    Start,
}

impl Username {
    /// The name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Username {
    type Err = UsernameError;

    /// Folds ASCII upper case; refuses everything that is not a username then.
    fn from_str(text: &str) -> Result<Self, UsernameError> {
        let length = text.chars().count();
        if !(3..=32).contains(&length) {
            return Err(UsernameError::Length);
        }
        let name = text.to_ascii_lowercase();
        if !name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"_.-".contains(&c)) {
            return Err(UsernameError::Character);
        }
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(UsernameError::Start);
        }
        Ok(Self(name))
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Username({})", self.0)
    }
}

impl<C> Encode<C> for Username {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Username {
    /// Accepts the canonical form only, so one account has one spelling on the wire.
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let text = d.str()?;
        match text.parse::<Self>() {
            Ok(name) if name.0 == text => Ok(name),
            _ => Err(decode::Error::message("not a username")),
        }
    }
}
