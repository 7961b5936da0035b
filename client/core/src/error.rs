//! What can go wrong, in words for users, with the class that decides the exit code.

use serde::{Deserialize, Serialize};

/// Who or what is at fault; front ends turn it into the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The user asked for something that cannot be (exit 1).
    User,
    /// A defect, a damaged file, a full disk (exit 2).
    Unexpected,
    /// The server or the network (exit 3).
    Network,
    /// An identity is not the pinned one (exit 4).
    Untrusted,
    /// Too often (exit 5).
    RateLimited,
    /// Wrong password, or this device is signed out (exit 6).
    NotAuthenticated,
}

/// An error. Its `Display` says what happened and why; [`Error::advice`] what to do next.
///
/// It can be serialised, so that one process can hand it to another unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Error {
    /// No profile there.
    #[error("there is no account in the profile '{0}'")]
    NoProfile(String),
    /// A profile is there already.
    #[error("the profile '{0}' has an account already")]
    ProfileExists(String),
    /// Another process holds the profile.
    #[error("the profile '{0}' is in use by another waxwing process")]
    ProfileInUse(String),
    /// The name of the profile is not usable.
    #[error("'{0}' is not a profile name: use letters, digits, '-', '_' and '.'")]
    BadProfileName(String),
    /// The local password is needed, or wrong.
    #[error("wrong password")]
    WrongPassword,
    /// A password is needed to open the local history.
    #[error("this profile is locked: its password is needed")]
    Locked,
    /// The server says: unknown account or wrong secret.
    #[error("wrong username or password")]
    BadCredentials,
    /// The server says: unknown account or wrong recovery code.
    #[error("wrong username or recovery code")]
    BadRecoveryCode,
    /// Not a recovery code: it is mistyped. Found out here, nothing was sent.
    #[error("{0}")]
    MistypedRecoveryCode(String),
    /// No device of that id or name.
    #[error("this account has no device '{0}'")]
    UnknownDevice(String),
    /// Several devices are meant.
    #[error("'{0}' could be several devices of this account")]
    AmbiguousDevice(String),
    /// The identity shown is not the one that was accepted.
    #[error("the identity of '{0}' is not the one that was to be accepted: it has changed again")]
    OtherIdentity(String),
    /// A verified contact's identity changed: accepting the new one must say so.
    #[error("'{0}' is a verified contact: its new identity is accepted only with the new safety number compared")]
    VerifiedContact(String),
    /// The server does not know this device any more.
    #[error("this device is signed out")]
    SignedOut,
    /// The operator has locked the account.
    #[error("this account was disabled by the server's operator")]
    AccountDisabled,
    /// As many devices are signed in as the server allows.
    #[error(
        "{limit} devices of this account or from this network address are signed in already, as many as this server allows"
    )]
    TooManySessions {
        /// How many that are.
        limit: u64,
    },
    /// Nobody was there to take the message, and the server keeps none.
    #[error("nobody it is for is connected, and this server keeps nothing for later: it was not delivered")]
    NobodyThere,
    /// Too much of what this account has sent waits at the server.
    #[error(
        "{limit} bytes that this account has sent wait at the server for others to fetch them, as much as it allows: it was not delivered"
    )]
    WaitingFull {
        /// How many that are.
        limit: u64,
    },
    /// A one-time code was sent by e-mail: the same again with it.
    #[error("a code of {digits} digits was sent to the account's e-mail address, and is needed to go on")]
    CodeNeeded {
        /// How many digits it has.
        digits: u64,
    },
    /// The one-time code does not serve.
    #[error("the code is wrong, used or not valid any more ({left} more tries)")]
    BadCode {
        /// How often it may still be tried.
        left: u64,
    },
    /// The server does not take the e-mail address, or needs one; the text says which.
    #[error("{0}")]
    EmailRefused(String),
    /// The password is too easy to guess; the text is a hint.
    #[error("this password is too easy to guess: {0}")]
    WeakPassword(String),
    /// Not a username; the text says why.
    #[error("'{name}' is not a username: {reason}")]
    BadUsername {
        /// What was given.
        name: String,
        /// Why not.
        reason: String,
    },
    /// The name is taken.
    #[error("the username '{0}' is taken")]
    UsernameTaken(String),
    /// No such user.
    #[error("there is no user '{0}' on this server")]
    UnknownUser(String),
    /// No chat of that name here.
    #[error("there is no chat with '{0}' on this device")]
    UnknownChat(String),
    /// Several groups are called this; their ids.
    #[error("several groups are called '{name}': say which one by its id ({})", .ids.join(", "))]
    AmbiguousChat {
        /// What was given.
        name: String,
        /// The chats' names.
        ids: Vec<String>,
    },
    /// A direct chat is no group.
    #[error("the chat with '{0}' is no group")]
    NotAGroup(String),
    /// This account has left the group, or was removed.
    #[error("you are not in '{0}' any more")]
    NotInChat(String),
    /// Only an admin may do this.
    #[error("only an admin of the group may do this")]
    NotAdmin,
    /// Not a message id, or no such message.
    #[error("there is no message with this id")]
    BadMessageId,
    /// Several messages have the id.
    #[error("several messages have this id")]
    AmbiguousMessage,
    /// The text is too long: bytes, limit.
    #[error("the message is too long: {length} bytes, at most {limit} are possible")]
    TooLong {
        /// Bytes given.
        length: usize,
        /// Bytes possible.
        limit: usize,
    },
    /// Nothing to send.
    #[error("the message is empty")]
    Empty,
    /// A full name or e-mail address that is too long or not one line.
    #[error("{0}")]
    BadInput(String),
    /// Sign-up refused; the text says why.
    #[error("{0}")]
    SignUpRefused(String),
    /// Could not reach the server.
    #[error("cannot reach the server at {address}: {reason}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
    /// The server shows another key than the link says.
    #[error("the server at {address} is not the one that the link names: its key is another. Nothing was sent")]
    WrongServer {
        /// Where.
        address: String,
    },
    /// The server broke the protocol, or its parameters are unacceptable.
    #[error("the server misbehaves: {0}")]
    ServerMisbehaves(String),
    /// What the server shows as the backup is not to be believed; the text says why.
    #[error("the backup was refused: {0}")]
    BackupRefused(String),
    /// The backup has a key that this device does not know.
    #[error("the backup has a new key that this device does not have")]
    BackupLocked,
    /// The backup may not grow further.
    #[error("the backup has reached the server's limit of {limit} bytes")]
    BackupFull {
        /// The limit.
        limit: u64,
    },
    /// A file cannot be imported; nothing of it was.
    #[error("the file cannot be imported: {reason} (line {line}, column {column})")]
    BadImport {
        /// Where.
        line: usize,
        /// Where.
        column: usize,
        /// Why.
        reason: String,
    },
    /// There is no backup, by the user's wish.
    #[error("the backup is off")]
    BackupOff,
    /// A file or folder of the user's cannot be used.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
    /// A file changed while it was being sent.
    #[error("the file {0} changed while it was being sent: nothing was sent of it that could be read")]
    FileChanged(String),
    /// A file is larger than may be.
    #[error("the file is too large: with its encryption, {limit} bytes are possible")]
    FileTooLarge {
        /// The limit.
        limit: u64,
    },
    /// The files of this account at the server may not grow further.
    #[error("{}", files_full(*limit))]
    FilesFull {
        /// The limit.
        limit: u64,
    },
    /// The message has none.
    #[error("this message has no file")]
    NoFile,
    /// The server has deleted it, or never had it.
    #[error("the server does not have this file (any more)")]
    FileGone,
    /// What the server has is not what was sent.
    #[error("the file that the server has is not the one that was sent: nothing of it was kept")]
    FileDamaged,
    /// The server refused; the text says why.
    #[error("the server refused: {0}")]
    Refused(String),
    /// The connection broke or nothing came in time.
    #[error("the connection to the server was lost: {0}")]
    ConnectionLost(String),
    /// Not done in the time that was given.
    #[error("{0}")]
    TimedOut(String),
    /// The server's database is not the one that this device knew.
    #[error("the server's database was restored or replaced since this device last saw it")]
    ServerRestored,
    /// This profile is an older copy: another copy of it has sent meanwhile.
    #[error("this profile is an old copy: a newer one has used its keys since. Nothing was sent")]
    OldCopy,
    /// The user's identity is not the pinned one.
    #[error("the identity of '{0}' has changed: it is not the one that this device knows")]
    IdentityChanged(String),
    /// What the server says of a user does not hold; the text says what.
    #[error("what the server says of '{username}' is not trustworthy: {reason}")]
    Untrusted {
        /// Who.
        username: String,
        /// What is wrong.
        reason: String,
    },
    /// Too many requests.
    #[error("too many requests; try again in {seconds} s")]
    RateLimited {
        /// Seconds to wait.
        seconds: u64,
    },
    /// The local database or a file failed.
    #[error("the local storage failed: {0}")]
    Storage(String),
    /// The local database cannot be read.
    #[error("the local history is damaged: {0}")]
    Damaged(String),
    /// Written by a newer version.
    #[error("this profile was written by a newer version of waxwing")]
    NewerProfile,
    /// The client is closing.
    #[error("the client is closed")]
    Closed,
}

fn files_full(limit: u64) -> String {
    match limit {
        0 => "this server keeps no files".to_owned(),
        limit => format!("the files that this account has sent have reached the server's limit of {limit} bytes"),
    }
}

impl Error {
    /// Its class.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoProfile(_)
            | Self::ProfileExists(_)
            | Self::ProfileInUse(_)
            | Self::BadProfileName(_)
            | Self::WeakPassword(_)
            | Self::BadUsername { .. }
            | Self::UsernameTaken(_)
            | Self::UnknownUser(_)
            | Self::UnknownChat(_)
            | Self::BadMessageId
            | Self::AmbiguousMessage
            | Self::TooLong { .. }
            | Self::Empty
            | Self::BadInput(_)
            | Self::SignUpRefused(_)
            | Self::EmailRefused(_)
            | Self::MistypedRecoveryCode(_)
            | Self::UnknownDevice(_)
            | Self::AmbiguousDevice(_)
            | Self::AmbiguousChat { .. }
            | Self::NotAGroup(_)
            | Self::NotInChat(_)
            | Self::NotAdmin
            | Self::BackupOff
            | Self::BadImport { .. }
            | Self::File { .. }
            | Self::FileChanged(_)
            | Self::FileTooLarge { .. }
            | Self::NoFile
            | Self::NewerProfile => ErrorKind::User,
            Self::WrongPassword
            | Self::Locked
            | Self::BackupLocked
            | Self::BadCredentials
            | Self::BadRecoveryCode
            | Self::SignedOut
            | Self::AccountDisabled
            | Self::TooManySessions { .. }
            | Self::CodeNeeded { .. }
            | Self::BadCode { .. } => ErrorKind::NotAuthenticated,
            Self::Unreachable { .. }
            | Self::WrongServer { .. }
            | Self::ServerMisbehaves(_)
            | Self::Refused(_)
            | Self::NobodyThere
            | Self::ConnectionLost(_)
            | Self::TimedOut(_)
            | Self::BackupRefused(_)
            | Self::BackupFull { .. }
            | Self::FilesFull { .. }
            | Self::FileGone
            | Self::FileDamaged
            | Self::ServerRestored => ErrorKind::Network,
            Self::IdentityChanged(_) | Self::Untrusted { .. } | Self::OtherIdentity(_) | Self::VerifiedContact(_) => {
                ErrorKind::Untrusted
            }
            Self::RateLimited { .. } | Self::WaitingFull { .. } => ErrorKind::RateLimited,
            Self::OldCopy | Self::Storage(_) | Self::Damaged(_) | Self::Closed => ErrorKind::Unexpected,
        }
    }

    /// What to do next, where there is something to say.
    pub fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoProfile(_) => "make one with 'waxwing signup' or 'waxwing login', or name another with --profile",
            Self::ProfileExists(_) => "name another profile with --profile",
            Self::ProfileInUse(_) => "close the other one, or use another profile",
            Self::File { .. } => "check the path, its rights and the free space, then try again",
            Self::FileChanged(_) => "send it again when nothing writes to it any more",
            Self::FileTooLarge { .. } => "send it in parts, or ask the server's operator for more",
            Self::FilesFull { limit: 0 } => "send it another way, or ask the server's operator",
            Self::FilesFull { .. } => {
                "delete messages with files that nobody needs any more, or ask the server's operator for more"
            }
            Self::FileGone => "files are kept at the server for some weeks only; ask its sender to send it again",
            Self::FileDamaged => {
                "try again; if it happens again, tell the server's operator and ask its sender to send it again"
            }
            Self::WrongPassword | Self::BadCredentials => "check the username and the password, then try again",
            Self::Locked => "give the password with --password-file, WAXWING_PASSWORD_FILE, or in a terminal",
            Self::AccountDisabled => "ask the server's operator; the local history stays readable",
            Self::NobodyThere => "send it again when they are there",
            Self::WaitingFull { .. } => {
                "send it again when others have fetched what waits for them, or ask the server's operator for more"
            }
            Self::CodeNeeded { .. } => "look into the mailbox, then run the same again with --otp CODE",
            Self::BadCode { left: 0 } => "run the same again without --otp: another code is sent",
            Self::BadCode { .. } => "compare it with the e-mail; the newest one counts",
            Self::EmailRefused(_) => "give an address that the server's owner allows, with --email",
            Self::TooManySessions { .. } => "close waxwing on another device, or ask the server's operator",
            Self::SignedOut => "run 'waxwing login' on this profile: it becomes a new device, and its history stays",
            Self::WeakPassword(_) => "use a few unrelated words, or a password manager",
            Self::UsernameTaken(_) => "choose another username",
            Self::UnknownUser(_) => "check the spelling; usernames are the same for everybody on one server",
            Self::Unreachable { .. } | Self::ConnectionLost(_) => {
                "check the network and whether the server runs ('waxwing ping LINK'), then try again"
            }
            Self::WrongServer { .. } => {
                "ask the server's owner for the current link; if it is unchanged, somebody may be between you and the server"
            }
            Self::IdentityChanged(_) => {
                "nothing was sent, and what was written waits; ask them, by another way than this chat, whether they made a \
                 new account, and accept it with 'waxwing trust'"
            }
            Self::Untrusted { .. } => {
                "nothing was sent, and what was written waits until this is right again; the server may be compromised: \
                 ask its owner (and look whether this machine's clock is right)"
            }
            Self::OldCopy => {
                "run 'waxwing login' on this profile: it becomes a new device with new keys, and its history stays"
            }
            Self::ServerRestored => "ask the server's owner; until then the local history stays readable",
            Self::Damaged(_) => {
                "run 'waxwing login': it keeps the damaged folder aside, makes a new device and restores the backup"
            }
            Self::BadRecoveryCode => "check the username and the code; it was replaced if it was used before",
            Self::MistypedRecoveryCode(_) => "compare it with what you wrote down; nothing was sent",
            Self::UnknownDevice(_) | Self::AmbiguousDevice(_) => {
                "list them with 'waxwing devices'; give more of the id"
            }
            Self::OtherIdentity(_) => "look at it with 'waxwing verify', then decide again",
            Self::VerifiedContact(_) => "compare it with them ('waxwing verify'), then 'waxwing trust --compared'",
            Self::AmbiguousMessage => "say in which chat it is, and who wrote it",
            Self::Empty => "write something",
            Self::BadUsername { .. } => "choose another name, or check the spelling",
            Self::SignUpRefused(_) => "ask the server's owner for an invite link",
            Self::UnknownChat(_) => "start one with 'waxwing send', or come into a room with 'waxwing room join'",
            Self::AmbiguousChat { .. } => "'waxwing chats' shows the ids",
            Self::NotAGroup(_) => "make a group with 'waxwing group create'",
            Self::NotInChat(_) => "ask an admin for an invitation; a public room can be joined again",
            Self::NotAdmin => "ask an admin: 'waxwing group show' tells who is one",
            Self::Storage(_) => "check the free space and the rights of the profile's folder",
            Self::NewerProfile => "use the newer version",
            Self::TooLong { .. } => "split it",
            Self::BackupRefused(_) => {
                "nothing was taken from it; ask the server's owner. 'waxwing backup off' and 'waxwing backup on' begin a new one"
            }
            Self::BackupLocked => {
                "log in again in a new profile, or begin a new backup: 'waxwing backup off', 'waxwing backup on'"
            }
            Self::BackupFull { .. } => "ask the server's owner for more room; the last whole backup stays valid",
            Self::BadImport { .. } => "nothing was imported; export it again with 'waxwing export --format json'",
            Self::BackupOff => "'waxwing backup on' begins one",
            _ => return None,
        })
    }
}
