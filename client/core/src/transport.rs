//! One connection to the server: pinned TLS 1.3, frames, and answers matched to their requests.
//!
//! Nothing is sent before the server has proven that it holds the pinned key, or one that the pinned key vouches for
//! (`pin`). It must not know what requests mean.

mod opening;
mod pin;
mod route;
mod tunnel;

use crate::Error;
pub(crate) use pin::ServerKey;
pub use route::{Route, Via, set_route};
use waxwing_e2ee::account::AuthenticationKey;

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf},
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_rustls::client::TlsStream;
use waxwing_protocol::{
    ClientFrame, DecodeError, DeviceId, ErrorCode, Event, Hello, Refusal, Request, Response, ServerFrame, ServerHello,
    VERSIONS, decode_server_frame, decode_server_hello, encode, limits,
};

const ANSWER: Duration = Duration::from_secs(30);
/// Events that may wait before we rather fetch than remember them.
const EVENTS: usize = 4096;

/// An answer, or why there is none.
pub(crate) type Answer = Result<Response, CallError>;

/// What [`Connection::post`] gives back with the answer: a chat and a send number.
pub(crate) type Tag = (i64, u64);

/// Why a request has no answer.
#[derive(Clone, Debug)]
pub(crate) enum CallError {
    /// The server refused.
    Refused(Refusal),
    /// The connection ended; whether the request was carried out is unknown.
    Lost(String),
}

/// What arrives unasked.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// An event.
    Event(Event),
    /// The connection ended.
    Closed(String),
}

/// An enrolled device, as it shows itself at the door.
pub(crate) struct Guest {
    pub(crate) device: DeviceId,
    pub(crate) key: AuthenticationKey,
    /// The door that it came in by the last time.
    pub(crate) last: Door,
    /// At which of the link's addresses it begins, counted on without end.
    pub(crate) first: usize,
}

/// Which way a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// Straight.
    Plain,
    /// Through a WebSocket.
    Websocket,
}

impl Door {
    /// As [`Via`] has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "direct",
            Self::Websocket => "websocket",
        }
    }
}

/// What TLS runs over.
type Stream = Box<dyn Duplex>;

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// What a connection attempt gives.
type Opened = (Connection, mpsc::Receiver<Incoming>);

/// What the server said first.
#[derive(Clone, Debug)]
pub(crate) struct Greeting {
    pub(crate) version: u16,
    pub(crate) incarnation: [u8; 16],
    pub(crate) sign_up: waxwing_protocol::SignUpPolicy,
}

/// A connection. Dropping it closes the connection.
pub(crate) struct Connection {
    pub(crate) greeting: Greeting,
    pub(crate) exporter: [u8; 32],
    pub(crate) address: String,
    /// The key that the server has proven.
    pub(crate) key: ServerKey,
    /// The door that it came in by.
    pub(crate) door: Door,
    shared: Arc<Shared>,
    outgoing: mpsc::Sender<Vec<u8>>,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

/// Where an answer goes.
enum Waiter {
    /// To the caller that waits for it.
    Caller(oneshot::Sender<Answer>),
    /// To the queue, under this tag.
    Queue(Tag, mpsc::UnboundedSender<(Tag, Answer)>),
}

impl Waiter {
    fn answer(self, answer: Answer) {
        // Who does not listen any more does not need the answer.
        match self {
            Self::Caller(caller) => drop(caller.send(answer)),
            Self::Queue(tag, queue) => drop(queue.send((tag, answer))),
        }
    }
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Events were left out because nobody took them in.
    dropped: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    next: u32,
    answers: HashMap<u32, Waiter>,
    closed: Option<String>,
}

/// Asks on a connection beside its owner, for as long as there is one.
#[derive(Clone)]
pub(crate) struct Caller {
    shared: Arc<Shared>,
    outgoing: mpsc::Sender<Vec<u8>>,
}

impl Caller {
    /// Sends a request; waits no longer than it takes to hand it over.
    pub(crate) async fn begin(&self, request: Request) -> oneshot::Receiver<Answer> {
        let (caller, answer) = oneshot::channel();
        submit(&self.shared, &self.outgoing, request, Waiter::Caller(caller)).await;
        answer
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn call(&self, request: Request) -> Answer {
        answered(self.begin(request).await).await
    }
}

/// Waits for the answer to a request, for as long as a server may take.
pub(crate) async fn answered(answer: oneshot::Receiver<Answer>) -> Answer {
    match timeout(ANSWER, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(CallError::Lost("closed".into())),
        Err(_) => Err(CallError::Lost("the server does not answer".into())),
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        // Callers may outlive it.
        self.shared.close("closed");
    }
}

impl Connection {
    async fn greet(
        tls: TlsStream<Stream>,
        exporter: [u8; 32],
        address: String,
        key: ServerKey,
        door: Door,
    ) -> Result<Opened, Error> {
        let lost = |error: io::Error| Error::ConnectionLost(plain_reason(&error));
        let (read, mut write) = tokio::io::split(tls);
        let mut read = BufReader::with_capacity(16 * 1024, read);
        let hello = Hello { lowest: *VERSIONS.start(), highest: *VERSIONS.end() };
        write.write_all(&framed(&hello)).await.map_err(lost)?;
        write.flush().await.map_err(lost)?;
        let mut body = Vec::new();
        read_frame(&mut read, &mut body).await.map_err(lost)?;
        let misbehaves = |why: &str| Error::ServerMisbehaves(why.into());
        let greeting = match decode_server_hello(&body).map_err(|_| misbehaves("its greeting is malformed"))? {
            ServerHello::Accepted { version, incarnation, sign_up, .. } if VERSIONS.contains(&version) => {
                Greeting { version, incarnation: incarnation.0, sign_up }
            }
            ServerHello::Accepted { .. } => return Err(misbehaves("it chose a version that was not offered")),
            ServerHello::Refused(refusal) => return Err(Error::Refused(refusal.to_string())),
        };
        let shared = Arc::new(Shared::default());
        let (outgoing, queue) = mpsc::channel(limits::REQUESTS_IN_FLIGHT);
        let (events, incoming) = mpsc::channel(EVENTS);
        let tasks =
            [tokio::spawn(write_frames(write, queue)), tokio::spawn(read_frames(read, Arc::clone(&shared), events))];
        Ok((Self { greeting, exporter, address, key, door, shared, outgoing, tasks }, incoming))
    }

    /// Sends a request; the answer arrives in `queue` under the tag. Requests leave in the order of these calls. If the
    /// connection ends there may be no answer.
    pub(crate) async fn post(&self, request: Request, tag: Tag, queue: &mpsc::UnboundedSender<(Tag, Answer)>) {
        self.submit(request, Waiter::Queue(tag, queue.clone())).await;
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn call(&self, request: Request) -> Answer {
        let (caller, answer) = oneshot::channel();
        self.submit(request, Waiter::Caller(caller)).await;
        answered(answer).await
    }

    /// Whether events were left out since the last call.
    pub(crate) fn has_dropped_events(&self) -> bool {
        self.shared.dropped.swap(false, Ordering::AcqRel)
    }

    /// For whoever asks beside the owner of this connection.
    pub(crate) fn caller(&self) -> Caller {
        Caller { shared: Arc::clone(&self.shared), outgoing: self.outgoing.clone() }
    }

    async fn submit(&self, request: Request, waiter: Waiter) {
        submit(&self.shared, &self.outgoing, request, waiter).await;
    }
}

impl Shared {
    /// Answers all that wait, and all that come.
    fn close(&self, reason: &str) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.closed.get_or_insert_with(|| reason.to_owned());
        waiting.answers.drain().for_each(|(_, waiter)| waiter.answer(Err(CallError::Lost(reason.to_owned()))));
    }
}

async fn submit(shared: &Shared, outgoing: &mpsc::Sender<Vec<u8>>, request: Request, waiter: Waiter) {
    let id = {
        let mut waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = waiting.closed.clone() {
            return waiter.answer(Err(CallError::Lost(reason)));
        }
        waiting.next = waiting.next.wrapping_add(1);
        let id = waiting.next;
        waiting.answers.insert(id, waiter);
        id
    };
    // Fails only once the writer has ended; then the reader ends too, and answers all that wait.
    let _ = outgoing.send(framed(&ClientFrame { id, request })).await;
}

impl CallError {
    /// The error for the user, for requests that have no refusals of their own.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Lost(reason) => Error::ConnectionLost(reason),
            Self::Refused(refusal) => match refusal.code {
                ErrorCode::BadCredentials => Error::BadCredentials,
                ErrorCode::NotAuthenticated => Error::SignedOut,
                ErrorCode::AccountDisabled => Error::AccountDisabled,
                ErrorCode::CodeNeeded => Error::CodeNeeded { digits: refusal.number.unwrap_or(6) },
                ErrorCode::BadCode => Error::BadCode { left: refusal.number.unwrap_or_default() },
                ErrorCode::EmailNeeded | ErrorCode::EmailNotAllowed => Error::EmailRefused(refusal.to_string()),
                ErrorCode::TooManySessions => Error::TooManySessions { limit: refusal.number.unwrap_or(1) },
                ErrorCode::RateLimited | ErrorCode::Busy => {
                    let seconds = refusal.retry_after_ms.map_or(1, |ms| u64::from(ms).div_ceil(1000));
                    Error::RateLimited { seconds }
                }
                ErrorCode::Draining => Error::ConnectionLost(refusal.to_string()),
                _ => Error::Refused(refusal.to_string()),
            },
        }
    }
}

/// The answer was of another kind than the request's.
pub(crate) fn unexpected() -> Error {
    Error::ServerMisbehaves("it answered something else than was asked".into())
}

fn framed(frame: &impl minicbor::Encode<()>) -> Vec<u8> {
    let body = encode(frame).0;
    let mut bytes = Vec::with_capacity(body.len() + 4);
    bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

async fn read_frame(read: &mut (impl AsyncRead + Unpin), body: &mut Vec<u8>) -> io::Result<()> {
    let length = read.read_u32().await? as usize;
    if length > limits::FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the server sent a frame that is too long"));
    }
    body.resize(length, 0);
    read.read_exact(body).await.map(drop)
}

async fn write_frames(mut write: WriteHalf<TlsStream<Stream>>, mut queue: mpsc::Receiver<Vec<u8>>) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, 64).await > 0 {
        let bytes = batch.concat();
        batch.clear();
        let written = timeout(ANSWER, async {
            write.write_all(&bytes).await?;
            write.flush().await
        });
        if !matches!(written.await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = write.shutdown().await;
}

async fn read_frames<R: AsyncRead>(
    mut read: BufReader<ReadHalf<R>>,
    shared: Arc<Shared>,
    events: mpsc::Sender<Incoming>,
) {
    let reason = receive_until_end(&mut read, &shared, &events).await;
    shared.close(&reason);
    let _ = events.send(Incoming::Closed(reason)).await;
}

/// Returns why it ended.
async fn receive_until_end(
    read: &mut (impl AsyncRead + Unpin),
    shared: &Shared,
    events: &mpsc::Sender<Incoming>,
) -> String {
    let idle = Duration::from_secs(limits::IDLE_SECONDS);
    let mut body = Vec::new();
    loop {
        match timeout(idle, read_frame(read, &mut body)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return plain_reason(&error),
            Err(_) => return "the server is silent".into(),
        }
        let (id, answer) = match decode_server_frame(&body) {
            Ok(ServerFrame::Response { id, response }) => (id, Ok(response)),
            Ok(ServerFrame::Refusal { id, refusal }) => (id, Err(CallError::Refused(refusal))),
            Ok(ServerFrame::Event(event)) => {
                // Never wait here: the engine may be waiting for an answer that comes behind this event.
                if events.try_send(Incoming::Event(event)).is_err() {
                    shared.dropped.store(true, Ordering::Release);
                }
                continue;
            }
            Err(DecodeError::UnknownResponse { id }) => {
                (id, Err(CallError::Lost("the server answered something this version does not know".into())))
            }
            Err(DecodeError::UnknownServerFrame) => continue,
            Err(_) => return "the server sent something malformed".into(),
        };
        let waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).answers.remove(&id);
        if let Some(waiting) = waiting {
            waiting.answer(answer);
        }
    }
}

fn plain_reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server closed the connection".into(),
        io::ErrorKind::ConnectionRefused => "nothing listens there (connection refused)".into(),
        _ => error.to_string(),
    }
}
