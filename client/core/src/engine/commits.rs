//! Own commits: made and stored, sent, and in force once the log shows them.
//!
//! The invariant: one at a time, with a number of the chat's sends; the bytes are on disk before they leave and repeated
//! until the server has said yes or no; the group changes in the order of the log. It must not know why a commit is made.

use super::{Engine, State, creation, directory::Pinned, membership::Pace};
use crate::{
    Error,
    account::now_ms,
    random,
    store::{
        self,
        chats::{self, ChatId, ChatRow},
        commits::{self, CommitRow},
        join_requests,
        own::Own,
    },
};
use rand_core::Rng as _;
use rusqlite::Connection as Database;
use std::{convert::Infallible, time::Duration};
use tokio::time::Instant;
use waxwing_e2ee::mls::{self, Amendment, Change, Group, Member, Mls, Prepared, SignedList};
use waxwing_protocol::{ConversationId, DeviceId, ErrorCode, Handshake, Refusal, Request, Welcome, encode, limits};

/// How long a commit that the server refused for good is not made again.
const REFUSED: Duration = Duration::from_secs(5);
/// In groups of up to so many devices a commit that lets others in also brings fresh keys.
const SMALL: usize = 50;
/// A device's keys in a group are replaced after this time, in milliseconds, and up to a third of it later.
const UPDATE: u64 = 7 * 24 * 3600 * 1000;

/// A device, and what it is added by.
pub(super) type KeyPackage = ([u8; 16], Vec<u8>);

/// What a commit shall do.
pub(super) struct Plan {
    pub(super) lists: Vec<SignedList>,
    /// Devices to add.
    pub(super) add: Vec<KeyPackage>,
    /// Devices that are no longer listed.
    pub(super) remove: Vec<Member>,
    /// Devices that are in the group and ask to be added again; replaced if there is a key package.
    pub(super) again: Vec<Member>,
    /// What else changes of a group.
    pub(super) amend: Amendment,
}

impl Plan {
    /// Whether nothing but fresh keys would come of it.
    pub(super) fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.add.is_empty() && self.remove.is_empty() && self.again.is_empty()
    }

    /// Whether it changes who takes part, or what the group is.
    pub(super) fn amends(&self) -> bool {
        let Amendment { enter, leave, expel, roles, about } = &self.amend;
        !(enter.is_empty() && leave.is_empty() && expel.is_empty() && roles.is_empty() && about.is_none())
    }
}

impl Engine {
    /// Makes the commit and stores it; it leaves with the next [`Self::post_commit`]. False if nothing is left of the plan.
    pub(super) fn make_commit(&mut self, row: &ChatRow, plan: &Plan) -> Result<bool, Error> {
        let own = &self.own;
        let Some(conversation) = row.conversation else { return Ok(false) };
        let kept = self.kept.take(&conversation);
        let made = store::step("commit", &mut self.db, |tx| {
            let mls = Mls::new(tx);
            let mut group = creation::resume(&mls, &conversation, kept)?;
            let Some((prepared, removed)) = prepare(tx, own, &mut group, plan)? else { return Ok(None) };
            let size = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
            if prepared.commit.len() + size(&prepared.welcome) + size(&prepared.group_info) > limits::HANDSHAKE {
                return Err(Error::Refused("this is too much for one change of so large a group".into()));
            }
            let recipients = prepared.added.iter().map(|member| DeviceId(member.device)).collect();
            let handshake = Handshake {
                commit: prepared.commit.into(),
                welcome: prepared.welcome.map(|payload| Welcome { recipients, payload: payload.into() }),
                removed,
                group_info: prepared.group_info.map(Into::into),
                roster: plan.roster()?,
            };
            let number = row.number + 1;
            let request = Request::Commit {
                conversation: ConversationId(conversation),
                number,
                commits: row.commits,
                handshake: Box::new(handshake),
            };
            commits::insert(tx, row.chat, number, &encode(&request).0)?;
            chats::set_number(tx, row.chat, number)?;
            Ok::<_, Error>(Some(group.keep().map_err(|error| crate::mls_error(&error))?))
        })?;
        let Some(kept) = made else { return Ok(false) };
        self.kept.put(conversation, kept);
        Ok(true)
    }

    /// Sends the waiting commit if it has not left on this connection.
    pub(super) async fn post_commit(&mut self, chat: ChatId, commit: CommitRow) -> Result<(), Error> {
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        let online = &mut **online;
        let submission = &mut online.lanes.entry(chat).or_default().submission;
        if !submission.commit_is_due(&self.db, chat, commit.number)? {
            return Ok(());
        }
        let request = minicbor::decode(&commit.request)
            .map_err(|error| Error::Storage(format!("the stored change of a chat: {error}")))?;
        online.connection.post(request, (chat, commit.number), &online.answer_to).await;
        submission.left(commit.number);
        Ok(())
    }

    /// The server did not take the commit, and will not: its number is free again.
    pub(super) fn commit_refused(&mut self, chat: ChatId, number: u64, refusal: &Refusal) -> Result<(), Error> {
        let row = chats::load(&self.db, chat)?;
        let kept = row.conversation.and_then(|id| self.kept.take(&id));
        let kept = store::step("commit-refused", &mut self.db, |tx| {
            commits::delete(tx, chat)?;
            chats::set_number(tx, chat, number.saturating_sub(1))?;
            let Some(id) = row.conversation else { return Ok(None) };
            let mls = Mls::new(tx);
            let Some(mut group) = Group::resume(&mls, &id, kept).map_err(|error| crate::mls_error(&error))? else {
                return Ok(None);
            };
            if group.has_pending_commit() {
                group.commit_rejected().map_err(|error| crate::mls_error(&error))?;
            }
            let kept = group.keep().map_err(|error| crate::mls_error(&error))?;
            Ok::<_, Error>(Some((id, kept)))
        })?;
        if let Some((id, kept)) = kept {
            self.kept.put(id, kept);
        }
        match refusal.code {
            ErrorCode::Stale => self.wishes.again(chat),
            ErrorCode::WaitingFull => {
                self.wishes.fail(chat, &Error::WaitingFull { limit: refusal.number.unwrap_or(0) });
            }
            _ => self.wishes.fail(chat, &Error::Refused(refusal.to_string())),
        }
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        let lane = online.lane(chat);
        lane.settled = false;
        let again = lane.submission.commit_refused(row.commits);
        let wait = match refusal.code {
            ErrorCode::Stale if again => Some(super::sending::STILL_STALE),
            ErrorCode::Stale => None,
            // A device came or went meanwhile: the lists have to be fetched again.
            _ => {
                tracing::warn!(%refusal, "the server refused a change of a chat");
                online.checked.remove(&row.name);
                online.checked.remove(&self.own.username);
                Some(REFUSED)
            }
        };
        let pace = wait.map_or(Pace::Look, |wait| Pace::At(Instant::now() + wait));
        online.unsettled.insert(chat, pace);
        online.behind.insert(chat);
        self.dirty.insert(chat);
        Ok(())
    }

    /// The server took the commit long ago, and the entry expired before we heard of it.
    pub(super) fn commit_expired(&mut self, chat: ChatId) -> Result<(), Error> {
        let row = chats::load(&self.db, chat)?;
        store::in_transaction(&mut self.db, |tx| match row.conversation {
            Some(id) => match Group::load(&Mls::new(tx), &id).map_err(|error| crate::mls_error(&error))? {
                Some(mut group) => {
                    accept(tx, chat, &mut group)?;
                    chats::set_join_key(tx, chat, group.join_key().as_bytes())
                }
                None => commits::delete(tx, chat),
            },
            None => commits::delete(tx, chat),
        })?;
        self.wishes.done(chat);
        self.unsettle(chat);
        Ok(())
    }
}

/// The log shows our commit: the group enters its next epoch. False if the group was replaced since it was made.
pub(super) fn accept(tx: &Database, chat: ChatId, group: &mut Group<'_>) -> Result<bool, Error> {
    if let Some(commit) = commits::find(tx, chat)?
        && let Ok(Request::Commit { handshake, .. }) = minicbor::decode(&commit.request)
    {
        for device in handshake.welcome.into_iter().flat_map(|welcome| welcome.recipients) {
            join_requests::delete(tx, chat, &device.0)?;
        }
    }
    commits::delete(tx, chat)?;
    if !group.has_pending_commit() {
        return Ok(false);
    }
    group.commit_accepted().map_err(|error| crate::mls_error(&error))?;
    chats::set_update_at(tx, chat, update_after(now_ms(), random().next_u64()))?;
    Ok(true)
}

/// When keys that are fresh now are due to be replaced: all devices at different times.
pub(super) fn update_after(now_ms: u64, random: u64) -> u64 {
    now_ms.saturating_add(UPDATE).saturating_add(random % (UPDATE / 3))
}

/// The commit, and whom it removes.
fn prepare(
    tx: &Database,
    own: &Own,
    group: &mut Group<'_>,
    plan: &Plan,
) -> Result<Option<(Prepared, Vec<DeviceId>)>, Error> {
    let device = crate::own_device(&Mls::new(tx), own)?;
    let conversation = *group.id();
    let mut usable: Vec<_> = plan.add.iter().collect();
    let mut tried = false;
    let goes = |member: &Member| {
        let (left, out) = (&plan.amend.leave, &plan.amend.expel);
        left.iter().any(|leave| leave.username == member.username) || out.contains(&member.username)
    };
    let members = group.members().map_err(|error| crate::mls_error(&error))?;
    // Whoever comes has fresh keys, and those of a large group are large.
    let update = plan.add.is_empty() || members.len() <= SMALL;
    let gone: Vec<Member> = members.into_iter().filter(goes).collect();
    loop {
        let add: Vec<Vec<u8>> = usable.iter().map(|(_, package)| package.clone()).collect();
        let replaced = |member: &&Member| usable.iter().any(|(device, _)| *device == member.device);
        let remove: Vec<Member> = plan.remove.iter().chain(plan.again.iter().filter(replaced)).cloned().collect();
        let amend = Some(&plan.amend);
        let change = Change { lists: &plan.lists, add: &add, remove: &remove, update, amend };
        match group.prepare(&device, &Pinned { tx, own }, change) {
            Ok(prepared) => {
                let remove = remove.iter().chain(&gone);
                return Ok(Some((prepared, remove.map(|member| DeviceId(member.device)).collect())));
            }
            // One device whose key package expired, or is no good, must not keep the others out.
            Err(error) if error.is_fault_of_entry() && usable.len() > 1 && !tried => {
                tried = true;
                let mut good = Vec::new();
                for one in usable {
                    if is_usable(tx, own, &conversation, plan, one)? {
                        good.push(one);
                    }
                }
                usable = good;
            }
            Err(error) if error.is_fault_of_entry() && !usable.is_empty() => {
                tracing::warn!(%error, "key packages that are of no use were passed over");
                usable.clear();
                if plan.remove.is_empty() && !plan.amends() {
                    return Ok(None);
                }
            }
            Err(error) => {
                return Err(match plan.lists.first() {
                    _ if error.is_fault_of_entry() && plan.amends() => Error::BadInput(error.to_string()),
                    Some(list) if error.is_fault_of_entry() => {
                        Error::Untrusted { username: list.username.clone(), reason: error.to_string() }
                    }
                    _ => crate::mls_error(&error),
                });
            }
        }
    }
}

/// Tries a device's key package, and takes the trial back.
fn is_usable(
    tx: &Database,
    own: &Own,
    conversation: &[u8; 16],
    plan: &Plan,
    (id, package): &KeyPackage,
) -> Result<bool, Error> {
    enum Trial {
        Passed,
        Refused,
        Failed(Error),
    }
    impl From<rusqlite::Error> for Trial {
        fn from(error: rusqlite::Error) -> Self {
            Self::Failed(error.into())
        }
    }
    let tried = mls::savepoint(tx, || -> Result<Infallible, Trial> {
        let mls = Mls::new(tx);
        let device = crate::own_device(&mls, own).map_err(Trial::Failed)?;
        let mut group = creation::load(&mls, conversation).map_err(Trial::Failed)?;
        let again = plan.again.iter().filter(|member| member.device == *id);
        let remove: Vec<Member> = plan.remove.iter().chain(again).cloned().collect();
        let add = std::slice::from_ref(package);
        let change = Change { lists: &plan.lists, add, remove: &remove, update: false, amend: Some(&plan.amend) };
        match group.prepare(&device, &Pinned { tx, own }, change) {
            Ok(_) => Err(Trial::Passed),
            Err(error) if error.is_fault_of_entry() => Err(Trial::Refused),
            Err(error) => Err(Trial::Failed(crate::mls_error(&error))),
        }
    });
    match tried {
        Err(Trial::Passed) => Ok(true),
        Err(Trial::Refused) => Ok(false),
        Err(Trial::Failed(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_replaced_about_weekly_and_not_by_all_at_once() {
        let day = 24 * 3600 * 1000;
        for random in [0, 1, 12_345_678_901, u64::MAX] {
            assert!((7 * day..10 * day).contains(&update_after(0, random)));
        }
        assert_ne!(update_after(0, 1), update_after(0, 2));
    }
}
