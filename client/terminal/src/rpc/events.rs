//! The shapes of events in JSON, for the socket. They are an API; each conversion loses nothing.

use super::{
    backup::RestoredObject,
    groups::GroupChangeObject,
    objects::{MessageObject, milliseconds, state, state_name},
    presence::Presence,
};
use crate::{Failure, output::rfc3339};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use waxwing_core::{Connection, Event, MessageState, Present, Transfer};

/// Something that happened, as the notification `event` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum EventObject {
    /// The connection is being made.
    Connecting,
    /// The server is connected.
    Online,
    /// The server is not connected.
    Offline {
        /// Why.
        reason: String,
        /// When it is tried again; none: not by itself.
        retry_in_ms: Option<u64>,
    },
    /// Everything that the server had is here.
    CaughtUp,
    /// A new message, of others or of one's own.
    Message {
        /// The message.
        message: MessageObject,
    },
    /// Something was done to a message: it was edited, deleted, reacted to or pinned.
    Changed {
        /// The message as it is now.
        message: MessageObject,
    },
    /// A message is not here any more.
    Gone {
        /// The chat.
        chat: String,
        /// The message.
        id: String,
        /// Its author's username.
        from: String,
    },
    /// A chat looks different in the list of chats.
    ChatChanged {
        /// The chat.
        chat: String,
    },
    /// Somebody is typing, or not any more; true for some six seconds.
    Typing {
        /// The chat.
        chat: String,
        /// Who.
        username: String,
        /// Whether they are.
        typing: bool,
    },
    /// Somebody has come, is away, or has gone. The chat is one that both are in; in others they are told of, too.
    Presence {
        /// The chat.
        chat: String,
        /// Who.
        username: String,
        /// here, away or gone.
        presence: Presence,
    },
    /// A stranger has written, or invites into a group; nothing of it is shown until it is accepted.
    Request {
        /// Who; the chat's name.
        username: String,
        /// Who invites, if the chat is a group.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        invited_by: Option<String>,
    },
    /// An own message came further, or failed.
    State {
        /// The chat.
        chat: String,
        /// The message.
        id: String,
        /// queued, sent, delivered, read or failed.
        state: String,
        /// Why it failed.
        reason: Option<String>,
        /// Its place in the chat, once known.
        seq: Option<u64>,
    },
    /// A user's identity is not the one that this device knows: nothing is sent to them.
    IdentityChanged {
        /// Who.
        username: String,
    },
    /// This profile could not go on as the device that it was, and is another one now. Its history stays.
    EnrolledAnew {
        /// The new device's id, 32 hexadecimal digits.
        device: String,
    },
    /// A user has a new identity, which the one that was known vouched for. Nothing is held.
    IdentityRenewed {
        /// Who.
        username: String,
        /// Whether the former one's safety number was compared.
        verified: bool,
    },
    /// The server has a new key, which the one that this profile knew vouches for.
    ServerKeyReplaced,
    /// Somebody told their full name.
    Profile {
        /// Who.
        username: String,
        /// The name.
        full_name: Option<String>,
    },
    /// An account has a new device.
    DeviceAdded {
        /// Whose.
        username: String,
        /// Its id, 32 hexadecimal digits.
        device: String,
        /// What our own account calls it, if it is ours and has a name.
        name: Option<String>,
        /// When its account listed it (RFC 3339, UTC).
        since: String,
    },
    /// An account has signed a device out.
    DeviceRemoved {
        /// Whose.
        username: String,
        /// Its id, 32 hexadecimal digits.
        device: String,
    },
    /// The server's operator says something to everybody. It is the server's word and no message.
    Announcement {
        /// What.
        text: String,
        /// When, by the server's clock (RFC 3339, UTC).
        sent_at: String,
    },
    /// Something of a group or room changed. The chat has a line about it, too.
    Group {
        /// The chat.
        chat: String,
        /// Who did it.
        by: String,
        /// What.
        change: GroupChangeObject,
    },
    /// Messages came back from the backup.
    Restoring(RestoredObject),
    /// Everything that the backup had for this device is here, save what was refused.
    Restored(RestoredObject),
    /// A message's file has come further on its way.
    Transfer {
        /// The chat.
        chat: String,
        /// The message.
        id: String,
        /// Its author's username.
        from: String,
        /// Whether it is being sent; else it is being fetched.
        sending: bool,
        /// How many bytes of it are there.
        done: u64,
        /// Of how many.
        total: u64,
    },
    /// The profile was locked; the connection ends.
    Locked,
    /// This subscriber was too slow: so many events were left out.
    Missed {
        /// How many.
        count: u64,
    },
    /// Something that this version does not know.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

impl From<&Event> for EventObject {
    fn from(event: &Event) -> Self {
        match event {
            Event::Connection(Connection::Connecting) => Self::Connecting,
            Event::Connection(Connection::Online) => Self::Online,
            Event::Connection(Connection::Offline { reason, retry_in }) => Self::Offline {
                reason: reason.clone(),
                retry_in_ms: retry_in.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
            },
            Event::CaughtUp => Self::CaughtUp,
            Event::Message(message) => Self::Message { message: MessageObject::with_state(message) },
            Event::Changed(message) => Self::Changed { message: MessageObject::with_state(message) },
            Event::Gone { chat, id, from } => Self::Gone { chat: chat.clone(), id: id.to_string(), from: from.clone() },
            Event::ChatChanged { chat } => Self::ChatChanged { chat: chat.clone() },
            Event::Typing { chat, username, typing } => {
                Self::Typing { chat: chat.clone(), username: username.clone(), typing: *typing }
            }
            Event::Presence(Present { chat, username, presence }) => {
                Self::Presence { chat: chat.clone(), username: username.clone(), presence: (*presence).into() }
            }
            Event::Request { username, invited_by } => {
                Self::Request { username: username.clone(), invited_by: invited_by.clone() }
            }
            Event::State { chat, id, state, seq } => Self::State {
                chat: chat.clone(),
                id: id.to_string(),
                state: state_name(state).to_owned(),
                reason: match state {
                    MessageState::Failed(reason) => Some(reason.clone()),
                    _ => None,
                },
                seq: *seq,
            },
            Event::IdentityChanged { username } => Self::IdentityChanged { username: username.clone() },
            Event::IdentityRenewed { username, verified } => {
                Self::IdentityRenewed { username: username.clone(), verified: *verified }
            }
            Event::EnrolledAnew { device } => Self::EnrolledAnew { device: device.clone() },
            Event::ServerKeyReplaced => Self::ServerKeyReplaced,
            Event::Profile { username, full_name } => {
                Self::Profile { username: username.clone(), full_name: full_name.clone() }
            }
            Event::DeviceAdded { username, device, name, since } => Self::DeviceAdded {
                username: username.clone(),
                device: device.clone(),
                name: name.clone(),
                since: rfc3339(*since),
            },
            Event::DeviceRemoved { username, device } => {
                Self::DeviceRemoved { username: username.clone(), device: device.clone() }
            }
            Event::Group { chat, by, change } => {
                Self::Group { chat: chat.clone(), by: by.clone(), change: change.into() }
            }
            Event::Transfer(Transfer { chat, id, from, sending, done, total }) => Self::Transfer {
                chat: chat.clone(),
                id: id.to_string(),
                from: from.clone(),
                sending: *sending,
                done: *done,
                total: *total,
            },
            Event::Restoring(progress) => Self::Restoring((*progress).into()),
            Event::Restored(progress) => Self::Restored((*progress).into()),
            Event::Announcement { text, time_ms } => {
                Self::Announcement { text: text.clone(), sent_at: rfc3339(*time_ms) }
            }
        }
    }
}

impl EventObject {
    /// The event as the core has it; none for what is about this subscription only, or unknown.
    pub(crate) fn event(self) -> Result<Option<Event>, Failure> {
        Ok(Some(match self {
            Self::Connecting => Event::Connection(Connection::Connecting),
            Self::Online => Event::Connection(Connection::Online),
            Self::Offline { reason, retry_in_ms } => {
                Event::Connection(Connection::Offline { reason, retry_in: retry_in_ms.map(Duration::from_millis) })
            }
            Self::CaughtUp => Event::CaughtUp,
            Self::Message { message } => Event::Message(message.try_into()?),
            Self::Changed { message } => Event::Changed(message.try_into()?),
            Self::Gone { chat, id, from } => Event::Gone { chat, id: id.parse()?, from },
            Self::ChatChanged { chat } => Event::ChatChanged { chat },
            Self::Typing { chat, username, typing } => Event::Typing { chat, username, typing },
            Self::Presence { chat, username, presence } => {
                Event::Presence(Present { chat, username, presence: presence.into() })
            }
            Self::Request { username, invited_by } => Event::Request { username, invited_by },
            Self::State { chat, id, state: name, reason, seq } => {
                Event::State { chat, id: id.parse()?, state: state(&name, reason)?, seq }
            }
            Self::IdentityChanged { username } => Event::IdentityChanged { username },
            Self::IdentityRenewed { username, verified } => Event::IdentityRenewed { username, verified },
            Self::EnrolledAnew { device } => Event::EnrolledAnew { device },
            Self::ServerKeyReplaced => Event::ServerKeyReplaced,
            Self::Profile { username, full_name } => Event::Profile { username, full_name },
            Self::DeviceAdded { username, device, name, since } => {
                Event::DeviceAdded { username, device, name, since: milliseconds(&since)? }
            }
            Self::DeviceRemoved { username, device } => Event::DeviceRemoved { username, device },
            Self::Announcement { text, sent_at } => Event::Announcement { text, time_ms: milliseconds(&sent_at)? },
            Self::Group { chat, by, change } => Event::Group { chat, by, change: change.into() },
            Self::Transfer { chat, id, from, sending, done, total } => {
                Event::Transfer(Transfer { chat, id: id.parse()?, from, sending, done, total })
            }
            Self::Restoring(progress) => Event::Restoring(progress.into()),
            Self::Restored(progress) => Event::Restored(progress.into()),
            Self::Locked | Self::Missed { .. } | Self::Other => return Ok(None),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::objects::tests::{crossed, message};
    use waxwing_core::{Content, GroupChange};

    #[test]
    fn an_event_crosses_the_socket_unchanged() {
        let id = "000102030405060708090a0b0c0d0e0f".parse().unwrap();
        for event in [
            Event::Connection(Connection::Connecting),
            Event::Connection(Connection::Online),
            Event::Connection(Connection::Offline { reason: "r".into(), retry_in: Some(Duration::from_millis(1500)) }),
            Event::CaughtUp,
            Event::Message(message(Content::Text("hi".into()), MessageState::Received)),
            Event::Changed(message(Content::Deleted { by: "bob".into() }, MessageState::Received)),
            Event::Gone { chat: "bob".into(), id, from: "al".into() },
            Event::ChatChanged { chat: "bob".into() },
            Event::Request { username: "bob".into(), invited_by: None },
            Event::Request { username: "#birds".into(), invited_by: Some("bob".into()) },
            Event::Typing { chat: "bob".into(), username: "bob".into(), typing: true },
            Event::Presence(Present {
                chat: "#birds".into(),
                username: "bob".into(),
                presence: waxwing_core::Presence::Away,
            }),
            Event::State { chat: "bob".into(), id, state: MessageState::Failed("r".into()), seq: None },
            Event::State { chat: "bob".into(), id, state: MessageState::Sent, seq: Some(3) },
            Event::IdentityChanged { username: "bob".into() },
            Event::Profile { username: "bob".into(), full_name: None },
            Event::DeviceAdded { username: "bob".into(), device: "00".into(), name: Some("laptop".into()), since: 5 },
            Event::DeviceRemoved { username: "bob".into(), device: "00".into() },
            Event::EnrolledAnew { device: "00".into() },
            Event::ServerKeyReplaced,
            Event::Group {
                chat: "#birds".into(),
                by: "bob".into(),
                change: GroupChange::Role { username: "al".into(), admin: false },
            },
            Event::Announcement { text: "down at noon".into(), time_ms: 1_700_000_000_123 },
        ] {
            assert_eq!(crossed(&EventObject::from(&event)).event().unwrap(), Some(event));
        }
    }

    #[test]
    fn an_event_of_a_newer_version_is_passed_over() {
        let newer: EventObject = serde_json::from_str(r#"{"kind":"eclipse","of":"the moon"}"#).unwrap();
        assert_eq!(newer.event().unwrap(), None);
    }
}
