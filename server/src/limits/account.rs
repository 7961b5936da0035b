//! What each account has done lately.
//!
//! Invariant: a request costs its account a few atomic operations and no lock. It must not know connections.

use super::{Bucket, Limiter, take};
use crate::{rules::Limits, store::AccountId};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use waxwing_protocol::{Refusal, Request};

/// An account's buckets.
#[derive(Debug)]
pub(crate) struct Account {
    account: AccountId,
    messages: Bucket,
    upload: Bucket,
    look_ups: Bucket,
    key_packages: Bucket,
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
                take(&self.messages, limits.messages, 1, now)?;
            }
            Request::Account(_) => take(&self.look_ups, limits.look_ups, 1, now)?,
            Request::ClaimKeyPackages(asked) => {
                take(&self.key_packages, limits.key_packages, 1, now)?;
                limiter.pair(limits, self.account, asked)?;
            }
            _ => {}
        }
        let kib = u32::try_from(length / 1024).unwrap_or(u32::MAX);
        if kib == 0 { Ok(()) } else { take(&self.upload, limits.upload_kib, kib, now) }
    }

    fn buckets(&self) -> [&Bucket; 4] {
        [&self.messages, &self.upload, &self.look_ups, &self.key_packages]
    }

    fn is_idle(&self, now: u64) -> bool {
        self.buckets().iter().all(|bucket| bucket.is_full(now))
    }
}

/// The accounts that are connected, and those that were busy lately.
#[derive(Debug, Default)]
pub(super) struct Accounts(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    all: HashMap<AccountId, Arc<Account>>,
    /// How many there were when it was last tidied.
    tidied: usize,
}

impl Accounts {
    pub(super) fn forget(&self) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.all.values().flat_map(|one| one.buckets()).for_each(Bucket::fill);
    }

    pub(super) fn of(&self, account: AccountId, now: u64) -> Arc<Account> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.all.len() > 2 * known.tidied.max(512) {
            known.all.retain(|_, one| Arc::strong_count(one) > 1 || !one.is_idle(now));
            known.tidied = known.all.len();
        }
        let fresh = || {
            Arc::new(Account {
                account,
                messages: Bucket::default(),
                upload: Bucket::default(),
                look_ups: Bucket::default(),
                key_packages: Bucket::default(),
            })
        };
        Arc::clone(known.all.entry(account).or_insert_with(fresh))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Rate;
    use waxwing_protocol::ConversationId;

    #[test]
    fn a_new_connection_finds_the_accounts_old_bucket() {
        let limiter = Limiter::new();
        let limits = Limits { messages: Some(Rate::per_hour(2, 1)), ..Limits::default() };
        let send =
            || Request::Send { conversation: ConversationId([1; 16]), number: 1, commits: 1, payload: vec![1].into() };
        let try_send = |account| limiter.account(AccountId(account)).admit(&limiter, &limits, &send(), 100).is_ok();
        assert_eq!([1, 1, 1, 2].map(try_send), [true, true, false, true]);
    }

    #[test]
    fn who_is_gone_and_idle_is_forgotten() {
        let accounts = Accounts::default();
        let kept = accounts.of(AccountId(0), 0);
        let busy = accounts.of(AccountId(1), 0);
        busy.messages.take(Rate::per_hour(1, 1), 1, 0).unwrap();
        drop(busy);
        for account in 2..5000 {
            accounts.of(AccountId(account), 0);
        }
        let known = accounts.0.lock().unwrap();
        assert!(known.all.len() < 2000 && known.all.contains_key(&AccountId(1)));
        assert!(Arc::ptr_eq(&kept, &known.all[&AccountId(0)]));
    }
}
