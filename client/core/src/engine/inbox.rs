//! The inbox: welcomes into chats that others began, and notices.

use super::{
    Engine, State, creation,
    directory::{Entering, Pinned},
    joining, roster, settings, succession,
};
use crate::{
    Error, Event,
    account::now_ms,
    address, random,
    store::{
        self,
        chats::{self, Phase},
        groups, messages, outbox, successions,
    },
    transport::{CallError, unexpected},
};
use rand_core::Rng as _;
use waxwing_crash::crash_point;
use waxwing_e2ee::mls::{Group, Kind, Mls, MlsError};
use waxwing_protocol::{ConversationId, DeviceId, InboxNotice, Request, Response, Username};

/// Within this time, in milliseconds, a device replaces the keys that it was added with.
const FIRST_UPDATE: u64 = 24 * 3600 * 1000;

/// So often on a connection another welcome is asked for after one that is no good.
const REFUSED_WELCOMES: u8 = 100;

/// A welcome as the server delivered it.
struct Invitation<'a> {
    conversation: ConversationId,
    seq: u64,
    commits: u64,
    payload: &'a [u8],
}

/// A device that asks to come in.
struct Asker {
    conversation: ConversationId,
    username: Username,
    device: DeviceId,
}

/// How joining went.
enum Joined {
    /// The chat, and what is to be told of it.
    Yes(chats::ChatId, Vec<Event>),
    /// It is no good; the text says why.
    No(String),
    /// There is another chat with this user.
    Other,
    /// This account's identity has to be fetched first.
    Unknown(String),
    /// These accounts' identities have to be fetched first.
    Strangers(Vec<String>),
}

impl Engine {
    /// Handles the next page of the inbox.
    pub(super) async fn fetch_inbox(&mut self) -> Result<(), Error> {
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        let request = Request::FetchInbox { after: online.inbox_seq };
        let answer = online.connection.call(request).await.map_err(CallError::into_error)?;
        let Response::Inbox(items) = answer else { return Err(unexpected()) };
        let Some(last) = items.last().map(|item| item.seq).filter(|last| *last > online.inbox_seq) else {
            online.inbox_due = false;
            return Ok(());
        };
        let mut asked = Vec::new();
        for item in items {
            match item.notice {
                InboxNotice::JoinAsked { conversation, username, device } => {
                    asked.push(Asker { conversation, username, device });
                }
                notice => self.handle_notice(notice).await?,
            }
        }
        self.note_askers(&asked)?;
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        online.inbox_seq = last;
        let request = Request::AcknowledgeInbox { seq: last };
        online.connection.post(request, (0, 0), &online.nobody).await;
        crash_point("acknowledge-inbox", "posted");
        Ok(())
    }

    /// What anybody asks to come into is noted in one go: in a large group many may ask at once.
    fn note_askers(&mut self, askers: &[Asker]) -> Result<(), Error> {
        let here = store::in_transaction(&mut self.db, |tx| {
            let mut here = Vec::new();
            for asker in askers {
                if let Some(row) = chats::by_conversation(tx, &asker.conversation.0)?
                    && row.phase == Phase::Active
                {
                    store::join_requests::insert(tx, row.chat, asker.username.as_str(), &asker.device.0)?;
                    chats::set_settled(tx, row.chat, false)?;
                    here.push((row, asker));
                }
            }
            Ok::<_, Error>(here)
        })?;
        for (row, asker) in here {
            if let State::Online(online) = &mut self.reach {
                online.may_reach(row.chat, &asker.device.0);
            }
            self.note_asker(&row, asker.username.as_str())?;
        }
        Ok(())
    }

    async fn handle_notice(&mut self, notice: InboxNotice) -> Result<(), Error> {
        match notice {
            InboxNotice::Welcome { conversation, seq, commits, payload } => {
                let invitation = Invitation { conversation, seq, commits, payload: &payload.0 };
                self.accept(&invitation).await
            }
            // The new list is checked against the old one, so that a bad one is noticed at once.
            InboxNotice::DeviceListChanged { username, .. } => match self.meet(username.as_str()).await {
                Err(error @ (Error::Untrusted { .. } | Error::IdentityChanged(_))) => {
                    self.hold(username.as_str(), error)
                }
                Err(Error::UnknownUser(_)) => Ok(()),
                outcome => outcome.map(drop),
            },
            InboxNotice::JoinAsked { conversation, username, device } => {
                self.note_askers(&[Asker { conversation, username, device }])
            }
            InboxNotice::Left { conversation, username, wish } => {
                if let Some(row) = chats::by_conversation(&self.db, &conversation.0)?
                    && row.phase == Phase::Active
                    && username.as_str() != self.own.username
                {
                    groups::add_wish(&self.db, row.chat, username.as_str(), &wish.0)?;
                    chats::set_settled(&self.db, row.chat, false)?;
                    self.unsettle(row.chat);
                }
                Ok(())
            }
        }
    }

    async fn accept(&mut self, invitation: &Invitation<'_>) -> Result<(), Error> {
        if i64::try_from(invitation.seq.max(invitation.commits)).is_err() {
            return Err(Error::ServerMisbehaves("it sent a welcome with an impossible number".into()));
        }
        self.read_up_to(invitation).await?;
        let mut joined = self.join(invitation)?;
        if let Joined::Other = joined {
            // Only if the server says that the old one is over; it is left then.
            self.fetch_conversations().await?;
            joined = self.join(invitation)?;
        }
        if let Joined::Strangers(usernames) = &joined {
            self.meet_all(&usernames.clone()).await?;
            joined = self.join(invitation)?;
        }
        if let Joined::Unknown(username) = &joined {
            match self.meet(&username.clone()).await {
                Ok(_) => joined = self.join(invitation)?,
                Err(error @ (Error::Untrusted { .. } | Error::IdentityChanged(_))) => {
                    return self.hold(&username.clone(), error);
                }
                Err(Error::UnknownUser(_) | Error::BadUsername { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        match joined {
            Joined::Yes(chat, events) => {
                events.iter().for_each(|event| self.tell(event));
                self.note_inside(chat, None);
                self.note_invitation(chat).await?;
            }
            Joined::No(reason) => {
                tracing::warn!(reason, "an invitation into a chat was refused");
                self.ask_anew(invitation.conversation)?;
            }
            Joined::Other => tracing::warn!("an invitation into a second chat with the same user was refused"),
            Joined::Strangers(_) => tracing::warn!("an invitation into a group of unknown identities was refused"),
            Joined::Unknown(_) => tracing::warn!("an invitation by an identity that does not exist was refused"),
        }
        Ok(())
    }

    /// Tells of an invitation by a stranger; one by somebody who is blocked is declined.
    async fn note_invitation(&mut self, chat: chats::ChatId) -> Result<(), Error> {
        let name = chats::load(&self.db, chat)?.name;
        let Some(by) = settings::invited_by(&self.db, &name)? else { return Ok(()) };
        if !settings::is_request(&self.db, &name)? {
            return Ok(());
        }
        if !settings::is_blocked(&self.db, &by)? {
            self.tell(&Event::Request { username: name, invited_by: Some(by) });
            return Ok(());
        }
        match self.leave_group(&name).await {
            Err(error @ Error::ConnectionLost(_)) => Err(error),
            Err(error) => {
                tracing::warn!(%error, "declining an invitation of who is blocked");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// A device that was put out and in again, by one commit, reads on until there with the group that it has.
    async fn read_up_to(&mut self, invitation: &Invitation<'_>) -> Result<(), Error> {
        while let Some(row) = chats::by_conversation(&self.db, &invitation.conversation.0)?
            && row.phase == Phase::Active
            && row.cursor < invitation.seq
        {
            self.fetch(row.chat).await?;
            if chats::load(&self.db, row.chat)?.cursor == row.cursor {
                break;
            }
        }
        Ok(())
    }

    /// The key package of a welcome was used up, say by a database that was replaced: another welcome has to come.
    fn ask_anew(&mut self, conversation: ConversationId) -> Result<(), Error> {
        let row = chats::by_conversation(&self.db, &conversation.0)?;
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        match row {
            None => online.conversations_due = true,
            Some(row) if row.phase == Phase::Waiting => {
                let lane = online.lane(row.chat);
                lane.refused_welcomes += 1;
                if lane.refused_welcomes <= REFUSED_WELCOMES {
                    (lane.asked, lane.waiting_since, lane.retry_at) = (false, None, None);
                    self.dirty.insert(row.chat);
                }
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn join(&mut self, invitation: &Invitation<'_>) -> Result<Joined, Error> {
        let (own, out_of_reach) = (&self.own, &self.wishes.out_of_reach);
        let outcome = store::step("join", &mut self.db, |tx| {
            let mls = Mls::new(tx);
            let id = invitation.conversation.0;
            let refuse = |reason: &str| Err(Refusal::No(reason.to_owned()).into());
            match chats::by_conversation(tx, &id)? {
                Some(known) if known.phase == Phase::Active => return refuse("this device is in the chat already"),
                // What is left of a group that this device cannot read any more.
                Some(_) => creation::delete_group(tx, &id)?,
                None => {}
            }
            let group =
                match Group::join(&mls, &Entering { pinned: Pinned { tx, own }, out_of_reach }, invitation.payload) {
                    Ok(group) => group,
                    Err(MlsError::UnknownIdentities(usernames)) => return Err(Refusal::Strangers(usernames).into()),
                    Err(MlsError::UnknownIdentity { username, .. }) => return Err(Refusal::Unknown(username).into()),
                    Err(error) if error.is_fault_of_entry() => return refuse(&error.to_string()),
                    Err(error) => return Err(crate::mls_error(&error).into()),
                };
            if *group.id() != id {
                return refuse("it is for another conversation");
            }
            let known = chats::by_conversation(tx, &id)?;
            let name = match (group.rules().kind(), group.rules().about()) {
                (Kind::Room, Some(about)) => format!("#{}", about.name),
                (Kind::Group, _) => known.as_ref().map_or_else(|| address::group(&id), |row| row.name.clone()),
                _ => {
                    let peer = group.rules().participants().iter().find(|one| one.username != own.username);
                    peer.map_or(&own.username, |peer| &peer.username).clone()
                }
            };
            let name = name.as_str();
            if !creation::is_chat(group.rules(), &own.username, name, &id) {
                return refuse("this account does not take part");
            }
            if group.rules().kind() == Kind::Room && known.is_none() {
                // Whoever invites could call anything by that name: the server has to say that it is the room.
                return Err(Refusal::Other.into());
            }
            let row = chats::ensure(tx, name)?;
            if chats::by_conversation(tx, &id)?.is_some_and(|other| other.chat != row.chat) {
                return refuse("it has the id of another chat");
            }
            match (row.phase, row.conversation) {
                (Phase::Active | Phase::Waiting | Phase::Joining | Phase::Over, Some(known)) if known != id => {
                    return Err(Refusal::Other.into());
                }
                (Phase::Creating, Some(ours)) if ours != id => creation::delete_group(tx, &ours)?,
                _ => {}
            }
            let begun_there = invitation.seq <= 1 && matches!(row.phase, Phase::New | Phase::Waiting) && row.era == 0;
            let new_here = messages::newest(tx, row.chat, 1)?.is_empty() && outbox::is_empty(tx, row.chat)?;
            let by_one = group.rules().kind() == Kind::Direct && name != own.username;
            if begun_there && new_here && by_one {
                settings::begin_request(tx, name)?;
            }
            let former = successions::find(tx, row.chat)?.filter(|former| former.conversation == id);
            if let Some(former) = &former
                && !succession::may_follow(&former.rules, group.rules(), group.invited_by())
            {
                return refuse("it does not continue what the chat was");
            }
            let by = inviter(&group, &own.username).filter(|_| former.is_none());
            if let Some(by) = &by
                && !settings::is_known(tx, by)?
            {
                settings::begin_invitation(tx, name, by)?;
            }
            let gap = joining::came_in(tx, own, &row, &id, invitation.seq, invitation.commits)?;
            let mut events: Vec<Event> = gap.into_iter().collect();
            if let Some(by) = by.filter(|_| group.rules().kind() == Kind::Group) {
                // The commit itself is before what this device reads.
                let notice = roster::notice(tx, row.chat, invitation.seq, &format!("{by} added you"))?;
                events.extend(Some(notice).filter(|_| !settings::is_request(tx, name).unwrap_or(true)));
            }
            events.push(Event::ChatChanged { chat: name.to_owned() });
            chats::set_join_key(tx, row.chat, group.join_key().as_bytes())?;
            roster::set_about(tx, row.chat, group.rules())?;
            // Keys that a key package brought are replaced soon.
            chats::set_update_at(tx, row.chat, now_ms() + random().next_u64() % FIRST_UPDATE)?;
            Ok(Joined::Yes(row.chat, events))
        });
        match outcome {
            Ok(joined) => Ok(joined),
            Err(Stop::Refused(Refusal::No(reason))) => Ok(Joined::No(reason)),
            Err(Stop::Refused(Refusal::Other)) => Ok(Joined::Other),
            Err(Stop::Refused(Refusal::Unknown(username))) => Ok(Joined::Unknown(username)),
            Err(Stop::Refused(Refusal::Strangers(usernames))) => Ok(Joined::Strangers(usernames)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }
}

/// Who has let this account into a group by the commit of this welcome; none if it was in it before, or is not invited by
/// somebody else.
fn inviter(group: &Group<'_>, own: &str) -> Option<String> {
    let by = group.invited_by().filter(|by| by.username != own)?;
    let since = group.rules().participant(own)?.since?;
    // Whoever is in it from its beginning comes in by its first commit.
    let first = since == 0 && group.epoch() == 1;
    (group.rules().kind() != Kind::Direct && (first || since == group.epoch())).then(|| by.username.clone())
}

enum Refusal {
    No(String),
    Other,
    Unknown(String),
    Strangers(Vec<String>),
}

/// Why the transaction of a joining was rolled back.
enum Stop {
    Refused(Refusal),
    Failed(Error),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
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
