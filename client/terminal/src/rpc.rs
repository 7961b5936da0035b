//! One profile, many commands: the methods that a profile answers, and the way to the process that holds it.
//!
//! A command asks a [`Backend`], which runs the method here or sends it through the socket of the process that holds the
//! profile; both give the same typed result and the same error. [`registry`] has all methods, one file per family, and
//! the OpenRPC document describes them. Nothing here prints or asks.

mod backend;
mod connection;
mod context;
pub(crate) mod events;
pub(crate) mod files;
mod registry;
mod schema;
mod server;
mod socket;
mod wire;

pub(crate) mod account;
pub(crate) mod backup;
pub(crate) mod chats;
pub(crate) mod deeds;
pub(crate) mod groups;
pub(crate) mod messages;
pub(crate) mod objects;
pub(crate) mod preferences;
pub(crate) mod presence;
pub(crate) mod profile;
pub(crate) mod search;
pub(crate) mod subscription;
pub(crate) mod transfer;
pub(crate) mod trust;

pub(crate) use backend::{Backend, Happening, Happenings, Purpose};
#[allow(unused_imports, reason = "for methods that take a password")]
pub(crate) use context::Secret;
pub(crate) use context::{Context, Progress};
pub(crate) use schema::document;
pub(crate) use wire::ErrorData;

use crate::Failure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::future::Future;

/// Something that a profile can be asked for.
pub(crate) trait Method: 'static {
    /// Its name on the socket.
    const NAME: &'static str;
    /// What it does, in one sentence for the OpenRPC document.
    const SUMMARY: &'static str;
    /// What it is given: a struct with named fields.
    type Params: Serialize + DeserializeOwned + JsonSchema + Send + 'static;
    /// What it answers: a struct with named fields.
    type Result: Serialize + DeserializeOwned + JsonSchema + Send + 'static;

    /// Does it, in the process that holds the profile. It must be safe to abandon at any await.
    fn run(context: &Context, params: Self::Params) -> impl Future<Output = Result<Self::Result, Failure>> + Send;
}

/// No parameters, or nothing to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Nothing {}
