//! `waxwing-setup try`: the main job, shown from end to end on a throw-away server.
//!
//! Everything is real: the server is a process of its own, set up as anyone sets one up, and the clients are the
//! client's own core. It owns a temporary folder and leaves nothing behind.

mod interactive;
mod scripted;
mod throwaway;

use anyhow::Context as _;
use std::{io::IsTerminal, process::ExitCode, time::Duration};

/// Plays the demonstration; by itself if `scripted` or if there is no terminal, else with the person at it.
pub fn run(scripted: bool) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting")?;
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let done = match scripted || !terminal {
        true => runtime.block_on(scripted::play()).map(|()| ExitCode::SUCCESS),
        false => runtime.block_on(interactive::play()),
    };
    // Its threads must be gone before the process ends and OpenSSL cleans up under them; but a prompt that was
    // interrupted still waits for its line, so not for ever.
    runtime.shutdown_timeout(Duration::from_millis(500));
    done
}
