//! `waxwing-server check`: everything that `run` needs, tested one by one, and nothing changed.

use super::{
    Failure, block_on,
    run::{bind, refuse_oversight, secret_missing},
};
use crate::install::{
    Config, Database, Folder, Installation, SignUp, Web, YesNo, database, examine_attachments, web_certificate,
};
use serde_json::json;
use std::{process::ExitCode, sync::Arc};

enum Outcome {
    Ok(String),
    Failed(Failure),
    Skipped(&'static str),
}

struct Report(Vec<(&'static str, Outcome)>);

impl Report {
    /// Notes an outcome and hands on what was found.
    fn note<T>(&mut self, name: &'static str, result: Result<(T, String), Failure>) -> Option<T> {
        let (value, outcome) = match result {
            Ok((value, detail)) => (Some(value), Outcome::Ok(detail)),
            Err(failure) => (None, Outcome::Failed(failure)),
        };
        self.0.push((name, outcome));
        value
    }

    fn skip(&mut self, name: &'static str, reason: &'static str) {
        self.0.push((name, Outcome::Skipped(reason)));
    }
}

pub(super) fn check(command: &super::Check) -> Result<ExitCode, Failure> {
    let mut report = Report(Vec::new());
    examine(command, &mut report)?;
    let failed = report.0.iter().any(|(_, outcome)| matches!(outcome, Outcome::Failed(_)));
    if command.common.json {
        let checks = report.0.iter().map(|(name, outcome)| match outcome {
            Outcome::Ok(detail) => json!({"name": name, "result": "ok", "detail": detail}),
            Outcome::Skipped(reason) => json!({"name": name, "result": "skipped", "detail": reason}),
            Outcome::Failed(failure) => json!({
                "name": name, "result": "failed", "detail": failure.message, "code": failure.code, "next": failure.next
            }),
        });
        println!("{}", json!({"ok": !failed, "checks": checks.collect::<Vec<_>>()}));
    } else {
        for (name, outcome) in &report.0 {
            match outcome {
                Outcome::Ok(detail) => println!("ok       {name:<14} {detail}"),
                Outcome::Skipped(reason) => println!("skipped  {name:<14} {reason}"),
                Outcome::Failed(failure) => println!("failed   {name:<14} {}. Next: {}", failure.message, failure.next),
            }
        }
    }
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn examine(command: &super::Check, report: &mut Report) -> Result<(), Failure> {
    let folder = command.common.folder()?;
    let verified = folder.verify().map(|()| ((), folder.path().display().to_string())).map_err(Failure::from);
    if report.note("folder", verified).is_none() {
        return Ok(());
    }
    let config = command.common.config(&folder, &command.overrides.settings());
    let config = config.and_then(|config| refuse_oversight(&config).map(|()| config));
    let config = report.note("configuration", config.map(|config| (config, folder.config().display().to_string())));
    let Some(config) = config else { return Ok(()) };

    let opened = super::server_password(command.common.password_file.as_deref())
        .and_then(|password| Ok(Installation::open(folder.clone(), config.clone(), &password)?))
        .and_then(|opened| match config.sign_up == SignUp::Secret && opened.secrets.sign_up_secret.is_none() {
            true => Err(secret_missing(&config)),
            false => Ok(opened),
        })
        .map(|opened| (opened, format!("it opens {}", folder.sealed().display())));
    let Some(installation) = report.note("password", opened) else { return Ok(()) };
    report.note("identity", Ok(((), format!("pin {}", installation.pin))));
    if let Some(certificate) = certificate(&config.web) {
        report.note("web", certificate.map(|detail| ((), detail)));
    }

    report.note("attachments", block_on(attachments(&folder, &config))?);
    let lock = folder.lock();
    match (&lock, config.database) {
        _ if config.in_memory == YesNo::Yes => report.skip("database", "it is made in memory at each start"),
        (Err(_), Database::Sqlite) => report.skip("database", "a server is running on this folder and has it open"),
        _ => drop(report.note("database", block_on(reach_database(&installation))?)),
    }
    match &lock {
        Err(_) => report.skip("port", "a server is running on this folder"),
        Ok(_) => {
            for (name, address) in [("port", Some(config.listen)), ("proxies", config.web.listen)] {
                let Some(address) = address else { continue };
                let free = block_on(bind(address))?;
                report.note(name, free.map(|_| ((), format!("{address} is free"))));
            }
        }
    }
    Ok(())
}

/// Whether the operator's own certificate can be used, if there is one, and which it is.
fn certificate(config: &Web) -> Option<Result<String, Failure>> {
    let file = config.certificate.as_ref()?;
    let read = web_certificate(config).map_err(Failure::from);
    Some(read.map(|_| format!("HTTPS shows {}", file.display())))
}

/// Whether the database answers, and where it is.
pub(super) async fn reach_database(installation: &Installation) -> Result<((), String), Failure> {
    let Installation { folder, config, secrets, .. } = installation;
    let publish = Arc::new(database::NobodyListens);
    let store = database::open(folder, config, secrets.database_password.as_deref(), publish).await?;
    let answers = store.ping().await.map_err(Failure::unexpected);
    store.close().await;
    answers.map(|()| ((), database::place(folder, config)))
}

/// Whether the place of the attachments can be used, and where it is.
async fn attachments(folder: &Folder, config: &Config) -> Result<((), String), Failure> {
    if config.kept_attachments().quota == 0 {
        return Ok(((), "this server keeps no files".into()));
    }
    examine_attachments(folder, config, super::environment).await.map(|place| ((), place)).map_err(Failure::from)
}
