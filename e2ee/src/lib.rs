//! The end-to-end encryption of Waxwing: what the server must not read or forge is made and checked here.
//!
//! It keeps one invariant: nothing unverified leaves it under a verified type. It must not know sockets, files, async
//! code or the wire: bytes come in and go out, time and randomness are parameters.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod account;
pub mod attachment;
pub mod backup;
pub mod content;
mod derive;
mod fields;
pub mod local;
pub mod mls;
pub mod order;
pub mod padding;
mod seal;
