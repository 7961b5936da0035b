//! `verify` and `trust`: comparing identities, and accepting changed ones.

use crate::{
    Failure,
    cli::{Options, TrustArgs, VerifyArgs},
    output::{print, print_json},
    prompt,
    rpc::{
        Backend, Purpose,
        trust::{IdentityObject, ShowIdentity, Trust, TrustParams, UserParams, Verify, VerifyParams},
    },
    sanitise::{Breaks, sanitise},
};
use qrcode::{QrCode, render::unicode};
use waxwing_core::Error;

pub(crate) async fn verify(options: &Options, arguments: VerifyArgs) -> Result<(), Failure> {
    let backend = Backend::open(options, Purpose::Once).await?;
    backend.go_online();
    let answer = run_verify(&backend, options, &arguments).await;
    backend.close().await;
    answer
}

async fn run_verify(backend: &Backend, options: &Options, arguments: &VerifyArgs) -> Result<(), Failure> {
    let mut identity = backend.call::<ShowIdentity>(UserParams { user: arguments.user.clone() }).await?;
    if arguments.confirm || arguments.revoke {
        let params = VerifyParams {
            user: arguments.user.clone(),
            fingerprint: identity.fingerprint.clone(),
            verified: arguments.confirm,
        };
        identity = backend.call::<Verify>(params).await?;
    }
    match options.json {
        true => print_json(&identity)?,
        false => print(&shown(&identity))?,
    }
    Ok(())
}

fn shown(identity: &IdentityObject) -> String {
    let name = sanitise(&identity.username, Breaks::Spaces);
    let mut text = format!("Safety number with {name}:\n\n{}\n\n", rows(&identity.safety_number));
    if let Ok(code) = QrCode::new(identity.qr.as_bytes()) {
        text.push_str(&code.render::<unicode::Dense1x2>().quiet_zone(true).build());
        text.push_str("\n\n");
    }
    text.push_str(match identity.verification.as_str() {
        "verified" => "You have compared this number: the contact is verified.",
        "renewed" => {
            "You have compared an earlier number; the identity was renewed since, and the earlier one vouches for it.\n\
             Compare again, then mark it with --confirm."
        }
        _ => {
            "Compare it with theirs, in person or by a call. If both are the same, nobody is in between:\n\
             mark it with 'waxwing verify NAME --confirm'."
        }
    });
    if identity.changed.is_some() {
        text.push_str(&format!(
            "\n\nWarning: the server shows another identity for {name} now. Nothing is sent until you decide:\n\
             'waxwing trust {name}' shows it."
        ));
    }
    text
}

/// The groups in three rows of four.
fn rows(number: &str) -> String {
    let groups: Vec<&str> = number.split_whitespace().collect();
    groups.chunks(4).map(|row| format!("    {}", row.join("  "))).collect::<Vec<_>>().join("\n")
}

pub(crate) async fn trust(options: &Options, arguments: TrustArgs) -> Result<(), Failure> {
    let backend = Backend::open(options, Purpose::Once).await?;
    backend.go_online();
    let answer = run_trust(&backend, options, arguments).await;
    backend.close().await;
    answer
}

async fn run_trust(backend: &Backend, options: &Options, arguments: TrustArgs) -> Result<(), Failure> {
    let name = sanitise(&arguments.user, Breaks::Spaces);
    let identity = backend.call::<ShowIdentity>(UserParams { user: arguments.user.clone() }).await?;
    let Some(changed) = &identity.changed else {
        return Err(Failure::usage(
            format!("the identity of '{name}' has not changed: there is nothing to accept"),
            "look at it with 'waxwing verify'",
        ));
    };
    let (mut accepted, mut compared) = (arguments.yes, arguments.compared);
    if !options.json {
        print(&format!(
            "The identity of {name} is not the one that this device knows, and the old one does not vouch for it.\n\
             That happens when somebody makes an account anew, or when somebody else stands in between.\n\n\
             known    {}\n{}\n\nnow      {}\n{}\n",
            sanitise(&identity.fingerprint, Breaks::Spaces),
            rows(&identity.safety_number),
            sanitise(&changed.fingerprint, Breaks::Spaces),
            rows(&changed.safety_number),
        ))?;
    }
    let verified = identity.verification != "unverified";
    if !accepted && !compared && !options.json && prompt::is_possible() {
        if verified {
            print(&format!("You had verified {name}: compare the new number with them before you go on."))?;
            compared = prompt::confirm("Have you compared the new safety number with them?", false).await?;
            accepted = compared;
        } else {
            accepted = prompt::confirm("Accept the new identity, and send what waits to it?", false).await?;
        }
        if !accepted {
            return Ok(print("Nothing was changed; what waits for them stays here.")?);
        }
    }
    if verified && !compared {
        return Err(Error::VerifiedContact(arguments.user).into());
    }
    if !accepted && !compared {
        return Err(Failure::usage(
            "accepting another identity has to be confirmed",
            "add --yes, or --compared if you have compared the new safety number with them",
        ));
    }
    let params = TrustParams { user: arguments.user, fingerprint: changed.fingerprint.clone(), compared };
    let identity = backend.call::<Trust>(params).await?;
    match options.json {
        true => Ok(print_json(&identity)?),
        false => Ok(print(&format!("{name} goes by the new identity from now on."))?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_safety_number_stands_in_three_rows() {
        let number = (0..12).map(|group| format!("{group:05}")).collect::<Vec<_>>().join(" ");
        let shown = rows(&number);
        assert_eq!(shown.lines().count(), 3);
        assert!(shown.contains("00000  00001  00002  00003"));
    }
}
