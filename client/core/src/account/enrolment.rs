//! Making a device of an account: its keys, its place in the signed list, and the profile that holds them.
//!
//! The invariant: a device is in the list, by the account's own signature, before anything uses its keys; a device whose
//! place it takes leaves the list in the same step. It must not know the engine.

use super::{LoggedIn, Step, blocking, now_ms};
use crate::{
    Error, ProfilePath, Remembered, backup,
    directory::VerifiedAccount,
    key_packages,
    owner::{Owner, Proof, Second},
    random,
    store::{self, contacts, own},
    transport::{CallError, Connection},
};
use rand_core::Rng as _;
use rusqlite::Connection as Database;
use waxwing_e2ee::{
    account::{AccountKey, AccountKeys, AuthenticationKey, ListedDevice, VerifiedDeviceList, credential},
    local::LocalKey,
    mls::{Mls, SignatureKey},
};
use waxwing_protocol::{DeviceId, EnrolDevice, ErrorCode, Link, NewDevice, Request, Username, limits};
use zeroize::Zeroizing;

/// How often it is tried again when another device of the account enrols at the same time.
const TRIES: usize = 5;

/// A device that is in its account's list; the connection is signed in as it.
pub(crate) struct Enrolled {
    pub(crate) owner: Owner,
    /// With the device.
    pub(crate) signed_list: Vec<u8>,
}

/// Signs a device into the list, anew while other devices are faster. If one of `places` is listed, the new device takes
/// its place, and its name where none is given. `newest` is the newest list that the profile knows: see [`Owner::base`].
pub(crate) async fn enrol(
    mut owner: Owner,
    (link, password): (&Link, &Zeroizing<String>),
    device: &FreshDevice,
    name: Option<&str>,
    (places, newest): (&[[u8; 16]], Option<&VerifiedDeviceList>),
    on_step: &(dyn Fn(Step) + Send + Sync),
) -> Result<Enrolled, Error> {
    for _ in 0..TRIES {
        let stored = &owner.account.list;
        let base = owner.base(newest);
        let account_key = owner.keys.account_key();
        let stays =
            |device: &ListedDevice| !places.contains(&device.id) && base.devices.iter().any(|one| one.id == device.id);
        let replaced = stored.list.devices.iter().find(|device| !stays(device));
        let former_name = replaced
            .filter(|device| places.contains(&device.id))
            .and_then(|device| account_key.open_device_name(&device.id, &device.sealed_name));
        let replaces = replaced.map(|device| DeviceId(device.id));
        let mut devices: Vec<ListedDevice> = stored.list.devices.iter().filter(|one| stays(one)).cloned().collect();
        if devices.len() >= limits::DEVICES_PER_ACCOUNT {
            return Err(Error::Refused("this account has as many devices as are possible".into()));
        }
        devices.push(device.listed(&account_key, name.or(former_name.as_deref())));
        let mut list = stored.list.successor(&stored.hash, devices);
        list.version = base.version;
        let (version, follows) = (base.version, base.follows);
        let signed_list = list.sign(&owner.keys.identity, &mut random());

        on_step(Step::EnrollingDevice);
        let device_list = signed_list.clone().into();
        let request = EnrolDevice { device: device.public(), version, device_list, replaces, follows };
        match owner.connection.call(Request::EnrolDevice(Box::new(request))).await {
            Ok(_) => return Ok(Enrolled { owner, signed_list }),
            Err(CallError::Refused(refusal)) if refusal.code == ErrorCode::DeviceListConflict => {
                let name = owner.name.clone();
                owner = Owner::prove(
                    link,
                    &name,
                    &Proof::Password { password: password.clone(), second: Second::Code(None) },
                    on_step,
                )
                .await?;
            }
            Err(error) => return Err(error.into_error()),
        }
    }
    Err(Error::Refused("other devices of this account keep logging in; try again".into()))
}

/// A profile that becomes a device of an account.
pub(super) struct NewDeviceOf<'a> {
    pub(super) workshop: &'a ProfilePath,
    pub(super) home: &'a ProfilePath,
    pub(super) link: &'a Link,
    pub(super) password: &'a Zeroizing<String>,
}

impl NewDeviceOf<'_> {
    /// Enrols a new device and makes the profile.
    pub(super) async fn enrol(
        &self,
        owner: Owner,
        device_name: Option<&str>,
        remember: bool,
        on_step: &(dyn Fn(Step) + Send + Sync),
    ) -> Result<LoggedIn, Error> {
        let device = FreshDevice::generate()?;
        let by = (self.link, self.password);
        let Enrolled { owner, signed_list } = enrol(owner, by, &device, device_name, (&[], None), on_step).await?;
        on_step(Step::Storing);
        let own = device.own(&owner.name, self.link, None, &owner.keys, signed_list, &owner.connection);
        let (mut db, remembered) = furnish(self.workshop, self.home, self.password, remember).await?;
        let packages = store_device(&mut db, &own, &device)?;
        keep_former(&db, &owner.account)?;
        backup::open_at_login(&owner.connection, &mut db, &own, &owner.keys, &owner.account.list).await?;
        let _ = key_packages::publish(&owner.connection, packages).await;
        drop(db);
        self.home.take(self.workshop)?;
        Ok(LoggedIn { username: own.username, device: device.id.to_string(), remembered })
    }
}

/// Keeps the identities that vouched for the present one: leaves of older devices are certified by them.
pub(crate) fn keep_former(db: &Database, account: &VerifiedAccount) -> Result<(), Error> {
    for key in account.former_identities() {
        contacts::add_former(db, &account.username, &key.fingerprint(), &key.to_der())?;
    }
    Ok(())
}

/// What this device is called if the user does not say: the name of the machine.
pub fn default_device_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.split('.').next().filter(|name| !name.is_empty()).unwrap_or("device").to_owned()
}

/// The keys of a device that is being made.
pub(crate) struct FreshDevice {
    pub(crate) id: DeviceId,
    authentication: AuthenticationKey,
    pub(crate) signature: SignatureKey,
    since_ms: u64,
}

impl FreshDevice {
    pub(crate) fn generate() -> Result<Self, Error> {
        let mut id = [0; 16];
        random().fill_bytes(&mut id);
        Ok(Self {
            id: DeviceId(id),
            authentication: AuthenticationKey::generate(&mut random()),
            signature: SignatureKey::generate().map_err(|error| Error::Storage(error.to_string()))?,
            since_ms: now_ms(),
        })
    }

    pub(crate) fn listed(&self, account_key: &AccountKey, name: Option<&str>) -> ListedDevice {
        let name = name.map_or_else(default_device_name, str::to_owned);
        ListedDevice {
            sealed_name: account_key.seal_device_name(&self.id.0, &name, &mut random()),
            id: self.id.0,
            mls_key: self.signature.public(),
            authentication_key: self.authentication.public(),
            since_ms: self.since_ms,
        }
    }

    pub(crate) fn public(&self) -> NewDevice {
        NewDevice { id: self.id, authentication_key: self.authentication.public().to_vec().into() }
    }

    pub(crate) fn own(
        &self,
        name: &Username,
        link: &Link,
        full_name: Option<String>,
        keys: &AccountKeys,
        device_list: Vec<u8>,
        connection: &Connection,
    ) -> own::Own {
        let mls_key = self.signature.public();
        own::Own {
            username: name.to_string(),
            full_name,
            server: Link { invite: None, pin: connection.key.pin, ..link.clone() }.to_string(),
            device: self.id.0,
            authentication_key: self.authentication.to_bytes(),
            mls_key: mls_key.to_vec(),
            credential: credential::certify(&keys.identity, name.as_str(), &self.id.0, &mls_key, &mut random()),
            identity_key: keys.identity.public().to_der(),
            device_list,
            account_key: Some(Zeroizing::new(*keys.account_key().as_bytes())),
            incarnation: Some(connection.greeting.incarnation),
        }
    }
}

/// Puts key and database into the workshop.
pub(super) async fn furnish(
    workshop: &ProfilePath,
    home: &ProfilePath,
    password: &Zeroizing<String>,
    remember: bool,
) -> Result<(Database, Remembered), Error> {
    let (workshop, home, password) = (workshop.clone(), home.clone(), password.clone());
    blocking(move || {
        let key = LocalKey::generate(&mut random());
        workshop.store_key(&key, &password)?;
        let remembered = if remember { workshop.remember(&key, &home)? } else { Remembered::No };
        Ok((store::open(&workshop.database(), &key)?, remembered))
    })
    .await?
}

pub(super) fn store_device(
    db: &mut Database,
    own: &own::Own,
    device: &FreshDevice,
) -> Result<key_packages::Batch, Error> {
    store::in_transaction(db, |tx| {
        let mls = Mls::new(tx);
        device.signature.store(&mls).map_err(|error| Error::Storage(error.to_string()))?;
        own::insert(tx, own)?;
        key_packages::make(tx, own, key_packages::FIRST, true)
    })
}
