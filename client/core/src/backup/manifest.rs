//! Manifests: whether what the server shows may be believed, and taking it over.
//!
//! The invariant: the signature is checked before anything is decrypted, the way back is refused before anything is
//! replaced, and what is replaced is replaced in one transaction.

use super::{Range, refused};
use crate::{
    Error,
    store::{
        self,
        backup::{Restored, Standing},
        coverage,
        own::{self, Own},
    },
};
use rusqlite::Connection;
use waxwing_e2ee::{
    account::{DeviceList, IdentityPublicKey},
    backup::{BackupError, Body, GenerationKey, SegmentEntry, StateEntry, VerifiedManifest},
};
use waxwing_protocol::Manifest;

/// What the server shows.
pub(crate) enum Shown {
    /// A manifest that holds, and what is in it.
    Some(Box<VerifiedManifest>, Body),
    /// None, and there never was one or it was deleted.
    None,
}

/// Checks what the server shows against what this device has seen.
///
/// # Errors
/// [`Error::BackupRefused`], [`Error::BackupLocked`] if only the account's owner can open it.
pub(crate) fn check(db: &Connection, own: &Own, shown: &Manifest, incarnation: &[u8; 16]) -> Result<Shown, Error> {
    let standing = store::backup::load(db)?;
    // A database that was restored from a copy is older, and says so by another incarnation.
    let same_database = standing.incarnation.as_ref().is_none_or(|known| known == incarnation);
    let older = |version| refused(BackupError::Rollback { from: standing.version, to: version });
    let Some(bytes) = &shown.manifest else {
        return if same_database && shown.version < standing.version {
            Err(older(shown.version))
        } else {
            Ok(Shown::None)
        };
    };
    let manifest = match VerifiedManifest::verify(&bytes.0, &own.username, &own::verified_list(own)?) {
        Err(BackupError::Signature) => verify_by_former(db, own, &bytes.0)?,
        verified => verified.map_err(refused)?,
    };
    if manifest.version() != shown.version {
        return Err(Error::BackupRefused("its version is not the one that the server names".into()));
    }
    if same_database && let Some(hash) = &standing.hash {
        manifest.follows(standing.version, hash).map_err(refused)?;
    }
    let (key, _) = store::backup::key(db, manifest.generation())?.ok_or(Error::BackupLocked)?;
    let body = manifest.open(&key).map_err(|error| match error {
        // Two devices began a generation at once; ours lost.
        BackupError::Locked if standing.version == 0 => Error::BackupLocked,
        error => refused(error),
    })?;
    Ok(Shown::Some(Box::new(manifest), body))
}

/// Just after a device was signed out the newest manifest may still be its work: one more list counts until there is a
/// manifest by a device that is listed now.
fn verify_by_former(db: &Connection, own: &Own, bytes: &[u8]) -> Result<VerifiedManifest, Error> {
    let unsigned = || refused(BackupError::Signature);
    let (list, identity) = store::backup::former_list(db)?.ok_or_else(unsigned)?;
    let identity = IdentityPublicKey::from_der(&identity).map_err(|_| unsigned())?;
    let list = DeviceList::verify(&list, &identity, &own.username).map_err(|_| unsigned())?;
    VerifiedManifest::verify(bytes, &own.username, &list).map_err(refused)
}

/// The hash of what the server shows, if a device of the account has signed it.
pub(crate) fn hash_of(own: &Own, shown: &Manifest) -> Result<Option<[u8; 32]>, Error> {
    let Some(bytes) = &shown.manifest else { return Ok(None) };
    let manifest = VerifiedManifest::verify(&bytes.0, &own.username, &own::verified_list(own)?);
    Ok(manifest.ok().map(|manifest| manifest.hash()))
}

/// A manifest without anything, not even a state: the account's user wants no backup.
pub(crate) fn is_off(body: &Body) -> bool {
    body.state.is_empty() && body.segments.is_empty()
}

/// Takes over what a manifest says, in the caller's transaction.
pub(crate) fn adopt(
    tx: &Connection,
    own: &Own,
    manifest: &VerifiedManifest,
    body: &Body,
    incarnation: &[u8; 16],
) -> Result<(), Error> {
    if own::verified_list(own)?.list.device(&manifest.device()).is_some() {
        store::backup::forget_former_list(tx)?;
    }
    for key in &body.former {
        store::backup::add_key(tx, key, None)?;
    }
    if let Some((key, _)) = store::backup::key(tx, manifest.generation())? {
        store::backup::add_key(tx, &key, Some(manifest.wrapped()))?;
    }
    let logs = store::backup::logs(tx)?;
    let restored = |entry: &SegmentEntry| {
        let Some(log) = logs.iter().find(|log| log.conversation == entry.conversation) else {
            return Ok(Restored::Not);
        };
        let held = coverage::of(tx, log.chat, log.era)?;
        let range = Range { first: entry.first, last: entry.last };
        // What is still to come the log itself brings, as new messages.
        let to_come = log.cursor.is_some_and(|cursor| range.last > cursor);
        Ok(if to_come || held.contains_all(range) { Restored::Yes } else { Restored::Not })
    };
    let fresh = store::backup::load(tx)?.version == 0;
    let state = if fresh { Restored::Not } else { Restored::Yes };
    store::backup::replace(tx, &body.segments, &body.state, restored, state)?;
    let (_, left) = store::backup::count(tx, Some(Restored::Not))?;
    store::backup::update(tx, |standing: &mut Standing| {
        standing.version = manifest.version();
        standing.hash = Some(manifest.hash());
        standing.incarnation = Some(*incarnation);
        standing.generation = standing.generation.max(Some(manifest.generation()));
        standing.restoring = standing.restoring.max(left);
    })?;
    Ok(())
}

/// The entry of the manifest that a segment is.
pub(crate) fn entry_of(
    log: &store::backup::Log,
    range: Range,
    rows: &[store::backup::Row],
    key: &GenerationKey,
) -> SegmentEntry {
    SegmentEntry {
        id: [0; 16],
        generation: key.number(),
        chat: log.name.clone(),
        conversation: log.conversation,
        era: u32::try_from(log.era).unwrap_or(u32::MAX),
        first: range.first,
        last: range.last,
        count: u32::try_from(rows.len()).unwrap_or(u32::MAX),
        newest_ms: rows.iter().map(|row| row.received_at).max().unwrap_or(0),
        sha256: [0; 32],
    }
}

/// The entry of the manifest that a part of the state is.
pub(crate) fn state_entry_of(key: &GenerationKey) -> StateEntry {
    StateEntry { id: [0; 16], generation: key.number(), sha256: [0; 32] }
}
