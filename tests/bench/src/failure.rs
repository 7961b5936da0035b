//! Why a measurement did not happen: what, what to do next, and the exit code, which is as those of the other programs.

use serde_json::json;
use std::process::ExitCode;
use waxwing_protocol::{ErrorCode, Refusal};

/// The exit codes of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something in the command.
    User = 1,
    /// Nobody foresaw it.
    Unexpected = 2,
    /// The server cannot be reached, or says no.
    Network = 3,
    /// The server is not the one of the link.
    Identity = 4,
    /// The server's limits hold for this program, too.
    Limited = 5,
}

/// See the module.
#[derive(Debug, thiserror::Error)]
#[error("{message}. Next: {next}")]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
    next: String,
}

impl Failure {
    pub(crate) fn error(kind: Kind, message: impl Into<String>, next: impl Into<String>) -> anyhow::Error {
        Self { kind, message: message.into(), next: next.into() }.into()
    }

    pub(crate) fn user(message: impl Into<String>, next: impl Into<String>) -> anyhow::Error {
        Self::error(Kind::User, message, next)
    }

    /// The server refused something that a load needs.
    pub(crate) fn refused(what: &str, refusal: &Refusal) -> anyhow::Error {
        let message = format!("the server refused {what}: {}", refusal.code);
        match refusal.code {
            ErrorCode::RateLimited | ErrorCode::Busy => Self::error(
                Kind::Limited,
                message,
                "lift the server's limits, or let this program start a server itself",
            ),
            ErrorCode::SignUpClosed | ErrorCode::BadInvite => {
                Self::error(Kind::Network, message, "give the link of an invite that lets enough accounts in")
            }
            _ => Self::error(Kind::Network, message, "look into the server's log"),
        }
    }
}

/// Tells it on standard error.
pub(crate) fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    let unforeseen;
    let failure = match error.downcast_ref::<Failure>() {
        Some(failure) => failure,
        None => {
            let (message, next) = (format!("{error:#}"), "try again, and report it if it stays".to_owned());
            unforeseen = Failure { kind: Kind::Unexpected, message, next };
            &unforeseen
        }
    };
    match json {
        true => eprintln!("{}", json!({"error": {"message": failure.message, "next": failure.next}})),
        false => eprintln!("error: {failure}"),
    }
    ExitCode::from(failure.kind as u8)
}
