//! A command's way to the process that holds the profile.

use super::{
    Method, Progress,
    events::EventObject,
    socket,
    wire::{self, Incoming, Lines, ProgressOf, Read, WireError},
};
use crate::Failure;
use serde_json::value::RawValue;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    io::AsyncWriteExt as _,
    net::unix::OwnedWriteHalf,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use waxwing_core::ProfilePath;

/// The longest answer, in bytes: a history of many years.
const ANSWER: usize = 1024 * 1024 * 1024;

type Answer = Result<Box<RawValue>, Failure>;

/// See the module.
pub(crate) struct Connection {
    shared: Arc<Mutex<Shared>>,
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    reader: JoinHandle<()>,
    holder: Option<i32>,
}

#[derive(Default)]
struct Shared {
    last: u64,
    waiting: HashMap<u64, Waiting>,
    /// None once the connection has ended.
    listeners: Option<Vec<mpsc::UnboundedSender<EventObject>>>,
}

struct Waiting {
    answer: oneshot::Sender<Answer>,
    progress: Option<mpsc::UnboundedSender<Progress>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Connection {
    /// Connects to the process that holds the profile, if there is one that listens.
    pub(super) async fn open(profile: &ProfilePath) -> Option<Self> {
        let stream = socket::connect(profile).await?;
        let holder = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let (read, write) = stream.into_split();
        let shared = Arc::new(Mutex::new(Shared { listeners: Some(Vec::new()), ..Shared::default() }));
        let reader = tokio::spawn(read_all(Lines::new(read, ANSWER), shared.clone()));
        Some(Self { shared, writer: tokio::sync::Mutex::new(write), reader, holder })
    }

    /// The process at the other end.
    pub(crate) fn holder(&self) -> Option<i32> {
        self.holder
    }

    pub(super) async fn call<M: Method>(
        &self,
        params: M::Params,
        progress: Option<mpsc::UnboundedSender<Progress>>,
    ) -> Result<M::Result, Failure> {
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut shared = lock(&self.shared);
            if shared.listeners.is_none() {
                return Err(Failure::HolderEnded);
            }
            shared.last += 1;
            let id = shared.last;
            shared.waiting.insert(id, Waiting { answer, progress });
            id
        };
        let line = wire::call(Some(id), M::NAME, &params).map_err(std::io::Error::from)?;
        drop(params);
        let written = self.writer.lock().await.write_all(&line).await;
        drop(line);
        if written.is_err() {
            // The answer may say why; else the reader finds the end.
            tracing::debug!("the holder does not read");
        }
        let answer = answered.await.map_err(|_| Failure::HolderEnded)??;
        serde_json::from_str(answer.get()).map_err(|_| Failure::foreign_answer())
    }

    /// What happens from now on; ends with the connection.
    pub(super) fn listen(&self) -> mpsc::UnboundedReceiver<EventObject> {
        let (listener, events) = mpsc::unbounded_channel();
        if let Some(listeners) = &mut lock(&self.shared).listeners {
            listeners.push(listener);
        }
        events
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read_all(mut lines: Lines, shared: Arc<Mutex<Shared>>) {
    while let Read::Line(line) = lines.next().await {
        let Ok(incoming) = serde_json::from_slice::<Incoming<'_>>(&line) else { break };
        take_in(incoming, &mut lock(&shared));
    }
    let mut shared = lock(&shared);
    // Whoever waits learns from the dropped senders that nothing comes.
    shared.waiting.clear();
    shared.listeners = None;
}

fn take_in(incoming: Incoming<'_>, shared: &mut Shared) {
    match (incoming.method.as_deref(), incoming.params) {
        (Some("event"), Some(params)) => {
            if let (Ok(event), Some(listeners)) =
                (serde_json::from_str::<EventObject>(params.get()), &mut shared.listeners)
            {
                listeners.retain(|listener| listener.send(event.clone()).is_ok());
            }
        }
        (Some("progress"), Some(params)) => {
            if let Ok(ProgressOf { id: Some(id), progress }) = serde_json::from_str(params.get())
                && let Some(Waiting { progress: Some(listener), .. }) = shared.waiting.get(&id)
            {
                let _ = listener.send(progress);
            }
        }
        (Some(_), _) => {}
        (None, _) => answer(incoming, shared),
    }
}

fn answer(incoming: Incoming<'_>, shared: &mut Shared) {
    let answer = match (incoming.result, incoming.error) {
        (_, Some(error)) => Err(error),
        (Some(result), None) => Ok(result.to_owned()),
        (None, None) => Err(WireError::new(WireError::REQUEST, "an answer without a result")),
    };
    match incoming.id {
        Some(id) => {
            if let Some(waiting) = shared.waiting.remove(&id) {
                let _ = waiting.answer.send(answer.map_err(Failure::from));
            }
        }
        // It concerns no request that could be read: all of them.
        None => {
            if let Err(error) = answer {
                for (_, waiting) in shared.waiting.drain() {
                    let _ = waiting.answer.send(Err(error.clone().into()));
                }
            }
        }
    }
}
