//! The inbox: welcomes into chats that others began, and notices.

use super::{Engine, State, creation, directory::Pinned};
use crate::{
    Error,
    store::{
        self,
        chats::{self, Phase},
    },
    transport::{CallError, unexpected},
};
use waxwing_e2ee::mls::{Group, Kind, Mls, MlsError};
use waxwing_protocol::{ConversationId, InboxItem, InboxNotice, Request, Response};

/// A welcome as the server delivered it.
struct Invitation<'a> {
    conversation: ConversationId,
    seq: u64,
    commits: u64,
    payload: &'a [u8],
}

/// How joining went.
enum Joined {
    Yes(chats::ChatId),
    /// It is no good; the text says why.
    No(String),
    /// This account's identity has to be fetched first.
    Unknown(String),
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
        for item in items {
            self.handle_item(item).await?;
        }
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        online.inbox_seq = last;
        let request = Request::AcknowledgeInbox { seq: last };
        online.connection.post(request, (0, 0), &online.nobody).await;
        Ok(())
    }

    async fn handle_item(&mut self, item: InboxItem) -> Result<(), Error> {
        match item.notice {
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
            InboxNotice::JoinAsked { .. } => Ok(()),
        }
    }

    async fn accept(&mut self, invitation: &Invitation<'_>) -> Result<(), Error> {
        if i64::try_from(invitation.seq.max(invitation.commits)).is_err() {
            return Err(Error::ServerMisbehaves("it sent a welcome with an impossible number".into()));
        }
        let mut joined = self.join(invitation)?;
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
            Joined::Yes(chat) => {
                if let State::Online(online) = &mut self.reach {
                    online.behind.insert(chat);
                }
            }
            Joined::No(reason) => tracing::warn!(reason, "an invitation into a chat was refused"),
            Joined::Unknown(_) => tracing::warn!("an invitation by an identity that does not exist was refused"),
        }
        Ok(())
    }

    fn join(&mut self, invitation: &Invitation<'_>) -> Result<Joined, Error> {
        let own = &self.own;
        let outcome = store::in_transaction(&mut self.db, |tx| {
            let mls = Mls::new(tx);
            let id = invitation.conversation.0;
            // Ours lost against this one, or a retry of what we have.
            let refuse = |reason: &str| Err(Refusal::No(reason.to_owned()).into());
            let group = match Group::join(&mls, &Pinned { tx, own }, invitation.payload) {
                Ok(group) => group,
                Err(MlsError::UnknownIdentity { username, .. }) => return Err(Refusal::Unknown(username).into()),
                Err(error) if error.is_fault_of_entry() => return refuse(&error.to_string()),
                Err(error) => return Err(crate::mls_error(&error).into()),
            };
            if *group.id() != id || group.rules().kind() != Kind::Direct {
                return refuse("it is for another conversation");
            }
            let participants = group.rules().participants();
            if participants.iter().all(|one| one.username != own.username) {
                return refuse("this account does not take part");
            }
            let peer = participants.iter().find(|one| one.username != own.username);
            let name = peer.map_or(own.username.as_str(), |peer| peer.username.as_str());
            let row = chats::ensure(tx, name)?;
            if chats::by_conversation(tx, &id)?.is_some_and(|other| other.chat != row.chat) {
                return refuse("it has the id of another chat");
            }
            match (row.phase, row.conversation) {
                (Phase::Active, Some(known)) if known != id => return refuse("there is another chat with this user"),
                (Phase::Waiting, Some(known)) if known != id => {
                    return refuse("another chat with this user was announced");
                }
                (Phase::Creating, Some(ours)) if ours != id => creation::delete_group(tx, &ours)?,
                _ => {}
            }
            chats::set_active(tx, row.chat, &id, invitation.seq, invitation.commits)?;
            Ok(Joined::Yes(row.chat))
        });
        match outcome {
            Ok(joined) => Ok(joined),
            Err(Stop::Refused(Refusal::No(reason))) => Ok(Joined::No(reason)),
            Err(Stop::Refused(Refusal::Unknown(username))) => Ok(Joined::Unknown(username)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }
}

enum Refusal {
    No(String),
    Unknown(String),
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
