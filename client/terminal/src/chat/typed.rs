//! What a typed line means: a text to send, or a command. A mistyped command is never a text.

use crate::group_commands::GroupTyped;

/// A typed line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Nothing.
    Empty,
    /// Send this to the chat.
    Say(String),
    /// `/help`
    Help,
    /// `/users`
    Users,
    /// `/msg user text`
    Msg {
        /// To whom.
        user: String,
        /// What.
        text: String,
    },
    /// Something about groups and rooms.
    Group(GroupTyped),
    /// `/quit`
    Quit,
    /// A command, but not one of ours or not a whole one: what to tell the user.
    Mistyped(String),
}

/// What `/help` says.
pub(crate) const HELP: &str = "\
/help              this list
/users             who is in this group; in a chat with one user, whom you have chats with
/msg USER TEXT     send a message to somebody else
/quit              leave the chat (also Ctrl+D, or Ctrl+C twice)
//TEXT             send a text that begins with a slash
Everything else is sent when you press Enter.";

impl Typed {
    pub(crate) fn parse(line: &str) -> Self {
        let line = line.trim_end();
        if line.trim_start().is_empty() {
            return Self::Empty;
        }
        if let Some(text) = line.strip_prefix("//") {
            return Self::Say(format!("/{text}"));
        }
        // Spaces before it do not turn a command into a text either.
        let Some(command) = line.trim_start().strip_prefix('/') else {
            return Self::Say(line.to_owned());
        };
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = rest.trim();
        match (name, rest) {
            ("help" | "?", "") => Self::Help,
            ("users", "") => Self::Users,
            ("quit" | "q" | "exit", "") => Self::Quit,
            ("msg", _) => match rest.split_once(char::is_whitespace) {
                Some((user, text)) => Self::Msg { user: user.to_owned(), text: text.trim_start().to_owned() },
                None => Self::Mistyped("/msg needs a user and a text: /msg bob hello".to_owned()),
            },
            ("help" | "?" | "users" | "quit" | "q" | "exit", _) => {
                Self::Mistyped(format!("nothing was sent: /{name} stands alone on its line"))
            }
            _ if let Some(group) = GroupTyped::parse(name, rest) => group.map_or_else(Self::Mistyped, Self::Group),
            _ => Self::Mistyped(format!(
                "nothing was sent: there is no command /{name}; /help lists them, and //{name} sends it as a text"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_text_unless_it_begins_with_a_slash() {
        assert_eq!(Typed::parse("hello /quit \n"), Typed::Say("hello /quit".into()));
        assert_eq!(Typed::parse("  indented"), Typed::Say("  indented".into()));
        assert_eq!(Typed::parse("   "), Typed::Empty);
        assert_eq!(Typed::parse("//etc/hosts"), Typed::Say("/etc/hosts".into()));
    }

    #[test]
    fn commands_are_understood() {
        assert_eq!(Typed::parse("/help"), Typed::Help);
        assert_eq!(Typed::parse(" /users "), Typed::Users);
        assert_eq!(Typed::parse("/quit"), Typed::Quit);
        let msg = Typed::Msg { user: "bob".into(), text: "see you".into() };
        assert_eq!(Typed::parse("/msg bob   see you"), msg);
    }

    #[test]
    fn a_mistyped_command_is_never_a_text() {
        for line in ["/qiut", "/", " /hlep", "/msg bob", "/msg", "/quit now", "/HELP", "/me waves", "/\u{1b}[2J"] {
            assert!(matches!(Typed::parse(line), Typed::Mistyped(_)), "{line:?}");
        }
    }
}
