//! What nodes tell each other, and its bytes: CBOR, numbered fields.
//!
//! Nodes of two versions run together while a cluster is upgraded: kinds and fields are added, never changed. A kind that a
//! node does not know counts as something missed, so what can be left out stands in a field of a kind that all know.

use crate::{
    connection::outbox::End,
    limits::{self, Origin, Place, Sitting, Taken, Told},
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
    /// The sender is there; and who sits there.
    #[n(4)]
    Beat(#[n(0)] Option<Seats>),
    /// What was taken from limited things.
    #[n(5)]
    Taken(#[n(0)] Vec<Share>),
}

/// A part of what a node tells of the devices that sit there.
#[derive(Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Seats {
    /// Everything begins anew with this part.
    #[n(0)]
    begins: bool,
    /// With this part everything was told.
    #[n(1)]
    ends: bool,
    #[n(2)]
    came: Vec<Seat>,
    #[n(3)]
    left: Vec<Seat>,
}

/// A device that has a place: in its account, or from its network. A node that does not know what it is leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
struct Seat {
    #[n(0)]
    device: DeviceId,
    #[n(1)]
    account: Option<i64>,
    #[cbor(n(2), with = "minicbor::bytes")]
    network: Option<[u8; 16]>,
}

/// The most places in one hint: below 256 KiB.
const SEATS: usize = 4096;

impl From<Sitting> for Seat {
    fn from(sitting: Sitting) -> Self {
        match sitting {
            Sitting::OfAccount(account, device) => Self { device, account: Some(account.0), network: None },
            Sitting::From(origin, device) => Self { device, account: None, network: Some(origin.network()) },
        }
    }
}

impl Seat {
    fn sitting(self) -> Option<Sitting> {
        match (self.account, self.network) {
            (Some(account), None) => Some(Sitting::OfAccount(AccountId(account), self.device)),
            (None, Some(network)) => Some(Sitting::From(Origin::of_network(network), self.device)),
            _ => None,
        }
    }
}

impl Seats {
    /// The parts of what is told, in their order.
    pub(super) fn parts(told: Told) -> Vec<Self> {
        let part = |came: &[Sitting], left: &[Sitting]| Self {
            came: came.iter().copied().map(Seat::from).collect(),
            left: left.iter().copied().map(Seat::from).collect(),
            ..Self::default()
        };
        let mut parts: Vec<Self> = told.came.chunks(SEATS).map(|came| part(came, &[])).collect();
        parts.extend(told.left.chunks(SEATS).map(|left| part(&[], left)));
        if told.whole {
            if parts.is_empty() {
                parts.push(Self::default());
            }
            parts.first_mut().into_iter().for_each(|part| part.begins = true);
            parts.last_mut().into_iter().for_each(|part| part.ends = true);
        }
        parts
    }

    pub(super) fn heard(self) -> limits::Heard {
        let all = |seats: Vec<Seat>| seats.into_iter().filter_map(Seat::sitting).collect();
        limits::Heard { begins: self.begins, ends: self.ends, came: all(self.came), left: all(self.left) }
    }
}

/// What was taken from one bucket. A node that does not know the limit leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Share {
    /// 0: one of the tables; 1: an account's; 2: bytes that an account leaves to be fetched.
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
            Place::Waiting(account) => Self { kind: 2, number: 0, place: account.0, tokens },
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
            2 => Place::Waiting(AccountId(place)),
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

    fn sitting() -> [Sitting; 2] {
        let origin = std::net::IpAddr::from([127, 0, 0, 1]).into();
        [Sitting::OfAccount(AccountId(1 << 40), DeviceId([1; 16])), Sitting::From(origin, DeviceId([2; 16]))]
    }

    #[test]
    fn nodes_of_earlier_versions_and_this_one_understand_each_others_beats() {
        #[derive(Debug, PartialEq, Eq, Encode, Decode)]
        enum Earlier {
            #[n(4)]
            Beat,
        }
        let earlier = minicbor::to_vec(Earlier::Beat).unwrap();
        assert_eq!(Hint::decode(&earlier), Some(Hint::Beat(None)));
        let seats = Seats::parts(Told { whole: true, came: sitting().to_vec(), left: Vec::new() }).remove(0);
        for hint in [Hint::Beat(None), Hint::Beat(Some(seats))] {
            assert_eq!(minicbor::decode::<Earlier>(&hint.encode()).unwrap(), Earlier::Beat);
        }
    }

    #[test]
    fn who_sits_there_is_told_in_parts_that_can_be_carried() {
        let [of_account, from] = sitting();
        let parts = Seats::parts(Told { whole: true, came: vec![from; 2 * SEATS + 1], left: Vec::new() });
        assert!(parts.iter().all(|part| minicbor::to_vec(part).unwrap().len() < super::super::CARRIED));
        let ends: Vec<_> = parts.iter().map(|part| (part.begins, part.ends, part.came.len())).collect();
        assert_eq!(ends, [(true, false, SEATS), (false, false, SEATS), (false, true, 1)]);
        let none = Seats::parts(Told { whole: true, ..Told::default() });
        assert_eq!(none, [Seats { begins: true, ends: true, ..Seats::default() }]);
        let changes = Seats::parts(Told { whole: false, came: vec![of_account], left: vec![from] });
        let heard: Vec<_> = changes.into_iter().map(Seats::heard).collect();
        let expected = |came, left| limits::Heard { came, left, ..limits::Heard::default() };
        assert_eq!(heard, [expected(vec![of_account], Vec::new()), expected(Vec::new(), vec![from])]);
        assert_eq!(Seats::parts(Told::default()), []);
        let strange = Seat { device: DeviceId([1; 16]), account: None, network: None };
        assert_eq!(strange.sitting(), None, "of a later version");
    }

    #[test]
    fn a_hint_is_read_as_it_was_written_and_strange_ones_are_none() {
        let devices = vec![DeviceId([7; 16]), DeviceId([8; 16])];
        let seats = || Seats::parts(Told { whole: true, came: sitting().to_vec(), left: Vec::new() }).remove(0);
        for hint in [
            Hint::Event { devices: devices.clone(), frame: vec![1; 300].into() },
            Hint::Behind(devices.clone()),
            Hint::ForAll { frame: vec![2].into(), at_ms: 3 },
            Hint::Cut { devices, reason: Why::Disabled },
            Hint::Beat(None),
            Hint::Beat(Some(seats())),
            Hint::Taken(vec![Share { kind: 1, number: 2, place: -3, tokens: -4 }]),
        ] {
            let bytes = hint.encode();
            assert_eq!(Hint::decode(&bytes), Some(hint));
            for cut in 0..bytes.len() {
                assert_eq!(Hint::decode(&bytes[..cut]), None);
            }
        }
        let account = AccountId(1 << 40);
        let places = [Place::Table(3, [7, u32::MAX]), Place::Account(account, 2), Place::Waiting(account)];
        for taken in places.map(|place| Taken { place, tokens: -5 }) {
            assert_eq!(Share::from(taken).taken(), Some(taken));
        }
        assert_eq!(Hint::decode(&[0x82, 0x18, 0x63, 0x80]), None, "of a later version");
    }
}
