//! What one entry after the other does to a chat, in the transaction of its page.
//!
//! The invariant: each entry moves the cursor by one and leaves its effects or a visible mark. It must not know connections:
//! what others are to hear of it is handed back as [`Effects`].

use super::{
    super::{
        Ahead, commits::accept, directory::Pinned, history, lists, messages as changes, order, roster, settings, sync,
    },
    placed::{Placed, insert},
    settle,
};
use crate::{
    Content, Error, Event, File, Message, MessageId, MessageState,
    address::ChatKind,
    backup::Range,
    store::{
        self,
        changes::Target,
        chats::{self, ChatRow},
        commits, contacts, files, join_requests, messages, outbox,
        own::Own,
    },
};
use rusqlite::Connection as Database;
use waxwing_e2ee::{
    content::{self, Body},
    mls::{Group, GroupRules, KeptGroup, Member, MlsError, Received},
};
use zeroize::Zeroizing;

/// What one page of the log did, to be told after the commit.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) events: Vec<Event>,
    pub(super) sent: Vec<Message>,
    /// The highest send number that the log confirmed.
    pub(super) confirmed: u64,
    /// Who is in the group has changed, or what it goes by.
    pub(super) changed: bool,
    /// This device cannot read the chat any more, until it comes in again.
    pub(super) outside: bool,
    /// This account is not in the group any more; why.
    pub(super) over: Option<String>,
    /// A commit of ours is in force.
    pub(super) committed: bool,
    /// Accounts that have come into the group.
    pub(super) newcomers: Vec<String>,
    /// Newer device lists that commits brought.
    pub(super) lists: Vec<lists::NewList>,
    /// Places whose entries could not be read.
    pub(super) unread: Vec<u64>,
    /// Somebody has asked for what entries said.
    pub(super) asked: bool,
    /// Another device of ours has told a new account key.
    pub(super) account_key: Option<Zeroizing<[u8; 32]>>,
    /// What the user is called now, if that was changed on another device.
    pub(super) full_name: Option<Option<String>>,
    /// Users whose new identity was accepted on another device of ours.
    pub(super) trusted: Vec<(String, [u8; 32])>,
}

/// Why a batch of entries was not read; nothing of it has happened.
pub(super) enum Stop {
    /// This account's identity has to be fetched first.
    Unknown(String),
    /// One of them cannot be read, which has undone all that were read together.
    Undone,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Reads the entries of one chat in one transaction.
pub(super) struct Reader<'a, 'tx> {
    pub(super) tx: &'tx Database,
    pub(super) own: &'a Own,
    pub(super) row: &'a mut ChatRow,
    /// None once this device was removed.
    pub(super) group: Option<Group<'tx>>,
    pub(super) effects: Effects,
}

impl Reader<'_, '_> {
    /// Reads the entry at this place; the cursor stands there afterwards, unless this device is outside now.
    pub(super) fn read(&mut self, seq: u64, entry: &Ahead) -> Result<(), Stop> {
        let before = self.row.cursor;
        self.row.cursor = seq;
        let hash = match entry {
            Ahead::Own { number } => {
                let hash = order::own_entry(self.tx, self.row.chat, *number)?;
                self.own_entry(before, seq, *number)?;
                hash
            }
            Ahead::Application { payload } => {
                self.receive(before, &payload.0, false)?;
                Some(order::entry_hash(&payload.0))
            }
            Ahead::Commit { payload } => {
                self.row.commits += 1;
                self.receive(before, &payload.0, true)?;
                Some(order::entry_hash(&payload.0))
            }
        };
        match hash {
            Some(hash) if self.row.cursor == seq => Ok(store::order::push(self.tx, self.row.chat, seq, &hash)?),
            _ => Ok(()),
        }
    }

    /// What the group has become is kept with the rest.
    pub(super) fn finish(self) -> Result<(Effects, Option<KeptGroup>), Error> {
        if let (Some(group), true) = (&self.group, self.effects.changed) {
            chats::set_join_key(self.tx, self.row.chat, group.join_key().as_bytes())?;
            chats::set_settled(self.tx, self.row.chat, false)?;
        }
        let kept = match self.group {
            Some(group) => group.keep().map_err(|error| crate::mls_error(&error))?,
            None => None,
        };
        Ok((self.effects, kept))
    }

    /// The server has what we sent under this number.
    fn own_entry(&mut self, before: u64, seq: u64, number: u64) -> Result<(), Error> {
        let creation = number == 0 && seq == 1;
        if let (Some(group), true) = (&mut self.group, commits::is(self.tx, self.row.chat, number)?) {
            self.row.commits += 1;
            self.effects.confirmed = self.effects.confirmed.max(number);
            self.effects.changed = true;
            let before = group.rules().clone();
            let wishes = store::groups::wishes(self.tx, self.row.chat)?;
            if accept(self.tx, self.row.chat, group)? {
                self.effects.committed = true;
                let left: Vec<String> = wishes.into_iter().map(|(username, _)| username).collect();
                let after = group.rules().clone();
                let by = self.own.username.clone();
                return self.amended(seq, (&before, &after), &by, &left);
            }
        } else if creation || outbox::contains(self.tx, self.row.chat, number)? {
            self.effects.confirmed = self.effects.confirmed.max(number);
            self.effects.sent.extend(settle(self.tx, self.row.chat, number, seq)?);
            return Ok(());
        } else if number == 0 {
            // This device has let itself in there, with a state that this profile does not have: an older copy of it was
            // put back, or a welcome came in between. The keys that are here are of no use; others are made.
            self.row.cursor = before;
            self.effects.outside = true;
            return Ok(());
        }
        // Whoever wrote it, the server hides it from us.
        self.show(&Placed::unreadable(seq, "the server calls it ours, but it is not".into()))
    }

    fn receive(&mut self, before: u64, payload: &[u8], is_commit: bool) -> Result<(), Stop> {
        let seq = self.row.cursor;
        let Some(group) = &mut self.group else { return Ok(()) };
        if payload.is_empty() {
            let reason = "it was sent while this device was not connected, and this server keeps nothing";
            return Ok(self.show(&Placed::unreadable(seq, reason.into()))?);
        }
        let before_it = is_commit.then(|| group.rules().clone());
        let received = match group.receive(&Pinned { tx: self.tx, own: self.own }, payload) {
            // There were commits among the entries that expired: nothing that follows can be read either.
            Err(MlsError::NotThisEpoch) if self.row.gap => {
                self.row.cursor = before;
                self.effects.outside = true;
                return Ok(());
            }
            Err(MlsError::UnknownIdentity { username, .. }) => return Err(Stop::Unknown(username)),
            Err(MlsError::Undone) => return Err(Stop::Undone),
            Err(error) if error.is_fault_of_entry() => {
                return Ok(self.show(&Placed::unreadable(seq, error.to_string()))?);
            }
            Err(error) => return Err(crate::mls_error(&error).into()),
            Ok(received) => received,
        };
        if self.row.gap {
            self.row.gap = false;
            chats::set_gap(self.tx, self.row.chat, false)?;
        }
        match received {
            Received::Message { from, body } => Ok(self.message(seq, &from, &body)?),
            Received::Commit { added, lists, by, identities, left, external, .. } => {
                self.effects.changed = true;
                if external {
                    // It is back before anybody has committed that it left.
                    store::groups::delete_wish(self.tx, self.row.chat, &by.username)?;
                }
                for (username, key) in &identities {
                    store::groups::add_identity(self.tx, username, &key.fingerprint(), &key.to_der())?;
                }
                if let (Some(before), Some(group)) = (before_it, &self.group) {
                    let after = group.rules().clone();
                    self.amended(seq, (&before, &after), &by.username, &left)?;
                }
                for member in added {
                    join_requests::delete(self.tx, self.row.chat, &member.device)?;
                }
                for list in &lists {
                    self.effects.lists.extend(lists::take_list(self.tx, self.own, list)?);
                }
                Ok(())
            }
            Received::Own => Ok(()),
            Received::Removed { by, account: true, left } => {
                self.group = None;
                self.effects.over =
                    Some(if left { "you left".to_owned() } else { format!("{} removed you", by.username) });
                Ok(())
            }
            Received::Removed { .. } => {
                // If the account still lists this device, it comes in again.
                self.group = None;
                self.effects.outside = true;
                Ok(())
            }
        }
    }

    /// A commit is in force: what it has made of a group is told.
    fn amended(
        &mut self,
        seq: u64,
        (before, after): (&GroupRules, &GroupRules),
        by: &str,
        left: &[String],
    ) -> Result<(), Error> {
        let events = roster::note(self.tx, self.own, self.row, seq, (before, after), by, left)?;
        let new = after.participants().iter().filter(|one| before.participant(&one.username).is_none());
        self.effects.newcomers.extend(new.map(|one| one.username.clone()));
        self.effects.events.extend(events);
        Ok(())
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
        if let Some(seen) = &content.seen {
            self.effects.events.extend(order::compare(self.tx, self.row, seq, seen, &from.username, mine)?);
        }
        if !mine && settings::is_blocked(self.tx, &from.username)? {
            return Ok(());
        }
        let (mut reply_to, mut file, lifetime) = (None, None, content.lifetime);
        let shown = match content.body {
            Body::Text(text) => Content::Text(text),
            Body::Reply { to, text } => {
                reply_to = Some((to.author, MessageId(to.id)));
                Content::Text(text)
            }
            Body::File(sent) => {
                let shown = Content::File(Box::new(File::from(&*sent)));
                file = Some(sent);
                shown
            }
            Body::Timer(timer) => {
                chats::set_timer(self.tx, self.row.chat, timer)?;
                let chat = self.row.name.clone();
                self.effects.events.push(Event::ChatChanged { chat });
                Content::Timer(timer)
            }
            Body::Change(change) => {
                let at = (seq, content.sent_at_ms);
                let is_admin = self.group.as_ref().is_some_and(|group| group.rules().is_admin(&from.username));
                let rights = changes::Rights::of(ChatKind::of(&self.row.name), is_admin);
                let by = (from.username.as_str(), rights);
                self.effects.events.extend(changes::take(self.tx, self.row, by, at, change)?);
                return Ok(());
            }
            Body::Read { read } => {
                if !mine && settings::is_on(self.tx, settings::READ_RECEIPTS)? {
                    for (id, seq) in messages::set_read(self.tx, self.row.chat, read.min(seq))? {
                        let (chat, state, seq) = (self.row.name.clone(), MessageState::Read, Some(seq));
                        self.effects.events.push(Event::State { chat, id, state, seq });
                    }
                }
                return Ok(());
            }
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
            Body::Sync(sync) if mine && self.row.name == self.own.username => {
                match sync::apply(self.tx, *sync)? {
                    sync::Effect::None => {}
                    sync::Effect::ChatChanged(chat) => self.effects.events.push(Event::ChatChanged { chat }),
                    sync::Effect::AccountKey(key) => self.effects.account_key = Some(key),
                    sync::Effect::FullName(full_name) => {
                        let username = self.own.username.clone();
                        self.effects.events.push(Event::Profile { username, full_name: full_name.clone() });
                        self.effects.full_name = Some(full_name);
                    }
                    sync::Effect::Trusted(username, accepted) => self.effects.trusted.push((username, accepted)),
                }
                return Ok(());
            }
            Body::Ask { from: first, to: last } => {
                if let Some(group) = &self.group {
                    history::asked(self.tx, self.own, self.row, group, from, Range { first, last })?;
                    self.effects.asked = true;
                }
                return Ok(());
            }
            Body::Told(told) => {
                if let Some(group) = &self.group {
                    let new = history::told(self.tx, self.own, self.row, group, from, told)?;
                    self.effects.events.extend(new);
                }
                return Ok(());
            }
            // Not for eyes: clients talk to each other.
            Body::Sync(_) | Body::Typing(_) | Body::Presence(_) | Body::Silent => return Ok(()),
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
        if let Some(file) = &file {
            let target = Target { chat: self.row.chat, author: from.username.clone(), id: MessageId(content.id) };
            files::insert(self.tx, &target, file)?;
        }
        // Whatever the author claims, the database must be able to keep it.
        let sent_at = content.sent_at_ms.min(messages::LATEST);
        self.show(&Placed { seq, author, id: MessageId(content.id), sent_at, content: shown, reply_to, lifetime })
    }

    fn show(&mut self, placed: &Placed<'_>) -> Result<(), Error> {
        if matches!(placed.content, Content::Unreadable(_)) {
            self.effects.unread.push(placed.seq);
        }
        let position = insert(self.tx, self.own, self.row, placed)?;
        self.effects.events.push(match settings::is_request(self.tx, &self.row.name)? {
            // An invitation into a group was told of when it came.
            true if messages::counts(self.tx, self.row.chat)?.0 > 1
                || ChatKind::of(&self.row.name) != ChatKind::Direct =>
            {
                Event::ChatChanged { chat: self.row.name.clone() }
            }
            true => Event::Request { username: self.row.name.clone(), invited_by: None },
            false => Event::Message(messages::load(self.tx, position)?),
        });
        Ok(())
    }
}
