//! `password change`, `identity rotate`, `account delete`, `recover`: what takes the account's password or recovery code.

use super::{account::recovery_box, backup, devices};
use crate::{
    Failure,
    cli::{Options, PasswordCommand, RecoverArgs},
    output::{self, print, print_json},
    password,
    prompt::{self, Spinner},
    rpc::{
        Backend, Method, Nothing, Purpose, Secret,
        account::{ChangePassword, ChangePasswordParams, DeleteAccount, OwnerParams, RotateIdentity},
        profile::Whoami,
    },
    sanitise::{Breaks, sanitise},
};
use serde::Serialize;
use waxwing_core::{Recover, Unlock, Zeroizing, check_username};

/// A call that takes the account's password: the profile is open, and the password is here.
pub(super) struct OwnerCall {
    backend: Backend,
    pub(super) password: Secret,
    pub(super) username: String,
    pub(super) full_name: Option<String>,
}

impl OwnerCall {
    pub(super) async fn begin(options: &Options) -> Result<Self, Failure> {
        let backend = Backend::open(options, Purpose::Once).await?;
        let who = backend.call::<Whoami>(Nothing {}).await?;
        let question = format!("Password of {}", sanitise(&who.username, Breaks::Spaces));
        let password = password::existing(options.password_file.as_deref(), options.json, &question).await?;
        let (username, full_name) = (who.username, who.full_name);
        Ok(Self { backend, password: password.into(), username, full_name })
    }

    /// Does it, with a spinner, and closes the profile.
    pub(super) async fn run<M: Method>(self, options: &Options, params: M::Params) -> Result<M::Result, Failure> {
        let spinner = Spinner::new(!options.json);
        self.backend.go_online();
        let done = self.backend.call_with_progress::<M>(params, |progress| spinner.show(&progress.step)).await;
        drop(spinner);
        self.backend.close().await;
        done
    }
}

/// Says whether revoked devices are out of all chats.
pub(super) fn say_settled(out_of_all_chats: bool) -> Result<(), Failure> {
    if !out_of_all_chats {
        output::warn(
            "not every chat has let them go yet: this device does it before anything more is sent there. \
             'waxwing status' connects and goes on with it",
        );
    }
    Ok(())
}

pub(crate) async fn password(options: &Options, command: PasswordCommand) -> Result<(), Failure> {
    let PasswordCommand::Change { new_password_file, sign_out_others, keep_others } = command;
    let call = OwnerCall::begin(options).await?;
    let known = [Some(&call.username), call.full_name.as_ref()].into_iter().flatten().cloned().collect();
    let new = password::new(new_password_file.as_deref(), options.json, known).await?;
    let sign_out_others = match (sign_out_others, keep_others) {
        (true, _) => true,
        (_, true) => false,
        _ if new_password_file.is_none() && !options.json && prompt::is_possible() => {
            prompt::confirm("Sign out all other devices?", false).await?
        }
        _ => false,
    };
    let params = ChangePasswordParams { password: call.password.clone(), new_password: new.into(), sign_out_others };
    let changed = call.run::<ChangePassword>(options, params).await?;
    if options.json {
        return Ok(print_json(&changed)?);
    }
    print("The password is changed, here and on the server. Your recovery code stays as it was.")?;
    for device in &changed.signed_out {
        print(&format!("Signed out: {} {}", device.id.get(..8).unwrap_or(""), devices::shown(device)))?;
    }
    if !sign_out_others {
        print("Other devices stay signed in; they are locked with the old password until it is changed there, too.")?;
    }
    say_settled(changed.out_of_all_chats)
}

pub(crate) async fn rotate(options: &Options) -> Result<(), Failure> {
    let call = OwnerCall::begin(options).await?;
    let password = call.password.clone();
    let rotated = call.run::<RotateIdentity>(options, OwnerParams { password }).await?;
    if options.json {
        return Ok(print_json(&rotated)?);
    }
    print(&format!("The account has a new identity: {}", sanitise(&rotated.identity, Breaks::Spaces)))?;
    Ok(print(
        "The old one vouches for it, so your contacts are told but not alarmed. Safety numbers are new ones now:\n\
         compare them again with those who matter ('waxwing verify').",
    )?)
}

#[derive(Serialize)]
struct DeletedObject<'a> {
    deleted: &'a str,
}

pub(crate) async fn delete_account(options: &Options, yes: bool) -> Result<(), Failure> {
    let backend = Backend::open(options, Purpose::Once).await?;
    let who = backend.call::<Whoami>(Nothing {}).await;
    backend.close().await;
    let username = who?.username;
    if !yes {
        if options.json || !prompt::is_possible() {
            return Err(Failure::usage("deleting an account has to be confirmed", "add --yes"));
        }
        print(&format!(
            "This deletes the account '{name}' on the server, for good:\n\
             - all its devices are signed out, its backups and what waits for delivery are deleted;\n\
             - nobody, not even you, can get the name '{name}' there again.\n\
             What cannot be deleted: what others have received from you stays with them, and this device keeps\n\
             its own history until you delete the profile.",
            name = sanitise(&username, Breaks::Spaces)
        ))?;
        let typed = prompt::line("Type the username to go on", None, |_| Ok(())).await?;
        if typed != username {
            return Ok(print("That is another name: nothing was deleted.")?);
        }
    }
    let call = OwnerCall::begin(options).await?;
    let password = call.password.clone();
    call.run::<DeleteAccount>(options, OwnerParams { password }).await?;
    match options.json {
        true => Ok(print_json(&DeletedObject { deleted: &username })?),
        false => Ok(print(&format!(
            "The account '{}' is deleted. 'waxwing history' and 'waxwing export' still read what is on this device.",
            sanitise(&username, Breaks::Spaces)
        ))?),
    }
}

#[derive(Serialize)]
struct RecoveredObject<'a> {
    username: &'a str,
    recovery_code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remembered: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(crate) async fn recover(options: &Options, arguments: RecoverArgs) -> Result<(), Failure> {
    let profile = super::account::free_profile(options)?;
    let link = options.required_server()?;
    let username = check_username(&arguments.username)?;
    let code = match &arguments.code_file {
        Some(file) => password::read_file(file, options.json)?,
        None if prompt::is_possible() => prompt::secret("Recovery code").await?,
        None => {
            return Err(Failure::usage("a recovery code is needed", "give a file that holds it with --code-file"));
        }
    };
    waxwing_core::check_recovery_code(&code)?;
    let new_password = password::new(options.password_file.as_deref(), options.json, vec![username.clone()]).await?;
    let remember = super::account::stay_logged_in(options, arguments.remember).await?;
    let spinner = Spinner::new(!options.json);
    let request = Recover {
        link,
        username: username.clone(),
        code,
        new_password: new_password.clone(),
        device_name: arguments.device.device_name,
        remember,
    };
    let recovered = waxwing_core::recover(&profile, request, &|step| spinner.step(step)).await?;
    drop(spinner);
    // First of all: the old code opens nothing any more.
    let code: &Zeroizing<String> = &recovered.recovery_code;
    if options.json {
        let device = recovered.device.as_ref();
        print_json(&RecoveredObject {
            username: &username,
            recovery_code: code,
            device: device.ok().map(|device| device.device.as_str()),
            remembered: device.ok().map(|device| output::remembered_name(&device.remembered)),
            reason: device.err().map(ToString::to_string),
        })?;
    } else {
        print("The password is the new one from now on, and the recovery code that you used is replaced.")?;
        print(&recovery_box(code))?;
    }
    let device = recovered.device?;
    if !options.json {
        print(&format!("Logged in as {}. This device is {}.", device.username, device.device))?;
        print(&output::remembered_words(&device.remembered))?;
    }
    // The device is there, whatever becomes of this.
    let outcome = backup::restore(&profile, Unlock::Password(new_password), !options.json).await;
    if !options.json {
        print(&backup::restored_words(&outcome))?;
    }
    Ok(())
}
