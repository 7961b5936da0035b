//! Keys: what lies on top has them first, then a selected message, then the screen, then the text being typed.

use super::{Effect, line};
use crate::{
    chat::typed::Typed,
    file_commands,
    output::words,
    sanitise::{Breaks, sanitise},
    screen::{
        completion::Completion,
        composer::{By, Towards},
        keys::Action,
        layout::Layout,
        model::{Model, Overlay, Purpose},
        safe,
        window::{Anchor, Wanted, key},
    },
};
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use waxwing_core::{Content, Message};

impl Model {
    pub(super) fn key(&mut self, key: KeyEvent) -> Vec<Effect> {
        if key.kind == KeyEventKind::Release {
            return Vec::new();
        }
        self.awake();
        let action = self.keys.action(key);
        match action {
            Some(Action::Leave) if self.leaving => return self.leave(),
            Some(Action::Leave) => {
                self.leaving = true;
                self.overlay = None;
                self.say(format!("{} once more leaves; nothing is lost", self.keys.name(Action::Leave)));
                return Vec::new();
            }
            Some(Action::Redraw) => return vec![Effect::Redraw],
            Some(Action::Suspend) => return vec![Effect::Suspend],
            _ => {}
        }
        if std::mem::take(&mut self.leaving) {
            self.toast = None;
        }
        if self.overlay.is_some() {
            return self.overlay_key(key, action);
        }
        if let Some(done) = self.completion_key(key) {
            return done;
        }
        if self.selected.is_some()
            && let Some(done) = self.selection_key(key)
        {
            return done;
        }
        if let Some(action) = action {
            return self.act(action);
        }
        if let (KeyCode::Char(digit @ '1'..='9'), KeyModifiers::ALT) = (key.code, key.modifiers) {
            let at = digit as usize - '1' as usize;
            let name = self.chats.get(at).map(|entry| entry.name.clone());
            return name.map(|name| self.open_chat(&name)).unwrap_or_default();
        }
        self.type_key(key)
    }

    fn act(&mut self, action: Action) -> Vec<Effect> {
        let page = isize::try_from(self.layout().messages.height.saturating_sub(2).max(1)).unwrap_or(1);
        match action {
            Action::Help => self.overlay = Some(Overlay::Help(0)),
            Action::QuickSwitch => self.overlay = Some(Overlay::Switch { typed: line(""), chosen: 0 }),
            Action::Search => {
                self.marked.clear();
                self.overlay = Some(Overlay::Search { typed: line("") });
            }
            Action::NextUnread => return self.next_unread(),
            Action::NextChat => return self.next_chat(false),
            Action::PreviousChat => return self.next_chat(true),
            Action::PageUp => self.scroll(-page),
            Action::PageDown => self.scroll(page),
            Action::LineUp => self.scroll(-1),
            Action::LineDown => self.scroll(1),
            Action::Oldest => self.show_oldest(),
            Action::Newest => return self.show_newest(),
            Action::Select => self.select(true),
            Action::NewLine => self.composer.insert("\n"),
            Action::Sidebar => self.list_shown = !self.list_shown,
            // Done before anything else.
            Action::Redraw | Action::Suspend | Action::Leave => {}
        }
        Vec::new()
    }

    /// The first message that is in memory; what stands before it comes while one goes on.
    fn show_oldest(&mut self) {
        if let Some(window) = self.window_mut()
            && let Some(first) = window.messages.first().map(key)
        {
            window.anchor = Anchor::Top(first);
        }
    }

    fn next_unread(&mut self) -> Vec<Effect> {
        let at = self.chats.iter().position(|entry| Some(&entry.name) == self.open.as_ref()).unwrap_or(0);
        let (before, behind) = self.chats.split_at(at.min(self.chats.len()));
        let unread = behind.iter().chain(before).filter(|entry| Some(&entry.name) != self.open.as_ref());
        // Who is named goes first.
        let unread = unread.filter(|entry| entry.unread > 0).max_by_key(|entry| entry.mentions > 0);
        match unread.map(|entry| entry.name.clone()) {
            Some(name) => self.open_chat(&name),
            None => {
                self.say("nothing new elsewhere".to_owned());
                Vec::new()
            }
        }
    }

    fn next_chat(&mut self, back: bool) -> Vec<Effect> {
        let count = self.chats.len();
        let at = self.chats.iter().position(|entry| Some(&entry.name) == self.open.as_ref());
        let to = match (at, back) {
            (None, _) => 0,
            (Some(at), false) => (at + 1) % count.max(1),
            (Some(at), true) => (at + count.saturating_sub(1)) % count.max(1),
        };
        let name = self.chats.get(to).map(|entry| entry.name.clone());
        name.map(|name| self.open_chat(&name)).unwrap_or_default()
    }

    /// Tab begins a completion and goes on in it; every other key takes what it has put in.
    fn completion_key(&mut self, key: KeyEvent) -> Option<Vec<Effect>> {
        let back = match key.code {
            KeyCode::Tab => false,
            KeyCode::BackTab => true,
            KeyCode::Esc if self.completion.take().is_some() => return Some(Vec::new()),
            _ => {
                self.completion = None;
                return None;
            }
        };
        match &mut self.completion {
            Some(completion) => completion.turn(back),
            // Only whoever does things may look at the disk.
            None if file_commands::path_start(self.composer.before()).is_some() => {
                return Some(vec![Effect::Paths(self.composer.before().to_owned())]);
            }
            None => self.completion = Completion::of(self.composer.before(), &self.names()),
        }
        if let Some(completion) = &self.completion
            && let Some(candidate) = completion.candidate()
        {
            self.composer.replace_from(completion.start, &candidate.text);
        }
        Some(Vec::new())
    }

    /// What the disk has for the path that was being typed, unless one has typed on. A folder alone is taken: Tab goes into it.
    pub(super) fn offer_paths(&mut self, before: &str, candidates: Vec<String>) {
        if self.composer.before() != before {
            return;
        }
        let Some(completion) = Completion::of_paths(before, candidates) else {
            return self.say("no file begins like that".to_owned());
        };
        if let Some(candidate) = completion.candidate() {
            self.composer.replace_from(completion.start, &candidate.text);
        }
        self.completion = (completion.candidates.len() > 1).then_some(completion);
    }

    /// Names to complete: who wrote here last, then the other chats'.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let authors = self.window().into_iter().flat_map(|window| window.messages.iter().rev().map(|m| &m.from));
        let chats = self.chats.iter().map(|entry| &entry.name);
        for name in authors.chain(chats) {
            // Only what the sanitiser leaves as it is can be typed.
            if !names.contains(name) && *name != self.me && safe(name) == *name && !name.starts_with('+') {
                names.push(name.clone());
            }
        }
        names
    }

    /// Keys about the selected message; none if the key is for something else.
    fn selection_key(&mut self, key: KeyEvent) -> Option<Vec<Effect>> {
        let plain = key.modifiers.difference(KeyModifiers::SHIFT).is_empty();
        let deleting = self.deleting.take();
        match key.code {
            KeyCode::Up => self.select(true),
            KeyCode::Down => self.select(false),
            KeyCode::Esc => self.selected = None,
            KeyCode::Char(character) if plain && self.composer.is_empty() => {
                match self.deed_key(character, deleting) {
                    Some(effects) => return Some(effects),
                    // Whoever writes, writes.
                    None => {
                        self.selected = None;
                        return None;
                    }
                }
            }
            KeyCode::Enter if self.composer.is_empty() => {
                let answered = self.selected_message().and_then(|message| message.reply_to.as_ref());
                let Some(answered) = answered.map(|reply| (reply.id, reply.author.clone())) else {
                    self.selected = None;
                    return Some(Vec::new());
                };
                let chat = self.open.clone()?;
                return Some(self.go_to(&chat, answered));
            }
            _ => {
                if matches!(key.code, KeyCode::Char(_) | KeyCode::Enter) && self.keys.action(key).is_none() {
                    self.selected = None;
                }
                return None;
            }
        }
        Some(Vec::new())
    }

    pub(in crate::screen) fn selected_message(&self) -> Option<&Message> {
        let window = self.window()?;
        window.messages.get(window.position(self.selected.as_ref()?)?)
    }

    /// What the selected message says, as it may be shown.
    pub(super) fn selected_text(&self) -> Option<String> {
        let message = self.selected_message()?;
        Some(match &message.content {
            Content::Text(text) => sanitise(text, Breaks::Indented(0)),
            content => words(content, Breaks::Spaces),
        })
    }

    /// Selects the next message up or down; the first one is the newest that shows.
    fn select(&mut self, up: bool) {
        let Some(window) = self.window() else { return };
        let selected = self.selected.as_ref().and_then(|selected| window.position(selected));
        let index = match selected {
            Some(at) if up => at.saturating_sub(1),
            Some(at) => at + 1,
            None => {
                let rows = self.rows_shown(window);
                let Some(last) = rows.iter().rev().find_map(|(at, _)| *at) else { return };
                last
            }
        };
        self.selected = window.messages.get(index).map(key);
        if self.selected.is_some() {
            self.reveal(index);
        }
    }

    fn type_key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        let by = if control || alt { By::Word } else { By::Character };
        let columns = Layout::composer_columns(self.layout().composer.width);
        match key.code {
            KeyCode::Enter => return self.enter(),
            KeyCode::Char('?') if self.composer.is_empty() && !alt => self.overlay = Some(Overlay::Help(0)),
            KeyCode::Char('d') if control && self.composer.is_empty() => return self.leave(),
            KeyCode::Char(character) if control => match character.to_ascii_lowercase() {
                'a' => self.composer.go(Towards::Back, By::Line),
                'e' => self.composer.go(Towards::Forth, By::Line),
                'b' => self.composer.go(Towards::Back, By::Character),
                'd' => self.composer.delete(Towards::Forth, By::Character),
                'w' => self.composer.delete(Towards::Back, By::Word),
                'u' => self.composer.delete(Towards::Back, By::Line),
                'y' => self.composer.paste_cut(),
                'h' => self.composer.delete(Towards::Back, By::Character),
                'p' => drop(self.composer.recall(Towards::Back)),
                'n' => drop(self.composer.recall(Towards::Forth)),
                _ => {}
            },
            KeyCode::Char(character) if alt => match character.to_ascii_lowercase() {
                'b' => self.composer.go(Towards::Back, By::Word),
                'f' => self.composer.go(Towards::Forth, By::Word),
                'd' => self.composer.delete(Towards::Forth, By::Word),
                _ => {}
            },
            KeyCode::Char(character) => self.composer.insert(character.encode_utf8(&mut [0; 4])),
            KeyCode::Backspace => self.composer.delete(Towards::Back, by),
            KeyCode::Delete => self.composer.delete(Towards::Forth, by),
            KeyCode::Left => self.composer.go(Towards::Back, by),
            KeyCode::Right => self.composer.go(Towards::Forth, by),
            KeyCode::Home => self.composer.go(Towards::Back, By::Line),
            KeyCode::End if self.composer.is_empty() => return self.show_newest(),
            KeyCode::End => self.composer.go(Towards::Forth, By::Line),
            KeyCode::Up if self.composer.is_empty() => self.select(true),
            KeyCode::Up => self.composer.go_row_or_recall(Towards::Back, columns),
            KeyCode::Down => self.composer.go_row_or_recall(Towards::Forth, columns),
            KeyCode::Esc if self.purpose != Purpose::Say => {
                if matches!(std::mem::take(&mut self.purpose), Purpose::Edit(_)) {
                    self.composer.put_aside();
                }
            }
            KeyCode::Esc => {
                self.marked.clear();
                self.toast = None;
                return self.show_newest();
            }
            _ => {}
        }
        Vec::new()
    }

    /// Leaves; the profile keeps what was typed.
    pub(super) fn leave(&mut self) -> Vec<Effect> {
        let mut effects = self.leave_chat();
        effects.push(Effect::Leave);
        effects
    }

    /// Does what was typed. What cannot be done stays to be corrected.
    fn enter(&mut self) -> Vec<Effect> {
        let text = match Typed::parse(self.composer.text()) {
            Typed::Empty => return Vec::new(),
            Typed::Say(text) => text,
            command => return self.obey(command),
        };
        let Some(chat) = self.open.clone() else {
            self.complain(format!("choose a chat first: {}", self.keys.name(Action::QuickSwitch)));
            return Vec::new();
        };
        self.composer.take();
        if let Some(window) = self.window_mut() {
            window.new_from = None;
        }
        let reply_to = match std::mem::take(&mut self.purpose) {
            Purpose::Edit(message) => return vec![Effect::Edit { chat, message, text }],
            Purpose::Reply(message) => Some(message),
            Purpose::Say => None,
        };
        let mut effects = Vec::new();
        if self.entry_mut(&chat).is_some_and(|entry| entry.draft.take().is_some()) {
            effects.push(Effect::SetDraft { chat: chat.clone(), draft: None });
        }
        effects.push(Effect::Queue { chat, text, reply_to });
        effects.extend(self.show_newest());
        effects
    }

    /// Asks for a page of the open chat.
    pub(super) fn fetch(&mut self, wanted: Wanted) -> Vec<Effect> {
        let Some(chat) = self.open.clone() else { return Vec::new() };
        let Some(window) = self.window_mut() else { return Vec::new() };
        window.want(wanted).map(|wanted| Effect::Page { chat, wanted }).into_iter().collect()
    }
}
