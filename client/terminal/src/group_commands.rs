//! The commands of a chat that are about groups and rooms: `/join /leave /invite /kick /who /rooms /topic …`.
//!
//! They are understood and carried out here for every kind of chat screen. It must not know how lines are shown.

use crate::{
    Failure,
    command::groups::{group_lines, room_lines},
    rpc::{
        Backend, Nothing,
        chats::ChatName,
        groups::{
            ChangeGroup, ChangeGroupParams, CreateGroup, CreateGroupParams, Group, JoinRoom, LeaveGroup, Rooms,
            WishObject,
        },
    },
    sanitise::{Breaks, sanitise},
};

/// A command about groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GroupTyped {
    /// `/rooms`
    Rooms,
    /// `/join #room`
    Join(String),
    /// `/leave`, the chat or another one.
    Leave(Option<String>),
    /// `/group Name of it`, and members behind a colon.
    Create {
        /// What it is called.
        title: String,
        /// Who is in it.
        members: Vec<String>,
    },
    /// `/who`
    Who,
    /// `/topic`
    Topic(Option<String>),
    /// `/rename Name of it`
    Rename(String),
    /// `/invite user …`
    Invite(Vec<String>),
    /// `/kick user …`
    Kick(Vec<String>),
    /// `/promote user`
    Promote(String),
    /// `/demote user`
    Demote(String),
}

/// Each command: its name, what it takes, what it does.
pub(crate) const COMMANDS: &[(&str, &str, &str)] = &[
    ("rooms", "", "the server's public rooms"),
    ("join", "#ROOM", "come into a public room, or make it, and go there"),
    ("group", "NAME: USER …", "make a private group with these users, and go there"),
    ("leave", "[#ROOM]", "leave this group or room, or another one"),
    ("who", "", "who is in this group or room"),
    ("invite", "USER …", "let somebody into this group or room"),
    ("kick", "USER …", "put somebody out of it"),
    ("promote", "USER", "make a member an admin"),
    ("demote", "USER", "take an admin's rights away"),
    ("topic", "[TEXT]", "show or set what it is about ('-' for nothing)"),
    ("rename", "NAME", "call a private group otherwise"),
];

/// What came of a command.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Lines to show.
    pub(crate) lines: Vec<String>,
    /// The chat to go to.
    pub(crate) go_to: Option<String>,
    /// Whether this chat was left.
    pub(crate) left: bool,
}

impl GroupTyped {
    /// Reads a command; none if it is not one of these. The error is what to tell the user.
    pub(crate) fn parse(name: &str, rest: &str) -> Option<Result<Self, String>> {
        let (_, arguments, _) = COMMANDS.iter().find(|(known, ..)| *known == name)?;
        let users =
            || -> Vec<String> { rest.split_whitespace().map(|user| user.trim_start_matches('@').to_owned()).collect() };
        let needs = |example: &str| Err(format!("nothing was done: /{name} {arguments} is the form, as in {example}"));
        Some(match (name, rest) {
            ("rooms", "") => Ok(Self::Rooms),
            ("who", "") => Ok(Self::Who),
            ("rooms" | "who", _) => Err(format!("nothing was sent: /{name} stands alone on its line")),
            ("leave", "") => Ok(Self::Leave(None)),
            ("leave", chat) => Ok(Self::Leave(Some(chat.to_owned()))),
            ("join", room) if !room.is_empty() && !room.contains(char::is_whitespace) => {
                Ok(Self::Join(room.to_owned()))
            }
            ("join", _) => needs("/join #birds"),
            ("group", text) if !text.is_empty() => {
                let (title, members) = text.rsplit_once(':').unwrap_or((text, ""));
                let members = members.split([' ', ',']).filter(|user| !user.is_empty());
                let members = members.map(|user| user.trim_start_matches('@').to_owned()).collect();
                Ok(Self::Create { title: title.trim().to_owned(), members })
            }
            ("group", _) => needs("/group Bird watchers: bob carol"),
            ("topic", "") => Ok(Self::Topic(None)),
            ("topic", "-") => Ok(Self::Topic(Some(String::new()))),
            ("topic", text) => Ok(Self::Topic(Some(text.to_owned()))),
            ("rename", "") => needs("/rename Bird watchers"),
            ("rename", title) => Ok(Self::Rename(title.to_owned())),
            ("invite", "") => needs("/invite bob"),
            ("invite", _) => Ok(Self::Invite(users())),
            ("kick", "") => needs("/kick bob"),
            ("kick", _) => Ok(Self::Kick(users())),
            _ => match users().as_slice() {
                [user] if name == "promote" => Ok(Self::Promote(user.clone())),
                [user] => Ok(Self::Demote(user.clone())),
                _ => needs(&format!("/{name} bob")),
            },
        })
    }

    /// Does it, in this chat.
    pub(crate) async fn run(self, backend: &Backend, chat: &str) -> Result<Done, Failure> {
        let here = || ChatName { chat: chat.to_owned() };
        let say = |line: String| Done { lines: vec![line], ..Done::default() };
        let change = match self {
            Self::Rooms => {
                let rooms = backend.call::<Rooms>(Nothing {}).await?.rooms;
                let none = "There are no public rooms yet: /join #name makes one.".to_owned();
                let lines = if rooms.is_empty() { vec![none] } else { room_lines(&rooms) };
                return Ok(Done { lines, ..Done::default() });
            }
            Self::Join(room) => {
                let chat = backend.call::<JoinRoom>(ChatName { chat: room }).await?.chat;
                return Ok(Done { go_to: Some(chat), ..Done::default() });
            }
            Self::Create { title, members } => {
                let chat = backend.call::<CreateGroup>(CreateGroupParams { title, members }).await?.chat;
                return Ok(Done { go_to: Some(chat), ..Done::default() });
            }
            Self::Leave(other) => {
                let left = other.unwrap_or_else(|| chat.to_owned());
                backend.call::<LeaveGroup>(ChatName { chat: left.clone() }).await?;
                return Ok(Done { left: left == chat, ..Done::default() });
            }
            Self::Who => {
                let group = backend.call::<Group>(here()).await?;
                let lines = group_lines(&group);
                return Ok(Done { lines, ..Done::default() });
            }
            Self::Topic(None) => {
                let group = backend.call::<Group>(here()).await?;
                let topic = sanitise(&group.topic, Breaks::Spaces);
                return Ok(say(if topic.is_empty() {
                    "There is no topic.".to_owned()
                } else {
                    format!("Topic: {topic}")
                }));
            }
            Self::Topic(Some(topic)) => WishObject::Topic(topic),
            Self::Rename(title) => WishObject::Name(title),
            Self::Invite(users) => WishObject::Invite(users),
            Self::Kick(users) => WishObject::Remove(users),
            Self::Promote(user) => WishObject::Promote(user),
            Self::Demote(user) => WishObject::Demote(user),
        };
        // The chat itself tells what has changed.
        backend.call::<ChangeGroup>(ChangeGroupParams { chat: chat.to_owned(), change }).await?;
        Ok(Done::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<Result<GroupTyped, String>> {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        GroupTyped::parse(name, rest)
    }

    #[test]
    fn commands_are_understood() {
        let users = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(parse("join #birds"), Some(Ok(GroupTyped::Join("#birds".into()))));
        assert_eq!(parse("invite @bob carol"), Some(Ok(GroupTyped::Invite(users(&["bob", "carol"])))));
        let made = GroupTyped::Create { title: "Bird watchers".into(), members: users(&["bob", "carol"]) };
        assert_eq!(parse("group Bird watchers: bob, carol"), Some(Ok(made)));
        assert_eq!(parse("topic -"), Some(Ok(GroupTyped::Topic(Some(String::new())))));
        assert_eq!(parse("leave"), Some(Ok(GroupTyped::Leave(None))));
        assert_eq!(parse("msg"), None);
    }

    #[test]
    fn what_is_not_whole_is_told() {
        for line in ["join", "join #a b", "group", "invite", "kick", "promote", "promote a b", "rename", "rooms now"] {
            assert!(matches!(parse(line), Some(Err(_))), "{line}");
        }
    }

    #[test]
    fn each_command_of_the_table_is_understood() {
        for (name, ..) in COMMANDS {
            assert!(GroupTyped::parse(name, "").is_some(), "{name}");
        }
    }
}
