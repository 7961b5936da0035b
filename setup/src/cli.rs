//! The `waxwing-setup` program: its flags, and how a run ends.
//!
//! Invariant: every question of the wizard is also a flag and an environment variable; with `--yes` nothing is asked, and a
//! wrong value ends in exit code 1 before anything is written.

use crate::{
    apply::{Applying, Step},
    demonstration,
    node::Node,
    plan::{self, Answers, Plan, WrongAnswer},
    wizard::{self, Asked},
};
use clap::{Args, CommandFactory as _, Parser, Subcommand, builder::BoolishValueParser};
use serde_json::json;
use std::{
    ffi::OsString,
    io::IsTerminal,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};
use waxwing_manual::{Completions, Man};
use waxwing_server::{
    cli::{Failure, environment, manual},
    install::{Finished, Folder, password},
};
use zeroize::Zeroizing;

/// Sets a Waxwing server up. Without a command, it asks its questions in the terminal.
#[derive(Parser)]
#[command(name = "waxwing-setup", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Set a server up in a folder; safe to repeat.
    Init(Box<Init>),
    /// Make a further server ("node") on the MySQL database of one that is set up; safe to repeat.
    Node(Box<Node>),
    /// Show the main job on a throw-away server on this machine.
    Try {
        /// Play it without asking anything (also if there is no terminal).
        #[arg(long)]
        scripted: bool,
    },
    /// Print completions for a shell.
    Completions(Completions),
    /// Print a manual page, or write all of them.
    Man(Man),
    /// The server itself, for `try`.
    #[command(hide = true, disable_help_flag = true)]
    Server {
        /// The arguments of `waxwing-server`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// The exit code after Ctrl+C, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

/// The wizard's questions as flags.
#[derive(Args, Clone)]
pub(crate) struct Init {
    /// The folder for the server's files [default: waxwing-server in $XDG_DATA_HOME or ~/.local/share].
    #[arg(long, env = "WAXWING_DIR", value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Ask nothing; what no flag says keeps its default.
    #[arg(long, env = "WAXWING_YES", value_parser = BoolishValueParser::new())]
    pub(crate) yes: bool,
    /// `sqlite` (embedded, the default) or `mysql://user@host:port/schema`. A password may stand in the URL
    /// (`user:password@`), but other users of this machine can see it there: better use --database-password-file.
    #[arg(long, env = "WAXWING_DATABASE", hide_env_values = true, value_name = "DATABASE")]
    database: Option<String>,
    /// A file with the MySQL user's password.
    #[arg(long, env = "WAXWING_DATABASE_PASSWORD_FILE", value_name = "FILE")]
    database_password_file: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:7443, this machine only]; port 0 picks a free one.
    #[arg(long, env = "WAXWING_LISTEN", value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// How people reach the server, for its link; needed if it listens on every address.
    #[arg(long, env = "WAXWING_PUBLIC", value_name = "HOST[:PORT]")]
    public: Option<String>,
    /// A file with the server's password (10 characters or more). Without it: $WAXWING_SERVER_PASSWORD_FILE, or the
    /// systemd credential server-password.
    #[arg(long, value_name = "FILE")]
    server_password_file: Option<PathBuf>,
    /// Who may sign up: invite, open, secret or closed [default: open on this machine only, else invite].
    #[arg(long, alias = "sign-up", env = "WAXWING_SIGN_UP", value_name = "WHO")]
    signup: Option<String>,
    /// A file with what people must know to sign up, for --signup secret.
    #[arg(long, alias = "sign-up-secret-file", env = "WAXWING_SIGN_UP_SECRET_FILE", value_name = "FILE")]
    signup_secret_file: Option<PathBuf>,
    /// Let --signup open stand although the server is reached from other machines.
    #[arg(long, env = "WAXWING_YES_OPEN_TO_THE_WORLD", value_parser = BoolishValueParser::new())]
    yes_open_to_the_world: bool,
    /// Keep everything in memory alone: no database is made, and all accounts are gone whenever the server ends.
    #[arg(long, env = "WAXWING_IN_MEMORY", value_parser = BoolishValueParser::new())]
    in_memory: bool,
    /// Where NATS is, if further servers are to share the database (MySQL): `nats://HOST:PORT`, several separated by commas.
    #[arg(long, env = "WAXWING_CLUSTER_NATS", value_name = "URL")]
    nats: Option<String>,
    /// Print one JSON object with link, dir and pin (and invite_link); errors as JSON too. Needs --yes.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the program with these arguments (the first is its name) and returns its exit code.
pub fn run(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> ExitCode {
    let mut arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    if arguments.len() < 2 {
        arguments.truncate(0);
        arguments.extend(["waxwing-setup".into(), "init".into()]);
    }
    let json = arguments.iter().any(|argument| argument == "--json");
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return Failure::usage(&error, json),
    };
    match cli.command {
        Some(Command::Init(flags)) => ended(init(&flags), json),
        Some(Command::Node(flags)) => ended(blocking(crate::node::make(&flags)).map(|()| ExitCode::SUCCESS), json),
        Some(Command::Try { scripted }) => demonstration::run(scripted).unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }),
        Some(Command::Completions(wanted)) => ended(manual(wanted.print(&Cli::command())), json),
        Some(Command::Man(wanted)) => ended(manual(wanted.print(&Cli::command())), json),
        Some(Command::Server { arguments }) => {
            waxwing_server::cli::run(std::iter::once("waxwing-server".into()).chain(arguments))
        }
        None => Failure::user("usage", "no command was given", "see --help").report(json),
    }
}

fn ended(done: Result<ExitCode, Failure>, json: bool) -> ExitCode {
    done.unwrap_or_else(|failure| failure.report(json))
}

impl From<WrongAnswer> for Failure {
    fn from(wrong: WrongAnswer) -> Self {
        Self::user("wrong-value", wrong.reason, wrong.next)
    }
}

fn init(flags: &Init) -> Result<ExitCode, Failure> {
    blocking(set_up(flags))
}

fn blocking<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::unexpected)?;
    let done = runtime.block_on(work);
    // Its threads must be gone before the process ends and OpenSSL cleans up under them; but a prompt that was
    // interrupted still waits for its line, so not for ever.
    runtime.shutdown_timeout(Duration::from_millis(500));
    done
}

async fn set_up(flags: &Init) -> Result<ExitCode, Failure> {
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let (plan, asked) = match flags.yes || flags.json || !terminal {
        true => (unasked(flags)?, false),
        false => (wizard::ask(flags.clone()).await?, true),
    };
    let plan = match plan {
        Asked::Plan(plan) => plan,
        Asked::Already(folder, finished) => {
            conclude(flags.json, &folder, &finished, true)?;
            return Ok(ExitCode::SUCCESS);
        }
        Asked::Declined => {
            println!("Nothing was changed.");
            return Ok(ExitCode::from(1));
        }
        Asked::Interrupted => {
            println!("\nNothing was changed.");
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    let folder = plan.folder.clone();
    let finished = tokio::select! {
        finished = apply(*plan, flags, asked) => finished,
        // The wizard's questions leave Ctrl+C to us.
        _ = tokio::signal::ctrl_c() => {
            Err(Failure::user("interrupted", "the set-up was interrupted", "run it again: it goes on where it was"))
        }
    }?;
    conclude(flags.json, &folder, &finished, false)?;
    Ok(ExitCode::SUCCESS)
}

async fn apply(plan: Plan, flags: &Init, asked: bool) -> Result<Finished, Failure> {
    if !flags.json {
        if !asked {
            println!("{plan}");
        }
        println!();
    }
    let mut applying = Applying::new(plan);
    for step in Step::ALL {
        let done = applying.step(step).await?;
        if let Some(done) = done.filter(|_| !flags.json) {
            println!("  \u{2713} {:<14} {done}", step.name());
        }
    }
    applying.finished()
}

/// The plan out of flags, environment and defaults.
fn unasked(flags: &Init) -> Result<Asked, Failure> {
    let folder = flags.folder()?;
    let folder = folder.ok_or_else(|| WrongAnswer::new("the set-up needs a folder", "name it with --dir DIR"))?;
    if let Some(finished) = folder.finished()? {
        return Ok(Asked::Already(folder, finished));
    }
    if !flags.yes {
        let (message, next) = match flags.json {
            true => ("--json asks no questions", "add --yes, with the answers as flags (see --help)"),
            false => (
                "there is no terminal to ask in",
                "add --yes, with the answers as flags (see waxwing-setup init --help)",
            ),
        };
        return Err(Failure::user("usage", message, next));
    }
    let found = crate::apply::unfinished(&folder)?;
    let config_found = found.is_some();
    let answers = flags.answers()?;
    let config = match found {
        Some(config) => config,
        None => answers.config()?,
    };
    let needed = || {
        let next = "give --server-password-file FILE, set WAXWING_SERVER_PASSWORD_FILE, or pass the systemd credential";
        WrongAnswer::new("the server's password is needed", next)
    };
    let server_password = flags.server_password()?.ok_or_else(needed)?;
    plan::check_password(&server_password)?;
    let Answers { database_password, sign_up_secret, .. } = answers;
    let secrets = None;
    let plan = Plan { folder, config, config_found, server_password, database_password, sign_up_secret, secrets };
    Ok(Asked::Plan(Box::new(plan)))
}

impl Init {
    /// The folder that is meant: the flag, else the usual one; absolute.
    pub(crate) fn folder(&self) -> Result<Option<Folder>, Failure> {
        let Some(dir) = &self.dir else { return Ok(Folder::usual(environment)) };
        absolute_folder(dir, "--dir").map(Some)
    }

    /// What the flags and the environment answer.
    pub(crate) fn answers(&self) -> Result<Answers, Failure> {
        let secret = |file: &Option<PathBuf>| file.as_deref().map(password::read).transpose();
        let mut answers = Answers {
            listen: self.listen.as_deref().map(listen).transpose()?,
            public: self.public.clone().filter(|public| !public.is_empty()),
            sign_up_secret: secret(&self.signup_secret_file)?,
            open_to_the_world: self.yes_open_to_the_world,
            in_memory: self.in_memory,
            nats: self.nats.as_deref().map(plan::nats).transpose()?.unwrap_or_default(),
            ..Answers::default()
        };
        if let Some(who) = self.signup.as_deref().filter(|who| !who.is_empty()) {
            let wrong = |reason| WrongAnswer::new(format!("--signup: {reason}"), "choose one of them");
            answers.sign_up = Some(who.parse().map_err(wrong)?);
        }
        let file = secret(&self.database_password_file)?;
        if let Some(database) = self.database.as_deref().filter(|database| !database.is_empty()) {
            let (settings, in_url) = plan::database(database)?;
            if in_url.is_some() && file.is_some() {
                let reason = "the database's password was given twice, in the URL and in a file";
                return Err(WrongAnswer::new(reason, "take it out of the URL").into());
            }
            answers.database = Some(settings);
            answers.database_password = in_url;
        }
        answers.database_password = answers.database_password.or(file);
        Ok(answers)
    }

    /// The server's password, if a file gives it.
    pub(crate) fn server_password(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        let file = password::source(self.server_password_file.as_deref(), environment);
        Ok(file.map(|file| password::read(&file)).transpose()?)
    }
}

/// The folder of this name, whatever folder this process is in.
pub(crate) fn absolute_folder(dir: &Path, flag: &str) -> Result<Folder, Failure> {
    let absolute = std::path::absolute(dir).map_err(|error| {
        WrongAnswer::new(format!("{:?} is no folder: {error}", dir.display()), format!("name it with {flag} DIR"))
    })?;
    Ok(Folder::new(absolute))
}

/// Reads `--listen`; port 0 becomes a free one.
pub(crate) fn listen(text: &str) -> Result<SocketAddr, Failure> {
    let address = plan::listen(text)?;
    if address.port() != 0 {
        return Ok(address);
    }
    TcpListener::bind(address).and_then(|listener| listener.local_addr()).map_err(|error| {
        let next = "give an address of this machine with --listen ADDR:PORT";
        WrongAnswer::new(format!("no free port on {}: {error}", address.ip()), next).into()
    })
}

pub(crate) fn conclude(json: bool, folder: &Folder, finished: &Finished, already: bool) -> Result<(), Failure> {
    let Finished { link, invite } = finished;
    let dir = folder.path().display().to_string();
    if json {
        let mut object = json!({"link": link.to_string(), "dir": dir, "pin": link.pin.to_string()});
        if let (Some(fields), Some(invite)) = (object.as_object_mut(), invite) {
            fields.insert("invite_link".to_owned(), json!(invite.to_string()));
        }
        println!("{object}");
        return Ok(());
    }
    match already {
        true => println!("\n{dir} is already set up; nothing was changed.\n"),
        false => println!("\nThe server is set up.\n"),
    }
    println!("  Start it       waxwing-server run --dir {}", shell_word(&dir));
    println!("  Its link       {link}");
    println!("                 (also in {})", folder.link().display());
    let shown = invite.as_ref().unwrap_or(link).to_string();
    if let Some(invite) = invite {
        println!("  First invite   {invite}");
        println!("                 It lets one person in, within a week. More:");
        println!("                 waxwing-server invite create --dir {}", shell_word(&dir));
    }
    println!("  Sign up        start waxwing and paste the {}", if invite.is_some() { "invite" } else { "link" });
    if link.addresses.iter().all(|address| !is_local(&address.host)) {
        println!("  Firewall       let people reach the port that stands in the link");
    }
    if let Some(code) = waxwing_server::cli::qr_code(&shown).filter(|_| std::io::stdout().is_terminal()) {
        println!("\n{code}");
    }
    println!("  Keep the server's password, and a copy of secrets.sealed: nobody can replace them.");
    Ok(())
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Quotes what a shell would take apart.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./~".contains(c);
    match text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}
