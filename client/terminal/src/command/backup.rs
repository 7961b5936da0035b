//! `backup status`, `now`, `drill`, `off`, `on`.

use crate::{
    Failure,
    cli::{BackupCommand, Options},
    command::ask,
    output::{bytes, date_and_time, print, print_json},
    prompt::{self, RestoreBar},
    rpc::{
        Backend, Nothing, Purpose,
        backup::{
            BackupDrill, BackupNow, BackupObject, BackupStatus, BackupSwitch, DrillObject, Restore, RestoredObject,
            SwitchParams,
        },
    },
    sanitise::{Breaks, sanitise},
};
use jiff::{Timestamp, tz::TimeZone};
use waxwing_core::{Client, ProfilePath, Unlock};

pub(crate) async fn run(options: &Options, command: BackupCommand) -> Result<(), Failure> {
    match command {
        BackupCommand::Status => {
            let status = ask::<BackupStatus>(options, Nothing {}).await?;
            show(options, &status)?;
            if status.stale { Err(Failure::StaleBackup) } else { Ok(()) }
        }
        BackupCommand::Now => show(options, &ask::<BackupNow>(options, Nothing {}).await?),
        BackupCommand::Drill => drill(options).await,
        BackupCommand::On => show(options, &ask::<BackupSwitch>(options, SwitchParams { on: true }).await?),
        BackupCommand::Off { yes } => {
            confirm_off(yes).await?;
            show(options, &ask::<BackupSwitch>(options, SwitchParams { on: false }).await?)
        }
    }
}

async fn confirm_off(yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !prompt::is_possible() {
        return Err(Failure::usage("this deletes the backup at the server", "add --yes if you mean it"));
    }
    let question = "Delete the backup at the server? A new device will then start with an empty history";
    match prompt::confirm(question, false).await? {
        true => Ok(()),
        false => Err(Failure::usage("nothing was deleted", "the backup stays as it was")),
    }
}

fn show(options: &Options, status: &BackupObject) -> Result<(), Failure> {
    if options.json {
        return Ok(print_json(status)?);
    }
    for line in lines(status) {
        print(&line)?;
    }
    Ok(())
}

/// How much came back, and what is wrong with the rest.
pub(crate) type Restored = Result<(RestoredObject, Option<String>), Failure>;

/// After a login: waits until the backup is restored, with a bar, and returns what became of it.
pub(crate) async fn restore(profile: &ProfilePath, unlock: Unlock, shown: bool) -> Restored {
    let client = Client::open(profile, unlock).await?;
    restore_with(Backend::own(profile, client, None, Purpose::Once), shown).await
}

/// The same with a profile that is open already; closes it.
pub(crate) async fn restore_with(backend: Backend, shown: bool) -> Restored {
    let bar = RestoreBar::new(shown);
    let restored = backend
        .call_with_progress::<Restore>(Nothing {}, |progress| bar.show(progress.done, progress.total.unwrap_or(0)))
        .await;
    drop(bar);
    let status = backend.call::<BackupStatus>(Nothing {}).await;
    backend.close().await;
    Ok((restored?, status?.error))
}

/// What became of it, for people.
pub(crate) fn restored_words(outcome: &Restored) -> String {
    match outcome {
        Ok((restored, None)) if restored.total == 0 => "The backup has no messages yet.".into(),
        Ok((restored, error)) => {
            let said = format!("{} of {} messages restored.", restored.done, restored.total);
            match error {
                Some(error) => format!("{said}\n! the backup: {}", sanitise(error, Breaks::Spaces)),
                None => said,
            }
        }
        Err(error) => format!(
            "! the messages of the backup are not here yet: {}\n  next: they come when this device is online ('waxwing backup status')",
            sanitise(&error.to_string(), Breaks::Spaces)
        ),
    }
}

/// The status for people.
fn lines(status: &BackupObject) -> Vec<String> {
    if !status.enabled {
        return vec!["backup    off. 'waxwing backup on' begins one".into()];
    }
    let time = status.stored_at.as_deref().and_then(|time| time.parse::<Timestamp>().ok());
    let age = match (time, status.age_seconds) {
        (Some(time), Some(age)) => {
            let at = date_and_time(u64::try_from(time.as_millisecond()).unwrap_or(0), &TimeZone::system());
            format!("{} ago ({at})", span(age))
        }
        _ => "none yet".to_owned(),
    };
    let mut lines = vec![
        format!("backup    {age}"),
        format!("messages  {} of {} are in it", status.covered, status.messages),
        format!(
            "size      {}{}",
            bytes(status.used),
            match status.quota {
                0 => String::new(),
                quota => format!(" of {}", bytes(quota)),
            }
        ),
    ];
    for gap in &status.gaps {
        let chat = sanitise(&gap.chat, Breaks::Spaces);
        let messages = if gap.messages == 1 { "message" } else { "messages" };
        lines.push(format!("missing   {} {messages} with {chat} (places {} to {})", gap.messages, gap.first, gap.last));
    }
    if let Some(progress) = &status.restoring {
        lines.push(format!("restoring {} of {} messages are here", progress.done, progress.total));
    }
    if let Some(error) = &status.error {
        lines.push(format!("failed    {}", sanitise(error, Breaks::Spaces)));
    }
    lines
}

async fn drill(options: &Options) -> Result<(), Failure> {
    let report = ask::<BackupDrill>(options, Nothing {}).await?;
    if options.json {
        print_json(&report)?;
    } else {
        for line in drill_lines(&report) {
            print(&line)?;
        }
    }
    if report.different > 0 { Err(Failure::DifferentBackup(report.different)) } else { Ok(()) }
}

fn drill_lines(report: &DrillObject) -> Vec<String> {
    let mut lines = vec![
        format!("restored  {} messages, into a database that is gone again", report.messages,),
        format!("the same  {}", report.same),
    ];
    if report.not_yet > 0 {
        lines.push(format!(
            "not yet   {} messages of this device are not in the backup; 'waxwing backup now' adds them",
            report.not_yet
        ));
    }
    if report.elsewhere > 0 {
        lines.push(format!("elsewhere {} messages are in the backup and not on this device", report.elsewhere));
    }
    for one in &report.differences {
        let (chat, what) = (sanitise(&one.chat, Breaks::Spaces), sanitise(&one.what, Breaks::Spaces));
        lines.push(format!("differs   {chat}, place {}: {what}", one.seq));
    }
    lines
}

fn span(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86400 => (seconds / 3600, "hour"),
        _ => (seconds / 86400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_how_old_and_how_whole_it_is() {
        assert_eq!(
            (span(1), span(59), span(3600), span(200_000)),
            ("1 second".into(), "59 seconds".into(), "1 hour".into(), "2 days".into())
        );
        assert_eq!((bytes(12), bytes(4096), bytes(3 << 20)), ("12 bytes".into(), "4 KiB".into(), "3.0 MiB".into()));
        let mut status: BackupObject =
            waxwing_core::BackupStatus { enabled: true, covered: 3, messages: 4, ..Default::default() }.into();
        status.error = Some("it was swapped\u{1b}[2J".into());
        let lines = lines(&status);
        assert_eq!(lines[0], "backup    none yet");
        assert_eq!(lines[1], "messages  3 of 4 are in it");
        assert!(lines.iter().any(|line| line == "failed    it was swapped␛[2J"), "{lines:?}");
    }
}
