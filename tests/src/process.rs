//! Running programs with deadlines, so that a hanging one fails its test and not the whole run.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Itself, if the program exited with this code.
    ///
    /// # Errors
    /// It exited with another; says what it printed.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Result<Self> {
        let Self { code: actual, stdout, stderr } = &self;
        ensure!(*actual == code, "exit code {actual} and not {code}\nstdout: {stdout}\nstderr: {stderr}");
        Ok(self)
    }

    /// Standard output as one JSON object a line.
    ///
    /// # Errors
    /// A line is none.
    pub fn json_lines(&self) -> Result<Vec<Value>> {
        let parse = |line: &str| serde_json::from_str(line).with_context(|| format!("not JSON: {line}"));
        self.stdout.lines().filter(|line| !line.trim().is_empty()).map(parse).collect()
    }

    /// Standard output as a single JSON object.
    ///
    /// # Errors
    /// It is something else.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("not one JSON object: {}", self.stdout))
    }

    /// The message of the error that was printed as JSON on standard error.
    ///
    /// # Errors
    /// There is none.
    pub fn error(&self) -> Result<String> {
        let line = self.stderr.lines().find(|line| line.starts_with('{')).context("no JSON on standard error")?;
        let object: Value = serde_json::from_str(line)?;
        Ok(object["error"]["message"].as_str().context("no error.message")?.to_owned())
    }
}

/// Runs a program to its end.
///
/// # Errors
/// It does not start, or is not done in time; then it is killed.
pub fn run_with_deadline(command: &mut Command, limit: Duration) -> Result<Outcome> {
    command.stdin(Stdio::null());
    Running::start(command)?.end(limit)
}

/// The same command for a program that is to live on when a file cannot become longer (see [`Running::limit_files`]): the
/// write fails, as on a full disk, and no signal ends it.
pub fn bear_full_disks(command: &Command) -> Command {
    let mut patient = Command::new("sh");
    patient.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
    patient.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    patient
}

/// A program that runs; killed when dropped. Its output is read from the first moment, so it never waits for us.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: String,
    stderr: Receiver<String>,
    name: String,
}

impl Running {
    /// Starts it. Standard input is a pipe unless the command says otherwise.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &mut Command) -> Result<Self> {
        Self::spawn(command.stderr(Stdio::piped()))
    }

    /// Starts it with standard error going to a file.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_with_log(command: &mut Command, log: std::fs::File) -> Result<Self> {
        Self::spawn(command.stderr(log))
    }

    /// Starts it with standard error going where the command says.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        let name = format!("{command:?}");
        let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("starting {name}"))?;
        let stdin = child.stdin.take();
        let (out, err) = (child.stdout.take().context("stdout")?, child.stderr.take());
        let (line_sender, lines) = channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(out);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(length) if length > 0) {
                if line_sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
                line.clear();
            }
        });
        let (error_sender, stderr) = channel();
        thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut err) = err {
                let _ = err.read_to_end(&mut text);
            }
            let _ = error_sender.send(String::from_utf8_lossy(&text).into_owned());
        });
        Ok(Self { child, stdin, lines, seen: String::new(), stderr, name })
    }

    /// The next line of standard output, without its end; `None` if none comes in time or the output has ended.
    pub fn next_line(&mut self, limit: Duration) -> Option<String> {
        let line = self.lines.recv_timeout(limit).ok()?;
        self.seen.push_str(&line);
        Some(line.trim_end_matches(['\n', '\r']).to_owned())
    }

    /// Writes a line to standard input.
    ///
    /// # Errors
    /// It reads no more.
    pub fn write_line(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("standard input is closed")?;
        Ok(writeln!(stdin, "{line}")?)
    }

    /// Closes standard input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Its process's number.
    ///
    /// # Errors
    /// It is none that the system's calls take.
    pub fn id(&self) -> Result<i32> {
        Ok(i32::try_from(self.child.id())?)
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// It has ended already.
    pub fn terminate(&self) -> Result<()> {
        self.signal(rustix::process::Signal::TERM)
    }

    /// Sends SIGHUP.
    ///
    /// # Errors
    /// It has ended already.
    pub fn hang_up(&self) -> Result<()> {
        self.signal(rustix::process::Signal::HUP)
    }

    /// Sends SIGINT.
    ///
    /// # Errors
    /// It has ended already.
    pub fn interrupt(&self) -> Result<()> {
        self.signal(rustix::process::Signal::INT)
    }

    /// Stops it where it is (SIGSTOP), as a machine that sleeps does.
    ///
    /// # Errors
    /// It has ended already.
    pub fn pause(&self) -> Result<()> {
        self.signal(rustix::process::Signal::STOP)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// It has ended already.
    pub fn resume(&self) -> Result<()> {
        self.signal(rustix::process::Signal::CONT)
    }

    /// Sets how long files may become that it writes, as a disk with so much room does; `None` for no bound. The program
    /// must have been started with SIGXFSZ ignored.
    ///
    /// # Errors
    /// It has ended already.
    pub fn limit_files(&self, bytes: Option<u64>) -> Result<()> {
        let limit = rustix::process::Rlimit { current: bytes, maximum: None };
        let pid = rustix::process::Pid::from_raw(self.id()?).context("pid")?;
        rustix::process::prlimit(Some(pid), rustix::process::Resource::Fsize, limit)?;
        Ok(())
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn signal(&self, signal: rustix::process::Signal) -> Result<()> {
        let pid = rustix::process::Pid::from_raw(self.id()?).context("pid")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// `kill -9`, and waits until it is dead.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// It is not done in time; then it is killed.
    pub fn end(mut self, limit: Duration) -> Result<Outcome> {
        self.close_input();
        let deadline = Instant::now() + limit;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push_str(&line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return self.too_slow(limit),
            }
        }
        let Ok(stderr) = self.stderr.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
            return self.too_slow(limit);
        };
        let status = self.child.wait()?;
        Ok(Outcome { code: status.code().unwrap_or(-1), stdout: std::mem::take(&mut self.seen), stderr })
    }

    fn too_slow(&mut self, limit: Duration) -> Result<Outcome> {
        self.kill();
        let stderr = self.stderr.recv_timeout(Duration::from_secs(5)).unwrap_or_default();
        bail!("not done in {limit:?}: {}\nstdout: {}\nstderr: {stderr}", self.name, self.seen)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
