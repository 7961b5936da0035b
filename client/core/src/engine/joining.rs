//! Chats that this device is not in, or not any more: learning of them, waiting to be let in, letting itself in, asking.
//!
//! The invariant: a join is on disk before it leaves, and repeated until the server has said yes or no; nothing is encrypted
//! before. It must not know how members add a device.

use super::{
    Engine, State, creation,
    directory::{Entering, Pinned, signed_list},
    log, roster, succession,
};
use crate::{
    ChatKind, Error,
    account::now_ms,
    address, random,
    store::{
        self,
        chats::{self, ChatId, ChatRow, Phase},
        own::Own,
        successions,
    },
    transport::{CallError, unexpected},
};
use rand_core::Rng as _;
use rusqlite::Connection as Database;
use std::{collections::BTreeSet, time::Duration};
use tokio::time::Instant;
use waxwing_e2ee::mls::{Group, JoinKey, Mls, MlsError, Refused, SignedList};
use waxwing_protocol::{
    ConversationId, ConversationInfo, ConversationKind, ErrorCode, Request, Response, encode, limits,
};

/// So long the members have to let this device in before it does so itself.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long after that those who wait are told why.
const WELCOME: Duration = Duration::from_secs(5);
/// The same in a room, where many may come at once and are let in one group after the other.
const QUEUE: Duration = Duration::from_secs(12);
/// So often a join is made anew because the chat changed meanwhile.
const JOINS: u8 = 5;
const BARRED: &str = "an admin has put you out of this room: only an invitation lets you in again";
const PAUSE: Duration = Duration::from_millis(300);

/// What became of making a join.
enum Prepared {
    Yes,
    /// There is nothing to join by.
    No,
    /// This account's identity has to be fetched first.
    Unknown(String),
    /// These accounts' identities have to be fetched first.
    Strangers(Vec<String>),
    /// An admin has put this account out.
    Barred,
}

impl Engine {
    /// Compares the account's conversations with the chats that are here.
    pub(super) async fn fetch_conversations(&mut self) -> Result<(), Error> {
        let mut all: Vec<ConversationInfo> = Vec::new();
        loop {
            let State::Online(online) = &mut self.reach else { return Ok(()) };
            let after = all.last().map(|info| info.conversation);
            let request = Request::Conversations { after };
            let answer = online.connection.call(request).await.map_err(CallError::into_error)?;
            let Response::Conversations(page) = answer else { return Err(unexpected()) };
            let rising = page.iter().all(|info| after.is_none_or(|after| info.conversation > after));
            if !rising || !page.is_sorted_by_key(|info| info.conversation) {
                return Err(Error::ServerMisbehaves("the list of conversations goes in circles".into()));
            }
            let full = page.len() >= limits::PAGE_ENTRIES as usize;
            all.extend(page);
            if !full {
                break;
            }
        }
        let listed: BTreeSet<[u8; 16]> = all.iter().map(|info| info.conversation.0).collect();
        for row in chats::all(&self.db)? {
            let here = matches!(row.phase, Phase::Active | Phase::Waiting | Phase::Joining);
            let to_come = successions::find(&self.db, row.chat)?.is_some();
            if here && !to_come && row.conversation.is_some_and(|id| !listed.contains(&id)) {
                self.leave(&row).await?;
            }
        }
        for info in &all {
            self.compare(info)?;
        }
        self.dirty.extend(chats::groups_in_creation(&self.db)?);
        let outside = chats::outside(&self.db)?;
        self.dirty.extend(&outside);
        self.dirty.extend(chats::between_eras(&self.db)?);
        if let State::Online(online) = &mut self.reach {
            online.entering.extend(outside);
        }
        self.ensure_notes()?;
        if let State::Online(online) = &mut self.reach {
            online.conversations_due = false;
        }
        Ok(())
    }

    /// A conversation of the account: is it here, and is this device in it?
    fn compare(&mut self, info: &ConversationInfo) -> Result<(), Error> {
        let id = info.conversation.0;
        let name = match &info.kind {
            ConversationKind::Direct(name) => name.to_string(),
            ConversationKind::Group => address::group(&id),
            ConversationKind::Room(room) => room.to_string(),
        };
        if let Some(row) = chats::by_conversation(&self.db, &id)? {
            if row.phase == Phase::Over {
                // Somebody has let this account in again, or another device of it.
                chats::set_waiting(&self.db, row.chat, &id)?;
            }
            if row.phase == Phase::Active && !info.member {
                // It was put out without an entry that it could have read.
                chats::set_waiting(&self.db, row.chat, &id)?;
                self.note_outside(row.chat);
            }
            return Ok(());
        }
        if chats::by_former_conversation(&self.db, &id)?.is_some() {
            return Ok(());
        }
        store::step("chat-heard-of", &mut self.db, |tx| {
            let row = chats::ensure(tx, &name)?;
            match row.phase {
                Phase::New => chats::set_waiting(tx, row.chat, &id),
                // A room of the same name as the one that it was.
                Phase::Over => {
                    chats::begin_era(tx, row.chat)?;
                    chats::set_waiting(tx, row.chat, &id)
                }
                // The answer to our creation will say so.
                Phase::Creating | Phase::Waiting | Phase::Joining | Phase::Active => Ok(()),
            }
        })
    }

    /// This device cannot read the chat any more: what waits there stays, and it comes in again.
    pub(super) fn note_outside(&mut self, chat: ChatId) {
        if let State::Online(online) = &mut self.reach {
            online.behind.remove(&chat);
            online.unsettled.remove(&chat);
            let lane = online.lane(chat);
            (lane.waiting_since, lane.retry_at) = (None, None);
            lane.ahead.clear();
        }
        self.dirty.insert(chat);
    }

    /// Waits a moment for a welcome, then lets this device in by itself, or asks the members.
    pub(super) async fn let_in(&mut self, row: &ChatRow) -> Result<(), Error> {
        if row.phase == Phase::Joining {
            return self.send_join(row).await;
        }
        if let Some(waiting) = successions::find(&self.db, row.chat)? {
            return self.succeed(row, &waiting.rules).await;
        }
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        let room = ChatKind::of(&row.name) == ChatKind::Room;
        if room && !online.lane(row.chat).asked {
            // Whoever is there lets it in: with others who come at the same time, by one commit.
            self.ask_to_join(row).await?;
        }
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        let (lane, now) = (online.lane(row.chat), Instant::now());
        let since = *lane.waiting_since.get_or_insert(now);
        if now < since + PATIENCE {
            lane.retry_at = Some(since + PATIENCE);
            return Ok(());
        }
        if room || !lane.asked {
            let may_join = lane.joins < JOINS;
            if may_join && self.prepare_join(row).await? {
                let row = chats::load(&self.db, row.chat)?;
                return self.send_join(&row).await;
            }
            if !room {
                self.ask_to_join(row).await?;
            }
        }
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        online.entering.remove(&row.chat);
        let lane = online.lane(row.chat);
        let welcome = if room { QUEUE } else { WELCOME };
        lane.retry_at = Some(now + welcome);
        if now < since + PATIENCE + welcome {
            return Ok(());
        }
        let reason =
            "this device is not in the chat yet: another device in it has to be online to let it in, and does so \
                      as soon as it is"
                .to_owned();
        if !chats::load(&self.db, row.chat)?.phase.is_inside() {
            self.wishes.entered(row.chat, &Err(Error::TimedOut(reason.clone())));
        }
        self.tell_waiting(&row.name, &Error::Refused(reason))
    }

    async fn ask_to_join(&mut self, row: &ChatRow) -> Result<(), Error> {
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        let Some(conversation) = row.conversation.map(ConversationId) else { return Ok(()) };
        match online.connection.call(Request::AskToJoin(conversation)).await {
            Ok(Response::Done) => online.lane(row.chat).asked = true,
            Ok(_) => return Err(unexpected()),
            Err(CallError::Refused(refusal)) if refusal.code == ErrorCode::UnknownConversation => {
                online.lane(row.chat).asked = true;
            }
            Err(error) => return Err(error.into_error()),
        }
        Ok(())
    }

    /// Makes a join and stores it, if there is a key to join by and a state of the group on the server.
    pub(super) async fn prepare_join(&mut self, row: &ChatRow) -> Result<bool, Error> {
        let Some(conversation) = row.conversation else { return Ok(false) };
        let key = match ChatKind::of(&row.name) {
            ChatKind::Room => Some(JoinKey::of_room(&conversation)),
            _ => row.join_key.as_deref().map(|key| JoinKey::from_bytes(*key)),
        };
        let Some(key) = key else { return Ok(false) };
        let State::Online(online) = &mut self.reach else { return Ok(false) };
        online.lane(row.chat).joins += 1;
        let request = Request::GroupInfo(ConversationId(conversation));
        let info = match online.connection.call(request).await {
            Ok(Response::GroupInfo(info)) => info,
            Ok(_) => return Err(unexpected()),
            Err(CallError::Refused(refusal)) if refusal.code == ErrorCode::UnknownConversation => return Ok(false),
            Err(error) => return Err(error.into_error()),
        };
        let Some(sealed) = info.sealed else { return Ok(false) };
        // Our own list has to be the newest: others refuse an older one.
        let me = self.own.username.clone();
        self.meet(&me).await?;
        for _ in 0..3 {
            match self.make_join(row, &key, info.commits, &sealed.0)? {
                Prepared::Yes => return Ok(true),
                Prepared::No => return Ok(false),
                Prepared::Unknown(username) => drop(self.meet(&username).await?),
                Prepared::Strangers(usernames) => self.meet_all(&usernames).await?,
                Prepared::Barred => {
                    self.wishes.entered(row.chat, &Err(Error::NotInChat(row.name.clone())));
                    let State::Online(online) = &mut self.reach else { return Ok(false) };
                    let request = Request::Leave {
                        conversation: ConversationId(conversation),
                        wish: waxwing_protocol::Bytes(Vec::new()),
                    };
                    online.connection.call(request).await.map_err(CallError::into_error)?;
                    self.end_group(row, BARRED)?;
                    return Ok(false);
                }
            }
        }
        Ok(false)
    }

    fn make_join(&mut self, row: &ChatRow, key: &JoinKey, commits: u64, sealed: &[u8]) -> Result<Prepared, Error> {
        let (own, out_of_reach) = (&self.own, &self.wishes.out_of_reach);
        let made = store::step("join-alone", &mut self.db, |tx| {
            let Some(id) = row.conversation else { return Ok(()) };
            let mls = Mls::new(tx);
            let device = crate::own_device(&mls, own)?;
            let Some((list, _)) = signed_list(tx, own, &own.username)? else { return Err(Stop::No("no list".into())) };
            let list = match ChatKind::of(&row.name) {
                ChatKind::Direct => list,
                _ => SignedList { identity: Some(own.identity_key.clone()), rotations: Vec::new(), ..list },
            };
            let known = Entering { pinned: Pinned { tx, own }, out_of_reach };
            let joined = Group::join_externally(&mls, &known, &device, &id, key, sealed, &list);
            let (group, prepared) = match joined {
                Ok(joined) => joined,
                Err(MlsError::UnknownIdentity { username, .. }) => return Err(Stop::Unknown(username)),
                Err(MlsError::Refused(Refused::Barred(_))) => return Err(Stop::Barred),
                Err(MlsError::UnknownIdentities(usernames)) => return Err(Stop::Strangers(usernames)),
                Err(error @ MlsError::WrongJoinKey) => return Err(Stop::No(error.to_string())),
                Err(error) if error.is_fault_of_entry() => return Err(Stop::No(error.to_string())),
                Err(error) => return Err(crate::mls_error(&error).into()),
            };
            if !creation::is_chat(group.rules(), &own.username, &row.name, &id) {
                return Err(Stop::No("it is the group of another chat".into()));
            }
            if let Some(former) = successions::find(tx, row.chat)?
                && !succession::may_follow(&former.rules, group.rules(), None)
            {
                return Err(Stop::No("it does not continue what the chat was".into()));
            }
            let request = Request::Join {
                conversation: ConversationId(id),
                commits,
                commit: prepared.commit.into(),
                group_info: prepared.group_info.map(Into::into),
            };
            chats::set_joining(tx, row.chat, &encode(&request).0)?;
            chats::set_join_key(tx, row.chat, group.join_key().as_bytes())?;
            roster::set_about(tx, row.chat, group.rules())?;
            Ok(())
        });
        match made {
            Ok(()) => Ok(Prepared::Yes),
            Err(Stop::Unknown(username)) => Ok(Prepared::Unknown(username)),
            Err(Stop::Strangers(usernames)) => Ok(Prepared::Strangers(usernames)),
            Err(Stop::Barred) => Ok(Prepared::Barred),
            Err(Stop::No(reason)) => {
                tracing::warn!(reason, chat = row.name, "this device cannot let itself in");
                Ok(Prepared::No)
            }
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// Sends the stored join, perhaps again.
    pub(super) async fn send_join(&mut self, row: &ChatRow) -> Result<(), Error> {
        let damaged = || Error::Storage("the stored join of a chat is damaged".into());
        let stored = row.creation.as_deref().ok_or_else(damaged)?;
        let request: Request = minicbor::decode(stored).map_err(|_| damaged())?;
        let Request::Join { conversation, commits, .. } = &request else { return Err(damaged()) };
        let (conversation, commits) = (conversation.0, *commits);
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        match online.connection.call(request).await {
            Ok(Response::Accepted { seq, .. }) => {
                if seq <= row.cursor || seq > log::HIGHEST {
                    return Err(Error::ServerMisbehaves("it put a join where it cannot be".into()));
                }
                let own = &self.own;
                let gap = store::step("joined-alone", &mut self.db, |tx| {
                    let gap = came_in(tx, own, row, &conversation, seq, commits + 1)?;
                    let due = super::commits::update_after(now_ms(), random().next_u64());
                    chats::set_update_at(tx, row.chat, due)?;
                    Ok::<_, Error>(gap)
                })?;
                self.note_inside(row.chat, gap);
                Ok(())
            }
            Ok(_) => Err(unexpected()),
            Err(CallError::Refused(refusal)) => match refusal.code {
                ErrorCode::Busy | ErrorCode::RateLimited | ErrorCode::Internal | ErrorCode::Draining => {
                    online.lane(row.chat).wait(&refusal);
                    Ok(())
                }
                _ => {
                    // The chat changed meanwhile: its new state, and another join.
                    online.lane(row.chat).retry_at = Some(Instant::now() + PAUSE);
                    store::step("join-alone-refused", &mut self.db, |tx| {
                        creation::delete_group(tx, &conversation)?;
                        chats::set_waiting(tx, row.chat, &conversation)
                    })
                }
            },
            Err(error) => Err(error.into_error()),
        }
    }

    /// This device is in the chat (again).
    pub(super) fn note_inside(&mut self, chat: ChatId, gap: Option<crate::Event>) {
        if let Some(gap) = gap {
            self.tell(&gap);
        }
        if let State::Online(online) = &mut self.reach {
            online.behind.insert(chat);
            online.entering.remove(&chat);
            let lane = online.lane(chat);
            (lane.waiting_since, lane.retry_at, lane.joins, lane.asked) = (None, None, 0, false);
            lane.ahead.clear();
        }
        self.note_gap(chat);
        self.presence.enter(chat);
        if let Ok(row) = chats::load(&self.db, chat) {
            self.wishes.entered(chat, &Ok(row.name));
        }
        self.unsettle(chat);
    }
}

/// The chat goes on at `seq`; what was before and was not read is marked, if there was anything.
pub(super) fn came_in(
    tx: &Database,
    own: &Own,
    row: &ChatRow,
    id: &[u8; 16],
    seq: u64,
    commits: u64,
) -> Result<Option<crate::Event>, Error> {
    let missed = seq.saturating_sub(row.cursor + 1);
    let gap = match row.cursor > 0 && missed > 0 {
        true => {
            let entries = if missed == 1 { "1 entry was" } else { &format!("{missed} entries were") };
            let reason = format!("{entries} written while this device could not read the chat");
            Some(log::mark(tx, own, row, seq - 1, reason)?)
        }
        false => None,
    };
    chats::set_active(tx, row.chat, id, seq, commits)?;
    successions::delete(tx, row.chat)?;
    Ok(gap)
}

/// Why the transaction of a join was rolled back.
enum Stop {
    No(String),
    Unknown(String),
    Strangers(Vec<String>),
    Barred,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.into())
    }
}
