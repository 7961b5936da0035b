//! Groups and rooms: `rooms`, `join_room`, `create_group`, `group`, `change_group`, `leave_group`.

use super::{Context, Method, Nothing, chats::ChatName};
use crate::Failure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use waxwing_core::{ChatKind, ChatMember, Client, GroupChange, GroupInfo, Room, Wish};

/// How long the server, and the others, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a change may take in a group where many want to change something.
const CHANGE_PATIENCE: Duration = Duration::from_secs(90);

async fn online(client: &Client) -> Result<(), Failure> {
    client.go_online();
    Ok(client.caught_up(PATIENCE).await?)
}

/// The kind of a chat, by its name in JSON.
pub(crate) fn kind_name(kind: ChatKind) -> &'static str {
    match kind {
        ChatKind::Direct => "direct",
        ChatKind::Group => "group",
        ChatKind::Room => "room",
    }
}

/// `rooms`
pub(crate) struct Rooms;

/// The server's public rooms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RoomList {
    /// By name.
    pub(crate) rooms: Vec<RoomObject>,
}

/// A public room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RoomObject {
    /// With its `#`.
    pub(crate) name: String,
    /// How many users take part; 0 if nobody has made it yet.
    pub(crate) members: u32,
    /// Whether this device is in it.
    pub(crate) joined: bool,
    /// Whether new users come into it.
    pub(crate) default: bool,
}

impl From<Room> for RoomObject {
    fn from(room: Room) -> Self {
        Self { name: room.name, members: room.members, joined: room.joined, default: room.is_default }
    }
}

impl Method for Rooms {
    const NAME: &'static str = "rooms";
    const SUMMARY: &'static str = "The public rooms of the server";
    type Params = Nothing;
    type Result = RoomList;

    async fn run(context: &Context, _: Nothing) -> Result<RoomList, Failure> {
        online(&context.client).await?;
        Ok(RoomList { rooms: context.client.rooms().await?.into_iter().map(RoomObject::from).collect() })
    }
}

/// `join_room`
pub(crate) struct JoinRoom;

impl Method for JoinRoom {
    const NAME: &'static str = "join_room";
    const SUMMARY: &'static str = "Comes into a public room, or makes it; answers when this device is in it";
    type Params = ChatName;
    type Result = ChatName;

    async fn run(context: &Context, params: ChatName) -> Result<ChatName, Failure> {
        online(&context.client).await?;
        Ok(ChatName { chat: context.client.join_room(&params.chat, PATIENCE).await? })
    }
}

/// `create_group`
pub(crate) struct CreateGroup;

/// A new private group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateGroupParams {
    /// What it is called; its members alone see it.
    pub(crate) title: String,
    /// Who is in it from the beginning.
    #[serde(default)]
    pub(crate) members: Vec<String>,
}

impl Method for CreateGroup {
    const NAME: &'static str = "create_group";
    const SUMMARY: &'static str = "Makes a private group; its name as a chat is the answer";
    type Params = CreateGroupParams;
    type Result = ChatName;

    async fn run(context: &Context, params: CreateGroupParams) -> Result<ChatName, Failure> {
        online(&context.client).await?;
        Ok(ChatName { chat: context.client.create_group(&params.title, &params.members).await? })
    }
}

/// `group`
pub(crate) struct Group;

/// A group or room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct GroupObject {
    /// The chat's name: `#room`, or `+` and digits.
    pub(crate) chat: String,
    /// group or room.
    pub(crate) kind: String,
    /// What its members call it.
    pub(crate) title: String,
    /// What it is about; empty for nothing.
    pub(crate) topic: String,
    /// How many of the last messages newcomers are told.
    pub(crate) history: u32,
    /// Whether this user may change it.
    pub(crate) admin: bool,
    /// By username.
    pub(crate) members: Vec<MemberObject>,
}

/// Somebody in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct MemberObject {
    /// Who.
    pub(crate) username: String,
    /// The full name, as they told it.
    pub(crate) full_name: Option<String>,
    /// Whether they manage the group.
    pub(crate) admin: bool,
    /// How many of their devices are in it.
    pub(crate) devices: u64,
    /// Whether it is this user.
    pub(crate) you: bool,
}

impl From<ChatMember> for MemberObject {
    fn from(member: ChatMember) -> Self {
        let ChatMember { username, full_name, admin, devices, you } = member;
        Self { username, full_name, admin, devices, you }
    }
}

impl From<GroupInfo> for GroupObject {
    fn from(info: GroupInfo) -> Self {
        let GroupInfo { chat, kind, title, topic, history, admin, members } = info;
        let members = members.into_iter().map(MemberObject::from).collect();
        Self { chat, kind: kind_name(kind).to_owned(), title, topic, history, admin, members }
    }
}

impl Method for Group {
    const NAME: &'static str = "group";
    const SUMMARY: &'static str = "A group or room, and who is in it";
    type Params = ChatName;
    type Result = GroupObject;

    async fn run(context: &Context, params: ChatName) -> Result<GroupObject, Failure> {
        Ok(context.client.group(&params.chat).await?.into())
    }
}

/// `change_group`
pub(crate) struct ChangeGroup;

/// A change of a group or room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeGroupParams {
    /// The chat's name, or what a private group is called.
    pub(crate) chat: String,
    /// What shall change.
    pub(crate) change: WishObject,
}

/// What shall change of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WishObject {
    /// Lets these users in.
    Invite(Vec<String>),
    /// Puts these users out.
    Remove(Vec<String>),
    /// Makes this member an admin.
    Promote(String),
    /// Takes an admin's rights away.
    Demote(String),
    /// Calls it this.
    Name(String),
    /// Says what it is about; empty for nothing.
    Topic(String),
    /// Lets newcomers see so many of the last messages; 0 for none.
    History(u32),
}

impl From<WishObject> for Wish {
    fn from(wish: WishObject) -> Self {
        match wish {
            WishObject::Invite(users) => Self::Invite(users),
            WishObject::Remove(users) => Self::Remove(users),
            WishObject::Promote(username) => Self::Role { username, admin: true },
            WishObject::Demote(username) => Self::Role { username, admin: false },
            WishObject::Name(name) => Self::Name(name),
            WishObject::Topic(topic) => Self::Topic(topic),
            WishObject::History(messages) => Self::History(messages),
        }
    }
}

impl Method for ChangeGroup {
    const NAME: &'static str = "change_group";
    const SUMMARY: &'static str = "Changes a group or room; answers when the change is in force for all";
    type Params = ChangeGroupParams;
    type Result = GroupObject;

    async fn run(context: &Context, params: ChangeGroupParams) -> Result<GroupObject, Failure> {
        online(&context.client).await?;
        context.client.change_group(&params.chat, params.change.into(), CHANGE_PATIENCE).await?;
        Ok(context.client.group(&params.chat).await?.into())
    }
}

/// `leave_group`
pub(crate) struct LeaveGroup;

impl Method for LeaveGroup {
    const NAME: &'static str = "leave_group";
    const SUMMARY: &'static str = "Leaves a group or room, with all devices; the history stays";
    type Params = ChatName;
    type Result = Nothing;

    async fn run(context: &Context, params: ChatName) -> Result<Nothing, Failure> {
        online(&context.client).await?;
        context.client.leave_group(&params.chat).await?;
        Ok(Nothing {})
    }
}

/// A change of a group, as an event tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GroupChangeObject {
    /// This user takes part from now on.
    Joined(String),
    /// This user went, as they wished.
    Left(String),
    /// This user was put out.
    Removed(String),
    /// This user is an admin now.
    Promoted(String),
    /// This user is no admin any more.
    Demoted(String),
    /// The group is called this.
    Name(String),
    /// It is about this; empty for nothing.
    Topic(String),
    /// Newcomers see so many of the last messages.
    History(u32),
}

impl From<&GroupChange> for GroupChangeObject {
    fn from(change: &GroupChange) -> Self {
        match change.clone() {
            GroupChange::Joined { username } => Self::Joined(username),
            GroupChange::Left { username } => Self::Left(username),
            GroupChange::Removed { username } => Self::Removed(username),
            GroupChange::Role { username, admin: true } => Self::Promoted(username),
            GroupChange::Role { username, admin: false } => Self::Demoted(username),
            GroupChange::Name { name } => Self::Name(name),
            GroupChange::Topic { topic } => Self::Topic(topic),
            GroupChange::History { messages } => Self::History(messages),
        }
    }
}

impl From<GroupChangeObject> for GroupChange {
    fn from(change: GroupChangeObject) -> Self {
        match change {
            GroupChangeObject::Joined(username) => Self::Joined { username },
            GroupChangeObject::Left(username) => Self::Left { username },
            GroupChangeObject::Removed(username) => Self::Removed { username },
            GroupChangeObject::Promoted(username) => Self::Role { username, admin: true },
            GroupChangeObject::Demoted(username) => Self::Role { username, admin: false },
            GroupChangeObject::Name(name) => Self::Name { name },
            GroupChangeObject::Topic(topic) => Self::Topic { topic },
            GroupChangeObject::History(messages) => Self::History { messages },
        }
    }
}
