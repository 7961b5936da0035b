//! The `waxwing` program: commands for scripts, a menu and a live chat for people, on top of `waxwing-core`.
//!
//! It owns words, prompts, JSON shapes and exit codes. Every foreign text passes `sanitise` before a
//! terminal shows it. It knows neither keys nor the wire: what it cannot ask of the core, it cannot do.

mod chat;
mod cli;
mod command;
mod config;
mod failure;
mod file_commands;
mod group_commands;
mod highlight;
mod markdown;
pub mod menu;
mod news;
mod opening;
mod output;
mod password;
mod prompt;
mod rpc;
mod sanitise;
mod screen;

pub use failure::Failure;
pub use prompt::{FoundTerminal, interrupted};

use clap::{CommandFactory as _, Parser as _};
use cli::{AccountCommand, Cli, Command, IdentityCommand, Options};
use std::{ffi::OsString, io, process::ExitCode, time::Duration};
use tracing_subscriber::EnvFilter;
use waxwing_core::{Route, set_route};
use waxwing_manual::ManualError;

/// A text of somebody else as a terminal gets it: for whoever tries what strange texts do.
#[doc(hidden)]
pub fn formatted(text: &str) -> String {
    markdown::ansi(text, 0)
}

/// Runs the program with these arguments, the program's name first, and says how it ended.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    leave_no_core_dump();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, arguments.iter().any(|argument| argument == "--json")),
    };
    let json = cli.options.json;
    trace(cli.options.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(&Failure::Io(error), json),
    };
    let terminal = prompt::FoundTerminal::new();
    let done = runtime.block_on(dispatch(cli));
    drop(terminal);
    // Its threads must be gone before the process ends and OpenSSL cleans up under them; but a prompt that was
    // interrupted still waits for its line, so not for ever.
    runtime.shutdown_timeout(Duration::from_millis(500));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => end(&failure, json),
    }
}

/// Leaves no core dump: it would hold keys and what was written, in clear, on a disk that keeps them otherwise sealed.
fn leave_no_core_dump() {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    // Where the system does not take it, nothing else is lost.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
}

fn end(failure: &Failure, json: bool) -> ExitCode {
    failure.report(json);
    ExitCode::from(failure.exit_code())
}

/// Says what clap found; its own exit code for wrong usage, 2, means something else here.
fn refuse(error: &clap::Error, json: bool) -> ExitCode {
    if error.use_stderr() && json {
        let message = error.render().to_string();
        let message = message.trim_start_matches("error: ").lines().next().unwrap_or("wrong usage").to_owned();
        return end(&Failure::usage(message, "see 'waxwing --help'"), true);
    }
    let _ = error.print();
    ExitCode::from(u8::from(error.use_stderr()))
}

fn trace(verbose: u8) {
    let filter = match verbose {
        0 => return,
        1 => "warn,waxwing_core=info,waxwing_terminal=info",
        _ => "info,waxwing_core=debug,waxwing_terminal=debug",
    };
    let subscriber = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_writer(io::stderr);
    // Where nothing can be written, complaining about it would only end the program.
    let subscriber = subscriber.log_internal_errors(false);
    // A program that embeds this one may have a subscriber already.
    let _ = subscriber.with_ansi(false).try_init();
}

async fn dispatch(cli: Cli) -> Result<(), Failure> {
    let Cli { options, command } = cli;
    set_route(Route::new(options.via, options.proxy.as_deref(), |name| std::env::var(name).ok()));
    let Some(command) = command else {
        if options.json {
            return Err(Failure::usage("the menu has no JSON", "give a command; see 'waxwing --help'"));
        }
        return menu::open(&options).await;
    };
    match command {
        // These wait for long, and end in order when interrupted.
        Command::Receive(arguments) => command::receive::run(&options, &arguments).await,
        Command::Chat { user } => command::chat::run(&options, user.as_deref()).await,
        Command::Daemon => command::daemon::run(&options).await,
        command => tokio::select! {
            done = run_short(&options, command) => done,
            () = prompt::interrupted() => Err(Failure::Interrupted),
        },
    }
}

async fn run_short(options: &Options, command: Command) -> Result<(), Failure> {
    match command {
        Command::Signup(arguments) => command::account::sign_up(options, arguments).await,
        Command::Login(arguments) => command::account::log_in(options, arguments).await,
        Command::Ping { link } => command::account::ping(options, link).await,
        Command::Whoami => command::show::whoami(options).await,
        Command::Status => command::show::status(options).await,
        Command::Send(arguments) => command::send::run(options, arguments).await,
        Command::Edit { deed, text } => command::deeds::edit(options, deed, text).await,
        Command::Delete { deed } => command::deeds::delete(options, deed).await,
        Command::React { deed, emoji, remove } => command::deeds::react(options, deed, emoji, remove).await,
        Command::Pin { deed, remove } => command::deeds::pin(options, deed, remove).await,
        Command::Pins { chat } => command::deeds::pins(options, chat).await,
        Command::Timer { chat, span } => command::preferences::timer(options, chat, span).await,
        Command::Mute { chat, span } => {
            let until = span.and_then(cli::Span::seconds).map(cli::from_now);
            command::preferences::mute(options, chat, until, true).await
        }
        Command::Unmute { chat } => command::preferences::mute(options, chat, None, false).await,
        Command::Block { user } => command::preferences::block(options, user, true).await,
        Command::Unblock { user } => command::preferences::block(options, user, false).await,
        Command::Blocked => command::preferences::blocked(options).await,
        Command::Search { query, limit } => command::search::run(options, &query, limit).await,
        Command::Requests => command::preferences::requests(options).await,
        Command::Accept { chat } => command::preferences::accept(options, chat).await,
        Command::Users { chat } => command::users::users(options, chat).await,
        Command::Nick { name } => command::preferences::set_nick(options, name).await,
        Command::Decline { chat } => command::preferences::decline(options, chat).await,
        Command::Settings(arguments) => command::preferences::settings(options, arguments).await,
        Command::Files { chat } => command::files::list(options, chat).await,
        Command::Download(arguments) => command::files::download(options, arguments).await,
        Command::Ack { id } => command::receive::acknowledge(options, id).await,
        Command::History { user, limit } => command::show::history(options, user, limit).await,
        Command::Chats => command::show::chats(options).await,
        Command::Devices { command } => command::devices::devices(options, command).await,
        Command::Password { command } => command::owner::password(options, command).await,
        Command::Recover(arguments) => command::owner::recover(options, arguments).await,
        Command::Verify(arguments) => command::trust::verify(options, arguments).await,
        Command::Trust(arguments) => command::trust::trust(options, arguments).await,
        Command::Identity { command: IdentityCommand::Rotate } => command::owner::rotate(options).await,
        Command::Account { command: AccountCommand::Delete { yes } } => {
            command::owner::delete_account(options, yes).await
        }
        Command::Group { command } => command::groups::group(options, command).await,
        Command::Room { command } => command::groups::room(options, command).await,
        Command::Lock => command::lock::lock(options).await,
        Command::Unlock { remember } => command::lock::unlock(options, remember).await,
        Command::RpcSchema => command::show::rpc_schema(),
        Command::Completions(wanted) => manual(wanted.print(&Cli::command())),
        Command::Man(wanted) => manual(wanted.print(&Cli::command())),
        Command::Backup(backup) => command::backup::run(options, backup).await,
        Command::Export(arguments) => command::transfer::export(options, arguments).await,
        Command::Import { file } => command::transfer::import(options, file).await,
        Command::Receive(_) | Command::Chat { .. } | Command::Daemon => Ok(()),
    }
}

fn manual(done: Result<(), ManualError>) -> Result<(), Failure> {
    done.map_err(|error| match error {
        error if error.is_users() => Failure::usage(error.to_string(), error.next()),
        error => Failure::Io(io::Error::other(error)),
    })
}
