//! The operator's door: a socket in the server's folder, over which `waxwing-server`'s commands talk to the running server.
//!
//! Invariants: only the user that runs the server, or root, gets an answer; what a command does is the same whether the
//! running server does it or, while it is stopped, the command itself ([`Operator`] is that one place). It must not know
//! how answers are printed.

mod cluster;
mod disclosure;
mod invites;
mod keeping;
mod operator;
mod request;
mod socket;

pub use cluster::{ClusterNode, ClusterStatus};
pub(crate) use operator::time;
pub use operator::{Live, Operator, Reload, now};
pub use request::{
    Answer, Device, DisclosedTable, Disclosure, Files, Garbage, Hidden, Invite, Problem, Reply, Request, Room, Session,
    Stats, Usage, User, UserDetails,
};
pub use socket::{Connected, Door, connect};
