//! `send`: one message, done only when the server has it on disk.

use crate::{
    Failure,
    cli::{Options, SendArgs},
    command::{PATIENCE, close, find, may_pass, open},
    output::{self, print, print_json},
    sanitise::{Breaks, sanitise},
};
use serde::Serialize;
use std::io::Read as _;
use waxwing_core::{Client, Error, ErrorKind, Message, MessageState};

/// Bytes; more than any message may have, so that an endless pipe is refused and not stored.
const STDIN_LIMIT: u64 = 1024 * 1024;

#[derive(Serialize)]
struct SentObject<'a> {
    id: String,
    chat: &'a str,
    seq: Option<u64>,
    state: &'static str,
}

impl<'a> From<&'a Message> for SentObject<'a> {
    fn from(message: &'a Message) -> Self {
        let state = output::state_name(&message.state);
        Self { id: message.id.to_string(), chat: &message.chat, seq: message.seq, state }
    }
}

pub(crate) async fn run(options: &Options, arguments: &SendArgs) -> Result<(), Failure> {
    let text = match &arguments.text {
        Some(text) => text.clone(),
        None => tokio::task::spawn_blocking(read_stdin).await.map_err(std::io::Error::other)??,
    };
    if text.is_empty() {
        return Err(Error::Empty.into());
    }
    let client = open(options).await?;
    client.go_online();
    let sent = match arguments.offline_ok {
        true => queue(&client, &arguments.user, &text).await,
        false => send(&client, &arguments.user, &text).await,
    };
    close(client).await;
    let message = sent?;
    if options.json {
        print_json(&SentObject::from(&message))?;
    } else {
        let chat = sanitise(&message.chat, Breaks::Spaces);
        print(&match message.state {
            MessageState::Queued => format!("Queued for {chat}: it goes out when the server can be reached again."),
            _ => format!("Sent to {chat}."),
        })?;
    }
    Ok(())
}

/// Sends now or not at all: what did not leave is taken back, so that a script may safely try again.
async fn send(client: &Client, user: &str, text: &str) -> Result<Message, Failure> {
    let user = find(client, user).await?;
    let message = client.send(&user, text).await?;
    match client.sent(message.id, PATIENCE).await {
        Ok(message) => Ok(message),
        // Held until the user decides about the identity.
        Err(error) if error.kind() == ErrorKind::Untrusted => Err(error.into()),
        Err(error) if client.withdraw(message.id).await? || !may_pass(&error) => Err(error.into()),
        Err(error) => Err(Failure::Core(Error::TimedOut(format!(
            "{error}. The message may have left: it stays queued and goes out with the next connection, once; do not \
             send it again"
        )))),
    }
}

/// Queues, and sends if the server is there.
async fn queue(client: &Client, user: &str, text: &str) -> Result<Message, Failure> {
    let message = client.send(user, text).await?;
    match client.sent(message.id, PATIENCE).await {
        Err(error) if may_pass(&error) => Ok(message),
        sent => Ok(sent?),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::Content;

    #[test]
    fn a_sent_message_names_its_place_and_a_queued_one_has_none() {
        let mut message = Message {
            id: "000102030405060708090a0b0c0d0e0f".parse().unwrap(),
            chat: "bob".into(),
            from: "alice".into(),
            seq: None,
            sent_at: 0,
            received_at: 0,
            content: Content::Text("hi".into()),
            state: MessageState::Queued,
        };
        let object = |message: &Message| serde_json::to_value(SentObject::from(message)).unwrap();
        assert_eq!(
            object(&message),
            serde_json::json!({
                "id": "000102030405060708090a0b0c0d0e0f", "chat": "bob", "seq": null, "state": "queued"
            })
        );
        message.seq = Some(3);
        message.state = MessageState::Sent;
        assert_eq!((&object(&message)["seq"], &object(&message)["state"]), (&3.into(), &"sent".into()));
    }
}
