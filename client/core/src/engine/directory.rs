//! Meeting users: pinning their identity at first contact, and holding everything for those whose identity changed.

use super::{Engine, State, lists, sync};
use crate::{
    Error, Event, MessageState,
    account::username,
    backup,
    client::trust,
    directory::{Standing, VerifiedAccount},
    store::{self, chats, contacts, messages, outbox, own::Own},
    transport::{Answer, CallError, answered, unexpected},
};
use rusqlite::Connection as Database;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};
use waxwing_e2ee::{
    account::{AccountKeys, DeviceList, IdentityPublicKey, VerifiedDeviceList},
    content::Sync,
    mls::{Identities, SignedList},
};
use waxwing_protocol::{DeviceSeen, ErrorCode, Request, Response};

/// So many accounts are asked for at once.
const ASKED_TOGETHER: usize = 64;

/// The identity keys that this device has pinned, and its own.
pub(super) struct Pinned<'a> {
    pub(super) tx: &'a Database,
    pub(super) own: &'a Own,
}

impl Pinned<'_> {
    /// The account's present identity, if it was met.
    pub(super) fn current(&self, username: &str) -> Result<Option<IdentityPublicKey>, Error> {
        let der = match username == self.own.username {
            true => Some(self.own.identity_key.clone()),
            false => contacts::load(self.tx, username)?.map(|contact| contact.identity_key),
        };
        let damaged = |error| Error::Storage(format!("the stored identity of '{username}': {error}"));
        der.map(|der| IdentityPublicKey::from_der(&der)).transpose().map_err(damaged)
    }
}

impl Identities for Pinned<'_> {
    fn identity(&self, username: &str, fingerprint: &[u8; 32]) -> Option<IdentityPublicKey> {
        let current = match username == self.own.username {
            true => Some(self.own.identity_key.clone()),
            // A database that fails here fails the transaction as well.
            false => contacts::load(self.tx, username).ok()?.map(|contact| contact.identity_key),
        };
        let key = |der: Vec<u8>| IdentityPublicKey::from_der(&der).ok().filter(|key| key.fingerprint() == *fingerprint);
        let former = || contacts::former(self.tx, username, fingerprint).ok()?.and_then(key);
        let shown = || store::groups::identity(self.tx, username, fingerprint).ok()?.and_then(key);
        current.and_then(key).or_else(former).or_else(shown)
    }
}

/// As [`Pinned`], for a group that is to be entered: members whose identity cannot be had must not keep everybody else out.
pub(super) struct Entering<'a> {
    pub(super) pinned: Pinned<'a>,
    pub(super) out_of_reach: &'a BTreeSet<String>,
}

impl Identities for Entering<'_> {
    fn identity(&self, username: &str, fingerprint: &[u8; 32]) -> Option<IdentityPublicKey> {
        self.pinned.identity(username, fingerprint)
    }

    fn is_out_of_reach(&self, username: &str) -> bool {
        self.out_of_reach.contains(username)
    }
}

impl Engine {
    /// The account's own devices as the server knows them.
    pub(super) async fn devices_seen(&mut self) -> Result<Vec<DeviceSeen>, Error> {
        let State::Online(online) = &self.reach else { return Err(self.offline()) };
        match online.connection.call(Request::Devices).await.map_err(CallError::into_error)? {
            Response::Devices(devices) => Ok(devices),
            _ => Err(unexpected()),
        }
    }

    /// Whether a user exists whom we may write to.
    pub(super) async fn find(&mut self, name: &str) -> Result<(), Error> {
        let name = username(name)?;
        if name.as_str() == self.own.username {
            return Ok(());
        }
        match &self.reach {
            State::Online(_) => {}
            _ if chats::by_name(&self.db, name.as_str())?.is_some() => return Ok(()),
            _ => return Err(self.offline()),
        }
        match self.meet(name.as_str()).await {
            Err(Error::IdentityChanged(name)) => {
                self.hold(&name, Error::IdentityChanged(name.clone()))?;
                Err(Error::IdentityChanged(name))
            }
            outcome => outcome.map(drop),
        }
    }

    /// Before anything leaves for a user on this connection: is the identity still the pinned one?
    pub(super) async fn check_identity(&mut self, name: &str) -> Result<(), Error> {
        let State::Online(online) = &self.reach else { return Ok(()) };
        if online.checked.contains(name) {
            return Ok(());
        }
        self.meet(name).await?;
        if let State::Online(online) = &mut self.reach {
            online.checked.insert(name.to_owned());
        }
        Ok(())
    }

    /// Meets accounts of a group that this device has not met, many at a time; one that cannot be met is left out.
    pub(super) async fn meet_all(&mut self, names: &[String]) -> Result<(), Error> {
        let mut strangers = Vec::new();
        for name in names {
            let met = *name == self.own.username || self.checked_lists.has(name);
            if !met && contacts::load(&self.db, name)?.is_none() {
                strangers.push(name.as_str());
            }
        }
        strangers.sort_unstable();
        strangers.dedup();
        for some in strangers.chunks(ASKED_TOGETHER) {
            let mut asked = Vec::new();
            for name in some {
                let State::Online(online) = &self.reach else { return Err(self.offline()) };
                match username(name) {
                    Ok(known) => asked.push((*name, online.connection.caller().begin(Request::Account(known)).await)),
                    Err(error) => self.note_out_of_reach(name, &error),
                }
            }
            let (mut new, mut failure) = (Vec::new(), None);
            for (name, answer) in asked {
                match account_of(name, answered(answer).await) {
                    Ok(account) => new.push(account),
                    Err(error @ (Error::UnknownUser(_) | Error::Untrusted { .. })) => {
                        self.note_out_of_reach(name, &error);
                    }
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
            // Those who were met need not be asked for again, whatever became of the others.
            store::step("pin", &mut self.db, |tx| new.iter().try_for_each(|account| pin(tx, account)))?;
            if let Some(error) = failure {
                return Err(error);
            }
        }
        Ok(())
    }

    fn note_out_of_reach(&mut self, name: &str, error: &Error) {
        tracing::warn!(%error, username = name, "a member of a group");
        self.wishes.out_of_reach.insert(name.to_owned());
    }

    /// Fetches an account, proves it, and pins it if it is new; one's own list is taken in the same way.
    pub(super) async fn meet(&mut self, name: &str) -> Result<VerifiedAccount, Error> {
        let State::Online(online) = &self.reach else { return Err(self.offline()) };
        let account = account_of(name, online.connection.call(Request::Account(username(name)?)).await)?;
        let own = name == self.own.username;
        let known = match own {
            true => Some(contacts::Contact {
                identity_key: self.own.identity_key.clone(),
                device_list: self.own.device_list.clone(),
                full_name: None,
                verified: None,
                changed: None,
            }),
            false => contacts::load(&self.db, name)?,
        };
        let standing = account.standing(known.as_ref()).map_err(|error| match error {
            Error::Untrusted { username, reason } if own => Error::Untrusted {
                username,
                reason: format!(
                    "{reason}; it was restored from an older copy, or it hides a change of \
                                 your devices. 'waxwing devices repair' signs them again as this device knows them"
                ),
            },
            error => error,
        })?;
        match standing {
            Standing::Known => {
                let known_list = known.map(|known| known.device_list).unwrap_or_default();
                let profile = &self.own;
                let newer = store::in_transaction(&mut self.db, |tx| {
                    if !own {
                        contacts::set_changed(tx, name, None)?;
                    }
                    contacts::set_rotations(tx, name, &account.rotations)?;
                    lists::take_record(tx, profile, &account, &known_list)
                })?;
                newer.into_iter().for_each(|list| self.note_list(list));
            }
            Standing::New => store::step("pin", &mut self.db, |tx| pin(tx, &account))?,
            Standing::Renewed => self.take_renewed(&account, known)?,
            Standing::Changed => {
                if !own {
                    let changed = contacts::Changed {
                        fingerprint: account.identity.fingerprint().to_vec(),
                        identity_key: account.identity.to_der(),
                        device_list: account.signed_list.clone(),
                    };
                    contacts::set_changed(&self.db, name, Some(&changed))?;
                }
                return Err(Error::IdentityChanged(name.to_owned()));
            }
        }
        Ok(account)
    }

    /// Takes an identity that the pinned one vouched for; keeps the former one, which has certified leaves.
    fn take_renewed(&mut self, account: &VerifiedAccount, known: Option<contacts::Contact>) -> Result<(), Error> {
        let Some(known) = known else { return Ok(()) };
        let name = account.username.as_str();
        let mut own = (name == self.own.username).then(|| self.own.clone());
        if let Some(own) = &mut own {
            own.identity_key = account.identity.to_der();
        }
        let profile = &self.own;
        let newer = store::in_transaction(&mut self.db, |tx| {
            keep_former(tx, account)?;
            contacts::set_rotations(tx, name, &account.rotations)?;
            // Compared while the list that is known can still be checked by the former identity.
            let before = signed_list(tx, profile, name)?.map(|(_, list)| list.list);
            match &own {
                Some(own) => store::own::set_revised(tx, own)?,
                None => contacts::replace(tx, name, &account.identity.to_der(), &known.device_list)?,
            }
            lists::take_renewed(tx, profile, account, before)
        })?;
        match own {
            Some(own) => self.own = own,
            None => {
                let verified = known.verified.is_some();
                self.tell(&Event::IdentityRenewed { username: name.to_owned(), verified });
            }
        }
        self.note_list(newer);
        Ok(())
    }

    /// Takes over what a revision of ours has made of this account.
    pub(super) fn revised(
        &mut self,
        revised: Own,
        rotations: &[Vec<u8>],
        keys: Option<&AccountKeys>,
    ) -> Result<(), Error> {
        let profile = &self.own;
        let newer = store::in_transaction(&mut self.db, |tx| {
            if revised.identity_key != profile.identity_key {
                let former = IdentityPublicKey::from_der(&profile.identity_key);
                let former = former.map_err(|error| Error::Storage(error.to_string()))?;
                contacts::add_former(tx, &revised.username, &former.fingerprint(), &profile.identity_key)?;
            }
            let before = signed_list(tx, profile, &profile.username)?.map(|(_, list)| list.list);
            store::own::set_revised(tx, &revised)?;
            if let Some(keys) = keys {
                backup::rotate(tx, keys)?;
            }
            contacts::set_rotations(tx, &revised.username, rotations)?;
            let told = if keys.is_some() { sync::queue_keys(tx, &revised)? } else { None };
            Ok::<_, Error>((lists::take_revision(tx, &revised, before)?, told))
        })?;
        let (newer, told) = newer;
        self.own = revised;
        self.dirty.extend(told);
        if let State::Online(online) = &mut self.reach {
            // What was held because the server had forgotten our devices can go.
            let ours =
                |error: &Error| matches!(error, Error::Untrusted { username, .. } if *username == self.own.username);
            online.held.retain(|_, error| !ours(error));
            self.dirty.extend(outbox::chats(&self.db)?);
        }
        self.note_list(newer);
        self.renew_backup()?;
        self.ensure_notes()
    }

    /// Accepts the identity that the server shows for a user: what was held can go.
    pub(super) fn trust(&mut self, name: &str, fingerprint: &str, compared: bool) -> Result<(), Error> {
        let own = &self.own;
        let told = store::in_transaction(&mut self.db, |tx| {
            let accepted = trust::accept(tx, name, fingerprint, compared)?;
            let username = name.to_owned();
            let mut told = sync::queue(tx, own, Sync::Trusted { username, fingerprint: accepted })?;
            if compared {
                let username = name.to_owned();
                told = sync::queue(tx, own, Sync::Verified { username, fingerprint: accepted, verified: true })?;
            }
            Ok::<_, Error>((accepted, told))
        })?;
        let (accepted, told) = told;
        self.dirty.extend(told);
        self.note_trusted(name);
        self.follow_identity(name, &accepted)
    }
    /// Holds everything for a user until the next connection.
    pub(super) fn hold(&mut self, name: &str, error: Error) -> Result<(), Error> {
        if let State::Online(online) = &mut self.reach
            && online.held.insert(name.to_owned(), error.clone()).is_none()
        {
            let username = match error {
                Error::IdentityChanged(username) | Error::Untrusted { username, .. } => username,
                _ => name.to_owned(),
            };
            self.tell(&Event::IdentityChanged { username });
        }
        self.refuse_waiting(name)
    }

    /// Answers those who wait for messages to a held user.
    pub(super) fn refuse_waiting(&mut self, name: &str) -> Result<(), Error> {
        let State::Online(online) = &self.reach else { return Ok(()) };
        match online.held.get(name).cloned() {
            Some(error) => self.tell_waiting(name, &error),
            None => Ok(()),
        }
    }

    /// Answers those who wait for queued messages of a chat, which stay queued.
    pub(super) fn tell_waiting(&mut self, name: &str, error: &Error) -> Result<(), Error> {
        let ids: Vec<_> = self.waiting_for_sent.keys().copied().collect();
        for id in ids {
            if let Some((_, message)) = messages::mine_by_id(&self.db, id)?
                && message.chat == name
                && message.state == MessageState::Queued
            {
                self.resolve_sent(id, &Err(error.clone()));
            }
        }
        Ok(())
    }
}

/// The newest verified device list of an account, as commits carry it; none if the account was never met.
pub(super) fn signed_list(
    tx: &Database,
    own: &Own,
    username: &str,
) -> Result<Option<(SignedList, VerifiedDeviceList)>, Error> {
    let Some(identity) = (Pinned { tx, own }).current(username)? else { return Ok(None) };
    let list = match username == own.username {
        true => store::own::device_list(tx)?,
        false => contacts::load(tx, username)?.map(|contact| contact.device_list),
    };
    let Some(list) = list else { return Ok(None) };
    let verified = DeviceList::verify(&list, &identity, username)
        .map_err(|error| Error::Storage(format!("the stored device list of '{username}': {error}")))?;
    let rotations = contacts::rotations(tx, username)?;
    Ok(Some((SignedList { username: username.to_owned(), list, rotations, identity: None }, verified)))
}

/// Lists whose signatures were checked before: a group costs one check for each member, not one with each look at it.
#[derive(Default)]
pub(super) struct CheckedLists(HashMap<String, Checked>);

struct Checked {
    signed: Vec<u8>,
    identity: Vec<u8>,
    known: Known,
}

/// What is known of an account, without what proves it.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) list: Arc<VerifiedDeviceList>,
    /// The fingerprint of its pinned identity.
    pub(super) identity: [u8; 32],
}

/// More than the members of some large groups.
const CHECKED: usize = 4096;

impl CheckedLists {
    fn has(&self, username: &str) -> bool {
        self.0.contains_key(username)
    }

    /// As [`signed_list`]; what is stored counts, and is checked again if it is not what it was.
    pub(super) fn find(&mut self, tx: &Database, own: &Own, username: &str) -> Result<Option<Known>, Error> {
        let stored = match username == own.username {
            true => store::own::device_list(tx)?.map(|signed| (own.identity_key.clone(), signed)),
            false => contacts::load(tx, username)?.map(|contact| (contact.identity_key, contact.device_list)),
        };
        let Some((identity, signed)) = stored else { return Ok(None) };
        if let Some(one) = self.0.get(username).filter(|one| one.signed == signed && one.identity == identity) {
            return Ok(Some(one.known.clone()));
        }
        let Some((_, list)) = signed_list(tx, own, username)? else { return Ok(None) };
        let key = (Pinned { tx, own }).current(username)?.map(|key| key.fingerprint()).unwrap_or_default();
        if self.0.len() >= CHECKED {
            self.0.clear();
        }
        let known = Known { list: Arc::new(list), identity: key };
        self.0.insert(username.to_owned(), Checked { signed, identity, known: known.clone() });
        Ok(Some(known))
    }
}

/// The account that an answer shows, proven to be what it says.
fn account_of(name: &str, answer: Answer) -> Result<VerifiedAccount, Error> {
    match answer {
        Ok(Response::Account(record)) => VerifiedAccount::verify(&record, name),
        Ok(_) => Err(unexpected()),
        Err(CallError::Refused(refusal)) if refusal.code == ErrorCode::UnknownAccount => {
            Err(Error::UnknownUser(name.to_owned()))
        }
        Err(error) => Err(error.into_error()),
    }
}

/// Pins an account at first contact.
fn pin(tx: &Database, account: &VerifiedAccount) -> Result<(), Error> {
    contacts::pin(tx, &account.username, &account.identity.to_der(), &account.signed_list)?;
    keep_former(tx, account)?;
    contacts::set_rotations(tx, &account.username, &account.rotations)
}

/// Keeps the identities that led to an account's present one: leaves may still be certified by them.
fn keep_former(tx: &Database, account: &VerifiedAccount) -> Result<(), Error> {
    for key in account.former_identities() {
        contacts::add_former(tx, &account.username, &key.fingerprint(), &key.to_der())?;
    }
    Ok(())
}
