//! Waxwing's relay: accounts, devices, conversations' logs, and nothing that could open them.

pub mod store;
