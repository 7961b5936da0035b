//! Reading and expiring a conversation's log. It owns the rule that only a prefix of a log expires, and only what is too old. It must not know what a payload means.

use super::conversation::{APPLICATION, COMMIT};
use super::error::retried;
use super::row::{bytes, signed, unsigned};
use super::{Database, committed};
use crate::store::{Audience, StoreError};
use sqlx::{MySql, Transaction};
use waxwing_protocol::{Bytes, ConversationHead, ConversationId, DeviceId, Entry, EntryBody, Page, limits};

/// How many entries one transaction deletes at most when they expire.
const EXPIRED_AT_ONCE: i64 = 1000;

/// start_seq, head, tail, commits and sent, then seq, time_ms, kind, number and payload of an entry, or none.
type PageRow = (i64, i64, i64, i64, i64, Option<i64>, Option<i64>, Option<i64>, Option<i64>, Option<Vec<u8>>);

impl Database {
    pub(super) async fn others(
        &self,
        device: DeviceId,
        conversation: ConversationId,
    ) -> Result<Option<Vec<DeviceId>>, StoreError> {
        let members: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT device FROM membership WHERE conversation = ? AND left_at IS NULL")
                .bind(&conversation.0[..])
                .fetch_all(&self.pool)
                .await?;
        let members = members.iter().map(|id| Ok(DeviceId(bytes(id, "membership")?)));
        let members = members.collect::<Result<Vec<_>, StoreError>>()?;
        let is_member = members.contains(&device);
        Ok(is_member.then(|| members.into_iter().filter(|member| *member != device).collect()))
    }

    pub(super) async fn fetch(
        &self,
        device: DeviceId,
        conversation: ConversationId,
        after: u64,
    ) -> Result<Option<Page>, StoreError> {
        // One statement, since it sees one moment: between two, entries come and go, and the counters would not fit them.
        let rows: Vec<PageRow> = sqlx::query_as(
            "SELECT m.start_seq, COALESCE(m.left_at, c.head), c.tail, c.commits, m.sent, e.seq, e.time_ms, e.kind, \
             e.number, CASE WHEN e.sender = m.device THEN NULL ELSE e.payload END \
             FROM membership m JOIN conversation c ON c.id = m.conversation \
             LEFT JOIN (SELECT seq, SUM(size) OVER (ORDER BY seq) AS total, ROW_NUMBER() OVER (ORDER BY seq) AS place \
             FROM (SELECT n.seq, CASE WHEN n.sender = o.device THEN 0 ELSE n.size END AS size \
             FROM membership o JOIN entry n ON n.conversation = o.conversation \
             WHERE o.conversation = ? AND o.device = ? AND n.seq > ? AND n.seq > o.start_seq \
             AND (o.left_at IS NULL OR n.seq <= o.left_at) ORDER BY n.seq LIMIT ?) AS next) AS page \
             ON page.total <= ? OR page.place = 1 \
             LEFT JOIN entry e ON e.conversation = m.conversation AND e.seq = page.seq \
             WHERE m.conversation = ? AND m.device = ? ORDER BY e.seq",
        )
        .bind(&conversation.0[..])
        .bind(&device.0[..])
        .bind(signed(after))
        .bind(i64::from(limits::PAGE_ENTRIES))
        .bind(i64::try_from(limits::PAGE_BYTES).unwrap_or(i64::MAX))
        .bind(&conversation.0[..])
        .bind(&device.0[..])
        .fetch_all(&self.pool)
        .await?;
        let Some(&(start, head, tail, commits, sent, ..)) = rows.first() else { return Ok(None) };
        let entries = rows.into_iter().filter_map(|row| entry(row).transpose()).collect::<Result<_, _>>()?;
        Ok(Some(Page {
            entries,
            head: unsigned(head, "conversation")?,
            tail: unsigned(tail.max(start + 1).min(head + 1), "conversation")?,
            commits: unsigned(commits, "conversation")?,
            sent: unsigned(sent, "membership")?,
        }))
    }

    pub(super) async fn audience(
        &self,
        device: DeviceId,
        conversation: ConversationId,
    ) -> Result<Option<Audience>, StoreError> {
        let rows: Vec<(i64, Option<Vec<u8>>, Option<i64>)> = sqlx::query_as(
            "SELECT own.sent, d.id, CAST(d.account = me.account AS SIGNED) FROM membership own \
             JOIN device me ON me.id = own.device \
             LEFT JOIN membership m ON m.conversation = own.conversation AND m.device <> own.device \
             AND m.left_at IS NULL LEFT JOIN device d ON d.id = m.device \
             WHERE own.conversation = ? AND own.device = ? AND own.left_at IS NULL",
        )
        .bind(&conversation.0[..])
        .bind(&device.0[..])
        .fetch_all(&self.pool)
        .await?;
        let Some((sent, ..)) = rows.first() else { return Ok(None) };
        let sent = unsigned(*sent, "membership")?;
        let (mut mine, mut others) = (Vec::new(), Vec::new());
        for (_, device, own) in &rows {
            if let Some(device) = device {
                let device = DeviceId(bytes(device, "membership")?);
                if *own == Some(1) { mine.push(device) } else { others.push(device) }
            }
        }
        Ok(Some(Audience { sent, devices: if others.is_empty() { mine } else { others } }))
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
        committed(transaction).await?;
        Ok(gone)
    }
}

/// Locks a conversation; its head and tail.
pub(super) async fn lock(
    transaction: &mut Transaction<'_, MySql>,
    id: &[u8],
) -> Result<Option<(i64, i64)>, StoreError> {
    let row = sqlx::query_as("SELECT head, tail FROM conversation WHERE id = ? FOR UPDATE");
    Ok(row.bind(id).fetch_optional(&mut **transaction).await?)
}

/// Deletes the entries up to `seq` of a locked conversation; returns how many.
pub(super) async fn drop_until(
    transaction: &mut Transaction<'_, MySql>,
    id: &[u8],
    seq: i64,
) -> Result<u64, StoreError> {
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
fn entry((_, _, _, _, _, seq, time, kind, number, payload): PageRow) -> Result<Option<Entry>, StoreError> {
    let (Some(seq), Some(time), Some(number)) = (seq, time, number) else { return Ok(None) };
    let body = match (payload, kind) {
        (None, _) => EntryBody::Own { number: unsigned(number, "entry")? },
        (Some(payload), Some(APPLICATION)) => EntryBody::Application(Bytes(payload)),
        (Some(payload), Some(COMMIT)) => EntryBody::Commit(Bytes(payload)),
        _ => return Err(StoreError::Inconsistent("entry")),
    };
    Ok(Some(Entry { seq: unsigned(seq, "entry")?, time_ms: unsigned(time, "entry")?, body }))
}
