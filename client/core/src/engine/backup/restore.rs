//! Restoring: the account's state first, then the segments, newest first, a few on their way at a time.
//!
//! The invariant: a segment's messages and the mark that they are here commit together, so a killed restore goes on where
//! it was. What is refused is skipped and counted.

use super::{Engine, Then, Work, refusal};
use crate::{
    Error, Event, address,
    backup::{self, Range},
    store::{self, backup::Restored, chats, coverage},
    transport::{Answer, CallError, unexpected},
};
use std::collections::{BTreeMap, VecDeque};
use waxwing_e2ee::backup::{SegmentEntry, State, StateEntry};
use waxwing_protocol::{ErrorCode, Request, Response, SegmentId};

/// How many segments are asked for at a time.
const WINDOW: usize = 4;

/// A run that restores.
pub(super) struct Restore {
    state: VecDeque<StateEntry>,
    segments: VecDeque<SegmentEntry>,
    /// What was asked for, by the number of the request.
    asked: BTreeMap<i64, Asked>,
    next: i64,
    /// The parts of the state that are here.
    parts: Vec<(StateEntry, State)>,
    /// Whether a newer manifest has to be fetched: segments are gone.
    outdated: bool,
}

enum Asked {
    State(StateEntry),
    Segment(SegmentEntry),
}

impl Engine {
    /// Begins to restore, if there is anything; says so.
    pub(super) async fn begin_restore(&mut self) -> Result<bool, Error> {
        let segments: VecDeque<_> = store::backup::wanted(&self.db)?.into();
        let state: VecDeque<_> = store::backup::wanted_state(&self.db)?.into();
        if segments.is_empty() && state.is_empty() {
            self.restored(false)?;
            return Ok(false);
        }
        self.backup.run += 1;
        let restore = Restore { state, segments, asked: BTreeMap::new(), next: 0, parts: Vec::new(), outdated: false };
        self.tell(&Event::Restoring(backup::progress(&self.db)?));
        self.ask_for_segments(restore).await?;
        Ok(true)
    }

    async fn ask_for_segments(&mut self, mut restore: Restore) -> Result<(), Error> {
        let mut requests = Vec::new();
        while restore.asked.len() < WINDOW && self.closing.is_none() {
            // Chats are known before their messages come.
            let state_is_open = restore.asked.values().any(|asked| matches!(asked, Asked::State(_)));
            let (id, asked) = if let Some(entry) = restore.state.pop_front() {
                (entry.id, Asked::State(entry))
            } else if state_is_open || restore.outdated {
                break;
            } else if let Some(entry) = restore.segments.pop_front() {
                (entry.id, Asked::Segment(entry))
            } else {
                break;
            };
            requests.push((Request::FetchSegment(SegmentId(id)), restore.next));
            restore.asked.insert(restore.next, asked);
            restore.next += 1;
        }
        if restore.asked.is_empty() {
            if self.closing.is_some() {
                return Ok(());
            }
            return match restore.outdated {
                true => self.ask_for_manifest(Then::Restore).await,
                false => self.restored(true),
            };
        }
        self.backup.work = Work::Restore(restore);
        for (request, number) in requests {
            self.post_backup(request, number).await;
        }
        Ok(())
    }

    pub(super) async fn restore_answered(
        &mut self,
        mut restore: Restore,
        number: i64,
        answer: Answer,
    ) -> Result<(), Error> {
        let Some(asked) = restore.asked.remove(&number) else { return Err(unexpected()) };
        let sealed = match answer {
            Ok(Response::Segment(sealed)) => Ok(sealed.0),
            Ok(_) => Err(unexpected()),
            Err(CallError::Refused(refused)) if refused.code == ErrorCode::UnknownSegment => {
                // Another device may have put it into a bigger one; what no manifest names is not tried again.
                restore.outdated = true;
                Err(refusal(CallError::Refused(refused)))
            }
            Err(error) => Err(refusal(error)),
        };
        let outcome = match &asked {
            Asked::State(entry) => sealed.and_then(|sealed| self.open_state(entry, &sealed, &mut restore)),
            Asked::Segment(entry) => sealed.and_then(|sealed| self.restore_segment(entry, &sealed)),
        };
        match outcome {
            Ok(()) => {}
            Err(
                error
                @ (Error::BackupRefused(_) | Error::BackupLocked | Error::ServerMisbehaves(_) | Error::Refused(_)),
            ) => {
                tracing::warn!(%error, "a part of the backup");
                let id = match &asked {
                    Asked::State(entry) => entry.id,
                    Asked::Segment(entry) => entry.id,
                };
                store::backup::set_restored(&self.db, &id, Restored::Refused)?;
                let said = error.to_string();
                store::backup::update(&self.db, |standing| standing.error = Some(said))?;
            }
            Err(error) => return Err(error),
        }
        self.tell(&Event::Restoring(backup::progress(&self.db)?));
        self.ask_for_segments(restore).await
    }

    fn open_state(&mut self, entry: &StateEntry, sealed: &[u8], restore: &mut Restore) -> Result<(), Error> {
        let (key, _) = store::backup::key(&self.db, entry.generation)?.ok_or(Error::BackupLocked)?;
        let plaintext = entry.open(&key, &self.own.username, sealed).map_err(backup::refused)?;
        let part = State::decode(&plaintext).map_err(backup::refused)?;
        restore.parts.push((entry.clone(), part));
        let more = restore.asked.values().any(|asked| matches!(asked, Asked::State(_)));
        if more || !restore.state.is_empty() {
            return Ok(());
        }
        let (entries, parts): (Vec<_>, Vec<_>) = std::mem::take(&mut restore.parts).into_iter().unzip();
        let own = &mut self.own;
        store::in_transaction(&mut self.db, |tx| {
            backup::apply_state(tx, own, State::merge(parts))?;
            entries.iter().try_for_each(|entry| store::backup::set_restored(tx, &entry.id, Restored::Yes))
        })
    }

    fn restore_segment(&mut self, entry: &SegmentEntry, sealed: &[u8]) -> Result<(), Error> {
        let (key, _) = store::backup::key(&self.db, entry.generation)?.ok_or(Error::BackupLocked)?;
        let plaintext = entry.open(&key, &self.own.username, sealed).map_err(backup::refused)?;
        let rows = backup::unpack(entry, &plaintext, &self.own.username)?;
        if !address::is_name(&entry.chat) {
            return Err(Error::BackupRefused(format!("'{}' is no chat", entry.chat)));
        }
        store::in_transaction(&mut self.db, |tx| {
            let log = log_of(tx, entry)?;
            store::backup::restore(tx, log.0, log.1, &rows)?;
            coverage::add(tx, log.0, log.1, Range { first: entry.first, last: entry.last })?;
            store::backup::set_restored(tx, &entry.id, Restored::Yes)
        })
    }

    /// There is nothing more to restore.
    fn restored(&mut self, something: bool) -> Result<(), Error> {
        let progress = backup::progress(&self.db)?;
        if something && progress.refused == 0 {
            // What was missing came with a newer manifest.
            store::backup::update(&self.db, |standing| {
                standing.error = standing.error.take().filter(|_| standing.blocked);
            })?;
        }
        self.backup.restoring = false;
        self.backup.work = Work::Nothing;
        if something {
            self.tell(&Event::Restored(progress));
        }
        self.end_restore_waits(Ok(progress));
        Ok(())
    }
}

/// The chat and the era that a segment belongs to; made if this device has not met the conversation yet.
fn log_of(tx: &rusqlite::Connection, entry: &SegmentEntry) -> Result<(chats::ChatId, u64), Error> {
    let known = store::backup::logs(tx)?.into_iter().find(|log| log.conversation == entry.conversation);
    if let Some(log) = known {
        return Ok((log.chat, log.era));
    }
    let era = u64::from(entry.era);
    let row = chats::ensure(tx, &entry.chat)?;
    if row.conversation.is_none() && row.phase == chats::Phase::New {
        store::backup::renumber(tx, row.chat, row.era, era.max(row.era))?;
        chats::set_waiting(tx, row.chat, &entry.conversation)?;
        return Ok((row.chat, era.max(row.era)));
    }
    chats::add_former(tx, row.chat, era, &entry.conversation)?;
    Ok((row.chat, era))
}
