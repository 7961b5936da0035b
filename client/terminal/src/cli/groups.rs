//! `group …` and `room …`.

use clap::Subcommand;

/// Where a group is given: its id (`+` and digits, as `waxwing chats` shows it), or what it is called.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// Make a group; prints its id
    Create {
        /// What it is called
        name: String,
        /// Who is in it from the beginning, beside you
        users: Vec<String>,
    },
    /// Show a group and who is in it
    Show {
        /// The group
        group: String,
    },
    /// Let users in (admins)
    Invite {
        /// The group
        group: String,
        /// Who
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Put users out (admins)
    Remove {
        /// The group
        group: String,
        /// Who
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Make a member an admin (admins)
    Promote {
        /// The group
        group: String,
        /// Who
        user: String,
    },
    /// Take an admin's rights away (admins)
    Demote {
        /// The group
        group: String,
        /// Who
        user: String,
    },
    /// Call it otherwise (admins)
    Rename {
        /// The group
        group: String,
        /// The new name
        name: String,
    },
    /// Say what it is about (admins)
    Topic {
        /// The group
        group: String,
        /// The topic; '' for none
        topic: String,
    },
    /// Let newcomers see so many of the last messages (admins)
    History {
        /// The group
        group: String,
        /// How many, at most 1000; 0 for none
        messages: u32,
    },
    /// Leave it, with all your devices; your history stays
    Leave {
        /// The group
        group: String,
    },
}

/// Rooms are given as #name; the shell needs quotes around it.
#[derive(Debug, Subcommand)]
pub(crate) enum RoomCommand {
    /// List the server's public rooms
    List,
    /// Come into a room; makes it if there is none
    Join {
        /// The room
        room: String,
    },
    /// Leave it, with all your devices; your history stays
    Leave {
        /// The room
        room: String,
    },
    /// Show a room and who is in it
    Show {
        /// The room
        room: String,
    },
    /// Bring users in
    Invite {
        /// The room
        room: String,
        /// Who
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Put users out; they come back only if an admin invites them (admins)
    Remove {
        /// The room
        room: String,
        /// Who
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Make a member an admin (admins)
    Promote {
        /// The room
        room: String,
        /// Who
        user: String,
    },
    /// Take an admin's rights away (admins)
    Demote {
        /// The room
        room: String,
        /// Who
        user: String,
    },
    /// Say what it is about (admins)
    Topic {
        /// The room
        room: String,
        /// The topic; '' for none
        topic: String,
    },
    /// Let newcomers see so many of the last messages (admins)
    History {
        /// The room
        room: String,
        /// How many, at most 1000; 0 for none
        messages: u32,
    },
}
