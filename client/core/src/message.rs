//! What the user sees: messages, chats, and who they are.

use crate::ChatKind;
use serde::{Deserialize, Serialize, de};
use std::{fmt, str::FromStr};
use waxwing_e2ee::content;

/// A message's id: 16 random bytes made by its author, 32 hexadecimal digits in text.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

/// Says which message is meant. Ids are chosen by who writes: where two messages have the same one, chat and author tell
/// them apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRef {
    /// The message's id.
    pub id: MessageId,
    /// The chat's name.
    #[serde(default)]
    pub chat: Option<String>,
    /// The author's username.
    #[serde(default)]
    pub author: Option<String>,
}

impl From<MessageId> for MessageRef {
    fn from(id: MessageId) -> Self {
        Self { id, chat: None, author: None }
    }
}

impl From<&Message> for MessageRef {
    fn from(message: &Message) -> Self {
        Self { id: message.id, chat: Some(message.chat.clone()), author: Some(message.from.clone()) }
    }
}

/// A message of a chat. Times are milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// The message that it answers.
    pub reply_to: Option<Reply>,
    /// When its author changed it last; the content is the changed one.
    pub edited_at: Option<u64>,
    /// What readers have put under it, in the order of the first of each.
    pub reactions: Vec<Reaction>,
    /// Whether it is pinned in its chat.
    pub pinned: bool,
    /// For how many seconds it is kept, once it was sent or read.
    pub lifetime: Option<u32>,
    /// When it goes, once that has begun.
    pub expires_at: Option<u64>,
}

impl Message {
    /// The names that its text speaks to as `@name`, each once. They need not be anybody's.
    pub fn mentions(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        if let Content::Text(text) = &self.content {
            for name in crate::mentions::names(text) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }
}

/// The message that another one answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its author's username, as the answer claims.
    pub author: String,
    /// Its id.
    pub id: MessageId,
    /// How it begins; none if it is not here, or is no text (any more).
    pub excerpt: Option<String>,
}

/// An emoji under a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// The emoji. It comes from others: sanitise it.
    pub emoji: String,
    /// Who put it there.
    pub by: Vec<String>,
}

/// What a message says. Texts come from others: sanitise them before they reach a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// A text.
    Text(String),
    /// It was taken back.
    Deleted {
        /// By whom.
        by: String,
    },
    /// A file.
    File(Box<File>),
    /// From here on the chat's messages are kept for so many seconds; none: for good.
    Timer(Option<u32>),
    /// Something of a newer version of Waxwing.
    #[default]
    Unknown,
    /// An entry that could not be opened; the text says why.
    Unreadable(String),
    /// What this device has noticed about the chat at this place; nobody has said it.
    Notice(String),
}

/// A file of a message. All of it but its size comes from its sender: sanitise it, and never use its name as a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// What its sender calls it.
    pub name: String,
    /// What its sender takes it for, such as `image/png`.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// What its sender says about it; empty: nothing.
    pub caption: String,
    /// Where this device has saved it last, or read it from.
    pub saved: Option<String>,
    /// Width and height of a picture or film, in pixels.
    pub dimensions: Option<(u32, u32)>,
    /// How long a recording lasts, in milliseconds.
    pub duration_ms: Option<u64>,
    /// Whether there is a small picture of it.
    pub thumbnail: bool,
}

impl From<&content::File> for File {
    fn from(file: &content::File) -> Self {
        let media = file.media.clone().unwrap_or_default();
        Self {
            name: file.name.clone(),
            media_type: file.media_type.clone(),
            size: file.size,
            caption: file.caption.clone(),
            saved: None,
            dimensions: media.dimensions,
            duration_ms: media.duration_ms,
            thumbnail: media.thumbnail.is_some(),
        }
    }
}

/// How far a message has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MessageState {
    /// Written here, not yet at the server.
    Queued,
    /// The server has it on disk.
    Sent,
    /// A device of the other user has it.
    Delivered,
    /// The other user has read it.
    Read,
    /// It will not be sent; the text says why.
    Failed(String),
    /// It came from somebody else.
    #[default]
    Received,
}

/// A chat, as a list shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chat {
    /// The other user's username; `#name` of a public room, `+` and digits of a private group.
    pub name: String,
    /// Which of these it is.
    pub kind: ChatKind,
    /// What the members of a group call it. As typed, like the topic: not made safe for a screen.
    pub title: Option<String>,
    /// What a group is about.
    pub topic: Option<String>,
    /// This account is not in the group any more: nothing can be sent.
    pub over: bool,
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
    /// Unread messages that speak to the user by name or answer the user.
    pub mentions: u64,
    /// Until when the user wants no notice of it, milliseconds since 1970; `u64::MAX`: until that is taken back.
    pub muted_until: Option<u64>,
    /// For how many seconds its next messages are kept.
    pub timer: Option<u32>,
    /// What the user has begun to write.
    pub draft: Option<String>,
    /// A stranger has begun it, and the user has not accepted it: it is in the list of requests, and nothing of it is shown.
    pub request: bool,
    /// Who has invited the user into it, if it is a group and in the list of requests.
    pub invited_by: Option<String>,
    /// The user has blocked the other: nothing of theirs arrives.
    pub blocked: bool,
    /// The name of another chat, or of the user, that this one could be taken for.
    pub looks_like: Option<String>,
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
