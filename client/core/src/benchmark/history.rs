//! A long history to measure searching in.

use crate::{
    Content, Error, Found, MessageId, MessageState, ProfilePath, search,
    store::{self, chats, messages, messages::NewMessage},
};
use rusqlite::Connection;
use std::path::Path;
use waxwing_e2ee::local::LocalKey;

/// How many messages one transaction stores.
const BATCH: u64 = 10_000;
/// Words as common as words are: the nth is about n times as rare as the first.
const WORDS: [&str; 40] = [
    "the",
    "and",
    "to",
    "we",
    "you",
    "is",
    "that",
    "it",
    "for",
    "on",
    "tomorrow",
    "good",
    "when",
    "home",
    "dinner",
    "late",
    "train",
    "thanks",
    "sure",
    "really",
    "garden",
    "doctor",
    "weekend",
    "birthday",
    "letter",
    "bicycle",
    "kitchen",
    "library",
    "holiday",
    "umbrella",
    "mountain",
    "piano",
    "lantern",
    "marmalade",
    "harbour",
    "telescope",
    "velvet",
    "quarry",
    "lagoon",
    "tumbler",
];

/// See the module.
pub struct History {
    db: Connection,
}

impl History {
    /// A new database with so many messages of everyday length, in 20 chats.
    pub fn of(path: &Path, count: u64) -> Result<Self, Error> {
        Self::fill(store::open(path, &key())?, count)
    }

    /// The same in the default profile of this data folder, whose user is `alice`, stays logged in, and has read all of it.
    /// What a profile has already stays as it is.
    pub fn in_profile(data: &Path, count: u64) -> Result<Self, Error> {
        let profile = ProfilePath::resolve(Some(data.to_owned()), None)?;
        let db = store::open(&profile.database(), &profile.remembered()?)?;
        if chats::by_name(&db, "friend7")?.is_some() {
            return Ok(Self { db });
        }
        let history = Self::fill(db, count)?;
        for row in chats::all(&history.db)? {
            chats::mark_read(&history.db, row.chat)?;
        }
        store::checkpoint(&history.db)?;
        Ok(history)
    }

    fn fill(mut db: Connection, count: u64) -> Result<Self, Error> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = 1;
        while next <= count {
            store::in_transaction(&mut db, |tx| {
                for number in next..(next + BATCH).min(count + 1) {
                    insert(tx, number, &mut state)?;
                }
                Ok::<_, Error>(())
            })?;
            next += BATCH;
        }
        store::checkpoint(&db)?;
        Ok(Self { db })
    }

    /// One that was made before.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self { db: store::open(path, &key())? })
    }

    /// What a search finds first.
    pub fn search(&self, query: &str) -> Result<Found, Error> {
        search::search(&self.db, query, 20, &jiff::tz::TimeZone::UTC)
    }
}

/// The same for all: nothing in it is worth hiding.
fn key() -> LocalKey {
    LocalKey::from_bytes(&[7; 32])
}

fn insert(tx: &Connection, number: u64, state: &mut u64) -> Result<(), Error> {
    let mut text = String::new();
    for _ in 0..12 {
        // Marsaglia's xorshift: the same history every time.
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        // Squared, so that the first words are the common ones.
        let place = (*state % 1600).isqrt();
        let word = WORDS.get(39 - usize::try_from(place).unwrap_or(0)).unwrap_or(&"the");
        text.push_str(word);
        text.push(' ');
    }
    if number.is_multiple_of(250_000) {
        text.push_str("needle");
    }
    let mut id = [7; 16];
    id.iter_mut().zip(number.to_be_bytes()).for_each(|(byte, digit)| *byte = digit);
    let author = format!("friend{}", number % 20);
    let mine = number.is_multiple_of(2);
    let new = NewMessage {
        chat: chats::ensure(tx, &author)?.chat,
        id: MessageId(id),
        author: if mine { "alice" } else { &author },
        mine,
        seq: Some(number),
        sent_at: 1_700_000_000_000 + number * 60_000,
        received_at: 1_700_000_000_000 + number * 60_000,
        content: &Content::Text(text),
        state: if mine { &MessageState::Read } else { &MessageState::Received },
        reply_to: None,
        lifetime: None,
    };
    messages::insert(tx, &new).map(drop)
}
