//! One-time codes by e-mail: asking for one, and checking it.
//!
//! Invariants: nothing is sent before all else that the request needs was found to be right, so that nobody can have
//! strangers written to; a code alone is good for nothing. It must not know how codes are kept or mails are sent.

use super::Failure;
use crate::{
    codes::{CodePolicy, CodePurpose, CodeRequest, Issued},
    limits::Origin,
    mail::{Mailer, domain},
    relay::Context,
    rules::Rules,
};
use std::time::{Duration, Instant};
use waxwing_protocol::{ErrorCode, Refusal, Username};

/// A request that needs a code.
pub(super) struct Needed<'a> {
    pub(super) purpose: CodePurpose,
    pub(super) username: &'a Username,
    pub(super) email: &'a str,
    pub(super) from: Origin,
}

/// What sends codes, if they are needed for this.
pub(super) fn mailer(rules: &Rules, purpose: CodePurpose) -> Option<&Mailer> {
    let least = match purpose {
        CodePurpose::SignUp => CodePolicy::SignUp,
        CodePurpose::LogIn => CodePolicy::NewDevice,
    };
    rules.mailer.as_deref().filter(|_| rules.codes.policy >= least)
}

/// Whether a new account may give this address.
pub(super) fn check_address(rules: &Rules, email: Option<&str>) -> Result<(), ErrorCode> {
    let needed = mailer(rules, CodePurpose::SignUp).is_some();
    let Some(email) = email else { return if needed { Err(ErrorCode::EmailNeeded) } else { Ok(()) } };
    if !needed && rules.email_domains.is_empty() {
        return Ok(());
    }
    let allowed = domain(email).is_some_and(|domain| {
        rules.email_domains.is_empty()
            || rules.email_domains.iter().any(|allowed| allowed.eq_ignore_ascii_case(&domain))
    });
    if allowed { Ok(()) } else { Err(ErrorCode::EmailNotAllowed) }
}

/// Checks the code that was given, or sends one.
pub(super) async fn demand(
    context: &Context,
    mailer: &Mailer,
    needed: Needed<'_>,
    given: Option<&str>,
) -> Result<(), Failure> {
    let Needed { purpose, username, email, from } = needed;
    let current = context.current();
    let (rules, lookup) = (&current.rules.codes, context.data_key.email_lookup(email));
    let request = CodeRequest::new(purpose, username.as_str(), &lookup);
    if let Some(given) = given {
        let taken = context.codes.take(request, given, Instant::now()).await?;
        return taken.map_err(|left| Refusal::numbered(ErrorCode::BadCode, left.into()).into());
    }
    let wait = |wait: Duration| u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
    let needed = |again| Refusal {
        number: Some(rules.digits.into()),
        ..Refusal::retry_after(ErrorCode::CodeNeeded, wait(again))
    };
    match context.codes.issue(request, rules, Instant::now()).await? {
        Issued::Sent(again) => Err(needed(again).into()),
        Issued::Full => Err(Refusal::retry_after(ErrorCode::Busy, 60_000).into()),
        Issued::New(code, again) => {
            if let Err(refusal) = context.limiter.code(&current.rules.limits, from, &lookup) {
                context.codes.forget(request).await?;
                return Err(refusal.into());
            }
            if let Err(error) = mailer.send_code(email, username.as_str(), &code, rules.minutes).await {
                tracing::error!(reason = error.for_log(), "a code could not be sent");
                context.codes.forget(request).await?;
                return Err(ErrorCode::MailFailed.into());
            }
            Err(needed(again).into())
        }
    }
}
