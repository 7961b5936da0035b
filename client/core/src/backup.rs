//! Backups: what of the history the server keeps, sealed, for the account's next device.
//!
//! This module owns what is planned, and what manifests and segments mean for this profile. The invariant: what is
//! believed of a backup was signed by a device of the account, sealed under the account's generation key, and never goes
//! back behind what this device has seen. It must not know connections: `engine::backup` talks to the server.

mod drill;
mod enrolment;
mod manifest;
mod plan;
mod ranges;
mod segment;
mod state;
mod status;

pub(crate) use drill::Scratch;
pub(crate) use enrolment::{begin, open_at_login, rotate, store_first};
pub(crate) use manifest::{Shown, adopt, check, entry_of, hash_of, is_off, state_entry_of};
pub(crate) use plan::{Item, Log, Stored, plan};
pub(crate) use ranges::{Range, Ranges};
pub(crate) use segment::{pack, unpack};
pub(crate) use state::{apply as apply_state, collect as collect_state};
pub use status::{BackupDifference, BackupDrill, BackupGap, BackupStatus, RestoreProgress};
pub(crate) use status::{progress, status};

use crate::Error;
use waxwing_e2ee::backup::BackupError;

/// A backup that is refused, with the reason in words for users.
pub(crate) fn refused(error: BackupError) -> Error {
    Error::BackupRefused(match error {
        BackupError::Rollback { from, to } => {
            format!("the server shows an older backup (version {to}) than this device has seen (version {from})")
        }
        BackupError::Fork { version } => {
            format!("the server shows another version {version} of the backup than the one that this device has seen")
        }
        BackupError::Signature => "no device of this account has signed it".into(),
        BackupError::OtherAccount => "it is another account's".into(),
        BackupError::Locked => "it does not open with this account's keys: it was swapped or damaged".into(),
        BackupError::Malformed => "it is cut short or damaged".into(),
        BackupError::Newer => "a newer version of Waxwing wrote it; update this program".into(),
        BackupError::TooLong => "it is too long for this version of Waxwing".into(),
    })
}
