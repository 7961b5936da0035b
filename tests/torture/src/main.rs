//! `waxwing-torture`: breaks running servers and clients on purpose, and says whether what they promise holds.

use anyhow::Result;
use clap::Parser;
use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use waxwing_torture::{
    faults::Kind,
    run::{Plan, Storage, run},
    sweep,
};

/// Breaks running servers and clients on purpose, and checks that what was shown as sent is neither lost, doubled nor
/// reordered. Exit code 0: nothing was found; 1: something was; 2: the run itself failed.
#[derive(Parser)]
#[command(name = "waxwing-torture", version)]
struct Arguments {
    /// Decides what is written and broken when [default: the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// For how many minutes
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// What is broken, separated by commas [default: all; '--list' names them]
    #[arg(long, value_delimiter = ',')]
    faults: Vec<Kind>,
    /// How many users
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=8))]
    users: u8,
    /// How many devices each of them has
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=4))]
    devices: u8,
    /// Milliseconds between two faults, on average
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(5..=60_000))]
    pace: u64,
    /// Where the server keeps its data: sqlite, mariadb (a private one, which can be killed), or mysql://…
    #[arg(long, default_value = "sqlite")]
    database: String,
    /// Kill programs at each named point instead, one after the other; they must be built with their crash points
    #[arg(long)]
    sweep: bool,
    /// Of these, only the points of such steps, separated by commas ("seal" has seal.before and seal.after)
    #[arg(long, value_delimiter = ',', requires = "sweep")]
    steps: Vec<String>,
    /// Leave the files of what went wrong where they are
    #[arg(long)]
    keep: bool,
    /// End with one JSON object on standard output
    #[arg(long)]
    json: bool,
    /// Name the faults, and end
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match torture(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "torture: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether all promises held.
fn torture(arguments: &Arguments) -> Result<bool> {
    let mut out = io::stdout();
    if arguments.list {
        for (_, name, _, what) in Kind::ALL {
            writeln!(out, "{name:<16}{what}")?;
        }
        return Ok(true);
    }
    let begun = Instant::now();
    let mut say = |line: String| {
        let _ = writeln!(io::stderr(), "{:>7.1} s  {line}", begun.elapsed().as_secs_f64());
    };
    let storage = match arguments.database.as_str() {
        "sqlite" => Storage::Sqlite,
        "mariadb" => Storage::OwnMariaDb,
        url if url.starts_with("mysql://") => Storage::Url(url.to_owned()),
        other => anyhow::bail!("--database {other}: it is sqlite, mariadb or mysql://USER:PASSWORD@HOST:PORT/SCHEMA"),
    };
    if arguments.sweep {
        let outcome = sweep::sweep(&storage, &arguments.steps, &mut say)?;
        match arguments.json {
            true => writeln!(out, "{}", outcome.json())?,
            false => write!(out, "{}", outcome.in_words())?,
        }
        return Ok(outcome.is_good());
    }
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_secs());
    let seed = arguments.seed.unwrap_or_else(clock);
    let all = || Kind::ALL.iter().map(|(kind, ..)| *kind).collect();
    let plan = Plan {
        seed,
        duration: Duration::from_secs_f64((arguments.minutes * 60.0).clamp(1.0, 1e6)),
        faults: if arguments.faults.is_empty() { all() } else { arguments.faults.clone() },
        users: arguments.users.into(),
        devices: arguments.devices.into(),
        pace: arguments.pace,
        storage,
        keep: arguments.keep,
    };
    say(format!("seed {seed}"));
    let report = run(&plan, &mut say)?;
    if arguments.json {
        writeln!(out, "{}", report.json(seed))?;
    } else {
        for (kind, count) in &report.by_fault {
            writeln!(out, "{:<16}{count:>8}", kind.name())?;
        }
        let (faults, worlds) = (report.faults(), report.worlds);
        writeln!(out, "seed {seed}: {} operations, {faults} faults in {worlds} worlds", report.operations)?;
        report.kept.iter().try_for_each(|path| writeln!(out, "kept: {}", path.display()))?;
        writeln!(out, "{} violations", report.violations.len())?;
    }
    Ok(report.violations.is_empty())
}
