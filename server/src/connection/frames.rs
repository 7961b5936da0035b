//! Reading frames: lengths are checked before memory is taken for them, and nothing may take for ever.
//!
//! The buffer grows with what has arrived, not with what was announced, and shrinks to what arrived last when it is empty: a
//! connection that only pings keeps next to nothing. It must not know what frames mean.

use super::outbox::End;
use std::{pin::Pin, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::{Instant, Sleep},
};
use waxwing_protocol::limits;
use zeroize::Zeroize as _;

/// How long one frame may take from its first byte to its last.
const FRAME_SECONDS: u64 = 30;
/// What an idle connection keeps.
const SMALL: usize = 64;
/// What a busy connection reads at once; more only where one frame is longer.
const CHUNK: usize = 16 * 1024;

/// The reading half of a connection.
pub(crate) struct Frames<R> {
    read: R,
    buffer: Vec<u8>,
    /// Where the next frame begins in the buffer.
    start: usize,
    /// How much there was at most since something came into the empty buffer.
    filled: usize,
    /// The longest frame body that is taken.
    limit: usize,
    /// When something arrived last.
    heard: Instant,
    /// When the frame that is being read began.
    begun: Option<Instant>,
    /// Until when the peer must have signed in; none once it has.
    login: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// A reader whose peer must sign in until then.
    pub(crate) fn new(read: R, login: Instant) -> Self {
        Self {
            read,
            buffer: Vec::new(),
            start: 0,
            filled: 0,
            limit: limits::FRAME_BEFORE_LOGIN,
            heard: Instant::now(),
            begun: None,
            login: Some(login),
            timer: Box::pin(tokio::time::sleep_until(login)),
        }
    }

    /// The peer has signed in: longer frames, no sign-in deadline.
    pub(crate) fn signed_in(&mut self) {
        self.limit = limits::FRAME;
        self.login = None;
    }

    /// The next frame's body. May be dropped at any time without losing anything.
    pub(crate) async fn next(&mut self) -> Result<&[u8], End> {
        let length = loop {
            if let Some(length) = self.whole_frame()? {
                break length;
            }
            self.fill().await?;
        };
        let body = self.start + 4;
        self.start = body + length;
        self.begun = None;
        // Always there, by `whole_frame`.
        self.buffer.get(body..body + length).ok_or(End::Malformed)
    }

    /// The length of the frame at the start of the buffer, if all of it is there.
    fn whole_frame(&self) -> Result<Option<usize>, End> {
        let Some((head, rest)) = self.buffer.get(self.start..).and_then(<[u8]>::split_first_chunk) else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*head) as usize;
        match length <= self.limit {
            true => Ok((rest.len() >= length).then_some(length)),
            false => Err(End::TooLong),
        }
    }

    /// Overwrites the frames that were handed out: before sign-in they carry secrets.
    pub(crate) fn forget(&mut self) {
        if let Some(consumed) = self.buffer.get_mut(..self.start) {
            consumed.zeroize();
        }
    }

    async fn fill(&mut self) -> Result<(), End> {
        let (used, capacity) = (self.buffer.len(), self.buffer.capacity());
        self.buffer.drain(..self.start);
        self.start = 0;
        let rest = self.buffer.len();
        if rest > 0 {
            self.begun.get_or_insert(self.heard);
        } else {
            self.begun = None;
            // Twice what there was, so that the next of the same size shows by its end that there is no more.
            let usual = (2 * self.filled).clamp(SMALL, CHUNK);
            if capacity > 2 * usual || capacity > CHUNK {
                self.buffer = Vec::with_capacity(usual);
            }
        }
        // A buffer that was filled to the brim shows that there is more to come.
        if rest == capacity || (used == capacity && capacity < CHUNK) {
            self.buffer.reserve((2 * capacity).max(SMALL) - rest);
        } else if self.buffer.capacity() == 0 {
            self.buffer.reserve(SMALL);
        }
        let (deadline, late) = self.deadline();
        if self.timer.deadline() != deadline {
            self.timer.as_mut().reset(deadline);
        }
        tokio::select! {
            biased;
            read = self.read.read_buf(&mut self.buffer) => match read {
                Ok(0) => Err(End::Closed),
                Ok(_) => {
                    self.heard = Instant::now();
                    self.filled = if rest == 0 { self.buffer.len() } else { self.filled.max(self.buffer.len()) };
                    Ok(())
                }
                // Without close_notify: indistinguishable from a cut line, so nothing is made of it.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(End::Closed),
                Err(_) => Err(End::Lost),
            },
            () = &mut self.timer => Err(late),
        }
    }

    /// The earliest moment at which the peer is late, and with what.
    fn deadline(&self) -> (Instant, End) {
        let idle = (self.heard + Duration::from_secs(limits::IDLE_SECONDS), End::Idle);
        let frame = self.begun.map(|begun| (begun + Duration::from_secs(FRAME_SECONDS), End::FrameDeadline));
        let login = self.login.map(|login| (login, End::LoginDeadline));
        [frame, login].into_iter().flatten().fold(idle, |first, next| if next.0 < first.0 { next } else { first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn frames_come_out_whole_however_they_arrive() {
        let (mut peer, read) = tokio::io::duplex(7);
        let mut frames = Frames::new(read, soon());
        let bodies: Vec<Vec<u8>> = [0, 1, 5, 3000, 65536, 2].map(|length| vec![length as u8; length]).into();
        let sent = bodies.clone();
        let writing = tokio::spawn(async move {
            for body in sent {
                peer.write_all(&(body.len() as u32).to_be_bytes()).await.unwrap();
                peer.write_all(&body).await.unwrap();
            }
        });
        for body in bodies {
            assert_eq!(frames.next().await.unwrap(), body);
        }
        writing.await.unwrap();
        assert_eq!(frames.next().await.unwrap_err(), End::Closed);
    }

    #[tokio::test]
    async fn an_announced_length_over_the_limit_takes_no_memory() {
        let (mut peer, read) = tokio::io::duplex(64);
        let mut frames = Frames::new(read, soon());
        peer.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
        assert_eq!(frames.next().await.unwrap_err(), End::TooLong);
        assert!(frames.buffer.capacity() <= SMALL);

        let (mut peer, read) = tokio::io::duplex(64);
        let mut frames = Frames::new(read, soon());
        frames.signed_in();
        peer.write_all(&(limits::FRAME as u32).to_be_bytes()).await.unwrap();
        drop(peer);
        assert_eq!(frames.next().await.unwrap_err(), End::Closed);
        assert!(frames.buffer.capacity() <= 2 * SMALL);
    }

    #[tokio::test]
    async fn a_connection_that_falls_silent_keeps_little() {
        let (mut peer, read) = tokio::io::duplex(64 * 1024);
        let mut frames = Frames::new(read, soon());
        let mut kept = Vec::new();
        for length in [10_000_u32, 1, 1000, 1] {
            peer.write_all(&length.to_be_bytes()).await.unwrap();
            peer.write_all(&vec![7; length as usize]).await.unwrap();
            assert_eq!(frames.next().await.unwrap().len(), length as usize);
            // Waiting for the next one, more than once, as a busy connection does.
            for _ in 0..2 {
                tokio::select! { biased; _ = frames.next() => unreachable!(), () = std::future::ready(()) => {} }
            }
            kept.push(frames.buffer.capacity());
        }
        assert!(kept[0] > 10_000 && kept[1] <= 2 * SMALL && kept[2] >= 1000 && kept[3] <= 2 * SMALL, "{kept:?}");
    }

    #[tokio::test]
    async fn whoever_does_not_sign_in_in_time_is_late() {
        let (_peer, read) = tokio::io::duplex(64);
        let mut frames = Frames::new(read, Instant::now());
        assert_eq!(frames.next().await.unwrap_err(), End::LoginDeadline);
    }
}
