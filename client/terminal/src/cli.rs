//! The command line: what `waxwing` can be told. The help texts, completions and man pages come from here.

use crate::{Failure, config, rpc::preferences::Switch};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{path::PathBuf, str::FromStr, time::Duration};
use waxwing_core::{ExportFormat, Link, MessageId, ProfilePath, Via};
use waxwing_manual::{Completions, Man};

/// End-to-end encrypted messages over your own server.
///
/// Without a command, a menu opens: sign up, log in, chat.
#[derive(Debug, Parser)]
#[command(name = "waxwing", version, about, long_about, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) options: Options,
    /// What to do; nothing opens the menu.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 user error, 2 unexpected, 3 server or network, 4 untrusted identity, \
                          5 rate-limited, 6 not authenticated";

/// Options of all commands.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The profile: one account on this device
    #[arg(short, long, global = true, env = "WAXWING_PROFILE", value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// The folder that holds the profiles [default: waxwing in the XDG data folder]
    #[arg(long, global = true, env = "WAXWING_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The server's link (waxwing://host:port/#key), for signup, login, ping and the menu, which then does not ask for it
    #[arg(long, global = true, env = "WAXWING_SERVER", value_name = "LINK")]
    pub(crate) server: Option<String>,
    /// A file that holds the password, instead of asking for it
    #[arg(long, global = true, env = "WAXWING_PASSWORD_FILE", value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// The way to the server: auto, direct, or websocket (through HTTPS, where nothing else gets through)
    #[arg(long, global = true, env = "WAXWING_VIA", value_name = "WAY", default_value = "auto")]
    pub(crate) via: Via,
    /// A proxy on the way, which also looks the server's name up: socks5h://HOST:PORT, http://HOST:PORT or off [default: $ALL_PROXY]
    #[arg(long, global = true, value_name = "PROXY")]
    pub(crate) proxy: Option<String>,
    /// Print JSON, one object a line; errors too, on standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Lock the profile after so many minutes without input; 0 never does [default: auto_lock_minutes in config.toml]
    #[arg(
        long,
        global = true,
        env = "WAXWING_AUTO_LOCK_MINUTES",
        value_name = "MINUTES",
        allow_negative_numbers = true
    )]
    pub(crate) auto_lock_minutes: Option<f64>,
    /// Chat line by line instead of in a screen: nothing moves the cursor (screen readers; by itself with TERM=dumb)
    #[arg(long, global = true)]
    pub(crate) plain: bool,
    /// Tell on standard error what happens; twice tells more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl Options {
    /// The profile that is meant.
    pub(crate) fn profile(&self) -> Result<ProfilePath, Failure> {
        Ok(ProfilePath::resolve(self.data_dir.clone(), self.profile.as_deref())?)
    }

    /// After how long without input the profile is locked, if at all.
    pub(crate) fn auto_lock(&self) -> Result<Option<Duration>, Failure> {
        config::auto_lock(self.auto_lock_minutes)
    }

    /// The server's link, where one is given.
    pub(crate) fn server(&self) -> Result<Option<Link>, Failure> {
        self.server.as_deref().filter(|link| !link.is_empty()).map(parse_link).transpose()
    }

    /// The server's link, which must be given.
    pub(crate) fn required_server(&self) -> Result<Link, Failure> {
        self.server()?.ok_or_else(|| {
            Failure::usage("the server's link is missing", "give --server 'waxwing://…' or set WAXWING_SERVER")
        })
    }
}

/// Reads a link, with an error that says what is wrong with it.
pub(crate) fn parse_link(text: &str) -> Result<Link, Failure> {
    text.parse().map_err(|error: waxwing_core::LinkError| {
        Failure::usage(error.to_string(), "ask the server's owner for the link; the shell needs quotes around it")
    })
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a new account on a server
    Signup(SignUpArgs),
    /// Make this device one of an existing account
    Login(LogInArgs),
    /// Show who this profile is
    Whoami,
    /// Show the connection, and what waits
    ///
    /// Unread are messages that were neither shown in an opened chat nor dealt with by `waxwing receive` (or `ack`); a
    /// chat counts as read once nothing of it is left.
    Status,
    /// Test whether a server answers and is the one that the link names
    Ping {
        /// The server's link [default: --server]
        link: Option<String>,
    },
    /// Send a message; exits with 0 only when the server has it on disk
    Send(SendArgs),
    /// Change the text of a message of yours, for everybody
    Edit {
        #[command(flatten)]
        deed: DeedArgs,
        /// What it says from now on
        text: String,
    },
    /// Take a message of yours back, for everybody
    Delete {
        #[command(flatten)]
        deed: DeedArgs,
    },
    /// Put an emoji under a message
    React {
        #[command(flatten)]
        deed: DeedArgs,
        /// The emoji
        emoji: String,
        /// Take it away
        #[arg(long)]
        remove: bool,
    },
    /// Pin a message in its chat, for everybody
    Pin {
        #[command(flatten)]
        deed: DeedArgs,
        /// Take the pin away
        #[arg(long)]
        remove: bool,
    },
    /// List a chat's pinned messages
    Pins {
        /// The other user
        chat: String,
    },
    /// Let a chat's new messages disappear so long after they were read, everywhere; or show its timer
    Timer {
        /// The other user
        chat: String,
        /// 30s, 5m, 8h, 1d, 1w; off: they stay
        #[arg(value_name = "TIME|off")]
        span: Option<Span>,
    },
    /// No notices of a chat, on all your devices
    Mute {
        /// The other user
        chat: String,
        /// For so long (30s, 5m, 8h, 1d, 1w) [default: until it is unmuted]
        #[arg(value_name = "TIME")]
        span: Option<Span>,
    },
    /// Notices of a chat again
    Unmute {
        /// The other user
        chat: String,
    },
    /// Let nothing of a user arrive any more, on any of your devices
    Block {
        /// The user
        user: String,
    },
    /// Let a user's messages arrive again
    Unblock {
        /// The user
        user: String,
    },
    /// List the users that you have blocked
    Blocked,
    /// Search all messages on this device
    ///
    /// All words must be there: word, pre*, "a phrase", -without, from:USER, in:CHAT, after:2026-01-31 (that day and
    /// later), before:2026-01-31 (earlier than that day). The best match comes first; of very many only the newest are
    /// weighed.
    Search {
        /// What to search for
        #[arg(required = true, value_name = "QUERY")]
        query: Vec<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// List the strangers whose messages wait until you accept them
    Requests,
    /// Accept a stranger: what they wrote comes, and they learn that it arrived
    Accept {
        /// The stranger
        chat: String,
    },
    /// Show what is on or off on all your devices, or switch it
    Settings(SettingsArgs),
    /// List the files of a chat, with the ids that download takes
    Files {
        /// The other user
        chat: String,
    },
    /// Save the file of a message
    ///
    /// It gets its name when it is whole and is what was sent; nothing that is there is overwritten. What an interrupted download has left
    /// is taken up again.
    Download(DownloadArgs),
    /// Fetch and print what is new since the last receive
    Receive(ReceiveArgs),
    /// Tell that all up to this received message is dealt with (after receive --ack manual)
    Ack {
        /// The message's id, as receive printed it
        id: MessageId,
    },
    /// Print a chat's messages from this device, without the network
    History {
        /// The other user
        user: String,
        /// Only the newest N messages
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// List the chats on this device
    ///
    /// New (unread) are messages that were neither shown in an opened chat nor dealt with by `waxwing receive` (or
    /// `ack`); a chat counts as read once nothing of it is left.
    Chats,
    /// The sealed copy of your history on the server, for your next device
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Write messages into a file, or to standard output
    Export(ExportArgs),
    /// Take the messages of a file into the history, marked as imported
    ///
    /// The file is one that `waxwing export --format json` wrote. Nothing of it is sent to anybody; what is here already stays as it is.
    Import {
        /// The file
        file: PathBuf,
    },
    /// Chat live: the screen with all chats, or with --plain line by line
    Chat {
        /// The other user; without one the chat with the newest message opens
        user: Option<String>,
    },
    /// Private groups: by invitation, their names known to their members alone
    Group {
        #[command(subcommand)]
        command: GroupCommand,
    },
    /// Public rooms: #names on the server, open to everybody who has an account there
    Room {
        #[command(subcommand)]
        command: RoomCommand,
    },
    /// Stay online without a screen, and let other commands use this profile without a password
    Daemon,
    /// Forget the key that is kept on this device, and close the profile wherever it is open
    ///
    /// Afterwards only the password opens the profile.
    Lock,
    /// Check the password; with --remember, stay logged in again
    Unlock {
        #[command(flatten)]
        remember: Remember,
    },
    /// Print an OpenRPC document of what other programs can ask of a profile that is open
    RpcSchema,
    /// List the account's devices, or change them
    Devices {
        #[command(subcommand)]
        command: Option<DevicesCommand>,
    },
    /// Change the account's password
    Password {
        #[command(subcommand)]
        command: PasswordCommand,
    },
    /// Set a new password with the recovery code, and make this device one of the account
    ///
    /// The recovery code is replaced: the new one is shown at the end, once.
    Recover(RecoverArgs),
    /// Show the safety number with a user, to compare it with theirs
    Verify(VerifyArgs),
    /// Accept the identity that a user has now, after showing the known one and the new one
    Trust(TrustArgs),
    /// Renew the account's keys
    Identity {
        #[command(subcommand)]
        command: IdentityCommand,
    },
    /// Delete the account
    Account {
        #[command(subcommand)]
        command: AccountCommand,
    },
    /// Print completions for a shell
    Completions(Completions),
    /// Print a manual page, or write all of them
    Man(Man),
}

/// Where a group is given: its id (`+` and digits, as `waxwing chats` shows it), or what it is called.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// Make a group; prints its id
    Create {
        /// What it is called
        name: String,
        /// Who is in it from the beginning, beside you
        users: Vec<String>,
    },
    /// Show a group and who is in it
    Show {
        /// The group
        group: String,
    },
    /// Let users in (admins)
    Invite {
        /// The group
        group: String,
        /// Who
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Put users out (admins)
    Remove {
        /// The group
        group: String,
        /// Who
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Make a member an admin (admins)
    Promote {
        /// The group
        group: String,
        /// Who
        user: String,
    },
    /// Take an admin's rights away (admins)
    Demote {
        /// The group
        group: String,
        /// Who
        user: String,
    },
    /// Call it otherwise (admins)
    Rename {
        /// The group
        group: String,
        /// The new name
        name: String,
    },
    /// Say what it is about (admins)
    Topic {
        /// The group
        group: String,
        /// The topic; '' for none
        topic: String,
    },
    /// Let newcomers see so many of the last messages (admins)
    History {
        /// The group
        group: String,
        /// How many, at most 1000; 0 for none
        messages: u32,
    },
    /// Leave it, with all your devices; your history stays
    Leave {
        /// The group
        group: String,
    },
}

/// Rooms are given as #name; the shell needs quotes around it.
#[derive(Debug, Subcommand)]
pub(crate) enum RoomCommand {
    /// List the server's public rooms
    List,
    /// Come into a room; makes it if there is none
    Join {
        /// The room
        room: String,
    },
    /// Leave it, with all your devices; your history stays
    Leave {
        /// The room
        room: String,
    },
    /// Show a room and who is in it
    Show {
        /// The room
        room: String,
    },
    /// Bring users in
    Invite {
        /// The room
        room: String,
        /// Who
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Put users out; they come back only if an admin invites them (admins)
    Remove {
        /// The room
        room: String,
        /// Who
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Make a member an admin (admins)
    Promote {
        /// The room
        room: String,
        /// Who
        user: String,
    },
    /// Take an admin's rights away (admins)
    Demote {
        /// The room
        room: String,
        /// Who
        user: String,
    },
    /// Say what it is about (admins)
    Topic {
        /// The room
        room: String,
        /// The topic; '' for none
        topic: String,
    },
    /// Let newcomers see so many of the last messages (admins)
    History {
        /// The room
        room: String,
        /// How many, at most 1000; 0 for none
        messages: u32,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DevicesCommand {
    /// Give a device another name; only your own devices can read it
    Rename {
        /// The device: its name, its id, or the beginning of it
        device: String,
        /// The new name
        name: String,
    },
    /// Sign devices out for good: at once on the server, and out of every chat
    Revoke {
        /// The devices: their names, ids, or the beginnings of them
        #[arg(required = true)]
        devices: Vec<String>,
        /// Somebody else may have it: renew the account's identity, vault and backup keys as well
        #[arg(long)]
        lost: bool,
        /// Do not ask whether it is meant
        #[arg(short, long)]
        yes: bool,
    },
    /// Sign the devices again as this one knows them, where the server was restored and has forgotten a change of them
    Repair,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PasswordCommand {
    /// Set a new password, for the account and for this device
    Change {
        /// A file that holds the new password, instead of asking for it
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
        /// Sign all other devices out for good
        #[arg(long, conflicts_with = "keep_others")]
        sign_out_others: bool,
        /// Leave the other devices signed in (scripts: the default)
        #[arg(long)]
        keep_others: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// Make a new identity, which the old one vouches for
    Rotate,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Delete the account on the server, for good
    Delete {
        /// Do not ask whether it is meant
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args, Debug)]
pub(crate) struct RecoverArgs {
    /// The account's username
    #[arg(long, value_name = "NAME")]
    pub(crate) username: String,
    /// A file that holds the recovery code, instead of asking for it
    #[arg(long, value_name = "FILE")]
    pub(crate) code_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) device: DeviceName,
    #[command(flatten)]
    pub(crate) remember: Remember,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// The other user
    pub(crate) user: String,
    /// You have compared the number with theirs: mark it
    #[arg(long)]
    pub(crate) confirm: bool,
    /// Take the mark back
    #[arg(long, conflicts_with = "confirm")]
    pub(crate) revoke: bool,
}

#[derive(Args, Debug)]
pub(crate) struct TrustArgs {
    /// The other user
    pub(crate) user: String,
    /// Accept it without being asked
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// You have compared the new safety number with them (needed for a verified contact): accept and mark it
    #[arg(long)]
    pub(crate) compared: bool,
}

/// What this device is called.
#[derive(Args, Clone, Debug)]
pub(crate) struct DeviceName {
    /// What this device is called in 'waxwing devices' [default: the machine's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) device_name: Option<String>,
}

/// What is exported, and where to.
#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    /// The other user
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "CHAT")]
    pub(crate) chat: Option<String>,
    /// All chats
    #[arg(long)]
    pub(crate) all: bool,
    /// json can be imported again; markdown and html are for reading
    #[arg(long, value_enum)]
    pub(crate) format: ExportedAs,
    /// Only what was written from this day on (2026-01-31), or from this time (2026-01-31T12:00:00Z)
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub(crate) since: Option<u64>,
    /// The file; or a folder, for one file per chat [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportedAs {
    Json,
    Markdown,
    Html,
}

impl From<ExportedAs> for ExportFormat {
    fn from(format: ExportedAs) -> Self {
        match format {
            ExportedAs::Json => Self::Json,
            ExportedAs::Markdown => Self::Markdown,
            ExportedAs::Html => Self::Html,
        }
    }
}

/// A time, or the beginning of a day here, in milliseconds since 1970.
fn date(text: &str) -> Result<u64, String> {
    let day = || text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::system()).ok();
    let time = text.parse::<jiff::Timestamp>().ok().or_else(|| day().map(|day| day.timestamp()));
    let time = time.ok_or("not a date (2026-01-31) or time (2026-01-31T12:00:00Z)")?;
    // Nothing was written before 1970.
    Ok(u64::try_from(time.as_millisecond()).unwrap_or(0))
}

/// What to do about the backup.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Show how old it is and what it lacks; exits with 1 if it fails or has lacked messages for a week
    Status,
    /// Store what it lacks, and wait until it is whole
    Now,
    /// Restore it elsewhere and compare it with this device, message for message; exits with 1 if anything differs
    Drill,
    /// Delete it at the server; no device of the account makes one until it is on again
    Off {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Begin one (again)
    On,
}

/// Whether the local key stays on this device, so that no password is asked at each start.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Remember {
    /// Stay logged in: keep the local key in the system's keyring, else in a file (mode 0600)
    #[arg(long, conflicts_with = "no_remember")]
    remember: bool,
    /// Ask for the password at each start (scripts: the default)
    #[arg(long)]
    no_remember: bool,
}

impl Remember {
    /// The choice, if one was made.
    pub(crate) fn choice(self) -> Option<bool> {
        (self.remember || self.no_remember).then_some(self.remember)
    }
}

#[derive(Args, Debug)]
pub(crate) struct SignUpArgs {
    /// The new account's username: 3 to 32 of a-z 0-9 _ . -
    #[arg(long, value_name = "NAME")]
    pub(crate) username: String,
    /// Your full name; told to those you write with and to the server's operator
    #[arg(long, value_name = "FULL NAME")]
    pub(crate) name: Option<String>,
    /// An e-mail address; told to the server's operator
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) email: Option<String>,
    /// The secret that the server wants for sign-up
    #[arg(long, value_name = "SECRET", conflicts_with_all = ["secret_file", "invite"])]
    pub(crate) secret: Option<String>,
    /// A file that holds this secret
    #[arg(long, value_name = "FILE", conflicts_with = "invite")]
    pub(crate) secret_file: Option<PathBuf>,
    /// An invite code, unless the link holds one
    #[arg(long, value_name = "CODE")]
    pub(crate) invite: Option<String>,
    /// The one-time code that the server has sent by e-mail (without it: it is sent, and asked for in a terminal)
    #[arg(long, value_name = "CODE")]
    pub(crate) otp: Option<String>,
    #[command(flatten)]
    pub(crate) device: DeviceName,
    #[command(flatten)]
    pub(crate) remember: Remember,
    /// Let strangers' first messages wait until they are accepted, as in accounts made in the menu ('waxwing settings requests on')
    #[arg(long)]
    pub(crate) requests: bool,
}

#[derive(Args, Debug)]
pub(crate) struct LogInArgs {
    /// The account's username
    #[arg(long, value_name = "NAME")]
    pub(crate) username: String,
    /// The one-time code that the server has sent by e-mail (without it: it is sent, and asked for in a terminal)
    #[arg(long, value_name = "CODE")]
    pub(crate) otp: Option<String>,
    #[command(flatten)]
    pub(crate) device: DeviceName,
    #[command(flatten)]
    pub(crate) remember: Remember,
}

#[derive(Args, Debug)]
pub(crate) struct SendArgs {
    /// To whom: a user, '#room', or a group by its id or name
    pub(crate) user: String,
    /// What to say
    #[arg(required_unless_present_any = ["stdin", "file"], conflicts_with = "stdin")]
    pub(crate) text: Option<String>,
    /// Read the text from standard input
    #[arg(long)]
    pub(crate) stdin: bool,
    /// Send this file instead of a text
    #[arg(long, value_name = "PATH", conflicts_with_all = ["text", "stdin"])]
    pub(crate) file: Option<PathBuf>,
    /// What to say about the file
    #[arg(long, value_name = "TEXT", requires = "file")]
    pub(crate) caption: Option<String>,
    /// If the server cannot be reached, keep the message for later and exit with 0
    #[arg(long)]
    pub(crate) offline_ok: bool,
    /// The id of the message that this answers
    #[arg(long, value_name = "ID")]
    pub(crate) reply_to: Option<MessageId>,
    /// Who wrote that message, should several have the id
    #[arg(long, value_name = "USER", requires = "reply_to")]
    pub(crate) reply_from: Option<String>,
}

/// Which message is meant.
#[derive(Args, Debug)]
pub(crate) struct DeedArgs {
    /// The message's id, as history --json and receive --json print it
    pub(crate) id: MessageId,
    /// The chat that it is in, should several messages have the id
    #[arg(long, value_name = "CHAT")]
    pub(crate) chat: Option<String>,
    /// Who wrote it, should several messages have the id
    #[arg(long, value_name = "USER")]
    pub(crate) from: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct SettingsArgs {
    /// What to switch
    #[arg(requires = "state")]
    pub(crate) switch: Option<Switch>,
    /// Whether it is on
    pub(crate) state: Option<OnOff>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnOff {
    On,
    Off,
}

impl OnOff {
    pub(crate) fn is_on(self) -> bool {
        self == Self::On
    }
}

/// A time as people write it: `30s`, `5m`, `8h`, `1d`, `1w`, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(Option<u32>);

impl Span {
    /// None: off.
    pub(crate) fn seconds(self) -> Option<u32> {
        self.0
    }
}

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "not a time: write 30s, 5m, 8h, 1d or 1w, at most 10 years; or off";
        /// Ten years.
        const LONGEST: u32 = 10 * 366 * 86400;
        if text == "off" {
            return Ok(Self(None));
        }
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit: u32 = match text.get(digits.len()..) {
            Some("s") => 1,
            Some("m") => 60,
            Some("h") => 3600,
            Some("d") => 86400,
            Some("w") => 7 * 86400,
            _ => return Err(WRONG),
        };
        let count: u32 = digits.parse().map_err(|_| WRONG)?;
        let seconds = count.checked_mul(unit).filter(|seconds| (1..=LONGEST).contains(seconds));
        seconds.map(|seconds| Self(Some(seconds))).ok_or(WRONG)
    }
}

/// So many seconds from now: milliseconds since 1970.
pub(crate) fn from_now(seconds: u32) -> u64 {
    let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0);
    now + u64::from(seconds) * 1000
}

#[derive(Args, Debug)]
pub(crate) struct DownloadArgs {
    /// The message's id, as files and receive print it
    pub(crate) id: MessageId,
    /// The folder; made if it is missing [default: the desktop's folder for downloads]
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
    /// The chat, where several messages have this id
    #[arg(long)]
    pub(crate) chat: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct ReceiveArgs {
    /// Wait so long for a message if there is none; with --follow, end after so long without one
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,
    /// Go on until interrupted; reconnects by itself
    #[arg(long)]
    pub(crate) follow: bool,
    /// auto: a message is dealt with once it is written to standard output. manual: `waxwing ack ID` says so, or, with
    /// --follow, the message's id on a line of standard input; what is not acknowledged comes again
    #[arg(long, value_enum, default_value_t = Acknowledge::Auto)]
    pub(crate) ack: Acknowledge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Acknowledge {
    Auto,
    Manual,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "not a number of seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_stand_before_and_after_the_command() {
        let cli = parse("waxwing -p work send bob hello --json --data-dir /d").unwrap();
        assert_eq!(cli.options.profile.as_deref(), Some("work"));
        assert!(cli.options.json);
        let Some(Command::Send(send)) = cli.command else { panic!("not a send") };
        assert_eq!((send.user.as_str(), send.text.as_deref()), ("bob", Some("hello")));
        assert!(parse("waxwing").unwrap().command.is_none());
    }

    #[test]
    fn a_message_comes_from_one_place() {
        assert!(parse("waxwing send bob").is_err());
        assert!(parse("waxwing send bob hello --stdin").is_err());
        assert!(parse("waxwing send bob --stdin --offline-ok").is_ok());
        assert!(parse("waxwing send bob -- --stdin").is_ok());
    }

    #[test]
    fn receive_knows_its_waiting_and_acknowledging() {
        let Some(Command::Receive(receive)) = parse("waxwing receive --timeout 1.5 --ack manual").unwrap().command
        else {
            panic!("not a receive")
        };
        assert_eq!(receive.timeout, Some(Duration::from_millis(1500)));
        assert_eq!(receive.ack, Acknowledge::Manual);
        assert!(parse("waxwing receive --timeout=-1").is_err());
        assert!(parse("waxwing receive --timeout inf").is_err());
        assert!(parse("waxwing ack 12").is_err());
        assert!(parse("waxwing ack 000102030405060708090a0b0c0d0e0f").is_ok());
    }

    #[test]
    fn a_span_of_time_is_a_number_and_a_unit() {
        let seconds = |text: &str| text.parse::<Span>().map(Span::seconds);
        assert_eq!(seconds("30s"), Ok(Some(30)));
        assert_eq!(seconds("8h"), Ok(Some(28_800)));
        assert_eq!(seconds("1w"), Ok(Some(604_800)));
        assert_eq!(seconds("off"), Ok(None));
        for wrong in ["", "s", "0s", "-1h", "1", "1 h", "1x", "99999999w", "4000d", "1hh", "١s"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_setting_is_shown_or_switched() {
        assert!(parse("waxwing settings").is_ok());
        assert!(parse("waxwing settings read-receipts off").is_ok());
        assert!(parse("waxwing settings read-receipts").is_err());
        assert!(parse("waxwing settings tea on").is_err());
    }

    #[test]
    fn remembering_is_a_choice_of_three() {
        let choice = |flags: &str| match parse(&format!("waxwing login --username al {flags}")).unwrap().command {
            Some(Command::Login(login)) => login.remember.choice(),
            _ => panic!("not a login"),
        };
        assert_eq!(choice(""), None);
        assert_eq!(choice("--remember"), Some(true));
        assert_eq!(choice("--no-remember"), Some(false));
        assert!(parse("waxwing login --username al --remember --no-remember").is_err());
    }

    #[test]
    fn a_password_is_never_an_argument() {
        assert!(parse("waxwing login --username al --password x").is_err());
        assert!(parse("waxwing signup --username al --invite a --secret b").is_err());
    }

    #[test]
    fn a_damaged_link_is_a_user_error_with_a_reason() {
        let failure = parse_link("waxwing://host").unwrap_err();
        assert_eq!(failure.exit_code(), 1);
        assert!(failure.to_string().contains("waxwing://host:port/#key"));
    }
}
