//! The menu for people: sign up or log in, then the chat screen; where that is not possible, the list of chats.
//!
//! A refused sign-up (a taken name, a wrong password) returns to the questions; only what cannot go on ends the menu.

mod welcome;

use crate::{
    Failure,
    chat::{self, Reading},
    cli::Options,
    command::chat::hide,
    config,
    output::{self, notice},
    prompt::{self, Interrupts, Spinner},
    rpc::{
        Backend, Happening, Nothing, Purpose,
        chats::{ChatName, Chats, OpenChat},
        profile::{CatchUp, Status, StatusObject, Whoami},
    },
    sanitise::{Breaks, sanitise},
    screen::{self, Settings},
};
use dialoguer::Select;
use jiff::tz::TimeZone;
use std::{io::Write as _, path::PathBuf, time::Duration};
use waxwing_core::{Chat, Client, Connection, Error, ErrorKind, Event, Link, ProfilePath, Unlock, check_username};

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
    let auto_lock = config::auto_lock(None)?;
    Menu { profile, server, password_file: None, screen: screen_settings(false)?, auto_lock }.run().await
}

/// The menu as the command line wants it.
pub(crate) async fn open(options: &Options) -> Result<(), Failure> {
    let (profile, server) = (options.profile()?, options.server()?);
    let (password_file, auto_lock) = (options.password_file.clone(), options.auto_lock()?);
    Menu { profile, server, password_file, screen: screen_settings(options.plain)?, auto_lock }.run().await
}

fn screen_settings(plain: bool) -> Result<Option<Settings>, Failure> {
    let settings = config::screen()?;
    Ok(screen::is_possible(plain).then_some(settings))
}

struct Menu {
    profile: ProfilePath,
    server: Option<Link>,
    password_file: Option<PathBuf>,
    /// How the chat screen looks; none where the list of chats and a chat line by line take its place.
    screen: Option<Settings>,
    auto_lock: Option<Duration>,
}

impl Menu {
    async fn run(self) -> Result<(), Failure> {
        if !prompt::is_possible() {
            return Err(Failure::usage("the menu needs a terminal", "give a command; see 'waxwing --help'"));
        }
        let _terminal = prompt::FoundTerminal::new();
        let mut interrupts = Interrupts::new();
        loop {
            let opened = tokio::select! {
                opened = self.open_profile() => opened?,
                () = interrupts.wait() => return Err(Failure::Interrupted),
            };
            let Some(backend) = opened else { return Ok(()) };
            let done = tokio::select! {
                done = self.show(&backend) => done,
                () = interrupts.wait() => Err(Failure::Interrupted),
            };
            match done {
                Ok(Ended::LockedInChat) => {
                    backend.finish::<()>(Err(Error::Locked.into())).await.or_else(stay_locked)?;
                    // Whoever knows the password may go on.
                    hide();
                }
                done => return leave(backend, done.map(drop)).await,
            }
        }
    }

    /// The way to the profile, after a sign-up or login where there is none yet; none if the user quits.
    async fn open_profile(&self) -> Result<Option<Backend>, Failure> {
        let password = match self.profile.exists() {
            true => None,
            false => match welcome::run(&self.profile, self.server.clone()).await? {
                Some(password) => Some(password),
                None => return Ok(None),
            },
        };
        let Some(password) = password else {
            let file = self.password_file.as_deref();
            return Backend::open_profile(&self.profile, file, false, self.auto_lock, Purpose::Hold).await.map(Some);
        };
        let remembered = !self.profile.needs_password();
        let unlock = if remembered { Unlock::Remembered } else { Unlock::Password(password.clone()) };
        let client = match Client::open(&self.profile, unlock).await {
            Err(Error::Locked) => Client::open(&self.profile, Unlock::Password(password)).await?,
            opened => opened?,
        };
        Ok(Some(Backend::own(&self.profile, client, self.auto_lock, Purpose::Hold)))
    }

    async fn show(&self, backend: &Backend) -> Result<Ended, Failure> {
        if let Some(settings) = &self.screen {
            return match screen::run(backend, None, settings.clone()).await {
                Err(Failure::Core(Error::Locked)) => Ok(Ended::LockedInChat),
                done => done.map(|()| Ended::Quit),
            };
        }
        greet(backend).await?;
        let me = backend.call::<Whoami>(Nothing {}).await?.username;
        loop {
            let chats = backend.call::<Chats>(Nothing {}).await?.chats;
            let chats = chats.into_iter().map(Chat::try_from).collect::<Result<Vec<_>, _>>()?;
            let items = items(&chats);
            let heading = heading(&me, &backend.call::<Status>(Nothing {}).await?);
            let chosen = prompt::ask(move |theme| {
                Select::with_theme(theme).with_prompt(heading).items(&items).default(0).report(false).interact_opt()
            });
            let chosen = tokio::select! {
                chosen = chosen => chosen?,
                // The question still reads the terminal: another one, for the password, cannot be asked.
                () = backend.must_lock() => return Err(Error::Locked.into()),
            };
            backend.touch();
            let entered = match Choice::of(chosen, &chats) {
                Choice::Quit => return Ok(Ended::Quit),
                Choice::Refresh => continue,
                Choice::Chat(name) => self.enter(backend, &name).await,
                Choice::New => match tokio::select! {
                    name = new_chat(backend) => name,
                    () = backend.must_lock() => return Err(Error::Locked.into()),
                } {
                    Ok(Some(name)) => self.enter(backend, &name).await,
                    Ok(None) => continue,
                    Err(failure) => Err(failure),
                },
            };
            if matches!(entered, Err(Failure::Core(Error::Locked))) {
                return Ok(Ended::LockedInChat);
            }
            entered.or_else(stay)?;
        }
    }

    async fn enter(&self, backend: &Backend, name: &str) -> Result<(), Failure> {
        let away_after = config::screen()?.away_after();
        chat::run(backend, backend.happenings().await?, name, Reading::of_this_terminal(), away_after).await
    }
}

/// How the list of chats ended.
enum Ended {
    Quit,
    LockedInChat,
}

/// Ends the menu: says what waits still, and closes or locks the profile.
async fn leave(backend: Backend, done: Result<(), Failure>) -> Result<(), Failure> {
    let interrupted = matches!(done, Err(Failure::Interrupted));
    if let Ok(Ok(status)) = tokio::time::timeout(GOODBYE, backend.call::<Status>(Nothing {})).await
        && let Some(waiting) = output::waiting(&status)
    {
        say(&format!("{}{waiting}", if interrupted { "\n" } else { "" }));
    }
    if interrupted {
        return done;
    }
    if matches!(done, Err(Failure::Core(Error::Locked))) {
        // The question that was open still reads the terminal, so no other can be asked here.
        say("\nLocked. Start 'waxwing' again: it asks for the password.");
    }
    say(&notice("Closing…"));
    backend.finish(done).await
}

/// That the profile was locked is no failure; that its key could not be forgotten is one.
fn stay_locked(failure: Failure) -> Result<(), Failure> {
    match failure {
        Failure::Core(Error::Locked) => Ok(()),
        failure => Err(failure),
    }
}

/// Connects, and waits a moment so that the list begins with what is new. A first try that fails is tried again meanwhile.
async fn greet(backend: &Backend) -> Result<(), Failure> {
    let mut happenings = backend.happenings().await?;
    backend.go_online();
    if backend.call::<Status>(Nothing {}).await?.online {
        return Ok(());
    }
    let spinner = Spinner::new(true);
    spinner.say("connecting…");
    let here = async {
        loop {
            match happenings.next().await {
                Happening::Event(Event::CaughtUp | Event::Connection(Connection::Offline { retry_in: None, .. })) => {
                    return;
                }
                Happening::Ended | Happening::Locked => return,
                Happening::Event(Event::EnrolledAnew { .. }) => say(&notice(output::ENROLLED_ANEW)),
                _ => {}
            }
        }
    };
    let _ = tokio::time::timeout(GREETING, here).await;
    Ok(())
}

/// Asks with whom; nothing typed goes back.
async fn new_chat(backend: &Backend) -> Result<Option<String>, Failure> {
    let check = |name: &str| match name.is_empty() {
        true => Ok(()),
        false => check_username(name).map(drop).map_err(|error| error.to_string()),
    };
    let name = prompt::line("Their username (nothing goes back)", None, check).await?;
    if name.is_empty() {
        return Ok(None);
    }
    // Right after the start the connection may be on its way still; if it fails, opening the chat says so.
    let _ = backend.call::<CatchUp>(CONNECTING.into()).await;
    Ok(Some(backend.call::<OpenChat>(ChatName { chat: name }).await?.chat))
}

/// Says a failure that need not end the menu; what ends it is passed on.
fn stay(failure: Failure) -> Result<(), Failure> {
    match &failure {
        Failure::Core(error) if error.kind() != ErrorKind::Unexpected && *error != Error::Locked => {
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

fn heading(username: &str, status: &StatusObject) -> String {
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
        Chat { name: name.into(), ..Chat::default() }
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
