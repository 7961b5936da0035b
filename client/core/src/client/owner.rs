//! What the owner of the account does from one of its devices: names and revokes devices, changes the password, renews
//! the identity, deletes the account. Each asks for the password.

use super::Client;
use crate::{
    Error, Step,
    account::{blocking, check_password, username},
    engine::Command,
    owner::{NewPassword, Owner, Proof, Revised, Revision, Second},
    random,
    store::own::{self, Own},
};
use rusqlite::Connection as Database;
use serde::Serialize;
use std::time::Duration;
use tokio::time::timeout;
use waxwing_e2ee::account::{AccountKey, DEVICE_NAME, IdentityPublicKey, ListedDevice};
use waxwing_protocol::Link;
use zeroize::Zeroizing;

/// A device of this account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// 32 hexadecimal digits.
    pub id: String,
    /// What its owner calls it. Sanitise it before it reaches a terminal.
    pub name: Option<String>,
    /// Since when it is listed: milliseconds since 1970, by the clock of the device that listed it.
    pub since: u64,
    /// Whether it is this one.
    pub this: bool,
    /// Whether the server knows it. It signs devices out that were silent for long: those come back by logging in again. None
    /// where the server was not asked.
    pub signed_in: Option<bool>,
    /// The last day on which it was connected, counted from 1970, if the server was asked and knows.
    pub seen_day: Option<u32>,
}

/// What became of revoking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Revoked {
    /// The devices that are none any more.
    pub devices: Vec<Device>,
    /// Whether the identity was renewed.
    pub identity_renewed: bool,
}

type OnStep<'a> = &'a (dyn Fn(Step) + Send + Sync);

impl Client {
    /// The account's devices as the newest list that is known here has them, oldest first; with what the server says of them,
    /// if it is connected.
    pub async fn devices(&self) -> Result<Vec<Device>, Error> {
        let mut devices = self.database(|db| devices(&load(db)?)).await?;
        // Without the server, or with an older one, the list is as good.
        if let Ok(seen) = self.ask(Command::DevicesSeen).await {
            for device in &mut devices {
                let known = seen.iter().find(|one| hex(&one.device.0) == device.id);
                (device.signed_in, device.seen_day) = (Some(known.is_some()), known.and_then(|one| one.day));
            }
        }
        Ok(devices)
    }

    /// Gives a device another name.
    pub async fn rename_device(
        &self,
        which: &str,
        name: &str,
        password: &Zeroizing<String>,
        on_step: OnStep<'_>,
    ) -> Result<Device, Error> {
        let name = name.trim().to_owned();
        if name.is_empty() || name.len() > DEVICE_NAME || name.chars().any(char::is_control) {
            return Err(Error::BadInput(format!("a device's name has 1 to {DEVICE_NAME} bytes on one line")));
        }
        let change = |listed: &[ListedDevice], key: &AccountKey| {
            let id = find(listed, key, which)?;
            let renamed = |device: &ListedDevice| {
                let mut device = device.clone();
                if device.id == id {
                    device.sealed_name = key.seal_device_name(&id, &name, &mut random());
                }
                device
            };
            Ok(listed.iter().map(renamed).collect())
        };
        self.revise(password, &Revision { devices: &change, password: None, rotate: false, known: None }, on_step)
            .await?;
        let renamed = |device: &Device| device.name.as_deref() == Some(&name);
        self.devices().await?.into_iter().find(renamed).ok_or_else(|| Error::UnknownDevice(which.to_owned()))
    }

    /// Signs devices out for good. With `lost`, whoever has one of them may have read its memory: identity, backup key and
    /// vault are renewed as well.
    pub async fn revoke_devices(
        &self,
        which: &[String],
        lost: bool,
        password: &Zeroizing<String>,
        on_step: OnStep<'_>,
    ) -> Result<Revoked, Error> {
        let this = self.database(|db| load(db)).await?.device;
        let change = |listed: &[ListedDevice], key: &AccountKey| {
            let ids = which.iter().map(|one| find(listed, key, one)).collect::<Result<Vec<_>, _>>()?;
            if ids.contains(&this) {
                return Err(Error::BadInput("this device cannot revoke itself: revoke it from another one".into()));
            }
            Ok(listed.iter().filter(|device| !ids.contains(&device.id)).cloned().collect())
        };
        let revision = Revision { devices: &change, password: None, rotate: lost, known: None };
        let revised = self.revise(password, &revision, on_step).await?;
        Ok(Revoked { devices: removed(&revised), identity_renewed: lost })
    }

    /// Signs the devices again as this one knows them, where the server has forgotten a change of them. Those that it has
    /// forgotten, and those that it knows and this device does not, have to log in again.
    pub async fn repair_devices(
        &self,
        password: &Zeroizing<String>,
        on_step: OnStep<'_>,
    ) -> Result<Vec<Device>, Error> {
        let keep = |listed: &[ListedDevice], _: &AccountKey| Ok(listed.to_vec());
        let revision = Revision { devices: &keep, password: None, rotate: false, known: None };
        self.revise(password, &revision, on_step).await?;
        self.devices().await
    }

    /// Changes the password; the recovery code stays. With `sign_out_others` all other devices are revoked.
    pub async fn change_password(
        &self,
        old: &Zeroizing<String>,
        new: &Zeroizing<String>,
        sign_out_others: bool,
        on_step: OnStep<'_>,
    ) -> Result<Vec<Device>, Error> {
        let whoami = self.whoami().await?;
        let known = [Some(whoami.username.as_str()), whoami.full_name.as_deref()];
        check_password(new, &known.into_iter().flatten().collect::<Vec<_>>())?;
        let this = self.database(|db| load(db)).await?.device;
        let change = |listed: &[ListedDevice], _: &AccountKey| {
            Ok(listed.iter().filter(|device| !sign_out_others || device.id == this).cloned().collect())
        };
        let password = NewPassword { password: new.clone(), replace_code: false };
        let revision = Revision { devices: &change, password: Some(password), rotate: false, known: None };
        let revised = self.revise(old, &revision, on_step).await?;
        // The account has the new password now; this device's own lock follows. The old one still opens it if this fails.
        let (profile, key, new) = (self.profile.clone(), self.key.clone(), new.clone());
        blocking(move || profile.replace_key(&key, &new)).await??;
        Ok(removed(&revised))
    }

    /// Renews the identity: new RSA pairs, vouched for by the old identity.
    pub async fn rotate_identity(&self, password: &Zeroizing<String>, on_step: OnStep<'_>) -> Result<String, Error> {
        let keep = |listed: &[ListedDevice], _: &AccountKey| Ok(listed.to_vec());
        self.revise(password, &Revision { devices: &keep, password: None, rotate: true, known: None }, on_step).await?;
        let own = self.database(|db| load(db)).await?;
        let identity = IdentityPublicKey::from_der(&own.identity_key);
        Ok(hex(&identity.map_err(|error| Error::Storage(error.to_string()))?.fingerprint()))
    }

    /// Waits, while connected, until every chat's group is as the device lists say.
    pub async fn settled(&self, limit: Duration) -> Result<(), Error> {
        let late = || Error::TimedOut("the chats did not let the devices go in time".into());
        timeout(limit, self.ask(Command::Settled)).await.map_err(|_| late())?
    }

    /// Deletes the account on the server. This device keeps its history, which can be read and exported.
    pub async fn delete_account(&self, password: &Zeroizing<String>, on_step: OnStep<'_>) -> Result<(), Error> {
        let own = self.database(|db| load(db)).await?;
        let proof = own_proof(&own, password);
        let owner = Owner::prove(&link(&own)?, &username(&own.username)?, &proof, on_step).await?;
        owner.delete().await
    }

    /// Revises the account, and this profile with it.
    async fn revise(
        &self,
        password: &Zeroizing<String>,
        revision: &Revision<'_>,
        on_step: OnStep<'_>,
    ) -> Result<Revised, Error> {
        let own = self.database(|db| load(db)).await?;
        let (link, name) = (link(&own)?, username(&own.username)?);
        let proof = own_proof(&own, password);
        let known = own::verified_list(&own)?;
        let revision = Revision { known: Some(&known), password: revision.password.clone(), ..*revision };
        let (owner, revised) = Owner::revise(&link, &name, &proof, &revision, on_step).await?;
        let mut new = Own { device_list: revised.signed_list.clone(), ..own };
        new.account_key = Some(Zeroizing::new(*owner.keys.account_key().as_bytes()));
        if revised.rotated {
            let damaged = |_| Error::Storage("the keys of this device are damaged".into());
            let mls_key: [u8; 32] = new.mls_key.as_slice().try_into().map_err(damaged)?;
            new.credential = owner.certify(&new.device, &mls_key);
            new.identity_key = owner.identity().to_der();
        }
        let own = Box::new(new);
        let keys = revised.rotated.then(|| owner.keys.clone());
        let rotations = owner.account.rotations.clone();
        self.ask(|reply| Command::Revised { own, rotations, keys, reply }).await?;
        Ok(revised)
    }
}

/// The password, beside which this device stands.
fn own_proof(own: &Own, password: &Zeroizing<String>) -> Proof {
    let second = Second::Device { device: own.device, key: own.authentication_key.clone() };
    Proof::Password { password: password.clone(), second }
}

/// The device that is meant: by its name, its id or the beginning of it.
fn find(listed: &[ListedDevice], key: &AccountKey, which: &str) -> Result<[u8; 16], Error> {
    let wanted = which.trim();
    let name = |device: &ListedDevice| key.open_device_name(&device.id, &device.sealed_name);
    let mut found: Vec<&ListedDevice> = listed.iter().filter(|one| name(one).as_deref() == Some(wanted)).collect();
    if found.is_empty() && wanted.len() >= 4 {
        let wanted = wanted.to_ascii_lowercase();
        found = listed.iter().filter(|device| hex(&device.id).starts_with(&wanted)).collect();
    }
    match found.as_slice() {
        [] => Err(Error::UnknownDevice(which.to_owned())),
        [device] => Ok(device.id),
        _ => Err(Error::AmbiguousDevice(which.to_owned())),
    }
}

/// The devices that a revision removed.
fn removed(revised: &Revised) -> Vec<Device> {
    let shown = |(device, name): &(ListedDevice, Option<String>)| Device {
        id: hex(&device.id),
        name: name.clone(),
        since: device.since_ms,
        this: false,
        signed_in: Some(false),
        seen_day: None,
    };
    revised.removed.iter().map(shown).collect()
}

fn devices(own: &Own) -> Result<Vec<Device>, Error> {
    let list = own::verified_list(own)?;
    let key = own.account_key.as_deref().map(AccountKey::from_bytes);
    let shown = |device: &ListedDevice| Device {
        id: hex(&device.id),
        name: key.as_ref().and_then(|key| key.open_device_name(&device.id, &device.sealed_name)),
        since: device.since_ms,
        this: device.id == own.device,
        signed_in: None,
        seen_day: None,
    };
    Ok(list.list.devices.iter().map(shown).collect())
}

fn load(db: &Database) -> Result<Own, Error> {
    own::load(db)?.ok_or_else(|| Error::Storage("the profile is empty".into()))
}

fn link(own: &Own) -> Result<Link, Error> {
    own.server.parse().map_err(|error| Error::Storage(format!("the stored link: {error}")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
