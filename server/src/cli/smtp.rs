//! `waxwing-server smtp test`, and the mailer that a configuration describes.
//!
//! Invariant: the mail server's password comes from a file or the environment, and goes nowhere but to that server.

use super::{Common, Failure, block_on, environment, print};
use crate::{
    install::{Config, Folder, Status, password},
    mail::{MailError, Mailer},
};
use clap::{Args, Subcommand};
use serde_json::json;
use std::process::ExitCode;
use zeroize::Zeroizing;

/// The mail server's password itself.
const PASSWORD: &str = "SMTP_PASSWORD";

#[derive(Subcommand)]
pub(super) enum SmtpCommand {
    /// Send a mail, by the settings that the server would use.
    Test(Test),
}

#[derive(Args)]
pub(super) struct Test {
    /// Where to.
    address: String,
    #[command(flatten)]
    common: Common,
}

impl SmtpCommand {
    pub(super) fn json(&self) -> bool {
        let Self::Test(test) = self;
        test.common.json
    }
}

impl From<MailError> for Failure {
    fn from(error: MailError) -> Self {
        let (status, next) = match &error {
            MailError::Smtp(_) => (Status::Network, "check [smtp] in config.toml, and the mail server\'s own log"),
            MailError::Message(_) => (Status::Network, "check that the mail server answers"),
            _ => (Status::User, "correct it in config.toml or in the SMTP_ variables"),
        };
        let mut message = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !message.contains(&cause_text) {
                message = format!("{message}: {cause_text}");
            }
            source = cause.source();
        }
        Self { status, ..Self::user("mail", message, next) }
    }
}

/// The mailer of a configuration, if it names a mail server.
pub(super) fn mailer(folder: &Folder, config: &Config) -> Result<Option<Mailer>, Failure> {
    let mail = &config.mail;
    let Some(settings) = mail.smtp() else { return Ok(None) };
    let given = environment(PASSWORD).filter(|password| !password.is_empty()).map(Zeroizing::new);
    let password = match (given, mail.password_file.as_os_str().is_empty()) {
        (Some(given), _) => Some(given),
        (None, false) => Some(password::read(&folder.path().join(&mail.password_file))?),
        (None, true) => None,
    };
    let template = (!mail.template.as_os_str().is_empty()).then(|| folder.path().join(&mail.template));
    let server = config.addresses().first().map(|address| address.host.clone()).unwrap_or_default();
    Ok(Some(Mailer::new(&settings, password.as_ref(), template.as_ref(), server)?))
}

pub(super) fn smtp(command: &SmtpCommand) -> Result<ExitCode, Failure> {
    let SmtpCommand::Test(Test { address, common }) = command;
    let folder = common.folder()?;
    let config = common.config(&folder, &[])?;
    let mailer = mailer(&folder, &config)?.ok_or_else(|| {
        Failure::user("no-mail-server", "smtp.host names no mail server", "set it in config.toml, or give SMTP_HOST")
    })?;
    block_on(mailer.send_test(address))??;
    match common.json {
        true => print::print_json(&json!({"sent": address}))?,
        false => print::line(&format!("the mail server has taken a mail to {address}: look whether it arrives"))?,
    }
    Ok(ExitCode::SUCCESS)
}
