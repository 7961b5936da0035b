//! Who is there: what devices tell each other in signals, and nobody keeps.
//!
//! The invariant: whatever a member writes, it is bounded by the places of the group's members. It must not know who is asked,
//! nor for how long anything is believed.

use super::{ContentError, ReadError, fields, optional};
use minicbor::{Decoder, Encoder, encode::Error, encode::Write};

/// The most places that one signal tells of: more do not fit.
pub const PLACES: usize = 512;
/// Places in a byte.
const IN_BYTE: usize = 4;

/// How a member is, as somebody says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum There {
    /// Nothing is said of it.
    #[default]
    Unsaid,
    /// Has gone, or has not been seen.
    Gone,
    /// Has not touched a key for a while.
    Away,
    /// Looks at a screen.
    Here,
}

/// What a device says of its user, and perhaps of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// How its user is.
    pub own: There,
    /// Whether it wants to know of the others.
    pub ask: bool,
    /// How the members are as far as it knows, in the order of [`crate::mls::Signals::members`]; empty if it says nothing of
    /// them. At most [`PLACES`].
    pub others: Vec<There>,
}

impl There {
    fn number(self) -> u8 {
        match self {
            Self::Unsaid => 0,
            Self::Gone => 1,
            Self::Away => 2,
            Self::Here => 3,
        }
    }

    fn of(number: u8) -> Self {
        match number {
            1 => Self::Gone,
            2 => Self::Away,
            3 => Self::Here,
            // Of a newer version, too.
            _ => Self::Unsaid,
        }
    }
}

impl Presence {
    pub(super) fn check(&self) -> Result<(), ContentError> {
        if self.others.len() > PLACES { Err(ContentError::Malformed) } else { Ok(()) }
    }

    pub(super) fn write<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        let e = e.array(3)?.u8(self.own.number())?.bool(self.ask)?;
        if self.others.is_empty() {
            return e.null()?.ok();
        }
        let byte = |places: &[There]| places.iter().rev().fold(0, |byte, there| byte << 2 | there.number());
        let packed: Vec<u8> = self.others.chunks(IN_BYTE).map(byte).collect();
        e.bytes(&packed)?.ok()
    }

    pub(super) fn read(d: &mut Decoder<'_>) -> Result<Self, ReadError> {
        fields(d, 3, |d| {
            let (own, ask) = (There::of(d.u8()?), d.bool()?);
            let packed = optional(d, |d| Ok(d.bytes()?.to_vec()))?.unwrap_or_default();
            let places = packed.iter().flat_map(|byte| (0..IN_BYTE).map(move |place| byte >> (2 * place) & 3));
            Ok(Self { own, ask, others: places.map(There::of).take(PLACES + 1).collect() })
        })
    }
}
