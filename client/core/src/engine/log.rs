//! From the log to the history: entries in order, each with its effects and the cursor in one transaction.
//!
//! The invariant: entry after entry without a gap; what cannot be read leaves a visible mark, and whatever a peer sends,
//! the chat goes on.

mod placed;
mod reader;

pub(super) use placed::mark;

use super::{Ahead, Engine, State, creation, messages as changes, roster};
use crate::{
    Error, Event, Message,
    backup::Range,
    store::{
        self,
        chats::{self, ChatId, ChatRow, Phase},
        coverage, messages, outbox,
        own::Own,
    },
};
use reader::{Effects, Reader, Stop};
use rusqlite::Connection as Database;
use waxwing_crash::crash_point;
use waxwing_e2ee::mls::{Mls, MlsError};
use waxwing_protocol::{ConversationId, Entry, EntryBody, Page};

/// No log is longer; leaves room for arithmetic, and for the database's signed integers.
pub(super) const HIGHEST: u64 = 1 << 52;

/// How entries are read within their transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// What the group has become is written once. If one of them cannot be read, none was.
    Together,
    /// It is written after each, so that one that cannot be read spoils nothing.
    OneByOne,
}

/// What a page says of the entries right behind the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// The server has them, or there are none.
    Kept,
    /// Those up to this one are gone for good.
    Expired(u64),
    /// They are not there for this device, and there were commits among them: it has come in anew since, or they expired. What
    /// follows cannot be read with the group that is here.
    Beyond,
}

/// Checks that a page continues the log behind the cursor. `own_commit` is the number of the commit that waits.
pub(super) fn check_page(page: &Page, row: &ChatRow, own_commit: Option<u64>) -> Result<Behind, Error> {
    let misbehaves = || Error::ServerMisbehaves("a page of a chat's log does not continue it".into());
    let cursor = row.cursor;
    if page.head > HIGHEST || page.tail > page.head + 1 || page.entries.iter().any(|entry| entry.seq > page.head) {
        return Err(misbehaves());
    }
    if page.head < cursor {
        return Err(Error::ServerRestored);
    }
    let next = (cursor + 1).max(page.tail);
    let first = page.entries.first().map_or(page.head + 1, |entry| entry.seq);
    let consecutive = page.entries.iter().zip(first..).all(|(entry, seq)| entry.seq == seq);
    if first != next || !consecutive {
        return Err(misbehaves());
    }
    if next == cursor + 1 {
        return Ok(Behind::Kept);
    }
    let is_commit = |entry: &&Entry| match &entry.body {
        EntryBody::Commit(_) => true,
        EntryBody::Own { number } => *number == 0 || Some(*number) == own_commit,
        EntryBody::Application(_) => false,
    };
    let to_the_end = page.entries.last().is_none_or(|last| last.seq == page.head);
    let commits = page.entries.iter().filter(is_commit).count() as u64;
    Ok(match to_the_end && page.commits.min(page.head) > row.commits.saturating_add(commits) {
        true => Behind::Beyond,
        false => Behind::Expired(next - 1),
    })
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
        let entries = lane.take_next(row.cursor);
        if !lane.ahead.is_empty() && lane.is_quiet() {
            // Something was left out on the way; no answer of ours can fill the gap.
            online.behind.insert(chat);
        }
        let (Some(conversation), false) = (row.conversation, entries.is_empty()) else { return Ok(()) };

        let others = row.others;
        let read = match self.read(&mut row, &conversation, &entries, Pace::Together) {
            Err(Stop::Undone) => self.read(&mut row, &conversation, &entries, Pace::OneByOne),
            read => read,
        };
        let effects = match read {
            Ok(effects) => effects,
            Err(Stop::Unknown(username)) => return self.meet_stranger(chat, &username).await,
            Err(Stop::Undone) => return Err(crate::mls_error(&MlsError::Undone)),
            Err(Stop::Failed(error)) => return Err(error),
        };

        let State::Online(online) = &mut self.reach else { return Ok(()) };
        online.lane(chat).submission.confirmed(effects.confirmed);
        online.acknowledge(ConversationId(conversation), row.cursor).await;
        crash_point("acknowledge", "posted");
        if row.others > others {
            self.owe_receipt();
        }
        for event in &effects.events {
            self.tell(event);
        }
        let new = |event: &&Event| matches!(event, Event::Message(_));
        self.backup.note_messages(effects.events.iter().filter(new).count() + effects.sent.len());
        effects.sent.into_iter().for_each(|message| self.note_sent(message));
        effects.lists.into_iter().for_each(|list| self.note_list(list));
        for (username, accepted) in &effects.trusted {
            self.note_trusted(username);
            self.follow_identity(username, accepted)?;
        }
        if let Some(full_name) = effects.full_name {
            self.own.full_name = full_name;
        }
        if let Some(key) = effects.account_key {
            self.own.account_key = Some(key);
        }
        if effects.committed {
            self.wishes.done(chat);
        }
        if effects.over.is_some() {
            return self.note_over(&row);
        }
        if effects.changed {
            if let State::Online(online) = &mut self.reach {
                online.lane(chat).note_commit(effects.committed, self.wishes.has(chat));
            }
            self.unsettle(chat);
        }
        if !effects.unread.is_empty() {
            self.note_gap(chat);
        }
        if effects.asked
            && let State::Online(online) = &mut self.reach
        {
            online.telling_at = Some(tokio::time::Instant::now());
        }
        if effects.outside {
            self.note_outside(chat);
        }
        self.meet_all(&effects.newcomers).await
    }

    /// Reads entries in one transaction; `row` has become what they made of it, if that went well.
    fn read(
        &mut self,
        row: &mut ChatRow,
        conversation: &[u8; 16],
        entries: &[(u64, Ahead)],
        pace: Pace,
    ) -> Result<Effects, Stop> {
        let own = &self.own;
        let kept = self.kept.take(conversation);
        let (effects, after, kept) = store::step("read", &mut self.db, |tx| {
            let mut row = row.clone();
            let first = row.cursor + 1;
            let mls = Mls::new(tx);
            let mut group = creation::resume(&mls, conversation, kept)?;
            if pace == Pace::Together {
                group.begin_batch();
            }
            let mut reader = Reader { tx, own, row: &mut row, group: Some(group), effects: Effects::default() };
            for (seq, entry) in entries {
                reader.read(*seq, entry)?;
                if reader.effects.outside || reader.effects.over.is_some() {
                    break;
                }
            }
            let (mut effects, kept) = reader.finish()?;
            cover(tx, &row, first, &effects.unread)?;
            chats::set_progress(tx, row.chat, row.cursor, row.commits, row.others)?;
            store::order::prune(tx, row.chat, row.cursor)?;
            if let Some(text) = &effects.over {
                let told = roster::end(tx, &row, text)?;
                effects.events.push(told);
            } else if effects.outside {
                chats::set_waiting(tx, row.chat, conversation)?;
            }
            Ok::<_, Stop>((effects, row, kept))
        })?;
        *row = after;
        self.kept.put(*conversation, kept);
        Ok(effects)
    }

    /// An entry can be judged only with an identity that is not known here: fetches it, once per connection.
    async fn meet_stranger(&mut self, chat: ChatId, username: &str) -> Result<(), Error> {
        let met = match self.meet(username).await {
            Err(error @ (Error::Untrusted { .. } | Error::IdentityChanged(_))) => Err(error),
            outcome => outcome.map(drop).map(Ok)?,
        };
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        let again = online.lane(chat).stranger.replace(username.to_owned()).is_some_and(|known| known == username);
        online.behind.remove(&chat);
        let reason = "the server does not show the identity that it has in the chat".to_owned();
        match met {
            Ok(()) if !again => {
                online.behind.insert(chat);
                Ok(())
            }
            Ok(()) => self.hold(username, Error::Untrusted { username: username.to_owned(), reason }),
            Err(error) => self.hold(username, error),
        }
    }

    /// The server does not have the entries up to `upto` any more: says so in the chat and goes on behind them.
    pub(super) fn skip(&mut self, chat: ChatId, upto: u64) -> Result<(), Error> {
        let mut row = chats::load(&self.db, chat)?;
        let own = &self.own;
        let event = store::step("skip", &mut self.db, |tx| pass_over(tx, own, &mut row, upto))?;
        self.note_gap(chat);
        self.tell(&event);
        Ok(())
    }
}

/// Goes on behind the entries up to `upto`, which are gone, and marks their place.
pub(super) fn pass_over(tx: &Database, own: &Own, row: &mut ChatRow, upto: u64) -> Result<Event, Error> {
    let missing = upto - row.cursor;
    row.cursor = upto;
    let entries = if missing == 1 { "1 entry" } else { &format!("{missing} entries") };
    let reason = format!("{entries} expired on the server before this device could fetch them");
    let event = mark(tx, own, row, row.cursor, reason)?;
    chats::set_gap(tx, row.chat, true)?;
    chats::set_progress(tx, row.chat, row.cursor, row.commits, row.others)?;
    Ok(event)
}

/// The server has what was sent under this number; returns the message that it shows as.
pub(super) fn settle(tx: &Database, chat: ChatId, number: u64, seq: u64) -> Result<Option<Message>, Error> {
    changes::placed(tx, chat, number, seq)?;
    let Some(position) = outbox::take(tx, chat, number)? else { return Ok(None) };
    messages::set_sent(tx, position, seq)?;
    messages::load(tx, position).map(Some)
}

/// Notes what was read of a log: all from `first` to the cursor, save what was not readable.
fn cover(tx: &Database, row: &ChatRow, mut first: u64, unread: &[u64]) -> Result<(), Error> {
    for seq in unread {
        coverage::add(tx, row.chat, row.era, Range { first, last: seq - 1 })?;
        first = seq + 1;
    }
    coverage::add(tx, row.chat, row.era, Range { first, last: row.cursor })
}

#[cfg(test)]
mod tests;
