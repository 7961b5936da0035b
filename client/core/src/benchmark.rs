//! A backup to measure restoring with: sealed and opened as the engine does it, without a server. Not part of the API.

mod history;

pub use history::History;

use crate::{
    Error,
    backup::{Range, entry_of, pack, plan, unpack},
    random,
    store::{
        self,
        backup::{Log, Row},
        chats, coverage,
    },
};
use rand_core::Rng as _;
use sha2::{Digest, Sha256};
use std::path::Path;
use waxwing_e2ee::{
    backup::{GenerationKey, SegmentEntry, seal_segment},
    local::LocalKey,
};

const OWN: &str = "alice";

/// A sealed backup of one chat.
pub struct Backup {
    key: GenerationKey,
    segments: Vec<(SegmentEntry, Vec<u8>)>,
}

impl Backup {
    /// Seals a chat with so many messages of everyday length.
    pub fn of(messages: u64) -> Result<Self, Error> {
        let key = GenerationKey::from_bytes(1, &[7; 32]);
        let log = Log { chat: 1, name: "bob".into(), era: 0, conversation: [9; 16], cursor: None };
        let held = [Range { first: 1, last: messages }].into_iter().collect();
        let item = |seq| crate::backup::Item { seq, bytes: 220 };
        let view = crate::backup::Log { held: &held, stored: &[], changed: &[] };
        let changes = plan(&view, |range| Ok::<_, Error>((range.first..=range.last).map(item).collect()))?;
        let mut segments = Vec::new();
        for range in changes.into_iter().flat_map(|change| change.write) {
            let rows: Vec<Row> = (range.first..=range.last).map(row).collect();
            let mut entry = entry_of(&log, range, &rows, &key);
            random().fill_bytes(&mut entry.id);
            let sealed = seal_segment(&key, OWN, &entry.id, &pack(&log, rows)?, &mut random());
            let sealed = sealed.map_err(crate::backup::refused)?;
            entry.sha256 = Sha256::digest(&sealed).into();
            segments.push((entry, sealed));
        }
        Ok(Self { key, segments })
    }

    /// How many segments it has.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Restores it into a new database, newest first, a transaction for each segment; returns how many messages it has.
    pub fn restore(&self, path: &Path) -> Result<u64, Error> {
        let mut db = store::open(path, &LocalKey::generate(&mut random()))?;
        for (entry, sealed) in self.segments.iter().rev() {
            let plaintext = entry.open(&self.key, OWN, sealed).map_err(crate::backup::refused)?;
            let rows = unpack(entry, &plaintext, OWN)?;
            store::in_transaction(&mut db, |tx| {
                let chat = chats::ensure(tx, &entry.chat)?.chat;
                store::backup::restore(tx, chat, 0, &rows)?;
                coverage::add(tx, chat, 0, Range { first: entry.first, last: entry.last })
            })?;
        }
        Ok(db.query_row("SELECT count(*) FROM messages", [], |row| row.get(0))?)
    }
}

fn row(seq: u64) -> Row {
    let mut id = [3; 16];
    id.iter_mut().zip(seq.to_be_bytes()).for_each(|(byte, digit)| *byte = digit);
    let mine = seq.is_multiple_of(2);
    Row {
        id,
        seq,
        author: if mine { OWN } else { "bob" }.into(),
        mine,
        sent_at: 1_700_000_000_000 + seq * 1000,
        received_at: 1_700_000_000_500 + seq * 1000,
        kind: 0,
        text: format!("Message {seq}: shall we meet at the usual place, or would you rather come over for dinner?"),
        delivered: mine,
        reply_to: None,
        file: None,
        done: Vec::new(),
    }
}
