//! Invites made by the operator.

use super::{
    Failure,
    operate::operate,
    print::{line, print_json},
};
use crate::{
    admin::{Answer, Request},
    install::{Config, Folder, SignUp},
    relay::{invite_hash, new_invite_code},
    store::{NewInvite, Store},
};
use serde_json::json;
use std::{
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};
use waxwing_protocol::Link;

/// How long an invite lasts if nobody says otherwise.
pub(super) const DAYS: u32 = 7;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

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

/// Under the other rules of sign-up a code means nothing.
fn needs_invites(folder: &Folder, config: &Config) -> Result<(), Failure> {
    let (link, file) = (folder.link(), folder.config());
    let (why, next) = match config.sign_up {
        SignUp::Invite => return Ok(()),
        SignUp::Open => {
            ("anyone may sign up, so no invite is needed", format!("give people the link in {}", link.display()))
        }
        SignUp::Secret => (
            "people sign up with the shared secret, so no invite is needed",
            format!("give them the link in {} and the secret", link.display()),
        ),
        SignUp::Closed => {
            ("sign-up is closed, so an invite would let nobody in", "first let people sign up".to_owned())
        }
    };
    let next = format!("{next}; or set sign_up = \"invite\" in {} and restart the server", file.display());
    Err(Failure::user("no-invite-needed", why, next))
}

pub(super) fn invite(command: &super::Invite) -> Result<ExitCode, Failure> {
    let common = &command.common;
    let folder = common.folder()?;
    needs_invites(&folder, &common.config(&folder, &[])?)?;
    let request = Request::Invite { uses: command.uses, days: command.days };
    let Answer::Invite { link, code } = operate(common, &request)? else {
        return Err(Failure::unexpected("the server answered something else than was asked"));
    };
    match common.json {
        true => print_json(&json!({
            "code": code, "link": link, "invite_link": link, "uses": command.uses, "days": command.days
        }))?,
        false => line(&link)?,
    }
    Ok(ExitCode::SUCCESS)
}
