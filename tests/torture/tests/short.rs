//! A short run of each kind with a fixed seed, among the ordinary tests; `waxwing-torture` makes long ones.

use anyhow::{Result, ensure};
use std::time::Duration;
use waxwing_torture::{
    faults::Kind,
    run::{Plan, Storage, run},
};

/// Everybody writes while everything breaks: what was shown as sent is lost, doubled or reordered nowhere.
fn holds(seed: u64, storage: Storage) -> Result<()> {
    let plan = Plan {
        seed,
        duration: Duration::from_secs(40),
        faults: Kind::ALL.iter().map(|(kind, ..)| *kind).collect(),
        users: 3,
        devices: 2,
        pace: 100,
        storage,
        keep: false,
    };
    let mut told = Vec::new();
    let report = run(&plan, &mut |line| told.push(line))?;
    let stories: Vec<&String> = report.violations.iter().map(|(_, story)| story).collect();
    ensure!(stories.is_empty(), "{}\n{}", told.join("\n"), stories.iter().map(|one| one.as_str()).collect::<String>());
    ensure!(report.operations > 50 && report.faults() > 20, "nothing was tried: {told:?}");
    Ok(())
}

mod sqlite {
    use super::*;

    #[test]
    fn what_was_sent_survives_everything() -> Result<()> {
        holds(1, Storage::Sqlite)
    }
}

mod mysql {
    use super::*;

    #[test]
    fn what_was_sent_survives_everything() -> Result<()> {
        let url = std::env::var("WAXWING_TEST_MYSQL").ok().filter(|url| !url.is_empty());
        holds(2, url.map_or(Storage::OwnMariaDb, Storage::Url))
    }
}
