//! Making a direct chat: a group of both accounts' devices, offered to the server, which takes one per pair of accounts.

use super::{
    Engine, State,
    commits::update_after,
    directory::{Pinned, signed_list},
    order,
};
use crate::{
    ChatKind, Error,
    account::{now_ms, username},
    directory::VerifiedAccount,
    random,
    store::{
        self,
        chats::{self, ChatRow, Phase},
        own::Own,
        successions,
    },
    transport::{CallError, unexpected},
};
use rand_core::Rng as _;
use rusqlite::Connection as Database;
use waxwing_e2ee::account::IdentityPublicKey;
use waxwing_e2ee::mls::{
    Change, Group, GroupRules, JoinKey, KeptGroup, Kind, Member, Mls, Participant, Role, SignedList,
};
use waxwing_protocol::{
    ConversationId, ConversationKind, CreateConversation, DeviceId, ErrorCode, Handshake, Request, Response, Welcome,
    encode,
};

impl Engine {
    /// Creates a chat, or goes on with a creation whose answer is not known.
    pub(super) async fn create(&mut self, row: &ChatRow) -> Result<(), Error> {
        let creation = match (&row.creation, row.phase) {
            (Some(creation), Phase::Creating) => minicbor::decode(creation)
                .map_err(|error| Error::Storage(format!("the stored creation of a chat: {error}")))?,
            _ => self.prepare_creation(row).await?,
        };
        let State::Online(online) = &self.reach else { return Ok(()) };
        let id = creation.id.0;
        let first = creation.handshake.as_ref().map(|handshake| order::entry_hash(&handshake.commit.0));
        match online.connection.call(Request::CreateConversation(Box::new(creation))).await {
            Ok(Response::Accepted { seq, .. }) if seq <= 1 => {
                store::step("created", &mut self.db, |tx| {
                    let mls = Mls::new(tx);
                    let mut group = load(&mls, &id)?;
                    if group.has_pending_commit() {
                        group.commit_accepted().map_err(|error| crate::mls_error(&error))?;
                    }
                    // The one commit is the entry, if there is one.
                    chats::set_active(tx, row.chat, &id, seq, seq)?;
                    order::begin(tx, row.chat, seq, first)?;
                    successions::delete(tx, row.chat)?;
                    chats::set_update_at(tx, row.chat, update_after(now_ms(), random().next_u64()))?;
                    chats::set_join_key(tx, row.chat, group.join_key().as_bytes())
                })?;
                if let State::Online(online) = &mut self.reach {
                    // After a lost answer the others may have written already.
                    online.behind.insert(row.chat);
                    // If it takes the place of a lost one, this device was on its way into it.
                    online.entering.remove(&row.chat);
                }
                self.presence.enter(row.chat);
                self.unsettle(row.chat);
                Ok(())
            }
            Ok(_) => Err(unexpected()),
            Err(CallError::Refused(refusal)) if successions::find(&self.db, row.chat)?.is_some() => {
                let winner = refusal.conversation.filter(|_| refusal.code == ErrorCode::ConversationExists);
                self.not_founded(row, &id, winner)
            }
            Err(CallError::Refused(refusal)) if ChatKind::of(&row.name) != ChatKind::Direct => {
                store::in_transaction(&mut self.db, |tx| {
                    delete_group(tx, &id)?;
                    chats::set_new(tx, row.chat)?;
                    chats::forget_unused(tx, &row.name)
                })?;
                self.dirty.remove(&row.chat);
                Err(match refusal.code {
                    ErrorCode::WaitingFull => Error::WaitingFull { limit: refusal.number.unwrap_or(0) },
                    _ => Error::Refused(refusal.to_string()),
                })
            }
            Err(CallError::Refused(refusal)) if refusal.code == ErrorCode::ConversationExists => {
                self.lose_creation(row, &id, refusal.conversation)
            }
            Err(CallError::Refused(refusal)) if refusal.code == ErrorCode::UnknownAccount => {
                Err(Error::UnknownUser(row.name.clone()))
            }
            Err(CallError::Refused(refusal)) if refusal.code == ErrorCode::BadRequest => {
                // A device came or went meanwhile: begin anew.
                self.discard_creation(row, &id)?;
                Err(Error::Refused(refusal.to_string()))
            }
            Err(CallError::Refused(refusal)) if refusal.code == ErrorCode::WaitingFull => {
                self.discard_creation(row, &id)?;
                Err(Error::WaitingFull { limit: refusal.number.unwrap_or(0) })
            }
            Err(error) => Err(error.into_error()),
        }
    }

    /// The other side was first: its welcome is in the inbox, or will be.
    fn lose_creation(&mut self, row: &ChatRow, id: &[u8; 16], winner: Option<ConversationId>) -> Result<(), Error> {
        let winner = winner.ok_or_else(unexpected)?;
        if chats::by_former_conversation(&self.db, &winner.0)? == Some(row.chat) {
            // One that was left behind even before the last: that is the one to be replaced.
            let State::Online(online) = &mut self.reach else { return Ok(()) };
            if online.lane(row.chat).replaces.replace(winner.0) == Some(winner.0) {
                return Err(Error::ServerMisbehaves("it does not let a conversation be replaced".into()));
            }
            return self.discard_creation(row, id);
        }
        let taken = chats::by_conversation(&self.db, &winner.0)?.is_some_and(|other| other.chat != row.chat);
        if taken || winner.0 == *id {
            return Err(Error::ServerMisbehaves("it named another chat as this one".into()));
        }
        store::step("create-lost", &mut self.db, |tx| {
            delete_group(tx, id)?;
            chats::set_waiting(tx, row.chat, &winner.0)
        })?;
        if let State::Online(online) = &mut self.reach {
            online.inbox_due = true;
        }
        Ok(())
    }

    /// What was prepared for a user who does not exist is of no use.
    pub(super) fn forget_creation(&mut self, row: &ChatRow) -> Result<(), Error> {
        match chats::load(&self.db, row.chat)?.conversation {
            Some(id) => self.discard_creation(row, &id),
            None => Ok(()),
        }
    }

    fn discard_creation(&mut self, row: &ChatRow, id: &[u8; 16]) -> Result<(), Error> {
        store::step("create-lost", &mut self.db, |tx| {
            delete_group(tx, id)?;
            chats::set_new(tx, row.chat)
        })
    }

    /// Makes the group and the request, and stores both, before the request leaves.
    async fn prepare_creation(&mut self, row: &ChatRow) -> Result<CreateConversation, Error> {
        let me = self.own.username.clone();
        let own = self.meet(&me).await?;
        let peer = if row.name == me { None } else { Some(self.meet(&row.name).await?) };
        let mut packages = self.claim(&own).await?;
        if let Some(peer) = &peer {
            let theirs = self.claim(peer).await?;
            if theirs.is_empty() {
                return Err(Error::Refused(format!("no device of '{}' can be reached yet", row.name)));
            }
            packages.extend(theirs);
        }
        let mut id = [0; 16];
        random().fill_bytes(&mut id);
        let accounts: Vec<&VerifiedAccount> = [Some(&own), peer.as_ref()].into_iter().flatten().collect();
        let participants = accounts.iter().map(|account| participant(account)).collect();
        let rules = GroupRules::new(Kind::Direct, participants, JoinKey::generate(&mut random()))
            .map_err(|error| Error::Storage(error.to_string()))?;
        let name = username(&row.name)?;
        let replaces = match &mut self.reach {
            State::Online(online) => online.lane(row.chat).replaces,
            _ => None,
        };
        let (mine, chat) = (&self.own, row.chat);
        store::step("create", &mut self.db, |tx| {
            let handshake = make_group(tx, mine, &id, &rules, &packages, &accounts)?;
            let replaces = replaces.map_or_else(|| chats::last_conversation(tx, chat), |id| Ok(Some(id)))?;
            let replaces = replaces.map(ConversationId);
            let creation = CreateConversation {
                id: ConversationId(id),
                kind: ConversationKind::Direct(name),
                handshake,
                replaces,
            };
            chats::set_creating(tx, chat, &id, &encode(&creation).0)?;
            Ok(creation)
        })
    }

    /// One key package of each of an account's devices that its signed list names.
    pub(super) async fn claim(&mut self, account: &VerifiedAccount) -> Result<Vec<(DeviceId, Vec<u8>)>, Error> {
        let State::Online(online) = &self.reach else { return Err(self.offline()) };
        let request = Request::ClaimKeyPackages(username(&account.username)?);
        let answer = online.connection.call(request).await.map_err(CallError::into_error)?;
        let Response::KeyPackages(claimed) = answer else { return Err(unexpected()) };
        let listed = claimed
            .into_iter()
            .filter(|one| one.device.0 != self.own.device && account.list.list.device(&one.device.0).is_some());
        Ok(listed.filter_map(|one| one.key_package.map(|package| (one.device, package.0))).collect())
    }
}

pub(super) fn make_group(
    tx: &Database,
    own: &Own,
    id: &[u8; 16],
    rules: &GroupRules,
    packages: &[(DeviceId, Vec<u8>)],
    accounts: &[&VerifiedAccount],
) -> Result<Option<Handshake>, Error> {
    let mls = Mls::new(tx);
    let device = crate::own_device(&mls, own)?;
    let mut group = Group::create(&mls, &device, id, rules).map_err(|error| crate::mls_error(&error))?;
    // A room needs a state to come in by from the beginning.
    if packages.is_empty() && rules.kind() != Kind::Room {
        return Ok(None);
    }
    let untrusted = |reason: String| {
        let username = accounts.last().map_or_else(String::new, |account| account.username.clone());
        Error::Untrusted { username, reason }
    };
    let bytes: Vec<Vec<u8>> = packages.iter().map(|(_, package)| package.clone()).collect();
    let lists = accounts.iter().map(|account| Ok(signed_list(tx, own, &account.username)?.map(|(signed, _)| signed)));
    let lists: Vec<SignedList> = lists.collect::<Result<Vec<_>, Error>>()?.into_iter().flatten().collect();
    let change = Change { lists: &lists, add: &bytes, update: bytes.is_empty(), ..Change::default() };
    let prepared = group.prepare(&device, &Pinned { tx, own }, change).map_err(|error| {
        if error.is_fault_of_entry() { untrusted(error.to_string()) } else { crate::mls_error(&error) }
    })?;
    // The signed lists have said that the accounts have these devices; the server must have said the same of them.
    let named = |member: &Member| packages.iter().any(|(device, _)| device.0 == member.device);
    if prepared.added.len() != packages.len() || !prepared.added.iter().all(named) {
        return Err(untrusted("the server gave out a key package of a device that is not listed".into()));
    }
    let recipients = packages.iter().map(|(device, _)| *device).collect();
    Ok(Some(Handshake {
        commit: prepared.commit.into(),
        welcome: prepared.welcome.map(|payload| Welcome { recipients, payload: payload.into() }),
        removed: Vec::new(),
        group_info: prepared.group_info.map(Into::into),
        roster: None,
    }))
}

pub(super) fn participant(account: &VerifiedAccount) -> Participant {
    Participant {
        username: account.username.clone(),
        identity: account.identity.fingerprint(),
        list_version: account.list.list.version,
        list_hash: account.list.hash,
        role: Role::Member,
        // Devices that did not renew the identity themselves are certified by the one that it was then.
        former: account.former_identities().iter().map(IdentityPublicKey::fingerprint).collect(),
        since: None,
    }
}

/// Whether a group's rules are those of the chat of this name (with oneself, the notes) in the conversation of this id.
pub(super) fn is_chat(rules: &GroupRules, own: &str, name: &str, id: &[u8; 16]) -> bool {
    match ChatKind::of(name) {
        ChatKind::Direct => {}
        // It is known by its id alone, and keeps its name when it goes on in another conversation.
        ChatKind::Group => return rules.kind() == Kind::Group,
        ChatKind::Room => {
            let named = rules.about().is_some_and(|about| name.strip_prefix('#') == Some(about.name.as_str()));
            return rules.kind() == Kind::Room && *rules.join_key() == JoinKey::of_room(id) && named;
        }
    }
    let participants = rules.participants();
    let both = [own, name].iter().all(|one| rules.participant(one).is_some());
    rules.kind() == Kind::Direct && both && participants.len() == if own == name { 1 } else { 2 }
}

pub(super) fn load<'tx>(mls: &'tx Mls<'tx>, id: &[u8; 16]) -> Result<Group<'tx>, Error> {
    let group = Group::load(mls, id).map_err(|error| crate::mls_error(&error))?;
    group.ok_or_else(|| Error::Storage("the keys of a chat are missing".into()))
}

/// The same, from what was kept of it if that holds still.
pub(super) fn resume<'tx>(mls: &'tx Mls<'tx>, id: &[u8; 16], kept: Option<KeptGroup>) -> Result<Group<'tx>, Error> {
    let group = Group::resume(mls, id, kept).map_err(|error| crate::mls_error(&error))?;
    group.ok_or_else(|| Error::Storage("the keys of a chat are missing".into()))
}

pub(super) fn delete_group(tx: &Database, id: &[u8; 16]) -> Result<(), Error> {
    match Group::load(&Mls::new(tx), id).map_err(|error| crate::mls_error(&error))? {
        Some(group) => group.delete().map_err(|error| crate::mls_error(&error)),
        None => Ok(()),
    }
}
