//! The floor's process. A frame is a length (u32, big endian) and that many bytes. A connection's first frame says which pair
//! it belongs to and whether it sends or receives; the sender's further frames begin with their number (u64), go to the receivers
//! that were there first as they are, and are answered with their number.

use super::{
    Kind, mysql,
    storage::{self, Row},
};
use anyhow::{Context as _, Result};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    version::TLS13,
};
use std::{
    collections::HashMap,
    io::Write as _,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use waxwing_protocol::ALPN;

/// What is read at once.
const CHUNK: usize = 32 * 1024;
/// The first byte of a connection that sends.
pub(crate) const SENDER: u8 = 0;
/// The first byte of one that receives.
pub(crate) const RECEIVER: u8 = 1;

/// What waits to be written to one connection.
#[derive(Default)]
pub(super) struct Outbox {
    bytes: Mutex<Vec<u8>>,
    filled: Notify,
}

impl Outbox {
    pub(super) fn push(&self, frame: &[u8]) {
        let mut bytes = self.lock();
        bytes.extend_from_slice(&(frame.len() as u32).to_be_bytes());
        bytes.extend_from_slice(frame);
        drop(bytes);
        self.filled.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all connections share.
struct Relay {
    receivers: Mutex<HashMap<u64, Vec<Arc<Outbox>>>>,
    storage: Storage,
}

enum Storage {
    Nowhere,
    Sqlite(storage::Storage),
    Mysql(Box<mysql::Storage>),
}

/// Serves until the standard input ends: then whoever started this has ended. Its first line names the database.
pub(crate) fn run(kind: Kind) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut database = String::new();
    std::io::stdin().read_line(&mut database)?;
    let database = database.trim_end();
    let storage = match kind {
        Kind::Tls => Storage::Nowhere,
        Kind::Sqlite => Storage::Sqlite(storage::Storage::open(Path::new(database))?),
        Kind::Mysql => Storage::Mysql(Box::new(runtime.block_on(mysql::Storage::open(database))?)),
    };
    let relay = Arc::new(Relay { receivers: Mutex::default(), storage });
    let serving = Arc::clone(&relay);
    runtime.spawn(async move {
        if let Err(error) = serve(serving).await {
            eprintln!("the floor failed: {error:#}");
        }
    });
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    if let Storage::Mysql(storage) = &relay.storage {
        runtime.block_on(storage.remove())?;
    }
    runtime.shutdown_background();
    Ok(())
}

async fn serve(relay: Arc<Relay>) -> Result<()> {
    let made = rcgen::generate_simple_self_signed(["waxwing".to_owned()])?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let mut tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.send_tls13_tickets = 0;
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        let (acceptor, relay) = (acceptor.clone(), Arc::clone(&relay));
        // Whoever leaves has what it wanted.
        tokio::spawn(async move { attend(acceptor.accept(tcp).await?, &relay).await });
    }
}

async fn attend(mut tls: TlsStream<TcpStream>, relay: &Relay) -> Result<()> {
    let own = Arc::new(Outbox::default());
    let mut input = Vec::with_capacity(CHUNK);
    let (role, pair) = loop {
        if let Some((frame, rest)) = split(&input) {
            let (role, pair) = frame.split_first().context("an empty frame")?;
            let first = (*role, u64::from_be_bytes(pair.try_into()?));
            input = rest.to_vec();
            break first;
        }
        fill(&mut tls, &mut input).await?;
    };
    let receivers: Arc<[Arc<Outbox>]> = {
        let mut receivers = relay.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        let all = receivers.entry(pair).or_default();
        if role == RECEIVER {
            all.push(Arc::clone(&own));
        }
        all.iter().cloned().collect()
    };
    // The answer to the first frame: the pair can begin.
    own.push(&[]);
    loop {
        let output = std::mem::take(&mut *own.lock());
        if !output.is_empty() {
            tls.write_all(&output).await?;
            tls.flush().await?;
        }
        tokio::select! {
            biased;
            read = fill(&mut tls, &mut input) => read?,
            () = own.filled.notified() => {}
        }
        let mut rest = &input[..];
        while let Some((frame, further)) = split(rest) {
            rest = further;
            let number = frame.split_first_chunk::<8>().context("a frame without a number")?.0;
            let row = |number: &[u8; 8]| Row {
                pair,
                number: u64::from_be_bytes(*number),
                seq: 0,
                frame: frame.to_vec(),
                receivers: Arc::clone(&receivers),
                sender: Arc::clone(&own),
            };
            match &relay.storage {
                Storage::Sqlite(storage) => storage.store(row(number)),
                Storage::Mysql(storage) => storage.store(row(number)),
                Storage::Nowhere => {
                    receivers.iter().for_each(|receiver| receiver.push(frame));
                    own.push(number);
                }
            }
        }
        let used = input.len() - rest.len();
        input.drain(..used);
    }
}

/// The first frame, and what follows it.
fn split(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = input.split_first_chunk()?;
    rest.split_at_checked(u32::from_be_bytes(*head) as usize)
}

async fn fill(tls: &mut (impl AsyncRead + Unpin), input: &mut Vec<u8>) -> Result<()> {
    input.reserve(CHUNK);
    match tls.read_buf(input).await? {
        0 => anyhow::bail!("closed"),
        _ => Ok(()),
    }
}
