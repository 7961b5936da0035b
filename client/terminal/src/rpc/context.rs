//! What a running method has: the open profile, and who called.

use super::{server::Holding, wire::Outbox};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};
use tokio::sync::mpsc;
use waxwing_core::{Client, Message, ProfilePath, Zeroizing};

/// See the module.
pub(crate) struct Context {
    /// The open profile.
    pub(crate) client: Arc<Client>,
    /// Where it lies.
    pub(crate) profile: ProfilePath,
    /// The process that holds the profile for others too, if it does.
    pub(super) holding: Option<Arc<Holding>>,
    /// The connection that called, if it was one.
    pub(super) caller: Option<Outbox>,
    #[allow(dead_code, reason = "for methods that take long")]
    pub(super) progress: Option<mpsc::UnboundedSender<Progress>>,
}

impl Context {
    /// The caller has written a message: every other front end of this profile shows it.
    pub(super) fn tell_written(&self, message: &Message) {
        if let Some(holding) = &self.holding {
            holding.tell_written(message);
        }
    }

    #[allow(dead_code, reason = "for methods that take long")]
    /// Tells the caller how far a long method has come.
    pub(crate) fn progress(&self, step: &str, done: u64, total: Option<u64>) {
        if let Some(progress) = &self.progress {
            // A caller who is gone need not be told.
            let _ = progress.send(Progress { step: step.to_owned(), done, total });
        }
    }
}

/// How far a method has come; the notification `progress` tells it, with the request's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Progress {
    /// What is being done.
    pub(crate) step: String,
    /// How much of it is done.
    pub(crate) done: u64,
    /// Of how much, if that is known.
    pub(crate) total: Option<u64>,
}

/// A password or code among a method's parameters: wiped after use, never shown.
#[derive(Clone, Default, PartialEq, Eq)]
#[allow(dead_code, reason = "for methods that take a password")]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    /// The secret itself.
    #[allow(dead_code, reason = "for methods that take a password")]
    pub(crate) fn reveal(&self) -> &Zeroizing<String> {
        &self.0
    }
}

impl From<Zeroizing<String>> for Secret {
    fn from(secret: Zeroizing<String>) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|secret| Self(Zeroizing::new(secret)))
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "password", "writeOnly": true })
    }
}
