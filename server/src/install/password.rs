//! Where the server's password comes from when nobody is there to type it.
//!
//! Invariant: a password reaches the process through a file only, never through an argument or a variable's value.

use super::InstallError;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Names the file with the server's password.
pub const FILE_VARIABLE: &str = "WAXWING_SERVER_PASSWORD_FILE";
/// The name of the systemd credential (`LoadCredential=server-password:…`).
pub const CREDENTIAL: &str = "server-password";

/// A password file longer than this is not one.
const MAX_LENGTH: u64 = 4096;

/// The file that holds the server's password: `flag`, else [`FILE_VARIABLE`], else the systemd credential if it exists.
pub fn source(flag: Option<&Path>, environment: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name: &str| environment(name).filter(|value| !value.is_empty());
    let credential = || set("CREDENTIALS_DIRECTORY").map(|folder| Path::new(&folder).join(CREDENTIAL));
    flag.map(Path::to_owned)
        .or_else(|| set(FILE_VARIABLE).map(PathBuf::from))
        .or_else(|| credential().filter(|file| file.exists()))
}

/// Reads a secret from a file, without the line end at its end.
pub fn read(file: &Path) -> Result<Zeroizing<String>, InstallError> {
    use std::io::Read;
    let failed = |reason: String| InstallError::PasswordFile { file: file.to_owned(), reason };
    let mut text = Zeroizing::new(String::with_capacity(MAX_LENGTH as usize + 1));
    let opened = std::fs::File::open(file).map_err(|error| failed(error.to_string()))?;
    opened.take(MAX_LENGTH + 1).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > MAX_LENGTH {
        return Err(failed("it is longer than 4096 bytes".into()));
    }
    let end = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).unwrap_or(&text).len();
    text.truncate(end);
    match text.is_empty() {
        true => Err(failed("it is empty".into())),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_over_the_variable_and_that_over_the_credential() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join(CREDENTIAL), "x").unwrap();
        let folder = place.path().to_str().unwrap().to_owned();
        let both = |name: &str| match name {
            FILE_VARIABLE => Some("/variable".to_owned()),
            _ => Some(folder.clone()),
        };
        assert_eq!(source(Some(Path::new("/flag")), both), Some("/flag".into()));
        assert_eq!(source(None, both), Some("/variable".into()));
        let systemd = |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| folder.clone());
        assert_eq!(source(None, systemd), Some(place.path().join(CREDENTIAL)));
        assert_eq!(source(None, |_| None), None);
    }

    #[test]
    fn one_line_end_is_cut_and_spaces_stay() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("password");
        for (content, password) in [("a b \n", "a b "), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a")] {
            std::fs::write(&file, content).unwrap();
            assert_eq!(read(&file).unwrap().as_str(), password);
        }
        for content in ["", "\n"] {
            std::fs::write(&file, content).unwrap();
            assert!(read(&file).unwrap_err().to_string().ends_with("it is empty"));
        }
    }
}
