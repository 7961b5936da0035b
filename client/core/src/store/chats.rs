//! One row per chat: where it stands in the server's log and how far its sending has come.

use crate::{Error, backup::Range};
use rusqlite::{Connection, OptionalExtension, Row};
use zeroize::Zeroizing;

/// A chat's row id.
pub(crate) type ChatId = i64;

/// How far a chat is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing was done yet.
    New,
    /// Our creation may be at the server; its answer is not here.
    Creating,
    /// It exists; another device has to let us in.
    Waiting,
    /// Messages can go.
    Active,
    /// Our join may be at the server; its answer is not here. The group is in the epoch that begins if it is accepted.
    Joining,
    /// This account is not in the group any more.
    Over,
}

impl Phase {
    /// Whether this device is in the chat.
    pub(crate) fn is_inside(self) -> bool {
        self == Self::Active
    }
}

/// A chat's row.
#[derive(Clone, Debug)]
pub(crate) struct ChatRow {
    pub(crate) chat: ChatId,
    pub(crate) name: String,
    pub(crate) conversation: Option<[u8; 16]>,
    pub(crate) phase: Phase,
    pub(crate) cursor: u64,
    pub(crate) commits: u64,
    pub(crate) number: u64,
    pub(crate) others: u64,
    pub(crate) introduced: bool,
    /// The creation or the join as it was sent, until the server answered.
    pub(crate) creation: Option<Vec<u8>>,
    /// How many conversations the chat has left behind.
    pub(crate) era: u64,
    /// What lets a device of ours in; kept when the group is gone.
    pub(crate) join_key: Option<Zeroizing<[u8; 32]>>,
    /// Whether entries before the cursor expired, and nothing was read since.
    pub(crate) gap: bool,
    /// When this device's keys in the group are due to be replaced: milliseconds since 1970.
    pub(crate) update_at: u64,
    /// The lifetime of the next messages, in seconds.
    pub(crate) timer: Option<u32>,
    /// What the user has begun to write.
    pub(crate) draft: Option<String>,
    /// What the members of a group call it.
    pub(crate) title: Option<String>,
    /// What a group is about.
    pub(crate) topic: Option<String>,
}

fn read(row: &Row<'_>) -> rusqlite::Result<ChatRow> {
    let conversation: Option<Vec<u8>> = row.get("conversation")?;
    Ok(ChatRow {
        chat: row.get("chat")?,
        name: row.get("name")?,
        conversation: conversation.map(|_| super::array(row, "conversation")).transpose()?,
        phase: match row.get::<_, i64>("phase")? {
            0 => Phase::New,
            1 => Phase::Creating,
            2 => Phase::Waiting,
            4 => Phase::Joining,
            5 => Phase::Over,
            _ => Phase::Active,
        },
        cursor: row.get("cursor")?,
        commits: row.get("commits")?,
        number: row.get("number")?,
        others: row.get("others")?,
        introduced: row.get("introduced")?,
        creation: row.get("creation")?,
        era: row.get("era")?,
        join_key: match row.get::<_, Option<Vec<u8>>>("join_key")?.map(Zeroizing::new) {
            Some(_) => Some(Zeroizing::new(super::array(row, "join_key")?)),
            None => None,
        },
        gap: row.get("gap")?,
        update_at: row.get("update_at")?,
        timer: row.get("timer")?,
        draft: row.get("draft")?,
        title: row.get("title")?,
        topic: row.get("topic")?,
    })
}

pub(crate) fn load(db: &Connection, chat: ChatId) -> Result<ChatRow, Error> {
    find(db, chat)?.ok_or_else(|| Error::Storage("a chat is missing".into()))
}

pub(crate) fn find(db: &Connection, chat: ChatId) -> Result<Option<ChatRow>, Error> {
    Ok(db.prepare_cached("SELECT * FROM chats WHERE chat = ?1")?.query_row([chat], read).optional()?)
}

pub(crate) fn by_name(db: &Connection, name: &str) -> Result<Option<ChatRow>, Error> {
    Ok(db.prepare_cached("SELECT * FROM chats WHERE name = ?1")?.query_row([name], read).optional()?)
}

pub(crate) fn by_conversation(db: &Connection, conversation: &[u8; 16]) -> Result<Option<ChatRow>, Error> {
    let mut query = db.prepare_cached("SELECT * FROM chats WHERE conversation = ?1")?;
    Ok(query.query_row([conversation], read).optional()?)
}

pub(crate) fn all(db: &Connection) -> Result<Vec<ChatRow>, Error> {
    let mut query = db.prepare_cached("SELECT * FROM chats ORDER BY name")?;
    let rows = query.query_map([], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The chat of that name, made if there is none.
pub(crate) fn ensure(db: &Connection, name: &str) -> Result<ChatRow, Error> {
    db.prepare_cached("INSERT INTO chats (name) VALUES (?1) ON CONFLICT (name) DO NOTHING")?.execute([name])?;
    by_name(db, name)?.ok_or_else(|| Error::Storage("a chat that was just made is not there".into()))
}

/// Our creation is about to leave.
pub(crate) fn set_creating(db: &Connection, chat: ChatId, id: &[u8; 16], creation: &[u8]) -> Result<(), Error> {
    db.execute("UPDATE chats SET phase = 1, conversation = ?2, creation = ?3 WHERE chat = ?1", (chat, id, creation))?;
    Ok(())
}

/// Removes a chat that never came to anything.
pub(crate) fn forget_unused(db: &Connection, name: &str) -> Result<(), Error> {
    db.execute(
        "DELETE FROM chats WHERE name = ?1 AND phase = 0
             AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.chat = chats.chat)
             AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.chat = chats.chat)
             AND NOT EXISTS (SELECT 1 FROM former_conversations f WHERE f.chat = chats.chat)",
        [name],
    )?;
    Ok(())
}

/// Our creation came to nothing.
pub(crate) fn set_new(db: &Connection, chat: ChatId) -> Result<(), Error> {
    db.execute("UPDATE chats SET phase = 0, conversation = NULL, creation = NULL WHERE chat = ?1", [chat])?;
    Ok(())
}

/// There is a group; this device is not in it, or cannot read it any more.
pub(crate) fn set_waiting(db: &Connection, chat: ChatId, id: &[u8; 16]) -> Result<(), Error> {
    db.execute("UPDATE chats SET phase = 2, conversation = ?2, creation = NULL WHERE chat = ?1", (chat, id))?;
    Ok(())
}

/// The group is there; its log is handled up to `cursor`.
pub(crate) fn set_active(db: &Connection, chat: ChatId, id: &[u8; 16], cursor: u64, commits: u64) -> Result<(), Error> {
    db.execute(
        "UPDATE chats SET phase = 3, conversation = ?2, cursor = ?3, commits = ?4, creation = NULL,
                          others = ?3, receipted = ?3, gap = 0, unsettled = 1 WHERE chat = ?1",
        (chat, id, cursor, commits),
    )?;
    // What let this device in says nothing that is shown.
    super::coverage::add(db, chat, load(db, chat)?.era, Range { first: cursor.max(1), last: cursor })
}

/// Our join is about to leave.
pub(crate) fn set_joining(db: &Connection, chat: ChatId, join: &[u8]) -> Result<(), Error> {
    db.execute("UPDATE chats SET phase = 4, creation = ?2 WHERE chat = ?1", (chat, join))?;
    Ok(())
}

/// What lets a device of ours in from now on.
pub(crate) fn set_join_key(db: &Connection, chat: ChatId, key: &[u8; 32]) -> Result<(), Error> {
    db.prepare_cached("UPDATE chats SET join_key = ?2 WHERE chat = ?1")?.execute((chat, key))?;
    Ok(())
}

/// Entries before the cursor expired, or after such a gap one was read.
pub(crate) fn set_gap(db: &Connection, chat: ChatId, gap: bool) -> Result<(), Error> {
    db.execute("UPDATE chats SET gap = ?2 WHERE chat = ?1", (chat, gap))?;
    Ok(())
}

pub(crate) fn set_update_at(db: &Connection, chat: ChatId, update_at: u64) -> Result<(), Error> {
    db.execute("UPDATE chats SET update_at = ?2 WHERE chat = ?1", (chat, update_at))?;
    Ok(())
}

/// The groups of these chats have to be compared with the device lists: those with this user, or all.
pub(crate) fn set_unsettled(db: &Connection, name: Option<&str>) -> Result<(), Error> {
    db.execute("UPDATE chats SET unsettled = 1 WHERE ?1 IS NULL OR name = ?1 OR name GLOB '[#+]*'", [name])?;
    Ok(())
}

/// A chat's group was compared with the device lists.
pub(crate) fn set_settled(db: &Connection, chat: ChatId, settled: bool) -> Result<(), Error> {
    db.execute("UPDATE chats SET unsettled = NOT ?2 WHERE chat = ?1", (chat, settled))?;
    Ok(())
}

/// The active chats whose groups have to be compared with the device lists.
pub(crate) fn unsettled(db: &Connection) -> Result<Vec<ChatId>, Error> {
    ids(db, "SELECT chat FROM chats WHERE phase = 3 AND unsettled = 1", ())
}

/// The active chats in which this device's keys are due to be replaced.
pub(crate) fn update_due(db: &Connection, now_ms: u64) -> Result<Vec<ChatId>, Error> {
    ids(db, "SELECT chat FROM chats WHERE phase = 3 AND update_at <= ?1", [now_ms])
}

/// The chats that this device can read.
pub(crate) fn active(db: &Connection) -> Result<Vec<ChatId>, Error> {
    ids(db, "SELECT chat FROM chats WHERE phase = 3", ())
}

/// The chats in which this device has sent most, so many at most.
pub(crate) fn busiest(db: &Connection, limit: usize) -> Result<Vec<ChatId>, Error> {
    ids(db, "SELECT chat FROM chats WHERE phase = 3 ORDER BY number DESC LIMIT ?1", [limit])
}

/// The chats that this device cannot read (yet).
pub(crate) fn outside(db: &Connection) -> Result<Vec<ChatId>, Error> {
    ids(db, "SELECT chat FROM chats WHERE phase IN (2, 4)", ())
}

/// The groups whose making may be at the server.
pub(crate) fn groups_in_creation(db: &Connection) -> Result<Vec<ChatId>, Error> {
    ids(db, "SELECT chat FROM chats WHERE phase = 1 AND name GLOB '[#+]*'", ())
}

/// The chats that have left a conversation and have no other yet.
pub(crate) fn between_eras(db: &Connection) -> Result<Vec<ChatId>, Error> {
    ids(db, "SELECT chat FROM chats WHERE phase = 0 AND era > 0 AND name NOT GLOB '[#+]*'", ())
}

fn ids(db: &Connection, query: &str, parameters: impl rusqlite::Params) -> Result<Vec<ChatId>, Error> {
    let mut query = db.prepare_cached(query)?;
    let rows = query.query_map(parameters, |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// This device is another one from now on, in no group yet: every chat that exists waits to be let in. What was read stays
/// read.
pub(crate) fn begin_as_new_device(db: &Connection) -> Result<(), Error> {
    db.execute_batch(
        "UPDATE chats SET conversation = CASE WHEN phase IN (0, 1) THEN NULL ELSE conversation END,
                          phase = CASE WHEN phase IN (0, 1) THEN 0 ELSE 2 END,
                          cursor = 0, commits = 0, number = 0, others = 0, receipted = 0, introduced = 0, creation = NULL,
                          gap = 0, unsettled = 1, update_at = 0;
         DELETE FROM log_digests; DELETE FROM history_asks; DELETE FROM history_owed;",
    )?;
    Ok(())
}

/// The chat's conversation is over: what comes belongs to the next one.
pub(crate) fn begin_era(db: &Connection, chat: ChatId) -> Result<(), Error> {
    db.execute(
        "INSERT INTO former_conversations (chat, era, conversation, cursor)
         SELECT chat, era, conversation, cursor FROM chats WHERE chat = ?1 AND conversation IS NOT NULL",
        [chat],
    )?;
    db.execute(
        "UPDATE chats SET era = era + 1, read_told = 0, read_receipted = 0, phase = 0, conversation = NULL, cursor = 0, commits = 0, number = 0, others = 0,
                          receipted = 0, introduced = 0, creation = NULL, join_key = NULL, gap = 0, unsettled = 1
         WHERE chat = ?1",
        [chat],
    )?;
    Ok(())
}

/// A conversation that the chat had left behind before this device came.
pub(crate) fn add_former(db: &Connection, chat: ChatId, era: u64, conversation: &[u8; 16]) -> Result<(), Error> {
    db.execute(
        "INSERT OR IGNORE INTO former_conversations (chat, era, conversation, cursor) VALUES (?1, ?2, ?3, 0)",
        (chat, era, conversation),
    )?;
    Ok(())
}

/// The conversation that a chat left behind last.
pub(crate) fn last_conversation(db: &Connection, chat: ChatId) -> Result<Option<[u8; 16]>, Error> {
    let mut query =
        db.prepare_cached("SELECT conversation FROM former_conversations WHERE chat = ?1 ORDER BY era DESC LIMIT 1")?;
    Ok(query.query_row([chat], |row| super::array(row, "conversation")).optional()?)
}

/// The chat that once was this conversation.
pub(crate) fn by_former_conversation(db: &Connection, conversation: &[u8; 16]) -> Result<Option<ChatId>, Error> {
    let mut query = db.prepare_cached("SELECT chat FROM former_conversations WHERE conversation = ?1")?;
    Ok(query.query_row([conversation], |row| row.get(0)).optional()?)
}

pub(crate) fn set_progress(db: &Connection, chat: ChatId, cursor: u64, commits: u64, others: u64) -> Result<(), Error> {
    db.prepare_cached("UPDATE chats SET cursor = ?2, commits = ?3, others = ?4 WHERE chat = ?1")?
        .execute((chat, cursor, commits, others))?;
    Ok(())
}

pub(crate) fn set_number(db: &Connection, chat: ChatId, number: u64) -> Result<(), Error> {
    db.prepare_cached("UPDATE chats SET number = ?2 WHERE chat = ?1")?.execute((chat, number))?;
    Ok(())
}

pub(crate) fn set_receipted(db: &Connection, chat: ChatId, seq: u64) -> Result<(), Error> {
    db.prepare_cached("UPDATE chats SET receipted = ?2 WHERE chat = ?1")?.execute((chat, seq))?;
    Ok(())
}

/// Every chat is to be told (again) what the user is called.
pub(crate) fn introduce_again(db: &Connection) -> Result<(), Error> {
    db.execute("UPDATE chats SET introduced = 0", [])?;
    Ok(())
}

pub(crate) fn set_introduced(db: &Connection, chat: ChatId) -> Result<(), Error> {
    db.execute("UPDATE chats SET introduced = 1 WHERE chat = ?1", [chat])?;
    Ok(())
}

/// Chats with entries of others that nobody was told about yet. In groups that would be too much to tell.
pub(crate) fn owing_receipts(db: &Connection) -> Result<Vec<ChatRow>, Error> {
    let mut query = db.prepare_cached(
        "SELECT * FROM chats WHERE phase = 3 AND others > receipted AND name NOT GLOB '[#+]*'
             AND NOT EXISTS (SELECT 1 FROM settings s WHERE s.value = 'on'
                 AND s.name IN ('request/' || chats.name, 'blocked/' || chats.name))",
    )?;
    let rows = query.query_map([], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn mark_read(db: &Connection, chat: ChatId) -> Result<(), Error> {
    db.execute(
        "UPDATE chats SET read = max(coalesce((SELECT max(position) FROM messages WHERE chat = ?1 AND mine = 0), 0),
                                     coalesce((SELECT max(position) FROM messages WHERE chat = ?1 AND mine = 1), 0))
         WHERE chat = ?1",
        [chat],
    )?;
    Ok(())
}

/// How far the user has read a chat.
pub(crate) struct ReadPosition {
    pub(crate) chat: ChatId,
    pub(crate) conversation: [u8; 16],
    pub(crate) era: u64,
    pub(crate) seq: u64,
}

/// Active chats that were read further than the account's other devices know.
pub(crate) fn owing_read_positions(db: &Connection) -> Result<Vec<ReadPosition>, Error> {
    let mut query = db.prepare_cached(
        "SELECT chat, conversation, era, read_told, (SELECT max(m.seq) FROM messages m WHERE m.chat = c.chat AND m.era = c.era
                AND m.mine = 0 AND m.position <= c.read) AS seq
         FROM chats c WHERE phase = 3 AND seq > read_told",
    )?;
    let rows = query.query_map([], |row| {
        Ok(ReadPosition {
            chat: row.get("chat")?,
            conversation: super::array(row, "conversation")?,
            era: row.get("era")?,
            seq: row.get("seq")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn set_read_told(db: &Connection, chat: ChatId, seq: u64) -> Result<(), Error> {
    db.prepare_cached("UPDATE chats SET read_told = max(read_told, ?2) WHERE chat = ?1")?.execute((chat, seq))?;
    Ok(())
}

/// Active chats with others of which more was read than they were told: with the seq up to which it was.
pub(crate) fn owing_read_receipts(db: &Connection) -> Result<Vec<(ChatId, u64)>, Error> {
    let mut query = db.prepare_cached(
        "SELECT chat, read_receipted, (SELECT max(m.seq) FROM messages m WHERE m.chat = c.chat AND m.era = c.era
                AND m.mine = 0 AND m.position <= c.read) AS seq
         FROM chats c WHERE phase = 3 AND name <> (SELECT username FROM own) AND name NOT GLOB '[#+]*' AND seq > read_receipted",
    )?;
    let rows = query.query_map([], |row| Ok((row.get("chat")?, row.get("seq")?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn set_read_receipted(db: &Connection, chat: ChatId, seq: u64) -> Result<(), Error> {
    db.prepare_cached("UPDATE chats SET read_receipted = max(read_receipted, ?2) WHERE chat = ?1")?
        .execute((chat, seq))?;
    Ok(())
}

pub(crate) fn set_timer(db: &Connection, chat: ChatId, timer: Option<u32>) -> Result<(), Error> {
    db.execute("UPDATE chats SET timer = ?2 WHERE chat = ?1", (chat, timer))?;
    Ok(())
}

pub(crate) fn set_draft(db: &Connection, chat: ChatId, draft: Option<&str>) -> Result<(), Error> {
    db.execute("UPDATE chats SET draft = ?2 WHERE chat = ?1", (chat, draft))?;
    Ok(())
}

/// Another device of this account has read a conversation up to an entry. Never goes back.
pub(crate) fn read_elsewhere(db: &Connection, conversation: &[u8; 16], era: u64, seq: u64) -> Result<(), Error> {
    // Whatever it claims, the database must be able to keep it.
    let seq = seq.min(1 << 52);
    db.execute(
        "UPDATE chats SET read_told = max(read_told, ?3), read = max(read, coalesce(
             (SELECT max(m.position) FROM messages m WHERE m.chat = chats.chat AND m.mine IN (0, 1)
                  AND m.position > chats.read AND m.era = ?2 AND m.seq <= ?3), 0))
         WHERE conversation = ?1 AND era = ?2",
        (conversation, era, seq),
    )?;
    Ok(())
}
