//! The `waxwing-setup` program; see [`waxwing_setup::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    waxwing_setup::cli::run(std::env::args_os())
}
