//! `chat`: the live chat with one user.

use crate::{
    Failure,
    chat::{self, Reading},
    cli::Options,
    output, prompt,
    rpc::{
        Backend, Purpose,
        chats::{ChatName, OpenChat},
    },
};
use dialoguer::console::Term;
use std::io::Write as _;
use waxwing_core::Error;

pub(crate) async fn run(options: &Options, user: &str) -> Result<(), Failure> {
    if options.json {
        return Err(Failure::usage(
            "the chat has no JSON",
            "use 'waxwing send' and 'waxwing receive --follow --json', which are made for scripts",
        ));
    }
    let reading = Reading::of_this_terminal(options.plain);
    loop {
        let backend = Backend::open(options, Purpose::Hold).await?;
        let chatted = enter(&backend, user, reading).await;
        match backend.finish(chatted).await {
            // Whoever knows the password may go on.
            Err(Failure::Core(Error::Locked)) if options.password_file.is_none() && prompt::is_possible() => {
                hide(reading);
            }
            left => return left,
        }
    }
}

async fn enter(backend: &Backend, user: &str, reading: Reading) -> Result<(), Failure> {
    let happenings = backend.happenings().await?;
    backend.go_online();
    let user = backend.call::<OpenChat>(ChatName { chat: user.to_owned() }).await?.chat;
    chat::run(backend, happenings, &user, reading).await
}

/// Takes what was read off the screen, and says that the profile is locked.
pub(crate) fn hide(reading: Reading) {
    if reading == Reading::Editor && !output::is_plain() {
        // Best effort: a terminal may keep what has scrolled away.
        let _ = Term::stdout().clear_screen();
    }
    let _ = writeln!(std::io::stderr(), "waxwing: locked. The password opens the chat again; Ctrl+C leaves it.");
}
