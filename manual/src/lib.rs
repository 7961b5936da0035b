//! `completions` and `man`, which all programs have: made from the definition of a program's commands, so they cannot lag
//! behind it.
//!
//! It knows no program: each hands its definition in, and turns [`ManualError`] into its own words and exit code.

use clap::Command;
use clap_complete::Shell;
use std::{
    io::{self, Write as _},
    path::PathBuf,
};

/// Which completions.
#[derive(clap::Args, Debug)]
pub struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Which pages.
#[derive(clap::Args, Debug)]
pub struct Man {
    /// The command whose page is printed, such as `backup now`; without one, that of the program.
    command: Vec<String>,
    /// Write all pages into this folder instead.
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    to: Option<PathBuf>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum ManualError {
    /// Nothing has that name.
    #[error("there is no command {wanted:?}")]
    UnknownCommand {
        /// What was asked for.
        wanted: String,
        /// What there is in its place, separated by commas.
        known: String,
    },
    /// It could not be written.
    #[error("{place} cannot be written: {error}")]
    Write {
        /// The folder, or standard output.
        place: String,
        /// Why.
        error: io::Error,
    },
}

impl ManualError {
    /// What to do, without a full stop.
    pub fn next(&self) -> String {
        match self {
            Self::UnknownCommand { known, .. } if known.is_empty() => "name the command without it".into(),
            Self::UnknownCommand { known, .. } => format!("name one of: {known}"),
            Self::Write { .. } => "name a folder that exists and may be written to".into(),
        }
    }

    /// Whether whoever calls the program can mend it.
    pub fn is_users(&self) -> bool {
        match self {
            Self::UnknownCommand { .. } => true,
            Self::Write { error, .. } => {
                matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory
                )
            }
        }
    }
}

impl Completions {
    /// Prints what the shell reads.
    pub fn print(&self, program: &Command) -> Result<(), ManualError> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut program.clone(), program.get_name(), &mut text);
        print(&text)
    }
}

impl Man {
    /// Prints a page, or writes all of them.
    pub fn print(&self, program: &Command) -> Result<(), ManualError> {
        if let Some(folder) = &self.to {
            let failed = |error| ManualError::Write { place: folder.display().to_string(), error };
            return clap_mangen::generate_to(program.clone(), folder).map_err(failed);
        }
        print(&self.page(program)?)
    }

    fn page(&self, program: &Command) -> Result<Vec<u8>, ManualError> {
        let mut command = program.clone().disable_help_subcommand(true);
        command.build();
        for name in &self.command {
            let found = command.find_subcommand(name).filter(|found| !found.is_hide_set()).cloned();
            command = found.ok_or_else(|| ManualError::UnknownCommand {
                wanted: self.command.join(" "),
                known: shown(&command).collect::<Vec<_>>().join(", "),
            })?;
        }
        let mut text = Vec::new();
        let rendered = clap_mangen::Man::new(command).render(&mut text);
        rendered.map(|()| text).map_err(|error| ManualError::Write { place: "the page".into(), error })
    }
}

/// The names of a command's commands that are for people.
fn shown(command: &Command) -> impl Iterator<Item = &str> {
    command.get_subcommands().filter(|command| !command.is_hide_set()).map(Command::get_name)
}

/// A closed pipe (`| head`) is no failure.
fn print(text: &[u8]) -> Result<(), ManualError> {
    match io::stdout().write_all(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(ManualError::Write { place: "standard output".into(), error })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Command {
        let list = Command::new("list").about("Lists them");
        let user = Command::new("user").about("Accounts").subcommand(list).subcommand_required(true);
        let hidden = Command::new("inner").hide(true);
        Command::new("bird").version("1.2.3").about("Sings").subcommands([user, hidden])
    }

    fn page(command: &[&str]) -> Result<String, ManualError> {
        let command = command.iter().map(ToString::to_string).collect();
        Man { command, to: None }.page(&program()).map(|page| String::from_utf8(page).unwrap())
    }

    #[test]
    fn each_command_has_a_page() {
        let page_of_program = page(&[]).unwrap();
        assert!(page_of_program.contains("Sings") && page_of_program.contains("bird\\-user(1)"), "{page_of_program}");
        assert!(!page_of_program.contains("inner"), "hidden commands stay hidden");
        assert!(page(&["user", "list"]).unwrap().contains("bird user list"));
        let error = page(&["user", "fly"]).unwrap_err();
        assert_eq!(error.to_string(), "there is no command \"user fly\"");
        assert_eq!((error.next(), error.is_users()), ("name one of: list".to_owned(), true));
        assert!(page(&["inner"]).is_err());
        assert_eq!(page(&["user", "list", "x"]).unwrap_err().next(), "name the command without it");
    }

    #[test]
    fn all_pages_go_into_a_folder() {
        let place = tempfile::tempdir().unwrap();
        let all = |to: PathBuf| Man { command: Vec::new(), to: Some(to) }.print(&program());
        all(place.path().to_owned()).unwrap();
        let mut names: Vec<String> = std::fs::read_dir(place.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["bird-user-list.1", "bird-user.1", "bird.1"]);
        assert!(all(place.path().join("missing")).unwrap_err().is_users());
    }
}
