//! What the user sets: `set_timer`, `set_draft`, `typing`, `mute`, `block`, `blocked`, `accept`, `settings`, `switch`.

use super::{Context, Method, Nothing, chats::ChatName, deeds::left, messages::OneMessage, objects::MessageObject};
use crate::Failure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use waxwing_core::{Error, Switch as CoreSwitch};

/// How long a connection may take that is of use only, not needed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one may take that is needed.
const ONLINE: Duration = Duration::from_secs(30);

/// `set_timer`
pub(crate) struct SetTimer;

/// A lifetime for a chat's next messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetTimerParams {
    /// The chat's name.
    pub(crate) chat: String,
    /// Seconds; none: they stay.
    pub(crate) seconds: Option<u32>,
    /// Return only when the server has it.
    #[serde(default)]
    pub(crate) wait: bool,
}

impl Method for SetTimer {
    const NAME: &'static str = "set_timer";
    const SUMMARY: &'static str = "From now on a chat's messages disappear so long after they were read, everywhere";
    type Params = SetTimerParams;
    type Result = OneMessage;

    async fn run(context: &Context, params: SetTimerParams) -> Result<OneMessage, Failure> {
        let message = context.client.set_timer(&params.chat, params.seconds).await?;
        context.tell_written(&message);
        left(&context.client, &params.chat, params.wait).await?;
        Ok(OneMessage { message: MessageObject::with_state(&message) })
    }
}

/// `typing`
pub(crate) struct Typing;

/// Whether the user is typing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TypingParams {
    /// The chat's name.
    pub(crate) chat: String,
    /// Whether the user is.
    pub(crate) typing: bool,
}

impl Method for Typing {
    const NAME: &'static str = "typing";
    const SUMMARY: &'static str = "The user is typing in a chat, or not any more; may be called with every key";
    type Params = TypingParams;
    type Result = Nothing;

    async fn run(context: &Context, params: TypingParams) -> Result<Nothing, Failure> {
        context.client.typing(&params.chat, params.typing).await?;
        Ok(Nothing {})
    }
}

/// `set_draft`
pub(crate) struct SetDraft;

/// What the user has begun to write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetDraftParams {
    /// The chat's name.
    pub(crate) chat: String,
    /// The text; none: nothing.
    pub(crate) draft: Option<String>,
}

impl Method for SetDraft {
    const NAME: &'static str = "set_draft";
    const SUMMARY: &'static str = "Keeps what the user has begun to write in a chat, on this device";
    type Params = SetDraftParams;
    type Result = Nothing;

    async fn run(context: &Context, params: SetDraftParams) -> Result<Nothing, Failure> {
        context.client.set_draft(&params.chat, params.draft.as_deref()).await?;
        Ok(Nothing {})
    }
}

/// `mute`
pub(crate) struct Mute;

/// For how long a chat is muted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MuteParams {
    /// The chat's name.
    pub(crate) chat: String,
    /// Whether it is, or not any more.
    pub(crate) muted: bool,
    /// Until then, milliseconds since 1970; none: until that is taken back.
    #[serde(default)]
    pub(crate) until_ms: Option<u64>,
}

impl Method for Mute {
    const NAME: &'static str = "mute";
    const SUMMARY: &'static str = "No notices of a chat, on all devices of the account";
    type Params = MuteParams;
    type Result = Nothing;

    async fn run(context: &Context, params: MuteParams) -> Result<Nothing, Failure> {
        let until = params.muted.then_some(params.until_ms.unwrap_or(u64::MAX));
        context.client.mute(&params.chat, until).await?;
        Ok(Nothing {})
    }
}

/// `block`
pub(crate) struct Block;

/// A user to block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlockParams {
    /// Who.
    pub(crate) user: String,
    /// Whether they are, or not any more.
    pub(crate) blocked: bool,
}

impl Method for Block {
    const NAME: &'static str = "block";
    const SUMMARY: &'static str = "Nothing of a user arrives any more, on any device of the account; or it does again";
    type Params = BlockParams;
    type Result = Nothing;

    async fn run(context: &Context, params: BlockParams) -> Result<Nothing, Failure> {
        context.client.block(&params.user, params.blocked).await?;
        Ok(Nothing {})
    }
}

/// `blocked`
pub(crate) struct Blocked;

/// Users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Users {
    /// Their usernames.
    pub(crate) users: Vec<String>,
}

impl Method for Blocked {
    const NAME: &'static str = "blocked";
    const SUMMARY: &'static str = "The users of whom nothing arrives";
    type Params = Nothing;
    type Result = Users;

    async fn run(context: &Context, _: Nothing) -> Result<Users, Failure> {
        Ok(Users { users: context.client.blocked().await? })
    }
}

/// `accept`
pub(crate) struct Accept;

impl Method for Accept {
    const NAME: &'static str = "accept";
    const SUMMARY: &'static str = "Accepts a chat that a stranger has begun: what waited in it comes now";
    type Params = ChatName;
    type Result = Nothing;

    async fn run(context: &Context, params: ChatName) -> Result<Nothing, Failure> {
        context.client.accept(&params.chat).await?;
        Ok(Nothing {})
    }
}

/// `decline`
pub(crate) struct Decline;

impl Method for Decline {
    const NAME: &'static str = "decline";
    const SUMMARY: &'static str = "Declines an invitation into a group: leaves it; nothing of it is shown any more";
    type Params = ChatName;
    type Result = Nothing;

    async fn run(context: &Context, params: ChatName) -> Result<Nothing, Failure> {
        context.client.go_online();
        context.client.caught_up(ONLINE).await?;
        context.client.decline(&params.chat).await?;
        Ok(Nothing {})
    }
}

/// What can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Switch {
    /// Others learn what you have read, and you what they have read
    ReadReceipts,
    /// Others learn what has arrived on your devices
    DeliveredReceipts,
    /// What strangers write waits until you accept it
    Requests,
    /// Others see that you are typing
    Typing,
    /// Others see that you are online, and you see who is
    Presence,
}

impl Switch {
    /// As the core calls it.
    pub(crate) fn core(self) -> CoreSwitch {
        match self {
            Self::ReadReceipts => CoreSwitch::ReadReceipts,
            Self::DeliveredReceipts => CoreSwitch::DeliveredReceipts,
            Self::Requests => CoreSwitch::Requests,
            Self::Typing => CoreSwitch::Typing,
            Self::Presence => CoreSwitch::Presence,
        }
    }
}

/// `set_full_name`
pub(crate) struct SetFullName;

/// The name that others see beside the username.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FullName {
    /// The name; none, or empty: there is none.
    pub(crate) full_name: Option<String>,
}

impl Method for SetFullName {
    const NAME: &'static str = "set_full_name";
    const SUMMARY: &'static str = "The name that others see beside the username, in all chats; answers with it";
    type Params = FullName;
    type Result = FullName;

    async fn run(context: &Context, params: FullName) -> Result<FullName, Failure> {
        context.client.set_full_name(params.full_name.as_deref()).await?;
        // It goes out like a message: now if there is a connection, else with the next one.
        context.client.go_online();
        match context.client.caught_up(PATIENCE).await {
            Ok(()) | Err(Error::Unreachable { .. } | Error::ConnectionLost(_) | Error::TimedOut(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(FullName { full_name: context.client.whoami().await?.full_name })
    }
}

/// `settings`
pub(crate) struct Settings;

/// How the switches stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SettingsObject {
    /// Others learn what the user has read, and the user what they have read.
    pub(crate) read_receipts: bool,
    /// Others learn what has arrived on the user's devices.
    pub(crate) delivered_receipts: bool,
    /// What strangers write waits until the user accepts it.
    pub(crate) requests: bool,
    /// Others see that the user is typing.
    pub(crate) typing: bool,
    /// Others see that the user is online, and the user sees who is.
    pub(crate) presence: bool,
}

impl Method for Settings {
    const NAME: &'static str = "settings";
    const SUMMARY: &'static str = "What the user has switched on or off, for all devices of the account";
    type Params = Nothing;
    type Result = SettingsObject;

    async fn run(context: &Context, _: Nothing) -> Result<SettingsObject, Failure> {
        let client = &context.client;
        Ok(SettingsObject {
            read_receipts: client.is_on(CoreSwitch::ReadReceipts).await?,
            delivered_receipts: client.is_on(CoreSwitch::DeliveredReceipts).await?,
            requests: client.is_on(CoreSwitch::Requests).await?,
            typing: client.is_on(CoreSwitch::Typing).await?,
            presence: client.is_on(CoreSwitch::Presence).await?,
        })
    }
}

/// `switch`
pub(crate) struct SwitchSetting;

/// A switch and how it is to stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SwitchParams {
    /// Which.
    pub(crate) switch: Switch,
    /// On or off.
    pub(crate) on: bool,
}

impl Method for SwitchSetting {
    const NAME: &'static str = "switch";
    const SUMMARY: &'static str = "Switches something on or off, for all devices of the account";
    type Params = SwitchParams;
    type Result = Nothing;

    async fn run(context: &Context, params: SwitchParams) -> Result<Nothing, Failure> {
        context.client.switch(params.switch.core(), params.on).await?;
        Ok(Nothing {})
    }
}
