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
    /// The account's backup may not grow further; `number` is its limit in bytes.
    #[error("the backup has reached the server's limit")]
    QuotaExceeded,
    /// The manifest is not the successor of the one that the server has; `number` is the version that it has.
    #[error("the backup has changed meanwhile")]
    ManifestConflict,
    /// The account's backup has no segment of that id.
    #[error("there is no such segment in the backup")]
    UnknownSegment,
    /// The operator has locked the account: it may not sign in until that is undone.
    #[error("this account was disabled by the server's operator")]
    AccountDisabled,
    /// The operator keeps this name back.
    #[error("this username is reserved on this server")]
    UsernameReserved,
    /// The name is shorter or longer than the operator allows; `number` is the fewest or most characters.
    #[error("this username is shorter or longer than this server takes")]
    UsernameLength,
    /// As many devices of the account, or from the address, are signed in as the operator allows; `number` is how many.
    #[error("too many devices are signed in already")]
    TooManySessions,
    /// The server's disk or memory is nearly full: it makes no new accounts until that changes.
    #[error("this server has no room for new accounts at the moment")]
    NoRoom,
    /// Accounts of this server have an e-mail address.
    #[error("this server needs an e-mail address, to send a code there")]
    EmailNeeded,
    /// Not an e-mail address, or not one of the domains that the operator allows.
    #[error("this server does not take this e-mail address")]
    EmailNotAllowed,
    /// A one-time code of `number` digits was sent by e-mail: the same request again, with it, succeeds. Another one is sent
    /// to who asks without a code after `retry_after_ms`.
    #[error("a code is needed; it was sent by e-mail")]
    CodeNeeded,
    /// The one-time code is wrong, used, expired or for another request; `number` is how often it may still be tried.
    #[error("the code is wrong, or not valid any more")]
    BadCode,
    /// The mail server does not take the mail with the code.
    #[error("the server could not send the e-mail with the code")]
    MailFailed,
    /// The server keeps no messages, and no device that this one is for is connected: nothing was done.
    #[error("nobody it is for is connected, and this server keeps nothing for later: it was not delivered")]
    NobodyThere,
    /// No public room of that name.
    #[error("there is no such room")]
    UnknownRoom,
    /// The conversation may not have more accounts; `number` is the server's limit.
    #[error("the conversation has as many members as this server allows")]
    TooManyMembers,
    /// No attachment of that id (any more), or it is not finished, or not the account's.
    #[error("the server does not have this file (any more)")]
    UnknownAttachment,
    /// An attachment is longer than the operator allows; `number` is the most bytes.
    #[error("the file is larger than this server takes")]
    AttachmentTooLarge,
    /// The attachments of the account take as many bytes as the operator allows; `number` is how many.
    #[error("the files of this account have reached the server's limit")]
    AttachmentsFull,
    /// A chunk of the attachment is missing; `number` is the first one's place.
    #[error("a part of the file is missing")]
    AttachmentIncomplete,
    /// As much of what this account has sent waits to be fetched as the operator allows; `number` is how many bytes. Trying again
    /// after `retry_after_ms` helps if somebody has fetched meanwhile.
    #[error("as much as this server keeps of what one account has sent waits to be fetched")]
    WaitingFull,
    /// A code of a newer server.
    #[error("the server refused for a reason that this client does not know")]
    Unknown,
}

impl ErrorCode {
    /// Every code with its number, which never changes its meaning.
    const NUMBERS: &[(u16, Self)] = &[
        (1, Self::BadRequest),
        (2, Self::Unsupported),
        (3, Self::NotAuthenticated),
        (4, Self::BadCredentials),
        (5, Self::UsernameTaken),
        (6, Self::UnknownAccount),
        (7, Self::UnknownConversation),
        (8, Self::ConversationExists),
        (9, Self::Stale),
        (10, Self::OutOfOrder),
        (11, Self::Busy),
        (12, Self::RateLimited),
        (13, Self::SignUpClosed),
        (14, Self::BadInvite),
        (15, Self::BadSignUpSecret),
        (16, Self::DeviceListConflict),
        (17, Self::Internal),
        (18, Self::Draining),
        (19, Self::Version),
        (20, Self::QuotaExceeded),
        (21, Self::ManifestConflict),
        (22, Self::UnknownSegment),
        (40, Self::AccountDisabled),
        (41, Self::UsernameReserved),
        (42, Self::UsernameLength),
        (43, Self::TooManySessions),
        (44, Self::NoRoom),
        (45, Self::EmailNeeded),
        (46, Self::EmailNotAllowed),
        (47, Self::CodeNeeded),
        (48, Self::BadCode),
        (49, Self::MailFailed),
        (50, Self::NobodyThere),
        (60, Self::UnknownRoom),
        (61, Self::TooManyMembers),
        (62, Self::WaitingFull),
        (51, Self::UnknownAttachment),
        (52, Self::AttachmentTooLarge),
        (53, Self::AttachmentsFull),
        (54, Self::AttachmentIncomplete),
    ];

    /// The number on the wire, from 1; 0 for [`ErrorCode::Unknown`].
    pub fn number(self) -> u16 {
        Self::NUMBERS.iter().find(|(_, code)| *code == self).map_or(0, |(number, _)| *number)
    }

    /// The code with this number.
    pub fn from_number(number: u16) -> Self {
        Self::NUMBERS.iter().find(|(known, _)| *known == number).map_or(Self::Unknown, |(_, code)| *code)
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
