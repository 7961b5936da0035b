//! The `waxwing-server` program; see [`waxwing_server::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    waxwing_server::cli::run(std::env::args_os())
}
