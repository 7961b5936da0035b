//! Chats and what is in them: `chats`, `open_chat`, `history`, `mark_read`.

use super::{
    Context, Method, Nothing,
    objects::{ChatObject, MessageObject},
};
use crate::Failure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use waxwing_core::{Client, Error};

/// How long the server may take to say whether a user exists.
const PATIENCE: Duration = Duration::from_secs(30);

/// `chats`
pub(crate) struct Chats;

/// All chats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ChatList {
    /// The one with the newest message first.
    pub(crate) chats: Vec<ChatObject>,
}

impl Method for Chats {
    const NAME: &'static str = "chats";
    const SUMMARY: &'static str = "All chats on this device";
    type Params = Nothing;
    type Result = ChatList;

    async fn run(context: &Context, _: Nothing) -> Result<ChatList, Failure> {
        Ok(ChatList { chats: context.client.chats().await?.iter().map(ChatObject::from).collect() })
    }
}

/// `open_chat`
pub(crate) struct OpenChat;

/// The name of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChatName {
    /// The other user's username; `#room`; or `+` and digits of a private group, or what that is called.
    pub(crate) chat: String,
}

impl Method for OpenChat {
    const NAME: &'static str = "open_chat";
    const SUMMARY: &'static str =
        "The chat's name; asks the server whether a user exists with whom there is no chat yet";
    type Params = ChatName;
    type Result = ChatName;

    async fn run(context: &Context, params: ChatName) -> Result<ChatName, Failure> {
        Ok(ChatName { chat: find(&context.client, &params.chat).await? })
    }
}

/// The chat's name, where there is such a chat or such a user: asks the server for a user who is new here, so that a
/// mistyped name leaves no chat behind.
pub(super) async fn find(client: &Client, user: &str) -> Result<String, Error> {
    let name = client.chat_name(user).await?;
    if client.chats().await?.iter().any(|chat| chat.name == name) {
        return Ok(name);
    }
    client.go_online();
    client.caught_up(PATIENCE).await?;
    client.start_chat(&name).await
}

/// `history`
pub(crate) struct History;

/// Which messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryParams {
    /// The chat's name.
    pub(crate) chat: String,
    /// Only so many of the newest.
    #[serde(default)]
    pub(crate) limit: Option<usize>,
}

/// Messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct MessageList {
    /// Oldest first.
    pub(crate) messages: Vec<MessageObject>,
}

impl Method for History {
    const NAME: &'static str = "history";
    const SUMMARY: &'static str = "A chat's messages, as stored on this device";
    type Params = HistoryParams;
    type Result = MessageList;

    async fn run(context: &Context, params: HistoryParams) -> Result<MessageList, Failure> {
        let messages = context.client.history(&params.chat, params.limit).await?;
        Ok(MessageList { messages: messages.iter().map(MessageObject::with_state).collect() })
    }
}

/// `mark_read`
pub(crate) struct MarkRead;

impl Method for MarkRead {
    const NAME: &'static str = "mark_read";
    const SUMMARY: &'static str = "Everything in the chat was seen";
    type Params = ChatName;
    type Result = Nothing;

    async fn run(context: &Context, params: ChatName) -> Result<Nothing, Failure> {
        match context.client.mark_read(&params.chat).await {
            // A chat in which nobody wrote yet.
            Err(Error::UnknownChat(_)) => {}
            marked => marked?,
        }
        Ok(Nothing {})
    }
}
