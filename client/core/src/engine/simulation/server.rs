//! The server of a simulation: its real store, a queue of requests and one of answers per device, and the truth about its log.

use super::{
    Fate, Plant, Violation,
    cipher::{Inside, Members, Sealed},
};
use crate::transport::{Answer, CallError};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use waxwing_protocol::{
    Bytes, ConversationId, ConversationKind, DeviceId, Entry, ErrorCode, Handshake, InboxItem, Page, Refusal, Response,
    Welcome,
};
use waxwing_server::store::{
    AccountId, Append, AppendBody, AppendOutcome, CreateOutcome, NewConversation, SignUpOutcome,
    conformance::{Published, START_MS, enrolment, new_account, new_device, username},
    sqlite::direct::DirectStore,
};

pub(super) const DEVICES: u8 = 4;
pub(super) const EVERYBODY: Members = (1 << DEVICES) - 1;
const CONVERSATION: ConversationId = ConversationId([7; 16]);

/// What a device asks.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Send { number: u64, commits: u64, payload: Vec<u8> },
    Commit { number: u64, commits: u64, handshake: Box<Handshake> },
    Fetch { after: u64 },
    Acknowledge { seq: u64 },
    FetchInbox { after: u64 },
    AcknowledgeInbox { seq: u64 },
}

/// What a device hears.
#[derive(Debug)]
pub(super) enum Heard {
    Answer(u64, Answer),
    Page(Option<Page>),
    Inbox(Vec<InboxItem>),
    Entry(Entry),
    News,
}

/// Both ways of a connection.
#[derive(Default)]
pub(super) struct Wire {
    pub(super) to_server: VecDeque<Ask>,
    pub(super) to_client: VecDeque<Heard>,
}

pub(super) struct Server<'a> {
    store: &'a mut DirectStore,
    pub(super) now_ms: u64,
    /// By device; none while it is not connected.
    pub(super) wires: Vec<Option<Wire>>,
    /// All that was ever committed to the log, from seq 1 on.
    pub(super) log: Vec<Sealed>,
    /// Which bytes each (epoch, device, generation) has had.
    secrets: BTreeMap<(u64, u8, u64), Vec<u8>>,
    /// By device, the places that it may never see: they expired, or it came in anew behind them.
    pub(super) excused: Vec<BTreeSet<u64>>,
    /// Whether anything has expired.
    pub(super) expired: bool,
    plant: Plant,
}

pub(super) fn id(device: u8) -> DeviceId {
    DeviceId([device + 1; 16])
}

fn bits(members: Members) -> Vec<DeviceId> {
    (0..DEVICES).filter(|device| members & (1 << device) != 0).map(id).collect()
}

/// A database with two accounts of two devices each, and the first of the accounts.
pub(super) fn database() -> (DirectStore, AccountId) {
    let mut store = DirectStore::in_memory().unwrap();
    let accounts = [("alice", 0), ("bob", 2)].map(|(name, device)| {
        let outcome = store.create_account(&new_account(name, device + 1)).unwrap();
        let SignUpOutcome::Created(account) = outcome else { panic!("{outcome:?}") };
        store.enrol_device(&enrolment(account, new_device(device + 2), 2, b"list".to_vec())).unwrap();
        account
    });
    (store, accounts[0])
}

/// A commit as it leaves.
pub(super) fn handshake(commit: Vec<u8>, (removed, added): (Members, Members), welcome: Vec<u8>) -> Handshake {
    let welcome = Welcome { recipients: bits(added), payload: welcome.into() };
    Handshake {
        commit: commit.into(),
        welcome: (added != 0).then_some(welcome),
        removed: bits(removed),
        group_info: None,
        roster: None,
    }
}

impl<'a> Server<'a> {
    /// All devices are in one conversation.
    pub(super) fn new(store: &'a mut DirectStore, account: AccountId, plant: Plant) -> Self {
        store.forget_conversations().unwrap();
        let commit =
            Sealed { device: 0, epoch: 0, generation: 0, inside: Inside::Commit { removed: 0, added: EVERYBODY & !1 } };
        let welcome = handshake(commit.to_bytes(), (0, EVERYBODY & !1), b"the first".to_vec());
        let created = store.create_conversation(&NewConversation {
            account,
            creator: id(0),
            id: CONVERSATION,
            kind: ConversationKind::Direct(username("bob")),
            handshake: Some(welcome),
            replaces: None,
            members: 250,
            now_ms: START_MS,
        });
        assert_eq!(created.unwrap().0, CreateOutcome::Created { seq: 1 });
        for device in 0..DEVICES {
            let items = store.fetch_inbox(id(device), 0).unwrap();
            items.last().into_iter().for_each(|last| store.acknowledge_inbox(id(device), last.seq).unwrap());
        }
        let devices = usize::from(DEVICES);
        Self {
            store,
            now_ms: START_MS,
            wires: (0..devices).map(|_| None).collect(),
            log: vec![commit],
            secrets: BTreeMap::new(),
            excused: vec![BTreeSet::new(); devices],
            expired: false,
            plant,
        }
    }

    pub(super) fn wire(&mut self, device: u8) -> Option<&mut Wire> {
        self.wires[usize::from(device)].as_mut()
    }

    pub(super) fn head(&self) -> u64 {
        self.log.len() as u64
    }

    /// Handles the next request of a device; says whether there was one. `cursors` are how far each device has read.
    pub(super) fn serve(&mut self, device: u8, fate: Fate, cursors: &[u64]) -> Result<bool, Violation> {
        let Some(ask) = self.wire(device).and_then(|wire| wire.to_server.pop_front()) else { return Ok(false) };
        let heard = match ask {
            Ask::Send { number, commits, payload } => {
                let body = AppendBody::Application(payload.into());
                self.append(device, (number, commits), body, fate, cursors)?
            }
            Ask::Commit { number, commits, handshake } => {
                self.append(device, (number, commits), AppendBody::Commit(handshake), fate, cursors)?
            }
            Ask::Fetch { after } => Some(Heard::Page(self.store.fetch(id(device), CONVERSATION, after).unwrap())),
            Ask::FetchInbox { after } => Some(Heard::Inbox(self.store.fetch_inbox(id(device), after).unwrap())),
            Ask::Acknowledge { seq } => {
                if fate != Fate::DiesBefore {
                    self.store.acknowledge(id(device), CONVERSATION, seq).unwrap();
                }
                None
            }
            Ask::AcknowledgeInbox { seq } => {
                if fate != Fate::DiesBefore {
                    self.store.acknowledge_inbox(id(device), seq).unwrap();
                }
                None
            }
        };
        let lies = self.plant == Plant::AnswersBeforeCommit && fate == Fate::DiesBefore;
        if fate == Fate::DiesBefore || fate == Fate::DiesAfter {
            let liar = if lies { self.wires[usize::from(device)].take() } else { None };
            self.restart();
            self.wires[usize::from(device)] = liar;
        }
        if let (Some(heard), Some(wire)) = (heard, self.wire(device)) {
            wire.to_client.push_back(heard);
        }
        Ok(true)
    }

    /// The process is another one: every connection is gone.
    pub(super) fn restart(&mut self) {
        self.store.restart();
        self.wires.iter_mut().for_each(|wire| *wire = None);
    }

    /// Forgets all entries but so many.
    pub(super) fn expire(&mut self, cursors: &[u64]) {
        if self.store.expire(self.now_ms).unwrap() == 0 {
            return;
        }
        self.expired = true;
        let head = self.head();
        for (excused, cursor) in self.excused.iter_mut().zip(cursors) {
            excused.extend(cursor + 1..=head);
        }
    }

    fn append(
        &mut self,
        device: u8,
        (number, commits): (u64, u64),
        body: AppendBody,
        fate: Fate,
        cursors: &[u64],
    ) -> Result<Option<Heard>, Violation> {
        let mut append = Append {
            device: id(device),
            conversation: CONVERSATION,
            number,
            commits,
            body,
            members: 250,
            now_ms: self.now_ms,
        };
        if fate == Fate::DiesBefore {
            let outcome = self.store.append_and_die(&append).unwrap();
            return Ok(Some(Heard::Answer(number, answer(outcome))));
        }
        let mut outcome = self.take(&append, cursors)?;
        match outcome {
            AppendOutcome::Stale { commits } if self.plant == Plant::TakesStale => {
                append.commits = commits;
                outcome = self.take(&append, cursors)?;
            }
            AppendOutcome::Accepted { seq, .. } if self.plant == Plant::ForgetsNumbers && seq < self.head() => {
                let wrong = Append { number: u64::MAX >> 2, ..append.clone() };
                if let AppendOutcome::OutOfOrder { expected } = self.take(&wrong, cursors)? {
                    append.number = expected;
                    outcome = self.take(&append, cursors)?;
                }
            }
            _ => {}
        }
        if fate == Fate::Twice {
            let again = self.take(&append, cursors)?;
            if matches!(outcome, AppendOutcome::Accepted { .. }) && again != outcome {
                return Err(Violation(format!("the same request became {outcome:?} and {again:?}")));
            }
        }
        Ok(Some(Heard::Answer(number, answer(outcome))))
    }

    /// Commits it, and lets those hear of it who are connected.
    fn take(&mut self, append: &Append, cursors: &[u64]) -> Result<AppendOutcome, Violation> {
        let (outcome, published) = self.store.append(append).unwrap();
        if let AppendOutcome::Accepted { seq, .. } = outcome
            && seq == self.head() + 1
        {
            self.note(append, seq, cursors)?;
        }
        for one in published {
            match one {
                Published::Entry(recipients, _, entry) => {
                    for device in (0..DEVICES).filter(|device| recipients.contains(&id(*device))) {
                        if let Some(wire) = self.wire(device) {
                            wire.to_client.push_back(Heard::Entry(entry.clone()));
                        }
                    }
                }
                Published::Inbox(to, _) => {
                    for device in (0..DEVICES).filter(|device| id(*device) == to) {
                        if let Some(wire) = self.wire(device) {
                            wire.to_client.push_back(Heard::News);
                        }
                    }
                }
            }
        }
        Ok(outcome)
    }

    fn note(&mut self, append: &Append, seq: u64, cursors: &[u64]) -> Result<(), Violation> {
        let bytes = append.body.payload().0.clone();
        let sealed = Sealed::from_bytes(&bytes).ok_or_else(|| Violation("no ciphertext".into()))?;
        let secret = (sealed.epoch, sealed.device, sealed.generation);
        if let Some(before) = self.secrets.insert(secret, bytes.clone()) {
            let what =
                if before == bytes { "one ciphertext stands at two places" } else { "one secret, two ciphertexts" };
            return Err(Violation(format!("{what}: {secret:?} at {seq}")));
        }
        if let Inside::Commit { added, .. } = sealed.inside {
            for device in (0..DEVICES).filter(|device| added & (1 << device) != 0) {
                let device = usize::from(device);
                // What it had not read when it came in anew it will not see; it must be marked.
                self.excused[device].extend(cursors[device] + 1..=seq);
            }
        }
        self.log.push(sealed);
        Ok(())
    }
}

/// As the handler of the server answers.
fn answer(outcome: AppendOutcome) -> Answer {
    Err(CallError::Refused(match outcome {
        AppendOutcome::Accepted { seq, time_ms } => return Ok(Response::Accepted { seq, time_ms }),
        AppendOutcome::Stale { commits } => Refusal::numbered(ErrorCode::Stale, commits),
        AppendOutcome::OutOfOrder { expected } => Refusal::numbered(ErrorCode::OutOfOrder, expected),
        AppendOutcome::UnknownConversation => ErrorCode::UnknownConversation.into(),
        AppendOutcome::BadRecipients | AppendOutcome::TooManyMembers => ErrorCode::BadRequest.into(),
        AppendOutcome::Busy { retry_after_ms } => Refusal::retry_after(ErrorCode::Busy, retry_after_ms),
    }))
}

/// What a welcome says here: who is in.
pub(super) fn welcome(members: Members) -> Vec<u8> {
    vec![members]
}

/// Reads it.
pub(super) fn welcomed(payload: &Bytes) -> Option<Members> {
    payload.0.first().copied()
}
