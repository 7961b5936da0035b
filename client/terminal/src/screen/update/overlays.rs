//! Keys for what lies on top of the chat: help, quick switch, search, the safety number.

use super::Effect;
use crate::{
    group_commands::GroupTyped,
    output::words,
    sanitise::Breaks,
    screen::{
        blocks::found,
        composer::{By, Composer, Towards},
        keys::Action,
        model::{Model, Overlay},
        window::{Wanted, key},
    },
};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use waxwing_core::check_username;

/// What Enter does in the quick switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::screen) enum Destination {
    /// A chat that there is.
    Chat(String),
    /// A chat to begin with this user.
    New(String),
    /// A room to come into.
    Join(String),
}

impl Model {
    pub(super) fn overlay_key(&mut self, key: KeyEvent, action: Option<Action>) -> Vec<Effect> {
        if key.code == KeyCode::Esc {
            self.overlay = None;
            self.searching = false;
            return Vec::new();
        }
        match &mut self.overlay {
            Some(Overlay::Help(from)) => {
                match (key.code, action) {
                    (KeyCode::Up, _) => *from = from.saturating_sub(1),
                    (KeyCode::Down, _) => *from += 1,
                    (_, Some(Action::PageUp)) => *from = from.saturating_sub(10),
                    (_, Some(Action::PageDown)) => *from += 10,
                    _ => self.overlay = None,
                }
                Vec::new()
            }
            Some(Overlay::Switch { .. }) => self.switch_key(key, action),
            Some(Overlay::Search { .. }) => self.search_key(key, action),
            Some(Overlay::Found { .. }) => self.found_key(key),
            Some(Overlay::React { .. }) => self.react_key(key),
            Some(Overlay::Verify { name, identity: Some(identity) }) => match key.code {
                KeyCode::Char('y' | 'n') => {
                    let (name, fingerprint) = (name.clone(), identity.fingerprint.clone());
                    vec![Effect::Verify { name, fingerprint, verified: key.code == KeyCode::Char('y') }]
                }
                _ => {
                    self.overlay = None;
                    Vec::new()
                }
            },
            Some(Overlay::Verify { .. }) | None => {
                self.overlay = None;
                Vec::new()
            }
        }
    }

    fn switch_key(&mut self, key: KeyEvent, action: Option<Action>) -> Vec<Effect> {
        let destinations = self.destinations();
        let Some(Overlay::Switch { typed, chosen }) = &mut self.overlay else { return Vec::new() };
        match key.code {
            KeyCode::Enter => match destinations.get(*chosen) {
                Some(Destination::Chat(name) | Destination::New(name)) => {
                    let name = name.clone();
                    return self.open_chat(&name);
                }
                Some(Destination::Join(room)) => {
                    let (chat, command) = (self.open.clone().unwrap_or_default(), GroupTyped::Join(room.clone()));
                    self.overlay = None;
                    return vec![Effect::Group { chat, command }];
                }
                None => {}
            },
            KeyCode::Up | KeyCode::BackTab => *chosen = chosen.saturating_sub(1),
            KeyCode::Down | KeyCode::Tab => *chosen = (*chosen + 1).min(destinations.len().saturating_sub(1)),
            _ if action == Some(Action::QuickSwitch) => {
                *chosen = (*chosen + 1) % destinations.len().max(1);
            }
            _ => {
                if edit(typed, key) {
                    *chosen = 0;
                }
            }
        }
        Vec::new()
    }

    /// Where the quick switch can go with what was typed: chats with news first, then by how well their names fit.
    pub(in crate::screen) fn destinations(&self) -> Vec<Destination> {
        let Some(Overlay::Switch { typed, .. }) = &self.overlay else { return Vec::new() };
        let typed = typed.text().trim().trim_start_matches('@').to_lowercase();
        let mut fitting: Vec<_> = self
            .chats
            .iter()
            .filter_map(|entry| {
                let full_name = entry.title.as_deref().or(entry.full_name.as_deref()).unwrap_or_default();
                let fit = fits(&entry.name, &typed).into_iter().chain(fits(full_name, &typed)).min()?;
                let news = entry.unread == 0;
                let here = Some(&entry.name) == self.open.as_ref();
                Some(((here && typed.is_empty(), fit, news), entry.name.clone()))
            })
            .collect();
        fitting.sort_by_key(|(order, _)| *order);
        let mut destinations: Vec<_> = fitting.into_iter().map(|(_, name)| Destination::Chat(name)).collect();
        if typed.len() > 1 && typed.starts_with('#') && !self.chats.iter().any(|entry| entry.name == typed) {
            destinations.push(Destination::Join(typed.clone()));
        }
        if let Ok(name) = check_username(&typed)
            && !self.chats.iter().any(|entry| entry.name == name)
        {
            destinations.push(Destination::New(name));
        }
        destinations
    }

    fn found_key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let Some(Overlay::Found { hits: Some(hits), chosen, .. }) = &mut self.overlay else { return Vec::new() };
        match key.code {
            KeyCode::Up | KeyCode::BackTab => *chosen = chosen.saturating_sub(1),
            KeyCode::Down | KeyCode::Tab => *chosen = (*chosen + 1).min(hits.len().saturating_sub(1)),
            KeyCode::PageUp => *chosen = chosen.saturating_sub(5),
            KeyCode::PageDown => *chosen = (*chosen + 5).min(hits.len().saturating_sub(1)),
            KeyCode::Enter => {
                let Some(hit) = hits.get(*chosen) else { return Vec::new() };
                let (chat, message) = (hit.message.chat.clone(), self::key(&hit.message));
                return self.go_to(&chat, message);
            }
            _ => {}
        }
        Vec::new()
    }

    fn react_key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let Some(Overlay::React { message, typed }) = &mut self.overlay else { return Vec::new() };
        let usual = match key.code {
            KeyCode::Char(digit @ '1'..='6') if typed.is_empty() => USUAL.get(digit as usize - '1' as usize),
            _ => None,
        };
        let emoji = match (usual, key.code) {
            (Some(emoji), _) => Some((*emoji).to_owned()),
            (None, KeyCode::Enter) => emoji(typed.text()),
            _ => {
                edit(typed, key);
                return Vec::new();
            }
        };
        let message = message.clone();
        match emoji {
            Some(emoji) => self.react(message, emoji),
            None => {
                self.complain("that is no emoji that has a name: try 1 to 6, or thumbsup, heart, tada".to_owned());
                Vec::new()
            }
        }
    }

    fn search_key(&mut self, key: KeyEvent, action: Option<Action>) -> Vec<Effect> {
        match key.code {
            // Once more: everywhere.
            _ if action == Some(Action::Search) && !self.marked.is_empty() => {
                return self.search_everywhere(self.marked.clone());
            }
            KeyCode::Enter | KeyCode::Up => return self.search(true),
            KeyCode::Down => return self.search(false),
            _ => {}
        }
        if let Some(Overlay::Search { typed }) = &mut self.overlay
            && edit(typed, key)
        {
            self.marked = typed.text().trim().to_owned();
            self.searching = false;
            self.selected = None;
        }
        Vec::new()
    }

    /// Selects the next message that contains the words: further back, or further on. Where memory ends it goes on in
    /// the history.
    pub(super) fn search(&mut self, back: bool) -> Vec<Effect> {
        let Some(window) = self.window() else { return Vec::new() };
        if self.marked.is_empty() {
            return Vec::new();
        }
        let fits = |index: &usize| {
            let said = window.messages.get(*index).map(|message| words(&message.content, Breaks::Indented(0)));
            said.is_some_and(|said| found(&said, &self.marked).next().is_some())
        };
        let at = self.selected.as_ref().and_then(|selected| window.position(selected));
        let next = match back {
            true => (0..at.unwrap_or(window.messages.len())).rev().find(fits),
            false => (at.map_or(0, |at| at + 1)..window.messages.len()).find(fits),
        };
        let (first, all) = (window.messages.first().map(key), window.first);
        let chosen = next.and_then(|index| window.messages.get(index)).map(key);
        match (next, first) {
            (Some(index), _) => {
                self.searching = false;
                self.selected = chosen;
                self.reveal(index);
                Vec::new()
            }
            (None, Some(first)) if back && !all => {
                self.searching = true;
                self.say("looking further back…".to_owned());
                // What is dropped in memory is at the other end.
                self.selected = Some(first.clone());
                self.reveal(0);
                self.fetch(Wanted::Before(first))
            }
            _ => {
                self.searching = false;
                self.say(if back { "not found further back" } else { "not found further on" }.to_owned());
                Vec::new()
            }
        }
    }

    /// Older messages are here: a search that waits for them goes on.
    pub(super) fn search_on(&mut self) -> Vec<Effect> {
        if self.searching { self.search(true) } else { Vec::new() }
    }
}

/// The emoji that this is, or that has this name.
fn emoji(typed: &str) -> Option<String> {
    let typed = typed.trim().trim_matches(':');
    let emoji = emojis::get(typed).or_else(|| emojis::get_by_shortcode(&typed.to_lowercase()));
    emoji.map(|emoji| emoji.as_str().to_owned())
}

/// Emoji that one key puts under a message.
pub(in crate::screen) const USUAL: [&str; 6] = ["👍", "❤️", "😂", "😮", "😢", "🎉"];

/// Takes a key into a line that is being typed; says whether the text changed.
fn edit(line: &mut Composer, key: KeyEvent) -> bool {
    let before = line.text().to_owned();
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('u') if control => line.delete(Towards::Back, By::Line),
        KeyCode::Char('w') if control => line.delete(Towards::Back, By::Word),
        KeyCode::Char('h') if control => line.delete(Towards::Back, By::Character),
        KeyCode::Char(character) if !control && !key.modifiers.contains(KeyModifiers::ALT) => {
            line.insert(character.encode_utf8(&mut [0; 4]));
        }
        KeyCode::Backspace => line.delete(Towards::Back, if control { By::Word } else { By::Character }),
        KeyCode::Delete => line.delete(Towards::Forth, By::Character),
        KeyCode::Left => line.go(Towards::Back, By::Character),
        KeyCode::Right => line.go(Towards::Forth, By::Character),
        KeyCode::Home => line.go(Towards::Back, By::Line),
        KeyCode::End => line.go(Towards::Forth, By::Line),
        _ => {}
    }
    line.text() != before
}

/// How well a name fits: 0 if it begins so, 1 if it contains it, 2 if its letters come in this order.
fn fits(name: &str, typed: &str) -> Option<u8> {
    let name = name.to_lowercase();
    if name.starts_with(typed) && !name.is_empty() {
        return Some(0);
    }
    if name.contains(typed) && !name.is_empty() {
        return Some(1);
    }
    let mut letters = name.chars();
    (!typed.is_empty() && typed.chars().all(|wanted| letters.any(|letter| letter == wanted))).then_some(2)
}
