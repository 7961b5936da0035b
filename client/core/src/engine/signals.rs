//! Signals: who is typing, who is there. They are told to those who listen now, and kept nowhere.
//!
//! The invariant: nothing waits for a signal, and none that is lost or false changes anything that is kept.

use super::{Engine, State, settings};
use crate::{
    Error, Event,
    account::now_ms,
    random,
    store::chats::{self, ChatId, ChatRow, Phase},
};
use rand_core::Rng as _;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::Instant;
use waxwing_e2ee::{
    content::{self, Body},
    mls,
};
use waxwing_protocol::{ConversationId, Request, limits};

/// That somebody goes on typing is told again after so long.
const AGAIN: Duration = Duration::from_secs(3);
/// The groups whose keys for signals stay at hand.
const AT_HAND: usize = 128;

/// What was told of whom, and what is to be told.
#[derive(Default)]
pub(super) struct Signals {
    told: HashMap<ChatId, (bool, Instant)>,
    waiting: Vec<(ChatId, Body)>,
    /// By conversation, for so many commits: loading a large group for each signal would take longer than all else.
    keys: HashMap<[u8; 16], (u64, Arc<mls::Signals>)>,
}

impl Signals {
    /// Says something to a chat as soon as it can be said.
    pub(super) fn say(&mut self, chat: ChatId, body: Body) {
        self.waiting.push((chat, body));
    }
}

impl Engine {
    /// The user is typing in a chat, or not any more: tells those who listen, if the user wants that.
    pub(crate) fn typing(&mut self, chat: &str, typing: bool) -> Result<(), Error> {
        let Some(row) = chats::by_name(&self.db, chat)? else { return Ok(()) };
        let wanted = settings::is_on(&self.db, settings::TYPING)? && !settings::is_quiet(&self.db, row.chat)?;
        if !wanted || row.phase != Phase::Active || row.name == self.own.username {
            return Ok(());
        }
        let now = Instant::now();
        let known = self.signals.told.get(&row.chat);
        let news = match (known, typing) {
            (Some((true, at)), true) => *at + AGAIN <= now,
            (Some((told, _)), typing) => *told != typing,
            (None, typing) => typing,
        };
        if news && matches!(self.reach, State::Online(_)) {
            self.signals.told.insert(row.chat, (typing, now));
            self.signals.say(row.chat, Body::Typing(typing));
        }
        Ok(())
    }

    pub(super) async fn send_signals(&mut self) -> Result<(), Error> {
        for (chat, body) in std::mem::take(&mut self.signals.waiting) {
            let Some(row) = chats::find(&self.db, chat)?.filter(|row| row.phase == Phase::Active) else { continue };
            let (Some(conversation), Some(keys)) = (row.conversation, self.signal_keys(&row)) else { continue };
            let mut id = [0; 16];
            random().fill_bytes(&mut id);
            let content = content::Content { id, sent_at_ms: now_ms(), body, seen: None, lifetime: None };
            let body = content::encode(&content).map_err(|error| Error::BadInput(error.to_string()))?;
            let payload = keys.seal(&self.own.username, &body, &mut random()).into();
            let State::Online(online) = &mut self.reach else { return Ok(()) };
            let request = Request::Signal { conversation: ConversationId(conversation), payload };
            online.connection.post(request, (0, 0), &online.nobody).await;
        }
        Ok(())
    }

    /// Somebody else has sent a signal. What cannot be understood is nothing.
    pub(super) fn take_signal(&mut self, conversation: &[u8; 16], payload: &[u8]) -> Result<(), Error> {
        let row = chats::by_conversation(&self.db, conversation)?.filter(|row| row.phase == Phase::Active);
        let Some(row) = row.filter(|_| payload.len() <= limits::SIGNAL) else { return Ok(()) };
        if settings::is_quiet(&self.db, row.chat)? {
            return Ok(());
        }
        let Some(keys) = self.signal_keys(&row) else { return Ok(()) };
        let Some(signal) = keys.open(payload) else { return Ok(()) };
        let mine = signal.from == self.own.username;
        if !mine && settings::is_blocked(&self.db, &signal.from)? {
            return Ok(());
        }
        match content::decode(&signal.body) {
            Ok(content::Content { body: Body::Typing(typing), .. }) if !mine => {
                if typing {
                    self.heard_of(&row, &signal.from);
                }
                if settings::is_on(&self.db, settings::TYPING)? {
                    self.tell(&Event::Typing { chat: row.name, username: signal.from, typing });
                }
            }
            Ok(content::Content { body: Body::Presence(said), sent_at_ms, .. }) => {
                self.take_presence(&row, &signal.from, &said, sent_at_ms, keys.members())?;
            }
            _ => {}
        }
        Ok(())
    }

    /// What seals and opens the signals of a chat; none for one that cannot be read, which tells nothing.
    pub(super) fn signal_keys(&mut self, row: &ChatRow) -> Option<Arc<mls::Signals>> {
        let conversation = row.conversation?;
        if let Some((commits, keys)) = self.signals.keys.get(&conversation)
            && *commits == row.commits
        {
            return Some(Arc::clone(keys));
        }
        let keys = self
            .kept
            .with(&mut self.db, &conversation, |_, group| group.signals().map_err(|error| crate::mls_error(&error)));
        let keys = Arc::new(keys.ok()?);
        if self.signals.keys.len() >= AT_HAND {
            self.signals.keys.clear();
        }
        self.signals.keys.insert(conversation, (row.commits, Arc::clone(&keys)));
        Some(keys)
    }
}
