//! The throw-away server with somebody to talk to: the account `echo`, which answers, and the client's own menu.

use super::throwaway::Throwaway;
use crate::cli::INTERRUPTED;
use anyhow::Context as _;
use std::{process::ExitCode, time::Duration};
use waxwing_core::{Admission, Client, Content, Event, MessageState, ProfilePath, SignUp, Unlock, Zeroizing, sign_up};
use waxwing_terminal::{Failure, interrupted};

/// Plays until the person quits or interrupts it; whichever, nothing is left.
pub(super) async fn play() -> anyhow::Result<ExitCode> {
    let done = tokio::select! {
        done = show() => done,
        () = interrupted() => Ok(Err(Failure::Interrupted)),
    };
    // Whatever was being asked, this begins on its own line.
    let break_before = if matches!(done, Ok(Err(Failure::Interrupted))) { "\n" } else { "" };
    println!("{break_before}The throw-away server and everything on it are gone.");
    match done? {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(Failure::Interrupted) => Ok(ExitCode::from(INTERRUPTED)),
        Err(failure) => Err(anyhow::anyhow!("{failure}")),
    }
}

/// The server lives as long as this; returns how the menu ended.
async fn show() -> anyhow::Result<Result<(), Failure>> {
    println!("Setting up a throw-away server on this machine\u{2026}");
    let mut server = Throwaway::set_up().await?;
    server.start().await?;
    let echo = echo(&server).await?;
    println!(
        "\nSign up under any name, then start a chat with 'echo': it answers.\n\
         When you quit, the server and everything on it are gone.\n"
    );
    let profile = ProfilePath::resolve(Some(server.clients()), None)?;
    let done = waxwing_terminal::menu::run(profile, Some(server.link.clone())).await;
    echo.abort();
    Ok(done)
}

/// Signs `echo` up and lets it answer for as long as the task lives.
async fn echo(server: &Throwaway) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let profile = ProfilePath::resolve(Some(server.clients().join("echo")), None)?;
    let password = Zeroizing::new(waxwing_server::relay::new_invite_code()?);
    let request = SignUp {
        link: server.link.clone(),
        username: "echo".into(),
        full_name: Some("Echo".into()),
        email: None,
        password: password.clone(),
        code: None,
        admission: Admission::Open,
        device_name: None,
        remember: false,
        accept_strangers: true,
    };
    sign_up(&profile, request, &|_| {}).await.context("signing 'echo' up")?;
    let client = Client::open(&profile, Unlock::Password(password)).await?;
    let mut events = client.events();
    client.go_online();
    client.caught_up(Duration::from_secs(30)).await.context("'echo' comes online")?;
    Ok(tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            let Event::Message(message) = event else { continue };
            if let (MessageState::Received, Content::Text(text)) = (&message.state, &message.content) {
                // It is only a demonstration of the other side: what cannot be answered is not.
                let _ = client.send(&message.from, &format!("You said: {text}")).await;
            }
        }
    }))
}
