//! Changes of a group: what is due, and the one commit that does it.
//!
//! The invariant: our own commit passes the gate that everyone else will put it through, before it leaves. This module
//! must not know where lists and key packages come from.

use super::{
    super::{
        policy::{Seat, seats},
        signed_list,
        signed_list::Shown,
    },
    *,
};
use crate::{
    account::{IdentityPublicKey, VerifiedDeviceList},
    mls::{About, Kind, Leave, Participant, Role, key_package::body},
};
use openmls::prelude::{KeyPackage, LeafNodeIndex, LeafNodeParameters, MlsMessageBodyIn, MlsMessageOut, Sender};
use rsa::rand_core::UnwrapErr;
use std::collections::BTreeMap;

/// Up to this many devices the state of a group is left on the server; it grows with each of them.
const SHARED_STATE: usize = 50;

/// What a commit shall do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change<'a> {
    /// The signed lists of all accounts whose devices come or go, and of those whose list is newer than the group's.
    pub lists: &'a [SignedList],
    /// Key packages of devices to add, as the server handed them out.
    pub add: &'a [Vec<u8>],
    /// Devices to remove. The join key is replaced then. One that is also added anew has lost its state.
    pub remove: &'a [Member],
    /// Fresh keys for this device's own leaf: due soon after joining and then about weekly. Any other change but a mere
    /// addition brings them too.
    pub update: bool,
    /// What else shall change of a group or a room.
    pub amend: Option<&'a Amendment>,
}

/// A change of a group or a room. Whoever is not an admin may only enter accounts into a room, and carry out others' wishes
/// to leave.
#[derive(Clone, Debug, Default)]
pub struct Amendment {
    /// Accounts that take part from now on; their lists are in [`Change::lists`].
    pub enter: Vec<Newcomer>,
    /// Wishes to leave. All devices of these accounts are removed.
    pub leave: Vec<Leave>,
    /// Accounts to put out, with all their devices. A room bars them.
    pub expel: Vec<String>,
    /// New roles.
    pub roles: Vec<(String, Role)>,
    /// Another name, topic, way with newcomers; who is barred is taken over from the group, whatever stands here.
    pub about: Option<About>,
}

/// An account that is to take part.
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// Its name.
    pub username: String,
    /// Its identity.
    pub identity: IdentityPublicKey,
    /// Fingerprints of its former ones, oldest first.
    pub former: Vec<[u8; 32]>,
}

/// A commit that waits for the server's verdict; the group stays in its epoch until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// For the log of the conversation.
    pub commit: Vec<u8>,
    /// For the devices that it adds, all the same one; to be sent only once the commit is accepted.
    pub welcome: Option<Vec<u8>>,
    /// The state of the group after the commit, sealed under the join key that is valid then: for the server, to hand
    /// to devices that join by themselves. `None` if the group is too large.
    pub group_info: Option<Vec<u8>>,
    /// The devices that it adds, as their key packages prove.
    pub added: Vec<Member>,
}

/// How a group differs from an account's device list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outdated {
    /// Devices that are listed and not in the group, or there with another key.
    pub add: Vec<[u8; 16]>,
    /// Devices in the group that are not listed, or with another key.
    pub remove: Vec<Member>,
    /// The group goes by an older list.
    pub raise: bool,
    /// The group goes by a newer list, or another one of the same version: the list at hand says nothing, and the newest
    /// has to be fetched.
    pub stale: bool,
}

impl Outdated {
    /// Whether a commit is due.
    pub fn is_due(&self) -> bool {
        !self.add.is_empty() || !self.remove.is_empty() || self.raise
    }
}

impl Amendment {
    fn identity(&self, username: &str) -> Option<IdentityPublicKey> {
        self.enter.iter().find(|one| one.username == username).map(|one| one.identity.clone())
    }

    fn newcomer(&self, username: &str, since: u64) -> Option<Participant> {
        let one = self.enter.iter().find(|one| one.username == username)?;
        Some(Participant {
            username: one.username.clone(),
            identity: one.identity.fingerprint(),
            list_version: 0,
            list_hash: [0; 32],
            role: Role::Member,
            former: one.former.clone(),
            since: Some(since),
        })
    }
}

/// Who has which leaves of a group, by account.
pub struct Roll(BTreeMap<String, Vec<Seat>>);

impl fmt::Debug for Roll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roll").field("accounts", &self.0.len()).finish_non_exhaustive()
    }
}

impl Group<'_> {
    /// The signed wish of this device's account to leave, for whoever commits it.
    ///
    /// # Errors
    /// [`MlsError::Refused`] if the account is the last admin and others take part.
    pub fn leave(&self, device: &Device) -> Result<Leave, MlsError> {
        let mut others = self.rules.participants().iter().filter(|one| one.username != device.username);
        let sole = self.rules.is_admin(&device.username) && !others.any(|one| one.role == Role::Admin);
        if sole && self.rules.participants().len() > 1 {
            return Err(Refused::LastAdmin.into());
        }
        let seats = seats(&self.group)?;
        let leaf = seats.get(&self.group.own_leaf_index().u32()).ok_or(MlsError::NotThisEpoch)?;
        Leave::sign(device, &self.id, self.epoch(), &leaf.encryption_key)
    }

    /// The accounts of devices that let themselves into this room and were not entered yet.
    ///
    /// # Errors
    /// None for a group that has passed the gate.
    pub fn guests(&self) -> Result<Vec<Member>, MlsError> {
        let members = self.members()?.into_iter();
        Ok(members.filter(|member| self.rules.participant(&member.username).is_none()).collect())
    }

    /// Compares the group with the newest list of an account; nothing is due if the account does not take part and has no
    /// device in it.
    ///
    /// # Errors
    /// None for a group that has passed the gate.
    pub fn outdated(&self, list: &VerifiedDeviceList) -> Result<Outdated, MlsError> {
        Ok(self.outdated_by(&self.roll()?, list))
    }

    /// Who has which leaves, for comparing many lists with the group as it is now.
    ///
    /// # Errors
    /// None for a group that has passed the gate.
    pub fn roll(&self) -> Result<Roll, MlsError> {
        let mut by_account: BTreeMap<String, Vec<Seat>> = BTreeMap::new();
        for seat in seats(&self.group)?.into_values() {
            by_account.entry(seat.member.username.clone()).or_default().push(seat);
        }
        Ok(Roll(by_account))
    }

    /// As [`Group::outdated`], by the group's roll.
    pub fn outdated_by(&self, roll: &Roll, list: &VerifiedDeviceList) -> Outdated {
        let username = &list.list.username;
        let (version, known) = (list.list.version, self.rules.participant(username));
        if known.is_some_and(|one| {
            version < one.list_version || (version == one.list_version && list.hash != one.list_hash)
        }) {
            return Outdated { stale: true, ..Outdated::default() };
        }
        let seats = roll.0.get(username).map(Vec::as_slice).unwrap_or_default();
        if known.is_none() && seats.is_empty() {
            return Outdated::default();
        }
        let (listed, unlisted): (Vec<&Seat>, Vec<&Seat>) = seats.iter().partition(|seat| seat.is_in(list));
        let missing = |id: &[u8; 16]| !listed.iter().any(|seat| seat.member.device == *id);
        Outdated {
            add: list.list.devices.iter().map(|device| device.id).filter(missing).collect(),
            remove: unlisted.into_iter().map(|seat| seat.member.clone()).collect(),
            raise: known.is_none_or(|one| version > one.list_version),
            stale: false,
        }
    }

    /// Prepares one commit that does all of `change`, and enters newer lists and new identities into the rules.
    ///
    /// # Errors
    /// [`MlsError::Refused`] if a key package, a list or the change is against the rules or a device to be removed is not
    /// there; [`MlsError::Malformed`] if a key package cannot be read; [`MlsError::UnknownIdentity`];
    /// [`MlsError::CommitPending`]; [`MlsError::Mls`] if this device is to be removed.
    pub fn prepare(
        &mut self,
        device: &Device,
        identities: &dyn Identities,
        change: Change<'_>,
    ) -> Result<Prepared, MlsError> {
        // openmls would silently replace it, and then merge the wrong one if the server had taken the first.
        if self.has_pending_commit() {
            return Err(MlsError::CommitPending);
        }
        self.step(|group, provider| {
            let gate = Gate::new(&group.rules, identities);
            let amend = change.amend.cloned().unwrap_or_default();
            if let Some(twice) = amend.enter.iter().find(|one| group.rules.participant(&one.username).is_some()) {
                return Err(Refused::TakesPart(twice.username.clone()).into());
            }
            let lists = gate.pending(change.lists, &|username| amend.identity(username))?;
            let since = group.epoch().saturating_add(1);
            let raised = gate.raise(&lists, &|username| amend.newcomer(username, since))?;
            let admit = |bytes: &Vec<u8>| match body(bytes)? {
                MlsMessageBodyIn::KeyPackage(package) => gate.key_package(provider.crypto(), package, &raised),
                _ => Err(MlsError::Malformed),
            };
            let packages = change.add.iter().map(admit).collect::<Result<Vec<KeyPackage>, _>>()?;
            let (leaves, rules) = group.amended(&amend, change.remove, raised.rules)?;
            // The leaf takes the credential that the account's new identity signed, once the group knows that identity; in a
            // group others need the list for that.
            let current = rules.participant(&device.username).is_some_and(|own| own.identity == device.identity)
                && (rules.kind() == Kind::Direct || lists.iter().any(|list| list.username == device.username));
            let other = group.group.own_leaf().is_some_and(|leaf| *leaf.credential() != device.credential().credential);
            let authenticated = signed_list::encode(&Shown { lists, leaves: amend.leave })?;

            group.group.set_aad(authenticated.clone());
            let mut builder = group
                .group
                .commit_builder()
                .propose_adds(packages)
                .propose_removals(leaves)
                .force_self_update(change.update);
            if rules != group.rules {
                builder = builder.propose_group_context_extensions(rules.to_extensions()?).map_err(MlsError::ours)?;
            }
            if current && other {
                let leaf = LeafNodeParameters::builder().with_credential_with_key(device.credential()).build();
                builder = builder.leaf_node_parameters(leaf);
            }
            let bundle = builder
                .load_psks(provider.storage())
                .map_err(MlsError::ours)?
                .build(provider.rand(), provider.crypto(), device.signer(), |_| true)
                .map_err(MlsError::ours)?
                .stage_commit(provider)
                .map_err(MlsError::ours)?;
            let own = Sender::Member(group.group.own_leaf_index());
            let pending = group.group.pending_commit().ok_or(MlsError::NotThisEpoch)?;
            let verdict = Gate::new(&group.rules, identities).commit(&group.group, &own, &authenticated, pending)?;
            let (commit, welcome, info) = bundle.into_messages();
            let count = group.group.members().count() + verdict.added.len() - verdict.removed.len();
            Ok(Prepared {
                commit: to_bytes(&commit)?,
                welcome: welcome.as_ref().map(to_bytes).transpose()?,
                group_info: seal_info(&rules, &group.id, count, info)?,
                added: verdict.added,
            })
        })
    }

    /// The leaves to be removed, and the rules as an amendment leaves them.
    fn amended(
        &self,
        amend: &Amendment,
        remove: &[Member],
        mut rules: GroupRules,
    ) -> Result<(Vec<LeafNodeIndex>, GroupRules), MlsError> {
        let goes = |name: &str| {
            amend.leave.iter().any(|leave| leave.username == name) || amend.expel.iter().any(|one| one == name)
        };
        let staying: Vec<Member> = remove.iter().filter(|member| !goes(&member.username)).cloned().collect();
        let mut leaves = self.leaves(&staying)?;
        let all: Vec<Member> = self.members()?.into_iter().filter(|member| goes(&member.username)).collect();
        leaves.extend(self.leaves(&all)?);
        let known = |name: &String| all.iter().any(|one| one.username == *name) || rules.participant(name).is_some();
        if let Some(stranger) = amend.expel.iter().find(|name| !known(name)) {
            return Err(Refused::ForeignAccount(stranger.clone()).into());
        }
        rules.strike(goes);
        for (name, role) in &amend.roles {
            if !rules.set_role(name, *role) {
                return Err(Refused::ForeignAccount(name.clone()).into());
            }
        }
        if let Some(mut about) = rules.about().cloned() {
            if let Some(new) = &amend.about {
                about = About { barred: about.barred, ..new.clone() };
            }
            for name in amend.expel.iter().filter(|_| rules.kind() == Kind::Room) {
                about.set_barred(name, true);
            }
            amend.enter.iter().for_each(|one| about.set_barred(&one.username, false));
            rules = rules.with_about(Some(about)).revised()?;
        }
        let gone = !leaves.is_empty() || !amend.leave.is_empty() || !amend.expel.is_empty();
        if gone && rules.kind() != Kind::Room {
            rules = rules.with_join_key(JoinKey::generate(&mut rng()));
        }
        Ok((leaves, rules))
    }

    fn leaves(&self, members: &[Member]) -> Result<Vec<LeafNodeIndex>, MlsError> {
        let mut leaves: Vec<LeafNodeIndex> = Vec::new();
        for leaf in self.group.members() {
            if members.contains(&claimed(&leaf.credential)?) {
                leaves.push(leaf.index);
            }
        }
        if leaves.len() == members.len() { Ok(leaves) } else { Err(Refused::NoSuchMember.into()) }
    }
}

/// Seals the state of a group of `count` devices.
pub(super) fn seal_info(
    rules: &GroupRules,
    id: &[u8; 16],
    count: usize,
    info: Option<MlsMessageOut>,
) -> Result<Option<Vec<u8>>, MlsError> {
    match info {
        Some(info) if count <= SHARED_STATE => rules.join_key().seal(id, &info, &mut rng()).map(Some),
        _ => Ok(None),
    }
}

fn rng() -> UnwrapErr<getrandom::SysRng> {
    UnwrapErr(getrandom::SysRng)
}
