//! `whoami`, `status`, `chats`, `history`, `rpc-schema`: what this device knows.

use crate::{
    Failure,
    cli::Options,
    command::{ask, may_recover},
    output::{self, print, print_json},
    rpc::{
        self, Backend, Nothing, Purpose,
        chats::{Chats, History, HistoryParams},
        objects,
        profile::{CatchUp, Status, StatusObject, Whoami},
    },
    sanitise::{Breaks, sanitise},
};
use jiff::tz::TimeZone;
use serde::Serialize;
use std::time::Duration;
use waxwing_core::Chat;

/// How long `status` waits for the server.
const STATUS_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn whoami(options: &Options) -> Result<(), Failure> {
    let who = ask::<Whoami>(options, Nothing {}).await?;
    if options.json {
        return Ok(print_json(&who)?);
    }
    Ok(print(&format!(
        "username   {}\nfull name  {}\ndevice     {}\nserver     {}\nidentity   {}",
        sanitise(&who.username, Breaks::Spaces),
        who.full_name.as_deref().map_or_else(|| "-".to_owned(), |name| sanitise(name, Breaks::Spaces)),
        sanitise(&who.device, Breaks::Spaces),
        sanitise(&who.server, Breaks::Spaces),
        sanitise(&who.identity, Breaks::Spaces),
    ))?)
}

#[derive(Serialize)]
struct StatusLine<'a> {
    #[serde(flatten)]
    status: &'a StatusObject,
    /// Why the server was not reached, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(crate) async fn status(options: &Options) -> Result<(), Failure> {
    let backend = Backend::open(options, Purpose::Once).await?;
    let reached = backend.call::<CatchUp>(STATUS_PATIENCE.into()).await;
    let status = backend.call::<Status>(Nothing {}).await;
    backend.close().await;
    let status = status?;
    if options.json {
        let reason = reached.as_ref().err().map(ToString::to_string);
        print_json(&StatusLine { status: &status, reason })?;
    } else {
        let server = match &reached {
            Ok(_) => "connected".to_owned(),
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
        for doubt in &status.doubts {
            let [chat, username] = [&doubt.chat, &doubt.username].map(|name| sanitise(name, Breaks::Spaces));
            let what = match doubt.missing {
                0 => format!("the server showed {username} another order of messages than this device"),
                1 => format!("1 message is missing that {username} has"),
                many => format!("{many} messages are missing that {username} has"),
            };
            print(&format!("order   in the chat {chat}, {what} (noticed {})", doubt.noticed_at))?;
        }
    }
    match reached {
        // A server that is not there is an answer, not a failure.
        Err(failure) if !may_recover(&failure) => Err(failure),
        _ => Ok(()),
    }
}

pub(crate) async fn chats(options: &Options) -> Result<(), Failure> {
    let chats = ask::<Chats>(options, Nothing {}).await?.chats;
    if options.json {
        for chat in &chats {
            print_json(chat)?;
        }
    } else if chats.is_empty() {
        print("No chats yet. Write to somebody: waxwing send USER TEXT, or waxwing chat USER")?;
    } else {
        let chats = chats.into_iter().map(Chat::try_from).collect::<Result<Vec<_>, _>>()?;
        for line in output::chat_lines(&chats, &TimeZone::system()) {
            print(&line)?;
        }
    }
    Ok(())
}

pub(crate) async fn history(options: &Options, chat: String, limit: Option<usize>) -> Result<(), Failure> {
    let messages = ask::<History>(options, HistoryParams { chat, limit }).await?.messages;
    if options.json {
        for message in &messages {
            print_json(message)?;
        }
        return Ok(());
    }
    let zone = TimeZone::system();
    let width = messages.iter().map(|message| message.from.chars().count()).max().unwrap_or(0);
    for message in objects::messages(messages)? {
        print(&output::message_line(&message, &zone, width))?;
    }
    Ok(())
}

/// Prints the OpenRPC document of what the socket understands.
pub(crate) fn rpc_schema() -> Result<(), Failure> {
    let document = serde_json::to_string_pretty(&rpc::document()).map_err(std::io::Error::from)?;
    Ok(print(&document)?)
}
