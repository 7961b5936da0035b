//! Frames: a length (u32, big endian) and that many bytes of CBOR.
//!
//! The client speaks first with a [`Hello`]; the server answers with a [`ServerHello`] or a refusal and closes. After
//! that the client sends [`ClientFrame`]s and the server [`ServerFrame`]s. Unknown fields are skipped; an unknown request
//! keeps its id, so that it can be refused, and an unknown response its id, so that its request can fail.

use crate::{Bytes, Event, Incarnation, Refusal, Request, Response, SignUpPolicy};
use minicbor::{Decode, Encode};

/// The client's first frame.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// The lowest version that the client speaks.
    #[n(0)]
    pub lowest: u16,
    /// The highest.
    #[n(1)]
    pub highest: u16,
}

/// The server's first frame.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ServerHello {
    /// Welcome.
    #[n(0)]
    Accepted {
        /// The version that both now speak.
        #[n(0)]
        version: u16,
        /// Which life of the database this is.
        #[n(1)]
        incarnation: Incarnation,
        /// The server's clock, milliseconds since 1970.
        #[n(2)]
        time_ms: u64,
        /// Who may sign up.
        #[n(3)]
        sign_up: SignUpPolicy,
    },
    /// No.
    #[n(1)]
    Refused(#[n(0)] Refusal),
}

/// A request with the number that its answer will carry.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ClientFrame {
    /// Chosen by the client, unique among its unanswered requests.
    #[n(0)]
    pub id: u32,
    /// The request.
    #[n(1)]
    pub request: Request,
}

/// What the server sends.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ServerFrame {
    /// The answer to the request with this id.
    #[n(0)]
    Response {
        /// The request's id.
        #[n(0)]
        id: u32,
        /// The answer.
        #[n(1)]
        response: Response,
    },
    /// The refusal of the request with this id.
    #[n(1)]
    Refusal {
        /// The request's id.
        #[n(0)]
        id: u32,
        /// The reason.
        #[n(1)]
        refusal: Refusal,
    },
    /// Something unasked.
    #[n(2)]
    Event(#[n(0)] Event),
}

/// Why bytes are no frame.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not CBOR of the expected shape, over a limit, or followed by more bytes: the peer misbehaves.
    #[error("malformed frame")]
    Malformed,
    /// A request of a newer client: refuse it as `Unsupported` and go on.
    #[error("unknown request")]
    UnknownRequest {
        /// The request's id.
        id: u32,
    },
    /// A response of a newer server, or with something unknown inside: the request has failed, go on.
    #[error("unknown response")]
    UnknownResponse {
        /// The request's id.
        id: u32,
    },
    /// An event or other frame of a newer server: skip it.
    #[error("unknown kind of server frame")]
    UnknownServerFrame,
}

/// The head of a client frame whose request is unknown.
#[derive(Decode)]
struct ClientFrameHead {
    #[n(0)]
    id: u32,
}

/// The head of a server frame whose response is unknown.
#[derive(Decode)]
enum ServerFrameHead {
    #[n(0)]
    Response {
        #[n(0)]
        id: u32,
    },
}

/// A frame body. The frame on the wire is its length (u32, big endian) and this.
pub fn encode(frame: &impl Encode<()>) -> Bytes {
    let mut bytes = Vec::new();
    // Writing to a Vec cannot fail, and no `Encode` of ours fails by itself.
    let _ = minicbor::encode(frame, &mut bytes);
    Bytes(bytes)
}

/// Reads the client's first frame.
pub fn decode_hello(bytes: &[u8]) -> Result<Hello, DecodeError> {
    whole(bytes).map_err(|_| DecodeError::Malformed)
}

/// Reads the server's first frame.
pub fn decode_server_hello(bytes: &[u8]) -> Result<ServerHello, DecodeError> {
    whole(bytes).map_err(|_| DecodeError::Malformed)
}

/// Reads a request and checks its limits.
pub fn decode_client_frame(bytes: &[u8]) -> Result<ClientFrame, DecodeError> {
    match whole::<ClientFrame>(bytes) {
        Ok(frame) if frame.request.within_limits() => Ok(frame),
        Err(error) if error.is_unknown_variant() => {
            let head: ClientFrameHead = minicbor::decode(bytes).map_err(|_| DecodeError::Malformed)?;
            Err(DecodeError::UnknownRequest { id: head.id })
        }
        _ => Err(DecodeError::Malformed),
    }
}

/// Reads what a server sent.
pub fn decode_server_frame(bytes: &[u8]) -> Result<ServerFrame, DecodeError> {
    whole(bytes).map_err(|error| match error.is_unknown_variant() {
        true => match minicbor::decode(bytes) {
            Ok(ServerFrameHead::Response { id }) => DecodeError::UnknownResponse { id },
            Err(_) => DecodeError::UnknownServerFrame,
        },
        false => DecodeError::Malformed,
    })
}

fn whole<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, minicbor::decode::Error> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder.decode()?;
    match decoder.position() == bytes.len() {
        true => Ok(value),
        false => Err(minicbor::decode::Error::message("trailing bytes")),
    }
}
