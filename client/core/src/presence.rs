//! Who is there, as users see it.

use serde::{Deserialize, Serialize};

/// Whether somebody is there, as they or other members say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Not seen: not there, hidden, or with a program that says nothing of it.
    #[default]
    Gone,
    /// There, but without touching a key for a while.
    Away,
    /// There.
    Here,
}

/// Somebody who is there, in a chat that both are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// The chat.
    pub chat: String,
    /// Who.
    pub username: String,
    /// How.
    pub presence: Presence,
}
