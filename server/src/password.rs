//! Hashing and checking auth secrets with Argon2id, a bounded number at a time.
//!
//! Invariants: at most one hash per core is computed at once and a bounded number waits; the threads that compute yield to those
//! that carry messages. It must not know accounts.

use crate::metrics::METRICS;
use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use std::{
    num::NonZero,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use waxwing_protocol::Secret;

/// How many checks may wait for a core.
const QUEUE: usize = 64;
/// What a stored hash may ask for at most, in KiB.
const MEMORY_CEILING: u32 = 256 * 1024;

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PasswordError {
    /// Too many are waiting already.
    #[error("too many password checks are waiting")]
    Busy,
    /// The stored hash is none that this server writes, there is no memory or there are no random bytes.
    #[error("the password hash could not be computed: {0}")]
    Failed(&'static str),
}

/// By how much the threads that hash are nicer than others: whoever logs in can wait, and a message should not.
const NICE: i32 = 10;

/// The cores' worth of Argon2id, shared by all connections: a thread per core, which work in the order of asking.
#[derive(Debug)]
pub(crate) struct PasswordPool {
    /// Places, waiting or computing.
    places: Arc<Semaphore>,
    jobs: mpsc::Sender<Job>,
}

/// A hash to be computed.
#[derive(Debug)]
struct Job {
    secret: Secret,
    salt: Vec<u8>,
    parameters: Params,
    answer: oneshot::Sender<Result<[u8; 32], PasswordError>>,
    /// Given back when it is computed, even if whoever asked has gone away.
    _place: OwnedSemaphorePermit,
}

impl PasswordPool {
    /// A pool with a thread per core. They end with it.
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let (jobs, waiting) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..cores {
            let waiting = Arc::clone(&waiting);
            let started = thread::Builder::new().name("password".to_owned()).spawn(move || work(&waiting));
            if let Err(error) = started {
                tracing::error!(%error, "a thread for password checks did not start");
            }
        }
        Self { places: Arc::new(Semaphore::new(cores + QUEUE)), jobs }
    }

    /// The PHC string of a secret (Argon2id v1.3, 19 MiB, 2 passes, 1 lane, random salt).
    pub(crate) async fn hash(&self, secret: Secret) -> Result<String, PasswordError> {
        let salt: [u8; 16] = random()?;
        let output = self.compute(secret, salt.to_vec(), parameters()).await?;
        phc(&salt, &output)
    }

    /// Whether the secret is the one of the PHC string.
    pub(crate) async fn verify(&self, secret: Secret, stored: &str) -> Result<bool, PasswordError> {
        let failed = PasswordError::Failed("a stored hash is damaged");
        let hash = PasswordHash::new(stored).map_err(|_| failed)?;
        let parameters = Params::try_from(&hash).map_err(|_| failed)?;
        let ours = hash.algorithm.as_str() == "argon2id" && hash.version == Some(Version::V0x13.into());
        let (Some(salt), Some(expected), true) = (hash.salt, hash.hash, ours) else { return Err(failed) };
        if parameters.m_cost() > MEMORY_CEILING || expected.len() != 32 {
            return Err(failed);
        }
        let output = self.compute(secret, salt.as_ref().to_vec(), parameters).await?;
        Ok(output.ct_eq(expected.as_bytes()).into())
    }

    async fn compute(&self, secret: Secret, salt: Vec<u8>, parameters: Params) -> Result<[u8; 32], PasswordError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        METRICS.passwords.inc();
        let _counted = Counted;
        let stopped = PasswordError::Failed("no thread computes it");
        let (answer, computed) = oneshot::channel();
        let job = Job { secret, salt, parameters, answer, _place: place };
        self.jobs.send(job).map_err(|_| stopped)?;
        computed.await.map_err(|_| stopped)?
    }
}

/// One thread of the pool.
fn work(waiting: &Mutex<mpsc::Receiver<Job>>) {
    // Where that is not allowed, it works as everybody does. Linux counts niceness by thread.
    let _ = rustix::process::nice(NICE);
    let mut memory: Vec<Block> = Vec::new();
    loop {
        let next = {
            let waiting = match waiting.try_lock() {
                Ok(waiting) => waiting,
                Err(_) => {
                    // Another thread waits for work, so there is none.
                    memory = Vec::new();
                    waiting.lock().unwrap_or_else(PoisonError::into_inner)
                }
            };
            match waiting.try_recv() {
                Err(mpsc::TryRecvError::Empty) => {
                    // Kept only while others wait.
                    memory = Vec::new();
                    waiting.recv().ok()
                }
                next => next.ok(),
            }
        };
        let Some(Job { secret, salt, parameters, answer, _place }) = next else { return };
        memory.resize(parameters.block_count(), Block::new());
        let mut output = [0; 32];
        let result = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters).hash_password_into_with_memory(
            &secret.0,
            &salt,
            &mut output,
            memory.as_mut_slice(),
        );
        // Whoever asked may be gone.
        let _ = answer.send(result.map(|()| output).map_err(|_| PasswordError::Failed("Argon2id refused its input")));
    }
}

/// A check that waits or is computed.
struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        METRICS.passwords.dec();
    }
}

/// The PHC string of a secret that nobody knows, with the parameters of the real ones.
pub(crate) fn decoy() -> Result<String, PasswordError> {
    phc(&random()?, &random()?)
}

fn parameters() -> Params {
    // 19 MiB, 2 passes, 1 lane, 32 bytes: stated by the crate as a constant, pinned by a test here.
    Params::DEFAULT
}

fn random<const N: usize>() -> Result<[u8; N], PasswordError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| PasswordError::Failed("no random bytes"))?;
    Ok(bytes)
}

fn phc(salt: &[u8; 16], output: &[u8; 32]) -> Result<String, PasswordError> {
    let failed = PasswordError::Failed("no PHC string");
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&parameters()).map_err(|_| failed)?,
        salt: Some(Salt::new(salt).map_err(|_| failed)?),
        hash: Some(Output::new(output).map_err(|_| failed)?),
    };
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_secret_is_recognised_and_another_is_not() {
        let pool = PasswordPool::new();
        let hash = pool.hash(Secret([1; 32])).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let decoy = decoy().unwrap();
        assert!(decoy.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_eq!(decoy.len(), hash.len());
        assert_ne!(pool.hash(Secret([1; 32])).await.unwrap(), hash);
        assert_eq!(pool.verify(Secret([1; 32]), &hash).await, Ok(true));
        assert_eq!(pool.verify(Secret([2; 32]), &hash).await, Ok(false));
        assert_eq!(pool.verify(Secret([1; 32]), &decoy).await, Ok(false));
        let foreign = hash.replace("argon2id", "argon2d").replace("m=19456", "m=99999999");
        assert!(pool.verify(Secret([1; 32]), &foreign).await.is_err());
    }

    #[tokio::test]
    async fn a_full_queue_says_so_at_once() {
        let pool = PasswordPool::new();
        let free = u32::try_from(pool.places.available_permits()).unwrap();
        let held = pool.places.clone().acquire_many_owned(free).await.unwrap();
        assert_eq!(pool.hash(Secret([1; 32])).await, Err(PasswordError::Busy));
        drop(held);
        assert!(pool.hash(Secret([1; 32])).await.is_ok());
    }
}
