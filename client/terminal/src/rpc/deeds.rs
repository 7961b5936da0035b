//! What is done to messages: `edit`, `delete`, `react`, `pin`, and finding them: `message`, `pinned`, `page`.

use super::{
    Context, Method,
    chats::{ChatName, MessageList},
    messages::OneMessage,
    objects::MessageObject,
};
use crate::Failure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use waxwing_core::{Anchor, Client, Error, Message, MessageRef, Page as CorePage};

/// How long a deed waits for the server.
const PATIENCE: Duration = Duration::from_secs(30);

/// A message that is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// The message's id.
    pub(crate) id: String,
    /// In which chat it is; needed only where several messages have the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chat: Option<String>,
    /// Who wrote it; needed only where several messages have the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
}

impl From<&Message> for Which {
    fn from(message: &Message) -> Self {
        Self { id: message.id.to_string(), chat: Some(message.chat.clone()), from: Some(message.from.clone()) }
    }
}

impl TryFrom<&Which> for MessageRef {
    type Error = Failure;

    fn try_from(which: &Which) -> Result<Self, Failure> {
        Ok(Self { id: which.id.parse()?, chat: which.chat.clone(), author: which.from.clone() })
    }
}

fn yes() -> bool {
    true
}

/// `edit`
pub(crate) struct Edit;

/// A new text for an own message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditParams {
    /// Which message.
    pub(crate) message: Which,
    /// What it says from now on.
    pub(crate) text: String,
    /// Return only when the server has it; otherwise it goes out as soon as it can.
    #[serde(default = "yes")]
    pub(crate) wait: bool,
}

impl Method for Edit {
    const NAME: &'static str = "edit";
    const SUMMARY: &'static str = "Changes the text of an own message, for everybody";
    type Params = EditParams;
    type Result = OneMessage;

    async fn run(context: &Context, params: EditParams) -> Result<OneMessage, Failure> {
        let client = &context.client;
        let message = client.edit(&(&params.message).try_into()?, &params.text).await?;
        left(client, &message.chat, params.wait).await?;
        Ok(OneMessage { message: MessageObject::with_state(&message) })
    }
}

/// `delete`
pub(crate) struct Delete;

/// A message to take back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteParams {
    /// Which message.
    pub(crate) message: Which,
    /// Return only when the server has it; otherwise it goes out as soon as it can.
    #[serde(default = "yes")]
    pub(crate) wait: bool,
}

/// What is left of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Deleted {
    /// The place where it was; none if it never left and is gone.
    pub(crate) message: Option<MessageObject>,
}

impl Method for Delete {
    const NAME: &'static str = "delete";
    const SUMMARY: &'static str = "Takes a message back, for everybody";
    type Params = DeleteParams;
    type Result = Deleted;

    async fn run(context: &Context, params: DeleteParams) -> Result<Deleted, Failure> {
        let client = &context.client;
        let message = client.delete(&(&params.message).try_into()?).await?;
        if let Some(message) = &message {
            left(client, &message.chat, params.wait).await?;
        }
        Ok(Deleted { message: message.as_ref().map(MessageObject::with_state) })
    }
}

/// `react`
pub(crate) struct React;

/// An emoji for a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReactParams {
    /// Which message.
    pub(crate) message: Which,
    /// The emoji.
    pub(crate) emoji: String,
    /// Whether it is put there, or taken away.
    #[serde(default = "yes")]
    pub(crate) add: bool,
    /// Return only when the server has it; otherwise it goes out as soon as it can.
    #[serde(default = "yes")]
    pub(crate) wait: bool,
}

impl Method for React {
    const NAME: &'static str = "react";
    const SUMMARY: &'static str = "Puts an emoji under a message, or takes an own one away";
    type Params = ReactParams;
    type Result = OneMessage;

    async fn run(context: &Context, params: ReactParams) -> Result<OneMessage, Failure> {
        let client = &context.client;
        let message = client.react(&(&params.message).try_into()?, &params.emoji, params.add).await?;
        left(client, &message.chat, params.wait).await?;
        Ok(OneMessage { message: MessageObject::with_state(&message) })
    }
}

/// `pin`
pub(crate) struct Pin;

/// A message to pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PinParams {
    /// Which message.
    pub(crate) message: Which,
    /// Whether it is pinned, or not any more.
    #[serde(default = "yes")]
    pub(crate) pinned: bool,
    /// Return only when the server has it; otherwise it goes out as soon as it can.
    #[serde(default = "yes")]
    pub(crate) wait: bool,
}

impl Method for Pin {
    const NAME: &'static str = "pin";
    const SUMMARY: &'static str = "Pins a message in its chat, for everybody, or takes the pin away";
    type Params = PinParams;
    type Result = OneMessage;

    async fn run(context: &Context, params: PinParams) -> Result<OneMessage, Failure> {
        let client = &context.client;
        let message = client.pin(&(&params.message).try_into()?, params.pinned).await?;
        left(client, &message.chat, params.wait).await?;
        Ok(OneMessage { message: MessageObject::with_state(&message) })
    }
}

/// Waits until what was queued in a chat has left, if that is wanted. What has not stays queued.
pub(super) async fn left(client: &Client, chat: &str, wanted: bool) -> Result<(), Failure> {
    if !wanted {
        return Ok(());
    }
    client.go_online();
    client.flushed(chat, PATIENCE).await.map_err(|error| match crate::command::may_pass(&error) {
        true => Failure::Core(Error::TimedOut(format!(
            "{error}. It is done on this device and goes out with the next connection; do not do it again"
        ))),
        false => error.into(),
    })
}

/// `message`
pub(crate) struct ShowMessage;

impl Method for ShowMessage {
    const NAME: &'static str = "message";
    const SUMMARY: &'static str = "One message, as stored on this device";
    type Params = Which;
    type Result = OneMessage;

    async fn run(context: &Context, params: Which) -> Result<OneMessage, Failure> {
        let message = context.client.message(&(&params).try_into()?).await?;
        Ok(OneMessage { message: MessageObject::with_state(&message) })
    }
}

/// `pinned`
pub(crate) struct Pinned;

impl Method for Pinned {
    const NAME: &'static str = "pinned";
    const SUMMARY: &'static str = "The pinned messages of a chat, the one that was pinned last first";
    type Params = ChatName;
    type Result = MessageList;

    async fn run(context: &Context, params: ChatName) -> Result<MessageList, Failure> {
        let messages = context.client.pinned(&params.chat).await?;
        Ok(MessageList { messages: messages.iter().map(MessageObject::with_state).collect() })
    }
}

/// `page`
pub(crate) struct Page;

/// A place in a history: what `older` or `newer` said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct PlaceObject(#[schemars(with = "[i64; 3]")] pub(crate) waxwing_core::Place);

/// A part of a chat's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageParams {
    /// The chat's name.
    pub(crate) chat: String,
    /// The messages before this place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<PlaceObject>,
    /// Or those behind this place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<PlaceObject>,
    /// Or those around this message. Of none of these, the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) around: Option<Which>,
    /// At most so many.
    pub(crate) limit: usize,
}

/// A page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct PageObject {
    /// Oldest first.
    pub(crate) messages: Vec<MessageObject>,
    /// For `before`: where the older page ends; none: nothing is older.
    pub(crate) older: Option<PlaceObject>,
    /// For `after`: where the newer page begins; none: nothing is newer.
    pub(crate) newer: Option<PlaceObject>,
}

impl Method for Page {
    const NAME: &'static str = "page";
    const SUMMARY: &'static str = "A part of a chat's history, for scrolling";
    type Params = PageParams;
    type Result = PageObject;

    async fn run(context: &Context, params: PageParams) -> Result<PageObject, Failure> {
        let from = match (params.before, params.after, &params.around) {
            (None, None, None) => Anchor::Newest,
            (Some(place), None, None) => Anchor::Before(place.0),
            (None, Some(place), None) => Anchor::After(place.0),
            (None, None, Some(which)) => Anchor::Around(which.try_into()?),
            _ => return Err(Failure::usage("a page has one place", "give one of 'before', 'after' and 'around'")),
        };
        let CorePage { messages, older, newer } = context.client.page(&params.chat, from, params.limit).await?;
        Ok(PageObject {
            messages: messages.iter().map(MessageObject::with_state).collect(),
            older: older.map(PlaceObject),
            newer: newer.map(PlaceObject),
        })
    }
}
