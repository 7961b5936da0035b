//! Identities of others: `identity`, `verify`, `trust`.

use super::{Context, Method};
use crate::Failure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::{Identity, Verification};

/// A user.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserParams {
    /// The username.
    pub(crate) user: String,
}

/// What is known of a user's identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct IdentityObject {
    /// Who.
    pub(crate) username: String,
    /// SHA-256 of the identity key that this device goes by, 64 hexadecimal digits.
    pub(crate) fingerprint: String,
    /// 60 digits in groups of 5, the same on both sides.
    pub(crate) safety_number: String,
    /// What the QR code says.
    pub(crate) qr: String,
    /// `unverified`, `verified`, or `renewed`: a former identity was verified, and vouched for this one.
    pub(crate) verification: String,
    /// The identity that the server shows instead, which nobody vouched for; everything for the user is held then.
    pub(crate) changed: Option<ChangedObject>,
}

/// An identity that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ChangedObject {
    /// SHA-256 of the key, 64 hexadecimal digits.
    pub(crate) fingerprint: String,
    /// The safety number that it would have.
    pub(crate) safety_number: String,
}

impl From<Identity> for IdentityObject {
    fn from(identity: Identity) -> Self {
        let changed = identity
            .changed
            .map(|changed| ChangedObject { fingerprint: changed.fingerprint, safety_number: changed.safety_number });
        let verification = match identity.verification {
            Verification::Unverified => "unverified",
            Verification::Verified => "verified",
            Verification::Renewed => "renewed",
        };
        Self {
            username: identity.username,
            fingerprint: identity.fingerprint,
            safety_number: identity.safety_number,
            qr: identity.qr,
            verification: verification.to_owned(),
            changed,
        }
    }
}

/// `identity`
pub(crate) struct ShowIdentity;

impl Method for ShowIdentity {
    const NAME: &'static str = "identity";
    const SUMMARY: &'static str = "The identity of a user, with the safety number to compare";
    type Params = UserParams;
    type Result = IdentityObject;

    async fn run(context: &Context, params: UserParams) -> Result<IdentityObject, Failure> {
        Ok(context.client.identity(&params.user).await?.into())
    }
}

/// `verify`
pub(crate) struct Verify;

/// Whose identity was compared.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyParams {
    /// The username.
    pub(crate) user: String,
    /// The identity whose safety number was compared, as `identity` told it.
    pub(crate) fingerprint: String,
    /// Whether it is the right one; false takes the mark back.
    pub(crate) verified: bool,
}

impl Method for Verify {
    const NAME: &'static str = "verify";
    const SUMMARY: &'static str = "Marks a user's identity as compared, or takes the mark back";
    type Params = VerifyParams;
    type Result = IdentityObject;

    async fn run(context: &Context, params: VerifyParams) -> Result<IdentityObject, Failure> {
        Ok(context.client.set_verified(&params.user, &params.fingerprint, params.verified).await?.into())
    }
}

/// `trust`
pub(crate) struct Trust;

/// Which changed identity is accepted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrustParams {
    /// The username.
    pub(crate) user: String,
    /// The new identity, as `identity` told it under `changed`.
    pub(crate) fingerprint: String,
    /// Whether its safety number was compared with the user: needed for a verified contact, who stays verified.
    #[serde(default)]
    pub(crate) compared: bool,
}

impl Method for Trust {
    const NAME: &'static str = "trust";
    const SUMMARY: &'static str = "Accepts the identity that a user has now: what was held is sent to it";
    type Params = TrustParams;
    type Result = IdentityObject;

    async fn run(context: &Context, params: TrustParams) -> Result<IdentityObject, Failure> {
        Ok(context.client.trust(&params.user, &params.fingerprint, params.compared).await?.into())
    }
}
