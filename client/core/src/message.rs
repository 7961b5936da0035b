//! What the user sees: messages, chats, and who they are.

use serde::{Deserialize, Serialize, de};
use std::{fmt, str::FromStr};

/// A message's id: 16 random bytes made by its author, 32 hexadecimal digits in text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub(crate) [u8; 16]);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

impl FromStr for MessageId {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self, crate::Error> {
        let digits = text.len() == 32 && text.bytes().all(|c| c.is_ascii_hexdigit());
        let number = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        number.map(|number| Self(number.to_be_bytes())).ok_or(crate::Error::BadMessageId)
    }
}

impl Serialize for MessageId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A message of a chat. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// The chat's name: the other user's username.
    pub chat: String,
    /// The author's username, proven by the message's signature.
    pub from: String,
    /// Its place in the chat's log; none while the server does not have it.
    pub seq: Option<u64>,
    /// When the author's device says it was written.
    pub sent_at: u64,
    /// When this device stored it.
    pub received_at: u64,
    /// Who told what it says, if this device could not read it itself: worth as much as that user's word.
    pub told_by: Option<String>,
    /// What it says.
    pub content: Content,
    /// How far it has come.
    pub state: MessageState,
}

/// What a message says. Texts come from others: sanitise them before they reach a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A text.
    Text(String),
    /// Something of a newer version of Waxwing.
    Unknown,
    /// An entry that could not be opened; the text says why.
    Unreadable(String),
    /// What this device has noticed about the chat at this place; nobody has said it.
    Notice(String),
}

/// How far a message has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageState {
    /// Written here, not yet at the server.
    Queued,
    /// The server has it on disk.
    Sent,
    /// A device of the other user has it.
    Delivered,
    /// It will not be sent; the text says why.
    Failed(String),
    /// It came from somebody else.
    Received,
}

/// A chat, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chat {
    /// The other user's username.
    pub name: String,
    /// The other user's full name, as they told it end to end.
    pub full_name: Option<String>,
    /// The newest message.
    pub last: Option<Message>,
    /// Messages that were not yet marked read.
    pub unread: u64,
    /// Messages waiting to be sent.
    pub queued: u64,
    /// The other user's identity is not the one that was pinned: nothing is sent.
    pub identity_changed: bool,
}

/// Who this profile is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Whoami {
    /// The username.
    pub username: String,
    /// The full name, if given.
    pub full_name: Option<String>,
    /// This device's id, 32 hexadecimal digits.
    pub device: String,
    /// The server's link, without an invite.
    pub server: String,
    /// SHA-256 of the account's identity key, 64 hexadecimal digits.
    pub identity: String,
}

/// How this profile stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Whether the server is connected now.
    pub online: bool,
    /// Messages waiting to be sent.
    pub queued: u64,
    /// Unread messages.
    pub unread: u64,
    /// Chats.
    pub chats: u64,
    /// Users whose identity changed, for whom everything is held.
    pub held: Vec<String>,
    /// Users to whom the server showed another log of a chat than to this device.
    pub doubts: Vec<Doubt>,
}

/// The server showed a user another log of a chat than this device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// The chat's name.
    pub chat: String,
    /// The user whose messages say so; the account's own name if it is another device of it.
    pub username: String,
    /// How many messages are missing here; 0 if they are others, or in another order.
    pub missing: u64,
    /// When this device noticed: milliseconds since 1970.
    pub noticed_at: u64,
}
