//! The real client against a server that lies: the relay itself, over a store whose single answers a test changes.

mod accounts;
mod backups;
mod directory;
mod forger;
mod halves;
mod invitations;
mod key_packages;
mod log;
mod members;
mod numbers;
mod order;
mod rogue;
mod server;
