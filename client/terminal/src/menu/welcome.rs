//! The first start: sign up, log in, or quit.

use super::{say, stay};
use crate::{
    Failure,
    command::{
        account::{check_email, recovery_box},
        backup,
    },
    output,
    prompt::{self, Spinner},
    sanitise::{Breaks, sanitise},
};
use dialoguer::{Select, console::Term};
use std::time::SystemTime;
use waxwing_core::{Admission, Link, LogIn, ProfilePath, SignUp, Unlock, Zeroizing, check_username};

/// Makes the profile and returns its password; none if the user quits. A `server` that is given is not asked for.
pub(super) async fn run(profile: &ProfilePath, server: Option<Link>) -> Result<Option<Zeroizing<String>>, Failure> {
    let preset = server.is_some();
    let mut form = Form { server, preset, full_name: None, email: None, username: None };
    say("Waxwing: end-to-end encrypted messages over your own server.");
    if let Some(link) = &form.server {
        say(&format!("Server: {link}"));
    }
    say("");
    loop {
        let chosen = prompt::ask(|theme| {
            let items = ["Sign up: make a new account", "Log in: I have an account", "Quit"];
            Select::with_theme(theme)
                .with_prompt("What shall it be?")
                .items(items)
                .default(0)
                .report(false)
                .interact_opt()
        });
        let made = match chosen.await? {
            Some(0) => form.sign_up(profile).await,
            Some(1) => form.log_in(profile).await,
            _ => return Ok(None),
        };
        match made {
            Ok(Some(password)) => return Ok(Some(password)),
            Ok(None) => {}
            // The account exists: only its profile can say what is wrong with it.
            Err(failure) if profile.exists() => return Err(failure),
            Err(failure) => stay(failure)?,
        }
    }
}

/// What was answered before a refusal, offered again after it.
struct Form {
    server: Option<Link>,
    /// The link was given with the start: it is not asked for.
    preset: bool,
    full_name: Option<String>,
    email: Option<String>,
    username: Option<String>,
}

impl Form {
    async fn sign_up(&mut self, profile: &ProfilePath) -> Result<Option<Zeroizing<String>>, Failure> {
        let link = self.server().await?;
        let Some(admission) = admission(&link).await? else { return Ok(None) };
        let full_name = prompt::optional_line("Full name (optional)", self.full_name.clone(), |_| Ok(())).await?;
        self.full_name.clone_from(&full_name);
        let question = "E-mail (optional; only the server's operator sees it)";
        let email = prompt::optional_line(question, self.email.clone(), check_email).await?;
        self.email.clone_from(&email);
        let username = self.username("Username (3 to 32 of a-z 0-9 _ . -)").await?;
        let known = [Some(&username), full_name.as_ref(), email.as_ref()].into_iter().flatten().cloned().collect();
        let password = prompt::new_password(known).await?;
        let remember = prompt::confirm("Stay logged in on this device?", true).await?;

        let wanted = SignUp {
            link,
            username,
            full_name,
            email,
            password: password.clone(),
            admission,
            code: None,
            device_name: None,
            remember,
            accept_strangers: false,
        };
        let account = prompt::with_code(true, None, async |code, spinner| {
            let wanted = SignUp { code, ..wanted.clone() };
            waxwing_core::sign_up(profile, wanted, &|step| spinner.step(step)).await
        })
        .await?;
        say(&format!("Welcome, {}. {}", account.username, output::remembered_words(&account.remembered)));
        confirm_recovery_code(&account.recovery_code).await?;
        Ok(Some(password))
    }

    async fn log_in(&mut self, profile: &ProfilePath) -> Result<Option<Zeroizing<String>>, Failure> {
        let link = self.server().await?;
        let username = self.username("Username").await?;
        let password = prompt::secret("Password").await?;
        let remember = prompt::confirm("Stay logged in on this device?", true).await?;

        let wanted = LogIn { link, username, password: password.clone(), code: None, device_name: None, remember };
        let account = prompt::with_code(true, None, async |code, spinner| {
            let wanted = LogIn { code, ..wanted.clone() };
            waxwing_core::log_in(profile, wanted, &|step| spinner.step(step)).await
        })
        .await?;
        say(&format!("Logged in as {}. {}", account.username, output::remembered_words(&account.remembered)));
        let outcome = backup::restore(profile, Unlock::Password(password.clone()), true).await;
        say(&backup::restored_words(&outcome));
        Ok(Some(password))
    }

    async fn server(&mut self) -> Result<Link, Failure> {
        if let Some(link) = self.server.clone().filter(|_| self.preset) {
            return Ok(link);
        }
        let check = |text: &str| text.parse::<Link>().map(drop).map_err(|error| error.to_string());
        let default = self.server.as_ref().map(Link::to_string);
        let answer = prompt::line("The server's link", default, check).await?;
        let link = crate::cli::parse_link(&answer)?;
        self.server = Some(link.clone());
        Ok(link)
    }

    async fn username(&mut self, question: &str) -> Result<String, Failure> {
        let check = |text: &str| check_username(text).map(drop).map_err(|error| error.to_string());
        let answer = prompt::line(question, self.username.clone(), check).await?;
        let username = check_username(&answer)?;
        self.username = Some(username.clone());
        Ok(username)
    }
}

/// Asks the server who may sign up, and the user for what it wants; none if nobody may.
async fn admission(link: &Link) -> Result<Option<Admission>, Failure> {
    let spinner = Spinner::new(true);
    spinner.say("asking the server who may sign up…");
    let pong = waxwing_core::ping(link).await;
    drop(spinner);
    Ok(Some(match (pong?.sign_up, &link.invite) {
        ("closed", _) => {
            say("! this server takes no new accounts\n  next: ask its owner for one");
            return Ok(None);
        }
        ("secret", _) => Admission::Secret(prompt::secret("The server's sign-up secret").await?),
        ("invite", None) => {
            let check = |code: &str| if code.is_empty() { Err("the server's owner gives you one") } else { Ok(()) };
            let check = move |code: &str| check(code).map_err(str::to_owned);
            Admission::Invite(prompt::line("Invite code", None, check).await?)
        }
        (_, Some(code)) => Admission::Invite(code.clone()),
        _ => Admission::Open,
    }))
}

/// Shows the recovery code until it is written down, proven by one of its groups; then it leaves the screen.
async fn confirm_recovery_code(code: &str) -> Result<(), Failure> {
    let shown = recovery_box(code);
    say(&format!("\n{}\n", shown.as_str()));
    let (number, group) = asked_group(code, SystemTime::now());
    let question = format!("To show that you have it: what is group {number} of the code?");
    let check = move |answer: &str| match answer.eq_ignore_ascii_case(&group) {
        true => Ok(()),
        false => Err(format!("that is not group {number}; look at the box above")),
    };
    prompt::line(&question, None, check).await?;
    if !output::is_plain() {
        // Best effort: it stays in the terminal's scroll-back where the terminal keeps one.
        let _ = Term::stderr().clear_last_lines(shown.lines().count() + 3);
    }
    say(&sanitise("Good. Keep the recovery code safe.", Breaks::Spaces));
    Ok(())
}

/// One of the code's groups, by the clock: its number, from 1, and the group.
fn asked_group(code: &str, now: SystemTime) -> (usize, String) {
    let groups: Vec<&str> = code.split(['-', ' ']).filter(|group| !group.is_empty()).collect();
    let nanoseconds = now.duration_since(SystemTime::UNIX_EPOCH).map(|time| time.subsec_nanos()).unwrap_or(0);
    // Clocks often count whole microseconds.
    let place = (nanoseconds / 1000) as usize % groups.len().max(1);
    (place + 1, groups.get(place).copied().unwrap_or(code).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn any_group_of_the_recovery_code_may_be_asked() {
        let group =
            |microseconds| asked_group("ABCD-EFGH-JKLM", SystemTime::UNIX_EPOCH + Duration::from_micros(microseconds));
        assert_eq!(group(0), (1, "ABCD".into()));
        assert_eq!(group(1), (2, "EFGH".into()));
        assert_eq!(group(2), (3, "JKLM".into()));
        assert_eq!(group(3), (1, "ABCD".into()));
        assert_eq!(asked_group("", SystemTime::now()).0, 1);
    }
}
