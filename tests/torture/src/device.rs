//! A device: a `waxwing daemon` behind a proxy of its own, asked through its socket, killed and started at will.

use crate::history::{Line, View};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::Stdio,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use waxwing_tests::{Clock, DEADLINE, Proxy, Running, User, bear_full_disks, copy_folder, link_with_port};

/// See the module.
pub(crate) struct Device {
    /// As `alice.1`.
    pub(crate) name: String,
    pub(crate) proxy: Proxy,
    user: User,
    daemon: Mutex<Option<Running>>,
    /// What it sees instead of the true time, if the run moves clocks.
    pub(crate) clock: Option<Clock>,
    /// Set for the next start only.
    crash_at: Mutex<Option<String>>,
}

/// Why a device did not answer as wanted.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It answered with an error.
    Said(String),
    /// No answer came.
    Silent(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Said(what) | Self::Silent(what) => f.write_str(what),
        }
    }
}

impl Device {
    /// A device with a new account, or a further one of an account, which is not started yet.
    pub(crate) fn enrol(link: &str, port: u16, username: &str, number: usize, with_clock: bool) -> Result<Self> {
        let proxy = Proxy::start(port)?;
        let link = link_with_port(link, proxy.port())?;
        let mut user = match number {
            1 => User::sign_up(&link, username)?,
            _ => User::log_in(&link, username)?,
        };
        let name = format!("{username}.{number}");
        let clock = with_clock.then(|| Clock::new(user.place().join("clock"))).transpose()?;
        for (variable, value) in clock.iter().flat_map(Clock::variables) {
            user.set(variable, value);
        }
        Ok(Self { name, proxy, user, daemon: Mutex::new(None), clock, crash_at: Mutex::new(None) })
    }

    pub(crate) fn username(&self) -> &str {
        self.user.name()
    }

    fn daemon(&self) -> MutexGuard<'_, Option<Running>> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log_file(&self) -> PathBuf {
        self.user.place().join("log")
    }

    /// Starts the daemon (again). It does not wait for a connection.
    pub(crate) fn start(&self) -> Result<()> {
        let mut daemon = self.daemon();
        *daemon = None;
        let mut command = bear_full_disks(&self.user.command(&["daemon"])?);
        if let Some(point) = self.crash_at.lock().unwrap_or_else(PoisonError::into_inner).take() {
            command.env("WAXWING_CRASH_AT", point);
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_file())?;
        let mut running = Running::start_with_log(command.stdin(Stdio::null()), log)?;
        match running.next_line(DEADLINE).as_deref() {
            Some("ready") => *daemon = Some(running),
            _ => bail!("{} does not start: {:?}\n{}", self.name, running.end(DEADLINE)?, self.log()),
        }
        Ok(())
    }

    /// Lets the next start die at a named point.
    pub(crate) fn crash_at(&self, point: &str) {
        *self.crash_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(point.to_owned());
    }

    /// `kill -9`; says whether it ran.
    pub(crate) fn kill(&self) -> bool {
        self.daemon().take().is_some()
    }

    /// Whether it has ended by itself, or was never started.
    pub(crate) fn has_ended(&self) -> bool {
        self.daemon().as_mut().is_none_or(Running::has_ended)
    }

    pub(crate) fn with_daemon(&self, act: impl FnOnce(&Running) -> Result<()>) -> bool {
        self.daemon().as_ref().is_some_and(|running| act(running).is_ok())
    }

    /// All that it has said on standard error.
    pub(crate) fn log(&self) -> String {
        fs::read(self.log_file()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Calls a method of the daemon.
    pub(crate) fn call(&self, method: &str, params: &Value, patience: Duration) -> Result<Value, Refusal> {
        let answer = self.ask(method, params, patience);
        let answer = answer.map_err(|error| Refusal::Silent(format!("{error:#}")))?;
        match answer.get("error") {
            Some(error) => Err(Refusal::Said(error["message"].as_str().unwrap_or_default().to_owned())),
            None => Ok(answer["result"].clone()),
        }
    }

    fn ask(&self, method: &str, params: &Value, patience: Duration) -> Result<Value> {
        let path = fs::read_to_string(self.profile().join("socket")).context("no socket")?;
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        stream.write_all(format!("{request}\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        ensure!(!line.is_empty(), "the daemon has ended");
        Ok(serde_json::from_str(&line)?)
    }

    /// What it shows of a chat; nothing if it has no such chat. `name` is what all call it.
    pub(crate) fn view(&self, chat: &str, name: &str, patience: Duration) -> Result<View, Refusal> {
        let lines = match self.call("history", &json!({ "chat": chat }), patience) {
            Ok(history) => history["messages"].as_array().into_iter().flatten().map(line).collect(),
            Err(Refusal::Said(why)) if why.contains("no chat") => Vec::new(),
            Err(refusal) => return Err(refusal),
        };
        Ok(View { device: self.name.clone(), user: self.username().to_owned(), chat: name.to_owned(), lines })
    }

    fn profile(&self) -> PathBuf {
        self.user.data().join("default")
    }

    /// Copies everything of it, which must not run, to keep it.
    pub(crate) fn copy(&self) -> Result<()> {
        copy_folder(&self.user.data(), &self.user.place().join("copy"))
    }

    /// Puts the copy back.
    pub(crate) fn put_back(&self) -> Result<()> {
        copy_folder(&self.user.place().join("copy"), &self.user.data())
    }

    /// Leaves its files where they are; returns where.
    pub(crate) fn keep(&mut self) -> PathBuf {
        self.user.keep()
    }
}

fn line(message: &Value) -> Line {
    let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
    let is_text = message["kind"] == "text";
    Line {
        kind: text("kind"),
        id: text("id"),
        from: text("from"),
        text: text(if is_text { "text" } else { "reason" }),
        seq: message["seq"].as_u64(),
        state: text("state"),
    }
}
