//! `waxwing-bench` measures a Waxwing server with the load of its users, and, in the same run, the floor: what the machine
//! gives a bare TLS relay, and the same with SQLite's group commit. A figure without its floor says more about the machine
//! than about the server.
//!
//! The load and the server share the machine's cores; the floor does so too. The server and the floors are processes of their
//! own, so that their processor time is told apart from the load's.

mod charts;
mod cli;
mod compare;
mod failure;
mod floor;
mod pairs;
mod people;
mod place;
mod process;
mod progress;
mod report;
mod wire;
mod workloads;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
