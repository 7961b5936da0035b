//! What answers a send that comes again.
//!
//! Invariant: each of a device's last numbers in a conversation has the same answer again, until the device has acknowledged
//! the entry that it became. The entry itself is that answer for as long as it stands; what goes before its sender has
//! acknowledged it leaves a row in `sent`, in the same transaction. So the usual message costs nothing here.

use super::batch::{Batch, Log, Member, place};
use crate::store::{AppendOutcome, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use waxwing_protocol::{ConversationId, DeviceId};

/// How many of its latest send numbers the server can still answer a device for.
const SEND_WINDOW: u64 = 256;

/// What a device's own entries say of its numbers, once it has asked again for one of them.
#[derive(Default)]
pub(super) struct Answers {
    /// Entries up to here were looked through; none is twice, however often somebody asks.
    looked_to: u64,
    /// By their numbers, which rise.
    known: Vec<Answer>,
}

#[derive(Clone, Copy)]
struct Answer {
    number: u64,
    seq: u64,
    time_ms: u64,
}

impl Answers {
    /// Looks through what was not looked through of the log.
    fn look(
        &mut self,
        connection: &Connection,
        (conversation, head): (i64, u64),
        (device, cursor, oldest): (i64, u64, u64),
    ) -> Result<(), rusqlite::Error> {
        if self.looked_to >= head {
            return Ok(());
        }
        let mut select = connection.prepare_cached(
            "SELECT number, seq, time_ms FROM entry WHERE place > ?1 AND place <= ?2 AND sender = ?3 AND number >= ?4
             ORDER BY place",
        )?;
        let range = (place(conversation, cursor.max(self.looked_to)), place(conversation, head));
        let found = select.query_map(params![range.0, range.1, device, oldest], |row| {
            Ok(Answer { number: row.get(0)?, seq: row.get(1)?, time_ms: row.get(2)? })
        })?;
        let found: Vec<Answer> = found.collect::<Result<_, _>>()?;
        self.known.retain(|answer| answer.number >= oldest && answer.seq > cursor);
        self.known.extend(found);
        self.looked_to = head;
        Ok(())
    }
}

impl Member {
    /// The oldest number that is still answered for.
    fn oldest_number(&self) -> u64 {
        (self.sent + 1).saturating_sub(SEND_WINDOW).max(1)
    }
}

impl Batch<'_> {
    /// What an earlier send number of a member became.
    pub(super) fn known(
        &mut self,
        id: ConversationId,
        device: DeviceId,
        number: u64,
    ) -> Result<Option<AppendOutcome>, StoreError> {
        let connection = self.connection;
        let Some(log) = self.logs.find(connection, id)? else { return Ok(None) };
        let (conversation, head) = (log.row, log.head);
        let Some(member) = log.members.iter_mut().find(|member| member.device == device) else { return Ok(None) };
        let (row, cursor, oldest) = (member.row, member.cursor, member.oldest_number());
        if number < oldest || number > member.sent {
            return Ok(None);
        }
        member.answers.look(connection, (conversation, head), (row, cursor, oldest))?;
        let mut found = member.answers.known.iter().filter(|answer| answer.number == number && answer.seq > cursor);
        if let Some(Answer { seq, time_ms, .. }) = found.next() {
            return Ok(Some(AppendOutcome::Accepted { seq: *seq, time_ms: *time_ms }));
        }
        let kept = self
            .statement(
                "SELECT seq, time_ms FROM sent WHERE conversation = ?1 AND device = ?2 AND slot = ?3 AND number = ?4",
            )?
            .query_row(params![conversation, row, number % SEND_WINDOW, number], |row| {
                Ok(AppendOutcome::Accepted { seq: row.get(0)?, time_ms: row.get(1)? })
            });
        Ok(kept.optional()?)
    }

    /// Keeps the answers of a member that goes, or starts anew: its cursor will not tell any more what it has.
    pub(super) fn keep_answers(&self, conversation: i64, member: &Member) -> Result<(), StoreError> {
        self.statement(
            "INSERT OR REPLACE INTO sent (conversation, device, slot, number, seq, time_ms)
             SELECT conversation, sender, number % 256, number, seq, time_ms FROM entry
             WHERE place > ?1 AND place <= ?2 AND sender = ?3 AND number >= ?4 ORDER BY place",
        )?
        .execute(params![
            place(conversation, member.cursor),
            place(conversation, u64::MAX),
            member.row,
            member.oldest_number()
        ])?;
        Ok(())
    }

    /// Keeps the answers that are lost with the entries up to `last`: those that their senders have not acknowledged.
    pub(super) fn keep_answers_up_to(&self, conversation: i64, last: u64) -> Result<(), StoreError> {
        self.statement(
            "INSERT OR REPLACE INTO sent (conversation, device, slot, number, seq, time_ms)
             SELECT e.conversation, e.sender, e.number % 256, e.number, e.seq, e.time_ms
             FROM entry e JOIN member m ON m.conversation = ?1 AND m.device = e.sender
             WHERE e.place > ?2 AND e.place <= ?3 AND e.number > 0 AND e.number > m.sent - 256 AND e.seq > m.cursor
             ORDER BY e.place",
        )?
        .execute(params![conversation, place(conversation, 0), place(conversation, last)])?;
        Ok(())
    }

    /// Takes the row of a member that is in the log no more; how often it has sent stays.
    pub(super) fn delete_member(&self, conversation: i64, gone: &Member) -> Result<(), StoreError> {
        self.keep_answers(conversation, gone)?;
        self.statement("INSERT OR REPLACE INTO former_member (conversation, device, sent) VALUES (?1, ?2, ?3)")?
            .execute(params![conversation, gone.row, gone.sent])?;
        self.statement("DELETE FROM member WHERE conversation = ?1 AND device = ?2")?
            .execute([conversation, gone.row])?;
        Ok(())
    }

    /// How often a device has sent that comes in, perhaps again or anew. Its answers of before are kept.
    pub(super) fn sent_before(
        &mut self,
        id: ConversationId,
        conversation: i64,
        device: i64,
    ) -> Result<u64, StoreError> {
        let is = |log: &&mut Log| log.row == conversation;
        let member = self.logs.remembered(id).filter(is).and_then(|log| {
            let place = log.members.iter().position(|member| member.row == device)?;
            Some(log.members.swap_remove(place))
        });
        if let Some(member) = member {
            self.keep_answers(conversation, &member)?;
            return Ok(member.sent);
        }
        let former = self
            .statement("DELETE FROM former_member WHERE conversation = ?1 AND device = ?2 RETURNING sent")?
            .query_row([conversation, device], |row| row.get(0));
        Ok(former.optional()?.unwrap_or(0))
    }
}
