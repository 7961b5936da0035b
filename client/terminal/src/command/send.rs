//! `send`: one message, done only when the server has it on disk.

use crate::{
    Failure,
    cli::{Options, SendArgs},
    command::ask,
    output::{print, print_json},
    rpc::{
        deeds::Which,
        messages::{Send, SendParams},
    },
    sanitise::{Breaks, sanitise},
};
use std::io::Read as _;
use waxwing_core::Error;

/// Bytes; more than any message may have, so that an endless pipe is refused and not stored.
const STDIN_LIMIT: u64 = 128 * 1024;

pub(crate) async fn run(options: &Options, mut arguments: SendArgs) -> Result<(), Failure> {
    if let Some(file) = arguments.file.take() {
        return super::files::send(options, arguments, file).await;
    }
    let text = match arguments.text {
        Some(text) => text,
        None => tokio::task::spawn_blocking(read_stdin).await.map_err(std::io::Error::other)??,
    };
    if text.is_empty() {
        return Err(Error::Empty.into());
    }
    let reply_to = arguments.reply_to.map(|id| Which { id: id.to_string(), chat: None, from: arguments.reply_from });
    let params = SendParams { chat: arguments.user, text, offline_ok: arguments.offline_ok, reply_to };
    let sent = ask::<Send>(options, params).await?;
    if options.json {
        print_json(&sent)?;
    } else {
        let chat = sanitise(&sent.chat, Breaks::Spaces);
        print(&match sent.state.as_str() {
            "queued" => format!("Queued for {chat}: it goes out when the server can be reached again."),
            _ => format!("Sent to {chat}."),
        })?;
    }
    Ok(())
}

fn read_stdin() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(STDIN_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > STDIN_LIMIT {
        let message = format!("the message is too long: more than {STDIN_LIMIT} bytes");
        return Err(Failure::usage(message, "split it"));
    }
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::usage("standard input is not UTF-8 text", "messages are text; encode other data first")
    })?;
    Ok(text.strip_suffix('\n').map(str::to_owned).unwrap_or(text))
}
