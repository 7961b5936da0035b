//! From the outbox to the server: which chats have their turn, when they are tried again, and who is told what came of it.
//!
//! The invariant: bytes leave only after the state that made them is committed. What leaves, and what an answer means for
//! it, is the `submission`'s business.

use super::{
    Ahead, Engine, Online, RECEIPT_DELAY, Reply, State, creation, settings,
    submission::{self, Due, Meaning, Recovery, Submission},
};
use crate::{
    ChatKind, Error, ErrorKind, Event, Message, MessageId, MessageState,
    account::now_ms,
    random,
    store::{
        self,
        chats::{self, ChatId, Phase},
        messages, outbox,
    },
    transport::{Answer, Tag},
};
use rand_core::Rng as _;
use rusqlite::Connection as Database;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::Instant;
use waxwing_crash::crash_point;
use waxwing_e2ee::{
    content::{self, Body},
    mls::Mls,
};
use waxwing_protocol::{ConversationId, Entry, EntryBody, Refusal, Request};

/// Entries further ahead than this are fetched again rather than remembered.
const AHEAD: usize = 4096;
/// How long to wait where the server does not say.
const RETRY: Duration = Duration::from_secs(1);
/// So many milliseconds apart the members of a group repeat commits that have to wait.
const COMMIT_JITTER: u64 = 700;
/// Between one commit of a chat and the next, as the server wants it.
const COMMIT_PAUSE: Duration = Duration::from_secs(1);
/// So many milliseconds apart members make their commits after another one; twice as many with each time that another one came
/// first.
const COMMIT_SPREAD: u64 = 200;
const MOST_LOST: u8 = 4;
pub(super) const STILL_STALE: Duration = Duration::from_secs(2);
/// How long to wait where too much waits at the server.
const STILL_FULL: Duration = Duration::from_secs(10);

/// One chat on one connection.
#[derive(Default)]
pub(super) struct Lane {
    /// Heard of, not yet handled.
    pub(super) ahead: BTreeMap<u64, Ahead>,
    /// What of it is on its way.
    pub(super) submission: Submission,
    /// Whether the log was compared with the server's on this connection.
    pub(super) synced: bool,
    /// Since when this chat waits for its welcome.
    pub(super) waiting_since: Option<Instant>,
    /// How often this device tried to let itself in.
    pub(super) joins: u8,
    /// The conversation that a creation has to take the place of.
    pub(super) replaces: Option<[u8; 16]>,
    pub(super) refused_welcomes: u8,
    /// Whether the members were asked to let this device in.
    pub(super) asked: bool,
    /// Whether the group was compared with the device lists since either changed, and messages may be encrypted for it.
    pub(super) settled: bool,
    /// Before then the server takes no further commit, since another one is so recent.
    pub(super) calm_at: Option<Instant>,
    /// Whether this device's own change waits for that.
    pub(super) pausing: bool,
    /// How often in a row another device's commit was faster than ours.
    pub(super) lost: u8,
    /// Listed devices that had no key package to add them by, and how often that was asked.
    pub(super) unreachable: BTreeSet<[u8; 16]>,
    pub(super) claims: u8,
    /// The account whose identity was fetched last, to judge an entry.
    pub(super) stranger: Option<String>,
    pub(super) retry_at: Option<Instant>,
}

impl Lane {
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Lets a waiting lane go on when its time has come.
    pub(super) fn keep_time(&mut self, now: Instant) {
        self.retry_at = self.retry_at.filter(|at| *at > now);
    }

    pub(super) fn heard(&mut self, entry: Entry) {
        if self.ahead.len() >= AHEAD {
            // What comes first counts most; the rest is fetched again.
            match self.ahead.last_entry() {
                Some(last) if *last.key() > entry.seq => drop(last.remove()),
                _ => return,
            }
        }
        let ahead = match entry.body {
            EntryBody::Application(payload) => Ahead::Application { payload },
            EntryBody::Commit(payload) => Ahead::Commit { payload },
            EntryBody::Own { number } => Ahead::Own { number },
        };
        self.ahead.entry(entry.seq).or_insert(ahead);
    }

    /// Entries of a page: the log itself, against which what was only heard of does not count.
    pub(super) fn fetched(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            self.ahead.remove(&entry.seq);
            self.heard(entry);
        }
    }

    /// Takes what follows the cursor without a gap; what is before it counts no more.
    pub(super) fn take_next(&mut self, cursor: u64) -> Vec<(u64, Ahead)> {
        let mut next = cursor + 1;
        self.ahead = self.ahead.split_off(&next);
        let mut entries = Vec::new();
        while let Some(entry) = self.ahead.remove(&next) {
            entries.push((next, entry));
            next += 1;
        }
        entries
    }

    /// Whether everything that left was answered.
    pub(super) fn is_quiet(&self) -> bool {
        self.submission.is_quiet()
    }

    /// A commit was read: ours, or another one, perhaps while ours waited.
    pub(super) fn note_commit(&mut self, ours: bool, waits: bool) {
        self.lost = if ours { 0 } else { self.lost.saturating_add(waits.into()) };
        self.calm_at = Some(Instant::now() + COMMIT_PAUSE);
    }

    /// How long after the pause between two commits ours is made: the more devices seem to want one, the farther apart they try.
    pub(super) fn spread(&self) -> Duration {
        Duration::from_millis(random().next_u64() % (COMMIT_SPREAD << self.lost.min(MOST_LOST)))
    }

    pub(super) fn wait(&mut self, refusal: &Refusal) {
        let delay = refusal.retry_after_ms.map_or(RETRY, |ms| Duration::from_millis(ms.into()));
        self.retry_at = Some(Instant::now() + delay);
    }
}

impl Engine {
    /// Tells the others what has arrived here.
    pub(super) fn queue_receipts(&mut self) -> Result<(), Error> {
        let owing = store::step("receipt", &mut self.db, |tx| {
            let owing = chats::owing_receipts(tx)?;
            let wanted = settings::is_on(tx, settings::DELIVERED_RECEIPTS)?;
            for row in &owing {
                chats::set_receipted(tx, row.chat, row.others)?;
                if !wanted {
                    continue;
                }
                let mut id = [0; 16];
                random().fill_bytes(&mut id);
                let body = Body::Receipt { delivered: row.others };
                let receipt =
                    content::encode(&content::Content { id, sent_at_ms: now_ms(), body, seen: None, lifetime: None });
                outbox::push(tx, row.chat, &receipt.map_err(|error| Error::BadInput(error.to_string()))?, None)?;
            }
            Ok::<_, Error>(owing)
        })?;
        self.dirty.extend(owing.into_iter().map(|row| row.chat));
        Ok(())
    }

    /// Answers once the server has the message, or it is clear that it will not now.
    pub(super) fn await_sent(&mut self, id: MessageId, reply: Reply<Message>) {
        let held = |online: &Online, message: &Message| online.held.get(&message.chat).cloned();
        let answer = match messages::mine_by_id(&self.db, id) {
            Err(error) => Err(error),
            Ok(None) => Err(Error::BadMessageId),
            Ok(Some((_, message))) => match &message.state {
                MessageState::Queued => match &self.reach {
                    State::Idle | State::Waiting(_) => Err(self.offline()),
                    State::Online(online) if held(online, &message).is_some() => {
                        Err(held(online, &message).unwrap_or(Error::Closed))
                    }
                    _ => {
                        self.waiting_for_sent.entry(id).or_default().push(reply);
                        return;
                    }
                },
                MessageState::Failed(reason) => {
                    Err(self.failures.remove(&id).unwrap_or_else(|| Error::Refused(reason.clone())))
                }
                _ => Ok(message),
            },
        };
        drop(reply.send(answer));
    }

    pub(super) fn resolve_sent(&mut self, id: MessageId, outcome: &Result<Message, Error>) {
        for waiting in self.waiting_for_sent.remove(&id).into_iter().flatten() {
            drop(waiting.send(outcome.clone()));
        }
    }

    /// Sends what waits, in every chat where that is possible now.
    pub(super) async fn send_dirty(&mut self) -> Result<(), Error> {
        for chat in self.dirty.clone() {
            let row = chats::find(&self.db, chat)?;
            let is_empty = outbox::is_empty(&self.db, chat)?;
            // After an era the next one begins at once: the others may still write in the conversation that was left.
            let wanted = |row: &chats::ChatRow| {
                let begins = row.phase != Phase::New || !is_empty || row.era > 0 || row.name == self.own.username;
                begins
                    && (ChatKind::of(&row.name) == ChatKind::Direct || !matches!(row.phase, Phase::New | Phase::Over))
            };
            let Some(row) = row.filter(wanted) else {
                // It was taken back.
                self.dirty.remove(&chat);
                continue;
            };
            let State::Online(online) = &mut self.reach else { return Ok(()) };
            if online.held.contains_key(&row.name) {
                online.entering.remove(&chat);
                online.unsettled.remove(&chat);
                self.refuse_waiting(&row.name)?;
                continue;
            }
            if online.lane(chat).retry_at.is_some() {
                continue;
            }
            match self.send_chat(&row).await {
                Ok(()) => {}
                Err(error @ Error::UnknownUser(_)) if matches!(row.phase, Phase::New | Phase::Creating) => {
                    self.give_up(chat, &error)?;
                    self.forget_creation(&row)?;
                }
                Err(error @ Error::WaitingFull { .. }) => self.give_up(chat, &error)?,
                Err(error) if error.kind() == ErrorKind::Untrusted => self.hold(&row.name, error)?,
                Err(error @ (Error::Refused(_) | Error::RateLimited { .. } | Error::UnknownUser(_))) => {
                    let State::Online(online) = &mut self.reach else { return Ok(()) };
                    let delay = if let Error::RateLimited { seconds } = error { seconds } else { 10 };
                    online.lane(chat).retry_at = Some(Instant::now() + Duration::from_secs(delay));
                    self.tell_waiting(&row.name, &error)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn send_chat(&mut self, row: &chats::ChatRow) -> Result<(), Error> {
        if ChatKind::of(&row.name) == ChatKind::Direct {
            // A group itself fixes the identities of its members.
            self.check_identity(&row.name).await?;
        }
        match row.phase {
            Phase::Waiting | Phase::Joining => self.let_in(row).await,
            Phase::New | Phase::Creating => {
                self.create(row).await?;
                let row = chats::load(&self.db, row.chat)?;
                if row.phase == Phase::Active { self.fill(&row).await } else { Ok(()) }
            }
            Phase::Active => self.fill(row).await,
            Phase::Over => self.give_up(row.chat, &Error::NotInChat(row.name.clone())),
        }
    }

    /// Fills the window of an active chat.
    async fn fill(&mut self, row: &chats::ChatRow) -> Result<(), Error> {
        let chat = row.chat;
        let Some(conversation) = row.conversation.map(ConversationId) else { return Ok(()) };
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        let online = &mut **online;
        if !online.lane(chat).synced {
            // Whoever holds an old copy of this profile must learn it before anything of it leaves.
            online.behind.insert(chat);
            return Ok(());
        }
        let behind = online.behind.contains(&chat);
        match online.lanes.entry(chat).or_default().submission.recover(&mut self.db, row, behind)? {
            Recovery::Done => {}
            Recovery::NotYet => return Ok(()),
            Recovery::StillStale => {
                online.lane(chat).retry_at = Some(Instant::now() + STILL_STALE);
                return Ok(());
            }
            Recovery::Full(failed, limit) => {
                online.lane(chat).retry_at = Some(Instant::now() + STILL_FULL);
                failed.into_iter().for_each(|message| self.note_failed(message, &Error::WaitingFull { limit }));
                return Ok(());
            }
        }
        let open = self.settle(row).await?;
        if open {
            self.introduce(row)?;
        }
        loop {
            let State::Online(online) = &mut self.reach else { return Ok(()) };
            let online = &mut **online;
            let submission = &mut online.lanes.entry(chat).or_default().submission;
            match submission.due(&self.db, chat)? {
                Due::Nothing => return Ok(()),
                Due::Rows(rows) => {
                    for row in rows {
                        let (number, commits, payload) = (row.number, row.commits, row.wire.into());
                        let request = Request::Send { conversation, number, commits, payload };
                        online.connection.post(request, (chat, number), &online.answer_to).await;
                        crash_point("send", "posted");
                        submission.left(number);
                    }
                }
                Due::Room(room) => {
                    if !open || !self.seal(chat, room)? {
                        if open && outbox::is_empty(&self.db, chat)? {
                            self.dirty.remove(&chat);
                        }
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Encrypts the next messages of a chat; false if there are none.
    fn seal(&mut self, chat: ChatId, limit: usize) -> Result<bool, Error> {
        let own = &self.own;
        let known = &mut self.kept;
        let sealed = store::step("seal", &mut self.db, |tx| {
            let row = chats::load(tx, chat)?;
            let Some(conversation) = row.conversation else { return Ok(None) };
            let mls = Mls::new(tx);
            let device = crate::own_device(&mls, own)?;
            let mut group = None;
            submission::seal(tx, &row, limit, |content| {
                let group = match &mut group {
                    Some(group) => group,
                    none => {
                        let group = none.insert(creation::resume(&mls, &conversation, known.take(&conversation))?);
                        group.begin_batch();
                        group
                    }
                };
                group.encrypt(&device, content).map_err(|error| crate::mls_error(&error))
            })?;
            let kept = group.map(|group| group.keep()).transpose().map_err(|error| crate::mls_error(&error))?;
            Ok::<_, Error>(kept.map(|kept| (conversation, kept)))
        })?;
        let Some((conversation, kept)) = sealed else { return Ok(false) };
        self.kept.put(conversation, kept);
        Ok(true)
    }

    /// Tells the other side our full name, once per chat.
    fn introduce(&mut self, row: &chats::ChatRow) -> Result<(), Error> {
        if row.introduced || settings::is_request(&self.db, &row.name)? {
            return Ok(());
        }
        let full_name = self.own.full_name.clone();
        store::step("introduce", &mut self.db, |tx| {
            // None at all has to be told only where there was one.
            if full_name.is_some() || store::settings::load(tx, settings::FULL_NAME)?.is_some() {
                let mut id = [0; 16];
                random().fill_bytes(&mut id);
                let profile = content::Content {
                    id,
                    sent_at_ms: now_ms(),
                    body: Body::Profile { full_name },
                    seen: None,
                    lifetime: None,
                };
                let profile = content::encode(&profile).map_err(|error| Error::BadInput(error.to_string()))?;
                outbox::push(tx, row.chat, &profile, None)?;
            }
            chats::set_introduced(tx, row.chat)
        })
    }

    /// Handles the answer to a message.
    pub(super) fn answered(&mut self, (chat, number): Tag, answer: Answer) -> Result<(), Error> {
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        let lane = online.lanes.entry(chat).or_default();
        match lane.submission.answered(&mut self.db, chat, number, answer)? {
            Meaning::Placed(seq) => drop(lane.ahead.insert(seq, Ahead::Own { number })),
            Meaning::Settled(message) => {
                if let Some(message) = *message {
                    self.note_sent(message);
                }
            }
            Meaning::CommitSettled => self.commit_expired(chat)?,
            Meaning::Again | Meaning::Full => {}
            Meaning::Behind => drop(online.behind.insert(chat)),
            Meaning::Later(refusal, is_commit) => {
                lane.wait(&refusal);
                if is_commit {
                    // Many may wait for the same second.
                    let jitter = Duration::from_millis(random().next_u64() % COMMIT_JITTER);
                    lane.retry_at = lane.retry_at.map(|at| at + jitter);
                }
            }
            Meaning::Unknown(refusal) => {
                // This device was put out, or the conversation is gone: the list says which.
                lane.wait(&refusal);
                online.conversations_due = true;
            }
            Meaning::CommitRefused(refusal, expected) => {
                self.commit_refused(chat, number, &refusal)?;
                if let (Some(expected), State::Online(online)) = (expected, &mut self.reach) {
                    online.lane(chat).submission.reseal(expected);
                }
            }
            Meaning::Failed(message, error) => {
                if let Some(message) = *message {
                    self.note_failed(message, &error);
                }
            }
        }
        Ok(())
    }

    /// Nothing that waits in this chat can be sent.
    pub(super) fn give_up(&mut self, chat: ChatId, error: &Error) -> Result<(), Error> {
        self.dirty.remove(&chat);
        let failed = store::step("give-up", &mut self.db, |tx| {
            let positions = outbox::clear(tx, chat)?.into_iter();
            positions.map(|position| fail(tx, position, error)).collect::<Result<Vec<_>, _>>()
        })?;
        failed.into_iter().for_each(|message| self.note_failed(message, error));
        Ok(())
    }

    pub(super) fn note_sent(&mut self, message: Message) {
        let (chat, state) = (message.chat.clone(), message.state.clone());
        self.tell(&Event::State { chat, id: message.id, state, seq: message.seq });
        self.resolve_sent(message.id, &Ok(message));
    }

    pub(super) fn note_failed(&mut self, message: Message, error: &Error) {
        self.tell(&Event::State { chat: message.chat, id: message.id, state: message.state, seq: None });
        if self.waiting_for_sent.contains_key(&message.id) {
            self.resolve_sent(message.id, &Err(error.clone()));
        } else {
            self.failures.insert(message.id, error.clone());
        }
    }

    /// Somebody else's entry arrived: a receipt is due soon.
    pub(super) fn owe_receipt(&mut self) {
        if let State::Online(online) = &mut self.reach {
            online.receipts_at.get_or_insert(Instant::now() + RECEIPT_DELAY);
        }
    }
}

/// Marks a message as failed; returns it.
pub(super) fn fail(tx: &Database, position: i64, error: &Error) -> Result<Message, Error> {
    messages::set_failed(tx, position, &error.to_string())?;
    messages::load(tx, position)
}
