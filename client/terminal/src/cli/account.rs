//! What concerns an account: its devices, keys, trust, backup, exports, and coming to have one.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use waxwing_core::ExportFormat;

#[derive(Debug, Subcommand)]
pub(crate) enum DevicesCommand {
    /// Give a device another name; only your own devices can read it
    Rename {
        /// The device: its name, its id, or the beginning of it
        device: String,
        /// The new name
        name: String,
    },
    /// Sign devices out for good: at once on the server, and out of every chat
    Revoke {
        /// The devices: their names, ids, or the beginnings of them
        #[arg(required = true)]
        devices: Vec<String>,
        /// Somebody else may have it: renew the account's identity, vault and backup keys as well
        #[arg(long)]
        lost: bool,
        /// Do not ask whether it is meant
        #[arg(short, long)]
        yes: bool,
    },
    /// Sign the devices again as this one knows them, where the server was restored and has forgotten a change of them
    Repair,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PasswordCommand {
    /// Set a new password, for the account and for this device
    Change {
        /// A file that holds the new password, instead of asking for it
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
        /// Sign all other devices out for good
        #[arg(long, conflicts_with = "keep_others")]
        sign_out_others: bool,
        /// Leave the other devices signed in (scripts: the default)
        #[arg(long)]
        keep_others: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// Make a new identity, which the old one vouches for
    Rotate,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Delete the account on the server, for good
    Delete {
        /// Do not ask whether it is meant
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args, Debug)]
pub(crate) struct RecoverArgs {
    /// The account's username
    #[arg(long, value_name = "NAME")]
    pub(crate) username: String,
    /// A file that holds the recovery code, instead of asking for it
    #[arg(long, value_name = "FILE")]
    pub(crate) code_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) device: DeviceName,
    #[command(flatten)]
    pub(crate) remember: Remember,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// The other user
    pub(crate) user: String,
    /// You have compared the number with theirs: mark it
    #[arg(long)]
    pub(crate) confirm: bool,
    /// Take the mark back
    #[arg(long, conflicts_with = "confirm")]
    pub(crate) revoke: bool,
}

#[derive(Args, Debug)]
pub(crate) struct TrustArgs {
    /// The other user
    pub(crate) user: String,
    /// Accept it without being asked
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// You have compared the new safety number with them (needed for a verified contact): accept and mark it
    #[arg(long)]
    pub(crate) compared: bool,
}

/// What this device is called.
#[derive(Args, Clone, Debug)]
pub(crate) struct DeviceName {
    /// What this device is called in 'waxwing devices' [default: the machine's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) device_name: Option<String>,
}

/// What is exported, and where to.
#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    /// The other user
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "CHAT")]
    pub(crate) chat: Option<String>,
    /// All chats
    #[arg(long)]
    pub(crate) all: bool,
    /// json can be imported again; markdown and html are for reading
    #[arg(long, value_enum)]
    pub(crate) format: ExportedAs,
    /// Only what was written from this day on (2026-01-31), or from this time (2026-01-31T12:00:00Z)
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub(crate) since: Option<u64>,
    /// The file; or a folder, for one file per chat [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportedAs {
    Json,
    Markdown,
    Html,
}

impl From<ExportedAs> for ExportFormat {
    fn from(format: ExportedAs) -> Self {
        match format {
            ExportedAs::Json => Self::Json,
            ExportedAs::Markdown => Self::Markdown,
            ExportedAs::Html => Self::Html,
        }
    }
}

/// A time, or the beginning of a day here, in milliseconds since 1970.
fn date(text: &str) -> Result<u64, String> {
    let day = || text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::system()).ok();
    let time = text.parse::<jiff::Timestamp>().ok().or_else(|| day().map(|day| day.timestamp()));
    let time = time.ok_or("not a date (2026-01-31) or time (2026-01-31T12:00:00Z)")?;
    // Nothing was written before 1970.
    Ok(u64::try_from(time.as_millisecond()).unwrap_or(0))
}

/// What to do about the backup.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Show how old it is and what it lacks; exits with 1 if it fails or has lacked messages for a week
    Status,
    /// Store what it lacks, and wait until it is whole
    Now,
    /// Restore it elsewhere and compare it with this device, message for message; exits with 1 if anything differs
    Drill,
    /// Delete it at the server; no device of the account makes one until it is on again
    Off {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Begin one (again)
    On,
}

/// Whether the local key stays on this device, so that no password is asked at each start.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Remember {
    /// Stay logged in: keep the local key in the system's keyring, else in a file (mode 0600)
    #[arg(long, conflicts_with = "no_remember")]
    remember: bool,
    /// Ask for the password at each start (scripts: the default)
    #[arg(long)]
    no_remember: bool,
}

impl Remember {
    /// The choice, if one was made.
    pub(crate) fn choice(self) -> Option<bool> {
        (self.remember || self.no_remember).then_some(self.remember)
    }
}

#[derive(Args, Debug)]
pub(crate) struct SignUpArgs {
    /// The new account's username: 3 to 32 of a-z 0-9 _ . -
    #[arg(long, value_name = "NAME")]
    pub(crate) username: String,
    /// Your full name; told to those you write with and to the server's operator
    #[arg(long, value_name = "FULL NAME")]
    pub(crate) name: Option<String>,
    /// An e-mail address; told to the server's operator
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) email: Option<String>,
    /// The secret that the server wants for sign-up
    #[arg(long, value_name = "SECRET", conflicts_with_all = ["secret_file", "invite"])]
    pub(crate) secret: Option<String>,
    /// A file that holds this secret
    #[arg(long, value_name = "FILE", conflicts_with = "invite")]
    pub(crate) secret_file: Option<PathBuf>,
    /// An invite code, unless the link holds one
    #[arg(long, value_name = "CODE")]
    pub(crate) invite: Option<String>,
    /// The one-time code that the server has sent by e-mail (without it: it is sent, and asked for in a terminal)
    #[arg(long, value_name = "CODE")]
    pub(crate) otp: Option<String>,
    #[command(flatten)]
    pub(crate) device: DeviceName,
    #[command(flatten)]
    pub(crate) remember: Remember,
    /// Let strangers' first messages wait until they are accepted, as in accounts made in the menu ('waxwing settings requests on')
    #[arg(long)]
    pub(crate) requests: bool,
}

#[derive(Args, Debug)]
pub(crate) struct LogInArgs {
    /// The account's username
    #[arg(long, value_name = "NAME")]
    pub(crate) username: String,
    /// The one-time code that the server has sent by e-mail (without it: it is sent, and asked for in a terminal)
    #[arg(long, value_name = "CODE")]
    pub(crate) otp: Option<String>,
    #[command(flatten)]
    pub(crate) device: DeviceName,
    #[command(flatten)]
    pub(crate) remember: Remember,
}
