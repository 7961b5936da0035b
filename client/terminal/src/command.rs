//! The commands for scripts, one file per family. Each opens the profile, does one thing, prints it and closes.

pub(crate) mod account;
pub(crate) mod chat;
pub(crate) mod receive;
pub(crate) mod send;
pub(crate) mod show;

use crate::{Failure, cli::Options, password};
use std::time::Duration;
use waxwing_core::{Client, Error, check_username};

/// How long a command waits for the server.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens the profile that is meant.
async fn open(options: &Options) -> Result<Client, Failure> {
    password::open(&options.profile()?, options.password_file.as_deref(), options.json).await
}

/// Closes the client after a command. What the command did is on disk already: a failure here changes nothing.
async fn close(client: Client) {
    if let Err(error) = client.close().await {
        tracing::debug!(%error, "closing");
    }
}

/// The chat's name, where there is such a chat or such a user: asks the server for a user who is new here, so that a
/// mistyped name leaves no chat behind.
async fn find(client: &Client, user: &str) -> Result<String, Error> {
    let user = check_username(user)?;
    if client.chats().await?.iter().any(|chat| chat.name == user) {
        return Ok(user);
    }
    client.caught_up(PATIENCE).await?;
    client.start_chat(&user).await
}

/// The network may come back by itself; all other errors stay what they are.
pub(crate) fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Unreachable { .. } | Error::ConnectionLost(_) | Error::TimedOut(_))
}
