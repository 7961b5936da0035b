//! JSON-RPC 2.0 as both ends of the socket speak it: one object a line, of bounded length.
//!
//! Lines may hold passwords: they are wiped after use and never logged.

use super::Progress;
use crate::failure::{Failure, kind_name, kind_named};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use std::{
    borrow::Cow,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::mpsc,
    task::JoinHandle,
};
use waxwing_core::{Error, Zeroizing};

/// Lines that wait for a peer who does not read.
const WAITING: usize = 512;

/// Room for usual lines, so that those with a password need not move.
const LINE: usize = 8 * 1024;

pub(super) type Line = Zeroizing<Vec<u8>>;

/// A request, or a notification if it has no id.
#[derive(Deserialize)]
pub(super) struct Request<'a> {
    pub(super) jsonrpc: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) method: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) params: Option<&'a RawValue>,
}

/// What comes from the process that holds the profile: an answer or a notification.
#[derive(Deserialize)]
pub(super) struct Incoming<'a> {
    #[serde(default)]
    pub(super) id: Option<u64>,
    #[serde(borrow, default)]
    pub(super) method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) result: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) error: Option<WireError>,
}

/// Why a request failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct WireError {
    pub(super) code: i32,
    pub(super) message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<ErrorData>,
}

/// The `data` of an error with code -32000: what the command would have said and how it would have ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ErrorData {
    /// user, unexpected, network, untrusted, rate_limited or not_authenticated.
    kind: String,
    /// The exit code of a command that fails of this.
    exit_code: u8,
    /// What to do next.
    next: Option<String>,
    /// The error itself, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
}

impl WireError {
    pub(super) const PARSE: i32 = -32700;
    pub(super) const REQUEST: i32 = -32600;
    pub(super) const METHOD: i32 = -32601;
    pub(super) const PARAMS: i32 = -32602;
    const FAILED: i32 = -32000;

    pub(super) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }
}

impl From<Failure> for WireError {
    fn from(failure: Failure) -> Self {
        let error = match &failure {
            Failure::Core(error) => serde_json::to_value(error).ok(),
            _ => None,
        };
        let data = ErrorData {
            kind: kind_name(failure.kind()).to_owned(),
            exit_code: failure.exit_code(),
            next: failure.next().map(str::to_owned),
            error,
        };
        Self { code: Self::FAILED, message: failure.to_string(), data: Some(data) }
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        let WireError { code, message, data } = error;
        match data {
            Some(data) => match data.error.and_then(|error| serde_json::from_value::<Error>(error).ok()) {
                Some(error) => Self::Core(error),
                None => Self::Holder { message, kind: kind_named(&data.kind), next: data.next },
            },
            None if code == WireError::METHOD => Self::foreign_answer(),
            None => Self::Holder { message, kind: waxwing_core::ErrorKind::Unexpected, next: None },
        }
    }
}

#[derive(Serialize)]
struct Call<'a, T> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    method: &'a str,
    params: &'a T,
}

#[derive(Serialize)]
struct Reply<'a> {
    jsonrpc: &'static str,
    id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a WireError>,
}

/// The parameters of the notification `progress`, as they are sent.
#[derive(Serialize)]
pub(super) struct Progressed<'a> {
    pub(super) id: Option<&'a RawValue>,
    #[serde(flatten)]
    pub(super) progress: Progress,
}

/// The same as they are read.
#[derive(Deserialize)]
pub(super) struct ProgressOf {
    pub(super) id: Option<u64>,
    #[serde(flatten)]
    pub(super) progress: Progress,
}

/// A request, or a notification if there is no id, as a line.
pub(super) fn call<T: Serialize>(id: Option<u64>, method: &str, params: &T) -> serde_json::Result<Line> {
    line(&Call { jsonrpc: "2.0", id, method, params })
}

/// An answer as a line.
pub(super) fn reply(id: Option<&RawValue>, answer: Result<&RawValue, &WireError>) -> serde_json::Result<Line> {
    line(&Reply { jsonrpc: "2.0", id, result: answer.ok(), error: answer.err() })
}

fn line(object: &impl Serialize) -> serde_json::Result<Line> {
    let mut line = Zeroizing::new(Vec::with_capacity(LINE));
    serde_json::to_writer(&mut *line, object)?;
    line.push(b'\n');
    Ok(line)
}

/// What comes line by line.
pub(super) struct Lines {
    stream: OwnedReadHalf,
    buffer: Line,
    /// So much of the buffer holds no line's end.
    searched: usize,
    limit: usize,
}

/// What was read.
pub(super) enum Read {
    /// A line, without its end.
    Line(Line),
    /// A line without end within the limit. Nothing after it can be understood.
    TooLong,
    /// Nothing more comes.
    End,
}

impl Lines {
    pub(super) fn new(stream: OwnedReadHalf, limit: usize) -> Self {
        Self { stream, buffer: Zeroizing::new(Vec::with_capacity(LINE)), searched: 0, limit }
    }

    /// Waits for the next line; may be cancelled and called again.
    pub(super) async fn next(&mut self) -> Read {
        loop {
            let fresh = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(place) = fresh.iter().position(|byte| *byte == b'\n') {
                let mut line = Zeroizing::new(Vec::with_capacity(self.searched + place + 1));
                line.extend(self.buffer.drain(..=self.searched + place));
                line.pop();
                self.searched = 0;
                return Read::Line(line);
            }
            self.searched = self.buffer.len();
            if self.searched > self.limit {
                return Read::TooLong;
            }
            match self.stream.read_buf(&mut *self.buffer).await {
                Ok(0) | Err(_) => return Read::End,
                Ok(_) => {}
            }
        }
    }
}

/// What goes out on one connection: answers wait for room, events do not.
#[derive(Clone)]
pub(super) struct Outbox {
    lines: mpsc::Sender<Option<Line>>,
    subscribed: Arc<AtomicBool>,
}

impl Outbox {
    pub(super) fn open(stream: OwnedWriteHalf) -> (Self, JoinHandle<()>) {
        let (lines, waiting) = mpsc::channel(WAITING);
        (Self { lines, subscribed: Arc::default() }, tokio::spawn(write(stream, waiting)))
    }

    /// Puts a line behind the others, when there is room.
    pub(super) async fn send(&self, line: Line) {
        // A peer who is gone gets nothing.
        let _ = self.lines.send(Some(line)).await;
    }

    /// Ends the connection behind all lines.
    pub(super) async fn finish(self) {
        let _ = self.lines.send(None).await;
    }

    /// Tells something, if there is room now.
    pub(super) fn try_notify<T: Serialize>(&self, method: &str, params: &T) -> io::Result<()> {
        let line = call(None, method, params)?;
        self.lines.try_send(Some(line)).map_err(|_| io::ErrorKind::WouldBlock.into())
    }

    /// Notes that this connection wants events; false if it did before.
    pub(super) fn subscribe(&self) -> bool {
        !self.subscribed.swap(true, Ordering::Relaxed)
    }

    /// Whether it wants them.
    pub(super) fn is_subscribed(&self) -> bool {
        self.subscribed.load(Ordering::Relaxed)
    }

    /// Waits until there is room.
    pub(super) async fn room(&self) {
        drop(self.lines.reserve().await);
    }

    /// Waits for the end of the connection.
    pub(super) async fn closed(&self) {
        self.lines.closed().await;
    }
}

async fn write(mut stream: OwnedWriteHalf, mut waiting: mpsc::Receiver<Option<Line>>) {
    while let Some(Some(line)) = waiting.recv().await {
        if stream.write_all(&line).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rpc::{Progress, Secret},
        sanitise,
    };

    /// What a command says and how it ends does not depend on who holds the profile.
    #[test]
    fn an_error_crosses_the_socket_unchanged() {
        let errors = [
            Error::UnknownUser("bob".into()),
            Error::IdentityChanged("bob".into()),
            Error::RateLimited { seconds: 3 },
            Error::TooManySessions { limit: 1 },
            Error::CodeNeeded { digits: 6 },
            Error::NobodyThere,
            Error::WaitingFull { limit: 1024 },
            Error::BadCode { left: 2 },
            Error::EmailRefused("no".into()),
            Error::Unreachable { address: "a:1".into(), reason: "refused".into() },
            Error::TooLong { length: 2, limit: 1 },
            Error::BadMessageId,
            Error::Locked,
        ];
        for error in errors {
            let line = serde_json::to_string(&WireError::from(Failure::from(error.clone()))).unwrap();
            let read = Failure::from(serde_json::from_str::<WireError>(&line).unwrap());
            assert!(matches!(&read, Failure::Core(same) if *same == error), "{read:?}");
            assert_eq!(read.in_json(), sanitise::json(&Failure::from(error).in_json()));
        }
        let usage = Failure::usage("not so", "but so");
        let (words, code) = (usage.in_json(), usage.exit_code());
        let read = Failure::from(WireError::from(usage));
        assert_eq!((read.in_json(), read.exit_code()), (words, code));
    }

    #[test]
    fn an_error_of_a_newer_version_keeps_its_words_and_its_exit_code() {
        let line = r#"{"code":-32000,"message":"the moon is full",
            "data":{"kind":"untrusted","exit_code":4,"next":"wait","error":{"full_moon":3}}}"#;
        let read = Failure::from(serde_json::from_str::<WireError>(line).unwrap());
        assert_eq!((read.exit_code(), read.in_words().as_str()), (4, "the moon is full\n  next: wait"));
    }

    #[test]
    fn a_secret_crosses_and_never_shows() {
        let secret = Secret::from(Zeroizing::new("hunter \"2\"".to_owned()));
        let line = serde_json::to_string(&secret).unwrap();
        let read: Secret = serde_json::from_str(&line).unwrap();
        assert_eq!(read.reveal().as_str(), "hunter \"2\"");
        assert!(!format!("{read:?}").contains("hunter"));
    }

    #[test]
    fn progress_names_its_request() {
        let id = serde_json::value::to_raw_value(&7).unwrap();
        let progress = Progress { step: "reading".into(), done: 1, total: None };
        let line = serde_json::to_string(&Progressed { id: Some(&id), progress: progress.clone() }).unwrap();
        let read: ProgressOf = serde_json::from_str(&line).unwrap();
        assert_eq!((read.id, read.progress), (Some(7), progress));
    }
}
