//! What users see of groups and rooms.

use crate::ChatKind;
use serde::{Deserialize, Serialize};

/// A change of a group that its members are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupChange {
    /// An account takes part from now on.
    Joined {
        /// Who.
        username: String,
    },
    /// An account went, as it wished.
    Left {
        /// Who.
        username: String,
    },
    /// An account was put out.
    Removed {
        /// Who.
        username: String,
    },
    /// An account has another role.
    Role {
        /// Who.
        username: String,
        /// Whether it is an admin now.
        admin: bool,
    },
    /// The group is called otherwise.
    Name {
        /// As typed: not made safe for a screen.
        name: String,
    },
    /// It has another topic.
    Topic {
        /// As typed; empty for none.
        topic: String,
    },
    /// Newcomers are told so many of the last messages.
    History {
        /// 0 for none.
        messages: u32,
    },
}

/// What a member asks to be changed of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// Lets these users in.
    Invite(Vec<String>),
    /// Puts these users out.
    Remove(Vec<String>),
    /// Makes a member an admin, or no longer.
    Role {
        /// Who.
        username: String,
        /// Whether they shall be one.
        admin: bool,
    },
    /// Calls it this.
    Name(String),
    /// Says what it is about.
    Topic(String),
    /// Lets newcomers see so many of the last messages.
    History(u32),
}

/// A public room of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// With its `#`.
    pub name: String,
    /// How many users take part; 0 if nobody has made it yet.
    pub members: u32,
    /// Whether this device is in it.
    pub joined: bool,
    /// Whether the server has new users come into it.
    pub is_default: bool,
}

/// A group or room as this device knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    /// The chat's name: `#room`, or `+` and digits.
    pub chat: String,
    /// Which it is.
    pub kind: ChatKind,
    /// What its members call it. As typed, like the topic: not made safe for a screen.
    pub title: String,
    /// What it is about.
    pub topic: String,
    /// How many of the last messages newcomers are told.
    pub history: u32,
    /// Whether this user may change it.
    pub admin: bool,
    /// Who takes part, by username.
    pub members: Vec<ChatMember>,
}

/// Somebody who takes part in a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatMember {
    /// Who.
    pub username: String,
    /// The full name, if they told it.
    pub full_name: Option<String>,
    /// Whether they manage the group.
    pub admin: bool,
    /// How many of their devices are in it.
    pub devices: u64,
    /// Whether it is this user.
    pub you: bool,
}
