//! The workloads: each is the flags of a command, and what it does.

pub(crate) mod attachments;
pub(crate) mod backlog;
pub(crate) mod cluster;
pub(crate) mod direct;
pub(crate) mod growth;
pub(crate) mod idle;
pub(crate) mod neighbours;
pub(crate) mod restore;
pub(crate) mod room;
pub(crate) mod storm;
