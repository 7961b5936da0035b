//! What a typed line means: a text to send, or a command. A mistyped command is never a text.

use crate::{cli::Span, file_commands::FileTyped, group_commands::GroupTyped};

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
    /// `/hide` and `/unhide`
    Hide(bool),
    /// `/nick`: the name that others receive; none tells it, an empty one takes it away.
    Nick(Option<String>),
    /// `/msg user text`
    Msg {
        /// To whom.
        user: String,
        /// What.
        text: String,
    },
    /// Something about files.
    File(FileTyped),
    /// Something about groups and rooms.
    Group(GroupTyped),
    /// `/reply`, `/edit` and the like: about a message of the chat.
    Deed {
        /// Which: the nth newest, or the one that one would mean.
        back: Option<usize>,
        /// What.
        deed: Deed,
    },
    /// `/last`: the newest messages with the numbers by which they are meant.
    Last(usize),
    /// `/pins`
    Pins,
    /// `/timer`: sets it, or tells it.
    Timer(Option<Span>),
    /// `/mute`, for a while or for good; off: `/unmute`.
    Mute(Option<Span>),
    /// `/block` and `/unblock`; without a user whom one chats with.
    Block {
        /// Whom.
        user: Option<String>,
        /// Whether to block or to end that.
        blocked: bool,
    },
    /// `/requests`
    Requests,
    /// `/accept`; without a user whom one chats with.
    Accept(Option<String>),
    /// `/decline`; without a chat the one that is open.
    Decline(Option<String>),
    /// `/search`
    Search(String),
    /// `/verify`, of the chat's other user or of somebody else.
    Verify(Option<String>),
    /// `/quit`
    Quit,
    /// A command, but not one of ours or not a whole one: what to tell the user.
    Mistyped(String),
}

/// What is to be done with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Answer it.
    Reply(String),
    /// Change its text.
    Edit(String),
    /// Take it back.
    Delete,
    /// Put an emoji under it, or take it away.
    React {
        /// The emoji.
        emoji: String,
        /// Which of the two.
        add: bool,
    },
    /// Pin it, or take the pin away.
    Pin(bool),
}

/// How many messages `/last` shows.
const LAST: usize = 10;

/// What `/help` says.
pub(crate) const HELP: &str = "\
/help              this list
/users             who is online: in this group, or of all whom you share a chat with
/hide, /unhide     let nobody see whether you are online, and see nobody
/nick [NAME]       the name that others see beside your username ('-' for none)
/me TEXT           say what you do: /me waves
/msg USER TEXT     send a message to somebody else (also @USER TEXT)
/reply TEXT        answer the newest message of the other
/edit TEXT         change your newest message, for everybody
/delete            take your newest message back, for everybody
/react EMOJI       put an emoji under the newest message of the other; /unreact takes it away
/pin, /unpin       pin the newest message of the other, for everybody; /pins lists what is pinned
/last [N]          the newest messages with numbers: /reply ^3 TEXT, /react ^3 EMOJI mean another message
/search WORDS      search all chats: from:bob before:2026-01-31 \"a phrase\" pre*
/timer [TIME|off]  let new messages disappear so long after they were read (30s, 5m, 8h, 1d, 1w)
/mute [TIME]       no notices of this chat; /unmute ends that
/block [USER]      let nothing of them arrive; /unblock ends that
/requests          strangers who wait; /accept [NAME] lets them in, /decline [NAME] leaves a group
/verify [USER]     the safety number to compare with them
/quit              leave the chat (also Ctrl+D, or Ctrl+C twice)
//TEXT             send a text that begins with a slash
Everything else is sent when you press Enter.";

/// The commands that there are, with the line of the help that tells of each: what completion offers. The help is the one
/// list of them.
pub(crate) fn commands() -> impl Iterator<Item = (&'static str, &'static str)> {
    HELP.lines().flat_map(|line| {
        let part = |c: char| !c.is_ascii_lowercase() && c != '/';
        let words = line.split(part).filter(|word| word.rfind('/') == Some(0) && word.len() > 1);
        words.map(move |word| (word, line))
    })
}

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
            return Self::direct(line).unwrap_or_else(|| Self::Say(line.to_owned()));
        };
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = rest.trim();
        let wants = |example: &str| Self::Mistyped(format!("nothing was done: write {example}"));
        match (name, rest) {
            ("help" | "?", "") => Self::Help,
            ("users", "") => Self::Users,
            ("quit" | "q" | "exit", "") => Self::Quit,
            ("pins", "") => Self::Pins,
            ("requests", "") => Self::Requests,
            ("hide" | "unhide", "") => Self::Hide(name == "hide"),
            ("help" | "?" | "users" | "quit" | "q" | "exit" | "pins" | "requests" | "hide" | "unhide", _) => {
                Self::Mistyped(format!("nothing was sent: /{name} stands alone on its line"))
            }
            ("me", "") => wants("/me waves"),
            // It travels as it is typed: whoever shows it shows what somebody does.
            ("me", _) => Self::Say(format!("/me {rest}")),
            ("nick", "") => Self::Nick(None),
            ("nick", "-") => Self::Nick(Some(String::new())),
            ("nick", _) => Self::Nick(Some(rest.to_owned())),
            ("msg", _) => match rest.split_once(char::is_whitespace) {
                Some((user, text)) => Self::Msg { user: user.to_owned(), text: text.trim_start().to_owned() },
                None => Self::Mistyped("/msg needs a user and a text: /msg bob hello".to_owned()),
            },
            ("reply" | "edit" | "delete" | "react" | "unreact" | "pin" | "unpin", _) => Self::deed(name, rest),
            ("last", "") => Self::Last(LAST),
            ("last", _) => rest.parse().map_or_else(|_| wants("/last 20"), Self::Last),
            ("timer", "") => Self::Timer(None),
            ("timer", _) => match rest.parse() {
                Ok(span) => Self::Timer(Some(span)),
                Err(why) => Self::Mistyped(format!("nothing was done: {why}")),
            },
            ("mute", "") => Self::Mute(None),
            ("mute", _) => match rest.parse() {
                Ok(span) => Self::Mute(Some(span)),
                Err(why) => Self::Mistyped(format!("nothing was done: {why}")),
            },
            ("unmute", "") => "off".parse().map_or(Self::Empty, |off| Self::Mute(Some(off))),
            ("unmute", _) => wants("/unmute alone"),
            ("block" | "unblock" | "accept" | "decline" | "verify", _) if rest.contains(char::is_whitespace) => {
                wants(&format!("/{name} bob"))
            }
            ("block" | "unblock", _) => Self::Block { user: named(rest), blocked: name == "block" },
            ("accept", _) => Self::Accept(named(rest)),
            ("decline", _) => Self::Decline(named(rest)),
            ("verify", _) => Self::Verify(named(rest)),
            ("search", "") => wants("/search words"),
            ("search", _) => Self::Search(rest.to_owned()),
            _ if let Some(file) = FileTyped::parse(name, rest) => file.map_or_else(Self::Mistyped, Self::File),
            _ if let Some(group) = GroupTyped::parse(name, rest) => group.map_or_else(Self::Mistyped, Self::Group),
            _ => Self::Mistyped(format!(
                "nothing was sent: there is no command /{name}; /help lists them, and //{name} sends it as a text"
            )),
        }
    }

    /// `@bob hello` is a message to bob.
    fn direct(line: &str) -> Option<Self> {
        let (user, text) = line.trim_start().strip_prefix('@')?.split_once(char::is_whitespace)?;
        let text = text.trim_start();
        let is_name = waxwing_core::check_username(user).is_ok();
        (is_name && !text.is_empty()).then(|| Self::Msg { user: user.to_owned(), text: text.to_owned() })
    }

    fn deed(name: &str, rest: &str) -> Self {
        let (back, rest) = match rest.strip_prefix('^') {
            None => (None, rest),
            Some(rest) => {
                let (number, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                match number.parse() {
                    Ok(number) => (Some(number), rest.trim()),
                    Err(_) => {
                        let why = format!("nothing was done: ^ needs a number, as /last shows it: /{name} ^3");
                        return Self::Mistyped(why);
                    }
                }
            }
        };
        let deed = match (name, rest) {
            ("delete", "") => Deed::Delete,
            ("pin" | "unpin", "") => Deed::Pin(name == "pin"),
            ("delete" | "pin" | "unpin", _) => {
                return Self::Mistyped(format!("nothing was done: write /{name}, or /{name} ^3 for the third newest"));
            }
            ("reply" | "edit", "") => return Self::Mistyped(format!("nothing was done: write /{name} and a text")),
            ("react" | "unreact", "") => {
                return Self::Mistyped(format!("nothing was done: write /{name} and an emoji"));
            }
            ("reply", _) => Deed::Reply(rest.to_owned()),
            ("edit", _) => Deed::Edit(rest.to_owned()),
            _ => Deed::React { emoji: rest.to_owned(), add: name == "react" },
        };
        Self::Deed { back, deed }
    }
}

fn named(user: &str) -> Option<String> {
    (!user.is_empty()).then(|| user.trim_start_matches('@').to_owned())
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
        assert_eq!(Typed::parse("/me  waves "), Typed::Say("/me waves".into()));
        assert_eq!(Typed::parse("/nick Al the Great"), Typed::Nick(Some("Al the Great".into())));
        assert_eq!(Typed::parse("/nick -"), Typed::Nick(Some(String::new())));
        assert_eq!(Typed::parse("/unhide"), Typed::Hide(false));
        let msg = Typed::Msg { user: "bob".into(), text: "see you".into() };
        assert_eq!(Typed::parse("/msg bob   see you"), msg);
        assert_eq!(Typed::parse("@bob see you"), msg);
        assert_eq!(Typed::parse("@bob"), Typed::Say("@bob".into()));
        assert_eq!(Typed::parse("@home: see you"), Typed::Say("@home: see you".into()));
        assert_eq!(Typed::parse("/search from:bob tea"), Typed::Search("from:bob tea".into()));
        assert_eq!(Typed::parse("/timer off"), Typed::Timer("off".parse().ok()));
        assert_eq!(Typed::parse("/block"), Typed::Block { user: None, blocked: true });
        assert_eq!(Typed::parse("/unblock @carol"), Typed::Block { user: Some("carol".into()), blocked: false });
    }

    #[test]
    fn a_deed_is_about_the_message_that_one_would_mean_or_a_numbered_one() {
        let deed = |back, deed| Typed::Deed { back, deed };
        assert_eq!(Typed::parse("/reply why not?"), deed(None, Deed::Reply("why not?".into())));
        assert_eq!(Typed::parse("/reply ^12 why not?"), deed(Some(12), Deed::Reply("why not?".into())));
        assert_eq!(Typed::parse("/edit x"), deed(None, Deed::Edit("x".into())));
        assert_eq!(Typed::parse("/delete ^2"), deed(Some(2), Deed::Delete));
        assert_eq!(Typed::parse("/react 👍"), deed(None, Deed::React { emoji: "👍".into(), add: true }));
        assert_eq!(Typed::parse("/unpin"), deed(None, Deed::Pin(false)));
    }

    #[test]
    fn a_mistyped_command_is_never_a_text() {
        for line in [
            "/qiut",
            "/",
            " /hlep",
            "/msg bob",
            "/msg",
            "/quit now",
            "/HELP",
            "/\u{1b}[2J",
            "/reply",
            "/reply ^2",
            "/reply ^x y",
            "/delete now",
            "/react",
            "/timer soon",
            "/block bob carol",
            "/search",
            "/last few",
            "/me",
            "/hide me",
            "/mee waves",
        ] {
            assert!(matches!(Typed::parse(line), Typed::Mistyped(_)), "{line:?}");
        }
    }

    #[test]
    fn the_help_names_each_command_once_and_each_has_a_meaning() {
        let names: Vec<&str> = commands().map(|(name, _)| name).collect();
        for name in ["/help", "/unreact", "/pins", "/accept", "/verify", "/quit"] {
            assert!(names.contains(&name), "{name} is missing in {names:?}");
        }
        for name in names {
            let unknown = matches!(Typed::parse(name), Typed::Mistyped(why) if why.contains("there is no command"));
            assert!(!unknown && !matches!(Typed::parse(name), Typed::Say(_)), "{name}");
        }
    }
}
