//! What the store is given and gives back about accounts, their devices and invites. Plain data; it must not know how it
//! is kept.

use waxwing_protocol::{
    AccountRecord, Bytes, DeviceId, KdfParameters, NewDevice, NewIdentity, Username, limits::ROTATIONS,
};

/// An account's row id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccountId(pub i64);

/// A new account, hashed and sealed.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Its name.
    pub username: Username,
    /// Sealed under the data key.
    pub full_name: Option<Vec<u8>>,
    /// Keyed hash for look-ups, and the address sealed under the data key.
    pub email: Option<SealedEmail>,
    /// As given by the client.
    pub kdf: KdfParameters,
    /// PHC string of the password's auth secret, sealed under the data key: a copy of the database lets nobody guess.
    pub password_hash: Vec<u8>,
    /// The same of the recovery code's auth secret.
    pub recovery_hash: Vec<u8>,
    /// Vault and wraps, sealed once more under the data key.
    pub sealed: SealedVault,
    /// RSA public key, DER.
    pub identity_key: Vec<u8>,
    /// RSA public key, DER.
    pub backup_key: Vec<u8>,
    /// Version 1.
    pub device_list: Vec<u8>,
    /// The first device.
    pub device: NewDevice,
    /// SHA-256 of the invite code to use up in the same transaction.
    pub invite: Option<[u8; 32]>,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// An e-mail address as stored.
#[derive(Clone, Debug)]
pub struct SealedEmail {
    /// HMAC of the normalised address under the data key.
    pub lookup: [u8; 32],
    /// The address under the data key.
    pub sealed: Vec<u8>,
}

/// The vault as stored: each part sealed under the data key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedVault {
    /// The client's sealed vault.
    pub vault: Vec<u8>,
    /// The client's wrap under its password.
    pub password_wrap: Vec<u8>,
    /// The client's wrap under its recovery code.
    pub recovery_wrap: Vec<u8>,
}

/// How a sign-up ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignUpOutcome {
    /// The account and its device exist.
    Created(AccountId),
    /// Somebody has the name.
    UsernameTaken,
    /// The device id exists already.
    DeviceExists,
    /// The invite is unknown, used up or expired.
    BadInvite,
}

/// What checking a login needs.
#[derive(Clone, Debug)]
pub struct LoginRecord {
    /// The account.
    pub account: AccountId,
    /// As given by the client.
    pub kdf: KdfParameters,
    /// As given to `create_account`.
    pub password_hash: Vec<u8>,
    /// As given to `create_account`.
    pub recovery_hash: Vec<u8>,
    /// Still sealed under the data key.
    pub sealed: SealedVault,
    /// The e-mail address, still sealed, if the account has one.
    pub email: Option<Vec<u8>>,
    /// The public part.
    pub record: AccountRecord,
    /// Whether the operator has locked the account.
    pub disabled: bool,
}

/// A change of an account by its owner, hashed and sealed. What is `None` stays as it is.
#[derive(Clone, Debug)]
pub struct AccountRevision {
    /// Whose.
    pub account: AccountId,
    /// The version of the new device list.
    pub version: u64,
    /// The version that must be stored now; a lower one.
    pub follows: u64,
    /// The list itself.
    pub device_list: Vec<u8>,
    /// The devices that it no longer names.
    pub removed: Vec<DeviceId>,
    /// New secrets.
    pub credentials: Option<RevisedCredentials>,
    /// New keys; the statement joins the account's rotations.
    pub identity: Option<NewIdentity>,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// New secrets of an account, as in [`NewAccount`].
#[derive(Clone, Debug)]
pub struct RevisedCredentials {
    /// As given by the client.
    pub kdf: KdfParameters,
    /// As in [`NewAccount`].
    pub password_hash: Vec<u8>,
    /// The same of the recovery code, if that was replaced.
    pub recovery_hash: Option<Vec<u8>>,
    /// Vault and wraps.
    pub sealed: SealedVault,
}

/// How a revision ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviseOutcome {
    /// All of it is done: the removed devices and what was only for them are gone, and the devices concerned were notified.
    Revised,
    /// Not the next version of the device list (or the account is gone).
    Conflict,
    /// A device to remove is another account's. Those that are gone already are passed over.
    UnknownDevice,
}

/// Whether a device list may take the stored one's place. Its version is the next one, or higher where the account's devices
/// know of others that this database has forgotten.
pub(super) fn may_follow(stored: u64, follows: u64, version: u64) -> bool {
    stored == follows && version > stored && i64::try_from(version).is_ok()
}

/// The statements about former identities as they are stored, the new one behind the others; the oldest go when there
/// are too many.
pub(super) fn add_rotation(stored: Option<&[u8]>, statement: &Bytes) -> Option<Vec<u8>> {
    let mut all = rotations(stored)?;
    all.push(statement.clone());
    let excess = all.len().saturating_sub(ROTATIONS);
    Some(waxwing_protocol::encode(&all.split_off(excess)).0)
}

/// The statements about former identities from their stored form; none if that is damaged.
pub(super) fn rotations(stored: Option<&[u8]>) -> Option<Vec<Bytes>> {
    stored.map_or(Some(Vec::new()), |stored| minicbor::decode(stored).ok())
}

/// An enrolled device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    /// Whose.
    pub account: AccountId,
    /// Whose, by name.
    pub username: Username,
    /// Ed25519 public key.
    pub authentication_key: [u8; 32],
    /// Whether the operator has locked the account.
    pub disabled: bool,
    /// The day of its last sign-in, counted from 1970.
    pub seen_day: Option<u32>,
}

/// A new device of an account.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// Whose.
    pub account: AccountId,
    /// Its public half.
    pub device: NewDevice,
    /// The version of the device list that names it.
    pub version: u64,
    /// The version that must be stored now; a lower one.
    pub follows: u64,
    /// The list itself.
    pub device_list: Vec<u8>,
    /// The device whose place it takes.
    pub replaces: Option<DeviceId>,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// How an enrolment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnrolOutcome {
    /// The device may sign in; devices that share a conversation with the account, and its own, were notified. The one that
    /// it replaces is gone, as by a revision.
    Enrolled,
    /// Not the next version of the device list (or the device id exists, or the account is full).
    Conflict,
    /// The device to replace is another account's. One that is gone already is passed over.
    UnknownDevice,
}

/// A new invite.
#[derive(Clone, Debug)]
pub struct NewInvite {
    /// SHA-256 of the code.
    pub code_hash: [u8; 32],
    /// How many accounts it lets in.
    pub uses: u32,
    /// Milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// For the operator.
    pub note: String,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}
