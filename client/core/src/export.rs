//! Taking a history along: exporting it page by page, and importing what was exported.
//!
//! The invariants: a page needs no more memory than its messages, however long the history; whatever others wrote is
//! escaped for the format that it goes into; what is imported is never sent, never counts as new, and never passes for
//! what its claimed author signed. It must not know files or sockets: pages are strings.

mod html;
mod import;
mod json;
mod markdown;

pub use import::Imported;
pub(crate) use import::{ImportFile, store as import};

use crate::{
    Content, Error, Message, MessageState,
    account::now_ms,
    store::{chats, contacts, messages},
};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Reads a document as an import does, and stores nothing: for whoever tries what reading does to strange bytes.
#[doc(hidden)]
pub fn check_import(document: &[u8]) -> Result<u64, Error> {
    ImportFile::read(document, |_| Ok(())).map(|read| read.texts)
}

/// How many messages make a page.
const PAGE: usize = 500;
/// What stands behind the author of an imported message: nobody's username can end so.
pub(crate) const IMPORTED: &str = " (imported)";

/// What an export is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// One JSON document; `docs/EXPORT.md` describes it. The only one that can be imported.
    Json,
    /// Markdown, for reading and notes.
    Markdown,
    /// One page that needs nothing else.
    Html,
}

/// What is to be exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportRequest {
    /// One chat; none for all.
    pub chat: Option<String>,
    /// Only what was written from then on: milliseconds since 1970.
    pub since: Option<u64>,
    /// What it is written as.
    pub format: ExportFormat,
}

/// Where an export goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportCursor {
    /// The chat, by its place among all that are exported.
    chat: usize,
    /// Whether its heading is written.
    begun: bool,
    /// The last message: era, place and position.
    last: Option<(u64, i64, i64)>,
    /// The day of the last message, where days have headings.
    day: String,
    /// How many messages of the chat are written.
    written: u64,
}

/// A piece of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportPage {
    /// What comes next in the file.
    pub text: String,
    /// How many messages are in it.
    pub messages: u64,
    /// Where the next page begins; none: this was the last.
    pub next: Option<ExportCursor>,
}

/// What a format needs to know of a chat.
struct ExportedChat {
    name: String,
    full_name: Option<String>,
}

/// How a format is written.
trait Format {
    fn begin(&mut self, out: &mut String, own: &str, time_ms: u64);
    fn begin_chat(&mut self, out: &mut String, index: usize, chat: &ExportedChat);
    fn message(&mut self, out: &mut String, own: &str, message: &Message, era: u64, cursor: &mut ExportCursor);
    fn end_chat(&mut self, out: &mut String);
    fn end(&mut self, out: &mut String);
}

fn writer(format: ExportFormat) -> Box<dyn Format> {
    match format {
        ExportFormat::Json => Box::new(json::Json),
        ExportFormat::Markdown => Box::new(markdown::Markdown),
        ExportFormat::Html => Box::new(html::Html),
    }
}

/// The next page.
pub(crate) fn page(
    db: &Connection,
    own: &str,
    request: &ExportRequest,
    cursor: Option<ExportCursor>,
) -> Result<ExportPage, Error> {
    let all = match &request.chat {
        Some(name) => vec![chats::by_name(db, name)?.ok_or_else(|| Error::UnknownChat(name.clone()))?],
        None => chats::all(db)?,
    };
    let mut writer = writer(request.format);
    let (mut text, mut count) = (String::new(), 0);
    let mut cursor = match cursor {
        Some(cursor) => cursor,
        None => {
            writer.begin(&mut text, own, now_ms());
            ExportCursor::default()
        }
    };
    while let Some(row) = all.get(cursor.chat) {
        if !cursor.begun {
            let full_name = contacts::load(db, &row.name)?.and_then(|contact| contact.full_name);
            writer.begin_chat(&mut text, cursor.chat, &ExportedChat { name: row.name.clone(), full_name });
            cursor.begun = true;
        }
        let next = messages::after(db, row.chat, cursor.last, request.since.unwrap_or(0), PAGE - count)?;
        if next.is_empty() {
            writer.end_chat(&mut text);
            cursor = ExportCursor { chat: cursor.chat + 1, ..Default::default() };
            continue;
        }
        for (place, message) in &next {
            writer.message(&mut text, own, message, place.0, &mut cursor);
            cursor.last = Some(*place);
            cursor.written += 1;
        }
        count += next.len();
        if count == PAGE {
            return Ok(ExportPage { text, messages: count as u64, next: Some(cursor) });
        }
    }
    writer.end(&mut text);
    Ok(ExportPage { text, messages: count as u64, next: None })
}

/// The author as claimed, and whether nobody but the file says so.
fn author(from: &str) -> (&str, bool) {
    from.strip_suffix(IMPORTED).map_or((from, false), |name| (name, true))
}

/// What a message says, for people, where that is no text.
fn words(content: &Content) -> (Cow<'_, str>, bool) {
    let (words, is_mark) = match content {
        Content::Text(text) => (text.as_str(), false),
        Content::File(file) => {
            let about = format!("a file: {} ({} bytes) {}", file.name, file.size, file.caption);
            return (Cow::Owned(about.trim_end().to_owned()), true);
        }
        Content::Unreadable(text) | Content::Notice(text) => (text.as_str(), true),
        Content::Deleted { .. } => ("this message was deleted", true),
        Content::Timer(None) => ("messages stay from here on", true),
        Content::Timer(Some(_)) => ("messages disappear after a while from here on", true),
        _ => ("a message that a newer version of Waxwing understands", true),
    };
    (Cow::Borrowed(words), is_mark)
}

/// What a message answers, for people.
fn answers(message: &Message) -> Option<String> {
    let reply = message.reply_to.as_ref()?;
    Some(match &reply.excerpt {
        Some(excerpt) => format!("in answer to {}: {}", reply.author, excerpt.replace('\n', " ")),
        None => format!("in answer to {}", reply.author),
    })
}

/// What was done to a message, for people.
fn done(message: &Message) -> Option<String> {
    let mut done = Vec::new();
    if message.edited_at.is_some() && matches!(message.content, Content::Text(_)) {
        done.push("edited".to_owned());
    }
    if message.pinned {
        done.push("pinned".to_owned());
    }
    done.extend(message.reactions.iter().map(|one| format!("{} {}", one.emoji, one.by.join(", "))));
    (!done.is_empty()).then(|| done.join(" · "))
}

fn state_name(state: &MessageState) -> &'static str {
    match state {
        MessageState::Queued => "queued",
        MessageState::Sent => "sent",
        MessageState::Delivered => "delivered",
        MessageState::Read => "read",
        MessageState::Failed(_) => "failed",
        MessageState::Received => "received",
    }
}

/// RFC 3339, UTC, with milliseconds. Times beyond the calendar become its end.
fn rfc3339(milliseconds: u64) -> String {
    let time = i64::try_from(milliseconds).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", time.unwrap_or(jiff::Timestamp::MAX))
}

/// Invisible characters that change how others are shown, and control characters, made visible. Line breaks stay.
fn visible(text: &str, mut push: impl FnMut(Visible)) {
    for c in text.chars() {
        push(match c {
            '\n' => Visible::Break,
            '\r' => continue,
            '\t' => Visible::Plain(' '),
            '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{61c}'
            | '\u{feff}'
            | '\u{2028}'
            | '\u{2029}' => Visible::Code(c),
            c if c.is_control() => Visible::Code(c),
            c => Visible::Plain(c),
        });
    }
}

/// A character as it may be shown.
enum Visible {
    Plain(char),
    /// By its number.
    Code(char),
    Break,
}

#[cfg(test)]
mod tests;
