//! What nodes tell each other, and its bytes: CBOR, numbered fields.
//!
//! Nodes of two versions run together while a cluster is upgraded: kinds and fields are added, never changed, and what a node
//! does not know counts as something missed.

use crate::{
    connection::outbox::End,
    limits::{Place, Taken},
    store::AccountId,
};
use minicbor::{Decode, Encode};
use waxwing_protocol::{Bytes, DeviceId};

/// See the module.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub(super) enum Hint {
    /// A frame for these devices, as it goes to them.
    #[n(0)]
    Event {
        #[n(0)]
        devices: Vec<DeviceId>,
        #[n(1)]
        frame: Bytes,
    },
    /// There is something new for these, too large to be carried.
    #[n(1)]
    Behind(#[n(0)] Vec<DeviceId>),
    /// A frame for everybody, and when it was said: milliseconds since 1970.
    #[n(2)]
    ForAll {
        #[n(0)]
        frame: Bytes,
        #[n(1)]
        at_ms: u64,
    },
    /// These devices' connections end.
    #[n(3)]
    Cut {
        #[n(0)]
        devices: Vec<DeviceId>,
        #[n(1)]
        reason: Why,
    },
    /// The sender is there.
    #[n(4)]
    Beat,
    /// What was taken from limited things.
    #[n(5)]
    Taken(#[n(0)] Vec<Share>),
}

/// What was taken from one bucket. A node that does not know the limit leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Share {
    /// 0: one of the tables; 1: an account's.
    #[n(0)]
    kind: u8,
    /// The table's number, or which of the account's.
    #[n(1)]
    number: u8,
    /// The two places in the table, 32 bits each; or the account.
    #[n(2)]
    place: i64,
    #[n(3)]
    tokens: i32,
}

impl From<Taken> for Share {
    fn from(Taken { place, tokens }: Taken) -> Self {
        match place {
            Place::Table(number, [one, other]) => {
                Self { kind: 0, number, place: (i64::from(one) << 32) | i64::from(other), tokens }
            }
            Place::Account(account, number) => Self { kind: 1, number, place: account.0, tokens },
        }
    }
}

impl Share {
    pub(super) fn taken(self) -> Option<Taken> {
        let Self { kind, number, place, tokens } = self;
        let half = |bits: i64| u32::try_from(bits & i64::from(u32::MAX)).unwrap_or_default();
        let place = match kind {
            0 => Place::Table(number, [half(place >> 32), half(place)]),
            1 => Place::Account(AccountId(place), number),
            _ => return None,
        };
        Some(Taken { place, tokens })
    }
}

/// Why connections end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) enum Why {
    /// The devices are no longer their account's.
    #[n(0)]
    Removed,
    /// The account is locked.
    #[n(1)]
    Disabled,
}

impl From<End> for Why {
    fn from(end: End) -> Self {
        match end {
            End::Disabled => Self::Disabled,
            _ => Self::Removed,
        }
    }
}

impl From<Why> for End {
    fn from(why: Why) -> Self {
        match why {
            Why::Removed => Self::Removed,
            Why::Disabled => Self::Disabled,
        }
    }
}

impl Hint {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to a Vec cannot fail.
        let _ = minicbor::encode(self, &mut bytes);
        bytes
    }

    /// None if it is of a kind that this version does not know.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        minicbor::decode(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_read_as_it_was_written_and_strange_ones_are_none() {
        let devices = vec![DeviceId([7; 16]), DeviceId([8; 16])];
        for hint in [
            Hint::Event { devices: devices.clone(), frame: vec![1; 300].into() },
            Hint::Behind(devices.clone()),
            Hint::ForAll { frame: vec![2].into(), at_ms: 3 },
            Hint::Cut { devices, reason: Why::Disabled },
            Hint::Beat,
            Hint::Taken(vec![Share { kind: 1, number: 2, place: -3, tokens: -4 }]),
        ] {
            let bytes = hint.encode();
            assert_eq!(Hint::decode(&bytes), Some(hint));
            for cut in 0..bytes.len() {
                assert_eq!(Hint::decode(&bytes[..cut]), None);
            }
        }
        let places = [Place::Table(3, [7, u32::MAX]), Place::Account(AccountId(1 << 40), 2)];
        for taken in places.map(|place| Taken { place, tokens: -5 }) {
            assert_eq!(Share::from(taken).taken(), Some(taken));
        }
        assert_eq!(Hint::decode(&[0x82, 0x18, 0x63, 0x80]), None, "of a later version");
    }
}
