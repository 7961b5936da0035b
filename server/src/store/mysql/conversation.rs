//! Conversations' rows and their making. It owns the rules that a pair of accounts has one direct conversation and that
//! a creation may be repeated. It must not know what a commit means.

use super::error::{is_duplicate, retried};
use super::inbox::{Notice, announce, post};
use super::joining::set_group_info;
use super::rooms::insert_room;
use super::row::{bytes, length, signed, unsigned};
use super::{Database, committed};
use crate::store::{CreateOutcome, NewConversation, StoreError};
use sqlx::{MySql, QueryBuilder, Transaction};
use std::collections::BTreeSet;
use waxwing_protocol::{
    ConversationId, ConversationKind, DeviceId, Entry, EntryBody, Handshake, InboxNotice, Username,
};

/// Values of `entry.kind`.
pub(super) const APPLICATION: i64 = 0;
pub(super) const COMMIT: i64 = 1;

impl Database {
    pub(super) async fn create_conversation(&self, new: &NewConversation) -> Result<CreateOutcome, StoreError> {
        // A duplicate key means that somebody else was faster: the next look finds what they made.
        match retried(|| self.try_create_conversation(new)).await {
            Err(error) if is_duplicate(&error) => retried(|| self.try_create_conversation(new)).await,
            outcome => outcome,
        }
    }

    async fn try_create_conversation(&self, new: &NewConversation) -> Result<CreateOutcome, StoreError> {
        let mut transaction = self.begin().await?;
        let same: Option<(Vec<u8>, i64)> = sqlx::query_as("SELECT creator, created_seq FROM conversation WHERE id = ?")
            .bind(&new.id.0[..])
            .fetch_optional(&mut *transaction)
            .await?;
        if let Some((creator, seq)) = same {
            let again = creator == new.creator.0;
            let seq = unsigned(seq, "conversation")?;
            return Ok(if again { CreateOutcome::Created { seq } } else { CreateOutcome::Exists(new.id) });
        }
        let begins = match &new.kind {
            ConversationKind::Direct(with) => self.direct_begins(&mut transaction, new, with).await?,
            ConversationKind::Group | ConversationKind::Room(_) => self.room_begins(&mut transaction, new).await?,
        };
        let begins = match begins {
            Ok(begins) => begins,
            Err(refused) => return Ok(refused),
        };

        let seq = u64::from(new.handshake.is_some());
        insert(&mut transaction, new, &begins, seq).await?;
        insert_room(&mut transaction, new).await?;
        let added = begins.added;
        let welcome = new.handshake.as_ref().and_then(|handshake| handshake.welcome.as_ref());
        let notices: Vec<Notice> = welcome
            .filter(|_| !added.is_empty())
            .map(|welcome| Notice {
                devices: added.iter().copied().collect(),
                notice: InboxNotice::Welcome {
                    conversation: new.id,
                    seq,
                    commits: seq,
                    payload: welcome.payload.clone(),
                },
                sender: Some(new.creator),
                now_ms: new.now_ms,
            })
            .into_iter()
            .collect();
        let _order = self.inbox_order.lock().await;
        let posted = post(&mut transaction, &notices, self.statement_bytes).await?;
        committed(transaction).await?;
        if let Some(handshake) = &new.handshake {
            // Nobody else is in it yet: who comes in by this entry starts after it.
            let entry = Entry { seq, time_ms: new.now_ms, body: EntryBody::Commit(handshake.commit.clone()) };
            self.publish.entry(&[], new.id, &entry);
        }
        announce(&*self.publish, &notices, &posted);
        Ok(CreateOutcome::Created { seq })
    }

    /// What a new direct conversation begins with; or why it does not.
    async fn direct_begins(
        &self,
        transaction: &mut Transaction<'_, MySql>,
        new: &NewConversation,
        with: &Username,
    ) -> Result<Result<Beginning, CreateOutcome>, StoreError> {
        // Locked, so that nobody removes a device, or the account, before its conversation is there.
        let accounts: Vec<(i64, String)> = sqlx::query_as(
            "SELECT id, username FROM account WHERE (id = ? OR username = ?) AND deleted_ms IS NULL \
             ORDER BY id LOCK IN SHARE MODE",
        )
        .bind(new.account.0)
        .bind(with.as_str())
        .fetch_all(&mut **transaction)
        .await?;
        let other = accounts.into_iter().find(|(_, name)| name == with.as_str());
        let Some((other, _)) = other else { return Ok(Err(CreateOutcome::UnknownAccount)) };
        let pair = (new.account.0.min(other), new.account.0.max(other));
        let existing: Option<Vec<u8>> = sqlx::query_scalar(
            "SELECT conversation FROM direct_conversation WHERE low_account = ? AND high_account = ?",
        )
        .bind(pair.0)
        .bind(pair.1)
        .fetch_optional(&mut **transaction)
        .await?;
        let existing = existing.map(|id| bytes(&id, "direct_conversation").map(ConversationId)).transpose()?;
        match existing {
            Some(id) if new.replaces != Some(id) => return Ok(Err(CreateOutcome::Exists(id))),
            _ => {}
        }
        let devices = devices(transaction, pair).await?;
        if !devices.contains(&new.creator) {
            return Err(StoreError::Inconsistent("device"));
        }
        let added = match &new.handshake {
            Some(handshake) if !handshake.removed.is_empty() => return Ok(Err(CreateOutcome::BadRecipients)),
            Some(handshake) => recipients(handshake),
            None => Some(BTreeSet::new()),
        };
        let allowed = |added: &BTreeSet<DeviceId>| !added.contains(&new.creator) && added.is_subset(&devices);
        let Some(added) = added.filter(allowed) else { return Ok(Err(CreateOutcome::BadRecipients)) };
        Ok(Ok(Beginning { pair: Some(pair), accounts: BTreeSet::from([pair.0, pair.1]), added }))
    }
}

/// What a conversation begins with.
pub(super) struct Beginning {
    /// The accounts of a direct one, the lower first.
    pub(super) pair: Option<(i64, i64)>,
    pub(super) accounts: BTreeSet<i64>,
    /// The devices that come in by its first commit.
    pub(super) added: BTreeSet<DeviceId>,
}

/// The devices that a handshake's welcome names; none if it names one twice.
pub(super) fn recipients(handshake: &Handshake) -> Option<BTreeSet<DeviceId>> {
    let named = handshake.welcome.iter().flat_map(|welcome| &welcome.recipients);
    let mut set = BTreeSet::new();
    named.copied().all(|device| set.insert(device)).then_some(set)
}

async fn devices(
    transaction: &mut Transaction<'_, MySql>,
    (low, high): (i64, i64),
) -> Result<BTreeSet<DeviceId>, StoreError> {
    let ids: Vec<Vec<u8>> = sqlx::query_scalar("SELECT id FROM device WHERE account IN (?, ?)")
        .bind(low)
        .bind(high)
        .fetch_all(&mut **transaction)
        .await?;
    ids.iter().map(|id| Ok(DeviceId(bytes(id, "device")?))).collect()
}

async fn insert(
    transaction: &mut Transaction<'_, MySql>,
    new: &NewConversation,
    Beginning { pair, accounts, added }: &Beginning,
    seq: u64,
) -> Result<(), StoreError> {
    let (id, seq) = (&new.id.0[..], signed(seq));
    if let Some(pair) = pair {
        insert_pair(transaction, new, *pair).await?;
    }
    sqlx::query(
        "INSERT INTO conversation (id, creator, created_seq, head, tail, commits, committed_ms) \
         VALUES (?, ?, ?, ?, 1, ?, ?)",
    )
    .bind(id)
    .bind(&new.creator.0[..])
    .bind(seq)
    .bind(seq)
    .bind(seq)
    .bind(signed(new.now_ms))
    .execute(&mut **transaction)
    .await?;
    let mut participants = QueryBuilder::<MySql>::new("INSERT INTO participant (conversation, account) ");
    participants.push_values(accounts, |mut row, account| {
        row.push_bind(id).push_bind(*account);
    });
    participants.build().execute(&mut **transaction).await?;
    let mut members = QueryBuilder::<MySql>::new(
        "INSERT INTO membership (conversation, device, start_seq, cursor_seq, sent, left_at) ",
    );
    let starts = added.iter().map(|device| (device, seq)).chain([(&new.creator, 0)]);
    members.push_values(starts, |mut row, (device, start)| {
        row.push_bind(id)
            .push_bind(&device.0[..])
            .push_bind(start)
            .push_bind(start)
            .push_bind(0_i64)
            .push_bind(None::<i64>);
    });
    members.build().execute(&mut **transaction).await?;
    if let Some(handshake) = &new.handshake {
        sqlx::query(
            "INSERT INTO entry (conversation, seq, sender, number, kind, time_ms, size, payload) \
             VALUES (?, ?, ?, 0, ?, ?, ?, ?)",
        )
        .bind(id)
        .bind(seq)
        .bind(&new.creator.0[..])
        .bind(COMMIT)
        .bind(signed(new.now_ms))
        .bind(length(handshake.commit.as_ref()))
        .bind(handshake.commit.as_ref())
        .execute(&mut **transaction)
        .await?;
        set_group_info(transaction, new.id, handshake.group_info.as_ref(), &new.creator).await?;
    }
    Ok(())
}

/// Enters a direct conversation as that of its pair of accounts: what two creators could both want. Whoever comes second finds
/// nothing to replace, and the key taken.
async fn insert_pair(
    transaction: &mut Transaction<'_, MySql>,
    new: &NewConversation,
    (low, high): (i64, i64),
) -> Result<(), StoreError> {
    if let Some(replaced) = new.replaces {
        sqlx::query("DELETE FROM direct_conversation WHERE low_account = ? AND high_account = ? AND conversation = ?")
            .bind(low)
            .bind(high)
            .bind(&replaced.0[..])
            .execute(&mut **transaction)
            .await?;
    }
    sqlx::query("INSERT INTO direct_conversation (low_account, high_account, conversation) VALUES (?, ?, ?)")
        .bind(low)
        .bind(high)
        .bind(&new.id.0[..])
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
