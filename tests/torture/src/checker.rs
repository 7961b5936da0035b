//! Whether a [`History`] keeps what is promised. A pure function of it: no clock, no process, no file.
//!
//! It never guesses in favour of the system: a message is exempt from a rule only where the history itself says why
//! (its reader was not certainly in the chat, an old copy of the device was put back, nobody knows how it ended).

use crate::history::{History, Lapse, Line, Membership, Outcome, Sending, View};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Invariant {
    /// Every message that is shown as sent reaches every device that is entitled to it.
    I1,
    /// It is shown once.
    I2,
    /// All devices show the same order, and a device's own messages in the order in which it was given them.
    I3,
    /// No ciphertext is stored at two places, and none comes that an entitled device has no key for.
    I4,
    /// After the faults everybody reads everybody.
    I5,
    /// Whoever was put out reads nothing that is written later.
    I6,
    /// Whatever was not known when it was asked ends in one outcome, the same for all.
    I7,
    /// Programs neither panic nor hang, and a device that was killed comes back.
    Alive,
}

/// A promise that was broken.
#[derive(Clone, Debug, Serialize)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// The chat, if it is about one.
    pub chat: Option<String>,
    /// The texts that it is about.
    pub texts: Vec<String>,
    /// What is wrong, in words.
    pub what: String,
}

/// All that is wrong with a history, the gravest kinds of a message first.
pub fn check(history: &History) -> Vec<Violation> {
    let mut found: Vec<Violation> = history.incidents.iter().map(incident).collect();
    let mut chats: BTreeMap<&str, Vec<&View>> = BTreeMap::new();
    for view in &history.views {
        chats.entry(view.chat.as_str()).or_default().push(view);
    }
    for (chat, views) in chats {
        let chat = Chat::new(history, chat, views);
        chat.check_each_view(&mut found);
        chat.check_orders(&mut found);
        chat.check_places(&mut found);
        for sending in history.sendings.iter().filter(|sending| sending.chat == chat.name) {
            chat.check_sending(sending, &mut found);
        }
    }
    found
}

fn incident(incident: &crate::history::Incident) -> Violation {
    Violation { invariant: incident.invariant, chat: None, texts: Vec::new(), what: incident.what.clone() }
}

/// One chat with all views of it.
struct Chat<'a> {
    history: &'a History,
    name: &'a str,
    views: Vec<&'a View>,
    /// Per view: where each text stands.
    places: Vec<HashMap<&'a str, usize>>,
}

fn texts(view: &View) -> impl Iterator<Item = (usize, &Line)> {
    view.lines.iter().enumerate().filter(|(_, line)| line.kind == "text")
}

/// Whether a device says that the server has it.
fn is_sent(line: &Line) -> bool {
    matches!(line.state.as_str(), "sent" | "delivered" | "read")
}

/// Whether a line shows something to its reader: a message that failed is shown as such and counts for nothing.
fn is_shown(line: &Line) -> bool {
    !matches!(line.state.as_str(), "failed" | "queued")
}

impl<'a> Chat<'a> {
    fn new(history: &'a History, name: &'a str, views: Vec<&'a View>) -> Self {
        let places = views
            .iter()
            .map(|view| {
                let shown = texts(view).filter(|(_, line)| is_shown(line));
                shown.map(|(place, line)| (line.text.as_str(), place)).collect()
            })
            .collect();
        Self { history, name, views, places }
    }

    fn report(&self, found: &mut Vec<Violation>, invariant: Invariant, texts: &[&str], what: String) {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        found.push(Violation { invariant, chat: Some(self.name.to_owned()), texts, what });
    }

    /// Whether an old copy of a device was put back in a way that it may have missed the message.
    fn lapsed(&self, device: &str, sending: &Sending) -> bool {
        let passes =
            |lapse: &Lapse| lapse.device == device && sending.invoked <= lapse.to && sending.settled >= lapse.from;
        self.history.lapses.iter().any(passes)
    }

    fn ever_lapsed(&self, device: &str) -> bool {
        self.history.lapses.iter().any(|lapse| lapse.device == device)
    }

    /// Whether a device need not show a message where others show it: an old copy of it was put back meanwhile, which may
    /// have sent it a second time, as another device, and counts its own place then.
    fn may_stand_elsewhere(&self, view: &View, text: &str) -> bool {
        self.ever_lapsed(&view.device)
            && self.sendings().any(|sending| sending.text == text && self.lapsed(&view.device, sending))
    }

    /// Whether a message had an old copy of its device put back while it was on its way.
    fn lapsed_on_its_way(&self, sending: &Sending) -> bool {
        self.lapsed(&sending.device, sending)
    }

    /// Whether a user was in the chat for certain for as long as the message can have been on its way.
    fn is_entitled(&self, view: &View, sending: &Sending) -> bool {
        if self.lapsed(&view.device, sending) {
            return false;
        }
        let changes = self.changes(&view.user);
        let before = changes.iter().rev().find(|change| change.certain < sending.invoked);
        let unclear =
            changes.iter().any(|change| change.invoked <= sending.settled && change.certain >= sending.invoked);
        !unclear && before.is_none_or(|change| change.inside)
    }

    /// Whether a user was certainly outside when the message was written, and until after it was gone.
    fn is_barred(&self, view: &View, sending: &Sending) -> bool {
        let changes = self.changes(&view.user);
        let before = changes.iter().rev().find(|change| change.certain < sending.invoked);
        let unclear =
            changes.iter().any(|change| change.invoked <= sending.settled && change.certain >= sending.invoked);
        !unclear && before.is_some_and(|change| !change.inside)
    }

    fn changes(&self, user: &str) -> Vec<&Membership> {
        let all = self.history.memberships.iter();
        all.filter(|change| change.chat == self.name && change.user == user).collect()
    }

    /// What one device alone shows wrongly.
    fn check_each_view(&self, found: &mut Vec<Violation>) {
        let known: HashSet<&str> = self.sendings().map(|sending| sending.text.as_str()).collect();
        for view in &self.views {
            let (mut seen, mut ids) = (HashSet::new(), HashSet::new());
            for (_, line) in texts(view) {
                if !seen.insert(&line.text) || !ids.insert(&line.id) {
                    let what = format!("{} shows {:?} more than once", view.device, line.text);
                    self.report(found, Invariant::I2, &[&line.text], what);
                }
                if !known.contains(line.text.as_str()) {
                    let what = format!("{} shows {:?}, which nobody wrote", view.device, line.text);
                    self.report(found, Invariant::I1, &[&line.text], what);
                }
                if line.state == "queued" && !self.ever_lapsed(&view.device) {
                    let what = format!("{} still has {:?} waiting after everything was healed", view.device, line.text);
                    self.report(found, Invariant::I7, &[&line.text], what);
                }
            }
            // Whoever came as another device, or was out for a while, may meet what others can read and it cannot.
            if self.ever_lapsed(&view.device) || !self.changes(&view.user).is_empty() {
                continue;
            }
            for line in view.lines.iter().filter(|line| line.kind == "unreadable") {
                let place = line.seq.map_or_else(String::new, |seq| format!(" at {seq}"));
                let what = format!("{} cannot read an entry{place}: {}", view.device, line.text);
                self.report(found, Invariant::I4, &[], what);
            }
        }
    }

    fn sendings(&self) -> impl Iterator<Item = &'a Sending> {
        let name = self.name;
        self.history.sendings.iter().filter(move |sending| sending.chat == name)
    }

    /// The same order everywhere, and each device's own in the order of its requests.
    fn check_orders(&self, found: &mut Vec<Violation>) {
        for (index, one) in self.views.iter().enumerate() {
            for (other_index, other) in self.views.iter().enumerate().skip(index + 1) {
                let (mut last, mut before): (Option<usize>, &str) = (None, "");
                for (_, line) in texts(one).filter(|(_, line)| is_shown(line)) {
                    let Some(place) = self.places[other_index].get(line.text.as_str()).copied() else { continue };
                    if self.may_stand_elsewhere(one, &line.text) || self.may_stand_elsewhere(other, &line.text) {
                        continue;
                    }
                    if last.is_some_and(|last| place < last) {
                        let what = format!(
                            "{} shows {before:?} before {:?}, {} the other way round",
                            one.device, line.text, other.device
                        );
                        self.report(found, Invariant::I3, &[before, &line.text], what);
                        break;
                    }
                    (last, before) = (Some(place), line.text.as_str());
                }
            }
        }
        let devices: BTreeSet<&str> = self.sendings().map(|sending| sending.device.as_str()).collect();
        for device in devices {
            let own: Vec<&Sending> = self.sendings().filter(|one| one.device == device).collect();
            for (view, places) in self.views.iter().zip(&self.places) {
                let mut last: Option<(usize, &Sending)> = None;
                for sending in own.iter().filter(|one| !self.lapsed_on_its_way(one)) {
                    let Some(place) = places.get(sending.text.as_str()).copied() else { continue };
                    if let Some((before, earlier)) = last
                        && place < before
                        // Whose end nobody knows may have been taken later than it was given.
                        && matches!(earlier.outcome, Outcome::Sent | Outcome::Queued)
                        && earlier.returned < sending.invoked
                    {
                        let what = format!(
                            "{} shows {:?} of {device} before {:?}, which was written earlier",
                            view.device, sending.text, earlier.text
                        );
                        self.report(found, Invariant::I3, &[&earlier.text, &sending.text], what);
                        break;
                    }
                    last = Some((place, sending));
                }
            }
        }
    }

    /// One place in the log has one message, and one message one place: the log is no fork.
    fn check_places(&self, found: &mut Vec<Violation>) {
        let (mut at, mut of) = (HashMap::<u64, (&str, &str)>::new(), HashMap::<&str, (u64, &str)>::new());
        for view in &self.views {
            for (_, line) in texts(view).filter(|(_, line)| is_shown(line)) {
                let Some(seq) = line.seq.filter(|_| !self.may_stand_elsewhere(view, &line.text)) else { continue };
                let (text, device) = (line.text.as_str(), view.device.as_str());
                let (there, by) = *at.entry(seq).or_insert((text, device));
                if there != text {
                    let what = format!("at place {seq} {by} shows {there:?} and {device} {text:?}");
                    self.report(found, Invariant::I3, &[there, text], what);
                }
                let (place, by) = *of.entry(text).or_insert((seq, device));
                if place != seq {
                    let what = format!("{text:?} stands at {place} for {by} and at {seq} for {device}");
                    self.report(found, Invariant::I3, &[text], what);
                }
            }
        }
    }

    /// What became of one request.
    fn check_sending(&self, sending: &Sending, found: &mut Vec<Violation>) {
        let text = sending.text.as_str();
        let own = self.views.iter().find(|view| view.device == sending.device);
        let own_line = own.and_then(|view| texts(view).map(|(_, line)| line).find(|line| line.text == text));
        let shown: Vec<&str> = self
            .views
            .iter()
            .zip(&self.places)
            .filter(|(_, places)| places.contains_key(text))
            .map(|(view, _)| view.device.as_str())
            .collect();
        let lapsed = self.lapsed_on_its_way(sending);
        for view in self.views.iter().filter(|view| shown.contains(&view.device.as_str())) {
            if self.is_barred(view, sending) {
                let what = format!("{} reads {text:?}, which was written after it was put out", view.device);
                self.report(found, Invariant::I6, &[text], what);
            }
        }
        if sending.outcome == Outcome::Failed && !shown.is_empty() && !lapsed {
            let what = format!("{} was told that {text:?} was not sent, and {shown:?} show it", sending.device);
            return self.report(found, Invariant::I7, &[text], what);
        }
        let is_certain = sending.outcome == Outcome::Sent || own_line.is_some_and(is_sent) && !lapsed;
        if shown.is_empty() && !is_certain {
            // Nobody has it. That is right for what failed or is not known, and for nothing else.
            let excused = lapsed || own_line.is_some_and(|line| line.state == "failed");
            if sending.outcome == Outcome::Queued && !excused {
                let what = format!("{} took {text:?} and has lost it", sending.device);
                self.report(found, Invariant::I7, &[text], what);
            }
            return;
        }
        let (mut missing, mut others) = (Vec::new(), Vec::new());
        for view in &self.views {
            match shown.contains(&view.device.as_str()) {
                true => others.push(view.device.as_str()),
                false if self.is_entitled(view, sending) => missing.push(view.device.as_str()),
                false => {}
            }
        }
        if missing.is_empty() {
            return;
        }
        let own_says = own_line.map_or("not there", |line| line.state.as_str());
        let what = format!(
            "{text:?} of {} ({:?}; its own device: {own_says}) is shown by {others:?} and not by {missing:?}",
            sending.device, sending.outcome
        );
        let invariant = match () {
            () if sending.probe => Invariant::I5,
            () if is_certain => Invariant::I1,
            () => Invariant::I7,
        };
        self.report(found, invariant, &[text], what);
    }
}

#[cfg(test)]
mod tests;
