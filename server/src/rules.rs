//! What the operator allows: who gets in, how much they may do, and what is kept. Plain values.
//!
//! Invariant: they are replaced as a whole, so nobody sees half of a change. It must not know where they were written down, or
//! who keeps count.

mod http;
mod rate;
mod retention;
mod usernames;

pub use crate::codes::{CodePolicy, CodeRules};
pub use http::HttpRules;
pub use rate::Rate;
pub use retention::Retention;
pub(crate) use retention::before as days_before;
pub use usernames::Usernames;

use crate::{mail::Mailer, relay::SignUpRule};
use std::{path::PathBuf, sync::Arc};
use waxwing_protocol::RoomName;

/// See the module.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Who may sign up.
    pub sign_up: SignUpRule,
    /// What accounts may be called.
    pub usernames: Usernames,
    /// How often things may be done.
    pub limits: Limits,
    /// How many may be signed in, and for how long.
    pub sessions: SessionRules,
    /// What one-time codes are needed for, and how they are.
    pub codes: CodeRules,
    /// Sends them; without one, none are asked for.
    pub mailer: Option<Arc<Mailer>>,
    /// The domains of e-mail addresses that new accounts may give; none: all.
    pub email_domains: Vec<String>,
    /// What must be free for new accounts.
    pub room: Room,
    /// How long things are kept that nobody fetches or uses.
    pub retention: Retention,
    /// Whether messages go to who is connected, and are kept for nobody.
    pub relay_only: bool,
    /// The bytes of what one account has sent that may wait to be fetched.
    pub waiting_quota: u64,
    /// The bytes that the segments of one account's backup may take.
    pub backup_quota: u64,
    /// What holds for groups and rooms.
    pub rooms: RoomRule,
    /// What accounts may leave here for others to fetch.
    pub attachments: AttachmentRules,
    /// Connections beyond this many are closed at once.
    pub max_connections: usize,
    /// Of the HTTP door.
    pub http: HttpRules,
}

impl Default for Rules {
    /// As the configuration has it if nothing is said, but for the machine's room, which nobody looks at.
    fn default() -> Self {
        Self {
            sign_up: SignUpRule::Invite,
            usernames: Usernames::default(),
            limits: Limits::default(),
            sessions: SessionRules::default(),
            codes: CodeRules::default(),
            mailer: None,
            email_domains: Vec::new(),
            room: Room { folder: PathBuf::from("/"), disk_mib: 0, memory_mib: 0 },
            retention: Retention::default(),
            relay_only: false,
            waiting_quota: 1 << 30,
            backup_quota: 1 << 30,
            rooms: RoomRule::default(),
            attachments: AttachmentRules::default(),
            max_connections: 10_000,
            http: HttpRules::default(),
        }
    }
}

/// What holds for groups and rooms.
#[derive(Clone, Debug)]
pub struct RoomRule {
    /// How many accounts one may have.
    pub members: u32,
    /// The room that new accounts come into.
    pub default: Option<RoomName>,
}

impl Default for RoomRule {
    fn default() -> Self {
        Self { members: 250, default: None }
    }
}

/// How much accounts may leave here for others to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachmentRules {
    /// The bytes that the attachments of one account may take.
    pub quota: u64,
    /// The bytes of the largest one.
    pub largest: u64,
    /// The days that they are kept; 0: until they are deleted.
    pub days: u32,
}

impl Default for AttachmentRules {
    fn default() -> Self {
        Self { quota: 10 << 30, largest: 2 << 30, days: 30 }
    }
}

/// How often things may be done; none: as often as somebody likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Whether what counts by address counts for this machine's own addresses too. A proxy on this machine has such a one.
    pub loopback: bool,
    /// Sign-ups that are tried from an address.
    pub sign_ups: Option<Rate>,
    /// Logins that fail, by address.
    pub login_failures: Option<Rate>,
    /// Logins with a password that fail, by account.
    pub account_login_failures: Option<Rate>,
    /// What is asked before signing in, by address.
    pub probes: Option<Rate>,
    /// WebSockets that are opened without a ticket, by address.
    pub tunnels: Option<Rate>,
    /// Records of accounts that an account looks up.
    pub look_ups: Option<Rate>,
    /// Key packages that an account asks for.
    pub key_packages: Option<Rate>,
    /// The same, of one other account.
    pub key_packages_of_one: Option<Rate>,
    /// Messages and commits of an account.
    pub messages: Option<Rate>,
    /// KiB that an account sends.
    pub upload_kib: Option<Rate>,
    /// Codes sent by e-mail, by address of the network and by address of the e-mail.
    pub codes: Option<Rate>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            loopback: false,
            sign_ups: Some(Rate::per_hour(60, 60)),
            login_failures: Some(Rate::per_hour(60, 60)),
            account_login_failures: Some(Rate::per_hour(30, 60)),
            probes: Some(Rate::per_second(600, 5)),
            tunnels: Some(Rate::per_minute(60, 20)),
            look_ups: Some(Rate::per_second(5000, 10)),
            key_packages: Some(Rate::per_second(5000, 5)),
            key_packages_of_one: Some(Rate::per_hour(100, 60)),
            messages: Some(Rate::per_second(100_000, 1000)),
            upload_kib: Some(Rate::per_second(1024 * 1024, 16 * 1024)),
            codes: Some(Rate::per_hour(10, 10)),
        }
    }
}

/// How many may be signed in, and for how long; 0 means without a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRules {
    /// Devices of one account at a time.
    pub per_account: u32,
    /// Devices from one address at a time.
    pub per_address: u32,
    /// Days after its enrolment when a device is signed out.
    pub lifetime_days: u32,
    /// Days without a connection after which it is.
    pub idle_days: u32,
}

impl Default for SessionRules {
    /// Any number, for as long as they come now and then: what waits for a device that never does, waits for nothing.
    fn default() -> Self {
        Self { per_account: 0, per_address: 0, lifetime_days: 0, idle_days: 90 }
    }
}

/// What must be free, or there are no new accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// On this folder's disk.
    pub folder: PathBuf,
    /// Mebibytes there; 0 does not look.
    pub disk_mib: u32,
    /// Mebibytes of memory; 0 does not look.
    pub memory_mib: u32,
}

impl Room {
    /// What there is too little of, if anything. What the system does not tell counts as enough.
    pub(crate) fn lacks(&self) -> Option<&'static str> {
        let below = |free: Option<u64>, least: u32| free.is_some_and(|free| free < u64::from(least) << 20);
        if self.disk_mib > 0 && below(free_disk(&self.folder), self.disk_mib) {
            return Some("disk");
        }
        (self.memory_mib > 0 && below(free_memory(), self.memory_mib)).then_some("memory")
    }
}

fn free_disk(folder: &std::path::Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// What Linux says could be used without swapping.
fn free_memory() -> Option<u64> {
    let table = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = table.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_looked_for_only_where_it_was_asked_for() {
        let room = |disk_mib, memory_mib| Room { folder: "/".into(), disk_mib, memory_mib }.lacks();
        assert_eq!(room(0, 0), None);
        assert_eq!(room(u32::MAX, 0), Some("disk"));
        assert_eq!(room(0, u32::MAX), Some("memory"));
        assert_eq!(Room { folder: "/no/such".into(), disk_mib: u32::MAX, memory_mib: 0 }.lacks(), None);
    }
}
