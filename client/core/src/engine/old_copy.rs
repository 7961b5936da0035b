//! A profile whose keys must not be used any more: an old copy of it was put back, or the account has signed its device out.
//! With the password it becomes another device of the account and keeps its history.
//!
//! The invariant: the keys of the device that it was are deleted in the transaction that makes it the other one, so nothing
//! is ever encrypted with them again; what waits to be sent is encrypted anew. It must not know how the staleness was found.

use super::{Engine, State};
use crate::{
    Error, Event,
    account::{
        enrolment::{Enrolled, FreshDevice, enrol, keep_former},
        username,
    },
    backup, key_packages,
    owner::{Owner, Proof, Second},
    store::{self, chats, commits, contacts, outbox, own},
};
use waxwing_e2ee::{
    account::{IdentityPublicKey, rotation},
    mls::{self, Mls},
};
use zeroize::Zeroizing;

impl Engine {
    /// The connection is of no use any more. If that is because this profile is an old copy, and its user has just given the
    /// password, it becomes a new device and connects again.
    pub(super) async fn fail(&mut self, error: Error) {
        let own_fault = match error {
            Error::OldCopy => true,
            // It was about to become another device, and the server took it.
            Error::SignedOut => own::enrolling(&self.db).is_ok_and(|device| device.is_some()),
            _ => false,
        };
        let password = if own_fault { self.password.take() } else { None };
        let Some(password) = password else { return self.disconnect(&error) };
        tracing::info!(%error, "this profile becomes another device");
        match self.enrol_anew(&password).await {
            Ok(()) => {}
            // Only its user can change that.
            Err(
                failed @ (Error::BadCredentials
                | Error::IdentityChanged(_)
                | Error::AccountDisabled
                | Error::CodeNeeded { .. }
                | Error::BadCode { .. }),
            ) => {
                tracing::warn!(%failed, "it does not");
                self.disconnect(&error);
            }
            // The server may be busy, or its disk full. It is found out again with the next connection.
            Err(failed) => {
                tracing::warn!(%failed, "it does not yet");
                self.password = Some(password);
                self.disconnect(&failed);
            }
        }
    }

    /// The owner asks for it: this profile becomes another device, if it cannot go on as the one that it is.
    pub(super) async fn log_in_again(&mut self, password: &Zeroizing<String>) -> Result<(), Error> {
        match (&self.reach, &self.trouble) {
            (State::Idle, Some(Error::OldCopy | Error::SignedOut)) => self.enrol_anew(password).await,
            _ => Err(Error::ProfileExists(self.own.username.clone())),
        }
    }

    /// Becomes another device of the account, and connects as it.
    async fn enrol_anew(&mut self, password: &Zeroizing<String>) -> Result<(), Error> {
        self.reach = State::Idle;
        self.interrupt_backup(&Error::OldCopy);
        let (link, name) = (self.link.clone(), username(&self.own.username)?);
        // The server may know the device still: then it needs no code.
        let second = Second::Device { device: self.own.device, key: self.own.authentication_key.clone() };
        let proof = Proof::Password { password: password.clone(), second };
        let owner = Owner::prove(&link, &name, &proof, &|_| {}).await?;
        let known = store::own::verified_list(&self.own)?;
        let pinned = IdentityPublicKey::from_der(&self.own.identity_key);
        let pinned = pinned.map_err(|error| Error::Storage(error.to_string()))?;
        // Whatever this profile knows of its account is true still.
        let renewed = || rotation::follow(&owner.account.rotations, &pinned, &self.own.username);
        if owner.account.identity != pinned && renewed().as_ref() != Ok(&owner.account.identity) {
            return Err(Error::IdentityChanged(self.own.username.clone()));
        }
        let device = FreshDevice::generate()?;
        let places: Vec<[u8; 16]> = own::enrolling(&self.db)?.into_iter().chain([self.own.device]).collect();
        own::set_enrolling(&self.db, &device.id.0)?;
        let enrolled = enrol(owner, (&link, password), &device, None, (&places, Some(&known)), &|_| {}).await?;
        let batch = self.become_device(&device, &enrolled)?;
        let Enrolled { owner, .. } = enrolled;
        let opened =
            backup::open_at_login(&owner.connection, &mut self.db, &self.own, &owner.keys, &owner.account.list);
        if let Err(error) = opened.await {
            tracing::warn!(%error, "the backup");
        }
        store::backup::want_state(&self.db)?;
        // Should this fail, the connection does it.
        let _ = key_packages::publish(&owner.connection, batch).await;
        self.begin_as_new_device()
    }

    /// Everything that the former device was goes; everything that its user had stays.
    fn become_device(&mut self, device: &FreshDevice, enrolled: &Enrolled) -> Result<key_packages::Batch, Error> {
        let Enrolled { owner, signed_list } = enrolled;
        let full_name = self.own.full_name.clone();
        let list = signed_list.clone();
        let own = device.own(&owner.name, &self.link, full_name, &owner.keys, list, &owner.connection);
        let former = &self.own;
        let batch = store::in_transaction(&mut self.db, |tx| {
            if former.identity_key != own.identity_key {
                let key = IdentityPublicKey::from_der(&former.identity_key);
                let key = key.map_err(|error| Error::Storage(error.to_string()))?;
                contacts::add_former(tx, &own.username, &key.fingerprint(), &former.identity_key)?;
            }
            keep_former(tx, &owner.account)?;
            contacts::set_rotations(tx, &own.username, &owner.account.rotations)?;
            mls::forget(tx).map_err(|error| crate::mls_error(&error))?;
            device.signature.store(&Mls::new(tx)).map_err(|error| crate::mls_error(&error))?;
            own::replace(tx, &own)?;
            commits::clear(tx)?;
            outbox::begin_as_new_device(tx)?;
            chats::begin_as_new_device(tx)?;
            key_packages::make(tx, &own, key_packages::FIRST, true)
        })?;
        self.own = own;
        Ok(batch)
    }

    fn begin_as_new_device(&mut self) -> Result<(), Error> {
        self.trouble = None;
        self.retries = super::reaching::retries();
        self.dirty = outbox::chats(&self.db)?.into_iter().collect();
        self.backup.begin_as_new_device();
        let device = self.own.device.iter().map(|byte| format!("{byte:02x}")).collect();
        self.tell(&Event::EnrolledAnew { device });
        self.connect();
        Ok(())
    }
}
