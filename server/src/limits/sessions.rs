//! Places for signed-in devices, by account and by address, at this server and at others on the same database.
//!
//! Invariant: a device that connects again is never refused because of its own earlier connection, wherever that is and however
//! long it takes to be noticed as dead. What other servers told counts until they are silent; nothing is kept to be told
//! unless somebody asks for it. It must not know outboxes or stores, nor how it is told.

use super::Origin;
use crate::{cluster::NodeId, rules::SessionRules, store::AccountId};
use std::{
    collections::{HashMap, HashSet, hash_map},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use waxwing_protocol::{DeviceId, ErrorCode, Refusal};

/// The most changes between two tellings. After more of them everything is told anew.
const REMEMBERED: usize = 16_384;

/// Who sits where, and how often.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    accounts: HashMap<AccountId, HashMap<DeviceId, Count>>,
    origins: HashMap<Origin, HashMap<DeviceId, Count>>,
    /// Whose places here changed since the last telling; none if nobody wants to know.
    changed: Option<HashSet<Sitting>>,
    /// What each of the others told.
    others: HashMap<NodeId, Other>,
}

/// How often a device sits somewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    /// Its connections here.
    here: u32,
    /// The other servers at which it has any.
    elsewhere: u32,
}

/// A device that has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sitting {
    /// Among those of its account.
    OfAccount(AccountId, DeviceId),
    /// Among those of its address.
    From(Origin, DeviceId),
}

/// What the others are told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Whether `came` are all that sit here.
    pub(crate) whole: bool,
    pub(crate) came: Vec<Sitting>,
    pub(crate) left: Vec<Sitting>,
}

/// A part of what another server told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Everything begins anew with this part.
    pub(crate) begins: bool,
    /// With this part everything was told.
    pub(crate) ends: bool,
    pub(crate) came: Vec<Sitting>,
    pub(crate) left: Vec<Sitting>,
}

/// Another server.
#[derive(Debug, Default)]
struct Other {
    sitting: HashSet<Sitting>,
    /// While it tells everything anew: what came so far.
    anew: Option<HashSet<Sitting>>,
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
fn fits<K: Hash + Eq>(taken: &HashMap<K, HashMap<DeviceId, Count>>, key: &K, device: DeviceId, limit: u32) -> bool {
    let sitting = taken.get(key);
    limit == 0 || sitting.is_none_or(|devices| devices.contains_key(&device) || devices.len() < limit as usize)
}

/// Changes how often a device sits; nothing is kept of one that does not.
fn change<K: Hash + Eq>(
    taken: &mut HashMap<K, HashMap<DeviceId, Count>>,
    key: K,
    device: DeviceId,
    change: impl FnOnce(&mut Count),
) -> Count {
    let mut devices = match taken.entry(key) {
        hash_map::Entry::Occupied(devices) => devices,
        hash_map::Entry::Vacant(free) => free.insert_entry(HashMap::new()),
    };
    let count = devices.get_mut().entry(device).or_default();
    change(count);
    let count = *count;
    if count == Count::default() {
        devices.get_mut().remove(&device);
        if devices.get().is_empty() {
            devices.remove();
        }
    }
    count
}

impl Taken {
    fn change(&mut self, sitting: Sitting, by: impl FnOnce(&mut Count)) -> Count {
        match sitting {
            Sitting::OfAccount(account, device) => change(&mut self.accounts, account, device, by),
            Sitting::From(origin, device) => change(&mut self.origins, origin, device, by),
        }
    }

    fn is_here(&self, sitting: &Sitting) -> bool {
        let count = match sitting {
            Sitting::OfAccount(account, device) => self.accounts.get(account).and_then(|all| all.get(device)),
            Sitting::From(origin, device) => self.origins.get(origin).and_then(|all| all.get(device)),
        };
        count.is_some_and(|count| count.here > 0)
    }

    fn note(&mut self, sitting: Sitting) {
        let Some(changed) = &mut self.changed else { return };
        changed.insert(sitting);
        if changed.len() > REMEMBERED {
            // The next telling begins anew.
            self.changed = None;
        }
    }

    fn come(&mut self, sitting: Sitting) {
        if self.change(sitting, |count| count.here += 1).here == 1 {
            self.note(sitting);
        }
    }

    fn leave(&mut self, sitting: Sitting) {
        if self.change(sitting, |count| count.here -= 1).here == 0 {
            self.note(sitting);
        }
    }

    /// All that sit here and that a rule asks for.
    fn here(&self, rules: &SessionRules) -> Vec<Sitting> {
        let mut all = Vec::new();
        if rules.per_account > 0 {
            for (account, devices) in &self.accounts {
                let here = devices.iter().filter(|(_, count)| count.here > 0);
                all.extend(here.map(|(device, _)| Sitting::OfAccount(*account, *device)));
            }
        }
        if rules.per_address > 0 {
            for (origin, devices) in &self.origins {
                let here = devices.iter().filter(|(_, count)| count.here > 0);
                all.extend(here.map(|(device, _)| Sitting::From(*origin, *device)));
            }
        }
        all
    }

    fn come_elsewhere(&mut self, sitting: Sitting) {
        self.change(sitting, |count| count.elsewhere += 1);
    }

    fn leave_elsewhere(&mut self, sitting: Sitting) {
        self.change(sitting, |count| count.elsewhere -= 1);
    }
}

impl Sessions {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place. An account that is being made has no number yet, and its first device always fits.
    pub(crate) fn sit(
        self: &Arc<Self>,
        rules: &SessionRules,
        device: DeviceId,
        account: Option<AccountId>,
        origin: Origin,
    ) -> Result<Seat, Refusal> {
        let full = |limit: u32| Refusal::numbered(ErrorCode::TooManySessions, limit.into());
        let mut taken = self.taken();
        if !fits(&taken.origins, &origin, device, rules.per_address) {
            return Err(full(rules.per_address));
        }
        if let Some(account) = account {
            if !fits(&taken.accounts, &account, device, rules.per_account) {
                return Err(full(rules.per_account));
            }
            taken.come(Sitting::OfAccount(account, device));
        }
        taken.come(Sitting::From(origin, device));
        Ok(Seat { sessions: Arc::clone(self), device, account, origin })
    }

    /// What the others do not know yet, or everything; none if no rule asks for it.
    pub(crate) fn tell(&self, rules: &SessionRules, everything: bool) -> Option<Told> {
        let mut taken = self.taken();
        if rules.per_account == 0 && rules.per_address == 0 {
            taken.changed = None;
            return None;
        }
        let changed = taken.changed.replace(HashSet::new());
        let Some(changed) = changed.filter(|_| !everything) else {
            return Some(Told { whole: true, came: taken.here(rules), left: Vec::new() });
        };
        let wanted = changed.into_iter().filter(|sitting| match sitting {
            Sitting::OfAccount(..) => rules.per_account > 0,
            Sitting::From(..) => rules.per_address > 0,
        });
        let (came, left) = wanted.partition(|sitting| taken.is_here(sitting));
        Some(Told { whole: false, came, left })
    }

    /// Something that another server told was lost: what it was about to tell anew is not whole.
    pub(crate) fn gap(&self, from: NodeId) {
        if let Some(other) = self.taken().others.get_mut(&from) {
            other.anew = None;
        }
    }

    /// What another server told, in the order in which it did.
    pub(crate) fn hear(&self, from: NodeId, heard: Heard) {
        let mut taken = self.taken();
        // Taken out, since its places are counted beside it.
        let mut other = taken.others.remove(&from).unwrap_or_default();
        if heard.begins {
            other.anew = Some(HashSet::new());
        }
        match &mut other.anew {
            Some(anew) => anew.extend(heard.came),
            None if heard.ends => {}
            None => {
                for sitting in heard.came {
                    if other.sitting.insert(sitting) {
                        taken.come_elsewhere(sitting);
                    }
                }
            }
        }
        for sitting in heard.left {
            if other.sitting.remove(&sitting) {
                taken.leave_elsewhere(sitting);
            }
        }
        if heard.ends
            && let Some(anew) = other.anew.take()
        {
            anew.difference(&other.sitting).for_each(|sitting| taken.come_elsewhere(*sitting));
            other.sitting.difference(&anew).for_each(|sitting| taken.leave_elsewhere(*sitting));
            other.sitting = anew;
        }
        taken.others.insert(from, other);
    }

    /// Forgets what all but these servers told.
    pub(crate) fn keep(&self, speaking: &HashSet<NodeId>) {
        let mut taken = self.taken();
        let silent: Vec<_> = taken.others.keys().filter(|node| !speaking.contains(node)).copied().collect();
        for node in silent {
            let other = taken.others.remove(&node).unwrap_or_default();
            other.sitting.into_iter().for_each(|sitting| taken.leave_elsewhere(sitting));
        }
    }
}

impl Seat {
    /// The account that was made has this number.
    pub(crate) fn of(mut self, account: AccountId) -> Self {
        self.sessions.taken().come(Sitting::OfAccount(account, self.device));
        self.account = Some(account);
        self
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.sessions.taken();
        taken.leave(Sitting::From(self.origin, self.device));
        if let Some(account) = self.account {
            taken.leave(Sitting::OfAccount(account, self.device));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    const NODE: NodeId = NodeId([1; 16]);

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

    /// Hands on what one server tells, in parts of at most two.
    fn tell(from: &Sessions, rules: &SessionRules, everything: bool, to: &Sessions) -> bool {
        let Some(Told { whole, came, left }) = from.tell(rules, everything) else { return false };
        let parts = came.len().div_ceil(2).max(1);
        for part in 0..parts {
            let came = came.iter().skip(2 * part).take(2).copied().collect();
            let (begins, ends) = (whole && part == 0, whole && part + 1 == parts);
            to.hear(NODE, Heard { begins, ends, came, left: Vec::new() });
        }
        to.hear(NODE, Heard { left, ..Heard::default() });
        whole
    }

    #[test]
    fn places_at_all_servers_are_counted_together_and_a_device_moves_freely() {
        let (here, there) = (Arc::<Sessions>::default(), Arc::<Sessions>::default());
        let rules = SessionRules { per_account: 2, per_address: 3, ..SessionRules::default() };
        let sit = |at: &Arc<Sessions>, device, account, last| {
            at.sit(&rules, DeviceId([device; 16]), Some(AccountId(account)), origin(last))
        };
        let mut seats = vec![sit(&there, 1, 1, 1).unwrap(), sit(&there, 2, 1, 1).unwrap()];
        seats.push(there.sit(&rules, DeviceId([3; 16]), None, origin(1)).unwrap().of(AccountId(2)));
        assert!(tell(&there, &rules, false, &here), "the first time everything is told");
        assert_eq!(sit(&here, 4, 1, 2).unwrap_err().number, Some(2), "of the account");
        assert_eq!(sit(&here, 4, 3, 1).unwrap_err().number, Some(3), "of the address");
        // Whoever sits there may come here, whether that connection ends or not.
        let moved = sit(&here, 1, 1, 1).unwrap();
        drop(seats.remove(0));
        assert!(!tell(&there, &rules, false, &here), "then changes are");
        assert!(sit(&here, 4, 1, 2).is_err(), "it is one device");
        drop(moved);
        let other = sit(&here, 4, 1, 2).unwrap();
        // It came and went between two tellings.
        drop(sit(&there, 5, 5, 5).unwrap());
        assert!(!tell(&there, &rules, false, &here));
        assert!(sit(&here, 6, 1, 2).is_err());
        // Who is silent is not counted.
        here.keep(&HashSet::from([NODE]));
        assert!(sit(&here, 6, 1, 2).is_err());
        here.keep(&HashSet::new());
        drop((sit(&here, 6, 1, 2).unwrap(), other, seats));
        let taken = here.0.lock().unwrap();
        assert!(taken.accounts.is_empty() && taken.origins.is_empty() && taken.others.is_empty());
    }

    #[test]
    fn what_was_lost_on_the_way_is_mended_when_everything_is_told_again() {
        let (here, there) = (Arc::<Sessions>::default(), Arc::<Sessions>::default());
        let rules = SessionRules { per_account: 1, ..SessionRules::default() };
        let sit = |at: &Arc<Sessions>, device| {
            at.sit(&rules, DeviceId([device; 16]), Some(AccountId(device.into())), origin(1))
        };
        let first = sit(&there, 1).unwrap();
        tell(&there, &rules, true, &here);
        let seats = [2, 3, 4].map(|device| sit(&there, device).unwrap());
        drop(first);
        assert!(there.tell(&rules, false).is_some(), "and nobody hears it");
        let other = |device| here.sit(&rules, DeviceId([99; 16]), Some(AccountId(device)), origin(1));
        assert!(other(1).is_err() && [2, 3, 4].into_iter().all(|account| other(account).is_ok()));
        // Of three parts the second is lost: what was known stays.
        let told = there.tell(&rules, true).unwrap();
        assert_eq!((told.whole, told.came.len()), (true, 3), "no rule asks for addresses");
        let [one, two, three] = [0, 1, 2].map(|place| Heard {
            begins: place == 0,
            ends: place == 2,
            came: vec![told.came[place]],
            left: Vec::new(),
        });
        here.hear(NODE, one);
        here.gap(NODE);
        here.hear(NODE, three);
        assert!(other(1).is_err() && [2, 3, 4].into_iter().all(|account| other(account).is_ok()));
        // So is the beginning.
        here.gap(NODE);
        here.hear(NODE, two);
        tell(&there, &rules, true, &here);
        assert!(other(1).is_ok() && [2, 3, 4].into_iter().all(|account| other(account).is_err()));
        drop(seats);
        // Without a rule nothing is told, nor kept to be.
        assert_eq!(there.tell(&SessionRules::default(), true), None);
        let _seat = sit(&there, 7).unwrap();
        assert!(there.0.lock().unwrap().changed.is_none());
        // What grew too much to be told as changes is told whole.
        tell(&there, &rules, false, &here);
        let many = (0..=REMEMBERED as i64).map(|one| Sitting::OfAccount(AccountId(one), DeviceId([1; 16])));
        many.for_each(|one| there.0.lock().unwrap().note(one));
        assert!(there.tell(&rules, false).unwrap().whole);
    }
}
