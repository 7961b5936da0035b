//! Files on their way between a disk and the server. They pass in pieces, so that their length costs no memory.
//!
//! The invariants: no two different bytes leave under one key; what is saved is complete and what its sender sealed before it has its
//! name, lies in the folder that was asked for, and takes the place of nothing. This module must not know chats.

mod download;
mod media;
mod name;
mod source;
mod upload;

pub use media::Picture;

pub(crate) use download::{download, is_saved};
pub(crate) use source::{Prepared, prepare};
pub(crate) use upload::upload;

use crate::Error;
use std::{collections::VecDeque, io, path::Path, time::Duration};
use tokio::sync::oneshot;

/// How many chunks are on their way at a time.
const WINDOW: usize = 4;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(60);

const _: () = assert!(waxwing_e2ee::attachment::CHUNK == waxwing_protocol::limits::ATTACHMENT_CHUNK);
const _: () = assert!(waxwing_e2ee::attachment::LARGEST == waxwing_protocol::limits::ATTACHMENT);

/// Requests whose answers are due, in their order.
type Due<T> = VecDeque<(T, oneshot::Receiver<crate::transport::Answer>)>;

/// Waits for an answer.
async fn answer(due: oneshot::Receiver<crate::transport::Answer>) -> crate::transport::Answer {
    use crate::transport::CallError;
    match tokio::time::timeout(ANSWER, due).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(CallError::Lost("closed".into())),
        Err(_) => Err(CallError::Lost("the server does not answer".into())),
    }
}

/// A file of the user's that cannot be used.
fn cannot(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::File { path: path.display().to_string(), reason: format!("cannot {what} it: {error}") }
}
