//! One sender, and many members who all receive.

mod real;

use crate::{
    floor::{Floor, RECEIVER, SENDER},
    pairs::{Bare, Latencies, Span, Speech, ToFloor, ToServer, Waxwing},
    place::Where,
    process::Process,
    progress,
    report::{Measured, Quantiles, Report},
    wire::{Account, Connection, Endpoint, Peer},
};
use anyhow::{Context as _, Result, anyhow, bail};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::LocalSet,
    time::timeout,
};
use waxwing_protocol::{
    ConversationId, ConversationKind, CreateConversation, Handshake, Request, Roster, Welcome, limits,
};

/// How long the last messages may take when a measurement ends.
const ENDING: Duration = Duration::from_secs(20);
/// More messages than are ever under way.
const SLOTS: u64 = 1024;

/// See the module.
#[derive(Debug, clap::Args)]
pub(crate) struct Room {
    /// How many receive; of real clients, how many take part.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(2..=249))]
    members: u16,
    /// Messages that are under way at a time, with --raw; real clients send one after the other.
    #[arg(long, value_name = "W", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    window: u16,
    /// Bytes of a message.
    #[arg(long, value_name = "BYTES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(8..=131_072))]
    payload: u32,
    /// How long is measured.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: u16,
    /// Measure the floors, too: a bare relay over TLS, and one that stores first.
    #[arg(long)]
    floor: bool,
    /// Relay opaque payloads: this measures the server. Without it real clients come in, write, and change the room.
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    place: Where,
}

impl Room {
    pub(crate) async fn run(self) -> Result<Report> {
        match self.raw {
            true => self.run_raw().await,
            false => real::run(&self).await,
        }
    }

    async fn run_raw(self) -> Result<Report> {
        let (members, payload) = (usize::from(self.members), self.payload as usize);
        let mut floors = Vec::new();
        if self.floor {
            for kind in self.place.floors() {
                let (name, floor) =
                    (kind.name(), Floor::start(kind, &self.place.folder(), &self.place.database).await?);
                let way = Way::Floor(floor.endpoint.clone());
                floors.push((name, self.measure(&format!("floor ({name})"), way, Some(floor.process()?)).await?));
                floor.stop().await?;
            }
        }
        let place = self.place.prepare_with(members + 1).await?;
        let accounts = match place.accounts.is_empty() {
            false => place.accounts.clone(),
            true => {
                let to_server = ToServer::new(place.endpoint.clone(), place.link.invite.as_deref())?;
                let mut all = Vec::new();
                for index in 0..=members {
                    all.push(to_server.account(&index.to_string()).await?.1);
                }
                all
            }
        };
        let (conversation, so_far) = make(&place.endpoint, &accounts).await?;
        let speech = Waxwing::new(conversation, so_far, payload);
        let way = Way::Server(place.endpoint.clone(), accounts, Box::new(speech));
        let measured = self.measure("server", way, place.process()).await?;
        Ok(Report::new("room", "deliveries; latencies until all had a message", measured)
            .set("raw", self.raw)
            .set("members", self.members)
            .set("window", self.window)
            .set("payload", self.payload)
            .set("seconds", self.seconds)
            .set("database", self.place.database())
            .floors(&floors))
    }

    async fn measure(&self, what: &str, way: Way, process: Option<Process>) -> Result<Measured> {
        let (members, payload) = (usize::from(self.members), self.payload as usize);
        match way {
            Way::Floor(endpoint) => {
                let bare = Bare::new(payload);
                self.drive(what, move |role| join_floor(endpoint.clone(), role), bare, members, process).await
            }
            Way::Server(endpoint, accounts, speech) => {
                let accounts = Arc::new(accounts);
                let open = move |role: Option<usize>| sign_in(endpoint.clone(), accounts.clone(), role);
                self.drive(what, open, *speech, members, process).await
            }
        }
    }

    /// Runs the load; `open` makes the connection of a member, or that of the sender.
    async fn drive<S, O, F>(
        &self,
        what: &str,
        open: O,
        speech: S,
        members: usize,
        process: Option<Process>,
    ) -> Result<Measured>
    where
        S: Speech + Clone + Send + 'static,
        O: Fn(Option<usize>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Connection>> + 'static,
    {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(members);
        let under_way = Arc::new(UnderWay::new(members));
        let (opened, mut opening) = mpsc::unbounded_channel();
        let (go, span) = watch::channel(None);
        let workers: Vec<_> = (0..threads)
            .map(|first| {
                let indices: Vec<_> = (first..members).step_by(threads).collect();
                let sends = (first == 0).then_some(usize::from(self.window));
                let (open, speech, under_way) = (open.clone(), speech.clone(), Arc::clone(&under_way));
                let (opened, span) = (opened.clone(), span.clone());
                thread::spawn(move || work(&open, &speech, &under_way, indices, sends, &opened, span))
            })
            .collect();
        drop(opened);
        let bar = progress::bar(format!("{what}: opening connections"), members as u64);
        for _ in 0..members {
            opening.recv().await.context("a thread of the load ended")??;
            bar.inc(1);
        }
        bar.finish_and_clear();
        let duration = Duration::from_secs(self.seconds.into());
        let begin = Instant::now() + Duration::from_secs(1);
        go.send_replace(Some(Span { begin, end: begin + duration }));
        tokio::time::sleep_until(begin.into()).await;
        let cpu = process.map(Process::cpu).transpose()?;
        progress::run_for(what, begin, duration).await;
        let used = process.map(Process::cpu).transpose()?.zip(cpu).map(|(after, before)| after - before);
        let memory = process.map(Process::memory).transpose()?;
        let joined = tokio::task::spawn_blocking(move || {
            let mut all = Latencies::new()?;
            for worker in workers {
                all.add(&worker.join().map_err(|_| anyhow!("a thread of the load failed"))??)?;
            }
            anyhow::Ok(all)
        });
        let all = joined.await??;
        let deliveries = all.received.len() as f64;
        Ok(Measured {
            throughput: (deliveries / duration.as_secs_f64()).round(),
            quantiles: Quantiles::of(&all.both),
            received: Quantiles::of(&all.received),
            cpu_per_1000: used.map(|used| used * 1000.0 / deliveries),
            memory,
            ..Measured::default()
        })
    }
}

enum Way {
    Floor(Endpoint),
    Server(Endpoint, Vec<Account>, Box<Waxwing>),
}

/// A member's connection at a floor, or the sender's.
async fn join_floor(endpoint: Endpoint, member: Option<usize>) -> Result<Connection> {
    ToFloor(endpoint).join(if member.is_some() { RECEIVER } else { SENDER }, 0).await
}

/// The same at the server; the sender has the first account.
async fn sign_in(endpoint: Endpoint, accounts: Arc<Vec<Account>>, member: Option<usize>) -> Result<Connection> {
    let mut peer = endpoint.greet().await?;
    let account = accounts.get(member.map_or(0, |index| index + 1)).context("an account for each")?;
    peer.authenticate(&account.device).await?;
    peer.insist("the events", Request::Subscribe).await?;
    Ok(peer.connection)
}

/// Makes a group of all these; returns what its maker has sent, and how many commits there are.
pub(super) async fn make(endpoint: &Endpoint, accounts: &[Account]) -> Result<(ConversationId, (u64, u64))> {
    let (maker, others) = accounts.split_first().context("a room has a sender")?;
    let mut id = [0; 16];
    getrandom::fill(&mut id)?;
    let id = ConversationId(id);
    let mut peer: Peer = endpoint.greet().await?;
    peer.authenticate(&maker.device).await?;
    let bar = progress::bar("filling the room", others.len() as u64);
    let (mut number, mut commits) = (0, 0);
    for part in others.chunks(limits::ROSTER) {
        let recipients = part.iter().map(|account| account.device.id).collect();
        let entered = part.iter().map(|account| account.username.clone()).collect();
        let handshake = Handshake {
            commit: vec![0; 800].into(),
            welcome: Some(Welcome { recipients, payload: vec![0; 800].into() }),
            removed: Vec::new(),
            group_info: None,
            roster: Some(Roster { entered, left: Vec::new() }),
        };
        let request = match commits {
            0 => {
                let kind = ConversationKind::Group;
                let create = CreateConversation { id, kind, handshake: Some(handshake), replaces: None };
                Request::CreateConversation(Box::new(create))
            }
            _ => {
                number += 1;
                Request::Commit { conversation: id, number, commits, handshake: Box::new(handshake) }
            }
        };
        peer.insist("new members", request).await?;
        commits += 1;
        bar.inc(part.len() as u64);
    }
    bar.finish_and_clear();
    Ok((id, (number, commits)))
}

/// What the threads know of the messages that are under way.
struct UnderWay {
    /// How many have to have a message: the members, and its sender the answer.
    parties: u32,
    since: Instant,
    missing: Vec<AtomicU32>,
    sent: Vec<AtomicU64>,
    outstanding: AtomicU64,
    done: Notify,
}

impl UnderWay {
    fn new(members: usize) -> Self {
        Self {
            parties: members as u32 + 1,
            since: Instant::now(),
            missing: (0..SLOTS).map(|_| AtomicU32::new(0)).collect(),
            sent: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            outstanding: AtomicU64::new(0),
            done: Notify::new(),
        }
    }

    fn slot(number: u64) -> usize {
        (number % SLOTS) as usize
    }

    fn begin(&self, number: u64, now: Instant) {
        self.sent[Self::slot(number)].store((now - self.since).as_nanos() as u64, Ordering::Relaxed);
        self.missing[Self::slot(number)].store(self.parties, Ordering::Release);
        self.outstanding.fetch_add(1, Ordering::AcqRel);
    }

    /// One more has the message; returns its age in nanoseconds, and whether that was the last one.
    fn has(&self, number: u64, now: Instant) -> Result<(u64, bool)> {
        let left = self.missing[Self::slot(number)].fetch_sub(1, Ordering::AcqRel);
        if left == 0 || left > self.parties {
            bail!("message {number} came too often");
        }
        let sent = self.sent[Self::slot(number)].load(Ordering::Relaxed);
        let age = ((now - self.since).as_nanos() as u64).saturating_sub(sent);
        if left == 1 {
            self.outstanding.fetch_sub(1, Ordering::AcqRel);
            self.done.notify_one();
        }
        Ok((age, left == 1))
    }
}

/// One thread: its members, and the sender if it has it.
fn work<S, O, F>(
    open: &O,
    speech: &S,
    under_way: &Arc<UnderWay>,
    indices: Vec<usize>,
    sends: Option<usize>,
    opened: &mpsc::UnboundedSender<Result<()>>,
    span: watch::Receiver<Option<Span>>,
) -> Result<Latencies>
where
    S: Speech + Clone + Send + 'static,
    O: Fn(Option<usize>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Connection>> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let mut tasks = Vec::new();
    for index in indices {
        let (open, speech, under_way) = (open.clone(), speech.clone(), Arc::clone(under_way));
        let (opened, span) = (opened.clone(), span.clone());
        tasks.push(local.spawn_local(async move {
            let connection = match open(Some(index)).await {
                Ok(connection) => connection,
                Err(error) => {
                    let _ = opened.send(Err(error));
                    bail!("a member is missing");
                }
            };
            let _ = opened.send(Ok(()));
            receive(connection, speech, &under_way, began(span).await?).await
        }));
    }
    if let Some(window) = sends {
        let (open, speech, under_way, span) = (open.clone(), speech.clone(), Arc::clone(under_way), span.clone());
        tasks.push(local.spawn_local(async move {
            let span = began(span).await?;
            // Last: it finds everybody there.
            send(open(None).await?, speech, &under_way, window, span).await
        }));
    }
    local.block_on(&runtime, async {
        let mut all = Latencies::new()?;
        for task in tasks {
            all.add(&task.await??)?;
        }
        Ok(all)
    })
}

async fn began(mut span: watch::Receiver<Option<Span>>) -> Result<Span> {
    let span = span.wait_for(Option::is_some).await.ok().and_then(|span| *span);
    span.context("the measurement did not begin")
}

fn note(latencies: &mut Latencies, under_way: &UnderWay, number: u64, now: Instant, span: Span) -> Result<u64> {
    let (age, last) = under_way.has(number, now)?;
    if last && now >= span.begin && now < span.end {
        latencies.both.saturating_record(age);
    }
    Ok(age)
}

async fn receive(
    mut connection: Connection,
    mut speech: impl Speech,
    under_way: &UnderWay,
    span: Span,
) -> Result<Latencies> {
    let mut latencies = Latencies::new()?;
    loop {
        match timeout(Duration::from_millis(500), connection.fill()).await {
            Ok(read) => read?,
            Err(_) if Instant::now() >= span.end && under_way.outstanding.load(Ordering::Acquire) == 0 => {
                return Ok(latencies);
            }
            Err(_) if Instant::now() >= span.end + ENDING => bail!("messages do not arrive"),
            Err(_) => continue,
        }
        let now = Instant::now();
        while let Some(frame) = connection.frame() {
            if let Some(number) = speech.at_receiver(frame)? {
                let age = note(&mut latencies, under_way, number, now, span)?;
                if now >= span.begin && now < span.end {
                    latencies.received.saturating_record(age);
                }
            }
        }
        speech.after(None, Some(&mut connection));
        connection.flush().await?;
    }
}

async fn send(
    mut connection: Connection,
    mut speech: impl Speech,
    under_way: &UnderWay,
    window: usize,
    span: Span,
) -> Result<Latencies> {
    let mut latencies = Latencies::new()?;
    let (mut number, mut acknowledged) = (0, 0);
    loop {
        let now = Instant::now();
        if now < span.end {
            while under_way.outstanding.load(Ordering::Acquire) < window as u64 {
                number += 1;
                under_way.begin(number, now);
                speech.send(number, &mut connection);
            }
            connection.flush().await?;
        } else if acknowledged == number {
            return Ok(latencies);
        }
        let ready = async {
            tokio::select! {
                read = connection.fill() => read,
                () = under_way.done.notified() => Ok(()),
            }
        };
        timeout(ENDING, ready).await.context("messages neither arrive nor are acknowledged")??;
        let now = Instant::now();
        while let Some(frame) = connection.frame() {
            if let Some(number) = speech.at_sender(frame)? {
                acknowledged += 1;
                note(&mut latencies, under_way, number, now, span)?;
            }
        }
        speech.after(Some(&mut connection), None);
    }
}
