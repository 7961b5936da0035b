//! What can be wrong with a server's folder, said so that the operator can mend it: what happened, and what to do next.

use super::SealError;
use std::{io, path::PathBuf};

/// Exit statuses: an interface for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The user can mend it: wrong password, wrong configuration, port taken.
    User = 1,
    /// Nobody foresaw it.
    Unexpected = 2,
    /// The network or the database.
    Network = 3,
}

/// A folder that cannot be used as it is. `Display` says what happened in one line, [`InstallError::next`] what to do.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// There is no such folder.
    #[error("the folder {} does not exist", .0.display())]
    FolderMissing(PathBuf),
    /// The path names a file.
    #[error("{} is not a folder", .0.display())]
    NotAFolder(PathBuf),
    /// The folder has other things in it, and others can read it.
    #[error("the folder {} is not empty, and other users can look into it", .0.display())]
    FolderInUse(PathBuf),
    /// A file of a finished set-up is missing.
    #[error("{} is missing: the set-up was not finished", file.display())]
    Incomplete {
        /// The server's folder.
        folder: PathBuf,
        /// The missing file.
        file: PathBuf,
    },
    /// The sealed file is missing though other files are there.
    #[error("{} is missing, but {} exists: the server's keys are lost or were moved", sealed.display(), witness.display())]
    KeysMissing {
        /// Where the keys should be.
        sealed: PathBuf,
        /// What shows that they existed.
        witness: PathBuf,
    },
    /// Others than the owner may read or write a secret.
    #[error("other users can read {} (mode {mode:03o})", path.display())]
    Exposed {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What it should be.
        wanted: u32,
    },
    /// Somebody holds the folder.
    #[error("another Waxwing process{} is using {}", .pid.as_ref().map(|pid| format!(" ({pid})")).unwrap_or_default(), folder.display())]
    Locked {
        /// The server's folder.
        folder: PathBuf,
        /// Its process id, if it left it.
        pid: Option<String>,
    },
    /// A wrong configuration file.
    #[error("{}{}: {reason}", file.display(), line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Config {
        /// The file.
        file: PathBuf,
        /// From 1.
        line: Option<usize>,
        /// Why, in one line.
        reason: String,
    },
    /// A wrong environment variable.
    #[error("the environment variable {variable}: {reason}")]
    Environment {
        /// Its name.
        variable: &'static str,
        /// Why.
        reason: String,
    },
    /// A wrong flag.
    #[error("--{flag}: {reason}")]
    Flag {
        /// Its name.
        flag: String,
        /// Why.
        reason: String,
    },
    /// A link file that holds no link.
    #[error("{} holds no link", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
    },
    /// The sealed file does not open.
    #[error("{}: {reason}", file.display())]
    Sealed {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: SealError,
    },
    /// A file with a password in it does not serve.
    #[error("the password file {}: {reason}", file.display())]
    PasswordFile {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// The place of the attachments cannot be used.
    #[error("cannot use {place} for attachments: {reason}")]
    Attachments {
        /// Where they should be.
        place: String,
        /// Why not.
        reason: String,
        /// What to do.
        next: String,
    },
    /// The database does not serve.
    #[error("{reason}")]
    Database {
        /// In which way.
        fault: DatabaseFault,
        /// In one line.
        reason: String,
        /// What to do.
        next: String,
    },
    /// No way of learning the server's password.
    #[error("the server's password is needed, and there is no terminal to ask for it")]
    PasswordNeeded,
    /// A key or certificate could not be made.
    #[error("the server's key could not be made: {0}")]
    Identity(String),
    /// A certificate or key of the operator's that does not serve.
    #[error("{}: {reason}", file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// The certificate names as many former keys as it can.
    #[error(
        "the server's key was replaced too often: a certificate names {} former keys at most",
        waxwing_protocol::limits::KEY_HISTORY
    )]
    KeyHistoryFull,
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// A verb: read, write, create …
        action: &'static str,
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// In which way a database does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseFault {
    /// Nobody answers.
    Unreachable,
    /// It refuses the account or its password.
    Refused,
    /// No tables, or older ones.
    Unmigrated,
    /// Tables of a newer version.
    Newer,
    /// Something else's tables.
    Foreign,
    /// Damaged.
    Damaged,
    /// Another process has it.
    InUse,
    /// Too old, or set up so that it cannot serve.
    Unsuitable,
    /// Any other failure.
    Other,
}

impl InstallError {
    /// A short stable name for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::FolderMissing(_) => "folder-missing",
            Self::NotAFolder(_) | Self::FolderInUse(_) => "bad-folder",
            Self::Incomplete { .. } => "incomplete",
            Self::KeysMissing { .. } => "keys-missing",
            Self::Exposed { .. } => "exposed",
            Self::Locked { .. } => "locked",
            Self::Config { .. } | Self::Environment { .. } => "bad-configuration",
            Self::Flag { .. } => "usage",
            Self::Sealed { reason: SealError::WrongPassword, .. } => "wrong-password",
            Self::Sealed { reason: SealError::Newer(_), .. } => "newer-version",
            Self::Sealed { .. } | Self::Damaged { .. } => "damaged",
            Self::PasswordFile { .. } => "password-file",
            Self::Attachments { .. } => "attachments",
            Self::PasswordNeeded => "password-needed",
            Self::Database { fault, .. } => match fault {
                DatabaseFault::Unreachable => "database-unreachable",
                DatabaseFault::Refused => "database-refused",
                DatabaseFault::Unmigrated => "schema-unmigrated",
                DatabaseFault::Newer => "schema-newer",
                DatabaseFault::Foreign => "database-foreign",
                DatabaseFault::Damaged => "damaged",
                DatabaseFault::InUse => "locked",
                DatabaseFault::Unsuitable => "database-unsuitable",
                DatabaseFault::Other => "database",
            },
            Self::Identity(_) => "unexpected",
            Self::KeyHistoryFull => "key-history-full",
            Self::Certificate { .. } => "bad-certificate",
            Self::Io { .. } => "file",
        }
    }

    /// What to do next, as a sentence without a full stop.
    pub fn next(&self) -> String {
        match self {
            Self::FolderMissing(folder) | Self::Incomplete { folder, .. } => {
                format!("run: waxwing-setup init --dir {}", folder.display())
            }
            Self::NotAFolder(_) | Self::FolderInUse(_) => "choose a new or an empty folder with --dir".into(),
            Self::KeysMissing { sealed, .. } => {
                format!("restore {} from a backup, or set up in a new folder", sealed.display())
            }
            Self::Exposed { path, wanted, .. } => format!("run: chmod {wanted:o} {}", path.display()),
            Self::Locked { .. } => "stop it first, or choose another folder with --dir".into(),
            Self::Config { .. } => "correct the file and start again".into(),
            Self::Environment { variable, .. } => format!("correct or unset {variable}"),
            Self::Flag { .. } => "see --help".into(),
            Self::Sealed { reason: SealError::WrongPassword, .. } => {
                "try again with the password that was chosen at set-up".into()
            }
            Self::Sealed { reason: SealError::Newer(_), .. } => "install the version of Waxwing that wrote it".into(),
            Self::Damaged { file } => format!("delete {} and run the set-up again", file.display()),
            Self::Sealed { .. } => "restore the file from a backup".into(),
            Self::PasswordFile { .. } => "name a readable file with the password on its first line".into(),
            Self::PasswordNeeded => format!(
                "give --password-file FILE, set {} to a file's path, pass the systemd credential {}, or run it in a terminal",
                super::password::FILE_VARIABLE,
                super::password::CREDENTIAL
            ),
            Self::Database { next, .. } | Self::Attachments { next, .. } => next.clone(),
            Self::Identity(_) => "try again, and report it if it stays".into(),
            Self::Certificate { .. } => {
                "name readable PEM files in http.certificate and http.key, or leave both empty".into()
            }
            Self::KeyHistoryFull => "keep this key; only a new server, with a new link, can have another one".into(),
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => "run it as the user that owns the folder".into(),
                io::ErrorKind::StorageFull => "free some space and try again".into(),
                _ => "check the path and the disk, and try again".into(),
            },
        }
    }

    /// The exit status.
    pub fn status(&self) -> Status {
        match self {
            Self::Identity(_) => Status::Unexpected,
            Self::Database { fault: DatabaseFault::Unreachable | DatabaseFault::Other, .. } => Status::Network,
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound | io::ErrorKind::StorageFull => Status::User,
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotADirectory => Status::User,
                _ => Status::Unexpected,
            },
            _ => Status::User,
        }
    }
}
