//! What the system says of a process: processor time and memory, from /proc.

use anyhow::{Context as _, Result};
use serde::Serialize;
use std::fs;

/// What Linux counts a second of a process in, whatever the kernel's own clock is.
const TICKS: f64 = 100.0;

/// A process that is looked at, by its id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

/// What a process holds, in KiB.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Memory {
    /// Now.
    pub(crate) resident_kib: u64,
    /// At most, since it began.
    pub(crate) peak_kib: u64,
}

impl Process {
    /// The seconds that its threads have run, in the system's clock ticks (10 ms).
    pub(crate) fn cpu(self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.0);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        // The name in brackets may hold blanks; times are the 12th and 13th fields behind it.
        let fields = text.rsplit_once(')').context("no process's state")?.1;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        Ok(ticks as f64 / TICKS)
    }

    pub(crate) fn memory(self) -> Result<Memory> {
        let path = format!("/proc/{}/status", self.0);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse().ok()
        };
        let read = || Some(Memory { resident_kib: field("VmRSS")?, peak_kib: field("VmHWM")? });
        read().with_context(|| format!("{path} does not tell its memory"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs_and_holds_something() {
        let this = Process(std::process::id());
        let memory = this.memory().unwrap();
        assert!(memory.resident_kib > 100 && memory.peak_kib >= memory.resident_kib);
        let before = this.cpu().unwrap();
        let begun = std::time::Instant::now();
        // Some ticks of work, however busy the machine is.
        while this.cpu().unwrap() <= before {
            assert!(begun.elapsed().as_secs() < 60, "its work is not counted");
        }
    }
}
