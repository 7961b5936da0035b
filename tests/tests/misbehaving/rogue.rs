//! A member whose program keeps to no rules: it writes to the log of its group whatever there is to be written.

use crate::{
    forger::{Forger, SUITE, capabilities},
    server::{Server, now_ms},
};
use anyhow::{Context, Result};
use openmls::prelude::{
    CredentialType, Extension, ExtensionType, Extensions, GroupId, KeyPackage, LeafNodeParameters, MlsGroup,
    MlsGroupCreateConfig, MlsMessageBodyIn, MlsMessageIn, PURE_CIPHERTEXT_WIRE_FORMAT_POLICY, ProtocolVersion,
    RequiredCapabilitiesExtension, UnknownExtension,
    tls_codec::{Deserialize as _, Serialize as _},
};
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::OpenMlsProvider as _;
use waxwing_e2ee::{
    account::{DeviceList, IdentityPublicKey},
    content::{self, Body, Content},
    mls::{About, GroupRules, JoinKey, Kind, Participant, Role},
};
use waxwing_protocol::{Bytes, ConversationId, ConversationKind, DeviceId, Handshake, Roster, Welcome};
use waxwing_server::store::{Append, AppendBody, NewConversation};

/// The group's.
pub(crate) const ID: ConversationId = ConversationId([0x6d; 16]);

pub(crate) struct Rogue<'a> {
    pub(crate) server: &'a Server,
    pub(crate) forger: Forger,
    pub(crate) provider: OpenMlsRustCrypto,
    pub(crate) group: MlsGroup,
    pub(crate) rules: GroupRules,
    pub(crate) number: u64,
}

fn extensions(rules: &GroupRules) -> Extensions<openmls::prelude::GroupContext> {
    let required =
        RequiredCapabilitiesExtension::new(&[ExtensionType::Unknown(0xF002)], &[], &[CredentialType::Other(0xF001)]);
    let rules = UnknownExtension(rules.to_bytes().expect("rules"));
    let both = vec![Extension::RequiredCapabilities(required), Extension::Unknown(0xF002, rules)];
    Extensions::from_vec(both).expect("extensions")
}

fn participant(server: &Server, username: &str, role: Role) -> Result<Participant> {
    let record = server.account(username)?;
    let identity = IdentityPublicKey::from_der(&record.identity_key.0)?;
    let list = DeviceList::verify(&record.device_list.0, &identity, username)?;
    Ok(Participant {
        username: username.to_owned(),
        identity: identity.fingerprint(),
        list_version: list.list.version,
        list_hash: list.hash,
        role,
        former: Vec::new(),
        since: Some(0),
    })
}

/// A key package of this account, as whoever adds it gets it.
fn claim(server: &Server, provider: &OpenMlsRustCrypto, username: &str) -> Result<(KeyPackage, DeviceId)> {
    let claimed = server.claim(username)?;
    let bytes = claimed.key_package.context("a key package")?;
    let MlsMessageBodyIn::KeyPackage(package) = MlsMessageIn::tls_deserialize_exact(&bytes.0)?.extract() else {
        anyhow::bail!("no key package")
    };
    Ok((package.validate(provider.crypto(), ProtocolVersion::Mls10)?, claimed.device))
}

impl<'a> Rogue<'a> {
    /// A member, and no admin, of a group of which Alice is the admin and Bob a member, too.
    pub(crate) fn new(server: &'a Server) -> Result<Self> {
        let forger = Forger::new("mallory");
        let account = forger.sign_up(server)?;
        let participants = [("alice", Role::Admin), ("bob", Role::Member), ("mallory", Role::Member)]
            .map(|(username, role)| participant(server, username, role))
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        let key = JoinKey::from_bytes([7; 32]);
        let rules = GroupRules::group(Kind::Group, About::named("Birds"), participants, key)?;
        let provider = OpenMlsRustCrypto::default();
        let config = MlsGroupCreateConfig::builder()
            .ciphersuite(SUITE)
            .capabilities(capabilities(SUITE))
            .with_group_context_extensions(extensions(&rules))
            .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
            .use_ratchet_tree_extension(true)
            .build();
        let id = GroupId::from_slice(&ID.0);
        let mut group = MlsGroup::new_with_group_id(&provider, forger.signer(), &config, id, forger.credential())?;
        let (mut packages, mut recipients) = (Vec::new(), Vec::new());
        for username in ["alice", "bob"] {
            let (package, device) = claim(server, &provider, username)?;
            packages.push(package);
            recipients.push(device);
        }
        let (commit, welcome, _) = group.add_members(&provider, forger.signer(), &packages)?;
        group.merge_pending_commit(&provider)?;
        let entered = vec!["alice".parse()?, "bob".parse()?];
        let payload: Bytes = welcome.tls_serialize_detached()?.into();
        let handshake = Handshake {
            commit: commit.tls_serialize_detached()?.into(),
            welcome: Some(Welcome { recipients, payload }),
            removed: Vec::new(),
            group_info: None,
            roster: Some(Roster { entered, left: Vec::new() }),
        };
        server.create_conversation(NewConversation {
            account,
            creator: DeviceId(forger.id),
            id: ID,
            kind: ConversationKind::Group,
            handshake: Some(handshake),
            replaces: None,
            members: 100,
            now_ms: now_ms()?,
        })?;
        Ok(Self { server, forger, provider, group, rules, number: 0 })
    }

    pub(crate) fn append(&mut self, commits: u64, body: AppendBody) -> Result<()> {
        self.number += 1;
        self.server.append(Append {
            device: DeviceId(self.forger.id),
            conversation: ID,
            number: self.number,
            commits,
            body,
            members: 100,
            // The server takes one commit a second.
            now_ms: now_ms()? + 2000 * commits,
        })
    }

    /// Writes this content, whatever it is.
    pub(crate) fn write(&mut self, commits: u64, content: &[u8]) -> Result<()> {
        let message = self.group.create_message(&self.provider, self.forger.signer(), content)?;
        let payload: Bytes = message.tls_serialize_detached()?.into();
        self.append(commits, AppendBody::Application(payload))
    }

    pub(crate) fn say(&mut self, commits: u64, id: u8, text: &str) -> Result<()> {
        self.write(commits, &content::encode(&said(id, Body::Text(text.to_owned())))?)
    }

    /// Commits this, and goes on as if it had not, as those do who refuse it.
    pub(crate) fn commit(&mut self, commits: u64, make: impl FnOnce(&mut Self) -> Result<Vec<u8>>) -> Result<()> {
        let commit = make(self)?;
        self.group.clear_pending_commit(self.provider.storage())?;
        self.append_commit(commits, commit)
    }

    pub(crate) fn append_commit(&mut self, commits: u64, commit: Vec<u8>) -> Result<()> {
        let handshake =
            Handshake { commit: commit.into(), welcome: None, removed: Vec::new(), group_info: None, roster: None };
        self.append(commits, AppendBody::Commit(Box::new(handshake)))
    }

    /// New keys for its own leaf, each time other ones: any member may commit that.
    pub(crate) fn new_keys(&mut self) -> Result<Vec<u8>> {
        let parameters = LeafNodeParameters::default();
        let commit = self.group.self_update(&self.provider, self.forger.signer(), parameters)?.into_commit();
        self.group.clear_pending_commit(self.provider.storage())?;
        Ok(commit.tls_serialize_detached()?)
    }

    /// A welcome for this user, of a commit that is not written anywhere.
    pub(crate) fn welcome_for(&mut self, username: &str) -> Result<Vec<u8>> {
        let mut people = self.rules.participants().to_vec();
        people.push(participant(self.server, username, Role::Member)?);
        people.sort_by(|one, other| one.username.cmp(&other.username));
        let about = self.rules.about().cloned().unwrap_or_default();
        let rules = GroupRules::group(Kind::Group, about, people, JoinKey::from_bytes([7; 32]))?;
        let (package, _) = claim(self.server, &self.provider, username)?;
        let bundle = self
            .group
            .commit_builder()
            .propose_adds([package])
            .propose_group_context_extensions(extensions(&rules))?
            .load_psks(self.provider.storage())?
            .build(self.provider.rand(), self.provider.crypto(), self.forger.signer(), |_| true)?
            .stage_commit(&self.provider)?;
        let welcome = bundle.to_welcome_msg().context("a welcome")?.tls_serialize_detached()?;
        self.group.clear_pending_commit(self.provider.storage())?;
        Ok(welcome)
    }

    /// Other rules, committed by who may not.
    pub(crate) fn amend(&mut self, rules: &GroupRules) -> Result<Vec<u8>> {
        let bundle = self
            .group
            .commit_builder()
            .propose_group_context_extensions(extensions(rules))?
            .load_psks(self.provider.storage())?
            .build(self.provider.rand(), self.provider.crypto(), self.forger.signer(), |_| true)?
            .stage_commit(&self.provider)?;
        Ok(bundle.into_commit().tls_serialize_detached()?)
    }
}

pub(crate) fn said(id: u8, body: Body) -> Content {
    Content { id: [id; 16], sent_at_ms: 1, body, seen: None, lifetime: None }
}
