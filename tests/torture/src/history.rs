//! What happened: what devices were asked to send, how that ended, who was in which chat when, and what each device shows
//! at the end. It is data; [`crate::checker`] judges it.
//!
//! Moments are numbers of one counter for the whole run: what has a lower one was over before the other began.

use serde::Serialize;

/// A number of the run's counter.
pub type Moment = u64;

/// How a request to send ended for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The server has it on disk.
    Sent,
    /// The device has it on disk.
    Queued,
    /// It was certainly not sent, and will not be.
    Failed,
    /// The answer never came.
    Unknown,
}

/// A request to send.
#[derive(Clone, Debug, Serialize)]
pub struct Sending {
    /// The device that was asked.
    pub device: String,
    /// Its user.
    pub user: String,
    /// The chat, by a name that is the same for all.
    pub chat: String,
    /// What: no two requests of a run have the same text.
    pub text: String,
    /// When it was asked.
    pub invoked: Moment,
    /// When the answer came.
    pub returned: Moment,
    /// Until when it can have left: when the device was seen to have nothing waiting any more.
    pub settled: Moment,
    /// How it ended.
    pub outcome: Outcome,
    /// Sent after all faults were over, so that everybody must be able to read it.
    pub probe: bool,
}

/// Somebody came into a group or was put out.
#[derive(Clone, Debug, Serialize)]
pub struct Membership {
    /// The chat.
    pub chat: String,
    /// Who.
    pub user: String,
    /// In, or out.
    pub inside: bool,
    /// When that was asked for.
    pub invoked: Moment,
    /// Since when it is certain.
    pub certain: Moment,
}

/// A device of which an older copy was put back: what it did and saw in between it need not know any more.
#[derive(Clone, Debug, Serialize)]
pub struct Lapse {
    /// The device.
    pub device: String,
    /// When everything that had been sent had reached it for certain, before the copy was made.
    pub from: Moment,
    /// When the device was at work again, as another one.
    pub to: Moment,
}

/// A line of a chat, as a device shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// text, or what else it is.
    pub kind: String,
    /// The message's id.
    pub id: String,
    /// Who wrote it.
    pub from: String,
    /// What it says; for a mark, why it is there.
    pub text: String,
    /// Its place in the log.
    pub seq: Option<u64>,
    /// How far it has come.
    pub state: String,
}

/// A chat, as a device shows it.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// The device.
    pub device: String,
    /// Its user.
    pub user: String,
    /// The chat, by a name that is the same for all.
    pub chat: String,
    /// Oldest first.
    pub lines: Vec<Line>,
}

/// Whatever else must never be: a program that panicked, a ciphertext that was stored twice, a doubt about the server.
#[derive(Clone, Debug, Serialize)]
pub struct Incident {
    /// Which invariant it breaks.
    pub invariant: crate::checker::Invariant,
    /// What.
    pub what: String,
}

/// All of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct History {
    /// In the order of their invocation, per device.
    pub sendings: Vec<Sending>,
    /// In the order of time.
    pub memberships: Vec<Membership>,
    /// Old copies.
    pub lapses: Vec<Lapse>,
    /// One per device and chat.
    pub views: Vec<View>,
    /// The rest.
    pub incidents: Vec<Incident>,
}
