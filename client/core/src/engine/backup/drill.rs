//! The drill: everything is fetched as a new device would, into a database that nobody keeps.

use super::{Engine, Work, refusal};
use crate::{
    BackupDrill, Error,
    backup::{self, Scratch, Shown},
    store,
    transport::{Answer, unexpected},
};
use std::collections::{BTreeMap, VecDeque};
use waxwing_e2ee::backup::{Body, GenerationKey, SegmentEntry, State, StateEntry};
use waxwing_protocol::{Request, Response, SegmentId};

const WINDOW: usize = 4;

/// A run that drills.
pub(super) struct Drill {
    key: GenerationKey,
    body: Body,
    scratch: Scratch,
    state: VecDeque<StateEntry>,
    segments: VecDeque<SegmentEntry>,
    asked: BTreeMap<i64, Asked>,
    next: i64,
}

enum Asked {
    State(StateEntry),
    Segment(SegmentEntry),
}

impl Engine {
    pub(super) async fn begin_drill(&mut self, shown: Shown) -> Result<(), Error> {
        let Shown::Some(manifest, body) = shown else {
            self.end_drill(Err(Error::BackupOff));
            return Ok(());
        };
        if backup::is_off(&body) {
            self.end_drill(Err(Error::BackupOff));
            return Ok(());
        }
        let (key, _) = store::backup::key(&self.db, manifest.generation())?.ok_or(Error::BackupLocked)?;
        self.backup.run += 1;
        let drill = Drill {
            key,
            scratch: Scratch::new()?,
            state: body.state.clone().into(),
            segments: body.segments.clone().into(),
            body,
            asked: BTreeMap::new(),
            next: 0,
        };
        self.ask_for_drill(Box::new(drill)).await
    }

    async fn ask_for_drill(&mut self, mut drill: Box<Drill>) -> Result<(), Error> {
        let mut requests = Vec::new();
        while drill.asked.len() < WINDOW {
            let (id, asked) = if let Some(entry) = drill.state.pop_front() {
                (entry.id, Asked::State(entry))
            } else if let Some(entry) = drill.segments.pop_front() {
                (entry.id, Asked::Segment(entry))
            } else {
                break;
            };
            requests.push((Request::FetchSegment(SegmentId(id)), drill.next));
            drill.asked.insert(drill.next, asked);
            drill.next += 1;
        }
        if drill.asked.is_empty() {
            let report = drill.scratch.compare(&self.db);
            self.end_drill(report);
            return Ok(());
        }
        self.backup.work = Work::Drill(drill);
        for (request, number) in requests {
            self.post_backup(request, number).await;
        }
        Ok(())
    }

    pub(super) async fn drill_answered(
        &mut self,
        mut drill: Box<Drill>,
        number: i64,
        answer: Answer,
    ) -> Result<(), Error> {
        let Some(asked) = drill.asked.remove(&number) else { return Err(unexpected()) };
        let sealed = match answer {
            Ok(Response::Segment(sealed)) => Ok(sealed.0),
            Ok(_) => Err(unexpected()),
            Err(error) => Err(refusal(error)),
        };
        let key = |generation| drill.body.key(&drill.key, generation).ok_or(Error::BackupLocked);
        let own = self.own.username.as_str();
        match asked {
            Asked::State(entry) => {
                let opened = sealed.and_then(|sealed| {
                    let plaintext = entry.open(key(entry.generation)?, own, &sealed).map_err(backup::refused)?;
                    State::decode(&plaintext).map(drop).map_err(backup::refused)
                });
                if let Err(error) = opened {
                    drill.scratch.fail_state(&error);
                }
            }
            Asked::Segment(entry) => {
                let opened =
                    sealed.and_then(|sealed| entry.open(key(entry.generation)?, own, &sealed).map_err(backup::refused));
                let taken = opened.and_then(|plaintext| drill.scratch.take(&entry, &plaintext, own));
                if let Err(error) = taken {
                    drill.scratch.fail(&entry, &error);
                }
            }
        }
        self.ask_for_drill(drill).await
    }

    fn end_drill(&mut self, report: Result<BackupDrill, Error>) {
        self.backup.work = Work::Nothing;
        for waiting in self.backup.drills.drain(..) {
            drop(waiting.send(report.clone()));
        }
    }
}
