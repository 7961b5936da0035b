//! Eras: when a chat cannot go on in its conversation, because the server lost a part of the log or another device began
//! anew, it goes on in another one.
//!
//! The invariant: nothing that was shown goes away, and a mark stands where one conversation ends; what waits is encrypted
//! anew. It must not know how conversations are made.

use super::{Engine, State, creation, log, succession};
use crate::{
    ChatKind, Error, key_packages,
    store::{
        self,
        chats::{self, ChatId, ChatRow, Phase},
        commits, join_requests, messages, outbox, successions,
    },
};

use waxwing_e2ee::mls::Mls;

const RESTORED: &str =
    "the server was restored from an older copy; what somebody had not received by then has to be sent again";
const TRUSTED: &str = "the chat goes on in a new conversation, with the identity that you have accepted";
const REPLACED: &str = "the chat goes on in a new conversation, which another device has begun";

/// Why a conversation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The server does not have what it had.
    Restored,
    /// The server has another one in its place.
    Replaced,
    /// The user has accepted another identity than the one that its group goes by.
    Trusted,
}

impl End {
    fn reason(self) -> &'static str {
        match self {
            Self::Restored => RESTORED,
            Self::Replaced => REPLACED,
            Self::Trusted => TRUSTED,
        }
    }
}

impl Engine {
    /// Leaves a chat's conversation behind.
    pub(super) fn begin_era(&mut self, chat: ChatId, end: End) -> Result<(), Error> {
        let row = chats::load(&self.db, chat)?;
        self.begin_era_in(&row, end, None)
    }

    /// The same; if the server has begun another life, that one's incarnation.
    fn begin_era_in(&mut self, row: &ChatRow, end: End, life: Option<&[u8; 16]>) -> Result<(), Error> {
        let (chat, Some(id)) = (row.chat, row.conversation) else { return Ok(()) };
        let group = ChatKind::of(&row.name) != ChatKind::Direct;
        // Of a copy that was put back by hand the others may not know: they would go on without this device.
        let former = match life {
            Some(life) if group => store::step("era", &mut self.db, |tx| succession::remembered(tx, row))?
                .map(|rules| (succession::successor(&id, life), rules)),
            _ => None,
        };
        if group && former.is_none() {
            return self.end_era_of_group(row, end);
        }
        let own = &self.own;
        let mark = store::in_transaction(&mut self.db, |tx| {
            creation::delete_group(tx, &id)?;
            commits::delete(tx, chat)?;
            join_requests::clear(tx, chat)?;
            store::order::forget(tx, chat)?;
            let newest = messages::newest_seq(tx, chat, row.era)?;
            if row.cursor == 0 && newest.is_none() && !group {
                // It never was open here.
                chats::set_new(tx, chat)?;
                return Ok::<_, Error>(None);
            }
            let mark = log::mark(tx, own, row, row.cursor.max(newest.unwrap_or(0)) + 1, end.reason().to_owned())?;
            chats::begin_era(tx, chat)?;
            outbox::carry_over(tx, chat)?;
            messages::carry_over(tx, chat)?;
            if let Some((next, rules)) = &former {
                successions::set(tx, chat, next, rules)?;
                chats::set_waiting(tx, chat, next)?;
            }
            Ok(Some(mark))
        })?;
        tracing::warn!(chat = row.name, era = row.era + 1, ?end, "a chat goes on in another conversation");
        if let Some(mark) = mark {
            self.tell(&mark);
        }
        if let State::Online(online) = &mut self.reach {
            online.lanes.remove(&chat);
            online.behind.remove(&chat);
            online.unsettled.remove(&chat);
            online.entering.remove(&chat);
            online.restock |= end == End::Restored;
        }
        self.wishes.fail(chat, &Error::Refused(end.reason().to_owned()));
        self.dirty.insert(chat);
        self.ensure_notes()
    }

    /// The user has accepted a contact's new identity: a group that goes by another one cannot take it in.
    pub(super) fn follow_identity(&mut self, name: &str, accepted: &[u8; 32]) -> Result<(), Error> {
        let Some(row) = chats::by_name(&self.db, name)? else { return Ok(()) };
        let (Phase::Active, Some(id)) = (row.phase, row.conversation) else { return Ok(()) };
        let other = store::in_transaction(&mut self.db, |tx| {
            let mls = Mls::new(tx);
            let group = creation::load(&mls, &id)?;
            Ok::<_, Error>(group.rules().participant(name).is_none_or(|fixed| fixed.identity != *accepted))
        })?;
        if other { self.begin_era(row.chat, End::Trusted) } else { Ok(()) }
    }

    /// The server has another database than the one that this device knew: no chat can go on as it was.
    pub(super) fn begin_all_anew(&mut self, incarnation: &[u8; 16]) -> Result<(), Error> {
        for row in chats::all(&self.db)? {
            let last = chats::last_conversation(&self.db, row.chat)?;
            // Killed half-way, it goes on where it was.
            let begun = last.is_some_and(|last| row.conversation == Some(succession::successor(&last, incarnation)));
            if matches!(row.phase, Phase::Active | Phase::Waiting | Phase::Joining) && !begun {
                self.begin_era_in(&row, End::Restored, Some(incarnation))?;
            }
        }
        Ok(())
    }

    /// A conversation that the server does not list any more: what it still has of it is read before it is left.
    pub(super) async fn leave(&mut self, row: &ChatRow) -> Result<(), Error> {
        let mut cursor = None;
        loop {
            let now = chats::load(&self.db, row.chat)?;
            if now.conversation != row.conversation {
                return Ok(());
            }
            if now.phase != Phase::Active || cursor == Some(now.cursor) {
                break;
            }
            cursor = Some(now.cursor);
            self.fetch(row.chat).await?;
        }
        self.begin_era(row.chat, End::Replaced)
    }

    /// The server may hand out key packages of ours that were used before: gives it new ones, too.
    pub(super) async fn restock(&mut self) -> Result<(), Error> {
        let own = &self.own;
        let batch = store::in_transaction(&mut self.db, |tx| key_packages::make(tx, own, key_packages::FIRST, true))?;
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        online.restock = false;
        key_packages::publish(&online.connection, batch).await.map(drop)
    }
}
