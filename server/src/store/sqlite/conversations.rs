//! Conversations and who is in them.
//!
//! Invariants: a pair of accounts has one direct conversation; a device comes in by a welcome, at the seq of its commit,
//! and only if its account is in the roster. It must not know what a commit means.

use super::batch::{Announcement, Batch, Member};
use crate::store::{CreateOutcome, NewConversation, StoreError};
use rusqlite::{OptionalExtension, params};
use std::collections::BTreeSet;
use waxwing_protocol::{ConversationId, ConversationKind, DeviceId, Entry, EntryBody, Handshake, InboxNotice};

/// A device that a welcome names, by its row and its id.
pub(super) type Joiner = (i64, DeviceId);

impl Batch<'_> {
    /// See [`crate::store::Store::create_conversation`].
    pub(super) fn create_conversation(&mut self, new: &NewConversation) -> Result<CreateOutcome, StoreError> {
        let same = self
            .statement("SELECT creator, created_seq FROM conversation WHERE public_id = ?1")?
            .query_row([new.id.0], |row| Ok((DeviceId(row.get(0)?), row.get(1)?)))
            .optional()?;
        match same {
            Some((creator, seq)) if creator == new.creator => return Ok(CreateOutcome::Created { seq }),
            Some(_) => return Ok(CreateOutcome::Exists(new.id)),
            None => {}
        }
        let creator: i64 = self
            .statement("SELECT id FROM device WHERE public_id = ?1 AND account = ?2")?
            .query_row(params![new.creator.0, new.account.0], |row| row.get(0))
            .optional()?
            .ok_or(StoreError::Inconsistent("device"))?;
        let ConversationKind::Direct(with) = &new.kind else { return self.create_room(new, creator) };
        let Some(other) = self.account_row(with)? else { return Ok(CreateOutcome::UnknownAccount) };
        let pair = [new.account.0.min(other), new.account.0.max(other)];
        let exists = self
            .statement("SELECT public_id FROM conversation WHERE pair_low = ?1 AND pair_high = ?2")?
            .query_row(pair, |row| Ok(ConversationId(row.get(0)?)));
        match exists.optional()? {
            Some(id) if new.replaces != Some(id) => return Ok(CreateOutcome::Exists(id)),
            _ => {}
        }
        let Some(joiners) = self.first_joiners(new, pair)? else { return Ok(CreateOutcome::BadRecipients) };
        self.statement(
            "UPDATE conversation SET pair_low = NULL, pair_high = NULL WHERE pair_low = ?1 AND pair_high = ?2",
        )?
        .execute(pair)?;

        self.begin_conversation(new, creator, Some(pair), &pair, &joiners)?;
        Ok(CreateOutcome::Created { seq: u64::from(new.handshake.is_some()) })
    }

    /// Stores a new conversation with its accounts and first devices; returns its row.
    pub(super) fn begin_conversation(
        &mut self,
        new: &NewConversation,
        creator: i64,
        pair: Option<[i64; 2]>,
        accounts: &[i64],
        joiners: &[Joiner],
    ) -> Result<i64, StoreError> {
        let seq = u64::from(new.handshake.is_some());
        let [low, high] = pair.map_or([None, None], |pair| pair.map(Some));
        self.statement(
            "INSERT INTO conversation
             (public_id, pair_low, pair_high, creator, created_seq, created_ms, head, commits, last_commit_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?5, ?5, ?7)",
        )?
        .execute(params![
            new.id.0,
            low,
            high,
            new.creator.0,
            seq,
            new.now_ms,
            new.handshake.as_ref().map(|_| new.now_ms)
        ])?;
        let row = self.connection.last_insert_rowid();
        for account in accounts {
            self.statement("INSERT OR IGNORE INTO roster (conversation, account) VALUES (?1, ?2)")?
                .execute([row, *account])?;
        }
        self.insert_member((new.id, row), creator, (0, 0), None)?;
        if let Some(handshake) = &new.handshake {
            self.insert_entry(row, seq, new.now_ms, true, (creator, 0), &handshake.commit)?;
            self.set_group_info(row, handshake.group_info.as_ref(), creator)?;
            let body = EntryBody::Commit(handshake.commit.clone());
            let entry = Entry { seq, time_ms: new.now_ms, body };
            // Nobody else is in it yet: who comes in by this entry starts after it.
            self.announcements.push(Announcement::Entry { recipients: Vec::new(), conversation: new.id, entry });
            self.add_members(new.id, (row, seq, 1), joiners, (handshake, creator), new.now_ms)?;
        }
        Ok(row)
    }

    /// The devices of the creating handshake's welcome; none if one of them may not be added.
    fn first_joiners(&self, new: &NewConversation, pair: [i64; 2]) -> Result<Option<Vec<Joiner>>, StoreError> {
        let Some(handshake) = &new.handshake else { return Ok(Some(Vec::new())) };
        if !handshake.removed.is_empty() || named_twice(handshake) {
            return Ok(None);
        }
        let mut find = self.statement("SELECT id FROM device WHERE public_id = ?1 AND account IN (?2, ?3)")?;
        let mut joiners = Vec::new();
        for device in handshake.welcome.iter().flat_map(|welcome| &welcome.recipients) {
            let row = find.query_row(params![device.0, pair[0], pair[1]], |row| row.get(0)).optional()?;
            let Some(row) = row.filter(|_| *device != new.creator) else { return Ok(None) };
            joiners.push((row, *device));
        }
        Ok(Some(joiners))
    }

    /// The devices of a later commit's welcome; none if one of them may not be added: it is unknown, its account is not in the
    /// roster, not even by this commit, or it is in already and the commit does not remove it.
    pub(super) fn joiners(
        &mut self,
        conversation: i64,
        handshake: &Handshake,
        entered: &BTreeSet<i64>,
    ) -> Result<Option<Vec<Joiner>>, StoreError> {
        if named_twice(handshake) {
            return Ok(None);
        }
        let mut find = self.statement(
            "SELECT d.id, d.account, r.account IS NOT NULL FROM device d
             LEFT JOIN roster r ON r.conversation = ?2 AND r.account = d.account
             LEFT JOIN member m ON m.conversation = ?2 AND m.device = d.id
             WHERE d.public_id = ?1 AND (?3 OR m.device IS NULL OR m.left_at IS NOT NULL)",
        )?;
        let mut joiners = Vec::new();
        for device in handshake.welcome.iter().flat_map(|welcome| &welcome.recipients) {
            let removed = handshake.removed.contains(device);
            let found = find.query_row(params![device.0, conversation, removed], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get::<_, bool>(2)?))
            });
            let found = found.optional()?.filter(|(_, account, inside)| *inside || entered.contains(account));
            let Some((row, ..)) = found else { return Ok(None) };
            joiners.push((row, *device));
        }
        Ok(Some(joiners))
    }

    /// Lets devices in by the commit at `seq`, after which there are `commits`, and puts the welcome into their inboxes.
    pub(super) fn add_members(
        &mut self,
        id: ConversationId,
        (conversation, seq, commits): (i64, u64, u64),
        joiners: &[Joiner],
        (handshake, sender): (&Handshake, i64),
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let Some(welcome) = handshake.welcome.as_ref().filter(|_| !joiners.is_empty()) else { return Ok(()) };
        self.statement(
            "INSERT INTO welcome (conversation, seq, commits, payload, sender) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![id.0, seq, commits, welcome.payload.0, sender])?;
        let welcome_row = self.connection.last_insert_rowid();
        for (row, device) in joiners {
            let sent = self.insert_member((id, conversation), *row, (seq, seq), None)?;
            // A conversation that is just being made is not remembered yet, and will be read whole.
            if let Some(log) = self.logs.remembered(id) {
                log.members.retain(|member| member.device != *device);
                log.members.push(Member::new((*row, *device), seq, sent));
            }
            let payload = welcome.payload.clone();
            let notice = InboxNotice::Welcome { conversation: id, seq, commits, payload };
            self.notify((*row, *device), notice, Some(welcome_row), now_ms)?;
        }
        Ok(())
    }

    /// Puts a device in, from after `start`, by a join of its own if there is one (its digest and time). Returns its
    /// highest send number: one that comes back, or starts anew, goes on counting.
    pub(super) fn insert_member(
        &mut self,
        (id, conversation): (ConversationId, i64),
        device: i64,
        (start, cursor): (u64, u64),
        join: Option<([u8; 32], u64)>,
    ) -> Result<u64, StoreError> {
        let sent = self.sent_before(id, conversation, device)?;
        let (digest, join_ms) = join.unzip();
        self.statement(
            "INSERT OR REPLACE INTO member (conversation, device, start, cursor, sent, join_digest, join_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![conversation, device, start, cursor, sent, digest, join_ms])?;
        Ok(sent)
    }

    /// Lets devices out by the commit at `seq`, which they may still read. Devices that are not in it are passed over.
    pub(super) fn remove_members(
        &mut self,
        id: ConversationId,
        devices: &[DeviceId],
        seq: u64,
    ) -> Result<(), StoreError> {
        let mut leave = self.statement("UPDATE member SET left_at = ?3 WHERE conversation = ?1 AND device = ?2")?;
        let Some(log) = self.logs.remembered(id) else { return Ok(()) };
        let conversation = log.row;
        for device in devices {
            if let Some(member) = log.change_member(*device) {
                member.left_at = Some(seq);
                leave.execute(params![conversation, member.row, seq])?;
            }
        }
        Ok(())
    }
}

/// Whether a welcome names a device twice.
pub(super) fn named_twice(handshake: &Handshake) -> bool {
    let mut named: Vec<_> = handshake.welcome.iter().flat_map(|welcome| &welcome.recipients).collect();
    let count = named.len();
    named.sort_unstable();
    named.dedup();
    named.len() < count
}
