//! The same load from real clients.

use super::{Latencies, Load, Span};
use crate::{
    people::{LIMIT, Person, failed},
    process::Process,
    progress,
    report::Measured,
};
use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use tokio::{sync::Notify, task::JoinSet, time::timeout};
use waxwing_core::{Client, Content, Event, Link, Message, MessageId, MessageState};

/// Runs a load of real clients, whose profiles are in `folder`.
pub(crate) async fn run(link: &Link, folder: &Path, load: &Load, process: Option<Process>) -> Result<Measured> {
    let people = Person::several(link, folder, 2 * load.pairs).await?;
    let bar = progress::bar("opening chats", load.pairs as u64);
    let mut pairs = Vec::new();
    for pair in people.chunks_exact(2) {
        let [from, to] = pair else { continue };
        let (sender, receiver) = (from.online().await?, to.online().await?);
        let (to, under_way) = (to.name.clone(), Mutex::default());
        let pair = Arc::new(Pair { sender, receiver, to, under_way, done: Notify::new() });
        pair.greet().await?;
        pairs.push(pair);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let begin = Instant::now() + load.warm_up;
    let span = Span { begin, end: begin + load.duration };
    let mut running = JoinSet::new();
    for pair in &pairs {
        let (pair, load) = (Arc::clone(pair), load.clone());
        running.spawn(async move { pair.run(&load, span).await });
    }
    tokio::time::sleep_until(begin.into()).await;
    let cpu = process.map(Process::cpu).transpose()?;
    progress::run_for("clients", begin, load.duration).await;
    let used = process.map(Process::cpu).transpose()?.zip(cpu).map(|(after, before)| after - before);
    let memory = process.map(Process::memory).transpose()?;
    let mut all = Latencies::new()?;
    while let Some(latencies) = running.join_next().await {
        all.add(&latencies??)?;
    }
    for pair in &pairs {
        pair.sender.close().await.map_err(failed)?;
        pair.receiver.close().await.map_err(failed)?;
    }
    Ok(Measured::of(&all, load.duration, used, memory))
}

struct Pair {
    sender: Client,
    receiver: Client,
    to: String,
    under_way: Mutex<UnderWay>,
    done: Notify,
}

#[derive(Default)]
struct UnderWay {
    open: HashMap<u64, Open>,
    /// Messages that were acknowledged before the client had told their ids.
    early: Vec<MessageId>,
}

struct Open {
    since: Instant,
    id: Option<MessageId>,
    acknowledged: bool,
    received: bool,
}

impl Pair {
    /// The first message opens the chat.
    async fn greet(&self) -> Result<()> {
        let mut events = self.receiver.events();
        self.sender.send(&self.to, "hello").await.map_err(failed)?;
        let arrives = async {
            while let Some(event) = events.recv().await {
                if matches!(event, Event::Message(_)) {
                    return Ok(());
                }
            }
            anyhow::bail!("a client ended")
        };
        timeout(LIMIT, arrives).await.context("the first message does not arrive")?
    }

    async fn run(self: Arc<Self>, load: &Load, span: Span) -> Result<Latencies> {
        let (mut sent, mut came) = (self.sender.events(), self.receiver.events());
        let writing = async {
            let mut number = 0_u64;
            while Instant::now() < span.end {
                if self.under_way() >= load.window {
                    let left = span.end.saturating_duration_since(Instant::now());
                    let _ = timeout(left, self.done.notified()).await;
                    continue;
                }
                number += 1;
                let text = format!("{number} {}", "x".repeat(load.payload.saturating_sub(8)));
                let open = Open { since: Instant::now(), id: None, acknowledged: false, received: false };
                self.lock().open.insert(number, open);
                let message = self.sender.send(&self.to, &text).await.map_err(failed)?;
                self.name(number, message.id);
            }
            // What is under way may arrive.
            let end = Instant::now() + LIMIT;
            while self.under_way() > 0 && Instant::now() < end {
                let _ = timeout(std::time::Duration::from_millis(100), self.done.notified()).await;
            }
            anyhow::ensure!(self.under_way() == 0, "messages neither arrive nor are acknowledged");
            Ok(())
        };
        let mut latencies = Latencies::new()?;
        let hearing = async {
            loop {
                tokio::select! {
                    Some(event) = sent.recv() => self.at_sender(event, &mut latencies, span),
                    Some(event) = came.recv() => self.at_receiver(event, &mut latencies, span),
                    else => return anyhow::Result::<()>::Err(anyhow::anyhow!("the clients ended")),
                }
            }
        };
        tokio::select! {
            written = writing => written?,
            ended = hearing => ended?,
        }
        Ok(latencies)
    }

    fn at_sender(&self, event: Event, latencies: &mut Latencies, span: Span) {
        if let Event::State { id, state: MessageState::Sent | MessageState::Delivered, .. } = event {
            let mut under_way = self.lock();
            let found = under_way.open.iter().find(|(_, open)| open.id == Some(id)).map(|(number, _)| *number);
            match found {
                Some(number) => {
                    drop(under_way);
                    self.note(number, latencies, span, |open| &mut open.acknowledged, |all| &mut all.acknowledged);
                }
                None => under_way.early.push(id),
            }
        }
    }

    /// The client has told the id of a message.
    fn name(&self, number: u64, id: MessageId) {
        let mut under_way = self.lock();
        let early = under_way.early.contains(&id);
        under_way.early.retain(|other| *other != id);
        let Some(open) = under_way.open.get_mut(&number) else { return };
        open.id = Some(id);
        // So soon that its latency is not told apart from that of the answer.
        open.acknowledged |= early;
        if open.acknowledged && open.received {
            under_way.open.remove(&number);
            self.done.notify_one();
        }
    }

    fn at_receiver(&self, event: Event, latencies: &mut Latencies, span: Span) {
        if let Event::Message(Message { content: Content::Text(text), .. }) = event
            && let Some(number) = text.split(' ').next().and_then(|number| number.parse().ok())
        {
            self.note(number, latencies, span, |open| &mut open.received, |all| &mut all.received);
        }
    }

    fn note(
        &self,
        number: u64,
        latencies: &mut Latencies,
        span: Span,
        which: impl FnOnce(&mut Open) -> &mut bool,
        histogram: impl FnOnce(&mut Latencies) -> &mut Histogram<u64>,
    ) {
        let now = Instant::now();
        let mut under_way = self.lock();
        let Some(open) = under_way.open.get_mut(&number) else { return };
        if std::mem::replace(which(open), true) {
            return;
        }
        let age = u64::try_from((now - open.since).as_nanos()).unwrap_or(u64::MAX);
        let done = open.acknowledged && open.received;
        if now >= span.begin && now < span.end {
            histogram(latencies).saturating_record(age);
            if done {
                latencies.both.saturating_record(age);
            }
        }
        if done {
            under_way.open.remove(&number);
            self.done.notify_one();
        }
    }

    fn under_way(&self) -> usize {
        self.lock().open.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
