//! Segments: rows of the history packed into what is sealed, and back.
//!
//! The invariant: what comes back is checked as if it came from anywhere: it belongs to the stretch that the manifest
//! names, and a screen's or database's bounds hold.

use super::{Range, refused};
use crate::{
    Error,
    account::username,
    store::{
        backup::{FILE, Log, Row},
        changes::{Change, Kind},
        messages::LATEST,
    },
};
use waxwing_e2ee::{
    backup::{Done, Message, Said, Segment, SegmentEntry},
    content::{self, Body, Content, Target},
};
use zeroize::Zeroizing;

/// What is said where a message is only known to be one of a newer version.
const UNKNOWN: u8 = 1;
/// No log is longer.
const HIGHEST: u64 = 1 << 52;

/// The plaintext of a segment.
pub(crate) fn pack(log: &Log, rows: Vec<Row>) -> Result<Zeroizing<Vec<u8>>, Error> {
    let messages = rows.into_iter().map(message).collect::<Result<_, _>>()?;
    let era = u32::try_from(log.era).unwrap_or(u32::MAX);
    Segment::new(log.name.as_str(), log.conversation, era, messages).encode().map_err(refused)
}

fn message(row: Row) -> Result<Message, Error> {
    let said = match row.kind {
        0 => {
            let body = match row.reply_to {
                Some((author, id)) => Body::Reply { to: Target { author, id }, text: row.text },
                None => Body::Text(row.text),
            };
            let content = Content { id: row.id, sent_at_ms: row.sent_at, body, seen: None, lifetime: None };
            let bytes = content::to_bytes(&content).map_err(|error| Error::Storage(error.to_string()))?;
            Said::Content(bytes.to_vec())
        }
        _ => match row.file {
            Some(file) => {
                let body = Body::File(file);
                let content = Content { id: row.id, sent_at_ms: row.sent_at, body, seen: None, lifetime: None };
                let bytes = content::to_bytes(&content).map_err(|error| Error::Storage(error.to_string()))?;
                Said::Content(bytes.to_vec())
            }
            None => Said::Local { kind: UNKNOWN, text: String::new() },
        },
    };
    let done: Vec<Done> = row.done.into_iter().map(done).collect();
    Ok(Message {
        done: (!done.is_empty()).then_some(done),
        id: row.id,
        seq: row.seq,
        author: Some(row.author),
        sent_at_ms: row.sent_at,
        received_at_ms: row.received_at,
        delivered: row.delivered,
        told_by: None,
        said,
    })
}

fn done(change: Change) -> Done {
    Done {
        kind: change.kind as u8,
        by: change.by,
        era: u32::try_from(change.era).unwrap_or(u32::MAX),
        seq: change.seq,
        at_ms: change.at,
        value: change.value,
    }
}

/// Of a newer version's kind, by nobody, or at no place: none.
fn change(done: Done) -> Option<Change> {
    let Done { kind, by, era, seq, at_ms, value } = done;
    let kind = Kind::from_number(kind.into()).filter(|kind| *kind != Kind::Delete)?;
    let named = username(&by).is_ok_and(|name| name.as_str() == by);
    (named && seq <= HIGHEST).then_some(Change { kind, by, era: era.into(), seq, at: at_ms.min(LATEST), value })
}

/// The rows of a segment that the manifest names; `own` is the account's name.
pub(crate) fn unpack(entry: &SegmentEntry, plaintext: &[u8], own: &str) -> Result<Vec<Row>, Error> {
    let segment = Segment::decode(plaintext).map_err(refused)?;
    let foreign = |what: &str| Error::BackupRefused(format!("a part of it is not what the manifest says: {what}"));
    if (segment.chat.as_str(), segment.conversation, segment.era)
        != (entry.chat.as_str(), entry.conversation, entry.era)
    {
        return Err(foreign("it is of another chat"));
    }
    let range = Range { first: entry.first, last: entry.last };
    let inside = segment.messages.iter().all(|message| range.contains(message.seq));
    let rising = segment.messages.is_sorted_by(|one, next| one.seq < next.seq);
    if !inside || !rising || range.first == 0 || range.last > HIGHEST {
        return Err(foreign("its messages are of other places"));
    }
    if segment.messages.len() != entry.count as usize {
        return Err(foreign("messages are missing"));
    }
    segment.messages.into_iter().map(|message| row(message, own)).collect()
}

fn row(message: Message, own: &str) -> Result<Row, Error> {
    let mut file = None;
    let (kind, text, reply_to) = match &message.said {
        Said::Content(bytes) => match content::from_bytes(bytes).map(|content| content.body) {
            Ok(Body::Text(text)) => (0, text, None),
            Ok(Body::File(sent)) => {
                let caption = sent.caption.clone();
                file = Some(sent);
                (FILE, caption, None)
            }
            Ok(Body::Reply { to, text }) => (0, text, Some((to.author, to.id))),
            Ok(_) => (1, String::new(), None),
            Err(_) => return Err(Error::BackupRefused("a message in it is malformed".into())),
        },
        Said::Local { .. } => (1, String::new(), None),
    };
    let author = message.author.unwrap_or_default();
    let known = username(&author).is_ok_and(|name| name.as_str() == author);
    Ok(Row {
        id: message.id,
        seq: message.seq,
        mine: author == own,
        author: if known { author } else { "?".into() },
        sent_at: message.sent_at_ms.min(LATEST),
        received_at: message.received_at_ms.min(LATEST),
        kind,
        text,
        delivered: message.delivered,
        reply_to,
        file,
        done: message.done.unwrap_or_default().into_iter().filter_map(change).collect(),
    })
}
