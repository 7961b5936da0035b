//! The operator's invites: making, listing and revoking them.
//!
//! Invariant: codes are told once, when they are made; afterwards an invite is known by how the hash of its code begins.

use super::{Answer, Invite, Operator, Problem, disclosure::hex, operator::time};
use crate::{
    cli::create_invite,
    install::{Config, SignUp},
    relay::{invite_hash, now_ms},
    store::InviteSummary,
};
use waxwing_protocol::{Link, limits};

/// How many digits of the hash an id has. Fewer may be given.
const ID: usize = 12;

/// Under the other rules of sign-up a code means nothing.
fn needed(config: &Config) -> Result<(), Problem> {
    let (why, next) = match config.sign_up {
        SignUp::Invite => return Ok(()),
        SignUp::Open => ("anyone may sign up, so no invite is needed", "give people the server's link"),
        SignUp::Secret => (
            "people sign up with the shared secret, so no invite is needed",
            "give them the server's link and the secret",
        ),
        SignUp::Closed => ("sign-up is closed, so an invite would let nobody in", "first let people sign up"),
    };
    let next = format!("{next}; or set sign_up = \"invite\" in config.toml and run: waxwing-server reload");
    Err(Problem::user("no-invite-needed", why, next))
}

fn state(invite: &InviteSummary, now_ms: u64) -> &'static str {
    match invite.expires_ms {
        _ if invite.uses_left == 0 => "used",
        Some(at) if at <= now_ms => "expired",
        _ => "valid",
    }
}

fn shown(invite: InviteSummary, now_ms: u64) -> Invite {
    let mut id = hex(&invite.code_hash);
    id.truncate(ID);
    Invite {
        id,
        uses_left: invite.uses_left,
        expires_at: invite.expires_ms.map(time),
        state: state(&invite, now_ms).into(),
        note: invite.note,
        created_at: time(invite.created_ms),
    }
}

impl Operator {
    pub(super) async fn invite(&self, uses: u32, days: u32, note: &str) -> Result<Answer, Problem> {
        needed(&self.config())?;
        if note.len() > limits::SHORT_TEXT || note.chars().any(char::is_control) {
            let message = format!("a note is one line of {} bytes at most", limits::SHORT_TEXT);
            return Err(Problem::user("wrong-value", message, "say it in fewer words"));
        }
        let link = create_invite(&*self.store, self.link(), uses, days, note).await;
        let link = link.map_err(|failure| Problem::unexpected(failure.message))?;
        Ok(Answer::Invite { code: link.invite.clone().unwrap_or_default(), link: link.to_string() })
    }

    pub(super) async fn invites(&self) -> Result<Answer, Problem> {
        let (all, now_ms) = (self.store.invites().await?, now_ms());
        Ok(Answer::Invites(all.into_iter().map(|one| shown(one, now_ms)).collect()))
    }

    pub(super) async fn revoke_invite(&self, named: &str) -> Result<Answer, Problem> {
        let named = named.trim();
        let in_link = named.parse::<Link>().ok().and_then(|link| link.invite);
        let hash = invite_hash(in_link.as_deref().unwrap_or(named));
        let begins = named.to_ascii_lowercase();
        let mut found = self.store.invites().await?;
        match found.iter().any(|one| one.code_hash == hash) {
            true => found.retain(|one| one.code_hash == hash),
            false => found.retain(|one| begins.len() >= 4 && hex(&one.code_hash).starts_with(&begins)),
        }
        let next = "see: waxwing-server invite list";
        match found.as_slice() {
            [one] => {
                self.store.revoke_invite(one.code_hash).await?;
                Ok(Answer::Invites(found.into_iter().map(|one| shown(one, now_ms())).collect()))
            }
            [] => Err(Problem::user("unknown-invite", "there is no such invite", next)),
            _ => {
                let message = format!("several invites begin with {begins:?}");
                Err(Problem::user("ambiguous-invite", message, next))
            }
        }
    }
}
