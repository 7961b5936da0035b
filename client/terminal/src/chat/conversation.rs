//! What the live chat shows: from events and typed messages to lines. It reads and writes nothing itself.
//!
//! Each message becomes one line, in the order in which it was typed or came. An own message waits a moment for its
//! mark, so that the usual case needs one line.

use super::known::{Known, Purpose, quote};
use crate::{
    news::News,
    output::{action, additions, failure, formatted, mark, notice, time_of_day, told_by},
    sanitise::{Breaks, preview, sanitise},
};
use jiff::tz::TimeZone;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};
use waxwing_core::{Connection, Content, Event, Message, MessageId, MessageState, Reply};

/// How long an own message waits for its first mark before it shows as queued.
const MARK_PATIENCE: Duration = Duration::from_millis(400);

/// How much of the message that it answers an answer quotes.
const QUOTE: usize = 24;

/// How this chat is shown.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    /// Marks without characters beyond ASCII.
    pub(crate) ascii: bool,
    /// The zone of the times.
    pub(crate) zone: TimeZone,
}

/// A chat on the screen.
pub(crate) struct Conversation {
    me: String,
    chat: String,
    style: Style,
    /// Known before the first event: events repeat what happened while they were read.
    seen: HashSet<MessageId>,
    /// Own messages that are not shown yet, with the time at which they must be.
    typed: VecDeque<(Instant, Message)>,
    /// Own messages that were shown as queued (or went to another chat), quoted.
    unsettled: HashMap<MessageId, String>,
    online: Option<bool>,
    unread: bool,
    /// Strangers who were told of.
    requests: HashSet<String>,
    /// What was shown of this chat.
    known: Known,
}

impl Conversation {
    pub(crate) fn new(me: &str, chat: &str, style: Style) -> Self {
        Self {
            me: me.to_owned(),
            chat: chat.to_owned(),
            style,
            seen: HashSet::new(),
            typed: VecDeque::new(),
            unsettled: HashMap::new(),
            online: None,
            unread: false,
            requests: HashSet::new(),
            known: Known::default(),
        }
    }

    /// The chat's name.
    pub(crate) fn chat(&self) -> &str {
        &self.chat
    }

    /// The lines of the messages that were here before.
    pub(crate) fn history(&mut self, messages: Vec<Message>) -> Vec<String> {
        let lines = messages.iter().map(|message| self.line_with_reason(message)).collect();
        for message in messages {
            self.seen.insert(message.id);
            if message.from == self.me && message.state == MessageState::Queued {
                self.unsettled.insert(message.id, quote(&message));
            }
            self.known.add(message);
        }
        self.unread = true;
        lines
    }

    /// The user typed a message, and it is queued.
    pub(crate) fn typed(&mut self, message: Message, now: Instant) -> Vec<String> {
        // It comes again as an event.
        self.seen.insert(message.id);
        if message.chat != self.chat {
            let line = format!("to {}: {}", sanitise(&message.chat, Breaks::Spaces), quote(&message));
            self.unsettled.insert(message.id, line.clone());
            return vec![notice(&line)];
        }
        self.known.add(message.clone());
        let patience = if self.online == Some(false) { Duration::ZERO } else { MARK_PATIENCE };
        self.typed.push_back((now + patience, message));
        self.overdue(now)
    }

    /// When [`Self::overdue`] has something to show.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.typed.front().map(|(deadline, _)| *deadline)
    }

    /// The lines of own messages that waited long enough for their mark.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some((deadline, message)) = self.typed.front() {
            if message.state == MessageState::Queued && now < *deadline {
                break;
            }
            lines.extend(self.show_next_typed());
        }
        lines
    }

    /// Shows all own messages, as far as they have come.
    pub(crate) fn show_typed(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.show_next_typed()).collect()
    }

    fn show_next_typed(&mut self) -> Option<String> {
        let (_, message) = self.typed.pop_front()?;
        if message.state == MessageState::Queued {
            self.unsettled.insert(message.id, quote(&message));
        }
        Some(self.line_with_reason(&message))
    }

    fn line_with_reason(&self, message: &Message) -> String {
        match failure(&message.state) {
            Some(reason) => format!("{}\n{}", self.line(message), notice(&format!("  not sent: {reason}"))),
            None => self.line(message),
        }
    }

    /// Something happened: the lines that it needs, often none.
    pub(crate) fn event(&mut self, event: Event, now: Instant) -> Vec<String> {
        match event {
            Event::Message(message) => self.message(message, now),
            Event::State { chat, id, state, .. } => self.state(&chat, id, state, now),
            Event::Connection(connection) => self.connection(connection),
            Event::Changed(message) if message.chat == self.chat => {
                let mut lines = self.show_typed();
                lines.extend(self.known.change(message, &self.me).iter().map(|line| notice(line)));
                lines
            }
            Event::Gone { chat, id, from } if chat == self.chat => {
                self.typed.retain(|(_, message)| message.id != id);
                self.unsettled.remove(&id);
                let gone = self.known.remove(id, &from);
                gone.map(|message| notice(&format!("gone: {}", quote(&message)))).into_iter().collect()
            }
            Event::Request { username, invited_by } if self.requests.insert(username.clone()) => {
                let username = sanitise(&username, Breaks::Spaces);
                vec![notice(&match invited_by {
                    Some(by) => {
                        let what = format!("{} invites you into {username}", sanitise(&by, Breaks::Spaces));
                        format!("{what}: /accept {username} shows it, /decline {username} leaves it")
                    }
                    None => {
                        let (accept, block) = (format!("/accept {username}"), format!("/block {username}"));
                        format!("{username} wants to write to you: {accept} shows it, {block} ends it")
                    }
                })]
            }
            other => {
                let news = News::of(&other, &self.me).filter(|news| news.concerns(&self.chat));
                let line = |news: News| if news.grave { format!("! {}", news.words) } else { notice(&news.words) };
                news.map(line).into_iter().collect()
            }
        }
    }

    fn message(&mut self, message: Message, now: Instant) -> Vec<String> {
        if !self.seen.insert(message.id) {
            return Vec::new();
        }
        if message.chat != self.chat {
            if message.from == self.me {
                return Vec::new();
            }
            let (from, said) = (sanitise(&message.from, Breaks::Spaces), quote(&message));
            return vec![notice(&format!("{from} wrote: {said}"))];
        }
        if message.from == self.me && message.state == MessageState::Queued {
            // Typed elsewhere.
            return self.typed(message, now);
        }
        let mut lines = self.show_typed();
        self.unread |= message.from != self.me;
        lines.push(self.line(&message));
        self.known.add(message);
        lines
    }

    fn state(&mut self, chat: &str, id: MessageId, state: MessageState, now: Instant) -> Vec<String> {
        if let Some((_, message)) = self.typed.iter_mut().find(|(_, message)| message.id == id) {
            message.state = state.clone();
            let mut lines = self.overdue(now);
            if state == MessageState::Delivered {
                lines.extend(self.typed.is_empty().then(|| notice(self.mark(&state))));
            }
            return lines;
        }
        let sign = self.mark(&state);
        match (&state, self.unsettled.remove(&id)) {
            (MessageState::Queued, Some(quoted)) => {
                self.unsettled.insert(id, quoted);
                Vec::new()
            }
            (MessageState::Failed(reason), quoted) => {
                let reason = sanitise(reason, Breaks::Spaces);
                let quoted = quoted.unwrap_or_else(|| format!("to {}", sanitise(chat, Breaks::Spaces)));
                vec![format!("! {sign} not sent: {quoted}: {reason}")]
            }
            (_, Some(quoted)) => vec![notice(&format!("{sign} {quoted}"))],
            (MessageState::Delivered, None) if chat == self.chat => vec![notice(sign)],
            (_, None) => Vec::new(),
        }
    }

    fn connection(&mut self, connection: Connection) -> Vec<String> {
        let (online, line) = match connection {
            Connection::Connecting => return Vec::new(),
            Connection::Online => (true, "connected".to_owned()),
            Connection::Offline { reason, retry_in } => {
                let reason = sanitise(&reason, Breaks::Spaces);
                match retry_in {
                    Some(_) => (false, format!("not connected: {reason}; what you write is sent when it is back")),
                    None => return vec![format!("! not connected, and not trying again: {reason}")],
                }
            }
        };
        match self.online.replace(online) == Some(online) {
            true => Vec::new(),
            false => vec![notice(&line)],
        }
    }

    /// Whether messages of others were shown since the last call: they are read now.
    pub(crate) fn take_unread(&mut self) -> bool {
        std::mem::take(&mut self.unread)
    }

    fn mark(&self, state: &MessageState) -> &'static str {
        mark(state, self.style.ascii)
    }

    fn line(&self, message: &Message) -> String {
        let time = time_of_day(message.sent_at, &self.style.zone);
        if let Content::Notice(_) = message.content {
            // Nobody has written it.
            return format!("{time} {}", notice(&crate::output::words(&message.content, Breaks::Spaces)));
        }
        let from = if message.from == self.me { "you".to_owned() } else { sanitise(&message.from, Breaks::Spaces) };
        let does = matches!(&message.content, Content::Text(text) if action(text).is_some());
        let said = formatted(&message.content, time.chars().count() + 1);
        let answers = message.reply_to.as_ref().map(|reply| self.answers(reply)).unwrap_or_default();
        let more = additions(message) + &told_by(message);
        let mark = self.mark(&message.state);
        let gap = if mark.is_empty() { "" } else { " " };
        match said.strip_prefix("* ").filter(|_| does) {
            // Oneself too by name: "you waves" says nobody.
            Some(said) => {
                format!("{time} * {}{answers} {said}{more}{gap}{mark}", sanitise(&message.from, Breaks::Spaces))
            }
            None => format!("{time} {from}{answers}: {said}{more}{gap}{mark}"),
        }
    }

    /// What a message answers.
    fn answers(&self, reply: &Reply) -> String {
        let arrow = if self.style.ascii { "->" } else { "→" };
        let author = if reply.author == self.me { "you".to_owned() } else { sanitise(&reply.author, Breaks::Spaces) };
        match &reply.excerpt {
            Some(excerpt) => format!(" {arrow} {author} \"{}\"", preview(excerpt, QUOTE)),
            None => format!(" {arrow} {author}"),
        }
    }

    /// The message that a command is about.
    pub(crate) fn pick(&self, back: Option<usize>, purpose: Purpose) -> Option<&Message> {
        self.known.pick(back, purpose, &self.me)
    }

    /// The newest messages with the numbers by which they are meant.
    pub(crate) fn numbered(&self, count: usize) -> Vec<String> {
        self.known.numbered(count).map(|(number, message)| format!("^{number}  {}", self.line(message))).collect()
    }
}

#[cfg(test)]
mod tests;
