//! The `waxwing` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    waxwing_terminal::run(std::env::args_os())
}
