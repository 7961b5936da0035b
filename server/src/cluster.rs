//! Several servers on one database: what one of them commits, the devices at the others hear of.
//!
//! The database alone decides order, epochs and who is signed in. Between the nodes go *hints*, through NATS: sealed, numbered,
//! and good for waking somebody up, nothing more. Invariants: a hint that is lost, late, doubled or forged changes nothing but
//! how soon a device hears; whatever may have been missed is looked up in the database (`watch`); nobody who commits waits
//! for NATS. It must not know what an entry holds, nor who talks to whom: it hands frames to device ids.

#[cfg(feature = "cluster")]
mod bus;
mod hint;
mod peers;
mod seal;
mod watch;

use crate::{
    hub::{Elsewhere, Hub, News},
    metrics::METRICS,
    relay::{Reloader, now_ms},
    sealing::DataKey,
    store::ClusterStore,
};
use hint::Hint;
use peers::Peers;
use seal::Keys;
use std::{
    convert::Infallible,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};
use tokio::sync::{Notify, mpsc};

/// Hints that wait to leave. What finds no room is lost, and the others notice.
const WAITING: usize = 8192;
/// Larger frames are not carried: whoever they are for is told to fetch. NATS takes 1 MiB unless told otherwise.
const CARRIED: usize = 256 * 1024;

/// One life of one server process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub [u8; 16]);

/// How the nodes reach each other.
#[derive(Clone, Debug)]
pub struct ClusterRules {
    /// `nats://HOST:PORT` or `tls://HOST:PORT`, several of one NATS cluster.
    pub nats: Vec<String>,
    /// Holds `USER:PASSWORD` or a token, if NATS wants one.
    pub credentials_file: Option<PathBuf>,
    /// The authority that signed NATS' certificate (PEM), if the system does not know it.
    pub ca_file: Option<PathBuf>,
    /// What the operator calls this node.
    pub name: String,
}

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Randomness,
    /// A file does not serve.
    #[error("cannot read {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// What is configured does not serve.
    #[error("NATS: {0}")]
    Nats(String),
    /// Built without it.
    #[error("this program was built without the feature \"cluster\"")]
    LeftOut,
}

#[cfg(feature = "cluster")]
use bus::connect;

/// Without NATS there is no way to the others.
#[cfg(not(feature = "cluster"))]
async fn connect(
    _: Arc<Cluster>,
    _: mpsc::Receiver<Vec<u8>>,
    _: Arc<AtomicU64>,
) -> Result<std::future::Pending<Infallible>, ClusterError> {
    Err(ClusterError::LeftOut)
}

/// This node among the others.
pub struct Cluster {
    /// This life of this process.
    pub(crate) id: NodeId,
    rules: ClusterRules,
    keys: Keys,
    hub: Arc<Hub>,
    store: Arc<dyn ClusterStore>,
    peers: Mutex<Peers>,
    /// Something may have been missed.
    missed: Notify,
    /// Whether NATS is there.
    connected: AtomicBool,
    /// What it shares limits and codes for.
    relay: OnceLock<Reloader>,
    /// Somebody may not know who sits here: it is told anew with the next beat.
    unknown: AtomicBool,
    /// Why NATS cannot be reached, as far as that is known.
    trouble: Mutex<Option<String>>,
    /// This node ends: it does not say any more that it is there.
    leaving: AtomicBool,
}

/// What leaves this node: the end that the hub holds.
#[derive(Debug)]
struct Outgoing {
    queue: mpsc::Sender<Vec<u8>>,
    /// Hints that found no room. Their numbers are left out, so that the others notice.
    lost: Arc<AtomicU64>,
}

impl Outgoing {
    fn send(&self, hint: &Hint) {
        if self.queue.try_send(hint.encode()).is_err() {
            self.lost.fetch_add(1, Relaxed);
            METRICS.hints_lost.inc();
        }
    }
}

impl Elsewhere for Outgoing {
    fn tell(&self, news: News<'_>) {
        self.send(&match news {
            News::Event { devices, frame } if frame.len() <= CARRIED => {
                Hint::Event { devices: devices.to_vec(), frame: frame.to_vec().into() }
            }
            News::Event { devices, .. } => Hint::Behind(devices.to_vec()),
            News::ForAll { frame } => Hint::ForAll { frame: frame.to_vec().into(), at_ms: now_ms() },
            News::Cut { devices, reason } => Hint::Cut { devices: devices.to_vec(), reason: reason.into() },
        });
    }
}

impl Cluster {
    /// This node. From now on the hub's news are for the others too; they leave while the future is polled.
    ///
    /// # Errors
    /// [`ClusterError`]; that NATS does not answer is none: the node serves, and looks things up meanwhile.
    pub async fn start(
        rules: ClusterRules,
        data_key: &DataKey,
        hub: Arc<Hub>,
        store: Arc<dyn ClusterStore>,
    ) -> Result<(Arc<Self>, impl Future<Output = Infallible> + use<>), ClusterError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|_| ClusterError::Randomness)?;
        let id = NodeId(id);
        let (queue, waiting) = mpsc::channel(WAITING);
        let lost = Arc::<AtomicU64>::default();
        let outgoing = Outgoing { queue, lost: Arc::clone(&lost) };
        let beats = Outgoing { queue: outgoing.queue.clone(), lost: Arc::clone(&lost) };
        let cluster = Arc::new(Self {
            id,
            keys: Keys::new(data_key),
            rules,
            store,
            peers: Mutex::new(Peers::new(id)),
            missed: Notify::new(),
            connected: AtomicBool::new(false),
            relay: OnceLock::new(),
            unknown: AtomicBool::new(false),
            trouble: Mutex::default(),
            leaving: AtomicBool::new(false),
            hub: Arc::clone(&hub),
        });
        let carrying = connect(Arc::clone(&cluster), waiting, lost).await?;
        hub.tell_elsewhere(Box::new(outgoing));
        let watching = watch::run(Arc::clone(&cluster), beats);
        let run = async move {
            tokio::select! {
                never = carrying => match never {},
                never = watching => match never {},
            }
        };
        Ok((cluster, run))
    }

    /// From now on its limits are those of all nodes together, and so are its codes. Once, before it serves.
    pub(crate) fn share(&self, relay: Reloader) {
        relay.share_codes(Arc::clone(&self.store));
        // A second one would be a mistake of the program's, and changes nothing.
        let _ = self.relay.set(relay);
    }

    /// Why NATS cannot be reached; none if it can, or nobody knows yet.
    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the operator is told of the nodes.
    ///
    /// # Errors
    /// The database does not answer.
    pub(crate) async fn status(&self) -> Result<crate::admin::ClusterStatus, crate::store::StoreError> {
        watch::status(self).await
    }
}
