//! What each account has done lately.
//!
//! Invariant: a request costs its account a few atomic operations and no lock. It must not know connections.

use super::{
    Bucket, Limiter, over,
    sharing::{Ledger, Place},
};
use crate::{
    rules::{Limits, Rate},
    store::AccountId,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use waxwing_protocol::{Refusal, Request};

/// An account's buckets.
#[derive(Debug)]
pub(crate) struct Account {
    account: AccountId,
    /// By [`Kind`].
    buckets: [Bucket; 4],
    ledger: Arc<Ledger>,
}

/// What is counted.
#[derive(Clone, Copy)]
enum Kind {
    Messages,
    Upload,
    LookUps,
    KeyPackages,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Messages, Self::Upload, Self::LookUps, Self::KeyPackages];

    fn rate(self, limits: &Limits) -> Option<Rate> {
        match self {
            Self::Messages => limits.messages,
            Self::Upload => limits.upload_kib,
            Self::LookUps => limits.look_ups,
            Self::KeyPackages => limits.key_packages,
        }
    }
}

impl Account {
    /// Whether a request of `length` bytes may be handled now.
    pub(crate) fn admit(
        &self,
        limiter: &Limiter,
        limits: &Limits,
        request: &Request,
        length: usize,
    ) -> Result<(), Refusal> {
        let now = limiter.now();
        match request {
            Request::Send { .. }
            | Request::Signal { .. }
            | Request::Commit { .. }
            | Request::Join { .. }
            | Request::CreateConversation(_) => {
                self.take(Kind::Messages, limits, 1, now)?;
            }
            Request::Account(_) => self.take(Kind::LookUps, limits, 1, now)?,
            Request::ClaimKeyPackages(asked) => {
                self.take(Kind::KeyPackages, limits, 1, now)?;
                limiter.pair(limits, self.account, asked)?;
            }
            _ => {}
        }
        let kib = u32::try_from(length / 1024).unwrap_or(u32::MAX);
        if kib == 0 { Ok(()) } else { self.take(Kind::Upload, limits, kib, now) }
    }

    fn take(&self, kind: Kind, limits: &Limits, count: u32, now: u64) -> Result<(), Refusal> {
        let (Some(bucket), Some(rate)) = (self.buckets.get(kind as usize), kind.rate(limits)) else { return Ok(()) };
        bucket.take(rate, count, now).map_err(over)?;
        let tokens = i32::try_from(count).unwrap_or(i32::MAX);
        self.ledger.note(Place::Account(self.account, kind as u8), tokens);
        Ok(())
    }

    fn is_idle(&self, now: u64) -> bool {
        self.buckets.iter().all(|bucket| bucket.is_full(now))
    }
}

/// The accounts that are connected, and those that were busy lately.
#[derive(Debug)]
pub(super) struct Accounts(Mutex<Known>, Arc<Ledger>);

#[derive(Debug, Default)]
struct Known {
    all: HashMap<AccountId, Arc<Account>>,
    /// How many there were when it was last tidied.
    tidied: usize,
}

impl Accounts {
    pub(super) fn new(ledger: &Arc<Ledger>) -> Self {
        Self(Mutex::default(), Arc::clone(ledger))
    }

    /// What an account did at another server counts here if it does something here as well.
    pub(super) fn take_too(&self, account: AccountId, kind: u8, limits: &Limits, tokens: i32, now: u64) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = Kind::ALL.into_iter().find(|one| *one as u8 == kind);
        if let (Some(account), Some(kind)) = (known.all.get(&account), kind)
            && let (Some(bucket), Some(rate)) = (account.buckets.get(kind as usize), kind.rate(limits))
        {
            bucket.take_too(rate, tokens, now);
        }
    }

    pub(super) fn forget(&self) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.all.values().flat_map(|one| &one.buckets).for_each(Bucket::fill);
    }

    pub(super) fn of(&self, account: AccountId, now: u64) -> Arc<Account> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.all.len() > 2 * known.tidied.max(512) {
            known.all.retain(|_, one| Arc::strong_count(one) > 1 || !one.is_idle(now));
            known.tidied = known.all.len();
        }
        let fresh = || Arc::new(Account { account, buckets: Default::default(), ledger: Arc::clone(&self.1) });
        Arc::clone(known.all.entry(account).or_insert_with(fresh))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_protocol::ConversationId;

    #[test]
    fn a_new_connection_finds_the_accounts_old_bucket() {
        let limiter = Limiter::new(&crate::sealing::DataKey::from_bytes([1; 32]));
        let limits = Limits { messages: Some(Rate::per_hour(2, 1)), ..Limits::default() };
        let send =
            || Request::Send { conversation: ConversationId([1; 16]), number: 1, commits: 1, payload: vec![1].into() };
        let try_send = |account| limiter.account(AccountId(account)).admit(&limiter, &limits, &send(), 100).is_ok();
        assert_eq!([1, 1, 1, 2].map(try_send), [true, true, false, true]);
    }

    #[test]
    fn who_is_gone_and_idle_is_forgotten() {
        let accounts = Accounts::new(&Arc::default());
        let kept = accounts.of(AccountId(0), 0);
        let busy = accounts.of(AccountId(1), 0);
        busy.buckets[Kind::Messages as usize].take(Rate::per_hour(1, 1), 1, 0).unwrap();
        drop(busy);
        for account in 2..5000 {
            accounts.of(AccountId(account), 0);
        }
        let known = accounts.0.lock().unwrap();
        assert!(known.all.len() < 2000 && known.all.contains_key(&AccountId(1)));
        assert!(Arc::ptr_eq(&kept, &known.all[&AccountId(0)]));
    }
}
