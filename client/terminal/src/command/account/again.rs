//! `login` on a profile that exists: one that is signed out, or an old copy of itself, becomes a new device; one that is
//! damaged is kept aside, so that a login can take its place. Any other stays as it is.

use crate::{
    Failure,
    cli::Options,
    command::backup,
    password, prompt,
    rpc::{
        Backend, Purpose,
        account::{LogInAgain, LogInParams},
    },
};
use std::path::PathBuf;
use waxwing_core::{Client, Error, ProfilePath, Remembered, Unlock, Zeroizing};

/// What became of the profile.
pub(super) enum Outcome {
    /// It is a new device.
    NewDevice(NewDevice),
    /// It cannot be read, and is in this folder now.
    Damaged(PathBuf),
}

/// A profile that is a new device.
pub(super) struct NewDevice {
    pub(super) id: String,
    pub(super) remembered: Remembered,
    /// None where another process holds the profile, and restores the backup.
    pub(super) restored: Option<backup::Restored>,
}

pub(super) async fn log_in(
    options: &Options,
    profile: &ProfilePath,
    username: &str,
    password: &Zeroizing<String>,
) -> Result<Outcome, Failure> {
    let params = LogInParams { username: username.to_owned(), password: password.clone().into() };
    if let Some(holder) = Backend::find(profile).await? {
        let id = holder.call::<LogInAgain>(params).await?.device;
        return Ok(Outcome::NewDevice(NewDevice { id, remembered: profile.remembering(), restored: None }));
    }
    let client = match open(options, profile, password).await {
        Err(Failure::Core(Error::Damaged(_))) => return Ok(Outcome::Damaged(profile.set_aside()?)),
        opened => opened?,
    };
    let backend = Backend::own(profile, client, None, Purpose::Once);
    let id = match backend.call::<LogInAgain>(params).await {
        Ok(device) => device.device,
        Err(failure) => return backend.finish(Err(failure)).await,
    };
    let restored = Some(backup::restore_with(backend, !options.json).await);
    Ok(Outcome::NewDevice(NewDevice { id, remembered: profile.remembering(), restored }))
}

/// Opens the profile once all of it was read. Its own password may be an older one of the account.
async fn open(options: &Options, profile: &ProfilePath, password: &Zeroizing<String>) -> Result<Client, Failure> {
    let mut unlock = match profile.needs_password() {
        true => Unlock::Password(password.clone()),
        false => Unlock::Remembered,
    };
    match Client::examine(profile, unlock.clone()).await {
        Err(Error::Locked) => {
            unlock = Unlock::Password(password.clone());
            Client::examine(profile, unlock.clone()).await?;
        }
        Err(Error::WrongPassword) if options.password_file.is_none() && prompt::is_possible() => {
            let question = "The password that this profile was locked with (perhaps an older one)";
            unlock = Unlock::Password(password::existing(None, options.json, question).await?);
            Client::examine(profile, unlock.clone()).await?;
        }
        examined => examined?,
    }
    Ok(Client::open(profile, unlock).await?)
}
