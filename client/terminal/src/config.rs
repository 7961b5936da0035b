//! The user's settings: flags before environment before the file `waxwing/config.toml` in the XDG configuration folder.
//!
//! An unknown key or an unusable value is an error and never passed over.

use crate::{
    Failure, output,
    screen::{KeyTable, ScreenTable, Settings},
};
use etcetera::{BaseStrategy as _, base_strategy::Xdg};
use serde::Deserialize;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// The longest time without input, in minutes: a week.
const LONGEST: f64 = 7.0 * 24.0 * 60.0;

/// What the file may hold.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Lock the profile after so many minutes without the user's input; 0 never does.
    auto_lock_minutes: Option<f64>,
    /// What plays recordings: a program, or a program and its arguments.
    player: Option<Program>,
    /// What opens pictures and documents.
    opener: Option<Program>,
    /// How the chat screen looks and behaves.
    screen: ScreenTable,
    /// Which keys do what in it.
    keys: KeyTable,
}

/// A program, without a shell: its name, or a list of its name and arguments. The file's path comes behind them.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
enum Program {
    Name(String),
    WithArguments(Vec<String>),
}

impl Program {
    fn words(self) -> Vec<String> {
        match self {
            Self::Name(name) => vec![name],
            Self::WithArguments(words) => words,
        }
    }
}

/// What plays recordings, or else what opens other files: a program and its arguments.
pub(crate) fn program(plays: bool) -> Result<Vec<String>, Failure> {
    let (config, file) = located()?;
    let (name, set) = if plays { ("player", config.player) } else { ("opener", config.opener) };
    let Some(set) = set else {
        return Ok(vec![if cfg!(target_os = "macos") { "open" } else { "xdg-open" }.to_owned()]);
    };
    let words = set.words();
    match words.first().is_some_and(|program| !program.trim().is_empty()) {
        true => Ok(words),
        false => Err(unusable(&format!("{name} names no program"), &file)),
    }
}

/// After how long without input the profile is locked, if at all. What was `given` comes before the file.
pub(crate) fn auto_lock(given: Option<f64>) -> Result<Option<Duration>, Failure> {
    let config = read()?;
    minutes(given.or(config.auto_lock_minutes))
}

/// How the chat screen looks and behaves.
pub(crate) fn screen() -> Result<Settings, Failure> {
    let (config, file) = located()?;
    Settings::new(&config.screen, &config.keys, !output::is_plain()).map_err(|reason| unusable(&reason, &file))
}

fn minutes(minutes: Option<f64>) -> Result<Option<Duration>, Failure> {
    match minutes {
        None | Some(0.0) => Ok(None),
        Some(minutes) if minutes > 0.0 && minutes <= LONGEST => Ok(Some(Duration::from_secs_f64(minutes * 60.0))),
        Some(minutes) => Err(Failure::usage(
            format!("auto_lock_minutes cannot be {minutes}"),
            format!("give minutes up to {LONGEST}, or 0 for never"),
        )),
    }
}

fn read() -> Result<Config, Failure> {
    Ok(located()?.0)
}

/// The settings, and the file that they are in.
fn located() -> Result<(Config, PathBuf), Failure> {
    // Without a home there is no file either.
    let Ok(folders) = Xdg::new() else { return Ok((Config::default(), PathBuf::new())) };
    let file = folders.config_dir().join("waxwing").join("config.toml");
    match fs::read_to_string(&file) {
        Ok(text) => Ok((parse(&text, &file)?, file)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok((Config::default(), file))
        }
        Err(error) => Err(Failure::usage(
            format!("cannot read the settings in {}: {error}", file.display()),
            "check the file's rights; it must be text",
        )),
    }
}

fn parse(text: &str, file: &Path) -> Result<Config, Failure> {
    toml::from_str(text).map_err(|error| unusable(error.to_string().trim_end(), file))
}

fn unusable(reason: &str, file: &Path) -> Failure {
    Failure::usage(
        format!("the settings in {} cannot be used: {reason}", file.display()),
        "correct the file; the README lists what it may hold",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Config, Failure> {
        parse(text, Path::new("/c/config.toml"))
    }

    #[test]
    fn whole_and_broken_minutes_are_understood() {
        let time = |text| minutes(parsed(text).unwrap().auto_lock_minutes).unwrap();
        assert_eq!(time("auto_lock_minutes = 15"), Some(Duration::from_secs(900)));
        assert_eq!(time("auto_lock_minutes = 0.5"), Some(Duration::from_secs(30)));
        assert_eq!(time("auto_lock_minutes = 0"), None);
        assert_eq!(time("# nothing"), None);
    }

    #[test]
    fn a_program_is_a_name_or_a_list() {
        let player = |text| parsed(text).unwrap().player.map(Program::words);
        assert_eq!(player("player = 'mpv'"), Some(vec!["mpv".to_owned()]));
        assert_eq!(player("player = ['mpv', '--no-video']"), Some(vec!["mpv".to_owned(), "--no-video".to_owned()]));
        assert_eq!(player("opener = 'feh'"), None);
        assert!(parsed("player = 7").is_err());
    }

    #[test]
    fn what_is_wrong_is_said_and_not_passed_over() {
        let unknown = parsed("auto_lock_minuts = 5").unwrap_err();
        assert_eq!(unknown.exit_code(), 1);
        assert!(unknown.to_string().contains("auto_lock_minuts") && unknown.to_string().contains("/c/config.toml"));
        assert!(parsed("auto_lock_minutes = 'x'").is_err());
        for wrong in [-1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert_eq!(minutes(Some(wrong)).unwrap_err().exit_code(), 1, "{wrong}");
        }
    }
}
