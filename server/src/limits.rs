//! Who has done how much of what lately: token buckets by address, by account and by kind, and places for sessions; and what waits.
//!
//! Invariants: its memory is bounded, whoever knocks; signing an enrolled device in costs no token, so nobody can lock
//! somebody else's devices out; an answer says how long to wait. It must not know what the limits are: those are handed in,
//! and may change any time.

mod account;
mod bucket;
mod sessions;
mod sharing;
mod waiting;

pub(crate) use account::Account;
pub(crate) use sessions::{Heard, Seat, Sessions, Sitting, Told};
pub(crate) use sharing::{Place, Taken};
pub(crate) use waiting::Waiting;

use crate::{
    rules::{Limits, Rate},
    sealing::DataKey,
    store::AccountId,
};
use account::Accounts;
use bucket::{Bucket, Table};
use sharing::Ledger;
use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};
use waxwing_protocol::{ErrorCode, Refusal, Username};

/// Where a connection comes from, as it counts: one IPv4 address, or an IPv6 network of 64 bits, which one person has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    network: [u8; 16],
    is_loopback: bool,
}

impl Origin {
    /// The network alone.
    pub(crate) fn network(self) -> [u8; 16] {
        self.network
    }

    /// Of the network alone.
    pub(crate) fn of_network(network: [u8; 16]) -> Self {
        let address = Ipv6Addr::from(network).to_canonical();
        // What is kept of ::1 is its network.
        Self { network, is_loopback: address.is_loopback() || address.is_unspecified() }
    }
}

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let network = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => (u128::from(address) >> 64 << 64).to_be_bytes(),
        };
        Self { network, is_loopback: address.is_loopback() }
    }
}

/// See the module.
pub(crate) struct Limiter {
    since: Instant,
    sign_ups: Table,
    failures: Table,
    account_failures: Table,
    probes: Table,
    tunnels: Table,
    pairs: Table,
    codes: Table,
    accounts: Accounts,
    ledger: Arc<Ledger>,
    pub(crate) sessions: Arc<Sessions>,
    /// What waits to be fetched.
    pub(crate) waiting: Waiting,
}

/// A login that is being tried. It counts as failed unless it is [forgiven](Self::forgive).
#[must_use]
pub(crate) struct Attempt<'a> {
    taken: Vec<(&'a Table, Key, Rate)>,
}

/// A key of a [`Table`].
type Key = [u32; 2];

impl Attempt<'_> {
    /// It did not fail, or not by the applicant's fault.
    pub(crate) fn forgive(self) {
        self.taken.into_iter().for_each(|(table, key, rate)| table.give_back(key, rate));
    }
}

fn over(wait: Duration) -> Refusal {
    let milliseconds = u32::try_from(wait.as_millis().saturating_add(1)).unwrap_or(u32::MAX);
    Refusal::retry_after(ErrorCode::RateLimited, milliseconds)
}

impl Limiter {
    /// Counts nothing yet. All servers with this data key have the same buckets.
    pub(crate) fn new(data_key: &DataKey) -> Self {
        let secret = data_key.sub_key(b"waxwing limits v1", &[]);
        let secret = secret.first_chunk().copied().unwrap_or_default();
        let ledger = Arc::<Ledger>::default();
        let table = |number| Table::new(number, secret, &ledger);
        Self {
            since: Instant::now(),
            sign_ups: table(0),
            failures: table(1),
            account_failures: table(2),
            probes: table(3),
            tunnels: table(4),
            pairs: table(5),
            codes: table(6),
            accounts: Accounts::new(&ledger),
            waiting: Waiting::new(&ledger),
            ledger,
            sessions: Arc::default(),
        }
    }

    /// Begins to count anew: what was counted by other limits means nothing.
    pub(crate) fn forget(&self) {
        let tables = [
            &self.sign_ups,
            &self.failures,
            &self.account_failures,
            &self.probes,
            &self.tunnels,
            &self.pairs,
            &self.codes,
        ];
        for table in tables {
            table.forget();
        }
        self.accounts.forget();
    }

    /// Nanoseconds of this limiter's own time.
    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn by_origin(&self, table: &Table, rate: Option<Rate>, limits: &Limits, from: Origin) -> Result<(), Refusal> {
        match rate.filter(|_| limits.loopback || !from.is_loopback) {
            Some(rate) => table.take(table.key(&from), rate, self.now()).map_err(over),
            None => Ok(()),
        }
    }

    /// A sign-up is tried.
    pub(crate) fn sign_up(&self, limits: &Limits, from: Origin) -> Result<(), Refusal> {
        self.by_origin(&self.sign_ups, limits.sign_ups, limits, from)
    }

    /// Something is asked that needs no account.
    pub(crate) fn probe(&self, limits: &Limits, from: Origin) -> Result<(), Refusal> {
        self.by_origin(&self.probes, limits.probes, limits, from)
    }

    /// A WebSocket is opened without a ticket.
    pub(crate) fn tunnel(&self, limits: &Limits, from: Origin) -> Result<(), Refusal> {
        self.by_origin(&self.tunnels, limits.tunnels, limits, from)
    }

    /// A login begins. `guessable` names the account where what proves it could be guessed; whether there is such an account
    /// makes no difference.
    pub(crate) fn login(
        &self,
        limits: &Limits,
        from: Origin,
        guessable: Option<&Username>,
    ) -> Result<Attempt<'_>, Refusal> {
        let mut attempt = Attempt { taken: Vec::with_capacity(2) };
        let by_origin = limits.login_failures.filter(|_| limits.loopback || !from.is_loopback);
        let keys = [
            by_origin.map(|rate| (&self.failures, self.failures.key(&from), rate)),
            limits
                .account_login_failures
                .zip(guessable)
                .map(|(rate, name)| (&self.account_failures, self.account_failures.key(name.as_str()), rate)),
        ];
        for (table, key, rate) in keys.into_iter().flatten() {
            if let Err(wait) = table.take(key, rate, self.now()) {
                attempt.forgive();
                return Err(over(wait));
            }
            attempt.taken.push((table, key, rate));
        }
        Ok(attempt)
    }

    /// An account asks for the key packages of another one.
    pub(crate) fn pair(&self, limits: &Limits, asking: AccountId, asked: &Username) -> Result<(), Refusal> {
        match limits.key_packages_of_one {
            Some(rate) => self.pairs.take(self.pairs.key(&(asking.0, asked.as_str())), rate, self.now()).map_err(over),
            None => Ok(()),
        }
    }

    /// A code is to be sent to this e-mail address, by its keyed hash.
    pub(crate) fn code(&self, limits: &Limits, from: Origin, email: &[u8; 32]) -> Result<(), Refusal> {
        self.by_origin(&self.codes, limits.codes, limits, from)?;
        match limits.codes {
            Some(rate) => self.codes.take(self.codes.key(email), rate, self.now()).map_err(over),
            None => Ok(()),
        }
    }

    /// What an account has done lately, for as long as one of its devices is connected.
    pub(crate) fn account(&self, account: AccountId) -> Arc<Account> {
        self.accounts.of(account, self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(address: &str) -> Origin {
        address.parse::<IpAddr>().unwrap().into()
    }

    fn three() -> Limits {
        let rate = Some(Rate::per_hour(3, 1));
        Limits {
            login_failures: Some(Rate::per_hour(100, 1)),
            account_login_failures: rate,
            sign_ups: rate,
            ..Limits::default()
        }
    }

    #[test]
    fn addresses_of_one_person_count_together() {
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff:1"));
        assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
        assert_eq!(origin("::ffff:192.0.2.1"), origin("192.0.2.1"));
        assert_ne!(origin("192.0.2.1"), origin("192.0.2.2"));
        assert!(origin("::ffff:127.0.0.1").is_loopback && origin("::1").is_loopback);
        for address in ["127.0.0.1", "::1", "192.0.2.1", "2001:db8::1"].map(origin) {
            assert_eq!(Origin::of_network(address.network()), address);
        }
    }

    #[test]
    fn each_address_has_its_own_bucket_and_this_machine_none() {
        let limiter = Limiter::new(&DataKey::from_bytes([1; 32]));
        for _ in 0..3 {
            limiter.sign_up(&three(), origin("192.0.2.1")).unwrap();
        }
        let refused = limiter.sign_up(&three(), origin("192.0.2.1")).unwrap_err();
        assert_eq!(refused.code, ErrorCode::RateLimited);
        assert!(refused.retry_after_ms.is_some_and(|wait| (3_500_000..=3_600_001).contains(&wait)), "{refused:?}");
        limiter.sign_up(&three(), origin("192.0.2.2")).unwrap();
        for _ in 0..10 {
            limiter.sign_up(&three(), origin("127.0.0.1")).unwrap();
        }
        let strict = Limits { loopback: true, ..three() };
        assert!((0..4).any(|_| limiter.sign_up(&strict, origin("127.0.0.1")).is_err()));
    }

    #[test]
    fn failures_for_a_name_count_wherever_they_come_from_and_successes_do_not() {
        let (limiter, limits) = (Limiter::new(&DataKey::from_bytes([1; 32])), three());
        let name: Username = "alice".parse().unwrap();
        for _ in 0..10 {
            limiter.login(&limits, origin("192.0.2.1"), Some(&name)).unwrap().forgive();
        }
        for last in 1..=3 {
            drop(limiter.login(&limits, origin(&format!("192.0.2.{last}")), Some(&name)).unwrap());
        }
        assert!(limiter.login(&limits, origin("192.0.2.9"), Some(&name)).is_err());
        // What nobody can guess is not held up, nor is anybody else.
        drop(limiter.login(&limits, origin("192.0.2.9"), None).unwrap());
        drop(limiter.login(&limits, origin("192.0.2.9"), Some(&"bob".parse().unwrap())).unwrap());
    }
}
