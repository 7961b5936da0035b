//! One connection, from its TLS handshake to its last byte: reading requests, keeping them in order, writing answers.
//!
//! Invariants: sends, commits and joins reach the store in the order in which they arrived, without waiting for each other; other
//! requests are handled one after another; what is unanswered or unwritten is bounded, by not reading further. One task per
//! connection and none per message. It must not know what requests mean: that is the session's and the handlers' part.

mod frames;
pub(crate) mod outbox;

use crate::{
    handler,
    limits::{Account, Origin},
    relay::{Context, Following},
    session::{Greeting, Peer, Session, SignedIn},
};
use frames::Frames;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use minicbor::Decode;
use outbox::{End, Outbox};
use std::{pin::Pin, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    sync::watch,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use waxwing_protocol::{
    ALPN, ClientFrame, DecodeError, DeviceId, EXPORTER_LABEL, ErrorCode, Event, Refusal, Request, Response,
    ServerFrame, ServerHello, limits,
};

/// How long a write may make no progress.
const WRITE: Duration = Duration::from_secs(20);
/// How long the last answers may take to leave when a connection ends.
const CLOSING: Duration = Duration::from_secs(5);

/// The answer to a request.
pub(crate) type Answer = Result<Response, Refusal>;

/// Something that a connection does, of which it keeps the place only.
type Running<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How a connection went, for the log.
pub(crate) struct Summary {
    pub(crate) end: End,
    pub(crate) answered: u64,
    pub(crate) refused: u64,
}

impl Summary {
    /// Of a connection that ended before its first request.
    pub(crate) fn ended(end: End) -> Self {
        Self { end, answered: 0, refused: 0 }
    }
}

/// What a connection runs on once TLS is open. Boxed, since it passes through the states of several futures, each of which
/// would keep room for it.
pub(crate) type Tls<S> = Box<tokio_rustls::server::TlsStream<S>>;

/// How a connection came in.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    /// Where it comes from.
    pub(crate) origin: Origin,
    /// The device whose ticket was shown: no other may authenticate.
    pub(crate) ticket: Option<DeviceId>,
    /// Until when a device must be signed in.
    pub(crate) login: Instant,
}

/// Opens TLS inside a tunnel, then serves the connection to its end.
pub(crate) async fn serve_tunnel<S: AsyncRead + AsyncWrite + Unpin + Send>(
    context: &Context,
    stream: S,
    arrival: Arrival,
    mut draining: watch::Receiver<bool>,
) -> Summary {
    let current = context.current();
    let accepting = TlsAcceptor::from(Arc::clone(&current.tls)).accept(stream);
    let opened = tokio::select! {
        opened = timeout_at(arrival.login, accepting) => opened,
        () = drained(&mut draining) => return Summary::ended(End::Draining),
    };
    match opened {
        Ok(Ok(tls)) => serve(context, Box::new(tls), current.pin, arrival, draining).await,
        Ok(Err(_)) => Summary::ended(End::Handshake),
        Err(_) => Summary::ended(End::LoginDeadline),
    }
}

/// Serves one connection, to which the key with this pin was shown, to its end. `draining` turns true when the relay shuts
/// down.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(
    context: &Context,
    tls: Tls<S>,
    pin: waxwing_protocol::Pin,
    arrival: Arrival,
    draining: watch::Receiver<bool>,
) -> Summary {
    let outbox = Arc::new(Outbox::default());
    let end = match exporter(&tls) {
        Err(end) => end,
        Ok(exporter) => {
            let (read, write) = tokio::io::split(tls);
            let Arrival { origin, ticket, login } = arrival;
            let peer = Peer { exporter, pin, origin, ticket };
            // Boxed where they are made: what is handed on by value takes room in each future that it passes.
            let reading: Running<'_, Half> = Box::pin(async {
                Half::Reading(converse(context, Frames::new(read, login), &outbox, peer, draining).await)
            });
            let writing: Running<'_, Half> = Box::pin(async { Half::Writing(write_out(write, &outbox, WRITE).await) });
            attend(&outbox, [reading, writing]).await
        }
    };
    let (answered, refused) = outbox.counts();
    Summary { end, answered, refused }
}

/// A half of a connection that has ended.
enum Half {
    Reading(End),
    Writing(End),
}

/// Lets both halves of a connection run to their end. Each has a waker of its own, so that an event that is to be written does
/// not wake the reading, and all that hangs on it.
async fn attend(outbox: &Outbox, both: [Running<'_, Half>; 2]) -> End {
    let mut halves: FuturesUnordered<_> = both.into_iter().collect();
    let first = tokio::select! {
        biased;
        end = outbox.when_cut() => return end,
        first = halves.next() => first,
    };
    match first {
        Some(Half::Reading(end)) => {
            outbox.close(end);
            let _ = timeout(CLOSING, halves.next()).await;
            end
        }
        Some(Half::Writing(end)) => end,
        // There are two.
        None => End::Lost,
    }
}

/// What ties an authentication to this connection.
fn exporter<S>(tls: &Tls<S>) -> Result<[u8; 32], End> {
    let connection = tls.get_ref().1;
    // A client that offers other protocols has failed in the handshake; inside a tunnel, one that offers none comes this far.
    if connection.alpn_protocol() != Some(ALPN) {
        return Err(End::Alpn);
    }
    connection.export_keying_material([0; 32], EXPORTER_LABEL, None).map_err(|_| End::Handshake)
}

async fn converse<R: AsyncRead + Unpin>(
    context: &Context,
    mut frames: Frames<R>,
    outbox: &Arc<Outbox>,
    peer: Peer,
    mut draining: watch::Receiver<bool>,
) -> End {
    // Boxed: what signing in needs, which is much, is given back after it.
    match Box::pin(sign_in(context, &mut frames, outbox, peer, &mut draining)).await {
        Err(end) => end,
        Ok(signed_in) => {
            frames.signed_in();
            serve_device(context, &mut frames, outbox, signed_in, &mut draining).await
        }
    }
}

/// From the hello to a signed-in device, one request at a time.
async fn sign_in<R: AsyncRead + Unpin>(
    context: &Context,
    frames: &mut Frames<R>,
    outbox: &Outbox,
    peer: Peer,
    draining: &mut watch::Receiver<bool>,
) -> Result<SignedIn, End> {
    let hello = tokio::select! {
        body = frames.next() => waxwing_protocol::decode_hello(body?).map_err(|_| End::Malformed)?,
        () = drained(draining) => return Err(End::Draining),
    };
    let mut session = match Greeting.handle(context, hello) {
        Ok((accepted, session)) => {
            outbox.push(&accepted);
            Session::Anonymous(session)
        }
        Err(refusal) => {
            outbox.push(&ServerHello::Refused(refusal));
            return Err(End::Version);
        }
    };
    loop {
        outbox.room().await;
        let frame = tokio::select! {
            body = frames.next() => read_request(body?, outbox)?,
            () = drained(draining) => return Err(End::Draining),
        };
        let Some(ClientFrame { id, request }) = frame else { continue };
        let (next, answer) = match session {
            Session::Anonymous(session) => session.handle(context, &peer, request).await,
            Session::AccountProven(session) => session.handle(context, &peer, request).await,
            Session::Device(signed_in) => return Ok(signed_in),
        };
        frames.forget();
        outbox.answer(id, answer);
        match next {
            Session::Device(signed_in) => return Ok(signed_in),
            next => session = next,
        }
    }
}

/// Serves a signed-in device until its connection ends and everything begun is answered.
async fn serve_device<R: AsyncRead + Unpin>(
    context: &Context,
    frames: &mut Frames<R>,
    outbox: &Arc<Outbox>,
    signed_in: SignedIn,
    draining: &mut watch::Receiver<bool>,
) -> End {
    let SignedIn { device, seat: _seat } = signed_in;
    let account = context.limiter.account(device.account);
    let mut rules = context.following();
    // First counted, then looked up again: whoever removes the device or locks its account meanwhile ends a connection
    // that is counted.
    let _presence = context.hub.connect(device.id, outbox);
    if let Err(end) = Box::pin(handler::authentication::admit(context, device)).await {
        return end;
    }
    // Its first polls happen in the order of pushing, which is what brings appends to the store in order.
    let mut appends = FuturesUnordered::new();
    let mut other: Option<Running<'_, (u32, Answer)>> = None;
    let mut held: Option<ClientFrame> = None;
    let mut subscription = None;
    let mut ending = None;
    // Once, since waiting for it takes a lock that all connections share.
    let mut drained = pin!(drained(draining));
    loop {
        if other.is_none()
            && let Some(ClientFrame { id, request }) = held.take()
        {
            other = Some(Box::pin(async move { (id, handler::handle(context, device, request).await) }));
        }
        if let Some(end) = ending
            && appends.is_empty()
            && other.is_none()
        {
            return end;
        }
        let room = outbox.has_room();
        let unanswered = appends.len() + usize::from(other.is_some());
        let reading = ending.is_none() && held.is_none() && room && unanswered < limits::REQUESTS_IN_FLIGHT;
        tokio::select! {
            // Reading first gathers what has arrived, so that the store commits it together.
            biased;
            body = frames.next(), if reading => {
                match body.and_then(|body| read_admitted(context, &mut rules, &account, body, outbox)) {
                    Err(end) => ending = Some(end),
                    Ok(None) => {}
                    Ok(Some(ClientFrame { id, request })) => match request {
                        Request::Ping => outbox.answer(id, Ok(Response::Done)),
                        Request::Subscribe => {
                            subscription.get_or_insert_with(|| context.hub.subscribe(device.id, outbox));
                            outbox.answer(id, Ok(Response::Done));
                        }
                        Request::Send { .. } | Request::Commit { .. } | Request::Join { .. } => {
                            appends.push(async move { (id, handler::handle(context, device, request).await) });
                        }
                        request => held = Some(ClientFrame { id, request }),
                    },
                }
            }
            Some((id, answer)) = appends.next(), if !appends.is_empty() => outbox.answer(id, answer),
            (id, answer) = running(&mut other), if other.is_some() => outbox.answer(id, answer),
            () = outbox.room(), if !room => {}
            () = &mut drained, if ending.is_none() => {
                outbox.push(&ServerFrame::Event(Event::Draining));
                ending = Some(End::Draining);
            }
        }
    }
}

/// Waits for the future in the slot and empties it; for ever if there is none.
async fn running(slot: &mut Option<Running<'_, (u32, Answer)>>) -> (u32, Answer) {
    match slot {
        Some(future) => {
            let output = future.await;
            *slot = None;
            output
        }
        None => std::future::pending().await,
    }
}

pub(crate) async fn drained(draining: &mut watch::Receiver<bool>) {
    // An error means that the relay is gone altogether.
    let _ = draining.wait_for(|draining| *draining).await;
}

/// Reads a request; refuses an unknown one; answers a malformed one where it has an id, and ends the connection.
fn read_request(body: &[u8], outbox: &Outbox) -> Result<Option<ClientFrame>, End> {
    /// As much of a frame as a refusal needs.
    #[derive(Decode)]
    struct Head {
        #[n(0)]
        id: u32,
    }
    match waxwing_protocol::decode_client_frame(body) {
        Ok(frame) => Ok(Some(frame)),
        Err(DecodeError::UnknownRequest { id }) => {
            outbox.answer(id, Err(ErrorCode::Unsupported.into()));
            Ok(None)
        }
        Err(_) => {
            if let Ok(Head { id }) = minicbor::decode(body) {
                outbox.answer(id, Err(ErrorCode::BadRequest.into()));
            }
            Err(End::Malformed)
        }
    }
}

/// Reads a request of a signed-in device; refuses it if its account has done too much lately.
fn read_admitted(
    context: &Context,
    rules: &mut Following,
    account: &Account,
    body: &[u8],
    outbox: &Outbox,
) -> Result<Option<ClientFrame>, End> {
    let Some(frame) = read_request(body, outbox)? else { return Ok(None) };
    match account.admit(&context.limiter, &rules.current(context).rules.limits, &frame.request, body.len()) {
        Ok(()) => Ok(Some(frame)),
        Err(refusal) => {
            outbox.answer(frame.id, Err(refusal));
            Ok(None)
        }
    }
}

/// Writes what the outbox holds, all of it at once, until it is closed or the peer does not take anything for so long.
async fn write_out(mut write: impl AsyncWrite + Unpin, outbox: &Outbox, patience: Duration) -> End {
    let mut buffer = Vec::new();
    loop {
        buffer = match outbox.take(buffer).await {
            Ok(buffer) => buffer,
            Err(end) => {
                let _ = timeout(patience, write.shutdown()).await;
                return end;
            }
        };
        if let Err(end) = write_all(&mut write, &buffer, patience).await {
            return end;
        }
    }
}

async fn write_all(write: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8], patience: Duration) -> Result<(), End> {
    while !bytes.is_empty() {
        let written = timeout(patience, write.write(bytes)).await.map_err(|_| End::SlowReader)?;
        bytes = match written {
            Ok(count) if count > 0 => bytes.get(count..).unwrap_or_default(),
            _ => return Err(End::Lost),
        };
    }
    timeout(patience, write.flush()).await.map_err(|_| End::SlowReader)?.map_err(|_| End::Lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (_peer, write) = tokio::io::duplex(16);
        let outbox = Outbox::default();
        outbox.push_event(&[0; 1000]);
        assert_eq!(write_out(write, &outbox, Duration::from_millis(10)).await, End::SlowReader);
    }

    #[tokio::test]
    async fn malformed_requests_are_answered_where_they_have_an_id() {
        let outbox = Outbox::default();
        assert_eq!(read_request(&[0xff, 0, 0], &outbox).unwrap_err(), End::Malformed);
        assert_eq!(outbox.counts(), (0, 0));
        // [7, "not a request"]
        assert_eq!(read_request(&[0x82, 0x07, 0x61, 0x61], &outbox).unwrap_err(), End::Malformed);
        assert_eq!(outbox.counts(), (0, 1));
    }
}
