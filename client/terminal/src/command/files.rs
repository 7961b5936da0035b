//! `files`, `download`, and `send --file`.

use crate::{
    Failure,
    cli::{DownloadArgs, Options, SendArgs},
    command::ask,
    opening,
    output::{about, date_and_time, print, print_json},
    prompt::TransferBar,
    rpc::{
        Backend, Purpose,
        files::{Download, DownloadParams, Files, FilesParams, SendFile, SendFileParams},
        objects::messages,
    },
    sanitise::{Breaks, preview, sanitise},
};
use jiff::tz::TimeZone;
use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};
use waxwing_core::{Content, Message};

/// How much of a file's name is listed, in characters.
const NAME: usize = 60;

pub(crate) async fn send(options: &Options, arguments: SendArgs, file: PathBuf) -> Result<(), Failure> {
    let SendArgs { user, caption, offline_ok, .. } = arguments;
    // Another process may send it, from another working directory.
    let path = std::path::absolute(&file)?;
    let params = SendFileParams { chat: user, path, caption: caption.unwrap_or_default(), offline_ok };
    let backend = Backend::open(options, Purpose::Once).await?;
    let bar = TransferBar::new("sending", !options.json);
    let sent = backend
        .call_with_progress::<SendFile>(params, |progress| bar.show(progress.done, progress.total.unwrap_or(0)))
        .await;
    drop(bar);
    backend.close().await;
    let sent = sent?;
    if options.json {
        return Ok(print_json(&sent)?);
    }
    let chat = sanitise(&sent.chat, Breaks::Spaces);
    Ok(print(&match sent.state.as_str() {
        "queued" => format!("Queued for {chat}: it goes out when the server can be reached again."),
        _ => format!("Sent to {chat}."),
    })?)
}

pub(crate) async fn list(options: &Options, chat: String) -> Result<(), Failure> {
    let found = ask::<Files>(options, FilesParams { chat }).await?;
    if options.json {
        for message in &found.messages {
            print_json(message)?;
        }
        return Ok(());
    }
    let zone = TimeZone::system();
    let found = messages(found.messages)?;
    if found.is_empty() {
        print("no files")?;
    }
    for message in &found {
        for line in lines(message, &zone) {
            print(&line)?;
        }
    }
    Ok(())
}

/// A file in the list, for people.
fn lines(message: &Message, zone: &TimeZone) -> Vec<String> {
    let Content::File(file) = &message.content else { return Vec::new() };
    let (at, from) = (date_and_time(message.sent_at, zone), sanitise(&message.from, Breaks::Spaces));
    let mut lines = vec![format!("{}  {at}  {from}  {}  {}", message.id, preview(&file.name, NAME), about(file))];
    if let Some(saved) = &file.saved {
        lines.push(format!("    saved as {}", sanitise(saved, Breaks::Spaces)));
    }
    lines
}

pub(crate) async fn download(options: &Options, arguments: DownloadArgs) -> Result<(), Failure> {
    let folder = match arguments.to {
        Some(folder) => folder,
        None => download_folder().ok_or_else(|| {
            Failure::usage("there is no folder for downloads: HOME is not set", "name one with --to DIR")
        })?,
    };
    let folder = std::path::absolute(folder)?;
    make(&folder)?;
    let (id, chat) = (arguments.id.to_string(), arguments.chat);
    let params = DownloadParams { id, chat, from: None, folder, saved: arguments.open };
    let backend = Backend::open(options, Purpose::Once).await?;
    let bar = TransferBar::new("fetching", !options.json);
    let done = backend
        .call_with_progress::<Download>(params, |progress| bar.show(progress.done, progress.total.unwrap_or(0)))
        .await;
    drop(bar);
    backend.close().await;
    let done = done?;
    if options.json {
        print_json(&done)?;
    } else {
        print(&format!("Saved as {}.", sanitise(&done.path.display().to_string(), Breaks::Spaces)))?;
    }
    if arguments.open { opening::open(&done.path).await } else { Ok(()) }
}

/// Makes the folder for this user alone, if it is missing.
pub(crate) fn make(folder: &Path) -> Result<(), Failure> {
    match DirBuilder::new().mode(0o700).recursive(true).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let said = format!("cannot make the folder {}: {error}", folder.display());
            Err(Failure::usage(said, "name another one with --to DIR"))
        }
        _ => Ok(()),
    }
}

/// Where the desktop saves what is downloaded: as its settings say, else `~/Downloads`.
pub(crate) fn download_folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = set("HOME")?;
    let settings = set("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("user-dirs.dirs");
    let settings = std::fs::read_to_string(settings).unwrap_or_default();
    Some(set("XDG_DOWNLOAD_DIR").or_else(|| named(&settings, &home)).unwrap_or_else(|| home.join("Downloads")))
}

/// What `user-dirs.dirs` names.
fn named(settings: &str, home: &Path) -> Option<PathBuf> {
    let value = settings.lines().rev().find_map(|line| line.trim().strip_prefix("XDG_DOWNLOAD_DIR="))?;
    let value = value.trim().trim_matches('"');
    match value.strip_prefix("$HOME/") {
        Some(rest) => Some(home.join(rest)),
        None => Some(PathBuf::from(value)).filter(|path| path.is_absolute()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::File;

    #[test]
    fn the_folder_is_the_one_that_the_desktop_names() {
        let home = Path::new("/home/al");
        let settings = "# comment\nXDG_DESKTOP_DIR=\"$HOME/Desk\"\nXDG_DOWNLOAD_DIR=\"$HOME/Let\u{f6}lt\u{e9}sek\"\n";
        assert_eq!(named(settings, home), Some("/home/al/Let\u{f6}lt\u{e9}sek".into()));
        assert_eq!(named("XDG_DOWNLOAD_DIR=\"/data/in\"", home), Some("/data/in".into()));
        assert_eq!(named("XDG_DOWNLOAD_DIR=in", home), None);
        assert_eq!(named("", home), None);
    }

    #[test]
    fn a_listed_name_does_nothing_to_the_terminal() {
        let file = File { name: "a\u{1b}[2J\n\u{202e}b".into(), size: 2048, ..File::default() };
        let message = Message { from: "bob".into(), content: Content::File(Box::new(file)), ..Message::default() };
        let lines = lines(&message, &TimeZone::UTC);
        assert!(lines[0].ends_with("1970-01-01 00:00  bob  a␛[2J b  2 KiB"), "{lines:?}");
    }
}
