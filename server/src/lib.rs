//! Waxwing's relay: accounts, devices, conversations' logs, and nothing that could open them.

pub mod cli;
mod connection;
mod handler;
mod hub;
pub mod install;
pub mod log;
mod password;
pub mod relay;
mod retention;
pub mod sealing;
mod session;
pub mod store;
