//! Succession: a group or room whose conversation the server has lost goes on in another one, which an admin makes of the rules
//! as they were.
//!
//! The invariant: all members know the id of what is to come, since it follows from what was and from the server's new life, so
//! only one such conversation can be; and nobody takes for it what has other admins, or other people, than the group had.

use super::{
    Engine, State, creation,
    groups::{TOGETHER, handshake_with},
};
use crate::{
    ChatKind, Error,
    directory::VerifiedAccount,
    random,
    store::{
        self,
        chats::{self, ChatRow},
        successions,
    },
    transport::{CallError, unexpected},
};
use rusqlite::Connection as Database;
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use tokio::time::Instant;
use waxwing_e2ee::mls::{Group, GroupRules, JoinKey, Kind, Member, Mls, Participant, Role};
use waxwing_protocol::{ConversationId, ConversationKind, CreateConversation, ErrorCode, Request, Response, encode};

const LABEL: &[u8] = b"waxwing succession v1";
/// Each admin leaves the one before so long to begin.
const TURN: Duration = Duration::from_secs(3);
/// So often it is asked whether the conversation is there, and whether anybody can be reached for it.
const AGAIN: Duration = Duration::from_secs(5);

/// The conversation that takes the place of this one in another life of the server.
pub(super) fn successor(conversation: &[u8; 16], incarnation: &[u8; 16]) -> [u8; 16] {
    let digest = Sha256::new().chain_update(LABEL).chain_update(conversation).chain_update(incarnation).finalize();
    let mut id = [0; 16];
    id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    id
}

/// What a group was, to go on in another conversation; none if this device is not in it.
pub(super) fn remembered(tx: &Database, row: &ChatRow) -> Result<Option<Vec<u8>>, Error> {
    if let Some(waiting) = successions::find(tx, row.chat)? {
        return Ok(Some(waiting.rules));
    }
    let Some(id) = row.conversation else { return Ok(None) };
    let mls = Mls::new(tx);
    let group = Group::load(&mls, &id).map_err(|error| crate::mls_error(&error))?;
    group.map(|group| group.rules().to_bytes().map_err(|error| crate::mls_error(&error))).transpose()
}

/// Whether a conversation may take the place of what a chat was: made by one of its admins, with nobody who was not in it, and
/// nobody above what they were.
pub(super) fn may_follow(former: &[u8], next: &GroupRules, by: Option<&Member>) -> bool {
    let Some(former) = GroupRules::from_bytes(former) else { return false };
    let was = |one: &Participant| {
        let known = former.participant(&one.username);
        known.is_some_and(|known| one.role == Role::Member || known.role == Role::Admin)
    };
    by.is_none_or(|by| former.is_admin(&by.username))
        && former.kind() == next.kind()
        && next.participants().iter().all(was)
}

impl Engine {
    /// Waits for the conversation that takes the place of a lost one; makes it, if it is this account's turn.
    pub(super) async fn succeed(&mut self, row: &ChatRow, former: &[u8]) -> Result<(), Error> {
        let (Some(rules), Some(id)) = (GroupRules::from_bytes(former), row.conversation) else {
            return self.end_group(row, "what this group was is not known any more: it has to be made anew");
        };
        let me = self.own.username.clone();
        let mut admins = rules.participants().iter().filter(|one| one.role == Role::Admin);
        let turn = admins.position(|one| one.username == me);
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        let (lane, now) = (online.lane(row.chat), Instant::now());
        let since = *lane.waiting_since.get_or_insert(now);
        let wait = turn.map(|turn| TURN * u32::try_from(turn).unwrap_or(u32::MAX));
        if wait != Some(Duration::ZERO) {
            // Whoever waits for everything to be here does not wait for somebody else.
            online.entering.remove(&row.chat);
        }
        match online.connection.call(Request::AskToJoin(ConversationId(id))).await {
            Ok(Response::Done) => {
                // It is there. Its welcome is in the inbox, or somebody makes one.
                online.entering.remove(&row.chat);
                let waited = now >= since + TURN;
                online.lane(row.chat).retry_at = Some(now + AGAIN);
                if waited && ChatKind::of(&row.name) == ChatKind::Room && self.prepare_join(row).await? {
                    let row = chats::load(&self.db, row.chat)?;
                    return self.send_join(&row).await;
                }
                return Ok(());
            }
            Ok(_) => return Err(unexpected()),
            Err(CallError::Refused(refusal)) if refusal.code == ErrorCode::UnknownConversation => {}
            Err(error) => return Err(error.into_error()),
        }
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        match wait {
            Some(wait) if now >= since + wait => self.found(row, &id, &rules).await,
            Some(wait) => {
                online.lane(row.chat).retry_at = Some(since + wait);
                Ok(())
            }
            None => {
                online.lane(row.chat).retry_at = Some(now + AGAIN);
                Ok(())
            }
        }
    }

    /// Makes the conversation: the same people, roles, name and topic.
    async fn found(&mut self, row: &ChatRow, id: &[u8; 16], former: &GroupRules) -> Result<(), Error> {
        let me = self.own.username.clone();
        let mut accounts: Vec<VerifiedAccount> = Vec::new();
        for one in former.participants() {
            match self.meet(&one.username).await {
                Ok(account) => accounts.push(account),
                Err(
                    error @ (Error::UnknownUser(_)
                    | Error::Untrusted { .. }
                    | Error::IdentityChanged(_)
                    | Error::BadUsername { .. }),
                ) => tracing::warn!(%error, username = one.username, "a group goes on without a member"),
                Err(error) => return Err(error),
            }
        }
        let mut packages = Vec::new();
        for account in &accounts {
            if packages.len() < TOGETHER {
                packages.extend(self.claim(account).await?);
            }
        }
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        if packages.is_empty() && accounts.len() > 1 {
            // None of the others has been at the server since: they come in when they have.
            online.entering.remove(&row.chat);
            online.lane(row.chat).retry_at = Some(Instant::now() + AGAIN);
            return Ok(());
        }
        let (kind, key) = match former.kind() {
            Kind::Room => (ConversationKind::Room(crate::address::room(&row.name)?), JoinKey::of_room(id)),
            _ => (ConversationKind::Group, JoinKey::generate(&mut random())),
        };
        let role = |username: &str| former.participant(username).map_or(Role::Member, |one| one.role);
        let participant = |account: &VerifiedAccount| Participant {
            role: role(&account.username),
            since: Some(0),
            ..creation::participant(account)
        };
        let about = former.about().cloned().unwrap_or_default();
        let rules = GroupRules::group(former.kind(), about, accounts.iter().map(participant).collect(), key)
            .map_err(|error| Error::Storage(error.to_string()))?;
        let own = &self.own;
        store::in_transaction(&mut self.db, |tx| {
            let handshake = handshake_with(tx, own, id, &rules, &packages, &accounts, &me)?;
            let creation = CreateConversation { id: ConversationId(*id), kind, handshake, replaces: None };
            chats::set_creating(tx, row.chat, id, &encode(&creation).0)
        })?;
        let row = chats::load(&self.db, row.chat)?;
        self.create(&row).await
    }

    /// The server has not taken the conversation that this device has made: somebody else was faster, or it cannot be.
    pub(super) fn not_founded(
        &mut self,
        row: &ChatRow,
        id: &[u8; 16],
        winner: Option<ConversationId>,
    ) -> Result<(), Error> {
        store::in_transaction(&mut self.db, |tx| {
            creation::delete_group(tx, id)?;
            chats::set_waiting(tx, row.chat, id)
        })?;
        if winner.is_some_and(|winner| winner.0 != *id) {
            return self.end_group(row, "somebody has made a room of this name anew: join it again");
        }
        if let State::Online(online) = &mut self.reach {
            online.inbox_due = true;
            online.entering.remove(&row.chat);
            online.lane(row.chat).retry_at = Some(Instant::now() + AGAIN);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_e2ee::mls::About;

    fn rules(people: &[(&str, Role)]) -> GroupRules {
        let participant = |(username, role): &(&str, Role)| Participant {
            username: (*username).to_owned(),
            identity: [1; 32],
            list_version: 1,
            list_hash: [2; 32],
            role: *role,
            former: Vec::new(),
            since: Some(0),
        };
        let key = JoinKey::from_bytes([3; 32]);
        GroupRules::group(Kind::Group, About::named("Birds"), people.iter().map(participant).collect(), key).unwrap()
    }

    #[test]
    fn what_follows_has_no_other_people_and_no_other_admins() {
        let former =
            rules(&[("alice", Role::Admin), ("bob", Role::Member), ("carol", Role::Admin)]).to_bytes().unwrap();
        let by = |username: &str| Member { username: username.to_owned(), device: [0; 16], identity: [1; 32] };
        let alice = by("alice");
        let follows = |people: &[(&str, Role)], by: &Member| may_follow(&former, &rules(people), Some(by));
        assert!(follows(&[("alice", Role::Admin), ("bob", Role::Member)], &alice));
        assert!(follows(&[("alice", Role::Admin), ("bob", Role::Member), ("carol", Role::Member)], &alice));
        assert!(!follows(&[("alice", Role::Admin), ("bob", Role::Admin)], &alice), "bob was no admin");
        assert!(!follows(&[("alice", Role::Admin), ("mallory", Role::Member)], &alice), "mallory was not in it");
        assert!(!follows(&[("alice", Role::Admin), ("bob", Role::Member)], &by("bob")), "bob may not begin it");
        assert!(!may_follow(b"rubbish", &rules(&[("alice", Role::Admin)]), Some(&alice)));
    }

    #[test]
    fn everybody_knows_the_id_of_what_is_to_come() {
        assert_eq!(successor(&[1; 16], &[2; 16]), successor(&[1; 16], &[2; 16]));
        assert_ne!(successor(&[1; 16], &[2; 16]), successor(&[1; 16], &[3; 16]));
        assert_ne!(successor(&[1; 16], &[2; 16]), successor(&[3; 16], &[2; 16]));
    }
}
