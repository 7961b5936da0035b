//! Sending, receiving, and what is done to messages and chats.

use crate::rpc::preferences::Switch;
use clap::{Args, ValueEnum};
use std::{path::PathBuf, str::FromStr, time::Duration};
use waxwing_core::MessageId;

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
    /// Open it with your own program once it is saved, if it is a picture, a recording, PDF or text: 'player' and 'opener' in
    /// config.toml. One that was saved before and is unchanged is not fetched again
    #[arg(long)]
    pub(crate) open: bool,
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
