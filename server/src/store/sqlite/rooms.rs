//! Groups and rooms: conversations of any number of accounts, and which accounts those are.
//!
//! Invariants: a room's name is given once; a conversation has no more accounts than allowed; who leaves gets nothing that
//! comes after, and the others are told once. It must not know who may change what: the clients judge that.

use super::accounts::stored_name;
use super::batch::{Batch, Member};
use super::conversations::{Joiner, named_twice};
use crate::store::{AccountId, AppendOutcome, CreateOutcome, JoinRoomOutcome, NewConversation, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;
use waxwing_protocol::{
    Bytes, ConversationId, ConversationKind, DeviceId, InboxNotice, RoomInfo, RoomName, Roster, Username,
    limits::PAGE_ENTRIES,
};

/// The accounts, by their rows, that come and go with a commit.
#[derive(Default)]
pub(super) struct RosterChange {
    pub(super) entered: BTreeSet<i64>,
    pub(super) left: BTreeSet<i64>,
}

impl Batch<'_> {
    /// Makes a group or a room.
    pub(super) fn create_room(&mut self, new: &NewConversation, creator: i64) -> Result<CreateOutcome, StoreError> {
        let name = if let ConversationKind::Room(name) = &new.kind { Some(name.as_str()) } else { None };
        if let Some(known) = name.map(|name| self.room(name)).transpose()?.flatten() {
            return Ok(CreateOutcome::Exists(known.1));
        }
        let roster = new.handshake.as_ref().and_then(|handshake| handshake.roster.clone()).unwrap_or_default();
        let Some(mut accounts) = self.account_rows(&roster.entered)? else { return Ok(CreateOutcome::UnknownAccount) };
        accounts.insert(new.account.0);
        if accounts.len() > new.members as usize {
            return Ok(CreateOutcome::TooManyMembers);
        }
        let mut joiners = Vec::new();
        if let Some(handshake) = &new.handshake {
            if !handshake.removed.is_empty() || !roster.left.is_empty() || named_twice(handshake) {
                return Ok(CreateOutcome::BadRecipients);
            }
            let mut find = self.statement("SELECT id, account FROM device WHERE public_id = ?1")?;
            for device in handshake.welcome.iter().flat_map(|welcome| &welcome.recipients) {
                let found = find.query_row([device.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
                let Some((row, _)) = found.filter(|(_, account)| *device != new.creator && accounts.contains(account))
                else {
                    return Ok(CreateOutcome::BadRecipients);
                };
                joiners.push((row, *device));
            }
        }
        let accounts: Vec<i64> = accounts.into_iter().collect();
        let row = self.begin_conversation(new, creator, None, &accounts, &joiners)?;
        self.statement("INSERT INTO room (conversation, name) VALUES (?1, ?2)")?.execute(params![row, name])?;
        Ok(CreateOutcome::Created { seq: u64::from(new.handshake.is_some()) })
    }

    /// The row and id of a room.
    fn room(&self, name: &str) -> Result<Option<(i64, ConversationId)>, StoreError> {
        let mut find = self.statement(
            "SELECT c.id, c.public_id FROM room r JOIN conversation c ON c.id = r.conversation WHERE r.name = ?1",
        )?;
        Ok(find.query_row([name], |row| Ok((row.get(0)?, ConversationId(row.get(1)?)))).optional()?)
    }

    /// The rows of accounts; none if there is not one of each name.
    fn account_rows(&self, names: &[Username]) -> Result<Option<BTreeSet<i64>>, StoreError> {
        let rows = names.iter().map(|name| self.account_row(name)).collect::<Result<Option<_>, _>>()?;
        Ok(rows)
    }

    /// What a commit's roster means here; or why it is refused.
    pub(super) fn roster_change(
        &self,
        conversation: i64,
        roster: &Roster,
        sender: i64,
        members: u32,
    ) -> Result<Result<RosterChange, AppendOutcome>, StoreError> {
        let bad = Ok(Err(AppendOutcome::BadRecipients));
        if !self.statement("SELECT 1 FROM room WHERE conversation = ?1")?.exists([conversation])? {
            return bad;
        }
        let Some(entered) = self.account_rows(&roster.entered)? else { return bad };
        // An account that has ended is no account any more, and goes all the same.
        let mut left = BTreeSet::new();
        for name in &roster.left {
            left.extend(self.account_row(name)?);
        }
        let own: i64 =
            self.statement("SELECT account FROM device WHERE id = ?1")?.query_row([sender], |row| row.get(0))?;
        if left.contains(&own) || !left.is_disjoint(&entered) {
            return bad;
        }
        let mut present = self.statement("SELECT account FROM roster WHERE conversation = ?1")?;
        let mut after: BTreeSet<i64> =
            present.query_map([conversation], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let before = after.len();
        after.extend(&entered);
        after.retain(|account| !left.contains(account));
        if after.len() > before && after.len() > members as usize {
            return Ok(Err(AppendOutcome::TooManyMembers));
        }
        Ok(Ok(RosterChange { entered, left }))
    }

    /// Lets accounts come, before their devices do.
    pub(super) fn enter(&self, conversation: i64, entered: &BTreeSet<i64>) -> Result<(), StoreError> {
        let mut insert = self.statement("INSERT OR IGNORE INTO roster (conversation, account) VALUES (?1, ?2)")?;
        for account in entered {
            insert.execute([conversation, *account])?;
        }
        Ok(())
    }

    /// Lets accounts go by the commit at `seq`, which their devices may still read.
    pub(super) fn let_go(
        &mut self,
        id: ConversationId,
        conversation: i64,
        left: &BTreeSet<i64>,
        seq: u64,
    ) -> Result<(), StoreError> {
        for account in left {
            let devices: Vec<DeviceId> =
                self.members_of(conversation, *account)?.into_iter().map(|(_, device)| device).collect();
            self.remove_members(id, &devices, seq)?;
            self.statement("DELETE FROM roster WHERE conversation = ?1 AND account = ?2")?
                .execute([conversation, *account])?;
        }
        Ok(())
    }

    fn members_of(&self, conversation: i64, account: i64) -> Result<Vec<Joiner>, StoreError> {
        let mut select = self.statement(
            "SELECT d.id, d.public_id FROM member m JOIN device d ON d.id = m.device
             WHERE m.conversation = ?1 AND d.account = ?2",
        )?;
        let rows = select.query_map([conversation, account], |row| Ok((row.get(0)?, DeviceId(row.get(1)?))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// See [`crate::store::Store::join_room`].
    pub(super) fn join_room(
        &self,
        account: AccountId,
        name: &RoomName,
        members: u32,
    ) -> Result<JoinRoomOutcome, StoreError> {
        let Some((row, id)) = self.room(name.as_str())? else { return Ok(JoinRoomOutcome::UnknownRoom) };
        let inside = self
            .statement("SELECT 1 FROM roster WHERE conversation = ?1 AND account = ?2")?
            .exists([row, account.0])?;
        let count: u32 = self
            .statement("SELECT count(*) FROM roster WHERE conversation = ?1")?
            .query_row([row], |row| row.get(0))?;
        if !inside && count >= members {
            return Ok(JoinRoomOutcome::TooManyMembers);
        }
        self.enter(row, &BTreeSet::from([account.0]))?;
        Ok(JoinRoomOutcome::Joined(id))
    }

    /// See [`crate::store::Store::leave`].
    pub(super) fn leave(
        &mut self,
        device: DeviceId,
        id: ConversationId,
        wish: &Bytes,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let found = self
            .statement(
                "SELECT c.id, a.id, a.username FROM device d JOIN account a ON a.id = d.account
                 JOIN roster r ON r.account = a.id JOIN conversation c ON c.id = r.conversation
                 JOIN room o ON o.conversation = c.id WHERE d.public_id = ?1 AND c.public_id = ?2",
            )?
            .query_row(params![device.0, id.0], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))
            .optional()?;
        let Some((conversation, account, name)) = found else { return Ok(()) };
        let own = self.members_of(conversation, account)?;
        let log = self.logs.change(self.connection, id)?.ok_or(StoreError::Inconsistent("conversation"))?;
        let is_own = |member: &mut Member| own.iter().any(|(row, _)| *row == member.row);
        let leaving: Vec<Member> = log.members.extract_if(.., is_own).collect();
        for member in &leaving {
            self.delete_member(conversation, member)?;
            self.statement("DELETE FROM inbox WHERE asker = ?1 AND conversation = ?2")?
                .execute(params![member.device.0, id.0])?;
        }
        self.statement("DELETE FROM roster WHERE conversation = ?1 AND account = ?2")?
            .execute([conversation, account])?;
        let staying: Vec<Joiner> = self
            .statement(
                "SELECT d.id, d.public_id FROM member m JOIN device d ON d.id = m.device
                 WHERE m.conversation = ?1 AND m.left_at IS NULL",
            )?
            .query_map([conversation], |row| Ok((row.get(0)?, DeviceId(row.get(1)?))))?
            .collect::<Result<_, _>>()?;
        let notice = InboxNotice::Left { conversation: id, username: stored_name(&name)?, wish: wish.clone() };
        for one in staying {
            self.notify_of(one, notice.clone(), None, Some(device), now_ms)?;
        }
        if !self.statement("SELECT 1 FROM roster WHERE conversation = ?1")?.exists([conversation])? {
            self.delete_conversation(conversation, id)?;
        }
        Ok(())
    }

    /// See [`crate::store::Store::delete_room`].
    pub(super) fn delete_room(&mut self, name: &RoomName) -> Result<bool, StoreError> {
        let Some((row, id)) = self.room(name.as_str())? else { return Ok(false) };
        self.statement("DELETE FROM roster WHERE conversation = ?1")?.execute([row])?;
        self.delete_conversation(row, id)?;
        Ok(true)
    }
}

/// See [`crate::store::Store::rooms`].
pub(super) fn rooms(connection: &Connection, after: Option<&RoomName>) -> Result<Vec<RoomInfo>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT r.name, (SELECT count(*) FROM roster x WHERE x.conversation = r.conversation) FROM room r
         WHERE r.name > ?1 ORDER BY r.name LIMIT ?2",
    )?;
    let mut rows = select.query(params![after.map_or("", RoomName::as_str), PAGE_ENTRIES])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let name = row.get::<_, String>(0)?.parse().map_err(|_| StoreError::Inconsistent("room"))?;
        all.push(RoomInfo { name, members: row.get(1)? });
    }
    Ok(all)
}
