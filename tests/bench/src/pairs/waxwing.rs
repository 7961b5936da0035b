//! The server's language: accounts that are made for the load, a direct conversation for each pair, opaque payloads.
//!
//! To the server these are messages like any others; no client could read them.

use super::{Load, Opener, Speech};
use crate::wire::{Account, Connection, Device, Endpoint, Peer};
use anyhow::{Context as _, Result, bail};
use minicbor::Decoder;
use std::sync::Arc;
use tokio::sync::Semaphore;
use waxwing_protocol::{
    Admission, ClientFrame, ConversationId, ConversationKind, CreateConversation, Event, Handshake, KdfParameters,
    Request, Response, Secret, ServerFrame, SignUp, Welcome, decode_server_frame,
};

/// Sign-ups at a time: each costs the server two Argon2id.
const SIGN_UPS: usize = 8;
/// A device acknowledges after so many messages, its own ones too: it says what may be deleted, which is not urgent.
const ACKNOWLEDGE_EVERY: u64 = 32;
/// The number of the request by which it does: messages never come so far.
const ACKNOWLEDGEMENT: u32 = u32::MAX;

/// Opens pairs at a server.
#[derive(Clone)]
pub(crate) struct ToServer {
    endpoint: Endpoint,
    admission: Admission,
    /// What the accounts' names begin with.
    run: String,
    turns: Arc<Semaphore>,
}

impl ToServer {
    /// `invite` is that of the link.
    pub(crate) fn new(endpoint: Endpoint, invite: Option<&str>) -> Result<Self> {
        let mut random = [0; 5];
        getrandom::fill(&mut random)?;
        let run = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let admission = invite.map_or(Admission::Open, |code| Admission::Invite(code.to_owned()));
        Ok(Self { endpoint, admission, run, turns: Arc::new(Semaphore::new(SIGN_UPS)) })
    }

    /// A connection of a new account, whose device is signed in on it.
    pub(crate) async fn account(&self, name: &str) -> Result<(Peer, Account)> {
        let _turn = self.turns.acquire().await?;
        let account = Account { username: format!("bench-{}-{name}", self.run).parse()?, device: Device::random()? };
        let mut peer = self.endpoint.greet().await?;
        peer.insist("a sign-up", sign_up(&account, self.admission.clone())).await?;
        Ok((peer, account))
    }
}

/// A request to sign up; what only clients understand in it is filler.
pub(crate) fn sign_up(account: &Account, admission: Admission) -> Request {
    Request::SignUp(Box::new(SignUp {
        username: account.username.clone(),
        admission,
        full_name: None,
        email: None,
        kdf: KdfParameters { salt: vec![9; 16].into(), memory_kib: 65536, iterations: 3, parallelism: 4 },
        password_secret: Secret([1; 32]),
        recovery_secret: Secret([2; 32]),
        vault: vec![0; 400].into(),
        password_wrap: vec![0; 60].into(),
        recovery_wrap: vec![0; 60].into(),
        identity_key: vec![0; 400].into(),
        backup_key: vec![0; 400].into(),
        device_list: vec![0; 600].into(),
        device: account.device.record(),
        code: None,
    }))
}

impl Opener for ToServer {
    type Speech = Waxwing;

    async fn open(&self, index: usize, load: &Load) -> Result<(Connection, Connection, Waxwing)> {
        open_pair((self, self), index, load).await
    }
}

/// Opens pairs whose two are at different nodes, if there are several.
#[derive(Clone)]
pub(crate) struct ToNodes(pub(crate) Vec<ToServer>);

impl Opener for ToNodes {
    type Speech = Waxwing;

    async fn open(&self, index: usize, load: &Load) -> Result<(Connection, Connection, Waxwing)> {
        let node = |index: usize| self.0.get(index % self.0.len().max(1)).context("no node");
        open_pair((node(index)?, node(index + 1)?), index, load).await
    }
}

/// A pair: the sender at one server, the receiver at another one.
async fn open_pair(
    (one, other): (&ToServer, &ToServer),
    index: usize,
    load: &Load,
) -> Result<(Connection, Connection, Waxwing)> {
    let (mut receiver, to) = other.account(&format!("{index}r")).await?;
    let (mut sender, _) = one.account(&format!("{index}s")).await?;
    receiver.insist("the events", Request::Subscribe).await?;
    sender.insist("the events", Request::Subscribe).await?;
    let conversation = open_chat(&mut sender, &to).await?;
    Ok((sender.connection, receiver.connection, Waxwing::new(conversation, (0, 1), load.payload)))
}

/// Opens a direct conversation with an account; returns its id.
pub(crate) async fn open_chat(peer: &mut Peer, with: &Account) -> Result<ConversationId> {
    let mut id = [0; 16];
    getrandom::fill(&mut id)?;
    let id = ConversationId(id);
    let welcome = Welcome { recipients: vec![with.device.id], payload: vec![0; 800].into() };
    let handshake = Handshake {
        commit: vec![0; 800].into(),
        welcome: Some(welcome),
        removed: Vec::new(),
        group_info: None,
        roster: None,
    };
    let kind = ConversationKind::Direct(with.username.clone());
    let create = CreateConversation { id, kind, handshake: Some(handshake), replaces: None };
    peer.insist("a conversation", Request::CreateConversation(Box::new(create))).await?;
    Ok(id)
}

/// The talk of one conversation.
#[derive(Clone)]
pub(crate) struct Waxwing {
    conversation: ConversationId,
    /// The send numbers that were used up before the first message.
    used: u64,
    /// The frame of the next message: only its numbers change.
    next: ClientFrame,
    sender: Cursor,
    receiver: Cursor,
}

/// What one device has of the log.
#[derive(Clone, Default)]
struct Cursor {
    seq: u64,
    acknowledged: u64,
    /// Whether the last acknowledgement is not answered yet.
    waits: bool,
}

impl Cursor {
    fn acknowledge(&mut self, conversation: ConversationId, connection: &mut Connection) {
        if !self.waits && self.seq - self.acknowledged >= ACKNOWLEDGE_EVERY {
            (self.waits, self.acknowledged) = (true, self.seq);
            let request = Request::Acknowledge { conversation, seq: self.seq };
            connection.push(&ClientFrame { id: ACKNOWLEDGEMENT, request });
        }
    }
}

impl Waxwing {
    /// In a conversation in which the sender has used so many numbers, and which has seen so many commits.
    pub(crate) fn new(conversation: ConversationId, (used, commits): (u64, u64), payload: usize) -> Self {
        let payload = vec![7; payload.max(8)].into();
        let request = Request::Send { conversation, number: 0, commits, payload };
        let next = ClientFrame { id: 0, request };
        Self { conversation, used, next, sender: Cursor::default(), receiver: Cursor::default() }
    }
}

impl Speech for Waxwing {
    fn send(&mut self, number: u64, sender: &mut Connection) {
        self.next.id = number as u32;
        if let Request::Send { number: next, payload, .. } = &mut self.next.request {
            *next = self.used + number;
            payload.0[..8].copy_from_slice(&number.to_be_bytes());
        }
        sender.push(&self.next);
    }

    fn at_sender(&mut self, frame: &[u8]) -> Result<Option<u64>> {
        match decode_server_frame(frame)? {
            // The request's number is the message's, which is short enough for any measurement.
            ServerFrame::Response { id, response: Response::Accepted { seq, .. } } => {
                self.sender.seq = self.sender.seq.max(seq);
                Ok(Some(id.into()))
            }
            ServerFrame::Response { id: ACKNOWLEDGEMENT, .. } => {
                self.sender.waits = false;
                Ok(None)
            }
            ServerFrame::Event(Event::Inbox(_) | Event::Behind) => Ok(None),
            other => bail!("the server answers a message with {other:?}"),
        }
    }

    fn at_receiver(&mut self, frame: &[u8]) -> Result<Option<u64>> {
        if let Some((seq, number)) = entry(frame) {
            self.receiver.seq = self.receiver.seq.max(seq);
            return Ok(Some(number));
        }
        match decode_server_frame(frame)? {
            ServerFrame::Response { id: ACKNOWLEDGEMENT, .. } => self.receiver.waits = false,
            // Nodes that may have missed something say so, whether they did or not. What did not come fails the measurement.
            ServerFrame::Event(Event::Inbox(_) | Event::Behind) => {}
            other => bail!("the server tells the receiver {other:?}"),
        }
        Ok(None)
    }

    fn after(&mut self, sender: Option<&mut Connection>, receiver: Option<&mut Connection>) {
        if let Some(connection) = sender {
            self.sender.acknowledge(self.conversation, connection);
        }
        if let Some(connection) = receiver {
            self.receiver.acknowledge(self.conversation, connection);
        }
    }
}

/// The seq of a message's entry and the number in its payload, read in place: a copy of each payload would be paid by the
/// cores that the server runs on.
fn entry(frame: &[u8]) -> Option<(u64, u64)> {
    let read = || -> Result<(u64, u64)> {
        let mut decoder = Decoder::new(frame);
        // ServerFrame::Event(Event::Entry { conversation, entry: Entry { seq, time_ms, body: Application(payload) } })
        let expect = |found: bool| found.then_some(()).context("another frame");
        decoder.array()?;
        expect(decoder.u32()? == 2)?;
        decoder.array()?;
        decoder.array()?;
        expect(decoder.u32()? == 0)?;
        decoder.array()?;
        decoder.bytes()?;
        decoder.array()?;
        let seq = decoder.u64()?;
        decoder.u64()?;
        decoder.array()?;
        expect(decoder.u32()? == 0)?;
        decoder.array()?;
        let number = decoder.bytes()?.first_chunk().context("a payload without a number")?;
        Ok((seq, u64::from_be_bytes(*number)))
    };
    read().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_protocol::{Entry, EntryBody, encode};

    #[test]
    fn entries_are_read_in_place_as_the_protocol_writes_them() {
        let body = EntryBody::Application([&5_u64.to_be_bytes()[..], &[7; 100]].concat().into());
        let entry_at = |body| Event::Entry {
            conversation: ConversationId([1; 16]),
            entry: Entry { seq: 300, time_ms: 1_700_000_000_000, body },
        };
        assert_eq!(entry(&encode(&ServerFrame::Event(entry_at(body))).0), Some((300, 5)));
        let commit = EntryBody::Commit(vec![0; 100].into());
        assert_eq!(entry(&encode(&ServerFrame::Event(entry_at(commit))).0), None);
        assert_eq!(entry(&encode(&ServerFrame::Response { id: 2, response: Response::Done }).0), None);
    }
}
