//! `search`: what was said, whoever said it wherever.

use crate::{
    Failure,
    cli::Options,
    command::ask,
    output::{self, date_and_time, print, print_json},
    rpc::search::{FoundObject, HitObject, Search, SearchParams},
    sanitise::{Breaks, sanitise},
};
use dialoguer::console::style;
use jiff::tz::TimeZone;
use std::ops::Range;
use waxwing_core::{Message, Snippet};

pub(crate) async fn run(options: &Options, words: &[String], limit: usize) -> Result<(), Failure> {
    let found = ask::<Search>(options, SearchParams { query: join(words), limit }).await?;
    if options.json {
        return Ok(found.hits.iter().try_for_each(print_json)?);
    }
    if found.hits.is_empty() {
        return Ok(print("Nothing was found.")?);
    }
    lines(&found)?.iter().try_for_each(|line| print(line))?;
    if found.more {
        output::warn(&format!("there is more; --limit {} shows it", limit.saturating_mul(2)));
    }
    Ok(())
}

/// What the shell took the quotes off is a phrase again.
fn join(words: &[String]) -> String {
    let quoted = |word: &String| match words.len() > 1 && word.contains(char::is_whitespace) && !word.contains('"') {
        true => format!("\"{word}\""),
        false => word.clone(),
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// A line for each message: when, in which chat, who, and the words in what they stand in.
pub(crate) fn lines(found: &FoundObject) -> Result<Vec<String>, Failure> {
    let zone = TimeZone::system();
    found.hits.iter().map(|hit| line(hit, &zone)).collect()
}

fn line(hit: &HitObject, zone: &TimeZone) -> Result<String, Failure> {
    let message = Message::try_from(hit.message.clone())?;
    let (chat, from) = (sanitise(&message.chat, Breaks::Spaces), sanitise(&message.from, Breaks::Spaces));
    let place = if chat == from { from } else { format!("{chat} {from}") };
    Ok(format!("{}  {place}: {}", date_and_time(message.sent_at, zone), marked(&hit.snippet())))
}

/// The snippet on one line, what was found in bold.
fn marked(snippet: &Snippet) -> String {
    // A piece may end with a line break, which is a space like any other here.
    let piece = |range: Range<usize>| {
        let piece = snippet.text.get(range).unwrap_or_default().replace(['\n', '\r'], " ");
        sanitise(&piece, Breaks::Spaces)
    };
    let mut line = String::new();
    let mut done = 0;
    for range in &snippet.matches {
        line.push_str(&piece(done..range.start));
        let found = piece(range.clone());
        line.push_str(&if output::is_plain() { found } else { style(found).bold().to_string() });
        done = range.end;
    }
    line.push_str(&piece(done..snippet.text.len()));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_of_the_shell_is_a_phrase() {
        let words = |words: &[&str]| join(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        assert_eq!(words(&["from:bob", "see you"]), "from:bob \"see you\"");
        assert_eq!(words(&["from:bob \"see you\""]), "from:bob \"see you\"");
        assert_eq!(words(&["two words"]), "two words");
    }

    #[test]
    fn a_snippet_is_one_safe_line() {
        let snippet = Snippet { text: "a\nb\u{1b}[2Jc".into(), matches: vec![0..1, 2..3] };
        let line = dialoguer::console::strip_ansi_codes(&marked(&snippet)).into_owned();
        assert_eq!(line, "a b␛[2Jc");
    }
}
