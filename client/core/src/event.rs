//! What happens, for whoever shows it.

use crate::{GroupChange, Message, MessageId, MessageState, Present, RestoreProgress};
use std::time::Duration;

/// The receiving end of a client's events; see [`crate::Client::events`]. Never lossy: events wait in memory.
pub type Events = tokio::sync::mpsc::UnboundedReceiver<Event>;

/// Something happened. It is on disk already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The connection changed.
    Connection(Connection),
    /// Everything that the server had when we connected is here.
    CaughtUp,
    /// A new message: from somebody else, or from another device of this account.
    Message(Message),
    /// Something was done to a message that is here: it was edited, deleted, reacted to or pinned. This is how it is now.
    Changed(Message),
    /// A message is not here any more: its time has run out, or it was taken back before it left.
    Gone {
        /// The chat.
        chat: String,
        /// The message.
        id: MessageId,
        /// Its author's username.
        from: String,
    },
    /// A chat looks different in the list of chats: something was read, set or accepted, here or on another device, or a
    /// stranger has written.
    ChatChanged {
        /// The chat.
        chat: String,
    },
    /// Somebody is typing, or not any more. It is true for some six seconds, unless it is told again.
    Typing {
        /// The chat.
        chat: String,
        /// Who, as a member of the chat says.
        username: String,
        /// Whether they are.
        typing: bool,
    },
    /// Somebody has come, is away, or has gone. The chat is one that both are in; in others they are told of, too.
    Presence(Present),
    /// A stranger has written, or invites into a group. Nothing of it is shown until the user accepts it ([`crate::Client::accept`]).
    Request {
        /// Who; the chat's name.
        username: String,
        /// Who invites, if the chat is a group.
        invited_by: Option<String>,
    },
    /// An own message came further (or failed).
    State {
        /// The chat.
        chat: String,
        /// The message.
        id: MessageId,
        /// Its new state.
        state: MessageState,
        /// Its place in the chat, once known.
        seq: Option<u64>,
    },
    /// A user's identity is not the pinned one: everything for them is held.
    IdentityChanged {
        /// Who.
        username: String,
    },
    /// An account has a new device: our own account, or a contact's.
    DeviceAdded {
        /// Whose.
        username: String,
        /// Its id, 32 hexadecimal digits.
        device: String,
        /// What our own account calls it, if it is ours and has a name.
        name: Option<String>,
        /// When its account listed it, milliseconds since 1970.
        since: u64,
    },
    /// An account has signed a device out.
    DeviceRemoved {
        /// Whose.
        username: String,
        /// Its id, 32 hexadecimal digits.
        device: String,
    },
    /// This profile was an old copy of itself, or its device was signed out: it is another device now, and keeps its history.
    EnrolledAnew {
        /// The new device's id, 32 hexadecimal digits.
        device: String,
    },
    /// A user has a new identity, which the one that was known vouched for. Nothing is held.
    IdentityRenewed {
        /// Who.
        username: String,
        /// Whether the user had compared the former one's safety number.
        verified: bool,
    },
    /// Messages came back from the backup.
    Restoring(RestoreProgress),
    /// Everything that the backup had for this device is here, save what was refused.
    Restored(RestoreProgress),
    /// The server has a new key, which the one that this profile knew vouches for. The old one is refused from now on.
    ServerKeyReplaced,
    /// Somebody told their full name.
    Profile {
        /// Who.
        username: String,
        /// The name.
        full_name: Option<String>,
    },
    /// Something of a group or room changed. The chat has a line about it, too.
    Group {
        /// The chat.
        chat: String,
        /// Who did it.
        by: String,
        /// What.
        change: GroupChange,
    },
    /// A file has come further on its way.
    Transfer(Transfer),
    /// The server's operator says something to everybody. It is kept nowhere, and the server could have made it up:
    /// front ends show it as the server's word, never as a message.
    Announcement {
        /// What, as the server sent it.
        text: String,
        /// When, by the server's clock; milliseconds since 1970.
        time_ms: u64,
    },
}

/// How far the file of a message has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The chat.
    pub chat: String,
    /// The message.
    pub id: MessageId,
    /// Its author's username.
    pub from: String,
    /// Whether it is being sent; else it is being fetched.
    pub sending: bool,
    /// How many bytes of it are there, padding included when it is being sent.
    pub done: u64,
    /// Of how many.
    pub total: u64,
}

/// The connection to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Trying.
    Connecting,
    /// Connected and signed in.
    Online,
    /// Not connected; tries again by itself after the delay, or not at all if there is none.
    Offline {
        /// Why, for users.
        reason: String,
        /// When it tries again.
        retry_in: Option<Duration>,
    },
}
