//! Groups and rooms: conversations of any number of accounts. It owns the table `room`, and the rules that a room's name is
//! given once and that who leaves gets nothing that comes after. It must not know who may change what: the clients judge that.

use super::conversation::{Beginning, recipients};
use super::deletion::delete_conversation;
use super::devices::{devices_of, leave_conversation};
use super::inbox::{Notice, announce, post};
use super::row::{bytes, push_list};
use super::{Database, committed};
use crate::store::{AccountId, CreateOutcome, JoinRoomOutcome, NewConversation, StoreError};
use sqlx::{MySql, QueryBuilder, Transaction};
use std::collections::{BTreeMap, BTreeSet};
use waxwing_protocol::{
    Bytes, ConversationId, ConversationKind, DeviceId, InboxNotice, RoomInfo, RoomName, Username, limits,
};

impl Database {
    /// What a new group or room begins with, its accounts locked; or why it does not.
    pub(super) async fn room_begins(
        &self,
        transaction: &mut Transaction<'_, MySql>,
        new: &NewConversation,
    ) -> Result<Result<Beginning, CreateOutcome>, StoreError> {
        if let ConversationKind::Room(name) = &new.kind {
            let known: Option<Vec<u8>> = sqlx::query_scalar("SELECT conversation FROM room WHERE name = ?")
                .bind(name.as_str())
                .fetch_optional(&mut **transaction)
                .await?;
            if let Some(id) = known {
                return Ok(Err(CreateOutcome::Exists(ConversationId(bytes(&id, "room")?))));
            }
        }
        let roster = new.handshake.as_ref().and_then(|handshake| handshake.roster.clone()).unwrap_or_default();
        let entered = accounts(transaction, &roster.entered, Some(new.account)).await?;
        if roster.entered.iter().any(|name| !entered.contains_key(name.as_str())) {
            return Ok(Err(CreateOutcome::UnknownAccount));
        }
        let accounts: BTreeSet<i64> = entered.into_values().chain([new.account.0]).collect();
        if accounts.len() > new.members as usize {
            return Ok(Err(CreateOutcome::TooManyMembers));
        }
        let added = match &new.handshake {
            Some(handshake) if !handshake.removed.is_empty() || !roster.left.is_empty() => None,
            Some(handshake) => recipients(handshake),
            None => Some(BTreeSet::new()),
        };
        let mut devices = BTreeSet::new();
        for account in &accounts {
            devices.extend(devices_of(transaction, AccountId(*account)).await?);
        }
        if !devices.contains(&new.creator) {
            return Err(StoreError::Inconsistent("device"));
        }
        let allowed = |added: &BTreeSet<DeviceId>| !added.contains(&new.creator) && added.is_subset(&devices);
        Ok(match added.filter(allowed) {
            Some(added) => Ok(Beginning { pair: None, accounts, added }),
            None => Err(CreateOutcome::BadRecipients),
        })
    }

    pub(super) async fn rooms(&self, after: Option<&RoomName>) -> Result<Vec<RoomInfo>, StoreError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT r.name, (SELECT COUNT(*) FROM participant p WHERE p.conversation = r.conversation) FROM room r \
             WHERE r.name > ? ORDER BY r.name LIMIT ?",
        )
        .bind(after.map_or("", RoomName::as_str))
        .bind(i64::from(limits::PAGE_ENTRIES))
        .fetch_all(&self.pool)
        .await?;
        let info = |(name, members): (String, i64)| {
            let name = name.parse().map_err(|_| StoreError::Inconsistent("room"))?;
            Ok(RoomInfo { name, members: u32::try_from(members).unwrap_or(u32::MAX) })
        };
        rows.into_iter().map(info).collect()
    }

    pub(super) async fn join_room(
        &self,
        account: AccountId,
        name: &RoomName,
        members: u32,
    ) -> Result<JoinRoomOutcome, StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query("SELECT id FROM account WHERE id = ? LOCK IN SHARE MODE")
            .bind(account.0)
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(id) = locked_room(&mut transaction, name).await? else { return Ok(JoinRoomOutcome::UnknownRoom) };
        let others: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM participant WHERE conversation = ? AND account <> ?")
                .bind(&id[..])
                .bind(account.0)
                .fetch_one(&mut *transaction)
                .await?;
        if others >= i64::from(members) {
            return Ok(JoinRoomOutcome::TooManyMembers);
        }
        sqlx::query("INSERT IGNORE INTO participant (conversation, account) VALUES (?, ?)")
            .bind(&id[..])
            .bind(account.0)
            .execute(&mut *transaction)
            .await?;
        committed(transaction).await?;
        Ok(JoinRoomOutcome::Joined(ConversationId(bytes(&id, "room")?)))
    }

    pub(super) async fn leave(
        &self,
        device: DeviceId,
        conversation: ConversationId,
        wish: &Bytes,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let found: Option<(i64, String)> = sqlx::query_as(
            "SELECT a.id, a.username FROM device d JOIN account a ON a.id = d.account \
             JOIN participant p ON p.account = a.id JOIN room r ON r.conversation = p.conversation \
             WHERE d.id = ? AND p.conversation = ?",
        )
        .bind(&device.0[..])
        .bind(&conversation.0[..])
        .fetch_optional(&mut *transaction)
        .await?;
        let Some((account, name)) = found else { return Ok(()) };
        let username = name.parse().map_err(|_| StoreError::Inconsistent("account"))?;
        let devices = devices_of(&mut transaction, AccountId(account)).await?;
        leave_conversation(&mut transaction, &conversation.0, &devices, false).await?;
        sqlx::query("DELETE FROM participant WHERE conversation = ? AND account = ?")
            .bind(&conversation.0[..])
            .bind(account)
            .execute(&mut *transaction)
            .await?;
        let mut asked = QueryBuilder::<MySql>::new("DELETE FROM inbox WHERE conversation = ");
        asked.push_bind(&conversation.0[..]).push(" AND asker IN ");
        push_list(&mut asked, devices.iter().map(|device| &device.0[..]));
        asked.build().execute(&mut *transaction).await?;
        let others: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM participant WHERE conversation = ?")
            .bind(&conversation.0[..])
            .fetch_one(&mut *transaction)
            .await?;
        if others == 0 {
            delete_conversation(&mut transaction, &conversation.0).await?;
        }
        let staying: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT device FROM membership WHERE conversation = ? AND left_at IS NULL")
                .bind(&conversation.0[..])
                .fetch_all(&mut *transaction)
                .await?;
        let staying = staying.iter().map(|id| Ok(DeviceId(bytes(id, "membership")?)));
        let devices = staying.collect::<Result<_, StoreError>>()?;
        let notice = InboxNotice::Left { conversation, username, wish: wish.clone() };
        let notices = [Notice { devices, notice, sender: None, now_ms }];
        let _order = self.inbox_order.lock().await;
        let posted = post(&mut transaction, &notices, self.statement_bytes).await?;
        committed(transaction).await?;
        announce(&*self.publish, &notices, &posted);
        Ok(())
    }

    pub(super) async fn delete_room(&self, name: &RoomName) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let Some(id) = locked_room(&mut transaction, name).await? else { return Ok(false) };
        delete_conversation(&mut transaction, &id).await?;
        sqlx::query("DELETE FROM participant WHERE conversation = ?").bind(&id[..]).execute(&mut *transaction).await?;
        committed(transaction).await?;
        Ok(true)
    }
}

/// The id of a room, its conversation locked.
async fn locked_room(transaction: &mut Transaction<'_, MySql>, name: &RoomName) -> Result<Option<Vec<u8>>, StoreError> {
    let id: Option<Vec<u8>> = sqlx::query_scalar("SELECT conversation FROM room WHERE name = ?")
        .bind(name.as_str())
        .fetch_optional(&mut **transaction)
        .await?;
    let Some(id) = id else { return Ok(None) };
    let locked: Option<Vec<u8>> = sqlx::query_scalar("SELECT id FROM conversation WHERE id = ? FOR UPDATE")
        .bind(&id[..])
        .fetch_optional(&mut **transaction)
        .await?;
    Ok(locked)
}

/// The rows of accounts by their names, locked against their end; with that one's too, which comes first in no order but
/// the rows'.
async fn accounts(
    transaction: &mut Transaction<'_, MySql>,
    names: &[Username],
    own: Option<AccountId>,
) -> Result<BTreeMap<String, i64>, StoreError> {
    let mut select = QueryBuilder::<MySql>::new("SELECT id, username FROM account WHERE deleted_ms IS NULL AND (id = ");
    select.push_bind(own.map_or(0, |own| own.0)).push(" OR username IN ");
    push_names(&mut select, names);
    select.push(") ORDER BY id LOCK IN SHARE MODE");
    let rows: Vec<(i64, String)> = select.build_query_as().fetch_all(&mut **transaction).await?;
    Ok(rows.into_iter().map(|(id, name)| (name, id)).collect())
}

/// Appends `(?, ?, …)` with the names. An empty list matches nothing.
pub(super) fn push_names(query: &mut QueryBuilder<MySql>, names: &[Username]) {
    query.push("(");
    let mut list = query.separated(", ");
    for name in names {
        list.push_bind(name.as_str().to_owned());
    }
    query.push(if names.is_empty() { "NULL)" } else { ")" });
}

/// Enters a new group or room.
pub(super) async fn insert_room(
    transaction: &mut Transaction<'_, MySql>,
    new: &NewConversation,
) -> Result<(), StoreError> {
    let name = match &new.kind {
        ConversationKind::Direct(_) => return Ok(()),
        ConversationKind::Group => None,
        ConversationKind::Room(name) => Some(name.as_str()),
    };
    sqlx::query("INSERT INTO room (conversation, name) VALUES (?, ?)")
        .bind(&new.id.0[..])
        .bind(name)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
