//! One group. The `MlsGroup` is private, so nobody can merge what the gate has not admitted.
//!
//! The invariant: after an error the group is what the database says, as before the call. This module must not know
//! which entries the server has accepted: the caller tells it.

use super::{
    Device, GroupRules, Identities, Member, Mls, MlsError, Refused, SUITE,
    key_package::{body, from_bytes, to_bytes},
    policy::{Change, Gate, capabilities, claimed},
    provider::Provider,
};
use openmls::prelude::{
    CommitBuilder, GroupId, Initial, KeyPackage, LeafNodeIndex, MlsGroup, MlsGroupCreateConfig, MlsGroupJoinConfig,
    MlsMessageBodyIn, PURE_CIPHERTEXT_WIRE_FORMAT_POLICY, ProcessedMessageContent, Sender, SenderRatchetConfiguration,
    StagedWelcome,
};
use openmls_traits::OpenMlsProvider as _;
use std::fmt;
use zeroize::Zeroizing;

/// The server takes messages of the current epoch only, so no past epoch's secrets are kept.
const PAST_EPOCHS: usize = 0;
/// A device's messages arrive in its order, so no skipped keys are kept. Gaps happen: messages that the server refused.
const OUT_OF_ORDER: u32 = 0;
const FORWARD: u32 = 1000;
/// Content is padded before it is encrypted.
const PADDING: usize = 0;
/// Separates [`Group::view`] from other secrets that may be exported.
const VIEW: &str = "waxwing group view v1";

/// A commit that waits for the server's verdict; the group stays in its epoch until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// For the log of the conversation.
    pub commit: Vec<u8>,
    /// For the devices that it adds, all the same one; to be sent only once the commit is accepted.
    pub welcome: Option<Vec<u8>>,
    /// The devices that it adds, as their key packages prove.
    pub added: Vec<Member>,
}

/// What an entry was.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// A message.
    Message {
        /// The device that encrypted and signed it.
        from: Member,
        /// What it encrypted.
        body: Zeroizing<Vec<u8>>,
    },
    /// The group moved to its next epoch. A pending commit of ours has lost and is gone.
    Commit {
        /// The devices that joined.
        added: Vec<Member>,
        /// The devices that left.
        removed: Vec<Member>,
        /// Who did it.
        by: Member,
    },
    /// We are no longer in the group, and its state is deleted.
    Removed,
    /// Something of ours came back, a message or a commit. Whether a commit was accepted only the server's answer says.
    Own,
}

/// A group in its current epoch.
pub struct Group<'tx> {
    mls: &'tx Mls<'tx>,
    group: MlsGroup,
    id: [u8; 16],
    rules: GroupRules,
}

impl<'tx> Group<'tx> {
    /// Makes a group with `device` as its only member, in epoch 0. `id` is the conversation's.
    ///
    /// # Errors
    /// [`MlsError::Mls`] if there is a group of this id; [`MlsError::Refused`] if the account does not take part.
    pub fn create(mls: &'tx Mls<'tx>, device: &Device, id: &[u8; 16], rules: &GroupRules) -> Result<Self, MlsError> {
        match rules.participant(&device.username) {
            Some(own) if own.identity == device.identity => {}
            Some(_) => return Err(Refused::OtherIdentity(device.username.clone()).into()),
            None => return Err(Refused::ForeignAccount(device.username.clone()).into()),
        }
        let config = MlsGroupCreateConfig::builder()
            .ciphersuite(SUITE)
            .capabilities(capabilities())
            .with_group_context_extensions(rules.to_extensions()?)
            .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
            .padding_size(PADDING)
            .max_past_epochs(PAST_EPOCHS)
            .sender_ratchet_configuration(sender_ratchet())
            .use_ratchet_tree_extension(true)
            .build();
        let group = mls.step(|provider| {
            let id = GroupId::from_slice(id);
            MlsGroup::new_with_group_id(provider, device.signer(), &config, id, device.credential())
                .map_err(MlsError::ours)
        })?;
        Ok(Self { mls, group, id: *id, rules: rules.clone() })
    }

    /// The group as it was last left; `None` if there is none of this id.
    ///
    /// # Errors
    /// [`MlsError::Database`].
    pub fn load(mls: &'tx Mls<'tx>, id: &[u8; 16]) -> Result<Option<Self>, MlsError> {
        let Some(group) = mls.step(|provider| load(provider, id))? else { return Ok(None) };
        let rules = GroupRules::from_extensions(group.extensions())?;
        Ok(Some(Self { mls, group, id: *id, rules }))
    }

    /// Joins with a welcome. Whether id and participants are those of the conversation that the welcome came with is
    /// for the caller to compare, who undoes it by a rollback.
    ///
    /// # Errors
    /// [`MlsError::NotThisEpoch`] if it is not for this device or its key package was used before;
    /// [`MlsError::Refused`] and [`MlsError::Invalid`] if it is no good; [`MlsError::UnknownIdentity`]. The key package
    /// remains usable then.
    pub fn join(mls: &'tx Mls<'tx>, identities: &dyn Identities, welcome: &[u8]) -> Result<Self, MlsError> {
        use openmls::prelude::WelcomeError::{NoMatchingKeyPackage, PrivateInitKeyNotFound};
        let MlsMessageBodyIn::Welcome(welcome) = body(welcome)? else { return Err(MlsError::Malformed) };
        let config = MlsGroupJoinConfig::builder()
            .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
            .padding_size(PADDING)
            .max_past_epochs(PAST_EPOCHS)
            .sender_ratchet_configuration(sender_ratchet())
            .use_ratchet_tree_extension(true)
            .build();
        mls.step(|provider| {
            let staged = StagedWelcome::build_from_welcome(provider, &config, welcome)
                .map_err(|error| match error {
                    NoMatchingKeyPackage | PrivateInitKeyNotFound => MlsError::NotThisEpoch,
                    other => MlsError::theirs(other),
                })?
                // A member that has not committed since its key package expired must not keep others out.
                .skip_lifetime_validation()
                .build()
                .map_err(MlsError::theirs)?;
            let context = staged.group_context();
            if context.ciphersuite() != SUITE {
                return Err(Refused::Suite.into());
            }
            let id = context.group_id().as_slice().try_into().map_err(|_| MlsError::Malformed)?;
            let rules = GroupRules::from_extensions(context.extensions())?;
            Gate::new(&rules, identities).welcome(&staged)?;
            let group = staged.into_group(provider).map_err(MlsError::ours)?;
            Ok(Self { mls, group, id, rules })
        })
    }

    /// The conversation's id.
    pub fn id(&self) -> &[u8; 16] {
        &self.id
    }

    /// The number of commits since the group was made.
    pub fn epoch(&self) -> u64 {
        self.group.epoch().as_u64()
    }

    /// Who takes part, and how.
    pub fn rules(&self) -> &GroupRules {
        &self.rules
    }

    /// The devices in the group, ours included, in the order of their leaves.
    ///
    /// # Errors
    /// None for a group that has passed the gate.
    pub fn members(&self) -> Result<Vec<Member>, MlsError> {
        self.group.members().map(|member| Ok(claimed(&member.credential)?)).collect()
    }

    /// 32 bytes that are equal for all members exactly if they see the same group, members and history of commits.
    ///
    /// # Errors
    /// [`MlsError::Mls`] after our removal.
    pub fn view(&self) -> Result<[u8; 32], MlsError> {
        let secret = self.group.export_secret(self.mls.provider().crypto(), VIEW, &[], 32).map_err(MlsError::ours)?;
        secret.try_into().map_err(|_| MlsError::Malformed)
    }

    /// Prepares to add devices, by the key packages that the server handed out.
    ///
    /// # Errors
    /// [`MlsError::Refused`] if a key package or the change is against the rules, [`MlsError::Malformed`] if one cannot
    /// be read, [`MlsError::UnknownIdentity`], [`MlsError::CommitPending`].
    pub fn prepare_add(
        &mut self,
        device: &Device,
        identities: &dyn Identities,
        key_packages: &[Vec<u8>],
    ) -> Result<Prepared, MlsError> {
        let gate = Gate::new(&self.rules, identities);
        let admit = |bytes: &Vec<u8>| match body(bytes)? {
            MlsMessageBodyIn::KeyPackage(package) => gate.key_package(self.mls.provider().crypto(), package),
            _ => Err(MlsError::Malformed),
        };
        let packages = key_packages.iter().map(admit).collect::<Result<Vec<KeyPackage>, _>>()?;
        self.prepare(device, identities, |builder| builder.propose_adds(packages))
    }

    /// Prepares to remove devices.
    ///
    /// # Errors
    /// [`MlsError::Refused`] if it is against the rules or one is not in the group, [`MlsError::CommitPending`],
    /// [`MlsError::Mls`] if the device is this one.
    pub fn prepare_remove(
        &mut self,
        device: &Device,
        identities: &dyn Identities,
        members: &[Member],
    ) -> Result<Prepared, MlsError> {
        let mut leaves: Vec<LeafNodeIndex> = Vec::new();
        for leaf in self.group.members() {
            if members.contains(&claimed(&leaf.credential)?) {
                leaves.push(leaf.index);
            }
        }
        if leaves.len() != members.len() {
            return Err(Refused::NoSuchMember.into());
        }
        self.prepare(device, identities, |builder| builder.propose_removals(leaves))
    }

    /// Prepares fresh keys for this device's leaf: due soon after joining and then about weekly.
    ///
    /// # Errors
    /// [`MlsError::CommitPending`].
    pub fn prepare_update(&mut self, device: &Device, identities: &dyn Identities) -> Result<Prepared, MlsError> {
        self.prepare(device, identities, |builder| builder.force_self_update(true))
    }

    /// The server took our commit: enters the next epoch. Only now may the welcome be sent.
    ///
    /// # Errors
    /// [`MlsError::Mls`] if no commit is pending.
    pub fn commit_accepted(&mut self) -> Result<(), MlsError> {
        self.step(|group, provider| group.group.merge_pending_commit(provider).map_err(MlsError::ours))
    }

    /// The server refused our commit: forgets it. Not needed when another's commit was received since.
    ///
    /// # Errors
    /// [`MlsError::Database`].
    pub fn commit_rejected(&mut self) -> Result<(), MlsError> {
        self.step(|group, provider| group.group.clear_pending_commit(provider.storage()).map_err(MlsError::ours))
    }

    /// Whether a commit of ours waits for the server's verdict; it survives a restart.
    pub fn has_pending_commit(&self) -> bool {
        self.group.pending_commit().is_some()
    }

    /// Encrypts for the current epoch. This device can never decrypt the result: keep the plaintext.
    ///
    /// # Errors
    /// [`MlsError::Mls`] after our removal.
    pub fn encrypt(&mut self, device: &Device, plaintext: &[u8]) -> Result<Vec<u8>, MlsError> {
        self.step(|group, provider| {
            let message = group.group.create_message(provider, device.signer(), plaintext).map_err(MlsError::ours)?;
            to_bytes(&message)
        })
    }

    /// Reads the next entry of the conversation's log: decrypts a message, or merges a commit that the gate admits.
    ///
    /// # Errors
    /// All of [`MlsError`]; see [`MlsError::is_fault_of_entry`]. The group is as before then.
    pub fn receive(&mut self, identities: &dyn Identities, bytes: &[u8]) -> Result<Received, MlsError> {
        let message = from_bytes(bytes)?.try_into_protocol_message().map_err(|_| MlsError::Malformed)?;
        self.step(|group, provider| {
            let processed = group.group.process_message(provider, message).map_err(MlsError::reading)?;
            let sender = processed.sender().clone();
            let from = processed.credential().clone();
            match processed.into_content() {
                ProcessedMessageContent::ApplicationMessage(message) => {
                    let body = Zeroizing::new(message.into_bytes());
                    Ok(Received::Message { from: claimed(&from)?, body })
                }
                ProcessedMessageContent::StagedCommitMessage(commit) => {
                    let gate = Gate::new(&group.rules, identities);
                    let Change { by, added, removed } = gate.commit(&group.group, &sender, &commit)?;
                    group.group.merge_staged_commit(provider, *commit).map_err(MlsError::ours)?;
                    if group.group.is_active() {
                        return Ok(Received::Commit { added, removed, by });
                    }
                    // Its secrets are of no use, and openmls refuses a new welcome to a group that it still stores.
                    group.group.delete(provider.storage()).map_err(MlsError::ours)?;
                    Ok(Received::Removed)
                }
                ProcessedMessageContent::ProposalMessage(_) => Err(Refused::Standalone.into()),
                ProcessedMessageContent::ExternalJoinProposalMessage(_) => Err(Refused::Outsider.into()),
                ProcessedMessageContent::OwnPrivateMessage | ProcessedMessageContent::OwnPendingCommit => {
                    Ok(Received::Own)
                }
            }
        })
    }

    /// Deletes the group's state and secrets from this device. The other members are not told.
    ///
    /// # Errors
    /// [`MlsError::Database`].
    pub fn delete(mut self) -> Result<(), MlsError> {
        self.step(|group, provider| group.group.delete(provider.storage()).map_err(MlsError::ours))
    }

    fn prepare(
        &mut self,
        device: &Device,
        identities: &dyn Identities,
        change: impl for<'a> FnOnce(CommitBuilder<'a, Initial>) -> CommitBuilder<'a, Initial>,
    ) -> Result<Prepared, MlsError> {
        // openmls would silently replace it, and then merge the wrong one if the server had taken the first.
        if self.has_pending_commit() {
            return Err(MlsError::CommitPending);
        }
        self.step(|group, provider| {
            let bundle = change(group.group.commit_builder())
                .load_psks(provider.storage())
                .map_err(MlsError::ours)?
                .build(provider.rand(), provider.crypto(), device.signer(), |_| true)
                .map_err(MlsError::ours)?
                .stage_commit(provider)
                .map_err(MlsError::ours)?;
            // Our own commit passes the gate that everyone else will put it through.
            let own = Sender::Member(group.group.own_leaf_index());
            let pending = group.group.pending_commit().ok_or(MlsError::NotThisEpoch)?;
            let Change { added, .. } = Gate::new(&group.rules, identities).commit(&group.group, &own, pending)?;
            let (commit, welcome, _) = bundle.into_messages();
            Ok(Prepared { commit: to_bytes(&commit)?, welcome: welcome.as_ref().map(to_bytes).transpose()?, added })
        })
    }

    /// One step of this group. The copy in memory is ahead of the database after an undone step, so it is loaded anew.
    fn step<T>(&mut self, work: impl FnOnce(&mut Self, &Provider<'tx>) -> Result<T, MlsError>) -> Result<T, MlsError> {
        let mls = self.mls;
        let outcome = mls.step(|provider| work(self, provider));
        if outcome.is_err()
            && let Some(group) = mls.step(|provider| load(provider, &self.id))?
        {
            self.group = group;
        }
        outcome
    }
}

impl fmt::Debug for Group<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("id", &self.id).field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}

fn load(provider: &Provider, id: &[u8; 16]) -> Result<Option<MlsGroup>, MlsError> {
    MlsGroup::load(provider.storage(), &GroupId::from_slice(id)).map_err(MlsError::ours)
}

fn sender_ratchet() -> SenderRatchetConfiguration {
    SenderRatchetConfiguration::new(OUT_OF_ORDER, FORWARD)
}
