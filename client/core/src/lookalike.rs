//! Names that look alike: `rnike` and `mike`, `al1ce` and `alice`, a Cyrillic `а` and a Latin one.
//!
//! The invariant: two names have the same look if a reader may take one for the other (UTS 39, and what monospaced letters of
//! usernames have in common besides). It must not know whose names they are.

use crate::{Chat, ChatKind};
use std::collections::HashMap;

/// What a name looks like; only to be compared with other looks.
pub fn look(name: &str) -> String {
    let name: String = name.to_lowercase().chars().filter(|c| !c.is_whitespace() && !"_.-#+'".contains(*c)).collect();
    let skeleton: String = unicode_security::skeleton(&name).collect();
    // 0 becomes O there.
    skeleton.to_lowercase().replace(['i', '1', '|'], "l").replace("vv", "w").replace("cl", "d")
}

/// Notes of each chat which other one could be taken for it.
pub(crate) fn note(chats: &mut [Chat], me: &str) {
    let mut known: HashMap<String, Vec<String>> = HashMap::new();
    known.entry(look(me)).or_default().push(me.to_owned());
    for chat in chats.iter().filter(|chat| !chat.over && chat.name != me) {
        known.entry(look(shown(chat))).or_default().push(chat.name.clone());
    }
    for chat in chats.iter_mut().filter(|chat| !chat.over) {
        let alike = known.get(&look(shown(chat)));
        chat.looks_like = alike.and_then(|alike| alike.iter().find(|other| **other != chat.name)).cloned();
    }
}

/// What a chat is shown as.
fn shown(chat: &Chat) -> &str {
    match (&chat.title, chat.kind) {
        (Some(title), ChatKind::Group) if !title.is_empty() => title,
        _ => &chat.name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_reader_may_confuse_look_the_same() {
        for (one, other) in [
            ("mike", "rnike"),
            ("alice", "a1ice"),
            ("alice", "aiice"),
            ("bob", "b0b"),
            ("bob", "b.ob_"),
            ("willy", "vvilly"),
            ("dan", "clan"),
            ("Anna", "\u{410}nn\u{430}"),
            ("Bird watchers", "Bird  watchers"),
            ("#general", "#genera1"),
        ] {
            assert_eq!(look(one), look(other), "{one} {other}");
        }
        for (one, other) in [("mike", "nike"), ("alice", "alicia"), ("bob", "bo"), ("anna", "hanna")] {
            assert_ne!(look(one), look(other), "{one} {other}");
        }
    }

    #[test]
    fn a_chat_is_told_from_another_one_and_from_oneself() {
        let chat = |name: &str, title: Option<&str>| Chat {
            name: name.into(),
            kind: ChatKind::of(name),
            title: title.map(str::to_owned),
            ..Chat::default()
        };
        let mut chats = [
            chat("mike", None),
            chat("rnike", None),
            chat("carol", None),
            chat("+000000000001", Some("Birds")),
            chat("+000000000002", Some("B\u{456}rds")),
            chat("a1ice", None),
            chat("alice", None),
        ];
        note(&mut chats, "alice");
        let alike: Vec<_> = chats.iter().map(|chat| chat.looks_like.as_deref()).collect();
        let expected = [
            Some("rnike"),
            Some("mike"),
            None,
            Some("+000000000002"),
            Some("+000000000001"),
            Some("alice"),
            Some("a1ice"),
        ];
        assert_eq!(alike, expected);
    }
}
