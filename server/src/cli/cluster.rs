//! `waxwing-server cluster …`: the servers that share a database.

use super::{
    Common, Failure,
    operate::operate_live,
    print::{line, print_json, table},
};
use crate::admin::{Answer, ClusterNode, ClusterStatus, Request};
use clap::Subcommand;
use std::process::ExitCode;

#[derive(Subcommand)]
pub(super) enum ClusterCommand {
    /// Show which servers share the database, and whether this one hears them.
    Status(Common),
}

impl ClusterCommand {
    pub(super) fn json(&self) -> bool {
        let Self::Status(common) = self;
        common.json
    }
}

pub(super) fn cluster(command: &ClusterCommand) -> Result<ExitCode, Failure> {
    let ClusterCommand::Status(common) = command;
    let Answer::Cluster(status) = operate_live(common, &Request::ClusterStatus)? else {
        return Err(Failure::unexpected("the server answered something else than was asked"));
    };
    match common.json {
        true => print_json(&status)?,
        false => print(&status)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print(status: &ClusterStatus) -> Result<(), Failure> {
    let seconds = |milliseconds: u64| format!("{}.{} s ago", milliseconds / 1000, milliseconds / 100 % 10);
    let heard = |node: &ClusterNode| match (node.this, node.heard_ms) {
        (true, _) => "this one".to_owned(),
        (false, Some(heard)) => seconds(heard),
        (false, None) => "silent".to_owned(),
    };
    let row = |node: &ClusterNode| {
        [node.name.clone(), node.version.clone(), node.since.clone(), seconds(node.seen_ms), heard(node)]
    };
    table(["NODE", "VERSION", "SINCE", "IN THE DATABASE", "HEARD"], status.nodes.iter().map(row))?;
    match status.nats {
        true => line("NATS is connected."),
        false => line(&format!(
            "NATS cannot be used from here: {}. Until it can, devices hear of other nodes' messages some seconds late, \
             and limits count by node.",
            status.trouble.as_deref().unwrap_or("it was not reached yet; check cluster.nats and the server's log")
        )),
    }
}
