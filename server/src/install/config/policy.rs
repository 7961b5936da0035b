//! The part of the configuration that says who gets in and how much: the sections `limits`, `sessions`, `usernames` and
//! `room`.
//!
//! It is read and written like the rest, by [`super::Config`]. It must not know who enforces it.

use super::{YesNo, number};
use crate::rules::{Limits, Rate, Room, SessionRules, Usernames};
use std::path::Path;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How often things may be done.
    pub limits: Limits,
    /// How many may be signed in, and for how long.
    pub sessions: SessionRules,
    /// What accounts may be called.
    pub usernames: Usernames,
    /// Mebibytes of disk that must be free for new accounts.
    pub room_disk_mib: u32,
    /// Mebibytes of memory.
    pub room_memory_mib: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            sessions: SessionRules::default(),
            usernames: Usernames::default(),
            room_disk_mib: 256,
            room_memory_mib: 64,
        }
    }
}

impl Policy {
    /// Sets one value; none if there is no such setting here.
    pub(super) fn set(&mut self, setting: &str, value: &str) -> Option<Result<(), String>> {
        Some(self.try_set(setting, value).transpose()?.map(drop))
    }

    /// `Ok(None)`: there is no such setting.
    fn try_set(&mut self, setting: &str, value: &str) -> Result<Option<()>, String> {
        let Self { limits, sessions, usernames, .. } = self;
        let rate = match setting {
            "limits.sign_ups" => Some(&mut limits.sign_ups),
            "limits.login_failures" => Some(&mut limits.login_failures),
            "limits.account_login_failures" => Some(&mut limits.account_login_failures),
            "limits.probes" => Some(&mut limits.probes),
            "limits.tunnels" => Some(&mut limits.tunnels),
            "limits.look_ups" => Some(&mut limits.look_ups),
            "limits.key_packages" => Some(&mut limits.key_packages),
            "limits.key_packages_of_one" => Some(&mut limits.key_packages_of_one),
            "limits.messages" => Some(&mut limits.messages),
            "limits.upload_kib" => Some(&mut limits.upload_kib),
            "limits.codes" => Some(&mut limits.codes),
            _ => None,
        };
        if let Some(rate) = rate {
            *rate = Rate::setting(value)?;
            return Ok(Some(()));
        }
        match setting {
            "limits.loopback" => limits.loopback = value.parse::<YesNo>()? == YesNo::Yes,
            "sessions.per_account" => sessions.per_account = number(value, 0, 1_000_000)?,
            "sessions.per_address" => sessions.per_address = number(value, 0, 1_000_000)?,
            "sessions.lifetime_days" => sessions.lifetime_days = number(value, 0, 36_500)?,
            "sessions.idle_days" => sessions.idle_days = number(value, 0, 36_500)?,
            "usernames.least" => usernames.least = number(value, 3, 32)?,
            "usernames.most" => usernames.most = number(value, 3, 32)?,
            "usernames.reserved" => usernames.reserved = reserved(value)?,
            "room.disk_mib" => self.room_disk_mib = number(value, 0, u32::MAX)?,
            "room.memory_mib" => self.room_memory_mib = number(value, 0, u32::MAX)?,
            _ => return Ok(None),
        }
        Ok(Some(()))
    }

    /// Checks what concerns several values.
    pub(super) fn validate(&self) -> Result<(), String> {
        let Usernames { least, most, .. } = &self.usernames;
        match least <= most {
            true => Ok(()),
            false => Err(format!("usernames.least is {least}, more than usernames.most, which is {most}")),
        }
    }

    /// What must be free for new accounts, on this folder's disk.
    pub fn room(&self, folder: &Path) -> Room {
        Room { folder: folder.to_owned(), disk_mib: self.room_disk_mib, memory_mib: self.room_memory_mib }
    }

    /// Its sections of the configuration file.
    pub(super) fn render(&self) -> String {
        let Self { limits, sessions, usernames, room_disk_mib, room_memory_mib } = self;
        let rate = |rate: Option<Rate>| rate.map_or_else(|| "off".to_owned(), |rate| rate.to_string());
        let reserved: Vec<String> = usernames.reserved.iter().map(|name| format!("\"{name}\"")).collect();
        format!(
            include_str!("policy.toml.in"),
            loopback = if limits.loopback { YesNo::Yes } else { YesNo::No },
            sign_ups = rate(limits.sign_ups),
            login_failures = rate(limits.login_failures),
            account_login_failures = rate(limits.account_login_failures),
            probes = rate(limits.probes),
            tunnels = rate(limits.tunnels),
            look_ups = rate(limits.look_ups),
            key_packages = rate(limits.key_packages),
            key_packages_of_one = rate(limits.key_packages_of_one),
            messages = rate(limits.messages),
            upload_kib = rate(limits.upload_kib),
            codes = rate(limits.codes),
            per_account = sessions.per_account,
            per_address = sessions.per_address,
            lifetime_days = sessions.lifetime_days,
            idle_days = sessions.idle_days,
            least = usernames.least,
            most = usernames.most,
            reserved = reserved.join(", "),
            disk_mib = room_disk_mib,
            memory_mib = room_memory_mib,
        )
    }
}

/// Names separated by commas.
fn reserved(text: &str) -> Result<Vec<String>, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let fits = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    names
        .map(|name| match fits(name) {
            true => Ok(name.to_owned()),
            false => Err(format!("{name:?} cannot be a username: letters, digits, _, . and - are possible")),
        })
        .collect()
}
