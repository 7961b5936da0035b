//! The one thread that owns a profile's database and its connection: it sends, receives and keeps both in step.
//!
//! The invariants: bytes leave only after the state that made them is committed; an entry counts only when its seq is the
//! cursor + 1, and its effects and the cursor commit together; what listeners hear has happened. It must not know
//! passwords or screens.

mod backup;
mod commits;
mod creation;
mod directory;
mod eras;
mod fetching;
pub(crate) mod files;
mod groups;
mod history;
mod inbox;
mod joining;
mod kept;
mod lists;
mod log;
mod membership;
pub(crate) mod messages;
mod notes;
mod old_copy;
mod online;
mod order;
pub(crate) mod presence;
mod reaching;
mod roster;
mod sending;
pub(crate) mod settings;
mod signals;
#[cfg(test)]
mod simulation;
mod submission;
mod succession;
mod sync;
mod wishes;

pub(crate) use backup::BackupCommand;
pub(crate) use groups::GroupCommand;

use crate::{
    Connection as Reach, Content, Error, Event, Message, MessageId,
    profile::ProfileLock,
    store::{self, chats, chats::ChatId, outbox, own, own::Own},
    transport::{Answer, Door, Incoming, Tag},
};
use backon::ExponentialBackoff;
use online::{Ahead, Online, State, Wake};
use rusqlite::Connection as Database;
use std::{
    collections::{BTreeSet, HashMap},
    future::pending,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout_at},
};
use waxwing_e2ee::account::AccountKeys;
use waxwing_protocol::{DeviceSeen, Event as WireEvent, Link, Request, limits};
use zeroize::Zeroizing;

/// How long a receipt waits for company.
const RECEIPT_DELAY: Duration = Duration::from_millis(400);
/// How long closing waits for receipts to leave.
const CLOSING: Duration = Duration::from_secs(2);
const PING: Duration = Duration::from_secs(limits::IDLE_SECONDS / 3);
/// So many chats are compared with the server's logs at once, to find out whether this profile is an old copy.
const COMPARED: usize = 32;
/// Events and answers that are handled in one go.
const BATCH: usize = 512;

type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What the client's handle asks of the engine.
pub(crate) enum Command {
    /// Runs on the database, between two steps of the engine.
    Database(Box<dyn FnOnce(&mut Database) + Send>),
    /// Runs on the engine itself.
    Engine(Box<dyn FnOnce(&mut Engine) + Send>),
    /// Waits until the server has a message.
    Sent { id: MessageId, reply: Reply<Message> },
    /// Checks that a user exists.
    Find { username: String, reply: Reply<()> },
    /// Connects, and stays connected.
    GoOnline,
    /// Waits until everything that the server has is here.
    CaughtUp(Reply<()>),
    /// Whether the server is connected.
    Online(oneshot::Sender<bool>),
    /// The password, should this profile turn out to be an old copy.
    Password(Zeroizing<String>),
    /// Becomes another device of the account, where this one is none any more.
    LogInAgain(Zeroizing<String>, Reply<()>),
    /// Something about the backup.
    Backup(BackupCommand),
    /// Something about groups and rooms.
    Group(GroupCommand),
    /// When the server saw each device of the account; it knows of no others.
    DevicesSeen(Reply<Vec<DeviceSeen>>),
    /// A new listener.
    Listen(mpsc::UnboundedSender<Event>),
    /// This account as a revision of ours left it.
    ///
    /// `keys` are the account's new ones, if its identity was renewed.
    Revised { own: Box<Own>, rotations: Vec<Vec<u8>>, keys: Option<Arc<AccountKeys>>, reply: Reply<()> },
    /// Waits until every chat's group is as the device lists say.
    Settled(Reply<()>),
    /// Everything in a chat was seen.
    MarkRead { name: String, reply: Reply<()> },
    /// The safety number of this identity was compared, or that is taken back.
    SetVerified { username: String, fingerprint: [u8; 32], verified: bool, reply: Reply<()> },
    /// Accepts the identity that the server shows for a user.
    Trust { username: String, fingerprint: String, compared: bool, reply: Reply<()> },
    /// Ends the engine.
    Close(Reply<()>),
}

/// See the module.
pub(crate) struct Engine {
    db: Database,
    own: Own,
    link: Link,
    /// The way that the last connection went.
    door: Door,
    /// At which of the server's addresses the next connection begins.
    first: usize,
    commands: mpsc::UnboundedReceiver<Command>,
    listeners: Vec<mpsc::UnboundedSender<Event>>,
    reach: State,
    retries: ExponentialBackoff,
    /// Chats that have something in their outbox.
    dirty: BTreeSet<ChatId>,
    waiting_for_sent: HashMap<MessageId, Vec<Reply<Message>>>,
    waiting_for_caught_up: Vec<Reply<()>>,
    waiting_for_settled: Vec<Reply<()>>,
    /// Chats of which everything is to be at the server.
    waiting_for_flushed: Vec<(String, Reply<()>)>,
    /// Why messages failed that nobody has asked about yet.
    failures: HashMap<MessageId, Error>,
    /// Why there is no connection, if it was tried.
    trouble: Option<Error>,
    closing: Option<(Instant, Reply<()>)>,
    /// As its user has just given it, until it is certain that this profile is no old copy.
    password: Option<Zeroizing<String>>,
    backup: backup::Keeper,
    signals: signals::Signals,
    presence: presence::Presences,
    files: files::Files,
    /// When a message goes next.
    expiry: Option<Instant>,
    /// Whether something was deleted that the write-ahead log may still have.
    wipe: bool,
    wishes: wishes::Wishes,
    kept: kept::Kept,
    checked_lists: directory::CheckedLists,
    _lock: ProfileLock,
}

/// The end of an engine.
pub(crate) struct Ending {
    /// Disconnected when everything of the engine is gone.
    ended: std::sync::mpsc::Receiver<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Ending {
    /// Waits for the end, but not longer than that.
    pub(crate) fn wait(self, limit: Duration) {
        if self.ended.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Disconnected) {
            // Only what the libraries keep per thread is left to clean up. A panic has been reported there.
            let _ = self.thread.join();
        }
    }
}

impl Engine {
    /// Starts the engine on a thread of its own; it ends on `Close` or when all handles are gone.
    ///
    /// The second value says when the engine is gone and its thread is about to end.
    pub(crate) fn start(
        db: Database,
        own: Own,
        lock: ProfileLock,
        password: Option<Zeroizing<String>>,
    ) -> Result<(mpsc::UnboundedSender<Command>, Ending), Error> {
        let link: Link =
            own.server.parse().map_err(|error| Error::Storage(format!("the stored server link: {error}")))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::Storage(error.to_string()))?;
        let (handle, commands) = mpsc::unbounded_channel();
        let (running, ended) = std::sync::mpsc::channel();
        let backup = backup::Keeper::new(&own.device);
        let presence = presence::Presences::new(settings::is_on(&db, settings::PRESENCE)?);
        let engine = Self {
            dirty: outbox::chats(&db)?.into_iter().chain(store::commits::chats(&db)?).collect(),
            door: own::door(&db)?,
            // Devices spread over the addresses by their ids, which are random.
            first: own.device.first().copied().unwrap_or_default().into(),
            db,
            own,
            link,
            commands,
            listeners: Vec::new(),
            reach: State::Idle,
            retries: reaching::retries(),
            waiting_for_sent: HashMap::new(),
            waiting_for_caught_up: Vec::new(),
            waiting_for_settled: Vec::new(),
            waiting_for_flushed: Vec::new(),
            failures: HashMap::new(),
            trouble: None,
            closing: None,
            password,
            backup,
            signals: signals::Signals::default(),
            presence,
            files: files::Files::new(),
            expiry: None,
            wipe: false,
            wishes: wishes::Wishes::default(),
            kept: kept::Kept::default(),
            checked_lists: directory::CheckedLists::default(),
            _lock: lock,
        };
        let thread = std::thread::Builder::new()
            .name("waxwing-engine".into())
            .spawn(move || {
                runtime.block_on(engine.run());
                drop(runtime);
                drop(running);
            })
            .map_err(|error| Error::Storage(error.to_string()))?;
        Ok((handle, Ending { ended, thread }))
    }

    async fn run(mut self) {
        loop {
            match self.expire() {
                Ok(next) => self.expiry = next,
                Err(error) => tracing::warn!(%error, "messages that are to disappear"),
            }
            if let Err(error) = self.work().await {
                self.fail(error).await;
            }
            self.note_flushed();
            if let Some(reply) = self.closed().await {
                let done = store::checkpoint(&self.db);
                // Whoever hears of it may open the profile again.
                drop(self);
                drop(reply.send(done));
                return;
            }
            match self.next().await {
                Some(Wake::Command(command)) => self.handle(command).await,
                Some(Wake::Connected(outcome)) => {
                    let outcome = match *outcome {
                        Ok((connection, incoming)) => self.welcome_connection(connection, incoming).await,
                        Err(error) => Err(error),
                    };
                    if let Err(error) = outcome {
                        self.fail(error).await;
                    }
                }
                Some(Wake::Network(incoming, answers)) => {
                    if let Err(error) = self.take_in(incoming, answers).await {
                        self.fail(error).await;
                    }
                }
                Some(Wake::Backup(tag, answer)) => {
                    if let Err(error) = self.backup_answered(tag, answer).await {
                        self.fail(error).await;
                    }
                }
                Some(Wake::File(note)) => {
                    if let Err(error) = self.note_file(note) {
                        tracing::warn!(%error, "a file");
                    }
                }
                Some(Wake::Timer) => {
                    if matches!(self.reach, State::Waiting(_)) {
                        self.connect();
                    }
                }
                None => return,
            }
        }
    }

    /// Everything that can be done now: fetching what is behind, then sending what waits.
    async fn work(&mut self) -> Result<(), Error> {
        loop {
            let State::Online(online) = &mut self.reach else { return Ok(()) };
            if online.restock {
                self.restock().await?;
            } else if online.inbox_due {
                self.fetch_inbox().await?;
            } else if online.conversations_due {
                self.fetch_conversations().await?;
                self.join_default_room().await?;
            } else if let Some(after) = online.heads_due {
                self.fetch_heads(after).await?;
            } else if let Some(chat) = online.behind.first().copied() {
                self.fetch(chat).await?;
            } else {
                self.note_caught_up();
                self.keep_time().await?;
                self.keep_history()?;
                self.keep_files().await?;
                self.send_dirty().await?;
                self.tend_presence()?;
                self.send_signals().await?;
                self.note_settled()?;
                match &self.reach {
                    // Sending has found something to fetch.
                    State::Online(online) if online.is_behind() => {}
                    _ => return self.keep_backup().await,
                }
            }
            // A long catching-up must not keep the user waiting.
            while let Ok(command) = self.commands.try_recv() {
                self.handle(command).await;
            }
            if self.closing.is_some() {
                self.keep_time().await?;
                self.send_dirty().await?;
                self.send_signals().await?;
                return self.keep_backup().await;
            }
        }
    }

    /// Waits for whatever happens next; `None` when all handles are gone.
    async fn next(&mut self) -> Option<Wake> {
        let deadline = self.deadline();
        let timer = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
        };
        match &mut self.reach {
            State::Online(online) => tokio::select! {
                command = self.commands.recv() => command.map(Wake::Command),
                incoming = online.incoming.recv() => Some(online.collect(incoming, None)),
                answer = online.answers.recv() => Some(online.collect(None, answer)),
                answer = self.backup.answers.recv() => answer.map(|(tag, answer)| Wake::Backup(tag, answer)),
                note = self.files.notes.recv() => note.map(Wake::File),
                () = timer => Some(Wake::Timer),
            },
            State::Connecting(connecting) => tokio::select! {
                command = self.commands.recv() => command.map(Wake::Command),
                outcome = connecting => Some(Wake::Connected(Box::new(outcome))),
                note = self.files.notes.recv() => note.map(Wake::File),
                () = timer => Some(Wake::Timer),
            },
            State::Idle | State::Waiting(_) => tokio::select! {
                command = self.commands.recv() => command.map(Wake::Command),
                note = self.files.notes.recv() => note.map(Wake::File),
                () = timer => Some(Wake::Timer),
            },
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let reach = match &self.reach {
            State::Waiting(at) => Some(*at),
            State::Online(online) => {
                let retries = online.lanes.values().filter_map(sending::Lane::retry_at);
                let changes = online.unsettled.values().filter_map(membership::Pace::at);
                retries
                    .chain(changes)
                    .chain(online.receipts_at)
                    .chain([online.ping_at, online.update_at])
                    .chain(self.backup.deadline())
                    .chain(self.telling_at())
                    .chain(self.presence.deadline())
                    .chain(self.files.deadline())
                    .min()
            }
            State::Idle | State::Connecting(_) => None,
        };
        let closing = self.closing.as_ref().map(|(at, _)| *at);
        reach.into_iter().chain(closing).chain(self.expiry).min()
    }

    async fn handle(&mut self, command: Command) {
        match command {
            Command::Database(work) => work(&mut self.db),
            Command::Engine(work) => work(self),
            Command::Sent { id, reply } => self.await_sent(id, reply),
            Command::Find { username, reply } => {
                let found = self.find(&username).await;
                drop(reply.send(found));
            }
            Command::GoOnline => {
                if matches!(self.reach, State::Idle | State::Waiting(_)) {
                    self.connect();
                }
            }
            Command::CaughtUp(reply) => match &self.reach {
                State::Online(online) if online.caught_up => drop(reply.send(Ok(()))),
                State::Idle | State::Waiting(_) => drop(reply.send(Err(self.offline()))),
                _ => self.waiting_for_caught_up.push(reply),
            },
            Command::Online(reply) => drop(reply.send(matches!(self.reach, State::Online(_)))),
            Command::Password(password) => self.password = Some(password),
            Command::LogInAgain(password, reply) => {
                let done = self.log_in_again(&password).await;
                drop(reply.send(done));
            }
            Command::Backup(command) => self.handle_backup(command),
            Command::Group(command) => self.handle_group(command).await,
            Command::DevicesSeen(reply) => drop(reply.send(self.devices_seen().await)),
            Command::Listen(listener) => self.listeners.push(listener),
            Command::MarkRead { name, reply } => drop(reply.send(self.mark_read(&name))),
            Command::SetVerified { username, fingerprint, verified, reply } => {
                drop(reply.send(self.set_verified(&username, fingerprint, verified)));
            }
            Command::Trust { username, fingerprint, compared, reply } => {
                drop(reply.send(self.trust(&username, &fingerprint, compared)));
            }
            Command::Revised { own, rotations, keys, reply } => {
                drop(reply.send(self.revised(*own, &rotations, keys.as_deref())));
            }
            Command::Settled(reply) => match &self.reach {
                State::Idle | State::Waiting(_) => drop(reply.send(Err(self.offline()))),
                _ => self.waiting_for_settled.push(reply),
            },
            Command::Close(reply) => {
                self.closing = Some((Instant::now() + CLOSING, reply));
                if let State::Online(online) = &mut self.reach {
                    online.receipts_at = Some(Instant::now());
                }
                if let Err(error) = self.set_presence(crate::Presence::Gone) {
                    tracing::warn!(%error, "telling that the user goes");
                }
                if let Err(error) = self.hurry_backup() {
                    tracing::warn!(%error, "the backup");
                }
            }
        }
    }

    /// Whether it is time to end; if so, everything is put away.
    async fn closed(&mut self) -> Option<Reply<()>> {
        let (deadline, _) = self.closing.as_ref()?;
        if let State::Online(online) = &self.reach {
            let busy = online.receipts_at.is_some() || online.lanes.values().any(|lane| !lane.is_quiet());
            if (busy || self.backup.is_storing() || self.files.is_dropping()) && *deadline > Instant::now() {
                return None;
            }
            // Its answer comes behind everything that was posted without waiting.
            drop(timeout_at(*deadline, online.connection.call(Request::Ping)).await);
        }
        self.reach = State::Idle;
        self.closing.take().map(|(_, reply)| reply)
    }

    fn tell(&mut self, event: &Event) {
        let deleted = |message: &Message| matches!(message.content, Content::Deleted { .. });
        self.wipe |= match event {
            Event::Gone { .. } => true,
            Event::Changed(message) => deleted(message),
            _ => false,
        };
        if matches!(event, Event::Changed(_)) {
            // The backup has it as it was.
            self.backup.note_messages(1);
        }
        self.listeners.retain(|listener| listener.send(event.clone()).is_ok());
    }

    /// Pings and receipts that are due.
    async fn keep_time(&mut self) -> Result<(), Error> {
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        let now = Instant::now();
        if online.ping_at <= now {
            online.ping_at = now + PING;
            online.connection.post(Request::Ping, (0, 0), &online.nobody).await;
        }
        for lane in online.lanes.values_mut() {
            lane.keep_time(now);
        }
        self.dirty.extend(membership::come_due(&mut online.unsettled, now));
        if online.receipts_at.is_some_and(|at| at <= now) {
            online.receipts_at = None;
            self.queue_receipts()?;
            self.queue_read_receipts()?;
            self.queue_read_positions()?;
        }
        self.plan_updates(now)
    }

    /// Takes in what came over the network, chat by chat.
    async fn take_in(&mut self, incoming: Vec<Incoming>, answers: Vec<(Tag, Answer)>) -> Result<(), Error> {
        let mut touched = BTreeSet::new();
        let mut ended = None;
        if let State::Online(online) = &mut self.reach {
            online.asked = None;
        }
        for (tag, answer) in answers {
            self.answered(tag, answer)?;
            touched.insert(tag.0);
        }
        for incoming in incoming {
            let State::Online(online) = &mut self.reach else { break };
            match incoming {
                Incoming::Closed(reason) => ended = Some(Error::ConnectionLost(reason)),
                Incoming::Event(WireEvent::Draining) => {}
                Incoming::Event(WireEvent::Announcement { text, time_ms }) => {
                    // What is longer, no honest server says.
                    if text.len() <= limits::ANNOUNCEMENT {
                        self.tell(&Event::Announcement { text, time_ms });
                    }
                }
                Incoming::Event(WireEvent::Behind) => (online.inbox_due, online.heads_due) = (true, Some(None)),
                Incoming::Event(WireEvent::Signal { conversation, payload }) => {
                    self.take_signal(&conversation.0, &payload.0)?;
                }
                Incoming::Event(WireEvent::Inbox(_)) => online.inbox_due = true,
                Incoming::Event(WireEvent::Entry { conversation, entry }) => {
                    // A chat that is not here yet begins with its welcome, which the inbox has.
                    if let Some(row) = chats::by_conversation(&self.db, &conversation.0)? {
                        online.lane(row.chat).heard(entry);
                        touched.insert(row.chat);
                    }
                }
            }
        }
        for chat in touched {
            self.advance(chat).await?;
        }
        ended.map_or(Ok(()), Err)
    }
}
