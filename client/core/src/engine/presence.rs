//! Presence: who is there, told in signals by devices whose user looks at a screen, believed for a while, kept nowhere.
//!
//! The invariant: a user who hides, or whose front end says nothing, is told of to nobody; and nobody is believed to be there
//! for long who does not say so again. It must not know groups, nor how signals travel.
//!
//! Whoever comes says so and asks. Where few are, each answers for itself. Where many are, somebody answers for all after a
//! random moment, and the others keep quiet if what was said of them is true. Afterwards each repeats itself now and then,
//! the more rarely the more there are, and only while somebody else is there to hear it.

use super::{Engine, State, settings};
use crate::{
    Error, Event, Presence, Present, random,
    store::chats::{self, ChatId, ChatRow, Phase},
};
use rand_core::Rng as _;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};
use tokio::time::Instant;
use waxwing_e2ee::content::{Body, PLACES, Presence as Said, There};

/// How long a front end is believed without saying it again.
const FRONT_END: Duration = Duration::from_secs(180);
/// Between two repetitions, where few are.
const BEAT: Duration = Duration::from_secs(120);
/// Between two repetitions, for each member.
const BEAT_EACH: Duration = Duration::from_secs(2);
/// So many beats may be missing.
const BELIEVED: f64 = 2.5;
/// Up to so many members each answers for itself.
const FEW: usize = 8;
/// Within so long for each member an answer comes, but not later than [`LATEST`].
const ANSWER_EACH: Duration = Duration::from_millis(40);
const LATEST: Duration = Duration::from_secs(3);
/// Between two answers of ours in a chat: whoever asks without end is not answered without end.
const PAUSE: Duration = Duration::from_secs(3);
/// In so many chats this device says that its user is there: those in which it has written most.
const CHATS: usize = 64;

/// What a device says to a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// It is there still.
    Beat,
    /// Somebody has asked.
    Answer,
}

#[derive(Debug)]
struct Seen {
    there: There,
    until: Instant,
}

/// What is known of a chat.
#[derive(Debug, Default)]
struct Company {
    name: String,
    size: usize,
    seen: BTreeMap<String, Seen>,
    /// When each has said something last, by their own clocks: what is not newer is a repetition by the server.
    heard: BTreeMap<String, u64>,
    /// When this device has said something there.
    said_at: Option<Instant>,
    asked_at: Option<Instant>,
    next: Option<(Instant, Cause)>,
    /// What listeners were told.
    told: BTreeMap<String, Presence>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Presences {
    /// Whether the user shows.
    shown: bool,
    /// What a front end said of its user, and until when that counts.
    front: Option<(There, Instant)>,
    /// Whether the others have to be told, and are asked.
    pub(super) due: bool,
    /// The chats that this device has just come into.
    greet: BTreeSet<ChatId>,
    chats: HashMap<ChatId, Company>,
}

fn beat(size: usize) -> Duration {
    BEAT.max(BEAT_EACH * u32::try_from(size).unwrap_or(u32::MAX))
}

/// When an answer comes; `chance` is any number.
fn answer_after(size: usize, chance: u64) -> Duration {
    let within = (ANSWER_EACH * u32::try_from(size).unwrap_or(u32::MAX)).min(LATEST);
    within * u32::try_from(chance % 1000).unwrap_or(0) / 1000
}

fn presence(there: There) -> Presence {
    match there {
        There::Here => Presence::Here,
        There::Away => Presence::Away,
        There::Gone | There::Unsaid => Presence::Gone,
    }
}

impl Company {
    fn is_there(&self, username: &str, now: Instant) -> There {
        self.seen.get(username).filter(|seen| seen.until > now).map_or(There::Unsaid, |seen| seen.there)
    }

    fn others_are_there(&self, me: &str, now: Instant) -> bool {
        self.seen.iter().any(|(name, seen)| name != me && seen.until > now && seen.there > There::Gone)
    }

    fn believe(&mut self, username: &str, there: There, now: Instant) {
        let until = now + beat(self.size).mul_f64(BELIEVED);
        self.seen.insert(username.to_owned(), Seen { there, until });
    }

    fn answer(&mut self, at: Instant) {
        self.next = Some((self.next.map_or(at, |(known, _)| known.min(at)), Cause::Answer));
    }

    /// Takes in what was said, by whom and when by their clock; `own` is what this device says of its user, if it says anything.
    fn take(
        &mut self,
        me: &str,
        (from, said_at): (&str, u64),
        said: &Said,
        members: &[String],
        own: There,
        now: Instant,
    ) {
        self.size = members.len();
        if self.heard.get(from).is_some_and(|heard| *heard >= said_at) {
            return;
        }
        self.heard.insert(from.to_owned(), said_at);
        let knew = self.is_there(from, now) > There::Gone;
        if said.own != There::Unsaid {
            self.believe(from, said.own, now);
        }
        for (name, there) in members.iter().zip(&said.others) {
            // Of who has said nothing here: worth as much as the word of who says it.
            if *there > There::Gone && name != me && name != from && self.is_there(name, now) == There::Unsaid {
                self.believe(name, *there, now);
            }
        }
        if own == There::Unsaid {
            return;
        }
        let place = members.iter().position(|name| name == me).and_then(|place| said.others.get(place));
        if place == Some(&own) && !said.ask {
            // Whoever asked knows it now.
            self.next = Some((now + beat(self.size), Cause::Beat));
            return;
        }
        let chance = random().next_u64();
        let pause = self.said_at.map_or(now, |at| at + PAUSE).max(now);
        if from == me {
            if said.own != There::Unsaid && said.own < own {
                // Another device of this account has gone, or is away: this one is not.
                self.answer(pause);
            }
        } else if said.ask || (!knew && said.own > There::Gone && self.said_at.is_none_or(|at| at + BEAT <= now)) {
            self.answer(pause.max(now + answer_after(self.size, chance)));
        } else if said.own > There::Gone && self.next.is_none() {
            self.next = Some((now + beat(self.size), Cause::Beat));
        }
    }

    /// What is to be said now.
    fn say(&mut self, me: &str, members: &[String], own: There, now: Instant) -> Option<Said> {
        let (_, cause) = self.next.take_if(|(at, _)| *at <= now)?;
        self.size = members.len();
        let others = self.others_are_there(me, now);
        if own == There::Unsaid || (cause == Cause::Beat && !others) {
            return None;
        }
        self.next = others.then_some((now + beat(self.size), Cause::Beat));
        if cause == Cause::Beat && self.is_there(me, now) > own {
            // Another device of this account speaks for the user.
            return None;
        }
        self.said_at = Some(now);
        let others = match cause {
            Cause::Answer if (FEW + 1..=PLACES).contains(&members.len()) => {
                let one = |name: &String| if name == me { own } else { self.is_there(name, now) };
                members.iter().map(one).collect()
            }
            _ => Vec::new(),
        };
        Some(Said { own, ask: false, others })
    }

    /// What listeners do not know yet.
    fn news(&mut self, now: Instant) -> Vec<Event> {
        self.seen.retain(|_, seen| seen.until > now);
        let here = self.seen.iter().map(|(name, seen)| (name.clone(), presence(seen.there)));
        let here: BTreeMap<String, Presence> = here.filter(|(_, presence)| *presence > Presence::Gone).collect();
        let mut all = Vec::new();
        for name in self.told.keys().chain(here.keys()).collect::<BTreeSet<_>>() {
            let (before, after) = (self.told.get(name).copied(), here.get(name).copied());
            if before != after {
                let presence = after.unwrap_or_default();
                all.push(Event::Presence(Present { chat: self.name.clone(), username: name.clone(), presence }));
            }
        }
        self.told = here;
        all
    }
}

impl Presences {
    pub(super) fn new(shown: bool) -> Self {
        Self { shown, front: None, due: false, greet: BTreeSet::new(), chats: HashMap::new() }
    }

    /// What this device says of its user; unsaid if no front end looks after it.
    fn own(&self, now: Instant) -> There {
        self.front.filter(|(_, until)| *until > now).map_or(There::Unsaid, |(there, _)| there)
    }

    /// When something has to be said, or is believed no longer.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let chats = self.chats.values().flat_map(|company| {
            let until = company.seen.values().map(|seen| seen.until);
            until.chain(company.next.map(|(at, _)| at))
        });
        chats.chain(self.front.map(|(_, until)| until)).min()
    }

    /// Nothing is known of anybody any more.
    pub(super) fn forget(&mut self, now: Instant) -> Vec<Event> {
        for company in self.chats.values_mut() {
            company.seen.clear();
            (company.said_at, company.asked_at, company.next) = (None, None, None);
        }
        self.chats.values_mut().flat_map(|company| company.news(now)).collect()
    }

    /// This device has come into a chat.
    pub(super) fn enter(&mut self, chat: ChatId) {
        self.greet.insert(chat);
    }

    fn company(&mut self, row: &ChatRow) -> &mut Company {
        let company = self.chats.entry(row.chat).or_default();
        company.name.clone_from(&row.name);
        company
    }
}

impl Engine {
    /// A front end says how its user is; it does so again every minute, else it is not believed for long.
    pub(crate) fn set_presence(&mut self, presence: Presence) -> Result<(), Error> {
        let now = Instant::now();
        let there = match presence {
            Presence::Here => There::Here,
            Presence::Away => There::Away,
            Presence::Gone => There::Gone,
        };
        let known = self.presence.own(now);
        if there == There::Gone && known == There::Unsaid {
            return Ok(());
        }
        self.presence.front = Some((there, now + FRONT_END));
        if known != there {
            self.announce(there, matches!(known, There::Unsaid | There::Gone))?;
        }
        if there == There::Gone {
            self.presence.front = None;
        }
        Ok(())
    }

    /// The user hides from now on, or shows again, as said here or on another device.
    fn note_shown(&mut self, shown: bool, now: Instant) -> Result<(), Error> {
        self.presence.shown = shown;
        if shown {
            self.presence.due = true;
        } else {
            if self.presence.own(now) != There::Unsaid {
                self.say_to(&self.company_kept()?, There::Gone, false)?;
            }
            self.presence.forget(now).iter().for_each(|event| self.tell(event));
        }
        Ok(())
    }

    /// Asks who is there, in a chat or in those that are used most; says whether that was necessary, and answers are on their
    /// way. Whoever hides does not ask.
    pub(crate) fn ask_presence(&mut self, chat: Option<&str>) -> Result<bool, Error> {
        if !matches!(self.reach, State::Online(_)) || !settings::is_on(&self.db, settings::PRESENCE)? {
            return Ok(false);
        }
        let asked = match chat {
            Some(name) => chats::by_name(&self.db, name)?.into_iter().map(|row| row.chat).collect(),
            None => self.company_kept()?,
        };
        let now = Instant::now();
        let known = |chat: &ChatId| {
            self.presence.chats.get(chat).and_then(|company| company.asked_at).is_some_and(|at| at + PAUSE <= now)
        };
        // What was asked once is kept up by those who come and go, as long as this device is there itself.
        let own = self.presence.own(now);
        let asked: Vec<ChatId> = asked.into_iter().filter(|chat| own == There::Unsaid || !known(chat)).collect();
        self.say_to(&asked, own, true)?;
        Ok(!asked.is_empty())
    }

    /// Who is there, chat by chat.
    pub(crate) fn present(&self) -> Vec<Present> {
        let of = |company: &Company| {
            let name = company.name.clone();
            let one = move |(username, presence): (&String, &Presence)| Present {
                chat: name.clone(),
                username: username.clone(),
                presence: *presence,
            };
            company.told.iter().map(one).collect::<Vec<_>>()
        };
        self.presence.chats.values().flat_map(of).collect()
    }

    /// What this device's user is to the others.
    pub(crate) fn own_presence(&self) -> Result<Presence, Error> {
        let shown = settings::is_on(&self.db, settings::PRESENCE)?;
        Ok(if shown { presence(self.presence.own(Instant::now())) } else { Presence::Gone })
    }

    /// The chats that are told, and asked.
    fn company_kept(&self) -> Result<Vec<ChatId>, Error> {
        chats::busiest(&self.db, CHATS)
    }

    fn announce(&mut self, there: There, ask: bool) -> Result<(), Error> {
        if !matches!(self.reach, State::Online(_)) || !settings::is_on(&self.db, settings::PRESENCE)? {
            return Ok(());
        }
        self.say_to(&self.company_kept()?, there, ask && there != There::Gone)
    }

    fn say_to(&mut self, all: &[ChatId], own: There, ask: bool) -> Result<(), Error> {
        let now = Instant::now();
        for chat in all {
            let Some(row) = chats::find(&self.db, *chat)? else { continue };
            let held = match &self.reach {
                State::Online(online) => online.held.contains_key(&row.name),
                _ => return Ok(()),
            };
            let nobody = row.phase != Phase::Active || row.name == self.own.username;
            if nobody || held || settings::is_quiet(&self.db, row.chat)? {
                continue;
            }
            let size = self.signal_keys(&row).map_or(0, |keys| keys.members().len());
            let company = self.presence.company(&row);
            company.size = size;
            if own != There::Unsaid {
                company.said_at = Some(now);
                company.next = Some((now + beat(size), Cause::Beat)).filter(|_| own > There::Gone);
            }
            if ask {
                company.asked_at = Some(now);
            }
            self.signals.say(row.chat, Body::Presence(Said { own, ask, others: Vec::new() }));
        }
        Ok(())
    }

    /// Says what is due, and lets go what is believed no longer.
    pub(super) fn tend_presence(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        let shown = settings::is_on(&self.db, settings::PRESENCE)?;
        if shown != self.presence.shown {
            self.note_shown(shown, now)?;
        }
        if self.presence.front.is_some_and(|(_, until)| until <= now) {
            // The front end has gone without a word.
            self.presence.front = None;
            self.announce(There::Gone, false)?;
        }
        let own = self.presence.own(now);
        if std::mem::take(&mut self.presence.due) && own != There::Unsaid {
            self.announce(own, true)?;
        }
        let greet = std::mem::take(&mut self.presence.greet);
        if own != There::Unsaid && !greet.is_empty() && shown {
            self.say_to(&greet.into_iter().collect::<Vec<_>>(), own, true)?;
        }
        let is_due = |company: &Company| company.next.is_some_and(|(at, _)| at <= now);
        let due = self.presence.chats.iter().filter(|(_, company)| is_due(company)).map(|(chat, _)| *chat);
        for chat in due.collect::<Vec<_>>() {
            let keys = match chats::find(&self.db, chat)?.filter(|row| row.phase == Phase::Active) {
                Some(row) => self.signal_keys(&row),
                None => None,
            };
            let Some(company) = self.presence.chats.get_mut(&chat) else { continue };
            let Some(keys) = keys else {
                company.next = None;
                continue;
            };
            if let Some(said) = company.say(&self.own.username, keys.members(), own, now) {
                self.signals.say(chat, Body::Presence(said));
            }
        }
        let news: Vec<Event> = self.presence.chats.values_mut().flat_map(|company| company.news(now)).collect();
        news.iter().for_each(|event| self.tell(event));
        Ok(())
    }

    /// Somebody has said who is there.
    pub(super) fn take_presence(
        &mut self,
        row: &ChatRow,
        from: &str,
        said: &Said,
        said_at: u64,
        members: &[String],
    ) -> Result<(), Error> {
        if !settings::is_on(&self.db, settings::PRESENCE)? {
            return Ok(());
        }
        let now = Instant::now();
        let (me, own) = (self.own.username.clone(), self.presence.own(now));
        let company = self.presence.company(row);
        company.take(&me, (from, said_at), said, members, own, now);
        company.news(now).iter().for_each(|event| self.tell(event));
        Ok(())
    }

    /// Somebody who is known to be there has done something: is there still.
    pub(super) fn heard_of(&mut self, row: &ChatRow, from: &str) {
        let now = Instant::now();
        let Some(company) = self.presence.chats.get_mut(&row.chat) else { return };
        if company.is_there(from, now) > There::Gone {
            company.believe(from, There::Here, now);
            company.news(now).iter().for_each(|event| self.tell(event));
        }
    }
}

#[cfg(test)]
mod tests;
