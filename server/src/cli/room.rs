//! `waxwing-server room …`: the public rooms, as the operator sees and ends them. What private groups there are, or what is
//! said anywhere, the server does not know.

use super::{
    Common, Failure,
    operate::operate,
    print::{line, print_json, table},
};
use crate::admin::{Answer, Request, Room};
use clap::{Args, Subcommand};
use serde_json::json;
use std::process::ExitCode;

#[derive(Subcommand)]
pub(super) enum RoomCommand {
    /// List the public rooms.
    List(Common),
    /// Delete a room: nobody can write in it any more, and its name is free. Members keep what they have read.
    Delete(Delete),
}

#[derive(Args)]
pub(super) struct Delete {
    /// The room.
    room: String,
    /// Say that it is meant.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

impl RoomCommand {
    pub(super) fn common(&self) -> &Common {
        match self {
            Self::List(common) => common,
            Self::Delete(delete) => &delete.common,
        }
    }
}

pub(super) fn room(command: &RoomCommand) -> Result<ExitCode, Failure> {
    let common = command.common();
    let request = match command {
        RoomCommand::List(_) => Request::ListRooms,
        RoomCommand::Delete(delete) if !delete.yes => {
            let message = format!("deleting the room {:?} cannot be undone", delete.room);
            return Err(Failure::user("not-confirmed", message, "pass --yes"));
        }
        RoomCommand::Delete(delete) => Request::DeleteRoom { room: delete.room.clone() },
    };
    match operate(common, &request)? {
        Answer::Rooms(rooms) => list(&rooms, common.json)?,
        Answer::Done { .. } if common.json => print_json(&json!({ "deleted": true }))?,
        Answer::Done { .. } => line("The room is deleted.")?,
        _ => return Err(Failure::unexpected("the server answered something else than was asked")),
    }
    Ok(ExitCode::SUCCESS)
}

fn list(rooms: &[Room], json: bool) -> Result<(), Failure> {
    if json {
        return rooms.iter().try_for_each(print_json);
    }
    if rooms.is_empty() {
        return line("There are no public rooms.");
    }
    table(["ROOM", "MEMBERS"], rooms.iter().map(|room| [room.room.clone(), room.members.to_string()]))
}
