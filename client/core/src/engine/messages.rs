//! What the user says, and what is done to messages afterwards: replies, edits, deletions, reactions, pins, read marks.
//!
//! The invariant: a change counts only if its writer may make it: authors change their own messages, and nobody else's.
//! It must not know how what it queues travels, nor how a change is shown.

use super::{Engine, Reply, State};
use crate::{
    Content, Error, Event, Message, MessageId, MessageRef, MessageState,
    account::{now_ms, username},
    address::{self, ChatKind},
    random,
    store::{
        self,
        changes::{self, Change, Kind, Target, WAITING},
        chats::{self, ChatId, ChatRow, Phase},
        files, messages, outbox, own,
    },
};
use rand_core::Rng as _;
use rusqlite::Connection as Database;
use waxwing_e2ee::content::{self, Body, REACTION, REACTIONS};

/// What the user does to a message.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// It says this from now on.
    Edit(String),
    /// It is taken back, for everybody.
    Delete,
    /// This emoji is put under it, or taken away.
    React { emoji: String, add: bool },
    /// It is pinned, or not any more.
    Pin(bool),
}

impl Engine {
    /// Stores a text for sending.
    pub(crate) fn post(&mut self, to: &str, text: String, reply_to: Option<&MessageRef>) -> Result<Message, Error> {
        let to = address::resolve(&self.db, to)?;
        check_text(&text)?;
        if super::settings::is_blocked(&self.db, &to)? {
            return Err(Error::BadInput(format!("'{to}' is blocked: what they would answer could not arrive")));
        }
        self.accept_by_writing(&to)?;
        self.queue_message(&to, |tx, chat| {
            let Some(which) = reply_to else { return Ok((Body::Text(text.clone()), Content::Text(text), None)) };
            let which = MessageRef { chat: Some(to.clone()), ..which.clone() };
            let (target, _) = resolve(tx, &which)?;
            debug_assert_eq!(target.chat, chat);
            let to = content::Target { author: target.author.clone(), id: target.id.0 };
            Ok((Body::Reply { to, text: text.clone() }, Content::Text(text), Some((target.author, target.id))))
        })
    }

    /// Queues something that shows as a message of its own: what it says on the wire and here, and what it answers.
    pub(super) fn queue_message(
        &mut self,
        chat: &str,
        make: impl FnOnce(&Database, ChatId) -> Result<(Body, Content, Option<(String, MessageId)>), Error>,
    ) -> Result<Message, Error> {
        let (id, now) = (new_id(), now_ms());
        let author = self.own.username.clone();
        let (chat, message) = store::step("queue", &mut self.db, |tx| {
            let row = address::writable(tx, chat)?;
            let (body, content, reply_to) = make(tx, row.chat)?;
            let lifetime = row.timer.filter(|_| !matches!(content, Content::Timer(_)));
            let encoded = content::Content { id, sent_at_ms: now, body, seen: None, lifetime };
            let encoded = content::encode(&encoded).map_err(|error| Error::BadInput(error.to_string()))?;
            let new = messages::NewMessage {
                chat: row.chat,
                id: MessageId(id),
                author: &author,
                mine: true,
                seq: None,
                sent_at: now,
                received_at: now,
                content: &content,
                state: &MessageState::Queued,
                reply_to: reply_to.as_ref().map(|(author, id)| (author.as_str(), *id)),
                lifetime,
            };
            let position = messages::insert(tx, &new)?;
            outbox::push(tx, row.chat, &encoded, Some(position))?;
            Ok::<_, Error>((row.chat, messages::load(tx, position)?))
        })?;
        self.dirty.insert(chat);
        Ok(message)
    }

    /// Does something to a message, here at once and for the others as soon as it can leave. Returns what became of it;
    /// none if it never left and is gone.
    pub(crate) fn deed(&mut self, which: &MessageRef, deed: Deed) -> Result<Option<Message>, Error> {
        let own = self.own.username.clone();
        let rights = self.rights_in(resolve(&self.db, which)?.0.chat)?;
        let (chat, before, after) = store::step("deed", &mut self.db, |tx| {
            let (target, position) = resolve(tx, which)?;
            let message = messages::load(tx, position)?;
            if matches!(deed, Deed::Delete) && message.from == own {
                files::drop_now(tx, &target)?;
            }
            if matches!(deed, Deed::Delete)
                && matches!(message.state, MessageState::Queued | MessageState::Failed(_))
                && (outbox::withdraw(tx, position)? || matches!(message.state, MessageState::Failed(_)))
            {
                // Nobody else has it.
                messages::delete(tx, position)?;
                return Ok((target.chat, message, None));
            }
            // Whoever is not in a group any more changes nothing there.
            address::writable(tx, &message.chat)?;
            let (change, value) = prepare(tx, (own.as_str(), rights), &target, &message, deed)?;
            let at = now_ms();
            let kind = kind_of(&change);
            let change_row = Change { kind, by: own.clone(), era: WAITING, seq: WAITING, at, value };
            changes::put(tx, &target, &change_row)?;
            let body = Body::Change(change);
            let content = content::Content { id: new_id(), sent_at_ms: at, body, seen: None, lifetime: None };
            let content = content::encode(&content).map_err(|error| Error::BadInput(error.to_string()))?;
            outbox::push_lasting(tx, target.chat, &content)?;
            let after = messages::load(tx, position)?;
            Ok::<_, Error>((target.chat, message, Some(after)))
        })?;
        self.dirty.insert(chat);
        match &after {
            Some(after) => self.tell(&Event::Changed(after.clone())),
            None => self.tell(&Event::Gone { chat: before.chat, id: before.id, from: before.from }),
        }
        Ok(after)
    }

    /// What this account may do with messages of others in a chat.
    fn rights_in(&mut self, chat: ChatId) -> Result<Rights, Error> {
        let row = chats::load(&self.db, chat)?;
        if ChatKind::of(&row.name) == ChatKind::Direct || row.phase != Phase::Active {
            return Ok(Rights::of(ChatKind::of(&row.name), false));
        }
        let is_admin = self.rules_of(&row)?.is_admin(&self.own.username);
        Ok(Rights::of(ChatKind::of(&row.name), is_admin))
    }

    /// Answers once nothing waits in a chat any more, or it is clear that it will go on waiting.
    pub(crate) fn await_flushed(&mut self, chat: String, reply: Reply<()>) {
        self.waiting_for_flushed.push((chat, reply));
        self.note_flushed();
    }

    pub(super) fn note_flushed(&mut self) {
        for (chat, reply) in std::mem::take(&mut self.waiting_for_flushed) {
            match self.flushed(&chat) {
                Some(outcome) => drop(reply.send(outcome)),
                None => self.waiting_for_flushed.push((chat, reply)),
            }
        }
    }

    fn flushed(&self, chat: &str) -> Option<Result<(), Error>> {
        let waits = chats::by_name(&self.db, chat).and_then(|row| match row {
            Some(row) => Ok(!outbox::is_empty(&self.db, row.chat)?),
            None => Ok(false),
        });
        match (waits, &self.reach) {
            (Err(error), _) => Some(Err(error)),
            (Ok(false), _) => Some(Ok(())),
            (Ok(true), State::Idle | State::Waiting(_)) => Some(Err(self.offline())),
            (Ok(true), State::Online(online)) => online.held.get(chat).cloned().map(Err),
            (Ok(true), State::Connecting(_)) => None,
        }
    }

    /// Tells the others what the user has read, unless the user does not want that.
    pub(super) fn queue_read_receipts(&mut self) -> Result<(), Error> {
        let told = store::step("read-receipt", &mut self.db, |tx| {
            let mut told = Vec::new();
            let wanted = super::settings::is_on(tx, super::settings::READ_RECEIPTS)?;
            for (chat, read) in chats::owing_read_receipts(tx)? {
                if super::settings::is_quiet(tx, chat)? {
                    // Once it is accepted they are told.
                    continue;
                }
                chats::set_read_receipted(tx, chat, read)?;
                if wanted {
                    let body = Body::Read { read };
                    let receipt =
                        content::Content { id: new_id(), sent_at_ms: now_ms(), body, seen: None, lifetime: None };
                    let receipt = content::encode(&receipt).map_err(|error| Error::BadInput(error.to_string()))?;
                    outbox::push(tx, chat, &receipt, None)?;
                    told.push(chat);
                }
            }
            Ok::<_, Error>(told)
        })?;
        self.dirty.extend(told);
        Ok(())
    }
}

/// The message that is meant, with its position.
pub(crate) fn resolve(db: &Database, which: &MessageRef) -> Result<(Target, i64), Error> {
    let mut found = None;
    for (chat, position) in messages::with_id(db, which.id)? {
        let message = messages::load(db, position)?;
        let meant = which.chat.as_ref().is_none_or(|name| *name == message.chat)
            && which.author.as_ref().is_none_or(|author| *author == message.from);
        if meant && found.replace((Target { chat, author: message.from, id: which.id }, position)).is_some() {
            return Err(Error::AmbiguousMessage);
        }
    }
    found.ok_or(Error::BadMessageId)
}

/// What a deed is for the others, and the value that it has here.
fn prepare(
    tx: &Database,
    (own, rights): (&str, Rights),
    target: &Target,
    message: &Message,
    deed: Deed,
) -> Result<(content::Change, String), Error> {
    let refuse = |why: &str| Err(Error::BadInput(why.to_owned()));
    let to = || content::Target { author: target.author.clone(), id: target.id.0 };
    let signed = username(&message.from).is_ok_and(|name| name.as_str() == message.from);
    match &message.content {
        Content::Deleted { .. } => return refuse("this message was deleted"),
        Content::Unreadable(_) => return refuse("this message could not be read: there is nothing to change"),
        _ if !signed => return refuse("an imported message cannot be changed"),
        _ if matches!(message.state, MessageState::Failed(_)) => {
            return refuse("this message was not sent; send it again");
        }
        _ => {}
    }
    match deed {
        Deed::Edit(_) if message.from != own => refuse("only its author can edit a message"),
        Deed::Edit(_) if !matches!(message.content, Content::Text(_)) => refuse("only texts can be edited"),
        Deed::Edit(text) => {
            check_text(&text)?;
            Ok((content::Change::Edit { id: target.id.0, text: text.clone() }, text))
        }
        Deed::Delete if message.from != own && !rights.deletes => {
            refuse("only its author, or an admin of the group, can delete a message for everybody")
        }
        Deed::Delete => Ok((content::Change::Delete(to()), String::new())),
        Deed::Pin(_) if !rights.pins => refuse("only admins pin messages in a public room"),
        Deed::Pin(pinned) => Ok((content::Change::Pin { to: to(), pinned }, if pinned { "1" } else { "0" }.to_owned())),
        Deed::React { emoji, .. } if !is_reaction(&emoji) => refuse("a reaction is one emoji, like 👍"),
        Deed::React { emoji, add } => {
            let known = changes::of(tx, target)?;
            let mine = known.iter().find(|change| change.kind == Kind::React && change.by == own);
            let mut reactions: Vec<String> =
                mine.map(|change| change.value.lines().map(str::to_owned).collect()).unwrap_or_default();
            reactions.retain(|reaction| *reaction != emoji);
            if add {
                if reactions.len() >= REACTIONS {
                    return refuse(&format!("at most {REACTIONS} reactions of yours fit on one message"));
                }
                reactions.push(emoji);
            }
            let value = reactions.join("\n");
            Ok((content::Change::React { to: to(), reactions }, value))
        }
    }
}

/// Takes in what a member has done to a message. What the member may not do is passed over, by all alike.
pub(super) fn take(
    tx: &Database,
    row: &ChatRow,
    (from, rights): (&str, Rights),
    (seq, sent_at): (u64, u64),
    change: content::Change,
) -> Result<Option<Event>, Error> {
    let kind = kind_of(&change);
    let (author, id, value) = match change {
        content::Change::Edit { text, .. } if text.trim().is_empty() => return Ok(None),
        content::Change::Edit { id, text } => (from.to_owned(), id, text),
        content::Change::Delete(to) if to.author != from && !rights.deletes => return Ok(None),
        content::Change::Pin { .. } if !rights.pins => return Ok(None),
        content::Change::Delete(to) => (to.author, to.id, String::new()),
        content::Change::Pin { to, pinned } => (to.author, to.id, if pinned { "1" } else { "0" }.to_owned()),
        content::Change::React { to, mut reactions } => {
            reactions.retain(|reaction| is_reaction(reaction));
            let mut seen = std::collections::HashSet::new();
            reactions.retain(|reaction| seen.insert(reaction.clone()));
            (to.author, to.id, reactions.join("\n"))
        }
    };
    let target = Target { chat: row.chat, author, id: MessageId(id) };
    let change = Change { kind, by: from.to_owned(), era: row.era, seq, at: sent_at.min(messages::LATEST), value };
    if !changes::put(tx, &target, &change)? {
        return Ok(None);
    }
    let position = messages::position_of(tx, &target)?;
    position.map(|position| Ok(Event::Changed(messages::load(tx, position)?))).transpose()
}

/// The server has what we sent under this number: what depends on its place in the log is so from now on.
pub(super) fn placed(tx: &Database, chat: ChatId, number: u64, seq: u64) -> Result<(), Error> {
    let Some((encoded, message)) = outbox::content(tx, chat, number)? else { return Ok(()) };
    // What we wrote ourselves can be read.
    let Ok(content) = content::decode(&encoded) else { return Ok(()) };
    match content.body {
        Body::Timer(timer) => chats::set_timer(tx, chat, timer)?,
        Body::Change(change) => {
            let by = own::username(tx)?;
            let kind = kind_of(&change);
            let (author, id) = match change {
                content::Change::Edit { id, .. } => (by.clone(), id),
                content::Change::Delete(to) | content::Change::Pin { to, .. } | content::Change::React { to, .. } => {
                    (to.author, to.id)
                }
            };
            let era = chats::load(tx, chat)?.era;
            let target = Target { chat, author, id: MessageId(id) };
            let change = Change { kind, by, era, seq, at: content.sent_at_ms, value: String::new() };
            changes::place(tx, &target, &change)?;
        }
        _ => {}
    }
    match (message, content.lifetime) {
        (Some(position), Some(lifetime)) => messages::set_expiry(tx, position, now_ms() + u64::from(lifetime) * 1000),
        _ => Ok(()),
    }
}

/// What a member may do with messages of others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rights {
    /// Take them back.
    deletes: bool,
    /// Pin them.
    pins: bool,
}

impl Rights {
    pub(super) fn of(kind: ChatKind, is_admin: bool) -> Self {
        let is_admin = is_admin && kind != ChatKind::Direct;
        Self { deletes: is_admin, pins: is_admin || kind != ChatKind::Room }
    }
}

fn kind_of(change: &content::Change) -> Kind {
    match change {
        content::Change::Edit { .. } => Kind::Edit,
        content::Change::Delete(_) => Kind::Delete,
        content::Change::React { .. } => Kind::React,
        content::Change::Pin { .. } => Kind::Pin,
    }
}

/// An emoji, or what may pass for one: short, without letters, spaces or control characters.
fn is_reaction(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || c.is_alphabetic();
    text.len() <= REACTION && !text.is_ascii() && text.chars().count() <= 16 && !text.chars().any(odd)
}

pub(super) fn check_text(text: &str) -> Result<(), Error> {
    if text.trim().is_empty() {
        return Err(Error::Empty);
    }
    if text.len() > content::TEXT {
        return Err(Error::TooLong { length: text.len(), limit: content::TEXT });
    }
    Ok(())
}

pub(super) fn new_id() -> [u8; 16] {
    let mut id = [0; 16];
    random().fill_bytes(&mut id);
    id
}
