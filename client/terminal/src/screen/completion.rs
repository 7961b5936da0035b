//! What Tab offers for the word before the cursor: commands, names, emoji. Pressed again it offers the next one.

use crate::{chat::typed, file_commands, group_commands};

/// How many are offered.
const OFFERED: usize = 40;

/// Something to put in place of the word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// What is put in.
    pub(super) text: String,
    /// What the list of candidates shows.
    pub(super) label: String,
}

/// A completion that is going on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Completion {
    /// Where the word begins, in bytes.
    pub(super) start: usize,
    pub(super) candidates: Vec<Candidate>,
    /// The one that is put in.
    pub(super) chosen: usize,
}

impl Completion {
    /// What fits the end of `before`; none if nothing does. `names` are those of people and rooms, the likeliest first.
    pub(super) fn of(before: &str, names: &[String]) -> Option<Self> {
        let start = before
            .rfind(char::is_whitespace)
            .map_or(0, |at| at + before.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8));
        let word = before.get(start..)?;
        let first = before.get(..start)?.trim().is_empty();
        let candidates = if let (Some(part), true) = (word.strip_prefix('/'), first) {
            commands(part)
        } else if let Some(part) = word.strip_prefix('@') {
            fitting(part, names, |name| format!("@{name} "))
        } else if let Some(part) = word.strip_prefix(':') {
            emoji(part)
        } else if word.is_empty() {
            Vec::new()
        } else {
            let behind = if first { ": " } else { " " };
            fitting(word, names, |name| format!("{name}{behind}"))
        };
        (!candidates.is_empty()).then_some(Self { start, candidates, chosen: 0 })
    }

    /// What the last part of a path may become; none if nothing.
    pub(super) fn of_paths(before: &str, candidates: Vec<String>) -> Option<Self> {
        let start = file_commands::path_start(before)?;
        let candidate = |text: String| Candidate { label: text.clone(), text };
        let candidates: Vec<Candidate> = candidates.into_iter().map(candidate).collect();
        (!candidates.is_empty()).then_some(Self { start, candidates, chosen: 0 })
    }

    pub(super) fn candidate(&self) -> Option<&Candidate> {
        self.candidates.get(self.chosen)
    }

    pub(super) fn turn(&mut self, back: bool) {
        let count = self.candidates.len().max(1);
        self.chosen = (self.chosen + if back { count - 1 } else { 1 }) % count;
    }
}

fn commands(part: &str) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = Vec::new();
    for (name, line) in typed::commands() {
        // What its line shows behind the name is what it takes.
        let takes = line.strip_prefix(name).is_some_and(|rest| !rest.starts_with("  "));
        let text = if takes { format!("{name} ") } else { name.to_owned() };
        if name.get(1..).is_some_and(|name| name.starts_with(part))
            && candidates.iter().all(|known| known.label != name)
        {
            candidates.push(Candidate { text, label: name.to_owned() });
        }
    }
    for (name, takes, _) in file_commands::COMMANDS.iter().chain(group_commands::COMMANDS) {
        let label = format!("/{name}");
        if name.starts_with(part) && candidates.iter().all(|known| known.label != label) {
            candidates
                .push(Candidate { text: if takes.is_empty() { label.clone() } else { format!("{label} ") }, label });
        }
    }
    candidates
}

fn fitting(part: &str, names: &[String], text: impl Fn(&str) -> String) -> Vec<Candidate> {
    let part = part.to_lowercase();
    let names = names.iter().filter(|name| name.to_lowercase().starts_with(&part)).take(OFFERED);
    names.map(|name| Candidate { text: text(name), label: name.clone() }).collect()
}

/// Emoji by their usual names: those that begin with the part, then those that contain it.
fn emoji(part: &str) -> Vec<Candidate> {
    let part = part.trim_end_matches(':').to_lowercase();
    if part.is_empty() {
        return Vec::new();
    }
    let named = || emojis::iter().flat_map(|emoji| emoji.shortcodes().map(move |name| (emoji, name)));
    let begin = named().filter(|(_, name)| name.starts_with(&part));
    let contain = named().filter(|(_, name)| !name.starts_with(&part) && name.contains(&part));
    let mut candidates: Vec<Candidate> = Vec::new();
    for (emoji, name) in begin.chain(contain) {
        let text = emoji.as_str().to_owned();
        if candidates.iter().all(|known| known.text != text) {
            candidates.push(Candidate { label: format!("{text} {name}"), text });
        }
        if candidates.len() == OFFERED {
            break;
        }
    }
    // An exact name first.
    candidates.sort_by_key(|candidate| !candidate.label.ends_with(&format!(" {part}")));
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(before: &str) -> Vec<String> {
        let names = ["bob".to_owned(), "Bella".to_owned(), "carol".to_owned()];
        let completion = Completion::of(before, &names);
        completion.map(|found| found.candidates.into_iter().map(|c| c.text).collect()).unwrap_or_default()
    }

    #[test]
    fn commands_names_and_emoji_are_completed() {
        assert_eq!(offered("/he"), ["/help"]);
        assert_eq!(offered("/ms"), ["/msg "]);
        assert_eq!(offered("hi @b"), ["@bob ", "@Bella "]);
        assert_eq!(offered("b"), ["bob: ", "Bella: "]);
        assert_eq!(offered("ask car"), ["carol "]);
        assert_eq!(offered("nice :rocket:")[0], "🚀");
        assert_eq!(offered(":+1")[0], "👍");
        for nothing in ["", "hi ", "say /he", ":", "xyz"] {
            assert!(offered(nothing).is_empty(), "{nothing:?}");
        }
    }

    #[test]
    fn tab_goes_around() {
        let mut completion = Completion::of("b", &["bob".to_owned(), "bea".to_owned()]).unwrap();
        completion.turn(false);
        completion.turn(false);
        assert_eq!(completion.candidate().unwrap().label, "bob");
        completion.turn(true);
        assert_eq!(completion.candidate().unwrap().label, "bea");
    }
}
