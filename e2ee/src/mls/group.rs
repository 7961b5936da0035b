//! One group. The `MlsGroup` is private, so nobody can merge what the gate has not admitted.
//!
//! The invariant: after an error the group is what the database says, as before the call. This module must not know
//! which entries the server has accepted: the caller tells it.

mod batch;
mod change;
mod join;
pub(super) mod kept;
mod signal;

use batch::Batch;
pub use change::{Amendment, Change, Newcomer, Outdated, Prepared, Roll};
pub use kept::KeptGroup;
pub use signal::{Signal, Signals};

use super::{
    Device, GroupRules, Identities, JoinKey, Member, Mls, MlsError, Refused, SUITE, SignedList,
    key_package::{from_bytes, to_bytes},
    policy::{Gate, Verdict, capabilities, claimed},
    provider::Provider,
};
use crate::account::IdentityPublicKey;
use openmls::prelude::{
    ContentType, GroupId, MlsGroup, MlsGroupCreateConfig, PURE_CIPHERTEXT_WIRE_FORMAT_POLICY, ProcessedMessageContent,
    SenderRatchetConfiguration,
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
        /// The devices that left. One that is also in `added` had lost its state and is back.
        removed: Vec<Member>,
        /// Who did it.
        by: Member,
        /// The device lists that it showed and that are newer than those the group went by: to be taken as one's own
        /// newest, together with the new identities that they prove ([`SignedList::verify`]).
        lists: Vec<SignedList>,
        /// Identity keys that it brought along and that the rules of the group name, by account. Whoever has no other pin
        /// keeps them to judge what follows; they are no pins: a member has chosen them.
        identities: Vec<(String, IdentityPublicKey)>,
        /// The accounts that are gone because they wished to.
        left: Vec<String>,
        /// Whether `by` joined from outside. The group still goes by the older list then: see [`Group::outdated`].
        external: bool,
    },
    /// We are no longer in the group, and its state is deleted.
    Removed {
        /// Who did it.
        by: Member,
        /// Whether our account does not take part any more; else it is only this device.
        account: bool,
        /// Whether that is what the account wished.
        left: bool,
    },
    /// Something of ours came back, a message or a commit. Whether a commit was accepted only the server's answer says.
    Own,
}

/// A group in its current epoch.
pub struct Group<'tx> {
    mls: &'tx Mls<'tx>,
    group: MlsGroup,
    id: [u8; 16],
    rules: GroupRules,
    /// Who made the welcome by which this device has just come in.
    invited_by: Option<Member>,
    batch: Batch<'tx>,
}

impl<'tx> Group<'tx> {
    /// Makes a group with `device` as its only member, in epoch 0. `id` is the conversation's.
    ///
    /// # Errors
    /// [`MlsError::Mls`] if there is a group of this id; [`MlsError::Refused`] if the account does not take part.
    pub fn create(mls: &'tx Mls<'tx>, device: &Device, id: &[u8; 16], rules: &GroupRules) -> Result<Self, MlsError> {
        match rules.participant(&device.username) {
            Some(own) if own.has_identity(&device.identity) => {}
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
        Ok(Self { mls, group, id: *id, rules: rules.clone(), invited_by: None, batch: Batch::none(mls) })
    }

    /// The group as it was last left; `None` if there is none of this id.
    ///
    /// # Errors
    /// [`MlsError::Database`].
    pub fn load(mls: &'tx Mls<'tx>, id: &[u8; 16]) -> Result<Option<Self>, MlsError> {
        let Some(group) = mls.step(|provider| load(provider, id))? else { return Ok(None) };
        let rules = GroupRules::from_extensions(group.extensions())?;
        Ok(Some(Self { mls, group, id: *id, rules, invited_by: None, batch: Batch::none(mls) }))
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

    /// What a device of a participating account can join by: to be kept in the account's sealed state.
    pub fn join_key(&self) -> &JoinKey {
        self.rules.join_key()
    }

    /// The devices in the group, ours included, in the order of their leaves.
    ///
    /// # Errors
    /// None for a group that has passed the gate.
    pub fn members(&self) -> Result<Vec<Member>, MlsError> {
        self.group.members().map(|member| Ok(claimed(&member.credential)?)).collect()
    }

    /// How many devices are in the group, ours included.
    pub fn size(&self) -> usize {
        self.group.members().count()
    }

    /// Who made the welcome by which this device has just come in; none for a group that was loaded, or entered by oneself.
    pub fn invited_by(&self) -> Option<&Member> {
        self.invited_by.as_ref()
    }

    /// 32 bytes that are equal for all members exactly if they see the same group, members and history of commits.
    ///
    /// # Errors
    /// [`MlsError::Mls`] after our removal.
    pub fn view(&self) -> Result<[u8; 32], MlsError> {
        let secret = self.group.export_secret(self.mls.provider().crypto(), VIEW, &[], 32).map_err(MlsError::ours)?;
        secret.try_into().map_err(|_| MlsError::Malformed)
    }

    /// The server took our commit: enters the next epoch. Only now may the welcome be sent.
    ///
    /// # Errors
    /// [`MlsError::Mls`] if no commit is pending.
    pub fn commit_accepted(&mut self) -> Result<(), MlsError> {
        self.step(|group, provider| {
            group.group.merge_pending_commit(provider).map_err(MlsError::ours)?;
            group.read_rules()
        })
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
        self.message_step(|group, provider| {
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
        if message.content_type() == ContentType::Application {
            return self.message_step(|group, provider| {
                let processed = group.group.process_message(provider, message).map_err(MlsError::reading)?;
                let from = claimed(processed.credential())?;
                match processed.into_content() {
                    ProcessedMessageContent::ApplicationMessage(message) => {
                        Ok(Received::Message { from, body: Zeroizing::new(message.into_bytes()) })
                    }
                    ProcessedMessageContent::OwnPrivateMessage => Ok(Received::Own),
                    _ => Err(MlsError::Malformed),
                }
            });
        }
        self.step(|group, provider| {
            let processed = group.group.process_message(provider, message).map_err(MlsError::reading)?;
            let sender = processed.sender().clone();
            let authenticated = processed.aad().to_vec();
            match processed.into_content() {
                ProcessedMessageContent::ApplicationMessage(_) => Err(MlsError::Malformed),
                ProcessedMessageContent::StagedCommitMessage(commit) => {
                    let gate = Gate::new(&group.rules, identities);
                    let verdict = gate.commit(&group.group, &sender, &authenticated, &commit)?;
                    let own = group.group.own_leaf().map(|leaf| claimed(leaf.credential())).transpose()?;
                    group.group.merge_staged_commit(provider, *commit).map_err(MlsError::ours)?;
                    if group.group.is_active() {
                        group.read_rules()?;
                        let Verdict { by, added, removed, lists, identities, left, external } = verdict;
                        return Ok(Received::Commit { added, removed, by, lists, identities, left, external });
                    }
                    let own = own.ok_or(MlsError::NotThisEpoch)?;
                    let rules = GroupRules::from_extensions(group.group.extensions())?;
                    let account = rules.participant(&own.username).is_none();
                    let left = verdict.left.contains(&own.username);
                    // Its secrets are of no use, and openmls refuses a new welcome to a group that it still stores.
                    group.group.delete(provider.storage()).map_err(MlsError::ours)?;
                    Ok(Received::Removed { by: verdict.by, account, left })
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

    /// The rules of the epoch that the group is in now.
    fn read_rules(&mut self) -> Result<(), MlsError> {
        self.rules = GroupRules::from_extensions(self.group.extensions())?;
        Ok(())
    }

    /// One step of this group. The copy in memory is ahead of the database after an undone step, so it is loaded anew.
    fn step<T>(&mut self, work: impl FnOnce(&mut Self, &Provider<'tx>) -> Result<T, MlsError>) -> Result<T, MlsError> {
        self.write_batch()?;
        let mls = self.mls;
        let outcome = mls.step(|provider| work(self, provider));
        if outcome.is_err() {
            self.reload()?;
        }
        outcome
    }

    fn reload(&mut self) -> Result<(), MlsError> {
        if let Some(group) = self.mls.step(|provider| load(provider, &self.id))? {
            self.group = group;
            self.read_rules()?;
        }
        Ok(())
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
