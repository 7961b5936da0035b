//! The load of pairs: in each, one connection sends and the other receives, with a window of messages that are not yet both
//! acknowledged to the sender and received.
//!
//! A closed loop: a message leaves when an earlier one is done, so a slow server is not buried, and throughput and latency
//! belong together. One thread per core with a runtime of its own, and one task per pair, so that the load wakes nobody needlessly.
//! What is spoken on the connections is a [`Speech`]; it must not know whether a server or a floor hears it.

mod bare;
pub(crate) mod people;
mod waxwing;

pub(crate) use bare::{Bare, ToFloor};
pub(crate) use waxwing::{ToNodes, ToServer, Waxwing, open_chat, sign_up};

use crate::{
    process::Process,
    progress,
    report::{Measured, latencies},
    wire::Connection,
};
use anyhow::{Context as _, Result, anyhow, bail};
use hdrhistogram::Histogram;
use std::{
    collections::VecDeque,
    thread,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, watch},
    task::LocalSet,
    time::timeout,
};

/// How long the last messages may take when a measurement ends.
const ENDING: Duration = Duration::from_secs(20);

/// How much load, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) pairs: usize,
    pub(crate) window: usize,
    /// Bytes of each message.
    pub(crate) payload: usize,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

/// Makes pairs.
pub(crate) trait Opener: Clone + Send + 'static {
    type Speech: Speech;

    /// Opens the two connections of this pair: sender, receiver.
    async fn open(&self, index: usize, load: &Load) -> Result<(Connection, Connection, Self::Speech)>;
}

/// What a pair says.
pub(crate) trait Speech {
    /// Puts the message of this number (from 1) into the sender's output.
    fn send(&mut self, number: u64, sender: &mut Connection);
    /// The number that a frame acknowledges to the sender, if any.
    fn at_sender(&mut self, frame: &[u8]) -> Result<Option<u64>>;
    /// The number that a frame brings to the receiver, if any.
    fn at_receiver(&mut self, frame: &[u8]) -> Result<Option<u64>>;
    /// Puts into the outputs what both owe the server after what has come.
    fn after(&mut self, _sender: Option<&mut Connection>, _receiver: Option<&mut Connection>) {}
}

/// When is measured.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) begin: Instant,
    pub(crate) end: Instant,
}

/// Latencies in nanoseconds.
pub(crate) struct Latencies {
    /// Until a message was acknowledged and received.
    pub(crate) both: Histogram<u64>,
    pub(crate) acknowledged: Histogram<u64>,
    pub(crate) received: Histogram<u64>,
}

impl Latencies {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { both: latencies()?, acknowledged: latencies()?, received: latencies()? })
    }

    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        self.both.add(&other.both)?;
        self.acknowledged.add(&other.acknowledged)?;
        Ok(self.received.add(&other.received)?)
    }
}

/// Runs a load; `process` is whose processor time is counted.
pub(crate) async fn run<O: Opener>(what: &str, opener: O, load: &Load, process: Option<Process>) -> Result<Measured> {
    let look = async || process.map(|process| anyhow::Ok((process.cpu()?, process.memory()?))).transpose();
    let (latencies, looks) = observed(what, opener, load, look).await?;
    let [before, after] = looks;
    let used = after.zip(before).map(|((after, _), (before, _))| after - before);
    Ok(Measured::of(&latencies, load.duration, used, after.map(|(_, memory)| memory)))
}

/// Runs a load, and looks when the measurement begins and when it ends.
pub(crate) async fn observed<O: Opener, L>(
    what: &str,
    opener: O,
    load: &Load,
    look: impl AsyncFn() -> Result<L>,
) -> Result<(Latencies, [L; 2])> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(load.pairs);
    let (opened, mut opening) = mpsc::unbounded_channel();
    let (go, span) = watch::channel(None);
    let workers: Vec<_> = (0..threads)
        .map(|first| {
            let (opener, load, opened, span) = (opener.clone(), load.clone(), opened.clone(), span.clone());
            let indices = (first..load.pairs).step_by(threads);
            thread::spawn(move || work(&opener, &load, indices.collect(), &opened, span))
        })
        .collect();
    drop(opened);
    let bar = progress::bar(format!("{what}: opening pairs"), load.pairs as u64);
    let mut failed = None;
    while let Some(one) = opening.recv().await {
        bar.inc(1);
        failed = failed.or(Result::err(one));
        if bar.position() >= load.pairs as u64 || failed.is_some() {
            break;
        }
    }
    bar.finish_and_clear();
    if let Some(error) = failed {
        // The workers end when nobody tells them to go.
        return Err(error);
    }
    let begin = Instant::now() + load.warm_up;
    go.send_replace(Some(Span { begin, end: begin + load.duration }));
    tokio::time::sleep_until(begin.into()).await;
    let before = look().await?;
    progress::run_for(what, begin, load.duration).await;
    let after = look().await?;
    let joined = tokio::task::spawn_blocking(move || {
        let mut all = Latencies::new()?;
        for worker in workers {
            all.add(&worker.join().map_err(|_| anyhow!("a thread of the load failed"))??)?;
        }
        anyhow::Ok(all)
    });
    Ok((joined.await??, [before, after]))
}

/// One thread: opens its pairs, waits for the signal, runs them.
fn work<O: Opener>(
    opener: &O,
    load: &Load,
    indices: Vec<usize>,
    opened: &mpsc::UnboundedSender<Result<()>>,
    span: watch::Receiver<Option<Span>>,
) -> Result<Latencies> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let pairs: Vec<_> = indices
        .into_iter()
        .map(|index| {
            let (opener, load, opened, mut span) = (opener.clone(), load.clone(), opened.clone(), span.clone());
            local.spawn_local(async move {
                let (sender, receiver, speech) = match opener.open(index, &load).await {
                    Ok(pair) => pair,
                    Err(error) => {
                        let _ = opened.send(Err(error));
                        bail!("a pair was not opened");
                    }
                };
                let _ = opened.send(Ok(()));
                let span = span.wait_for(Option::is_some).await.ok().and_then(|span| *span);
                let span = span.context("the measurement did not begin")?;
                Pair::new(sender, receiver, speech, load.window, span)?.run().await
            })
        })
        .collect();
    local.block_on(&runtime, async {
        let mut all = Latencies::new()?;
        for pair in pairs {
            all.add(&pair.await??)?;
        }
        Ok(all)
    })
}

struct Pair<S> {
    sender: Connection,
    receiver: Connection,
    speech: S,
    window: usize,
    span: Span,
    /// The messages that are not done, and those done behind one that is not; the first has the number `done + 1`.
    open: VecDeque<Message>,
    done: u64,
    /// How many of them are not done.
    outstanding: usize,
    latencies: Latencies,
}

struct Message {
    sent: Instant,
    acknowledged: bool,
    received: bool,
}

impl<S: Speech> Pair<S> {
    fn new(sender: Connection, receiver: Connection, speech: S, window: usize, span: Span) -> Result<Self> {
        let (open, latencies) = (VecDeque::with_capacity(window), Latencies::new()?);
        Ok(Self { sender, receiver, speech, window, span, open, done: 0, outstanding: 0, latencies })
    }

    async fn run(mut self) -> Result<Latencies> {
        let mut now = Instant::now();
        loop {
            if now < self.span.end {
                self.fill_window();
            } else if self.outstanding == 0 {
                return Ok(self.latencies);
            }
            self.sender.flush().await?;
            let ready = async {
                tokio::select! {
                    read = self.receiver.fill() => read,
                    read = self.sender.fill() => read,
                }
            };
            timeout(ENDING, ready).await.context("messages neither arrive nor are acknowledged")??;
            now = Instant::now();
            self.hear(now)?;
            self.speech.after(Some(&mut self.sender), Some(&mut self.receiver));
            self.receiver.flush().await?;
        }
    }

    fn fill_window(&mut self) {
        let now = Instant::now();
        while self.outstanding < self.window {
            self.outstanding += 1;
            self.open.push_back(Message { sent: now, acknowledged: false, received: false });
            self.speech.send(self.done + self.open.len() as u64, &mut self.sender);
        }
    }

    /// Notes what has come.
    fn hear(&mut self, now: Instant) -> Result<()> {
        while let Some(frame) = self.sender.frame() {
            if let Some(number) = self.speech.at_sender(frame)? {
                note(&mut self.open, self.done, number, |message| &mut message.acknowledged)?;
                self.count(number, now, |latencies| &mut latencies.acknowledged)?;
            }
        }
        while let Some(frame) = self.receiver.frame() {
            if let Some(number) = self.speech.at_receiver(frame)? {
                note(&mut self.open, self.done, number, |message| &mut message.received)?;
                self.count(number, now, |latencies| &mut latencies.received)?;
            }
        }
        while self.open.front().is_some_and(|first| first.acknowledged && first.received) {
            self.open.pop_front();
            self.done += 1;
        }
        Ok(())
    }

    /// Counts the latency of a message, and that of both its ways if it is done.
    fn count(
        &mut self,
        number: u64,
        now: Instant,
        which: impl FnOnce(&mut Latencies) -> &mut Histogram<u64>,
    ) -> Result<()> {
        let message = self.open.get((number - self.done - 1) as usize).context("a message that is not open")?;
        let done = message.acknowledged && message.received;
        self.outstanding -= usize::from(done);
        if now >= self.span.begin && now < self.span.end {
            let nanoseconds = u64::try_from((now - message.sent).as_nanos())?;
            which(&mut self.latencies).saturating_record(nanoseconds);
            if done {
                self.latencies.both.saturating_record(nanoseconds);
            }
        }
        Ok(())
    }
}

/// Marks a message; each may be marked once.
fn note(
    open: &mut VecDeque<Message>,
    done: u64,
    number: u64,
    which: impl FnOnce(&mut Message) -> &mut bool,
) -> Result<()> {
    let index = number.checked_sub(done + 1).and_then(|index| usize::try_from(index).ok());
    let mark = index.and_then(|index| open.get_mut(index)).map(which);
    match mark.map(|mark| std::mem::replace(mark, true)) {
        Some(false) => Ok(()),
        _ => bail!("message {number} came twice, or was never sent"),
    }
}
