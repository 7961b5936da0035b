//! The commands and their flags.

use crate::{
    compare, failure,
    floor::{self, Kind},
    report::Report,
    workloads::{
        attachments::Attachments, backlog::Backlog, cluster::Cluster, direct::Direct, growth::Growth, idle::Idle,
        neighbours::Neighbours, restore::Restore, room::Room, storm::Storm,
    },
};
use anyhow::Result;
use clap::{Parser, Subcommand};
use std::{io::Write as _, path::PathBuf, process::ExitCode};

/// Measures a Waxwing server under load, beside what its machine could do at best.
#[derive(Parser)]
#[command(name = "waxwing-bench", version, arg_required_else_help = true)]
struct Cli {
    /// One JSON object on standard output instead of a table.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Pairs that send each other direct messages.
    Direct(Direct),
    /// Several nodes on one MySQL database, loaded across.
    Cluster(Cluster),
    /// Connections that do nothing.
    Idle(Idle),
    /// One sender and many members.
    Room(Room),
    /// Everybody logs in or signs up at once.
    Storm(Storm),
    /// Messages for somebody who is away, and their fetching.
    Backlog(Backlog),
    /// Files, sent and fetched.
    Attachments(Attachments),
    /// A new device that restores a backup.
    Restore(Restore),
    /// What a message costs as its chat grows.
    Growth(Growth),
    /// What others notice of a slow reader, and of a busy room.
    Neighbours(Neighbours),
    /// Compare two reports that --json has written.
    Compare {
        /// The first report.
        first: PathBuf,
        /// The second one.
        second: PathBuf,
    },
    /// The floor's process.
    #[command(hide = true)]
    FloorRelay { kind: Kind },
}

pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    let json = cli.json;
    match command(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, json),
    }
}

fn command(cli: Cli) -> Result<()> {
    let json = cli.json;
    match cli.command {
        Command::Direct(direct) => print(json, &block_on(direct.run())?),
        Command::Cluster(cluster) => print(json, &block_on(cluster.run())?),
        Command::Idle(idle) => print(json, &[block_on(idle.run())?]),
        Command::Room(room) => print(json, &[block_on(room.run())?]),
        Command::Storm(storm) => print(json, &[block_on(storm.run())?]),
        Command::Backlog(backlog) => print(json, &[block_on(backlog.run())?]),
        Command::Attachments(attachments) => print(json, &[block_on(attachments.run())?]),
        Command::Restore(restore) => print(json, &[block_on(restore.run())?]),
        Command::Growth(growth) => print(json, &[block_on(growth.run())?]),
        Command::Neighbours(neighbours) => print(json, &[block_on(neighbours.run())?]),
        Command::Compare { first, second } => compare::run(&first, &second, json),
        Command::FloorRelay { kind } => floor::run(kind),
    }
}

fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future)
}

/// One report is one object; several are the last of them, with all under `runs`.
fn print(json: bool, reports: &[Report]) -> Result<()> {
    let mut output = std::io::stdout().lock();
    if !json {
        for report in reports {
            write!(output, "{}", report.table())?;
        }
        return Ok(());
    }
    let Some(last) = reports.last() else { return Ok(()) };
    let mut value = serde_json::to_value(last)?;
    if let ([_, _, ..], Some(object)) = (reports, value.as_object_mut()) {
        object.insert("runs".into(), serde_json::to_value(reports)?);
    }
    Ok(writeln!(output, "{value}")?)
}
