//! What the profile answered: lists, pages, whether there is somebody of a name, what was found.

use super::{Answer, Effect, Page, chats::nobody_wrote};
use crate::{
    group_commands::Done,
    screen::{
        model::{Hit, Model, Overlay},
        safe,
        window::{Anchor, Wanted, key},
    },
};
use waxwing_core::{Chat, ChatKind};

impl Model {
    pub(super) fn answer(&mut self, answer: Answer) -> Vec<Effect> {
        match answer {
            Answer::Chats(Ok(chats)) => self.list(chats),
            Answer::Chats(Err(words)) | Answer::Failed(words) => self.complain(words),
            Answer::Said(words) => {
                self.say(words);
                return vec![Effect::Chats];
            }
            Answer::Accepted(chat) => {
                let wanted = self.windows.get_mut(&chat).and_then(|window| window.want(Wanted::Newest));
                let page = wanted.map(|wanted| Effect::Page { chat, wanted });
                return [Effect::Chats].into_iter().chain(page).collect();
            }
            Answer::Found { title, done } => self.found(&title, done),
            Answer::Grouped { chat, done } => return self.grouped(&chat, done),
            Answer::Written(message) => return self.message(message),
            Answer::Picture { chat, message, picture } => self.pictured(chat, message, picture),
            Answer::Paths { before, candidates } => self.offer_paths(&before, candidates),
            Answer::Done => {}
            Answer::Present(all) => {
                self.present.clear();
                all.into_iter().for_each(|present| self.note_present(present));
            }
            Answer::Page { chat, wanted, page } => return self.page(&chat, &wanted, page),
            Answer::Queued { chat, done: Ok(message), .. } => {
                if self.open.as_ref() != Some(&chat) {
                    self.say(format!("sent to {}", safe(&chat)));
                }
                return self.message(message);
            }
            Answer::Queued { chat, text, done: Err(words) } => {
                self.complain(words);
                self.give_back(&chat, text);
            }
            Answer::Opened { text: Some(text), done: Ok(chat), .. } => {
                return vec![Effect::Queue { chat, text, reply_to: None }];
            }
            Answer::Opened { text: Some(text), done: Err((_, true)), name } => {
                // The name is checked when the message goes out.
                return vec![Effect::Queue { chat: name, text, reply_to: None }];
            }
            Answer::Opened { text: Some(text), done: Err((words, false)), name } => {
                self.complain(words);
                let open = self.open.clone().unwrap_or_default();
                self.give_back(&open, format!("/msg {name} {text}"));
            }
            Answer::Opened { text: None, done, name } => return self.opened(&name, done),
            Answer::Identity { name, done } => match done {
                Ok(identity) => {
                    if let Some(Overlay::Verify { name: shown, identity: there }) = &mut self.overlay
                        && *shown == name
                    {
                        *there = Some(Box::new(identity.clone()));
                    }
                    self.identities.insert(name, identity);
                }
                Err(words) => {
                    if matches!(&self.overlay, Some(Overlay::Verify { name: shown, .. }) if *shown == name) {
                        self.overlay = None;
                        self.complain(words);
                    }
                }
            },
        }
        Vec::new()
    }

    /// The list of chats as the profile has it. What is open stays in it, even where nobody wrote yet.
    pub(super) fn list(&mut self, chats: Vec<Chat>) {
        self.chats = chats;
        self.note_looks();
        if let Some(open) = self.open.clone()
            && self.entry(&open).is_none()
        {
            self.chats.insert(0, nobody_wrote(&open));
        }
    }

    pub(super) fn page(&mut self, chat: &str, wanted: &Wanted, page: Result<Page, String>) -> Vec<Effect> {
        let unread = self.entry(chat).map_or(0, |entry| entry.unread);
        let (me, open) = (self.me.clone(), self.open.as_deref() == Some(chat));
        let Some(window) = self.windows.get_mut(chat) else { return Vec::new() };
        match page {
            Ok((messages, first, last)) => {
                let begins = !window.loaded;
                window.arrived(wanted, messages, first, last);
                if begins && unread > 0 {
                    let mut others = window.messages.iter().rev().filter(|message| message.from != me);
                    window.new_from = usize::try_from(unread - 1).ok().and_then(|unread| others.nth(unread)).map(key);
                    if open {
                        self.show_from_new(chat);
                    }
                }
            }
            Err(words) => {
                window.failed(wanted);
                self.complain(words);
            }
        }
        self.search_on()
    }

    /// Where more is new than fits, reading begins with the first of it.
    pub(super) fn show_from_new(&mut self, chat: &str) {
        let Some(window) = self.windows.get(chat) else { return };
        let Some(new) = window.new_from.clone() else { return };
        let Some(index) = window.position(&new) else { return };
        let rows = self.rows_shown(window);
        if rows.len() < usize::from(self.layout().messages.height) {
            // All of it fits.
            return;
        }
        let shown = rows.iter().find_map(|(at, _)| *at);
        if shown.is_some_and(|first| index <= first)
            && let Some(window) = self.windows.get_mut(chat)
        {
            window.anchor = Anchor::Top(new);
        }
    }

    pub(super) fn opened(&mut self, name: &str, done: Result<String, (String, bool)>) -> Vec<Effect> {
        match done {
            Ok(_)
                if !self.identities.contains_key(name) && name != self.me && ChatKind::of(name) == ChatKind::Direct =>
            {
                vec![Effect::Identity(name.to_owned())]
            }
            Ok(_) => Vec::new(),
            Err((words, true)) => {
                self.complain(words);
                Vec::new()
            }
            // There is nobody of that name.
            Err((words, false)) => {
                self.complain(words);
                let typed = self.composer.put_aside();
                self.windows.remove(name);
                self.chats.retain(|entry| entry.name != name || entry.last.is_some());
                self.open = None;
                let next = self.chats.first().map(|entry| entry.name.clone());
                let effects = next.map(|next| self.open_chat(&next)).unwrap_or_default();
                if self.composer.is_empty() {
                    self.composer.set(typed);
                }
                effects
            }
        }
    }

    /// What could not be queued goes back to where it was typed, unless something else is being typed there.
    pub(super) fn give_back(&mut self, chat: &str, text: String) {
        if self.open.as_deref() == Some(chat) || self.open.is_none() {
            if self.composer.is_empty() {
                self.composer.set(text);
            }
        } else {
            self.drafts.entry(chat.to_owned()).or_insert(text);
        }
    }

    /// What a command about groups says stands in the chat; where it leads is gone to.
    pub(super) fn grouped(&mut self, chat: &str, done: Done) -> Vec<Effect> {
        let now = self.now;
        let mut effects = vec![Effect::Chats];
        if let Some(window) = self.windows.get_mut(chat) {
            for line in &done.lines {
                window.note(line.clone(), false, now);
            }
        } else if let Some(line) = done.lines.first() {
            self.say(line.clone());
        }
        if done.left && self.open.as_deref() == Some(chat) {
            self.leave_chat();
            self.chats.retain(|entry| entry.name != chat);
            self.windows.remove(chat);
            let next = self.chats.first().map(|entry| entry.name.clone());
            effects.extend(next.map(|next| self.open_chat(&next)).unwrap_or_default());
        }
        if let Some(chat) = done.go_to {
            effects.extend(self.open_chat(&chat));
        }
        effects
    }

    pub(super) fn found(&mut self, wanted: &str, done: Result<Vec<Hit>, String>) {
        let Some(Overlay::Found { title, hits, .. }) = &mut self.overlay else { return };
        if title != wanted {
            return;
        }
        match done {
            Ok(found) => *hits = Some(found),
            Err(words) => {
                self.overlay = None;
                self.complain(words);
            }
        }
    }
}
