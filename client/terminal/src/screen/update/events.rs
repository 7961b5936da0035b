//! What happens: messages, marks, the connection, and what is told of identities and devices.

use super::{Effect, chats::nobody_wrote};
use crate::command::preferences::kind_in_words;
use crate::{
    news::News,
    output::words,
    sanitise::{Breaks, preview},
    screen::{
        model::{Link, Model},
        safe,
        settings::Notify,
        window::{Anchor, PAGE, Wanted, key},
    },
};
use waxwing_core::{Connection, Event, Message, MessageId, MessageState};

/// The bell rings once in this time, in milliseconds.
const QUIET: u64 = 2_000;

/// How long somebody is believed to be typing, in milliseconds.
const TYPING: u64 = 8_000;

/// Characters of a message in a notification.
const QUOTED: usize = 120;

impl Model {
    pub(super) fn event(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(news) = News::of(&event, &self.me) {
            self.tell(news);
        }
        match event {
            Event::Message(message) => effects = self.message(message),
            Event::State { chat, id, state, seq } => self.state(&chat, id, state, seq),
            Event::Connection(connection) => self.connection(connection),
            Event::IdentityChanged { username } | Event::IdentityRenewed { username, .. } => {
                effects.extend([Effect::Chats, Effect::Identity(username)]);
            }
            Event::Profile { username, full_name } => {
                if let Some(entry) = self.entry_mut(&username) {
                    entry.full_name = full_name;
                }
            }
            Event::Restoring(progress) => {
                self.restoring = Some((progress.done, progress.total));
                effects = self.restored();
            }
            Event::Restored(_) => {
                self.restoring = None;
                effects = self.restored();
                effects.push(Effect::Chats);
            }
            Event::CaughtUp | Event::ChatChanged { .. } | Event::Group { .. } => effects.push(Effect::Chats),
            Event::Transfer(transfer) => {
                let which = (transfer.chat, (transfer.id, transfer.from));
                match transfer.done < transfer.total {
                    true => drop(self.transfers.insert(which, (transfer.done, transfer.total, self.now))),
                    false => drop(self.transfers.remove(&which)),
                }
            }
            Event::Changed(message) => self.changed(message),
            Event::Typing { chat, username, typing: true } => {
                self.typing.insert(chat, (username, self.now + TYPING));
            }
            Event::Typing { chat, .. } => drop(self.typing.remove(&chat)),
            Event::Presence(present) => self.note_present(present),
            Event::Request { username, invited_by } => {
                self.say(match invited_by {
                    Some(by) => format!("{} invites you into {}: /requests", safe(&by), kind_in_words(&username)),
                    None => format!("{} wants to write to you: /requests", safe(&username)),
                });
                effects.push(Effect::Chats);
            }
            Event::Gone { chat, id, from } => {
                let gone = (id, from);
                if let Some(window) = self.windows.get_mut(&chat) {
                    window.remove(&gone);
                }
                if self.selected.as_ref() == Some(&gone) {
                    self.selected = None;
                }
                effects.push(Effect::Chats);
            }
            _ => {}
        }
        effects
    }

    /// Says it in the open chat, and in the chat that it is about.
    fn tell(&mut self, news: News) {
        let now = self.now;
        let open = self.open.clone().filter(|open| news.concerns(open));
        let about = news.about.clone().filter(|about| Some(about) != open.as_ref());
        if open.is_none() && news.grave {
            self.complain(news.words.clone());
        }
        for chat in open.into_iter().chain(about) {
            if let Some(window) = self.windows.get_mut(&chat) {
                window.note(news.words.clone(), news.grave, now);
            }
        }
    }

    /// A message came, or was written here.
    pub(super) fn message(&mut self, message: Message) -> Vec<Effect> {
        let chat = message.chat.clone();
        let (mine, open) = (message.from == self.me, self.open.as_deref() == Some(&chat));
        let named = !mine && self.speaks_to_me(&message);
        let known = self.windows.get(&chat).is_some_and(|window| window.position(&key(&message)).is_some());
        let watched = self.is_watched();
        self.raise(&message);
        if !mine {
            self.typing.remove(&chat);
        }
        if let Some(window) = self.windows.get_mut(&chat) {
            let at_end = window.anchor == Anchor::End && window.last;
            let seen = open && watched && at_end;
            if !(mine || known || seen) && window.new_from.is_none() {
                window.new_from = Some(key(&message));
            }
            if window.loaded {
                window.add(message.clone());
            }
        }
        if mine || known {
            return match mine && !known && open && message.state == MessageState::Queued {
                true => self.show_newest(),
                false => Vec::new(),
            };
        }
        if let Some(entry) = self.entry_mut(&chat) {
            entry.unread += 1;
            entry.mentions += u64::from(named);
        }
        let muted = self.entry(&chat).is_some_and(|entry| entry.muted_until.is_some_and(|until| until > self.now));
        let quiet = (open && watched) || (muted && !named);
        if quiet { Vec::new() } else { self.call_attention(&message) }
    }

    /// Something was done to a message.
    fn changed(&mut self, message: Message) {
        if let Some(entry) = self.entry_mut(&message.chat)
            && entry.last.as_ref().is_some_and(|last| key(last) == key(&message))
        {
            entry.last = Some(message.clone());
        }
        if let Some(window) = self.windows.get_mut(&message.chat) {
            window.change(message);
        }
    }

    /// Whether a message names this user, or answers them.
    fn speaks_to_me(&self, message: &Message) -> bool {
        message.reply_to.as_ref().is_some_and(|reply| reply.author == self.me) || message.mentions().contains(&self.me)
    }

    /// Its chat goes to the top of the list.
    fn raise(&mut self, message: &Message) {
        let known = self.chats.iter().position(|entry| entry.name == message.chat);
        let mut entry = match known {
            Some(at) => self.chats.remove(at),
            None => nobody_wrote(&message.chat),
        };
        // An own message is told twice: by the answer, and as an event.
        if entry.last.as_ref().is_none_or(|last| key(last) != key(message)) {
            entry.queued += u64::from(message.state == MessageState::Queued);
            entry.last = Some(message.clone());
        }
        self.chats.insert(0, entry);
    }

    fn state(&mut self, chat: &str, id: MessageId, state: MessageState, seq: Option<u64>) {
        let me = self.me.clone();
        if let Some(entry) = self.entry_mut(chat) {
            if let Some(last) = entry.last.as_mut().filter(|last| last.id == id) {
                last.state = state.clone();
            }
            if matches!(state, MessageState::Sent | MessageState::Failed(_)) {
                entry.queued = entry.queued.saturating_sub(1);
            }
        }
        if let Some(window) = self.windows.get_mut(chat) {
            window.set_state(id, &me, state.clone(), seq);
        }
        if let MessageState::Failed(reason) = state
            && self.open.as_deref() != Some(chat)
        {
            self.complain(format!("not sent to {}: {}", safe(chat), safe(&reason)));
        }
    }

    fn connection(&mut self, connection: Connection) {
        self.link = match connection {
            Connection::Connecting if matches!(self.link, Link::Offline { .. }) => return,
            Connection::Connecting => Link::Connecting,
            Connection::Online => Link::Online,
            Connection::Offline { reason, retry_in } => {
                let delay = retry_in.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
                let again_at = delay.map(|delay| self.now.saturating_add(delay));
                Link::Offline { reason: safe(&reason), again_at }
            }
        };
    }

    /// Messages of before came: what shows may lack them.
    fn restored(&mut self) -> Vec<Effect> {
        let open = self.open.clone();
        self.windows.retain(|name, _| Some(name) == open.as_ref());
        let Some((chat, window)) = open.zip(self.window_mut()) else { return Vec::new() };
        // Whoever reads further back finds them when scrolling.
        let short = window.messages.len() < PAGE && window.loading.is_none();
        window.first = false;
        let wanted = if short { window.want(Wanted::Newest) } else { None };
        wanted.map(|wanted| Effect::Page { chat, wanted }).into_iter().collect()
    }

    /// Rings and notifies, as the user has it; not for each of many at once.
    fn call_attention(&mut self, message: &Message) -> Vec<Effect> {
        if self.now < self.quiet_until {
            return Vec::new();
        }
        self.quiet_until = self.now + QUIET;
        let mut effects = Vec::new();
        if self.settings.bell {
            effects.push(Effect::Ring);
        }
        // What a stranger says is not shown, their name neither.
        if self.entry(&message.chat).is_some_and(|entry| entry.request) {
            return effects;
        }
        let title = match message.chat == message.from {
            true => safe(&message.from),
            false => format!("{} in {}", safe(&message.from), self.called(&message.chat)),
        };
        let body = match self.settings.notify {
            Notify::Off => return effects,
            Notify::Sender => "wrote to you".to_owned(),
            Notify::Content => preview(&words(&message.content, Breaks::Spaces), QUOTED),
        };
        effects.push(Effect::Notify { title, body });
        effects
    }
}
