//! Opening a saved file with the user's own programs: recordings with the player, the rest with the opener.
//!
//! The invariants: only what the user has asked for is opened, once it is here and is what its sender sealed; nothing passes a
//! shell; and only sorts of files are opened that show or play, none that run or fetch. This module must not know chats.

use crate::{Failure, config};
use std::{path::Path, process::Stdio, time::Duration};
use tokio::{process::Command, time::timeout};

/// How long it is waited whether a program fails at once.
const AT_ONCE: Duration = Duration::from_millis(700);

/// What is played, by the ends of names.
const PLAYED: [&str; 13] =
    ["mp3", "ogg", "oga", "opus", "flac", "wav", "m4a", "mp4", "m4v", "webm", "mkv", "mov", "aac"];
/// What is shown. No SVG or HTML: they may fetch and run.
const SHOWN: [&str; 9] = ["png", "jpg", "jpeg", "gif", "webp", "avif", "heic", "pdf", "txt"];

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Play,
    Show,
}

/// How a file of this name is opened; none if it is of no sort that only shows or plays.
pub(crate) fn way(name: &str) -> Option<Way> {
    let ending = Path::new(name).extension()?.to_str()?.to_ascii_lowercase();
    match ending.as_str() {
        ending if PLAYED.contains(&ending) => Some(Way::Play),
        ending if SHOWN.contains(&ending) => Some(Way::Show),
        _ => None,
    }
}

/// Opens a saved file. It goes on by itself, also when this program ends.
pub(crate) async fn open(path: &Path) -> Result<(), Failure> {
    let path = std::path::absolute(path)?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(way) = way(name) else {
        let said = format!("only pictures, recordings, PDF and text are opened; it is saved as {}", path.display());
        return Err(Failure::usage(said, "open it yourself if you trust who sent it"));
    };
    let (key, words) = match way {
        Way::Play => ("player", config::program(true)?),
        Way::Show => ("opener", config::program(false)?),
    };
    run(&words, &path).await.map_err(|why| {
        let program = words.first().map_or("", String::as_str);
        Failure::usage(
            format!("'{program}' does not open it: {why}"),
            format!("set '{key}' in config.toml to a program that does, as in {key} = 'mpv'"),
        )
    })
}

async fn run(words: &[String], path: &Path) -> Result<(), String> {
    let Some((program, arguments)) = words.split_first() else { return Err("no program is set".into()) };
    // In a group of its own, so that keys of this terminal do not end it.
    let mut command = Command::new(program);
    command.args(arguments).arg(path).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    match timeout(AT_ONCE, child.wait()).await {
        Ok(Ok(status)) if !status.success() => Err(format!("it ended with {status}")),
        Ok(Err(error)) => Err(error.to_string()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_shows_or_plays_is_opened() {
        assert_eq!(
            (way("a.OGG"), way("holiday.jpeg"), way("x (1).pdf")),
            (Some(Way::Play), Some(Way::Show), Some(Way::Show))
        );
        for name in ["a.sh", "a.desktop", "a.html", "a.svg", "a", "a.png.exe", "ogg", ".ogg", "a.jar", "a.AppImage", ""]
        {
            assert_eq!(way(name), None, "{name}");
        }
    }

    #[tokio::test]
    async fn a_path_is_one_argument_and_no_shell_sees_it() {
        let folder = std::env::temp_dir().join(format!("waxwing-opening-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("$(touch hurt) ;`x`.ogg");
        std::fs::write(&path, "sound").unwrap();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        // `test -f` succeeds for one argument that is this file.
        assert_eq!(run(&words(&["test", "-f"]), &path).await, Ok(()));
        assert!(run(&words(&["test", "-d"]), &path).await.unwrap_err().contains("exit status"));
        assert!(run(&words(&["/no/such/program"]), &path).await.is_err());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
