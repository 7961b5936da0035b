//! Who is in a chat's group: exactly the devices that the accounts' newest signed lists name.
//!
//! The invariant: nothing is encrypted for a chat while a device that its account does not list is in its group. The lists
//! decide, and they are verified before they are stored; whoever sees a difference first makes the commit. It must not know
//! how commits travel.

use super::{
    Engine, Online, State,
    commits::{KeyPackage, Plan},
    directory::signed_list,
    groups::TOGETHER,
};
use crate::{
    ChatKind, Error,
    account::{now_ms, username},
    random,
    store::{
        self,
        chats::{self, ChatId, ChatRow, Phase},
        commits, contacts, groups, join_requests, outbox,
        own::Own,
    },
    transport::{Answer, CallError, unexpected},
};
use rand_core::Rng as _;
use rusqlite::Connection as Database;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::Instant;
use waxwing_e2ee::{
    account::VerifiedDeviceList,
    mls::{Amendment, Kind, Leave, Member, Outdated, SignedList},
};
use waxwing_protocol::{Request, Response};

/// So long the devices of an account are left alone to change their own part of a group. Newcomers of a room and those who
/// leave no device is nearer to than another.
const COURTESY: Duration = Duration::from_secs(2);
/// Those who ask at the same time come in together.
const COMPANY: Duration = Duration::from_millis(50);
/// So long it takes until a change is made and the others have heard of it.
const STEP: Duration = Duration::from_millis(300);
/// How often a device without key packages is asked for one on a connection; each pause is twice the one before.
const CLAIMS: u8 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How often to look for keys that are due to be replaced.
const UPDATE_ROUND: Duration = Duration::from_secs(3600);
/// What is due is spread over this time, in milliseconds.
const UPDATE_SPREAD: u64 = 600_000;

/// When a chat's group is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Whether there is something to change is not known yet.
    Look,
    /// Then, if nobody else has done it.
    At(Instant),
    /// As soon as nothing is on the way.
    Now,
}

impl Pace {
    pub(super) fn at(&self) -> Option<Instant> {
        match self {
            Self::At(at) => Some(*at),
            Self::Look | Self::Now => None,
        }
    }
}

/// How long a device leaves to others what any of `size` devices may do; `chance` is any number.
///
/// With each step of time four times as many devices have their turn, and the first of them is alone. So whether all of them
/// are there or a few, few do the same at a time, and nobody waits for long.
fn turn(size: usize, chance: u64) -> Duration {
    let among = u32::try_from(size).unwrap_or(u32::MAX);
    let place = f64::from(among) * f64::from(u16::try_from(chance % 1000).unwrap_or(0)) / 1000.0;
    STEP.mul_f64((1.0 + 3.0 * place).log(4.0))
}

/// The chats whose time has come.
pub(super) fn come_due(unsettled: &mut BTreeMap<ChatId, Pace>, now: Instant) -> Vec<ChatId> {
    let due = unsettled.iter_mut().filter(|(_, pace)| pace.at().is_some_and(|at| at <= now));
    due.map(|(chat, pace)| {
        *pace = Pace::Now;
        *chat
    })
    .collect()
}

/// How one account's devices differ from the group.
struct Difference {
    list: SignedList,
    outdated: Outdated,
    again: Vec<Member>,
    /// Whether the account does not take part yet.
    enters: bool,
}

impl Difference {
    fn is_due(&self) -> bool {
        self.enters || self.outdated.is_due() || !self.again.is_empty()
    }
}

impl Engine {
    /// A chat's group, or a list that it goes by, has changed.
    pub(super) fn unsettle(&mut self, chat: ChatId) {
        let State::Online(online) = &mut self.reach else { return };
        online.lane(chat).settled = false;
        // Whoever waits for the others goes on waiting: what they did may be all that was due.
        online.unsettled.entry(chat).or_insert(Pace::Look);
        self.dirty.insert(chat);
    }

    /// Somebody asks to come in. This device sees to it in its turn, unless another one was faster.
    pub(super) fn note_asker(&mut self, row: &ChatRow, username: &str) -> Result<(), Error> {
        let Some(id) = row.conversation else { return Ok(()) };
        let (size, known) = self
            .kept
            .with(&mut self.db, &id, |_, group| Ok((group.size(), group.rules().participant(username).is_some())))?;
        if known {
            // A device that has lost its state, which its account's others see to first.
            self.unsettle(row.chat);
            return Ok(());
        }
        let at = Instant::now() + COMPANY + turn(size, random().next_u64());
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        let pace = online.unsettled.entry(row.chat).or_insert(Pace::At(at));
        if pace.at().is_some_and(|planned| planned > at) {
            *pace = Pace::At(at);
        }
        Ok(())
    }

    /// As [`Self::unsettle`], for all chats with a user.
    pub(super) fn unsettle_all(&mut self, username: &str) -> Result<(), Error> {
        let own = username == self.own.username;
        let rows = chats::all(&self.db)?.into_iter();
        for row in rows.filter(|row| {
            let concerned = own || row.name == username || ChatKind::of(&row.name) != ChatKind::Direct;
            row.phase == Phase::Active && concerned
        }) {
            self.unsettle(row.chat);
        }
        Ok(())
    }

    /// Brings a chat's group up to date, or begins to. Whether messages may be encrypted for it now.
    pub(super) async fn settle(&mut self, row: &ChatRow) -> Result<bool, Error> {
        let chat = row.chat;
        if let Some(commit) = commits::find(&self.db, chat)? {
            self.post_commit(chat, commit).await?;
            return Ok(false);
        }
        let State::Online(online) = &mut self.reach else { return Ok(false) };
        if online.lane(chat).settled && !online.unsettled.contains_key(&chat) {
            return Ok(true);
        }
        let planned = online.unsettled.get(&chat).and_then(Pace::at).is_some_and(|at| at > Instant::now());
        if online.lane(chat).settled && planned {
            return Ok(true);
        }
        let leaving =
            if ChatKind::of(&row.name) == ChatKind::Direct { Vec::new() } else { self.look_at_group(row).await? };
        let wished = self.wishes.has(chat);
        let (mut differences, mut size) = self.differences(row)?;
        if let Some(stale) = differences.iter().find(|one| one.outdated.stale) {
            let username = stale.list.username.clone();
            self.catch_up_with(row, &username).await?;
            (differences, size) = self.differences(row)?;
        }
        differences.retain(Difference::is_due);
        let update = row.update_at <= now_ms();
        let State::Online(online) = &mut self.reach else { return Ok(false) };
        let pace = online.unsettled.get(&chat).copied().unwrap_or(Pace::Look);
        if differences.is_empty() && leaving.is_empty() && !wished && !(update && matches!(pace, Pace::Now)) {
            let lane = online.lane(chat);
            lane.settled = true;
            let everybody = lane.unreachable.is_empty();
            match (update, pace) {
                (true, Pace::At(_)) => {}
                _ => drop(online.unsettled.remove(&chat)),
            }
            chats::set_settled(&self.db, chat, everybody)?;
            return Ok(true);
        }

        let own = differences.iter().any(|one| one.list.username == self.own.username);
        let open = leaving.is_empty() && differences.iter().all(|one| one.outdated.remove.is_empty());
        // Nobody is nearer to these than others are, and somebody waits.
        let anybodys = !leaving.is_empty() || differences.iter().any(|one| one.enters);
        let waits = !outbox::is_empty(&self.db, chat)?;
        let now = Instant::now();
        let is_idle = differences.is_empty() && leaving.is_empty();
        // The server takes no commit this soon after another one, unless it puts somebody out.
        let spread = online.lane(chat).spread();
        let calm = online.lane(chat).calm_at.filter(|at| open && *at > now && !self.wishes.removes(chat));
        let courtesy = if anybodys { COMPANY } else { COURTESY };
        let turn = calm.unwrap_or(now) + courtesy + turn(size, random().next_u64());
        let mut pausing = online.lane(chat).pausing && !is_idle && pace.at().is_some_and(|at| at > now);
        let at = match pace {
            Pace::Now | Pace::At(_) if !open && waits => None,
            // What was planned may be far off: replacing keys, which nobody waits for.
            Pace::At(at) if at > now => Some(if is_idle { at } else { at.min(turn) }),
            Pace::Look if !own && !wished && (open || !waits) => Some(turn),
            _ if anybodys && !own && !wished => calm.map(|_| turn),
            _ => {
                pausing = calm.is_some();
                calm.map(|at| at + spread)
            }
        };
        let lane = online.lane(chat);
        lane.pausing = pausing;
        if let Some(at) = at {
            // Until then this need not be looked at again.
            lane.settled = open;
            online.unsettled.insert(chat, Pace::At(at));
            return Ok(open);
        }
        online.unsettled.insert(chat, Pace::Now);
        if self.is_busy(chat)? {
            return Ok(false);
        }
        self.change(row, differences, leaving, open).await
    }

    /// Sees to the accounts of a group that this device has not met, and returns the wishes to leave.
    async fn look_at_group(&mut self, row: &ChatRow) -> Result<Vec<Leave>, Error> {
        let id = row.conversation.ok_or_else(|| Error::NotInChat(row.name.clone()))?;
        let (rules, guests) = self.kept.with(&mut self.db, &id, |_, group| {
            let guests = group.guests().map_err(|error| crate::mls_error(&error))?;
            Ok((group.rules().clone(), guests))
        })?;
        let mut names: Vec<String> = groups::askers(&self.db, row.chat)?;
        for name in &names {
            // Whom an admin has put out only an admin's word lets in again.
            let barred = rules.about().is_some_and(|about| about.bars(name));
            if rules.participant(name).is_none() && (rules.kind() != Kind::Room || barred) {
                groups::delete_asker(&self.db, row.chat, name)?;
            }
        }
        names.extend(guests.into_iter().map(|member| member.username));
        names.extend(rules.participants().iter().map(|one| one.username.clone()));
        names.retain(|name| !self.wishes.out_of_reach.contains(name));
        self.meet_all(&names).await?;
        let own = &self.own;
        store::in_transaction(&mut self.db, |tx| {
            let mut wishes = Vec::new();
            for (name, wish) in groups::wishes(tx, row.chat)? {
                match Leave::from_bytes(&wish).filter(|wish| wish.username == name && name != own.username) {
                    Some(wish) if rules.participant(&name).is_some() => wishes.push(wish),
                    _ => groups::delete_wish(tx, row.chat, &name)?,
                }
            }
            Ok(wishes)
        })
    }

    /// Whether something of the chat is on the way, either way: a commit has to be the next thing that happens.
    fn is_busy(&mut self, chat: ChatId) -> Result<bool, Error> {
        let sealed = outbox::lowest_sealed(&self.db, chat)?.is_some();
        let State::Online(online) = &mut self.reach else { return Ok(true) };
        let behind = online.behind.contains(&chat);
        let lane = online.lane(chat);
        Ok(sealed || behind || !lane.is_quiet() || !lane.ahead.is_empty())
    }

    /// Makes the commit and sends it. Whether messages may be encrypted nevertheless.
    async fn change(
        &mut self,
        row: &ChatRow,
        differences: Vec<Difference>,
        leaving: Vec<Leave>,
        open: bool,
    ) -> Result<bool, Error> {
        let chat = row.chat;
        let amend = Amendment { leave: leaving, ..Amendment::default() };
        let mut plan = Plan { lists: Vec::new(), add: Vec::new(), remove: Vec::new(), again: Vec::new(), amend };
        let mut missing = Vec::new();
        let mut entering = Vec::new();
        for one in differences {
            if one.enters {
                entering.push(one.list.username);
                continue;
            }
            let wanted: Vec<[u8; 16]> =
                one.outdated.add.iter().copied().chain(one.again.iter().map(|member| member.device)).collect();
            if !wanted.is_empty() {
                let packages = self.claim_of(&one.list.username, &wanted).await?;
                missing.extend(wanted.into_iter().filter(|device| packages.iter().all(|(id, _)| id != device)));
                plan.add.extend(packages);
            }
            plan.remove.extend(one.outdated.remove);
            plan.again.extend(one.again);
            plan.lists.push(one.list);
        }
        if !entering.is_empty() {
            self.plan_entries(row, &entering, TOGETHER, &mut plan).await?;
        }
        if !missing.is_empty() && open && !self.wishes.has(chat) {
            let State::Online(online) = &mut self.reach else { return Ok(false) };
            let lane = online.lane(chat);
            if lane.claims < CLAIMS {
                // It has just logged in, and its key packages come in a moment.
                let pause = FIRST_PAUSE * 2_u32.pow(lane.claims.into());
                lane.claims += 1;
                online.unsettled.insert(chat, Pace::At(Instant::now() + pause));
                return Ok(true);
            }
        }
        if self.is_busy(chat)? {
            return Ok(false);
        }
        let wished = self.wishes.has(chat);
        self.plan_wishes(row, &mut plan).await?;
        if self.is_busy(chat)? {
            self.wishes.again(chat);
            return Ok(false);
        }
        if wished && !plan.amends() && plan.is_empty() {
            // Nothing of what was asked for can be.
            return Ok(open);
        }
        let made = match self.make_commit(row, &plan) {
            Err(error @ Error::BadInput(_)) if plan.amends() => {
                tracing::warn!(%error, chat = row.name, "a change of a group");
                self.wishes.fail(chat, &error);
                // Should one of these be the reason, it is not tried for ever.
                for wish in &plan.amend.leave {
                    groups::delete_wish(&self.db, chat, &wish.username)?;
                }
                for one in &plan.amend.enter {
                    groups::delete_asker(&self.db, chat, &one.username)?;
                }
                return Ok(open);
            }
            made => made?,
        };
        if !made {
            self.wishes.fail(chat, &Error::Refused("none of their devices can be reached yet".into()));
        }
        let State::Online(online) = &mut self.reach else { return Ok(false) };
        let lane = online.lane(chat);
        lane.unreachable.extend(missing);
        if !made {
            lane.unreachable.extend(plan.add.iter().map(|(device, _)| *device));
            return Ok(open);
        }
        if let Some(commit) = commits::find(&self.db, chat)? {
            self.post_commit(chat, commit).await?;
        }
        Ok(false)
    }

    /// The key packages of these devices that the server has.
    pub(super) async fn claim_of(&mut self, name: &str, devices: &[[u8; 16]]) -> Result<Vec<KeyPackage>, Error> {
        let State::Online(online) = &self.reach else { return Err(self.offline()) };
        let request = Request::ClaimKeyPackages(username(name)?);
        claimed(online.connection.call(request).await, devices)
    }

    /// The group goes by a newer list than the one at hand: fetches the account. If the server's is older too, it hides one.
    async fn catch_up_with(&mut self, row: &ChatRow, username: &str) -> Result<(), Error> {
        self.meet(username).await?;
        let stale = |one: &Difference| one.outdated.stale && one.list.username == username;
        if self.differences(row)?.0.iter().any(stale) {
            let reason = "its device list is older than the one that the chat goes by".to_owned();
            return Err(Error::Untrusted { username: username.to_owned(), reason });
        }
        Ok(())
    }

    /// Compares a chat's group with the newest lists; also says how many devices are in it.
    fn differences(&mut self, row: &ChatRow) -> Result<(Vec<Difference>, usize), Error> {
        let unreachable = match &mut self.reach {
            State::Online(online) => online.lane(row.chat).unreachable.clone(),
            _ => return Ok((Vec::new(), 0)),
        };
        let Some(id) = row.conversation else { return Ok((Vec::new(), 0)) };
        let own = &self.own;
        let checked = &mut self.checked_lists;
        self.kept.with(&mut self.db, &id, |tx, group| {
            let roll = group.roll().map_err(|error| crate::mls_error(&error))?;
            let members = group.members().map_err(|error| crate::mls_error(&error))?;
            let askers = join_requests::all(tx, row.chat)?;
            let rules = group.rules();
            let mut names: BTreeSet<&str> = rules.participants().iter().map(|one| one.username.as_str()).collect();
            if rules.kind() == Kind::Room {
                let barred = |name: &str| rules.about().is_some_and(|about| about.bars(name));
                names.extend(askers.keys().map(String::as_str).filter(|name| !barred(name)));
                names.extend(members.iter().map(|member| member.username.as_str()));
            }
            let signed = |name: &str| {
                let signed = signed_list(tx, own, name)?.map(|(signed, _)| signed);
                signed.ok_or_else(|| Error::UnknownUser(name.to_owned()))
            };
            let mut all = Vec::new();
            for name in names {
                let Some(known) = checked.find(tx, own, name)? else { continue };
                let Some(participant) = rules.participant(name) else {
                    let outdated = Outdated::default();
                    all.push(Difference { list: signed(name)?, outdated, again: Vec::new(), enters: true });
                    continue;
                };
                let fixed = known.identity == participant.identity || participant.former.contains(&known.identity);
                if rules.kind() != Kind::Direct
                    && !fixed
                    && contacts::former(tx, name, &participant.identity)?.is_none()
                {
                    // Whoever let it in has shown another identity than we know.
                    return Err(Error::IdentityChanged(name.to_owned()));
                }
                let mut outdated = group.outdated_by(&roll, &known.list);
                outdated.add.retain(|device| !unreachable.contains(device));
                let mut again = match askers.get(name) {
                    Some(devices) => asking(tx, own, row.chat, devices, &known.list, &members)?,
                    None => Vec::new(),
                };
                again.retain(|member| !unreachable.contains(&member.device));
                if outdated.is_due() || outdated.stale || !again.is_empty() {
                    all.push(Difference { list: signed(name)?, outdated, again, enters: false });
                }
            }
            Ok((all, members.len()))
        })
    }

    /// Answers those who wait until no group has to be changed by this device.
    pub(super) fn note_settled(&mut self) -> Result<(), Error> {
        let State::Online(online) = &self.reach else { return Ok(()) };
        let due = |(chat, pace): (&ChatId, &Pace)| {
            matches!(pace, Pace::Look | Pace::Now) || online.lanes.get(chat).is_some_and(|lane| lane.pausing)
        };
        if self.waiting_for_settled.is_empty() || !online.caught_up || online.unsettled.iter().any(due) {
            return Ok(());
        }
        if commits::chats(&self.db)?.is_empty() {
            self.waiting_for_settled.drain(..).for_each(|waiting| drop(waiting.send(Ok(()))));
        }
        Ok(())
    }

    /// From time to time, has keys replaced that are old.
    pub(super) fn plan_updates(&mut self, now: Instant) -> Result<(), Error> {
        let State::Online(online) = &mut self.reach else { return Ok(()) };
        if online.update_at > now || !online.caught_up {
            return Ok(());
        }
        online.update_at = now + UPDATE_ROUND;
        for chat in chats::update_due(&self.db, now_ms())? {
            let at = now + Duration::from_millis(random().next_u64() % UPDATE_SPREAD);
            online.unsettled.entry(chat).or_insert(Pace::At(at));
        }
        Ok(())
    }
}

impl Online {
    /// A device of this account, or another one, has come to have key packages: it may be asked for again.
    pub(super) fn may_reach(&mut self, chat: ChatId, device: &[u8; 16]) {
        let lane = self.lane(chat);
        if lane.unreachable.remove(device) {
            lane.claims = 0;
        }
    }
}

/// The key packages of these devices, of those that the server has handed out.
pub(super) fn claimed(answer: Answer, devices: &[[u8; 16]]) -> Result<Vec<KeyPackage>, Error> {
    let Response::KeyPackages(claimed) = answer.map_err(CallError::into_error)? else { return Err(unexpected()) };
    let wanted = claimed.into_iter().filter(|one| devices.contains(&one.device.0));
    Ok(wanted.filter_map(|one| one.key_package.map(|package| (one.device.0, package.0))).collect())
}

/// The devices that asked to be added again, of those of an account that are in the group and should be.
fn asking(
    tx: &Database,
    own: &Own,
    chat: ChatId,
    devices: &[[u8; 16]],
    list: &VerifiedDeviceList,
    members: &[Member],
) -> Result<Vec<Member>, Error> {
    let mut again = Vec::new();
    for device in devices {
        let member = members.iter().find(|one| one.device == *device && one.username == list.list.username);
        match member {
            Some(member) if *device != own.device => again.push(member.clone()),
            // Not in the group: it is added if it is listed, and else there is nothing to do.
            None if list.list.device(device).is_some() => {}
            _ => join_requests::delete(tx, chat, device)?,
        }
    }
    Ok(again)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_have_their_turn_at_once_whether_all_are_there_or_a_few() {
        for (there, size) in [(1_u64, 250), (2, 2), (10, 250), (100, 100), (250, 250)] {
            let chances = (0..there).map(|number| (number * 1000 + 500) / there);
            let turns: Vec<Duration> = chances.map(|chance| turn(size, chance)).collect();
            let first = turns.iter().min().copied().unwrap_or_default();
            let together = turns.iter().filter(|one| **one < first + STEP).count();
            assert!(together <= 4, "{together} of {there} in a group of {size}");
            assert!(turns.iter().all(|one| *one < 5 * STEP), "{turns:?}");
        }
    }
}
