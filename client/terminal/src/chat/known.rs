//! The newest messages of the chat as they were shown: to say what has changed about one, and which one `^2` is.

use crate::{
    output::words,
    sanitise::{Breaks, preview, sanitise},
};
use std::collections::VecDeque;
use waxwing_core::{Content, Message, MessageId, Reaction};

/// How many messages are kept.
const KEPT: usize = 500;
/// How much of a message is quoted.
const QUOTE: usize = 40;

/// For what a message is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To do something with what somebody said.
    Any,
    /// To change what one has said.
    Own,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Known(VecDeque<Message>);

impl Known {
    /// A message was shown as the newest.
    pub(crate) fn add(&mut self, message: Message) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(message);
    }

    /// The message that is meant: the nth newest, or without a number the newest that one would mean.
    pub(crate) fn pick(&self, back: Option<usize>, purpose: Purpose, me: &str) -> Option<&Message> {
        let able = |message: &&Message| !matches!(message.content, Content::Deleted { .. } | Content::Unreadable(_));
        let newest = || self.0.iter().rev();
        match (back, purpose) {
            (Some(back), _) => newest().nth(back.checked_sub(1)?),
            (None, Purpose::Own) => newest().find(|message| message.from == me && able(message)),
            (None, Purpose::Any) => {
                newest().find(|message| message.from != me && able(message)).or_else(|| newest().find(able))
            }
        }
    }

    /// The newest messages with their numbers, oldest first.
    pub(crate) fn numbered(&self, count: usize) -> impl Iterator<Item = (usize, &Message)> {
        let first = self.0.len().saturating_sub(count);
        let total = self.0.len();
        self.0.iter().enumerate().skip(first).map(move |(at, message)| (total - at, message))
    }

    /// A message is not here any more.
    pub(crate) fn remove(&mut self, id: MessageId, from: &str) -> Option<Message> {
        let at = self.0.iter().position(|message| message.id == id && message.from == from)?;
        self.0.remove(at)
    }

    /// A message has changed: what to say about it, nothing if it was not shown.
    pub(crate) fn change(&mut self, new: Message, me: &str) -> Vec<String> {
        let Some(old) = self.0.iter_mut().find(|known| known.id == new.id && known.from == new.from) else {
            return Vec::new();
        };
        let old = std::mem::replace(old, new.clone());
        let who = |name: &str| if name == me { "you".to_owned() } else { sanitise(name, Breaks::Spaces) };
        if let Content::Deleted { by } = &new.content {
            return match old.content {
                Content::Deleted { .. } => Vec::new(),
                _ => vec![format!("{} deleted: {}", who(by), quote(&old))],
            };
        }
        let mut lines = Vec::new();
        // Files do not change; where one was saved is nobody else's business.
        if new.content != old.content && !matches!(new.content, Content::File(_)) {
            lines.push(format!("{} changed \"{}\" to: {}", who(&new.from), quote(&old), said(&new)));
        }
        for (by, emoji) in missing(&new.reactions, &old.reactions) {
            lines.push(format!("{} put {} under: {}", who(by), sanitise(emoji, Breaks::Spaces), quote(&new)));
        }
        for (by, emoji) in missing(&old.reactions, &new.reactions) {
            lines.push(format!("{} took {} away from: {}", who(by), sanitise(emoji, Breaks::Spaces), quote(&new)));
        }
        match (old.pinned, new.pinned) {
            (false, true) => lines.push(format!("pinned: {}", quote(&new))),
            (true, false) => lines.push(format!("not pinned any more: {}", quote(&new))),
            _ => {}
        }
        lines
    }
}

/// The reactions of one list that the other does not have.
fn missing<'a>(these: &'a [Reaction], those: &'a [Reaction]) -> impl Iterator<Item = (&'a str, &'a str)> {
    let all = these.iter().flat_map(|one| one.by.iter().map(move |by| (by.as_str(), one.emoji.as_str())));
    all.filter(|(by, emoji)| !those.iter().any(|one| one.emoji == *emoji && one.by.iter().any(|who| who == by)))
}

fn said(message: &Message) -> String {
    words(&message.content, Breaks::Spaces)
}

/// How a message begins, on one line.
pub(crate) fn quote(message: &Message) -> String {
    preview(&said(message), QUOTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u8, from: &str, text: &str) -> Message {
        Message {
            id: format!("{number:032x}").parse().unwrap(),
            from: from.into(),
            content: Content::Text(text.into()),
            ..Message::default()
        }
    }

    fn known() -> Known {
        let mut known = Known::default();
        for message in [message(1, "bob", "one"), message(2, "alice", "two"), message(3, "alice", "three")] {
            known.add(message);
        }
        known
    }

    #[test]
    fn the_message_that_one_would_mean_is_picked() {
        let known = known();
        let text = |back, purpose| known.pick(back, purpose, "alice").map(quote);
        assert_eq!(text(None, Purpose::Any).as_deref(), Some("one"));
        assert_eq!(text(None, Purpose::Own).as_deref(), Some("three"));
        assert_eq!(text(Some(2), Purpose::Own).as_deref(), Some("two"));
        assert_eq!((text(Some(0), Purpose::Any), text(Some(4), Purpose::Any)), (None, None));
        let numbers: Vec<_> = known.numbered(2).map(|(number, message)| (number, quote(message))).collect();
        assert_eq!(numbers, [(2, "two".to_owned()), (1, "three".to_owned())]);
    }

    #[test]
    fn what_changed_is_said_once_and_cannot_fake_a_line() {
        let mut known = known();
        let edited = message(1, "bob", "won\n12:00 alice: fake\u{1b}[2J");
        let lines = known.change(edited.clone(), "alice");
        assert_eq!(lines, ["bob changed \"one\" to: won 12:00 alice: fake␛[2J"]);
        assert!(known.change(edited.clone(), "alice").is_empty());
        let reaction = |by: &[&str]| Reaction { emoji: "👍".into(), by: by.iter().map(|&by| by.into()).collect() };
        let liked =
            Message { reactions: vec![reaction(&["bob", "alice"])], pinned: true, ..message(2, "alice", "two") };
        assert_eq!(
            known.change(liked.clone(), "alice"),
            ["bob put 👍 under: two", "you put 👍 under: two", "pinned: two"]
        );
        let less = Message { reactions: vec![reaction(&["bob"])], pinned: false, ..liked };
        assert_eq!(known.change(less, "alice"), ["you took 👍 away from: two", "not pinned any more: two"]);
        let deleted = Message { content: Content::Deleted { by: "alice".into() }, ..message(3, "alice", "") };
        assert_eq!(known.change(deleted, "alice"), ["you deleted: three"]);
        assert!(known.change(message(9, "bob", "not shown"), "alice").is_empty());
    }
}
