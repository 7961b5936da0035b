//! What only an account's owner may do, with the password or the recovery code, on a connection of its own.
//!
//! Every change of an account is one revision: the next signed device list and, where asked for, new secrets or a new
//! identity. The server takes it whole or not at all, and only on top of the list that it was made from; if another device
//! was faster it is made anew. The private keys live as long as an [`Owner`]. It must not know profiles or chats.

use crate::{
    Error, Step,
    account::{account_error, blocking, derive, kdf_parameters},
    directory::VerifiedAccount,
    random,
    transport::{CallError, Connection, unexpected},
};
use std::sync::Arc;
use waxwing_e2ee::account::{
    AccountError, AccountKey, AccountKeys, AccountSecrets, AuthenticationKey, DEVICE_LIMIT, IdentityPublicKey,
    KdfParameters, ListedDevice, RecoveryCode, VerifiedDeviceList, WrapKind, credential, rotation,
};
use waxwing_protocol::{
    self as wire, Authenticator, DeviceId, DeviceProof, ErrorCode, Link, NewCredentials, NewIdentity, Request,
    Response, ReviseAccount, Secret, Username, authentication_message,
};
use zeroize::Zeroizing;

/// How often a revision is made anew when other devices change the account at the same time.
const TRIES: usize = 5;

/// What proves that somebody owns the account.
pub(crate) enum Proof {
    Password { password: Zeroizing<String>, second: Second },
    Recovery(RecoveryCode),
}

/// What stands beside a password, where the server asks for more.
pub(crate) enum Second {
    /// A code that it has sent by e-mail.
    Code(Option<String>),
    /// A device that it knows.
    Device { device: [u8; 16], key: Zeroizing<[u8; 32]> },
}

impl Second {
    /// The code, or what the device signs on this connection.
    fn show(&self, connection: &Connection) -> (Option<String>, Option<DeviceProof>) {
        match self {
            Self::Code(code) => (code.clone(), None),
            Self::Device { device, key } => {
                let device = DeviceId(*device);
                let message = authentication_message(&connection.key.pin, &connection.exporter, &device);
                let signature = AuthenticationKey::from_bytes(key).sign(&message).to_vec().into();
                (None, Some(DeviceProof { device, signature }))
            }
        }
    }
}

/// An account whose owner was proven.
pub(crate) struct Owner {
    pub(crate) connection: Connection,
    pub(crate) name: Username,
    pub(crate) keys: Arc<AccountKeys>,
    pub(crate) account: VerifiedAccount,
    /// As the password or code gave them; of a password also how.
    secrets: AccountSecrets,
    kdf: Option<KdfParameters>,
}

/// A new password.
#[derive(Clone)]
pub(crate) struct NewPassword {
    pub(crate) password: Zeroizing<String>,
    /// Whether the recovery code is replaced as well.
    pub(crate) replace_code: bool,
}

/// Makes the devices from now on of those that are listed. Their names are sealed under the key.
pub(crate) type ChangeDevices<'a> =
    dyn Fn(&[ListedDevice], &AccountKey) -> Result<Vec<ListedDevice>, Error> + Sync + 'a;

/// A wanted change.
pub(crate) struct Revision<'a> {
    pub(crate) devices: &'a ChangeDevices<'a>,
    pub(crate) password: Option<NewPassword>,
    /// Whether identity, backup key and vault secret are replaced by new ones.
    pub(crate) rotate: bool,
    /// The newest list that this profile knows, if it has one.
    pub(crate) known: Option<&'a VerifiedDeviceList>,
}

/// What the next device list is made of.
pub(crate) struct Base {
    /// The devices that are there, before any change.
    pub(crate) devices: Vec<ListedDevice>,
    /// The version of the next list.
    pub(crate) version: u64,
    /// The version of the server's, if that is not the one before.
    pub(crate) follows: Option<u64>,
}

/// What a revision made.
pub(crate) struct Revised {
    pub(crate) signed_list: Vec<u8>,
    /// The devices that are none any more, with their names.
    pub(crate) removed: Vec<(ListedDevice, Option<String>)>,
    /// To be shown once, if it was replaced.
    pub(crate) recovery_code: Option<Zeroizing<String>>,
    /// Whether the identity is another one now.
    pub(crate) rotated: bool,
}

impl Owner {
    /// Proves to the server that we own the account, and opens its vault.
    pub(crate) async fn prove(
        link: &Link,
        name: &Username,
        proof: &Proof,
        on_step: &(dyn Fn(Step) + Send + Sync),
    ) -> Result<Self, Error> {
        on_step(Step::Connecting);
        let (connection, _events) = Connection::open(link, None).await?;
        let call = |request| async { connection.call(request).await.map_err(CallError::into_error) };
        let (secrets, kdf, kind) = match proof {
            Proof::Password { password, .. } => {
                let answer = call(Request::LoginParameters(name.clone())).await?;
                let Response::LoginParameters(parameters) = answer else { return Err(unexpected()) };
                on_step(Step::DerivingKeys);
                let kdf = kdf_parameters(&parameters.kdf)?;
                (derive(password, &kdf, &connection, name).await?, Some(kdf), WrapKind::Password)
            }
            Proof::Recovery(code) => (code.secrets(&connection.key.origin.0, name.as_str()), None, WrapKind::Recovery),
        };
        on_step(Step::OpeningVault);
        let secret = Secret(*secrets.auth);
        let authenticator = match kind {
            WrapKind::Password => Authenticator::Password(secret),
            WrapKind::Recovery => Authenticator::Recovery(secret),
        };
        let refused = |error| match (error, kind) {
            (Error::BadCredentials, WrapKind::Recovery) => Error::BadRecoveryCode,
            (error, _) => error,
        };
        let (code, device) = match proof {
            Proof::Password { second, .. } => second.show(&connection),
            Proof::Recovery(_) => (None, None),
        };
        let login = Request::Login { username: name.clone(), authenticator, code, device };
        let answer = call(login).await.map_err(refused)?;
        let Response::Vault(vault) = answer else { return Err(unexpected()) };
        let keys = AccountKeys::open(name.as_str(), &vault.vault.0, &vault.wrap.0, kind, &secrets);
        let keys = Arc::new(keys.map_err(|error| match error {
            // It has just said that the secret is right.
            AccountError::Locked => Error::ServerMisbehaves(
                "the vault that it gives does not open with what it has accepted: it is damaged, or another's".into(),
            ),
            error => account_error(error),
        })?);
        let account = VerifiedAccount::verify(&vault.account, name.as_str())?;
        if account.identity != keys.identity.public() {
            let reason = "its identity key is not the one in the vault".to_owned();
            return Err(Error::Untrusted { username: name.to_string(), reason });
        }
        Ok(Self { connection, name: name.clone(), keys, account, secrets, kdf })
    }

    /// What the next device list goes on from: the server's list, unless this profile knows that the server has forgotten
    /// something. Then what is on both lists stays, so that no device comes back that was signed out, and the version leaves
    /// out one, so that nobody takes it for a second list of a version that they have seen.
    pub(crate) fn base(&self, known: Option<&VerifiedDeviceList>) -> Base {
        let stored = &self.account.list;
        let devices = stored.list.devices.iter();
        match known {
            Some(known) if stored.follows(known).is_err() => Base {
                devices: devices.filter(|device| known.list.device(&device.id).is_some()).cloned().collect(),
                version: stored.list.version.max(known.list.version).saturating_add(2),
                follows: Some(stored.list.version),
            },
            _ => Base { devices: devices.cloned().collect(), version: stored.list.version + 1, follows: None },
        }
    }

    /// Changes the account. Afterwards this owner stands for the account as it then is.
    ///
    /// `DeviceListChanged` means that another device was faster: prove again, then revise again.
    async fn try_revise(&mut self, revision: &Revision<'_>) -> Result<Revised, Attempt> {
        let current = &self.account.list;
        let new_keys = match revision.rotate {
            true => {
                let keys = Arc::clone(&self.keys);
                Some(blocking(move || keys.rotate(&mut random())).await?)
            }
            false => None,
        };
        let signing: &AccountKeys = new_keys.as_ref().unwrap_or(&self.keys);
        let (old_names, new_names) = (self.keys.account_key(), signing.account_key());
        let base = self.base(revision.known);
        let mut devices = (revision.devices)(&base.devices, &old_names)?;
        if devices.is_empty() || devices.len() > DEVICE_LIMIT {
            return Err(Error::Refused("an account has at least one device, and 32 at most".into()).into());
        }
        if revision.rotate {
            for device in &mut devices {
                let name = old_names.open_device_name(&device.id, &device.sealed_name).unwrap_or_default();
                device.sealed_name = new_names.seal_device_name(&device.id, &name, &mut random());
            }
        }
        let gone = |known: &&ListedDevice| devices.iter().all(|device| device.id != known.id);
        let name = |device: &ListedDevice| old_names.open_device_name(&device.id, &device.sealed_name);
        let gone: Vec<_> =
            current.list.devices.iter().filter(gone).map(|device| (device.clone(), name(device))).collect();
        let removed = gone.iter().map(|(device, _)| DeviceId(device.id)).collect();
        let mut list = current.list.successor(&current.hash, devices);
        list.version = base.version;
        let (version, follows) = (base.version, base.follows);
        let signed_list = list.sign(&signing.identity, &mut random());

        let mut recovery_code = None;
        let mut new_secrets = None;
        let credentials = match (&revision.password, revision.rotate) {
            (Some(new), _) => {
                let kdf = KdfParameters::recommended(&mut random());
                let secrets = derive(&new.password, &kdf, &self.connection, &self.name).await?;
                let code = new.replace_code.then(|| RecoveryCode::generate(&mut random()));
                let recovery =
                    code.as_ref().map(|code| code.secrets(&self.connection.key.origin.0, self.name.as_str()));
                recovery_code = code.map(|code| Zeroizing::new(code.to_string()));
                let credentials = self.seal(signing, &kdf, &secrets, recovery.as_ref())?;
                new_secrets = Some((secrets, kdf));
                Some(credentials)
            }
            // New keys need a new vault, under the same password.
            (None, true) => {
                let kdf = self.kdf.ok_or(Error::WrongPassword)?;
                Some(self.seal(signing, &kdf, &self.secrets, None)?)
            }
            (None, false) => None,
        };
        let identity = new_keys.as_ref().map(|new| {
            let statement =
                rotation::sign(&self.keys.identity, self.name.as_str(), &new.identity.public(), &mut random());
            NewIdentity {
                identity_key: new.identity.public().to_der().into(),
                backup_key: new.backup.public().to_der().into(),
                statement: statement.into(),
            }
        });
        let statement = identity.as_ref().map(|identity| identity.statement.0.clone());
        let request =
            ReviseAccount { version, device_list: signed_list.clone().into(), removed, credentials, identity, follows };
        match self.connection.call(Request::ReviseAccount(Box::new(request))).await {
            Ok(Response::Done) => {}
            Ok(_) => return Err(unexpected().into()),
            Err(CallError::Refused(refusal)) if refusal.code == ErrorCode::DeviceListConflict => {
                return Err(Attempt::Conflict);
            }
            Err(error) => return Err(error.into_error().into()),
        }
        if let Some((secrets, kdf)) = new_secrets {
            (self.secrets, self.kdf) = (secrets, Some(kdf));
        }
        let rotated = new_keys.is_some();
        if let Some(keys) = new_keys {
            self.keys = Arc::new(keys);
        }
        self.account.rotations.extend(statement);
        self.account = self.account.revised(self.keys.identity.public(), signed_list.clone())?;
        Ok(Revised { signed_list, removed: gone, recovery_code, rotated })
    }

    fn seal(
        &self,
        keys: &AccountKeys,
        kdf: &KdfParameters,
        password: &AccountSecrets,
        recovery: Option<&AccountSecrets>,
    ) -> Result<NewCredentials, Error> {
        let vault = keys.seal(self.name.as_str(), password, recovery, &mut random()).map_err(account_error)?;
        Ok(NewCredentials {
            kdf: wire::KdfParameters {
                salt: kdf.salt.to_vec().into(),
                memory_kib: kdf.memory_kib,
                iterations: kdf.iterations,
                parallelism: kdf.parallelism,
            },
            password_secret: Secret(*password.auth),
            recovery_secret: recovery.map(|secrets| Secret(*secrets.auth)),
            vault: vault.vault.into(),
            password_wrap: vault.password_wrap.into(),
            recovery_wrap: vault.recovery_wrap.into(),
        })
    }

    /// Proves ownership and changes the account, again and again while other devices are faster.
    pub(crate) async fn revise(
        link: &Link,
        name: &Username,
        proof: &Proof,
        revision: &Revision<'_>,
        on_step: &(dyn Fn(Step) + Send + Sync),
    ) -> Result<(Self, Revised), Error> {
        for _ in 0..TRIES {
            let mut owner = Self::prove(link, name, proof, on_step).await?;
            on_step(Step::RevisingAccount);
            match owner.try_revise(revision).await {
                Ok(revised) => return Ok((owner, revised)),
                Err(Attempt::Conflict) => {}
                Err(Attempt::Failed(error)) => return Err(error),
            }
        }
        Err(Error::Refused("other devices of this account keep changing it; try again".into()))
    }

    /// Deletes the account at the server.
    pub(crate) async fn delete(self) -> Result<(), Error> {
        match self.connection.call(Request::DeleteAccount).await.map_err(CallError::into_error)? {
            Response::Done => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// What a device signs its leaves with, from now on.
    pub(crate) fn certify(&self, device: &[u8; 16], mls_key: &[u8; 32]) -> Vec<u8> {
        credential::certify(&self.keys.identity, self.name.as_str(), device, mls_key, &mut random())
    }

    /// The identity as everybody sees it.
    pub(crate) fn identity(&self) -> IdentityPublicKey {
        self.keys.identity.public()
    }
}

/// Why a revision was not taken.
enum Attempt {
    /// Another device was faster.
    Conflict,
    Failed(Error),
}

impl From<Error> for Attempt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
