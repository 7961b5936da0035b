//! `edit`, `delete`, `react`, `pin`, `pins`: what is done to messages.

use crate::{
    Failure,
    cli::{DeedArgs, Options},
    command::ask,
    output::{message_line, print, print_json},
    rpc::{
        chats::ChatName,
        deeds::{Delete, DeleteParams, Edit, EditParams, Pin, PinParams, Pinned, React, ReactParams, Which},
        objects::{self, MessageObject},
    },
    sanitise::{Breaks, sanitise},
};
use jiff::tz::TimeZone;

fn which(deed: DeedArgs) -> Which {
    Which { id: deed.id.to_string(), chat: deed.chat, from: deed.from }
}

fn done(options: &Options, message: &MessageObject, what: &str) -> Result<(), Failure> {
    if options.json {
        return Ok(print_json(message)?);
    }
    Ok(print(&format!("{what} in the chat with {}.", sanitise(&message.chat, Breaks::Spaces)))?)
}

pub(crate) async fn edit(options: &Options, deed: DeedArgs, text: String) -> Result<(), Failure> {
    let edited = ask::<Edit>(options, EditParams { message: which(deed), text, wait: true }).await?;
    done(options, &edited.message, "Edited")
}

pub(crate) async fn delete(options: &Options, deed: DeedArgs) -> Result<(), Failure> {
    let deleted = ask::<Delete>(options, DeleteParams { message: which(deed), wait: true }).await?;
    match &deleted.message {
        Some(message) => done(options, message, "Deleted for everybody"),
        None if options.json => Ok(print_json(&deleted)?),
        None => Ok(print("Taken back: nobody had it yet.")?),
    }
}

pub(crate) async fn react(options: &Options, deed: DeedArgs, emoji: String, remove: bool) -> Result<(), Failure> {
    let params = ReactParams { message: which(deed), emoji, add: !remove, wait: true };
    let reacted = ask::<React>(options, params).await?;
    done(options, &reacted.message, if remove { "Reaction taken away" } else { "Reacted" })
}

pub(crate) async fn pin(options: &Options, deed: DeedArgs, remove: bool) -> Result<(), Failure> {
    let pinned = ask::<Pin>(options, PinParams { message: which(deed), pinned: !remove, wait: true }).await?;
    done(options, &pinned.message, if remove { "Pin taken away" } else { "Pinned" })
}

pub(crate) async fn pins(options: &Options, chat: String) -> Result<(), Failure> {
    let pinned = ask::<Pinned>(options, ChatName { chat }).await?.messages;
    if options.json {
        return Ok(pinned.iter().try_for_each(print_json)?);
    }
    let zone = TimeZone::system();
    let width = pinned.iter().map(|message| message.from.chars().count()).max().unwrap_or(0);
    for message in objects::messages(pinned)? {
        print(&message_line(&message, &zone, width))?;
    }
    Ok(())
}
