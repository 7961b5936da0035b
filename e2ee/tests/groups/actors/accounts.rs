//! The accounts of one test, with the device lists that they have signed.

use super::{Phone, rng};
use std::{cell::RefCell, collections::BTreeMap};
use waxwing_e2ee::account::{DeviceList, IdentityKey, ListedDevice, VerifiedDeviceList, rotation};
use waxwing_e2ee::mls::{Member, SignedList};

struct Account {
    identity: &'static IdentityKey,
    rotations: Vec<Vec<u8>>,
    list: DeviceList,
    /// Signatures are randomised: each list is signed once.
    signed: Vec<u8>,
}

thread_local! {
    static ACCOUNTS: RefCell<BTreeMap<String, Account>> = const { RefCell::new(BTreeMap::new()) };
}

fn with<T>(username: &str, work: impl FnOnce(&mut Account) -> T) -> T {
    ACCOUNTS.with_borrow_mut(|accounts| work(accounts.get_mut(username).expect("the account has devices")))
}

pub fn has(username: &str) -> bool {
    ACCOUNTS.with_borrow(|accounts| accounts.contains_key(username))
}

/// The newest list of an account, with how it came to its identity.
pub fn signed(username: &str) -> SignedList {
    with(username, |account| SignedList {
        username: username.to_owned(),
        list: account.signed.clone(),
        rotations: account.rotations.clone(),
        identity: None,
    })
}

/// The newest list as a client has verified it.
pub fn newest(username: &str) -> VerifiedDeviceList {
    with(username, |account| account.verified())
}

/// Signs the next list of an account.
pub fn revise(username: &str, change: impl FnOnce(&mut Vec<ListedDevice>)) {
    with(username, |account| {
        let mut devices = account.list.devices.clone();
        change(&mut devices);
        account.list = account.list.successor(&account.verified().hash, devices);
        account.signed = account.list.sign(account.identity, &mut rng());
    });
}

/// Lists a device, instead of one with the same id.
pub fn enter(username: &str, identity: &'static IdentityKey, phone: &Phone) {
    let device = listed(phone);
    if !has(username) {
        let list = DeviceList::first(username, device);
        let signed = list.sign(identity, &mut rng());
        let account = Account { identity, rotations: Vec::new(), list, signed };
        ACCOUNTS.with_borrow_mut(|accounts| accounts.insert(username.to_owned(), account));
        return;
    }
    revise(username, |devices| {
        devices.retain(|one| one.id != device.id);
        devices.push(device);
    });
}

pub fn listed(phone: &Phone) -> ListedDevice {
    let authentication_key = phone.public.map(|byte| !byte);
    ListedDevice { id: phone.id, mls_key: phone.public, authentication_key, since_ms: 1, sealed_name: Vec::new() }
}

/// Strikes a device from its account's list.
pub fn strike(device: &Member) {
    revise(&device.username, |devices| devices.retain(|one| one.id != device.device));
}

/// The account goes on under a new identity, and signs its list with that.
pub fn rotate(username: &str, to: &'static IdentityKey) {
    with(username, |account| {
        account.rotations.push(rotation::sign(account.identity, username, &to.public(), &mut rng()));
        let previous = account.verified().hash;
        account.identity = to;
        account.list = account.list.successor(&previous, account.list.devices.clone());
        account.signed = account.list.sign(to, &mut rng());
    });
}

impl Account {
    fn verified(&self) -> VerifiedDeviceList {
        DeviceList::verify(&self.signed, &self.identity.public(), &self.list.username).unwrap()
    }
}
