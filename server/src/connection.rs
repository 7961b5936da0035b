//! One connection, from its TLS handshake to its last byte: reading requests, keeping them in order, writing answers.
//!
//! Invariants: sends, commits and joins reach the store in the order in which they arrived, without waiting for each other; other
//! requests are handled one after another; what is unanswered or unwritten is bounded, by not reading further. One task per
//! connection and none per message. It must not know what requests mean: that is the session's and the handlers' part.

mod frames;
pub(crate) mod outbox;
mod writer;

use crate::{
    handler,
    limits::{Account, Origin},
    relay::{Context, Following},
    session::{Greeting, Peer, Session, SignedIn},
};
use frames::Frames;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use minicbor::Decode;
use outbox::{End, Outbox};
use std::{pin::Pin, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use waxwing_protocol::{
    ALPN, ClientFrame, DecodeError, DeviceId, EXPORTER_LABEL, ErrorCode, Event, Refusal, Request, Response,
    ServerFrame, ServerHello, limits,
};

/// How long the last answers may take to leave when a connection ends.
const CLOSING: Duration = Duration::from_secs(5);

/// The answer to a request.
pub(crate) type Answer = Result<Response, Refusal>;

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
///
/// No `async fn`, which would keep room for its arguments and for all that is made of them, as long as the connection lasts.
/// For the same reason its parts are boxed: each is as large as the largest thing that it ever does.
pub(crate) fn serve<'a, S: AsyncRead + AsyncWrite + Unpin + Send + 'a>(
    context: &'a Context,
    tls: Tls<S>,
    pin: waxwing_protocol::Pin,
    arrival: Arrival,
    draining: watch::Receiver<bool>,
) -> impl Future<Output = Summary> + Send + 'a {
    let exporter = exporter(&tls);
    let begun = exporter.map(|exporter| {
        let outbox = Arc::new(Outbox::default());
        let (read, write) = tokio::io::split(tls);
        let Arrival { origin, ticket, login } = arrival;
        let peer = Peer { exporter, pin, origin, ticket };
        let signing_in = sign_in(context, Frames::new(read, login), Arc::clone(&outbox), peer, draining);
        let reading = converse(context, Arc::clone(&outbox), Box::pin(signing_in));
        let writing = writer::write_out(write, Arc::clone(&outbox), writer::PATIENCE);
        let halves: [BoxFuture<'a, Half>; 2] =
            [Box::pin(reading.map(Half::Reading)), Box::pin(writing.map(Half::Writing))];
        (outbox, halves)
    });
    async move {
        let (outbox, halves) = match begun {
            Ok(begun) => begun,
            Err(end) => return Summary::ended(end),
        };
        let end = attend(&outbox, halves).await;
        let (answered, refused) = outbox.counts();
        Summary { end, answered, refused }
    }
}

/// A half of a connection that has ended.
enum Half {
    Reading(End),
    Writing(End),
}

/// Lets both halves of a connection run to their end. Each has a waker of its own, so that an event that is to be written does
/// not wake the reading, and all that hangs on it.
async fn attend(outbox: &Outbox, both: [BoxFuture<'_, Half>; 2]) -> End {
    let mut halves: FuturesUnordered<_> = both.into_iter().collect();
    let first = tokio::select! {
        biased;
        end = outbox.when_cut() => return end,
        first = halves.next() => first,
    };
    match first {
        Some(Half::Reading(end)) => {
            outbox.close(end);
            let _ = Box::pin(timeout(CLOSING, halves.next())).await;
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

/// The reading half: signing in, and what follows it.
async fn converse<R: AsyncRead + Unpin>(
    context: &Context,
    outbox: Arc<Outbox>,
    signing_in: Pin<Box<impl Future<Output = Result<Asking<R>, End>>>>,
) -> End {
    let mut asking = match signing_in.await {
        Ok(asking) => asking,
        Err(end) => return end,
    };
    asking.frames.signed_in();
    serve_device(context, &mut asking, &outbox).await
}

/// A signed-in device that may ask for something.
struct Asking<R> {
    frames: Frames<R>,
    signed_in: SignedIn,
    draining: watch::Receiver<bool>,
}

/// From the hello to a signed-in device, one request at a time.
async fn sign_in<R: AsyncRead + Unpin>(
    context: &Context,
    mut frames: Frames<R>,
    outbox: Arc<Outbox>,
    peer: Peer,
    mut draining: watch::Receiver<bool>,
) -> Result<Asking<R>, End> {
    let hello = tokio::select! {
        body = frames.next() => waxwing_protocol::decode_hello(body?).map_err(|_| End::Malformed)?,
        () = drained(&mut draining) => return Err(End::Draining),
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
            body = frames.next() => read_request(body?, &outbox)?,
            () = drained(&mut draining) => return Err(End::Draining),
        };
        let Some(ClientFrame { id, request }) = frame else { continue };
        let (next, answer) = match session {
            Session::Anonymous(session) => session.handle(context, &peer, request).await,
            Session::AccountProven(session) => session.handle(context, &peer, request).await,
            Session::Device(signed_in) => return Ok(Asking { frames, signed_in, draining }),
        };
        frames.forget();
        outbox.answer(id, answer);
        match next {
            Session::Device(signed_in) => return Ok(Asking { frames, signed_in, draining }),
            next => session = next,
        }
    }
}

/// Serves a signed-in device until its connection ends and everything begun is answered.
async fn serve_device<R: AsyncRead + Unpin>(context: &Context, asking: &mut Asking<R>, outbox: &Arc<Outbox>) -> End {
    let Asking { frames, signed_in: SignedIn { device, .. }, draining } = asking;
    let device = *device;
    let account = context.limiter.account(device.account);
    let mut rules = context.following();
    // First counted, then looked up again: whoever removes the device or locks its account meanwhile ends a connection
    // that is counted.
    let _presence = context.hub.connect(device.id, outbox);
    if let Err(end) = Box::pin(handler::authentication::admit(context, device)).await {
        return end;
    }
    // Its first polls happen in the order of pushing, which is what brings appends to the store in order. Boxed, since the set
    // keeps room for one of its futures even when it has none.
    let mut appends: FuturesUnordered<BoxFuture<'_, (u32, Answer)>> = FuturesUnordered::new();
    // One that is handled, and one that is not begun before that is answered.
    let mut other: Option<BoxFuture<'_, (u32, Answer)>> = None;
    let mut held: Option<BoxFuture<'_, (u32, Answer)>> = None;
    let mut subscription = None;
    let mut ending = None;
    // Once, since waiting for it takes a lock that all connections share.
    let mut drained = pin!(drained(draining));
    loop {
        if other.is_none() {
            other = held.take();
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
                            appends.push(handler::handle(context, device, id, request));
                        }
                        request => held = Some(handler::handle(context, device, id, request)),
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
async fn running(slot: &mut Option<BoxFuture<'_, (u32, Answer)>>) -> (u32, Answer) {
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

#[cfg(test)]
mod tests {
    use super::*;

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
