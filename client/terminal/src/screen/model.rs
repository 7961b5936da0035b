//! What the screen knows: the chats, the parts of their histories that are loaded, the text being typed, what lies on
//! top. It is changed by `update` alone and read by `view`; it does nothing and asks nobody.

use super::{
    completion::Completion,
    composer::Composer,
    keys::Keys,
    layout::Layout,
    picture::{Graphics, Pictures},
    settings::Settings,
    theme::Theme,
    window::{Key, Window},
};
use crate::{output::words, rpc::trust::IdentityObject, sanitise::Breaks};
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, HashMap};
use waxwing_core::{Chat, ChatKind, Message, Presence, Present, Snippet, look};

/// How long something that was said in passing shows, in milliseconds.
pub(super) const PASSING: u64 = 6_000;

/// The connection, as the status line tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Not tried yet, or being tried.
    Connecting,
    Online,
    /// Tried again at this time, if at all.
    Offline {
        reason: String,
        again_at: Option<u64>,
    },
}

/// Something said in passing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Toast {
    /// Safe to show.
    pub(super) words: String,
    pub(super) grave: bool,
    pub(super) until: u64,
}

/// What lies on top of the chat and has the keyboard.
#[derive(Clone, Debug)]
pub(super) enum Overlay {
    /// Keys and commands, from this row on.
    Help(usize),
    /// Chats whose names fit what was typed; which one is chosen.
    Switch { typed: Composer, chosen: usize },
    /// Words to look for in the chat.
    Search { typed: Composer },
    /// Messages to go to: what a search over all chats found, or what is pinned; none while it is asked for.
    Found { title: String, hits: Option<Vec<Hit>>, chosen: usize },
    /// An emoji for this message.
    React { message: Key, typed: Composer },
    /// The safety number to compare; none while it is asked for.
    Verify { name: String, identity: Option<Box<IdentityObject>> },
}

/// A message to go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) message: Message,
    /// The part of it that was found, and where in it the words stand.
    pub(super) snippet: Snippet,
}

impl Hit {
    /// A message with all of its text.
    pub(super) fn whole(message: Message) -> Self {
        let text = words(&message.content, Breaks::Spaces);
        Self { message, snippet: Snippet { text, matches: Vec::new() } }
    }
}

/// What becomes of what is typed when it is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A message.
    #[default]
    Say,
    /// An answer to this one.
    Reply(Key),
    /// The new text of this one.
    Edit(Key),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) me: String,
    pub(super) keys: Keys,
    pub(super) theme: Theme,
    pub(super) settings: Settings,
    pub(super) zone: TimeZone,
    /// Columns and rows.
    pub(super) size: (u16, u16),
    pub(super) list_shown: bool,
    /// The first row of the list that shows.
    pub(super) list_from: usize,
    /// The one with the newest message first.
    pub(super) chats: Vec<Chat>,
    /// The chat that is open.
    pub(super) open: Option<String>,
    pub(super) windows: HashMap<String, Window>,
    pub(super) composer: Composer,
    pub(super) purpose: Purpose,
    pub(super) completion: Option<Completion>,
    /// What was typed in chats that are not open.
    pub(super) drafts: HashMap<String, String>,
    pub(super) overlay: Option<Overlay>,
    /// The message that keys are about.
    pub(super) selected: Option<Key>,
    /// The message that one more key deletes.
    pub(super) deleting: Option<Key>,
    /// Words that are marked in the messages.
    pub(super) marked: String,
    pub(super) link: Link,
    /// Who is typing in which chat, and until when that is believed.
    pub(super) typing: HashMap<String, (String, u64)>,
    /// When the others were told last that the user is typing.
    pub(super) told_typing: Option<u64>,
    /// Who is there, by chat.
    pub(super) present: HashMap<String, BTreeMap<String, Presence>>,
    /// The names of those whom the user has chats with, by what they look like.
    pub(super) looks: HashMap<String, String>,
    /// What the others were told of this user, and when.
    pub(super) told_presence: Option<(Presence, u64)>,
    pub(super) identities: HashMap<String, IdentityObject>,
    pub(super) pictures: Pictures,
    /// How far files have come that are on their way: bytes, of how many, and when that was.
    pub(super) transfers: HashMap<(String, Key), (u64, u64, u64)>,
    pub(super) toast: Option<Toast>,
    /// Ctrl+C was pressed once.
    pub(super) leaving: bool,
    /// Whether the terminal says that somebody looks at it.
    pub(super) focused: bool,
    /// Nobody has pressed a key for a while.
    pub(super) away: bool,
    pub(super) last_key: u64,
    /// Milliseconds since 1970, as of the last input.
    pub(super) now: u64,
    /// How many messages of a backup are restored, while they are.
    pub(super) restoring: Option<(u64, u64)>,
    /// Until then nothing rings.
    pub(super) quiet_until: u64,
    /// Whether a search goes on as soon as older messages are here.
    pub(super) searching: bool,
}

impl Model {
    pub(super) fn new(me: String, settings: Settings, zone: TimeZone, size: (u16, u16), now: u64) -> Self {
        Self {
            me,
            keys: settings.keys.clone(),
            theme: Theme::new(settings.palette, settings.colours),
            settings,
            zone,
            size,
            list_shown: true,
            list_from: 0,
            chats: Vec::new(),
            open: None,
            windows: HashMap::new(),
            composer: Composer::default(),
            purpose: Purpose::Say,
            completion: None,
            drafts: HashMap::new(),
            overlay: None,
            selected: None,
            deleting: None,
            marked: String::new(),
            link: Link::Connecting,
            typing: HashMap::new(),
            told_typing: None,
            present: HashMap::new(),
            looks: HashMap::new(),
            told_presence: None,
            identities: HashMap::new(),
            pictures: Pictures::new(Graphics::Off),
            transfers: HashMap::new(),
            toast: None,
            leaving: false,
            focused: true,
            away: false,
            last_key: now,
            now,
            restoring: None,
            quiet_until: 0,
            searching: false,
        }
    }

    pub(super) fn layout(&self) -> Layout {
        Layout::new(self.size, self.list_shown, |columns| self.composer.rows(columns).0.len())
    }

    pub(super) fn window(&self) -> Option<&Window> {
        self.windows.get(self.open.as_ref()?)
    }

    pub(super) fn window_mut(&mut self) -> Option<&mut Window> {
        self.windows.get_mut(self.open.as_ref()?)
    }

    pub(super) fn entry(&self, name: &str) -> Option<&Chat> {
        self.chats.iter().find(|entry| entry.name == name)
    }

    pub(super) fn entry_mut(&mut self, name: &str) -> Option<&mut Chat> {
        self.chats.iter_mut().find(|entry| entry.name == name)
    }

    /// The chat that a user means: by its name, or by what its group is called.
    pub(super) fn chat_called(&self, given: &str) -> String {
        let lower = given.to_lowercase();
        let named = self.chats.iter().find(|chat| chat.name == lower);
        let titled =
            || self.chats.iter().find(|chat| chat.title.as_deref().is_some_and(|title| title.to_lowercase() == lower));
        named.or_else(titled).map_or(lower.clone(), |chat| chat.name.clone())
    }

    /// Whom somebody could be taken for: one of those whom the user has chats with, or the user.
    pub(super) fn taken_for(&self, username: &str) -> Option<&str> {
        self.looks.get(&look(username)).map(String::as_str).filter(|known| *known != username)
    }

    /// What the chat of this name is called.
    pub(super) fn called(&self, name: &str) -> String {
        self.entry(name).map_or_else(|| super::safe(name), super::label)
    }

    /// Whether somebody is there, as far as any chat tells.
    pub(super) fn presence(&self, username: &str) -> Presence {
        self.present.values().filter_map(|present| present.get(username)).max().copied().unwrap_or_default()
    }

    /// How many others are there in a chat.
    pub(super) fn company(&self, chat: &str) -> usize {
        let others = |present: &BTreeMap<String, Presence>| present.keys().filter(|name| **name != self.me).count();
        self.present.get(chat).map_or(0, others)
    }

    /// Notes what the names of those look like whom the user has accepted.
    pub(super) fn note_looks(&mut self) {
        let known = self.chats.iter().filter(|chat| chat.kind == ChatKind::Direct && !chat.request && !chat.blocked);
        self.looks = known.rev().map(|chat| (look(&chat.name), chat.name.clone())).collect();
        self.looks.insert(look(&self.me), self.me.clone());
    }

    /// Somebody has come, is away, or has gone.
    pub(super) fn note_present(&mut self, present: Present) {
        let Present { chat, username, presence } = present;
        let here = self.present.entry(chat).or_default();
        match presence {
            Presence::Gone => drop(here.remove(&username)),
            presence => drop(here.insert(username, presence)),
        }
    }

    /// Somebody looks at the open chat: what is in it is read.
    pub(super) fn is_watched(&self) -> bool {
        self.focused && !self.away
    }
}

/// Where a text names this user: `@name` that is no part of a longer word.
pub(super) fn mention<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = std::ops::Range<usize>> + 'a {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    text.char_indices().filter(|(_, c)| *c == '@').filter_map(move |(start, _)| {
        let after = text.get(start + 1..)?;
        let named = after.get(..name.len())?;
        let next = after.get(name.len()..)?;
        // A sentence may end behind the name.
        let next = next.trim_start_matches(['.', '-']);
        let before = text.get(..start)?.chars().next_back();
        let whole = named.eq_ignore_ascii_case(name) && !next.starts_with(part) && !before.is_some_and(part);
        (whole && !name.is_empty()).then_some(start..start + 1 + name.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mention_is_a_whole_name() {
        let found = |text| mention(text, "bob").collect::<Vec<_>>();
        assert_eq!(found("hi @bob!"), vec![std::ops::Range { start: 3, end: 7 }]);
        assert_eq!(found("@Bob. @bobby a@bob @bob"), [0..4, 19..23]);
        assert!(found("bob").is_empty() && found("@bo").is_empty() && found("@böb").is_empty());
    }
}
