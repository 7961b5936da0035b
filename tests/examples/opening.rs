//! How long the chat screen takes from the start of the program to its first picture with messages, and how much memory the
//! program has then: `cargo run --release --package waxwing-tests --example opening -- DATA_DIR CHAT WORD [PASSWORD_FILE]`.
//!
//! The messages count as shown when WORD stands on the screen five times. `WAXWING_TEST_BINARIES` names the folder of the
//! release programs; docs/PERFORMANCE.md says how a profile comes to a million messages.

use anyhow::{Context as _, Result};
use std::{
    env, fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use waxwing_tests::Tty;

const ROUNDS: u32 = 7;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [data, chat, word, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("give a data folder, a chat, and a word that its last messages have");
    };
    let program =
        Path::new(&env::var("WAXWING_TEST_BINARIES").context("WAXWING_TEST_BINARIES is not set")?).join("waxwing");
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let mut command = Command::new(&program);
        command.args(["--data-dir", data]);
        if let [password, ..] = rest {
            command.args(["--password-file", password]);
        }
        command.args(["chat", chat]);
        let since = Instant::now();
        let mut screen = Tty::start(command, 120, 40)?;
        let composer = format!("Message {chat}");
        screen.wait_until("the chat", |screen| {
            let text = screen.contents();
            text.contains(&composer) && text.matches(word.as_str()).count() >= 5
        })?;
        let took = since.elapsed();
        // What was only needed to open it has been given back by then.
        std::thread::sleep(Duration::from_millis(500));
        let status = fs::read_to_string(format!("/proc/{}/status", screen.id()))?;
        let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or("?").to_owned();
        println!("{:7.1} ms   {}   {}", took.as_secs_f64() * 1000.0, line("VmRSS"), line("VmHWM"));
        times.push(took);
    }
    times.sort();
    if let Some(middle) = times.get(times.len() / 2) {
        println!("median {:.1} ms", middle.as_secs_f64() * 1000.0);
    }
    Ok(())
}
