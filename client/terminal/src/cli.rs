//! The command line: what `waxwing` can be told. The help texts, completions and man pages come from here.

mod account;
mod groups;
mod messages;

use crate::{Failure, config};
pub(crate) use account::{
    AccountCommand, BackupCommand, DevicesCommand, ExportArgs, IdentityCommand, LogInArgs, PasswordCommand,
    RecoverArgs, Remember, SignUpArgs, TrustArgs, VerifyArgs,
};
use clap::{Args, Parser, Subcommand};
pub(crate) use groups::{GroupCommand, RoomCommand};
pub(crate) use messages::{Acknowledge, DeedArgs, DownloadArgs, ReceiveArgs, SendArgs, SettingsArgs, Span, from_now};
use std::{path::PathBuf, time::Duration};
use waxwing_core::{Link, MessageId, ProfilePath, Via};
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
    /// List the strangers who wait until you accept them: who wrote, and who invites you into a group or room
    Requests,
    /// Decline an invitation into a group or room: leaves it, and shows nothing of it
    Decline {
        /// The group or room, as requests lists it
        chat: String,
    },
    /// Accept a stranger: what they wrote comes, and they learn that it arrived
    Accept {
        /// The stranger
        chat: String,
    },
    /// Show who is online: the members of a chat, or all whom you share one with
    ///
    /// Those are online whose chat is open on a screen, and who do not hide it; a script does not make its user look online. It asks them,
    /// and waits up to four seconds for their answers.
    Users {
        /// The chat
        chat: Option<String>,
    },
    /// Show or set the name that others see beside your username
    Nick {
        /// The name; '' for none
        name: Option<String>,
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
