//! Names of public rooms. Those of private groups the server never sees.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use std::{fmt, str::FromStr};

/// A valid name of a public room: 1 to 32 of `a-z 0-9 _ . -`, the first a letter or a digit, always in lower case, and without
/// the `#` that it is shown with.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomName(String);

/// Why a text is no room's name; the message is for users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoomNameError {
    /// Nothing, or more than 32 characters.
    #[error("a room's name has 1 to 32 characters")]
    Length,
    /// Something else than a letter, a digit, `_`, `.` or `-`, or no letter or digit at the beginning.
    #[error("a room's name consists of the letters a-z, digits, '_', '.' and '-', and begins with a letter or a digit")]
    Character,
}

impl RoomName {
    /// The name, in lower case, without `#`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoomName {
    type Err = RoomNameError;

    /// Folds ASCII upper case and takes one `#` off; refuses everything that is not a name then.
    fn from_str(text: &str) -> Result<Self, RoomNameError> {
        let name = text.strip_prefix('#').unwrap_or(text).to_ascii_lowercase();
        if !(1..=32).contains(&name.chars().count()) {
            return Err(RoomNameError::Length);
        }
        let plain = name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"_.-".contains(&c));
        if !plain || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(RoomNameError::Character);
        }
        Ok(Self(name))
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Debug for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomName({})", self.0)
    }
}

impl<C> Encode<C> for RoomName {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for RoomName {
    /// Accepts the canonical form only, so one room has one spelling on the wire.
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let text = d.str()?;
        match text.parse::<Self>() {
            Ok(name) if name.0 == text => Ok(name),
            _ => Err(decode::Error::message("not a room's name")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_has_one_spelling() {
        let name: RoomName = "#Birds-2".parse().unwrap();
        assert_eq!((name.as_str(), name.to_string()), ("birds-2", "#birds-2".to_owned()));
        assert_eq!("x".parse::<RoomName>().map(|name| name.0), Ok("x".to_owned()));
        for bad in ["", "#", &"x".repeat(33)] {
            assert_eq!(bad.parse::<RoomName>(), Err(RoomNameError::Length), "{bad}");
        }
        for bad in ["##a", "a b", "-a", "\u{e4}", "a#"] {
            assert_eq!(bad.parse::<RoomName>(), Err(RoomNameError::Character), "{bad}");
        }
        let wire = minicbor::to_vec("Birds").unwrap();
        assert!(minicbor::decode::<RoomName>(&wire).is_err(), "only the canonical form travels");
    }
}
