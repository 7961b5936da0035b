//! Reading, acknowledging and expiring a conversation's log. It owns the rule that only a prefix of a log ever goes, and
//! only what all its devices have or what is too old. It must not know what a payload means.

use super::Database;
use super::conversation::{APPLICATION, COMMIT};
use super::error::retried;
use super::row::{bytes, page_end, signed, unsigned};
use crate::store::StoreError;
use sqlx::{MySql, Transaction};
use waxwing_protocol::{Bytes, ConversationHead, ConversationId, DeviceId, Entry, EntryBody, Page, limits};

/// How many entries one transaction deletes at most when they expire.
const EXPIRED_AT_ONCE: i64 = 1000;

/// start_seq, head, tail and commits, then seq, time_ms, kind, number and payload of an entry, or none.
type PageRow = (i64, i64, i64, i64, Option<i64>, Option<i64>, Option<i64>, Option<i64>, Option<Vec<u8>>);

impl Database {
    pub(super) async fn fetch(
        &self,
        device: DeviceId,
        conversation: ConversationId,
        after: u64,
    ) -> Result<Option<Page>, StoreError> {
        let sizes: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT e.seq, CASE WHEN e.sender = m.device THEN 0 ELSE e.size END \
             FROM membership m JOIN entry e ON e.conversation = m.conversation \
             WHERE m.conversation = ? AND m.device = ? AND e.seq > ? AND e.seq > m.start_seq \
             AND (m.left_at IS NULL OR e.seq <= m.left_at) ORDER BY e.seq LIMIT ?",
        )
        .bind(&conversation.0[..])
        .bind(&device.0[..])
        .bind(signed(after))
        .bind(i64::from(limits::PAGE_ENTRIES))
        .fetch_all(&self.pool)
        .await?;
        let last = page_end(&sizes).unwrap_or(0);
        // One statement reads the counters and the entries, so that they fit each other.
        let rows: Vec<PageRow> = sqlx::query_as(
            "SELECT m.start_seq, COALESCE(m.left_at, c.head), c.tail, c.commits, e.seq, e.time_ms, e.kind, e.number, \
             CASE WHEN e.sender = m.device THEN NULL ELSE e.payload END \
             FROM membership m JOIN conversation c ON c.id = m.conversation \
             LEFT JOIN entry e ON e.conversation = m.conversation AND e.seq > ? AND e.seq > m.start_seq AND e.seq <= ? \
             WHERE m.conversation = ? AND m.device = ? ORDER BY e.seq",
        )
        .bind(signed(after))
        .bind(last)
        .bind(&conversation.0[..])
        .bind(&device.0[..])
        .fetch_all(&self.pool)
        .await?;
        let Some(&(start, head, tail, commits, ..)) = rows.first() else { return Ok(None) };
        let entries = rows.into_iter().filter_map(|row| entry(row).transpose()).collect::<Result<_, _>>()?;
        Ok(Some(Page {
            entries,
            head: unsigned(head, "conversation")?,
            tail: unsigned(tail.max(start + 1).min(head + 1), "conversation")?,
            commits: unsigned(commits, "conversation")?,
        }))
    }

    pub(super) async fn acknowledge(
        &self,
        device: DeviceId,
        conversation: ConversationId,
        seq: u64,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let Some((head, tail)) = lock(&mut transaction, &conversation.0).await? else { return Ok(()) };
        let members: Vec<(Vec<u8>, i64, Option<i64>)> =
            sqlx::query_as("SELECT device, cursor_seq, left_at FROM membership WHERE conversation = ?")
                .bind(&conversation.0[..])
                .fetch_all(&mut *transaction)
                .await?;
        let Some((_, cursor, left_at)) = members.iter().find(|(member, _, _)| *member == device.0) else {
            return Ok(());
        };
        let raised = signed(seq).min(left_at.unwrap_or(head));
        if raised <= *cursor {
            return Ok(());
        }
        let statement = if *left_at == Some(raised) {
            // It has read its own removal. Its receipts stay: should it come back, it goes on counting.
            sqlx::query("DELETE FROM membership WHERE conversation = ? AND device = ?")
        } else {
            sqlx::query("UPDATE membership SET cursor_seq = ? WHERE conversation = ? AND device = ?").bind(raised)
        };
        statement.bind(&conversation.0[..]).bind(&device.0[..]).execute(&mut *transaction).await?;
        let remaining = members.iter().filter_map(|(member, cursor, left_at)| match *member == device.0 {
            true => (*left_at != Some(raised)).then_some(raised),
            false => Some(*cursor),
        });
        let had_by_all = remaining.min().unwrap_or(head);
        if had_by_all >= tail {
            drop_until(&mut transaction, &conversation.0, had_by_all).await?;
        }
        Ok(transaction.commit().await?)
    }

    pub(super) async fn heads(
        &self,
        device: DeviceId,
        after: Option<ConversationId>,
    ) -> Result<Vec<ConversationHead>, StoreError> {
        let rows: Vec<(Vec<u8>, i64, i64)> = sqlx::query_as(
            "SELECT c.id, COALESCE(m.left_at, c.head), m.sent FROM membership m \
             JOIN conversation c ON c.id = m.conversation \
             WHERE m.device = ? AND m.conversation > ? AND COALESCE(m.left_at, c.head) > m.cursor_seq \
             ORDER BY m.conversation LIMIT ?",
        )
        .bind(&device.0[..])
        .bind(after.map(|id| id.0.to_vec()).unwrap_or_default())
        .bind(i64::from(limits::PAGE_ENTRIES))
        .fetch_all(&self.pool)
        .await?;
        let head = |(id, head, sent): (Vec<u8>, i64, i64)| {
            Ok(ConversationHead {
                conversation: ConversationId(bytes(&id, "conversation")?),
                head: unsigned(head, "conversation")?,
                sent: unsigned(sent, "membership")?,
            })
        };
        rows.into_iter().map(head).collect()
    }

    /// Deletes what was stored before this moment, a prefix of each log: it stays without gaps even if a clock was set
    /// back. Returns how many entries went.
    pub(super) async fn expire(&self, before_ms: u64) -> Result<u64, StoreError> {
        let mut gone = 0;
        let mut last = Vec::new();
        loop {
            let old: Vec<Vec<u8>> = sqlx::query_scalar(
                "SELECT DISTINCT conversation FROM entry WHERE time_ms < ? AND conversation > ? \
                 ORDER BY conversation LIMIT 100",
            )
            .bind(signed(before_ms))
            .bind(&last)
            .fetch_all(&self.pool)
            .await?;
            let Some(end) = old.last() else { break };
            last.clone_from(end);
            for conversation in &old {
                while let count @ 1.. = retried(|| self.expire_part(conversation, before_ms)).await? {
                    gone += count;
                }
            }
        }
        self.expire_inbox(before_ms).await?;
        Ok(gone)
    }

    async fn expire_part(&self, conversation: &[u8], before_ms: u64) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let Some((head, tail)) = lock(&mut transaction, conversation).await? else { return Ok(0) };
        let kept: Option<i64> = sqlx::query_scalar(
            "SELECT seq FROM entry WHERE conversation = ? AND seq >= ? AND time_ms >= ? ORDER BY seq LIMIT 1",
        )
        .bind(conversation)
        .bind(tail)
        .bind(signed(before_ms))
        .fetch_optional(&mut *transaction)
        .await?;
        let end = kept.unwrap_or(head + 1).min(tail + EXPIRED_AT_ONCE) - 1;
        if end < tail {
            return Ok(0);
        }
        let gone = drop_until(&mut transaction, conversation, end).await?;
        transaction.commit().await?;
        Ok(gone)
    }
}

/// Locks a conversation; its head and tail.
async fn lock(transaction: &mut Transaction<'_, MySql>, id: &[u8]) -> Result<Option<(i64, i64)>, StoreError> {
    let row = sqlx::query_as("SELECT head, tail FROM conversation WHERE id = ? FOR UPDATE");
    Ok(row.bind(id).fetch_optional(&mut **transaction).await?)
}

/// Deletes the entries up to `seq` of a locked conversation, which has more; returns how many.
async fn drop_until(transaction: &mut Transaction<'_, MySql>, id: &[u8], seq: i64) -> Result<u64, StoreError> {
    let gone = sqlx::query("DELETE FROM entry WHERE conversation = ? AND seq <= ?")
        .bind(id)
        .bind(seq)
        .execute(&mut **transaction)
        .await?;
    sqlx::query("UPDATE conversation SET tail = ? WHERE id = ?")
        .bind(seq + 1)
        .bind(id)
        .execute(&mut **transaction)
        .await?;
    Ok(gone.rows_affected())
}

/// None for the row of a member without entries to read.
fn entry((_, _, _, _, seq, time, kind, number, payload): PageRow) -> Result<Option<Entry>, StoreError> {
    let (Some(seq), Some(time), Some(number)) = (seq, time, number) else { return Ok(None) };
    let body = match (payload, kind) {
        (None, _) => EntryBody::Own { number: unsigned(number, "entry")? },
        (Some(payload), Some(APPLICATION)) => EntryBody::Application(Bytes(payload)),
        (Some(payload), Some(COMMIT)) => EntryBody::Commit(Bytes(payload)),
        _ => return Err(StoreError::Inconsistent("entry")),
    };
    Ok(Some(Entry { seq: unsigned(seq, "entry")?, time_ms: unsigned(time, "entry")?, body }))
}
