//! `waxwing-server sign-up-secret change`: another shared secret for sign-ups, beside a running server too.
//!
//! Invariant: it is sealed on disk before the running server takes it, so a restart finds the same one.

use super::{Common, Failure, operate::lost, print};
use crate::{
    admin::{self, Hidden, Reply, Request},
    install::{Installation, SignUp, password, seal},
    relay::new_invite_code,
};
use clap::{Args, Subcommand};
use serde_json::json;
use std::{path::PathBuf, process::ExitCode};
use waxwing_protocol::limits;
use zeroize::Zeroizing;

#[derive(Subcommand)]
pub(super) enum SecretCommand {
    /// Replace it, and print the new one. Accounts that exist stay.
    Change(Change),
}

#[derive(Args)]
pub(super) struct Change {
    #[command(flatten)]
    common: Common,
    /// A file with the new secret. Without it, one is made up.
    #[arg(long, value_name = "FILE")]
    new_secret_file: Option<PathBuf>,
}

impl SecretCommand {
    pub(super) fn json(&self) -> bool {
        let Self::Change(change) = self;
        change.common.json
    }
}

pub(super) fn sign_up_secret(command: &SecretCommand) -> Result<ExitCode, Failure> {
    let SecretCommand::Change(Change { common, new_secret_file }) = command;
    let folder = common.folder()?;
    let config = common.config(&folder, &[])?;
    let policy = config.sign_up;
    // Held by whoever writes the file, as for the server's password.
    let _lock = folder.lock_secrets()?;
    let server_password = super::server_password(common.password_file.as_deref())?;
    let mut installation = Installation::open(folder.clone(), config, &server_password)?;
    let secret = match new_secret_file {
        Some(file) => password::read(file)?,
        None => Zeroizing::new(new_invite_code().map_err(Failure::unexpected)?),
    };
    if secret.is_empty() || secret.len() > limits::SHORT_TEXT {
        let message = format!("a sign-up secret has 1 to {} bytes", limits::SHORT_TEXT);
        return Err(Failure::user("wrong-value", message, "choose another one"));
    }
    installation.secrets.sign_up_secret = Some(secret.to_string());
    let sealed = seal(&installation.secrets, &server_password).map_err(Failure::unexpected)?;
    folder.write(&folder.sealed(), &sealed)?;
    let running = admin::connect(&folder)?;
    if let Some(server) = running {
        let request = Request::SignUpSecret { secret: Hidden(secret.clone()) };
        if let Reply::Error(problem) = server.ask(&request).map_err(lost)? {
            return Err(problem.into());
        }
    }
    let counts = policy == SignUp::Secret;
    if common.json {
        print::print_json(&json!({"secret": secret.as_str(), "in_use": counts}))?;
        return Ok(ExitCode::SUCCESS);
    }
    print::line(&secret)?;
    if !counts {
        eprintln!(
            "note: sign_up is {policy}, so it lets nobody in; set sign_up = \"secret\" and run: waxwing-server reload"
        );
    }
    Ok(ExitCode::SUCCESS)
}
