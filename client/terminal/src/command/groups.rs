//! `group …` and `room …`: making, changing and leaving groups and rooms.

use crate::{
    Failure,
    cli::{GroupCommand, Options, RoomCommand},
    command::ask,
    output::{print, print_json},
    rpc::{
        Nothing,
        chats::ChatName,
        groups::{
            ChangeGroup, ChangeGroupParams, CreateGroup, CreateGroupParams, Group, GroupObject, JoinRoom, LeaveGroup,
            RoomObject, Rooms, WishObject,
        },
    },
    sanitise::{Breaks, sanitise},
};

pub(crate) async fn group(options: &Options, command: GroupCommand) -> Result<(), Failure> {
    let (chat, change) = match command {
        GroupCommand::Create { name, users } => {
            let made = ask::<CreateGroup>(options, CreateGroupParams { title: name, members: users }).await?;
            return name_of(options, &made);
        }
        GroupCommand::Show { group } => {
            let group = ask::<Group>(options, ChatName { chat: group }).await?;
            return show(options, &group);
        }
        GroupCommand::Leave { group } => {
            ask::<LeaveGroup>(options, ChatName { chat: group }).await?;
            return Ok(());
        }
        GroupCommand::Invite { group, users } => (group, WishObject::Invite(users)),
        GroupCommand::Remove { group, users } => (group, WishObject::Remove(users)),
        GroupCommand::Promote { group, user } => (group, WishObject::Promote(user)),
        GroupCommand::Demote { group, user } => (group, WishObject::Demote(user)),
        GroupCommand::Rename { group, name } => (group, WishObject::Name(name)),
        GroupCommand::Topic { group, topic } => (group, WishObject::Topic(topic)),
        GroupCommand::History { group, messages } => (group, WishObject::History(messages)),
    };
    let group = ask::<ChangeGroup>(options, ChangeGroupParams { chat, change }).await?;
    if options.json { Ok(print_json(&group)?) } else { Ok(()) }
}

pub(crate) async fn room(options: &Options, command: RoomCommand) -> Result<(), Failure> {
    match command {
        RoomCommand::List => {
            let rooms = ask::<Rooms>(options, Nothing {}).await?.rooms;
            if options.json {
                return Ok(rooms.iter().try_for_each(print_json)?);
            }
            if rooms.is_empty() {
                return Ok(print("No public rooms yet. Make one: waxwing room join '#name'")?);
            }
            Ok(room_lines(&rooms).iter().try_for_each(|line| print(line))?)
        }
        RoomCommand::Join { room } => name_of(options, &ask::<JoinRoom>(options, ChatName { chat: room }).await?),
        RoomCommand::Leave { room } => group(options, GroupCommand::Leave { group: room }).await,
        RoomCommand::Show { room } => group(options, GroupCommand::Show { group: room }).await,
        RoomCommand::Invite { room, users } => group(options, GroupCommand::Invite { group: room, users }).await,
        RoomCommand::Remove { room, users } => group(options, GroupCommand::Remove { group: room, users }).await,
        RoomCommand::Promote { room, user } => group(options, GroupCommand::Promote { group: room, user }).await,
        RoomCommand::Demote { room, user } => group(options, GroupCommand::Demote { group: room, user }).await,
        RoomCommand::Topic { room, topic } => group(options, GroupCommand::Topic { group: room, topic }).await,
        RoomCommand::History { room, messages } => {
            group(options, GroupCommand::History { group: room, messages }).await
        }
    }
}

fn name_of(options: &Options, chat: &ChatName) -> Result<(), Failure> {
    match options.json {
        true => print_json(chat)?,
        false => print(&sanitise(&chat.chat, Breaks::Spaces))?,
    }
    Ok(())
}

fn show(options: &Options, group: &GroupObject) -> Result<(), Failure> {
    if options.json {
        return Ok(print_json(group)?);
    }
    Ok(group_lines(group).iter().try_for_each(|line| print(line))?)
}

/// The rooms as lines.
pub(crate) fn room_lines(rooms: &[RoomObject]) -> Vec<String> {
    let width = rooms.iter().map(|room| room.name.chars().count()).max().unwrap_or(0);
    let line = |room: &RoomObject| {
        let members = match room.members {
            0 => "nobody yet".to_owned(),
            1 => "1 member".to_owned(),
            many => format!("{many} members"),
        };
        let here = if room.joined { ", you are in it" } else { "" };
        let default = if room.default { ", for everybody" } else { "" };
        format!("{:width$}  {members}{here}{default}", sanitise(&room.name, Breaks::Spaces))
    };
    rooms.iter().map(line).collect()
}

/// A group as lines: what it is, then who is in it.
pub(crate) fn group_lines(group: &GroupObject) -> Vec<String> {
    let clean = |text: &str| sanitise(text, Breaks::Spaces);
    let mut lines = vec![match group.kind.as_str() {
        "room" => format!("{}  public room", clean(&group.chat)),
        _ => format!("{}  {}  private group", clean(&group.title), clean(&group.chat)),
    }];
    if !group.topic.is_empty() {
        lines.push(format!("topic    {}", clean(&group.topic)));
    }
    lines.push(match group.history {
        0 => "history  newcomers see what is written from then on".to_owned(),
        many => format!("history  newcomers are told the last {many} messages"),
    });
    lines.push(format!("members  {}", group.members.len()));
    lines.extend(member_lines(group));
    lines
}

/// Who is in a group.
fn member_lines(group: &GroupObject) -> Vec<String> {
    let width = group.members.iter().map(|one| one.username.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for one in &group.members {
        let mut about = Vec::new();
        if let Some(name) = &one.full_name {
            about.push(sanitise(name, Breaks::Spaces));
        }
        about.extend(
            [(one.you, "you"), (one.admin, "admin")].into_iter().filter(|(is, _)| *is).map(|(_, word)| word.to_owned()),
        );
        if one.devices == 0 {
            about.push("not here with a device yet".to_owned());
        }
        lines.push(
            format!("  {:width$}  {}", sanitise(&one.username, Breaks::Spaces), about.join(", ")).trim_end().to_owned(),
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::groups::MemberObject;

    #[test]
    fn a_group_is_shown_safely() {
        let member = |username: &str, admin, you| MemberObject {
            username: username.into(),
            full_name: Some("A \u{1b}[2JB".into()),
            admin,
            devices: 1,
            you,
        };
        let group = GroupObject {
            chat: "+0123456789ab".into(),
            kind: "group".into(),
            title: "Birds\n\u{1b}[31m".into(),
            topic: String::new(),
            history: 0,
            admin: true,
            members: vec![member("al", true, true), member("bobby", false, false)],
        };
        let lines = group_lines(&group);
        assert!(lines.iter().all(|line| !line.contains(['\u{1b}', '\n'])), "{lines:?}");
        assert!(lines[0].starts_with("Birds"), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("  al ") && line.ends_with("you, admin")), "{lines:?}");
    }

    #[test]
    fn rooms_are_counted() {
        let room = |name: &str, members, joined| RoomObject { name: name.into(), members, joined, default: false };
        let lines = room_lines(&[room("#a", 1, true), room("#birds", 3, false)]);
        assert_eq!(lines, ["#a      1 member, you are in it", "#birds  3 members"]);
    }
}
