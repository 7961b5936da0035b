//! Who is there: `set_presence`, `present`, `users`.

use super::{Context, Method, Nothing};
use crate::Failure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use waxwing_core::{ChatKind, Client, Error, Presence as CorePresence, Switch};

/// How long the server may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long those who are there may take to answer; in large groups somebody answers for all.
const ANSWERS: Duration = Duration::from_millis(1500);
/// The same where many are.
const MANY_ANSWERS: Duration = Duration::from_millis(3500);

/// Whether somebody is there, as they or other members say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Presence {
    /// Not seen: not there, hidden, or with a program that says nothing of it.
    #[default]
    Gone,
    /// There, but without touching a key for a while.
    Away,
    /// There.
    Here,
}

impl From<CorePresence> for Presence {
    fn from(presence: CorePresence) -> Self {
        match presence {
            CorePresence::Gone => Self::Gone,
            CorePresence::Away => Self::Away,
            CorePresence::Here => Self::Here,
        }
    }
}

impl From<Presence> for CorePresence {
    fn from(presence: Presence) -> Self {
        match presence {
            Presence::Gone => Self::Gone,
            Presence::Away => Self::Away,
            Presence::Here => Self::Here,
        }
    }
}

/// `set_presence`
pub(crate) struct SetPresence;

/// How the user of a front end is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetPresenceParams {
    /// here, away or gone.
    pub(crate) presence: Presence,
}

impl Method for SetPresence {
    const NAME: &'static str = "set_presence";
    const SUMMARY: &'static str =
        "How the user of this front end is; to be said again every minute, else it ends after three";
    type Params = SetPresenceParams;
    type Result = Nothing;

    async fn run(context: &Context, params: SetPresenceParams) -> Result<Nothing, Failure> {
        context.client.set_presence(params.presence.into()).await?;
        Ok(Nothing {})
    }
}

/// `present`
pub(crate) struct PresentUsers;

/// Who is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct PresentList {
    /// Chat by chat.
    pub(crate) present: Vec<PresentObject>,
}

/// Somebody who is there, in a chat that both are in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct PresentObject {
    /// The chat.
    pub(crate) chat: String,
    /// Who.
    pub(crate) username: String,
    /// here or away.
    pub(crate) presence: Presence,
}

impl From<PresentObject> for waxwing_core::Present {
    fn from(object: PresentObject) -> Self {
        Self { chat: object.chat, username: object.username, presence: object.presence.into() }
    }
}

impl Method for PresentUsers {
    const NAME: &'static str = "present";
    const SUMMARY: &'static str = "Who is known to be there, without asking; events tell what changes";
    type Params = Nothing;
    type Result = PresentList;

    async fn run(context: &Context, _: Nothing) -> Result<PresentList, Failure> {
        let present = context.client.present().await?.into_iter();
        let object = |one: waxwing_core::Present| PresentObject {
            chat: one.chat,
            username: one.username,
            presence: one.presence.into(),
        };
        Ok(PresentList { present: present.map(object).collect() })
    }
}

/// `users`
pub(crate) struct Users;

/// Whom one asks about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsersParams {
    /// The members of this chat; none: everybody with whom the user has a chat, and who is there in groups and rooms.
    #[serde(default)]
    pub(crate) chat: Option<String>,
}

/// Users, and whether they are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct UserList {
    /// Whether the user hides, and so neither shows nor sees who is there.
    pub(crate) hidden: bool,
    /// Whether the server was reached; else nothing is known of who is there.
    pub(crate) online: bool,
    /// By username.
    pub(crate) users: Vec<UserObject>,
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct UserObject {
    /// Who.
    pub(crate) username: String,
    /// The full name, as they told it.
    pub(crate) full_name: Option<String>,
    /// here, away or gone.
    pub(crate) presence: Presence,
    /// Whether they manage the group, if it is one.
    pub(crate) admin: bool,
    /// Whether it is this user.
    pub(crate) you: bool,
}

impl Method for Users {
    const NAME: &'static str = "users";
    const SUMMARY: &'static str = "Who is in a chat, or whom one has chats with, and whether they are there";
    type Params = UsersParams;
    type Result = UserList;

    async fn run(context: &Context, params: UsersParams) -> Result<UserList, Failure> {
        let client = &context.client;
        let chat = match &params.chat {
            Some(chat) => Some(client.chat_name(chat).await?),
            None => None,
        };
        let mut users = match &chat {
            Some(chat) => members(client, chat).await?,
            None => contacts(client).await?,
        };
        client.go_online();
        let online = match client.caught_up(PATIENCE).await {
            Ok(()) => true,
            Err(Error::Unreachable { .. } | Error::ConnectionLost(_) | Error::TimedOut(_)) => false,
            Err(error) => return Err(error.into()),
        };
        if online && client.ask_presence(chat.as_deref()).await? {
            tokio::time::sleep(if users.len() > 8 { MANY_ANSWERS } else { ANSWERS }).await;
        }
        for one in client.present().await? {
            let known = users.get_mut(&one.username);
            let user = match known {
                Some(user) => user,
                None if chat.is_none() => users.entry(one.username.clone()).or_default(),
                None => continue,
            };
            user.username = one.username;
            user.presence = user.presence.max(one.presence.into());
        }
        let me = client.whoami().await?.username;
        if let Some(user) = users.get_mut(&me) {
            user.presence = user.presence.max(client.own_presence().await?.into());
        }
        let hidden = !client.is_on(Switch::Presence).await?;
        Ok(UserList { hidden, online, users: users.into_values().collect() })
    }
}

type ByName = BTreeMap<String, UserObject>;

async fn members(client: &Client, chat: &str) -> Result<ByName, Failure> {
    let whoami = client.whoami().await?;
    let one = |user: UserObject| (user.username.clone(), user);
    if ChatKind::of(chat) != ChatKind::Direct {
        let members = client.group(chat).await?.members.into_iter();
        return Ok(members
            .map(|member| {
                one(UserObject {
                    username: member.username,
                    full_name: member.full_name,
                    admin: member.admin,
                    you: member.you,
                    ..UserObject::default()
                })
            })
            .collect());
    }
    let known = client.chats().await?.into_iter().find(|known| known.name == chat);
    let known = known.ok_or_else(|| Error::UnknownChat(chat.to_owned()))?;
    let me = UserObject { username: whoami.username, full_name: whoami.full_name, you: true, ..UserObject::default() };
    let other = UserObject { username: known.name, full_name: known.full_name, ..UserObject::default() };
    Ok([other, me].into_iter().map(one).collect())
}

async fn contacts(client: &Client) -> Result<ByName, Failure> {
    let whoami = client.whoami().await?;
    let me = UserObject { username: whoami.username, full_name: whoami.full_name, you: true, ..UserObject::default() };
    let chats = client.chats().await?.into_iter();
    let known = chats.filter(|chat| chat.kind == ChatKind::Direct && !chat.request && !chat.blocked);
    let known =
        known.map(|chat| UserObject { username: chat.name, full_name: chat.full_name, ..UserObject::default() });
    // Oneself last: notes are a chat, too.
    Ok(known.chain([me]).map(|user| (user.username.clone(), user)).collect())
}
