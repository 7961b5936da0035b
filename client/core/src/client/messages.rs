//! What front ends do with messages beyond sending texts: answers, edits, deletions, reactions, pins, pages of the history;
//! and with chats: timers, drafts, mutes, blocks, requests of strangers.

use super::Client;
use crate::{
    Error, Found, Message, MessageRef,
    account::check_username,
    engine::{
        Command, Engine,
        messages::{Deed, resolve},
        settings,
    },
    search,
    store::{
        changes, chats,
        messages::{self, At},
    },
};
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};
use tokio::{sync::oneshot, time::timeout};

/// A place in a chat's history, between which pages are read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place(At);

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({}, {}, {})", self.0.0, self.0.1, self.0.2)
    }
}

/// Which part of a history is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    /// The newest messages.
    Newest,
    /// Those before a place.
    Before(Place),
    /// Those behind a place.
    After(Place),
    /// Those around a message, which is among them.
    Around(MessageRef),
}

/// A part of a chat's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Oldest first.
    pub messages: Vec<Message>,
    /// Where the page before this one ends; none: nothing is before it.
    pub older: Option<Place>,
    /// Where the page behind this one begins; none: nothing is behind it.
    pub newer: Option<Place>,
}

/// What can be switched off, for all devices of the account. Everything is on at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// Others learn what the user has read, and the user what they have read.
    ReadReceipts,
    /// Others learn what has arrived here.
    DeliveredReceipts,
    /// What strangers write waits until the user accepts it.
    Requests,
    /// Others learn that the user is typing.
    Typing,
    /// Others learn that the user is there, and the user that they are.
    Presence,
}

impl Switch {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::ReadReceipts, Self::DeliveredReceipts, Self::Requests, Self::Typing, Self::Presence];

    fn name(self) -> &'static str {
        match self {
            Self::ReadReceipts => settings::READ_RECEIPTS,
            Self::DeliveredReceipts => settings::DELIVERED_RECEIPTS,
            Self::Requests => settings::REQUESTS,
            Self::Typing => settings::TYPING,
            Self::Presence => settings::PRESENCE,
        }
    }
}

impl Client {
    /// Stores a text for sending that answers another message of the chat.
    pub async fn reply(&self, to: &str, text: &str, which: &MessageRef) -> Result<Message, Error> {
        let (to, text, which) = (to.to_owned(), text.to_owned(), which.clone());
        self.engine(move |engine| engine.post(&to, text, Some(&which))).await
    }

    /// One message.
    pub async fn message(&self, which: &MessageRef) -> Result<Message, Error> {
        let which = which.clone();
        self.database(move |db| resolve(db, &which).and_then(|(_, position)| messages::load(db, position))).await
    }

    /// Changes the text of an own message, for everybody.
    pub async fn edit(&self, which: &MessageRef, text: &str) -> Result<Message, Error> {
        let text = text.to_owned();
        self.deed(which, Deed::Edit(text)).await?.ok_or(Error::BadMessageId)
    }

    /// Takes a message back, for everybody. None if nobody else had it: then it is gone.
    pub async fn delete(&self, which: &MessageRef) -> Result<Option<Message>, Error> {
        self.deed(which, Deed::Delete).await
    }

    /// Puts an emoji under a message, or takes an own one away.
    pub async fn react(&self, which: &MessageRef, emoji: &str, add: bool) -> Result<Message, Error> {
        let emoji = emoji.to_owned();
        self.deed(which, Deed::React { emoji, add }).await?.ok_or(Error::BadMessageId)
    }

    /// Pins a message in its chat, for everybody, or takes the pin away.
    pub async fn pin(&self, which: &MessageRef, pinned: bool) -> Result<Message, Error> {
        self.deed(which, Deed::Pin(pinned)).await?.ok_or(Error::BadMessageId)
    }

    async fn deed(&self, which: &MessageRef, deed: Deed) -> Result<Option<Message>, Error> {
        let which = which.clone();
        self.engine(move |engine| engine.deed(&which, deed)).await
    }

    /// The pinned messages of a chat, the one that was pinned last first.
    pub async fn pinned(&self, chat: &str) -> Result<Vec<Message>, Error> {
        let chat = self.chat_name(chat).await?;
        self.database(move |db| {
            let row = chats::by_name(db, &chat)?.ok_or(Error::UnknownChat(chat))?;
            let mut pinned = Vec::new();
            for target in changes::pinned(db, row.chat)? {
                if let Some(position) = messages::position_of(db, &target)? {
                    let message = messages::load(db, position)?;
                    if message.pinned {
                        pinned.push(message);
                    }
                }
            }
            Ok(pinned)
        })
        .await
    }

    /// A part of a chat's history, of at most `limit` messages.
    pub async fn page(&self, chat: &str, from: Anchor, limit: usize) -> Result<Page, Error> {
        let chat = self.chat_name(chat).await?;
        self.database(move |db| {
            let row = chats::by_name(db, &chat)?.ok_or(Error::UnknownChat(chat))?;
            if settings::is_request(db, &row.name)? {
                // Nothing of what a stranger wrote is shown before it is accepted.
                return Ok(Page::default());
            }
            let row = row.chat;
            const END: At = (i64::MAX as u64, i64::MAX, i64::MAX);
            // One more tells whether there is more.
            let before = |at: At, limit: usize| messages::before(db, row, at, limit.saturating_add(1));
            let after = |at: At, limit: usize| messages::after(db, row, Some(at), 0, limit.saturating_add(1));
            let (mut found, more_before, more_after) = match from {
                Anchor::Newest => older(before(END, limit)?, limit, false),
                Anchor::Before(place) => older(before(place.0, limit)?, limit, true),
                Anchor::After(place) => newer(after(place.0, limit)?, limit, true),
                Anchor::Around(which) => {
                    let (target, position) = resolve(db, &which)?;
                    if target.chat != row {
                        return Err(Error::BadMessageId);
                    }
                    let at = messages::place_of(db, position)?;
                    let (mut found, more_before, _) = older(before(at, limit / 2)?, limit / 2, true);
                    found.push((at, messages::load(db, position)?));
                    let rest = limit.saturating_sub(found.len());
                    let (behind, _, more_after) = newer(after(at, rest)?, rest, true);
                    found.extend(behind);
                    (found, more_before, more_after)
                }
            };
            Ok(Page {
                older: found.first().filter(|_| more_before).map(|(at, _)| Place(*at)),
                newer: found.last().filter(|_| more_after).map(|(at, _)| Place(*at)),
                messages: found.drain(..).map(|(_, message)| message).collect(),
            })
        })
        .await
    }

    /// Searches the whole history: `from:bob in:carol before:2026-01-31 after:2025-12-31 word pre* "a phrase" -not`. At most
    /// `limit` messages, the best first.
    pub async fn search(&self, query: &str, limit: usize) -> Result<Found, Error> {
        let query = query.to_owned();
        self.database(move |db| search::search(db, &query, limit, &jiff::tz::TimeZone::system())).await
    }

    /// From now on the chat's messages are kept for so many seconds by everybody; none: for good.
    pub async fn set_timer(&self, chat: &str, seconds: Option<u32>) -> Result<Message, Error> {
        let chat = self.chat_name(chat).await?;
        self.engine(move |engine| engine.set_timer(&chat, seconds)).await
    }

    /// The user is typing in a chat, or not any more. May be called with every key: it is told now and then.
    pub async fn typing(&self, chat: &str, typing: bool) -> Result<(), Error> {
        let chat = self.chat_name(chat).await?;
        self.engine(move |engine| engine.typing(&chat, typing)).await
    }

    /// What the user has begun to write, on this device; none: nothing.
    pub async fn set_draft(&self, chat: &str, draft: Option<&str>) -> Result<(), Error> {
        let (chat, draft) = (self.chat_name(chat).await?, draft.map(str::to_owned));
        self.engine(move |engine| engine.set_draft(&chat, draft.as_deref())).await
    }

    /// No notices of a chat until then (milliseconds since 1970; `u64::MAX`: for good); none: notices again.
    pub async fn mute(&self, chat: &str, until: Option<u64>) -> Result<(), Error> {
        let chat = self.chat_name(chat).await?;
        self.engine(move |engine| engine.mute(&chat, until)).await
    }

    /// The name that others see beside the username, in all chats and on all devices; none, or an empty one, takes it away.
    pub async fn set_full_name(&self, name: Option<&str>) -> Result<(), Error> {
        let name = name.map(str::to_owned);
        self.engine(move |engine| engine.set_full_name(name.as_deref())).await
    }

    /// Nothing of this user arrives any more, on any device; or it does again.
    pub async fn block(&self, username: &str, blocked: bool) -> Result<(), Error> {
        let username = check_username(username)?;
        self.engine(move |engine| engine.block(&username, blocked)).await
    }

    /// The users of whom nothing arrives.
    pub async fn blocked(&self) -> Result<Vec<String>, Error> {
        self.database(|db| settings::blocked(db)).await
    }

    /// Accepts a chat that a stranger has begun; what waited in it comes now.
    pub async fn accept(&self, chat: &str) -> Result<(), Error> {
        let chat = self.chat_name(chat).await?;
        self.engine(move |engine| engine.accept_chat(&chat)).await
    }

    /// Declines an invitation into a group: leaves it, and nothing of it is shown any more.
    ///
    /// # Errors
    /// [`Error::BadInput`] if nobody has invited the user into it; who wrote directly is blocked instead.
    pub async fn decline(&self, chat: &str) -> Result<(), Error> {
        let chat = self.chat_name(chat).await?;
        let name = chat.clone();
        let invited = self
            .database(move |db| Ok(settings::is_request(db, &name)? && settings::invited_by(db, &name)?.is_some()))
            .await?;
        if !invited {
            return Err(Error::BadInput(format!("'{chat}' is no invitation; block a user who shall not write to you")));
        }
        self.leave_group(&chat).await
    }

    /// Whether this is on.
    pub async fn is_on(&self, switch: Switch) -> Result<bool, Error> {
        self.database(move |db| settings::is_on(db, switch.name())).await
    }

    /// Switches it on or off, on all devices of the account.
    pub async fn switch(&self, switch: Switch, on: bool) -> Result<(), Error> {
        self.engine(move |engine| engine.switch(switch.name(), on)).await
    }

    /// Waits until everything that was queued in a chat is at the server; or says why it is not. What is not stays queued.
    pub async fn flushed(&self, chat: &str, limit: Duration) -> Result<(), Error> {
        let chat = self.chat_name(chat).await?;
        let late = || Error::TimedOut("the server did not confirm it in time".into());
        let (reply, answer) = oneshot::channel();
        self.command(Command::Engine(Box::new(move |engine| engine.await_flushed(chat, reply))))?;
        timeout(limit, answer).await.map_err(|_| late())?.map_err(|_| Error::Closed)?
    }

    /// Runs on the engine's thread.
    pub(super) async fn engine<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Engine) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Engine(Box::new(move |engine| drop(reply.send(work(engine))))))?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

type Placed = Vec<(At, Message)>;

/// Of one message too many, the oldest goes.
fn older(mut found: Placed, limit: usize, behind: bool) -> (Placed, bool, bool) {
    let more = found.len() > limit;
    if more {
        found.remove(0);
    }
    (found, more, behind)
}

/// Of one message too many, the newest goes.
fn newer(mut found: Placed, limit: usize, before: bool) -> (Placed, bool, bool) {
    let more = found.len() > limit;
    found.truncate(limit);
    (found, before, more)
}
