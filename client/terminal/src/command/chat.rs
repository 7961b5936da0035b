//! `chat`: the chat screen, or with `--plain` the live chat with one user, line by line.

use crate::{
    Failure,
    chat::{self, Reading},
    cli::Options,
    config, output, prompt,
    rpc::{
        Backend, Nothing, Purpose,
        chats::{ChatName, OpenChat},
        profile::Status,
    },
    screen,
};
use std::{io::Write as _, time::Duration};
use waxwing_core::Error;

pub(crate) async fn run(options: &Options, user: Option<&str>) -> Result<(), Failure> {
    if options.json {
        return Err(Failure::usage(
            "the chat has no JSON",
            "use 'waxwing send' and 'waxwing receive --follow --json', which are made for scripts",
        ));
    }
    let screen = screen::is_possible(options.plain);
    if user.is_none() && !screen {
        return Err(Failure::usage(
            "line by line there is one chat at a time",
            "name the other user: 'waxwing chat bob'; 'waxwing chats' lists whom you have chats with",
        ));
    }
    // Wrong settings are said before a password is asked.
    let settings = config::screen()?;
    loop {
        let backend = Backend::open(options, Purpose::Hold).await?;
        let chatted = match user {
            Some(user) if !screen => enter(&backend, user, settings.away_after()).await,
            user => show(&backend, user, settings.clone()).await,
        };
        match backend.finish(chatted).await {
            // Whoever knows the password may go on.
            Err(Failure::Core(Error::Locked)) if options.password_file.is_none() && prompt::is_possible() => hide(),
            left => return left,
        }
    }
}

async fn enter(backend: &Backend, user: &str, away_after: Option<Duration>) -> Result<(), Failure> {
    let happenings = backend.happenings().await?;
    backend.go_online();
    let user = backend.call::<OpenChat>(ChatName { chat: user.to_owned() }).await?.chat;
    chat::run(backend, happenings, &user, Reading::of_this_terminal(), away_after).await
}

/// The chat screen; whoever leaves is told what waits still.
async fn show(backend: &Backend, user: Option<&str>, settings: screen::Settings) -> Result<(), Failure> {
    screen::run(backend, user, settings).await?;
    if let Some(waiting) = output::waiting(&backend.call::<Status>(Nothing {}).await?) {
        let _ = writeln!(std::io::stderr(), "{waiting}");
    }
    Ok(())
}

/// Says that the profile is locked. The screen has taken what was read with it.
pub(crate) fn hide() {
    let _ = writeln!(std::io::stderr(), "waxwing: locked. The password opens the chat again; Ctrl+C leaves it.");
}
