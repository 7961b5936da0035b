//! Token buckets, by the generic cell rate algorithm: a bucket is one number, the moment at which it will be full again.
//!
//! Invariants: taking is one atomic exchange and takes no lock; a table never grows. It must not know what is counted.

use super::sharing::{Ledger, Place};
use crate::rules::Rate;
use siphasher::sip::SipHasher13;
use std::{
    hash::{Hash, Hasher as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// See the module. Times are nanoseconds of the limiter's own clock.
#[derive(Debug, Default)]
pub(super) struct Bucket(AtomicU64);

impl Bucket {
    /// Takes so many tokens, or says how long it takes until there are so many. More than fit are there when it is full.
    pub(super) fn take(&self, rate: Rate, count: u32, now: u64) -> Result<(), Duration> {
        let cost = rate.nanoseconds(count);
        let latest = now.saturating_add(rate.depth().max(cost));
        let mut full_at = self.0.load(Relaxed);
        loop {
            let next = full_at.max(now).saturating_add(cost);
            if next > latest {
                return Err(Duration::from_nanos(next - latest));
            }
            match self.0.compare_exchange_weak(full_at, next, Relaxed, Relaxed) {
                Ok(_) => return Ok(()),
                Err(changed) => full_at = changed,
            }
        }
    }

    /// Puts one token back.
    fn give_back(&self, rate: Rate) {
        let cost = rate.nanoseconds(1);
        // It always succeeds: there is always a next value.
        let _ = self.0.fetch_update(Relaxed, Relaxed, |full_at| Some(full_at.saturating_sub(cost)));
    }

    /// Takes so many tokens, whether they are there or not; below 0 puts them back. No bucket is ever emptier than empty.
    pub(super) fn take_too(&self, rate: Rate, tokens: i32, now: u64) {
        let cost = rate.nanoseconds(tokens.unsigned_abs());
        let latest = now.saturating_add(rate.depth());
        let changed = |full_at: u64| match tokens {
            1.. => full_at.max(now).saturating_add(cost).min(latest.max(full_at)),
            _ => full_at.saturating_sub(cost),
        };
        let _ = self.0.fetch_update(Relaxed, Relaxed, |full_at| Some(changed(full_at)));
    }

    pub(super) fn fill(&self) {
        self.0.store(0, Relaxed);
    }

    pub(super) fn is_full(&self, now: u64) -> bool {
        self.0.load(Relaxed) <= now
    }
}

/// How many buckets a table has: 256 KiB.
const SIZE: usize = 1 << 15;

/// Buckets for keys of which there may be any number. Each key has two, chosen by a secret hash, and is refused only if both
/// are empty: so strangers that share one do not disturb each other.
pub(super) struct Table {
    /// Its name among servers that share their limits.
    pub(super) number: u8,
    buckets: Box<[Bucket]>,
    secret: [u8; 16],
    ledger: Arc<Ledger>,
}

impl Table {
    pub(super) fn new(number: u8, secret: [u8; 16], ledger: &Arc<Ledger>) -> Self {
        let buckets = (0..SIZE).map(|_| Bucket::default()).collect();
        Self { number, buckets, secret, ledger: Arc::clone(ledger) }
    }

    pub(super) fn forget(&self) {
        self.buckets.iter().for_each(Bucket::fill);
    }

    /// A key's buckets: the same ones at all servers that share the secret.
    pub(super) fn key(&self, key: &(impl Hash + ?Sized)) -> [u32; 2] {
        [0_u8, 1].map(|which| {
            let mut hasher = SipHasher13::new_with_key(&self.secret);
            (self.number, which).hash(&mut hasher);
            key.hash(&mut hasher);
            u32::try_from(hasher.finish() % SIZE as u64).unwrap_or_default()
        })
    }

    fn pair(&self, key: [u32; 2]) -> impl Iterator<Item = &Bucket> {
        key.into_iter().filter_map(|index| self.buckets.get(usize::try_from(index).ok()?))
    }

    /// Takes one token of this key.
    pub(super) fn take(&self, key: [u32; 2], rate: Rate, now: u64) -> Result<(), Duration> {
        // From both, so that each remembers.
        let taken = self.pair(key).map(|bucket| bucket.take(rate, 1, now));
        let taken = taken.reduce(|one, other| match (one, other) {
            (Err(one), Err(other)) => Err(one.min(other)),
            _ => Ok(()),
        });
        if let None | Some(Ok(())) = taken {
            self.ledger.note(Place::Table(self.number, key), 1);
        }
        taken.unwrap_or(Ok(()))
    }

    /// Puts one token of this key back.
    pub(super) fn give_back(&self, key: [u32; 2], rate: Rate) {
        self.pair(key).for_each(|bucket| bucket.give_back(rate));
        self.ledger.note(Place::Table(self.number, key), -1);
    }

    /// What another server did.
    pub(super) fn take_too(&self, key: [u32; 2], rate: Rate, tokens: i32, now: u64) {
        self.pair(key).for_each(|bucket| bucket.take_too(rate, tokens, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_passes_and_then_the_steady_rate() {
        let (bucket, rate) = (Bucket::default(), Rate::per_second(3, 2));
        let taken = |now| bucket.take(rate, 1, now).is_ok();
        assert_eq!([0, 0, 0, 0].map(taken), [true, true, true, false]);
        assert_eq!(bucket.take(rate, 1, 0), Err(Duration::from_millis(500)));
        assert_eq!([SECOND / 2, SECOND / 2].map(taken), [true, false]);
        assert!(!bucket.is_full(SECOND));
        assert!(bucket.is_full(10 * SECOND));
        assert_eq!([10 * SECOND; 4].map(taken), [true, true, true, false]);
        // More than fit at once pass when it is full, and are paid for afterwards.
        assert_eq!([60 * SECOND, 60 * SECOND].map(|now| bucket.take(rate, 10, now).is_ok()), [true, false]);
        assert_eq!([64 * SECOND, 66 * SECOND].map(taken), [true, true]);
    }

    #[test]
    fn a_hundred_at_once_get_exactly_what_there_is() {
        let (bucket, rate) = (Bucket::default(), Rate::per_hour(30, 1));
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..25).filter(|_| bucket.take(rate, 1, 7).is_ok()).count())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 30);
        bucket.give_back(rate);
        assert_eq!([7, 7].map(|now| bucket.take(rate, 1, now).is_ok()), [true, false]);
    }

    #[test]
    fn many_strangers_do_not_use_up_somebodys_tokens() {
        let (table, rate) = (Table::new(0, [7; 16], &Arc::default()), Rate::per_hour(1, 1));
        for stranger in 0..1000 {
            let _ = table.take(table.key(&stranger), rate, 0);
        }
        let refused = (1000..2000).filter(|key| table.take(table.key(key), rate, 0).is_err()).count();
        assert!(refused < 50, "{refused} of 1000");
    }
}
