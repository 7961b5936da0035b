//! JSON: one document, one message a line. `docs/EXPORT.md` is its description.

use super::{ExportCursor, ExportedChat, Format, author, rfc3339, state_name};
use crate::{Content, Message, MessageState};
use serde::Serialize;

/// What the document says of itself.
pub(super) const FORMAT: &str = "waxwing-export";
pub(super) const VERSION: u64 = 1;

pub(super) struct Json;

#[derive(Serialize)]
struct MessageObject<'a> {
    id: String,
    from: &'a str,
    imported: bool,
    era: u64,
    seq: Option<u64>,
    sent_at: String,
    received_at: String,
    kind: &'static str,
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<FileObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    told_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<ReplyObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edited_at: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reactions: Vec<ReactionObject<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pinned: bool,
}

#[derive(Serialize)]
struct ReplyObject<'a> {
    from: &'a str,
    id: String,
}

#[derive(Serialize)]
struct FileObject<'a> {
    name: &'a str,
    media_type: &'a str,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
}

#[derive(Serialize)]
struct ReactionObject<'a> {
    emoji: &'a str,
    by: &'a [String],
}

/// A string as JSON. Control characters and what changes the direction of text are escaped, too.
fn quoted(value: &impl Serialize) -> String {
    let plain = serde_json::to_string(value).unwrap_or_else(|_| "null".into());
    let mut safe = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            '\u{7f}'..='\u{9f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
            | '\u{61c}' => {
                let code = u32::from(c);
                safe.push_str(&format!("\\u{code:04x}"));
            }
            c => safe.push(c),
        }
    }
    safe
}

impl Format for Json {
    fn begin(&mut self, out: &mut String, own: &str, time_ms: u64) {
        let (own, time) = (quoted(&own), quoted(&rfc3339(time_ms)));
        out.push_str(&format!(
            "{{\n\"format\": \"{FORMAT}\",\n\"version\": {VERSION},\n\"account\": {own},\n\"exported_at\": {time},\n\"chats\": ["
        ));
    }

    fn begin_chat(&mut self, out: &mut String, index: usize, chat: &ExportedChat) {
        let comma = if index > 0 { "," } else { "" };
        let (name, full_name) = (quoted(&chat.name), quoted(&chat.full_name));
        out.push_str(&format!("{comma}\n{{\n\"chat\": {name},\n\"full_name\": {full_name},\n\"messages\": ["));
    }

    fn message(&mut self, out: &mut String, _: &str, message: &Message, era: u64, cursor: &mut ExportCursor) {
        let (kind, text, unreadable) = match &message.content {
            Content::File(file) => ("file", Some(file.caption.as_str()).filter(|text| !text.is_empty()), None),
            Content::Text(text) => ("text", Some(text.as_str()), None),
            Content::Unreadable(reason) => ("unreadable", None, Some(reason.as_str())),
            Content::Notice(text) => ("notice", None, Some(text.as_str())),
            Content::Deleted { .. } => ("deleted", None, None),
            Content::Timer(_) => ("timer", None, None),
            _ => ("unknown", None, None),
        };
        let failed = match &message.state {
            MessageState::Failed(reason) => Some(reason.as_str()),
            _ => None,
        };
        let (from, imported) = author(&message.from);
        let object = MessageObject {
            id: message.id.to_string(),
            from,
            imported,
            era,
            seq: message.seq,
            sent_at: rfc3339(message.sent_at),
            received_at: rfc3339(message.received_at),
            kind,
            text,
            file: match &message.content {
                Content::File(file) => {
                    let (width, height) = file.dimensions.unzip();
                    let (name, media_type) = (file.name.as_str(), file.media_type.as_str());
                    Some(FileObject { name, media_type, size: file.size, width, height, duration_ms: file.duration_ms })
                }
                _ => None,
            },
            told_by: message.told_by.as_deref(),
            reason: unreadable.or(failed),
            state: state_name(&message.state),
            reply_to: message.reply_to.as_ref().map(|to| ReplyObject { from: &to.author, id: to.id.to_string() }),
            edited_at: message.edited_at.map(rfc3339),
            reactions: message.reactions.iter().map(|one| ReactionObject { emoji: &one.emoji, by: &one.by }).collect(),
            pinned: message.pinned,
        };
        out.push_str(if cursor.written > 0 { ",\n" } else { "\n" });
        out.push_str(&quoted(&object));
    }

    fn end_chat(&mut self, out: &mut String) {
        out.push_str("\n]\n}");
    }

    fn end(&mut self, out: &mut String) {
        out.push_str("\n]\n}\n");
    }
}
