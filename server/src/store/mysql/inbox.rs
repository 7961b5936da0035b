//! The devices' inboxes. It owns the tables `inbox` and `welcome` and the counter on the device's row: numbers rise, are
//! never used again, and are published in order. It must not know why a notice is posted.

use super::row::{bytes, length, push_list, signed, unsigned};
use super::{Database, committed};
use crate::store::{Publish, StoreError};
use sqlx::{MySql, QueryBuilder, Row, Transaction, mysql::MySqlRow};
use std::collections::{BTreeMap, BTreeSet};
use waxwing_protocol::{Bytes, ConversationId, DeviceId, InboxItem, InboxNotice, limits};

const WELCOME: i64 = 0;
const DEVICE_LIST_CHANGED: i64 = 1;
const JOIN_ASKED: i64 = 2;
const LEFT: i64 = 3;

/// Something for several inboxes.
pub(super) struct Notice {
    pub(super) devices: Vec<DeviceId>,
    pub(super) notice: InboxNotice,
    /// The device whose welcome it is.
    pub(super) sender: Option<DeviceId>,
    pub(super) now_ms: u64,
}

/// The numbers that a notice got, one per device.
pub(super) type Posted = Vec<Vec<(DeviceId, u64)>>;

/// Puts notices into inboxes and says under which numbers. The caller holds the database's `inbox_order` from before
/// this until after [`announce`].
pub(super) async fn post(
    transaction: &mut Transaction<'_, MySql>,
    notices: &[Notice],
    statement_bytes: usize,
) -> Result<Posted, StoreError> {
    let devices: BTreeSet<DeviceId> = notices.iter().flat_map(|notice| notice.devices.iter().copied()).collect();
    if devices.is_empty() {
        return Ok(Vec::new());
    }
    insert_welcomes(transaction, notices, statement_bytes).await?;
    let mut lock = QueryBuilder::<MySql>::new("SELECT id, inbox_seq FROM device FORCE INDEX (PRIMARY) WHERE id IN ");
    push_list(&mut lock, devices.iter().map(|device| &device.0[..]));
    lock.push(" ORDER BY id FOR UPDATE");
    let rows: Vec<(Vec<u8>, i64)> = lock.build_query_as().fetch_all(&mut **transaction).await?;
    let mut last = BTreeMap::new();
    for (id, seq) in rows {
        last.insert(DeviceId(bytes(&id, "device")?), unsigned(seq, "device")?);
    }
    let posted: Posted = notices
        .iter()
        .map(|notice| {
            let number = |device: &DeviceId| {
                let seq = last.get_mut(device)?;
                *seq += 1;
                Some((*device, *seq))
            };
            notice.devices.iter().filter_map(number).collect()
        })
        .collect();
    insert_items(transaction, notices, &posted).await?;
    // Each device's row is locked: one update per distinct count of new items would do, and mostly that is one.
    let mut by_seq: BTreeMap<u64, Vec<DeviceId>> = BTreeMap::new();
    last.into_iter().for_each(|(device, seq)| by_seq.entry(seq).or_default().push(device));
    for (seq, devices) in by_seq {
        let mut update = QueryBuilder::<MySql>::new("UPDATE device SET inbox_seq = ");
        update.push_bind(signed(seq)).push(" WHERE id IN ");
        push_list(&mut update, devices.iter().map(|device| &device.0[..]));
        update.build().execute(&mut **transaction).await?;
    }
    Ok(posted)
}

async fn insert_welcomes(
    transaction: &mut Transaction<'_, MySql>,
    notices: &[Notice],
    statement_bytes: usize,
) -> Result<(), StoreError> {
    let welcomes: Vec<_> = notices
        .iter()
        .filter_map(|notice| match &notice.notice {
            InboxNotice::Welcome { conversation, seq, commits, payload } => {
                let sender = notice.sender.as_ref().map(|device| &device.0[..]);
                Some((conversation, *seq, *commits, payload.as_ref(), notice.now_ms, sender))
            }
            InboxNotice::DeviceListChanged { .. } | InboxNotice::JoinAsked { .. } | InboxNotice::Left { .. } => None,
        })
        .collect();
    for part in super::row::parts(&welcomes, statement_bytes, |(_, _, _, payload, ..)| payload.len()) {
        let mut insert =
            QueryBuilder::<MySql>::new("INSERT INTO welcome (conversation, seq, commits, time_ms, payload, sender) ");
        insert.push_values(part, |mut row, (conversation, seq, commits, payload, now_ms, sender)| {
            row.push_bind(&conversation.0[..]).push_bind(signed(*seq)).push_bind(signed(*commits));
            row.push_bind(signed(*now_ms)).push_bind(*payload).push_bind(*sender);
        });
        insert.build().execute(&mut **transaction).await?;
    }
    Ok(())
}

async fn insert_items(
    transaction: &mut Transaction<'_, MySql>,
    notices: &[Notice],
    posted: &Posted,
) -> Result<(), StoreError> {
    let items: Vec<_> = notices
        .iter()
        .zip(posted)
        .flat_map(|(notice, numbers)| numbers.iter().map(move |(device, seq)| (notice, device, *seq)))
        .collect();
    for part in super::row::parts(&items, usize::MAX, |_| 0) {
        let mut insert = QueryBuilder::<MySql>::new(
            "INSERT INTO inbox \
             (device, seq, kind, conversation, welcome_seq, username, list_version, asker, wish, time_ms, size) ",
        );
        insert.push_values(part, |mut row, (notice, device, seq)| {
            row.push_bind(&device.0[..]).push_bind(signed(*seq));
            let mut left: Option<&[u8]> = None;
            let size = match &notice.notice {
                InboxNotice::Welcome { conversation, seq, payload, .. } => {
                    row.push_bind(WELCOME).push_bind(Some(&conversation.0[..])).push_bind(Some(signed(*seq)));
                    row.push_bind(None::<&str>).push_bind(None::<i64>).push_bind(None::<&[u8]>);
                    length(payload.as_ref())
                }
                InboxNotice::DeviceListChanged { username, version } => {
                    row.push_bind(DEVICE_LIST_CHANGED).push_bind(None::<&[u8]>).push_bind(None::<i64>);
                    row.push_bind(Some(username.as_str())).push_bind(Some(signed(*version))).push_bind(None::<&[u8]>);
                    0
                }
                InboxNotice::JoinAsked { conversation, username, device } => {
                    row.push_bind(JOIN_ASKED).push_bind(Some(&conversation.0[..])).push_bind(None::<i64>);
                    row.push_bind(Some(username.as_str())).push_bind(None::<i64>).push_bind(Some(&device.0[..]));
                    0
                }
                InboxNotice::Left { conversation, username, wish } => {
                    row.push_bind(LEFT).push_bind(Some(&conversation.0[..])).push_bind(None::<i64>);
                    row.push_bind(Some(username.as_str())).push_bind(None::<i64>).push_bind(None::<&[u8]>);
                    left = Some(wish.as_ref());
                    0
                }
            };
            row.push_bind(left).push_bind(signed(notice.now_ms)).push_bind(size);
        });
        insert.build().execute(&mut **transaction).await?;
    }
    Ok(())
}

/// Publishes what [`post`] has put there, after the commit.
pub(super) fn announce(publish: &dyn Publish, notices: &[Notice], posted: &Posted) {
    for (notice, numbers) in notices.iter().zip(posted) {
        let mut item = InboxItem { seq: 0, notice: notice.notice.clone() };
        for (device, seq) in numbers {
            item.seq = *seq;
            publish.inbox(*device, &item);
        }
    }
}

impl Database {
    pub(super) async fn fetch_inbox(&self, device: DeviceId, after: u64) -> Result<Vec<InboxItem>, StoreError> {
        let sizes: Vec<(i64, i64)> =
            sqlx::query_as("SELECT seq, size FROM inbox WHERE device = ? AND seq > ? ORDER BY seq LIMIT ?")
                .bind(&device.0[..])
                .bind(signed(after))
                .bind(i64::from(limits::PAGE_ENTRIES))
                .fetch_all(&self.pool)
                .await?;
        let Some(last) = super::row::page_end(&sizes) else { return Ok(Vec::new()) };
        let rows = sqlx::query(
            "SELECT i.seq, i.kind, i.conversation, i.welcome_seq, i.username, i.list_version, i.asker, i.wish, w.commits, w.payload \
             FROM inbox i LEFT JOIN welcome w ON w.conversation = i.conversation AND w.seq = i.welcome_seq \
             WHERE i.device = ? AND i.seq > ? AND i.seq <= ? ORDER BY i.seq",
        )
        .bind(&device.0[..])
        .bind(signed(after))
        .bind(last)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(item).collect()
    }

    pub(super) async fn acknowledge_inbox(&self, device: DeviceId, seq: u64) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let welcomes = sqlx::query_as(
            "SELECT conversation, welcome_seq FROM inbox WHERE device = ? AND seq <= ? AND welcome_seq IS NOT NULL",
        )
        .bind(&device.0[..])
        .bind(signed(seq))
        .fetch_all(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM inbox WHERE device = ? AND seq <= ?")
            .bind(&device.0[..])
            .bind(signed(seq))
            .execute(&mut *transaction)
            .await?;
        delete_unused(&mut transaction, welcomes).await?;
        committed(transaction).await
    }

    /// Deletes inbox items and welcomes stored before this moment, in parts; returns how many items.
    pub(super) async fn expire_inbox(&self, before_ms: u64) -> Result<u64, StoreError> {
        let mut gone = 0;
        let part = |statement: &'static str| async move {
            let part = || async {
                Ok(sqlx::query(statement).bind(signed(before_ms)).execute(&self.pool).await?.rows_affected())
            };
            super::error::retried(part).await
        };
        while let count @ 1.. = part("DELETE FROM inbox WHERE time_ms < ? LIMIT 1000").await? {
            gone += count;
        }
        // A welcome has its notices' time, so none of them is left now.
        while part("DELETE FROM welcome WHERE time_ms < ? LIMIT 100").await? > 0 {}
        Ok(gone)
    }
}

/// Deletes all that is in the inboxes of devices.
pub(super) async fn empty_inboxes(
    transaction: &mut Transaction<'_, MySql>,
    devices: &BTreeSet<DeviceId>,
) -> Result<(), StoreError> {
    let mut select = QueryBuilder::<MySql>::new(
        "SELECT DISTINCT conversation, welcome_seq FROM inbox WHERE welcome_seq IS NOT NULL AND device IN ",
    );
    push_list(&mut select, devices.iter().map(|device| &device.0[..]));
    let welcomes = select.build_query_as().fetch_all(&mut **transaction).await?;
    let mut delete = QueryBuilder::<MySql>::new("DELETE FROM inbox WHERE device IN ");
    push_list(&mut delete, devices.iter().map(|device| &device.0[..]));
    delete.build().execute(&mut **transaction).await?;
    delete_unused(transaction, welcomes).await
}

/// Deletes those welcomes that no inbox refers to. Two last readers at once may both leave one: `expire_inbox` finds it
/// then.
async fn delete_unused(
    transaction: &mut Transaction<'_, MySql>,
    welcomes: Vec<(Vec<u8>, i64)>,
) -> Result<(), StoreError> {
    for (conversation, seq) in welcomes {
        let used = sqlx::query("SELECT seq FROM inbox WHERE conversation = ? AND welcome_seq = ? LIMIT 1")
            .bind(&conversation)
            .bind(seq)
            .fetch_optional(&mut **transaction)
            .await?;
        if used.is_none() {
            sqlx::query("DELETE FROM welcome WHERE conversation = ? AND seq = ?")
                .bind(&conversation)
                .bind(seq)
                .execute(&mut **transaction)
                .await?;
        }
    }
    Ok(())
}

fn item(row: &MySqlRow) -> Result<InboxItem, StoreError> {
    let damaged = StoreError::Inconsistent("inbox");
    let notice = match row.try_get::<i64, _>("kind")? {
        WELCOME => InboxNotice::Welcome {
            conversation: ConversationId(bytes(row.try_get("conversation")?, "inbox")?),
            seq: unsigned(row.try_get("welcome_seq")?, "inbox")?,
            commits: unsigned(row.try_get("commits")?, "welcome")?,
            payload: Bytes(row.try_get("payload")?),
        },
        DEVICE_LIST_CHANGED => InboxNotice::DeviceListChanged {
            username: row.try_get::<&str, _>("username")?.parse().map_err(|_| damaged)?,
            version: unsigned(row.try_get("list_version")?, "inbox")?,
        },
        JOIN_ASKED => InboxNotice::JoinAsked {
            conversation: ConversationId(bytes(row.try_get("conversation")?, "inbox")?),
            username: row.try_get::<&str, _>("username")?.parse().map_err(|_| damaged)?,
            device: DeviceId(bytes(row.try_get("asker")?, "inbox")?),
        },
        LEFT => InboxNotice::Left {
            conversation: ConversationId(bytes(row.try_get("conversation")?, "inbox")?),
            username: row.try_get::<&str, _>("username")?.parse().map_err(|_| damaged)?,
            wish: Bytes(row.try_get("wish")?),
        },
        _ => return Err(damaged),
    };
    Ok(InboxItem { seq: unsigned(row.try_get("seq")?, "inbox")?, notice })
}
