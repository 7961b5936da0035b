//! The account and its devices: `login`, `devices`, `devices.rename`, `devices.revoke`, `devices.repair`, `password.change`, `identity.rotate`,
//! `account.delete`. All that change something take the password.

use super::{Context, Method, Nothing, Secret};
use crate::{Failure, output::rfc3339, prompt::words};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::{Device, Error, Step};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A device of this account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct DeviceObject {
    /// 32 hexadecimal digits.
    pub(crate) id: String,
    /// What its owner calls it. Never hand it to a terminal as it is.
    pub(crate) name: Option<String>,
    /// Since when it is a device of the account (RFC 3339, UTC).
    pub(crate) since: String,
    /// Whether it is the one that answers.
    pub(crate) this: bool,
    /// Whether the server knows it; null if it was not asked. It signs devices out that were silent for long.
    #[serde(default)]
    pub(crate) signed_in: Option<bool>,
    /// The last day on which it was connected, such as 2026-11-20 (UTC); null if that is not known.
    #[serde(default)]
    pub(crate) seen_on: Option<String>,
}

impl From<Device> for DeviceObject {
    fn from(device: Device) -> Self {
        let Device { id, name, since, this, signed_in, seen_day } = device;
        let day = |day: u32| rfc3339(u64::from(day) * DAY_MS).get(..10).map(str::to_owned);
        Self { id, name, since: rfc3339(since), this, signed_in, seen_on: seen_day.and_then(day) }
    }
}

/// Devices, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct DevicesObject {
    /// The devices.
    pub(crate) devices: Vec<DeviceObject>,
}

impl From<Vec<Device>> for DevicesObject {
    fn from(devices: Vec<Device>) -> Self {
        Self { devices: devices.into_iter().map(DeviceObject::from).collect() }
    }
}

/// `devices`
pub(crate) struct Devices;

impl Method for Devices {
    const NAME: &'static str = "devices";
    const SUMMARY: &'static str = "The account's devices, and when the server saw each";
    type Params = Nothing;
    type Result = DevicesObject;

    async fn run(context: &Context, _: Nothing) -> Result<DevicesObject, Failure> {
        Ok(context.client.devices().await?.into())
    }
}

/// `devices.rename`
pub(crate) struct RenameDevice;

/// Which device, and its new name.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenameParams {
    /// Its id, the beginning of it (4 digits at least), or its name.
    pub(crate) device: String,
    /// The new name: 1 to 64 bytes.
    pub(crate) name: String,
    /// The account's password.
    pub(crate) password: Secret,
}

impl Method for RenameDevice {
    const NAME: &'static str = "devices.rename";
    const SUMMARY: &'static str = "Gives a device another name, which only the account's own devices can read";
    type Params = RenameParams;
    type Result = DeviceObject;

    async fn run(context: &Context, params: RenameParams) -> Result<DeviceObject, Failure> {
        let on_step = |step| tell(context, step);
        let device = context.client.rename_device(&params.device, &params.name, params.password.reveal(), &on_step);
        Ok(device.await?.into())
    }
}

/// `devices.revoke`
pub(crate) struct RevokeDevices;

/// Which devices to sign out for good.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokeParams {
    /// Ids, beginnings of them (4 digits at least), or names.
    pub(crate) devices: Vec<String>,
    /// Whether somebody else may have one of them: identity, backup key and vault are renewed, too.
    #[serde(default)]
    pub(crate) lost: bool,
    /// The account's password.
    pub(crate) password: Secret,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RevokedObject {
    /// The devices that are signed out.
    pub(crate) revoked: Vec<DeviceObject>,
    /// Whether the identity was renewed.
    pub(crate) identity_renewed: bool,
    /// Whether they are out of every chat already. If not, this device takes them out before anything more is sent there.
    pub(crate) out_of_all_chats: bool,
}

impl Method for RevokeDevices {
    const NAME: &'static str = "devices.revoke";
    const SUMMARY: &'static str = "Signs devices out for good and takes them out of every chat";
    type Params = RevokeParams;
    type Result = RevokedObject;

    async fn run(context: &Context, params: RevokeParams) -> Result<RevokedObject, Failure> {
        let on_step = |step| tell(context, step);
        let password = params.password.reveal();
        let revoked = context.client.revoke_devices(&params.devices, params.lost, password, &on_step).await?;
        context.progress("taking them out of the chats", 0, None);
        Ok(RevokedObject {
            revoked: revoked.devices.into_iter().map(DeviceObject::from).collect(),
            identity_renewed: revoked.identity_renewed,
            out_of_all_chats: context.client.settled(SETTLING).await.is_ok(),
        })
    }
}

/// `password.change`
pub(crate) struct ChangePassword;

/// The old and the new password.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangePasswordParams {
    /// The password as it is.
    pub(crate) password: Secret,
    /// The password as it shall be.
    pub(crate) new_password: Secret,
    /// Whether all other devices are signed out for good.
    #[serde(default)]
    pub(crate) sign_out_others: bool,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct PasswordChangedObject {
    /// The devices that were signed out.
    pub(crate) signed_out: Vec<DeviceObject>,
    /// Whether they are out of every chat already.
    pub(crate) out_of_all_chats: bool,
}

impl Method for ChangePassword {
    const NAME: &'static str = "password.change";
    const SUMMARY: &'static str = "Changes the account's password, and this device's";
    type Params = ChangePasswordParams;
    type Result = PasswordChangedObject;

    async fn run(context: &Context, params: ChangePasswordParams) -> Result<PasswordChangedObject, Failure> {
        let on_step = |step| tell(context, step);
        let (old, new) = (params.password.reveal(), params.new_password.reveal());
        let signed_out = context.client.change_password(old, new, params.sign_out_others, &on_step).await?;
        let out_of_all_chats = signed_out.is_empty() || context.client.settled(SETTLING).await.is_ok();
        let signed_out = signed_out.into_iter().map(DeviceObject::from).collect();
        Ok(PasswordChangedObject { signed_out, out_of_all_chats })
    }
}

/// The password, to prove that the owner asks.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnerParams {
    /// The account's password.
    pub(crate) password: Secret,
}

/// `devices.repair`
pub(crate) struct RepairDevices;

impl Method for RepairDevices {
    const NAME: &'static str = "devices.repair";
    const SUMMARY: &'static str =
        "Signs the devices again as this one knows them, where a restored server has forgotten some";
    type Params = OwnerParams;
    type Result = DevicesObject;

    async fn run(context: &Context, params: OwnerParams) -> Result<DevicesObject, Failure> {
        let on_step = |step| tell(context, step);
        Ok(context.client.repair_devices(params.password.reveal(), &on_step).await?.into())
    }
}

/// `identity.rotate`
pub(crate) struct RotateIdentity;

/// The new identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RotatedObject {
    /// SHA-256 of the new identity key, 64 hexadecimal digits.
    pub(crate) identity: String,
}

impl Method for RotateIdentity {
    const NAME: &'static str = "identity.rotate";
    const SUMMARY: &'static str = "Makes new keys for the account, which the old identity vouches for";
    type Params = OwnerParams;
    type Result = RotatedObject;

    async fn run(context: &Context, params: OwnerParams) -> Result<RotatedObject, Failure> {
        let on_step = |step| tell(context, step);
        let identity = context.client.rotate_identity(params.password.reveal(), &on_step).await?;
        // The chats learn it as they can; nothing is held meanwhile.
        let _ = context.client.settled(SETTLING).await;
        Ok(RotatedObject { identity })
    }
}

/// `login`
pub(crate) struct LogInAgain;

/// Who logs in.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogInParams {
    /// The username of this profile.
    pub(crate) username: String,
    /// The account's password.
    pub(crate) password: Secret,
}

/// The device that the profile is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LoggedInAgainObject {
    /// The username.
    pub(crate) username: String,
    /// 32 hexadecimal digits.
    pub(crate) device: String,
}

impl Method for LogInAgain {
    const NAME: &'static str = "login";
    const SUMMARY: &'static str =
        "Makes a profile that is signed out, or an old copy of itself, a new device of its account";
    type Params = LogInParams;
    type Result = LoggedInAgainObject;

    async fn run(context: &Context, params: LogInParams) -> Result<LoggedInAgainObject, Failure> {
        let exists = || Failure::from(Error::ProfileExists(context.profile.name().to_owned()));
        let before = context.client.whoami().await?;
        if before.username != params.username {
            return Err(exists());
        }
        context.client.go_online();
        let after = match context.client.caught_up(SETTLING).await {
            // It has mended itself, with the password that opened it.
            Ok(()) => context.client.whoami().await?,
            Err(Error::OldCopy | Error::SignedOut) => context.client.log_in_again(params.password.reveal()).await?,
            Err(error) => return Err(error.into()),
        };
        match after.device == before.device {
            true => Err(exists()),
            false => Ok(LoggedInAgainObject { username: after.username, device: after.device }),
        }
    }
}

/// `account.delete`
pub(crate) struct DeleteAccount;

impl Method for DeleteAccount {
    const NAME: &'static str = "account.delete";
    const SUMMARY: &'static str = "Deletes the account on the server, for good; this device keeps its history";
    type Params = OwnerParams;
    type Result = Nothing;

    async fn run(context: &Context, params: OwnerParams) -> Result<Nothing, Failure> {
        let on_step = |step| tell(context, step);
        context.client.delete_account(params.password.reveal(), &on_step).await?;
        Ok(Nothing {})
    }
}

/// How long a command waits for the chats to follow a change of the account.
const SETTLING: std::time::Duration = std::time::Duration::from_secs(20);

fn tell(context: &Context, step: Step) {
    context.progress(words(step), 0, None);
}
