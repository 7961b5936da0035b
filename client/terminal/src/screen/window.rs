//! The part of a chat's history that is in memory: a stretch without gaps, and what stands at the bottom of the screen.
//!
//! It never holds more than [`MOST`] messages: what is far away is dropped, and fetched again when somebody scrolls
//! there. The screen hangs on a message and not on a number of rows, so that nothing jumps when messages come, rows
//! change their width, or older ones are loaded.

use waxwing_core::{Message, MessageId, MessageState};

/// Messages that one page brings.
pub(super) const PAGE: usize = 120;

/// Messages that show behind one that is gone to.
const CONTEXT: usize = 4;

/// Messages in memory of one chat.
pub(super) const MOST: usize = 600;

/// What names a message in a chat: its id and its author.
pub(super) type Key = (MessageId, String);

pub(super) fn key(message: &Message) -> Key {
    (message.id, message.from.clone())
}

/// Something to say that is no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    /// What, safe to show.
    pub(super) words: String,
    /// Whether it is about trust or something lost.
    pub(super) grave: bool,
    /// When, milliseconds since 1970.
    pub(super) at: u64,
    /// The message that it stands behind; none where there was no message yet.
    behind: Option<Key>,
}

/// What stands in the last row of the pane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Anchor {
    /// The newest message, whatever comes.
    #[default]
    End,
    /// This message, of which so many rows are below the pane.
    At {
        /// Which.
        key: Key,
        /// Rows of it that do not show.
        below: usize,
    },
    /// This message shall be in the pane's first row.
    Top(Key),
}

/// Which page is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Newest,
    Before(Key),
    After(Key),
    /// On both sides of a message, which is shown.
    Around(Key),
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    pub(super) messages: Vec<Message>,
    pub(super) notices: Vec<Notice>,
    /// Nothing stands before it; known once a page is here.
    pub(super) first: bool,
    /// Nothing stands behind it.
    pub(super) last: bool,
    /// Whether a first page is here.
    pub(super) loaded: bool,
    /// The page that is on its way.
    pub(super) loading: Option<Wanted>,
    pub(super) anchor: Anchor,
    /// The first message that is new since the chat was opened.
    pub(super) new_from: Option<Key>,
}

impl Window {
    pub(super) fn position(&self, wanted: &Key) -> Option<usize> {
        // The newest are asked for most.
        self.messages.iter().rposition(|message| message.id == wanted.0 && message.from == wanted.1)
    }

    /// The page to ask for, unless one is on its way or nothing stands there.
    pub(super) fn want(&mut self, wanted: Wanted) -> Option<Wanted> {
        let there = match &wanted {
            Wanted::Before(_) => !self.first,
            Wanted::After(_) => !self.last,
            Wanted::Newest | Wanted::Around(_) => true,
        };
        if !there || (self.loading.is_some() && !matches!(wanted, Wanted::Newest | Wanted::Around(_))) {
            return None;
        }
        self.loading = Some(wanted.clone());
        Some(wanted)
    }

    /// What stands before the first message here.
    pub(super) fn want_older(&mut self) -> Option<Wanted> {
        let first = self.messages.first().map(key)?;
        self.want(Wanted::Before(first))
    }

    /// What stands behind the last message here.
    pub(super) fn want_newer(&mut self) -> Option<Wanted> {
        let last = self.messages.last().map(key)?;
        self.want(Wanted::After(last))
    }

    /// A page is here. One that is not waited for any more is of no use.
    pub(super) fn arrived(&mut self, wanted: &Wanted, mut page: Vec<Message>, first: bool, last: bool) {
        if self.loading.as_ref() != Some(wanted) {
            return;
        }
        self.loading = None;
        self.loaded = true;
        match wanted {
            Wanted::Newest => {
                (self.messages, self.first, self.last) = (page, first, true);
                let gone = |anchor: &Key| self.position(anchor).is_none();
                if matches!(&self.anchor, Anchor::At { key, .. } | Anchor::Top(key) if gone(key)) {
                    self.anchor = Anchor::End;
                }
            }
            Wanted::Around(around) => {
                (self.messages, self.first, self.last) = (page, first, last);
                // With some of what was said afterwards.
                let shown = self.position(around).map(|at| (at + CONTEXT).min(self.messages.len().saturating_sub(1)));
                let bottom = shown.and_then(|at| self.messages.get(at)).map(key);
                self.anchor = bottom.map_or(Anchor::End, |key| Anchor::At { key, below: 0 });
            }
            Wanted::Before(_) => {
                page.retain(|message| self.position(&key(message)).is_none());
                self.messages.splice(0..0, page);
                self.first = first;
                if self.messages.len() > MOST && self.anchor != Anchor::End {
                    self.messages.truncate(MOST);
                    self.last = false;
                }
            }
            Wanted::After(_) => {
                page.retain(|message| self.position(&key(message)).is_none());
                self.messages.extend(page);
                self.last = last;
                self.forget_oldest();
            }
        }
    }

    /// The page that was asked for does not come.
    pub(super) fn failed(&mut self, wanted: &Wanted) {
        if self.loading.as_ref() == Some(wanted) {
            self.loading = None;
        }
    }

    fn forget_oldest(&mut self) {
        let excess = self.messages.len().saturating_sub(MOST);
        if excess > 0 {
            self.messages.drain(..excess);
            self.first = false;
        }
    }

    /// A new message, of others or of one's own; one that is here takes its new state. Says whether it is shown here
    /// now: not while the screen is far back in the history.
    pub(super) fn add(&mut self, message: Message) -> bool {
        if let Some(known) = self.position(&key(&message)) {
            if let Some(known) = self.messages.get_mut(known) {
                // What is told twice may be told late.
                let (state, seq) = (known.state.clone(), known.seq.or(message.seq));
                let state = if state == MessageState::Queued { message.state.clone() } else { state };
                *known = Message { state, seq, ..message };
            }
            return true;
        }
        if !self.last && self.loaded {
            return false;
        }
        // In front of what still waits, and of own messages that the log has behind it.
        let behind = |other: &Message| match (&other.state, other.seq, message.seq) {
            (MessageState::Queued, _, Some(_)) => true,
            (MessageState::Sent | MessageState::Delivered | MessageState::Read, Some(theirs), Some(seq)) => {
                theirs > seq
            }
            _ => false,
        };
        let at = self.messages.iter().rposition(|other| !behind(other)).map_or(0, |before| before + 1);
        self.messages.insert(at, message);
        if self.anchor == Anchor::End {
            self.forget_oldest();
        }
        true
    }

    /// Something was done to a message: it takes its new form where it stands.
    pub(super) fn change(&mut self, message: Message) {
        let known = self.position(&key(&message)).and_then(|at| self.messages.get_mut(at));
        if let Some(known) = known {
            *known = message;
        }
    }

    /// The message is not there any more; what hung on it hangs on its neighbour.
    pub(super) fn remove(&mut self, gone: &Key) {
        let Some(at) = self.position(gone) else { return };
        self.messages.remove(at);
        let neighbour = self.messages.get(at.saturating_sub(1)).map(key);
        let below = |key: Key| Anchor::At { key, below: 0 };
        match &self.anchor {
            Anchor::At { key, .. } | Anchor::Top(key) if key == gone => {
                self.anchor = neighbour.clone().map_or(Anchor::End, below);
            }
            _ => {}
        }
        if self.new_from.as_ref() == Some(gone) {
            self.new_from = self.messages.get(at).map(key);
        }
        let said_behind = self.notices.iter_mut().filter(|notice| notice.behind.as_ref() == Some(gone));
        said_behind.for_each(|notice| notice.behind.clone_from(&neighbour));
    }

    /// An own message came further. The log may have others before it that came meanwhile.
    pub(super) fn set_state(&mut self, id: MessageId, me: &str, state: MessageState, seq: Option<u64>) {
        let Some(at) = self.messages.iter().rposition(|message| message.id == id && message.from == me) else { return };
        let mut message = self.messages.remove(at);
        message.state = state;
        message.seq = seq.or(message.seq);
        let precedes = |other: &Message| matches!((&other.state, other.seq, message.seq), (MessageState::Received, Some(theirs), Some(seq)) if theirs < seq);
        let moved = self.messages.iter().skip(at).take_while(|other| precedes(other)).count();
        self.messages.insert(at + moved, message);
    }

    pub(super) fn note(&mut self, words: String, grave: bool, at: u64) {
        let behind = self.messages.last().map(key);
        self.notices.push(Notice { words, grave, at, behind });
    }

    /// What was said behind this message; behind none, what was said before there was one.
    pub(super) fn notices_behind(&self, index: Option<usize>) -> impl Iterator<Item = &Notice> {
        let message = index.and_then(|index| self.messages.get(index));
        self.notices.iter().filter(move |notice| match (&notice.behind, message) {
            (None, None) => true,
            (Some((id, from)), Some(message)) => message.id == *id && message.from == *from,
            _ => false,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use waxwing_core::Content;

    pub(in crate::screen) fn message(number: u32, from: &str, text: &str, state: MessageState) -> Message {
        let time = 1_700_000_000_000 + 60_000 * u64::from(number);
        Message {
            id: format!("{number:032x}").parse().unwrap(),
            chat: "bob".into(),
            from: from.into(),
            seq: (state != MessageState::Queued).then_some(u64::from(number)),
            sent_at: time,
            received_at: time,
            content: Content::Text(text.into()),
            state,
            ..Message::default()
        }
    }

    fn received(number: u32) -> Message {
        message(number, "bob", "x", MessageState::Received)
    }

    fn numbers(window: &Window) -> Vec<u128> {
        window.messages.iter().map(|m| u128::from_str_radix(&m.id.to_string(), 16).unwrap()).collect()
    }

    fn loaded(numbers: std::ops::RangeInclusive<u32>, first: bool) -> Window {
        let mut window = Window::default();
        let wanted = window.want(Wanted::Newest).unwrap();
        window.arrived(&wanted, numbers.map(received).collect(), first, true);
        window
    }

    #[test]
    fn a_long_history_is_never_in_memory_as_a_whole() {
        let mut window = loaded(5_000..=5_100, false);
        window.anchor = Anchor::At { key: key(&received(5_000)), below: 0 };
        for _ in 0..20 {
            let wanted = window.want_older().unwrap();
            assert_eq!(window.want_older(), None, "one page at a time");
            let Wanted::Before((id, _)) = &wanted else { panic!() };
            let end = u32::from_str_radix(&id.to_string(), 16).unwrap();
            window.anchor = Anchor::At { key: key(&received(end)), below: 0 };
            window.arrived(&wanted, (end - 120..end).map(received).collect(), false, false);
            assert!(window.messages.len() <= MOST && window.position(&key(&received(end))).is_some());
        }
        assert!(!window.last && !window.add(received(6_000)), "what comes now is not behind what is here");
        let wanted = window.want_newer().unwrap();
        let after = numbers(&window).last().copied().unwrap() as u32 + 1;
        window.arrived(&wanted, (after..after + 120).map(received).collect(), false, false);
        assert!(numbers(&window).windows(2).all(|pair| pair[0] + 1 == pair[1]));
    }

    #[test]
    fn own_messages_take_the_place_that_the_log_gives_them() {
        let mut window = loaded(1..=2, true);
        window.add(message(9, "alice", "mine", MessageState::Queued));
        window.add(received(3));
        assert_eq!(numbers(&window), [1, 2, 3, 9], "what waits stands at the end");
        window.set_state(received(9).id, "alice", MessageState::Sent, Some(5));
        window.add(received(4));
        assert_eq!(numbers(&window), [1, 2, 3, 4, 9]);
        window.add(received(6));
        assert_eq!(numbers(&window), [1, 2, 3, 4, 9, 6]);
        window.add(received(6));
        assert_eq!(window.messages.len(), 6, "a message shows once");
    }

    #[test]
    fn a_page_that_nobody_waits_for_changes_nothing() {
        let mut window = loaded(10..=12, false);
        let old = window.want_older().unwrap();
        let newest = window.want(Wanted::Newest).unwrap();
        window.arrived(&old, vec![received(9)], true, false);
        assert_eq!(numbers(&window), [10, 11, 12]);
        window.arrived(&newest, vec![received(13)], true, true);
        assert_eq!((numbers(&window), window.first), (vec![13], true));
    }

    #[test]
    fn a_notice_stays_behind_the_message_after_which_it_was_said() {
        let mut window = loaded(1..=1, true);
        window.note("bob has a new device".into(), true, 5);
        window.add(received(2));
        assert_eq!(window.notices_behind(Some(0)).count(), 1);
        assert_eq!(window.notices_behind(Some(1)).count(), 0);
        assert_eq!(window.notices_behind(None).count(), 0);
    }
}
