//! The way through NATS: hints leave in the order of their numbers, and those of others are done what they say.
//!
//! Invariant: whatever does not arrive in order counts as missed. It must not know what else is in the database.

use super::{
    Cluster, ClusterError, ClusterRules,
    hint::{Hint, Share},
    peers::Heard,
    seal::{Keys, Opened},
};
use crate::{metrics::METRICS, relay::now_ms};
use async_nats::{Client, ConnectOptions, Event, ServerAddr, Subscriber};
use futures_util::StreamExt as _;
use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// The longest pause between two tries to reach NATS.
const RETRY: Duration = Duration::from_secs(2);
/// A dead connection to NATS is noticed within two of these.
const PING: Duration = Duration::from_secs(5);
/// How old something for everybody may be: NATS could repeat what a node said in an earlier life.
const FRESH_MS: u64 = 120_000;

/// Connects, or goes on trying while the returned future is polled.
pub(super) async fn connect(
    cluster: Arc<Cluster>,
    waiting: mpsc::Receiver<Vec<u8>>,
    lost: Arc<AtomicU64>,
) -> Result<impl Future<Output = Infallible> + use<>, ClusterError> {
    let options = options(&cluster.rules)?.event_callback({
        let cluster = Arc::clone(&cluster);
        move |event| {
            let cluster = Arc::clone(&cluster);
            async move { cluster.heard_of_nats(&event) }
        }
    });
    // It is asked before each try: the place to read why the one before failed. It chooses nothing.
    let options = options.reconnect_to_server_callback({
        let cluster = Arc::clone(&cluster);
        move |servers, _| {
            let errors: BTreeSet<_> = servers.into_iter().filter_map(|server| server.last_error).collect();
            if !errors.is_empty() {
                cluster.failed(&errors.into_iter().collect::<Vec<_>>().join("; "));
            }
            async { None }
        }
    });
    let failed = |error: &dyn std::error::Error| ClusterError::Nats(error.to_string());
    let servers = cluster.rules.nats.iter().map(|url| url.parse::<ServerAddr>());
    let servers = servers.collect::<Result<Vec<_>, _>>().map_err(|error| failed(&error))?;
    let client = options.connect(servers).await.map_err(|error| failed(&error))?;
    let subject = cluster.keys.subject();
    let hints = client.subscribe(subject.clone()).await.map_err(|error| failed(&error))?;
    Ok(async move {
        tokio::select! {
            never = leave(&cluster, client, subject, waiting, lost) => match never {},
            never = arrive(&cluster, hints) => match never {},
        }
    })
}

fn options(rules: &ClusterRules) -> Result<ConnectOptions, ClusterError> {
    let mut options = ConnectOptions::new()
        .name("waxwing-server")
        .no_echo()
        .retry_on_initial_connect()
        .ping_interval(PING)
        .connection_timeout(Duration::from_secs(5))
        .reconnect_delay_callback(|tries| RETRY.min(Duration::from_millis(100).saturating_mul(tries as u32)));
    if let Some(file) = &rules.ca_file {
        options = options.add_root_certificates(file.clone()).require_tls(true);
    }
    let Some(file) = &rules.credentials_file else { return Ok(options) };
    let text = std::fs::read_to_string(file).map_err(|error| ClusterError::File(file.clone(), error))?;
    let text = Zeroizing::new(text);
    Ok(match text.trim().split_once(':') {
        Some((user, password)) => options.user_and_password(user.to_owned(), password.to_owned()),
        None => options.token(text.trim().to_owned()),
    })
}

/// Seals what waits and hands it to NATS.
async fn leave(
    cluster: &Cluster,
    client: Client,
    subject: String,
    mut waiting: mpsc::Receiver<Vec<u8>>,
    lost: Arc<AtomicU64>,
) -> Infallible {
    let sealer = cluster.keys.sealer(cluster.id);
    let mut number = 0_u64;
    loop {
        let Some(hint) = waiting.recv().await else { return std::future::pending().await };
        number += 1 + lost.swap(0, Relaxed);
        let Some(message) = sealer.seal(number, &hint) else { continue };
        // It waits while NATS is away and its buffer is full; what finds no room behind it is lost, and noticed.
        match client.publish(subject.clone(), message.into()).await {
            Ok(()) => METRICS.hints_sent.inc(),
            Err(error) => {
                METRICS.hints_lost.inc();
                tracing::warn!(%error, "a hint for the other nodes could not leave");
            }
        }
    }
}

async fn arrive(cluster: &Cluster, mut hints: Subscriber) -> Infallible {
    loop {
        match hints.next().await {
            Some(message) => cluster.take(&message.payload, Instant::now()),
            None => return std::future::pending().await,
        }
    }
}

/// What to do about a failed try, if it is known what that is.
fn advice(error: &str, rules: &ClusterRules) -> &'static str {
    let lower = error.to_lowercase();
    let said = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    if said(&["authorization violation", "authentication"]) {
        return match rules.credentials_file {
            Some(_) => {
                "NATS refuses what cluster.credentials_file holds: check the user and the password, or the token"
            }
            None => "NATS wants a password or a token: write it into a file, and name that as cluster.credentials_file",
        };
    }
    if said(&["unknownissuer", "certificate", "notvalidforname", "badsignature"]) {
        return "NATS' certificate is not accepted: check cluster.ca_file, the name in cluster.nats and the clock";
    }
    if said(&["tls"]) {
        return "there is no TLS connection to NATS: check that NATS speaks TLS, cluster.nats and cluster.ca_file";
    }
    "NATS cannot be reached: check cluster.nats, and that it runs"
}

impl Cluster {
    /// A try to reach NATS failed. Each reason is logged once.
    fn failed(&self, error: &str) {
        let trouble = Some(format!("{} ({error})", advice(error, &self.rules)));
        let mut known = self.trouble();
        if *known != trouble {
            tracing::warn!(reason = trouble.as_deref().unwrap_or_default(), "no connection to NATS");
            *known = trouble;
        }
    }

    fn heard_of_nats(&self, event: &Event) {
        match event {
            Event::Connected => {
                tracing::info!("connected to NATS");
                self.connected.store(true, Relaxed);
                self.trouble().take();
                self.unknown.store(true, Relaxed);
            }
            Event::Disconnected | Event::Closed => {
                tracing::warn!("NATS cannot be reached: until it can, devices hear of other nodes' messages later");
                self.connected.store(false, Relaxed);
            }
            // Why is told by `failed`, once.
            Event::SlowConsumer(_) | Event::ClientError(_) => {}
            other => tracing::warn!(event = %other, "NATS"),
        }
        self.missed.notify_one();
    }

    /// Does what a hint says.
    fn take(&self, message: &[u8], now: Instant) {
        if Keys::claimed(message) == Some(self.id) {
            return;
        }
        let Some(Opened { node, number, hint }) = self.keys.open(message) else {
            METRICS.hints_refused.inc();
            return;
        };
        METRICS.hints_heard.inc();
        let (is_new, heard) = {
            let mut peers = self.peers();
            (peers.is_new(node), peers.hear(node, number, now))
        };
        if is_new {
            self.unknown.store(true, Relaxed);
        }
        let relay = self.relay.get();
        if let (Some(relay), Heard::AfterGap) = (relay, heard) {
            relay.gap(node);
        }
        let hint = Hint::decode(&hint.0);
        match heard {
            Heard::Again => return,
            Heard::InOrder if hint.is_some() => {}
            Heard::InOrder | Heard::AfterGap => {
                METRICS.hint_gaps.inc();
                self.missed.notify_one();
            }
        }
        match hint {
            None | Some(Hint::Beat(None)) => {}
            Some(Hint::Beat(Some(seats))) => {
                if let Some(relay) = relay {
                    relay.sit_elsewhere(node, seats.heard());
                }
            }
            Some(Hint::Taken(shares)) => {
                let taken: Vec<_> = shares.into_iter().filter_map(Share::taken).collect();
                if let Some(relay) = relay {
                    relay.take_too(&taken);
                }
            }
            Some(Hint::Event { devices, frame }) => self.hub.deliver(&devices, &frame.0),
            Some(Hint::Behind(devices)) => self.hub.behind(&devices),
            Some(Hint::ForAll { frame, at_ms }) if at_ms.abs_diff(now_ms()) < FRESH_MS => {
                self.hub.deliver_to_all(&frame.0);
            }
            Some(Hint::ForAll { .. }) => METRICS.hints_refused.inc(),
            Some(Hint::Cut { devices, reason }) => {
                self.hub.cut_here(&devices, reason.into());
            }
        }
    }
}
