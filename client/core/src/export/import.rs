//! Importing: reading a document that [`super::ExportFormat::Json`] wrote, and putting its messages into the history.
//!
//! The invariants: a file is read whole, and refused whole, before anything of it is stored; what is stored a second time
//! changes nothing; the authors that a file names are claims, and stay marked as such.

use super::{
    IMPORTED,
    json::{FORMAT, VERSION},
};
use crate::{
    Error, MessageId,
    account::username,
    store::{
        chats::{self, ChatId},
        messages::{self, ImportedMessage},
    },
};
use rusqlite::Connection;
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::{fmt, io};

/// How many messages are stored in one step.
const BATCH: usize = 500;
/// The longest text that somebody can have written, in bytes.
const TEXT: usize = 64 * 1024;
/// The year 9999, in milliseconds.
const LATEST: i64 = 253_402_300_799_999;

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Messages that are new here.
    pub added: u64,
    /// Messages that were here already.
    pub known: u64,
    /// Entries of the file that are no texts, which are left out.
    pub skipped: u64,
}

/// A message as the file has it.
#[derive(Clone, Debug)]
pub(crate) struct Claimed {
    chat: String,
    id: MessageId,
    from: String,
    sent_at: u64,
    received_at: u64,
    text: String,
}

/// How much a document has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    pub(crate) texts: u64,
    pub(crate) skipped: u64,
}

/// Documents, read message by message.
pub(crate) struct ImportFile;

impl ImportFile {
    /// Reads a document, message by message; `each` gets the texts in batches, and may stop it.
    ///
    /// # Errors
    /// [`Error::BadImport`] with the place, or what `each` says.
    pub(crate) fn read(
        source: impl io::Read,
        mut each: impl FnMut(Vec<Claimed>) -> Result<(), Error>,
    ) -> Result<Read, Error> {
        let mut reader = Reading { each: &mut each, batch: Vec::new(), skipped: 0, failure: None, count: 0 };
        let mut document = serde_json::Deserializer::from_reader(io::BufReader::new(source));
        let read = Document(&mut reader).deserialize(&mut document).and_then(|()| document.end());
        if let Some(failure) = reader.failure.take() {
            return Err(failure);
        }
        if let Err(error) = read {
            let (line, column) = (error.line(), error.column());
            let said = error.to_string();
            let said = said.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&said);
            let reason = if error.is_io() { format!("reading failed: {said}") } else { said.to_owned() };
            return Err(Error::BadImport { line, column, reason });
        }
        let rest = std::mem::take(&mut reader.batch);
        let read = Read { texts: reader.count - reader.skipped, skipped: reader.skipped };
        if !rest.is_empty() {
            each(rest)?;
        }
        Ok(read)
    }
}

struct Reading<'a> {
    each: &'a mut dyn FnMut(Vec<Claimed>) -> Result<(), Error>,
    batch: Vec<Claimed>,
    skipped: u64,
    count: u64,
    failure: Option<Error>,
}

impl Reading<'_> {
    fn take<E: de::Error>(&mut self, chat: &str, message: MessageFields) -> Result<(), E> {
        self.count += 1;
        if message.kind != "text" {
            self.skipped += 1;
            return Ok(());
        }
        let text = message.text.ok_or_else(|| E::missing_field("text"))?;
        if text.len() > TEXT {
            return Err(E::custom("a text that is longer than messages can be"));
        }
        let claimed = message.from.trim_end_matches(IMPORTED);
        let from = username(claimed).map_err(|error| E::custom(error.to_string()))?.to_string();
        let id = message.id.parse().map_err(|_| E::custom("an id that is not 32 hexadecimal digits"))?;
        self.batch.push(Claimed {
            chat: chat.to_owned(),
            id,
            from,
            sent_at: time(&message.sent_at)?,
            received_at: time(&message.received_at)?,
            text,
        });
        if self.batch.len() == BATCH
            && let Err(error) = (self.each)(std::mem::take(&mut self.batch))
        {
            self.failure = Some(error);
            return Err(E::custom("stopped"));
        }
        Ok(())
    }
}

fn time<E: de::Error>(text: &str) -> Result<u64, E> {
    let time: jiff::Timestamp =
        text.parse().map_err(|_| E::custom(format_args!("'{text}' is not a time (RFC 3339)")))?;
    let milliseconds = time.as_millisecond();
    match (0..=LATEST).contains(&milliseconds) {
        true => Ok(milliseconds.unsigned_abs()),
        false => Err(E::custom(format_args!("'{text}' is not a time at which messages were written"))),
    }
}

#[derive(Deserialize)]
struct MessageFields {
    id: String,
    from: String,
    sent_at: String,
    received_at: String,
    kind: String,
    #[serde(default)]
    text: Option<String>,
}

macro_rules! seed {
    ($name:ident) => {
        impl<'de> DeserializeSeed<'de> for $name<'_, '_> {
            type Value = ();
            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
                deserializer.deserialize_any(self)
            }
        }
    };
}

struct Document<'a, 'r>(&'a mut Reading<'r>);
seed!(Document);

impl<'de> Visitor<'de> for Document<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an export of Waxwing: an object with format, version and chats")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut named, mut versioned, mut found) = (false, false, false);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "format" => {
                    named = map.next_value::<String>()? == FORMAT;
                    if !named {
                        return Err(de::Error::custom("this is no export of Waxwing"));
                    }
                }
                "version" => {
                    let version = map.next_value::<u64>()?;
                    versioned = version == VERSION;
                    if !versioned {
                        return Err(de::Error::custom(format_args!(
                            "version {version} of the format; this program reads version {VERSION}"
                        )));
                    }
                }
                "chats" if !(named && versioned) => {
                    return Err(de::Error::custom("format and version have to stand before chats"));
                }
                "chats" if found => return Err(de::Error::duplicate_field("chats")),
                "chats" => {
                    found = true;
                    map.next_value_seed(Chats(&mut *self.0))?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if found { Ok(()) } else { Err(de::Error::missing_field("chats")) }
    }
}

struct Chats<'a, 'r>(&'a mut Reading<'r>);
seed!(Chats);

impl<'de> Visitor<'de> for Chats<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of chats")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<(), A::Error> {
        while all.next_element_seed(Chat(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

struct Chat<'a, 'r>(&'a mut Reading<'r>);
seed!(Chat);

impl<'de> Visitor<'de> for Chat<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a chat: an object with chat and messages")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut name: Option<String> = None;
        let mut found = false;
        while let Some(key) = map.next_key::<String>()? {
            match (key.as_str(), &name) {
                ("chat", _) => {
                    let text: String = map.next_value()?;
                    let checked = username(&text).map_err(|error| de::Error::custom(error.to_string()))?;
                    name = Some(checked.to_string());
                }
                ("messages", Some(name)) => {
                    found = true;
                    map.next_value_seed(Messages(&mut *self.0, name))?;
                }
                ("messages", None) => {
                    return Err(de::Error::custom("the chat's name has to stand before its messages"));
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match (name, found) {
            (None, _) => Err(de::Error::missing_field("chat")),
            (_, false) => Err(de::Error::missing_field("messages")),
            _ => Ok(()),
        }
    }
}

struct Messages<'a, 'r>(&'a mut Reading<'r>, &'a str);
seed!(Messages);

impl<'de> Visitor<'de> for Messages<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<(), A::Error> {
        while let Some(message) = all.next_element::<MessageFields>()? {
            self.0.take(self.1, message)?;
        }
        Ok(())
    }
}

/// Where the messages of a chat stand in time: for each, the latest time up to it, and its place.
type Timeline = Vec<(u64, u64, i64)>;

/// Puts messages of one batch into the history.
///
/// `position` is the one of the batch's first message, below all that are here: so it never counts as new.
pub(crate) fn store(tx: &Connection, batch: Vec<Claimed>, mut position: i64) -> Result<Imported, Error> {
    let mut done = Imported::default();
    let mut present: Option<(String, ChatId, Timeline)> = None;
    for claimed in batch {
        if present.as_ref().is_none_or(|(name, ..)| *name != claimed.chat) {
            let chat = chats::ensure(tx, &claimed.chat)?.chat;
            present = Some((claimed.chat.clone(), chat, messages::timeline(tx, chat)?));
        }
        let Some((_, chat, timeline)) = &present else { continue };
        position += 1;
        if messages::has_id(tx, *chat, claimed.id)? {
            done.known += 1;
            continue;
        }
        // In front of the first message that was written later; behind everything if there is none.
        let later = timeline.get(timeline.partition_point(|(time, ..)| *time <= claimed.sent_at));
        let (era, place) = match (later, timeline.last()) {
            (Some((_, era, place)), _) => (*era, *place),
            (None, Some((_, era, place))) => (*era, place.saturating_add(1)),
            (None, None) => (chats::load(tx, *chat)?.era, 0),
        };
        messages::insert_imported(
            tx,
            &ImportedMessage {
                position,
                chat: *chat,
                era,
                place,
                id: claimed.id,
                author: &format!("{}{IMPORTED}", claimed.from),
                sent_at: claimed.sent_at,
                received_at: claimed.received_at,
                text: &claimed.text,
            },
        )?;
        done.added += 1;
    }
    Ok(done)
}
