//! Asking the members of a chat for what this device could not read, and telling others.
//!
//! The invariants: only those who may have read an entry are told it, once; what is told fills gaps and changes nothing that
//! was read here; and it names who told it. It must not know how entries came to be missing.

use super::{Engine, State};
use crate::{
    Error, Event,
    account::now_ms,
    backup::{Range, Ranges},
    random,
    store::{
        self,
        backup::Row,
        changes::Kind,
        chats::{self, ChatId, ChatRow, Phase},
        coverage,
        gaps::{self, Owed},
        messages, outbox,
        own::Own,
    },
};
use rand_core::Rng as _;
use rusqlite::Connection as Database;
use std::time::Duration;
use tokio::time::Instant;
use waxwing_e2ee::{
    content::{self, Body, Edited, Told, ToldMessage},
    mls::{self, Group, GroupRules, Member},
};

/// How far back from the newest entry this device asks, and how much it tells one device within [`AGAIN`].
const ASKED: u64 = 2000;
/// After this time, in milliseconds, what nobody has told is asked for again, and told again if it is.
const AGAIN: u64 = 24 * 3600 * 1000;
/// So many milliseconds apart the members of a group are that might tell the same.
const GROUP_PATIENCE: u64 = 250;
/// So long, in milliseconds, those who know better are let go first, and up to twice as long.
const PATIENCE: u64 = 2000;

impl Engine {
    /// Something in this chat could not be read: its members may have it.
    pub(super) fn note_gap(&mut self, chat: ChatId) {
        if let State::Online(online) = &mut self.reach {
            online.gaps.insert(chat);
        }
    }

    /// When something is to be told.
    pub(super) fn telling_at(&self) -> Option<Instant> {
        match &self.reach {
            State::Online(online) => online.telling_at,
            _ => None,
        }
    }

    /// Asks for what is missing and tells what is owed, as far as it is time.
    pub(super) fn keep_history(&mut self) -> Result<(), Error> {
        let restoring = self.backup.is_restoring();
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        if !online.caught_up {
            return Ok(());
        }
        if !restoring {
            // What the backup has need not be asked for.
            for chat in std::mem::take(&mut online.gaps) {
                self.ask(chat)?;
            }
        }
        let now = now_ms();
        while let Some(owed) = gaps::due(&self.db, now)? {
            self.tell_owed(&owed, now)?;
        }
        let next = gaps::next_due(&self.db)?;
        if let State::Online(online) = &mut self.reach {
            online.telling_at = next.map(|at| Instant::now() + Duration::from_millis(at.saturating_sub(now)));
        }
        Ok(())
    }

    fn ask(&mut self, chat: ChatId) -> Result<(), Error> {
        let row = chats::load(&self.db, chat)?;
        let (Phase::Active, Some(id)) = (row.phase, row.conversation) else { return Ok(()) };
        let asked = self.kept.with(&mut self.db, &id, |tx, group| {
            let alone = group.members().map_err(|error| crate::mls_error(&error))?.len() < 2;
            let reach = reach(group.rules());
            if alone || reach == 0 {
                return Ok(false);
            }
            let oldest = row.cursor.saturating_sub(reach) + 1;
            let wanted: Ranges = [Range { first: oldest, last: row.cursor }].into_iter().collect();
            let now = now_ms();
            let missing = wanted.without(&coverage::of(tx, chat, row.era)?).without(&gaps::asked(
                tx,
                chat,
                row.era,
                now.saturating_sub(AGAIN),
            )?);
            let mut asked = false;
            for range in missing.iter() {
                push(tx, chat, now, Body::Ask { from: range.first, to: range.last })?;
                gaps::note_asked(tx, chat, row.era, range, now)?;
                asked = true;
            }
            Ok(asked)
        })?;
        if asked {
            self.dirty.insert(chat);
        }
        Ok(())
    }

    fn tell_owed(&mut self, owed: &Owed, now: u64) -> Result<(), Error> {
        let chat = owed.chat;
        store::step("told", &mut self.db, |tx| {
            gaps::set_told(tx, owed, now)?;
            let row = chats::load(tx, chat)?;
            if row.era != owed.era || row.phase != Phase::Active {
                return Ok(());
            }
            let unknown = [owed.range].into_iter().collect::<Ranges>().without(&coverage::of(tx, chat, owed.era)?);
            let known = [owed.range].into_iter().collect::<Ranges>().without(&unknown);
            for range in known.iter() {
                let rows = store::backup::rows(tx, chat, owed.era, range)?;
                let told = rows.into_iter().filter(|row| row.kind == 0 || row.file.is_some()).map(|row| ToldMessage {
                    edited: edited(&row),
                    seq: row.seq,
                    id: row.id,
                    author: row.author,
                    sent_at_ms: row.sent_at,
                    text: row.text,
                    // Within the group, to those who may read the message: so it may be told what opens the file.
                    file: row.file,
                });
                for told in Told::cut(range.first, range.last, told.collect()) {
                    push(tx, chat, now, Body::Told(told))?;
                }
            }
            Ok::<_, Error>(())
        })?;
        self.dirty.insert(chat);
        Ok(())
    }
}

/// How far back from the newest entry members are told what was said: as far as the group lets newcomers look.
fn reach(rules: &GroupRules) -> u64 {
    match rules.kind() {
        mls::Kind::Direct => ASKED,
        _ => rules.about().map_or(0, |about| u64::from(about.history)).min(ASKED),
    }
}

/// A member asks for what entries said. In a direct chat both accounts may know all of it, in a group newcomers what its
/// rules say.
pub(super) fn asked(
    tx: &Database,
    own: &Own,
    row: &ChatRow,
    group: &Group<'_>,
    from: &Member,
    range: Range,
) -> Result<(), Error> {
    let last = range.last.min(row.cursor.saturating_sub(1));
    let reach = reach(group.rules());
    let first = range.first.max(1).max((last + 1).saturating_sub(reach));
    if reach == 0 || first > last {
        return Ok(());
    }
    let now = now_ms();
    // The asker's other devices go first: what they say is the account's own word.
    let its_own = |member: &&Member| member.username == from.username && member.device != from.device;
    let members = group.members().map_err(|error| crate::mls_error(&error))?;
    let mine = from.username == own.username;
    let others = members.iter().filter(its_own).filter(|member| member.device != own.device).count();
    let due_at = match (mine, others) {
        // Any member of a group may tell, and the first one does for all.
        _ if group.rules().kind() != mls::Kind::Direct => {
            let apart = GROUP_PATIENCE * (members.len() as u64).min(20);
            now + random().next_u64() % apart
        }
        (_, 0) => now,
        (true, _) => now + random().next_u64() % PATIENCE,
        (false, _) => now + PATIENCE + random().next_u64() % PATIENCE,
    };
    let owed = Owed { chat: row.chat, era: row.era, device: from.device, range: Range { first, last } };
    gaps::owe(tx, &owed, due_at, now.saturating_sub(AGAIN), 2 * ASKED)
}

/// A member tells what entries said: what this device has asked for and still misses is put into the history. Returns what
/// is new to the user.
pub(super) fn told(
    tx: &Database,
    own: &Own,
    row: &ChatRow,
    group: &Group<'_>,
    from: &Member,
    told: Told,
) -> Result<Vec<Event>, Error> {
    let (chat, era) = (row.chat, row.era);
    let stretch = Range { first: told.from.max(1), last: told.to.min(row.cursor.saturating_sub(1)) };
    if stretch.first > stretch.last {
        return Ok(Vec::new());
    }
    gaps::told_by_another(tx, chat, era, &from.device, stretch, now_ms())?;
    let asked = gaps::asked(tx, chat, era, 0)?;
    let covered = coverage::of(tx, chat, era)?;
    let all: Ranges = [stretch].into_iter().collect();
    let not_asked = all.without(&asked);
    let open = all.without(&not_asked).without(&covered);
    let mine = from.username == own.username;
    let mut new = Vec::new();
    for range in open.iter() {
        messages::delete_unreadable(tx, chat, era, range)?;
        coverage::add(tx, chat, era, range)?;
    }
    for message in told.messages {
        let takes_part = group.rules().participant(&message.author).is_some();
        let place = Range { first: message.seq, last: message.seq };
        if !takes_part || !open.contains_all(place) {
            continue;
        }
        let position = messages::insert_told(tx, row, own, &message, (!mine).then_some(from.username.as_str()))?;
        // What another device of the account has read is not new.
        if let (Some(position), false) = (position, mine) {
            new.push(Event::Message(messages::load(tx, position)?));
        }
    }
    Ok(new)
}

/// The author's last edit of a message, whose text is what became of it.
fn edited(row: &Row) -> Option<Edited> {
    let edit = row.done.iter().find(|change| change.kind == Kind::Edit && change.by == row.author)?;
    Some(Edited { at_ms: edit.at, seq: edit.seq })
}

fn push(tx: &Database, chat: ChatId, now: u64, body: Body) -> Result<(), Error> {
    let mut id = [0; 16];
    random().fill_bytes(&mut id);
    let content = content::Content { id, sent_at_ms: now, body, seen: None, lifetime: None };
    let content = content::encode(&content).map_err(|error| Error::BadInput(error.to_string()))?;
    outbox::push(tx, chat, &content, None)
}
