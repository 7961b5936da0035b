//! Messages that are on no disk: held in memory for a moment, for devices that are connected and have not read them yet.
//!
//! Invariant: it holds so much and so long at most, and nothing at all unless it was told to. It must not know who may read.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use waxwing_protocol::{Bytes, ConversationId, Entry, EntryBody};

/// How long a message is held.
const MOMENT: Duration = Duration::from_secs(60);
/// The bytes of all that are held.
const ROOM: usize = 64 * 1024 * 1024;

type Place = (ConversationId, u64);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Passing {
    on: AtomicBool,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    messages: HashMap<Place, Bytes>,
    order: VecDeque<(Instant, Place)>,
    bytes: usize,
}

impl Held {
    fn drop_oldest(&mut self) {
        if let Some((_, place)) = self.order.pop_front()
            && let Some(payload) = self.messages.remove(&place)
        {
            self.bytes = self.bytes.saturating_sub(payload.0.len());
        }
    }

    fn tidy(&mut self, now: Instant) {
        while self.bytes > ROOM || self.order.front().is_some_and(|(since, _)| now.duration_since(*since) > MOMENT) {
            self.drop_oldest();
        }
    }
}

impl Passing {
    /// Holds messages from now on, or forgets them all.
    pub(crate) fn switch(&self, on: bool) {
        self.on.store(on, Relaxed);
        if !on {
            *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Held::default();
        }
    }

    /// Whether it holds messages.
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// Holds a message that was handed out.
    pub(super) fn hold(&self, conversation: ConversationId, entry: &Entry) {
        let (true, EntryBody::Application(payload)) = (self.on.load(Relaxed), &entry.body) else { return };
        let (now, place) = (Instant::now(), (conversation, entry.seq));
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.bytes += payload.0.len();
        held.order.push_back((now, place));
        held.messages.insert(place, payload.clone());
        held.tidy(now);
    }

    /// Puts what is still held where a page has nothing but the place.
    pub(crate) fn fill(&self, conversation: ConversationId, entries: &mut [Entry]) {
        if !self.on.load(Relaxed) {
            return;
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.tidy(Instant::now());
        for entry in entries {
            if let EntryBody::Application(payload) = &mut entry.body
                && payload.0.is_empty()
                && let Some(found) = held.messages.get(&(conversation, entry.seq))
            {
                *payload = found.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: ConversationId = ConversationId([1; 16]);

    fn entry(seq: u64, payload: Vec<u8>) -> Entry {
        Entry { seq, time_ms: 1, body: EntryBody::Application(payload.into()) }
    }

    #[test]
    fn a_message_is_held_for_its_place_and_only_if_asked_to() {
        let passing = Passing::default();
        passing.hold(CHAT, &entry(1, vec![7]));
        passing.switch(true);
        passing.hold(CHAT, &entry(2, vec![8]));
        let mut page = [entry(1, vec![]), entry(2, vec![]), entry(3, vec![9])];
        passing.fill(ConversationId([2; 16]), &mut page);
        assert_eq!(page, [entry(1, vec![]), entry(2, vec![]), entry(3, vec![9])]);
        passing.fill(CHAT, &mut page);
        assert_eq!(page, [entry(1, vec![]), entry(2, vec![8]), entry(3, vec![9])]);
        passing.switch(false);
        passing.switch(true);
        let mut gone = [entry(2, vec![])];
        passing.fill(CHAT, &mut gone);
        assert_eq!(gone, [entry(2, vec![])]);
    }

    #[test]
    fn what_is_held_is_bounded_in_bytes_and_time() {
        let passing = Passing::default();
        passing.switch(true);
        for seq in 0..100 {
            passing.hold(CHAT, &entry(seq, vec![1; 1024 * 1024]));
        }
        let mut held = passing.held.lock().unwrap();
        assert!(held.bytes <= ROOM && held.messages.len() == 64 && held.messages.contains_key(&(CHAT, 99)));
        held.tidy(Instant::now() + MOMENT + Duration::from_secs(1));
        assert_eq!((held.bytes, held.messages.len(), held.order.len()), (0, 0, 0));
    }
}
