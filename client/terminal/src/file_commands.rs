//! The commands of a chat that are about files: `/file /files /save`.
//!
//! They are understood and carried out here for every kind of chat screen. It must not know how lines are shown.

use crate::{
    Failure,
    command::files::{download_folder, make},
    output::bytes,
    rpc::{
        Backend,
        files::{Download, DownloadParams, Files, FilesParams, QueueFile, QueueFileParams},
        objects::messages,
    },
    sanitise::{Breaks, preview, sanitise},
};
use std::path::PathBuf;
use waxwing_core::{Content, Message, MessageId, Transfer};

/// How many files are listed.
const LISTED: usize = 20;
/// How much of a name is, in characters.
const NAME: usize = 60;

/// A command about files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileTyped {
    /// `/file path`
    Send(PathBuf),
    /// `/files`
    List,
    /// `/save`, and which: the newest is 1.
    Save(Which),
}

/// A file of the chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Counted from the newest, which is 1.
    Newest(usize),
    /// By its message's id.
    Id(MessageId),
}

/// Each command: its name, what it takes, what it does.
pub(crate) const COMMANDS: &[(&str, &str, &str)] = &[
    ("file", "PATH", "send a file"),
    ("files", "", "the newest files of this chat, numbered"),
    ("save", "[NUMBER or ID]", "save a file of this chat in the folder for downloads"),
];

/// What came of a command.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Lines to show.
    pub(crate) lines: Vec<String>,
    /// The message that was written.
    pub(crate) written: Option<Message>,
}

impl FileTyped {
    /// Reads a command; none if it is not one of these. The error is what to tell the user.
    pub(crate) fn parse(name: &str, rest: &str) -> Option<Result<Self, String>> {
        COMMANDS.iter().find(|(known, ..)| *known == name)?;
        Some(match (name, rest) {
            ("file", "") => Err("nothing was sent: /file needs a path, as in /file ~/holiday.jpg".to_owned()),
            ("file", path) => Ok(Self::Send(home(unquoted(path)))),
            ("files", "") => Ok(Self::List),
            ("files", _) => Err("nothing was done: /files stands alone on its line".to_owned()),
            (_, "") => Ok(Self::Save(Which::Newest(1))),
            (_, which) => match (which.parse::<usize>(), which.parse::<MessageId>()) {
                (_, Ok(id)) => Ok(Self::Save(Which::Id(id))),
                (Ok(number), _) if number > 0 => Ok(Self::Save(Which::Newest(number))),
                _ => Err("nothing was saved: /save takes a number of /files, or a message's id".to_owned()),
            },
        })
    }

    /// Does it, in this chat.
    pub(crate) async fn run(self, backend: &Backend, chat: &str) -> Result<Done, Failure> {
        match self {
            Self::Send(path) => {
                let params = QueueFileParams { chat: chat.to_owned(), path, caption: String::new() };
                let queued = backend.call::<QueueFile>(params).await?;
                Ok(Done { written: Some(queued.message.try_into()?), ..Done::default() })
            }
            Self::List => {
                let files = newest(backend, chat).await?;
                let mut lines: Vec<String> = (1..).zip(files.iter().take(LISTED)).map(line).collect();
                if lines.is_empty() {
                    lines.push("There are no files in this chat.".to_owned());
                }
                Ok(Done { lines, ..Done::default() })
            }
            Self::Save(which) => {
                let id = match which {
                    Which::Id(id) => id,
                    Which::Newest(number) => {
                        let files = newest(backend, chat).await?;
                        let file = number.checked_sub(1).and_then(|place| files.get(place));
                        file.map(|message| message.id).ok_or(waxwing_core::Error::BadMessageId)?
                    }
                };
                let folder = download_folder().ok_or_else(|| {
                    Failure::usage("there is no folder for downloads: HOME is not set", "use waxwing download --to DIR")
                })?;
                make(&folder)?;
                let params = DownloadParams { id: id.to_string(), chat: Some(chat.to_owned()), from: None, folder };
                let path = backend.call::<Download>(params).await?.path;
                let line = format!("Saved as {}.", sanitise(&path.display().to_string(), Breaks::Spaces));
                Ok(Done { lines: vec![line], ..Done::default() })
            }
        }
    }
}

/// How far a file has come, for a line that is soon replaced.
pub(crate) fn progress(transfer: &Transfer) -> String {
    let percent = (transfer.done.saturating_mul(100)).checked_div(transfer.total).unwrap_or(100);
    let what = if transfer.sending { "sending" } else { "saving" };
    format!("{what} a file: {percent} % of {}", bytes(transfer.total))
}

/// The messages with files, the newest first.
async fn newest(backend: &Backend, chat: &str) -> Result<Vec<Message>, Failure> {
    let mut found = messages(backend.call::<Files>(FilesParams { chat: chat.to_owned() }).await?.messages)?;
    found.reverse();
    Ok(found)
}

fn line((number, message): (usize, &Message)) -> String {
    let Content::File(file) = &message.content else { return String::new() };
    let from = sanitise(&message.from, Breaks::Spaces);
    format!("{number:>3}  {}, {}, from {from}", preview(&file.name, NAME), bytes(file.size))
}

/// A path that was dropped onto the terminal may stand in quotes.
fn unquoted(path: &str) -> &str {
    let inner = |quote| path.strip_prefix(quote).and_then(|path| path.strip_suffix(quote));
    inner('\'').or_else(|| inner('"')).unwrap_or(path)
}

/// A path as a shell would take it: `~/` is the user's own folder, others begin in the working directory.
fn home(path: &str) -> PathBuf {
    let path = match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    };
    std::path::absolute(&path).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_understood() {
        let parse = |name, rest| FileTyped::parse(name, rest).unwrap();
        assert_eq!(parse("file", "/tmp/a b.txt"), Ok(FileTyped::Send("/tmp/a b.txt".into())));
        assert_eq!(parse("file", "'/tmp/a b.txt'"), Ok(FileTyped::Send("/tmp/a b.txt".into())));
        assert_eq!(parse("files", ""), Ok(FileTyped::List));
        assert_eq!(parse("save", ""), Ok(FileTyped::Save(Which::Newest(1))));
        assert_eq!(parse("save", "3"), Ok(FileTyped::Save(Which::Newest(3))));
        let id = "000102030405060708090a0b0c0d0e0f";
        assert_eq!(parse("save", id), Ok(FileTyped::Save(Which::Id(id.parse().unwrap()))));
        for (name, rest) in [("file", ""), ("save", "0"), ("save", "all"), ("files", "x")] {
            assert!(parse(name, rest).is_err(), "/{name} {rest}");
        }
        assert_eq!(FileTyped::parse("fiel", "x"), None);
    }
}
