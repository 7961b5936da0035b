//! Direct messages between pairs.

use crate::{
    charts::{self, Chart},
    floor::Floor,
    pairs::{self, Load, ToFloor, ToServer},
    place::Where,
    report::{Measured, Report},
};
use anyhow::Result;
use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// See the module.
#[derive(Debug, clap::Args)]
pub(crate) struct Direct {
    /// Relay opaque payloads: this measures the server. Without it real clients encrypt and decrypt.
    #[arg(long)]
    raw: bool,
    /// How many pairs; several numbers, separated by commas, are measured one after the other. Two real clients sign up for
    /// each, which takes a second or two.
    #[arg(long, value_name = "P", value_delimiter = ',', default_value = "50", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pairs: Vec<u16>,
    /// Messages of a pair that are under way at a time.
    #[arg(long, value_name = "W", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=256))]
    window: u16,
    /// Bytes of a message.
    #[arg(long, value_name = "BYTES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(8..=131_072))]
    payload: u32,
    /// How long is measured.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: u16,
    /// How long the load runs before that.
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=600))]
    warm_up: u16,
    /// Measure the floors, too: a bare relay over TLS, and one that stores first.
    #[arg(long, requires = "raw")]
    floor: bool,
    /// Draw throughput and latency by load into this SVG file.
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    #[command(flatten)]
    place: Where,
}

impl Direct {
    pub(crate) async fn run(self) -> Result<Vec<Report>> {
        let mut reports = Vec::new();
        for pairs in &self.pairs {
            reports.push(self.measure(usize::from(*pairs)).await?);
        }
        if let Some(path) = &self.chart {
            charts::draw(path, &by_load(&reports, self.window))?;
        }
        Ok(reports)
    }

    async fn measure(&self, pairs: usize) -> Result<Report> {
        let load = Load {
            pairs,
            window: self.window.into(),
            payload: self.payload as usize,
            warm_up: Duration::from_secs(self.warm_up.into()),
            duration: Duration::from_secs(self.seconds.into()),
        };
        let mut floors = Vec::new();
        if self.floor {
            for kind in self.place.floors() {
                let (name, floor) =
                    (kind.name(), Floor::start(kind, &self.place.folder(), &self.place.database).await?);
                let opener = ToFloor(floor.endpoint.clone());
                let what = format!("floor ({name})");
                floors.push((name, pairs::run(&what, opener, &load, Some(floor.process()?)).await?));
                floor.stop().await?;
            }
        }
        let place = self.place.prepare().await?;
        let measured: Measured = match self.raw {
            true => {
                let opener = ToServer::new(place.endpoint.clone(), place.link.invite.as_deref())?;
                pairs::run("server", opener, &load, place.process()).await?
            }
            false => {
                let profiles = tempfile::Builder::new().prefix("waxwing-bench-").tempdir_in(self.place.folder())?;
                pairs::people::run(&place.link, profiles.path(), &load, place.process()).await?
            }
        };
        let report = Report::new("direct", "messages", measured)
            .set("raw", self.raw)
            .set("pairs", pairs)
            .set("window", self.window)
            .set("payload", self.payload)
            .set("seconds", self.seconds)
            .set("database", self.place.database());
        let report = match self.raw {
            true => report,
            false => report.figure("fdatasync_ms", fdatasync(&self.place.folder())?),
        };
        Ok(report.floors(&floors))
    }
}

/// The median of what this disk takes to have a page on it, in milliseconds: what a message of a real client waits for three
/// times at least (its own database, the server's, and the receiver's).
fn fdatasync(folder: &Path) -> Result<f64> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut took = Vec::new();
    for _ in 0..100 {
        file.write_all(&[7; 4096])?;
        let since = Instant::now();
        file.sync_data()?;
        took.push(since.elapsed());
    }
    took.sort();
    Ok(took.get(50).map_or(0.0, |median| median.as_secs_f64() * 1000.0))
}

/// Throughput and latency, by the number of pairs.
fn by_load(reports: &[Report], window: u16) -> Vec<Chart> {
    let line = |name: &str, path: &str| {
        let point = |report: &Report| {
            let value = serde_json::to_value(report).ok()?;
            Some((report.settings.get("pairs")?.as_f64()?, value.pointer(path)?.as_f64()?))
        };
        (name.to_owned(), reports.iter().filter_map(point).collect::<Vec<_>>())
    };
    let shown =
        |lines: Vec<(String, Vec<(f64, f64)>)>| lines.into_iter().filter(|(_, points)| !points.is_empty()).collect();
    vec![
        Chart {
            title: format!("Throughput, window {window}"),
            x: "pairs",
            y: "messages/s",
            lines: shown(vec![
                line("server", "/throughput"),
                line("floor (SQLite)", "/floor/sqlite/throughput"),
                line("floor (MySQL)", "/floor/mysql/throughput"),
                line("floor (TLS)", "/floor/tls/throughput"),
            ]),
        },
        Chart {
            title: format!("Latency, window {window}"),
            x: "pairs",
            y: "ms",
            lines: shown(vec![
                line("server p50", "/quantiles/p50"),
                line("server p99", "/quantiles/p99"),
                line("floor p50", "/floor/sqlite/quantiles/p50"),
                line("floor p99", "/floor/sqlite/quantiles/p99"),
            ]),
        },
    ]
}
