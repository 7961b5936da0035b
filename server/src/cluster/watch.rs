//! What makes hints dispensable: this node says that it is there, and looks up in the database what its devices may have
//! missed.
//!
//! Invariants: a device that listens here hears of everything within [`LOOK`] of a node's silence being noticed, and within
//! [`CALM`] whatever happened; devices that were removed elsewhere are cut here. It must not know how hints travel.

use super::{
    Cluster, Outgoing,
    hint::{Hint, Seats, Share},
};
use crate::{
    admin::{ClusterNode, ClusterStatus},
    connection::outbox::End,
    metrics::METRICS,
    store::{NodeRow, StoreError},
};
use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};
use tokio::time::MissedTickBehavior;

/// How often a node speaks.
const BEAT: Duration = Duration::from_secs(1);
/// How often it looks who is there, and for what it missed while somebody is silent.
const LOOK: Duration = Duration::from_secs(2);
/// How often it looks for what it missed although nothing says that it did.
const CALM: Duration = Duration::from_secs(60);
/// After so long without a sign in the database a node is dead.
const DEAD: Duration = Duration::from_secs(10);
/// How often it tells anew who sits here: by then hints that were lost do not matter any more.
const ANEW: Duration = Duration::from_secs(15);
/// The limited things of one hint.
const SHARES: usize = 4096;
/// The devices of one question.
const DEVICES: usize = 256;

/// Watches until dropped.
pub(super) async fn run(cluster: Arc<Cluster>, beats: Outgoing) -> Infallible {
    let beating = async {
        let mut ticks = tokio::time::interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told_anew = None::<Instant>;
        loop {
            ticks.tick().await;
            beats.send(&Hint::Beat(None));
            let Some(relay) = cluster.relay.get() else { continue };
            for part in relay.taken().chunks(SHARES) {
                beats.send(&Hint::Taken(part.iter().copied().map(Share::from).collect()));
            }
            let anew = cluster.unknown.swap(false, Relaxed) || told_anew.is_none_or(|then| then.elapsed() >= ANEW);
            if let Some(told) = relay.sitting(anew) {
                if told.whole {
                    told_anew = Some(Instant::now());
                }
                Seats::parts(told).into_iter().for_each(|part| beats.send(&Hint::Beat(Some(part))));
            }
            relay.keep(&cluster.peers().speaking(Instant::now()));
        }
    };
    let looking = async {
        let (mut ticks, mut looked) = (tokio::time::interval(LOOK), Instant::now());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = tokio::select! {
                _ = ticks.tick() => match cluster.is_something_missed().await {
                    Ok(missed) => missed || looked.elapsed() >= CALM,
                    Err(error) => {
                        tracing::warn!(%error, "cannot look which nodes are there");
                        false
                    }
                },
                () = cluster.missed.notified() => true,
            };
            if !due {
                continue;
            }
            match cluster.look_up().await {
                Ok(()) => looked = Instant::now(),
                Err(error) => tracing::warn!(%error, "cannot look up what was missed"),
            }
        }
    };
    tokio::select! {
        never = beating => never,
        never = looking => never,
    }
}

impl Cluster {
    async fn is_something_missed(&self) -> Result<bool, StoreError> {
        let row = NodeRow { id: self.id, name: self.rules.name.clone(), version: env!("CARGO_PKG_VERSION").into() };
        if !self.leaving.load(Relaxed) {
            self.store.node_is_there(&row).await?;
        }
        let alive: Vec<_> = self.store.nodes(DEAD).await?.into_iter().map(|node| node.row.id).collect();
        Ok(self.peers().is_something_missed(&alive, Instant::now()))
    }

    /// Tells the devices that listen here to fetch, if there is something for them, and ends what was removed.
    async fn look_up(&self) -> Result<(), StoreError> {
        METRICS.look_ups.inc();
        self.store.forget_old_codes().await?;
        for devices in self.hub.signed_in().chunks(DEVICES) {
            let there: BTreeSet<_> = self.store.enrolled(devices).await?.into_iter().collect();
            let gone: Vec<_> = devices.iter().copied().filter(|device| !there.contains(device)).collect();
            self.hub.cut_here(&gone, End::Removed);
            self.hub.behind(&self.store.behind(devices).await?);
        }
        Ok(())
    }

    /// Says that this node ends: once it is silent, the others look what its last words may have been.
    pub async fn leave(&self) {
        self.leaving.store(true, Relaxed);
        if let Err(error) = self.store.node_is_gone(self.id).await {
            tracing::warn!(%error, "could not take this node off the list");
        }
    }
}

/// See [`Cluster::status`].
pub(super) async fn status(cluster: &Cluster) -> Result<ClusterStatus, StoreError> {
    let nodes = cluster.store.nodes(DEAD).await?;
    let (peers, now) = (cluster.peers(), Instant::now());
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let node = |one: crate::store::Node| ClusterNode {
        this: one.row.id == cluster.id,
        heard_ms: peers.since(one.row.id, now).map(milliseconds),
        name: one.row.name,
        version: one.row.version,
        since: crate::admin::time(one.since_ms),
        seen_ms: milliseconds(one.seen),
    };
    Ok(ClusterStatus {
        nats: cluster.connected.load(Relaxed),
        trouble: cluster.trouble().clone(),
        nodes: nodes.into_iter().map(node).collect(),
    })
}
