//! A private nats-server on a free port: killed and started again at will.

use crate::{DEADLINE, free_port};
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Instant,
};
use tempfile::TempDir;

/// A running nats-server; killed when dropped.
pub struct Nats {
    child: Option<Child>,
    place: TempDir,
    port: u16,
}

impl Nats {
    /// Starts one on 127.0.0.1.
    ///
    /// # Errors
    /// nats-server is not installed, or does not start.
    pub fn start() -> Result<Self> {
        let place = tempfile::Builder::new().prefix("waxwing-nats.").tempdir()?;
        let mut nats = Self { child: None, place, port: free_port()? };
        nats.restart()?;
        Ok(nats)
    }

    /// Where it listens, as the configuration of servers has it.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it, if it runs, and starts it (again) on its port.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
        let program = std::env::split_paths(&path).map(|folder| folder.join("nats-server")).find(|file| file.exists());
        let program = program.context("nats-server is not installed (Debian: apt-get install nats-server)")?;
        let mut command = Command::new(program);
        command.args(["--addr", "127.0.0.1", "--port", &self.port.to_string()]);
        let log = fs::File::create(self.place.path().join("log"))?;
        self.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))));
            ensure!(!ended && begun.elapsed() < DEADLINE, "nats-server does not start: {}", self.log());
            std::thread::yield_now();
        }
        Ok(())
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}
