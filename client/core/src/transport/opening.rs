//! Getting a connection: which addresses are tried, by which door, and what is told if none opens.
//!
//! Invariant: whatever the way, nothing is said before the server has proven its key.

use super::{
    Connection, Door, Guest, Opened, Stream, pin,
    route::{self, Via},
    tunnel::{self, NoTunnel},
};
use crate::Error;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use rustls::pki_types::ServerName;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use waxwing_protocol::{ALPN, Address, EXPORTER_LABEL, Link, Pin};

/// How long each part of a try may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an address is tried before the next one is tried too.
const HEAD_START: Duration = Duration::from_secs(2);

/// Why one door at one address did not open.
enum Refused {
    /// Nothing answers at the address, so the other door is none either.
    Unreachable(String),
    /// Something answers, but not as it should here.
    Blocked(String),
    /// Any other reason.
    Error(Error),
}

impl Refused {
    fn into_error(self, address: &Address) -> Error {
        match self {
            Self::Unreachable(reason) | Self::Blocked(reason) => {
                Error::Unreachable { address: address.to_string(), reason }
            }
            Self::Error(error) => error,
        }
    }

    /// The same, as it is told of the WebSocket.
    fn behind(self) -> Self {
        match self {
            Self::Blocked(reason) => Self::Blocked(format!("through a WebSocket: {reason}")),
            other => other,
        }
    }

    /// Whether the plain way may be blocked by something that ends TLS, with a key of its own or none that we take.
    fn is_in_the_way(&self) -> bool {
        matches!(self, Self::Blocked(_) | Self::Error(Error::WrongServer { .. }))
    }
}

/// One part of a try.
async fn within<T>(late: fn(String) -> Refused, part: impl Future<Output = Result<T, Refused>>) -> Result<T, Refused> {
    let late = || late(format!("no answer in {} seconds", CONNECT.as_secs()));
    timeout(CONNECT, part).await.unwrap_or_else(|_| Err(late()))
}

impl Connection {
    /// Connects to one of the link's addresses, as whoever the guest is: devices begin at different ones. The next is tried when
    /// one fails, and beside one that takes its time.
    pub(crate) async fn open(link: &Link, guest: Option<&Guest>) -> Result<Opened, Error> {
        route::current().check()?;
        let mut untried: VecDeque<&Address> = link.addresses.iter().collect();
        untried.rotate_left(guest.map_or(0, |guest| guest.first).checked_rem(untried.len()).unwrap_or_default());
        let mut tries = FuturesUnordered::new();
        let mut failure = None;
        loop {
            if let Some(address) = untried.pop_front() {
                tries.push(Self::open_one(address, link.pin, guest));
            }
            let ended = match untried.is_empty() {
                true => tries.next().await,
                false => match timeout(HEAD_START, tries.next()).await {
                    Ok(ended) => ended,
                    Err(_) => continue,
                },
            };
            match ended {
                Some(Ok(opened)) => return Ok(opened),
                // Another address would not make this server honest.
                Some(Err(error @ (Error::WrongServer { .. } | Error::ServerMisbehaves(_)))) => return Err(error),
                Some(Err(error)) => failure = Some(error),
                None => break,
            }
        }
        Err(failure.unwrap_or_else(|| Error::Unreachable { address: link.to_string(), reason: "no address".into() }))
    }

    /// By the door that the route names. Without a name: the plain one, then the other if something seems to be in the way;
    /// the other one first if it was the right one the last time.
    ///
    /// A wrong key on the plain way may be that of a proxy, so the other door is tried then too: the server proves the
    /// pinned key behind either, or there is no connection and the wrong key is what is told.
    async fn open_one(address: &Address, pin: Pin, guest: Option<&Guest>) -> Result<Opened, Error> {
        let via = route::current().via();
        let plain = || Self::open_directly(address, pin);
        let tunnel = || Self::open_tunnel(address, pin, guest);
        let told = |refused: Refused| refused.into_error(address);
        match via {
            Via::Direct => return plain().await.map_err(told),
            Via::Websocket => return tunnel().await.map_err(told),
            Via::Auto => {}
        }
        let mut behind = None;
        if guest.is_some_and(|guest| guest.last == Door::Websocket) {
            match tunnel().await {
                Ok(opened) => return Ok(opened),
                Err(refused @ Refused::Unreachable(_)) => return Err(told(refused)),
                Err(refused) => behind = Some(refused),
            }
        }
        let straight = match plain().await {
            Ok(opened) => return Ok(opened),
            Err(refused) if !refused.is_in_the_way() => return Err(told(refused)),
            Err(refused) => refused,
        };
        let behind = match behind {
            Some(refused) => refused,
            None => match tunnel().await {
                Ok(opened) => return Ok(opened),
                Err(refused) => refused,
            },
        };
        Err(match (straight, behind) {
            (Refused::Blocked(straight), Refused::Blocked(behind) | Refused::Unreachable(behind)) => {
                told(Refused::Blocked(format!("{straight}; {behind}")))
            }
            (Refused::Blocked(_), behind) => told(behind),
            (straight, _) => told(straight),
        })
    }

    async fn open_directly(address: &Address, pin: Pin) -> Result<Opened, Refused> {
        let stream = Self::reach(address).await?;
        within(Refused::Blocked, Self::secure(stream, address, pin, Door::Plain)).await
    }

    async fn open_tunnel(address: &Address, pin: Pin, guest: Option<&Guest>) -> Result<Opened, Refused> {
        let stream = Self::reach(address).await?;
        let inside = async {
            let tunnel = tunnel::open(stream, address, pin, guest).await.map_err(|error| match error {
                NoTunnel::Failed(reason) => Refused::Blocked(reason),
                NoTunnel::Wait(seconds) => Refused::Error(Error::RateLimited { seconds }),
            })?;
            Self::secure(tunnel, address, pin, Door::Websocket).await
        };
        within(Refused::Blocked, inside).await.map_err(Refused::behind)
    }

    async fn reach(address: &Address) -> Result<Stream, Refused> {
        let reached = async { route::current().connect(address).await.map_err(Refused::Unreachable) };
        within(Refused::Unreachable, reached).await
    }

    /// The pinned TLS, whatever it runs over.
    async fn secure(stream: Stream, address: &Address, pin: Pin, door: Door) -> Result<Opened, Refused> {
        let misbehaves = |why: String| Refused::Error(Error::ServerMisbehaves(why));
        // The name is not verified (the pin is) and not sent.
        let server = ServerName::try_from("waxwing.invalid").map_err(|error| misbehaves(error.to_string()))?;
        let (config, verifier) = pin::tls(pin).map_err(Refused::Error)?;
        let tls = TlsConnector::from(Arc::new(config)).connect(server, stream).await;
        let tls = tls.map_err(|error| match pin::refusal(&error) {
            Some(pin::Untrusted::Key) => Refused::Error(Error::WrongServer { address: address.to_string() }),
            Some(pin::Untrusted::History) => {
                misbehaves("its statements about its former keys do not hold. Nothing was sent".into())
            }
            None => Refused::Blocked(format!("no secure connection: {error}")),
        })?;
        let key = verifier.key().ok_or_else(|| misbehaves("it showed no key".into()))?;
        let (_, session) = tls.get_ref();
        if session.alpn_protocol() != Some(ALPN) {
            return Err(misbehaves("it does not speak Waxwing's protocol".into()));
        }
        let exporter = session.export_keying_material([0; 32], EXPORTER_LABEL, None);
        let exporter = exporter.map_err(|error| misbehaves(error.to_string()))?;
        Self::greet(tls, exporter, address.to_string(), key, door).await.map_err(Refused::Error)
    }
}
