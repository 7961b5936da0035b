//! From the log to the history: entries in order, each with its effects and the cursor in one transaction.
//!
//! The invariant: entry after entry without a gap; what cannot be read leaves a visible mark, and whatever a peer sends,
//! the chat goes on.

use super::{Ahead, Engine, State, creation, directory::Pinned};
use crate::{
    Content, Error, Event, Message, MessageId, MessageState,
    account::now_ms,
    random,
    store::{
        self,
        chats::{self, ChatId, ChatRow, Phase},
        contacts, messages, outbox,
        own::Own,
    },
};
use rand_core::Rng as _;
use rusqlite::Connection as Database;
use waxwing_e2ee::{
    content::{self, Body},
    mls::{Group, Member, Mls, Received},
};
use waxwing_protocol::{ConversationId, Page};

/// No log is longer; leaves room for arithmetic, and for the database's signed integers.
const HIGHEST: u64 = 1 << 52;
/// The year 9999, in milliseconds: the latest time that anyone may claim to have written.
const LATEST: u64 = 253_402_300_799_999;

/// What one page of the log did, to be told after the commit.
#[derive(Default)]
struct Effects {
    events: Vec<Event>,
    sent: Vec<Message>,
    /// The highest send number that the log confirmed.
    confirmed: u64,
    removed: bool,
}

/// Checks that a page continues the log behind the cursor; returns up to where entries are gone for good, if any are.
pub(super) fn check_page(page: &Page, cursor: u64) -> Result<Option<u64>, Error> {
    let misbehaves = || Error::ServerMisbehaves("a page of a chat's log does not continue it".into());
    if page.head > HIGHEST || page.tail > page.head + 1 || page.entries.iter().any(|entry| entry.seq > page.head) {
        return Err(misbehaves());
    }
    if page.head < cursor {
        return Err(Error::ServerRestored);
    }
    let next = (cursor + 1).max(page.tail);
    let first = page.entries.first().map_or(page.head + 1, |entry| entry.seq);
    let consecutive = page.entries.iter().zip(first..).all(|(entry, seq)| entry.seq == seq);
    match first == next && consecutive {
        true => Ok((next > cursor + 1).then(|| next - 1)),
        false => Err(misbehaves()),
    }
}

impl Engine {
    /// Handles the entries that follow the cursor without a gap.
    pub(super) async fn advance(&mut self, chat: ChatId) -> Result<(), Error> {
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        let mut row = chats::load(&self.db, chat)?;
        if row.phase != Phase::Active {
            return Ok(());
        }
        let lane = online.lane(chat);
        let mut entries = Vec::new();
        let mut next = row.cursor + 1;
        lane.ahead = lane.ahead.split_off(&next);
        while let Some(entry) = lane.ahead.remove(&next) {
            entries.push((next, entry));
            next += 1;
        }
        if !lane.ahead.is_empty() && lane.is_quiet() {
            // Something was left out on the way; no answer of ours can fill the gap.
            online.behind.insert(chat);
        }
        let (Some(conversation), false) = (row.conversation, entries.is_empty()) else { return Ok(()) };

        let own = &self.own;
        let others = row.others;
        let effects = store::in_transaction(&mut self.db, |tx| {
            let mls = Mls::new(tx);
            let group = creation::load(&mls, &conversation)?;
            let mut reader = Reader { tx, own, row: &mut row, group: Some(group), effects: Effects::default() };
            for (seq, entry) in entries {
                reader.read(seq, entry)?;
            }
            let effects = reader.effects;
            chats::set_progress(tx, chat, row.cursor, row.commits, row.others)?;
            if effects.removed {
                chats::set_waiting(tx, chat, &conversation)?;
            }
            Ok::<_, Error>(effects)
        })?;

        let State::Online(online) = &mut self.reach else { return Ok(()) };
        online.lane(chat).confirmed(effects.confirmed);
        online.acknowledge(ConversationId(conversation), row.cursor).await;
        if row.others > others {
            self.owe_receipt();
        }
        for event in &effects.events {
            self.tell(event);
        }
        effects.sent.into_iter().for_each(|message| self.note_sent(message));
        if effects.removed {
            self.give_up(chat, &Error::Refused("this device is no longer in the chat".into()))?;
        }
        Ok(())
    }

    /// The server does not have the entries up to `seq` any more: says so in the chat and goes on behind them.
    pub(super) fn skip(&mut self, chat: ChatId, upto: u64) -> Result<(), Error> {
        let mut row = chats::load(&self.db, chat)?;
        let own = &self.own;
        let event = store::in_transaction(&mut self.db, |tx| {
            let missing = upto - row.cursor;
            row.cursor = upto;
            let reason = format!("{missing} entries expired on the server before this device could fetch them");
            let position = insert(tx, own, &row, &Placed::unreadable(row.cursor, reason))?;
            chats::set_progress(tx, chat, row.cursor, row.commits, row.others)?;
            Ok::<_, Error>(Event::Message(messages::load(tx, position)?))
        })?;
        self.tell(&event);
        Ok(())
    }
}

/// The server has what was sent under this number; returns the message that it shows as.
pub(super) fn settle(tx: &Database, chat: ChatId, number: u64, seq: u64) -> Result<Option<Message>, Error> {
    let Some(position) = outbox::take(tx, chat, number)? else { return Ok(None) };
    messages::set_sent(tx, position, seq)?;
    messages::load(tx, position).map(Some)
}

/// Reads the entries of one chat in one transaction.
struct Reader<'a, 'tx> {
    tx: &'tx Database,
    own: &'a Own,
    row: &'a mut ChatRow,
    /// None once this device was removed.
    group: Option<Group<'tx>>,
    effects: Effects,
}

impl Reader<'_, '_> {
    fn read(&mut self, seq: u64, entry: Ahead) -> Result<(), Error> {
        self.row.cursor = seq;
        match entry {
            Ahead::Own { number } => self.own_entry(seq, number),
            Ahead::Application { payload } => self.receive(seq, &payload.0),
            Ahead::Commit { payload } => {
                self.row.commits += 1;
                self.receive(seq, &payload.0)
            }
        }
    }

    /// The server has what we sent under this number.
    fn own_entry(&mut self, seq: u64, number: u64) -> Result<(), Error> {
        let creation = number == 0 && seq == 1;
        if !creation && !outbox::contains(self.tx, self.row.chat, number)? {
            // Whoever wrote it, the server hides it from us.
            return self.show(&Placed::unreadable(seq, "the server calls it ours, but it is not".into()));
        }
        self.effects.confirmed = self.effects.confirmed.max(number);
        self.effects.sent.extend(settle(self.tx, self.row.chat, number, seq)?);
        Ok(())
    }

    fn receive(&mut self, seq: u64, payload: &[u8]) -> Result<(), Error> {
        let Some(group) = &mut self.group else { return Ok(()) };
        match group.receive(&Pinned { tx: self.tx, own: self.own }, payload) {
            Ok(Received::Message { from, body }) => self.message(seq, &from, &body),
            Ok(Received::Commit { .. } | Received::Own) => Ok(()),
            Ok(Received::Removed) => {
                self.group = None;
                self.effects.removed = true;
                self.show(&Placed::unreadable(seq, "this device was removed from the chat".into()))
            }
            Err(error) if error.is_fault_of_entry() => self.show(&Placed::unreadable(seq, error.to_string())),
            Err(error) => Err(crate::mls_error(&error)),
        }
    }

    fn message(&mut self, seq: u64, from: &Member, body: &[u8]) -> Result<(), Error> {
        let mine = from.username == self.own.username;
        let content = match content::decode(body) {
            Ok(content) => content,
            Err(error) => {
                let placed = Placed { author: Some(&from.username), ..Placed::unreadable(seq, error.to_string()) };
                return self.show(&placed);
            }
        };
        let shown = match content.body {
            Body::Text(text) => Content::Text(text),
            Body::Profile { full_name } => {
                if !mine {
                    contacts::set_full_name(self.tx, &from.username, full_name.as_deref())?;
                    let username = from.username.clone();
                    self.effects.events.push(Event::Profile { username, full_name });
                }
                return Ok(());
            }
            Body::Receipt { delivered } => {
                if !mine {
                    let state = MessageState::Delivered;
                    let delivered = delivered.min(seq);
                    for (id, seq) in messages::set_delivered(self.tx, self.row.chat, delivered)? {
                        let (chat, state, seq) = (self.row.name.clone(), state.clone(), Some(seq));
                        self.effects.events.push(Event::State { chat, id, state, seq });
                    }
                }
                return Ok(());
            }
            // Not for eyes: clients talk to each other.
            Body::Sync(_) | Body::Ask { .. } | Body::Told(_) | Body::Silent => return Ok(()),
            _ => Content::Unknown,
        };
        let author = Some(from.username.as_str());
        if messages::is_known(self.tx, self.row.chat, &from.username, MessageId(content.id))? {
            // Sent again by its author, or by a server that numbers one ciphertext twice.
            return Ok(());
        }
        if !mine {
            // Only what is shown gets a receipt: else receipts would answer receipts.
            self.row.others = seq;
        }
        // Whatever the author claims, the database must be able to keep it.
        let sent_at = content.sent_at_ms.min(LATEST);
        self.show(&Placed { seq, author, id: MessageId(content.id), sent_at, content: shown })
    }

    fn show(&mut self, placed: &Placed<'_>) -> Result<(), Error> {
        let position = insert(self.tx, self.own, self.row, placed)?;
        self.effects.events.push(Event::Message(messages::load(self.tx, position)?));
        Ok(())
    }
}

/// A message at its place in the log.
struct Placed<'a> {
    seq: u64,
    /// None if nobody is proven to be it.
    author: Option<&'a str>,
    id: MessageId,
    sent_at: u64,
    content: Content,
}

impl Placed<'_> {
    fn unreadable(seq: u64, reason: String) -> Self {
        let mut id = [0; 16];
        random().fill_bytes(&mut id);
        Self { seq, author: None, id: MessageId(id), sent_at: now_ms(), content: Content::Unreadable(reason) }
    }
}

fn insert(tx: &Database, own: &Own, row: &ChatRow, placed: &Placed<'_>) -> Result<i64, Error> {
    let mine = placed.author.is_some_and(|author| author == own.username);
    messages::insert(
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
        },
    )
}
