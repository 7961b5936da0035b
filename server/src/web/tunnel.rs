//! A WebSocket as a stream of bytes: binary messages one after another, their borders without meaning.

use axum::extract::ws::{Message, WebSocket};
use futures_util::{SinkExt as _, StreamExt as _, future::ready};
use std::io;
use tokio::io::{AsyncRead, AsyncWrite, join};
use tokio_util::{
    bytes::Bytes,
    io::{CopyToBytes, SinkWriter, StreamReader},
};

/// The bytes that the socket carries. A text message breaks it, a close ends it.
pub(super) fn stream(socket: WebSocket) -> impl AsyncRead + AsyncWrite + Unpin + Send + 'static {
    let (sink, stream) = socket.split();
    let read = stream.filter_map(|message| {
        ready(match message {
            Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
            Ok(Message::Text(_)) => Some(Err(io::Error::from(io::ErrorKind::InvalidData))),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_)) => None,
            Err(error) => Some(Err(io::Error::other(error))),
        })
    });
    let write = sink.sink_map_err(io::Error::other);
    let write = write.with(|bytes: Bytes| ready(Ok::<_, io::Error>(Message::Binary(bytes))));
    join(StreamReader::new(read), SinkWriter::new(CopyToBytes::new(write)))
}
