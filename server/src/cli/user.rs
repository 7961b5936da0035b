//! `waxwing-server user …`: accounts, their devices and their connections, as the operator sees and ends them.

use super::{
    Common, Failure,
    operate::operate,
    print::{line, or_dash, print_json, size, table},
};
use crate::admin::{Answer, Device, Request, User, UserDetails};
use clap::{Args, Subcommand};
use serde_json::json;
use std::{io::IsTerminal, process::ExitCode};

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// List all accounts.
    List(Common),
    /// Show an account with its devices.
    Show(Named),
    /// Lock an account: its devices are cut off at once and cannot come back until it is enabled.
    Disable(Named),
    /// Let a locked account in again.
    Enable(Named),
    /// Delete an account with all that is its own; nobody ever gets its name again.
    Delete(Delete),
    /// List an account's devices and their connections.
    Sessions(Named),
    /// Sign devices of an account out for good; their owner logs in again with the password.
    Logout(Logout),
}

#[derive(Args)]
pub(super) struct Named {
    /// The account.
    username: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
pub(super) struct Delete {
    #[command(flatten)]
    named: Named,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
pub(super) struct Logout {
    #[command(flatten)]
    named: Named,
    /// Only this device: its id, or how that begins.
    #[arg(long, value_name = "ID")]
    device: Option<String>,
}

impl UserCommand {
    pub(super) fn common(&self) -> &Common {
        match self {
            Self::List(common) => common,
            Self::Show(named) | Self::Disable(named) | Self::Enable(named) | Self::Sessions(named) => &named.common,
            Self::Delete(delete) => &delete.named.common,
            Self::Logout(logout) => &logout.named.common,
        }
    }
}

pub(super) fn user(command: &UserCommand) -> Result<ExitCode, Failure> {
    let common = command.common();
    let name = |named: &Named| named.username.clone();
    let request = match command {
        UserCommand::List(_) => Request::ListUsers,
        UserCommand::Show(named) => Request::ShowUser { username: name(named) },
        UserCommand::Disable(named) => Request::DisableUser { username: name(named) },
        UserCommand::Enable(named) => Request::EnableUser { username: name(named) },
        UserCommand::Delete(delete) => {
            confirm(delete)?;
            Request::DeleteUser { username: name(&delete.named) }
        }
        UserCommand::Sessions(named) => Request::Sessions { username: name(named) },
        UserCommand::Logout(logout) => Request::Logout { username: name(&logout.named), device: logout.device.clone() },
    };
    match (command, operate(common, &request)?) {
        (_, Answer::Users(users)) => list(&users, common.json)?,
        (UserCommand::Sessions(_), Answer::User(details)) => sessions(&details.sessions, common.json)?,
        (_, Answer::User(details)) => show(&details, common.json)?,
        (_, Answer::Done { devices, connections }) => done(command, devices, connections)?,
        _ => return Err(Failure::unexpected("the server answered something else than was asked")),
    }
    Ok(ExitCode::SUCCESS)
}

/// Nothing brings a deleted account back.
fn confirm(delete: &Delete) -> Result<(), Failure> {
    if delete.yes {
        return Ok(());
    }
    let name = &delete.named.username;
    let asked = || {
        let theme = dialoguer::theme::ColorfulTheme::default();
        let question = format!("Delete {name:?} for good? Type the name again");
        dialoguer::Input::<String>::with_theme(&theme).with_prompt(question).allow_empty(true).interact_text().ok()
    };
    match !delete.named.common.json && std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        true if asked().as_ref() == Some(name) => Ok(()),
        true => Err(Failure::user("not-confirmed", "nothing was deleted", "type the name as it is, or pass --yes")),
        false => Err(Failure::user("not-confirmed", format!("deleting {name:?} cannot be undone"), "pass --yes")),
    }
}

fn list(users: &[User], json: bool) -> Result<(), Failure> {
    if json {
        return users.iter().try_for_each(print_json);
    }
    let row = |user: &User| {
        let state = if user.disabled_at.is_some() { "disabled" } else { "" };
        let (devices, connections) = (user.devices.to_string(), user.connections.to_string());
        let created = user.created_at.get(..10).unwrap_or_default().to_owned();
        let full_name = user.full_name.clone().unwrap_or_default();
        [user.username.clone(), created, or_dash(&user.seen_on), devices, connections, state.to_owned(), full_name]
    };
    table(["USER", "SINCE", "SEEN", "DEVICES", "ONLINE", "", "NAME"], users.iter().map(row))
}

fn show(details: &UserDetails, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(details);
    }
    let user = &details.user;
    let facts = [
        ("user", user.username.clone()),
        ("full name", or_dash(&user.full_name)),
        ("e-mail", or_dash(&details.email)),
        ("since", user.created_at.clone()),
        ("seen", or_dash(&user.seen_on)),
        ("locked", user.disabled_at.as_ref().map_or("no".to_owned(), |since| format!("since {since}"))),
        ("devices", user.devices.to_string()),
        ("online", user.connections.to_string()),
        ("waiting", taken(details.usage.waiting_bytes, details.usage.waiting_quota)),
        ("files", taken(details.usage.attachment_bytes, details.usage.attachment_quota)),
        ("backup", taken(details.usage.backup_bytes, details.usage.backup_quota)),
    ];
    facts.iter().try_for_each(|(name, value)| line(&format!("{name:<11}{value}")))?;
    match details.sessions.is_empty() {
        true => Ok(()),
        false => line("").and_then(|()| sessions(&details.sessions, false)),
    }
}

/// How much of its quota something takes.
fn taken(bytes: u64, quota: u64) -> String {
    format!("{} of {}", size(bytes), size(quota))
}

fn sessions(devices: &[Device], json: bool) -> Result<(), Failure> {
    if json {
        return devices.iter().try_for_each(print_json);
    }
    let row = |device: &Device| {
        let state = match device.connections.first() {
            Some(session) => format!("online since {}", session.since),
            None => "offline".to_owned(),
        };
        [device.device.clone(), device.created_at.clone(), or_dash(&device.seen_on), state]
    };
    table(["DEVICE", "SINCE", "SEEN", ""], devices.iter().map(row))
}

fn done(command: &UserCommand, devices: usize, connections: usize) -> Result<(), Failure> {
    let (what, name) = match command {
        UserCommand::Disable(named) => ("disabled", named),
        UserCommand::Enable(named) => ("enabled", named),
        UserCommand::Delete(delete) => ("deleted", &delete.named),
        UserCommand::Logout(logout) => ("signed out", &logout.named),
        _ => return Ok(()),
    };
    if command.common().json {
        let object = json!({"username": name.username, "done": what, "devices": devices, "connections": connections});
        return print_json(&object);
    }
    let counted = match command {
        UserCommand::Enable(_) => String::new(),
        UserCommand::Disable(_) => format!(" ({connections} connections ended)"),
        _ => format!(" ({devices} devices, {connections} connections ended)"),
    };
    line(&format!("{}: {what}{counted}", name.username))
}
