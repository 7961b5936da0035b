//! What a violation looks like to whoever has to mend it: the requests and faults around it, and what devices show there.

use crate::{
    checker::Violation,
    history::{History, Line},
    recorder::Event,
};
use std::fmt::Write as _;

/// So many events before and after the messages that it is about.
const AROUND: usize = 12;
/// So many lines of a chat before and after.
const LINES: usize = 2;

/// The story of one violation, as lines of text.
pub(crate) fn tell(violation: &Violation, history: &History, journal: &[Event]) -> String {
    let mut story = format!("{:?}: {}\n", violation.invariant, violation.what);
    let about = |event: &Event| violation.texts.iter().any(|text| event.what.contains(&format!("{text:?}")));
    let mut wanted = vec![false; journal.len()];
    for (index, _) in journal.iter().enumerate().filter(|(_, event)| about(event)) {
        let range = index.saturating_sub(AROUND)..(index + AROUND + 1).min(journal.len());
        wanted[range].fill(true);
    }
    if !wanted.contains(&true) {
        // It is about no message: what was last.
        let from = journal.len().saturating_sub(2 * AROUND);
        wanted[from..].fill(true);
    }
    let mut gap = false;
    for (event, wanted) in journal.iter().zip(wanted) {
        if wanted {
            if std::mem::take(&mut gap) {
                story.push_str("      …\n");
            }
            let mark = if about(event) { '>' } else { ' ' };
            let _ = writeln!(story, "  {mark} {:>8.2} s  {}", event.at.as_secs_f64(), event.what);
        } else {
            gap = true;
        }
    }
    if let Some(chat) = &violation.chat {
        for view in history.views.iter().filter(|view| view.chat == *chat) {
            let _ = writeln!(story, "  {} shows in {chat} ({} lines):", view.device, view.lines.len());
            let near = |index: usize| {
                let from = index.saturating_sub(LINES);
                let to = (index + LINES + 1).min(view.lines.len());
                view.lines[from..to].iter().any(|line| violation.texts.contains(&line.text))
            };
            for (_, line) in view.lines.iter().enumerate().filter(|(index, _)| near(*index)) {
                let _ = writeln!(story, "    {}", shown(line));
            }
        }
    }
    story
}

fn shown(line: &Line) -> String {
    let seq = line.seq.map_or_else(|| "-".to_owned(), |seq| seq.to_string());
    format!("{seq:>5} {:<10} {:<9} {} {}", line.from, line.state, line.kind, line.text)
}
