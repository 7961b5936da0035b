//! What is said on the operator's socket: one JSON object a line, a request and then its reply.
//!
//! Invariant: client and server are of one version (they are one program), so nothing here is kept compatible; an unknown
//! request is refused with a reason. It must not know sockets.

use crate::install::Status;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// All accounts.
    ListUsers,
    /// One of them.
    ShowUser {
        /// Whose.
        username: String,
    },
    /// Locks an account.
    DisableUser {
        /// Whose.
        username: String,
    },
    /// Lets it in again.
    EnableUser {
        /// Whose.
        username: String,
    },
    /// Deletes it for good.
    DeleteUser {
        /// Whose.
        username: String,
    },
    /// Its devices and connections.
    Sessions {
        /// Whose.
        username: String,
    },
    /// Signs its devices out for good.
    Logout {
        /// Whose.
        username: String,
        /// One of them (its id in hexadecimal digits, or how that begins); none means all.
        device: Option<String>,
    },
    /// How much there is of everything.
    Stats,
    /// Says something to everybody who is connected.
    Announce {
        /// What.
        text: String,
    },
    /// All that the server knows of an account.
    Disclose {
        /// Whose.
        username: String,
    },
    /// Deletes what is older than the retention time.
    CollectGarbage {
        /// Only tells how much that would be.
        dry_run: bool,
    },
    /// The servers that share the database.
    ClusterStatus,
    /// Makes a backup, which follows the reply.
    Backup,
    /// The public rooms.
    ListRooms,
    /// Deletes a room for good.
    DeleteRoom {
        /// Which.
        room: String,
    },
    /// Makes an invite.
    Invite {
        /// How many accounts it lets in.
        uses: u32,
        /// After how many days it ends.
        days: u32,
        /// For the operator.
        note: String,
    },
    /// All invites.
    ListInvites,
    /// Makes an invite worthless.
    RevokeInvite {
        /// Its code, a link with it, or how its id begins.
        invite: String,
    },
    /// Compares the files with what the database knows of them.
    Attachments,
    /// Shows another identity from now on.
    Identity {
        /// Its certificate (DER), in base64.
        certificate: String,
        /// Its private key (PKCS#8, DER), in base64.
        key: Hidden,
    },
    /// Reads configuration and certificate anew.
    Reload,
    /// Takes another shared secret for sign-ups.
    SignUpSecret {
        /// The new one.
        secret: Hidden,
    },
}

/// A text that is not shown. It is wiped afterwards.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Hidden(pub Zeroizing<String>);

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<Hidden> for String {
    fn from(hidden: Hidden) -> Self {
        hidden.0.to_string()
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It was done.
    Ok(Answer),
    /// It was not.
    Error(Problem),
}

/// Why not, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// For scripts.
    pub code: String,
    /// What happened and why.
    pub message: String,
    /// What to do.
    pub next: String,
    /// The command's exit code.
    pub status: u8,
}

impl Problem {
    /// One that the operator can mend.
    pub fn user(code: &str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), next: next.into(), status: Status::User as u8 }
    }

    /// One that nobody foresaw.
    pub fn unexpected(message: impl std::fmt::Display) -> Self {
        let next = "look at the server's log, and report it if it stays".to_owned();
        Self { code: "unexpected".into(), message: message.to_string(), next, status: Status::Unexpected as u8 }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", content = "value", rename_all = "kebab-case")]
pub enum Answer {
    /// Accounts, by name.
    Users(Vec<User>),
    /// One account.
    User(Box<UserDetails>),
    /// How many devices and connections were concerned.
    Done {
        /// Devices that were signed out.
        devices: usize,
        /// Connections that were ended.
        connections: usize,
    },
    /// Public rooms, by name.
    Rooms(Vec<Room>),
    /// How much there is.
    Stats(Stats),
    /// How many devices heard it.
    Announced {
        /// Connected and listening.
        devices: usize,
    },
    /// What is known.
    Disclosure(Disclosure),
    /// What went, or would go.
    Garbage(Garbage),
    /// The nodes.
    Cluster(super::ClusterStatus),
    /// A backup follows.
    Backup,
    /// The link with the code.
    Invite {
        /// For who is invited.
        link: String,
        /// Its code alone.
        code: String,
    },
    /// Invites, the newest first.
    Invites(Vec<Invite>),
    /// Files.
    Attachments(Files),
    /// What a reload has changed.
    Reloaded {
        /// The settings that count from now on.
        changed: Vec<String>,
        /// The settings that count after a restart.
        after_restart: Vec<String>,
        /// Whether the sealed secrets were read anew.
        secrets: bool,
    },
}

/// An invite in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// By which it can be revoked: its code is not kept.
    pub id: String,
    /// How many accounts it still lets in.
    pub uses_left: u64,
    /// Until when (RFC 3339).
    pub expires_at: Option<String>,
    /// `valid`, `used` or `expired`.
    pub state: String,
    /// The operator's note.
    pub note: String,
    /// When it was made (RFC 3339).
    pub created_at: String,
}

/// An account in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its name.
    pub username: String,
    /// The full name that was given.
    pub full_name: Option<String>,
    /// When it was made (RFC 3339).
    pub created_at: String,
    /// Since when it is locked (RFC 3339).
    pub disabled_at: Option<String>,
    /// The last day on which a device signed in.
    pub seen_on: Option<String>,
    /// Its devices.
    pub devices: u64,
    /// Connections now.
    pub connections: usize,
}

/// A public room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Its name, with `#`.
    pub room: String,
    /// How many accounts take part.
    pub members: u32,
}

/// An account with its devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserDetails {
    /// As in the list.
    #[serde(flatten)]
    pub user: User,
    /// The e-mail address that was given.
    pub email: Option<String>,
    /// What it takes, and may take.
    pub usage: Usage,
    /// Its devices, oldest first.
    pub sessions: Vec<Device>,
}

/// What an account takes, in bytes, and how much it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// What it has sent and others have not fetched.
    pub waiting_bytes: u64,
    /// The most of that.
    pub waiting_quota: u64,
    /// Its files.
    pub attachment_bytes: u64,
    /// The most of those.
    pub attachment_quota: u64,
    /// Its backup.
    pub backup_bytes: u64,
    /// The most of that.
    pub backup_quota: u64,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its id.
    pub device: String,
    /// When it was enrolled (RFC 3339).
    pub created_at: String,
    /// The last day on which it signed in.
    pub seen_on: Option<String>,
    /// Its connections now.
    pub connections: Vec<Session>,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Since when (RFC 3339).
    pub since: String,
}

/// How much there is of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// The program's version.
    pub version: String,
    /// `sqlite`, `mysql` or `memory`.
    pub database: String,
    /// Whether the server runs.
    pub running: bool,
    /// For how many seconds.
    pub uptime_seconds: Option<u64>,
    /// Signed-in connections now.
    pub connections: Option<usize>,
    /// Accounts.
    pub accounts: u64,
    /// Those of them that are locked.
    pub disabled: u64,
    /// Devices.
    pub devices: u64,
    /// Conversations.
    pub conversations: u64,
    /// Entries that wait for a device.
    pub entries: u64,
    /// Their payloads.
    pub entry_bytes: u64,
    /// Items in inboxes.
    pub inbox_items: u64,
    /// Files that people have left here for others.
    #[serde(default)]
    pub attachments: u64,
    /// Their sealed bytes.
    #[serde(default)]
    pub attachment_bytes: u64,
    /// Accounts with a backup.
    pub backups: u64,
    /// What is in those.
    pub backup_bytes: u64,
    /// One-time key packages.
    pub key_packages: u64,
    /// What the database takes on disk, or in memory.
    pub database_bytes: u64,
    /// The most that may wait of one account, in bytes.
    pub waiting_quota: u64,
    /// The most that its files may take.
    pub attachment_quota: u64,
    /// The most that its backup may take.
    pub backup_quota: u64,
}

/// The files that people have left here, compared with what the database knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// Where they lie.
    pub place: String,
    /// How many there are.
    pub present: u64,
    /// Those of them that the database does not know.
    pub orphans: u64,
    /// Those that the database knows, and of which nothing is there.
    pub missing: u64,
    /// Whether the place belongs to another database.
    pub foreign: bool,
}

/// All that the server knows of an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Disclosure {
    /// Whose.
    pub username: String,
    /// Signed-in connections now.
    pub connections: usize,
    /// By table.
    pub tables: Vec<DisclosedTable>,
}

/// What a table holds about the account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DisclosedTable {
    /// Its name.
    pub table: String,
    /// What its columns mean, where they stand as they are.
    pub columns: Map<String, Value>,
    /// Its rows.
    pub rows: Vec<Map<String, Value>>,
}

/// What went, or would go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Garbage {
    /// Whether nothing was deleted.
    pub dry_run: bool,
    /// Days that messages are kept; 0: until they are fetched.
    pub retention_days: u32,
    /// Entries of logs.
    pub entries: u64,
    /// Their payloads.
    pub bytes: u64,
    /// Days that items in inboxes are kept; 0: until they are fetched.
    pub inbox_days: u32,
    /// Items in inboxes.
    pub inbox_items: u64,
    /// Days that files are kept; 0: until they are deleted.
    pub attachment_days: u32,
    /// Files whose own time is over, or that were never finished.
    pub attachments: u64,
    /// Days that invites are kept which let nobody in any more; 0: until they are revoked.
    pub invite_days: u32,
    /// Such invites.
    pub invites: u64,
    /// One-time key packages that are about to lose their validity.
    pub key_packages: u64,
    /// Days of silence after which devices are signed out; 0: never.
    pub idle_days: u32,
    /// Devices that were silent for longer, or signed in for too long. None while the server is stopped: then it cannot know
    /// who would have come.
    pub devices: Option<u64>,
}
