//! Why the server refused a request: a code for programs, and what the code needs with it.

use minicbor::{Decode, Encode};

/// The reasons, numbered for the wire. A client that meets a number it does not know shows it as [`ErrorCode::Unknown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The request breaks the protocol or a limit.
    #[error("the request is malformed or over a limit")]
    BadRequest,
    /// A request that this server does not know.
    #[error("the server does not know this request; it may be older than the client")]
    Unsupported,
    /// The request needs a signed-in device.
    #[error("not signed in")]
    NotAuthenticated,
    /// Unknown account or wrong secret; the two are never told apart.
    #[error("wrong username or password")]
    BadCredentials,
    /// Somebody else has the name.
    #[error("this username is taken")]
    UsernameTaken,
    /// No account of that name.
    #[error("there is no such user")]
    UnknownAccount,
    /// No conversation of that id, or the device is not in it.
    #[error("there is no such conversation")]
    UnknownConversation,
    /// A conversation of that id, or between these accounts, exists; `conversation` names it.
    #[error("the conversation exists already")]
    ConversationExists,
    /// Made before the newest commit: catch up, then encrypt again. `number` is the count of commits.
    #[error("the conversation has changed meanwhile")]
    Stale,
    /// The device's send number is not the next one; `number` is the number that the server expects.
    #[error("the message is out of order")]
    OutOfOrder,
    /// Too soon after the last commit; `retry_after_ms`.
    #[error("the server is busy")]
    Busy,
    /// Over a rate limit; `retry_after_ms`.
    #[error("too many requests")]
    RateLimited,
    /// Sign-up is closed on this server.
    #[error("this server takes no new accounts")]
    SignUpClosed,
    /// The invite code is missing, unknown, used up or expired.
    #[error("the invite code is missing, not valid, used up or expired")]
    BadInvite,
    /// The server's sign-up secret is missing or wrong.
    #[error("the server's sign-up secret is missing or wrong")]
    BadSignUpSecret,
    /// The device list is not the successor of the one that the server has.
    #[error("the device list has changed meanwhile")]
    DeviceListConflict,
    /// The server itself failed; its log says why.
    #[error("the server failed to handle the request")]
    Internal,
    /// The server is shutting down; connect again.
    #[error("the server is shutting down")]
    Draining,
    /// No version in common; `number` is the server's highest.
    #[error("the server speaks another version of the protocol")]
    Version,
    /// A code of a newer server.
    #[error("the server refused for a reason that this client does not know")]
    Unknown,
}

impl ErrorCode {
    const ALL: [Self; 19] = [
        Self::BadRequest,
        Self::Unsupported,
        Self::NotAuthenticated,
        Self::BadCredentials,
        Self::UsernameTaken,
        Self::UnknownAccount,
        Self::UnknownConversation,
        Self::ConversationExists,
        Self::Stale,
        Self::OutOfOrder,
        Self::Busy,
        Self::RateLimited,
        Self::SignUpClosed,
        Self::BadInvite,
        Self::BadSignUpSecret,
        Self::DeviceListConflict,
        Self::Internal,
        Self::Draining,
        Self::Version,
    ];

    /// The number on the wire, from 1; 0 for [`ErrorCode::Unknown`].
    pub fn number(self) -> u16 {
        Self::ALL.iter().position(|code| *code == self).map_or(0, |index| index as u16 + 1)
    }

    /// The code with this number.
    pub fn from_number(number: u16) -> Self {
        let index = usize::from(number).wrapping_sub(1);
        Self::ALL.get(index).copied().unwrap_or(Self::Unknown)
    }
}

impl<C> Encode<C> for ErrorCode {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u16(self.number())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for ErrorCode {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        d.u16().map(Self::from_number)
    }
}

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[error("{code}")]
pub struct Refusal {
    /// The reason.
    #[n(0)]
    pub code: ErrorCode,
    /// The number that the code's documentation names.
    #[n(1)]
    pub number: Option<u64>,
    /// Milliseconds to wait before trying again.
    #[n(2)]
    pub retry_after_ms: Option<u32>,
    /// The conversation that exists already.
    #[n(3)]
    pub conversation: Option<crate::ConversationId>,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, number: None, retry_after_ms: None, conversation: None }
    }
}

impl Refusal {
    /// A refusal with the number that its code documents.
    pub fn numbered(code: ErrorCode, number: u64) -> Self {
        Self { number: Some(number), ..code.into() }
    }

    /// A refusal that is worth trying again after so many milliseconds.
    pub fn retry_after(code: ErrorCode, milliseconds: u32) -> Self {
        Self { retry_after_ms: Some(milliseconds), ..code.into() }
    }
}
