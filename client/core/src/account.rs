//! Signing up and logging in: what makes a profile. Both build it in a workshop folder, so that a killed one leaves none.

pub(crate) mod enrolment;

pub use enrolment::default_device_name;

use crate::{
    Error, ProfilePath, Remembered, backup,
    engine::settings,
    key_packages,
    owner::{NewPassword, Owner, Proof, Revision, Second},
    random, store,
    transport::{CallError, Connection, unexpected},
};
use enrolment::{FreshDevice, NewDeviceOf, furnish, store_device};
use std::time::{Duration, Instant, SystemTime};
use waxwing_e2ee::account::{
    self, AccountError, AccountKey, AccountKeys, AccountSecrets, DeviceList, KdfParameters, ListedDevice, RecoveryCode,
    RecoveryCodeError,
};
use waxwing_protocol::{self as wire, Bytes, ErrorCode, Link, Request, Secret, SignUpPolicy, Username, limits};
use zeroize::Zeroizing;

/// What lets a new account in. An invite in the link counts where this is `Open`.
#[derive(Clone)]
pub enum Admission {
    /// Nothing.
    Open,
    /// An invite code.
    Invite(String),
    /// The server's sign-up secret.
    Secret(Zeroizing<String>),
}

/// A wanted account.
#[derive(Clone)]
pub struct SignUp {
    /// The server.
    pub link: Link,
    /// The wanted name.
    pub username: String,
    /// Told to those one writes with (end to end) and to the server's operator.
    pub full_name: Option<String>,
    /// Told to the server's operator only.
    pub email: Option<String>,
    /// The password.
    pub password: Zeroizing<String>,
    /// What lets the account in.
    pub admission: Admission,
    /// The one-time code, where the server has sent one.
    pub code: Option<String>,
    /// What the account's other devices will call this one; none: the machine's name.
    pub device_name: Option<String>,
    /// Whether to stay logged in on this device.
    pub remember: bool,
    /// Whether strangers' messages come without being accepted, as a program's account wants it.
    pub accept_strangers: bool,
}

/// A new account.
pub struct SignedUp {
    /// Its name.
    pub username: String,
    /// This device, 32 hexadecimal digits.
    pub device: String,
    /// To be shown once and kept by the user: it is stored nowhere.
    pub recovery_code: Zeroizing<String>,
    /// Where the local key is kept.
    pub remembered: Remembered,
}

/// An account to log in to from a new device.
#[derive(Clone)]
pub struct LogIn {
    /// The server.
    pub link: Link,
    /// The account.
    pub username: String,
    /// Its password.
    pub password: Zeroizing<String>,
    /// The one-time code, where the server has sent one.
    pub code: Option<String>,
    /// What the account's other devices call this one; none: the machine's name.
    pub device_name: Option<String>,
    /// Whether to stay logged in on this device.
    pub remember: bool,
}

/// An account whose password is lost.
#[derive(Clone)]
pub struct Recover {
    /// The server.
    pub link: Link,
    /// The account.
    pub username: String,
    /// The recovery code, as the user typed it.
    pub code: Zeroizing<String>,
    /// The password from now on.
    pub new_password: Zeroizing<String>,
    /// As in [`LogIn`].
    pub device_name: Option<String>,
    /// Whether to stay logged in on this device.
    pub remember: bool,
}

/// An account that was recovered.
pub struct Recovered {
    /// The new code, in place of the one that was used: to be shown whatever else failed.
    pub recovery_code: Zeroizing<String>,
    /// This device, or why it is none: then `waxwing login` with the new password makes it one.
    pub device: Result<LoggedIn, Error>,
}

/// A new device.
pub struct LoggedIn {
    /// The account.
    pub username: String,
    /// This device, 32 hexadecimal digits.
    pub device: String,
    /// Where the local key is kept.
    pub remembered: Remembered,
}

/// What a sign-up or log-in is doing, for a spinner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reaching the server.
    Connecting,
    /// Stretching the password (Argon2id).
    DerivingKeys,
    /// Making the RSA keys.
    MakingKeys,
    /// The server stores the account.
    CreatingAccount,
    /// Opening the private keys with the password.
    OpeningVault,
    /// The server changes the account.
    RevisingAccount,
    /// The server stores the device.
    EnrollingDevice,
    /// Writing the profile.
    Storing,
}

/// What a server said to [`ping`].
#[derive(Clone, Debug)]
pub struct Pong {
    /// The address that answered.
    pub address: String,
    /// The way to it: `direct` or `websocket`.
    pub via: &'static str,
    /// From request to answer, on the open connection.
    pub round_trip: Duration,
    /// The protocol's version.
    pub version: u16,
    /// Who may sign up: `open`, `invite`, `secret` or `closed`.
    pub sign_up: &'static str,
}

/// The canonical (lower-case) form of a username.
pub fn check_username(name: &str) -> Result<String, Error> {
    username(name).map(|name| name.to_string())
}

/// Whether a password is hard enough to guess, given what a guesser knows of the user.
pub fn check_password(password: &str, user_inputs: &[&str]) -> Result<(), Error> {
    account::check_strength(password, user_inputs).map_err(|weak| Error::WeakPassword(weak.hint))
}

/// Reaches a server and proves its key.
pub async fn ping(link: &Link) -> Result<Pong, Error> {
    let (connection, _events) = Connection::open(link, None).await?;
    let started = Instant::now();
    connection.call(Request::Ping).await.map_err(CallError::into_error)?;
    Ok(Pong {
        address: connection.address.clone(),
        via: connection.door.name(),
        round_trip: started.elapsed(),
        version: connection.greeting.version,
        sign_up: match connection.greeting.sign_up {
            SignUpPolicy::Invite => "invite",
            SignUpPolicy::Open => "open",
            SignUpPolicy::Secret => "secret",
            SignUpPolicy::Closed => "closed",
        },
    })
}

/// Makes an account and its first device.
pub async fn sign_up(
    profile: &ProfilePath,
    request: SignUp,
    on_step: &(dyn Fn(Step) + Send + Sync),
) -> Result<SignedUp, Error> {
    let name = username(&request.username)?;
    check_line("full name", request.full_name.as_deref())?;
    check_line("e-mail address", request.email.as_deref())?;
    let known = [Some(name.as_str()), request.full_name.as_deref(), request.email.as_deref()];
    check_password(&request.password, &known.into_iter().flatten().collect::<Vec<_>>())?;
    let (workshop, _lock) = profile.workshop()?;

    on_step(Step::Connecting);
    let (connection, _events) = Connection::open(&request.link, None).await?;
    let admission = admission(&request, connection.greeting.sign_up)?;

    on_step(Step::DerivingKeys);
    let kdf = KdfParameters::recommended(&mut random());
    let secrets = derive(&request.password, &kdf, &connection, &name).await?;
    on_step(Step::MakingKeys);
    let keys = blocking(|| AccountKeys::generate(&mut random())).await?;
    let recovery_code = RecoveryCode::generate(&mut random());
    let recovery = recovery_code.secrets(&connection.key.origin.0, name.as_str());
    let vault = keys.seal(name.as_str(), &secrets, Some(&recovery), &mut random()).map_err(account_error)?;

    let device = FreshDevice::generate()?;
    let list = DeviceList::first(name.as_str(), device.listed(&keys.account_key(), request.device_name.as_deref()))
        .sign(&keys.identity, &mut random());

    on_step(Step::Storing);
    let own = device.own(&name, &request.link, request.full_name.clone(), &keys, list.clone(), &connection);
    let (mut db, remembered) = furnish(&workshop, profile, &request.password, request.remember).await?;
    let packages = store_device(&mut db, &own, &device)?;
    store::in_transaction(&mut db, |tx| {
        store::groups::set_default_room_due(tx, true)?;
        if !request.accept_strangers {
            store::settings::set(tx, settings::REQUESTS, settings::ON, now_ms())?;
        }
        backup::begin(tx, &keys)
    })?;

    on_step(Step::CreatingAccount);
    let creation = Request::SignUp(Box::new(wire::SignUp {
        username: name.clone(),
        admission,
        full_name: request.full_name.clone(),
        email: request.email.clone(),
        kdf: wire::KdfParameters {
            salt: kdf.salt.to_vec().into(),
            memory_kib: kdf.memory_kib,
            iterations: kdf.iterations,
            parallelism: kdf.parallelism,
        },
        password_secret: Secret(*secrets.auth),
        recovery_secret: Secret(*recovery.auth),
        vault: vault.vault.into(),
        password_wrap: vault.password_wrap.into(),
        recovery_wrap: vault.recovery_wrap.into(),
        identity_key: keys.identity.public().to_der().into(),
        backup_key: keys.backup.public().to_der().into(),
        device_list: list.into(),
        device: device.public(),
        code: request.code.clone(),
    }));
    connection.call(creation).await.map_err(|error| sign_up_error(error, name.as_str()))?;
    // Should this fail, the first connection does it.
    let _ = key_packages::publish(&connection, packages).await;
    let _ = backup::store_first(&connection, &mut db, &own).await;
    drop(db);
    profile.take(&workshop)?;
    Ok(SignedUp {
        username: name.to_string(),
        device: device.id.to_string(),
        recovery_code: Zeroizing::new(recovery_code.to_string()),
        remembered,
    })
}

/// Makes this profile a new device of an account.
pub async fn log_in(
    profile: &ProfilePath,
    request: LogIn,
    on_step: &(dyn Fn(Step) + Send + Sync),
) -> Result<LoggedIn, Error> {
    let name = username(&request.username)?;
    let (workshop, _lock) = profile.workshop()?;
    let proof = Proof::Password { password: request.password.clone(), second: Second::Code(request.code.clone()) };
    let owner = Owner::prove(&request.link, &name, &proof, on_step).await?;
    let new = NewDeviceOf { workshop: &workshop, home: profile, link: &request.link, password: &request.password };
    new.enrol(owner, request.device_name.as_deref(), request.remember, on_step).await
}

/// Makes this profile a new device of an account whose password is lost: with the recovery code, for a new password and
/// a new code.
pub async fn recover(
    profile: &ProfilePath,
    request: Recover,
    on_step: &(dyn Fn(Step) + Send + Sync),
) -> Result<Recovered, Error> {
    let name = username(&request.username)?;
    check_password(&request.new_password, &[name.as_str()])?;
    let code = parse_code(&request.code)?;
    let (workshop, _lock) = profile.workshop()?;
    let keep = |devices: &[ListedDevice], _: &AccountKey| Ok(devices.to_vec());
    let password = NewPassword { password: request.new_password.clone(), replace_code: true };
    let revision = Revision { devices: &keep, password: Some(password), rotate: false, known: None };
    let proof = Proof::Recovery(code);
    let (owner, revised) = Owner::revise(&request.link, &name, &proof, &revision, on_step).await?;
    // From here on the old code opens nothing: whatever happens, the user must get the new one.
    let recovery_code = revised.recovery_code.ok_or(Error::Closed)?;
    let new = NewDeviceOf { workshop: &workshop, home: profile, link: &request.link, password: &request.new_password };
    let device = new.enrol(owner, request.device_name.as_deref(), request.remember, on_step).await;
    Ok(Recovered { recovery_code, device })
}

/// Whether this is a recovery code: mistypings are found out here, before anything is sent.
pub fn check_recovery_code(text: &str) -> Result<(), Error> {
    parse_code(text).map(drop)
}

/// Reads a recovery code; mistypings are found here, before anything is sent.
pub(crate) fn parse_code(text: &str) -> Result<RecoveryCode, Error> {
    text.parse().map_err(|error: RecoveryCodeError| Error::MistypedRecoveryCode(error.to_string()))
}

pub(crate) async fn derive(
    password: &Zeroizing<String>,
    kdf: &KdfParameters,
    connection: &Connection,
    name: &Username,
) -> Result<AccountSecrets, Error> {
    let (password, kdf, pin, name) = (password.clone(), *kdf, connection.key.origin.0, name.to_string());
    blocking(move || account::derive_password(&password, &kdf, &pin, &name)).await?.map_err(account_error)
}

/// Runs what keeps a core busy for long off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Closed)
}

pub(crate) fn kdf_parameters(wire: &wire::KdfParameters) -> Result<KdfParameters, Error> {
    let salt: [u8; 16] = wire.salt.0.as_slice().try_into().map_err(|_| unexpected())?;
    let kdf =
        KdfParameters { salt, memory_kib: wire.memory_kib, iterations: wire.iterations, parallelism: wire.parallelism };
    // Before any memory is taken or anything is derived.
    kdf.check().map_err(|refused| Error::ServerMisbehaves(refused.to_string()))?;
    Ok(kdf)
}

fn admission(request: &SignUp, policy: SignUpPolicy) -> Result<wire::Admission, Error> {
    let refused = |text: &str| Err(Error::SignUpRefused(text.into()));
    let invite = request.link.invite.clone();
    match (&request.admission, policy) {
        (_, SignUpPolicy::Closed) => refused(&ErrorCode::SignUpClosed.to_string()),
        (Admission::Secret(secret), SignUpPolicy::Secret) => Ok(wire::Admission::Secret(secret.to_string())),
        (_, SignUpPolicy::Secret) => refused("this server asks for its sign-up secret"),
        (Admission::Invite(code), SignUpPolicy::Invite) => Ok(wire::Admission::Invite(code.clone())),
        (_, SignUpPolicy::Invite) => match invite {
            Some(code) => Ok(wire::Admission::Invite(code)),
            None => refused("this server asks for an invite code"),
        },
        (_, SignUpPolicy::Open) => Ok(wire::Admission::Open),
    }
}

fn sign_up_error(error: CallError, name: &str) -> Error {
    match error {
        CallError::Refused(refusal) => match refusal.code {
            ErrorCode::UsernameTaken => Error::UsernameTaken(name.to_owned()),
            ErrorCode::UsernameReserved => {
                let reason = "it is reserved on this server".to_owned();
                Error::BadUsername { name: name.to_owned(), reason }
            }
            ErrorCode::UsernameLength => {
                let bound = refusal.number.unwrap_or_default();
                let which = if bound > name.len() as u64 { "at least" } else { "at most" };
                let reason = format!("on this server it needs {which} {bound} characters");
                Error::BadUsername { name: name.to_owned(), reason }
            }
            ErrorCode::SignUpClosed | ErrorCode::BadInvite | ErrorCode::BadSignUpSecret => {
                Error::SignUpRefused(refusal.to_string())
            }
            _ => CallError::Refused(refusal).into_error(),
        },
        lost => lost.into_error(),
    }
}

pub(crate) fn account_error(error: AccountError) -> Error {
    match error {
        AccountError::Kdf(refused) => Error::ServerMisbehaves(refused.to_string()),
        AccountError::Locked => Error::BadCredentials,
        AccountError::NoRecoveryCode | AccountError::OutOfMemory => Error::Storage(error.to_string()),
    }
}

pub(crate) fn username(name: &str) -> Result<Username, Error> {
    name.parse().map_err(|reason: wire::UsernameError| Error::BadUsername {
        name: name.chars().take(64).collect(),
        reason: reason.to_string(),
    })
}

pub(crate) fn check_line(what: &str, text: Option<&str>) -> Result<(), Error> {
    match text {
        Some(text) if text.len() > limits::SHORT_TEXT => {
            Err(Error::BadInput(format!("the {what} is too long: at most {} bytes are possible", limits::SHORT_TEXT)))
        }
        Some(text) if text.chars().any(char::is_control) => {
            Err(Error::BadInput(format!("the {what} has line breaks or control characters")))
        }
        _ => Ok(()),
    }
}

pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Wire bytes of something optional.
pub(crate) fn bytes(all: Vec<Vec<u8>>) -> Vec<Bytes> {
    all.into_iter().map(Bytes).collect()
}
