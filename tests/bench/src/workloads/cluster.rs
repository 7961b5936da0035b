//! Nodes on one database, loaded across: the two of each pair are connected to different nodes. What a message costs them and
//! the database must not grow with their number.

use crate::{
    pairs::{self, Load, ToNodes, ToServer},
    place::{Nodes, Where},
    process::Process,
    report::{Measured, Report},
};
use anyhow::{Context as _, Result};
use sqlx::{
    AssertSqlSafe, Connection as _,
    mysql::{MySqlConnectOptions, MySqlConnection},
};
use std::time::Duration;
use tokio::sync::Mutex;

/// See the module.
#[derive(Debug, clap::Args)]
pub(crate) struct Cluster {
    /// How many nodes; several numbers, separated by commas, are measured one after the other.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,2,3", value_parser = clap::value_parser!(u8).range(1..=16))]
    nodes: Vec<u8>,
    /// Where they share NATS.
    #[arg(long, value_name = "URL", default_value = "nats://127.0.0.1:4222")]
    nats: String,
    /// How many pairs.
    #[arg(long, value_name = "P", default_value_t = 48, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pairs: u16,
    /// Messages of a pair that are under way at a time.
    #[arg(long, value_name = "W", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
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
    #[command(flatten)]
    place: Where,
}

/// What the database counts.
const COUNTED: [(&str, &str); 3] = [
    ("Questions", "database_statements_per_message"),
    ("Com_commit", "database_transactions_per_message"),
    ("Innodb_data_fsyncs", "database_fsyncs_per_message"),
];

/// What was used up when one looked.
struct Look {
    nodes: f64,
    /// As [`COUNTED`].
    counted: [f64; 3],
    database: Option<f64>,
}

impl Cluster {
    pub(crate) async fn run(self) -> Result<Vec<Report>> {
        let mut reports = Vec::new();
        for nodes in &self.nodes {
            reports.push(self.measure(*nodes).await?);
        }
        Ok(reports)
    }

    async fn measure(&self, count: u8) -> Result<Report> {
        let load = Load {
            pairs: self.pairs.into(),
            window: self.window.into(),
            payload: self.payload as usize,
            warm_up: Duration::from_secs(self.warm_up.into()),
            duration: Duration::from_secs(self.seconds.into()),
        };
        let (nodes, url) = self.place.nodes(count.into(), &self.nats).await?;
        let database = Mutex::new(Database::connect(&url).await?);
        let servers =
            nodes.endpoints.iter().map(|endpoint| ToServer::new(endpoint.clone(), nodes.link.invite.as_deref()));
        let servers = ToNodes(servers.collect::<Result<_>>()?);
        let look = async || look(&nodes, &mut *database.lock().await).await;
        let (latencies, [before, after]) = pairs::observed(&format!("{count} nodes"), servers, &load, look).await?;
        let measured = Measured::of(&latencies, load.duration, Some(after.nodes - before.nodes), None);
        let messages = (latencies.both.len() as f64).max(1.0);
        let mut report = Report::new("cluster", "messages", measured)
            .set("nodes", count)
            .set("pairs", self.pairs)
            .set("window", self.window)
            .set("payload", self.payload)
            .set("seconds", self.seconds);
        for ((_, name), (after, before)) in COUNTED.iter().zip(after.counted.iter().zip(before.counted)) {
            report = report.figure(name, (after - before) / messages);
        }
        if let Some((after, before)) = after.database.zip(before.database) {
            report = report.figure("database_cpu_s_per_1000", (after - before) * 1000.0 / messages);
        }
        Ok(report)
    }
}

async fn look(nodes: &Nodes, database: &mut Database) -> Result<Look> {
    let used = nodes.processes().into_iter().map(Process::cpu).sum::<Result<f64>>()?;
    let counted = database.counted().await?;
    Ok(Look { nodes: used, counted, database: database.process.map(Process::cpu).transpose()? })
}

/// The database's own counters.
struct Database {
    connection: MySqlConnection,
    /// If it runs on this machine and says which it is.
    process: Option<Process>,
}

impl Database {
    async fn connect(url: &str) -> Result<Self> {
        // Whatever is wrong with it: the URL holds a password and is not repeated.
        let options: MySqlConnectOptions = url.parse().ok().context("the database's URL cannot be read")?;
        let mut connection = MySqlConnection::connect_with(&options).await?;
        let file: String = sqlx::query_scalar("SELECT @@pid_file").fetch_one(&mut connection).await?;
        let process = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).map(Process);
        Ok(Self { connection, process: process.filter(|process| process.cpu().is_ok()) })
    }

    async fn counted(&mut self) -> Result<[f64; 3]> {
        let mut counted = [0.0; 3];
        for (count, (name, _)) in counted.iter_mut().zip(COUNTED) {
            let show = format!("SHOW GLOBAL STATUS WHERE Variable_name = '{name}'");
            let row: Option<(String, String)> =
                sqlx::query_as(AssertSqlSafe(show)).fetch_optional(&mut self.connection).await?;
            *count = row.and_then(|(_, value)| value.parse().ok()).unwrap_or_default();
        }
        Ok(counted)
    }
}
