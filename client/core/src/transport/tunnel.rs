//! The way through a WebSocket, for networks that let only HTTPS through (`SPEC.md` §10).
//!
//! The outer TLS may end at a proxy, so nothing relies on it: its certificate is not required to be anybody's, and all that
//! it carries is the pinned TLS inside. What the outer end is told about us, the device's number and a signature for a
//! ticket, it is told only if it shows the pinned key itself or a certificate that is valid for the server's name.

use super::{Guest, Stream, pin};
use crate::Error;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::{SinkExt as _, StreamExt as _, future::ready};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1::{SendRequest, handshake},
    header::{self, HeaderName},
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{aws_lc_rs, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use serde::Deserialize;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::io::join;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::{client::generate_key, derive_accept_key},
        protocol::{Role, WebSocketConfig},
    },
};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};
use waxwing_protocol::{Address, Pin, TUNNEL_PROTOCOL, ticket_message};

/// The longest answer of `/auth` that is read.
const ANSWER: usize = 16 * 1024;
/// The longest message inside the WebSocket.
const MESSAGE: usize = 256 * 1024;
/// What the WebSocket reads at once.
const READ: usize = 16 * 1024;

/// Why there is no tunnel.
pub(super) enum NoTunnel {
    /// In words for users.
    Failed(String),
    /// Too many from this address.
    Wait(u64),
}

impl NoTunnel {
    fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Opens a stream of bytes to the server behind the web server at this address.
pub(super) async fn open(
    stream: Stream,
    address: &Address,
    pin: Pin,
    guest: Option<&Guest>,
) -> Result<Stream, NoTunnel> {
    let (config, outer) = outer_tls(pin).map_err(NoTunnel::failed)?;
    let name = ServerName::try_from(address.host.clone()).map_err(NoTunnel::failed)?;
    let tls = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let tls = tls.map_err(|error| NoTunnel::Failed(format!("no secure connection: {error}")))?;
    let (mut http, connection) = handshake(TokioIo::new(tls)).await.map_err(NoTunnel::failed)?;
    // Ends with the request's or the tunnel's end.
    tokio::spawn(async move { drop(connection.with_upgrades().await) });

    let token = match guest.filter(|_| outer.known.load(Ordering::Acquire)) {
        // Without a ticket there is less room, but the way is the same.
        Some(guest) => ticket(&mut http, address, pin, guest).await,
        None => None,
    };
    let key = generate_key();
    let mut response = upgrade(&mut http, address, &key, token.as_deref()).await?;
    if response.status() == StatusCode::UNAUTHORIZED && token.is_some() {
        drain(response).await;
        response = upgrade(&mut http, address, &key, None).await?;
    }
    let header = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
    match response.status() {
        StatusCode::SWITCHING_PROTOCOLS => {}
        StatusCode::UNAUTHORIZED => {
            return Err(NoTunnel::Failed("the server opens it to devices with a ticket alone (401)".into()));
        }
        StatusCode::TOO_MANY_REQUESTS => {
            return Err(NoTunnel::Wait(header(header::RETRY_AFTER).and_then(|text| text.parse().ok()).unwrap_or(3)));
        }
        status => return Err(NoTunnel::Failed(format!("the web server there does not pass WebSockets on ({status})"))),
    }
    if header(header::SEC_WEBSOCKET_ACCEPT) != Some(derive_accept_key(key.as_bytes()).as_str())
        || header(header::SEC_WEBSOCKET_PROTOCOL) != Some(TUNNEL_PROTOCOL)
    {
        return Err(NoTunnel::Failed("the web server there has other WebSockets than Waxwing's".into()));
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(NoTunnel::failed)?;
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE)).max_frame_size(Some(MESSAGE));
    let config = config.read_buffer_size(READ).write_buffer_size(0);
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, Some(config)).await;

    let (sink, stream) = socket.split();
    let read = stream.filter_map(|message| {
        ready(match message {
            Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
            Ok(Message::Text(_)) => Some(Err(io::Error::from(io::ErrorKind::InvalidData))),
            Ok(_) => None,
            Err(error) => Some(Err(io::Error::other(error))),
        })
    });
    let write = sink.sink_map_err(io::Error::other);
    let write = write.with(|bytes: Bytes| ready(Ok::<_, io::Error>(Message::Binary(bytes))));
    Ok(Box::new(join(StreamReader::new(read), SinkWriter::new(CopyToBytes::new(write)))))
}

async fn upgrade(
    http: &mut SendRequest<Full<Bytes>>,
    address: &Address,
    key: &str,
    token: Option<&str>,
) -> Result<Response<Incoming>, NoTunnel> {
    let mut request = Request::get("/ws")
        .header(header::HOST, host(address))
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, key)
        .header(header::SEC_WEBSOCKET_PROTOCOL, TUNNEL_PROTOCOL);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Full::default()).map_err(NoTunnel::failed)?;
    http.ready().await.map_err(NoTunnel::failed)?;
    http.send_request(request).await.map_err(|error| NoTunnel::Failed(format!("no web server answers there: {error}")))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Granted {
    challenge: Option<String>,
    token: Option<String>,
}

/// Proves the device, for a ticket. None if that fails, whyever: the web server's word about us counts for nothing.
async fn ticket(http: &mut SendRequest<Full<Bytes>>, address: &Address, pin: Pin, guest: &Guest) -> Option<String> {
    let challenge = post(http, address, "{}".to_owned()).await?.challenge?;
    let signature = guest.key.sign(&ticket_message(&pin, &challenge, &guest.device));
    let proof = serde_json::json!({
        "challenge": challenge,
        "device": guest.device.to_string(),
        "signature": BASE64_URL_SAFE_NO_PAD.encode(signature),
    });
    post(http, address, proof.to_string()).await?.token
}

async fn post(http: &mut SendRequest<Full<Bytes>>, address: &Address, body: String) -> Option<Granted> {
    let request = Request::builder()
        .method(Method::POST)
        .uri("/auth")
        .header(header::HOST, host(address))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(body));
    http.ready().await.ok()?;
    let response = http.send_request(request.ok()?).await.ok()?;
    let status = response.status();
    let body = drain(response).await?;
    serde_json::from_slice(&body).ok().filter(|_| status.is_success())
}

/// Reads an answer to its end, so that the connection can carry the next request.
async fn drain(response: Response<Incoming>) -> Option<Bytes> {
    Some(Limited::new(response.into_body(), ANSWER).collect().await.ok()?.to_bytes())
}

fn host(address: &Address) -> String {
    match address.port {
        443 if !address.host.contains(':') => address.host.clone(),
        _ => address.to_string(),
    }
}

fn outer_tls(pin: Pin) -> Result<(ClientConfig, Arc<Outer>), Error> {
    let failed = |error: &dyn std::fmt::Display| Error::ServerMisbehaves(error.to_string());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let public = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
    let public = public.map_err(|error| failed(&error))?;
    let outer = Arc::new(Outer { pinned: pin::tls(pin)?.1, public, known: AtomicBool::new(false) });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| failed(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&outer) as _)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.enable_early_data = false;
    config.resumption = rustls::client::Resumption::disabled();
    Ok((config, outer))
}

/// Takes any certificate, and notes whether it is the server's own or valid for its name.
#[derive(Debug)]
struct Outer {
    pinned: Arc<pin::Verifier>,
    public: Arc<WebPkiServerVerifier>,
    known: AtomicBool,
}

impl ServerCertVerifier for Outer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let known = self.pinned.verify_server_cert(end_entity, intermediates, name, ocsp, now).is_ok()
            || self.public.verify_server_cert(end_entity, intermediates, name, ocsp, now).is_ok();
        self.known.store(known, Ordering::Release);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &aws_lc_rs::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.pinned.supported_verify_schemes()
    }
}
