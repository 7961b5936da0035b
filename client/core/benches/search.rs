//! How long the first results of a search in a million messages take: `cargo bench -p waxwing-core --features benchmark`.

use std::time::{Duration, Instant};
use waxwing_core::benchmark::History;

const MESSAGES: u64 = 1_000_000;
const ROUNDS: u32 = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("history.db");
    let started = Instant::now();
    let history = History::of(&path, MESSAGES)?;
    let size = std::fs::metadata(&path)?.len() / (1024 * 1024);
    println!("{MESSAGES} messages stored and indexed: {:.1?}, {size} MiB", started.elapsed());
    for query in [
        "needle",
        "the",
        "the and you",
        "umbrella piano",
        "tele*",
        "\"good home\"",
        "from:friend7 lantern",
        "in:friend3 the -and",
        "after:2024-06-01 before:2024-06-02 marmalade",
        "from:alice",
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
