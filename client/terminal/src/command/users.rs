//! `users`: who is in a chat, or whom one has chats with, and whether they are there.

use crate::{
    Failure,
    cli::Options,
    command::ask,
    output::{print, print_json},
    rpc::presence::{Presence, UserList, UserObject, Users, UsersParams},
    sanitise::{Breaks, sanitise},
};

const HIDDEN: &str = "You hide whether you are online, so others are not shown to you either; 'waxwing settings presence on' (/unhide) \
                      ends that.";

pub(crate) async fn users(options: &Options, chat: Option<String>) -> Result<(), Failure> {
    let everybody = chat.is_none();
    let list = ask::<Users>(options, UsersParams { chat }).await?;
    if options.json {
        return Ok(list.users.iter().try_for_each(print_json)?);
    }
    Ok(user_lines(&list, everybody).iter().try_for_each(|line| print(line))?)
}

/// The users as lines; of everybody only those who are there.
pub(crate) fn user_lines(list: &UserList, everybody: bool) -> Vec<String> {
    let shown = |user: &&UserObject| !everybody || (user.presence > Presence::Gone && !user.you);
    let users: Vec<&UserObject> = list.users.iter().filter(shown).collect();
    let width = users.iter().map(|user| user.username.chars().count()).max().unwrap_or(0);
    let mut lines: Vec<String> = users.iter().map(|user| line(user, width)).collect();
    if list.hidden {
        lines.push(HIDDEN.to_owned());
    } else if !list.online {
        lines.push("Not connected: who is online is not known.".to_owned());
    } else if users.is_empty() {
        lines.push("Nobody whom you share a chat with is online.".to_owned());
    }
    lines
}

/// The sign of a presence: told apart by its form, not by a colour.
pub(crate) fn sign(presence: Presence) -> &'static str {
    match presence {
        Presence::Here => "●",
        Presence::Away => "◐",
        Presence::Gone => "·",
    }
}

fn line(user: &UserObject, width: usize) -> String {
    let mut about = Vec::new();
    about.extend(match user.presence {
        Presence::Here => Some("online".to_owned()),
        Presence::Away => Some("away".to_owned()),
        Presence::Gone => None,
    });
    about.extend(user.full_name.as_ref().map(|name| sanitise(name, Breaks::Spaces)));
    about.extend(
        [(user.you, "you"), (user.admin, "admin")].into_iter().filter(|(is, _)| *is).map(|(_, word)| word.to_owned()),
    );
    let name = sanitise(&user.username, Breaks::Spaces);
    format!("{} {name:width$}  {}", sign(user.presence), about.join(", ")).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(username: &str, presence: Presence, you: bool) -> UserObject {
        UserObject { username: username.into(), presence, you, full_name: None, admin: you }
    }

    #[test]
    fn who_is_there_is_told_in_words_and_signs() {
        let users = vec![
            user("al", Presence::Here, true),
            user("bobby", Presence::Away, false),
            UserObject { full_name: Some("C\u{1b}[2J".into()), ..user("carol", Presence::Gone, false) },
        ];
        let list = UserList { hidden: false, online: true, users };
        assert_eq!(user_lines(&list, false), ["● al     online, you, admin", "◐ bobby  away", "· carol  C␛[2J"]);
        assert_eq!(user_lines(&list, true), ["◐ bobby  away"]);
    }

    #[test]
    fn what_is_not_known_is_said() {
        let list = |hidden, online| UserList { hidden, online, users: vec![user("al", Presence::Here, true)] };
        assert!(user_lines(&list(true, true), true)[0].starts_with("You hide"));
        assert!(user_lines(&list(false, false), true)[0].starts_with("Not connected"));
        assert!(user_lines(&list(false, true), true)[0].starts_with("Nobody"));
    }
}
