//! Storing: what the plan says is sealed and sent piece by piece, then a manifest that names it all is offered.
//!
//! The invariant: each piece that the server has confirmed is remembered, so an interrupted run sends no piece twice, and
//! a manifest that lost against another device's is planned anew from that one.

use super::{Engine, Then, Work, refusal};
use crate::{
    Error,
    account::now_ms,
    backup::{self, Range},
    random,
    store::{
        self,
        backup::{Log, Restored, Upload as Uploaded},
        chats::ChatId,
        coverage,
    },
    transport::{Answer, CallError, unexpected},
};
use rand_core::Rng as _;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use waxwing_e2ee::{
    account::AuthenticationKey,
    backup::{Body, GenerationKey, Manifest, SegmentEntry, SignedManifest, StateEntry, seal_segment},
};
use waxwing_protocol::{ErrorCode, Request, Response, SegmentId};
use zeroize::Zeroizing;

/// A run that stores.
pub(super) struct Upload {
    key: GenerationKey,
    wrapped: Vec<u8>,
    /// What the next manifest says, as far as it is stored.
    body: Body,
    /// What is to be sealed, the last first.
    todo: Vec<Piece>,
    /// What is on its way.
    sent: Option<Sent>,
    state_digest: [u8; 32],
    /// Changes that the next manifest will have, by log.
    changes: Vec<(ChatId, u64, Vec<u64>)>,
    /// How many new messages there were when it began.
    fresh: usize,
}

enum Piece {
    Messages(Log, Range),
    State(Zeroizing<Vec<u8>>),
}

enum Sent {
    Segment(Entry, [u8; 32], u64),
    Manifest(SignedManifest),
}

#[derive(Clone)]
enum Entry {
    Messages(SegmentEntry),
    State(StateEntry),
}

impl Entry {
    fn place(&mut self) -> (&mut [u8; 16], &mut [u8; 32]) {
        match self {
            Self::Messages(entry) => (&mut entry.id, &mut entry.sha256),
            Self::State(entry) => (&mut entry.id, &mut entry.sha256),
        }
    }

    fn add_to(self, body: &mut Body) {
        match self {
            Self::Messages(entry) => body.segments.push(entry),
            Self::State(entry) => body.state.push(entry),
        }
    }
}

impl Engine {
    /// Begins a run: with the manifest, if another device may have written one or the user waits for it.
    pub(super) async fn begin_run(&mut self, asked: bool) -> Result<(), Error> {
        self.backup.due = None;
        let standing = store::backup::load(&self.db)?;
        if !standing.enabled || (standing.blocked && !asked) {
            self.answer_backup(if standing.enabled { Ok(()) } else { Err(Error::BackupOff) });
            return Ok(());
        }
        self.backup.tries = 0;
        let alone = device_count(&self.own) == Some(1);
        if asked || !alone || standing.version == 0 || standing.quota == 0 {
            return self.ask_for_manifest(Then::Upload).await;
        }
        let begun = self.begin_upload().await;
        begun.or_else(|error| self.fail_backup(error))
    }

    /// Plans from the manifest that is known, and sends the first piece.
    pub(super) async fn begin_upload(&mut self) -> Result<(), Error> {
        let standing = store::backup::load(&self.db)?;
        if !standing.enabled {
            self.backup.due = None;
            self.answer_backup(Err(Error::BackupOff));
            return Ok(());
        }
        let generation = standing.generation.ok_or(Error::BackupLocked)?;
        let (key, wrapped) = store::backup::key(&self.db, generation)?.ok_or(Error::BackupLocked)?;
        let wrapped = wrapped.ok_or(Error::BackupLocked)?;
        let mut upload = Upload {
            key,
            wrapped,
            body: Body {
                segments: store::backup::segments(&self.db)?,
                state: store::backup::state(&self.db)?,
                former: Vec::new(),
                written_at_ms: 0,
            },
            todo: Vec::new(),
            sent: None,
            state_digest: [0; 32],
            changes: Vec::new(),
            fresh: self.backup.fresh,
        };
        self.plan_messages(&mut upload)?;
        let state = backup::collect_state(&self.db, &self.own)?;
        let parts: Vec<_> =
            state.split().iter().map(|part| part.encode().map_err(backup::refused)).collect::<Result<_, _>>()?;
        upload.state_digest = parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part)).finalize().into();
        let same_state =
            standing.state_digest.as_deref() == Some(&upload.state_digest) && !upload.body.state.is_empty();
        if !same_state {
            upload.body.state.clear();
            upload.todo.extend(parts.into_iter().map(Piece::State));
        }
        if upload.todo.is_empty() && upload.changes.is_empty() && standing.version > 0 {
            return self.backup_is_whole(upload.fresh);
        }
        if standing.waiting_since.is_none() {
            store::backup::update(&self.db, |standing| standing.waiting_since = Some(now_ms()))?;
        }
        upload.todo.reverse();
        self.backup.run += 1;
        self.send_next_piece(Box::new(upload)).await
    }

    fn plan_messages(&self, upload: &mut Upload) -> Result<(), Error> {
        for log in store::backup::logs(&self.db)? {
            let held = coverage::of(&self.db, log.chat, log.era)?;
            let stored = store::backup::stored(&self.db, &log.conversation)?;
            let changed = store::backup::changes(&self.db, log.chat, log.era)?;
            let view = backup::Log { held: &held, stored: &stored, changed: &changed };
            let changes = backup::plan(&view, |range| store::backup::items(&self.db, log.chat, log.era, range))?;
            for change in changes {
                upload.body.segments.retain(|entry| !change.replaces.contains(&entry.id));
                upload.todo.extend(change.write.into_iter().map(|range| Piece::Messages(log.clone(), range)));
            }
            if !changed.is_empty() {
                upload.changes.push((log.chat, log.era, changed));
            }
        }
        Ok(())
    }

    /// Seals and sends the next piece, or the manifest when all are there.
    async fn send_next_piece(&mut self, mut upload: Box<Upload>) -> Result<(), Error> {
        while let Some(piece) = upload.todo.pop() {
            let (mut entry, plaintext) = match piece {
                Piece::Messages(log, range) => {
                    let rows = store::backup::rows(&self.db, log.chat, log.era, range)?;
                    if rows.is_empty() {
                        // Deleted since it was planned.
                        continue;
                    }
                    let entry = backup::entry_of(&log, range, &rows, &upload.key);
                    (Entry::Messages(entry), backup::pack(&log, rows)?)
                }
                Piece::State(plaintext) => (Entry::State(backup::state_entry_of(&upload.key)), plaintext),
            };
            let digest: [u8; 32] = Sha256::digest(&*plaintext).into();
            let (id, sha256) = entry.place();
            if let Some(known) = store::backup::upload(&self.db, upload.key.number(), &digest)? {
                (*id, *sha256) = (known.id, known.sha256);
                entry.add_to(&mut upload.body);
                continue;
            }
            random().fill_bytes(id);
            let sealed = seal_segment(&upload.key, &self.own.username, id, &plaintext, &mut random());
            let sealed = sealed.map_err(backup::refused)?;
            *sha256 = Sha256::digest(&sealed).into();
            let length = sealed.len() as u64;
            let request = Request::PutSegment { id: SegmentId(*id), payload: sealed.into() };
            upload.sent = Some(Sent::Segment(entry, digest, length));
            self.backup.work = Work::Upload(upload);
            self.post_backup(request, 0).await;
            return Ok(());
        }
        self.offer_manifest(upload).await
    }

    async fn offer_manifest(&mut self, mut upload: Box<Upload>) -> Result<(), Error> {
        let former = store::backup::former_keys(&self.db, upload.key.number())?;
        let used = |key: &GenerationKey| {
            let generation = key.number();
            upload.body.segments.iter().any(|entry| entry.generation == generation)
                || upload.body.state.iter().any(|entry| entry.generation == generation)
        };
        upload.body.former = former.into_iter().filter(used).collect();
        let (signed, version) = self.sign_manifest(&upload.key, &upload.wrapped, &mut upload.body)?;
        let segments = upload.body.segments.iter().map(|entry| entry.id);
        let segments = segments.chain(upload.body.state.iter().map(|entry| entry.id)).map(SegmentId).collect();
        let request = Request::PutManifest { version, manifest: signed.bytes.clone().into(), segments };
        upload.sent = Some(Sent::Manifest(signed));
        self.backup.work = Work::Upload(upload);
        self.post_backup(request, 0).await;
        Ok(())
    }

    /// The manifest that follows the one that is known.
    pub(super) fn sign_manifest(
        &self,
        key: &GenerationKey,
        wrapped: &[u8],
        body: &mut Body,
    ) -> Result<(SignedManifest, u64), Error> {
        let standing = store::backup::load(&self.db)?;
        let version = standing.version + 1;
        body.written_at_ms = now_ms();
        let previous = match (version, standing.hash) {
            (1, _) => [0; 32],
            (_, Some(hash)) => hash,
            // It was deleted before this device could see it.
            (_, None) => Sha256::digest(b"deleted").into(),
        };
        let manifest = Manifest { version, previous, wrapped: wrapped.to_vec(), body: body.clone() };
        let signer = AuthenticationKey::from_bytes(&self.own.authentication_key);
        let signed = manifest.seal(key, &self.own.username, &self.own.device, &signer, &mut random());
        Ok((signed.map_err(backup::refused)?, version))
    }

    pub(super) async fn upload_answered(&mut self, mut upload: Box<Upload>, answer: Answer) -> Result<(), Error> {
        match (upload.sent.take(), answer) {
            (Some(Sent::Segment(mut entry, digest, length)), Ok(Response::Done)) => {
                let (id, sha256) = entry.place();
                let uploaded = Uploaded { id: *id, generation: upload.key.number(), sha256: *sha256, digest };
                store::backup::add_upload(&self.db, &uploaded)?;
                // What it replaces goes with the next manifest; the server says then what is left.
                store::backup::update(&self.db, |standing| standing.used += length)?;
                entry.add_to(&mut upload.body);
                self.send_next_piece(upload).await
            }
            (Some(Sent::Manifest(signed)), Ok(Response::Done)) => self.manifest_accepted(&upload, &signed),
            (Some(Sent::Manifest(_)), Err(CallError::Refused(refusal)))
                if refusal.code == ErrorCode::ManifestConflict && self.backup.tries < super::TRIES =>
            {
                // Another device was faster.
                self.backup.tries += 1;
                self.ask_for_manifest(Then::Upload).await
            }
            (Some(Sent::Manifest(_)), Err(CallError::Refused(refusal)))
                if refusal.code == ErrorCode::UnknownSegment && self.backup.tries < super::TRIES =>
            {
                // The server has lost segments: those whose messages are here are stored again.
                self.backup.tries = super::TRIES;
                self.distrust_server()?;
                self.begin_upload().await
            }
            (_, Ok(_)) => Err(unexpected()),
            (_, Err(error)) => Err(refusal(error)),
        }
    }

    fn manifest_accepted(&mut self, upload: &Upload, signed: &SignedManifest) -> Result<(), Error> {
        let crate::engine::State::Online(online) = &self.reach else { return Ok(()) };
        let incarnation = online.connection.greeting.incarnation;
        store::step("manifest", &mut self.db, |tx| {
            store::backup::replace(
                tx,
                &upload.body.segments,
                &upload.body.state,
                |_| Ok(Restored::Yes),
                Restored::Yes,
            )?;
            store::backup::clear_uploads(tx)?;
            store::backup::forget_former_list(tx)?;
            for (chat, era, seqs) in &upload.changes {
                store::backup::clear_changes(tx, *chat, *era, seqs)?;
            }
            store::backup::drop_unused_keys(tx, upload.key.number())?;
            store::backup::update(tx, |standing| {
                standing.version += 1;
                standing.hash = Some(signed.hash);
                standing.incarnation = Some(incarnation);
                standing.state_digest = Some(upload.state_digest.to_vec());
            })
        })?;
        self.backup_is_whole(upload.fresh)
    }

    /// Everything that was here when the run began is in the backup.
    fn backup_is_whole(&mut self, fresh: usize) -> Result<(), Error> {
        store::backup::update(&self.db, |standing| {
            standing.stored_at = Some(now_ms());
            standing.waiting_since = None;
            standing.error = None;
            standing.blocked = false;
        })?;
        let keeper = &mut self.backup;
        keeper.work = Work::Nothing;
        keeper.fresh = keeper.fresh.saturating_sub(fresh);
        (keeper.failures, keeper.unknown) = (0, false);
        keeper.due = (keeper.fresh > 0).then(|| Instant::now() + keeper.quiet);
        self.answer_backup(Ok(()));
        Ok(())
    }

    fn distrust_server(&mut self) -> Result<(), Error> {
        let logs = store::backup::logs(&self.db)?;
        store::in_transaction(&mut self.db, |tx| {
            store::backup::clear_uploads(tx)?;
            let mut kept = Vec::new();
            for entry in store::backup::segments(tx)? {
                let range = Range { first: entry.first, last: entry.last };
                let here = match logs.iter().find(|log| log.conversation == entry.conversation) {
                    Some(log) => coverage::of(tx, log.chat, log.era)?.contains_all(range),
                    None => false,
                };
                if !here {
                    kept.push(entry);
                }
            }
            store::backup::replace(tx, &kept, &[], |_| Ok(Restored::Not), Restored::Yes)
        })
    }
}

/// How many devices the account has, as far as this one knows.
fn device_count(own: &crate::store::own::Own) -> Option<usize> {
    let identity = waxwing_e2ee::account::IdentityPublicKey::from_der(&own.identity_key).ok()?;
    let list = waxwing_e2ee::account::DeviceList::verify(&own.device_list, &identity, &own.username).ok()?;
    Some(list.list.devices.len())
}
