//! The menu for people: sign up or log in, then the list of chats.
//!
//! A refused sign-up (a taken name, a wrong password) returns to the questions; only what cannot go on ends the menu.

mod welcome;

use crate::{
    Failure,
    chat::{self, Reading},
    cli::Options,
    output::{self, notice},
    password,
    prompt::{self, Interrupts, Spinner},
    sanitise::{Breaks, sanitise},
};
use dialoguer::Select;
use jiff::tz::TimeZone;
use std::{io::Write as _, path::PathBuf, time::Duration};
use waxwing_core::{Chat, Client, Connection, ErrorKind, Event, Link, ProfilePath, Status, Unlock, check_username};

/// How long the first list of chats waits for the connection and what is new.
const GREETING: Duration = Duration::from_secs(2);

/// How long the end waits to know what is still to be sent.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long starting a chat waits for the first connection.
const CONNECTING: Duration = Duration::from_secs(10);

/// Opens the menu on a profile, which may not exist yet; a `server` that is given is not asked for. Needs a terminal.
///
/// Returns when the user quits; [`Failure::Interrupted`] on Ctrl+C, SIGINT or SIGTERM. A question that was interrupted
/// may still read the terminal on a thread of the runtime: shut it down with `shutdown_timeout`.
pub async fn run(profile: ProfilePath, server: Option<Link>) -> Result<(), Failure> {
    Menu { profile, server, password_file: None, plain: false }.run().await
}

/// The menu as the command line wants it.
pub(crate) async fn open(options: &Options) -> Result<(), Failure> {
    let (profile, server) = (options.profile()?, options.server()?);
    Menu { profile, server, password_file: options.password_file.clone(), plain: options.plain }.run().await
}

struct Menu {
    profile: ProfilePath,
    server: Option<Link>,
    password_file: Option<PathBuf>,
    plain: bool,
}

impl Menu {
    async fn run(self) -> Result<(), Failure> {
        if !prompt::is_possible() {
            return Err(Failure::usage("the menu needs a terminal", "give a command; see 'waxwing --help'"));
        }
        let _terminal = prompt::FoundTerminal::new();
        let mut interrupts = Interrupts::new();
        let opened = tokio::select! {
            opened = self.open_profile() => opened?,
            () = interrupts.wait() => return Err(Failure::Interrupted),
        };
        let Some(client) = opened else { return Ok(()) };
        let done = tokio::select! {
            done = self.show(&client) => done,
            () = interrupts.wait() => Err(Failure::Interrupted),
        };
        let interrupted = matches!(done, Err(Failure::Interrupted));
        if let Ok(Ok(Some(waiting))) = tokio::time::timeout(GOODBYE, output::waiting(&client)).await {
            say(&format!("{}{waiting}", if interrupted { "\n" } else { "" }));
        }
        if !interrupted {
            say(&notice("Closing…"));
            if let Err(error) = client.close().await {
                tracing::debug!(%error, "closing");
            }
        }
        done
    }

    /// The profile's client, after a sign-up or login where there is none yet; none if the user quits.
    async fn open_profile(&self) -> Result<Option<Client>, Failure> {
        Ok(Some(match self.profile.exists() {
            true => password::open(&self.profile, self.password_file.as_deref(), false).await?,
            false => match welcome::run(&self.profile, self.server.clone()).await? {
                None => return Ok(None),
                Some(password) => {
                    let remembered = !self.profile.needs_password();
                    let unlock = if remembered { Unlock::Remembered } else { Unlock::Password(password.clone()) };
                    match Client::open(&self.profile, unlock).await {
                        Err(waxwing_core::Error::Locked) => {
                            Client::open(&self.profile, Unlock::Password(password)).await?
                        }
                        opened => opened?,
                    }
                }
            },
        }))
    }

    async fn show(&self, client: &Client) -> Result<(), Failure> {
        greet(client).await;
        self.chats(client).await
    }

    async fn chats(&self, client: &Client) -> Result<(), Failure> {
        loop {
            let (chats, status) = (client.chats().await?, client.status().await?);
            let items = items(&chats);
            let heading = heading(&client.whoami().username, &status);
            let chosen = prompt::ask(move |theme| {
                Select::with_theme(theme).with_prompt(heading).items(&items).default(0).report(false).interact_opt()
            });
            let entered = match Choice::of(chosen.await?, &chats) {
                Choice::Quit => return Ok(()),
                Choice::Refresh => continue,
                Choice::Chat(name) => self.enter(client, &name).await,
                Choice::New => match new_chat(client).await {
                    Ok(Some(name)) => self.enter(client, &name).await,
                    Ok(None) => continue,
                    Err(failure) => Err(failure),
                },
            };
            entered.or_else(stay)?;
        }
    }

    async fn enter(&self, client: &Client, name: &str) -> Result<(), Failure> {
        chat::run(client, client.events(), name, Reading::of_this_terminal(self.plain)).await
    }
}

/// Connects, and waits a moment so that the list begins with what is new. A first try that fails is tried again meanwhile.
async fn greet(client: &Client) {
    let mut events = client.events();
    client.go_online();
    let spinner = Spinner::new(true);
    spinner.say("connecting…");
    let here = async {
        while let Some(event) = events.recv().await {
            if matches!(event, Event::CaughtUp | Event::Connection(Connection::Offline { retry_in: None, .. })) {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(GREETING, here).await;
}

/// Asks with whom; nothing typed goes back.
async fn new_chat(client: &Client) -> Result<Option<String>, Failure> {
    let check = |name: &str| match name.is_empty() {
        true => Ok(()),
        false => check_username(name).map(drop).map_err(|error| error.to_string()),
    };
    let name = prompt::line("Their username (nothing goes back)", None, check).await?;
    if name.is_empty() {
        return Ok(None);
    }
    // Right after the start the connection may be on its way still; if it fails, `start_chat` says so.
    let _ = client.caught_up(CONNECTING).await;
    Ok(Some(client.start_chat(&name).await?))
}

/// Says a failure that need not end the menu; what ends it is passed on.
fn stay(failure: Failure) -> Result<(), Failure> {
    match &failure {
        Failure::Core(error) if error.kind() != ErrorKind::Unexpected => {
            say(&format!("! {}", failure.in_words()));
            Ok(())
        }
        _ => Err(failure),
    }
}

/// Says something on standard error, where the questions are.
fn say(text: &str) {
    // A terminal that is gone ends the menu at its next question.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What was chosen in the list of chats.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Chat(String),
    New,
    Refresh,
    Quit,
}

impl Choice {
    /// What the item at this place means; none is Esc or `q`.
    fn of(place: Option<usize>, chats: &[Chat]) -> Self {
        let Some(place) = place else { return Self::Quit };
        match (chats.get(place), place.checked_sub(chats.len())) {
            (Some(chat), _) => Self::Chat(chat.name.clone()),
            (None, Some(0)) => Self::New,
            (None, Some(1)) => Self::Refresh,
            (None, _) => Self::Quit,
        }
    }
}

/// The items of the list, in the order that [`Choice::of`] knows.
fn items(chats: &[Chat]) -> Vec<String> {
    let mut items = output::chat_lines(chats, &TimeZone::system());
    items.extend(["+ Start a chat", "  Look for news", "  Quit"].map(str::to_owned));
    items
}

fn heading(username: &str, status: &Status) -> String {
    let online = if status.online { "connected" } else { "not connected" };
    let username = sanitise(username, Breaks::Spaces);
    match status.unread {
        0 => format!("{username} · {online}"),
        unread => format!("{username} · {online} · {unread} new"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(name: &str) -> Chat {
        Chat { name: name.into(), full_name: None, last: None, unread: 0, queued: 0, identity_changed: false }
    }

    #[test]
    fn each_item_of_the_list_does_what_it_says() {
        let chats = [chat("bob"), chat("carol")];
        let items = items(&chats);
        let meaning = |word: &str| Choice::of(items.iter().position(|item| item.contains(word)), &chats);
        assert_eq!(meaning("carol"), Choice::Chat("carol".into()));
        assert_eq!(meaning("Start"), Choice::New);
        assert_eq!(meaning("news"), Choice::Refresh);
        assert_eq!(meaning("Quit"), Choice::Quit);
        assert_eq!(Choice::of(None, &chats), Choice::Quit);
        assert_eq!(Choice::of(Some(0), &[]), Choice::New);
    }

    #[test]
    fn only_defects_and_interruptions_end_the_menu() {
        assert!(stay(waxwing_core::Error::UnknownUser("bob".into()).into()).is_ok());
        assert!(stay(waxwing_core::Error::Storage("disk full".into()).into()).is_err());
        assert!(stay(Failure::Interrupted).is_err());
    }
}
