//! Sending a file: begun, then every chunk that the server lacks, then finished. Whatever interrupts it, it is taken up again
//! with what is still missing.

use super::{Due, WINDOW, answer, source::Source};
use crate::{
    Error,
    account::blocking,
    store::files::Upload,
    transport::{Answer, CallError, Caller, unexpected},
};
use std::{sync::Arc, time::Duration};
use waxwing_protocol::{AttachmentId, Bytes, ErrorCode, Refusal, Request, Response};

/// How often a file is gone through whose chunks the server keeps missing.
const TRIES: usize = 3;
/// How long a wait is if the server does not say.
const PAUSE: Duration = Duration::from_secs(2);

/// What stops a run.
enum Stop {
    /// The server wants to be asked later.
    Later(Duration),
    /// Chunks are missing that were sent.
    Incomplete,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<CallError> for Stop {
    fn from(error: CallError) -> Self {
        let CallError::Refused(refusal) = error else { return Self::Failed(error.into_error()) };
        let number = refusal.number.unwrap_or(0);
        match refusal.code {
            ErrorCode::RateLimited | ErrorCode::Busy => Self::Later(pause(&refusal)),
            ErrorCode::AttachmentIncomplete => Self::Incomplete,
            ErrorCode::AttachmentTooLarge => Self::Failed(Error::FileTooLarge { limit: number }),
            ErrorCode::AttachmentsFull => Self::Failed(Error::FilesFull { limit: number }),
            _ => Self::Failed(CallError::Refused(refusal).into_error()),
        }
    }
}

fn pause(refusal: &Refusal) -> Duration {
    refusal.retry_after_ms.map_or(PAUSE, |ms| Duration::from_millis(ms.into()))
}

/// Sends a file; done when the server has all of it on disk. `progress` hears of the bytes that it has, of how many.
///
/// # Errors
/// [`Error::ConnectionLost`]: to be tried again. All others are for good.
pub(crate) async fn upload(caller: &Caller, upload: Upload, progress: impl Fn(u64, u64)) -> Result<(), Error> {
    let id = AttachmentId(upload.file.attachment);
    let source = blocking(move || Source::open(&upload.path, &upload.file, upload.digests)).await??;
    let source = Arc::new(source);
    let mut tries = 0;
    loop {
        match run(caller, id, &source, &progress).await {
            Ok(()) => return Ok(()),
            Err(Stop::Later(pause)) => tokio::time::sleep(pause).await,
            Err(Stop::Incomplete) if tries < TRIES => tries += 1,
            Err(Stop::Incomplete) => return Err(Error::ServerMisbehaves("it loses parts of a file".into())),
            Err(Stop::Failed(error)) => return Err(error),
        }
    }
}

async fn run(
    caller: &Caller,
    id: AttachmentId,
    source: &Arc<Source>,
    progress: &impl Fn(u64, u64),
) -> Result<(), Stop> {
    let shape = source.shape;
    caller.call(Request::BeginAttachment { id, size: shape.sealed() }).await?;
    let Response::AttachmentStatus(status) = caller.call(Request::AttachmentStatus(id)).await? else {
        return Err(Stop::Failed(unexpected()));
    };
    if status.finished {
        return Ok(());
    }
    let there = |index: u32| {
        let byte = status.chunks.0.get(usize::try_from(index / 8).unwrap_or(usize::MAX));
        byte.is_some_and(|byte| (byte >> (index % 8)) & 1 == 1)
    };
    let (missing, present): (Vec<u32>, Vec<u32>) = (0..shape.chunks()).partition(|index| !there(*index));
    let mut done: u64 = present.iter().map(|index| shape.sealed_chunk(*index) as u64).sum();
    progress(done, shape.sealed());
    let mut due: Due<u64> = Due::new();
    for index in missing {
        let from = Arc::clone(source);
        let payload = blocking(move || from.chunk(index)).await??;
        let length = payload.len() as u64;
        due.push_back((length, caller.begin(Request::PutChunk { id, index, payload: Bytes(payload) }).await));
        while due.len() >= WINDOW {
            done += settle(&mut due).await?;
            progress(done, shape.sealed());
        }
    }
    while !due.is_empty() {
        done += settle(&mut due).await?;
        progress(done, shape.sealed());
    }
    caller.call(Request::FinishAttachment(id)).await?;
    Ok(())
}

/// Waits for the answer that is due first; returns how many bytes the server has with it.
async fn settle(due: &mut Due<u64>) -> Result<u64, Stop> {
    let Some((length, first)) = due.pop_front() else { return Ok(0) };
    let answer: Answer = answer(first).await;
    answer?;
    Ok(length)
}
