//! Signals: who is typing. They are told to those who listen now, and kept nowhere.
//!
//! The invariant: nothing waits for a signal, and none that is lost or false changes anything that is kept.

use super::{Engine, State, settings};
use crate::{
    Error, Event,
    account::now_ms,
    random,
    store::chats::{self, ChatId, Phase},
};
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;
use waxwing_e2ee::{
    content::{self, Body},
    mls::{Group, Mls, MlsError, Signal},
};
use waxwing_protocol::{ConversationId, Request, limits};

/// That somebody goes on typing is told again after so long.
const AGAIN: Duration = Duration::from_secs(3);

/// What was told of whom, and what is to be told.
#[derive(Default)]
pub(super) struct Signals {
    told: HashMap<ChatId, (bool, Instant)>,
    waiting: Vec<(ChatId, bool)>,
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
            self.signals.waiting.push((row.chat, typing));
        }
        Ok(())
    }

    pub(super) async fn send_signals(&mut self) -> Result<(), Error> {
        for (chat, typing) in std::mem::take(&mut self.signals.waiting) {
            let Some(conversation) = chats::find(&self.db, chat)?.and_then(|row| row.conversation) else { continue };
            let body = Body::Typing(typing);
            let content = content::Content { id: [0; 16], sent_at_ms: now_ms(), body, seen: None, lifetime: None };
            let body = content::encode(&content).map_err(|error| Error::BadInput(error.to_string()))?;
            // A chat that cannot be read tells nothing.
            let Ok(Some(sealed)) = self.seal_signal(&conversation, &body) else { continue };
            let payload = sealed.into();
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
        if !settings::is_on(&self.db, settings::TYPING)? || settings::is_quiet(&self.db, row.chat)? {
            return Ok(());
        }
        let Ok(Some(signal)) = self.open_signal(conversation, payload) else { return Ok(()) };
        if signal.from == self.own.username || settings::is_blocked(&self.db, &signal.from)? {
            return Ok(());
        }
        if let Ok(content::Content { body: Body::Typing(typing), .. }) = content::decode(&signal.body) {
            self.tell(&Event::Typing { chat: row.name, username: signal.from, typing });
        }
        Ok(())
    }

    fn seal_signal(&self, conversation: &[u8; 16], body: &[u8]) -> Result<Option<Vec<u8>>, MlsError> {
        let mls = Mls::new(&self.db);
        let group = Group::load(&mls, conversation)?;
        group.map(|group| group.seal_signal(&self.own.username, body, &mut random())).transpose()
    }

    /// None if it was not made in this epoch, or names nobody who is in the group.
    fn open_signal(&self, conversation: &[u8; 16], payload: &[u8]) -> Result<Option<Signal>, MlsError> {
        let mls = Mls::new(&self.db);
        let Some(group) = Group::load(&mls, conversation)? else { return Ok(None) };
        let Some(signal) = group.open_signal(payload)? else { return Ok(None) };
        let is_member = group.members()?.iter().any(|member| member.username == signal.from);
        Ok(is_member.then_some(signal))
    }
}
