//! One-time codes that are sent by e-mail.
//!
//! Invariants: a code is good for one request, once, for a while, and for few tries, which are counted exactly however many
//! come at once; it is kept as a keyed hash, in memory alone unless other servers are to find it; what waits is bounded. It
//! must not know e-mail or accounts.

use crate::{
    sealing::DataKey,
    store::{ClusterStore, CodeIssued, CodeTaken, NewCode, StoreError},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// The most codes that wait to be used.
const WAITING: u32 = 10_000;

/// What a code is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CodeRequest([u8; 32]);

/// Which kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CodePurpose {
    SignUp = 1,
    LogIn = 2,
}

impl CodeRequest {
    /// `email` is the address as it is looked up.
    pub(crate) fn new(purpose: CodePurpose, username: &str, email: &[u8; 32]) -> Self {
        let username = Sha256::digest(username);
        let hash = Sha256::new().chain_update(b"waxwing code request v1").chain_update([purpose as u8]);
        Self(hash.chain_update(username).chain_update(email).finalize().into())
    }
}

/// How codes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeRules {
    /// For what they are needed.
    pub policy: CodePolicy,
    /// 6 to 8.
    pub digits: u8,
    /// How long one is good for.
    pub minutes: u32,
    /// How often one may be tried.
    pub tries: u32,
    /// How long nobody can ask for another one.
    pub resend_seconds: u32,
}

/// For what a code is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CodePolicy {
    /// Nothing.
    Off,
    /// A new account.
    SignUp,
    /// Also a new device.
    NewDevice,
}

impl Default for CodeRules {
    fn default() -> Self {
        Self { policy: CodePolicy::Off, digits: 6, minutes: 5, tries: 3, resend_seconds: 60 }
    }
}

/// What came of asking for a code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Issued {
    /// It is to be sent. Another one can be asked for after this time.
    New(Zeroizing<String>, Duration),
    /// One was sent a moment ago: so long to wait for another one.
    Sent(Duration),
    /// Too many wait already.
    Full,
}

struct Waiting {
    hash: [u8; 32],
    until: Instant,
    again: Instant,
    tries: u32,
}

/// The codes that wait to be used.
pub(crate) struct Codes {
    key: Zeroizing<[u8; 32]>,
    waiting: Mutex<HashMap<CodeRequest, Waiting>>,
    /// Where they are instead, if a client may be answered at another server.
    shared: OnceLock<Arc<dyn ClusterStore>>,
}

impl Codes {
    /// None yet.
    pub(crate) fn new(data_key: &DataKey) -> Self {
        let key = data_key.sub_key(b"waxwing codes v1", &[]);
        Self { key, waiting: Mutex::default(), shared: OnceLock::new() }
    }

    /// From now on they are where all servers of this data key find them. Once, before the first is issued.
    pub(crate) fn share(&self, store: Arc<dyn ClusterStore>) {
        // A second one would be a mistake of the program's, and changes nothing.
        let _ = self.shared.set(store);
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<CodeRequest, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn hash(&self, request: CodeRequest, code: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.as_slice()).expect("any length");
        mac.update(&request.0);
        mac.update(code.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// A code for a request; the one before is worth nothing from then on.
    pub(crate) async fn issue(
        &self,
        request: CodeRequest,
        rules: &CodeRules,
        now: Instant,
    ) -> Result<Issued, StoreError> {
        let Some(store) = self.shared.get() else { return Ok(self.issue_here(request, rules, now)) };
        let Some(code) = random_digits(rules.digits) else { return Ok(Issued::Full) };
        let new = NewCode {
            request: request.0,
            hash: self.hash(request, &code),
            good_for: minutes(rules),
            again_after: resend(rules),
            tries: rules.tries,
        };
        Ok(match store.issue_code(new, WAITING).await? {
            CodeIssued::New => Issued::New(code, resend(rules)),
            CodeIssued::Sent(again) => Issued::Sent(again),
            CodeIssued::Full => Issued::Full,
        })
    }

    fn issue_here(&self, request: CodeRequest, rules: &CodeRules, now: Instant) -> Issued {
        let mut waiting = self.waiting();
        if let Some(one) = waiting.get(&request).filter(|one| one.again > now) {
            return Issued::Sent(one.again - now);
        }
        if waiting.len() >= WAITING as usize {
            waiting.retain(|_, one| one.until > now);
            if waiting.len() >= WAITING as usize {
                return Issued::Full;
            }
        }
        let Some(code) = random_digits(rules.digits) else { return Issued::Full };
        let one = Waiting {
            hash: self.hash(request, &code),
            until: now + minutes(rules),
            again: now + resend(rules),
            tries: rules.tries,
        };
        waiting.insert(request, one);
        Issued::New(code, resend(rules))
    }

    /// The code could not be sent: another one may be asked for at once.
    pub(crate) async fn forget(&self, request: CodeRequest) -> Result<(), StoreError> {
        match self.shared.get() {
            Some(store) => store.forget_code(request.0).await?,
            None => drop(self.waiting().remove(&request)),
        }
        Ok(())
    }

    /// Uses a code up; if it is wrong, tells how many tries are left.
    pub(crate) async fn take(
        &self,
        request: CodeRequest,
        code: &str,
        now: Instant,
    ) -> Result<Result<(), u32>, StoreError> {
        let code: Zeroizing<String> = Zeroizing::new(code.chars().filter(char::is_ascii_digit).collect());
        let hash = self.hash(request, &code);
        let Some(store) = self.shared.get() else { return Ok(self.take_here(request, hash, now)) };
        Ok(match store.take_code(request.0, hash).await? {
            CodeTaken::Right => Ok(()),
            CodeTaken::Wrong { left } => Err(left),
        })
    }

    fn take_here(&self, request: CodeRequest, hash: [u8; 32], now: Instant) -> Result<(), u32> {
        let mut waiting = self.waiting();
        let Some(one) = waiting.get_mut(&request).filter(|one| one.until > now && one.tries > 0) else { return Err(0) };
        one.tries -= 1;
        if bool::from(one.hash.ct_eq(&hash)) {
            waiting.remove(&request);
            return Ok(());
        }
        Err(one.tries)
    }
}

fn minutes(rules: &CodeRules) -> Duration {
    Duration::from_secs(60 * u64::from(rules.minutes))
}

fn resend(rules: &CodeRules) -> Duration {
    Duration::from_secs(rules.resend_seconds.into())
}

fn random_digits(digits: u8) -> Option<Zeroizing<String>> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).ok()?;
    let width = usize::from(digits.clamp(1, 8));
    // Of 2^64 numbers, what does not divide evenly among 10^8 codes is not worth rejecting.
    let number = u64::from_be_bytes(bytes) % 10_u64.pow(u32::from(digits.clamp(1, 8)));
    Some(Zeroizing::new(format!("{number:0width$}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: CodeRequest = CodeRequest([1; 32]);
    const OTHER: CodeRequest = CodeRequest([2; 32]);

    fn codes() -> Codes {
        Codes::new(&DataKey::from_bytes([1; 32]))
    }

    fn take(codes: &Codes, request: CodeRequest, code: &str, now: Instant) -> Result<(), u32> {
        codes.take_here(request, codes.hash(request, code), now)
    }

    fn issued(codes: &Codes, request: CodeRequest, now: Instant) -> String {
        match codes.issue_here(request, &CodeRules::default(), now) {
            Issued::New(code, _) => code.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// Another code than this one.
    fn wrong(code: &str) -> String {
        let first = if code.starts_with('0') { '1' } else { '0' };
        format!("{first}{}", &code[1..])
    }

    #[tokio::test]
    async fn a_code_is_good_once_and_for_its_own_request() {
        let (codes, now) = (codes(), Instant::now());
        let code = issued(&codes, ONE, now);
        assert!(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
        issued(&codes, OTHER, now);
        assert!(take(&codes, OTHER, &code, now).is_err());
        let spaced = format!(" {}-{} ", &code[..3], &code[3..]);
        assert_eq!(codes.take(ONE, &spaced, now).await.unwrap(), Ok(()));
        assert_eq!(take(&codes, ONE, &code, now), Err(0));
    }

    #[test]
    fn a_code_expires_and_another_one_replaces_it_after_a_while() {
        let (codes, now) = (codes(), Instant::now());
        let first = issued(&codes, ONE, now);
        let later = |seconds| now + Duration::from_secs(seconds);
        let again = codes.issue_here(ONE, &CodeRules::default(), later(59));
        assert_eq!(again, Issued::Sent(Duration::from_secs(1)));
        let second = issued(&codes, ONE, later(60));
        if first != second {
            assert_eq!(take(&codes, ONE, &first, later(61)), Err(2));
        }
        assert_eq!(take(&codes, ONE, &second, later(60 + 5 * 60)), Err(0));
    }

    #[test]
    fn of_a_hundred_tries_at_once_exactly_three_count() {
        let (codes, now) = (codes(), Instant::now());
        let code = issued(&codes, ONE, now);
        let guess = wrong(&code);
        let counted: Vec<u32> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..100).map(|_| scope.spawn(|| take(&codes, ONE, &guess, now).unwrap_err())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!((counted.iter().max(), counted.iter().sum::<u32>()), (Some(&2), 3));
        // Even the right one comes too late.
        assert_eq!(take(&codes, ONE, &code, now), Err(0));
        let code = issued(&codes, OTHER, now);
        let used: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..100).map(|_| scope.spawn(|| take(&codes, OTHER, &code, now).is_ok())).collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
        });
        assert_eq!(used, 1);
    }

    #[test]
    fn what_waits_is_bounded() {
        let (codes, now) = (codes(), Instant::now());
        let request = |number: u32| CodeRequest::new(CodePurpose::SignUp, &number.to_string(), &[0; 32]);
        for number in 0..WAITING {
            issued(&codes, request(number), now);
        }
        assert_eq!(codes.issue_here(ONE, &CodeRules::default(), now), Issued::Full);
        issued(&codes, ONE, now + Duration::from_secs(301));
        assert_eq!(codes.waiting().len(), 1);
    }

    #[test]
    fn requests_of_other_kinds_names_and_addresses_are_others() {
        let request = |purpose, name, byte| CodeRequest::new(purpose, name, &[byte; 32]);
        let one = request(CodePurpose::SignUp, "alice", 1);
        assert_eq!(one, request(CodePurpose::SignUp, "alice", 1));
        assert_ne!(one, request(CodePurpose::LogIn, "alice", 1));
        assert_ne!(one, request(CodePurpose::SignUp, "alic", 1));
        assert_ne!(one, request(CodePurpose::SignUp, "alice", 2));
    }
}
