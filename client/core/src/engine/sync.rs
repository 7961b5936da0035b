//! What the devices of this account tell each other, in the chat that the account has with itself: what was read, whom
//! the user trusts, new keys.
//!
//! The invariant: it counts only in that chat, where nobody but the account's listed devices is; and what it says of
//! others counts only for the identity that it names. It must not know how it travels.

use super::{Engine, State};
use crate::{
    Error, Event,
    account::now_ms,
    client::trust,
    random,
    store::{
        self,
        chats::{self, ChatId},
        contacts, messages, outbox, own,
        own::Own,
    },
};
use rand_core::Rng as _;
use rusqlite::Connection as Database;
use waxwing_e2ee::{
    account::{AccountKey, IdentityPublicKey},
    content::{self, Body, Keys, Sync},
};
use zeroize::Zeroizing;

impl Engine {
    /// The user has read a chat, up to what is there: the other devices are told, a little later, together.
    pub(super) fn mark_read(&mut self, name: &str) -> Result<(), Error> {
        let Some(row) = chats::by_name(&self.db, name)? else { return Ok(()) };
        if super::settings::is_request(&self.db, &row.name)? {
            // Nothing of it was shown.
            return Ok(());
        }
        store::step("mark-read", &mut self.db, |tx| {
            chats::mark_read(tx, row.chat)?;
            messages::begin_expiry(tx, now_ms())
        })?;
        self.owe_receipt();
        self.tell(&Event::ChatChanged { chat: row.name });
        Ok(())
    }

    /// Tells the other devices how far the user has read.
    pub(super) fn queue_read_positions(&mut self) -> Result<(), Error> {
        let own = &self.own;
        let told = store::step("read-position", &mut self.db, |tx| {
            let mut told = None;
            for read in chats::owing_read_positions(tx)? {
                let era = u32::try_from(read.era).unwrap_or(u32::MAX);
                told = queue(tx, own, Sync::Read { conversation: read.conversation, era, seq: read.seq })?.or(told);
                chats::set_read_told(tx, read.chat, read.seq)?;
            }
            Ok::<_, Error>(told)
        })?;
        self.dirty.extend(told);
        Ok(())
    }

    /// The user has compared a contact's safety number, or takes that back.
    pub(super) fn set_verified(&mut self, username: &str, fingerprint: [u8; 32], verified: bool) -> Result<(), Error> {
        let own = &self.own;
        let told = store::in_transaction(&mut self.db, |tx| {
            contacts::set_verified(tx, username, verified.then_some(&fingerprint))?;
            queue(tx, own, Sync::Verified { username: username.to_owned(), fingerprint, verified })
        })?;
        self.dirty.extend(told);
        Ok(())
    }

    /// What another device has said was taken in: what was held may go.
    pub(super) fn note_trusted(&mut self, username: &str) {
        if let State::Online(online) = &mut self.reach {
            online.held.remove(username);
            // Groups in which this user is.
            online.held.retain(|_, error| !matches!(error, Error::IdentityChanged(held) if held == username));
            online.checked.remove(username);
        }
    }
}

/// Puts something for the other devices into the outbox; returns their chat, none while there are no others.
pub(super) fn queue(tx: &Database, own: &Own, sync: Sync) -> Result<Option<ChatId>, Error> {
    let Some(row) = chats::by_name(tx, &own.username)? else { return Ok(None) };
    let mut id = [0; 16];
    random().fill_bytes(&mut id);
    let content =
        content::Content { id, sent_at_ms: now_ms(), body: Body::Sync(Box::new(sync)), seen: None, lifetime: None };
    let content = content::encode(&content).map_err(|error| Error::BadInput(error.to_string()))?;
    outbox::push(tx, row.chat, &content, None)?;
    Ok(Some(row.chat))
}

/// The keys that all devices keep, after they were replaced.
pub(super) fn queue_keys(tx: &Database, own: &Own) -> Result<Option<ChatId>, Error> {
    let Some(account) = own.account_key.as_deref().map(AccountKey::from_bytes) else { return Ok(None) };
    let generation = match store::backup::load(tx)?.generation {
        Some(number) => store::backup::key(tx, number)?.map(|(key, _)| key),
        None => None,
    };
    queue(tx, own, Sync::Keys(Keys { account, generation }))
}

/// What something that another device said changed outside of the database.
pub(super) enum Effect {
    /// Nothing.
    None,
    /// This chat looks different in the list of chats.
    ChatChanged(String),
    /// The account key is this one now.
    AccountKey(Zeroizing<[u8; 32]>),
    /// The user is called this now.
    FullName(Option<String>),
    /// What was held for this user may go; the identity that was accepted.
    Trusted(String, [u8; 32]),
}

/// Takes in what another device of this account said in the chat that the account has with itself.
pub(super) fn apply(tx: &Database, sync: Sync) -> Result<Effect, Error> {
    match sync {
        Sync::Read { conversation, era, seq } => {
            let row = chats::by_conversation(tx, &conversation)?;
            if let Some(row) = &row
                && super::settings::is_request(tx, &row.name)?
            {
                // A device that got it from the backup takes it for read; nobody has seen it.
                return Ok(Effect::None);
            }
            chats::read_elsewhere(tx, &conversation, u64::from(era), seq)?;
            messages::begin_expiry(tx, now_ms())?;
            if let Some(row) = row {
                return Ok(Effect::ChatChanged(row.name));
            }
        }
        Sync::Setting { name, value, at_ms } => {
            if let Some(chat) = super::settings::take(tx, &name, &value, at_ms)? {
                return Ok(Effect::ChatChanged(chat));
            }
            if name == super::settings::FULL_NAME {
                return Ok(Effect::FullName(own::load(tx)?.and_then(|own| own.full_name)));
            }
        }
        Sync::Verified { username, fingerprint, verified } if pinned(tx, &username)? == Some(fingerprint) => {
            contacts::set_verified(tx, &username, verified.then_some(&fingerprint))?;
        }
        Sync::Trusted { username, fingerprint } => {
            let shown = contacts::load(tx, &username)?.and_then(|contact| contact.changed);
            if shown.is_some_and(|changed| changed.fingerprint == fingerprint) {
                let shown: String = fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
                trust::accept(tx, &username, &shown, true)?;
                contacts::set_verified(tx, &username, None)?;
                return Ok(Effect::Trusted(username, fingerprint));
            }
        }
        Sync::Keys(Keys { account, generation }) => {
            if let Some(key) = generation {
                store::backup::add_key(tx, &key, None)?;
            }
            own::set_account_key(tx, account.as_bytes())?;
            return Ok(Effect::AccountKey(Zeroizing::new(*account.as_bytes())));
        }
        // Of another identity than the pinned one, or of a newer version.
        _ => {}
    }
    Ok(Effect::None)
}

fn pinned(tx: &Database, username: &str) -> Result<Option<[u8; 32]>, Error> {
    let Some(contact) = contacts::load(tx, username)? else { return Ok(None) };
    let key = IdentityPublicKey::from_der(&contact.identity_key);
    key.map(|key| Some(key.fingerprint())).map_err(|error| Error::Storage(error.to_string()))
}
