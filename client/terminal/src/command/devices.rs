//! `devices`, `devices rename`, `devices revoke`, `devices repair`.

use super::owner::{OwnerCall, say_settled};
use crate::{
    Failure,
    cli::{DevicesCommand, Options},
    output::{self, date_and_time, print, print_json},
    prompt,
    rpc::{
        Backend, Nothing, Purpose,
        account::{
            DeviceObject, Devices, OwnerParams, RenameDevice, RenameParams, RepairDevices, RevokeDevices, RevokeParams,
        },
        profile::CatchUp,
    },
    sanitise::{Breaks, sanitise},
};
use jiff::{Timestamp, tz::TimeZone};
use std::{fmt::Write as _, time::Duration};

/// How long listing waits for the server before it tells what this device knows.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn devices(options: &Options, command: Option<DevicesCommand>) -> Result<(), Failure> {
    match command {
        None => list(options).await,
        Some(DevicesCommand::Rename { device, name }) => rename(options, device, name).await,
        Some(DevicesCommand::Revoke { devices, lost, yes }) => revoke(options, devices, lost, yes).await,
        Some(DevicesCommand::Repair) => repair(options).await,
    }
}

async fn list(options: &Options) -> Result<(), Failure> {
    let backend = Backend::open(options, Purpose::Once).await?;
    let reached = backend.call::<CatchUp>(PATIENCE.into()).await;
    let devices = backend.call::<Devices>(Nothing {}).await;
    backend.close().await;
    let devices = devices?.devices;
    if options.json {
        return devices.iter().try_for_each(|device| Ok(print_json(device)?));
    }
    if let Err(error) = reached {
        let reason = sanitise(&error.to_string(), Breaks::Spaces);
        output::warn(&format!("not connected, so this is what the device knew last: {reason}"));
    }
    Ok(print(&table(&devices))?)
}

/// One line per device.
fn table(devices: &[DeviceObject]) -> String {
    let name = |device: &DeviceObject| shown(device);
    let width = devices.iter().map(|device| name(device).chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for device in devices {
        let id = device.id.get(..8).unwrap_or(&device.id);
        let since = shown_time(&device.since);
        let this = if device.this { "  (this device)" } else { "" };
        let seen = match (device.signed_in, &device.seen_on) {
            (Some(false), _) => "  signed out by the server".to_owned(),
            (_, Some(day)) => format!("  last seen {}", sanitise(day, Breaks::Spaces)),
            (_, None) => String::new(),
        };
        let _ = writeln!(text, "{id}  {:width$}  since {since}{seen}{this}", name(device));
    }
    text.trim_end().to_owned()
}

/// A time as people read it, in their own zone.
fn shown_time(rfc3339: &str) -> String {
    match rfc3339.parse::<Timestamp>().ok().and_then(|time| u64::try_from(time.as_millisecond()).ok()) {
        Some(time_ms) => date_and_time(time_ms, &TimeZone::system()),
        None => sanitise(rfc3339, Breaks::Spaces),
    }
}

/// A device's name as the screen may show it.
pub(super) fn shown(device: &DeviceObject) -> String {
    device.name.as_deref().map_or_else(|| "(no name)".to_owned(), |name| sanitise(name, Breaks::Spaces))
}

async fn rename(options: &Options, device: String, name: String) -> Result<(), Failure> {
    let call = OwnerCall::begin(options).await?;
    let password = call.password.clone();
    let device = call.run::<RenameDevice>(options, RenameParams { device, name, password }).await?;
    match options.json {
        true => Ok(print_json(&device)?),
        false => Ok(print(&format!("Device {} is now called {}.", &device.id.get(..8).unwrap_or(""), shown(&device)))?),
    }
}

async fn revoke(options: &Options, devices: Vec<String>, lost: bool, yes: bool) -> Result<(), Failure> {
    if !yes && !options.json && prompt::is_possible() {
        let question = match lost {
            true => "They are signed out for good and the account gets new keys. Go on?",
            false => "They are signed out for good; what they hold already stays on them. Go on?",
        };
        if !prompt::confirm(question, true).await? {
            return Ok(print("Nothing was changed.")?);
        }
    }
    let call = OwnerCall::begin(options).await?;
    let password = call.password.clone();
    let revoked = call.run::<RevokeDevices>(options, RevokeParams { devices, lost, password }).await?;
    if options.json {
        return Ok(print_json(&revoked)?);
    }
    for device in &revoked.revoked {
        print(&format!("Signed out: {} {}", device.id.get(..8).unwrap_or(""), shown(device)))?;
    }
    if revoked.identity_renewed {
        print("The account has new keys; your contacts are told, and that the old ones vouch for them.")?;
    }
    say_settled(revoked.out_of_all_chats)
}

async fn repair(options: &Options) -> Result<(), Failure> {
    let call = OwnerCall::begin(options).await?;
    let password = call.password.clone();
    let devices = call.run::<RepairDevices>(options, OwnerParams { password }).await?.devices;
    if options.json {
        return devices.iter().try_for_each(|device| Ok(print_json(device)?));
    }
    print(&table(&devices))?;
    Ok(print("These are the account's devices now. One that is missing here comes back with 'waxwing login' on it.")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_line_whose_name_cannot_move_the_cursor() {
        let device = |name: &str, this| DeviceObject {
            id: "0123456789abcdef0123456789abcdef".into(),
            name: Some(name.into()),
            since: "2026-11-21T14:02:00Z".into(),
            this,
            signed_in: Some(this),
            seen_on: this.then(|| "2026-11-20".into()),
        };
        let text = table(&[device("laptop", true), device("a\u{1b}[2Jb", false)]);
        assert!(text.contains("last seen 2026-11-20") && text.contains("signed out by the server"), "{text}");
        assert!(text.starts_with("01234567  laptop"), "{text}");
        assert!(text.contains("(this device)"), "{text}");
        assert!(text.contains("since 2026-11-2") && !text.contains("14:02:00Z"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
