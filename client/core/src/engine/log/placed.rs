//! Messages and marks at their places in a log.

use crate::{
    Content, Error, Event, MessageId, MessageState,
    account::now_ms,
    random,
    store::{chats::ChatRow, messages, own::Own},
};
use rand_core::Rng as _;
use rusqlite::Connection as Database;

/// A message at its place in the log.
pub(super) struct Placed<'a> {
    pub(super) seq: u64,
    /// None if nobody is proven to be it.
    pub(super) author: Option<&'a str>,
    pub(super) id: MessageId,
    pub(super) sent_at: u64,
    pub(super) content: Content,
    pub(super) reply_to: Option<(String, MessageId)>,
    pub(super) lifetime: Option<u32>,
}

impl Placed<'_> {
    pub(super) fn unreadable(seq: u64, reason: String) -> Self {
        let mut id = [0; 16];
        random().fill_bytes(&mut id);
        let content = Content::Unreadable(reason);
        Self { seq, author: None, id: MessageId(id), sent_at: now_ms(), content, reply_to: None, lifetime: None }
    }
}

pub(super) fn insert(tx: &Database, own: &Own, row: &ChatRow, placed: &Placed<'_>) -> Result<i64, Error> {
    let mine = placed.author.is_some_and(|author| author == own.username);
    let position = messages::insert(
        tx,
        &messages::NewMessage {
            chat: row.chat,
            id: placed.id,
            author: placed.author.unwrap_or("?"),
            mine,
            seq: Some(placed.seq),
            sent_at: placed.sent_at,
            received_at: now_ms(),
            content: &placed.content,
            state: if mine { &MessageState::Sent } else { &MessageState::Received },
            reply_to: placed.reply_to.as_ref().map(|(author, id)| (author.as_str(), *id)),
            lifetime: placed.lifetime,
        },
    )?;
    if let (true, Some(lifetime)) = (mine, placed.lifetime) {
        // Sent from another device of ours: there it runs since then.
        messages::set_expiry(tx, position, placed.sent_at.min(now_ms()) + u64::from(lifetime) * 1000)?;
    }
    Ok(position)
}

/// Puts a mark into the chat, at this place: entries up to there cannot be read here.
pub(in super::super) fn mark(
    tx: &Database,
    own: &Own,
    row: &ChatRow,
    seq: u64,
    reason: String,
) -> Result<Event, Error> {
    let position = insert(tx, own, row, &Placed::unreadable(seq, reason))?;
    Ok(Event::Message(messages::load(tx, position)?))
}
