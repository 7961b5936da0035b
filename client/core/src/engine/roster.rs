//! What a commit has made of a group, in the words of its members.
//!
//! The invariant: all members tell the same, since it follows from the rules before and after. It must not know how commits
//! are judged.

use super::settings;
use crate::{
    ChatKind, Error, Event, GroupChange, MessageId,
    account::now_ms,
    random,
    store::{
        chats::{ChatId, ChatRow},
        groups, join_requests, messages,
        own::Own,
        successions,
    },
};
use rand_core::Rng as _;
use rusqlite::Connection as Database;
use waxwing_e2ee::mls::{GroupRules, Role};

/// What changed between two sets of rules; `left` went by their own wish.
pub(super) fn changes(before: &GroupRules, after: &GroupRules, left: &[String]) -> Vec<GroupChange> {
    let mut all = Vec::new();
    for one in after.participants() {
        let username = one.username.clone();
        match before.participant(&username) {
            None => all.push(GroupChange::Joined { username }),
            Some(known) if known.role != one.role => {
                all.push(GroupChange::Role { username, admin: one.role == Role::Admin });
            }
            Some(_) => {}
        }
    }
    for one in before.participants().iter().filter(|one| after.participant(&one.username).is_none()) {
        let username = one.username.clone();
        all.push(match left.contains(&username) {
            true => GroupChange::Left { username },
            false => GroupChange::Removed { username },
        });
    }
    if let (Some(old), Some(new)) = (before.about(), after.about()) {
        if old.name != new.name {
            all.push(GroupChange::Name { name: new.name.clone() });
        }
        if old.topic != new.topic {
            all.push(GroupChange::Topic { topic: new.topic.clone() });
        }
        if old.history != new.history {
            all.push(GroupChange::History { messages: new.history });
        }
    }
    all
}

/// Keeps what a commit at `seq` has made of a chat's group, and tells it.
pub(super) fn note(
    tx: &Database,
    own: &Own,
    row: &ChatRow,
    seq: u64,
    (before, after): (&GroupRules, &GroupRules),
    by: &str,
    left: &[String],
) -> Result<Vec<Event>, Error> {
    if ChatKind::of(&row.name) == ChatKind::Direct {
        return Ok(Vec::new());
    }
    let changes = changes(before, after, left);
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    set_about(tx, row.chat, after)?;
    for change in &changes {
        match change {
            GroupChange::Joined { username } => groups::delete_asker(tx, row.chat, username)?,
            GroupChange::Left { username } | GroupChange::Removed { username } => {
                groups::delete_wish(tx, row.chat, username)?;
                groups::delete_asker(tx, row.chat, username)?;
            }
            _ => {}
        }
    }
    let text = words(&changes, by, &own.username, ChatKind::of(&row.name));
    let mut events = vec![notice(tx, row.chat, seq, &text)?];
    if settings::is_request(tx, &row.name)? {
        // Names and topics are texts of strangers, too.
        return Ok(vec![Event::ChatChanged { chat: row.name.clone() }]);
    }
    let event = |change: GroupChange| Event::Group { chat: row.name.clone(), by: by.to_owned(), change };
    events.extend(changes.into_iter().map(event));
    Ok(events)
}

/// What the group is called, for lists of chats.
pub(super) fn set_about(tx: &Database, chat: ChatId, rules: &GroupRules) -> Result<(), Error> {
    match rules.about() {
        Some(about) => groups::set_about(tx, chat, &about.name, &about.topic),
        None => Ok(()),
    }
}

/// Puts a line into the chat that nobody has written.
pub(super) fn notice(tx: &Database, chat: ChatId, seq: u64, text: &str) -> Result<Event, Error> {
    let mut id = [0; 16];
    random().fill_bytes(&mut id);
    let position = messages::insert_notice(tx, chat, seq, MessageId(id), text, now_ms())?;
    Ok(Event::Message(messages::load(tx, position)?))
}

/// This account is in the group no more: its keys go, what it has read stays.
pub(super) fn end(tx: &Database, row: &ChatRow, text: &str) -> Result<Event, Error> {
    if let Some(id) = row.conversation {
        super::creation::delete_group(tx, &id)?;
    }
    crate::store::commits::delete(tx, row.chat)?;
    join_requests::clear(tx, row.chat)?;
    successions::delete(tx, row.chat)?;
    groups::set_over(tx, row.chat)?;
    notice(tx, row.chat, row.cursor, text)
}

/// A sentence for readers.
fn words(changes: &[GroupChange], by: &str, own: &str, kind: ChatKind) -> String {
    let who = |name: &str| if name == own { "you".to_owned() } else { name.to_owned() };
    let by_whom = who(by);
    let joined = |pick: &dyn Fn(&GroupChange) -> Option<&str>| {
        let names: Vec<String> = changes.iter().filter_map(pick).map(who).collect();
        match names.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
            None => String::new(),
        }
    };
    let mut parts = Vec::new();
    let came = joined(&|change| if let GroupChange::Joined { username } = change { Some(username) } else { None });
    if !came.is_empty() {
        parts.push(match kind {
            ChatKind::Room => format!("{came} joined"),
            _ => format!("{by_whom} added {came}"),
        });
    }
    let left = joined(&|change| if let GroupChange::Left { username } = change { Some(username) } else { None });
    if !left.is_empty() {
        parts.push(format!("{left} left"));
    }
    let out = joined(&|change| if let GroupChange::Removed { username } = change { Some(username) } else { None });
    if !out.is_empty() {
        parts.push(format!("{by_whom} removed {out}"));
    }
    for change in changes {
        parts.push(match change {
            GroupChange::Role { username, admin: true } => format!("{by_whom} made {} an admin", who(username)),
            GroupChange::Role { username, admin: false } => {
                format!("{by_whom} made {} a member without admin rights", who(username))
            }
            GroupChange::Name { name } => format!("{by_whom} named the group: {name}"),
            GroupChange::Topic { topic } if topic.is_empty() => format!("{by_whom} removed the topic"),
            GroupChange::Topic { topic } => format!("{by_whom} set the topic: {topic}"),
            GroupChange::History { messages: 0 } => format!("{by_whom} switched the history for newcomers off"),
            GroupChange::History { messages } => {
                format!("{by_whom} lets newcomers see the last {messages} messages")
            }
            GroupChange::Joined { .. } | GroupChange::Left { .. } | GroupChange::Removed { .. } => continue,
        });
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_in_one_line() {
        let named = |username: &str| username.to_owned();
        let changes = [
            GroupChange::Joined { username: named("bob") },
            GroupChange::Joined { username: named("me") },
            GroupChange::Left { username: named("carol") },
            GroupChange::Topic { topic: "Birds".into() },
        ];
        let line = words(&changes, "alice", "me", ChatKind::Group);
        assert_eq!(line, "alice added bob and you; carol left; alice set the topic: Birds");
        let line = words(&changes[..1], "alice", "me", ChatKind::Room);
        assert_eq!(line, "bob joined");
        let removed = [GroupChange::Removed { username: named("bob") }];
        assert_eq!(words(&removed, "me", "me", ChatKind::Group), "you removed bob");
    }
}
