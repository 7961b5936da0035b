//! `whoami`, `status`, `chats`, `history`: what this device knows.

use crate::{
    Failure,
    cli::Options,
    command::{close, may_pass, open},
    output::{self, ChatObject, MessageObject, print, print_json},
    sanitise::{Breaks, sanitise},
};
use jiff::tz::TimeZone;
use serde::Serialize;
use std::time::Duration;
use waxwing_core::{Client, Status};

/// How long `status` waits for the server.
const STATUS_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn whoami(options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    let who = client.whoami();
    let printed = match options.json {
        true => print_json(who),
        false => print(&format!(
            "username   {}\nfull name  {}\ndevice     {}\nserver     {}\nidentity   {}",
            sanitise(&who.username, Breaks::Spaces),
            who.full_name.as_deref().map_or_else(|| "-".to_owned(), |name| sanitise(name, Breaks::Spaces)),
            sanitise(&who.device, Breaks::Spaces),
            sanitise(&who.server, Breaks::Spaces),
            sanitise(&who.identity, Breaks::Spaces),
        )),
    };
    close(client).await;
    Ok(printed?)
}

#[derive(Serialize)]
struct StatusObject<'a> {
    #[serde(flatten)]
    status: &'a Status,
    /// Why the server was not reached, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(crate) async fn status(options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    client.go_online();
    let reached = client.caught_up(STATUS_PATIENCE).await;
    let status = client.status().await;
    close(client).await;
    let status = status?;
    if options.json {
        let reason = reached.as_ref().err().map(ToString::to_string);
        print_json(&StatusObject { status: &status, reason })?;
    } else {
        let server = match &reached {
            Ok(()) => "connected".to_owned(),
            Err(error) => format!("not connected: {}", sanitise(&error.to_string(), Breaks::Spaces)),
        };
        print(&format!(
            "server  {server}\nqueued  {}\nunread  {}\nchats   {}",
            status.queued, status.unread, status.chats
        ))?;
        for username in &status.held {
            let username = sanitise(username, Breaks::Spaces);
            print(&format!("held    the identity of {username} has changed: nothing is sent to them"))?;
        }
    }
    match reached {
        // A server that is not there is an answer, not a failure.
        Err(error) if !may_pass(&error) => Err(error.into()),
        _ => Ok(()),
    }
}

pub(crate) async fn chats(options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    let chats = client.chats().await;
    close(client).await;
    let chats = chats?;
    if options.json {
        for chat in &chats {
            print_json(&ChatObject::from(chat))?;
        }
    } else if chats.is_empty() {
        print("No chats yet. Write to somebody: waxwing send USER TEXT, or waxwing chat USER")?;
    } else {
        for line in output::chat_lines(&chats, &TimeZone::system()) {
            print(&line)?;
        }
    }
    Ok(())
}

pub(crate) async fn history(options: &Options, user: &str, limit: Option<usize>) -> Result<(), Failure> {
    let client = open(options).await?;
    let printed = print_history(&client, options.json, user, limit).await;
    close(client).await;
    printed
}

async fn print_history(client: &Client, json: bool, user: &str, limit: Option<usize>) -> Result<(), Failure> {
    let messages = client.history(user, limit).await?;
    let zone = TimeZone::system();
    let width = messages.iter().map(|message| message.from.chars().count()).max().unwrap_or(0);
    for message in &messages {
        match json {
            true => print_json(&MessageObject::with_state(message))?,
            false => print(&output::message_line(message, &zone, width))?,
        }
    }
    Ok(())
}
