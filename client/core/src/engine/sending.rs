//! From the outbox to the server: sealing, pipelining, and what each answer means.
//!
//! The invariant: a send number never carries two ciphertexts that the server could accept. Bytes once sealed are
//! repeated as they are until the server has refused them; only then the number is given out again.

use super::{Ahead, Engine, Online, RECEIPT_DELAY, Reply, State, creation, log, order, settings};
use crate::{
    ChatKind, Error, ErrorKind, Event, Message, MessageId, MessageState,
    account::now_ms,
    random,
    store::{
        self,
        chats::{self, ChatId, Phase},
        commits, messages, outbox,
    },
    transport::{Answer, CallError, Tag},
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
use waxwing_protocol::{ConversationId, Entry, EntryBody, ErrorCode, Refusal, Request, Response};

/// How many messages of one chat may be unconfirmed.
const WINDOW: usize = 64;
/// Entries further ahead than this are fetched again rather than remembered.
const AHEAD: usize = 4096;
/// How long to wait where the server does not say.
const RETRY: Duration = Duration::from_secs(1);
/// So many milliseconds apart the members of a group repeat commits that have to wait.
const COMMIT_JITTER: u64 = 700;
pub(super) const STILL_STALE: Duration = Duration::from_secs(2);
/// How long to wait where too much waits at the server.
const STILL_FULL: Duration = Duration::from_secs(10);

/// One chat on one connection.
#[derive(Default)]
pub(super) struct Lane {
    /// Heard of, not yet handled.
    pub(super) ahead: BTreeMap<u64, Ahead>,
    /// Requests without an answer.
    pub(super) in_flight: usize,
    /// The last number that left on this connection.
    pub(super) sent_to: u64,
    /// Whether the log was compared with the server's on this connection.
    pub(super) synced: bool,
    /// The count of commits after which messages were refused as stale last.
    pub(super) stale_at: Option<u64>,
    /// Since when this chat waits for its welcome.
    pub(super) waiting_since: Option<Instant>,
    /// How often this device tried to let itself in.
    pub(super) joins: u8,
    /// The conversation that a creation has to take the place of.
    pub(super) replaces: Option<[u8; 16]>,
    pub(super) refused_welcomes: u8,
    /// Whether the members were asked to let this device in.
    pub(super) asked: bool,
    /// Whether the group was compared with the device lists since either changed.
    pub(super) settled: bool,
    /// Listed devices that had no key package to add them by, and how often that was asked.
    pub(super) unreachable: BTreeSet<[u8; 16]>,
    pub(super) claims: u8,
    /// The account whose identity was fetched last, to judge an entry.
    pub(super) stranger: Option<String>,
    /// What to do once nothing is in flight.
    pub(super) setback: Option<Setback>,
    /// The lowest number that the server still expects, as far as refusals have said.
    refused: Option<u64>,
    /// It expects it no more: so many bytes of this account wait there already.
    full: Option<u64>,
    /// The highest number that the server has accepted, as it said when the log was compared and as the log says since.
    pub(super) accepted: Option<u64>,
    pub(super) retry_at: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Setback {
    /// The server refused these bytes: give the numbers out again.
    Reseal,
    /// The outcome is unknown: repeat the same bytes.
    Repeat,
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

    /// The log has confirmed this send number: whatever was said of refusing it does not count.
    pub(super) fn confirmed(&mut self, number: u64) {
        self.refused = self.refused.filter(|refused| *refused > number);
        self.accepted = self.accepted.map(|accepted| accepted.max(number));
    }

    /// Whether everything that left was answered.
    pub(super) fn is_quiet(&self) -> bool {
        self.in_flight == 0
    }

    fn reseal(&mut self, number: u64) {
        self.setback.get_or_insert(Setback::Reseal);
        self.refused = Some(self.refused.map_or(number, |lowest| lowest.min(number)));
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
        if let Some(setback) = online.lane(chat).setback {
            if !online.lane(chat).is_quiet() || online.behind.contains(&chat) {
                return Ok(());
            }
            let lane = online.lane(chat);
            let full = lane.full.take().map(|limit| Error::WaitingFull { limit });
            let mut failed = Vec::new();
            if let (Setback::Reseal, Some(refused)) = (setback, lane.refused) {
                failed = store::step("unseal", &mut self.db, |tx| {
                    outbox::unseal(tx, chat, refused)?;
                    chats::set_number(tx, chat, refused.saturating_sub(1))?;
                    let Some(error) = &full else { return Ok(Vec::new()) };
                    // What shows as no message has nobody to send it again: it stays.
                    let positions = outbox::take_messages(tx, chat)?.into_iter();
                    positions.map(|position| fail(tx, position, error)).collect::<Result<_, Error>>()
                })?;
            }
            let again = lane.stale_at.replace(row.commits) == Some(row.commits);
            (lane.setback, lane.refused, lane.sent_to) = (None, None, 0);
            if let Some(error) = full {
                lane.retry_at = Some(Instant::now() + STILL_FULL);
                failed.into_iter().for_each(|message| self.note_failed(message, &error));
                return Ok(());
            }
            if setback == Setback::Reseal && again {
                // Caught up, and still refused: do not try as fast as the server answers.
                lane.retry_at = Some(Instant::now() + STILL_STALE);
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
            let lane = online.lanes.entry(chat).or_default();
            let room = WINDOW.saturating_sub(outbox::unconfirmed(&self.db, chat, lane.sent_to)?);
            if room == 0 {
                return Ok(());
            }
            let sealed = outbox::sealed(&self.db, chat, lane.sent_to, room)?;
            if sealed.is_empty() {
                if !open || !self.seal(chat, room)? {
                    if open && outbox::is_empty(&self.db, chat)? {
                        self.dirty.remove(&chat);
                    }
                    return Ok(());
                }
                continue;
            }
            for row in sealed {
                let (number, commits, payload) = (row.number, row.commits, row.wire.into());
                let request = Request::Send { conversation, number, commits, payload };
                online.connection.post(request, (chat, number), &online.answer_to).await;
                crash_point("send", "posted");
                lane.in_flight += 1;
                lane.sent_to = number;
            }
        }
    }

    /// Encrypts the next messages of a chat; false if there are none.
    fn seal(&mut self, chat: ChatId, limit: usize) -> Result<bool, Error> {
        let own = &self.own;
        let known = &mut self.kept;
        let sealed = store::step("seal", &mut self.db, |tx| {
            let rows = outbox::unsealed(tx, chat, limit)?;
            let row = chats::load(tx, chat)?;
            let (Some(conversation), false) = (row.conversation, rows.is_empty()) else { return Ok(None) };
            let mls = Mls::new(tx);
            let device = crate::own_device(&mls, own)?;
            let mut group = creation::resume(&mls, &conversation, known.take(&conversation))?;
            group.begin_batch();
            let seen = store::order::seen(tx, chat, row.cursor)?;
            let mut number = row.number;
            for queued in rows {
                let content = order::with_seen(&queued.content, seen)?;
                let wire = group.encrypt(&device, &content).map_err(|error| crate::mls_error(&error))?;
                number += 1;
                outbox::seal(tx, queued.position, number, row.commits, &wire)?;
            }
            let kept = group.keep().map_err(|error| crate::mls_error(&error))?;
            chats::set_number(tx, chat, number)?;
            Ok::<_, Error>(Some((conversation, kept)))
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
        store::in_transaction(&mut self.db, |tx| {
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
        lane.in_flight = lane.in_flight.saturating_sub(1);
        let refusal = match answer {
            Ok(Response::Accepted { seq, .. }) => {
                if chats::load(&self.db, chat)?.cursor < seq {
                    lane.ahead.insert(seq, Ahead::Own { number });
                } else if commits::is(&self.db, chat, number)? {
                    self.commit_expired(chat)?;
                } else if let Some(message) =
                    store::in_transaction(&mut self.db, |tx| log::settle(tx, chat, number, seq))?
                {
                    // Accepted long ago, and the entry expired before we heard of it.
                    self.note_sent(message);
                }
                return Ok(());
            }
            Ok(_) => return Err(crate::transport::unexpected()),
            Err(CallError::Lost(reason)) => return Err(Error::ConnectionLost(reason)),
            Err(CallError::Refused(refusal)) => refusal,
        };
        let is_commit = commits::is(&self.db, chat, number)?;
        match refusal.code {
            ErrorCode::Stale if is_commit => self.commit_refused(chat, number, &refusal)?,
            ErrorCode::Stale => {
                lane.reseal(number);
                online.behind.insert(chat);
            }
            ErrorCode::OutOfOrder if refusal.number.is_some_and(|expected| expected > number) => {
                return Err(Error::OldCopy);
            }
            // One before it was refused; the same happens to both. Or numbers before it were given to what failed, when the
            // chat was over for a while say: nothing waits under them any more, and they are given out again.
            ErrorCode::OutOfOrder => {
                let expected = refusal.number.unwrap_or(number);
                let is_gone = outbox::lowest_sealed(&self.db, chat)?.is_some_and(|lowest| expected < lowest);
                if is_gone && lane.accepted.is_none_or(|accepted| expected <= accepted) {
                    return Err(Error::ServerMisbehaves("it asks again for what it has accepted".into()));
                }
                if is_commit {
                    self.commit_refused(chat, number, &ErrorCode::Stale.into())?;
                }
                if let State::Online(online) = &mut self.reach {
                    online.lane(chat).reseal(expected);
                }
            }
            ErrorCode::Busy | ErrorCode::RateLimited | ErrorCode::Internal | ErrorCode::Draining => {
                lane.setback = Some(Setback::Repeat);
                lane.wait(&refusal);
                if is_commit {
                    // Many may wait for the same second.
                    let jitter = Duration::from_millis(random().next_u64() % COMMIT_JITTER);
                    lane.retry_at = lane.retry_at.map(|at| at + jitter);
                }
            }
            ErrorCode::WaitingFull if !is_commit => {
                lane.reseal(number);
                lane.full = Some(refusal.number.unwrap_or(0));
            }
            ErrorCode::UnknownConversation => {
                // This device was put out, or the conversation is gone: the list says which.
                lane.setback = Some(Setback::Repeat);
                lane.wait(&refusal);
                online.conversations_due = true;
            }
            _ if is_commit => self.commit_refused(chat, number, &refusal)?,
            _ => {
                lane.reseal(number);
                let error = match refusal.code {
                    ErrorCode::NobodyThere => Error::NobodyThere,
                    _ => Error::Refused(refusal.to_string()),
                };
                let failed = store::in_transaction(&mut self.db, |tx| {
                    outbox::take(tx, chat, number)?.map(|position| fail(tx, position, &error)).transpose()
                })?;
                failed.into_iter().for_each(|message| self.note_failed(message, &error));
            }
        }
        Ok(())
    }

    /// Nothing that waits in this chat can be sent.
    pub(super) fn give_up(&mut self, chat: ChatId, error: &Error) -> Result<(), Error> {
        self.dirty.remove(&chat);
        let failed = store::in_transaction(&mut self.db, |tx| {
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
