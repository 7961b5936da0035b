//! Accounts: the keys of an account, what opens them, and what they vouch for.
//!
//! The invariant: a private RSA key exists outside a sealed vault only while its owner's password or recovery code
//! is in use, and a signature made for one purpose never passes for another. This module must not know where sealed
//! things are stored, nor how the server checks an auth secret.

mod account_key;
mod backup_key;
pub mod credential;
mod device_key;
mod device_list;
mod identity;
pub(crate) mod password;
mod recovery;
pub mod rotation;
mod rsa_key;
mod safety_number;
mod vault;

pub use account_key::{AccountKey, DEVICE_NAME};
pub use backup_key::{BackupKey, BackupPublicKey};
pub use credential::{Credential, CredentialError};
pub use device_key::AuthenticationKey;
pub use device_list::{
    Change, DEVICE_LIMIT, DeviceList, DeviceListError, ListedDevice, RollbackError, SEALED_NAME, VerifiedDeviceList,
};
pub use identity::{IdentityKey, IdentityPublicKey};
pub use password::{
    AccountSecrets, KdfParameters, KdfRefused, WeakPassword, check_strength, derive_password, normalise,
};
pub use recovery::{RecoveryCode, RecoveryCodeError};
pub use rotation::{IdentityRotation, RotationError};
pub use rsa_key::KeyError;
pub use safety_number::{QrError, SafetyNumber};
pub use vault::{AccountKeys, SealedVault, WrapKind};

/// Why something about an account's secrets failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// The server asked for a derivation that is too weak or too expensive: it misbehaves.
    #[error(transparent)]
    Kdf(#[from] KdfRefused),
    /// The vault does not open. Deliberately the same for a wrong key, another account's vault and a changed byte.
    #[error("wrong password or recovery code, or a damaged vault")]
    Locked,
    /// The machine has not the memory that the derivation takes.
    #[error("not enough memory to derive the key")]
    OutOfMemory,
    /// Keys that were never sealed were to be sealed without a recovery code.
    #[error("new account keys need a recovery code")]
    NoRecoveryCode,
}

#[cfg(test)]
pub(crate) mod testing {
    //! What the tests of accounts share: two accounts' keys, made once, since making them is slow.

    use super::AccountKeys;
    use rsa::rand_core::UnwrapErr;
    use std::sync::OnceLock;

    pub(crate) type SystemRng = UnwrapErr<getrandom::SysRng>;

    pub(crate) fn rng() -> SystemRng {
        UnwrapErr(getrandom::SysRng)
    }

    pub(crate) fn alice() -> &'static AccountKeys {
        static KEYS: OnceLock<AccountKeys> = OnceLock::new();
        KEYS.get_or_init(|| AccountKeys::generate(&mut rng()))
    }

    pub(crate) fn mallory() -> &'static AccountKeys {
        static KEYS: OnceLock<AccountKeys> = OnceLock::new();
        KEYS.get_or_init(|| AccountKeys::generate(&mut rng()))
    }
}
