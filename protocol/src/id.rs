//! Identifiers: 16 random bytes each (32 where knowing one is a permission), made by whoever creates the thing.

use minicbor::{Decode, Encode};
use std::{fmt, str::FromStr};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[cbor(with = "minicbor::bytes")] pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ();

            /// Reads 32 hexadecimal digits.
            fn from_str(text: &str) -> Result<Self, ()> {
                if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(());
                }
                u128::from_str_radix(text, 16).map(|number| Self(number.to_be_bytes())).map_err(drop)
            }
        }
    };
}

id! {
    /// A device of an account, chosen at random by the device.
    DeviceId
}
id! {
    /// A conversation: also the MLS group id. Chosen at random by the client that creates it.
    ConversationId
}
id! {
    /// One life of the server's database: a restored copy gets a new one, so that clients notice.
    Incarnation
}
/// An attachment: 32 bytes, chosen at random by the device that uploads it. Whoever knows them may fetch it, so `Debug` does not
/// show them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct AttachmentId(#[cbor(with = "minicbor::bytes")] pub [u8; 32]);

impl fmt::Debug for AttachmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AttachmentId(<secret>)")
    }
}

id! {
    /// A segment of an account's backup, chosen at random by the device that made it.
    SegmentId
}
