//! How a command fails: one line for people or one JSON object for scripts on standard error, and an exit status.

use crate::install::{InstallError, Status};
use serde_json::json;
use std::{borrow::Cow, fmt, process::ExitCode};

/// What happened, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}. Next: {next}")]
pub struct Failure {
    /// A short stable name for scripts.
    pub code: Cow<'static, str>,
    /// What happened and why, in one line.
    pub message: String,
    /// What to do, without a full stop.
    pub next: String,
    /// The exit status.
    pub status: Status,
}

impl Failure {
    /// A failure that the user can mend.
    pub fn user(code: &'static str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), next: next.into(), status: Status::User }
    }

    /// A failure that nobody foresaw.
    pub fn unexpected(message: impl fmt::Display) -> Self {
        let next = "try again, and report it if it stays".to_owned();
        Self { code: "unexpected".into(), message: message.to_string(), next, status: Status::Unexpected }
    }

    /// Tells it on standard error and returns the exit code.
    pub fn report(&self, json: bool) -> ExitCode {
        let line = |text: &str| text.split('\n').map(str::trim).collect::<Vec<_>>().join(" ");
        match json {
            true => {
                eprintln!("{}", json!({"error": {"code": self.code, "message": self.message, "next": self.next}}));
            }
            false => eprintln!("error: {}", line(&self.to_string())),
        }
        ExitCode::from(self.status as u8)
    }

    /// Ends a command whose arguments clap refused, or that only asked for help: 0 for help, else 1.
    pub fn usage(error: &clap::Error, json: bool) -> ExitCode {
        if !error.use_stderr() {
            // A closed pipe (`--help | head`) is no failure.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        if json {
            let text = error.to_string();
            let message = text.lines().next().unwrap_or_default();
            let message = message.strip_prefix("error: ").unwrap_or(message);
            return Self::user("usage", message, "see --help").report(true);
        }
        let _ = error.print();
        ExitCode::from(Status::User as u8)
    }
}

impl From<InstallError> for Failure {
    fn from(error: InstallError) -> Self {
        Self { code: error.code().into(), message: error.to_string(), next: error.next(), status: error.status() }
    }
}
