//! `signup`, `login`, `ping`: what needs no profile yet.

mod again;

use crate::{
    Failure,
    cli::{LogInArgs, Options, Remember, SignUpArgs, parse_link},
    command::backup,
    output::{self, print, print_json},
    password, prompt,
    rpc::backup::RestoredObject,
    sanitise::{Breaks, sanitise},
};
use serde::Serialize;
use std::path::PathBuf;
use waxwing_core::{Admission, Error, LogIn, ProfilePath, Remembered, SignUp, Unlock, Zeroizing, check_username};

#[derive(Serialize)]
struct SignedUpObject<'a> {
    username: &'a str,
    device: &'a str,
    recovery_code: &'a str,
    remembered: &'static str,
}

pub(crate) async fn sign_up(options: &Options, arguments: SignUpArgs) -> Result<(), Failure> {
    let profile = free_profile(options)?;
    let link = options.required_server()?;
    let username = check_username(&arguments.username)?;
    let SignUpArgs { name, email, secret, secret_file, invite, otp, device, remember, requests, .. } = arguments;
    if let Some(email) = &email {
        check_email(email).map_err(|reason| Failure::usage(reason, "correct --email or leave it out"))?;
    }
    let admission = match (secret.map(Zeroizing::new), secret_file, invite) {
        (Some(secret), _, _) => Admission::Secret(secret),
        (None, Some(file), _) => Admission::Secret(password::read_file(&file, options.json)?),
        (None, None, Some(code)) => Admission::Invite(code),
        (None, None, None) => Admission::Open,
    };
    let known = [Some(&username), name.as_ref(), email.as_ref()].into_iter().flatten().cloned().collect();
    let password = password::new(options.password_file.as_deref(), options.json, known).await?;
    let remember = stay_logged_in(options, remember).await?;

    let device_name = device.device_name;
    let code = otp;
    let request = SignUp {
        link,
        username,
        full_name: name,
        email,
        password,
        admission,
        code,
        device_name,
        remember,
        // Without it, scripts and bots hear everybody at once.
        accept_strangers: !requests,
    };
    let account = prompt::with_code(!options.json, request.code.clone(), async |code, spinner| {
        let request = SignUp { code, ..request.clone() };
        waxwing_core::sign_up(&profile, request, &|step| spinner.step(step)).await
    })
    .await?;
    if options.json {
        print_json(&SignedUpObject {
            username: &account.username,
            device: &account.device,
            recovery_code: &account.recovery_code,
            remembered: output::remembered_name(&account.remembered),
        })?;
    } else {
        print(&format!("Welcome, {}. This device is {}.", account.username, account.device))?;
        print(&output::remembered_words(&account.remembered))?;
        print(&recovery_box(&account.recovery_code))?;
    }
    Ok(())
}

/// Whether this looks like an e-mail address: `something@something.tld`. Only a letter would tell more.
pub(crate) fn check_email(text: &str) -> Result<(), String> {
    let looks_like_one = text.split_once('@').is_some_and(|(name, host)| {
        let host = host.rsplit_once('.');
        let whole = host.is_some_and(|(site, top)| !site.is_empty() && !site.ends_with('.') && !top.is_empty());
        whole && !name.is_empty() && !text.contains(char::is_whitespace) && text.matches('@').count() == 1
    });
    match looks_like_one {
        true => Ok(()),
        false => Err(format!("'{text}' is not an e-mail address: it looks like name@example.org")),
    }
}

/// The recovery code in a box, and how to keep it.
pub(crate) fn recovery_box(code: &str) -> Zeroizing<String> {
    let rule = "-".repeat(code.chars().count() + 4);
    Zeroizing::new(format!(
        "Your recovery code; it is shown only now:\n\n  +{rule}+\n  |  {code}  |\n  +{rule}+\n\n\
         Write it on paper or put it into a password manager. With it 'waxwing recover'\n\
         sets a new password if you forget yours. Whoever else has it gets your account,\n\
         and nobody can tell it to you again, not even the server."
    ))
}

#[derive(Serialize)]
struct LoggedInObject<'a> {
    username: &'a str,
    device: &'a str,
    remembered: &'static str,
    /// What came back from the backup; none if the server went away meanwhile.
    restored: Option<RestoredObject>,
    /// Why the backup, or a part of it, was not restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    backup_error: Option<String>,
    /// Where the damaged profile is now that was in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    set_aside: Option<String>,
}

pub(crate) async fn log_in(options: &Options, arguments: LogInArgs) -> Result<(), Failure> {
    let profile = options.profile()?;
    let username = check_username(&arguments.username)?;
    let question = format!("Password of {username}");
    let ask = || password::existing(options.password_file.as_deref(), options.json, &question);
    let (link, password, set_aside) = match profile.exists() {
        false => (options.required_server()?, ask().await?, None),
        true => {
            let password = ask().await?;
            match again::log_in(options, &profile, &username, &password).await? {
                again::Outcome::NewDevice(device) => {
                    return say_logged_in(
                        options,
                        &profile,
                        (&username, &device.id),
                        &device.remembered,
                        device.restored,
                        None,
                    );
                }
                again::Outcome::Damaged(folder) => (options.required_server()?, password, Some(folder)),
            }
        }
    };
    let remember = stay_logged_in(options, arguments.remember).await?;

    let (device_name, code) = (arguments.device.device_name, arguments.otp);
    let request = LogIn { link, username, password: password.clone(), code, device_name, remember };
    let account = prompt::with_code(!options.json, request.code.clone(), async |code, spinner| {
        let request = LogIn { code, ..request.clone() };
        waxwing_core::log_in(&profile, request, &|step| spinner.step(step)).await
    })
    .await?;
    // The device is there, whatever becomes of this.
    let outcome = backup::restore(&profile, Unlock::Password(password), !options.json).await;
    let (username, device) = (account.username.as_str(), account.device.as_str());
    say_logged_in(options, &profile, (username, device), &account.remembered, Some(outcome), set_aside)
}

/// What a login has done. `restored` is none where the process that holds the profile restores the backup.
fn say_logged_in(
    options: &Options,
    profile: &ProfilePath,
    (username, device): (&str, &str),
    remembered: &Remembered,
    restored: Option<backup::Restored>,
    set_aside: Option<PathBuf>,
) -> Result<(), Failure> {
    let set_aside = set_aside.map(|folder| folder.display().to_string());
    if options.json {
        let remembered = output::remembered_name(remembered);
        let (restored, backup_error) = match restored {
            Some(Ok((restored, error))) => (Some(restored), error),
            Some(Err(error)) => (None, Some(error.to_string())),
            None => (None, None),
        };
        return Ok(print_json(&LoggedInObject { username, device, remembered, restored, backup_error, set_aside })?);
    }
    if let Some(folder) = set_aside {
        print(&format!(
            "The profile '{}' was damaged; it is kept as {}.",
            profile.name(),
            sanitise(&folder, Breaks::Spaces)
        ))?;
    }
    print(&format!("Logged in as {username}. This device is {device}."))?;
    print(&output::remembered_words(remembered))?;
    match restored {
        Some(outcome) => Ok(print(&backup::restored_words(&outcome))?),
        None => Ok(()),
    }
}

/// The profile, where there is none yet: found out before anything is asked.
pub(super) fn free_profile(options: &Options) -> Result<ProfilePath, Failure> {
    let profile = options.profile()?;
    match profile.exists() {
        true => Err(Error::ProfileExists(profile.name().to_owned()).into()),
        false => Ok(profile),
    }
}

/// Whether the local key stays on this device: as told, else asked, else (in scripts) not.
pub(super) async fn stay_logged_in(options: &Options, remember: Remember) -> Result<bool, Failure> {
    match remember.choice() {
        Some(choice) => Ok(choice),
        None if options.password_file.is_none() && !options.json && prompt::is_possible() => {
            prompt::confirm("Stay logged in on this device?", true).await
        }
        None => Ok(false),
    }
}

#[derive(Serialize)]
struct PongObject<'a> {
    address: &'a str,
    via: &'static str,
    round_trip_ms: f64,
    version: u16,
    sign_up: &'static str,
}

pub(crate) async fn ping(options: &Options, link: Option<String>) -> Result<(), Failure> {
    let link = match link {
        Some(link) => parse_link(&link)?,
        None => options.required_server()?,
    };
    let pong = waxwing_core::ping(&link).await?;
    let round_trip_ms = (pong.round_trip.as_secs_f64() * 1e6).round() / 1e3;
    let (version, sign_up) = (pong.version, pong.sign_up);
    if options.json {
        print_json(&PongObject { address: &pong.address, via: pong.via, round_trip_ms, version, sign_up })?;
    } else {
        let address = sanitise(&pong.address, Breaks::Spaces);
        let via = if pong.via == "websocket" { " through a WebSocket" } else { "" };
        print(&format!("{address} is the server that the link names and answered{via} in {round_trip_ms} ms."))?;
        print(&format!("It speaks protocol version {version}; sign-up: {sign_up}."))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_json_of_accounts_has_the_names_that_scripts_rely_on() {
        let object = SignedUpObject { username: "alice", device: "00ff", recovery_code: "ABCD-EFGH", remembered: "no" };
        assert_eq!(
            serde_json::to_value(&object).unwrap(),
            json!({ "username": "alice", "device": "00ff", "recovery_code": "ABCD-EFGH", "remembered": "no" })
        );
        let restored = None;
        let object = LoggedInObject {
            username: "alice",
            device: "00ff",
            remembered: "keyring",
            restored,
            backup_error: None,
            set_aside: None,
        };
        let expected = json!({ "username": "alice", "device": "00ff", "remembered": "keyring", "restored": null });
        assert_eq!(serde_json::to_value(&object).unwrap(), expected);
    }

    #[test]
    fn an_address_has_a_name_and_a_host_with_a_dot() {
        for address in ["al@example.org", "a.b+c@mail.example.org", "é@ü.de"] {
            assert_eq!(check_email(address), Ok(()));
        }
        for wrong in
            ["al", "al@", "@example.org", "al@example", "al@.org", "al@example.", "a l@example.org", "a@b@c.de"]
        {
            assert!(check_email(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_recovery_code_stands_whole_on_one_line_of_its_box() {
        let shown = recovery_box("ABCD-EFGH");
        assert!(shown.contains("|  ABCD-EFGH  |"));
        assert!(shown.contains("+-------------+"));
    }
}
