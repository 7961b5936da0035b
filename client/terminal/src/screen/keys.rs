//! Which key does what: the usual keys, and the `[keys]` table of the settings, which replaces them one by one.
//!
//! Keys that write and move in the text being typed are fixed; here are those that move about in the screen.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde::Deserialize;
use std::{collections::BTreeMap, fmt, str::FromStr};

/// What a key can be set to do.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// The list of keys and commands.
    Help,
    /// Go to a chat by its name, or start one.
    QuickSwitch,
    /// Find words in the chat.
    Search,
    /// Go to a chat with something new.
    NextUnread,
    /// The chat below in the list.
    NextChat,
    /// The chat above in the list.
    PreviousChat,
    /// A page back in the history.
    PageUp,
    /// A page on.
    PageDown,
    /// A line back.
    LineUp,
    /// A line on.
    LineDown,
    /// The oldest message.
    Oldest,
    /// The newest message.
    Newest,
    /// Select the message above.
    Select,
    /// A new line in the text.
    NewLine,
    /// Shows or hides the list of chats.
    Sidebar,
    /// Draw everything anew.
    Redraw,
    /// Back to the shell, for a while.
    Suspend,
    /// Leave, when pressed twice.
    Leave,
}

/// The keys as they are if nothing is set, in the order of the help.
const USUAL: &[(Action, &[&str], &str)] = &[
    (Action::Help, &["f1"], "this help (also ? where nothing is typed)"),
    (Action::QuickSwitch, &["ctrl+k"], "go to a chat, or start one"),
    (Action::NextUnread, &["alt+a"], "next chat with news"),
    (Action::NextChat, &["ctrl+pagedown"], "next chat in the list"),
    (Action::PreviousChat, &["ctrl+pageup"], "previous chat"),
    (Action::Search, &["ctrl+f"], "find words in the chat"),
    (Action::PageUp, &["pageup"], "back in the history"),
    (Action::PageDown, &["pagedown"], "on in the history"),
    (Action::LineUp, &["shift+up"], "a line back"),
    (Action::LineDown, &["shift+down"], "a line on"),
    (Action::Oldest, &["ctrl+home"], "the oldest message"),
    (Action::Newest, &["ctrl+end"], "the newest message"),
    (Action::Select, &["alt+up"], "select a message (also Up where nothing is typed)"),
    (Action::NewLine, &["alt+enter", "shift+enter", "ctrl+j"], "a new line"),
    (Action::Sidebar, &["f2"], "show or hide the list of chats"),
    (Action::Redraw, &["ctrl+l"], "draw everything anew"),
    (Action::Suspend, &["ctrl+z"], "back to the shell for a while"),
    (Action::Leave, &["ctrl+c"], "leave, when pressed twice"),
];

/// A key with what is held down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Chord {
    code: KeyCode,
    modifiers: KeyModifiers,
}

impl Chord {
    /// What a terminal reported, in the one way of saying it that is compared here.
    fn of(key: KeyEvent) -> Self {
        let mut modifiers = key.modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT | KeyModifiers::SHIFT);
        let code = match key.code {
            // A capital letter says Shift by itself.
            KeyCode::Char(character) => {
                modifiers.remove(KeyModifiers::SHIFT);
                match modifiers.contains(KeyModifiers::CONTROL) {
                    true => KeyCode::Char(character.to_ascii_lowercase()),
                    false => KeyCode::Char(character),
                }
            }
            code => code,
        };
        Self { code, modifiers }
    }
}

impl FromStr for Chord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("'{text}' is no key: write 'ctrl+k', 'alt+enter', 'f2' or 'pageup'");
        let mut parts: Vec<&str> = text.split('+').map(str::trim).collect();
        let name = parts.pop().filter(|name| !name.is_empty()).ok_or_else(unknown)?;
        let mut modifiers = KeyModifiers::NONE;
        for part in parts {
            modifiers |= match part.to_ascii_lowercase().as_str() {
                "ctrl" | "control" => KeyModifiers::CONTROL,
                "alt" | "meta" => KeyModifiers::ALT,
                "shift" => KeyModifiers::SHIFT,
                _ => return Err(unknown()),
            };
        }
        let lower = name.to_ascii_lowercase();
        let code = match lower.as_str() {
            "enter" | "return" => KeyCode::Enter,
            "tab" => KeyCode::Tab,
            "esc" | "escape" => KeyCode::Esc,
            "space" => KeyCode::Char(' '),
            "backspace" => KeyCode::Backspace,
            "delete" | "del" => KeyCode::Delete,
            "insert" => KeyCode::Insert,
            "up" => KeyCode::Up,
            "down" => KeyCode::Down,
            "left" => KeyCode::Left,
            "right" => KeyCode::Right,
            "home" => KeyCode::Home,
            "end" => KeyCode::End,
            "pageup" | "pgup" => KeyCode::PageUp,
            "pagedown" | "pgdn" => KeyCode::PageDown,
            _ => {
                let mut characters = name.chars();
                match (characters.next(), characters.next()) {
                    (Some(character), None) => KeyCode::Char(character),
                    _ => {
                        let number = lower.strip_prefix('f').and_then(|number| number.parse().ok());
                        KeyCode::F(number.filter(|number| (1..=24).contains(number)).ok_or_else(unknown)?)
                    }
                }
            }
        };
        let plain = matches!(code, KeyCode::Char(_)) && (modifiers - KeyModifiers::SHIFT).is_empty();
        if plain {
            return Err(format!("'{text}' is needed for writing: add ctrl or alt"));
        }
        Ok(Self::of(KeyEvent::new(code, modifiers)))
    }
}

impl fmt::Display for Chord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = [(KeyModifiers::CONTROL, "Ctrl+"), (KeyModifiers::ALT, "Alt+"), (KeyModifiers::SHIFT, "Shift+")];
        held.iter().filter(|(held, _)| self.modifiers.contains(*held)).try_for_each(|(_, name)| f.write_str(name))?;
        match self.code {
            KeyCode::Char(' ') => f.write_str("Space"),
            KeyCode::Char(character) => write!(f, "{}", character.to_uppercase()),
            KeyCode::F(number) => write!(f, "F{number}"),
            KeyCode::PageUp => f.write_str("PageUp"),
            KeyCode::PageDown => f.write_str("PageDown"),
            code => write!(f, "{code:?}"),
        }
    }
}

/// The `[keys]` table as the file has it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub(crate) struct KeyTable(BTreeMap<Action, toml::Value>);

/// The keys as they are.
#[derive(Clone, Debug)]
pub(crate) struct Keys(Vec<(Action, Vec<Chord>)>);

impl Default for Keys {
    fn default() -> Self {
        let chords = |keys: &[&str]| keys.iter().filter_map(|key| key.parse().ok()).collect();
        Self(USUAL.iter().map(|(action, keys, _)| (*action, chords(keys))).collect())
    }
}

impl Keys {
    /// The usual keys, with those of the table instead where it names them. No key may have two meanings.
    ///
    /// # Errors
    /// In words: a key that is none, or one that is given twice.
    pub(crate) fn set(table: &KeyTable) -> Result<Self, String> {
        let mut keys = Self::default();
        for (action, value) in &table.0 {
            let chords = match value {
                toml::Value::String(key) => vec![key.parse()?],
                toml::Value::Array(keys) => keys
                    .iter()
                    .map(|key| key.as_str().ok_or("a key is a text such as 'ctrl+k'")?.parse())
                    .collect::<Result<Vec<Chord>, String>>()?,
                _ => return Err("a key is a text such as 'ctrl+k', or a list of such texts".to_owned()),
            };
            if let Some(entry) = keys.0.iter_mut().find(|entry| entry.0 == *action) {
                entry.1 = chords;
            }
        }
        for (index, (_, chords)) in keys.0.iter().enumerate() {
            for chord in chords {
                if keys.0.iter().skip(index + 1).any(|(_, others)| others.contains(chord)) {
                    return Err(format!("the key {chord} would do two things"));
                }
            }
        }
        Ok(keys)
    }

    /// What the key does, if it is one of these.
    pub(super) fn action(&self, key: KeyEvent) -> Option<Action> {
        let chord = Chord::of(key);
        self.0.iter().find(|(_, chords)| chords.contains(&chord)).map(|(action, _)| *action)
    }

    /// The first key for this, in words; empty if there is none.
    pub(super) fn name(&self, action: Action) -> String {
        let chords = self.0.iter().find(|entry| entry.0 == action).and_then(|(_, chords)| chords.first());
        chords.map(ToString::to_string).unwrap_or_default()
    }

    /// Keys and what they do, for the help.
    pub(super) fn help(&self) -> impl Iterator<Item = (String, &'static str)> {
        USUAL.iter().filter_map(|(action, _, about)| {
            let name = self.name(*action);
            (!name.is_empty()).then_some((name, *about))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Result<Keys, String> {
        Keys::set(&toml::from_str(text).map_err(|error| error.to_string())?)
    }

    fn key(code: KeyCode, modifiers: KeyModifiers) -> KeyEvent {
        KeyEvent::new(code, modifiers)
    }

    #[test]
    fn the_usual_keys_are_all_there_and_differ() {
        let keys = set("").unwrap();
        assert!(keys.0.iter().zip(USUAL).all(|(set, usual)| set.1.len() == usual.1.len()));
        assert_eq!(keys.action(key(KeyCode::Char('k'), KeyModifiers::CONTROL)), Some(Action::QuickSwitch));
        assert_eq!(keys.action(key(KeyCode::Enter, KeyModifiers::ALT)), Some(Action::NewLine));
        assert_eq!(keys.action(key(KeyCode::Char('k'), KeyModifiers::NONE)), None);
        assert_eq!(keys.name(Action::NextUnread), "Alt+A");
    }

    #[test]
    fn a_key_of_the_table_replaces_the_usual_one() {
        let keys = set("quick_switch = ['ctrl+g', 'F3']\nsuspend = []").unwrap();
        assert_eq!(keys.action(key(KeyCode::Char('k'), KeyModifiers::CONTROL)), None);
        assert_eq!(keys.action(key(KeyCode::F(3), KeyModifiers::NONE)), Some(Action::QuickSwitch));
        assert_eq!(keys.action(key(KeyCode::Char('z'), KeyModifiers::CONTROL)), None);
        assert!(keys.help().all(|(_, about)| !about.contains("shell")));
    }

    #[test]
    fn a_wrong_table_is_said_and_not_passed_over() {
        for (table, word) in [
            ("serch = 'ctrl+g'", "serch"),
            ("search = 'ctlr+g'", "ctlr+g"),
            ("search = 'g'", "writing"),
            ("search = 'ctrl+k'", "two things"),
            ("search = 5", "text"),
            ("search = 'f99'", "f99"),
        ] {
            let error = set(table).unwrap_err();
            assert!(error.contains(word), "{table}: {error}");
        }
    }
}
