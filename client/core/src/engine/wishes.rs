//! What members ask to be changed of a group, on its way into the one commit that the group needs anyway.
//!
//! The invariant: whoever asked hears what became of it, once, and nothing that was asked outlives the connection. It must not
//! know who may do what: the group's rules say so, and the gate holds the commit to them.

use super::{
    Engine, Reply, State,
    commits::Plan,
    directory::{Pinned, signed_list},
    groups::{TOGETHER, check_title},
    membership::{Pace, claimed},
};
use crate::{
    Error, Wish,
    account::username,
    store::{
        chats::{ChatId, ChatRow, Phase},
        contacts,
        own::Own,
    },
    transport::answered,
};
use rusqlite::Connection as Database;
use std::collections::{BTreeMap, BTreeSet};
use waxwing_e2ee::{
    account::IdentityPublicKey,
    mls::{About, Amendment, GroupRules, Kind, Member, Newcomer, Role, SignedList},
};
use waxwing_protocol::{Request, Roster};

type Wished = (Wish, Reply<()>);

/// What was asked about groups and is not done yet. It ends with the connection.
#[derive(Default)]
pub(super) struct Wishes {
    waiting: BTreeMap<ChatId, Vec<Wished>>,
    /// In the commit that is on its way.
    doing: BTreeMap<ChatId, Vec<Wished>>,
    /// Who waits for this device to come into a chat.
    pub(super) entering: Vec<(ChatId, Reply<String>)>,
    /// Members of groups whose identity could not be had on this connection.
    pub(super) out_of_reach: BTreeSet<String>,
}

impl Wishes {
    /// Whether something is asked of this chat.
    pub(super) fn has(&self, chat: ChatId) -> bool {
        self.waiting.contains_key(&chat)
    }

    /// Whether somebody is to be put out of it.
    pub(super) fn removes(&self, chat: ChatId) -> bool {
        self.waiting.get(&chat).is_some_and(|wishes| wishes.iter().any(|(wish, _)| matches!(wish, Wish::Remove(_))))
    }

    /// The commit is in the log.
    pub(super) fn done(&mut self, chat: ChatId) {
        for (_, reply) in self.doing.remove(&chat).into_iter().flatten() {
            drop(reply.send(Ok(())));
        }
    }

    /// The commit was not taken: another one has to be made.
    pub(super) fn again(&mut self, chat: ChatId) {
        if let Some(mut doing) = self.doing.remove(&chat) {
            doing.extend(self.waiting.remove(&chat).into_iter().flatten());
            self.waiting.insert(chat, doing);
        }
    }

    /// None of it will be done.
    pub(super) fn fail(&mut self, chat: ChatId, error: &Error) {
        let all = self.doing.remove(&chat).into_iter().chain(self.waiting.remove(&chat)).flatten();
        all.for_each(|(_, reply)| drop(reply.send(Err(error.clone()))));
        self.entered(chat, &Err(error.clone()));
    }

    /// Nothing that was asked will be heard of.
    pub(super) fn fail_all(&mut self, error: &Error) {
        let chats: BTreeSet<ChatId> = self.waiting.keys().chain(self.doing.keys()).copied().collect();
        chats.into_iter().for_each(|chat| self.fail(chat, error));
        self.entering.drain(..).for_each(|(_, reply)| drop(reply.send(Err(error.clone()))));
        self.out_of_reach.clear();
    }

    /// This device has come into a chat, or will not.
    pub(super) fn entered(&mut self, chat: ChatId, outcome: &Result<String, Error>) {
        let (here, others) = std::mem::take(&mut self.entering).into_iter().partition(|(one, _)| *one == chat);
        self.entering = others;
        let here: Vec<(ChatId, Reply<String>)> = here;
        here.into_iter().for_each(|(_, reply)| drop(reply.send(outcome.clone())));
    }
}

impl Engine {
    /// Has this become part of the chat's next commit.
    pub(super) fn wish(&mut self, row: &ChatRow, wish: Wish, reply: Reply<()>) {
        if row.phase != Phase::Active {
            drop(reply.send(Err(Error::Refused("this device is not in the chat yet".into()))));
            return;
        }
        self.wishes.waiting.entry(row.chat).or_default().push((wish, reply));
        let State::Online(online) = &mut self.reach else { return };
        online.lane(row.chat).settled = false;
        online.unsettled.insert(row.chat, Pace::Now);
        self.dirty.insert(row.chat);
    }

    /// Puts what was asked for into the plan of a commit; says no to what cannot be.
    pub(super) async fn plan_wishes(&mut self, row: &ChatRow, plan: &mut Plan) -> Result<(), Error> {
        let Some(wishes) = self.wishes.waiting.remove(&row.chat) else { return Ok(()) };
        let rules = self.rules_of(row)?;
        for (wish, reply) in wishes {
            if plan.add.len() >= TOGETHER {
                self.wishes.waiting.entry(row.chat).or_default().push((wish, reply));
                continue;
            }
            match self.plan_wish(row, &rules, &wish, plan).await {
                Ok(()) => self.wishes.doing.entry(row.chat).or_default().push((wish, reply)),
                Err(error @ Error::ConnectionLost(_)) => return Err(error),
                Err(error) => drop(reply.send(Err(error))),
            }
        }
        Ok(())
    }

    async fn plan_wish(
        &mut self,
        row: &ChatRow,
        rules: &GroupRules,
        wish: &Wish,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let taking_part = |name: &str| match rules.participant(name) {
            Some(_) => Ok(name.to_owned()),
            None => Err(Error::BadInput(format!("'{name}' is not in this group"))),
        };
        let amended = |plan: &Plan| plan.amend.about.clone().or_else(|| rules.about().cloned()).unwrap_or_default();
        let may_all = rules.kind() == Kind::Room && matches!(wish, Wish::Invite(_));
        if !may_all && !rules.is_admin(&self.own.username) {
            return Err(Error::NotAdmin);
        }
        match wish {
            Wish::Invite(names) => {
                let mut entering = Vec::new();
                for name in names {
                    let name = username(name)?.to_string();
                    if rules.participant(&name).is_some() {
                        return Err(Error::BadInput(format!("'{name}' is in this group already")));
                    }
                    self.meet(&name).await?;
                    entering.push(name);
                }
                self.plan_entries(row, &entering, usize::MAX, plan).await?;
            }
            Wish::Remove(names) => {
                for name in names {
                    if *name == self.own.username {
                        return Err(Error::BadInput("to go yourself, leave the group".into()));
                    }
                    plan.amend.expel.push(taking_part(name)?);
                }
            }
            Wish::Role { username, admin } => {
                let role = if *admin { Role::Admin } else { Role::Member };
                let name = taking_part(username)?;
                let mut after = rules.participants().iter().filter(|one| one.username != name);
                if !admin && !after.any(|one| one.role == Role::Admin) {
                    return Err(Error::BadInput("a group needs an admin: make somebody else one first".into()));
                }
                plan.amend.roles.push((name, role));
            }
            Wish::Name(name) => {
                check_title(name)?;
                if rules.kind() == Kind::Room {
                    return Err(Error::BadInput("a public room keeps its name".into()));
                }
                plan.amend.about = Some(About { name: name.clone(), ..amended(plan) });
            }
            Wish::Topic(topic) => {
                if topic.len() > waxwing_e2ee::mls::TOPIC {
                    return Err(Error::TooLong { length: topic.len(), limit: waxwing_e2ee::mls::TOPIC });
                }
                plan.amend.about = Some(About { topic: topic.clone(), ..amended(plan) });
            }
            Wish::History(messages) => {
                plan.amend.about = Some(About { history: (*messages).min(1000), ..amended(plan) });
            }
        }
        Ok(())
    }

    /// Has these accounts, which were met before, enter with all their devices, until there are so many. Those that are in the
    /// plan already are passed over.
    pub(super) async fn plan_entries(
        &mut self,
        row: &ChatRow,
        names: &[String],
        most: usize,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let (own, id) = (&self.own, row.conversation.unwrap_or_default());
        let planned = |name: &&String| plan.amend.enter.iter().any(|one| one.username == **name);
        let names: Vec<&String> = names.iter().filter(|name| !planned(name)).collect();
        let found = self.kept.with(&mut self.db, &id, |tx, group| {
            let members = group.members().map_err(|error| crate::mls_error(&error))?;
            names.into_iter().map(|name| entry(tx, own, name, &members)).collect::<Result<Vec<_>, _>>()
        })?;
        let mut claims = Vec::new();
        let mut devices = plan.add.len();
        for one in found {
            if devices >= most {
                break;
            }
            devices += one.missing.len();
            // One that let itself in is there already.
            if !one.missing.is_empty() {
                let State::Online(online) = &self.reach else { return Err(self.offline()) };
                let request = Request::ClaimKeyPackages(username(&one.newcomer.username)?);
                claims.push((one.missing, online.connection.caller().begin(request).await));
            }
            plan.lists.push(one.signed);
            plan.amend.enter.push(one.newcomer);
        }
        for (devices, answer) in claims {
            plan.add.extend(claimed(answered(answer).await, &devices)?);
        }
        Ok(())
    }
}

/// What it takes to have an account enter.
struct Entry {
    signed: SignedList,
    newcomer: Newcomer,
    /// Its devices that are not in the group.
    missing: Vec<[u8; 16]>,
}

fn entry(tx: &Database, own: &Own, name: &str, members: &[Member]) -> Result<Entry, Error> {
    let unknown = || Error::UnknownUser(name.to_owned());
    let (signed, list) = signed_list(tx, own, name)?.ok_or_else(unknown)?;
    let identity = (Pinned { tx, own }).current(name)?.ok_or_else(unknown)?;
    let mut former = Vec::new();
    for der in contacts::formers(tx, name)? {
        let key = IdentityPublicKey::from_der(&der).map_err(|error| Error::Storage(error.to_string()))?;
        former.push(key.fingerprint());
    }
    former.retain(|one| *one != identity.fingerprint());
    let is_missing = |id: &[u8; 16]| members.iter().all(|one| one.device != *id);
    let missing = list.list.devices.iter().map(|device| device.id).filter(is_missing).collect();
    Ok(Entry { signed, newcomer: Newcomer { username: name.to_owned(), identity, former }, missing })
}

impl Plan {
    /// The accounts that a commit brings in and takes out, for the server.
    pub(super) fn roster(&self) -> Result<Option<Roster>, Error> {
        let Amendment { enter, leave, expel, .. } = &self.amend;
        if enter.is_empty() && leave.is_empty() && expel.is_empty() {
            return Ok(None);
        }
        let entered = enter.iter().map(|one| username(&one.username)).collect::<Result<_, _>>()?;
        let left = leave.iter().map(|one| &one.username).chain(expel);
        Ok(Some(Roster { entered, left: left.map(|name| username(name)).collect::<Result<_, _>>()? }))
    }
}
