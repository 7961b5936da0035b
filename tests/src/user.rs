//! A user: the real `waxwing` program with a data folder and a password of its own.

use crate::{DEADLINE, Outcome, Running, process::run_with_deadline, programs::program, server::bare};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The password of every user, unless a test changes it.
pub const PASSWORD: &str = "velvet-Quarry.91 lagoon tumbler";

/// A user on a device of their own. Dropping it deletes the device.
pub struct User {
    name: String,
    place: TempDir,
    settings: Vec<(String, String)>,
}

impl User {
    /// Somebody who has the program and a password, and no account yet.
    ///
    /// # Errors
    /// There is no place for files.
    pub fn new(name: &str) -> Result<Self> {
        let place = tempfile::Builder::new().prefix(&format!("waxwing-{name}.")).tempdir()?;
        let user = Self { name: name.to_owned(), place, settings: Vec::new() };
        user.set_password(PASSWORD)?;
        Ok(user)
    }

    /// Somebody with an account, who stays logged in (so that not every command stretches the password).
    ///
    /// # Errors
    /// Sign-up fails; says what the program printed.
    pub fn sign_up(link: &str, name: &str) -> Result<Self> {
        let user = Self::new(name)?;
        user.try_sign_up(link, &["--remember"])?.expect_code(0)?;
        Ok(user)
    }

    /// Another device of an account, on which the user stays logged in.
    ///
    /// # Errors
    /// Logging in fails; says what the program printed.
    pub fn log_in(link: &str, name: &str) -> Result<Self> {
        let user = Self::new(name)?;
        user.try_log_in(link, &["--remember"])?.expect_code(0)?;
        Ok(user)
    }

    /// `waxwing signup` with further flags.
    ///
    /// # Errors
    /// It does not end.
    pub fn try_sign_up(&self, link: &str, flags: &[&str]) -> Result<Outcome> {
        self.run(&[&["signup", "--server", link, "--username", &self.name], flags].concat())
    }

    /// `waxwing login` with further flags.
    ///
    /// # Errors
    /// It does not end.
    pub fn try_log_in(&self, link: &str, flags: &[&str]) -> Result<Outcome> {
        self.run(&[&["login", "--server", link, "--username", &self.name], flags].concat())
    }

    /// The username.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Everything that the program keeps on this device.
    pub fn data(&self) -> PathBuf {
        self.place.path().join("data")
    }

    /// The file that the program reads the password from.
    pub fn password_file(&self) -> PathBuf {
        self.place.path().join("password")
    }

    /// Changes what the user takes for the password.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_password(&self, password: &str) -> Result<()> {
        Ok(fs::write(self.password_file(), format!("{password}\n"))?)
    }

    /// Sets an environment variable for the programs of this user that start from now on.
    pub fn set(&mut self, variable: &str, value: impl ToString) {
        self.settings.push((variable.to_owned(), value.to_string()));
    }

    /// A command of `waxwing`, not started yet.
    ///
    /// # Errors
    /// The program does not build.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = bare(&program("waxwing")?);
        command.env("HOME", self.place.path()).env("WAXWING_PASSWORD_FILE", self.password_file());
        command.arg("--data-dir").arg(self.data()).args(arguments);
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Runs a command with `--json` to its end.
    ///
    /// # Errors
    /// It is not done before the deadline.
    pub fn run(&self, arguments: &[&str]) -> Result<Outcome> {
        run_with_deadline(self.command(arguments)?.arg("--json"), DEADLINE)
    }

    /// Sends a message; done when the server has it on disk.
    ///
    /// # Errors
    /// The command fails.
    pub fn send(&self, to: &str, text: &str) -> Result<Value> {
        self.run(&["send", to, text])?.expect_code(0)?.json()
    }

    /// What is new since the last time, waiting a while for a first message.
    ///
    /// # Errors
    /// The command fails.
    pub fn receive(&self) -> Result<Vec<Value>> {
        self.run(&["receive", "--timeout", "20"])?.expect_code(0)?.json_lines()
    }

    /// What is new since the last time, without waiting for more than the server has now.
    ///
    /// # Errors
    /// The command fails.
    pub fn receive_now(&self) -> Result<Vec<Value>> {
        self.run(&["receive"])?.expect_code(0)?.json_lines()
    }

    /// A chat as stored on this device, oldest first.
    ///
    /// # Errors
    /// The command fails.
    pub fn history(&self, chat: &str) -> Result<Vec<Value>> {
        self.run(&["history", chat])?.expect_code(0)?.json_lines()
    }

    /// Starts `receive --follow`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn follow(&self) -> Result<Follow> {
        let mut command = self.command(&["receive", "--follow", "--json"])?;
        Ok(Follow(Running::start(command.stdin(Stdio::null()))?))
    }

    /// Starts `chat`, fed by a pipe.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn chat(&self, with: &str) -> Result<Chat> {
        Ok(Chat(Running::start(self.command(&["chat", with, "--plain"])?.stdin(Stdio::piped()))?))
    }

    /// Leaves everything where it is when this is dropped; returns where.
    pub fn keep(&mut self) -> PathBuf {
        self.place.disable_cleanup(true);
        self.place.path().to_owned()
    }

    /// The folder that holds everything of this user.
    pub fn place(&self) -> &Path {
        self.place.path()
    }
}

/// Puts a copy of a folder, of what was on a device say, somewhere else, in place of what is there.
///
/// # Errors
/// A file cannot be read or written.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()? {
            kind if kind.is_dir() => copy_folder(&entry.path(), &target)?,
            kind if kind.is_file() => drop(fs::copy(entry.path(), target)?),
            _ => {}
        }
    }
    Ok(())
}

/// A running `receive --follow`.
pub struct Follow(pub Running);

impl Follow {
    /// The next message.
    ///
    /// # Errors
    /// None comes before the deadline.
    pub fn message(&mut self) -> Result<Value> {
        let line = self.0.next_line(DEADLINE).context("no message came")?;
        serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))
    }

    /// The texts of the next messages.
    ///
    /// # Errors
    /// They do not come before the deadline.
    pub fn next_texts(&mut self, count: usize) -> Result<Vec<String>> {
        (0..count)
            .map(|index| self.message().map(|message| text(&message)).with_context(|| format!("message {index}")))
            .collect()
    }

    /// Ends it as Ctrl+C does.
    ///
    /// # Errors
    /// It does not end well.
    pub fn stop(self) -> Result<()> {
        self.0.interrupt()?;
        self.0.end(DEADLINE)?.expect_code(0).map(drop)
    }
}

/// A running `chat`.
pub struct Chat(pub Running);

impl Chat {
    /// Types a line.
    ///
    /// # Errors
    /// The program has ended.
    pub fn say(&mut self, text: &str) -> Result<()> {
        self.0.write_line(text)
    }

    /// Waits until the program has printed a line that contains this.
    ///
    /// # Errors
    /// It does not, before the deadline.
    pub fn wait_for(&mut self, part: &str) -> Result<String> {
        let deadline = Instant::now() + DEADLINE;
        while let Some(line) = self.0.next_line(deadline.saturating_duration_since(Instant::now())) {
            if line.contains(part) {
                return Ok(line);
            }
        }
        anyhow::bail!("the chat never showed {part:?}")
    }

    /// Ends the input and waits until the program is done.
    ///
    /// # Errors
    /// It does not end well.
    pub fn leave(self, limit: Duration) -> Result<Outcome> {
        let outcome = self.0.end(limit)?;
        ensure!(outcome.code == 0, "the chat ended with {}: {}", outcome.code, outcome.stderr);
        Ok(outcome)
    }
}

/// The texts of messages.
pub fn texts(messages: &[Value]) -> Vec<String> {
    messages.iter().map(text).collect()
}

fn text(message: &Value) -> String {
    message["text"].as_str().unwrap_or("(no text)").to_owned()
}
