//! Switching the backup on and off.
//!
//! The invariant: after "off" nothing is left at the server but a manifest that says so, which the account's other devices
//! read; whatever was refused before is left behind by "on", because its user says so.

use super::{Engine, Then, Work, refusal};
use crate::{
    Error, backup, store,
    transport::{Answer, CallError, unexpected},
};
use waxwing_e2ee::backup::Body;
use waxwing_protocol::{Manifest, Request, Response};

impl Engine {
    pub(super) async fn begin_switch(&mut self, on: bool) -> Result<(), Error> {
        if !on {
            return self.ask_for_manifest(Then::Off).await;
        }
        let standing = store::backup::load(&self.db)?;
        if !standing.enabled || standing.blocked {
            // What was refused before is left behind: its user says so.
            store::in_transaction(&mut self.db, |tx| {
                store::backup::forget(tx)?;
                store::backup::update(tx, |standing| standing.enabled = true)
            })?;
        }
        if let Some((_, reply)) = self.backup.switch.take() {
            self.backup.waiting.push(reply);
        }
        self.backup.failures = 0;
        self.backup.beginning = true;
        self.begin_run(true).await
    }

    /// Switching off: the manifest is deleted with everything, and its place taken by one that says so.
    pub(super) async fn manifest_for_off(&mut self, shown: &Manifest) -> Result<(), Error> {
        // Whatever the server shows goes: the next version is behind its.
        let hash = backup::hash_of(&self.own, shown)?;
        store::backup::update(&self.db, |standing| {
            standing.version = shown.version;
            standing.hash = hash.or(standing.hash);
        })?;
        self.backup.work = Work::Delete;
        self.backup.run += 1;
        self.post_backup(Request::DeleteBackup, 0).await;
        Ok(())
    }

    pub(super) async fn deleted(&mut self, answer: Answer) -> Result<(), Error> {
        match answer.map_err(CallError::into_error)? {
            Response::Done => {}
            _ => return Err(unexpected()),
        }
        let standing = store::in_transaction(&mut self.db, |tx| {
            let before = store::backup::load(tx)?;
            store::backup::forget(tx)?;
            store::backup::update(tx, |standing| {
                standing.enabled = false;
                (standing.version, standing.hash) = (before.version, before.hash);
            })
        })?;
        // The account's other devices read in it that there is to be none.
        let generation = standing.generation.ok_or(Error::BackupLocked)?;
        let (key, wrapped) = store::backup::key(&self.db, generation)?.ok_or(Error::BackupLocked)?;
        let (signed, version) = self.sign_manifest(&key, &wrapped.ok_or(Error::BackupLocked)?, &mut Body::default())?;
        let request = Request::PutManifest { version, manifest: signed.bytes.into(), segments: Vec::new() };
        self.backup.work = Work::Off(version, signed.hash);
        self.post_backup(request, 0).await;
        Ok(())
    }

    /// The manifest that says so is there.
    pub(super) fn switched_off(&mut self, version: u64, hash: [u8; 32], answer: Answer) -> Result<(), Error> {
        match answer.map_err(refusal)? {
            Response::Done => {}
            _ => return Err(unexpected()),
        }
        store::backup::update(&self.db, |standing| (standing.version, standing.hash) = (version, Some(hash)))?;
        self.backup.restoring = false;
        self.end_restore_waits(backup::progress(&self.db));
        self.backup.work = Work::Nothing;
        self.backup.due = None;
        self.answer_backup(Ok(()));
        Ok(())
    }
}
