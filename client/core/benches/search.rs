//! How long the first results of a search in a million messages take: `cargo bench -p waxwing-core --features benchmark`.
//!
//! Storing them takes minutes: with `WAXWING_BENCH_HISTORY=FILE` they are kept there, and used the next time. With
//! `WAXWING_BENCH_PROFILE=DIR` they are stored in the profile of this data folder, for measuring how it is opened.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use waxwing_core::benchmark::History;

const MESSAGES: u64 = 1_000_000;
const ROUNDS: u32 = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let profile = std::env::var_os("WAXWING_BENCH_PROFILE").map(PathBuf::from);
    let folder = tempfile::tempdir()?;
    let kept = std::env::var_os("WAXWING_BENCH_HISTORY").map(PathBuf::from);
    let path = kept.unwrap_or_else(|| folder.path().join("history.db"));
    if profile.is_none() && !path.exists() {
        let started = Instant::now();
        drop(History::of(&path, MESSAGES)?);
        let size = std::fs::metadata(&path)?.len() / (1024 * 1024);
        println!("{MESSAGES} messages stored and indexed: {:.1?}, {size} MiB", started.elapsed());
    }
    let history = match profile {
        Some(data) => History::in_profile(&data, MESSAGES)?,
        None => History::open(&path)?,
    };
    for query in [
        "needle",
        "marmalade",
        "the",
        "the and you",
        "umbrella piano",
        "tele*",
        "t*",
        "\"good home\"",
        "from:friend7 lantern",
        "from:friend7 the",
        "in:friend3 the -and",
        "in:friend3 needle",
        "after:2024-06-01 before:2024-06-02 marmalade",
        "before:2023-12-01 the",
        "after:2025-10-01 the",
        "from:alice",
        "before:2024-01-01",
    ] {
        let (mut first, mut rest, mut hits) = (Duration::ZERO, Duration::ZERO, 0);
        for round in 0..=ROUNDS {
            let started = Instant::now();
            hits = history.search(query)?.hits.len();
            *(if round == 0 { &mut first } else { &mut rest }) += started.elapsed();
        }
        println!("{query:48} {hits:3} shown, first {first:9.1?}, then {:9.1?}", rest / ROUNDS);
    }
    Ok(())
}
