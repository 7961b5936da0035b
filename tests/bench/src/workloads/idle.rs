//! Connections that do nothing: what one costs in memory, and that many can be held.

use crate::{
    charts::{self, Chart},
    failure::Failure,
    pairs::ToServer,
    place::{Place, Where},
    progress,
    report::{Measured, Quantiles, Report},
    wire::Peer,
};
use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
};
use waxwing_protocol::Request;

/// Handshakes at a time.
const AT_ONCE: usize = 64;
/// A client says something as often as this.
const PING: Duration = Duration::from_secs(30);
/// Connections from one address, which has ports for some more.
const FROM_ONE: usize = 20_000;
/// Files that this program and the server have open beside their connections.
const OTHER_FILES: u64 = 64;
/// After how much quiet memory is looked at.
const QUIET: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug, clap::Args)]
pub(crate) struct Idle {
    /// How many connections of signed-in devices.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    connections: u32,
    /// How long they are held when all are there.
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: u16,
    /// Draw memory by connections into this SVG file.
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    #[command(flatten)]
    place: Where,
}

impl Idle {
    pub(crate) async fn run(self) -> Result<Report> {
        let count = self.connections as usize;
        raise_limit(u64::from(self.connections) + OTHER_FILES)?;
        let place = self.place.prepare_with(count).await?;
        // What the first connections make the server set up for good belongs to no connection.
        let mut held = Held::new();
        held.open(&place, 0..8).await?;
        tokio::time::sleep(QUIET).await;
        let memory = || place.process().map(|process| process.memory()).transpose();
        let before = memory()?;
        let (begun, bar) = (Instant::now(), progress::bar("connecting", u64::from(self.connections)));
        let mut points = Vec::new();
        let mut opening = Duration::ZERO;
        for step in 0..10 {
            let part = (8 + (count - 8) * step / 10)..(8 + (count - 8) * (step + 1) / 10);
            let since = Instant::now();
            held.open(&place, part.clone()).await?;
            opening += since.elapsed();
            bar.set_position(part.end as u64);
            if let Some(memory) = memory()? {
                points.push((part.end as f64, memory.resident_kib as f64 / 1024.0));
            }
        }
        bar.finish_and_clear();
        tokio::time::sleep(QUIET).await;
        let after = memory()?;
        tokio::time::sleep(Duration::from_secs(self.seconds.into())).await;
        let answers = held.ask_all().await?;
        let measured = Measured {
            throughput: (count - 8) as f64 / opening.as_secs_f64(),
            quantiles: Quantiles::of(&answers),
            memory: after,
            ..Measured::default()
        };
        if let Some(path) = &self.chart {
            let lines = vec![("resident memory".to_owned(), points)];
            let chart = Chart { title: "The server's memory".into(), x: "idle connections", y: "MiB", lines };
            charts::draw(path, &[chart])?;
        }
        let mut report = Report::new("idle", "connections opened; latencies are of a ping on each", measured)
            .set("connections", self.connections)
            .set("database", self.place.database())
            .figure("held_connections", count as f64)
            .figure("seconds_until_all_were_there", begun.elapsed().as_secs_f64());
        if let (Some(before), Some(after)) = (before, after) {
            let grown = after.resident_kib.saturating_sub(before.resident_kib) as f64;
            report = report
                .figure("kib_per_connection", grown / (count - 8) as f64)
                .figure("kib_without_connections", before.resident_kib as f64);
        }
        Ok(report)
    }
}

/// Lets this process, and the server that it starts, have so many sockets.
fn raise_limit(needed: u64) -> Result<()> {
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let maximum = now.maximum.map(|maximum| maximum.max(needed));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum });
    raised.map_err(|_| {
        let limit = now.maximum.unwrap_or(0);
        let message = format!("the system lets a program have {limit} files open, and {needed} are needed");
        let next = format!(
            "raise the hard limit (`ulimit -Hn`), or measure {} connections at most",
            limit.saturating_sub(OTHER_FILES)
        );
        Failure::user(message, next)
    })
}

/// Connections, each with a task that pings now and then.
struct Held {
    tasks: JoinSet<Result<()>>,
    ask: watch::Sender<u64>,
    answers: mpsc::UnboundedReceiver<Duration>,
    answered: mpsc::UnboundedSender<Duration>,
    turns: Arc<Semaphore>,
}

impl Held {
    fn new() -> Self {
        let (answered, answers) = mpsc::unbounded_channel();
        let (ask, _) = watch::channel(0);
        Self { tasks: JoinSet::new(), ask, answers, answered, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    async fn open(&mut self, place: &Place, part: std::ops::Range<usize>) -> Result<()> {
        let to_server = ToServer::new(place.endpoint.clone(), place.link.invite.as_deref())?;
        let mut opening = JoinSet::new();
        for index in part {
            let address = u8::try_from(1 + index / FROM_ONE)?;
            let (endpoint, account) = (place.endpoint.coming_from(address), place.accounts.get(index).cloned());
            let (turns, to_server) = (Arc::clone(&self.turns), to_server.clone());
            opening.spawn(async move {
                let _turn = turns.acquire().await?;
                let mut peer = match account {
                    Some(account) => {
                        let mut peer = endpoint.greet().await?;
                        peer.authenticate(&account.device).await?;
                        peer
                    }
                    None => to_server.account(&format!("{index}")).await?.0,
                };
                peer.insist("the events", Request::Subscribe).await?;
                anyhow::Ok(peer)
            });
        }
        while let Some(peer) = opening.join_next().await {
            let (peer, ask, answered) = (peer??, self.ask.subscribe(), self.answered.clone());
            self.tasks.spawn(stay(peer, ask, answered));
        }
        Ok(())
    }

    /// Pings on all of them, not all at once.
    async fn ask_all(&mut self) -> Result<Histogram<u64>> {
        let mut latencies = Histogram::new_with_bounds(1000, 60_000_000_000, 3)?;
        let total = self.tasks.len();
        self.ask.send_replace(1);
        for _ in 0..total {
            let answer = tokio::select! {
                answer = self.answers.recv() => answer.context("an answer")?,
                Some(ended) = self.tasks.join_next() => {
                    ended??;
                    anyhow::bail!("a connection ended");
                }
            };
            latencies.saturating_record(u64::try_from(answer.as_nanos())?);
        }
        Ok(latencies)
    }
}

/// Holds a connection, and pings when it is told to, within a second.
async fn stay(mut peer: Peer, mut ask: watch::Receiver<u64>, answered: mpsc::UnboundedSender<Duration>) -> Result<()> {
    loop {
        tokio::select! {
            told = ask.changed() => {
                told?;
                let mut random = [0; 2];
                getrandom::fill(&mut random)?;
                tokio::time::sleep(Duration::from_micros(u64::from(u16::from_be_bytes(random)) * 15)).await;
                let since = Instant::now();
                peer.insist("a ping", Request::Ping).await?;
                let _ = answered.send(since.elapsed());
            }
            () = tokio::time::sleep(PING) => { peer.insist("a ping", Request::Ping).await?; }
            read = peer.connection.fill() => read?,
        }
    }
}
