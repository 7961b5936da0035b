//! What the user has set, on all devices of the account: receipts, blocked users, muted chats, strangers who wait.
//!
//! The invariant: of two values the one that was set later counts, on every device. It must not know who shows what of it.

use super::{Engine, messages, sync};
use crate::{
    Content, Error, Event, Message,
    account::{check_line, now_ms, username},
    address,
    store::{
        self,
        chats::{self, ChatId, ChatRow},
        messages as history, own, settings,
    },
};
use rusqlite::Connection as Database;
use std::time::Duration;
use tokio::time::Instant;
use waxwing_e2ee::content::Body;

/// Whether others are told what the user has read.
pub(crate) const READ_RECEIPTS: &str = "receipts/read";
/// Whether others are told what has arrived here.
pub(crate) const DELIVERED_RECEIPTS: &str = "receipts/delivered";
/// Whether strangers' messages wait until the user accepts them.
pub(crate) const REQUESTS: &str = "requests";
/// Whether others are told that the user is typing.
pub(crate) const TYPING: &str = "typing";
/// Whether others are told that the user is there, and the user that they are.
pub(crate) const PRESENCE: &str = "presence";
/// The settings that are on or off.
pub(crate) const SWITCHES: [&str; 5] = [READ_RECEIPTS, DELIVERED_RECEIPTS, REQUESTS, TYPING, PRESENCE];

/// The name that others see beside the username; empty for none. Not set until the user changes it.
pub(crate) const FULL_NAME: &str = "full_name";

const BLOCKED: &str = "blocked/";
const MUTED: &str = "muted/";
const REQUEST: &str = "request/";
/// Who has invited the user into a group that waits as a request.
const INVITER: &str = "inviter/";
pub(crate) const ON: &str = "on";
pub(crate) const OFF: &str = "off";

/// A switch is on until it is switched off; but that strangers wait has to be switched on, since only who looks at a screen
/// would find them.
pub(crate) fn is_on(db: &Database, name: &str) -> Result<bool, Error> {
    Ok(settings::load(db, name)?.map_or(name != REQUESTS, |value| value != OFF))
}

/// Whether nothing of this user is to arrive.
pub(crate) fn is_blocked(db: &Database, username: &str) -> Result<bool, Error> {
    Ok(settings::load(db, &format!("{BLOCKED}{username}"))?.as_deref() == Some(ON))
}

/// The users of whom nothing is to arrive.
pub(crate) fn blocked(db: &Database) -> Result<Vec<String>, Error> {
    let all = settings::all(db)?.into_iter().filter(|(_, value)| value == ON);
    Ok(all.filter_map(|(name, _)| name.strip_prefix(BLOCKED).map(str::to_owned)).collect())
}

/// Whether a stranger has begun this chat and the user has not accepted it.
pub(crate) fn is_request(db: &Database, chat: &str) -> Result<bool, Error> {
    Ok(settings::load(db, &format!("{REQUEST}{chat}"))?.as_deref() == Some(ON))
}

/// Who has invited the user into this group, if that was a stranger.
pub(crate) fn invited_by(db: &Database, chat: &str) -> Result<Option<String>, Error> {
    settings::load(db, &format!("{INVITER}{chat}"))
}

/// Whether the user has a chat with them, and wants it.
pub(super) fn is_known(db: &Database, username: &str) -> Result<bool, Error> {
    Ok(chats::by_name(db, username)?.is_some() && !is_request(db, username)? && !is_blocked(db, username)?)
}

/// Until when the user wants no notice of a chat.
pub(crate) fn muted_until(db: &Database, chat: &str, now: u64) -> Result<Option<u64>, Error> {
    let until = settings::load(db, &format!("{MUTED}{chat}"))?.and_then(|value| match value.as_str() {
        ON => Some(u64::MAX),
        until => until.parse().ok(),
    });
    Ok(until.filter(|until| *until > now))
}

/// Whether the members of a chat are told nothing of what happens here.
pub(crate) fn is_quiet(db: &Database, chat: ChatId) -> Result<bool, Error> {
    let name = chats::load(db, chat)?.name;
    Ok(is_request(db, &name)? || is_blocked(db, &name)?)
}

/// A stranger has begun this chat: it waits until the user accepts it, if none of the user's devices has done so.
pub(super) fn begin_request(tx: &Database, chat: &str) -> Result<(), Error> {
    if is_on(tx, REQUESTS)? {
        // Before everything that the user sets.
        settings::set(tx, &format!("{REQUEST}{chat}"), ON, 0)?;
    }
    Ok(())
}

/// A stranger, or who is blocked, has invited the user into this group: it waits in the same way. One that the user has
/// asked for, or accepted before, does not.
pub(super) fn begin_invitation(tx: &Database, chat: &str, by: &str) -> Result<(), Error> {
    if is_on(tx, REQUESTS)? || is_blocked(tx, by)? {
        settings::set(tx, &format!("{INVITER}{chat}"), by, 0)?;
        settings::set(tx, &format!("{REQUEST}{chat}"), ON, 0)?;
    }
    Ok(())
}

/// Takes in what the user has set on another device. Says which chat looks different now.
pub(super) fn take(tx: &Database, name: &str, value: &str, at: u64) -> Result<Option<String>, Error> {
    let of_chat = [BLOCKED, MUTED, REQUEST, INVITER].into_iter().find_map(|prefix| name.strip_prefix(prefix));
    if of_chat.is_none() && name != FULL_NAME && !SWITCHES.contains(&name) {
        // Of a newer version.
        return Ok(None);
    }
    let waited = match of_chat {
        Some(chat) => is_request(tx, chat)?,
        None => false,
    };
    if name == FULL_NAME && check_line("name", Some(value)).is_err() {
        return Ok(None);
    }
    settings::set(tx, name, value, at)?;
    if name == FULL_NAME {
        let kept = settings::load(tx, name)?.filter(|kept| !kept.is_empty());
        own::set_full_name(tx, kept.as_deref())?;
    }
    if let Some(chat) = of_chat
        && waited
        && !is_request(tx, chat)?
    {
        release(tx, chat)?;
    }
    Ok(of_chat.map(str::to_owned))
}

/// For backups: what the account's next device has to know.
pub(crate) fn collect(db: &Database) -> Result<Vec<(String, String)>, Error> {
    settings::all(db)
}

/// From a backup: what this device does not know better.
pub(crate) fn restore(tx: &Database, name: &str, value: &str) -> Result<(), Error> {
    if settings::load(tx, name)?.is_none() {
        take(tx, name, value, 0)?;
    }
    Ok(())
}

/// What waited with a request is new from now on, wherever messages are counted in the order of their arrival.
fn release(tx: &Database, chat: &str) -> Result<Vec<Message>, Error> {
    match chats::by_name(tx, chat)? {
        Some(row) => history::renew(tx, row.chat),
        None => Ok(Vec::new()),
    }
}

impl Engine {
    /// Sets something, here and on the account's other devices.
    fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let own = &self.own;
        let told = store::step("set", &mut self.db, |tx| {
            let at = now_ms();
            settings::set(tx, name, value, at)?;
            sync::queue(
                tx,
                own,
                waxwing_e2ee::content::Sync::Setting { name: name.to_owned(), value: value.to_owned(), at_ms: at },
            )
        })?;
        self.dirty.extend(told);
        self.backup.note_messages(1);
        Ok(())
    }

    /// Switches one of [`SWITCHES`].
    pub(crate) fn switch(&mut self, name: &str, on: bool) -> Result<(), Error> {
        self.set(name, if on { ON } else { OFF })
    }

    /// The name that others see beside the username: all chats are told.
    pub(crate) fn set_full_name(&mut self, name: Option<&str>) -> Result<(), Error> {
        let name = name.map(str::trim).filter(|name| !name.is_empty());
        check_line("name", name)?;
        if name == self.own.full_name.as_deref() {
            return Ok(());
        }
        self.set(FULL_NAME, name.unwrap_or_default())?;
        store::in_transaction(&mut self.db, |tx| {
            own::set_full_name(tx, name)?;
            chats::introduce_again(tx)
        })?;
        self.own.full_name = name.map(str::to_owned);
        self.dirty.extend(chats::active(&self.db)?);
        let (username, full_name) = (self.own.username.clone(), self.own.full_name.clone());
        self.tell(&Event::Profile { username, full_name });
        Ok(())
    }

    /// Nothing of this user arrives any more, or again.
    pub(crate) fn block(&mut self, name: &str, blocked: bool) -> Result<(), Error> {
        let name = username(name)?.to_string();
        if name == self.own.username {
            return Err(Error::BadInput("you cannot block yourself".into()));
        }
        self.set(&format!("{BLOCKED}{name}"), if blocked { ON } else { OFF })?;
        self.tell(&Event::ChatChanged { chat: name });
        Ok(())
    }

    /// No notices of a chat until then; `u64::MAX`: until that is taken back; none: from now on again.
    pub(crate) fn mute(&mut self, chat: &str, until: Option<u64>) -> Result<(), Error> {
        let row = chats::by_name(&self.db, chat)?.ok_or_else(|| Error::UnknownChat(chat.to_owned()))?;
        let value = match until {
            None => OFF.to_owned(),
            Some(u64::MAX) => ON.to_owned(),
            Some(until) => until.to_string(),
        };
        self.set(&format!("{MUTED}{}", row.name), &value)?;
        self.tell(&Event::ChatChanged { chat: row.name });
        Ok(())
    }

    /// The user accepts what a stranger has begun: its messages are shown from now on, and answered with receipts.
    pub(crate) fn accept_chat(&mut self, chat: &str) -> Result<(), Error> {
        let row = chats::by_name(&self.db, chat)?.ok_or_else(|| Error::UnknownChat(chat.to_owned()))?;
        if !is_request(&self.db, &row.name)? {
            return Err(Error::BadInput(format!("'{}' waits for nothing: it is accepted", row.name)));
        }
        self.set(&format!("{REQUEST}{}", row.name), OFF)?;
        let released = store::in_transaction(&mut self.db, |tx| release(tx, &row.name))?;
        self.presence.enter(row.chat);
        self.tell(&Event::ChatChanged { chat: row.name });
        for message in released {
            self.tell(&Event::Message(message));
        }
        self.owe_receipt();
        Ok(())
    }

    /// The user comes into a chat by their own wish: it never waits as a request, on no device.
    pub(super) fn want(&mut self, chat: &str) -> Result<(), Error> {
        let waits = is_request(&self.db, chat)?;
        if waits || is_on(&self.db, REQUESTS)? {
            self.set(&format!("{REQUEST}{chat}"), OFF)?;
        }
        Ok(())
    }

    /// Who writes to a stranger has accepted them.
    pub(super) fn accept_by_writing(&mut self, chat: &str) -> Result<(), Error> {
        if is_request(&self.db, chat)? { self.accept_chat(chat) } else { Ok(()) }
    }

    /// From now on the chat's messages are kept for so many seconds, by everybody; none: for good.
    pub(crate) fn set_timer(&mut self, chat: &str, timer: Option<u32>) -> Result<Message, Error> {
        let row = chats::by_name(&self.db, chat)?.ok_or_else(|| Error::UnknownChat(chat.to_owned()))?;
        if timer == Some(0) {
            return Err(Error::BadInput("a timer has at least one second".into()));
        }
        self.accept_by_writing(chat)?;
        let message = self.queue_message(&row.name, |tx, chat| {
            chats::set_timer(tx, chat, timer)?;
            Ok((Body::Timer(timer), Content::Timer(timer), None))
        })?;
        self.tell(&Event::ChatChanged { chat: row.name });
        Ok(message)
    }

    /// What the user has begun to write in a chat; none: nothing any more.
    pub(crate) fn set_draft(&mut self, chat: &str, draft: Option<&str>) -> Result<(), Error> {
        let draft = draft.filter(|draft| !draft.trim().is_empty());
        if let Some(draft) = draft {
            messages::check_text(draft)?;
        }
        store::in_transaction(&mut self.db, |tx| {
            let row: Option<ChatRow> = match draft {
                Some(_) => Some(address::writable(tx, chat)?),
                None => chats::by_name(tx, chat)?,
            };
            let Some(row) = row else { return Ok(()) };
            chats::set_draft(tx, row.chat, draft)?;
            if draft.is_none() { chats::forget_unused(tx, chat) } else { Ok(()) }
        })
    }

    /// Lets go what has been here long enough, and wipes what was deleted out of the write-ahead log. Says when it is due
    /// again.
    pub(super) fn expire(&mut self) -> Result<Option<Instant>, Error> {
        let now = now_ms();
        let next = history::next_expiry(&self.db)?;
        if next.is_some_and(|at| at <= now) {
            let gone = store::step("disappear", &mut self.db, |tx| history::expire(tx, now))?;
            for (chat, id, from) in gone {
                self.tell(&Event::Gone { chat, id, from });
            }
        }
        if std::mem::take(&mut self.wipe) {
            store::checkpoint(&self.db)?;
        }
        let next = history::next_expiry(&self.db)?;
        // Clocks are set: look again from time to time.
        let wait = |at: u64| Duration::from_millis(at.saturating_sub(now)).clamp(MOMENT, HOUR);
        Ok(next.map(|at| Instant::now() + wait(at)))
    }
}

/// Between two looks at what expires, at least and at most.
const MOMENT: Duration = Duration::from_millis(10);
const HOUR: Duration = Duration::from_secs(3600);
