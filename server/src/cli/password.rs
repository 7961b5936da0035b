//! `waxwing-server password change`: the sealed secrets under another password.
//!
//! Invariant: the file is the old one or the new one, whole; the secrets in it stay the same. A running server goes on: it
//! has read them at its start.

use super::{Common, Failure, print};
use crate::install::{Installation, password, seal};
use clap::{Args, Subcommand};
use serde_json::json;
use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
};
use zeroize::Zeroizing;

/// Shorter ones are guessed.
const LEAST: usize = 10;

#[derive(Subcommand)]
pub(super) enum PasswordCommand {
    /// Seal the server's secrets under another password; a running server goes on.
    Change(Change),
}

#[derive(Args)]
pub(super) struct Change {
    #[command(flatten)]
    common: Common,
    /// A file with the new password (10 characters or more). Without it: the terminal.
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
}

impl PasswordCommand {
    pub(super) fn json(&self) -> bool {
        let Self::Change(change) = self;
        change.common.json
    }
}

pub(super) fn password(command: &PasswordCommand) -> Result<ExitCode, Failure> {
    let PasswordCommand::Change(Change { common, new_password_file }) = command;
    let folder = common.folder()?;
    let config = common.config(&folder, &[])?;
    // Held by whoever writes the file, so that two changes at once do not undo each other; the server does not hold it.
    let _lock = folder.lock_secrets()?;
    let old = super::server_password(common.password_file.as_deref())?;
    let installation = Installation::open(folder, config, &old)?;
    let new = new_password(new_password_file.as_deref())?;
    if new.chars().count() < LEAST {
        let message = format!("the new password has fewer than {LEAST} characters");
        return Err(Failure::user("weak-password", message, "choose a longer one"));
    }
    let sealed = seal(&installation.secrets, &new).map_err(Failure::unexpected)?;
    installation.folder.write(&installation.folder.sealed(), &sealed)?;
    match common.json {
        true => print::print_json(&json!({"changed": true}))?,
        false => print::line(
            "changed; give the new password to whatever starts the server, and remember that older backups still open with the old one",
        )?,
    }
    Ok(ExitCode::SUCCESS)
}

fn new_password(file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    match file {
        Some(file) => Ok(password::read(file)?),
        None if std::io::stdin().is_terminal() => {
            let theme = dialoguer::theme::ColorfulTheme::default();
            let asked = dialoguer::Password::with_theme(&theme)
                .with_prompt("The new password")
                .with_confirmation("Once more", "These are two different passwords")
                .interact();
            asked.map(Zeroizing::new).map_err(|_| needed())
        }
        None => Err(needed()),
    }
}

fn needed() -> Failure {
    Failure::user("password-needed", "the new password is needed", "name a file with --new-password-file")
}
