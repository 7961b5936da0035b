//! How the model changes: from what was pressed, what happened and what was answered to a new state, and to what has to
//! be done about it. It does nothing itself, so that all of it is tested without a terminal and without a profile.

mod commands;
mod events;
mod input;
mod keyboard;
mod overlays;

pub(super) use commands::PINNED;
pub(super) use overlays::{Destination, USUAL};

use super::{
    composer::Composer,
    model::{Hit, Model, Overlay, PASSING, Purpose, Toast},
    window::{Anchor, Key, PAGE, Wanted, key},
};
use crate::{
    group_commands::{Done, GroupTyped},
    rpc::trust::IdentityObject,
};
use crossterm::event::{KeyEvent, MouseEvent};
use waxwing_core::{Chat, ChatKind, Event, Message};

/// Others are told again after so many milliseconds that one is typing.
const TOLD_TYPING: u64 = 3_000;

/// Chats whose messages stay in memory.
const WINDOWS: usize = 12;

/// Something that changes the model.
#[derive(Debug)]
pub(super) enum Input {
    Key(KeyEvent),
    Paste(String),
    Mouse(MouseEvent),
    Resize(u16, u16),
    /// Somebody looks at the terminal, or does not any more.
    Focus(bool),
    Event(Event),
    /// Events were left out.
    Missed,
    Answer(Answer),
    /// Time passes.
    Tick,
}

/// A page of messages; the first of all; the last of all.
pub(super) type Page = (Vec<Message>, bool, bool);

/// What became of an effect. Errors are words that are safe to show.
#[derive(Debug)]
pub(super) enum Answer {
    Chats(Result<Vec<Chat>, String>),
    Page {
        chat: String,
        wanted: Wanted,
        page: Result<Page, String>,
    },
    Queued {
        chat: String,
        text: String,
        done: Result<Message, String>,
    },
    /// Whether there is somebody of that name; the error also says whether it may be another one later.
    Opened {
        name: String,
        text: Option<String>,
        done: Result<String, (String, bool)>,
    },
    Identity {
        name: String,
        done: Result<IdentityObject, String>,
    },
    /// What a search found, or what is pinned.
    Found {
        title: String,
        done: Result<Vec<Hit>, String>,
    },
    /// A command about groups and rooms was done.
    Grouped {
        chat: String,
        done: Done,
    },
    /// A message was written that no text stands for.
    Written(Message),
    /// What a stranger wrote shows from now on.
    Accepted(String),
    /// It is done; say so.
    Said(String),
    /// There is nothing more to say.
    Done,
    /// It was not done.
    Failed(String),
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Chats,
    Page {
        chat: String,
        wanted: Wanted,
    },
    Queue {
        chat: String,
        text: String,
        reply_to: Option<Key>,
    },
    Edit {
        chat: String,
        message: Key,
        text: String,
    },
    Delete {
        chat: String,
        message: Key,
    },
    React {
        chat: String,
        message: Key,
        emoji: String,
        add: bool,
    },
    Pin {
        chat: String,
        message: Key,
        pinned: bool,
    },
    /// A command about groups and rooms, given in this chat; empty where none is open.
    Group {
        chat: String,
        command: GroupTyped,
    },
    /// Who is in this group or room.
    Members(String),
    /// What is pinned in a chat.
    Pins(String),
    /// Find this in all chats.
    Search(String),
    SetDraft {
        chat: String,
        draft: Option<String>,
    },
    /// The user is typing there, or not any more.
    Typing {
        chat: String,
        typing: bool,
    },
    SetTimer {
        chat: String,
        seconds: Option<u32>,
    },
    Mute {
        chat: String,
        muted: bool,
        until: Option<u64>,
    },
    Block {
        user: String,
        blocked: bool,
    },
    Accept(String),
    /// Ask whether there is somebody of that name, for whom there may be a text.
    Open {
        name: String,
        text: Option<String>,
    },
    Identity(String),
    Verify {
        name: String,
        fingerprint: String,
        verified: bool,
    },
    MarkRead(String),
    Ring,
    Notify {
        title: String,
        body: String,
    },
    Copy(String),
    Redraw,
    Suspend,
    Leave,
}

impl Effect {
    /// Whether it only asks: whoever leaves need not wait for the answer.
    pub(super) fn is_question(&self) -> bool {
        matches!(
            self,
            Self::Chats
                | Self::Page { .. }
                | Self::Open { .. }
                | Self::Identity(_)
                | Self::Pins(_)
                | Self::Members(_)
                | Self::Search(_)
                | Self::Typing { .. }
        )
    }
}

impl Model {
    /// Takes one input in; returns what has to be done.
    pub(super) fn update(&mut self, input: Input, now: u64) -> Vec<Effect> {
        self.now = now;
        let typed = (self.open.clone(), self.composer.text().len());
        let mut effects = match input {
            Input::Key(key) => self.key(key),
            Input::Paste(text) => self.paste(&text),
            Input::Mouse(event) => self.mouse(event),
            Input::Resize(columns, rows) => {
                self.size = (columns, rows);
                Vec::new()
            }
            Input::Focus(focused) => {
                self.focused = focused;
                if focused { vec![Effect::Chats] } else { Vec::new() }
            }
            Input::Event(event) => self.event(event),
            Input::Missed => self.look_again(),
            Input::Answer(answer) => self.answer(answer),
            Input::Tick => {
                self.tick();
                Vec::new()
            }
        };
        effects.extend(self.settle());
        effects.extend(self.tell_typing(typed));
        effects
    }

    /// Others learn that something is being typed for them: not with every key, and not of commands.
    fn tell_typing(&mut self, (chat, before): (Option<String>, usize)) -> Option<Effect> {
        let text = self.composer.text();
        if chat != self.open || text.len() == before {
            return None;
        }
        let typing =
            !text.is_empty() && !text.starts_with('/') && matches!(self.purpose, Purpose::Say | Purpose::Reply(_));
        let told = self.told_typing.take_if(|told| !typing || self.now.saturating_sub(*told) >= TOLD_TYPING);
        if (typing && self.told_typing.is_some()) || (!typing && told.is_none()) {
            return None;
        }
        self.told_typing = typing.then_some(self.now);
        Some(Effect::Typing { chat: chat?, typing })
    }

    fn tick(&mut self) {
        if self.toast.as_ref().is_some_and(|toast| toast.until <= self.now) {
            self.toast = None;
            self.leaving = false;
        }
        let idle = u128::from(self.now.saturating_sub(self.last_key));
        if self.settings.away_after.is_some_and(|limit| idle >= limit.as_millis()) {
            self.away = true;
        }
    }

    /// What every input may bring about: what shows is read, and what scrolling will need is fetched.
    fn settle(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(chat) = self.open.clone() else { return effects };
        if let Some(wanted) = self.page_ahead() {
            effects.push(Effect::Page { chat: chat.clone(), wanted });
        }
        let at_end = self.window().is_some_and(|window| window.loaded && window.last && window.anchor == Anchor::End);
        if at_end
            && self.is_watched()
            && let Some(entry) = self.entry_mut(&chat)
            && entry.unread > 0
            && !entry.request
        {
            (entry.unread, entry.mentions) = (0, 0);
            effects.push(Effect::MarkRead(chat));
        }
        effects
    }

    fn answer(&mut self, answer: Answer) -> Vec<Effect> {
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
            Answer::Done => {}
            Answer::Page { chat, wanted, page } => return self.page(&chat, &wanted, page),
            Answer::Queued { chat, done: Ok(message), .. } => {
                if self.open.as_ref() != Some(&chat) {
                    self.say(format!("sent to {}", super::safe(&chat)));
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
    fn list(&mut self, chats: Vec<Chat>) {
        self.chats = chats;
        if let Some(open) = self.open.clone()
            && self.entry(&open).is_none()
        {
            self.chats.insert(0, nobody_wrote(&open));
        }
    }

    fn page(&mut self, chat: &str, wanted: &Wanted, page: Result<Page, String>) -> Vec<Effect> {
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
    fn show_from_new(&mut self, chat: &str) {
        let Some(window) = self.windows.get(chat) else { return };
        let Some(new) = window.new_from.clone() else { return };
        let Some(index) = window.position(&new) else { return };
        let shown = self.rows_shown(window).iter().find_map(|(at, _)| *at);
        if shown.is_some_and(|first| index <= first)
            && let Some(window) = self.windows.get_mut(chat)
        {
            window.anchor = Anchor::Top(new);
        }
    }

    fn opened(&mut self, name: &str, done: Result<String, (String, bool)>) -> Vec<Effect> {
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
    fn give_back(&mut self, chat: &str, text: String) {
        if self.open.as_deref() == Some(chat) || self.open.is_none() {
            if self.composer.is_empty() {
                self.composer.set(text);
            }
        } else {
            self.drafts.entry(chat.to_owned()).or_insert(text);
        }
    }

    /// Says something in passing.
    pub(super) fn say(&mut self, words: String) {
        self.toast = Some(Toast { words, grave: false, until: self.now + PASSING });
    }

    pub(super) fn complain(&mut self, words: String) {
        self.toast = Some(Toast { words, grave: true, until: self.now + 2 * PASSING });
    }

    /// Goes to a chat; one that is not in the list is one that is to begin.
    pub(super) fn open_chat(&mut self, name: &str) -> Vec<Effect> {
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
    pub(super) fn leave_chat(&mut self) -> Vec<Effect> {
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

    /// What a command about groups says stands in the chat; where it leads is gone to.
    fn grouped(&mut self, chat: &str, done: Done) -> Vec<Effect> {
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

    fn found(&mut self, wanted: &str, done: Result<Vec<Hit>, String>) {
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

    /// Shows the newest messages of the open chat.
    pub(super) fn to_the_end(&mut self) -> Vec<Effect> {
        let Some(chat) = self.open.clone() else { return Vec::new() };
        let Some(window) = self.window_mut() else { return Vec::new() };
        window.anchor = Anchor::End;
        if window.last || !window.loaded {
            return Vec::new();
        }
        window.want(Wanted::Newest).map(|wanted| Effect::Page { chat, wanted }).into_iter().collect()
    }

    fn look_again(&mut self) -> Vec<Effect> {
        let mut effects = vec![Effect::Chats];
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
fn nobody_wrote(name: &str) -> Chat {
    Chat { name: name.to_owned(), ..Chat::default() }
}

/// A line to type in that lies on top.
fn line(text: &str) -> Composer {
    let mut line = Composer::default();
    line.set(text.to_owned());
    line
}

#[cfg(test)]
pub(super) mod tests;
