//! The relay: accepts connections, bounds their number, and ends them in an orderly way.
//!
//! Invariant: when `serve` returns, every request that was begun is answered or its connection was cut after a bounded
//! time, and the store is closed. It must not know what travels on the connections.

mod admission;
mod door;
mod tls;

pub use crate::{hub::Hub, sealing::DataKey};
pub use admission::{SignUpRule, invite_hash, new_invite_code};

use crate::{
    attachments::Attachments,
    cluster::NodeId,
    codes::Codes,
    connection::{self, Arrival, Summary, outbox::End},
    handler::{account::Decoy, passing::Turns},
    limits::{Heard, Limiter, Taken, Told},
    metrics::METRICS,
    password::{self, PasswordPool},
    retention,
    rules::Rules,
    store::{ClusterStore, SharedStore},
    web::{self, Tickets},
};
use door::Opened;
use rustls::ServerConfig;
use std::{
    collections::HashSet,
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};
use waxwing_protocol::{Pin, limits};
use zeroize::Zeroizing;

/// How long connections have to finish when the relay shuts down.
const DRAIN: Duration = Duration::from_secs(5);
/// How long accepting pauses when the system has no more sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that the system holds for us before we accept them.
const ACCEPT_BACKLOG: u32 = 1024;

/// What a relay is started with.
#[derive(Debug)]
pub struct RelayConfig {
    /// Its certificate and key.
    pub identity: ServerIdentity,
    /// Seals what the database must not show.
    pub data_key: DataKey,
    /// What the operator allows.
    pub rules: Rules,
    /// Where the chunks of attachments go.
    pub attachments: Attachments,
}

/// The server's self-signed certificate and its private key (PKCS#8), both DER. `Debug` shows neither.
#[derive(Clone)]
pub struct ServerIdentity {
    /// X.509.
    pub certificate_der: Vec<u8>,
    /// PKCS#8.
    pub private_key_der: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerIdentity(<secret>)")
    }
}

/// Why a relay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The server identity's certificate is no X.509 certificate.
    #[error("the server's certificate is damaged")]
    Certificate,
    /// The server identity's key is no private key.
    #[error("the server's private key is damaged")]
    PrivateKey,
    /// Certificate and key do not belong together, or are of a kind that TLS 1.3 does not take.
    #[error("the server's certificate and key cannot be used for TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The key for tickets could not be made.
    #[error("no key for tickets could be made")]
    Tickets,
    /// The operating system gives no random bytes.
    #[error("the system gives no random bytes")]
    Randomness,
}

/// What all connections share.
pub(crate) struct Context {
    current: RwLock<Arc<Current>>,
    /// How often it was replaced.
    replaced: AtomicU64,
    pub(crate) limiter: Limiter,
    pub(crate) tickets: Tickets,
    /// How many speak HTTP.
    pub(crate) visits: web::Visits,
    pub(crate) turns: Turns,
    pub(crate) codes: Codes,
    pub(crate) hub: Arc<Hub>,
    pub(crate) store: SharedStore,
    pub(crate) passwords: PasswordPool,
    pub(crate) data_key: DataKey,
    pub(crate) decoy: Decoy,
    pub(crate) attachments: Attachments,
    /// Tells the connections of the present identity to end in an orderly way.
    drain: RwLock<watch::Sender<bool>>,
}

/// What a reload replaces. A connection keeps the certificate that it began with; rules count from its next request on.
pub(crate) struct Current {
    /// For our protocol.
    pub(crate) tls: Arc<ServerConfig>,
    /// For HTTP.
    pub(crate) http: Arc<ServerConfig>,
    pub(crate) pin: Pin,
    pub(crate) rules: Rules,
}

impl Current {
    fn new(identity: &ServerIdentity, rules: Rules) -> Result<Self, RelayError> {
        Ok(Self {
            pin: identity.pin()?,
            tls: Arc::new(tls::configuration(identity)?),
            http: Arc::new(tls::http(identity, rules.http.certificate.as_deref())?),
            rules,
        })
    }
}

impl Context {
    /// What counts now.
    pub(crate) fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says when a connection that begins now is to end.
    fn draining(&self) -> watch::Receiver<bool> {
        self.drain.read().unwrap_or_else(PoisonError::into_inner).subscribe()
    }

    /// Lets all connections that there are end in an orderly way. Those that come later are not concerned.
    fn drain(&self) {
        let (next, _) = watch::channel(false);
        let former = std::mem::replace(&mut *self.drain.write().unwrap_or_else(PoisonError::into_inner), next);
        former.send_replace(true);
    }

    /// What counts now, for whoever asks often.
    pub(crate) fn following(&self) -> Following {
        // Counted before it is read, so that a replacement in between is noticed the next time.
        Following { replaced: self.replaced.load(Ordering::Acquire), current: self.current() }
    }
}

/// What counted when somebody last asked: asking again costs no lock that all connections share, unless it was replaced.
pub(crate) struct Following {
    replaced: u64,
    current: Arc<Current>,
}

impl Following {
    /// What counts now.
    pub(crate) fn current(&mut self, context: &Context) -> &Current {
        if context.replaced.load(Ordering::Acquire) != self.replaced {
            *self = context.following();
        }
        &self.current
    }
}

/// A relay that is ready to serve.
pub struct Relay {
    context: Arc<Context>,
    /// Where proxies that end the outer TLS hand on plain HTTP.
    behind_proxy: Option<TcpListener>,
}

/// Gives a relay that serves other rules, or another certificate.
#[derive(Clone)]
pub struct Reloader(Arc<Context>);

impl Reloader {
    /// From now on these count. With another identity, connections under the former one end in an orderly way. On an error all
    /// stays as it is.
    ///
    /// # Errors
    /// Certificate and key do not serve.
    pub fn reload(&self, identity: &ServerIdentity, rules: Rules) -> Result<(), RelayError> {
        let current = Arc::new(Current::new(identity, rules)?);
        let (limits, relay_only, pin) = (current.rules.limits, current.rules.relay_only, current.pin);
        let former = std::mem::replace(&mut *self.0.current.write().unwrap_or_else(PoisonError::into_inner), current);
        self.0.replaced.fetch_add(1, Ordering::Release);
        if former.rules.relay_only != relay_only {
            self.0.hub.passing.switch(relay_only);
        }
        if former.rules.limits != limits {
            self.0.limiter.forget();
        }
        if former.pin != pin {
            // After the exchange: whoever is told to come again finds the new key.
            self.0.drain();
        }
        Ok(())
    }

    /// What counts now.
    pub fn rules(&self) -> Rules {
        self.0.current().rules.clone()
    }

    /// What was taken from limited things since the last time.
    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.0.limiter.taken()
    }

    /// Takes what was taken at another server.
    pub(crate) fn take_too(&self, taken: &[Taken]) {
        self.0.limiter.take_too(&self.0.current().rules.limits, taken);
    }

    /// What others do not know yet of who sits here, or everything; none if no rule asks for it.
    pub(crate) fn sitting(&self, everything: bool) -> Option<Told> {
        self.0.limiter.sessions.tell(&self.0.current().rules.sessions, everything)
    }

    /// What another server told of who sits there.
    pub(crate) fn sit_elsewhere(&self, node: NodeId, heard: Heard) {
        let rules = self.0.current().rules.sessions;
        if rules.per_account > 0 || rules.per_address > 0 {
            self.0.limiter.sessions.hear(node, heard);
        }
    }

    /// Something that another server told was lost.
    pub(crate) fn gap(&self, node: NodeId) {
        self.0.limiter.sessions.gap(node);
    }

    /// Other servers than these are silent.
    pub(crate) fn keep(&self, speaking: &HashSet<NodeId>) {
        self.0.limiter.sessions.keep(speaking);
    }

    /// From now on codes are kept where the other servers find them.
    pub(crate) fn share_codes(&self, store: Arc<dyn ClusterStore>) {
        self.0.codes.share(store);
    }

    /// The pin that is shown now.
    pub fn pin(&self) -> Pin {
        self.0.current().pin
    }
}

impl Relay {
    /// Listens. A restart at once works: connections of the process before that linger do not hold the port.
    pub async fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
        let socket = if listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(listen)?;
        socket.listen(ACCEPT_BACKLOG)
    }

    /// A relay over a store that publishes to this hub.
    pub fn new(config: RelayConfig, hub: Arc<Hub>, store: SharedStore) -> Result<Self, RelayError> {
        let decoy = password::decoy().map_err(|_| RelayError::Randomness)?;
        let decoy = Decoy::new(&config.data_key, &decoy).map_err(|_| RelayError::Randomness)?;
        hub.passing.switch(config.rules.relay_only);
        let context = Context {
            tickets: Tickets::new(&config.identity.pin()?, &config.data_key).map_err(|_| RelayError::Tickets)?,
            visits: web::Visits::default(),
            current: RwLock::new(Arc::new(Current::new(&config.identity, config.rules)?)),
            replaced: AtomicU64::new(0),
            limiter: Limiter::new(&config.data_key),
            turns: Turns::default(),
            codes: Codes::new(&config.data_key),
            hub,
            store,
            passwords: PasswordPool::new(),
            decoy,
            attachments: config.attachments,
            data_key: config.data_key,
            drain: RwLock::new(watch::channel(false).0),
        };
        Ok(Self { context: Arc::new(context), behind_proxy: None })
    }

    /// Changes the rules while it serves.
    pub fn reloader(&self) -> Reloader {
        Reloader(Arc::clone(&self.context))
    }

    /// Takes plain HTTP there too, from trusted proxies alone.
    pub fn behind_proxy(self, listener: TcpListener) -> Self {
        Self { behind_proxy: Some(listener), ..self }
    }

    /// Serves until `shutdown`, then stops accepting, tells the peers, lets begun requests finish and closes the store.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), RelayError> {
        let mut connections = JoinSet::new();
        let mut number = 0_u64;
        {
            let mut shutdown = pin!(shutdown);
            let context = &self.context;
            let kept = || context.current().rules.retention;
            let mut retention = pin!(retention::run(context.store.clone(), kept, now_ms));
            let mut measuring = pin!(context.limiter.waiting.measure_when_due(context.store.clone()));
            let kept = || context.current().rules.attachments.days;
            let attachments = context.attachments.clone();
            let mut sweeping = pin!(retention::sweep(context.store.clone(), attachments, kept, now_ms));
            loop {
                tokio::select! {
                    () = &mut shutdown => break,
                    (way, accepted) = accept(&listener, self.behind_proxy.as_ref()) => match accepted {
                        Ok(_) if connections.len() >= context.current().rules.max_connections => {
                            METRICS.turned_away.inc();
                            tracing::warn!(open = connections.len(), "too many connections: closed a new one");
                        }
                        Ok((_, address)) if way == Way::Proxy && !context.current().rules.http.trusts(address.ip()) => {
                            tracing::warn!("refused plain HTTP from an address that is not among http.trusted_proxies");
                        }
                        Ok((tcp, address)) => {
                            number += 1;
                            tracing::debug!(connection = number, %address, "accepted");
                            let attended = attend(self.context.clone(), (way, tcp, address.ip()), context.draining(), number);
                            connections.spawn(attended);
                        }
                        Err(error) => {
                            tracing::warn!(%error, "could not accept a connection");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    },
                    Some(ended) = connections.join_next(), if !connections.is_empty() => {
                        if let Err(error) = ended {
                            tracing::error!(%error, "a connection's task failed");
                        }
                    }
                    never = &mut retention => match never {},
                    never = &mut measuring => match never {},
                    never = &mut sweeping => match never {},
                }
            }
        }
        drop((listener, self.behind_proxy));
        tracing::info!(connections = connections.len(), "draining");
        self.context.drain();
        let finished = timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
        if finished.is_err() {
            tracing::warn!(connections = connections.len(), "cutting connections that do not finish");
            connections.shutdown().await;
        }
        self.context.store.close().await;
        tracing::info!("closed");
        Ok(())
    }
}

/// Where a connection came in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// On the server's port: TLS, and in it our protocol or HTTP.
    Port,
    /// On the one for proxies: plain HTTP.
    Proxy,
}

async fn accept(
    listener: &TcpListener,
    behind_proxy: Option<&TcpListener>,
) -> (Way, io::Result<(TcpStream, SocketAddr)>) {
    let from_proxy = async {
        match behind_proxy {
            Some(listener) => listener.accept().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        accepted = listener.accept() => (Way::Port, accepted),
        accepted = from_proxy => (Way::Proxy, accepted),
    }
}

/// Attends to a connection that was accepted.
///
/// No `async fn`, which would keep room for its arguments twice, as long as the connection lasts.
fn attend(
    context: Arc<Context>,
    (way, tcp, peer): (Way, TcpStream, IpAddr),
    draining: watch::Receiver<bool>,
    connection: u64,
) -> impl Future<Output = ()> + Send {
    // Answers are written whole, so waiting to fill packets gains nothing.
    let _ = tcp.set_nodelay(true);
    tracing::info!(connection, "connection opened");
    METRICS.accepted.inc();
    METRICS.open.inc();
    // Counted down however the task ends.
    let open = Open;
    let login = Instant::now() + Duration::from_secs(limits::LOGIN_SECONDS);
    async move {
        let _open = open;
        let Summary { end, answered, refused } = match way {
            Way::Port => enter(&context, tcp, peer, login, draining).await,
            Way::Proxy => Box::pin(web::serve(&context, tcp, peer, login, draining)).await,
        };
        METRICS.ended.with_label_values(&[&end.to_string()]).inc();
        tracing::info!(connection, answered, refused, reason = %end, "connection closed");
    }
}

/// Finds out which of the two protocols it is. Whoever it is has until `login` to sign in.
fn enter(
    context: &Arc<Context>,
    tcp: TcpStream,
    peer: IpAddr,
    login: Instant,
    mut draining: watch::Receiver<bool>,
) -> impl Future<Output = Summary> + Send {
    // Boxed: what the handshake needs is given back after it.
    let opening = Box::pin(door::open(context, tcp, login));
    async move {
        let opened = tokio::select! {
            opened = opening => opened,
            () = connection::drained(&mut draining) => Err(End::Draining),
        };
        match opened {
            Ok(Opened::Waxwing(tls, pin)) => {
                let arrival = Arrival { origin: peer.into(), ticket: None, login };
                connection::serve(context, tls, pin, arrival, draining).await
            }
            // Boxed, so that the tasks of plain connections do not grow by what only this way needs.
            Ok(Opened::Http(tls)) => Box::pin(web::serve(context, tls, peer, login, draining)).await,
            Err(end) => Summary::ended(end),
        }
    }
}

/// A connection that counts as open.
struct Open;

impl Drop for Open {
    fn drop(&mut self) {
        METRICS.open.dec();
    }
}

/// The server's clock, milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
