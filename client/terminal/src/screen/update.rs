//! How the model changes: from what was pressed, what happened and what was answered to a new state, and to what has to
//! be done about it. It does nothing itself, so that all of it is tested without a terminal and without a profile.

mod answers;
mod chats;
mod commands;
mod events;
mod input;
mod keyboard;
mod overlays;

pub(super) use commands::PINNED;
pub(super) use overlays::{Destination, USUAL};

use super::{
    composer::Composer,
    model::{Hit, Model, PASSING, Purpose, Toast},
    picture::{Graphics, Where},
    window::{Anchor, Key, Wanted, key},
};
use crate::{
    file_commands::FileTyped,
    group_commands::{Done, GroupTyped},
    rpc::trust::IdentityObject,
};
use crossterm::event::{KeyEvent, MouseEvent};
use waxwing_core::{Chat, Content, Event, Message, Picture, Presence, Present};

/// Others are told again after so many milliseconds that one is typing.
const TOLD_TYPING: u64 = 3_000;

/// A file that has not moved for so many milliseconds is not shown as being on its way.
const STILL: u64 = 30_000;
/// The profile is told again after so many milliseconds that one is there.
const TOLD_PRESENCE: u64 = 60_000;

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
    /// Who is there.
    Present(Vec<Present>),
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
    /// A thumbnail; none if there is none that can be opened.
    Picture {
        chat: String,
        message: Key,
        picture: Option<Picture>,
    },
    /// What fits a path that was being typed: the text before the cursor, and what its last part may become.
    Paths {
        before: String,
        candidates: Vec<String>,
    },
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
    /// A command about files, given in this chat.
    File {
        chat: String,
        command: FileTyped,
    },
    /// A message's thumbnail.
    Picture {
        chat: String,
        message: Key,
    },
    /// What fits the path that this text before the cursor ends with.
    Paths(String),
    /// Who is online: in this chat, or of all.
    Users {
        chat: String,
        all: bool,
    },
    /// Who is known to be there.
    Present,
    /// The user is there, or is away.
    Presence(Presence),
    /// Nobody sees whether the user is there, or everybody does again.
    Hide(bool),
    /// The name that others see; none: say it.
    Nick(Option<String>),
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
    Decline(String),
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
                | Self::Users { .. }
                | Self::Present
                | Self::Presence(Presence::Here | Presence::Away)
                | Self::Search(_)
                | Self::Picture { .. }
                | Self::Paths(_)
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
        effects.extend(self.tell_presence());
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

    /// Others learn that somebody is there, or away: when that changes, and every minute.
    fn tell_presence(&mut self) -> Option<Effect> {
        let presence = if self.away { Presence::Away } else { Presence::Here };
        let told = self.told_presence.filter(|(told, _)| *told == presence).map(|(_, at)| at);
        if told.is_some_and(|at| self.now.saturating_sub(at) < TOLD_PRESENCE) {
            return None;
        }
        self.told_presence = Some((presence, self.now));
        Some(Effect::Presence(presence))
    }

    fn tick(&mut self) {
        if self.toast.as_ref().is_some_and(|toast| toast.until <= self.now) {
            self.toast = None;
            self.leaving = false;
        }
        let idle = u128::from(self.now.saturating_sub(self.last_key));
        let now = self.now;
        self.transfers.retain(|_, (.., moved)| now.saturating_sub(*moved) < STILL);
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
        effects.extend(self.want_pictures(&chat));
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

    /// The messages that show.
    fn shown(&self) -> Vec<usize> {
        let rows = self.window().map(|window| self.rows_shown(window)).unwrap_or_default();
        let mut shown: Vec<usize> = rows.into_iter().filter_map(|(at, _)| at).collect();
        shown.dedup();
        shown
    }

    /// Asks for the thumbnails of what shows.
    fn want_pictures(&mut self, chat: &str) -> Vec<Effect> {
        if self.pictures.graphics == Graphics::Off || self.entry(chat).is_some_and(|entry| entry.request) {
            return Vec::new();
        }
        let shown = self.shown();
        let messages = self.window().map(|window| &window.messages);
        let shown = shown.into_iter().filter_map(|at| messages?.get(at));
        let pictured = shown.filter(|message| matches!(&message.content, Content::File(file) if file.thumbnail));
        let wanted: Vec<Key> = pictured.map(key).collect();
        let effect = |message| Effect::Picture { chat: chat.to_owned(), message };
        wanted.into_iter().filter(|wanted| self.pictures.want(&(chat.to_owned(), wanted.clone()))).map(effect).collect()
    }

    /// A thumbnail is here.
    pub(super) fn pictured(&mut self, chat: String, message: Key, picture: Option<Picture>) {
        let shown = self.shown();
        let messages = self.window().map(|window| &window.messages);
        let shown: Vec<Key> = shown.into_iter().filter_map(|at| messages?.get(at)).map(key).collect();
        let open = self.open.clone();
        let seen = |(chat, message): &Where| open.as_ref() == Some(chat) && shown.contains(message);
        self.pictures.arrived((chat, message), picture, seen);
    }

    /// Says something in passing.
    pub(super) fn say(&mut self, words: String) {
        self.toast = Some(Toast { words, grave: false, until: self.now + PASSING });
    }

    pub(super) fn complain(&mut self, words: String) {
        self.toast = Some(Toast { words, grave: true, until: self.now + 2 * PASSING });
    }
}

/// A line to type in that lies on top.
fn line(text: &str) -> Composer {
    let mut line = Composer::default();
    line.set(text.to_owned());
    line
}

#[cfg(test)]
pub(super) mod tests;
