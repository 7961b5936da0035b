//! Invites made by the operator.

use super::{
    Common, Failure,
    operate::operate,
    print::{line, or_dash, print_json, table},
};
use crate::{
    admin::{Answer, Invite, Request},
    relay::{invite_hash, new_invite_code},
    store::{NewInvite, Store},
};
use clap::{Args, Subcommand};
use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};
use serde_json::json;
use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};
use waxwing_protocol::Link;

/// How long an invite lasts if nobody says otherwise.
const DAYS: u32 = 7;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

#[derive(Subcommand)]
pub(super) enum InviteCommand {
    /// Print a link that lets somebody sign up, with its QR code on a terminal.
    Create(Create),
    /// Show the invites: what is left of each, and until when.
    List(Common),
    /// Make an invite worthless.
    Revoke(Revoke),
}

#[derive(Args)]
pub(super) struct Create {
    #[command(flatten)]
    common: Common,
    /// How many accounts it lets in.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    uses: u32,
    /// After how many days it ends.
    #[arg(long, value_name = "DAYS", default_value_t = DAYS, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// What it is for, for the list.
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// Draw the QR code although the output is no terminal.
    #[arg(long, conflicts_with = "json")]
    qr: bool,
}

#[derive(Args)]
pub(super) struct Revoke {
    /// Its code, the link with it, or its id in the list.
    invite: String,
    #[command(flatten)]
    common: Common,
}

/// Stores a new invite that lets `uses` accounts in within `days` days, and returns the link with its code.
pub async fn create_invite(store: &dyn Store, link: Link, uses: u32, days: u32, note: &str) -> Result<Link, Failure> {
    let code = new_invite_code().map_err(Failure::unexpected)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Failure::unexpected)?;
    let now_ms = u64::try_from(since.as_millis()).map_err(Failure::unexpected)?;
    let invite = NewInvite {
        code_hash: invite_hash(&code),
        uses,
        expires_ms: Some(now_ms.saturating_add(u64::from(days).saturating_mul(DAY_MS))),
        note: note.to_owned(),
        now_ms,
    };
    store.create_invite(invite).await.map_err(Failure::unexpected)?;
    Ok(Link { invite: Some(code), ..link })
}

/// Draws a QR code of dark on light for terminals of any colour; none if the text is too long for one.
pub fn qr_code(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let drawn = code.render::<Dense1x2>().build();
    let lines = drawn.lines().map(|line| format!("    \u{1b}[38;5;16;48;5;231m{line}\u{1b}[0m\n"));
    Some(lines.collect())
}

pub(super) fn invite(command: &super::Invite) -> Result<ExitCode, Failure> {
    match &command.command {
        None => create(&command.create),
        Some(InviteCommand::Create(command)) => create(command),
        Some(InviteCommand::List(common)) => list(common),
        Some(InviteCommand::Revoke(command)) => revoke(command),
    }
}

impl super::Invite {
    pub(super) fn json(&self) -> bool {
        match &self.command {
            None => self.create.common.json,
            Some(InviteCommand::Create(command)) => command.common.json,
            Some(InviteCommand::List(common)) => common.json,
            Some(InviteCommand::Revoke(command)) => command.common.json,
        }
    }
}

fn create(command: &Create) -> Result<ExitCode, Failure> {
    let Create { common, uses, days, note, qr } = command;
    let request = Request::Invite { uses: *uses, days: *days, note: note.clone() };
    let Answer::Invite { link, code } = operate(common, &request)? else { return Err(other_answer()) };
    if common.json {
        print_json(&json!({
            "code": code, "link": link, "invite_link": link, "uses": uses, "days": days, "note": note
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    line(&link)?;
    if *qr || io::stdout().is_terminal() {
        let drawn = qr_code(&link).ok_or_else(|| Failure::unexpected("the link is too long for a QR code"))?;
        // Not cleaned as text is: it is made of colours.
        io::stdout().write_all(drawn.as_bytes()).map_err(Failure::unexpected)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(common: &Common) -> Result<ExitCode, Failure> {
    let Answer::Invites(invites) = operate(common, &Request::ListInvites)? else { return Err(other_answer()) };
    if common.json {
        invites.iter().try_for_each(print_json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = |one: Invite| {
        [one.id, one.state, one.uses_left.to_string(), or_dash(&one.expires_at), one.created_at, one.note]
    };
    table(["ID", "STATE", "LEFT", "EXPIRES", "MADE", "NOTE"], invites.into_iter().map(row))?;
    Ok(ExitCode::SUCCESS)
}

fn revoke(command: &Revoke) -> Result<ExitCode, Failure> {
    let request = Request::RevokeInvite { invite: command.invite.clone() };
    let Answer::Invites(revoked) = operate(&command.common, &request)? else { return Err(other_answer()) };
    match command.common.json {
        true => print_json(&json!({ "revoked": revoked }))?,
        false => line("revoked: it lets nobody in any more; accounts that it has made stay")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn other_answer() -> Failure {
    Failure::unexpected("the server answered something else than was asked")
}
