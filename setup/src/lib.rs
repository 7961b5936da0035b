//! Sets a Waxwing server up: questions → plan (pure, printable) → apply; and the one-command demonstration.

pub mod apply;
pub mod cli;
pub mod demonstration;
mod node;
pub mod plan;
mod wizard;
