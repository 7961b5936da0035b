//! The process that holds a profile answers the other commands of the same user on its socket.
//!
//! Everything that a peer can make it keep is bounded: connections, requests at work, the length of a line, what waits for
//! a peer who does not read. A peer that breaks off or sends garbage concerns its own connection only.

use super::{
    Context,
    events::EventObject,
    registry,
    socket::{self, Listening, Place},
    wire::{self, Lines, Outbox, Read, Request, WireError},
};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Semaphore, broadcast, mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until, timeout},
};
use waxwing_core::{Client, Message, ProfilePath};

/// Connections at a time.
const CONNECTIONS: usize = 64;
/// Requests of one connection that are worked on at a time; further ones wait unread.
const AT_WORK: usize = 16;
/// Own messages that a listener may be behind.
const WRITTEN: usize = 256;
/// The longest request, in bytes. The longest text has a place in it, however it is escaped.
pub(super) const REQUEST: usize = 1024 * 1024;
/// How long the end waits for requests at work, and then for peers to read their answers.
const DRAINING: Duration = Duration::from_secs(2);

/// What the process that holds the profile and its connections tell each other.
pub(crate) struct Holding {
    lock_wanted: watch::Sender<bool>,
    locked: watch::Sender<bool>,
    /// Own messages of one command, for all others to show.
    written: broadcast::Sender<Message>,
    last_input: Mutex<Instant>,
    auto_lock: Option<Duration>,
}

impl Holding {
    /// Asks for the profile to be locked, and waits until it is.
    pub(super) async fn lock(&self) {
        self.lock_wanted.send_replace(true);
        let _ = self.locked.subscribe().wait_for(|locked| *locked).await;
    }

    /// Becomes true when the profile was locked.
    pub(super) fn locked(&self) -> watch::Receiver<bool> {
        self.locked.subscribe()
    }

    /// One command has written a message: the others hear of it.
    pub(super) fn tell_written(&self, message: &Message) {
        // Where nobody listens nobody misses it.
        let _ = self.written.send(message.clone());
    }

    /// Messages that commands write from now on.
    pub(super) fn written(&self) -> broadcast::Receiver<Message> {
        self.written.subscribe()
    }

    /// The user did something.
    pub(super) fn touch(&self) {
        *self.last_input.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Waits until the profile has to be locked: somebody asked for it, or the user did nothing for too long.
    pub(super) async fn must_lock(&self) {
        let mut wanted = self.lock_wanted.subscribe();
        loop {
            let last = *self.last_input.lock().unwrap_or_else(PoisonError::into_inner);
            let idle = async {
                match self.auto_lock {
                    Some(limit) if last.elapsed() >= limit => true,
                    Some(limit) => {
                        sleep_until(last + limit).await;
                        false
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = becomes_true(&mut wanted) => return,
                over = idle => if over { return },
            }
        }
    }
}

/// The socket at work.
pub(super) struct Serving {
    pub(super) holding: Arc<Holding>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    place: Option<Place>,
}

#[derive(Clone)]
struct Shared {
    client: Arc<Client>,
    profile: ProfilePath,
    holding: Arc<Holding>,
    stop: watch::Receiver<bool>,
}

impl Serving {
    /// Listens from now on. Ask it for the end before the profile is closed.
    pub(super) fn start(profile: &ProfilePath, client: &Arc<Client>, auto_lock: Option<Duration>) -> Self {
        let holding = Arc::new(Holding {
            lock_wanted: watch::channel(false).0,
            locked: watch::channel(false).0,
            written: broadcast::channel(WRITTEN).0,
            last_input: Mutex::new(Instant::now()),
            auto_lock,
        });
        let (stop, stopping) = watch::channel(false);
        let shared =
            Shared { client: client.clone(), profile: profile.clone(), holding: holding.clone(), stop: stopping };
        let (task, place) = match socket::listen(profile) {
            Ok(Listening { listener, place }) => (tokio::spawn(accept(listener, shared)), Some(place)),
            Err(error) => {
                tracing::warn!(%error, "no socket: other commands cannot use this profile until this one ends");
                (tokio::spawn(async {}), None)
            }
        };
        Self { holding, stop, task, place }
    }

    /// Whether other commands can reach it.
    pub(super) fn is_reachable(&self) -> bool {
        self.place.is_some()
    }

    /// Takes no more connections; nobody finds the socket any more.
    pub(super) fn retire(&mut self) {
        self.place = None;
    }

    /// Lets what is at work come to its end, for a while, and ends all connections.
    pub(super) async fn end(self) {
        let Self { stop, mut task, .. } = self;
        stop.send_replace(true);
        if timeout(2 * DRAINING, &mut task).await.is_err() {
            task.abort();
        }
    }

    /// The profile is closed: whoever asked for that may know.
    pub(super) fn tell_locked(&self) {
        self.holding.locked.send_replace(true);
    }
}

/// Waits until it does.
pub(super) async fn becomes_true(value: &mut watch::Receiver<bool>) {
    if value.wait_for(|value| *value).await.is_err() {
        // Who would have said so is gone.
        std::future::pending::<()>().await;
    }
}

async fn accept(listener: UnixListener, shared: Shared) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut stop = shared.stop.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if socket::is_own(&stream) => match places.clone().try_acquire_owned() {
                    Ok(place) => {
                        let shared = shared.clone();
                        connections.spawn(async move {
                            converse(stream, shared).await;
                            drop(place);
                        });
                    }
                    Err(_) => drop(connections.spawn(refuse(stream))),
                },
                Ok(_) => tracing::warn!("another user's process tried to use the socket"),
                Err(error) => {
                    // Out of descriptors, most likely: they come back.
                    tracing::warn!(%error, "accepting a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = becomes_true(&mut stop) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn refuse(stream: UnixStream) {
    let (_, write) = stream.into_split();
    let (outbox, writer) = Outbox::open(write);
    answer_nobody(&outbox, &WireError::new(WireError::REQUEST, "too many connections; close one")).await;
    outbox.finish().await;
    let _ = timeout(DRAINING, writer).await;
}

/// An error that belongs to no request that could be read.
async fn answer_nobody(outbox: &Outbox, error: &WireError) {
    if let Ok(line) = wire::reply(None, Err(error)) {
        outbox.send(line).await;
    }
}

async fn converse(stream: UnixStream, shared: Shared) {
    let (read, write) = stream.into_split();
    let mut lines = Lines::new(read, REQUEST);
    let (outbox, mut writer) = Outbox::open(write);
    let mut at_work = JoinSet::new();
    let mut stop = shared.stop.clone();
    loop {
        tokio::select! {
            read = lines.next(), if at_work.len() < AT_WORK => match read {
                Read::Line(line) => drop(at_work.spawn(answer(line, outbox.clone(), shared.clone()))),
                Read::TooLong => {
                    let message = format!("a request of more than {REQUEST} bytes");
                    answer_nobody(&outbox, &WireError::new(WireError::REQUEST, message)).await;
                    break;
                }
                Read::End => break,
            },
            Some(done) = at_work.join_next(), if !at_work.is_empty() => if done.is_err() {
                // A defect: its requester must not wait for ever.
                break;
            },
            // Nobody reads any more: what only waits for time is abandoned.
            _ = &mut writer => return,
            () = becomes_true(&mut stop) => break,
        }
    }
    // What is at work comes to its end, but does not keep the holder from its own for long.
    let stopped = async {
        becomes_true(&mut stop).await;
        tokio::time::sleep(DRAINING).await;
    };
    tokio::select! {
        () = async { while at_work.join_next().await.is_some() {} } => {}
        () = stopped => {}
    }
    // Told here, behind everything else: a subscriber must not take locking for a mere end.
    if outbox.is_subscribed() && *shared.holding.locked().borrow() {
        let _ = outbox.try_notify("event", &EventObject::Locked);
    }
    outbox.finish().await;
    if timeout(DRAINING, &mut writer).await.is_err() {
        writer.abort();
    }
}

async fn answer(line: wire::Line, outbox: Outbox, shared: Shared) {
    if line.iter().all(u8::is_ascii_whitespace) {
        return;
    }
    let request = match parse(&line) {
        Ok(request) => request,
        Err(error) => return answer_nobody(&outbox, &error).await,
    };
    let answer = work(&request, &outbox, &shared).await;
    // A notification is done and not answered.
    let Some(id) = request.id else { return };
    let answer = answer.as_ref().map(|result| result.as_ref());
    if let Ok(line) = wire::reply(Some(id), answer) {
        outbox.send(line).await;
    }
}

fn parse(line: &[u8]) -> Result<Request<'_>, WireError> {
    if line.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(WireError::new(WireError::REQUEST, "batches are not supported: send one request a line"));
    }
    let request: Request<'_> =
        serde_json::from_slice(line).map_err(|error| match serde_json::from_slice::<IgnoredAny>(line) {
            Ok(_) => WireError::new(WireError::REQUEST, format!("not a JSON-RPC request: {error}")),
            Err(error) => WireError::new(WireError::PARSE, format!("not one JSON object on one line: {error}")),
        })?;
    if request.jsonrpc != "2.0" {
        return Err(WireError::new(WireError::REQUEST, "\"jsonrpc\" must be \"2.0\""));
    }
    let usable = |id: &&RawValue| {
        id.get().len() <= 256 && id.get().starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit())
    };
    match request.id {
        Some(id) if !usable(&id) => Err(WireError::new(WireError::REQUEST, "an id is a number or a short text")),
        _ => Ok(request),
    }
}

async fn work(request: &Request<'_>, outbox: &Outbox, shared: &Shared) -> Result<Box<RawValue>, WireError> {
    shared.holding.touch();
    let unknown = || WireError::new(WireError::METHOD, format!("there is no method '{}'", request.method));
    let method = registry::find(&request.method).ok_or_else(unknown)?;
    let (progress, mut progressed) = mpsc::unbounded_channel();
    let context = Context {
        client: shared.client.clone(),
        profile: shared.profile.clone(),
        holding: Some(shared.holding.clone()),
        caller: Some(outbox.clone()),
        progress: Some(progress),
    };
    let mut running = (method.run)(&context, request.params.map_or("{}", RawValue::get));
    loop {
        tokio::select! {
            biased;
            Some(progress) = progressed.recv() => {
                let told = wire::Progressed { id: request.id, progress };
                // A peer who is slow misses a step, no more.
                let _ = outbox.try_notify("progress", &told);
            }
            done = &mut running => return done,
        }
    }
}
