//! A device of a simulation: the engine's own rows and rules, with a queue for a connection and a stand-in for MLS.
//!
//! What is here glues them together as the engine does it around its sockets; each durable step may be its last.

mod reading;

use super::{
    super::{
        Ahead, order,
        sending::Lane,
        submission::{self, Due, Meaning, Recovery},
    },
    Plant, Violation,
    cipher::{Group, Members},
    server::{Ask, Heard, Server, Wire, handshake, welcome},
};
use crate::{
    Content, Error, MessageId, MessageState,
    store::{
        self,
        chats::{self, ChatId, ChatRow, Phase},
        commits, messages, outbox,
        own::Own,
    },
};
use rusqlite::Connection as Database;
use std::collections::VecDeque;
use waxwing_e2ee::content::{self, Body};
use waxwing_protocol::{ConversationId, InboxItem, Request, encode};

/// What lives as long as one connection.
#[derive(Default)]
struct Line {
    lane: Lane,
    /// The log has to be fetched.
    behind: bool,
    /// A page was asked for: nothing else is handled until it is there.
    fetching: bool,
    inbox_due: bool,
    inbox_asked: bool,
    inbox_seq: u64,
    /// What came while a page was waited for.
    held: VecDeque<Heard>,
    /// Welcomes, up to whose places has to be read first, and where the cursor was when that was tried.
    welcomes: VecDeque<(InboxItem, Option<u64>)>,
}

pub(super) struct Device {
    pub(super) number: u8,
    pub(super) chat: ChatId,
    /// What this row's conversation is called; the rows of all devices stand in one database.
    conversation: [u8; 16],
    /// As durable as the rows.
    pub(super) group: Option<Group>,
    line: Option<Line>,
    written: u16,
}

/// Why a step did not become durable.
enum Stop {
    Killed,
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

/// Whoever uses the database.
pub(super) struct Bench<'a, 's> {
    pub(super) db: &'a mut Database,
    pub(super) own: &'a Own,
    pub(super) server: &'a mut Server<'s>,
    pub(super) plant: Plant,
}

fn broken(what: &str, error: &Error) -> Violation {
    Violation(format!("{what}: {error}"))
}

fn conversation_of(number: u8) -> [u8; 16] {
    [0xc0 + number; 16]
}

/// The author's name of what a device writes: each is a user of its own here, so that all can be told apart.
pub(super) fn author(number: u8) -> String {
    format!("device{number}")
}

impl Device {
    /// One that is in the conversation from its beginning on.
    pub(super) fn new(db: &Database, number: u8, beginning: &[u8]) -> Self {
        let chat = chats::ensure(db, &author(number)).unwrap().chat;
        let conversation = conversation_of(number);
        chats::set_active(db, chat, &conversation, 1, 1).unwrap();
        if number == 0 {
            order::begin(db, chat, 1, Some(order::entry_hash(beginning))).unwrap();
        }
        let group = Some(Group::new(number, 1, super::server::EVERYBODY));
        Self { number, chat, conversation, group, line: None, written: 0 }
    }

    pub(super) fn row(&self, db: &Database) -> ChatRow {
        chats::load(db, self.chat).unwrap()
    }

    /// The connection is lost, or the process has died: what is not durable is gone.
    pub(super) fn drop_line(&mut self, server: &mut Server<'_>) {
        self.line = None;
        server.wires[usize::from(self.number)] = None;
    }

    pub(super) fn is_online(&self) -> bool {
        self.line.is_some()
    }

    pub(super) fn connect(&mut self, bench: &mut Bench<'_, '_>) -> Result<(), Violation> {
        if bench.plant == Plant::SealsAnew
            && let Some(lowest) = outbox::lowest_sealed(bench.db, self.chat).unwrap()
        {
            outbox::unseal(bench.db, self.chat, lowest).unwrap();
            chats::set_number(bench.db, self.chat, lowest - 1).unwrap();
        }
        let line = Line { behind: true, inbox_due: true, ..Line::default() };
        self.line = Some(line);
        bench.server.wires[usize::from(self.number)] = Some(Wire::default());
        self.work(bench, false)
    }

    /// The user writes something.
    pub(super) fn write(&mut self, bench: &mut Bench<'_, '_>, killed: bool) -> Result<(), Violation> {
        self.written += 1;
        let mut id = [self.number; 16];
        id[..2].copy_from_slice(&self.written.to_be_bytes());
        let text = format!("{} {}", self.number, self.written);
        let said = content::Content { id, sent_at_ms: 1, body: Body::Text(text.clone()), seen: None, lifetime: None };
        let encoded = content::encode(&said).unwrap();
        let author = author(self.number);
        let new = messages::NewMessage {
            chat: self.chat,
            id: MessageId(id),
            author: &author,
            mine: true,
            seq: None,
            sent_at: 1,
            received_at: 1,
            content: &Content::Text(text),
            state: &MessageState::Queued,
            reply_to: None,
            lifetime: None,
        };
        self.durably(bench, "queue", killed, |tx, device, _| {
            let position = messages::insert(tx, &new)?;
            Ok(outbox::push(tx, device.chat, &encoded, Some(position))?)
        })?;
        self.work(bench, false)
    }

    /// One step as the engine takes it: all of it, or nothing and the process has died.
    fn durably<T>(
        &mut self,
        bench: &mut Bench<'_, '_>,
        name: &str,
        killed: bool,
        work: impl FnOnce(&Database, &mut Self, &Own) -> Result<T, Stop>,
    ) -> Result<Option<T>, Violation> {
        let group = self.group.clone();
        let done = store::step(name, bench.db, |tx| {
            let value = work(tx, self, bench.own)?;
            if killed { Err(Stop::Killed) } else { Ok(value) }
        });
        match done {
            Ok(value) => Ok(Some(value)),
            Err(stop) => {
                self.group = group;
                match stop {
                    Stop::Killed => {
                        self.drop_line(bench.server);
                        Ok(None)
                    }
                    Stop::Failed(error) => Err(broken(name, &error)),
                }
            }
        }
    }

    /// Whether a commit may be the next thing that happens.
    fn may_commit(&self, db: &Database) -> bool {
        let quiet = self.line.as_ref().is_some_and(|line| {
            line.lane.synced && !line.behind && !line.fetching && line.lane.is_quiet() && line.lane.ahead.is_empty()
        });
        quiet
            && self.row(db).phase == Phase::Active
            && commits::find(db, self.chat).unwrap().is_none()
            && outbox::lowest_sealed(db, self.chat).unwrap().is_none()
    }

    /// Changes who is in: whoever is out comes in, whoever is in goes, or starts anew.
    pub(super) fn commit(
        &mut self,
        bench: &mut Bench<'_, '_>,
        other: Option<u8>,
        anew: bool,
        killed: bool,
    ) -> Result<(), Violation> {
        let members = self.group.as_ref().map_or(0, |group| group.members);
        let (removed, added): (Members, Members) = match other.filter(|other| *other != self.number) {
            Some(other) if members & (1 << other) == 0 => (0, 1 << other),
            Some(other) if anew => (1 << other, 1 << other),
            Some(other) => (1 << other, 0),
            None => (0, 0),
        };
        if !self.may_commit(bench.db) || members == 0 {
            return Ok(());
        }
        let then = (members & !removed) | added;
        self.durably(bench, "commit", killed, |tx, device, _| {
            let row = chats::load(tx, device.chat)?;
            let Some(group) = &mut device.group else { return Ok(()) };
            let bytes = group.prepare(removed, added);
            let handshake = handshake(bytes, (removed, added), welcome(then));
            let (number, commits) = (row.number + 1, row.commits);
            let conversation = ConversationId(device.conversation);
            let request = Request::Commit { conversation, number, commits, handshake: Box::new(handshake) };
            commits::insert(tx, device.chat, number, &encode(&request).0)?;
            Ok(chats::set_number(tx, device.chat, number)?)
        })?;
        self.work(bench, false)
    }

    /// Sends what may go: the engine's `send_dirty`.
    pub(super) fn work(&mut self, bench: &mut Bench<'_, '_>, killed: bool) -> Result<(), Violation> {
        let chat = self.chat;
        loop {
            let (Some(line), Some(wire)) = (&mut self.line, bench.server.wire(self.number)) else { return Ok(()) };
            if line.fetching {
                return Ok(());
            }
            if line.inbox_due && !line.inbox_asked && line.welcomes.is_empty() {
                wire.to_server.push_back(Ask::FetchInbox { after: line.inbox_seq });
                line.inbox_asked = true;
            }
            let row = chats::load(bench.db, chat).unwrap();
            if row.phase != Phase::Active {
                line.behind = false;
                return Ok(());
            }
            if line.behind || !line.lane.synced {
                (line.behind, line.fetching) = (true, true);
                wire.to_server.push_back(Ask::Fetch { after: row.cursor });
                return Ok(());
            }
            let submission = &mut line.lane.submission;
            match submission.recover(bench.db, &row, line.behind).map_err(|error| broken("recover", &error))? {
                // Time passes.
                Recovery::Done | Recovery::StillStale | Recovery::Full(..) => {}
                Recovery::NotYet => return Ok(()),
            }
            if let Some(commit) = commits::find(bench.db, chat).unwrap()
                && submission.commit_is_due(bench.db, chat, commit.number).unwrap()
            {
                let request = minicbor::decode(&commit.request).unwrap();
                let Request::Commit { number, commits, handshake, .. } = request else {
                    return Err(Violation("no commit was stored".into()));
                };
                wire.to_server.push_back(Ask::Commit { number, commits, handshake });
                submission.left(number);
            }
            let open = commits::find(bench.db, chat).unwrap().is_none();
            match submission.due(bench.db, chat).map_err(|error| broken("due", &error))? {
                Due::Nothing => return Ok(()),
                Due::Rows(rows) => {
                    for row in rows {
                        wire.to_server.push_back(Ask::Send {
                            number: row.number,
                            commits: row.commits,
                            payload: row.wire,
                        });
                        submission.left(row.number);
                    }
                }
                Due::Room(room) => {
                    let sealed = open.then(|| {
                        self.durably(bench, "seal", killed, |tx, device, _| {
                            // What was given out again stands in the row since.
                            let row = chats::load(tx, device.chat)?;
                            let Some(group) = &mut device.group else { return Ok(false) };
                            Ok(submission::seal(tx, &row, room, |content| Ok(group.encrypt(content)))?)
                        })
                    });
                    if !matches!(sealed.transpose()?, Some(Some(true))) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Handles the next things that have come; dies before what they did is durable if `killed`.
    pub(super) fn hear(&mut self, bench: &mut Bench<'_, '_>, count: usize, killed: bool) -> Result<bool, Violation> {
        let mut heard_any = false;
        for _ in 0..count {
            let (Some(line), Some(wire)) = (&mut self.line, bench.server.wire(self.number)) else { break };
            let next = match line.fetching {
                false => line.held.pop_front().or_else(|| wire.to_client.pop_front()),
                true => wire.to_client.pop_front(),
            };
            let Some(heard) = next else { break };
            heard_any = true;
            match heard {
                Heard::Page(page) => {
                    line.fetching = false;
                    self.page(bench, page, killed)?;
                }
                other if line.fetching => line.held.push_back(other),
                Heard::Answer(number, answer) => {
                    let meaning = line.lane.submission.answered(bench.db, self.chat, number, answer);
                    self.heed(bench, number, meaning.map_err(|error| broken("an answer", &error))?)?;
                }
                Heard::Entry(entry) => line.lane.heard(entry),
                Heard::News => line.inbox_due = true,
                Heard::Inbox(items) => {
                    (line.inbox_asked, line.inbox_due) = (false, !items.is_empty());
                    for item in items {
                        self.item(bench, item)?;
                    }
                }
            }
        }
        self.advance(bench, killed)?;
        self.take_welcome(bench, killed)?;
        self.work(bench, false)?;
        Ok(heard_any)
    }

    /// The engine's `answered`.
    fn heed(&mut self, bench: &mut Bench<'_, '_>, number: u64, meaning: Meaning) -> Result<(), Violation> {
        let Some(line) = &mut self.line else { return Ok(()) };
        match meaning {
            Meaning::Placed(seq) => drop(line.lane.ahead.insert(seq, Ahead::Own { number })),
            Meaning::Settled(_) | Meaning::Again | Meaning::Full | Meaning::Later(..) => {}
            Meaning::CommitSettled => {
                self.durably(bench, "settled", false, |tx, device, _| {
                    device.group.iter_mut().for_each(Group::accepted);
                    Ok(commits::delete(tx, device.chat)?)
                })?;
            }
            Meaning::Behind => line.behind = true,
            // The list of conversations says that this device is out.
            Meaning::Unknown(_) => self.go_outside(bench.db),
            Meaning::CommitRefused(_, expected) => {
                let row = chats::load(bench.db, self.chat).unwrap();
                line.lane.submission.commit_refused(row.commits);
                if let Some(expected) = expected {
                    line.lane.submission.reseal(expected);
                }
                line.behind = true;
                self.durably(bench, "commit-refused", false, |tx, device, _| {
                    device.group.iter_mut().for_each(Group::rejected);
                    commits::delete(tx, device.chat)?;
                    Ok(chats::set_number(tx, device.chat, number.saturating_sub(1))?)
                })?;
            }
            Meaning::Failed(_, error) => return Err(broken("a message failed", &error)),
        }
        Ok(())
    }

    fn go_outside(&mut self, db: &Database) {
        chats::set_waiting(db, self.chat, &self.conversation).unwrap();
        self.group = None;
        if let Some(line) = &mut self.line {
            line.behind = false;
            line.lane.ahead.clear();
        }
    }

    /// Whether nothing of it waits and all is read.
    pub(super) fn is_at_rest(&self, db: &Database, head: u64) -> bool {
        let row = self.row(db);
        let quiet = self.line.as_ref().is_some_and(|line| {
            line.lane.synced && !line.behind && !line.fetching && line.lane.is_quiet() && line.welcomes.is_empty()
        });
        quiet
            && row.phase == Phase::Active
            && row.cursor == head
            && outbox::is_empty(db, self.chat).unwrap()
            && commits::find(db, self.chat).unwrap().is_none()
    }
}

fn acknowledge_inbox(server: &mut Server<'_>, device: u8, seq: u64) {
    if let Some(wire) = server.wire(device) {
        wire.to_server.push_back(Ask::AcknowledgeInbox { seq });
    }
}
