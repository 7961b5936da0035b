//! Newer device lists, wherever they come from: stored once they hold, told to the user, and a reason to look at groups again.
//!
//! The invariant: what is stored follows what was known, or was compared with it by whoever hands it over. This module must not
//! know groups.

use super::{
    Engine, State,
    directory::{Pinned, signed_list},
};
use crate::{
    Error, Event,
    directory::VerifiedAccount,
    store::{self, chats, contacts, own::Own},
};
use rusqlite::Connection as Database;
use waxwing_e2ee::{
    account::{self, AccountKey, DeviceList, ListedDevice},
    mls::SignedList,
};

/// A device list that is newer than what was known here, stored already.
pub(super) struct NewList {
    username: String,
    events: Vec<Event>,
    /// For the engine's copy, if it is our own.
    own: Option<Vec<u8>>,
    /// Its account has a new identity, which has to be fetched.
    renewed: bool,
}

impl Engine {
    /// A newer list was stored: tells of it, and has the chats changed that it is about.
    pub(super) fn note_list(&mut self, list: NewList) {
        if let Some(own) = list.own {
            self.own.device_list = own;
        }
        list.events.iter().for_each(|event| self.tell(event));
        if list.renewed
            && let State::Online(online) = &mut self.reach
        {
            online.checked.remove(&list.username);
        }
        if let Err(error) = self.unsettle_all(&list.username) {
            tracing::error!(%error, "chats could not be looked up");
        }
    }
}

/// Takes a list that a commit carried as the account's newest, if it holds for whom we know.
pub(super) fn take_list(tx: &Database, own: &Own, shown: &SignedList) -> Result<Option<NewList>, Error> {
    let name = &shown.username;
    let Some((_, known)) = signed_list(tx, own, name)? else { return Ok(None) };
    let Some(identity) = (Pinned { tx, own }).current(name)? else { return Ok(None) };
    let (key, list) = match shown.verify(&identity) {
        Ok(verified) => verified,
        Err(error) => {
            // Who the group takes the account for is not who we do: nothing is sent to it until that is settled.
            tracing::warn!(username = name, %error, "a chat goes by a device list that does not hold here");
            return Ok(None);
        }
    };
    if list.follows(&known) != Ok(account::Change::Newer) {
        return Ok(None);
    }
    if key != identity {
        return Ok(Some(NewList { username: name.clone(), events: Vec::new(), own: None, renewed: true }));
    }
    store_list(tx, own, name, &shown.list)?;
    let events = changes(own, &known.list, &list.list);
    let own = (*name == own.username).then(|| shown.list.clone());
    Ok(Some(NewList { username: name.clone(), events, own, renewed: false }))
}

/// Takes the list of a record that the server showed, which was compared with the pin and the known list.
pub(super) fn take_record(
    tx: &Database,
    own: &Own,
    account: &VerifiedAccount,
    known: &[u8],
) -> Result<Option<NewList>, Error> {
    if account.signed_list == known {
        return Ok(None);
    }
    let name = &account.username;
    let before = signed_list(tx, own, name)?.map(|(_, list)| list.list);
    store_list(tx, own, name, &account.signed_list)?;
    let events = before.map_or_else(Vec::new, |before| changes(own, &before, &account.list.list));
    let own = (*name == own.username).then(|| account.signed_list.clone());
    Ok(Some(NewList { username: name.clone(), events, own, renewed: false }))
}

/// Takes the list of an account whose identity was renewed; `before` is the list that was known.
pub(super) fn take_renewed(
    tx: &Database,
    own: &Own,
    account: &VerifiedAccount,
    before: Option<DeviceList>,
) -> Result<NewList, Error> {
    store_list(tx, own, &account.username, &account.signed_list)?;
    let events = before.map_or_else(Vec::new, |before| changes(own, &before, &account.list.list));
    let is_own = account.username == own.username;
    let own = is_own.then(|| account.signed_list.clone());
    Ok(NewList { username: account.username.clone(), events, own, renewed: false })
}

/// Takes the list that a revision of ours has made.
pub(super) fn take_revision(tx: &Database, own: &Own, before: Option<DeviceList>) -> Result<NewList, Error> {
    chats::set_unsettled(tx, None)?;
    let after = signed_list(tx, own, &own.username)?.map(|(_, list)| list.list);
    let events = before.zip(after).map_or_else(Vec::new, |(before, after)| changes(own, &before, &after));
    Ok(NewList { username: own.username.clone(), events, own: Some(own.device_list.clone()), renewed: false })
}

fn store_list(tx: &Database, own: &Own, name: &str, signed: &[u8]) -> Result<(), Error> {
    let is_own = name == own.username;
    match is_own {
        true => store::own::set_device_list(tx, signed)?,
        false => contacts::set_device_list(tx, name, signed)?,
    }
    chats::set_unsettled(tx, (!is_own).then_some(name))
}

/// What a newer list of an account means for its owner and its contacts.
fn changes(own: &Own, before: &DeviceList, after: &DeviceList) -> Vec<Event> {
    let username = &after.username;
    let hex = |id: &[u8; 16]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let came = after.devices.iter().filter(|device| before.device(&device.id).is_none());
    let went = before.devices.iter().filter(|device| after.device(&device.id).is_none());
    let key = own.account_key.as_deref().filter(|_| *username == own.username).map(AccountKey::from_bytes);
    let name = |device: &ListedDevice| key.as_ref()?.open_device_name(&device.id, &device.sealed_name);
    let added = came.filter(|device| device.id != own.device).map(|device| Event::DeviceAdded {
        username: username.clone(),
        device: hex(&device.id),
        name: name(device),
        since: device.since_ms,
    });
    let removed = went.map(|device| Event::DeviceRemoved { username: username.clone(), device: hex(&device.id) });
    added.chain(removed).collect()
}
