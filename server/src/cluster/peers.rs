//! Which other nodes were heard, and whether something of theirs was missed.
//!
//! Invariant: a gap in a node's numbers, and its silence, are noticed once each; an old number is never taken again. Plain
//! values: time is a parameter.

use super::NodeId;
use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

/// A node that was not heard for so long is silent. It speaks every second.
const SILENCE: Duration = Duration::from_secs(3);

/// See the module.
pub(super) struct Peers {
    own: NodeId,
    heard: HashMap<NodeId, Peer>,
}

struct Peer {
    next: u64,
    last: Instant,
}

/// What a hint's number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The next one.
    InOrder,
    /// Others were missed before it.
    AfterGap,
    /// It was heard before, or is one's own.
    Again,
}

impl Peers {
    pub(super) fn new(own: NodeId) -> Self {
        Self { own, heard: HashMap::new() }
    }

    /// A hint of a node came.
    pub(super) fn hear(&mut self, node: NodeId, number: u64, now: Instant) -> Heard {
        if node == self.own {
            return Heard::Again;
        }
        // Who comes new begins with 1; of who does not, something was said before.
        let peer = self.heard.entry(node).or_insert(Peer { next: 1, last: now });
        if number < peer.next {
            return Heard::Again;
        }
        let heard = if number == peer.next { Heard::InOrder } else { Heard::AfterGap };
        (peer.next, peer.last) = (number.saturating_add(1), now);
        heard
    }

    /// When a node was heard last, if it is not silent.
    pub(super) fn since(&self, node: NodeId, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.heard.get(&node)?.last);
        (since < SILENCE).then_some(since)
    }

    /// The other nodes that are not silent.
    pub(super) fn speaking(&self, now: Instant) -> HashSet<NodeId> {
        self.heard.keys().copied().filter(|node| self.since(*node, now).is_some()).collect()
    }

    /// Whether it was not heard before.
    pub(super) fn is_new(&self, node: NodeId) -> bool {
        node != self.own && !self.heard.contains_key(&node)
    }

    /// Whether what some node says may not come here: one of these, which are alive, is silent. Nodes that are silent and not
    /// alive any more are forgotten, and count this once: they may have died before their last word.
    pub(super) fn is_something_missed(&mut self, alive: &[NodeId], now: Instant) -> bool {
        let others = alive.iter().filter(|node| **node != self.own);
        let unheard = others.filter(|node| self.since(**node, now).is_none()).count() > 0;
        let before = self.heard.len();
        self.heard.retain(|node, peer| alive.contains(node) || now.saturating_duration_since(peer.last) < SILENCE);
        unheard || self.heard.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: NodeId = NodeId([0; 16]);
    const ONE: NodeId = NodeId([1; 16]);

    #[test]
    fn gaps_are_noticed_and_nothing_is_taken_twice() {
        let (mut peers, now) = (Peers::new(OWN), Instant::now());
        let heard: Vec<Heard> = [1, 2, 2, 1, 4, 3, 5].map(|number| peers.hear(ONE, number, now)).to_vec();
        use Heard::{AfterGap, Again, InOrder};
        assert_eq!(heard, [InOrder, InOrder, Again, Again, AfterGap, Again, InOrder]);
        assert_eq!(peers.hear(OWN, 1, now), Again);
        assert_eq!(peers.hear(NodeId([2; 16]), 9, now), AfterGap, "it has spoken before");
    }

    #[test]
    fn the_silence_of_the_living_lasts_and_that_of_the_dead_counts_once() {
        let (mut peers, start) = (Peers::new(OWN), Instant::now());
        assert!(!peers.is_something_missed(&[OWN], start));
        assert!(peers.is_something_missed(&[OWN, ONE], start), "alive, and never heard");
        assert!(peers.is_new(ONE) && !peers.is_new(OWN));
        peers.hear(ONE, 1, start);
        assert!(!peers.is_new(ONE) && peers.speaking(start) == HashSet::from([ONE]));
        assert!(!peers.is_something_missed(&[OWN, ONE], start));
        let later = start + Duration::from_secs(4);
        assert!(peers.is_something_missed(&[OWN, ONE], later) && peers.is_something_missed(&[OWN, ONE], later));
        assert_eq!((peers.since(ONE, later), peers.speaking(later)), (None, HashSet::new()));
        assert!(peers.is_something_missed(&[OWN], later), "it died");
        assert!(!peers.is_something_missed(&[OWN], later));
    }
}
