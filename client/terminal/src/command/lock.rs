//! `lock` and `unlock`: whether the profile opens without its password.

use crate::{
    Failure,
    cli::{Options, Remember},
    command::account::stay_logged_in,
    output::{self, print, print_json},
    password,
    rpc::{
        Backend, Nothing,
        profile::{Lock, LockObject},
    },
};
use serde::Serialize;
use waxwing_core::{Error, ProfilePath};

pub(crate) async fn lock(options: &Options) -> Result<(), Failure> {
    let profile = existing(options)?;
    // First, so that nobody opens the profile with it while its holder is being found.
    let forgotten = profile.forget();
    let held = match Backend::find(&profile).await? {
        None => Ok(LockObject { forgotten: false }),
        Some(holder) => holder.call::<Lock>(Nothing {}).await,
    };
    let locked = LockObject { forgotten: forgotten? | held?.forgotten };
    if options.json {
        print_json(&locked)?;
    } else {
        print("Locked: only the password opens this profile now.")?;
    }
    Ok(())
}

#[derive(Serialize)]
struct UnlockObject {
    remembered: &'static str,
}

pub(crate) async fn unlock(options: &Options, remember: Remember) -> Result<(), Failure> {
    let profile = existing(options)?;
    let remember = stay_logged_in(options, remember).await?;
    let question = format!("Password of the profile '{}'", profile.name());
    let password = password::existing(options.password_file.as_deref(), options.json, &question).await?;
    let remembered = profile.check(password, remember).await?;
    if options.json {
        print_json(&UnlockObject { remembered: output::remembered_name(&remembered) })?;
    } else {
        print("The password is right.")?;
        print(&output::remembered_words(&remembered))?;
    }
    Ok(())
}

fn existing(options: &Options) -> Result<ProfilePath, Failure> {
    let profile = options.profile()?;
    match profile.exists() {
        true => Ok(profile),
        false => Err(Error::NoProfile(profile.name().to_owned()).into()),
    }
}
