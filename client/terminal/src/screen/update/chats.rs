//! Going from chat to chat: what is kept of the one that is left, what the one that is opened needs.

use super::Effect;
use crate::screen::{
    model::{Model, Purpose},
    window::{Anchor, Key, PAGE, Wanted},
};
use waxwing_core::{Chat, ChatKind};

/// Chats whose messages stay in memory.
const WINDOWS: usize = 12;

impl Model {
    /// Goes to a chat; one that is not in the list is one that is to begin.
    pub(in crate::screen) fn open_chat(&mut self, name: &str) -> Vec<Effect> {
        self.overlay = None;
        self.selected = None;
        self.deleting = None;
        self.completion = None;
        if self.open.as_deref() == Some(name) {
            return Vec::new();
        }
        self.toast.take_if(|toast| !toast.grave);
        let mut effects = self.leave_chat();
        self.open = Some(name.to_owned());
        let kept = self.entry(name).and_then(|entry| entry.draft.clone());
        self.composer.set(self.drafts.remove(name).or(kept).unwrap_or_default());
        if self.entry(name).is_none() {
            self.chats.insert(0, nobody_wrote(name));
        }
        let begun = self.entry(name).is_some_and(|entry| entry.last.is_some());
        if !begun {
            effects.push(Effect::Open { name: name.to_owned(), text: None });
        }
        let window = self.windows.entry(name.to_owned()).or_default();
        if !window.loaded {
            effects.extend(window.want(Wanted::Newest).map(|wanted| Effect::Page { chat: name.to_owned(), wanted }));
        }
        if begun && name != self.me && ChatKind::of(name) == ChatKind::Direct {
            effects.push(Effect::Identity(name.to_owned()));
        }
        effects
    }

    /// What was typed stays as a draft, which the profile keeps; of the messages a page stays.
    pub(in crate::screen) fn leave_chat(&mut self) -> Vec<Effect> {
        let Some(left) = self.open.take() else { return Vec::new() };
        let changing = matches!(std::mem::take(&mut self.purpose), Purpose::Edit(_));
        // The new text of a message is no draft of another one.
        let draft = Some(self.composer.put_aside()).filter(|draft| !draft.trim().is_empty() && !changing);
        let mut effects = Vec::new();
        if let Some(entry) = self.entry_mut(&left)
            && entry.draft != draft
        {
            entry.draft.clone_from(&draft);
            effects.push(Effect::SetDraft { chat: left.clone(), draft: draft.clone() });
        }
        if let Some(draft) = draft {
            self.drafts.insert(left.clone(), draft);
        }
        let read = self.entry(&left).is_none_or(|entry| entry.unread == 0);
        if let Some(window) = self.windows.get_mut(&left) {
            if read {
                window.new_from = None;
            }
            let excess = window.messages.len().saturating_sub(PAGE);
            if window.anchor == Anchor::End && excess > 0 && window.last {
                window.messages.drain(..excess);
                window.first = false;
            }
        }
        if self.windows.len() > WINDOWS {
            self.windows.retain(|name, window| *name == left || window.anchor != Anchor::End);
            if self.windows.len() > WINDOWS {
                self.windows.clear();
            }
        }
        effects
    }

    /// Goes to a message, wherever it is.
    pub(super) fn go_to(&mut self, chat: &str, message: Key) -> Vec<Effect> {
        let mut effects = self.open_chat(chat);
        self.overlay = None;
        self.selected = Some(message.clone());
        match self.window().and_then(|window| window.position(&message)) {
            Some(index) => self.reveal(index),
            None => {
                let name = chat.to_owned();
                let Some(window) = self.window_mut() else { return effects };
                let wanted = window.want(Wanted::Around(message));
                effects.extend(wanted.map(|wanted| Effect::Page { chat: name, wanted }));
            }
        }
        effects
    }

    /// Shows the newest messages of the open chat.
    pub(super) fn show_newest(&mut self) -> Vec<Effect> {
        let Some(chat) = self.open.clone() else { return Vec::new() };
        let Some(window) = self.window_mut() else { return Vec::new() };
        window.anchor = Anchor::End;
        if window.last || !window.loaded {
            return Vec::new();
        }
        window.want(Wanted::Newest).map(|wanted| Effect::Page { chat, wanted }).into_iter().collect()
    }

    pub(super) fn look_again(&mut self) -> Vec<Effect> {
        let mut effects = vec![Effect::Chats, Effect::Present];
        let open = self.open.clone();
        // The others are read again when they are opened.
        self.windows.retain(|name, _| Some(name) == open.as_ref());
        if let Some((chat, window)) = open.zip(self.window_mut())
            && window.last
        {
            effects.extend(window.want(Wanted::Newest).map(|wanted| Effect::Page { chat, wanted }));
        }
        effects
    }
}

/// A chat in which nobody wrote yet.
pub(super) fn nobody_wrote(name: &str) -> Chat {
    Chat { name: name.to_owned(), ..Chat::default() }
}
