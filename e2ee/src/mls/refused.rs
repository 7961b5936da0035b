//! Why the gate refuses.

use crate::account::{CredentialError, DeviceListError};

/// Why the gate refused. All honest members refuse the same entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The leaf's credential is malformed, or not signed for its key by the identity that it names.
    #[error("{0}")]
    Credential(#[from] CredentialError),
    /// The leaf has a credential of a foreign kind.
    #[error("a credential of an unknown kind")]
    CredentialType,
    /// The leaf names an account that does not take part in the group, or a device list is of one.
    #[error("{0} does not take part in this conversation")]
    ForeignAccount(String),
    /// The leaf names an identity that its account does not have in the group, and never had.
    #[error("not the identity that {0} has in this conversation")]
    OtherIdentity(String),
    /// The same device, or the same MLS key, twice.
    #[error("the same device twice")]
    DeviceTwice,
    /// A leaf that a member made for itself belongs to another device or has another MLS key than the old one.
    #[error("a member may not become another device")]
    OtherDevice,
    /// The key package is malformed, expired, or badly signed.
    #[error("not a valid key package")]
    KeyPackage,
    /// Another suite than ours.
    #[error("another cipher suite")]
    Suite,
    /// The key package claims to be valid for longer than 84 days, or does not say for how long.
    #[error("a key package that is valid for too long, or does not say for how long")]
    Lifetime,
    /// The group's rules are malformed, of a newer version, or not alone.
    #[error("the rules of the group are malformed or of a newer version")]
    Rules,
    /// The commit changes the rules otherwise than its device lists and removals demand, or does not change them so.
    #[error("a change of the rules that does not follow from the device lists")]
    RulesChange,
    /// What a commit carries beside its content are no device lists.
    #[error("the device lists of a change are malformed or of a newer version")]
    Lists,
    /// A device list that a commit carries was not signed by the account's identity, or breaks the rules.
    #[error("{0}")]
    DeviceList(#[from] DeviceListError),
    /// The account's identity did not hand over to the next one, or to one that it had before.
    #[error("not a valid new identity of {0}")]
    Rotation(String),
    /// The list is older than the one that the group goes by.
    #[error("an old device list of {0}")]
    OldList(String),
    /// The list is not the one of its version that the group goes by, or does not continue it.
    #[error("two device lists of {0} contradict each other")]
    ForkedList(String),
    /// A device comes or goes, and its account's list is not there to say so.
    #[error("a change of the devices of {0} without a device list")]
    NoList(String),
    /// After the commit there would be a device, or a key of a device, that the account does not list.
    #[error("a device that {0} does not list")]
    Unlisted(String),
    /// A device is removed that the account lists, and it is not added again.
    #[error("a device that {0} still lists is removed")]
    Listed(String),
    /// Somebody outside the group proposes or commits, other than a device that joins.
    #[error("a change from outside the group")]
    Outsider,
    /// A proposal that is not part of a commit by whoever proposes.
    #[error("a proposal outside a commit")]
    Standalone,
    /// A kind of proposal that has no place in this kind of group.
    #[error("a kind of change that this conversation does not allow")]
    Change,
    /// Only an admin may make this change of a group, and this account is none.
    #[error("{0} is no admin of this conversation")]
    NotAdmin(String),
    /// The account was put out of the room and an admin has to let it in again.
    #[error("{0} was put out of this room")]
    Barred(String),
    /// The wish to leave is not this account's, of an earlier time, or of somebody who stays.
    #[error("not a valid wish to leave")]
    Leave,
    /// There would be no admin left.
    #[error("the last admin of a conversation cannot go: make somebody else an admin first")]
    LastAdmin,
    /// The account takes part already.
    #[error("{0} takes part already")]
    TakesPart(String),
    /// The device to be removed is not in the group.
    #[error("no such device in this conversation")]
    NoSuchMember,
}
