//! The commands of a chat that are about files: `/file /files /save /open /play`.
//!
//! They are understood and carried out here for every kind of chat screen. It must not know how lines are shown.

use crate::{
    Failure,
    command::files::{download_folder, make},
    opening::{self, Way},
    output::about,
    rpc::{
        Backend,
        files::{Download, DownloadParams, Files, FilesParams, QueueFile, QueueFileParams},
        objects::messages,
    },
    sanitise::{Breaks, preview, sanitise},
};
use std::path::PathBuf;
use waxwing_core::{Content, Message, MessageId};

/// How many files are listed.
const LISTED: usize = 20;
/// How much of a name is, in characters.
const NAME: usize = 60;
/// How many entries of a folder are looked at for a completion, and how many are offered.
const LOOKED_AT: usize = 20_000;
const OFFERED: usize = 40;

/// A command about files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileTyped {
    /// `/file path -- caption`; the caption may be empty.
    Send(PathBuf, String),
    /// `/files`
    List,
    /// `/save`, and which: the newest is 1.
    Save(Which),
    /// `/open`, and which.
    Open(Which),
    /// `/play`, and which: the newest recording without one.
    Play(Option<Which>),
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
    ("file", "PATH [-- CAPTION]", "send a file, and a caption beneath it"),
    ("files", "", "the newest files of this chat, numbered"),
    ("save", "[NUMBER or ID]", "save a file of this chat in the folder for downloads"),
    ("open", "[NUMBER or ID]", "save it and open it with your own program"),
    ("play", "[NUMBER or ID]", "save the newest recording, or this one, and play it"),
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
            ("file", rest) => {
                let (path, caption) = captioned(rest);
                Ok(Self::Send(home(unquoted(path)), caption.to_owned()))
            }
            ("files", "") => Ok(Self::List),
            ("files", _) => Err("nothing was done: /files stands alone on its line".to_owned()),
            ("play", "") => Ok(Self::Play(None)),
            (name, which) => Which::parse(name, which).map(|which| match name {
                "open" => Self::Open(which),
                "play" => Self::Play(Some(which)),
                _ => Self::Save(which),
            }),
        })
    }

    /// Does it, in this chat.
    pub(crate) async fn run(self, backend: &Backend, chat: &str) -> Result<Done, Failure> {
        match self {
            Self::Send(path, caption) => {
                let params = QueueFileParams { chat: chat.to_owned(), path, caption };
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
                let path = save(backend, chat, &which.find(backend, chat).await?, false).await?;
                let line = format!("Saved as {}.", sanitise(&path.display().to_string(), Breaks::Spaces));
                Ok(Done { lines: vec![line], ..Done::default() })
            }
            Self::Open(which) => {
                let message = which.find(backend, chat).await?;
                open(backend, chat, &message).await
            }
            Self::Play(which) => {
                let message = match which {
                    Some(which) => which.find(backend, chat).await?,
                    None => {
                        let mut files = newest(backend, chat).await?.into_iter();
                        let none = || Failure::usage("there is no recording in this chat", "/files lists its files");
                        files.find(|message| way_of(message) == Some(Way::Play)).ok_or_else(none)?
                    }
                };
                if way_of(&message) != Some(Way::Play) {
                    return Err(Failure::usage("that is no recording", "/open opens pictures and documents"));
                }
                open(backend, chat, &message).await
            }
        }
    }
}

impl Which {
    fn parse(name: &str, which: &str) -> Result<Self, String> {
        match (which, which.parse::<usize>(), which.parse::<MessageId>()) {
            ("", ..) => Ok(Self::Newest(1)),
            (_, _, Ok(id)) => Ok(Self::Id(id)),
            (_, Ok(number), _) if number > 0 => Ok(Self::Newest(number)),
            _ => Err(format!("nothing was done: /{name} takes a number of /files, or a message's id")),
        }
    }

    /// The message with the file.
    async fn find(&self, backend: &Backend, chat: &str) -> Result<Message, Failure> {
        let files = newest(backend, chat).await?;
        let found = match self {
            Self::Id(id) => files.into_iter().find(|message| message.id == *id),
            Self::Newest(number) => files.into_iter().nth(number.saturating_sub(1)),
        };
        found.ok_or_else(|| Failure::usage("there is no such file in this chat", "/files lists them"))
    }
}

fn way_of(message: &Message) -> Option<Way> {
    match &message.content {
        Content::File(file) => opening::way(&file.name),
        _ => None,
    }
}

/// Saves a file in the folder for downloads. With `saved` one that is saved and unchanged will do.
async fn save(backend: &Backend, chat: &str, message: &Message, saved: bool) -> Result<PathBuf, Failure> {
    let folder = download_folder().ok_or_else(|| {
        Failure::usage("there is no folder for downloads: HOME is not set", "use waxwing download --to DIR")
    })?;
    make(&folder)?;
    let (chat, from) = (Some(chat.to_owned()), Some(message.from.clone()));
    let params = DownloadParams { id: message.id.to_string(), chat, from, folder, saved };
    Ok(backend.call::<Download>(params).await?.path)
}

/// Saves a file if that was not done yet, and opens it.
async fn open(backend: &Backend, chat: &str, message: &Message) -> Result<Done, Failure> {
    if way_of(message).is_none() {
        return Err(Failure::usage(
            "only pictures, recordings, PDF and text are opened from here",
            "/save saves it: open it yourself if you trust who sent it",
        ));
    }
    let path = save(backend, chat, message, true).await?;
    opening::open(&path).await?;
    let line = format!("Opened {}.", sanitise(&path.display().to_string(), Breaks::Spaces));
    Ok(Done { lines: vec![line], ..Done::default() })
}

/// Where the last part of the path begins that a `/file` ends with; none if this text is no such command.
pub(crate) fn path_start(before: &str) -> Option<usize> {
    let rest = before.strip_prefix("/file ")?;
    let path = before.len() - rest.trim_start().len();
    Some(before.get(path..)?.rfind('/').map_or(path, |at| path + at + 1))
}

/// What the last part of the path may become that a `/file` ends with, in the order of the alphabet; folders end with `/`.
pub(crate) fn paths(before: &str) -> Vec<String> {
    let Some(start) = path_start(before) else { return Vec::new() };
    let (folder, part) = before.split_at_checked(start).unwrap_or_default();
    let folder = folder.strip_prefix("/file ").unwrap_or_default().trim_start();
    let folder = home(if folder.is_empty() { "." } else { folder });
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let name = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        // Only what shows as it is can be chosen by looking at it.
        let fits = name.starts_with(part) && (part.starts_with('.') || !name.starts_with('.'));
        let shows = sanitise(&name, Breaks::Spaces) == name;
        let slash = if std::fs::metadata(entry.path()).is_ok_and(|found| found.is_dir()) { "/" } else { "" };
        (fits && shows).then(|| name + slash)
    };
    let mut names: Vec<String> = entries.take(LOOKED_AT).flatten().filter_map(name).collect();
    names.sort();
    names.truncate(OFFERED);
    names
}

/// The path of a file that was dropped onto the terminal, which comes as if it were pasted: quoted, with backslashes, or as an
/// address. None if the text is none.
pub(crate) fn dropped(text: &str) -> Option<String> {
    let text = text.trim();
    if text.contains(['\n', '\r']) {
        return None;
    }
    let path = match (text.strip_prefix("file://"), unquoted(text)) {
        (Some(address), _) => decoded(address.strip_prefix("localhost").unwrap_or(address))?,
        (None, inner) if inner.len() < text.len() => inner.to_owned(),
        (None, _) => {
            let mut plain = String::new();
            let mut characters = text.chars();
            while let Some(c) = characters.next() {
                plain.extend(if c == '\\' { characters.next() } else { Some(c) });
            }
            plain
        }
    };
    // One slash alone may begin a command.
    let is_path = path.strip_prefix('/').is_some_and(|rest| rest.contains('/'));
    (is_path && sanitise(&path, Breaks::Spaces) == path).then_some(path)
}

/// `%20` and the like are characters.
fn decoded(address: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = address.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
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
    format!("{number:>3}  {}, {}, from {from}", preview(&file.name, NAME), about(file))
}

/// The path and what stands after the first ` -- ` outside of quotes that begin the line.
fn captioned(rest: &str) -> (&str, &str) {
    let quoted = rest.chars().next().filter(|first| matches!(first, '\'' | '"'));
    let from = quoted.and_then(|quote| rest[1..].find(quote)).map_or(0, |end| end + 1);
    match rest[from..].find(" -- ") {
        Some(at) => (rest[..from + at].trim_end(), rest[from + at + 4..].trim()),
        None => (rest, ""),
    }
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
        for (rest, path, caption) in [
            ("/tmp/a b.txt", "/tmp/a b.txt", ""),
            ("'/tmp/a b.txt'", "/tmp/a b.txt", ""),
            ("/tmp/a b.txt -- at *dusk* -- look", "/tmp/a b.txt", "at *dusk* -- look"),
            ("'/tmp/a -- b.txt' --  at dusk", "/tmp/a -- b.txt", "at dusk"),
            ("'/tmp/a -- b.txt'", "/tmp/a -- b.txt", ""),
            ("'/tmp/odd -- at dusk", "'/tmp/odd", "at dusk"),
            ("/tmp/a--b", "/tmp/a--b", ""),
        ] {
            let path = std::path::absolute(path).unwrap();
            assert_eq!(parse("file", rest), Ok(FileTyped::Send(path, caption.to_owned())), "{rest}");
        }
        assert_eq!(parse("files", ""), Ok(FileTyped::List));
        assert_eq!(parse("save", ""), Ok(FileTyped::Save(Which::Newest(1))));
        assert_eq!(parse("save", "3"), Ok(FileTyped::Save(Which::Newest(3))));
        let id = "000102030405060708090a0b0c0d0e0f";
        assert_eq!(parse("save", id), Ok(FileTyped::Save(Which::Id(id.parse().unwrap()))));
        assert_eq!(parse("open", "2"), Ok(FileTyped::Open(Which::Newest(2))));
        assert_eq!(parse("play", ""), Ok(FileTyped::Play(None)));
        assert_eq!(parse("play", "1"), Ok(FileTyped::Play(Some(Which::Newest(1)))));
        for (name, rest) in
            [("file", ""), ("save", "0"), ("save", "all"), ("files", "x"), ("play", "x"), ("open", "-1")]
        {
            assert!(parse(name, rest).is_err(), "/{name} {rest}");
        }
        assert_eq!(FileTyped::parse("fiel", "x"), None);
    }

    #[test]
    fn a_path_is_completed_part_by_part() {
        let folder = std::env::temp_dir().join(format!("waxwing-paths-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("my pictures")).unwrap();
        for name in ["mail.txt", ".hidden", "other", "my\u{1b}[2J", "my pictures/a b.png"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        let at = |rest: &str| paths(&format!("/file {}/{rest}", folder.display()));
        assert_eq!(at("m"), ["mail.txt", "my pictures/"]);
        assert_eq!(at(""), ["mail.txt", "my pictures/", "other"]);
        assert_eq!(at(".h"), [".hidden"]);
        assert_eq!(at("my pictures/a"), ["a b.png"]);
        assert!(at("x").is_empty() && at("mail.txt/").is_empty() && paths("/files x").is_empty());
        assert_eq!(
            (path_start("/file a b/c d"), path_start("/file  x"), path_start("/save x")),
            (Some(10), Some(7), None)
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_dropped_file_is_its_path() {
        for text in ["'/tmp/a b.png'", "\"/tmp/a b.png\"", "/tmp/a\\ b.png ", "file:///tmp/a%20b.png", "/tmp/a b.png\n"]
        {
            assert_eq!(dropped(text).as_deref(), Some("/tmp/a b.png"), "{text}");
        }
        for text in ["/help", "hello", "see /tmp/x", "/tmp/a\n/tmp/b", "file://%zz/a", "/tmp/\u{1b}[2J", "", "''"] {
            assert_eq!(dropped(text), None, "{text:?}");
        }
    }
}
