//! Which of the two protocols a new connection speaks: its TLS hello says so, and each has its own certificate.
//!
//! Whoever offers Waxwing's protocol gets the pinned identity and TLS 1.3; everybody else gets HTTP/1.1, under the
//! operator's own certificate if there is one.

use super::Context;
use crate::connection::{Tls, outbox::End};
use rustls::server::Acceptor;
use std::sync::Arc;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::LazyConfigAcceptor;
use waxwing_protocol::{ALPN, Pin};

/// What a connection turned out to be.
pub(super) enum Opened {
    /// Ours, with the key that was shown to it.
    Waxwing(Tls<TcpStream>, Pin),
    Http(Tls<TcpStream>),
}

/// Reads the hello and shakes hands.
pub(super) async fn open(context: &Context, tcp: TcpStream, deadline: Instant) -> Result<Opened, End> {
    let current = context.current();
    let shake = async {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), tcp).await.map_err(|_| End::Handshake)?;
        let ours = hello.client_hello().alpn().is_some_and(|mut offered| offered.any(|name| name == ALPN));
        let configuration = if ours { &current.tls } else { &current.http };
        let stream = Box::new(hello.into_stream(Arc::clone(configuration)).await.map_err(|_| End::Handshake)?);
        Ok(if ours { Opened::Waxwing(stream, current.pin) } else { Opened::Http(stream) })
    };
    timeout_at(deadline, shake).await.unwrap_or(Err(End::LoginDeadline))
}
