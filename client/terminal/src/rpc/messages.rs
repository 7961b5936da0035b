//! Sending and receiving: `send`, `queue`, `sent`, `unreceived`, `ack`.

use super::{
    Context, Method,
    chats::{MessageList, find},
    deeds::Which,
    objects::{MessageObject, state_name},
};
use crate::{Failure, command::may_pass};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::HashSet, time::Duration};
use waxwing_core::{Client, Error, ErrorKind, Message, MessageId, MessageState};

/// How long sending waits for the server.
const PATIENCE: Duration = Duration::from_secs(30);

/// `send`
pub(crate) struct Send;

/// A text for somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendParams {
    /// To whom.
    pub(crate) chat: String,
    /// What.
    pub(crate) text: String,
    /// If the server cannot be reached, keep the message for later.
    #[serde(default)]
    pub(crate) offline_ok: bool,
    /// The message that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reply_to: Option<Which>,
}

/// A message that was sent, or waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SentObject {
    /// Its id.
    pub(crate) id: String,
    /// To whom.
    pub(crate) chat: String,
    /// Its place in the chat, once known.
    pub(crate) seq: Option<u64>,
    /// queued, sent, delivered or read.
    pub(crate) state: String,
}

impl From<&Message> for SentObject {
    fn from(message: &Message) -> Self {
        let state = state_name(&message.state).to_owned();
        Self { id: message.id.to_string(), chat: message.chat.clone(), seq: message.seq, state }
    }
}

impl Method for Send {
    const NAME: &'static str = "send";
    const SUMMARY: &'static str = "Sends a message; done only when the server has it on disk";
    type Params = SendParams;
    type Result = SentObject;

    async fn run(context: &Context, params: SendParams) -> Result<SentObject, Failure> {
        let client = &context.client;
        client.go_online();
        let message = match params.offline_ok {
            true => send_or_queue(client, &params).await?,
            false => send_now(client, &params).await?,
        };
        context.tell_written(&message);
        Ok(SentObject::from(&message))
    }
}

/// Sends now or not at all: what did not leave is taken back, so that a script may safely try again.
async fn send_now(client: &Client, params: &SendParams) -> Result<Message, Failure> {
    let user = find(client, &params.chat).await?;
    let message = write(client, &user, &params.text, params.reply_to.as_ref()).await?;
    match client.sent(message.id, PATIENCE).await {
        Ok(message) => Ok(message),
        Err(error) => taken_back(client, message.id, error).await,
    }
}

/// Sending has ended in an error: takes the message back if it has not left, and says what is certain about it.
pub(super) async fn taken_back(client: &Client, id: MessageId, error: Error) -> Result<Message, Failure> {
    // Held until the user decides about the identity.
    if error.kind() == ErrorKind::Untrusted || matches!(client.withdraw(id).await, Ok(true)) {
        return Err(error.into());
    }
    certain(client.message(&id.into()).await, &error)
}

/// What is certain about a message that could not be taken back, from what this device has of it now. That it was not sent
/// is said of nothing that may yet go out: a script would send it a second time.
fn certain(now: Result<Message, Error>, error: &Error) -> Result<Message, Failure> {
    match now {
        Ok(message) if matches!(message.state, MessageState::Failed(_)) => Err(error.clone().into()),
        Ok(message) if message.state != MessageState::Queued => Ok(message),
        _ => Err(Failure::Core(Error::TimedOut(format!(
            "{error}. The message may have left: it stays queued and goes out with the next connection, once; do not \
             send it again"
        )))),
    }
}

/// Queues, and sends if the server is there.
async fn send_or_queue(client: &Client, params: &SendParams) -> Result<Message, Failure> {
    let message = write(client, &params.chat, &params.text, params.reply_to.as_ref()).await?;
    match client.sent(message.id, PATIENCE).await {
        Err(error) if may_pass(&error) => Ok(message),
        Err(error) if error.kind() == ErrorKind::Untrusted => Err(error.into()),
        // It stays queued, whatever went wrong meanwhile, unless it has failed for good.
        Err(error) => match client.message(&message.id.into()).await {
            Ok(now) if !matches!(now.state, MessageState::Failed(_)) => Ok(now),
            _ => Err(error.into()),
        },
        Ok(message) => Ok(message),
    }
}

/// Stores a text for sending, as an answer if it is one.
async fn write(client: &Client, to: &str, text: &str, reply_to: Option<&Which>) -> Result<Message, Failure> {
    Ok(match reply_to {
        None => client.send(to, text).await?,
        Some(which) => client.reply(to, text, &which.try_into()?).await?,
    })
}

/// `queue`
pub(crate) struct Queue;

/// A text that need not be sent at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueueParams {
    /// To whom.
    pub(crate) chat: String,
    /// What.
    pub(crate) text: String,
    /// The message that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reply_to: Option<Which>,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct OneMessage {
    /// The message.
    pub(crate) message: MessageObject,
}

impl Method for Queue {
    const NAME: &'static str = "queue";
    const SUMMARY: &'static str = "Stores a message for sending and returns at once; events tell how far it has come";
    type Params = QueueParams;
    type Result = OneMessage;

    async fn run(context: &Context, params: QueueParams) -> Result<OneMessage, Failure> {
        let message = write(&context.client, &params.chat, &params.text, params.reply_to.as_ref()).await?;
        context.tell_written(&message);
        Ok(OneMessage { message: MessageObject::with_state(&message) })
    }
}

/// `sent`
pub(crate) struct Sent;

/// A message, and how long to wait for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SentParams {
    /// The message's id.
    pub(crate) id: String,
    /// Milliseconds until it is given up; the message stays queued.
    pub(crate) patience_ms: u64,
}

impl Method for Sent {
    const NAME: &'static str = "sent";
    const SUMMARY: &'static str = "Waits until the server has a queued message on disk";
    type Params = SentParams;
    type Result = OneMessage;

    async fn run(context: &Context, params: SentParams) -> Result<OneMessage, Failure> {
        let limit = Duration::from_millis(params.patience_ms);
        let message = context.client.sent(params.id.parse()?, limit).await?;
        Ok(OneMessage { message: MessageObject::with_state(&message) })
    }
}

/// `unreceived`
pub(crate) struct Unreceived;

/// How many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnreceivedParams {
    /// At most so many.
    pub(crate) limit: usize,
}

impl Method for Unreceived {
    const NAME: &'static str = "unreceived";
    const SUMMARY: &'static str = "Others' messages that were not acknowledged yet, in the order of arrival";
    type Params = UnreceivedParams;
    type Result = MessageList;

    async fn run(context: &Context, params: UnreceivedParams) -> Result<MessageList, Failure> {
        let messages = context.client.unreceived(params.limit).await?;
        Ok(MessageList { messages: messages.iter().map(MessageObject::received).collect() })
    }
}

/// `ack`
pub(crate) struct Acknowledge;

/// A received message, and with it all before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AcknowledgeParams {
    /// The message's id.
    pub(crate) id: String,
    /// Whether chats of which nothing is left become read; who acknowledges page by page saves that for the last one.
    #[serde(default = "yes")]
    pub(crate) mark_read: bool,
}

fn yes() -> bool {
    true
}

/// What was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Acknowledged {
    /// The message's id.
    pub(crate) acknowledged: String,
}

impl Method for Acknowledge {
    const NAME: &'static str = "ack";
    const SUMMARY: &'static str = "All up to this received message is dealt with: it does not come again";
    type Params = AcknowledgeParams;
    type Result = Acknowledged;

    async fn run(context: &Context, params: AcknowledgeParams) -> Result<Acknowledged, Failure> {
        let id: MessageId = params.id.parse()?;
        context.client.acknowledge(id).await?;
        if params.mark_read {
            mark_read(&context.client).await?;
        }
        Ok(Acknowledged { acknowledged: id.to_string() })
    }
}

/// What was dealt with is read: marks the chats of which nothing stands behind the receive cursor.
async fn mark_read(client: &Client) -> Result<(), Error> {
    let behind = client.unreceived(i64::MAX as usize).await?;
    let behind: HashSet<&str> = behind.iter().map(|message| message.chat.as_str()).collect();
    for chat in client.chats().await?.iter().filter(|chat| chat.unread > 0 && !behind.contains(chat.name.as_str())) {
        client.mark_read(&chat.name).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use waxwing_core::Content;

    #[test]
    fn what_may_yet_go_out_is_never_called_not_sent() {
        let full = Error::Storage("the disk is full".into());
        let now = |state| Ok(Message { state, ..Message::default() });
        let code = |outcome: Result<Message, Failure>| outcome.err().map(|failure| failure.exit_code());
        // It waits still, or nobody can tell: that is said, with the code of what may pass.
        for unclear in [now(MessageState::Queued), Err(full.clone())] {
            let outcome = certain(unclear, &full);
            assert!(matches!(&outcome, Err(failure) if failure.to_string().contains("do not send it again")));
            assert_eq!(code(outcome), Some(3));
        }
        assert_eq!(code(certain(now(MessageState::Failed("no".into())), &full)), Some(full_code(&full)));
        // The answer came while it was being taken back.
        assert_eq!(certain(now(MessageState::Sent), &full).ok().map(|message| message.state), Some(MessageState::Sent));
    }

    fn full_code(error: &Error) -> u8 {
        Failure::from(error.clone()).exit_code()
    }

    #[test]
    fn a_sent_message_names_its_place_and_a_queued_one_has_none() {
        let mut message = Message {
            id: "000102030405060708090a0b0c0d0e0f".parse().unwrap(),
            chat: "bob".into(),
            from: "alice".into(),
            seq: None,
            sent_at: 0,
            received_at: 0,
            told_by: None,
            content: Content::Text("hi".into()),
            state: MessageState::Queued,
            ..Message::default()
        };
        let object = |message: &Message| serde_json::to_value(SentObject::from(message)).unwrap();
        let expected =
            json!({ "id": "000102030405060708090a0b0c0d0e0f", "chat": "bob", "seq": null, "state": "queued" });
        assert_eq!(object(&message), expected);
        message.seq = Some(3);
        message.state = MessageState::Sent;
        assert_eq!((&object(&message)["seq"], &object(&message)["state"]), (&3.into(), &"sent".into()));
    }
}
