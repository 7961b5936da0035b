//! The profile itself: `whoami`, `catch_up`, `status`, `lock`.

use super::{Context, Method, Nothing};
use crate::{Failure, output::rfc3339};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use waxwing_core::Doubt;

/// `whoami`
pub(crate) struct Whoami;

/// Who a profile is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WhoamiObject {
    /// The username.
    pub(crate) username: String,
    /// The full name, if given.
    pub(crate) full_name: Option<String>,
    /// This device's id, 32 hexadecimal digits.
    pub(crate) device: String,
    /// The server's link, without an invite.
    pub(crate) server: String,
    /// SHA-256 of the account's identity key, 64 hexadecimal digits.
    pub(crate) identity: String,
}

impl Method for Whoami {
    const NAME: &'static str = "whoami";
    const SUMMARY: &'static str = "Who this profile is";
    type Params = Nothing;
    type Result = WhoamiObject;

    async fn run(context: &Context, _: Nothing) -> Result<WhoamiObject, Failure> {
        let waxwing_core::Whoami { username, full_name, device, server, identity } = context.client.whoami().await?;
        Ok(WhoamiObject { username, full_name, device, server, identity })
    }
}

/// `catch_up`
pub(crate) struct CatchUp;

/// How long something may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Patience {
    /// Milliseconds until it is given up.
    pub(crate) patience_ms: u64,
}

impl From<Duration> for Patience {
    fn from(limit: Duration) -> Self {
        Self { patience_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX) }
    }
}

impl Method for CatchUp {
    const NAME: &'static str = "catch_up";
    const SUMMARY: &'static str = "Connects, and waits until everything that the server has is here";
    type Params = Patience;
    type Result = Nothing;

    async fn run(context: &Context, params: Patience) -> Result<Nothing, Failure> {
        context.client.go_online();
        context.client.caught_up(Duration::from_millis(params.patience_ms)).await?;
        Ok(Nothing {})
    }
}

/// `status`
pub(crate) struct Status;

/// How a profile stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct StatusObject {
    /// Whether the server is connected now.
    pub(crate) online: bool,
    /// Messages waiting to be sent.
    pub(crate) queued: u64,
    /// Unread messages.
    pub(crate) unread: u64,
    /// Chats.
    pub(crate) chats: u64,
    /// Users whose identity changed, for whom everything is held.
    pub(crate) held: Vec<String>,
    /// Users to whom the server showed another log of a chat than to this device.
    pub(crate) doubts: Vec<DoubtObject>,
}

/// The server showed a user another log of a chat than this device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct DoubtObject {
    /// The chat's name.
    pub(crate) chat: String,
    /// The user whose messages say so; the account's own name if it is another device of it.
    pub(crate) username: String,
    /// How many messages are missing here; 0 if they are others, or in another order.
    pub(crate) missing: u64,
    /// When this device noticed (RFC 3339, UTC).
    pub(crate) noticed_at: String,
}

impl From<Doubt> for DoubtObject {
    fn from(Doubt { chat, username, missing, noticed_at }: Doubt) -> Self {
        Self { chat, username, missing, noticed_at: rfc3339(noticed_at) }
    }
}

impl Method for Status {
    const NAME: &'static str = "status";
    const SUMMARY: &'static str = "How the profile stands, without asking the server";
    type Params = Nothing;
    type Result = StatusObject;

    async fn run(context: &Context, _: Nothing) -> Result<StatusObject, Failure> {
        let waxwing_core::Status { online, queued, unread, chats, held, doubts } = context.client.status().await?;
        let doubts = doubts.into_iter().map(DoubtObject::from).collect();
        Ok(StatusObject { online, queued, unread, chats, held, doubts })
    }
}

/// `lock`
pub(crate) struct Lock;

/// What locking did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LockObject {
    /// Whether a key was kept on this device, and is forgotten now.
    pub(crate) forgotten: bool,
}

impl Method for Lock {
    const NAME: &'static str = "lock";
    const SUMMARY: &'static str = "Forgets the key that was kept on this device and closes the profile";
    type Params = Nothing;
    type Result = LockObject;

    async fn run(context: &Context, _: Nothing) -> Result<LockObject, Failure> {
        let forgotten = context.profile.forget();
        // Even if the key could not be forgotten, nothing stays open.
        if let Some(holding) = &context.holding {
            holding.lock().await;
        }
        Ok(LockObject { forgotten: forgotten? })
    }
}
