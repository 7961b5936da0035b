//! Who may change a group: accounts that come and go, roles, name and topic.
//!
//! The invariant: an admin may; anybody else may only do what the account concerned has signed, and in a room let others in.
//! This module must not know leaves' keys beyond who signed a wish to leave.

use super::{Gate, Raised, Seat};
use crate::mls::{GroupRules, Kind, Leave, Refused};
use openmls::prelude::MlsGroup;
use std::collections::{BTreeMap, BTreeSet};

impl Gate<'_> {
    /// The accounts that have said that they want to go.
    pub(super) fn wished(
        &self,
        group: &MlsGroup,
        before: &BTreeMap<u32, Seat>,
        leaves: &[Leave],
    ) -> Result<BTreeSet<String>, Refused> {
        let id: [u8; 16] = group.group_id().as_slice().try_into().map_err(|_| Refused::Leave)?;
        let holds = |leave: &Leave| {
            let since = self.rules.participant(&leave.username).map_or(Some(0), |one| one.since);
            let of = |seat: &&Seat| seat.member.username == leave.username && seat.member.device == leave.device;
            since.is_some_and(|since| since <= leave.epoch)
                && leave.epoch <= group.epoch().as_u64()
                && before.values().find(of).is_some_and(|seat| leave.is_signed_by(&seat.key, &id, &seat.encryption_key))
        };
        if !leaves.iter().all(holds) {
            return Err(Refused::Leave);
        }
        Ok(leaves.iter().map(|leave| leave.username.clone()).collect())
    }

    /// The accounts that go with this commit, and whether they may be made to.
    pub(super) fn going(
        &self,
        by: &Seat,
        proposed: Option<&GroupRules>,
        removed: &[Seat],
        wished: &BTreeSet<String>,
    ) -> Result<BTreeSet<String>, Refused> {
        if self.rules.kind() == Kind::Direct {
            return if wished.is_empty() { Ok(BTreeSet::new()) } else { Err(Refused::Leave) };
        }
        let stays = |username: &str| proposed.unwrap_or(self.rules).participant(username).is_some();
        let participants = self.rules.participants().iter().map(|one| &one.username);
        // A guest has no entry that could be struck out.
        let guests = removed.iter().map(|seat| &seat.member.username);
        let guests = guests.filter(|username| self.rules.participant(username).is_none());
        let going: BTreeSet<String> = participants.chain(guests).filter(|username| !stays(username)).cloned().collect();
        let committer = &by.member.username;
        if !self.rules.is_admin(committer) && !going.is_subset(wished) {
            return Err(Refused::NotAdmin(committer.clone()));
        }
        if wished.is_subset(&going) { Ok(going) } else { Err(Refused::Leave) }
    }

    /// The rules change exactly as the lists say, and as far as the committer may change them; and the join key of all but
    /// rooms, if somebody goes who knows it.
    pub(super) fn rules_follow(
        &self,
        by: &Seat,
        change: Option<GroupRules>,
        raised: &Raised,
        removal: bool,
        going: &BTreeSet<String>,
    ) -> Result<(), Refused> {
        let (committer, kind) = (&by.member.username, self.rules.kind());
        let admin = self.rules.is_admin(committer);
        if kind != Kind::Direct && !admin {
            if let Some(barred) = raised.entered.iter().find(|username| self.rules.bars(username)) {
                return Err(Refused::Barred(barred.clone()));
            }
            if kind == Kind::Group && !raised.entered.is_empty() {
                return Err(Refused::NotAdmin(committer.clone()));
            }
        }
        let mut implied = raised.rules.clone();
        implied.strike(|username| going.contains(username));
        if let Some(change) = &change {
            let amended = self.amend(implied, change)?;
            if amended.1 && !admin {
                return Err(Refused::NotAdmin(committer.clone()));
            }
            implied = amended.0;
        }
        if kind != Kind::Room && (removal || !going.is_empty()) {
            implied = match &change {
                Some(change) if change.join_key() != self.rules.join_key() => {
                    implied.with_join_key(change.join_key().clone())
                }
                _ => return Err(Refused::RulesChange),
            };
        }
        let follows = match change {
            Some(change) => change == implied && change != *self.rules,
            None => implied == *self.rules,
        };
        if follows { Ok(()) } else { Err(Refused::RulesChange) }
    }

    /// Takes over what an admin may change at will; says whether there was any such change.
    fn amend(&self, mut rules: GroupRules, change: &GroupRules) -> Result<(GroupRules, bool), Refused> {
        let (Some(old), Some(new)) = (self.rules.about(), change.about()) else { return Ok((rules, false)) };
        if self.rules.kind() == Kind::Room && old.name != new.name {
            return Err(Refused::RulesChange);
        }
        let mut amended = old != new;
        for one in change.participants() {
            if rules.participant(&one.username).is_some_and(|known| known.role != one.role) {
                amended = true;
                rules.set_role(&one.username, one.role);
            }
        }
        Ok((rules.with_about(Some(new.clone())), amended))
    }
}
