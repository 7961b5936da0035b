//! What commands print: the JSON shapes, which are an API, and the texts for people. Every foreign text is sanitised.

use crate::{
    markdown,
    rpc::profile::StatusObject,
    sanitise::{self, Breaks, preview, sanitise},
};
use dialoguer::console::{self, Alignment, style};
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;
use std::io::{self, Write};
use waxwing_core::{Chat, ChatKind, Content, File, Message, MessageState, Remembered, Reply};

/// The server shows a new key that the known one vouches for.
pub(crate) const ENROLLED_ANEW: &str =
    "this profile was an old copy, whose keys must not be used again: it is a new device now. Its history stays";

pub(crate) const SERVER_KEY_REPLACED: &str = "the server's key was replaced, vouched for by the old one";

/// Neither colours nor cursor movements nor characters beyond ASCII as decoration: `NO_COLOR` or a dumb terminal.
pub(crate) fn is_plain() -> bool {
    console::is_dumb() || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Prints one line (or more) on standard output and flushes it: what returned is written.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// Prints an object as one line of JSON.
/// Says something that is no result, on standard error.
pub(crate) fn warn(text: &str) {
    use io::Write as _;
    // Nobody is left to be told if that fails.
    let _ = writeln!(io::stderr(), "waxwing: {text}");
}

pub(crate) fn print_json(object: &impl Serialize) -> io::Result<()> {
    print(&to_json(object)?)
}

pub(crate) fn to_json(object: &impl Serialize) -> io::Result<String> {
    Ok(sanitise::json(&serde_json::to_string(object)?))
}

/// Where the local key stays, for JSON: `keyring`, `file` or `no`.
pub(crate) fn remembered_name(remembered: &Remembered) -> &'static str {
    match remembered {
        Remembered::Keyring => "keyring",
        Remembered::File(_) => "file",
        Remembered::No => "no",
    }
}

/// Where the local key stays, for people.
pub(crate) fn remembered_words(remembered: &Remembered) -> String {
    match remembered {
        Remembered::Keyring => "You stay logged in: the local key is in the system's keyring.".to_owned(),
        Remembered::File(path) => {
            let path = sanitise(&path.display().to_string(), Breaks::Spaces);
            format!("You stay logged in: no keyring was found, so the local key is in the file {path} (mode 0600).")
        }
        Remembered::No => "The password is asked at each start.".to_owned(),
    }
}

/// Milliseconds since 1970 as RFC 3339 in UTC, with milliseconds. A time that no calendar has becomes the last it has.
pub(crate) fn rfc3339(milliseconds: u64) -> String {
    format!("{:.3}", timestamp(milliseconds))
}

fn timestamp(milliseconds: u64) -> Timestamp {
    let known = i64::try_from(milliseconds).ok().and_then(|time| Timestamp::from_millisecond(time).ok());
    known.unwrap_or(Timestamp::MAX)
}

/// The local time of day.
pub(crate) fn time_of_day(milliseconds: u64, zone: &TimeZone) -> String {
    timestamp(milliseconds).to_zoned(zone.clone()).strftime("%H:%M").to_string()
}

/// The local date and time of day.
pub(crate) fn date_and_time(milliseconds: u64, zone: &TimeZone) -> String {
    timestamp(milliseconds).to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
}

/// What a message says, safe to show; further lines are indented.
pub(crate) fn words(content: &Content, breaks: Breaks) -> String {
    match content {
        Content::Text(text) if action(text).is_some() => {
            format!("* {}", sanitise(action(text).unwrap_or_default(), breaks))
        }
        Content::Text(text) => sanitise(text, breaks),
        Content::Unknown => "[a message that this version cannot show: update waxwing]".to_owned(),
        Content::File(file) => {
            let named = format!("[{}: {}, {}]", sort(file), sanitise(&file.name, Breaks::Spaces), about(file));
            match file.caption.is_empty() {
                true => named,
                false => format!("{named} {}", sanitise(&file.caption, breaks)),
            }
        }
        Content::Deleted { .. } => "[deleted]".to_owned(),
        Content::Timer(None) => "[messages stay from here on]".to_owned(),
        Content::Timer(Some(seconds)) => format!("[messages disappear after {} from here on]", duration(*seconds)),
        Content::Unreadable(reason) => format!("[unreadable: {}]", sanitise(reason, Breaks::Spaces)),
        Content::Notice(text) => format!("[{}]", sanitise(text, Breaks::Spaces)),
    }
}

/// What its author does, if a text says so: `/me waves`.
pub(crate) fn action(text: &str) -> Option<&str> {
    text.strip_prefix("/me ").filter(|action| !action.trim().is_empty())
}

/// The same with bold, italic, lists and the like where there are colours; as it was typed where there are none.
pub(crate) fn formatted(content: &Content, indent: usize) -> String {
    match content {
        Content::Text(text) if action(text).is_some() => words(content, Breaks::Indented(indent)),
        Content::Text(text) if console::colors_enabled() && !is_plain() => markdown::ansi(text, indent),
        _ => words(content, Breaks::Indented(indent)),
    }
}

/// What a file is, by its sender's word.
pub(crate) fn sort(file: &File) -> &'static str {
    match file.media_type.split('/').next() {
        Some("image") => "image",
        Some("audio") => "audio",
        Some("video") => "video",
        _ => "file",
    }
}

/// How large a file is, before that how large its picture is and how long it lasts.
pub(crate) fn about(file: &File) -> String {
    let size = file.dimensions.map(|(width, height)| format!("{width}x{height}, ")).unwrap_or_default();
    let lasts = file.duration_ms.map(|lasts| format!("{}, ", clock(lasts))).unwrap_or_default();
    format!("{size}{lasts}{}", bytes(file.size))
}

/// Milliseconds as a clock shows them: `3:12`, `1:02:03`. What has begun counts as a second.
fn clock(milliseconds: u64) -> String {
    let seconds = milliseconds.div_ceil(1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        hours => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// A length, for people.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} bytes"),
        1024..1_048_576 => format!("{} KiB", count.div_ceil(1024)),
        _ => format!("{:.1} MiB", count as f64 / 1_048_576.0),
    }
}

/// Seconds, for people: the largest unit that divides them.
pub(crate) fn duration(seconds: u32) -> String {
    let units = [(7 * 86400, "week"), (86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
    let (length, unit) = units.into_iter().find(|(length, _)| seconds.is_multiple_of(*length)).unwrap_or((1, "second"));
    let count = seconds / length;
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// What stands behind a message's words: that it was changed, what readers have put under it.
pub(crate) fn additions(message: &Message) -> String {
    let mut more = String::new();
    if message.edited_at.is_some() && matches!(message.content, Content::Text(_)) {
        more.push_str(" (edited)");
    }
    if message.pinned {
        more.push_str(" (pinned)");
    }
    for reaction in &message.reactions {
        let emoji = sanitise(&reaction.emoji, Breaks::Spaces);
        match reaction.by.len() {
            1 => more.push_str(&format!(" [{emoji}]")),
            count => more.push_str(&format!(" [{emoji} {count}]")),
        }
    }
    more
}

/// A message as a line for people.
pub(crate) fn message_line(message: &Message, zone: &TimeZone, width: usize) -> String {
    let time = date_and_time(message.sent_at, zone);
    let from = match &message.content {
        // Nobody has written it.
        Content::Notice(_) => String::new(),
        _ => sanitise(&message.from, Breaks::Spaces),
    };
    let indent = time.chars().count() + 2 + width.max(from.chars().count()) + 2;
    let said = formatted(&message.content, indent);
    let mark = mark(&message.state, is_plain());
    let told = told_by(message);
    let why = failure(&message.state).map(|reason| format!(" {reason}")).unwrap_or_default();
    let answers = match &message.reply_to {
        Some(Reply { author, excerpt: Some(excerpt), .. }) => {
            format!("(to {}: \"{}\") ", sanitise(author, Breaks::Spaces), preview(excerpt, 24))
        }
        Some(Reply { author, .. }) => format!("(to {}) ", sanitise(author, Breaks::Spaces)),
        None => String::new(),
    };
    let more = additions(message);
    format!("{time}  {from:width$}  {answers}{said}{more}{told}{}{mark}{why}", if mark.is_empty() { "" } else { " " })
}

/// Whose word a message is, if this device could not read it itself.
pub(crate) fn told_by(message: &Message) -> String {
    let told = |username: &String| format!(" (as told by {})", sanitise(username, Breaks::Spaces));
    message.told_by.as_ref().map(told).unwrap_or_default()
}

/// Why a message was not sent, if it was not.
pub(crate) fn failure(state: &MessageState) -> Option<String> {
    match state {
        MessageState::Failed(reason) => Some(sanitise(reason, Breaks::Spaces)),
        _ => None,
    }
}

/// What to say to somebody who leaves while messages wait; none if this device is connected and sends them now.
pub(crate) fn waiting(status: &StatusObject) -> Option<String> {
    match (status.queued, status.online) {
        (0, _) | (_, true) => None,
        (1, false) => Some("1 message waits; it goes out when waxwing is next online.".to_owned()),
        (many, false) => Some(format!("{many} messages wait; they go out when waxwing is next online.")),
    }
}

/// The mark behind an own message.
pub(crate) fn mark(state: &MessageState, ascii: bool) -> &'static str {
    match (state, ascii) {
        (MessageState::Queued, false) => "…",
        (MessageState::Queued, true) => "(queued)",
        (MessageState::Sent, false) => "✓",
        (MessageState::Sent, true) => "(sent)",
        (MessageState::Delivered, false) => "✓✓",
        (MessageState::Delivered, true) => "(delivered)",
        (MessageState::Read, false) => "✓✓ read",
        (MessageState::Read, true) => "(read)",
        (MessageState::Failed(_), false) => "✗",
        (MessageState::Failed(_), true) => "(not sent)",
        (MessageState::Received, _) => "",
    }
}

/// The list of chats as aligned lines: name, unread, time, last message.
pub(crate) fn chat_lines(chats: &[Chat], zone: &TimeZone) -> Vec<String> {
    let names: Vec<String> = chats.iter().map(title).collect();
    let width = names.iter().map(|name| console::measure_text_width(name)).max().unwrap_or(0);
    let line = |(chat, name): (&Chat, &String)| {
        let unread = if chat.unread > 0 { format!("{} new", chat.unread) } else { String::new() };
        let time = chat.last.as_ref().map(|last| date_and_time(last.sent_at, zone)).unwrap_or_default();
        let last =
            chat.last.as_ref().map(|last| preview(&words(&last.content, Breaks::Spaces), 40)).unwrap_or_default();
        // Nothing of what a stranger wrote is shown.
        let last = if chat.request { "(a request: 'waxwing accept' shows it)".to_owned() } else { last };
        let warning = match (chat.identity_changed, chat.over) {
            (true, _) => "  ! identity changed: nothing is sent",
            (false, true) => "  (you are not in it any more)",
            (false, false) => "",
        };
        let queued = if chat.queued > 0 { format!("  ({} queued)", chat.queued) } else { String::new() };
        let name = console::pad_str(name, width, Alignment::Left, None);
        format!("{name}  {unread:>7}  {time:16}  {last}{queued}{warning}").trim_end().to_owned()
    };
    chats.iter().zip(&names).map(line).collect()
}

fn title(chat: &Chat) -> String {
    match (&chat.title, &chat.full_name) {
        (Some(title), _) if chat.kind == ChatKind::Group => {
            format!("{} ({})", preview(title, 32), preview(&chat.name, 16))
        }
        (_, Some(full_name)) => format!("{} ({})", preview(&chat.name, 32), preview(full_name, 24)),
        (_, None) => preview(&chat.name, 32),
    }
}

/// What the server's operator says to everybody, in one line that cannot pose as a message.
pub(crate) fn announcement(text: &str) -> String {
    format!("the server's operator says: {}", sanitise(text, Breaks::Spaces))
}

/// The same as `receive --follow --json` prints it.
#[derive(Serialize)]
pub(crate) struct AnnouncementObject<'a> {
    kind: &'static str,
    text: &'a str,
    sent_at: String,
}

impl<'a> AnnouncementObject<'a> {
    pub(crate) fn new(text: &'a str, time_ms: u64) -> Self {
        Self { kind: "announcement", text, sent_at: rfc3339(time_ms) }
    }
}

/// Notices of the program itself, dimmed where there are colours.
pub(crate) fn notice(text: &str) -> String {
    style(text).dim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::objects::{ChatObject, MessageObject};
    use serde_json::{Value, json};

    fn message(content: Content, state: MessageState) -> Message {
        Message {
            id: "000102030405060708090a0b0c0d0e0f".parse().unwrap(),
            chat: "bob".into(),
            from: "bob".into(),
            seq: Some(7),
            sent_at: 1_700_000_000_123,
            received_at: 1_700_000_001_000,
            told_by: None,
            content,
            state,
            ..Message::default()
        }
    }

    fn value(object: &impl Serialize) -> Value {
        serde_json::from_str(&to_json(object).unwrap()).unwrap()
    }

    #[test]
    fn a_received_message_has_the_shape_that_bots_rely_on() {
        let message = message(Content::Text("hi\n\u{1b}[2J".into()), MessageState::Received);
        assert_eq!(
            value(&MessageObject::received(&message)),
            json!({
                "chat": "bob", "from": "bob", "id": "000102030405060708090a0b0c0d0e0f", "seq": 7,
                "sent_at": "2023-11-14T22:13:20.123Z", "received_at": "2023-11-14T22:13:21.000Z",
                "kind": "text", "text": "hi\n\u{1b}[2J"
            })
        );
        assert!(!to_json(&MessageObject::received(&message)).unwrap().contains('\n'));
    }

    #[test]
    fn what_cannot_be_shown_says_so() {
        let unknown = message(Content::Unknown, MessageState::Received);
        assert_eq!(value(&MessageObject::received(&unknown))["kind"], "unknown");
        assert_eq!(value(&MessageObject::received(&unknown))["text"], Value::Null);
        let unreadable = message(Content::Unreadable("no key".into()), MessageState::Received);
        assert_eq!(value(&MessageObject::received(&unreadable))["reason"], "no key");
        assert_eq!(value(&MessageObject::received(&unreadable))["kind"], "unreadable");
    }

    #[test]
    fn history_tells_states_and_why_something_failed() {
        let sent = message(Content::Text("x".into()), MessageState::Delivered);
        assert_eq!(value(&MessageObject::with_state(&sent))["state"], "delivered");
        let failed = message(Content::Text("x".into()), MessageState::Failed("too late".into()));
        let failed = value(&MessageObject::with_state(&failed));
        assert_eq!((&failed["state"], &failed["reason"]), (&json!("failed"), &json!("too late")));
    }

    #[test]
    fn a_file_says_what_it_is_before_one_has_it() {
        let file = File { name: "a\u{1b}b.png".into(), size: 2 << 20, ..File::default() };
        let line = |file: File| words(&Content::File(Box::new(file)), Breaks::Spaces);
        assert_eq!(line(file.clone()), "[file: a␛b.png, 2.0 MiB]");
        let picture = File {
            media_type: "image/png".into(),
            dimensions: Some((4032, 3024)),
            caption: "us".into(),
            ..file.clone()
        };
        assert_eq!(line(picture), "[image: a␛b.png, 4032x3024, 2.0 MiB] us");
        let song = File { media_type: "audio/ogg".into(), duration_ms: Some(191_200), ..file };
        assert_eq!(line(song), "[audio: a␛b.png, 3:12, 2.0 MiB]");
        assert_eq!((clock(0), clock(1), clock(3_723_000)), ("0:00".into(), "0:01".into(), "1:02:03".into()));
        assert!(!clock(u64::MAX).is_empty());
    }

    #[test]
    fn a_time_beyond_the_calendar_is_no_crash() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert!(rfc3339(u64::MAX).starts_with("9999-"));
    }

    #[test]
    fn chats_are_aligned_and_cannot_fake_a_line() {
        let chat = |name: &str, full_name: Option<&str>, unread| Chat {
            name: name.into(),
            full_name: full_name.map(str::to_owned),
            last: Some(message(Content::Text("one\ntwo\u{1b}[2J".into()), MessageState::Received)),
            unread,
            ..Chat::default()
        };
        let lines = chat_lines(&[chat("bob", None, 0), chat("carol", Some("Ca\u{202e}rol\nX"), 12)], &TimeZone::UTC);
        assert_eq!(lines[0], "bob                       2023-11-14 22:13  one two␛[2J");
        assert_eq!(lines[1], "carol (Carol X)   12 new  2023-11-14 22:13  one two␛[2J");
        assert_eq!(value(&ChatObject::from(&chat("bob", None, 2)))["unread"], 2);
    }

    #[test]
    fn people_read_why_something_was_not_sent() {
        let failed = message(Content::Text("x".into()), MessageState::Failed("too late\u{1b}[2J".into()));
        let line = message_line(&failed, &TimeZone::UTC, 3);
        assert!(line.ends_with(" too late␛[2J"), "{line}");
    }

    #[test]
    fn further_lines_of_a_message_are_indented() {
        let message = message(Content::Text("one\ntwo".into()), MessageState::Received);
        let line = message_line(&message, &TimeZone::UTC, 5);
        assert_eq!(line, "2023-11-14 22:13  bob    one\n                         two");
    }
}
