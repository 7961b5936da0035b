//! The protocol, spoken by hand: frames over pinned TLS, requests and their answers.
//!
//! Lean, since the load shares its cores with the server: frames are written into one buffer and leave in one write, and are
//! read without being copied. It must not know workloads.

use crate::failure::{Failure, Kind};
use anyhow::{Context as _, Result, bail};
use ed25519_dalek::{Signer as _, SigningKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use waxwing_protocol::{
    ALPN, ClientFrame, DeviceId, EXPORTER_LABEL, ErrorCode, Hello, Link, NewDevice, Pin, Refusal, Request, Response,
    ServerCertificate, ServerFrame, ServerHello, Username, authentication_message, decode_server_frame,
    decode_server_hello,
};

/// How often a server that is busy is asked again.
const PATIENCE: usize = 100;
/// What is read at once.
const CHUNK: usize = 32 * 1024;

/// A server that can be connected to.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    /// Its key, if it has one that is known.
    pub(crate) pin: Option<Pin>,
    /// The address that connections come from, where the system is not to choose one.
    from: Option<IpAddr>,
    tls: Arc<ClientConfig>,
}

impl Endpoint {
    /// The server of a link: the first of its addresses that the system can resolve.
    pub(crate) async fn of(link: &Link) -> Result<Self> {
        for address in &link.addresses {
            let found = tokio::net::lookup_host((address.host.as_str(), address.port)).await;
            if let Some(address) = found.ok().and_then(|mut all| all.next()) {
                return Self::new(address, Some(link.pin));
            }
        }
        let next = "check the link and the network";
        Err(Failure::error(Kind::Network, "none of the link's addresses can be resolved", next))
    }

    pub(crate) fn new(address: SocketAddr, pin: Option<Pin>) -> Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned { pin, provider }))
            .with_no_client_auth();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        tls.resumption = Resumption::disabled();
        Ok(Self { address, pin, from: None, tls: Arc::new(tls) })
    }

    /// The same server, from the n-th of this machine's own addresses if it is on this machine: each has ports for some 28,000
    /// connections.
    pub(crate) fn coming_from(&self, index: u8) -> Self {
        let from = self.address.ip().is_loopback() && self.address.is_ipv4();
        Self { from: from.then(|| [127, 0, 0, index.max(1)].into()), ..self.clone() }
    }

    async fn tcp(&self) -> std::io::Result<TcpStream> {
        let Some(from) = self.from else { return TcpStream::connect(self.address).await };
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        socket.connect(self.address).await
    }

    /// Opens TLS.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let failed = |error: std::io::Error| {
            if error.to_string().contains("the pinned one") {
                let next = "ask the server's operator for its link";
                return Failure::error(Kind::Identity, "the server does not show the key of the link", next);
            }
            let message = format!("no connection to {}: {error}", self.address);
            Failure::error(Kind::Network, message, "check that the server runs, and that it takes so many connections")
        };
        let tcp = self.tcp().await.map_err(failed)?;
        tcp.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector.connect(ServerName::try_from("waxwing")?, tcp).await.map_err(failed)?;
        Ok(Connection { stream, input: Vec::new(), start: 0, output: Vec::new() })
    }

    /// Opens TLS and says hello.
    pub(crate) async fn greet(&self) -> Result<Peer> {
        let mut connection = self.connect().await?;
        connection.push(&Hello { lowest: 1, highest: 1 });
        connection.flush().await?;
        let hello = decode_server_hello(connection.wait().await?)?;
        match hello {
            ServerHello::Accepted { .. } => {}
            ServerHello::Refused(refusal) => return Err(Failure::refused("the connection", &refusal)),
        }
        Ok(Peer { connection, pin: self.pin.unwrap_or(Pin([0; 32])), next: 0 })
    }
}

/// Frames over TLS.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    input: Vec<u8>,
    /// Where the next frame begins in the input.
    start: usize,
    /// What the next flush writes.
    pub(crate) output: Vec<u8>,
}

impl Connection {
    /// Puts a frame into the output.
    pub(crate) fn push(&mut self, frame: &impl minicbor::Encode<()>) {
        self.push_with(|output| {
            // Writing to a Vec cannot fail.
            let _ = minicbor::encode(frame, output);
        });
    }

    /// Puts a frame into the output whose body this writes.
    pub(crate) fn push_with(&mut self, body: impl FnOnce(&mut Vec<u8>)) {
        let start = self.output.len();
        self.output.extend_from_slice(&[0; 4]);
        body(&mut self.output);
        let length = (self.output.len() - start - 4) as u32;
        self.output[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// Writes the output.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output).await.context("the connection was lost")?;
            self.stream.flush().await.context("the connection was lost")?;
            self.output.clear();
        }
        Ok(())
    }

    /// Reads what has come, or waits for something. Nothing is lost if it is dropped.
    pub(crate) async fn fill(&mut self) -> Result<()> {
        self.input.drain(..self.start);
        self.start = 0;
        // Little room for a connection that is idle: twenty thousand of them fit into the memory.
        let room = if self.input.capacity() == 0 { 512 } else { CHUNK };
        if self.input.len() == self.input.capacity() {
            self.input.reserve(room);
        }
        match self.stream.read_buf(&mut self.input).await.context("the connection was lost")? {
            0 => bail!("the server closed the connection"),
            _ => Ok(()),
        }
    }

    /// The next frame that is there.
    pub(crate) fn frame(&mut self) -> Option<&[u8]> {
        let (head, rest) = self.input.get(self.start..)?.split_first_chunk()?;
        let length = u32::from_be_bytes(*head) as usize;
        if rest.len() < length {
            return None;
        }
        let begin = self.start + 4;
        self.start = begin + length;
        self.input.get(begin..begin + length)
    }

    /// The next frame.
    pub(crate) async fn wait(&mut self) -> Result<&[u8]> {
        while !self.has_frame() {
            self.fill().await?;
        }
        self.frame().context("a frame that was there")
    }

    fn has_frame(&self) -> bool {
        let there = self.input.get(self.start..).and_then(<[u8]>::split_first_chunk);
        there.is_some_and(|(head, rest)| rest.len() >= u32::from_be_bytes(*head) as usize)
    }

    fn exporter(&self) -> Result<[u8; 32]> {
        Ok(self.stream.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, None)?)
    }
}

/// A connection after the hello, which asks.
pub(crate) struct Peer {
    pub(crate) connection: Connection,
    pin: Pin,
    next: u32,
}

impl Peer {
    /// Sends a request; returns its number.
    pub(crate) async fn send(&mut self, request: Request) -> Result<u32> {
        self.next += 1;
        self.connection.push(&ClientFrame { id: self.next, request });
        self.connection.flush().await?;
        Ok(self.next)
    }

    /// Asks, and waits for the answer; events that come before it are passed over.
    pub(crate) async fn ask(&mut self, request: Request) -> Result<Result<Response, Refusal>> {
        let asked = self.send(request).await?;
        loop {
            match decode_server_frame(self.connection.wait().await?)? {
                ServerFrame::Response { id, response } if id == asked => return Ok(Ok(response)),
                ServerFrame::Refusal { id, refusal } if id == asked => return Ok(Err(refusal)),
                ServerFrame::Event(_) | ServerFrame::Response { .. } | ServerFrame::Refusal { .. } => {}
            }
        }
    }

    /// The same, of a server that may be busy: waits as long as it says.
    pub(crate) async fn insist(&mut self, what: &str, request: Request) -> Result<Response> {
        for _ in 0..PATIENCE {
            match self.ask(request.clone()).await? {
                Ok(response) => return Ok(response),
                Err(Refusal { code: ErrorCode::Busy, retry_after_ms, .. }) => {
                    // Not as long as it says: nobody else is there who would be crowded out.
                    let wait = retry_after_ms.unwrap_or(1000).min(200);
                    tokio::time::sleep(Duration::from_millis(wait.into())).await;
                }
                Err(refusal) => return Err(Failure::refused(what, &refusal)),
            }
        }
        Err(Failure::refused(what, &ErrorCode::Busy.into()))
    }

    /// Signs an enrolled device in.
    pub(crate) async fn authenticate(&mut self, device: &Device) -> Result<()> {
        let message = authentication_message(&self.pin, &self.connection.exporter()?, &device.id);
        let signature = device.key.sign(&message).to_bytes().to_vec().into();
        self.insist("a device", Request::Authenticate { device: device.id, signature }).await?;
        Ok(())
    }
}

/// An account of our own.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) username: Username,
    /// Its only one.
    pub(crate) device: Device,
}

/// A device of our own.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    pub(crate) key: SigningKey,
}

impl Device {
    pub(crate) fn random() -> Result<Self> {
        let (mut id, mut key) = ([0; 16], [0; 32]);
        getrandom::fill(&mut id)?;
        getrandom::fill(&mut key)?;
        Ok(Self { id: DeviceId(id), key: SigningKey::from_bytes(&key) })
    }

    pub(crate) fn record(&self) -> NewDevice {
        let authentication_key = self.key.verifying_key().to_bytes().to_vec().into();
        NewDevice { id: self.id, authentication_key }
    }
}

/// Insists on the pinned key, where there is one, and on the server's signature.
#[derive(Debug)]
struct Pinned {
    pin: Option<Pin>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = ServerCertificate::read(certificate).ok().map(|certificate| certificate.pin());
        match self.pin.is_none() || self.pin == shown {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(rustls::Error::General("the server's key is not the pinned one".into())),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
