//! Questions to a person in a terminal. Each runs on a thread for blocking work, so that the client goes on meanwhile;
//! whatever ends a question, the terminal is left as it was found.

use crate::{
    Failure, output,
    sanitise::{Breaks, sanitise},
};
use dialoguer::{
    Confirm, Input, Password,
    console::{Term, measure_text_width},
    theme,
};
use indicatif::{ProgressBar, ProgressStyle};
use rustix::termios::{self, OptionalActions, Termios};
use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use waxwing_core::{Error, Step, Zeroizing, check_password};

/// Whether somebody can be asked.
pub(crate) fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks one question; Ctrl+C is [`Failure::Interrupted`].
pub(crate) async fn ask<T, F>(question: F) -> Result<T, Failure>
where
    T: Send + 'static,
    F: FnOnce(&dyn theme::Theme) -> dialoguer::Result<T> + Send + 'static,
{
    let asked = tokio::task::spawn_blocking(move || match output::is_plain() {
        true => question(&theme::SimpleTheme),
        false => question(&theme::ColorfulTheme::default()),
    });
    match asked.await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(dialoguer::Error::IO(error))) if error.kind() == io::ErrorKind::Interrupted => Err(Failure::Interrupted),
        Ok(Err(dialoguer::Error::IO(error))) => Err(Failure::Io(error)),
        Err(error) => Err(Failure::Io(io::Error::other(error))),
    }
}

/// Asks for one line; an invalid one is asked again, with the reason.
pub(crate) async fn line(
    question: &str,
    default: Option<String>,
    check: impl Fn(&str) -> Result<(), String> + Send + 'static,
) -> Result<String, Failure> {
    let question = question.to_owned();
    ask(move |theme| {
        let input = Input::<String>::with_theme(theme).with_prompt(question).allow_empty(true);
        let input = match default {
            Some(text) => input.default(text),
            None => input,
        };
        input.validate_with(|text: &String| check(text.trim()).map_err(|wrong| folded(&wrong))).interact_text()
    })
    .await
    .map(|text| text.trim().to_owned())
}

/// Asks for one line that may stay empty.
pub(crate) async fn optional_line(
    question: &str,
    default: Option<String>,
    check: impl Fn(&str) -> Result<(), String> + Send + 'static,
) -> Result<Option<String>, Failure> {
    let check = move |text: &str| if text.is_empty() { Ok(()) } else { check(text) };
    let text = line(question, default, check).await?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Asks a yes-or-no question.
pub(crate) async fn confirm(question: &str, default: bool) -> Result<bool, Failure> {
    let question = question.to_owned();
    ask(move |theme| {
        let asked = Confirm::with_theme(theme).with_prompt(question).default(default);
        // "yes" is three keys, and the last two must not answer the next question.
        asked.wait_for_newline(true).interact()
    })
    .await
}

/// Asks for something that does not show on the screen.
pub(crate) async fn secret(question: &str) -> Result<Zeroizing<String>, Failure> {
    let question = question.to_owned();
    ask(move |theme| Password::with_theme(theme).with_prompt(question).report(false).interact())
        .await
        .map(Zeroizing::new)
}

/// Asks for a new password twice; a weak one is refused with a hint. `known` is what must not be part of it.
pub(crate) async fn new_password(known: Vec<String>) -> Result<Zeroizing<String>, Failure> {
    ask(move |theme| {
        Password::with_theme(theme)
            .with_prompt("Password (a few unrelated words are good)")
            .with_confirmation("The same again", "these two differ; once more")
            .validate_with(|password: &String| {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                check_password(password, &known).map_err(|error| folded(&error.to_string()))
            })
            .report(false)
            .interact()
    })
    .await
    .map(Zeroizing::new)
}

/// What is wrong, in lines that the terminal need not break: only whole lines are taken back when the question comes again.
fn folded(text: &str) -> String {
    fold(text, usize::from(Term::stderr().size().1).saturating_sub(4).max(20))
}

fn fold(text: &str, columns: usize) -> String {
    let (mut lines, mut used) = (String::new(), 0);
    for word in text.split(' ') {
        let width = measure_text_width(word);
        if used > 0 {
            let fits = used + 1 + width <= columns;
            lines.push_str(if fits { " " } else { "\n  " });
            used = if fits { used + 1 } else { 0 };
        }
        lines.push_str(word);
        used += width;
    }
    lines
}

/// A spinner on standard error that says which step is being done; nothing where nobody watches.
pub(crate) struct Spinner(ProgressBar);

impl Spinner {
    pub(crate) fn new(shown: bool) -> Self {
        if !shown || output::is_plain() || !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner().with_style(ProgressStyle::default_spinner());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    pub(crate) fn step(&self, step: Step) {
        self.say(words(step));
    }

    /// Says what the process that does the work told.
    pub(crate) fn show(&self, what: &str) {
        self.0.set_message(sanitise(what, Breaks::Spaces));
    }

    pub(crate) fn say(&self, what: &'static str) {
        self.0.set_message(what);
    }
}

/// A step in words.
pub(crate) fn words(step: Step) -> &'static str {
    match step {
        Step::Connecting => "connecting to the server…",
        Step::DerivingKeys => "deriving keys from the password…",
        Step::MakingKeys => "making the account's keys (RSA; this takes a few seconds)…",
        Step::CreatingAccount => "creating the account…",
        Step::OpeningVault => "opening the account's vault…",
        Step::RevisingAccount => "changing the account…",
        Step::EnrollingDevice => "enrolling this device…",
        Step::Storing => "storing the profile…",
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A bar on standard error that says how many messages are restored; nothing where nobody watches.
pub(crate) struct RestoreBar(ProgressBar);

impl RestoreBar {
    pub(crate) fn new(shown: bool) -> Self {
        if !shown || output::is_plain() || !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template("restoring messages {wide_bar} {pos} of {len}");
        Self(ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    pub(crate) fn show(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }
}

impl Drop for RestoreBar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A bar on standard error that says how far a file has come; nothing where nobody watches.
pub(crate) struct TransferBar(ProgressBar);

impl TransferBar {
    pub(crate) fn new(what: &'static str, shown: bool) -> Self {
        if !shown || output::is_plain() || !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template("{msg} {wide_bar} {binary_bytes} of {binary_total_bytes}, {eta} left");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(ProgressBar::new(0).with_style(style).with_message(what))
    }

    pub(crate) fn show(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }
}

impl Drop for TransferBar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// The terminal's modes as they were found; dropping it brings them back, and the cursor with them.
#[derive(Debug)]
pub struct FoundTerminal(Option<Termios>);

impl FoundTerminal {
    /// Notes the modes of standard input's terminal, if it is one.
    #[expect(clippy::new_without_default, reason = "it looks at the world; a default would not")]
    pub fn new() -> Self {
        Self(termios::tcgetattr(io::stdin()).ok())
    }
}

impl Drop for FoundTerminal {
    fn drop(&mut self) {
        if let Some(modes) = &self.0 {
            // There is nobody left to tell if a terminal that is gone cannot be restored.
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, modes);
            if io::stderr().is_terminal() && !output::is_plain() {
                let _ = Term::stderr().show_cursor();
            }
        }
    }
}

/// SIGINT and SIGTERM from now on: one that comes while nobody waits is not lost.
pub(crate) struct Interrupts(Option<(Signal, Signal)>);

impl Interrupts {
    pub(crate) fn new() -> Self {
        let signals = signal(SignalKind::interrupt()).and_then(|first| Ok((first, signal(SignalKind::terminate())?)));
        Self(signals.ok())
    }

    /// Waits for one. Without handlers the signals end the process as ever.
    pub(crate) async fn wait(&mut self) {
        match &mut self.0 {
            None => std::future::pending().await,
            Some((interrupt, terminate)) => tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            },
        }
    }
}

/// Waits for SIGINT or SIGTERM, which from the first call on do not end the process by themselves.
pub async fn interrupted() {
    Interrupts::new().wait().await;
}
/// Does something that may need a one-time code from an e-mail: asks for it in the terminal, as often as it may be tried.
/// With a code that was given, or where nobody can be asked, the first answer counts.
pub(crate) async fn with_code<T>(
    shown: bool,
    given: Option<String>,
    attempt: impl AsyncFn(Option<String>, &Spinner) -> Result<T, Error>,
) -> Result<T, Failure> {
    let asks = shown && given.is_none() && is_possible();
    let mut code = given;
    loop {
        let spinner = Spinner::new(shown);
        let outcome = attempt(code.clone(), &spinner).await;
        drop(spinner);
        let told = match outcome {
            Err(error @ (Error::CodeNeeded { .. } | Error::BadCode { .. })) if asks => error,
            outcome => return Ok(outcome?),
        };
        if told == (Error::BadCode { left: 0 }) {
            output::warn("that code is not valid any more; another one is asked for");
            code = None;
            continue;
        }
        output::warn(&sanitise(&told.to_string(), Breaks::Spaces));
        let check = |text: &str| match text.chars().any(|c| c.is_ascii_digit()) {
            true => Ok(()),
            false => Err("it is in the e-mail; Ctrl+C gives up".to_owned()),
        };
        code = Some(line("Code from the e-mail", None, check).await?);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_fits_into_the_terminal() {
        assert_eq!(fold("a username consists of letters", 16), "a username\n  consists of\n  letters");
        assert_eq!(fold("short", 16), "short");
        assert_eq!(fold("", 16), "");
    }
}
