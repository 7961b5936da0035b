//! The messenger without a screen: accounts, chats and messages behind [`Client`] commands and an [`Event`] stream.
//!
//! It keeps the invariants of delivery: what it reports as done is on disk, a message is shown once and in the order of
//! its chat's log, and nothing leaves before the state that produced it is committed. Its API speaks of chats and
//! messages: no MLS, SQL or wire type leaves it, and it never asks or prints anything.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod account;
mod address;
mod backup;
#[cfg(feature = "benchmark")]
pub mod benchmark;
mod client;
mod directory;
mod engine;
mod error;
mod event;
mod export;
mod files;
mod group;
mod key_packages;
mod lookalike;
pub mod mentions;
mod message;
mod owner;
mod presence;
mod profile;
mod search;
mod store;
mod transport;

pub use account::{
    Admission, LogIn, LoggedIn, Pong, Recover, Recovered, SignUp, SignedUp, Step, check_password, check_recovery_code,
    check_username, default_device_name, log_in, ping, recover, sign_up,
};
pub use address::ChatKind;
pub use backup::{BackupDifference, BackupDrill, BackupGap, BackupStatus, RestoreProgress};
pub use client::{
    Client, Unlock,
    messages::{Anchor, Page, Place, Switch},
    owner::{Device, Revoked},
    trust::{ChangedIdentity, Identity, Verification},
};
pub use error::{Error, ErrorKind};
pub use event::{Connection, Event, Events, Transfer};
#[doc(hidden)]
pub use export::check_import;
pub use export::{ExportCursor, ExportFormat, ExportPage, ExportRequest, Imported};
pub use files::Picture;
pub use group::{ChatMember, GroupChange, GroupInfo, Room, Wish};
pub use lookalike::look;
pub use message::{
    Chat, Content, Doubt, File, Message, MessageId, MessageRef, MessageState, Reaction, Reply, Status, Whoami,
};
pub use presence::{Presence, Present};
pub use profile::{ProfilePath, Remembered};
pub use search::{Found, Hit, Snippet};
pub use transport::{Route, Via, set_route};
/// The server's link.
pub use waxwing_protocol::{Link, LinkError};
/// A string that is wiped from memory when dropped.
pub use zeroize::Zeroizing;

use rand_core::UnwrapErr;
use waxwing_e2ee::mls::{self, Mls, MlsError};

/// The system's randomness. Without it nothing here may go on.
fn random() -> UnwrapErr<getrandom::SysRng> {
    UnwrapErr(getrandom::SysRng)
}

/// Our own part of a group failed, not what somebody sent.
fn mls_error(error: &MlsError) -> Error {
    match error {
        MlsError::Database(error) => error.into(),
        error => Error::Storage(error.to_string()),
    }
}

/// This device as it signs in groups.
fn own_device(mls: &Mls<'_>, own: &store::own::Own) -> Result<mls::Device, Error> {
    let damaged = || Error::Storage("the keys of this device are missing or damaged".into());
    let public: [u8; 32] = own.mls_key.as_slice().try_into().map_err(|_| damaged())?;
    let device = mls::Device::load(mls, &own.username, &own.device, &public, &own.credential);
    device.map_err(|error| mls_error(&error))?.ok_or_else(damaged)
}
