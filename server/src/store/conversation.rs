//! What the store is given and gives back about conversations. Plain data; it must not know how it is kept.

use super::AccountId;
use sha2::{Digest as _, Sha256};
use waxwing_protocol::{Bytes, ConversationId, ConversationKind, DeviceId, Handshake};

/// A new conversation of `creator`.
#[derive(Clone, Debug)]
pub struct NewConversation {
    /// The creating account.
    pub account: AccountId,
    /// The creating device.
    pub creator: DeviceId,
    /// Its id.
    pub id: ConversationId,
    /// What for.
    pub kind: ConversationKind,
    /// The commit that adds the others.
    pub handshake: Option<Handshake>,
    /// The pair's conversation whose place it takes.
    pub replaces: Option<ConversationId>,
    /// How many accounts it may have.
    pub members: u32,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// How a creation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// It exists, and the welcomes are in the inboxes.
    Created {
        /// 1, or 0 without a handshake.
        seq: u64,
    },
    /// There is one already (by the same creator with the same id: that is the same creation, answered as `Created`).
    Exists(ConversationId),
    /// The other account does not exist.
    UnknownAccount,
    /// The welcome names a device that belongs to neither account, or the creator itself, or the handshake removes somebody.
    BadRecipients,
    /// It would have more accounts than it may.
    TooManyMembers,
}

/// A message, commit or join to append.
#[derive(Clone, Debug)]
pub struct Append {
    /// By whom.
    pub device: DeviceId,
    /// Where.
    pub conversation: ConversationId,
    /// The device's send number; 0 for a join.
    pub number: u64,
    /// The count of commits that it was made after.
    pub commits: u64,
    /// What.
    pub body: AppendBody,
    /// How many accounts the conversation may have.
    pub members: u32,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// What is appended.
#[derive(Clone, Debug)]
pub enum AppendBody {
    /// An application message.
    Application(Bytes),
    /// The same, but only for who is connected: its place in the log is kept, the message itself is not.
    Passing(Bytes),
    /// A commit; its welcome goes into the inboxes and its removed devices leave, in the same transaction. A device that is
    /// both removed and welcomed stays, and starts anew after it.
    Commit(Box<Handshake>),
    /// A commit by which the device lets itself in, or starts anew: it sees the log from this entry on.
    Join(Join),
}

impl AppendBody {
    /// What goes into the log.
    pub fn payload(&self) -> &Bytes {
        match self {
            Self::Application(payload) | Self::Passing(payload) => payload,
            Self::Commit(handshake) => &handshake.commit,
            Self::Join(join) => &join.commit,
        }
    }

    /// What of it is written down.
    pub(super) fn kept(&self) -> &Bytes {
        static NOTHING: Bytes = Bytes(Vec::new());
        match self {
            Self::Passing(_) => &NOTHING,
            kept => kept.payload(),
        }
    }

    /// The group after it, sealed; none if it is no commit.
    pub(super) fn group_info(&self) -> Option<Option<&Bytes>> {
        match self {
            Self::Application(_) | Self::Passing(_) => None,
            Self::Commit(handshake) => Some(handshake.group_info.as_ref()),
            Self::Join(join) => Some(join.group_info.as_ref()),
        }
    }
}

/// Who a message of a device is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// How often the device has sent there.
    pub sent: u64,
    /// The devices of other accounts; where there are none, the others of its own.
    pub devices: Vec<DeviceId>,
}

/// A commit by which a device lets itself in.
#[derive(Clone, Debug)]
pub struct Join {
    /// The MLS external commit.
    pub commit: Bytes,
    /// The group after it, sealed.
    pub group_info: Option<Bytes>,
}

impl Join {
    /// What tells a join that comes again from another one: SHA-256 of the commit, which nobody makes twice.
    pub(super) fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.commit.0).into()
    }
}

/// How coming into a room ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinRoomOutcome {
    /// The account takes part, perhaps since long.
    Joined(ConversationId),
    /// There is none of that name.
    UnknownRoom,
    /// It has as many accounts as it may.
    TooManyMembers,
}

/// How an append ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It is on disk (now, or since an earlier try with the same number).
    Accepted {
        /// Its place.
        seq: u64,
        /// When it was stored, milliseconds since 1970.
        time_ms: u64,
    },
    /// Made after another count of commits than this one.
    Stale {
        /// The current count.
        commits: u64,
    },
    /// The device's next send number is another.
    OutOfOrder {
        /// The expected number.
        expected: u64,
    },
    /// Not there, or the device is not in it.
    UnknownConversation,
    /// The welcome names a device that cannot be added (unknown, in already and not removed, or of an account that is not in
    /// the conversation), or the commit removes its own sender.
    BadRecipients,
    /// The conversation would have more accounts than it may.
    TooManyMembers,
    /// Too soon after the last commit (removals are excepted, unless the device is added again).
    Busy {
        /// Milliseconds.
        retry_after_ms: u32,
    },
}
