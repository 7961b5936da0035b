//! From the log to the history: entries in order, each with its effects and the cursor in one transaction.
//!
//! The invariant: entry after entry without a gap; what cannot be read leaves a visible mark, and whatever a peer sends,
//! the chat goes on.

use super::{
    Ahead, Engine, State, commits::accept, creation, directory::Pinned, history, membership, messages as changes,
    order, roster, settings, sync,
};
use crate::{
    Content, Error, Event, File, Message, MessageId, MessageState,
    account::now_ms,
    address::ChatKind,
    backup::Range,
    random,
    store::{
        self,
        changes::Target,
        chats::{self, ChatId, ChatRow, Phase},
        commits, contacts, coverage, files, join_requests, messages, outbox,
        own::Own,
    },
};
use rand_core::Rng as _;
use rusqlite::Connection as Database;
use waxwing_crash::crash_point;
use waxwing_e2ee::{
    content::{self, Body},
    mls::{Group, GroupRules, KeptGroup, Member, Mls, MlsError, Received},
};
use waxwing_protocol::{ConversationId, Entry, EntryBody, Page};
use zeroize::Zeroizing;

/// No log is longer; leaves room for arithmetic, and for the database's signed integers.
pub(super) const HIGHEST: u64 = 1 << 52;

/// What one page of the log did, to be told after the commit.
#[derive(Default)]
struct Effects {
    events: Vec<Event>,
    sent: Vec<Message>,
    /// The highest send number that the log confirmed.
    confirmed: u64,
    /// Who is in the group has changed, or what it goes by.
    changed: bool,
    /// This device cannot read the chat any more, until it comes in again.
    outside: bool,
    /// This account is not in the group any more; why.
    over: Option<String>,
    /// A commit of ours is in force.
    committed: bool,
    /// Accounts that have come into the group.
    newcomers: Vec<String>,
    /// Newer device lists that commits brought.
    lists: Vec<membership::NewList>,
    /// Places whose entries could not be read.
    unread: Vec<u64>,
    /// Somebody has asked for what entries said.
    asked: bool,
    /// Another device of ours has told a new account key.
    account_key: Option<Zeroizing<[u8; 32]>>,
    /// What the user is called now, if that was changed on another device.
    full_name: Option<Option<String>>,
    /// Users whose new identity was accepted on another device of ours.
    trusted: Vec<(String, [u8; 32])>,
}

/// Why a batch of entries was not read; nothing of it has happened.
enum Stop {
    /// This account's identity has to be fetched first.
    Unknown(String),
    /// One of them cannot be read, which has undone all that were read together.
    Undone,
    Failed(Error),
}

/// How entries are read within their transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// What the group has become is written once. If one of them cannot be read, none was.
    Together,
    /// It is written after each, so that one that cannot be read spoils nothing.
    OneByOne,
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
    fn read(&mut self, seq: u64, entry: &Ahead) -> Result<(), Stop> {
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
    fn finish(self) -> Result<(Effects, Option<KeptGroup>), Error> {
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
                    self.effects.lists.extend(membership::take_list(self.tx, self.own, list)?);
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

/// Puts a mark into the chat, at this place: entries up to there cannot be read here.
pub(super) fn mark(tx: &Database, own: &Own, row: &ChatRow, seq: u64, reason: String) -> Result<Event, Error> {
    let position = insert(tx, own, row, &Placed::unreadable(seq, reason))?;
    Ok(Event::Message(messages::load(tx, position)?))
}

/// Notes what was read of a log: all from `first` to the cursor, save what was not readable.
fn cover(tx: &Database, row: &ChatRow, mut first: u64, unread: &[u64]) -> Result<(), Error> {
    for seq in unread {
        coverage::add(tx, row.chat, row.era, Range { first, last: seq - 1 })?;
        first = seq + 1;
    }
    coverage::add(tx, row.chat, row.era, Range { first, last: row.cursor })
}

/// A message at its place in the log.
struct Placed<'a> {
    seq: u64,
    /// None if nobody is proven to be it.
    author: Option<&'a str>,
    id: MessageId,
    sent_at: u64,
    content: Content,
    reply_to: Option<(String, MessageId)>,
    lifetime: Option<u32>,
}

impl Placed<'_> {
    fn unreadable(seq: u64, reason: String) -> Self {
        let mut id = [0; 16];
        random().fill_bytes(&mut id);
        let content = Content::Unreadable(reason);
        Self { seq, author: None, id: MessageId(id), sent_at: now_ms(), content, reply_to: None, lifetime: None }
    }
}

fn insert(tx: &Database, own: &Own, row: &ChatRow, placed: &Placed<'_>) -> Result<i64, Error> {
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

#[cfg(test)]
mod tests;
