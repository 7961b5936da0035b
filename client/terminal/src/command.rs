//! The commands for scripts, one file per family. Each asks the profile for one thing and prints the answer.

pub(crate) mod account;
pub(crate) mod backup;
pub(crate) mod chat;
pub(crate) mod daemon;
pub(crate) mod deeds;
pub(crate) mod devices;
pub(crate) mod files;
pub(crate) mod groups;
pub(crate) mod lock;
pub(crate) mod owner;
pub(crate) mod preferences;
pub(crate) mod receive;
pub(crate) mod search;
pub(crate) mod send;
pub(crate) mod show;
pub(crate) mod transfer;
pub(crate) mod trust;
pub(crate) mod users;

use crate::{
    Failure,
    cli::Options,
    rpc::{Backend, Method, Purpose},
};
use std::time::Duration;
use waxwing_core::Error;

/// How long a command waits for the server.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks the profile that is meant for one thing.
pub(crate) async fn ask<M: Method>(options: &Options, params: M::Params) -> Result<M::Result, Failure> {
    let backend = Backend::open(options, Purpose::Once).await?;
    let answer = backend.call::<M>(params).await;
    backend.close().await;
    answer
}

/// The network may come back by itself; all other errors stay what they are.
pub(crate) fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Unreachable { .. } | Error::ConnectionLost(_) | Error::TimedOut(_))
}

/// The same for what failed here or in the process that holds the profile.
pub(crate) fn may_recover(failure: &Failure) -> bool {
    matches!(failure, Failure::Core(error) if may_pass(error))
}
