//! `waxwing-server doctor`: how a server and the machine under it are, and what to do about it.
//!
//! Invariant: it changes nothing, works beside a running server, and needs the password only to look into the database of a
//! stopped one. `check` tests whether a server can start; this tests whether it is well.

use super::{Common, Failure, block_on, check::reach_database, print, reach, run::bind};
use crate::{
    admin::{self, Answer, Files, Reply, Request, Stats},
    install::{Config, Database, Folder, Installation, Web, examine_attachments, password, web_certificate},
};
use rustix::fs::statvfs;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde::Serialize;
use serde_json::json;
use std::{
    fs,
    process::ExitCode,
    time::{Duration, SystemTime},
};
use waxwing_protocol::{Link, ServerHello};
use x509_cert::{Certificate, der::Decode as _};

/// With less free space there will be trouble soon, and with still less there is.
const LITTLE_SPACE: u64 = 1 << 30;
const NO_SPACE: u64 = 64 << 20;
/// More than this between two clocks disturbs people.
const SKEW_MS: u64 = 30_000;
/// A certificate that ends sooner should have been renewed by now.
const RENEWAL: Duration = Duration::from_hours(14 * 24);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    result: Verdict,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

fn ok(name: &'static str, detail: impl Into<String>) -> Finding {
    Finding { name, result: Verdict::Ok, detail: detail.into(), next: None }
}

fn warn(name: &'static str, detail: impl Into<String>, next: impl Into<String>) -> Finding {
    Finding { name, result: Verdict::Warn, detail: detail.into(), next: Some(next.into()) }
}

fn fail(name: &'static str, detail: impl Into<String>, next: impl Into<String>) -> Finding {
    Finding { name, result: Verdict::Fail, detail: detail.into(), next: Some(next.into()) }
}

fn failed(name: &'static str, failure: Failure) -> Finding {
    fail(name, failure.message, failure.next)
}

pub(super) fn doctor(common: &Common) -> Result<ExitCode, Failure> {
    let findings = examine(common)?;
    let healthy = !findings.iter().any(|finding| finding.result == Verdict::Fail);
    if common.json {
        print::print_json(&json!({"ok": healthy, "checks": findings}))?;
    } else {
        for Finding { name, result, detail, next } in &findings {
            let word = match result {
                Verdict::Ok => "ok",
                Verdict::Warn => "warn",
                Verdict::Fail => "FAIL",
            };
            let next = next.as_ref().map(|next| format!(". Next: {next}")).unwrap_or_default();
            print::line(&format!("{word:<5} {name:<14} {detail}{next}"))?;
        }
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn examine(common: &Common) -> Result<Vec<Finding>, Failure> {
    let folder = common.folder()?;
    let mut findings = Vec::new();
    match folder.verify() {
        Ok(()) => findings.push(ok("files", format!("nobody else can read what is in {}", folder.path().display()))),
        Err(error) => {
            findings.push(failed("files", error.into()));
            if !folder.path().is_dir() {
                return Ok(findings);
            }
        }
    }
    findings.push(clock(&folder));
    findings.push(disk(&folder));
    findings.push(certificate(&folder));
    let config = match common.config(&folder, &[]) {
        Ok(config) => config,
        Err(failure) => {
            findings.push(failed("configuration", failure));
            return Ok(findings);
        }
    };
    findings.push(ok("configuration", folder.config().display().to_string()));
    findings.extend(web(&config.web));
    findings.extend(block_on(attachments(&folder, &config))?);
    let stats = running(&folder);
    findings.push(match &stats {
        Ok(Some(stats)) => ok("server", format!("version {} is running", stats.version)),
        Ok(None) => warn("server", "no server runs on this folder", "start it: waxwing-server run"),
        Err(failure) => failed("server", failure.clone()),
    });
    match &stats {
        Ok(Some(stats)) => {
            findings.push(ok("database", format!("{}, answers, and has the tables of this version", stats.database)));
            if stats.version != env!("CARGO_PKG_VERSION") {
                let detail = format!("version {} runs, this program is {}", stats.version, env!("CARGO_PKG_VERSION"));
                findings.push(warn("version", detail, "restart the server"));
            }
        }
        _ => {
            findings.push(database(common, &folder, &config)?);
            findings.push(match block_on(bind(config.listen))? {
                Ok(_) => ok("port", format!("{} is free", config.listen)),
                Err(failure) => failed("port", failure),
            });
        }
    }
    findings.extend(block_on(link(&folder, matches!(stats, Ok(Some(_)))))?);
    Ok(findings)
}

/// Where the files of people lie; where a server runs, also whether all that it knows of are there.
async fn attachments(folder: &Folder, config: &Config) -> Option<Finding> {
    const NAME: &str = "attachments";
    if config.kept_attachments().quota == 0 {
        return None;
    }
    let place = match examine_attachments(folder, config, super::environment).await {
        Ok(place) => place,
        Err(error) => return Some(failed(NAME, error.into())),
    };
    let asked = admin::connect(folder).ok().flatten().map(|server| server.ask(&Request::Attachments));
    Some(match asked {
        None => ok(NAME, place),
        Some(Ok(Reply::Ok(Answer::Attachments(files)))) => {
            let told = format!(
                "{place}; {} files, {} of them unknown, {} missing",
                files.present, files.orphans, files.missing
            );
            match files {
                Files { foreign: true, .. } => warn(
                    NAME,
                    format!("{place}: another server uses the same place, or this one was restored from a backup"),
                    "if no other server uses it, delete the object waxwing-incarnation there; else choose another prefix",
                ),
                Files { missing: 1.., .. } => {
                    warn(NAME, told, "restore them from a backup; people who fetch them are told that they are gone")
                }
                // Those that come while we look are among them.
                Files { orphans: 1.., .. } => warn(NAME, told, "waxwing-server gc deletes what is unknown"),
                _ => ok(NAME, told),
            }
        }
        Some(Ok(Reply::Error(problem))) => failed(NAME, problem.into()),
        Some(Ok(Reply::Ok(_))) => failed(NAME, Failure::unexpected("the server answered something else")),
        Some(Err(error)) => failed(NAME, super::operate::lost(error)),
    })
}

/// What the running server says of itself; none if no server runs.
fn running(folder: &Folder) -> Result<Option<Stats>, Failure> {
    let Some(connected) = admin::connect(folder)? else { return Ok(None) };
    match connected.ask(&Request::Stats).map_err(super::operate::lost)? {
        Reply::Ok(Answer::Stats(stats)) => Ok(Some(stats)),
        Reply::Ok(_) => Err(Failure::unexpected("the server answered something else than was asked")),
        Reply::Error(problem) => Err(problem.into()),
    }
}

/// A clock that stands before the files that were written by it is wrong.
fn clock(folder: &Folder) -> Finding {
    let now = SystemTime::now();
    let newest = [folder.config(), folder.sealed(), folder.link()]
        .iter()
        .filter_map(|path| fs::metadata(path).ok()?.modified().ok())
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH);
    match newest.duration_since(now) {
        Ok(ahead) if ahead > Duration::from_millis(SKEW_MS) => fail(
            "clock",
            format!("this machine's clock is {} s behind the newest file of the server", ahead.as_secs()),
            "set the clock and let it be synchronised (systemd-timesyncd, chrony)",
        ),
        _ => ok("clock", admin::now()),
    }
}

fn disk(folder: &Folder) -> Finding {
    let Ok(found) = statvfs(folder.path()) else {
        return warn("disk", "the free space cannot be read", "look at it with df");
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let told = format!("{} free", print::size(free));
    let next = "make room: messages are refused when the disk is full";
    match free {
        _ if found.f_files > 0 && found.f_favail == 0 => fail("disk", "no more files can be made", next),
        ..NO_SPACE => fail("disk", told, next),
        NO_SPACE..LITTLE_SPACE => warn("disk", told, next),
        _ => ok("disk", told),
    }
}

fn certificate(folder: &Folder) -> Finding {
    let path = folder.certificate();
    let restore = format!("restore {} from a backup", path.display());
    let read = fs::read(&path).map_err(|error| error.to_string());
    let parsed = read.and_then(|bytes| {
        let der = CertificateDer::from_pem_slice(&bytes).map_err(|error| error.to_string())?;
        Validity::read(&der)
    });
    match parsed {
        Ok(Validity { begun: true, left: Some(_), until }) => ok("certificate", format!("valid until {until}")),
        // Clients pin the key and do not look at dates.
        Ok(Validity { until, .. }) => {
            let detail = format!("valid until {until} only; clients go by its key and do not mind");
            warn("certificate", detail, "check the clock")
        }
        Err(reason) => fail("certificate", format!("{} cannot be read: {reason}", path.display()), restore),
    }
}

/// The operator's own certificate, if there is one: browsers and proxies look at its dates.
fn web(config: &Web) -> Option<Finding> {
    let file = config.certificate.as_ref()?.display();
    let chain = match web_certificate(config) {
        Ok(certificate) => certificate?.cert,
        Err(error) => return Some(failed("web", error.into())),
    };
    let next = "renew it, then reload the server (SIGHUP)";
    Some(match Validity::read(chain.first()?) {
        Ok(Validity { begun: true, left: Some(left), until }) if left > RENEWAL => {
            ok("web", format!("{file} is valid until {until}"))
        }
        Ok(Validity { begun: true, left: Some(_), until }) => warn("web", format!("{file} ends on {until}"), next),
        Ok(Validity { until, .. }) => fail("web", format!("{file} is not valid now (until {until})"), next),
        Err(reason) => fail("web", format!("{file} cannot be read: {reason}"), next),
    })
}

/// When a certificate is valid.
struct Validity {
    begun: bool,
    /// None after its end.
    left: Option<Duration>,
    until: String,
}

impl Validity {
    fn read(der: &[u8]) -> Result<Self, String> {
        let certificate = Certificate::from_der(der).map_err(|error| error.to_string())?;
        let validity = certificate.tbs_certificate().validity();
        let now = SystemTime::now();
        Ok(Self {
            begun: validity.not_before.to_date_time().to_system_time() <= now,
            left: validity.not_after.to_date_time().to_system_time().duration_since(now).ok(),
            until: validity.not_after.to_string(),
        })
    }
}

/// The database of a server that does not run.
fn database(common: &Common, folder: &Folder, config: &Config) -> Result<Finding, Failure> {
    if config.database == Database::Sqlite {
        return Ok(match block_on(crate::install::database::pending(folder, config, None))? {
            Ok((version, missing)) if missing.is_empty() => ok("database", format!("SQLite, schema version {version}")),
            Ok((version, missing)) => fail(
                "database",
                format!("schema version {version} lacks {} steps", missing.len()),
                format!("run: waxwing-server upgrade --dir {}", folder.path().display()),
            ),
            Err(error) => failed("database", error.into()),
        });
    }
    let Some(file) = password::source(common.password_file.as_deref(), super::environment) else {
        let next = "name the server's password with --password-file";
        return Ok(warn("database", "not looked at: its password is sealed", next));
    };
    let opened =
        password::read(&file).and_then(|password| Installation::open(folder.clone(), config.clone(), &password));
    Ok(match opened.map_err(Failure::from).and_then(|installation| block_on(reach_database(&installation))?) {
        Ok(((), place)) => ok("database", place),
        Err(failure) => failed("database", failure),
    })
}

/// Every address of the server's own link, as a client would reach it.
async fn link(folder: &Folder, running: bool) -> Vec<Finding> {
    let text = fs::read_to_string(folder.link()).unwrap_or_default();
    let Ok(link) = text.trim().parse::<Link>() else {
        let next = format!("run: waxwing-setup init --dir {}", folder.path().display());
        return vec![fail("link", format!("{} holds no link", folder.link().display()), next)];
    };
    if !running {
        return vec![warn("link", "not tried, since no server runs", "start it: waxwing-server run")];
    }
    let mut findings = Vec::new();
    for address in &link.addresses {
        findings.push(match reach::greeting(address, link.pin).await {
            Ok(ServerHello::Accepted { .. }) => ok("link", format!("{address} answers, and it is this server")),
            Ok(ServerHello::Refused(refusal)) => fail("link", format!("{address}: {refusal}"), "upgrade the server"),
            Err(error) => fail(
                "link",
                format!("{address} does not answer as this server ({error})"),
                "check name, port forwarding and firewall; some routers do not let a machine reach itself from inside",
            ),
        });
    }
    findings
}
