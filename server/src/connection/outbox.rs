//! What waits to be written to one connection: one buffer of encoded frames, filled by handlers and the hub, emptied by
//! the writer in one go.
//!
//! Invariants: nobody blocks to put something in; events beyond [`BACKLOG`] are left out, and the peer is then told so once,
//! at their place in the stream. It must not know sockets.

use crate::{metrics::METRICS, waking};
use minicbor::Encode;
use std::{
    future::poll_fn,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};
use waxwing_protocol::{Event, Refusal, Response, ServerFrame};

/// The bytes that may wait before events are left out and no further request is begun.
pub(crate) const BACKLOG: usize = 1024 * 1024;
/// The most room that is made before it is needed.
const USUAL: usize = 64 * 1024;
/// A larger buffer is given back to the allocator while nothing waits.
const KEEP: usize = 256;

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum End {
    #[error("closed by the peer")]
    Closed,
    #[error("connection lost")]
    Lost,
    #[error("TLS handshake failed")]
    Handshake,
    #[error("not this protocol")]
    Alpn,
    #[error("too many connections speak HTTP")]
    Overcrowded,
    #[error("no common version")]
    Version,
    #[error("malformed frame")]
    Malformed,
    #[error("frame over the limit")]
    TooLong,
    #[error("not signed in in time")]
    LoginDeadline,
    #[error("a frame took too long")]
    FrameDeadline,
    #[error("silent for too long")]
    Idle,
    #[error("reads too slowly")]
    SlowReader,
    #[error("replaced by a newer connection of the device")]
    Replaced,
    #[error("the device was removed from its account")]
    Removed,
    #[error("the account was disabled")]
    Disabled,
    #[error("the server's database failed")]
    Failed,
    #[error("the server is shutting down")]
    Draining,
}

#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    /// How much the last take took, up to [`USUAL`].
    usual: usize,
    /// Whether events were left out since the last take.
    behind: bool,
    closed: Option<End>,
    /// Whether the connection ends at once.
    cut: bool,
    /// Requests answered and refused, for the log.
    counts: (u64, u64),
    /// Who waits for something to take, for room, and for the cut. One each, and all under the lock that is held anyway.
    writer: Option<Waker>,
    reader: Option<Waker>,
    connection: Option<Waker>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outbox(Mutex<Pending>);

impl Outbox {
    /// Queues the answer to a request. It always fits, since no request is begun without room.
    pub(crate) fn answer(&self, id: u32, answer: Result<Response, Refusal>) {
        let mut pending = self.lock();
        let frame = match answer {
            Ok(response) => {
                pending.counts.0 += 1;
                ServerFrame::Response { id, response }
            }
            Err(refusal) => {
                METRICS.refused(&refusal);
                pending.counts.1 += 1;
                ServerFrame::Refusal { id, refusal }
            }
        };
        append(&mut pending.bytes, &frame);
        wake(pending, |pending| &mut pending.writer);
    }

    /// How many requests were answered and how many refused.
    pub(crate) fn counts(&self) -> (u64, u64) {
        self.lock().counts
    }

    /// Queues one frame.
    pub(crate) fn push(&self, frame: &impl Encode<()>) {
        let mut pending = self.lock();
        append(&mut pending.bytes, frame);
        wake(pending, |pending| &mut pending.writer);
    }

    /// Queues an event that is encoded already, or leaves it out.
    pub(crate) fn push_event(&self, encoded: &[u8]) {
        self.push_event_with(encoded.len(), |bytes| bytes.extend_from_slice(encoded));
    }

    /// Queues an event of about `length` bytes that `encode` appends, or leaves it out.
    pub(crate) fn push_event_with(&self, length: usize, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut pending = self.lock();
        let first = pending.bytes.is_empty();
        if pending.behind || (!first && pending.bytes.len() + 4 + length > BACKLOG) {
            pending.behind = true;
            METRICS.left_out.inc();
        } else {
            METRICS.events.inc();
            if first {
                // As much as went out the last time, so that it grows once and not step by step.
                let usual = pending.usual;
                pending.bytes.reserve(usual);
            }
            append_with(&mut pending.bytes, encode);
        }
        wake(pending, |pending| &mut pending.writer);
    }

    /// Ends the connection once everything queued is written.
    pub(crate) fn close(&self, reason: End) {
        let mut pending = self.lock();
        pending.closed.get_or_insert(reason);
        wake(pending, |pending| &mut pending.writer);
    }

    /// Ends the connection at once, whatever is queued or unanswered.
    pub(crate) fn cut(&self, reason: End) {
        let mut pending = self.lock();
        pending.closed = Some(reason);
        pending.cut = true;
        wake(pending, |pending| &mut pending.connection);
    }

    /// Waits until somebody cuts the connection. For one waiter.
    pub(crate) async fn when_cut(&self) -> End {
        poll_fn(|cx| {
            let mut pending = self.lock();
            match pending.closed {
                Some(reason) if pending.cut => Poll::Ready(reason),
                _ => wait(&mut pending.connection, cx),
            }
        })
        .await
    }

    /// Waits for something to write and puts all of it in the place of what is in `buffer`, which is used for what comes
    /// next. Ends with the reason once the outbox is closed and empty. For one waiter, the writer.
    pub(crate) async fn take(&self, buffer: &mut Vec<u8>) -> Result<(), End> {
        buffer.clear();
        poll_fn(|cx| self.poll_take(buffer, cx)).await
    }

    fn poll_take(&self, buffer: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let mut pending = self.lock();
        if pending.behind {
            pending.behind = false;
            append(&mut pending.bytes, &ServerFrame::Event(Event::Behind));
        }
        if !pending.bytes.is_empty() {
            pending.usual = pending.bytes.len().min(USUAL);
            std::mem::swap(&mut pending.bytes, buffer);
            wake(pending, |pending| &mut pending.reader);
            return Poll::Ready(Ok(()));
        }
        if let Some(reason) = pending.closed {
            return Poll::Ready(Err(reason));
        }
        // It may be long until there is something.
        for idle in [&mut pending.bytes, buffer] {
            if idle.capacity() > KEEP {
                *idle = Vec::new();
            }
        }
        wait(&mut pending.writer, cx)
    }

    /// Whether another request may be begun.
    pub(crate) fn has_room(&self) -> bool {
        self.lock().bytes.len() < BACKLOG
    }

    /// Waits until another request may be begun. For one waiter, the reader.
    pub(crate) async fn room(&self) {
        poll_fn(|cx| {
            let mut pending = self.lock();
            if pending.bytes.len() < BACKLOG { Poll::Ready(()) } else { wait(&mut pending.reader, cx) }
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes who waits in this place, if anybody does.
fn wake(mut pending: MutexGuard<'_, Pending>, place: fn(&mut Pending) -> &mut Option<Waker>) {
    let waiting = place(&mut pending).take();
    // Not under the lock, which whoever wakes up takes first.
    drop(pending);
    if let Some(waker) = waiting {
        waking::wake(waker);
    }
}

/// Waits in this place from now on.
fn wait<T>(place: &mut Option<Waker>, cx: &Context<'_>) -> Poll<T> {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
    Poll::Pending
}

/// Appends a frame with its length before it.
fn append(bytes: &mut Vec<u8>, frame: &impl Encode<()>) {
    append_with(bytes, |bytes| {
        // Writing to a Vec cannot fail, and no `Encode` of ours fails by itself.
        let _ = minicbor::encode(frame, bytes);
    });
}

/// Appends what this appends, with its length before it.
fn append_with(bytes: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; 4]);
    body(bytes);
    let length = (bytes.len() - start - 4) as u32;
    if let Some(head) = bytes.get_mut(start..start + 4) {
        head.copy_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_protocol::decode_server_frame;

    fn frames(mut bytes: &[u8]) -> Vec<ServerFrame> {
        let mut frames = Vec::new();
        while let Some((head, rest)) = bytes.split_first_chunk() {
            let (frame, rest) = rest.split_at(u32::from_be_bytes(*head) as usize);
            frames.push(decode_server_frame(frame).unwrap());
            bytes = rest;
        }
        frames
    }

    #[tokio::test]
    async fn events_over_the_backlog_become_one_behind_at_their_place() {
        let outbox = Outbox::default();
        let event = waxwing_protocol::encode(&ServerFrame::Event(Event::Draining)).0;
        let fits = BACKLOG / (event.len() + 4);
        for _ in 0..fits + 1000 {
            outbox.push_event(&event);
        }
        assert!(outbox.lock().bytes.len() <= BACKLOG);
        outbox.answer(7, Ok(Response::Done));
        let mut buffer = Vec::new();
        outbox.take(&mut buffer).await.unwrap();
        let taken = frames(&buffer);
        assert_eq!(taken.iter().filter(|frame| **frame == ServerFrame::Event(Event::Behind)).count(), 1);
        assert_eq!(taken.last(), Some(&ServerFrame::Event(Event::Behind)));
        outbox.push_event(&event);
        outbox.close(End::Replaced);
        outbox.take(&mut buffer).await.unwrap();
        assert_eq!(frames(&buffer), [ServerFrame::Event(Event::Draining)]);
        assert_eq!(outbox.take(&mut buffer).await, Err(End::Replaced));
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_and_a_silent_outbox_keeps_little() {
        let (outbox, mut buffer) = (Outbox::default(), Vec::new());
        let (taken, ()) = tokio::join!(outbox.take(&mut buffer), async { outbox.push_event(&[0; BACKLOG]) });
        assert!(taken.is_ok() && outbox.has_room());
        outbox.push_event(&[0; BACKLOG]);
        let ((), taken) = tokio::join!(outbox.room(), outbox.take(&mut buffer));
        assert!(taken.is_ok() && buffer.len() > BACKLOG);
        let ending = async { outbox.cut(End::Removed) };
        assert_eq!(tokio::join!(outbox.take(&mut buffer), outbox.when_cut(), ending).1, End::Removed);
        assert!(buffer.capacity() <= KEEP && outbox.lock().bytes.capacity() <= KEEP);
    }
}
