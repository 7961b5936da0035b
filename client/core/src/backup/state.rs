//! The account's state in the backup: contacts with their pins, chats with their conversations and join keys, how far one
//! has read.
//!
//! The invariant: what is restored never replaces what this device has found out itself, and identities and device lists
//! are taken only if they prove themselves. No key of a device or of a group is in it.

use crate::{
    Error, address,
    store::{
        backup::{logs, renumber},
        chats::{self, Phase},
        contacts, messages,
        own::Own,
    },
};
use rusqlite::Connection;
use std::collections::BTreeMap;
use waxwing_e2ee::{
    account::{DeviceList, IdentityPublicKey},
    backup::{Chat, Contact, Position, State},
    mls::JoinKey,
};

/// The name of the setting that holds the user's full name.
const FULL_NAME: &str = "full_name";
/// In front of a chat's name: the lifetime of its messages, in seconds.
const TIMER: &str = "timer/";

/// The state as this device knows it.
pub(crate) fn collect(db: &Connection, own: &Own) -> Result<State, Error> {
    let mut contacts_of = Vec::new();
    for username in contacts::all(db)? {
        let Some(contact) = contacts::load(db, &username)? else { continue };
        contacts_of.push(Contact {
            former: contacts::formers(db, &username)?.into_iter().map(Into::into).collect(),
            identity: contact.identity_key,
            device_list: Some(contact.device_list),
            verified: contact.verified.and_then(|fingerprint| fingerprint.try_into().ok()),
            full_name: contact.full_name,
            username,
        });
    }
    let mut all = Vec::new();
    for log in logs(db)? {
        let row = chats::load(db, log.chat)?;
        let present = row.era == log.era;
        all.push(Chat {
            name: log.name,
            conversation: log.conversation,
            era: u32::try_from(log.era).unwrap_or(u32::MAX),
            join_key: row.join_key.filter(|_| present).map(|key| JoinKey::from_bytes(*key)),
            read: messages::read_position(db, log.chat)?
                .filter(|_| present)
                .map(|(era, seq)| Position { era: u32::try_from(era).unwrap_or(u32::MAX), seq }),
        });
    }
    all.sort_by(|one, other| (&one.name, one.era).cmp(&(&other.name, other.era)));
    let mut settings = BTreeMap::new();
    if let Some(name) = &own.full_name {
        settings.insert(FULL_NAME.to_owned(), name.clone());
    }
    for chat in chats::all(db)? {
        if let Some(timer) = chat.timer {
            settings.insert(format!("{TIMER}{}", chat.name), timer.to_string());
        }
    }
    settings.extend(crate::engine::settings::collect(db)?);
    Ok(State::new(contacts_of, all, settings))
}

/// Takes over what this device does not know.
pub(crate) fn apply(tx: &Connection, own: &mut Own, state: State) -> Result<(), Error> {
    for contact in state.contacts {
        restore_contact(tx, own, &contact)?;
    }
    let mut chats_of: Vec<Chat> = state.chats;
    // The present conversation first: it says which era the chat is in.
    chats_of.sort_by(|one, other| (&one.name, other.era).cmp(&(&other.name, one.era)));
    for chat in chats_of {
        if address::is_name(&chat.name) {
            restore_chat(tx, &chat)?;
        }
    }
    if own.full_name.is_none()
        && let Some(name) = state.settings.get(FULL_NAME)
    {
        crate::store::own::set_full_name(tx, Some(name))?;
        own.full_name = Some(name.clone());
    }
    for (name, value) in &state.settings {
        match name.strip_prefix(TIMER) {
            Some(chat) => {
                let row = chats::by_name(tx, chat)?.filter(|row| row.timer.is_none());
                if let (Some(row), Ok(timer)) = (row, value.parse()) {
                    chats::set_timer(tx, row.chat, Some(timer))?;
                }
            }
            None => crate::engine::settings::restore(tx, name, value)?,
        }
    }
    Ok(())
}

fn restore_contact(tx: &Connection, own: &Own, contact: &Contact) -> Result<(), Error> {
    let username = contact.username.as_str();
    let named = crate::account::username(username).is_ok_and(|name| name.as_str() == username);
    let Ok(identity) = IdentityPublicKey::from_der(&contact.identity) else { return Ok(()) };
    if !named || username == own.username {
        return Ok(());
    }
    match contacts::load(tx, username)? {
        None => {
            let list = contact.device_list.as_deref();
            let list = list.filter(|list| DeviceList::verify(list, &identity, username).is_ok());
            let Some(list) = list else { return Ok(()) };
            contacts::pin(tx, username, &identity.to_der(), list)?;
            if let Some(name) = &contact.full_name {
                contacts::set_full_name(tx, username, Some(name))?;
            }
        }
        // What this device found out itself stays.
        Some(pinned) if pinned.identity_key != identity.to_der() || pinned.verified.is_some() => return Ok(()),
        Some(_) => {}
    }
    if let Some(fingerprint) = &contact.verified {
        contacts::set_verified(tx, username, Some(fingerprint))?;
    }
    for former in &contact.former {
        if let Ok(key) = IdentityPublicKey::from_der(former) {
            contacts::add_former(tx, username, &key.fingerprint(), &key.to_der())?;
        }
    }
    Ok(())
}

fn restore_chat(tx: &Connection, chat: &Chat) -> Result<(), Error> {
    let era = u64::from(chat.era);
    let row = chats::ensure(tx, &chat.name)?;
    match row.conversation {
        Some(known) if known == chat.conversation => {
            if row.era < era {
                renumber(tx, row.chat, row.era, era)?;
            }
        }
        // This device was told of the next conversation before it knew of this one.
        Some(_) if row.era <= era && chats::by_former_conversation(tx, &chat.conversation)?.is_none() => {
            renumber(tx, row.chat, row.era, era + 1)?;
            return chats::add_former(tx, row.chat, era, &chat.conversation);
        }
        None if row.era <= era && row.phase == Phase::New => {
            renumber(tx, row.chat, row.era, era)?;
            chats::set_waiting(tx, row.chat, &chat.conversation)?;
        }
        _ => return chats::add_former(tx, row.chat, era, &chat.conversation),
    }
    // Where this device is not in the chat yet, what it has may be of an older copy.
    let outside = row.join_key.is_none() || (row.phase == Phase::Waiting && row.cursor == 0);
    match &chat.join_key {
        Some(key) if outside => chats::set_join_key(tx, row.chat, key.as_bytes()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
