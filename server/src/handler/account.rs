//! Accounts: signing up, proving to own one, adding devices, changing it, looking one up.
//!
//! To whoever is not signed in, an account that exists and one that does not look alike.

use super::{Failure, authentication, code};
use crate::{
    codes::CodePurpose,
    relay::{Context, now_ms},
    sealing::{DataKey, Purpose, SealingError},
    session::{AccountProven, Device, Peer, SignedIn},
    store::{
        AccountId, AccountRevision, DeviceSummary, EnrolOutcome, Enrolment, NewAccount, ReviseOutcome,
        RevisedCredentials, SealedEmail, SealedVault, SignUpOutcome, Store, StoreError,
    },
};
use waxwing_protocol::{
    Authenticator, Bytes, DeviceProof, DeviceSeen, EnrolDevice, ErrorCode, KdfParameters, LoginParameters, Response,
    ReviseAccount, Secret, SignUp, Username, Vault,
};

/// What a client of today chooses; unknown usernames are answered with it.
const DEFAULT_KDF: (u32, u32, u32) = (64 * 1024, 3, 4);

/// Whether the client's cost of guessing is neither negligible nor absurd. The client has its own, stricter floor.
fn sane(kdf: &KdfParameters) -> bool {
    (19 * 1024..=1024 * 1024).contains(&kdf.memory_kib)
        && (1..=32).contains(&kdf.iterations)
        && (1..=16).contains(&kdf.parallelism)
}

/// What stands for the hash of an account that does not exist: the hash of a secret that nobody knows, sealed like a real
/// one, so that a login to an unknown name costs the same work.
pub(crate) struct Decoy {
    username: Username,
    sealed: Vec<u8>,
}

impl Decoy {
    /// Seals the PHC string of a secret that nobody knows.
    #[expect(clippy::expect_used, reason = "the name is a valid one")]
    pub(crate) fn new(key: &DataKey, hash: &str) -> Result<Self, SealingError> {
        let username = "nobody".parse().expect("a valid name");
        let sealed = key.seal(Purpose::PasswordHash, &username, hash.as_bytes())?;
        Ok(Self { username, sealed })
    }

    fn open(&self, key: &DataKey) -> Result<Vec<u8>, SealingError> {
        key.open(Purpose::PasswordHash, &self.username, &self.sealed)
    }
}

/// Hashes an auth secret and seals the hash.
async fn sealed_hash(
    context: &Context,
    purpose: Purpose,
    username: &Username,
    secret: Secret,
) -> Result<Vec<u8>, Failure> {
    let hash = context.passwords.hash(secret).await?;
    Ok(context.data_key.seal(purpose, username, hash.as_bytes())?)
}

/// Seals the vault and its wraps once more.
fn sealed_vault(
    key: &DataKey,
    username: &Username,
    [vault, password_wrap, recovery_wrap]: [&Bytes; 3],
) -> Result<SealedVault, SealingError> {
    Ok(SealedVault {
        vault: key.seal(Purpose::Vault, username, &vault.0)?,
        password_wrap: key.seal(Purpose::PasswordWrap, username, &password_wrap.0)?,
        recovery_wrap: key.seal(Purpose::RecoveryWrap, username, &recovery_wrap.0)?,
    })
}

/// Makes an account and its first device.
pub(crate) async fn sign_up(context: &Context, peer: &Peer, request: SignUp) -> Result<SignedIn, Failure> {
    let current = context.current();
    let rules = &current.rules;
    context.limiter.sign_up(&rules.limits, peer.origin)?;
    let invite = rules.sign_up.admit(&request.admission)?;
    rules.usernames.check(&request.username)?;
    let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let (full_name, email) = (given(request.full_name), given(request.email));
    code::check_address(rules, email.as_deref())?;
    if let Some(lacking) = rules.room.lacks() {
        tracing::warn!(lacking, "a sign-up was refused: the machine is nearly full");
        return Err(ErrorCode::NoRoom.into());
    }
    if !sane(&request.kdf) {
        return Err(ErrorCode::BadRequest.into());
    }
    let key = &context.data_key;
    let username = &request.username;
    if let (Some(mailer), Some(email)) = (code::mailer(rules, CodePurpose::SignUp), &email) {
        if let Some(code_hash) = invite
            && !context.store.is_invited(code_hash, now_ms()).await?
        {
            return Err(ErrorCode::BadInvite.into());
        }
        if context.store.account(username).await?.is_some() {
            return Err(ErrorCode::UsernameTaken.into());
        }
        let needed = code::Needed { purpose: CodePurpose::SignUp, username, email, from: peer.origin };
        code::demand(context, mailer, needed, request.code.as_deref()).await?;
    }
    let password_hash = sealed_hash(context, Purpose::PasswordHash, username, request.password_secret).await?;
    let recovery_hash = sealed_hash(context, Purpose::RecoveryHash, username, request.recovery_secret).await?;
    let full_name = full_name.map(|name| key.seal(Purpose::FullName, username, name.as_bytes()));
    let email = email.map(|email| {
        let sealed = key.seal(Purpose::Email, username, email.as_bytes())?;
        Ok::<_, Failure>(SealedEmail { lookup: key.email_lookup(&email), sealed })
    });
    let device = request.device.id;
    let seat = context.limiter.sessions.sit(&rules.sessions, device, None, peer.origin)?;
    let account = NewAccount {
        full_name: full_name.transpose()?,
        email: email.transpose()?,
        kdf: request.kdf,
        password_hash,
        recovery_hash,
        sealed: sealed_vault(key, username, [&request.vault, &request.password_wrap, &request.recovery_wrap])?,
        username: request.username,
        identity_key: request.identity_key.0,
        backup_key: request.backup_key.0,
        device_list: request.device_list.0,
        device: request.device,
        invite,
        now_ms: now_ms(),
    };
    match context.store.create_account(account).await? {
        SignUpOutcome::Created(account) => {
            Ok(SignedIn { device: Device { id: device, account }, seat: seat.of(account) })
        }
        SignUpOutcome::UsernameTaken => Err(ErrorCode::UsernameTaken.into()),
        SignUpOutcome::DeviceExists => Err(ErrorCode::BadRequest.into()),
        SignUpOutcome::BadInvite => Err(ErrorCode::BadInvite.into()),
    }
}

/// How an account derives its secrets, or a stable fake.
pub(crate) async fn login_parameters(context: &Context, peer: &Peer, username: Username) -> Result<Response, Failure> {
    context.limiter.probe(&context.current().rules.limits, peer.origin)?;
    let fake = || {
        let (memory_kib, iterations, parallelism) = DEFAULT_KDF;
        let salt = context.data_key.fake_salt(&username).to_vec().into();
        KdfParameters { salt, memory_kib, iterations, parallelism }
    };
    let fake = fake();
    let kdf = context.store.login_record(&username).await?.map_or(fake, |record| record.kdf);
    Ok(Response::LoginParameters(LoginParameters { kdf }))
}

/// Checks an auth secret, unless too many were wrong lately; gives the vault with the wrap that belongs to it.
pub(crate) async fn login(context: &Context, peer: &Peer, login: Login) -> Result<(AccountProven, Vault), Failure> {
    let Login { username, authenticator, .. } = &login;
    // A recovery code has so many bits that trying is hopeless: its owner gets in whoever fails at the password.
    let guessable = matches!(authenticator, Authenticator::Password(_)).then_some(username);
    let attempt = context.limiter.login(&context.current().rules.limits, peer.origin, guessable)?;
    let proven = prove(context, peer, login).await;
    if !matches!(&proven, Err(Failure::Refused(refusal)) if refusal.code == ErrorCode::BadCredentials) {
        attempt.forgive();
    }
    proven
}

/// What a `Login` says.
pub(crate) struct Login {
    pub(crate) username: Username,
    pub(crate) authenticator: Authenticator,
    pub(crate) code: Option<String>,
    pub(crate) device: Option<DeviceProof>,
}

async fn prove(context: &Context, peer: &Peer, login: Login) -> Result<(AccountProven, Vault), Failure> {
    let Login { username, authenticator, code, device } = login;
    let record = context.store.login_record(&username).await?;
    let key = &context.data_key;
    let (secret, hash, wrap) = match authenticator {
        Authenticator::Password(secret) => (secret, Purpose::PasswordHash, Purpose::PasswordWrap),
        Authenticator::Recovery(secret) => (secret, Purpose::RecoveryHash, Purpose::RecoveryWrap),
    };
    let opened = match (&record, hash) {
        (Some(record), Purpose::PasswordHash) => key.open(hash, &username, &record.password_hash)?,
        (Some(record), _) => key.open(hash, &username, &record.recovery_hash)?,
        (None, _) => context.decoy.open(key)?,
    };
    let opened = String::from_utf8(opened).map_err(|_| StoreError::Inconsistent("account"))?;
    let proven = context.passwords.verify(secret, &opened).await?;
    let Some(record) = record.filter(|_| proven) else { return Err(ErrorCode::BadCredentials.into()) };
    if record.disabled {
        return Err(ErrorCode::AccountDisabled.into());
    }
    // Where a password is not enough for a new device it opens no vault either. An enrolled device has shown more than
    // a mailbox could, and so has the recovery code.
    let current = context.current();
    if let (Some(mailer), Some(sealed), Purpose::PasswordHash) =
        (code::mailer(&current.rules, CodePurpose::LogIn), &record.email, hash)
        && !enrolled(context, peer, device, record.account).await?
    {
        let email = String::from_utf8(key.open(Purpose::Email, &username, sealed)?);
        let email = email.map_err(|_| StoreError::Inconsistent("account"))?;
        let needed =
            code::Needed { purpose: CodePurpose::LogIn, username: &username, email: &email, from: peer.origin };
        code::demand(context, mailer, needed, code.as_deref()).await?;
    }
    let sealed_wrap = match wrap {
        Purpose::PasswordWrap => &record.sealed.password_wrap,
        _ => &record.sealed.recovery_wrap,
    };
    let vault = Vault {
        vault: key.open(Purpose::Vault, &username, &record.sealed.vault)?.into(),
        wrap: key.open(wrap, &username, sealed_wrap)?.into(),
        account: record.record,
    };
    Ok((AccountProven { account: record.account, username }, vault))
}

/// Whether one of the account's devices has signed on this connection.
async fn enrolled(
    context: &Context,
    peer: &Peer,
    proof: Option<DeviceProof>,
    account: AccountId,
) -> Result<bool, Failure> {
    let Some(DeviceProof { device, signature }) = proof else { return Ok(false) };
    let row = authentication::prove(context, peer, device, &signature.0).await?;
    Ok(row.is_some_and(|row| row.account == account))
}

/// The version of the list in whose place one of this version comes.
fn followed(version: u64, follows: Option<u64>) -> Result<u64, Failure> {
    follows.or(version.checked_sub(1)).ok_or_else(|| ErrorCode::DeviceListConflict.into())
}

/// Adds a device to the account that was proven. The one that it replaces is signed out before this is answered.
pub(crate) async fn enrol_device(
    context: &Context,
    peer: &Peer,
    proven: &AccountProven,
    request: EnrolDevice,
) -> Result<SignedIn, Failure> {
    let (account, device) = (proven.account, request.device.id);
    let rules = &context.current().rules.sessions;
    let seat = context.limiter.sessions.sit(rules, device, Some(account), peer.origin)?;
    let EnrolDevice { device: new, version, device_list, replaces, follows } = request;
    let follows = followed(version, follows)?;
    let device_list = device_list.0;
    let enrolment = Enrolment { account, device: new, version, follows, device_list, replaces, now_ms: now_ms() };
    match context.store.enrol_device(enrolment).await? {
        EnrolOutcome::Enrolled => {
            context.hub.sign_out(replaces.as_slice());
            Ok(SignedIn { device: Device { id: device, account }, seat })
        }
        EnrolOutcome::Conflict => Err(ErrorCode::DeviceListConflict.into()),
        EnrolOutcome::UnknownDevice => Err(ErrorCode::BadRequest.into()),
    }
}

/// Changes the account that was proven. The devices that it removes are signed out before this is answered.
pub(crate) async fn revise(
    context: &Context,
    proven: &AccountProven,
    request: ReviseAccount,
) -> Result<Response, Failure> {
    let ReviseAccount { version, device_list, removed, credentials, identity, follows } = request;
    let follows = followed(version, follows)?;
    let username = &proven.username;
    let credentials = match credentials {
        None => None,
        Some(new) if !sane(&new.kdf) => return Err(ErrorCode::BadRequest.into()),
        Some(new) => Some(RevisedCredentials {
            password_hash: sealed_hash(context, Purpose::PasswordHash, username, new.password_secret).await?,
            recovery_hash: match new.recovery_secret {
                Some(secret) => Some(sealed_hash(context, Purpose::RecoveryHash, username, secret).await?),
                None => None,
            },
            sealed: sealed_vault(&context.data_key, username, [&new.vault, &new.password_wrap, &new.recovery_wrap])?,
            kdf: new.kdf,
        }),
    };
    let revision = AccountRevision {
        account: proven.account,
        version,
        follows,
        device_list: device_list.0,
        removed: removed.clone(),
        credentials,
        identity,
        now_ms: now_ms(),
    };
    match context.store.revise_account(revision).await? {
        ReviseOutcome::Revised => {
            context.hub.sign_out(&removed);
            Ok(Response::Done)
        }
        ReviseOutcome::Conflict => Err(ErrorCode::DeviceListConflict.into()),
        ReviseOutcome::UnknownDevice => Err(ErrorCode::BadRequest.into()),
    }
}

/// Deletes the account that was proven, and ends its connections.
pub(crate) async fn delete(context: &Context, proven: AccountProven) -> Result<Response, Failure> {
    let devices = context.store.delete_account(proven.account, now_ms()).await?;
    context.hub.sign_out(&devices.unwrap_or_default());
    if let Err(error) = context.attachments.sweep(&context.store).await {
        // They are nobody's any more; the next sweep deletes them.
        tracing::error!(%error, "could not delete an account's attachments");
    }
    tracing::info!("an account was deleted by its owner");
    Ok(Response::Done)
}

/// The account's own devices.
pub(super) async fn devices(store: &dyn Store, device: Device) -> Result<Response, Failure> {
    let devices = store.devices(device.account).await?;
    let seen = |one: DeviceSummary| DeviceSeen { device: one.device, day: one.seen_day };
    Ok(Response::Devices(devices.into_iter().map(seen).collect()))
}

/// An account's public record.
pub(super) async fn account(store: &dyn Store, username: Username) -> Result<Response, Failure> {
    let record = store.account(&username).await?;
    record.map(Response::Account).ok_or_else(|| ErrorCode::UnknownAccount.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_costs_are_refused_and_the_usual_one_is_not() {
        let kdf = |memory_kib, iterations, parallelism| KdfParameters {
            salt: vec![0; 16].into(),
            memory_kib,
            iterations,
            parallelism,
        };
        let (memory, passes, lanes) = DEFAULT_KDF;
        assert!(sane(&kdf(memory, passes, lanes)));
        for absurd in
            [kdf(8, 3, 4), kdf(u32::MAX, 3, 4), kdf(memory, 0, 4), kdf(memory, u32::MAX, 4), kdf(memory, 3, 0)]
        {
            assert!(!sane(&absurd), "{absurd:?}");
        }
    }
}
