//! How long a new device takes to open, check and store a backup of 100,000 messages, without the network:
//! `cargo bench -p waxwing-core --features benchmark`.

use std::time::Instant;
use waxwing_core::benchmark::Backup;

const MESSAGES: u64 = 100_000;
const ROUNDS: usize = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let started = Instant::now();
    let backup = Backup::of(MESSAGES)?;
    println!("sealed {MESSAGES} messages into {} segments: {:.1?}", backup.segments(), started.elapsed());
    for round in 1..=ROUNDS {
        let started = Instant::now();
        let restored = backup.restore(&folder.path().join(format!("{round}.db")))?;
        assert_eq!(restored, MESSAGES);
        println!("restored {restored} messages: {:.1?}", started.elapsed());
    }
    Ok(())
}
