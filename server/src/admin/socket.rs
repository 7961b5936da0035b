//! The socket itself: `admin.sock` in the server's folder, 0600.
//!
//! Invariants: it answers the server's own user and root only; a peer that sends nothing or too much is let go, so that it
//! keeps nobody else waiting. It must not know what a request does.

use super::{Answer, Operator, Problem, Reply, Request};
use crate::{
    backup::{self, Snapshot},
    install::{Folder, InstallError, YesNo},
};
use rustix::process::geteuid;
use std::{
    fs::{self, File, Permissions},
    io::{self, BufRead, BufReader, Read, Write},
    os::{
        fd::AsRawFd,
        unix::{fs::PermissionsExt, net},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::timeout,
};

/// The longest request.
const LINE: u64 = 64 * 1024;
/// How long a peer may take to ask, and to read its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many are served at once.
const PEERS: usize = 16;
/// The longest path that every system takes in a socket's address.
const PATH: usize = 100;

/// A path for a socket's address. A longer one is named through the open folder, which Linux allows.
struct Named {
    path: PathBuf,
    _folder: Option<File>,
}

impl Named {
    fn new(path: &Path) -> io::Result<Self> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if path.as_os_str().len() <= PATH {
            return Ok(Self { path: path.to_owned(), _folder: None });
        }
        let folder = File::open(folder)?;
        let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _folder: Some(folder) })
    }
}

/// The running server's end. The file goes with it.
#[derive(Debug)]
pub struct Door {
    listener: UnixListener,
    path: PathBuf,
}

impl Door {
    /// Opens it. The caller holds the folder's lock, so a file that is there is a dead server's.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn open(folder: &Folder) -> Result<Self, InstallError> {
        let path = folder.admin_socket();
        let bind = || {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(Named::new(&path)?.path)?;
            // Nobody else comes this far before: the folder is 0700.
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            Ok(listener)
        };
        let listener = bind().map_err(|source| InstallError::Io { action: "open", path: path.clone(), source })?;
        Ok(Self { listener, path })
    }

    /// Serves until it is dropped.
    pub async fn serve(&self, operator: Arc<Operator>) -> std::convert::Infallible {
        let places = Arc::new(Semaphore::new(PEERS));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return std::future::pending().await };
            match self.listener.accept().await {
                Ok((stream, _)) if is_ours(&stream) => {
                    let operator = operator.clone();
                    tokio::spawn(async move {
                        attend(&operator, stream).await;
                        drop(place);
                    });
                }
                Ok(_) => tracing::warn!("refused another user's process on the operator's socket"),
                Err(error) => {
                    tracing::warn!(%error, "could not accept on the operator's socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // What stays is a dead server's file, which the next one removes.
        let _ = fs::remove_file(&self.path);
    }
}

fn is_ours(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw())
}

/// One request, one reply.
async fn attend(operator: &Operator, stream: UnixStream) {
    let mut stream = stream;
    let mut line = String::new();
    let mut read = tokio::io::BufReader::new((&mut stream).take(LINE));
    let Ok(Ok(_)) = timeout(PATIENCE, read.read_line(&mut line)).await else { return };
    let reply = match serde_json::from_str::<Request>(&line) {
        Ok(Request::Backup) => match snapshot(operator).await {
            Ok(snapshot) => {
                if say(&mut stream, &Reply::Ok(Answer::Backup)).await {
                    send(operator, &snapshot, stream).await;
                }
                return;
            }
            Err(problem) => Reply::Error(problem),
        },
        Ok(request) => operator.handle(request).await.map_or_else(Reply::Error, Reply::Ok),
        Err(error) => {
            let next = "use the waxwing-server program of the version that runs; restart the server after an upgrade";
            Reply::Error(Problem::user("bad-request", format!("the running server does not know this: {error}"), next))
        }
    };
    say(&mut stream, &reply).await;
}

/// Whether the peer has taken the reply.
async fn say(stream: &mut UnixStream, reply: &Reply) -> bool {
    let Ok(mut bytes) = serde_json::to_vec(reply) else { return false };
    bytes.push(b'\n');
    matches!(timeout(PATIENCE, stream.write_all(&bytes)).await, Ok(Ok(())))
}

async fn snapshot(operator: &Operator) -> Result<Snapshot, Problem> {
    if operator.config().in_memory == YesNo::Yes {
        let message = "this server keeps everything in memory alone, so that nothing of it is ever on disk";
        return Err(Problem::user("in-memory", message, "run it with a database if you want backups"));
    }
    Snapshot::take(&*operator.store, &operator.folder).await.map_err(Problem::unexpected)
}

/// Sends the archive; if the peer goes away or the disk fails it ends short, which the peer notices.
async fn send(operator: &Operator, snapshot: &Snapshot, stream: UnixStream) {
    let contents = snapshot.contents(&operator.folder, &operator.config());
    let attachments = operator.folder.attachments();
    let sending = tokio::task::spawn_blocking(move || {
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        backup::write(&contents, &attachments, super::now(), io::BufWriter::new(stream)).map_err(io::Error::other)
    });
    match sending.await {
        Ok(Ok(())) => tracing::info!("a backup was made"),
        Ok(Err(error)) => tracing::error!(%error, "a backup was not finished"),
        Err(error) => tracing::error!(%error, "a backup was not finished"),
    }
}

/// A command's end.
#[derive(Debug)]
pub struct Connected(net::UnixStream);

/// Reaches the server that runs on this folder; none if no server answers there.
///
/// # Errors
/// There is one and it may not be reached.
pub fn connect(folder: &Folder) -> Result<Option<Connected>, InstallError> {
    let path = folder.admin_socket();
    let reach = || net::UnixStream::connect(Named::new(&path)?.path);
    match reach() {
        Ok(stream) => Ok(Some(Connected(stream))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(source) => Err(InstallError::Io { action: "reach the server at", path, source }),
    }
}

impl Connected {
    /// Asks, and waits for the reply as long as that takes.
    ///
    /// # Errors
    /// The server went away, or speaks another version's words.
    pub fn ask(self, request: &Request) -> io::Result<Reply> {
        self.open(request).map(|(reply, _)| reply)
    }

    /// Asks, waits for the reply, and hands on what follows it.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn open(mut self, request: &Request) -> io::Result<(Reply, impl Read)> {
        let mut bytes = serde_json::to_vec(request)?;
        bytes.push(b'\n');
        self.0.write_all(&bytes)?;
        let mut line = String::new();
        let mut rest = BufReader::new(self.0);
        rest.read_line(&mut line)?;
        if line.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended the connection"));
        }
        Ok((serde_json::from_str(&line)?, rest))
    }
}
