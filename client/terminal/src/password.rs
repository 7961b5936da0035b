//! Where passwords come from: a file, or a person in a terminal. Never from an argument or an environment variable.

use crate::{Failure, prompt};
use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _, path::Path};
use waxwing_core::{Client, Error, ProfilePath, Unlock, Zeroizing, check_password};

/// How often a wrong password may be typed.
const TRIES: usize = 3;

/// Reads a secret from a file; one line break at its end is not part of it.
pub(crate) fn read_file(file: &Path, quiet: bool) -> Result<Zeroizing<String>, Failure> {
    let failed = |why: String| {
        let message = format!("cannot read the password file {}: {why}", file.display());
        Failure::usage(message, "check the path and the file's rights; it must hold one line of text")
    };
    let text = Zeroizing::new(fs::read_to_string(file).map_err(|error| failed(error.to_string()))?);
    let mode = fs::metadata(file).map(|metadata| metadata.permissions().mode()).unwrap_or(0);
    if mode & 0o004 != 0 && !quiet {
        let warning = "waxwing: the password file can be read by everybody: 'chmod 600' it";
        let _ = writeln!(std::io::stderr(), "{warning}");
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line.is_empty() {
        true => Err(failed("it is empty".to_owned())),
        false => Ok(Zeroizing::new(line.to_owned())),
    }
}

/// The password of an existing account, from the file or a person.
pub(crate) async fn existing(file: Option<&Path>, quiet: bool, question: &str) -> Result<Zeroizing<String>, Failure> {
    match file {
        Some(file) => read_file(file, quiet),
        None if prompt::is_possible() => prompt::secret(question).await,
        None => Err(Error::Locked.into()),
    }
}

/// A new account's password, from the file or typed twice by a person. `known` is what must not be part of it.
pub(crate) async fn new(file: Option<&Path>, quiet: bool, known: Vec<String>) -> Result<Zeroizing<String>, Failure> {
    match file {
        Some(file) => {
            let password = read_file(file, quiet)?;
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            check_password(&password, &known)?;
            Ok(password)
        }
        None if prompt::is_possible() => prompt::new_password(known).await,
        None => Err(Failure::usage(
            "a password is needed",
            "give a file that holds it with --password-file or WAXWING_PASSWORD_FILE, or run this in a terminal",
        )),
    }
}

/// Opens a profile; asks for its password only if it is not remembered.
pub(crate) async fn open(profile: &ProfilePath, file: Option<&Path>, quiet: bool) -> Result<Client, Failure> {
    if !profile.exists() {
        return Err(Error::NoProfile(profile.name().to_owned()).into());
    }
    if !profile.needs_password() {
        match Client::open(profile, Unlock::Remembered).await {
            // Remembered, but the keyring does not give it: the password still opens it.
            Err(Error::Locked) => {}
            opened => {
                let client = opened?;
                // It is at hand, should this turn out to be an old copy; where it is not needed it may as well be missing.
                if let Some(password) = file.and_then(|file| read_file(file, true).ok()) {
                    client.offer_password(password);
                }
                return Ok(client);
            }
        }
    }
    let question = format!("Password of the profile '{}'", profile.name());
    for attempt in 1.. {
        let password = existing(file, quiet, &question).await?;
        match Client::open(profile, Unlock::Password(password)).await {
            Err(Error::WrongPassword) if file.is_none() && attempt < TRIES => {
                let _ = writeln!(std::io::stderr(), "Wrong password, try again.");
            }
            opened => return Ok(opened?),
        }
    }
    Err(Error::WrongPassword.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, content: &[u8]) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("waxwing-password-{}-{name}", std::process::id()));
        fs::write(&path, content).unwrap();
        path
    }

    fn read(name: &str, content: &[u8]) -> Result<String, Failure> {
        let path = file(name, content);
        let read = read_file(&path, true).map(|password| password.to_string());
        fs::remove_file(path).unwrap();
        read
    }

    #[test]
    fn only_the_line_break_at_the_end_is_no_part_of_a_password() {
        assert_eq!(read("unix", b" two words \n").unwrap(), " two words ");
        assert_eq!(read("dos", b"two words\r\n").unwrap(), "two words");
        assert_eq!(read("bare", b"two words").unwrap(), "two words");
    }

    #[test]
    fn an_unusable_password_file_is_a_user_error() {
        assert_eq!(read("empty", b"\n").unwrap_err().exit_code(), 1);
        assert_eq!(read("binary", b"\xff\xfe").unwrap_err().exit_code(), 1);
        assert_eq!(read_file(Path::new("/nonexistent/x"), true).unwrap_err().exit_code(), 1);
    }
}
