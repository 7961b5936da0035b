//! `fuzz`: random mutation of the seeds, on any toolchain, for as long as it is told.

use anyhow::{Result, bail, ensure};
use clap::Parser;
use fastrand::Rng;
use std::{
    io::Write as _,
    time::{Duration, Instant},
};
use waxwing_fuzz::{TARGETS, corpus, mutate::drive};

/// Feeds everything that reads foreign bytes with mutations of its seeds.
#[derive(Parser)]
struct Arguments {
    /// One target [default: all]
    #[arg(long)]
    target: Option<String>,
    /// Seconds for each target
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Decides the mutations
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut out = std::io::stdout();
    let wanted = |name: &str| arguments.target.as_deref().is_none_or(|target| target == name);
    ensure!(TARGETS.iter().any(|(name, _)| wanted(name)), "there is no such target");
    for (name, target) in TARGETS.iter().filter(|(name, _)| wanted(name)) {
        let end = Instant::now() + Duration::from_secs(arguments.seconds);
        match drive(*target, &corpus::seeds(name), &mut Rng::with_seed(arguments.seed), u64::MAX, end) {
            Ok(runs) => writeln!(out, "{name:<16}{runs:>12} runs in {} s, no finding", arguments.seconds)?,
            Err(finding) => {
                let path = std::env::temp_dir().join(format!("waxwing-finding-{name}"));
                std::fs::write(&path, &finding.input)?;
                bail!("{name}: {}; the input is in {}", finding.what, path.display());
            }
        }
    }
    Ok(())
}
