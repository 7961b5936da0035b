//! A client that speaks the protocol by hand: for what the real one never does.

use anyhow::{Context, Result, ensure};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned, SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};
use waxwing_protocol::{
    ALPN, ClientFrame, Hello, Request, ServerFrame, ServerHello, decode_server_frame, decode_server_hello, encode,
};

/// What a handshake offers.
pub struct Tls {
    /// Versions of TLS.
    pub versions: &'static [&'static SupportedProtocolVersion],
    /// Protocols.
    pub alpn: Vec<Vec<u8>>,
}

/// The versions that a Waxwing client offers.
static VERSIONS: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

impl Default for Tls {
    fn default() -> Self {
        Self { versions: &VERSIONS, alpn: vec![ALPN.to_vec()] }
    }
}

/// A connection to a server whose key nobody checks.
pub struct RawClient {
    stream: StreamOwned<ClientConnection, TcpStream>,
    next: u32,
}

impl RawClient {
    /// Connects as a browser does.
    ///
    /// # Errors
    /// The server refuses it.
    pub fn browse(port: u16) -> Result<Self> {
        Self::connect(port, Tls { alpn: vec![b"http/1.1".to_vec()], ..Tls::default() })
    }

    /// Connects and completes the TLS handshake.
    ///
    /// # Errors
    /// The server refuses it.
    pub fn connect(port: u16, tls: Tls) -> Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(tls.versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyKey(provider)))
            .with_no_client_auth();
        config.alpn_protocols = tls.alpn;
        let mut tcp = TcpStream::connect(("127.0.0.1", port))?;
        tcp.set_read_timeout(Some(crate::DEADLINE))?;
        let mut connection = ClientConnection::new(Arc::new(config), ServerName::try_from("waxwing")?)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp)?;
        }
        Ok(Self { stream: StreamOwned::new(connection, tcp), next: 1 })
    }

    /// Connects and says hello.
    ///
    /// # Errors
    /// The server refuses.
    pub fn greet(port: u16) -> Result<Self> {
        let mut client = Self::connect(port, Tls::default())?;
        client.write_frame(encode(&Hello { lowest: 1, highest: 1 }).as_ref())?;
        let hello = decode_server_hello(&client.read_frame()?)?;
        ensure!(matches!(hello, ServerHello::Accepted { .. }), "refused: {hello:?}");
        Ok(client)
    }

    /// The key exchange that was agreed on.
    pub fn key_exchange(&self) -> Option<rustls::NamedGroup> {
        self.stream.conn.negotiated_key_exchange_group().map(|group| group.name())
    }

    /// The certificate that the server showed (DER).
    pub fn certificate(&self) -> Option<Vec<u8>> {
        self.stream.conn.peer_certificates().and_then(<[_]>::first).map(|certificate| certificate.to_vec())
    }

    /// Sends an HTTP request as it is written, and returns the head of the answer and as much of the body as it names.
    ///
    /// # Errors
    /// The connection ends before that.
    pub fn http(&mut self, request: &str) -> Result<(String, String)> {
        self.write(request.as_bytes())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).context("no answer")?;
            head.extend(byte);
        }
        let head = String::from_utf8(head)?.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(Ok(0), str::parse)?];
        self.stream.read_exact(&mut body).context("half an answer")?;
        Ok((head, String::from_utf8(body)?))
    }

    /// Asks, and waits for the answer; events that come before it are passed over.
    ///
    /// # Errors
    /// The connection ends, or no answer comes in time.
    pub fn ask(&mut self, request: Request) -> Result<ServerFrame> {
        let id = self.next;
        self.next += 1;
        self.write_frame(encode(&ClientFrame { id, request }).as_ref())?;
        loop {
            match decode_server_frame(&self.read_frame()?)? {
                ServerFrame::Event(_) => {}
                answer => return Ok(answer),
            }
        }
    }

    /// Sends a frame with this body.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn write_frame(&mut self, body: &[u8]) -> Result<()> {
        self.write(&u32::try_from(body.len())?.to_be_bytes())?;
        self.write(body)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)?;
        Ok(self.stream.flush()?)
    }

    /// The body of the next frame.
    ///
    /// # Errors
    /// The connection ends, or nothing comes in time.
    pub fn read_frame(&mut self) -> Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).context("no frame")?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut body).context("half a frame")?;
        Ok(body)
    }

    /// Whether the server ends the connection within this time, whatever it says before.
    pub fn is_closed_within(&mut self, limit: Duration) -> bool {
        let _ = self.stream.sock.set_read_timeout(Some(limit));
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => {
                    return !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
                }
            }
        }
    }
}

/// Accepts every certificate: the tests that use it do not ask who the server is.
#[derive(Debug)]
struct AnyKey(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyKey {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
