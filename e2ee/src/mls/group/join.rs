//! Ways into a group: by a welcome, or by oneself with the join key.
//!
//! The invariant: no group is entered whose leaves the gate has not judged, all of them. This module must not know why
//! one way was taken and not the other.

use super::{
    super::{signed_list, signed_list::Shown},
    *,
};
use crate::mls::key_package::body;
use openmls::prelude::{LeafNodeParameters, MlsGroupJoinConfig, MlsMessageBodyIn, StagedWelcome};

impl<'tx> Group<'tx> {
    /// Joins with a welcome. Whether id and participants are those of the conversation that the welcome came with is
    /// for the caller to compare, who undoes it by a rollback. A group of this id that is there already stays, and the
    /// welcome is refused: whoever knows that it is out of date deletes it first.
    ///
    /// # Errors
    /// [`MlsError::NotThisEpoch`] if it is not for this device or its key package was used before;
    /// [`MlsError::Refused`] and [`MlsError::Invalid`] if it is no good; [`MlsError::UnknownIdentity`]. The key package
    /// remains usable then.
    pub fn join(mls: &'tx Mls<'tx>, identities: &dyn Identities, welcome: &[u8]) -> Result<Self, MlsError> {
        use openmls::prelude::WelcomeError::{NoMatchingKeyPackage, PrivateInitKeyNotFound};
        let MlsMessageBodyIn::Welcome(welcome) = body(welcome)? else { return Err(MlsError::Malformed) };
        mls.step(|provider| {
            let staged = StagedWelcome::build_from_welcome(provider, &config(), welcome)
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
            Gate::new(&rules, identities).tree(staged.members())?;
            // The welcome carries its signature, which was checked.
            let sender = staged.welcome_sender().map_err(MlsError::ours)?;
            let invited_by = Some(claimed(sender.credential())?);
            let group = staged.into_group(provider).map_err(MlsError::ours)?;
            Ok(Self { mls, group, id, rules, invited_by, batch: Batch::none(mls) })
        })
    }

    /// Joins, or comes back, without being added: `sealed` is the state of the group that a member left on the server
    /// ([`Prepared::group_info`]), `join_key` what opens it, and `list` the newest signed list of this device's account,
    /// which names this device (with the identity key, unless the chat is a direct one). A group of this id that is there already is out of date, and is replaced; its own old
    /// leaf, if there is one, is removed. Returns the commit for the log.
    ///
    /// MLS cannot keep such a commit pending: the group is already in the epoch that begins if the server takes it. Until
    /// then nothing may be encrypted. The caller keeps the bytes and sends them until the answer is known; if they are
    /// refused it calls this again with newer state, for which the group still has [`Group::join_key`], or deletes the
    /// group.
    ///
    /// # Errors
    /// [`MlsError::WrongJoinKey`] if the key was replaced; [`MlsError::Refused`] and [`MlsError::Invalid`] if the group
    /// is no good, or would refuse this device; [`MlsError::UnknownIdentity`]. An old group is still there then.
    pub fn join_externally(
        mls: &'tx Mls<'tx>,
        identities: &dyn Identities,
        device: &Device,
        id: &[u8; 16],
        join_key: &JoinKey,
        sealed: &[u8],
        list: &SignedList,
    ) -> Result<(Self, Prepared), MlsError> {
        let info = join_key.open(id, sealed)?;
        if info.ciphersuite() != SUITE {
            return Err(Refused::Suite.into());
        }
        mls.step(|provider| {
            // What a group that is left behind keeps of its epoch would never be deleted.
            if let Some(mut old) = load(provider, id)? {
                old.delete(provider.storage()).map_err(MlsError::ours)?;
            }
            let leaf = LeafNodeParameters::builder().with_capabilities(capabilities()).build();
            let (group, bundle) = MlsGroup::external_commit_builder()
                .with_config(config())
                .with_aad(signed_list::encode(&Shown { lists: vec![list.clone()], leaves: Vec::new() })?)
                // A member that has not committed since its key package expired must not keep others out.
                .skip_lifetime_validation()
                .build_group(provider, info, device.credential())
                .map_err(MlsError::theirs)?
                .leaf_node_parameters(leaf)
                .load_psks(provider.storage())
                .map_err(MlsError::ours)?
                .build(provider.rand(), provider.crypto(), device.signer(), |_| true)
                .map_err(MlsError::theirs)?
                .finalize(provider)
                .map_err(MlsError::ours)?;
            // The tree can be read only now. The commit did not change the rules, so they judge it as everyone will.
            let rules = GroupRules::from_extensions(group.extensions())?;
            if rules.join_key() != join_key {
                return Err(MlsError::WrongJoinKey);
            }
            let gate = Gate::new(&rules, identities);
            gate.tree(group.members())?;
            gate.newcomer(&device.member(), &device.credential().credential, device.signer().public(), list)?;
            let (commit, _, info) = bundle.into_messages();
            let prepared = Prepared {
                commit: to_bytes(&commit)?,
                welcome: None,
                group_info: change::seal_info(&rules, id, group.members().count(), info)?,
                added: vec![device.member()],
            };
            Ok((Self { mls, group, id: *id, rules, invited_by: None, batch: Batch::none(mls) }, prepared))
        })
    }
}

fn config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
        .padding_size(PADDING)
        .max_past_epochs(PAST_EPOCHS)
        .sender_ratchet_configuration(sender_ratchet())
        .use_ratchet_tree_extension(true)
        .build()
}
