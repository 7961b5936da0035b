//! What was taken here lately, for other servers on the same database, and what they took: so that a limit is one limit
//! however many servers there are.
//!
//! Invariants: what is kept to be told is bounded; nothing is kept unless somebody asks for it; what others took is taken here
//! too, even from an empty bucket. It must not know how it is told. Until it is told, for about a second, each server allows what the
//! others do not know of.

use super::{Limiter, bucket::Table};
use crate::{
    rules::{Limits, Rate},
    store::AccountId,
};
use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// The most buckets between two tellings. Beyond them each server counts by itself.
const REMEMBERED: usize = 65_536;

/// Something that all servers count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// Two buckets of one of the tables.
    Table(u8, [u32; 2]),
    /// One of an account's.
    Account(AccountId, u8),
    /// What an account leaves to be fetched, in bytes.
    Waiting(AccountId),
}

/// What was taken; below 0: put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) place: Place,
    pub(crate) tokens: i32,
}

/// What is to be told.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    wanted: AtomicBool,
    taken: Mutex<HashMap<Place, i32>>,
}

impl Ledger {
    pub(super) fn note(&self, place: Place, tokens: i32) {
        if !self.wanted.load(Relaxed) {
            return;
        }
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() < REMEMBERED || taken.contains_key(&place) {
            let sum = taken.entry(place).or_default();
            *sum = sum.saturating_add(tokens);
        }
    }
}

impl Limiter {
    /// What was taken since the last time. From the first time on it is kept for this.
    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.ledger.wanted.store(true, Relaxed);
        let taken = std::mem::take(&mut *self.ledger.taken.lock().unwrap_or_else(PoisonError::into_inner));
        taken.into_iter().filter(|(_, tokens)| *tokens != 0).map(|(place, tokens)| Taken { place, tokens }).collect()
    }

    /// Takes what was taken elsewhere.
    pub(crate) fn take_too(&self, limits: &Limits, taken: &[Taken]) {
        let now = self.now();
        for Taken { place, tokens } in taken {
            match *place {
                Place::Table(number, key) => {
                    if let Some((table, Some(rate))) = self.shared(limits, number) {
                        table.take_too(key, rate, *tokens, now);
                    }
                }
                Place::Account(account, kind) => self.accounts.take_too(account, kind, limits, *tokens, now),
                Place::Waiting(account) => self.waiting.take_too(account, u64::try_from(*tokens).unwrap_or_default()),
            }
        }
    }

    /// A table by its number, and how much may be taken from it.
    fn shared(&self, limits: &Limits, number: u8) -> Option<(&Table, Option<Rate>)> {
        let all = [
            (&self.sign_ups, limits.sign_ups),
            (&self.failures, limits.login_failures),
            (&self.account_failures, limits.account_login_failures),
            (&self.probes, limits.probes),
            (&self.tunnels, limits.tunnels),
            (&self.pairs, limits.key_packages_of_one),
            (&self.codes, limits.codes),
        ];
        all.into_iter().find(|(table, _)| table.number == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealing::DataKey;

    #[test]
    fn what_is_used_up_at_one_server_is_used_up_at_the_other() {
        let data_key = DataKey::from_bytes([1; 32]);
        let (one, other) = (Limiter::new(&data_key), Limiter::new(&data_key));
        let rate = Some(Rate::per_hour(3, 1));
        let limits = Limits { loopback: true, account_login_failures: rate, sign_ups: rate, ..Limits::default() };
        let here = "192.0.2.1".parse::<std::net::IpAddr>().unwrap().into();
        let name = "alice".parse().unwrap();
        assert_eq!((one.taken(), other.taken()), (vec![], vec![]));
        for _ in 0..3 {
            one.sign_up(&limits, here).unwrap();
            drop(one.login(&limits, here, Some(&name)).unwrap());
        }
        one.login(&limits, here, Some(&"bob".parse().unwrap())).unwrap().forgive();
        let taken = one.taken();
        assert_eq!(taken.len(), 3, "by address twice, by account once, and nothing for what was forgiven: {taken:?}");
        other.take_too(&limits, &taken);
        assert!(other.sign_up(&limits, here).is_err());
        assert!(other.login(&limits, here, Some(&name)).is_err());
        other.login(&limits, here, Some(&"carol".parse().unwrap())).unwrap().forgive();
        assert!(other.taken().is_empty(), "what others told is not told again");
        assert!(one.taken().is_empty());
    }
}
