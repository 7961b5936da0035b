//! The backup's keys: made at sign-up, found in the vault at login, replaced when a device was lost.
//!
//! The invariant: a manifest is verified by the account's signed list before the vault's private key touches it, once;
//! whatever is wrong with it, the login itself goes on, and the reason is kept for the user.

use super::{manifest, refused};
use crate::{
    Error,
    account::now_ms,
    random,
    store::{
        self,
        backup::{Restored, Standing},
        own::Own,
    },
    transport::{CallError, Connection, unexpected},
};
use rand_core::Rng as _;
use rusqlite::Connection as Database;
use sha2::{Digest, Sha256};
use waxwing_e2ee::{
    account::{AccountKeys, AuthenticationKey, VerifiedDeviceList},
    backup::{Body, GenerationKey, Manifest, State, VerifiedManifest, seal_segment},
};
use waxwing_protocol::{Request, Response, SegmentId};

/// At sign-up: the first generation's key, in the profile's database.
pub(crate) fn begin(tx: &Database, keys: &AccountKeys) -> Result<(), Error> {
    create(tx, keys, 1)
}

/// Stores a first manifest with an empty state, so that every device that logs in from now on finds the generation. If
/// this fails the engine does it.
pub(crate) async fn store_first(connection: &Connection, db: &mut Database, own: &Own) -> Result<(), Error> {
    let standing = store::backup::load(db)?;
    let generation = standing.generation.unwrap_or(1);
    let Some((key, Some(wrapped))) = store::backup::key(db, generation)? else { return Ok(()) };
    let plaintext = State::new(Vec::new(), Vec::new(), Default::default()).encode().map_err(refused)?;
    let mut entry = manifest::state_entry_of(&key);
    random().fill_bytes(&mut entry.id);
    let sealed = seal_segment(&key, &own.username, &entry.id, &plaintext, &mut random()).map_err(refused)?;
    entry.sha256 = Sha256::digest(&sealed).into();
    let id = SegmentId(entry.id);
    let body = Body { state: vec![entry.clone()], written_at_ms: now_ms(), ..Body::default() };
    let version = standing.version + 1;
    let previous = if version == 1 { [0; 32] } else { Sha256::digest(b"deleted").into() };
    let signer = AuthenticationKey::from_bytes(&own.authentication_key);
    let signed = Manifest { version, previous, wrapped, body }
        .seal(&key, &own.username, &own.device, &signer, &mut random())
        .map_err(refused)?;
    let call = |request| async { connection.call(request).await.map_err(CallError::into_error) };
    call(Request::PutSegment { id, payload: sealed.into() }).await?;
    call(Request::PutManifest { version, manifest: signed.bytes.into(), segments: vec![id] }).await?;
    let incarnation = connection.greeting.incarnation;
    store::in_transaction(db, |tx| {
        store::backup::replace(tx, &[], &[entry], |_| Ok(Restored::Yes), Restored::Yes)?;
        store::backup::update(tx, |standing| {
            standing.version = version;
            standing.hash = Some(signed.hash);
            standing.incarnation = Some(incarnation);
            standing.stored_at = Some(now_ms());
        })
        .map(drop)
    })
}

fn create(tx: &Database, keys: &AccountKeys, number: u32) -> Result<(), Error> {
    let (key, wrapped) = GenerationKey::create(number, &keys.backup.public(), keys.vault_secret(), &mut random());
    store::backup::add_key(tx, &key, Some(&wrapped))?;
    store::backup::update(tx, |standing| standing.generation = Some(number))?;
    Ok(())
}

/// At login, or when a profile becomes another device, on the connection of the new device, while the vault is open: fetches the manifest, proves it, and keeps
/// what the engine restores from. A backup that is refused stops no login.
pub(crate) async fn open_at_login(
    connection: &Connection,
    db: &mut Database,
    own: &Own,
    keys: &AccountKeys,
    list: &VerifiedDeviceList,
) -> Result<(), Error> {
    let mut number = 2;
    let answer = connection.call(Request::FetchManifest).await.map_err(CallError::into_error);
    let shown = match answer {
        Ok(Response::Manifest(shown)) => Ok(shown),
        Ok(_) => Err(unexpected()),
        Err(error) => Err(error),
    };
    let incarnation = connection.greeting.incarnation;
    // A profile that becomes another device has a backup already, and its keys.
    let before = store::backup::load(db)?;
    let none = store::in_transaction(db, |tx| {
        let opened = shown.and_then(|shown| {
            let version = shown.version;
            let Some(bytes) = shown.manifest else {
                store::backup::update(tx, |standing| standing.version = version)?;
                return Ok(None);
            };
            let manifest = VerifiedManifest::verify(&bytes.0, &own.username, list).map_err(refused)?;
            if manifest.version() != version {
                return Err(Error::BackupRefused("its version is not the one that the server names".into()));
            }
            if let (Some(known), true) = (&before.hash, before.incarnation == Some(incarnation)) {
                manifest.follows(before.version, known).map_err(refused)?;
            }
            let wrapped = manifest.wrapped();
            number = manifest.generation().saturating_add(1);
            let key =
                GenerationKey::open(manifest.generation(), wrapped, &keys.backup, keys.vault_secret(), &mut random());
            let key = key.map_err(refused)?;
            let body = manifest.open(&key).map_err(refused)?;
            store::backup::add_key(tx, &key, Some(wrapped))?;
            Ok(Some((manifest, body)))
        });
        match opened {
            Ok(Some((manifest, body))) => {
                manifest::adopt(tx, own, &manifest, &body, &incarnation)?;
                let off = manifest::is_off(&body);
                store::backup::update(tx, |standing| standing.enabled = !off)?;
                Ok::<_, Error>(false)
            }
            Ok(None) if before.generation.is_some() => Ok(false),
            Ok(None) => create(tx, keys, 1).map(|()| true),
            Err(error) => {
                // This device may still begin a new backup, if its user wants that.
                if before.generation.is_none() {
                    create(tx, keys, number)?;
                }
                let network = !matches!(error, Error::BackupRefused(_));
                let said = error.to_string();
                let block = move |standing: &mut Standing| (standing.error, standing.blocked) = (Some(said), !network);
                store::backup::update(tx, block)?;
                Ok(false)
            }
        }
    })?;
    if none {
        let _ = store_first(connection, db, own).await;
    }
    Ok(())
}

/// After a device was lost, or the account's keys were replaced: from the next manifest on, what is sealed is sealed under
/// a new generation's key. What was sealed before stays as it is; the next manifest holds its key, sealed under the new one.
/// To be called with the new keys, in the transaction that stores the revision.
pub(crate) fn rotate(tx: &Database, keys: &AccountKeys) -> Result<u32, Error> {
    let number = store::backup::load(tx)?.generation.unwrap_or(0) + 1;
    create(tx, keys, number)?;
    store::backup::update(tx, |standing| standing.state_digest = None)?;
    Ok(number)
}
