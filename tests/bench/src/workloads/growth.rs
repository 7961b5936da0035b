//! What a message costs as its chat grows: nobody acknowledges, so that the server keeps all of it.

use crate::{
    charts::{self, Chart},
    failure::Failure,
    pairs::{ToServer, open_chat},
    place::Where,
    process::Process,
    progress,
    report::{Measured, Report, round},
};
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::{path::PathBuf, time::Instant};
use waxwing_protocol::{ClientFrame, Request, Response, ServerFrame, decode_server_frame};

/// Messages under way.
const WINDOW: u64 = 200;
/// Parts that are measured.
const PARTS: u64 = 10;

/// See the module.
#[derive(Debug, clap::Args)]
pub(crate) struct Growth {
    /// How many messages the chat has in the end.
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1000..=10_000_000))]
    messages: u32,
    /// Opaque payloads: this workload knows no others.
    #[arg(long)]
    raw: bool,
    /// Draw the costs by length into this SVG file.
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    #[command(flatten)]
    place: Where,
}

impl Growth {
    pub(crate) async fn run(self) -> Result<Report> {
        let total = u64::from(self.messages) / PARTS * PARTS;
        let place = self.place.prepare().await?;
        let to_server = ToServer::new(place.endpoint.clone(), place.link.invite.as_deref())?;
        let (mut receiver, to) = to_server.account("r").await?;
        let (mut sender, _) = to_server.account("s").await?;
        let conversation = open_chat(&mut sender, &to).await?;
        let cpu = || place.process().map(Process::cpu).transpose();
        let bar = progress::bar("a chat grows", total);
        let (mut sent, mut stored, mut points) = (0, 0, Vec::new());
        for part in 1..=PARTS {
            let end = total / PARTS * part;
            let (since, before) = (Instant::now(), cpu()?);
            while stored < end {
                while sent < end && sent - stored < WINDOW {
                    sent += 1;
                    let request =
                        Request::Send { conversation, number: sent, commits: 1, payload: vec![7; 1024].into() };
                    sender.connection.push(&ClientFrame { id: 1_000_000 + sent as u32, request });
                }
                sender.connection.flush().await?;
                match decode_server_frame(sender.connection.wait().await?)? {
                    ServerFrame::Response { response: Response::Accepted { .. }, .. } => stored += 1,
                    ServerFrame::Refusal { refusal, .. } => return Err(Failure::refused("a message", &refusal)),
                    _ => {}
                }
            }
            let count = (total / PARTS) as f64;
            let rate = count / since.elapsed().as_secs_f64();
            let used = cpu()?.zip(before).map(|(after, before)| (after - before) * 1000.0 / count);
            let since = Instant::now();
            match receiver.insist("a page", Request::Fetch { conversation, after: end - 200 }).await? {
                Response::Page(page) => ensure!(page.head == end + 1, "the chat has {} entries", page.head),
                other => anyhow::bail!("no page but {other:?}"),
            }
            let fetched = since.elapsed().as_secs_f64() * 1000.0;
            let memory = place.process().map(Process::memory).transpose()?;
            points.push((end as f64, rate, used, fetched, memory));
            bar.set_position(end);
        }
        bar.finish_and_clear();
        if let Some(path) = &self.chart {
            charts::draw(path, &charts_of(&points))?;
        }
        let (first, last) = (points.first().context("a part")?, points.last().context("a part")?);
        let measured = Measured { throughput: last.1, cpu_per_1000: last.2, memory: last.4, ..Measured::default() };
        let parts: Vec<_> = points
            .iter()
            .map(|(messages, rate, cpu, fetched, memory)| {
                json!({"messages": messages, "per_second": round(*rate), "cpu_per_1000": cpu.map(round),
                       "last_page_ms": round(*fetched), "memory": memory})
            })
            .collect();
        let mut report = Report::new("growth", "messages stored, in the last tenth", measured)
            .set("messages", total)
            .set("database", self.place.database())
            .figure("per_second_in_the_first_tenth", first.1)
            .figure("last_page_ms_in_the_first_tenth", first.3)
            .figure("last_page_ms_in_the_last_tenth", last.3);
        report.figures.insert("parts".into(), parts.into());
        Ok(report)
    }
}

type Point = (f64, f64, Option<f64>, f64, Option<crate::process::Memory>);

fn charts_of(points: &[Point]) -> Vec<Chart> {
    let line = |name: &str, value: &dyn Fn(&Point) -> Option<f64>| {
        (name.to_owned(), points.iter().filter_map(|point| Some((point.0, value(point)?))).collect())
    };
    let microseconds = |seconds: f64| seconds * 1000.0;
    vec![
        Chart {
            title: "What a message costs as its chat grows".into(),
            x: "messages in the chat",
            y: "CPU, µs",
            lines: vec![line("server", &|point: &Point| point.2.map(microseconds))],
        },
        Chart {
            title: "Fetching the newest 200".into(),
            x: "messages in the chat",
            y: "ms",
            lines: vec![line("a page", &|point: &Point| Some(point.3))],
        },
        Chart {
            title: "The server's memory".into(),
            x: "messages in the chat",
            y: "MiB",
            lines: vec![line("resident", &|point: &Point| point.4.map(|memory| memory.resident_kib as f64 / 1024.0))],
        },
    ]
}
