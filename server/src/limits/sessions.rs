//! Places for signed-in devices, by account and by address.
//!
//! Invariant: a device that connects again is never refused because of its own earlier connection, however long that takes to
//! be noticed as dead. It must not know outboxes or stores.

use super::Origin;
use crate::{rules::SessionRules, store::AccountId};
use std::{
    collections::{HashMap, hash_map},
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};
use waxwing_protocol::{DeviceId, ErrorCode, Refusal};

/// Who sits where, and how often.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    accounts: HashMap<AccountId, HashMap<DeviceId, usize>>,
    origins: HashMap<Origin, HashMap<DeviceId, usize>>,
}

/// A signed-in connection's place; it is free again on drop.
#[derive(Debug)]
pub(crate) struct Seat {
    sessions: Arc<Sessions>,
    device: DeviceId,
    account: Option<AccountId>,
    origin: Origin,
}

/// Whether one more device fits.
fn fits<K: Hash + Eq>(taken: &HashMap<K, HashMap<DeviceId, usize>>, key: &K, device: DeviceId, limit: u32) -> bool {
    let sitting = taken.get(key);
    limit == 0 || sitting.is_none_or(|devices| devices.contains_key(&device) || devices.len() < limit as usize)
}

fn leave<K: Hash + Eq>(taken: &mut HashMap<K, HashMap<DeviceId, usize>>, key: K, device: DeviceId) {
    if let hash_map::Entry::Occupied(mut devices) = taken.entry(key) {
        if let hash_map::Entry::Occupied(mut count) = devices.get_mut().entry(device) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        if devices.get().is_empty() {
            devices.remove();
        }
    }
}

impl Sessions {
    /// Takes a place. An account that is being made has no number yet, and its first device always fits.
    pub(crate) fn sit(
        self: &Arc<Self>,
        rules: &SessionRules,
        device: DeviceId,
        account: Option<AccountId>,
        origin: Origin,
    ) -> Result<Seat, Refusal> {
        let full = |limit: u32| Refusal::numbered(ErrorCode::TooManySessions, limit.into());
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !fits(&taken.origins, &origin, device, rules.per_address) {
            return Err(full(rules.per_address));
        }
        if let Some(account) = account {
            if !fits(&taken.accounts, &account, device, rules.per_account) {
                return Err(full(rules.per_account));
            }
            *taken.accounts.entry(account).or_default().entry(device).or_default() += 1;
        }
        *taken.origins.entry(origin).or_default().entry(device).or_default() += 1;
        Ok(Seat { sessions: Arc::clone(self), device, account, origin })
    }
}

impl Seat {
    /// The account that was made has this number.
    pub(crate) fn of(mut self, account: AccountId) -> Self {
        let mut taken = self.sessions.0.lock().unwrap_or_else(PoisonError::into_inner);
        *taken.accounts.entry(account).or_default().entry(self.device).or_default() += 1;
        drop(taken);
        self.account = Some(account);
        self
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.sessions.0.lock().unwrap_or_else(PoisonError::into_inner);
        leave(&mut taken.origins, self.origin, self.device);
        if let Some(account) = self.account {
            leave(&mut taken.accounts, account, self.device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn origin(last: u8) -> Origin {
        IpAddr::from([192, 0, 2, last]).into()
    }

    #[test]
    fn places_are_counted_by_device_and_free_again_afterwards() {
        let sessions = Arc::<Sessions>::default();
        let one = SessionRules { per_account: 2, per_address: 1, ..SessionRules::default() };
        let sit =
            |device, account, last| sessions.sit(&one, DeviceId([device; 16]), Some(AccountId(account)), origin(last));
        let first = sit(1, 1, 1).unwrap();
        // Its own earlier connection does not stand in its way; another device does.
        let again = sit(1, 1, 1).unwrap();
        let refused = sit(2, 2, 1).unwrap_err();
        assert_eq!((refused.code, refused.number), (ErrorCode::TooManySessions, Some(1)));
        let elsewhere = sit(3, 1, 2).unwrap();
        assert_eq!(sit(4, 1, 3).unwrap_err().number, Some(2));
        drop((first, again));
        let other = sit(2, 2, 1).unwrap();
        let new = sessions.sit(&one, DeviceId([5; 16]), None, origin(4)).unwrap().of(AccountId(5));
        drop((elsewhere, other, new));
        let taken = sessions.0.lock().unwrap();
        assert!(taken.accounts.is_empty() && taken.origins.is_empty());
    }

    #[test]
    fn without_limits_everybody_sits() {
        let sessions = Arc::<Sessions>::default();
        let sit =
            |device| sessions.sit(&SessionRules::default(), DeviceId([device; 16]), Some(AccountId(1)), origin(1));
        assert!((0..100).map(sit).collect::<Vec<_>>().iter().all(Result::is_ok));
    }
}
