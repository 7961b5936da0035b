//! Waxwing's relay: accounts, devices, conversations' logs, and nothing that could open them.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]
// The demonstration does without NATS, and so without what only NATS brings to life.
#![cfg_attr(not(feature = "cluster"), allow(dead_code))]

pub mod admin;
pub mod attachments;
pub mod backup;
pub mod cli;
pub mod cluster;
mod codes;
mod connection;
mod handler;
mod health;
mod hub;
pub mod install;
mod limits;
pub mod log;
pub mod mail;
mod metrics;
mod password;
pub mod relay;
mod retention;
pub mod rules;
pub mod sealing;
mod session;
pub mod store;
mod waking;
mod web;
