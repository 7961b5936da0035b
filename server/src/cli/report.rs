//! Commands that ask how things are, and few that say or tidy something: `stats`, `announce`, `disclose`, `gc`.

use super::{
    Announce, Common, Disclose, Failure, Gc,
    operate::{operate, operate_live},
    print::{line, print_json, size},
};
use crate::admin::{Answer, Disclosure, Request, Stats};
use serde_json::{Value, json};
use std::process::ExitCode;

fn other_answer() -> Failure {
    Failure::unexpected("the server answered something else than was asked")
}

pub(super) fn stats(common: &Common) -> Result<ExitCode, Failure> {
    let Answer::Stats(stats) = operate(common, &Request::Stats)? else { return Err(other_answer()) };
    match common.json {
        true => print_json(&stats)?,
        false => print_stats(&stats)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print_stats(stats: &Stats) -> Result<(), Failure> {
    let running = match (stats.uptime_seconds, stats.connections) {
        (Some(seconds), Some(connections)) => {
            let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
            format!("running for {days} d {hours:02}:{minutes:02}, {connections} devices connected")
        }
        _ => "stopped".to_owned(),
    };
    let database = match stats.database.as_str() {
        "memory" => "in memory, gone when the server ends",
        kind => kind,
    };
    let facts = [
        ("server", format!("Waxwing {}, {running}", stats.version)),
        ("database", format!("{database}, {}", size(stats.database_bytes))),
        ("accounts", format!("{} ({} disabled), {} devices", stats.accounts, stats.disabled, stats.devices)),
        ("chats", stats.conversations.to_string()),
        (
            "waiting",
            format!("{} entries ({}), {} in inboxes", stats.entries, size(stats.entry_bytes), stats.inbox_items),
        ),
        ("files", format!("{} ({})", stats.attachments, size(stats.attachment_bytes))),
        ("backups", format!("{} ({})", stats.backups, size(stats.backup_bytes))),
        (
            "each account",
            format!(
                "at most {} waiting, {} of files, {} of backup",
                size(stats.waiting_quota),
                size(stats.attachment_quota),
                size(stats.backup_quota)
            ),
        ),
        ("key packages", stats.key_packages.to_string()),
    ];
    facts.iter().try_for_each(|(name, value)| line(&format!("{name:<14}{value}")))
}

pub(super) fn announce(command: &Announce) -> Result<ExitCode, Failure> {
    let request = Request::Announce { text: command.text.clone() };
    let Answer::Announced { devices } = operate_live(&command.common, &request)? else { return Err(other_answer()) };
    match command.common.json {
        true => print_json(&json!({ "devices": devices }))?,
        false => line(&format!("{devices} devices are connected and were told; nobody else will be"))?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn gc(command: &Gc) -> Result<ExitCode, Failure> {
    let request = Request::CollectGarbage { dry_run: command.dry_run };
    let Answer::Garbage(garbage) = operate(&command.common, &request)? else { return Err(other_answer()) };
    if command.common.json {
        print_json(&garbage)?;
        return Ok(ExitCode::SUCCESS);
    }
    line(match garbage.dry_run {
        true => "Nothing was deleted. This is what would be:",
        false => "Deleted:",
    })?;
    let for_days = |days: u32, kept: &str| match days {
        0 => format!("kept {kept}"),
        1 => "after 1 day".to_owned(),
        days => format!("after {days} days"),
    };
    let bytes = if garbage.dry_run { format!(" ({})", size(garbage.bytes)) } else { String::new() };
    let devices = garbage.devices.map_or_else(|| "–".to_owned(), |count| count.to_string());
    let kinds = [
        ("messages", format!("{}{bytes}", garbage.entries), for_days(garbage.retention_days, "until they are fetched")),
        ("notices", garbage.inbox_items.to_string(), for_days(garbage.inbox_days, "until they are fetched")),
        (
            "files",
            garbage.attachments.to_string(),
            format!("{}, or never finished", for_days(garbage.attachment_days, "until they are deleted")),
        ),
        (
            "invites",
            garbage.invites.to_string(),
            format!("used up or ended, {}", for_days(garbage.invite_days, "until they are revoked")),
        ),
        ("key packages", garbage.key_packages.to_string(), "about to lose their validity".to_owned()),
        (
            "devices",
            devices,
            match (garbage.devices, garbage.idle_days) {
                (None, _) => "looked at by the running server only".to_owned(),
                (_, 0) => "signed in for too long".to_owned(),
                (_, days) => format!("silent for more than {days} days, or signed in for too long"),
            },
        ),
    ];
    kinds.iter().try_for_each(|(kind, count, when)| line(&format!("  {kind:<14}{count:<16}{when}")))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn disclose(command: &Disclose) -> Result<ExitCode, Failure> {
    let request = Request::Disclose { username: command.username.clone() };
    let Answer::Disclosure(known) = operate(&command.common, &request)? else { return Err(other_answer()) };
    match command.common.json {
        true => print_json(&known)?,
        false => print_disclosure(&known)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print_disclosure(known: &Disclosure) -> Result<(), Failure> {
    line(&format!("All that this server knows of {}. Connected now: {}.", known.username, known.connections))?;
    line("It cannot read messages, profiles or keys: what only the account's devices can open is told by its size.")?;
    for table in &known.tables {
        line("")?;
        line(&table.table)?;
        for row in &table.rows {
            line("  -")?;
            for (name, value) in row.iter().filter(|(_, value)| !value.is_null()) {
                let meaning = table.columns.get(name).and_then(Value::as_str).unwrap_or_default();
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                line(&format!("    {name:<20} {value:<34} {meaning}"))?;
            }
        }
    }
    Ok(())
}
