//! Comparing logs: what this device tells of the log that it reads, and what it says when a member was shown another.
//!
//! The invariant: with an honest server no member ever differs, whatever the moment at which anyone writes, comes, goes or
//! is killed. It must not know how digests are kept.

use crate::{
    Error, Event, MessageId,
    account::now_ms,
    random,
    store::{
        chats::{ChatId, ChatRow},
        commits, messages,
        order::{self, Verdict},
        outbox,
    },
};
use rand_core::Rng as _;
use rusqlite::Connection as Database;
pub(super) use waxwing_e2ee::order::entry_hash;
use waxwing_e2ee::{
    content::{self, Seen},
    order::{START, next_hashed},
};
use waxwing_protocol::Request;
use zeroize::Zeroizing;

/// This device has begun the conversation; `first` is what its only entry counts as, if there is one.
pub(super) fn begin(tx: &Database, chat: ChatId, seq: u64, first: Option<[u8; 32]>) -> Result<(), Error> {
    match (seq, first) {
        (0, _) => order::begin(tx, chat, 0, &START),
        (seq, Some(first)) => order::begin(tx, chat, seq, &next_hashed(&START, seq, &first)),
        (_, None) => order::forget(tx, chat),
    }
}

/// What an own entry counts as: the bytes that left under this number. None if there are none.
pub(super) fn own_entry(tx: &Database, chat: ChatId, number: u64) -> Result<Option<[u8; 32]>, Error> {
    if let Some(wire) = outbox::wire(tx, chat, number)? {
        return Ok(Some(entry_hash(&wire)));
    }
    let Some(commit) = commits::find(tx, chat)?.filter(|commit| commit.number == number) else { return Ok(None) };
    match minicbor::decode(&commit.request) {
        Ok(Request::Commit { handshake, .. }) => Ok(Some(entry_hash(&handshake.commit.0))),
        Ok(_) => Ok(None),
        Err(error) => Err(Error::Storage(format!("the stored change of a chat: {error}"))),
    }
}

/// A stored content as it is to be sent now.
pub(super) fn with_seen(stored: &[u8], seen: Option<Seen>) -> Result<Zeroizing<Vec<u8>>, Error> {
    let damaged = |error: content::ContentError| Error::Storage(format!("a message that waits: {error}"));
    let mut content = content::decode(stored).map_err(damaged)?;
    content.seen = seen;
    match content::encode(&content) {
        Ok(encoded) => Ok(encoded),
        // The longest leave no room for it.
        Err(content::ContentError::TooLong) => Ok(Zeroizing::new(stored.to_vec())),
        Err(error) => Err(damaged(error)),
    }
}

/// Compares what the writer of the entry at `seq` had seen with what is here. What differs is shown in front of the entry,
/// once for each user.
pub(super) fn compare(
    tx: &Database,
    row: &ChatRow,
    seq: u64,
    seen: &Seen,
    author: &str,
    mine: bool,
) -> Result<Option<Event>, Error> {
    let missing = match order::compare(tx, row.chat, seq, seen)? {
        Verdict::Agrees => return Ok(None),
        Verdict::Missing(missing) => missing,
        Verdict::Differs => 0,
    };
    if !order::doubt(tx, row.chat, author, seq, missing, now_ms())? {
        return Ok(None);
    }
    let who = if mine { "another device of yours" } else { author };
    let text = match missing {
        0 => format!("the server showed {who} another order of this chat: compare what you both see"),
        1 => format!("1 message is missing here: {who} has it, and the server does not show it"),
        many => format!("{many} messages are missing here: {who} has them, and the server does not show them"),
    };
    tracing::warn!(chat = row.name, seq, missing, "the server shows different logs");
    let mut id = [0; 16];
    random().fill_bytes(&mut id);
    let position = messages::insert_notice(tx, row.chat, seq, MessageId(id), &text, now_ms())?;
    Ok(Some(Event::Message(messages::load(tx, position)?)))
}
