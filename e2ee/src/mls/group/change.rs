//! Changes of a group: what is due, and the one commit that does it.
//!
//! The invariant: our own commit passes the gate that everyone else will put it through, before it leaves. This module
//! must not know where lists and key packages come from.

use super::{
    super::{policy::seats, signed_list},
    *,
};
use crate::{account::VerifiedDeviceList, mls::key_package::body};
use openmls::prelude::{KeyPackage, LeafNodeIndex, LeafNodeParameters, MlsMessageBodyIn, MlsMessageOut, Sender};
use rsa::rand_core::UnwrapErr;

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

impl Group<'_> {
    /// Compares the group with the newest list of an account; nothing is due if the account does not take part.
    ///
    /// # Errors
    /// None for a group that has passed the gate.
    pub fn outdated(&self, list: &VerifiedDeviceList) -> Result<Outdated, MlsError> {
        let username = &list.list.username;
        let Some(participant) = self.rules.participant(username) else { return Ok(Outdated::default()) };
        let (version, known) = (list.list.version, participant.list_version);
        if version < known || (version == known && list.hash != participant.list_hash) {
            return Ok(Outdated { stale: true, ..Outdated::default() });
        }
        let seats = seats(&self.group)?;
        let seats = seats.into_values().filter(|seat| seat.member.username == *username);
        let (listed, unlisted): (Vec<_>, Vec<_>) = seats.partition(|seat| seat.is_in(list));
        let missing = |id: &[u8; 16]| !listed.iter().any(|seat| seat.member.device == *id);
        Ok(Outdated {
            add: list.list.devices.iter().map(|device| device.id).filter(missing).collect(),
            remove: unlisted.into_iter().map(|seat| seat.member).collect(),
            raise: version > known,
            stale: false,
        })
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
            let lists = gate.pending(change.lists)?;
            let raised = gate.raise(&lists)?;
            let admit = |bytes: &Vec<u8>| match body(bytes)? {
                MlsMessageBodyIn::KeyPackage(package) => gate.key_package(provider.crypto(), package, &raised),
                _ => Err(MlsError::Malformed),
            };
            let packages = change.add.iter().map(admit).collect::<Result<Vec<KeyPackage>, _>>()?;
            let leaves = group.leaves(change.remove)?;
            let mut rules = raised.rules;
            if !leaves.is_empty() {
                rules = rules.with_join_key(JoinKey::generate(&mut rng()));
            }
            // The leaf takes the credential that the account's new identity signed, once the group knows that identity.
            let current = rules.participant(&device.username).is_some_and(|own| own.identity == device.identity);
            let other = group.group.own_leaf().is_some_and(|leaf| *leaf.credential() != device.credential().credential);
            let authenticated = signed_list::encode(&lists)?;

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
