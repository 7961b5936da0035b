//! What a few people who write now and then notice of others: of somebody who does not read what pours in, and of a busy room.

use crate::{
    charts::{self, Chart},
    pairs::{self, Load, ToServer, open_chat},
    place::{Place, Where},
    report::{Measured, Report},
    wire::{Account, Peer},
};
use anyhow::{Context as _, Result};
use std::{path::PathBuf, time::Duration};
use tokio::sync::watch;
use waxwing_protocol::{ClientFrame, ConversationId, Request};

/// Those who write now and then.
const PAIRS: usize = 4;
/// Members of the busy room.
const MEMBERS: usize = 200;
/// Messages a second for the slow reader: more than all buffers hold, soon.
const POURING: u16 = 1000;

/// See the module.
#[derive(Debug, clap::Args)]
pub(crate) struct Neighbours {
    /// How long each part is measured.
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: u16,
    /// How many messages a second the room gets; each is 200 deliveries.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rate: u16,
    /// Opaque payloads: this workload knows no others.
    #[arg(long)]
    raw: bool,
    /// Draw the latencies into this SVG file.
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    #[command(flatten)]
    place: Where,
}

impl Neighbours {
    pub(crate) async fn run(self) -> Result<Report> {
        let place = self.place.prepare_with(MEMBERS + 1).await?;
        let alone = self.measure(&place).await?;
        let slow = {
            let to_server = ToServer::new(place.endpoint.clone(), place.link.invite.as_deref())?;
            let (mut receiver, to) = to_server.account("slow").await?;
            let (mut sender, _) = to_server.account("loud").await?;
            let conversation = open_chat(&mut sender, &to).await?;
            receiver.insist("the events", Request::Subscribe).await?;
            // It is held open and not read.
            let measured = self.beside(&place, sender, conversation, (0, 1), POURING).await?;
            drop(receiver);
            measured
        };
        let busy = {
            let accounts: &[Account] = &place.accounts;
            anyhow::ensure!(accounts.len() > MEMBERS, "this needs a private server: leave --server out");
            let (conversation, so_far) = super::room::make(&place.endpoint, accounts).await?;
            let (first, others) = accounts.split_first().context("accounts")?;
            let mut members = tokio::task::JoinSet::new();
            for account in others {
                let mut peer = place.endpoint.greet().await?;
                peer.authenticate(&account.device).await?;
                peer.insist("the events", Request::Subscribe).await?;
                members.spawn(async move {
                    while peer.connection.fill().await.is_ok() {
                        while peer.connection.frame().is_some() {}
                    }
                });
            }
            let mut sender = place.endpoint.greet().await?;
            sender.authenticate(&first.device).await?;
            self.beside(&place, sender, conversation, so_far, self.rate).await?
        };
        if let Some(path) = &self.chart {
            charts::draw(path, &[chart_of(&[("alone", &alone), ("slow reader", &slow), ("busy room", &busy)])])?;
        }
        let p99 = |measured: &Measured| measured.quantiles.as_ref().map_or(f64::NAN, |quantiles| quantiles.p99);
        let p50 = |measured: &Measured| measured.quantiles.as_ref().map_or(f64::NAN, |quantiles| quantiles.p50);
        Ok(Report::new("neighbours", "messages of those who write now and then, alone", alone.clone())
            .set("seconds", self.seconds)
            .set("rate", self.rate)
            .set("database", self.place.database())
            .figure("p50_ms_alone", p50(&alone))
            .figure("p99_ms_alone", p99(&alone))
            .figure("p50_ms_beside_a_slow_reader", p50(&slow))
            .figure("p99_ms_beside_a_slow_reader", p99(&slow))
            .figure("p50_ms_beside_a_busy_room", p50(&busy))
            .figure("p99_ms_beside_a_busy_room", p99(&busy)))
    }

    async fn measure(&self, place: &Place) -> Result<Measured> {
        let duration = Duration::from_secs(self.seconds.into());
        let load = Load { pairs: PAIRS, window: 1, payload: 1024, warm_up: Duration::from_secs(1), duration };
        let opener = ToServer::new(place.endpoint.clone(), place.link.invite.as_deref())?;
        pairs::run("neighbours", opener, &load, None).await
    }

    /// Measures while this peer sends so many a second.
    async fn beside(
        &self,
        place: &Place,
        sender: Peer,
        conversation: ConversationId,
        so_far: (u64, u64),
        rate: u16,
    ) -> Result<Measured> {
        let (stop, stopped) = watch::channel(false);
        let pause = Duration::from_secs(1) / u32::from(rate);
        let loud = tokio::spawn(shout(sender, conversation, so_far, pause, stopped));
        let measured = self.measure(place).await;
        stop.send_replace(true);
        loud.await??;
        measured
    }
}

/// How many messages took no longer than how long.
fn chart_of(parts: &[(&str, &Measured)]) -> Chart {
    let points = |measured: &Measured| {
        let quantiles = measured.quantiles.iter();
        quantiles.flat_map(|all| [(50.0, all.p50), (90.0, all.p90), (99.0, all.p99)]).collect()
    };
    Chart {
        title: "What others notice".into(),
        x: "% of the messages take no longer",
        y: "ms",
        lines: parts.iter().map(|(name, measured)| ((*name).to_owned(), points(measured))).collect(),
    }
}

async fn shout(
    mut sender: Peer,
    conversation: ConversationId,
    (used, commits): (u64, u64),
    pause: Duration,
    mut stopped: watch::Receiver<bool>,
) -> Result<()> {
    let mut clock = tokio::time::interval(pause);
    let mut number = used;
    loop {
        tokio::select! {
            _ = stopped.changed() => return Ok(()),
            _ = clock.tick() => {
                number += 1;
                let request = Request::Send { conversation, number, commits, payload: vec![7; 1024].into() };
                sender.connection.push(&ClientFrame { id: 1_000_000 + number as u32, request });
                sender.connection.flush().await?;
            }
            read = sender.connection.fill() => {
                read?;
                while sender.connection.frame().is_some() {}
            }
        }
    }
}
