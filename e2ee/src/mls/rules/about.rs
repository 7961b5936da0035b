//! What a group is called and how it treats newcomers.
//!
//! The invariant: bounded, and one encoding. This module must not know who may change it.

use minicbor::{Decode, Encode};

/// The most bytes of a group's name.
pub const NAME: usize = 128;
/// The most bytes of a topic.
pub const TOPIC: usize = 512;
/// The most accounts that a room bars.
const BARRED: usize = 256;
/// The most messages that a newcomer is told.
const HISTORY: u32 = 1000;

/// What a group or a room is, beside its participants. It travels inside ciphertexts only. Name and topic are as typed:
/// not made safe for a screen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
pub struct About {
    /// 1 to [`NAME`] bytes. A room keeps its name.
    #[n(0)]
    pub name: String,
    /// At most [`TOPIC`] bytes.
    #[n(1)]
    pub topic: String,
    /// How many of the last messages members tell a newcomer; 0 for none, at most 1000.
    #[n(2)]
    pub history: u32,
    /// Accounts that only an admin may let in (again), sorted, each once, at most `BARRED`.
    #[n(3)]
    pub barred: Vec<String>,
}

impl About {
    /// A group of this name, and nothing else to say about it.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Whether this account was put out.
    pub fn bars(&self, username: &str) -> bool {
        self.barred.binary_search_by(|one| one.as_str().cmp(username)).is_ok()
    }

    /// Puts an account out, or lets it in again. Beyond the limit nobody is added.
    pub(in crate::mls) fn set_barred(&mut self, username: &str, barred: bool) {
        match self.barred.binary_search_by(|one| one.as_str().cmp(username)) {
            Ok(place) if !barred => drop(self.barred.remove(place)),
            Err(place) if barred && self.barred.len() < BARRED => self.barred.insert(place, username.to_owned()),
            _ => {}
        }
    }

    pub(super) fn is_valid(&self) -> bool {
        let ascending = self.barred.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
        (1..=NAME).contains(&self.name.len())
            && self.topic.len() <= TOPIC
            && self.history <= HISTORY
            && self.barred.len() <= BARRED
            && self.barred.iter().all(|one| (1..=super::USERNAME).contains(&one.len()))
            && ascending
    }
}
