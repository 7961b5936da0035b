//! A drill: the backup restored into a database that nobody keeps, and compared with this device message for message.
//!
//! The invariant: it changes nothing of this device.

use super::{BackupDifference, BackupDrill, Range, unpack};
use crate::{
    Error, random,
    store::{
        self,
        backup::{Log, Row, logs, restore, rows},
        chats, coverage,
    },
};
use rusqlite::Connection;
use std::collections::BTreeMap;
use waxwing_e2ee::{backup::SegmentEntry, local::LocalKey};

/// How many differences are told one by one.
const TOLD: usize = 100;
/// Places that are compared at a time.
const STRIDE: u64 = 2048;

/// The scratch database, and what it was filled from.
pub(crate) struct Scratch {
    db: Connection,
    report: BackupDrill,
    /// The conversations of the backup, with their chats in the scratch database.
    logs: BTreeMap<([u8; 16], u32), Log>,
}

impl Scratch {
    pub(crate) fn new() -> Result<Self, Error> {
        let db = store::open_in_memory(&LocalKey::generate(&mut random()))?;
        Ok(Self { db, report: BackupDrill::default(), logs: BTreeMap::new() })
    }

    /// Restores one segment.
    pub(crate) fn take(&mut self, entry: &SegmentEntry, plaintext: &[u8], own: &str) -> Result<(), Error> {
        let rows = unpack(entry, plaintext, own)?;
        self.report.segments += 1;
        self.report.messages += rows.len() as u64;
        let logs = &mut self.logs;
        store::in_transaction(&mut self.db, |tx| {
            let chat = chats::ensure(tx, &entry.chat)?.chat;
            let era = u64::from(entry.era);
            let key = (entry.conversation, entry.era);
            let (name, conversation) = (entry.chat.clone(), entry.conversation);
            logs.entry(key).or_insert(Log { chat, name, era, conversation, cursor: None });
            coverage::add(tx, chat, era, Range { first: entry.first, last: entry.last })?;
            restore(tx, chat, era, &rows)
        })
    }

    /// Something of the backup could not be restored.
    pub(crate) fn fail(&mut self, entry: &SegmentEntry, error: &Error) {
        let what = format!("places {} to {} cannot be restored: {error}", entry.first, entry.last);
        self.differ(&entry.chat, entry.first, what, u64::from(entry.count).max(1));
    }

    /// A part of the account's state could not be restored.
    pub(crate) fn fail_state(&mut self, error: &Error) {
        self.differ("", 0, format!("contacts and chats cannot be restored: {error}"), 1);
    }

    fn differ(&mut self, chat: &str, seq: u64, what: String, count: u64) {
        self.report.different += count;
        if self.report.differences.len() < TOLD {
            self.report.differences.push(BackupDifference { chat: chat.to_owned(), seq, what });
        }
    }

    /// Compares with this device's history.
    pub(crate) fn compare(mut self, here: &Connection) -> Result<BackupDrill, Error> {
        let known = logs(here)?;
        let scratch: Vec<Log> = self.logs.values().cloned().collect();
        for log in &known {
            let there = scratch.iter().find(|there| there.conversation == log.conversation);
            self.compare_log(here, log, there)?;
        }
        for log in scratch.iter().filter(|log| !known.iter().any(|here| here.conversation == log.conversation)) {
            for range in coverage::of(&self.db, log.chat, log.era)?.iter() {
                self.report.elsewhere += rows(&self.db, log.chat, log.era, range)?.len() as u64;
            }
        }
        Ok(self.report)
    }

    fn compare_log(&mut self, here: &Connection, log: &Log, there: Option<&Log>) -> Result<(), Error> {
        let held = coverage::of(here, log.chat, log.era)?;
        let stored = match there {
            Some(there) => coverage::of(&self.db, there.chat, there.era)?,
            None => Default::default(),
        };
        for range in held.without(&stored).iter() {
            self.report.not_yet += rows(here, log.chat, log.era, range)?.len() as u64;
        }
        let Some(there) = there else { return Ok(()) };
        for range in stored.iter() {
            let mut first = range.first;
            while first <= range.last {
                let part = Range { first, last: range.last.min(first + STRIDE - 1) };
                let of = |rows: Vec<Row>| rows.into_iter().map(|row| (row.seq, row)).collect::<BTreeMap<_, _>>();
                let mine = of(rows(here, log.chat, log.era, part)?);
                let mut theirs = of(rows(&self.db, there.chat, there.era, part)?);
                for (seq, row) in mine {
                    match theirs.remove(&seq) {
                        None if !held.contains_all(Range { first: seq, last: seq }) => {}
                        None => self.differ(&log.name, seq, "it is not in the backup".into(), 1),
                        Some(other) => match difference(&row, &other) {
                            None => self.report.same += 1,
                            Some(what) => self.differ(&log.name, seq, what.to_owned(), 1),
                        },
                    }
                }
                for seq in theirs.into_keys() {
                    match held.contains_all(Range { first: seq, last: seq }) {
                        true => self.differ(&log.name, seq, "it is in the backup only".into(), 1),
                        false => self.report.elsewhere += 1,
                    }
                }
                first = part.last + 1;
            }
        }
        Ok(())
    }
}

/// What differs between a message here and in the backup. How far it was delivered may have changed since, and when it
/// was stored is each device's own.
fn difference(here: &Row, there: &Row) -> Option<&'static str> {
    if here.id != there.id {
        Some("its id is another one")
    } else if here.author != there.author || here.mine != there.mine {
        Some("its author is another one")
    } else if here.sent_at != there.sent_at {
        Some("its time is another one")
    } else if here.kind != there.kind || here.text != there.text {
        Some("its text is another one")
    } else if here.reply_to != there.reply_to {
        Some("it answers another message")
    } else if here.done != there.done {
        Some("what was done to it is not the same")
    } else {
        None
    }
}
