//! The other door: HTTP/1.1 on the same port, for clients whose network lets only HTTPS through.
//!
//! `POST /auth` gives an enrolled device a ticket, `GET /ws` opens a WebSocket, and inside it runs what the plain way
//! carries: the pinned TLS and its frames (`SPEC.md` §10). So whoever stands in between, a proxy that ends the outer TLS
//! too, sees sizes and times and can do nothing but hang up. Invariant: nothing here signs anybody in. It must not know
//! what travels inside.

mod gate;
mod ticket;
mod tunnel;

pub(crate) use ticket::Tickets;

use crate::{
    connection::{self, Arrival, Summary, outbox::End},
    handler::authentication::is_signed,
    limits::Origin,
    relay::Context,
    rules::HttpRules,
};
use axum::{
    Router,
    body::Bytes,
    extract::{
        DefaultBodyLimit, FromRequestParts, Request, State,
        ws::{WebSocket, WebSocketUpgrade},
    },
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde::Deserialize;
use serde_json::json;
use std::{
    net::IpAddr,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Semaphore, oneshot, watch},
    time::{Instant, timeout_at},
};
use waxwing_protocol::{DeviceId, Refusal, TICKET_PROTOCOL, TUNNEL_PROTOCOL, ticket_message};

/// How long the head of a request may take, and a connection between two of them.
const HEAD: Duration = Duration::from_secs(10);
/// The longest body of a request to `/auth`.
const BODY: usize = 4096;
/// What hyper buffers of a head.
const BUFFER: usize = 16 * 1024;
/// The most headers of a request.
const HEADERS: usize = 64;
/// The longest message inside a WebSocket: some TLS records.
const MESSAGE: usize = 256 * 1024;
/// What a WebSocket reads at once; it keeps as much while it is idle.
const READ: usize = 8 * 1024;
/// Connections that may speak HTTP at a time, before they have a WebSocket.
const VISITS: usize = 1024;

/// Room for those who speak HTTP.
pub(crate) struct Visits(Semaphore);

impl Default for Visits {
    fn default() -> Self {
        Self(Semaphore::new(VISITS))
    }
}

/// One HTTP connection, as its requests see it.
#[derive(Clone)]
struct Visit {
    context: Arc<Context>,
    /// Who is at the other end of the connection.
    peer: IpAddr,
    /// The WebSocket, once there is one.
    opened: Arc<Mutex<Option<Opening>>>,
}

impl Visit {
    /// Where a request came from, as it counts.
    fn origin(&self, rules: &HttpRules, headers: &HeaderMap) -> Origin {
        gate::address(rules, self.peer, headers).into()
    }
}

/// A WebSocket that hyper is about to hand over.
struct Opening {
    socket: oneshot::Receiver<WebSocket>,
    origin: Origin,
    ticket: Option<DeviceId>,
}

/// Serves one HTTP connection to its end, and what runs inside its WebSocket. A device must be signed in until `login`.
pub(crate) async fn serve<S>(
    context: &Arc<Context>,
    stream: S,
    peer: IpAddr,
    login: Instant,
    mut draining: watch::Receiver<bool>,
) -> Summary
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(visiting) = context.visits.0.try_acquire() else {
        tracing::warn!(limit = VISITS, "too many connections speak HTTP: closed a new one");
        return Summary::ended(End::Overcrowded);
    };
    let opened = Arc::new(Mutex::new(None));
    let visit = Visit { context: Arc::clone(context), peer, opened: Arc::clone(&opened) };
    let router = Router::new()
        .route("/", get(welcome))
        .route("/auth", post(authenticate))
        .route("/ws", get(open))
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(visit);
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_headers(HEADERS).max_buf_size(BUFFER);
    let service = TowerToHyperService::new(router);
    {
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
        let mut drained = pin!(connection::drained(&mut draining));
        let mut ending = false;
        loop {
            tokio::select! {
                _ = &mut connection => break,
                () = &mut drained, if !ending => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = tokio::time::sleep_until(login) => return Summary::ended(End::LoginDeadline),
            }
        }
    }
    let opened = opened.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(Opening { socket, origin, ticket }) = opened else { return Summary::ended(End::Closed) };
    let Ok(Ok(socket)) = timeout_at(login, socket).await else { return Summary::ended(End::Handshake) };
    drop(visiting);
    connection::serve_tunnel(context, tunnel::stream(socket), Arrival { origin, ticket, login }, draining).await
}

/// For whoever looks with a browser.
async fn welcome() -> Response {
    text(StatusCode::OK, "This is a Waxwing server. People reach it with the program waxwing and the server's link.\n")
}

/// What `/auth` is asked.
#[derive(Default, Deserialize)]
struct Proof {
    challenge: Option<String>,
    /// 32 hexadecimal digits.
    device: Option<String>,
    /// Ed25519, base64url.
    signature: Option<String>,
}

/// Without a proof: a challenge. With the signature of an enrolled device over it: a ticket.
async fn authenticate(State(visit): State<Visit>, headers: HeaderMap, body: Bytes) -> Response {
    let proof: Proof = match body.is_empty() {
        true => Proof::default(),
        false => match serde_json::from_slice(&body) {
            Ok(proof) => proof,
            Err(_) => return refused(StatusCode::BAD_REQUEST, "bad-request", "the body is no JSON object of a proof"),
        },
    };
    let Context { tickets, limiter, store, .. } = &*visit.context;
    let current = visit.context.current();
    let (challenge, device, signature) = match (proof.challenge, proof.device, proof.signature) {
        (None, None, None) => {
            let Ok(challenge) = tickets.challenge() else { return failed() };
            return answer(StatusCode::OK, &json!({ "challenge": challenge, "expires_in": ticket::CHALLENGE_SECONDS }));
        }
        (Some(challenge), Some(device), Some(signature)) => (challenge, device, signature),
        _ => {
            let message = "challenge, device and signature belong together";
            return refused(StatusCode::BAD_REQUEST, "bad-request", message);
        }
    };
    let rules = &current.rules;
    if let Err(refusal) = limiter.probe(&rules.limits, visit.origin(&rules.http, &headers)) {
        return too_many(&refusal);
    }
    let known = match device.parse::<DeviceId>() {
        Ok(device) if tickets.is_challenge(&challenge) => match store.device(device).await {
            Ok(row) => row.map(|row| (device, row.authentication_key)),
            Err(error) => {
                tracing::error!(%error, "a device could not be looked up");
                return failed();
            }
        },
        _ => None,
    };
    let proven = known.filter(|(device, key)| {
        let signature = ticket::decode_signature(&signature);
        signature.is_some_and(|signature| is_signed(key, &ticket_message(&current.pin, &challenge, device), &signature))
    });
    match proven.map(|(device, _)| tickets.ticket(device)) {
        Some(Ok(ticket)) => answer(StatusCode::OK, &json!({ "token": ticket, "expires_in": ticket::TICKET_SECONDS })),
        Some(Err(_)) => failed(),
        None => {
            refused(StatusCode::UNAUTHORIZED, "bad-credentials", "the challenge has expired, or this is not its proof")
        }
    }
}

/// Opens the WebSocket. A ticket lets its device in; without one there is room for a few, who may sign up or log in, unless
/// the operator wants none of them here.
async fn open(State(visit): State<Visit>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(refusal) => return refusal.into_response(),
    };
    let Context { tickets, limiter, .. } = &*visit.context;
    let current = visit.context.current();
    let rules = &current.rules;
    let origin = visit.origin(&rules.http, &parts.headers);
    let ticket = match ticket(&parts) {
        Some(token) => match tickets.device(token) {
            Some(device) => Some(device),
            None => return refused(StatusCode::UNAUTHORIZED, "bad-ticket", "the ticket is not valid, or has expired"),
        },
        None if rules.http.tickets_only => {
            return refused(StatusCode::UNAUTHORIZED, "ticket-needed", "only devices with a ticket come in here");
        }
        None => match limiter.tunnel(&rules.limits, origin) {
            Ok(()) => None,
            Err(refusal) => return too_many(&refusal),
        },
    };
    let (sender, socket) = oneshot::channel();
    *visit.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(Opening { socket, origin, ticket });
    let upgrade = upgrade.protocols([TUNNEL_PROTOCOL]).max_message_size(MESSAGE).max_frame_size(MESSAGE);
    let upgrade = upgrade.read_buffer_size(READ).write_buffer_size(0);
    upgrade.on_upgrade(|socket| async move { drop(sender.send(socket)) })
}

/// The ticket of a request: in the `Authorization` header, or behind `waxwing-ticket.` among the subprotocols.
fn ticket(parts: &Parts) -> Option<&str> {
    let texts = |name| parts.headers.get_all(name).into_iter().filter_map(|value: &HeaderValue| value.to_str().ok());
    let bearer = texts(header::AUTHORIZATION).find_map(|text| text.strip_prefix("Bearer ")).map(str::trim);
    bearer.or_else(|| {
        let mut protocols = texts(header::SEC_WEBSOCKET_PROTOCOL).flat_map(|list| list.split(',')).map(str::trim);
        protocols.find_map(|protocol| protocol.strip_prefix(TICKET_PROTOCOL))
    })
}

fn too_many(refusal: &Refusal) -> Response {
    // Rounded up: whoever waits so long gets in.
    let seconds = refusal.retry_after_ms.unwrap_or_default().div_ceil(1000).max(1);
    let message = format!("too many from this address; try again in {seconds} s");
    let mut response = refused(StatusCode::TOO_MANY_REQUESTS, "rate-limited", &message);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn failed() -> Response {
    refused(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server failed to handle the request")
}

fn refused(status: StatusCode, code: &str, message: &str) -> Response {
    answer(status, &json!({ "error": { "code": code, "message": message } }))
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, body.to_string()).into_response()
}

fn text(status: StatusCode, body: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}
