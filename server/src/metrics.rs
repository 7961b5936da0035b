//! What is counted and measured, for Prometheus.
//!
//! Invariants: counting costs a few atomic operations and no lock; no label says who somebody is or whom they write to, so
//! labels are words of this program alone. It must not know how the numbers are served.

use prometheus::{
    Encoder as _, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
    core::Collector,
};
use std::{sync::LazyLock, time::Instant};
use waxwing_protocol::{Refusal, Request};

/// Of this process.
pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// Seconds: from a tenth of a millisecond to ten seconds.
const SECONDS: [f64; 12] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0];
/// Jobs that share a transaction.
const JOBS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 512.0, 1024.0];

/// See the module.
pub(crate) struct Metrics {
    registry: Registry,
    /// Accepted, and open now.
    pub(crate) accepted: IntCounter,
    pub(crate) open: IntGauge,
    /// Turned away because there were too many.
    pub(crate) turned_away: IntCounter,
    /// Connections by how they ended.
    pub(crate) ended: IntCounterVec,
    /// Entries of logs that were stored.
    pub(crate) stored: IntCounter,
    /// Events handed to devices that listen, and left out because those read too slowly.
    pub(crate) events: IntCounter,
    pub(crate) left_out: IntCounter,
    /// Password checks that wait or are computed.
    pub(crate) passwords: IntGauge,
    /// The writers: jobs that wait, jobs of a transaction, how long it took, how many failed.
    pub(crate) queued: IntGauge,
    pub(crate) batch: Histogram,
    pub(crate) commit: Histogram,
    pub(crate) failed: IntCounter,
    /// Whether the database answered the last time, and how quickly.
    pub(crate) database_up: IntGauge,
    pub(crate) database_answer: Histogram,
    /// Hints to the other nodes of a cluster: sent, heard, lost on the way out, not taken; gaps in what was heard; how often the
    /// database was asked what was missed.
    pub(crate) hints_sent: IntCounter,
    pub(crate) hints_heard: IntCounter,
    pub(crate) hints_lost: IntCounter,
    pub(crate) hints_refused: IntCounter,
    pub(crate) hint_gaps: IntCounter,
    pub(crate) look_ups: IntCounter,
    refusals: IntCounterVec,
    requests: [Histogram; KINDS.len()],
}

/// The families of requests, by which latencies are told apart.
const KINDS: [&str; 8] = ["send", "commit", "fetch", "acknowledge", "keys", "directory", "backup", "attachment"];

/// A request's family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind(usize);

impl Kind {
    /// The family of a request of a signed-in device.
    pub(crate) fn of(request: &Request) -> Self {
        Self(match request {
            Request::Send { .. } => 0,
            Request::Commit { .. } | Request::Join { .. } | Request::CreateConversation(_) => 1,
            Request::Fetch { .. } | Request::FetchInbox { .. } | Request::Heads { .. } => 2,
            Request::Acknowledge { .. } | Request::AcknowledgeInbox { .. } => 3,
            Request::PublishKeyPackages { .. } | Request::KeyPackageStock | Request::ClaimKeyPackages(_) => 4,
            Request::PutSegment { .. }
            | Request::FetchSegment(_)
            | Request::PutManifest { .. }
            | Request::FetchManifest
            | Request::DeleteBackup => 6,
            Request::BeginAttachment { .. }
            | Request::PutChunk { .. }
            | Request::FinishAttachment(_)
            | Request::AttachmentStatus(_)
            | Request::FetchChunk { .. }
            | Request::DeleteAttachment(_) => 7,
            _ => 5,
        })
    }
}

impl Metrics {
    #[expect(clippy::expect_used, reason = "names, labels and buckets are constants, and a test makes them")]
    fn new() -> Self {
        let registry = Registry::new();
        let counter = |name, help| registered(&registry, IntCounter::new(name, help).expect("a valid name"));
        let gauge = |name, help| registered(&registry, IntGauge::new(name, help).expect("a valid name"));
        let labelled = |name, help, label| {
            registered(&registry, IntCounterVec::new(Opts::new(name, help), &[label]).expect("a valid name"))
        };
        let histogram = |name, help, buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            registered(&registry, Histogram::with_opts(options).expect("valid buckets"))
        };
        let requests = KINDS.map(|kind| {
            let options = HistogramOpts::new("waxwing_request_seconds", "From reading a request to having its answer")
                .const_label("kind", kind)
                .buckets(SECONDS.to_vec());
            registered(&registry, Histogram::with_opts(options).expect("valid buckets"))
        });
        Self {
            accepted: counter("waxwing_connections_accepted_total", "Connections that were accepted"),
            open: gauge("waxwing_connections_open", "Connections that are open now"),
            turned_away: counter("waxwing_connections_turned_away_total", "Closed at once: too many were open"),
            ended: labelled("waxwing_connections_ended_total", "Connections by how they ended", "reason"),
            stored: counter("waxwing_entries_stored_total", "Messages and commits that were stored"),
            events: counter("waxwing_events_total", "Events handed to connected devices"),
            left_out: counter("waxwing_events_left_out_total", "Events that a slow reader has to ask for"),
            passwords: gauge("waxwing_password_checks", "Password checks that wait or are computed"),
            queued: gauge("waxwing_store_queue", "Changes that wait for the database's writers"),
            batch: histogram("waxwing_store_batch", "Changes that shared a transaction", &JOBS),
            commit: histogram("waxwing_store_commit_seconds", "How long such a transaction took", &SECONDS),
            failed: counter("waxwing_store_failures_total", "Transactions that the database refused"),
            database_up: gauge("waxwing_database_up", "Whether the database answered when it was last asked"),
            database_answer: histogram("waxwing_database_answer_seconds", "How quickly it answered", &SECONDS),
            hints_sent: counter("waxwing_cluster_hints_sent_total", "Hints that left for the other nodes"),
            hints_heard: counter("waxwing_cluster_hints_heard_total", "Hints that came from the other nodes"),
            hints_lost: counter("waxwing_cluster_hints_lost_total", "Hints that could not leave"),
            hints_refused: counter(
                "waxwing_cluster_hints_refused_total",
                "Hints that no node of ours has sealed, or old ones",
            ),
            hint_gaps: counter("waxwing_cluster_gaps_total", "Times that hints of other nodes were missed"),
            look_ups: counter(
                "waxwing_cluster_look_ups_total",
                "Times that the database was asked for what was missed",
            ),
            refusals: labelled("waxwing_refusals_total", "Refused requests, by the code of the protocol", "code"),
            requests,
            registry,
        }
    }

    /// A request was answered, or refused, so long after it was read.
    pub(crate) fn answered(&self, kind: Kind, since: Instant) {
        if let Some(histogram) = self.requests.get(kind.0) {
            histogram.observe(since.elapsed().as_secs_f64());
        }
    }

    /// A request was refused.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        self.refusals.with_label_values(&[&format!("{:?}", refusal.code)]).inc();
    }

    /// All of it in Prometheus' text format.
    pub(crate) fn text(&self) -> String {
        let mut text = Vec::new();
        // Writing to a Vec cannot fail.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        String::from_utf8(text).unwrap_or_default()
    }
}

#[expect(clippy::expect_used, reason = "each name is registered once")]
fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect("a name of its own");
    collector
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_protocol::ErrorCode;

    #[test]
    fn everything_has_a_name_and_nothing_names_anybody() {
        let metrics = Metrics::new();
        metrics.refused(&ErrorCode::RateLimited.into());
        metrics.answered(Kind::of(&Request::KeyPackageStock), Instant::now());
        let text = metrics.text();
        assert!(text.contains("waxwing_refusals_total{code=\"RateLimited\"} 1"), "{text}");
        assert!(text.contains("waxwing_request_seconds_count{kind=\"keys\"} 1"), "{text}");
        assert!(text.contains("waxwing_request_seconds_count{kind=\"backup\"} 0"), "{text}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.starts_with("waxwing_"), "{line}");
        }
    }
}
