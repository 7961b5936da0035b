//! The shapes of messages and chats in JSON, for commands and for the socket. They are an API.
//!
//! Each conversion from and to what the core says stands here and loses nothing.

use super::groups::kind_name;
use crate::{Failure, output::rfc3339};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::{Chat, ChatKind, Content, File, Message, MessageState, Reaction, Reply};

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct MessageObject {
    /// The chat's name: the other user's username.
    pub(crate) chat: String,
    /// The author's username.
    pub(crate) from: String,
    /// 32 hexadecimal digits.
    pub(crate) id: String,
    /// Its place in the chat; none while the server does not have it.
    pub(crate) seq: Option<u64>,
    /// When its author's device says it was written (RFC 3339, UTC).
    pub(crate) sent_at: String,
    /// When this device stored it (RFC 3339, UTC).
    pub(crate) received_at: String,
    /// text, file, deleted, timer, unknown, unreadable, or notice: something that this device noticed about the chat.
    pub(crate) kind: String,
    /// What it says, if it is a text; of a file, what its sender says about it. It comes from others: never hand it to a shell or a terminal as it is.
    pub(crate) text: Option<String>,
    /// The file, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<FileObject>,
    /// Who told what it says, if this device could not read it itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) told_by: Option<String>,
    /// Why it is unreadable or was not sent, or what was noticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// queued, sent, delivered, read, failed or received; missing where only others' messages are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<String>,
    /// The message that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reply_to: Option<ReplyObject>,
    /// When its author changed it last (RFC 3339, UTC); the text is the changed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) edited_at: Option<String>,
    /// Who took it back, if it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deleted_by: Option<String>,
    /// What readers have put under it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) reactions: Vec<ReactionObject>,
    /// Whether it is pinned in its chat.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) pinned: bool,
    /// The names that its text speaks to as @name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) mentions: Vec<String>,
    /// Of the kind timer: for how many seconds the chat's messages are kept from here on; none: for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timer: Option<u32>,
    /// For how many seconds it is kept, once it was sent or read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lifetime: Option<u32>,
    /// When it goes (RFC 3339, UTC), once that has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<String>,
}

/// The message that another one answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ReplyObject {
    /// Its author's username, as the answer claims.
    pub(crate) from: String,
    /// Its id.
    pub(crate) id: String,
    /// How it begins; none if it is not here, or is no text.
    pub(crate) excerpt: Option<String>,
}

/// A file of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct FileObject {
    /// What its sender calls it. Never use it as a path.
    pub(crate) name: String,
    /// What its sender takes it for.
    pub(crate) media_type: String,
    /// Its length in bytes.
    pub(crate) size: u64,
    /// Where this device has saved it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) saved: Option<String>,
    /// Of a picture or film, by its sender's word: how many pixels it is wide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) width: Option<u32>,
    /// And how many it is high.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) height: Option<u32>,
    /// Of a recording, by its sender's word: how long it lasts, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) duration_ms: Option<u64>,
    /// Whether there is a small picture of it, which the method `thumbnail` gives.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) thumbnail: bool,
}

impl From<&File> for FileObject {
    fn from(file: &File) -> Self {
        let (width, height) = file.dimensions.unzip();
        Self {
            name: file.name.clone(),
            media_type: file.media_type.clone(),
            size: file.size,
            saved: file.saved.clone(),
            width,
            height,
            duration_ms: file.duration_ms,
            thumbnail: file.thumbnail,
        }
    }
}

impl FileObject {
    fn into_file(self, caption: Option<String>) -> File {
        File {
            name: self.name,
            media_type: self.media_type,
            size: self.size,
            caption: caption.unwrap_or_default(),
            saved: self.saved,
            dimensions: self.width.zip(self.height),
            duration_ms: self.duration_ms,
            thumbnail: self.thumbnail,
        }
    }
}

/// An emoji under a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ReactionObject {
    /// The emoji.
    pub(crate) emoji: String,
    /// Who put it there.
    pub(crate) by: Vec<String>,
}

impl MessageObject {
    /// As `receive` prints it.
    pub(crate) fn received(message: &Message) -> Self {
        let (kind, text, reason) = match &message.content {
            Content::Text(text) => ("text", Some(text.clone()), None),
            Content::Unknown => ("unknown", None, None),
            Content::Unreadable(reason) => ("unreadable", None, Some(reason.clone())),
            Content::Notice(text) => ("notice", None, Some(text.clone())),
            Content::Deleted { .. } => ("deleted", None, None),
            Content::Timer(_) => ("timer", None, None),
            Content::File(file) => ("file", Some(file.caption.clone()).filter(|text| !text.is_empty()), None),
        };
        Self {
            chat: message.chat.clone(),
            from: message.from.clone(),
            id: message.id.to_string(),
            seq: message.seq,
            sent_at: rfc3339(message.sent_at),
            received_at: rfc3339(message.received_at),
            kind: kind.to_owned(),
            text,
            file: match &message.content {
                Content::File(file) => Some(FileObject::from(&**file)),
                _ => None,
            },
            told_by: message.told_by.clone(),
            reason,
            state: None,
            reply_to: message.reply_to.as_ref().map(|reply| ReplyObject {
                from: reply.author.clone(),
                id: reply.id.to_string(),
                excerpt: reply.excerpt.clone(),
            }),
            edited_at: message.edited_at.map(rfc3339),
            deleted_by: match &message.content {
                Content::Deleted { by } => Some(by.clone()),
                _ => None,
            },
            reactions: message
                .reactions
                .iter()
                .map(|reaction| ReactionObject { emoji: reaction.emoji.clone(), by: reaction.by.clone() })
                .collect(),
            pinned: message.pinned,
            mentions: message.mentions(),
            timer: match &message.content {
                Content::Timer(timer) => *timer,
                _ => None,
            },
            lifetime: message.lifetime,
            expires_at: message.expires_at.map(rfc3339),
        }
    }

    /// As `history` prints it: with its state, and why if it failed.
    pub(crate) fn with_state(message: &Message) -> Self {
        let mut object = Self::received(message);
        object.state = Some(state_name(&message.state).to_owned());
        if let MessageState::Failed(reason) = &message.state {
            object.reason = Some(reason.clone());
        }
        object
    }
}

impl TryFrom<MessageObject> for Message {
    type Error = Failure;

    fn try_from(object: MessageObject) -> Result<Self, Failure> {
        let state = state(object.state.as_deref().unwrap_or("received"), object.reason.clone())?;
        let content = match (object.kind.as_str(), object.text) {
            ("file", text) => Content::File(Box::new(object.file.ok_or_else(Failure::foreign_answer)?.into_file(text))),
            ("text", Some(text)) => Content::Text(text),
            ("unreadable", _) => Content::Unreadable(object.reason.unwrap_or_default()),
            ("notice", _) => Content::Notice(object.reason.unwrap_or_default()),
            ("deleted", _) => Content::Deleted { by: object.deleted_by.unwrap_or_default() },
            ("timer", _) => Content::Timer(object.timer),
            _ => Content::Unknown,
        };
        Ok(Self {
            id: object.id.parse()?,
            chat: object.chat,
            from: object.from,
            seq: object.seq,
            sent_at: milliseconds(&object.sent_at)?,
            received_at: milliseconds(&object.received_at)?,
            told_by: object.told_by,
            content,
            state,
            reply_to: match object.reply_to {
                Some(ReplyObject { from, id, excerpt }) => Some(Reply { author: from, id: id.parse()?, excerpt }),
                None => None,
            },
            edited_at: object.edited_at.as_deref().map(milliseconds).transpose()?,
            reactions: object
                .reactions
                .into_iter()
                .map(|ReactionObject { emoji, by }| Reaction { emoji, by })
                .collect(),
            pinned: object.pinned,
            lifetime: object.lifetime,
            expires_at: object.expires_at.as_deref().map(milliseconds).transpose()?,
        })
    }
}

/// Messages as the core has them.
pub(crate) fn messages(objects: Vec<MessageObject>) -> Result<Vec<Message>, Failure> {
    objects.into_iter().map(Message::try_from).collect()
}

pub(super) fn milliseconds(time: &str) -> Result<u64, Failure> {
    let time: Timestamp = time.parse().map_err(|_| Failure::foreign_answer())?;
    u64::try_from(time.as_millisecond()).map_err(|_| Failure::foreign_answer())
}

pub(crate) fn state_name(state: &MessageState) -> &'static str {
    match state {
        MessageState::Queued => "queued",
        MessageState::Sent => "sent",
        MessageState::Delivered => "delivered",
        MessageState::Read => "read",
        MessageState::Failed(_) => "failed",
        MessageState::Received => "received",
    }
}

pub(super) fn state(name: &str, reason: Option<String>) -> Result<MessageState, Failure> {
    Ok(match name {
        "queued" => MessageState::Queued,
        "sent" => MessageState::Sent,
        "delivered" => MessageState::Delivered,
        "read" => MessageState::Read,
        "failed" => MessageState::Failed(reason.unwrap_or_default()),
        "received" => MessageState::Received,
        _ => return Err(Failure::foreign_answer()),
    })
}

/// A chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ChatObject {
    /// The other user's username; `#room`; `+` and digits of a private group.
    pub(crate) chat: String,
    /// direct, group or room.
    #[serde(default)]
    pub(crate) chat_kind: String,
    /// What the members of a group call it.
    #[serde(default)]
    pub(crate) title: Option<String>,
    /// What a group is about.
    #[serde(default)]
    pub(crate) topic: Option<String>,
    /// This user is not in the group any more: nothing can be sent.
    #[serde(default)]
    pub(crate) over: bool,
    /// The other user's full name, as they told it.
    pub(crate) full_name: Option<String>,
    /// Messages that were not read yet.
    pub(crate) unread: u64,
    /// Messages waiting to be sent.
    pub(crate) queued: u64,
    /// The other user's identity is not the one that this device knows: nothing is sent.
    pub(crate) identity_changed: bool,
    /// The newest message.
    pub(crate) last: Option<MessageObject>,
    /// Unread messages that speak to the user by name or answer the user.
    #[serde(default)]
    pub(crate) mentions: u64,
    /// Until when the user wants no notice of it (RFC 3339, UTC); without an end, the end of the calendar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) muted_until: Option<String>,
    /// For how many seconds its next messages are kept; none: for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timer: Option<u32>,
    /// What the user has begun to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) draft: Option<String>,
    /// A stranger has begun it, and it is not accepted.
    #[serde(default)]
    pub(crate) request: bool,
    /// Who has invited the user into it, if it is a group that is not accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) invited_by: Option<String>,
    /// The other user is blocked.
    #[serde(default)]
    pub(crate) blocked: bool,
    /// The name of another chat, or of the user, that this one could be taken for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) looks_like: Option<String>,
}

impl From<&Chat> for ChatObject {
    fn from(chat: &Chat) -> Self {
        Self {
            chat: chat.name.clone(),
            chat_kind: kind_name(chat.kind).to_owned(),
            title: chat.title.clone(),
            topic: chat.topic.clone(),
            over: chat.over,
            full_name: chat.full_name.clone(),
            unread: chat.unread,
            queued: chat.queued,
            identity_changed: chat.identity_changed,
            last: chat.last.as_ref().map(MessageObject::with_state),
            mentions: chat.mentions,
            muted_until: chat.muted_until.map(rfc3339),
            timer: chat.timer,
            draft: chat.draft.clone(),
            request: chat.request,
            invited_by: chat.invited_by.clone(),
            blocked: chat.blocked,
            looks_like: chat.looks_like.clone(),
        }
    }
}

impl TryFrom<ChatObject> for Chat {
    type Error = Failure;

    fn try_from(object: ChatObject) -> Result<Self, Failure> {
        Ok(Self {
            kind: ChatKind::of(&object.chat),
            title: object.title,
            topic: object.topic,
            over: object.over,
            name: object.chat,
            full_name: object.full_name,
            last: object.last.map(Message::try_from).transpose()?,
            unread: object.unread,
            queued: object.queued,
            identity_changed: object.identity_changed,
            mentions: object.mentions,
            muted_until: object.muted_until.as_deref().map(milliseconds).transpose()?,
            timer: object.timer,
            draft: object.draft,
            request: object.request,
            invited_by: object.invited_by,
            blocked: object.blocked,
            looks_like: object.looks_like,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use waxwing_core::MessageId;

    pub(crate) fn message(content: Content, state: MessageState) -> Message {
        Message {
            id: "000102030405060708090a0b0c0d0e0f".parse().unwrap(),
            chat: "bob".into(),
            from: "alice".into(),
            seq: Some(7),
            sent_at: 1_700_000_000_123,
            received_at: 1_700_000_001_000,
            told_by: None,
            content,
            state,
            ..Message::default()
        }
    }

    pub(crate) fn crossed<T: Serialize + serde::de::DeserializeOwned>(object: &T) -> T {
        serde_json::from_str(&serde_json::to_string(object).unwrap()).unwrap()
    }

    #[test]
    fn a_message_crosses_the_socket_unchanged() {
        for message in [
            message(Content::Text("hi\n\u{1b}".into()), MessageState::Delivered),
            message(Content::Text("x".into()), MessageState::Failed("too late".into())),
            message(Content::Unknown, MessageState::Received),
            message(Content::Deleted { by: "bob".into() }, MessageState::Received),
            message(Content::Timer(None), MessageState::Received),
            message(
                Content::File(Box::new(File {
                    name: "a\u{1b}.txt".into(),
                    media_type: "text/plain".into(),
                    size: 5,
                    caption: "look".into(),
                    saved: Some("/home/al/a.txt".into()),
                    dimensions: Some((4032, 3024)),
                    duration_ms: Some(191_000),
                    thumbnail: true,
                })),
                MessageState::Received,
            ),
            message(Content::File(Box::default()), MessageState::Queued),
            message(Content::Timer(Some(60)), MessageState::Read),
            Message {
                reply_to: Some(Reply { author: "al".into(), id: MessageId::default(), excerpt: Some("why".into()) }),
                edited_at: Some(5),
                reactions: vec![Reaction { emoji: "👍".into(), by: vec!["al".into(), "bob".into()] }],
                pinned: true,
                lifetime: Some(60),
                expires_at: Some(1_700_000_000_123),
                ..message(Content::Text("because, @al".into()), MessageState::Received)
            },
            message(Content::Unreadable("no key".into()), MessageState::Received),
            message(Content::Notice("2 messages are missing here".into()), MessageState::Received),
        ] {
            assert_eq!(Message::try_from(crossed(&MessageObject::with_state(&message))).unwrap(), message);
        }
    }

    #[test]
    fn a_message_that_makes_no_sense_is_an_error_and_no_crash() {
        let mut object = MessageObject::with_state(&message(Content::Unknown, MessageState::Sent));
        object.sent_at = "yesterday".into();
        assert_eq!(Message::try_from(object).unwrap_err().exit_code(), 2);
    }
}
