//! How chats are named: a direct chat by the other user, a public room `#name`, a private group `+` and the first digits of its
//! id. What a private group is called is its members' affair, and may be the name of several.
//!
//! The invariant: a chat's name never changes, and says of which kind it is. It must not know groups' rules.

use crate::{
    Error,
    account::username,
    store::{
        chats::{self, ChatRow, Phase},
        groups,
    },
};
use rusqlite::Connection;
use waxwing_protocol::RoomName;

/// How many digits of its id name a private group.
const DIGITS: usize = 12;

/// What a chat is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ChatKind {
    /// With one other user, or with oneself.
    #[default]
    Direct,
    /// By invitation.
    Group,
    /// Public.
    Room,
}

impl ChatKind {
    /// The kind of a chat of this name.
    pub fn of(name: &str) -> Self {
        match name.as_bytes().first() {
            Some(b'#') => Self::Room,
            Some(b'+') => Self::Group,
            _ => Self::Direct,
        }
    }
}

/// The name of a private group.
pub(crate) fn group(id: &[u8; 16]) -> String {
    let digits: String = id.iter().map(|byte| format!("{byte:02x}")).take(DIGITS / 2).collect();
    format!("+{digits}")
}

/// Whether this is a chat's name as it is stored.
pub(crate) fn is_name(name: &str) -> bool {
    match ChatKind::of(name) {
        ChatKind::Direct => username(name).is_ok_and(|checked| checked.as_str() == name),
        ChatKind::Room => name.parse::<RoomName>().is_ok_and(|room| room.to_string() == name),
        ChatKind::Group => {
            let digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
            name.len() == DIGITS + 1 && name.bytes().skip(1).all(digit)
        }
    }
}

/// The name of the chat that a user means: a username, `#room`, `+id`, or what a private group is called.
///
/// # Errors
/// [`Error::AmbiguousChat`] if several groups are called that, and [`Error::BadUsername`] if it can be no chat at all.
pub(crate) fn resolve(db: &Connection, text: &str) -> Result<String, Error> {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    if chats::by_name(db, &lower)?.is_some() {
        return Ok(lower);
    }
    let mut called = groups::titled(db, text)?;
    if called.is_empty() && ChatKind::of(text) == ChatKind::Room {
        called = groups::titled(db, text.trim_start_matches('#'))?;
    }
    match called.as_slice() {
        [one] => return Ok(one.clone()),
        [] => {}
        _ => return Err(Error::AmbiguousChat { name: text.to_owned(), ids: called }),
    }
    match ChatKind::of(text) {
        ChatKind::Direct => username(text).map(|name| name.to_string()),
        ChatKind::Room => room(text).map(|room| room.to_string()),
        ChatKind::Group if is_name(&lower) => Ok(lower),
        ChatKind::Group => Err(Error::UnknownChat(text.to_owned())),
    }
}

/// The chat of this name, to write in: made if it is a direct one.
pub(crate) fn writable(db: &Connection, name: &str) -> Result<ChatRow, Error> {
    match (ChatKind::of(name), chats::by_name(db, name)?) {
        (ChatKind::Direct, _) => chats::ensure(db, name),
        (_, Some(row)) if row.phase == Phase::Over => Err(Error::NotInChat(name.to_owned())),
        (_, Some(row)) => Ok(row),
        (_, None) => Err(Error::UnknownChat(name.to_owned())),
    }
}

/// A public room's name.
pub(crate) fn room(text: &str) -> Result<RoomName, Error> {
    text.parse().map_err(|error| Error::BadInput(format!("'{text}' is not a room: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_it_is() {
        for name in ["bob", "#birds", "+0123456789ab"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "#", "+", "Bob", "#Birds", "+0123456789AB", "+0123456789", "+0123456789abc", "## x"] {
            assert!(!is_name(name), "{name}");
        }
        assert_eq!(group(&[0xab; 16]), "+abababababab");
        assert_eq!(
            [ChatKind::of("bob"), ChatKind::of("#b"), ChatKind::of("+1")],
            [ChatKind::Direct, ChatKind::Room, ChatKind::Group]
        );
    }
}
