//! What the engine holds of its connection: how far it has come, and what lives as long as one connection.
//!
//! The invariant: nothing here need outlive a connection; what must is in the database. It must not know what answers and
//! entries mean.

use super::{BATCH, Command, fetching, files, membership, sending};
use crate::{
    Error,
    store::chats::ChatId,
    transport::{Answer, Connection, Incoming, Tag},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    future::Future,
    pin::Pin,
};
use tokio::{sync::mpsc, time::Instant};
use waxwing_protocol::{Bytes, ConversationId, Event as WireEvent, Request};

pub(super) type Connecting =
    Pin<Box<dyn Future<Output = Result<(Connection, mpsc::Receiver<Incoming>), Error>> + Send>>;

pub(super) enum State {
    /// Nobody asked for a connection, or it is of no use.
    Idle,
    Connecting(Connecting),
    /// Tries again then.
    Waiting(Instant),
    Online(Box<Online>),
}

/// What lives as long as one connection.
pub(super) struct Online {
    pub(super) connection: Connection,
    pub(super) incoming: mpsc::Receiver<Incoming>,
    pub(super) answers: mpsc::UnboundedReceiver<(Tag, Answer)>,
    pub(super) answer_to: mpsc::UnboundedSender<(Tag, Answer)>,
    /// Acknowledgements' answers say nothing.
    pub(super) nobody: mpsc::UnboundedSender<(Tag, Answer)>,
    /// Users whose identity was compared with its pin on this connection.
    pub(super) checked: HashSet<String>,
    /// Users who cannot be sent to, with the reason.
    pub(super) held: HashMap<String, Error>,
    pub(super) lanes: BTreeMap<ChatId, sending::Lane>,
    /// Chats whose log has to be fetched.
    pub(super) behind: BTreeSet<ChatId>,
    /// The page that is wanted next.
    pub(super) asked: Option<fetching::Asked>,
    pub(super) inbox_due: bool,
    /// Whether the account's conversations have to be compared with the chats here.
    pub(super) conversations_due: bool,
    /// Whether the server needs new key packages, whatever its stock.
    pub(super) restock: bool,
    /// Chats that this device may come into in a moment.
    pub(super) entering: BTreeSet<ChatId>,
    /// Chats whose groups have to be compared with the device lists, or changed.
    pub(super) unsettled: BTreeMap<ChatId, membership::Pace>,
    /// When to look for keys that are due to be replaced.
    pub(super) update_at: Instant,
    /// The last inbox item that was handled on this connection; one handled twice changes nothing.
    pub(super) inbox_seq: u64,
    /// The heads have to be asked for; those after this id, if it has begun.
    pub(super) heads_due: Option<Option<ConversationId>>,
    pub(super) caught_up: bool,
    pub(super) receipts_at: Option<Instant>,
    /// Chats in which something could not be read.
    pub(super) gaps: BTreeSet<ChatId>,
    /// When others have to be told what they have asked for.
    pub(super) telling_at: Option<Instant>,
    pub(super) ping_at: Instant,
}

/// A place of the log that was heard of, perhaps before those in front of it.
pub(super) enum Ahead {
    Own { number: u64 },
    Application { payload: Bytes },
    Commit { payload: Bytes },
}

pub(super) enum Wake {
    Command(Command),
    Connected(Box<Result<(Connection, mpsc::Receiver<Incoming>), Error>>),
    Network(Vec<Incoming>, Vec<(Tag, Answer)>),
    Backup(Tag, Answer),
    File(files::Note),
    Timer,
}

impl Online {
    pub(super) fn is_behind(&self) -> bool {
        self.inbox_due || self.conversations_due || self.heads_due.is_some() || !self.behind.is_empty()
    }

    pub(super) fn lane(&mut self, chat: ChatId) -> &mut sending::Lane {
        self.lanes.entry(chat).or_default()
    }

    /// Tells the server that it need not keep these entries for us. A lost one is repeated on the next connection.
    pub(super) async fn acknowledge(&self, conversation: ConversationId, seq: u64) {
        self.connection.post(Request::Acknowledge { conversation, seq }, (0, 0), &self.nobody).await;
    }

    /// Takes along what else has arrived.
    pub(super) fn collect(&mut self, incoming: Option<Incoming>, answer: Option<(Tag, Answer)>) -> Wake {
        let mut all_incoming: Vec<Incoming> = incoming.into_iter().collect();
        let mut all_answers: Vec<(Tag, Answer)> = answer.into_iter().collect();
        while all_incoming.len() < BATCH
            && let Ok(incoming) = self.incoming.try_recv()
        {
            all_incoming.push(incoming);
        }
        while all_answers.len() < BATCH
            && let Ok(answer) = self.answers.try_recv()
        {
            all_answers.push(answer);
        }
        if self.connection.has_dropped_events() {
            all_incoming.push(Incoming::Event(WireEvent::Behind));
        }
        Wake::Network(all_incoming, all_answers)
    }
}
