//! What a command failed of, its exit code and its words on standard error.
//!
//! The exit codes are an API: 0 done, 1 user error, 2 unexpected, 3 server or network, 4 untrusted identity,
//! 5 rate-limited, 6 not authenticated (and 130 when interrupted by a signal).

use crate::sanitise::{self, Breaks, sanitise};
use serde::Serialize;
use std::io;
use waxwing_core::{Error, ErrorKind};

/// Why a command or the menu ended early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The client core says why.
    #[error(transparent)]
    Core(#[from] Error),
    /// It was called in a way that cannot work.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        next: String,
    },
    /// The process that holds the profile says why; this version knows no more of it than its words.
    #[error("{message}")]
    Holder {
        /// What happened.
        message: String,
        /// Its class.
        kind: ErrorKind,
        /// What to do.
        next: Option<String>,
    },
    /// The process that held the profile went away with a question unanswered.
    #[error("the waxwing process that held this profile ended before it answered")]
    HolderEnded,
    /// Reading from or writing to the terminal, a pipe or a file failed.
    #[error("input or output failed: {0}")]
    Io(#[from] io::Error),
    /// The backup fails, or has lacked messages for long.
    #[error("the backup is not up to date")]
    StaleBackup,
    /// So many messages differ between the backup and this device.
    #[error("{0} messages are not the same in the backup and on this device")]
    DifferentBackup(u64),
    /// SIGINT, SIGTERM or Ctrl+C.
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    /// A wrong use, and what to do instead.
    pub(crate) fn usage(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), next: next.into() }
    }

    /// The process that holds the profile answers what nobody understands.
    pub(crate) fn foreign_answer() -> Self {
        Self::Holder {
            message: "the waxwing process that holds this profile is of another version".to_owned(),
            kind: ErrorKind::Unexpected,
            next: Some("end it, and start it again with this version".to_owned()),
        }
    }

    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Core(error) => error.kind(),
            Self::Holder { kind, .. } => *kind,
            Self::Usage { .. } | Self::StaleBackup | Self::DifferentBackup(_) => ErrorKind::User,
            Self::HolderEnded | Self::Io(_) | Self::Interrupted => ErrorKind::Unexpected,
        }
    }

    /// The process's exit code. A reader that has enough (`waxwing history bob | head`) is no failure.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Interrupted => 130,
            _ => match self.kind() {
                ErrorKind::User => 1,
                ErrorKind::Unexpected => 2,
                ErrorKind::Network => 3,
                ErrorKind::Untrusted => 4,
                ErrorKind::RateLimited => 5,
                ErrorKind::NotAuthenticated => 6,
            },
        }
    }

    /// Nothing to say: interrupted by the user, or nobody reads any more.
    fn is_silent(&self) -> bool {
        matches!(self, Self::Interrupted) || self.exit_code() == 0
    }

    pub(crate) fn next(&self) -> Option<&str> {
        match self {
            Self::Core(error) => error.advice().or_else(|| advice(error)),
            Self::Usage { next, .. } => Some(next),
            Self::StaleBackup => Some("'waxwing backup now' tries again and says why it fails"),
            Self::DifferentBackup(_) => {
                Some("keep this device; 'waxwing backup off' and 'waxwing backup on' make a new backup of it")
            }
            Self::Holder { next, .. } => next.as_deref(),
            Self::HolderEnded => {
                Some("try again; if a message was being sent, look first whether 'waxwing history' has it")
            }
            Self::Io(_) | Self::Interrupted => None,
        }
    }

    /// The error in words for people, sanitised; more than one line if there is something to do next.
    pub fn in_words(&self) -> String {
        let said = sanitise(&self.to_string(), Breaks::Indented(2));
        match self.next() {
            Some(next) => format!("{said}\n  next: {next}"),
            None => said,
        }
    }

    /// The error as one JSON object: `{"error":{"kind","message","next"}}`.
    pub fn in_json(&self) -> String {
        let error = ErrorObject { kind: kind_name(self.kind()), message: &self.to_string(), next: self.next() };
        sanitise::json(&serde_json::json!({ "error": error }).to_string())
    }

    /// Says it on standard error, unless there is nothing to say.
    pub fn report(&self, as_json: bool) {
        use io::{IsTerminal as _, Write as _};
        if matches!(self, Self::Interrupted) && io::stderr().is_terminal() {
            // Whatever was being asked, the shell's prompt begins on its own line.
            let _ = writeln!(io::stderr());
        }
        if self.is_silent() {
            return;
        }
        // Where even standard error is closed, the exit code still tells.
        let _ = match as_json {
            true => writeln!(io::stderr(), "{}", self.in_json()),
            false => writeln!(io::stderr(), "waxwing: {}", self.in_words()),
        };
    }
}

/// What to do next where that depends on this program's commands.
fn advice(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::BadMessageId => "take the id of a message that 'waxwing receive --json' printed",
        Error::BadInput(_) => "correct it or leave it out",
        Error::BadProfileName(_) => "name another profile with --profile",
        Error::Refused(_) | Error::ServerMisbehaves(_) => "try again later; if it stays, tell the server's owner",
        Error::RateLimited { .. } => "wait, then try again",
        _ => return None,
    })
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    kind: &'static str,
    message: &'a str,
    next: Option<&'a str>,
}

pub(crate) fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::User => "user",
        ErrorKind::Unexpected => "unexpected",
        ErrorKind::Network => "network",
        ErrorKind::Untrusted => "untrusted",
        ErrorKind::RateLimited => "rate_limited",
        ErrorKind::NotAuthenticated => "not_authenticated",
    }
}

/// The class that has this name; an unknown one is unexpected.
pub(crate) fn kind_named(name: &str) -> ErrorKind {
    let kinds = [
        ErrorKind::User,
        ErrorKind::Network,
        ErrorKind::Untrusted,
        ErrorKind::RateLimited,
        ErrorKind::NotAuthenticated,
    ];
    kinds.into_iter().find(|kind| kind_name(*kind) == name).unwrap_or(ErrorKind::Unexpected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_the_exit_code_that_scripts_rely_on() {
        let code = |error: Error| Failure::from(error).exit_code();
        assert_eq!(code(Error::UnknownUser("bob".into())), 1);
        assert_eq!(code(Error::Storage("full".into())), 2);
        assert_eq!(code(Error::Unreachable { address: "a:1".into(), reason: "refused".into() }), 3);
        assert_eq!(code(Error::WrongServer { address: "a:1".into() }), 3);
        assert_eq!(code(Error::IdentityChanged("bob".into())), 4);
        assert_eq!(code(Error::RateLimited { seconds: 3 }), 5);
        assert_eq!(code(Error::WrongPassword), 6);
        assert_eq!(Failure::usage("a", "b").exit_code(), 1);
        assert_eq!(Failure::Io(io::ErrorKind::BrokenPipe.into()).exit_code(), 0);
        assert_eq!(Failure::Io(io::ErrorKind::StorageFull.into()).exit_code(), 2);
    }

    #[test]
    fn an_error_says_what_happened_and_what_to_do() {
        let failure = Failure::from(Error::UsernameTaken("bob".into()));
        assert_eq!(failure.in_words(), "the username 'bob' is taken\n  next: choose another username");
        let json: serde_json::Value = serde_json::from_str(&failure.in_json()).unwrap();
        assert_eq!(json["error"]["kind"], "user");
        assert_eq!(json["error"]["message"], "the username 'bob' is taken");
        assert_eq!(json["error"]["next"], "choose another username");
    }

    #[test]
    fn a_hostile_server_cannot_write_to_the_terminal_through_an_error() {
        let failure = Failure::from(Error::Refused("no \u{1b}]0;title\u{7}\u{9b}2J\nwaxwing: all is well".into()));
        assert!(!failure.in_words().chars().any(|c| c.is_control() && c != '\n'));
        assert!(!failure.in_words().contains("\nwaxwing"));
        assert!(!failure.in_json().chars().any(char::is_control));
    }
}
