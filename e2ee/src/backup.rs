//! Backups: what a device keeps at the server so that another one can take it up: messages, contacts, settings.
//!
//! Three layers: a **generation key** seals everything; it is made of a seed wrapped to the account's backup key and of
//! the vault secret, so that neither RSA nor the vault's cipher alone opens it. **Segments** hold messages of one
//! conversation, or a part of the account's state. The **manifest** says which segments there are; it is signed by a
//! device of the account's list, and each one names the one before.
//!
//! The invariant: nothing is decrypted before the manifest's signature is checked, and a segment opens only for its
//! account, generation and id. This module must not know who stores backups, nor when one is made. Ratchet states and
//! devices' keys have no place in it.

mod generation;
mod manifest;
mod segment;
mod state;

pub use generation::GenerationKey;
pub use manifest::{Body, Manifest, SegmentEntry, SignedManifest, StateEntry, VerifiedManifest};
pub use segment::{Done, Message, Said, Segment, open_segment, seal_segment};
pub use state::{Chat, Contact, Position, State};

/// The longest sealed segment, in bytes.
pub const SEGMENT: usize = 384 * 1024;
/// The longest signed manifest, in bytes: enough for some 3,000 segments.
pub const MANIFEST: usize = 512 * 1024;

/// Why a backup cannot be made or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// It does not fit a segment or a manifest.
    #[error("the backup is too long for one piece")]
    TooLong,
    /// Not the encoding of such a thing of this version.
    #[error("the backup is malformed")]
    Malformed,
    /// A later version of Waxwing wrote it.
    #[error("the backup was written by a newer version of Waxwing")]
    Newer,
    /// Deliberately the same for a wrong key, another account's backup and a changed byte.
    #[error("the backup does not open with this account's keys")]
    Locked,
    /// It is of another account than the device list.
    #[error("the backup of another account")]
    OtherAccount,
    /// No device of the account's list signed it.
    #[error("the backup is not signed by a device of the account")]
    Signature,
    /// An older manifest is shown again.
    #[error("the backup went back from version {from} to {to}")]
    Rollback {
        /// The version that was known.
        from: u64,
        /// The version shown.
        to: u64,
    },
    /// Two different manifests have the same version, or one does not continue the one before.
    #[error("version {version} of the backup does not continue the one that is known")]
    Fork {
        /// The version shown.
        version: u64,
    },
}

/// Splits off the version byte in front of a sealed thing.
fn versioned(bytes: &[u8], version: u8) -> Result<&[u8], BackupError> {
    match bytes.split_first() {
        Some((first, rest)) if *first == version => Ok(rest),
        Some((first, _)) if *first > version => Err(BackupError::Newer),
        _ => Err(BackupError::Malformed),
    }
}

/// Decodes all of `bytes`; fields that a later version appended are skipped.
fn decoded<'b, T: minicbor::Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, BackupError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder.decode().map_err(|_| BackupError::Malformed)?;
    if decoder.position() == bytes.len() { Ok(value) } else { Err(BackupError::Malformed) }
}

/// Encodes into a buffer that never moves, so that no copy is left behind.
fn encoded<T: minicbor::Encode<()> + minicbor::CborLen<()>>(
    value: &T,
) -> Result<zeroize::Zeroizing<Vec<u8>>, BackupError> {
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(minicbor::len(value)));
    minicbor::encode(value, &mut *bytes).map_err(|_| BackupError::TooLong)?;
    Ok(bytes)
}
