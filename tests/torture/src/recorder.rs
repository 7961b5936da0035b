//! The record of a run: the counter of moments, the requests, and a journal in words for stories.

use crate::{
    checker::Invariant,
    history::{History, Incident, Lapse, Membership, Moment, Outcome, Sending, View},
};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Something that happened, in words.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: Duration,
    pub(crate) what: String,
}

#[derive(Default)]
struct State {
    last: Moment,
    /// When everything was at rest last.
    rested: Moment,
    history: History,
    journal: Vec<Event>,
}

/// See the module. All threads write to it.
pub(crate) struct Recorder {
    begun: Instant,
    state: Mutex<State>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next moment.
    pub(crate) fn now(&self) -> Moment {
        let mut state = self.state();
        state.last += 1;
        state.last
    }

    /// Notes something for stories; returns its moment.
    pub(crate) fn note(&self, what: impl Into<String>) -> Moment {
        let mut state = self.state();
        state.last += 1;
        let at = self.begun.elapsed();
        state.journal.push(Event { at, what: what.into() });
        state.last
    }

    pub(crate) fn sent(&self, mut sending: Sending, why: &str) {
        let Sending { device, text, chat, outcome, .. } = &sending;
        let what = format!("{device} sends {text:?} to {chat}: {outcome:?} {why}");
        sending.returned = self.note(what);
        // Until it is known to be at rest.
        sending.settled = Moment::MAX;
        if matches!(sending.outcome, Outcome::Sent | Outcome::Failed) {
            sending.settled = sending.returned;
        }
        self.state().history.sendings.push(sending);
    }

    /// Nothing waits anywhere: whatever was written before is where it will ever be.
    pub(crate) fn settle(&self) {
        let now = self.note("nothing waits any more");
        self.state().rested = now;
        for sending in &mut self.state().history.sendings {
            sending.settled = sending.settled.min(now);
        }
    }

    pub(crate) fn membership(&self, membership: Membership) {
        self.state().history.memberships.push(membership);
    }

    /// Everybody is in the group again, whatever became of changes of which nobody knew.
    pub(crate) fn settle_memberships(&self) {
        let now = self.note("everybody is in the group");
        for membership in &mut self.state().history.memberships {
            membership.certain = membership.certain.min(now);
        }
    }

    /// When everything was at rest last.
    pub(crate) fn rested(&self) -> Moment {
        self.state().rested
    }

    pub(crate) fn lapse(&self, lapse: Lapse) {
        self.state().history.lapses.push(lapse);
    }

    /// Whether a lapse of this device has not ended.
    pub(crate) fn is_lapsed(&self, device: &str) -> bool {
        self.state().history.lapses.iter().any(|lapse| lapse.device == device && lapse.to == Moment::MAX)
    }

    /// Ends the lapses that are open.
    pub(crate) fn end_lapses(&self) {
        let now = self.now();
        for lapse in &mut self.state().history.lapses {
            lapse.to = lapse.to.min(now);
        }
    }

    pub(crate) fn incident(&self, invariant: Invariant, what: String) {
        self.note(&what);
        self.state().history.incidents.push(Incident { invariant, what });
    }

    /// The history with these views, and the journal.
    pub(crate) fn with_views(&self, views: Vec<View>) -> (History, Vec<Event>) {
        let state = self.state();
        let mut history = state.history.clone();
        history.views = views;
        history.sendings.sort_by_key(|sending| sending.invoked);
        (history, state.journal.clone())
    }

    /// How many requests there were.
    pub(crate) fn operations(&self) -> usize {
        let state = self.state();
        state.history.sendings.len() + state.history.memberships.len()
    }
}
