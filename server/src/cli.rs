//! The `waxwing-server` program: its commands, their flags, and how they fail.
//!
//! Invariant: exit codes are an interface (0 done, 1 user error, 2 unexpected, 3 network or database). It lives in the
//! library so that the set-up program can run a server in its own process; it must not know how a connection is served.

mod backup;
mod check;
mod cluster;
mod doctor;
mod failure;
mod invite;
mod notify;
mod operate;
mod password;
mod print;
mod reach;
mod reload;
mod report;
mod room;
mod rotate_key;
mod run;
mod sign_up_secret;
mod smtp;
mod user;

pub use failure::Failure;
pub use invite::{create_invite, qr_code};

use crate::install::{Config, Folder, InstallError, Installation, Lock, database, password as password_source};
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use serde_json::json;
use std::{
    ffi::OsString,
    future::Future,
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
};
use waxwing_manual::{Completions, Man, ManualError};
use zeroize::Zeroizing;

/// Waxwing's server: it carries sealed letters and cannot open them.
#[derive(Parser)]
#[command(name = "waxwing-server", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the server, until SIGTERM or SIGINT.
    Run(Run),
    /// Test the configuration, the password, the database and the port, and change nothing.
    Check(Check),
    /// Bring the database's tables up to this version; the server must be stopped.
    #[command(visible_alias = "migrate")]
    Upgrade(Upgrade),
    /// Replace the server's key by a new one that the old one vouches for; the server must be stopped.
    RotateKey(Common),
    /// Invites: make one (as without a further word), list them, revoke one.
    Invite(Invite),
    /// The shared secret for sign-ups, where sign_up is "secret".
    #[command(subcommand)]
    SignUpSecret(sign_up_secret::SecretCommand),
    /// The mail server that sends one-time codes.
    #[command(subcommand)]
    Smtp(smtp::SmtpCommand),
    /// Let the running server read its configuration and certificate anew, as SIGHUP does.
    Reload(Common),
    /// Accounts: list, show, lock, delete, and sign their devices out.
    #[command(subcommand)]
    User(user::UserCommand),
    /// Public rooms: list and delete them.
    #[command(subcommand)]
    Room(room::RoomCommand),
    /// The servers that share a database.
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Show how much there is of everything.
    Stats(Common),
    /// Say something to everybody who is connected.
    Announce(Announce),
    /// Print all that the server knows of an account.
    Disclose(Disclose),
    /// Delete what is older than the retention time, now.
    Gc(Gc),
    /// Tell how the server and its machine are, and what to do about it.
    Doctor(Common),
    /// The server's password.
    #[command(subcommand)]
    Password(password::PasswordCommand),
    /// Backups of the whole server: make one, check it, restore it.
    #[command(subcommand)]
    Backup(backup::BackupCommand),
    /// Print completions for a shell.
    Completions(Completions),
    /// Print a manual page, or write all of them.
    Man(Man),
}

#[derive(Args)]
struct Common {
    /// The server's folder [default: the one that waxwing-setup proposes].
    #[arg(long, env = "WAXWING_DIR", value_name = "DIR")]
    dir: Option<PathBuf>,
    /// A file with the server's password. Without it: $WAXWING_SERVER_PASSWORD_FILE, the systemd credential
    /// server-password, or the terminal.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Answers and errors as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Overrides {
    /// Listen here instead of where the configuration says.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// A certificate (PEM, with its chain) for whoever speaks HTTPS, instead of the server's own.
    #[arg(long, value_name = "FILE", value_parser = absolute, requires = "http_key")]
    http_certificate: Option<String>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE", value_parser = absolute, requires = "http_certificate")]
    http_key: Option<String>,
    /// How log lines look: text or json.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// The least severe lines that are logged: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Keep everything in memory alone: no database is read or written, and all is gone when the server ends.
    #[arg(long)]
    in_memory: bool,
    /// Let an open sign-up stand although other networks reach the server.
    #[arg(long)]
    yes_open_to_the_world: bool,
}

impl Overrides {
    fn settings(&self) -> Vec<(&str, &str)> {
        let all = [
            ("listen", &self.listen),
            ("http.certificate", &self.http_certificate),
            ("http.key", &self.http_key),
            ("log.format", &self.log_format),
            ("log.level", &self.log_level),
        ];
        let open = self.yes_open_to_the_world.then_some(("yes_open_to_the_world", "yes"));
        let memory = self.in_memory.then_some(("in_memory", "yes"));
        let given = all.into_iter().filter_map(|(setting, value)| Some((setting, value.as_deref()?)));
        given.chain(open).chain(memory).collect()
    }
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    overrides: Overrides,
}

#[derive(Args)]
struct Check {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    overrides: Overrides,
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
struct Invite {
    #[command(subcommand)]
    command: Option<invite::InviteCommand>,
    #[command(flatten)]
    create: invite::Create,
}

#[derive(Args)]
struct Upgrade {
    #[command(flatten)]
    common: Common,
    /// Only tell which steps that would be.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args)]
struct Announce {
    /// What to say, in one line.
    text: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
struct Disclose {
    /// The account.
    username: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
struct Gc {
    #[command(flatten)]
    common: Common,
    /// Only tell how much that is.
    #[arg(long)]
    dry_run: bool,
}

/// Leaves no core dump: it would hold keys and what was written, in clear, on a disk that keeps them otherwise sealed.
fn leave_no_core_dump() {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    // Where the system does not take it, nothing else is lost.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
}

/// Runs the program with these arguments (the first is its name) and returns its exit code.
pub fn run(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> ExitCode {
    leave_no_core_dump();
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return Failure::usage(&error, arguments.iter().any(|argument| argument == "--json")),
    };
    let (json, result) = match cli.command {
        Command::Run(command) => (command.common.json, run::run(&command)),
        Command::Check(command) => (command.common.json, check::check(&command)),
        Command::Upgrade(command) => (command.common.json, upgrade(&command)),
        Command::Completions(wanted) => (false, manual(wanted.print(&Cli::command()))),
        Command::Man(wanted) => (false, manual(wanted.print(&Cli::command()))),
        Command::RotateKey(common) => (common.json, rotate_key::rotate_key(&common)),
        Command::Invite(command) => (command.json(), invite::invite(&command)),
        Command::SignUpSecret(command) => (command.json(), sign_up_secret::sign_up_secret(&command)),
        Command::Smtp(command) => (command.json(), smtp::smtp(&command)),
        Command::Reload(common) => (common.json, reload::reload(&common)),
        Command::User(command) => (command.common().json, user::user(&command)),
        Command::Room(command) => (command.common().json, room::room(&command)),
        Command::Cluster(command) => (command.json(), cluster::cluster(&command)),
        Command::Stats(common) => (common.json, report::stats(&common)),
        Command::Announce(command) => (command.common.json, report::announce(&command)),
        Command::Disclose(command) => (command.common.json, report::disclose(&command)),
        Command::Doctor(common) => (common.json, doctor::doctor(&common)),
        Command::Password(command) => (command.json(), password::password(&command)),
        Command::Backup(command) => (command.json(), backup::backup(&command)),
        Command::Gc(command) => (command.common.json, report::gc(&command)),
    };
    result.unwrap_or_else(|failure| failure.report(json))
}

/// How a command of the manual's ended.
pub fn manual(done: Result<(), ManualError>) -> Result<ExitCode, Failure> {
    done.map(|()| ExitCode::SUCCESS).map_err(|error| match error.is_users() {
        true => Failure::user("usage", error.to_string(), error.next()),
        false => Failure::unexpected(error),
    })
}

fn upgrade(command: &Upgrade) -> Result<ExitCode, Failure> {
    let common = &command.common;
    let (installation, _lock) = common.open(&[])?;
    let Installation { folder, config, secrets, .. } = &installation;
    let password = secrets.database_password.as_deref();
    let place = database::place(folder, config);
    let (version, steps) = block_on(database::pending(folder, config, password))??;
    if command.dry_run {
        match common.json {
            true => print::print_json(&json!({"version": version, "pending": steps}))?,
            false if steps.is_empty() => print::line(&format!("{place}: nothing to do"))?,
            false => {
                print::line(&format!("{place}: these steps would be run, in this order:"))?;
                steps.iter().try_for_each(|step| print::line(&format!("  {step}")))?;
                print::line("Make a backup before: waxwing-server backup create --to FILE")?;
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let done = match block_on(database::migrate(folder, config, password))?? {
        database::Migrated::Created => "created",
        database::Migrated::Upgraded => "upgraded",
        database::Migrated::Current => "current",
    };
    match common.json {
        true => print::print_json(&json!({"tables": done, "applied": steps}))?,
        false => print::line(&format!("{place}: tables {done}"))?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Common {
    fn folder(&self) -> Result<Folder, Failure> {
        let chosen = self.dir.as_deref().map(Folder::new).or_else(|| Folder::usual(environment));
        chosen.ok_or_else(|| Failure::user("usage", "it is not clear which folder is meant", "name it with --dir DIR"))
    }

    fn config(&self, folder: &Folder, flags: &[(&str, &str)]) -> Result<Config, Failure> {
        Ok(Installation::read_config(folder, environment, flags)?)
    }

    /// The folder, opened and held.
    fn open(&self, flags: &[(&str, &str)]) -> Result<(Installation, Lock), Failure> {
        let folder = self.folder()?;
        let config = self.config(&folder, flags)?;
        let lock = folder.lock()?;
        let password = server_password(self.password_file.as_deref())?;
        Ok((Installation::open(folder, config, &password)?, lock))
    }
}

/// The server's password: from a file, else from the terminal, else an error that names the ways.
pub fn server_password(flag: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    match password_source::source(flag, environment) {
        Some(file) => Ok(password_source::read(&file)?),
        None if std::io::stdin().is_terminal() => {
            let theme = dialoguer::theme::ColorfulTheme::default();
            let asked = dialoguer::Password::with_theme(&theme).with_prompt("The server's password").interact();
            asked.map(Zeroizing::new).map_err(|_| InstallError::PasswordNeeded.into())
        }
        None => Err(InstallError::PasswordNeeded.into()),
    }
}

/// A variable of the process, if it is set and UTF-8.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A path that stays the same wherever it is read: settings take no other.
fn absolute(text: &str) -> Result<String, String> {
    let path = std::path::absolute(text).map_err(|error| error.to_string())?;
    path.into_os_string().into_string().map_err(|_| "the path is not UTF-8".into())
}

fn block_on<F: Future>(future: F) -> Result<F::Output, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map(|runtime| runtime.block_on(future)).map_err(Failure::unexpected)
}
