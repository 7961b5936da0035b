//! What of a chat is on its way on one connection: which bytes leave next, and what the server's answers mean for them.
//!
//! The invariant: a send number never carries two ciphertexts that the server could accept. Bytes once sealed are
//! repeated as they are until the server has refused them; only then the number is given out again. It must not know
//! connections or clocks, nor how anything is encrypted: simulations drive it as the engine does.

use super::{log, order, sending::fail};
use crate::{
    Error, Message,
    store::{
        self,
        chats::{self, ChatId, ChatRow},
        commits, outbox,
    },
    transport::{Answer, CallError, unexpected},
};
use rusqlite::Connection as Database;
use waxwing_protocol::{ErrorCode, Refusal, Response};

/// How many messages of one chat may be unconfirmed.
const WINDOW: usize = 64;

/// See the module.
#[derive(Default)]
pub(super) struct Submission {
    /// Requests without an answer.
    in_flight: usize,
    /// The last number that left on this connection.
    sent_to: u64,
    /// The count of commits after which messages were refused as stale last.
    stale_at: Option<u64>,
    /// What to do once nothing is in flight.
    setback: Option<Setback>,
    /// The lowest number that the server still expects, as far as refusals have said.
    refused: Option<u64>,
    /// It expects it no more: so many bytes of this account wait there already.
    full: Option<u64>,
    /// The highest number that the server has accepted, as it said when the log was compared and as the log says since.
    accepted: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Setback {
    /// The server refused these bytes: give the numbers out again.
    Reseal,
    /// The outcome is unknown: repeat the same bytes.
    Repeat,
}

/// What an answer asks for, beside what the submission keeps of it.
#[derive(Debug)]
pub(super) enum Meaning {
    /// Accepted, at a place that is still to be read.
    Placed(u64),
    /// Accepted long ago, and the entry expired before it was heard of.
    Settled(Box<Option<Message>>),
    /// The same, of the commit that waited.
    CommitSettled,
    /// The number is given out again once nothing is on its way.
    Again,
    /// The same, and the log has to be read further first.
    Behind,
    /// To be repeated later; whether it is the commit.
    Later(Refusal, bool),
    /// The server does not know the conversation, or this device in it.
    Unknown(Refusal),
    /// Too much waits at the server: nothing goes until that is handled.
    Full,
    /// The commit will not be taken. With a number, the server expects that one.
    CommitRefused(Refusal, Option<u64>),
    /// This message will not be taken.
    Failed(Box<Option<Message>>, Error),
}

/// What is to leave next.
pub(super) enum Due {
    /// As much is on its way as may be.
    Nothing,
    /// These, in order.
    Rows(Vec<outbox::SealedRow>),
    /// So many may be sealed.
    Room(usize),
}

/// What became of a setback.
pub(super) enum Recovery {
    /// Nothing stands in the way.
    Done,
    /// Answers are still to come.
    NotYet,
    /// All is read, and the bytes were refused all the same: not as fast as the server answers.
    StillStale,
    /// These messages failed, since so many bytes wait at the server.
    Full(Vec<Message>, u64),
}

impl Submission {
    /// Whether everything that left was answered.
    pub(super) fn is_quiet(&self) -> bool {
        self.in_flight == 0
    }

    /// The log was compared with the server's, which has accepted so much.
    pub(super) fn compared(&mut self, accepted: u64) {
        self.accepted = Some(accepted);
    }

    /// The log has confirmed this number: whatever was said of refusing it does not count.
    pub(super) fn confirmed(&mut self, number: u64) {
        self.refused = self.refused.filter(|refused| *refused > number);
        self.accepted = self.accepted.map(|accepted| accepted.max(number));
    }

    /// The server expects this number.
    pub(super) fn reseal(&mut self, number: u64) {
        self.setback.get_or_insert(Setback::Reseal);
        self.refused = Some(self.refused.map_or(number, |lowest| lowest.min(number)));
    }

    /// Handles an answer, with what follows from it for the rows.
    pub(super) fn answered(
        &mut self,
        db: &mut Database,
        chat: ChatId,
        number: u64,
        answer: Answer,
    ) -> Result<Meaning, Error> {
        self.in_flight = self.in_flight.saturating_sub(1);
        let refusal = match answer {
            Ok(Response::Accepted { seq, .. }) => {
                return Ok(match chats::load(db, chat)?.cursor < seq {
                    true => Meaning::Placed(seq),
                    false if commits::is(db, chat, number)? => Meaning::CommitSettled,
                    false => {
                        Meaning::Settled(Box::new(store::step("settle", db, |tx| log::settle(tx, chat, number, seq))?))
                    }
                });
            }
            Ok(_) => return Err(unexpected()),
            Err(CallError::Lost(reason)) => return Err(Error::ConnectionLost(reason)),
            Err(CallError::Refused(refusal)) => refusal,
        };
        let is_commit = commits::is(db, chat, number)?;
        Ok(match refusal.code {
            ErrorCode::Stale if is_commit => Meaning::CommitRefused(refusal, None),
            ErrorCode::Stale => {
                self.reseal(number);
                Meaning::Behind
            }
            ErrorCode::OutOfOrder if refusal.number.is_some_and(|expected| expected > number) => {
                tracing::warn!(expected = refusal.number, number, "this device has written more than it knows");
                return Err(Error::OldCopy);
            }
            // One before it was refused; the same happens to both. Or numbers before it were given to what failed, when the
            // chat was over for a while say: nothing waits under them any more, and they are given out again.
            ErrorCode::OutOfOrder => {
                let expected = refusal.number.unwrap_or(number);
                let is_gone = outbox::lowest_sealed(db, chat)?.is_some_and(|lowest| expected < lowest);
                if is_gone && self.accepted.is_none_or(|accepted| expected <= accepted) {
                    return Err(Error::ServerMisbehaves("it asks again for what it has accepted".into()));
                }
                if is_commit {
                    return Ok(Meaning::CommitRefused(ErrorCode::Stale.into(), Some(expected)));
                }
                self.reseal(expected);
                Meaning::Again
            }
            ErrorCode::Busy | ErrorCode::RateLimited | ErrorCode::Internal | ErrorCode::Draining => {
                self.setback = Some(Setback::Repeat);
                Meaning::Later(refusal, is_commit)
            }
            ErrorCode::WaitingFull if !is_commit => {
                self.reseal(number);
                self.full = Some(refusal.number.unwrap_or(0));
                Meaning::Full
            }
            ErrorCode::UnknownConversation => {
                self.setback = Some(Setback::Repeat);
                Meaning::Unknown(refusal)
            }
            _ if is_commit => Meaning::CommitRefused(refusal, None),
            _ => {
                self.reseal(number);
                let error = match refusal.code {
                    ErrorCode::NobodyThere => Error::NobodyThere,
                    _ => Error::Refused(refusal.to_string()),
                };
                let failed = store::step("refused", db, |tx| {
                    outbox::take(tx, chat, number)?.map(|position| fail(tx, position, &error)).transpose()
                })?;
                Meaning::Failed(Box::new(failed), error)
            }
        })
    }

    /// The commit's number is free again. Says whether one was refused after the same count of commits before.
    pub(super) fn commit_refused(&mut self, commits: u64) -> bool {
        (self.setback, self.sent_to) = (None, 0);
        self.stale_at.replace(commits) == Some(commits)
    }

    /// Recovers from what was refused or is not known, once everything has its answer.
    pub(super) fn recover(&mut self, db: &mut Database, row: &ChatRow, behind: bool) -> Result<Recovery, Error> {
        let Some(setback) = self.setback else { return Ok(Recovery::Done) };
        if !self.is_quiet() || behind {
            return Ok(Recovery::NotYet);
        }
        let (chat, full) = (row.chat, self.full.take());
        let mut failed = Vec::new();
        if let (Setback::Reseal, Some(refused)) = (setback, self.refused) {
            failed = store::step("unseal", db, |tx| {
                outbox::unseal(tx, chat, refused)?;
                chats::set_number(tx, chat, refused.saturating_sub(1))?;
                let Some(limit) = full else { return Ok(Vec::new()) };
                // What shows as no message has nobody to send it again: it stays.
                let positions = outbox::take_messages(tx, chat)?.into_iter();
                let error = Error::WaitingFull { limit };
                positions.map(|position| fail(tx, position, &error)).collect::<Result<_, Error>>()
            })?;
        }
        let again = self.stale_at.replace(row.commits) == Some(row.commits);
        (self.setback, self.refused, self.sent_to) = (None, None, 0);
        Ok(match full {
            Some(limit) => Recovery::Full(failed, limit),
            None if setback == Setback::Reseal && again => Recovery::StillStale,
            None => Recovery::Done,
        })
    }

    /// What of the chat's messages is to leave now.
    pub(super) fn due(&self, db: &Database, chat: ChatId) -> Result<Due, Error> {
        let room = WINDOW.saturating_sub(outbox::unconfirmed(db, chat, self.sent_to)?);
        if room == 0 {
            return Ok(Due::Nothing);
        }
        let sealed = outbox::sealed(db, chat, self.sent_to, room)?;
        Ok(if sealed.is_empty() { Due::Room(room) } else { Due::Rows(sealed) })
    }

    /// Whether the commit under this number is to leave now: what was sealed before it has a lower one.
    pub(super) fn commit_is_due(&self, db: &Database, chat: ChatId, number: u64) -> Result<bool, Error> {
        Ok(self.sent_to < number && outbox::lowest_sealed(db, chat)?.is_none())
    }

    /// Something has left.
    pub(super) fn left(&mut self, number: u64) {
        self.in_flight += 1;
        self.sent_to = number;
    }
}

/// Gives the next messages of a chat their numbers and their bytes, as `encrypt` makes them; false if there are none.
pub(super) fn seal(
    tx: &Database,
    row: &ChatRow,
    limit: usize,
    mut encrypt: impl FnMut(&[u8]) -> Result<Vec<u8>, Error>,
) -> Result<bool, Error> {
    let rows = outbox::unsealed(tx, row.chat, limit)?;
    if rows.is_empty() {
        return Ok(false);
    }
    let seen = store::order::seen(tx, row.chat, row.cursor)?;
    let mut number = row.number;
    for queued in rows {
        let wire = encrypt(&order::with_seen(&queued.content, seen)?)?;
        number += 1;
        outbox::seal(tx, queued.position, number, row.commits, &wire)?;
    }
    chats::set_number(tx, row.chat, number)?;
    Ok(true)
}
