//! The text being typed: a small editor that moves by visible characters, words and lines, with a history of what was
//! sent. It decides nothing about what the text means.

use super::text;
use crate::sanitise::{Breaks, sanitise};
use unicode_segmentation::UnicodeSegmentation as _;

/// Texts that are remembered.
const REMEMBERED: usize = 200;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Composer {
    text: String,
    /// Where the next character goes: a byte offset between two visible characters.
    cursor: usize,
    /// What was sent, oldest first.
    sent: Vec<String>,
    /// Which of them is shown, and what was being typed before.
    recalled: Option<(usize, String)>,
    /// What was cut out last.
    cut: String,
}

/// A direction to move or delete in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Towards {
    Back,
    Forth,
}

/// How far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Character,
    Word,
    Line,
}

impl Composer {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// What stands before the cursor.
    pub(super) fn before(&self) -> &str {
        self.text.get(..self.cursor).unwrap_or_default()
    }

    fn behind(&self) -> &str {
        self.text.get(self.cursor..).unwrap_or_default()
    }

    /// Replaces everything; the cursor goes to the end.
    pub(super) fn set(&mut self, text: String) {
        self.cursor = text.len();
        self.text = text;
        self.recalled = None;
    }

    /// Puts a text in at the cursor. Of control characters only line breaks and tabs are taken.
    pub(super) fn insert(&mut self, text: &str) {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let text: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
        self.text.insert_str(self.cursor, &text);
        self.cursor += text.len();
        self.settle();
    }

    /// Replaces what stands between `start` and the cursor.
    pub(super) fn replace_from(&mut self, start: usize, text: &str) {
        if self.text.is_char_boundary(start) && start <= self.cursor {
            self.text.replace_range(start..self.cursor, text);
            self.cursor = start + text.len();
        }
    }

    /// What was put in may have joined with its neighbours: the cursor stands behind the whole character.
    fn settle(&mut self) {
        let mut ends = self.text.grapheme_indices(true).map(|(start, grapheme)| start + grapheme.len());
        if self.cursor > 0 {
            self.cursor = ends.find(|end| *end >= self.cursor).unwrap_or(self.text.len());
        }
    }

    /// Empties the text, which is remembered.
    pub(super) fn take(&mut self) -> String {
        let text = std::mem::take(&mut self.text);
        self.cursor = 0;
        self.recalled = None;
        if !text.trim().is_empty() && self.sent.last() != Some(&text) {
            self.sent.push(text.clone());
            if self.sent.len() > REMEMBERED {
                self.sent.remove(0);
            }
        }
        text
    }

    /// Empties the text, which is kept by whoever asked (a draft).
    pub(super) fn put_aside(&mut self) -> String {
        self.cursor = 0;
        self.recalled = None;
        std::mem::take(&mut self.text)
    }

    fn target(&self, towards: Towards, by: By) -> usize {
        match (towards, by) {
            (Towards::Back, By::Character) => {
                self.before().grapheme_indices(true).next_back().map_or(0, |(start, _)| start)
            }
            (Towards::Forth, By::Character) => self.cursor + self.behind().graphemes(true).next().map_or(0, str::len),
            (Towards::Back, By::Word) => {
                let words = self.before().split_word_bound_indices();
                let mut words = words.rev().skip_while(|(_, word)| word.trim().is_empty());
                words.next().map_or(0, |(start, _)| start)
            }
            (Towards::Forth, By::Word) => {
                let mut words = self.behind().split_word_bound_indices();
                let word = words.find(|(_, word)| !word.trim().is_empty());
                word.map_or(self.text.len(), |(start, word)| self.cursor + start + word.len())
            }
            (Towards::Back, By::Line) => self.before().rfind('\n').map_or(0, |end| end + 1),
            (Towards::Forth, By::Line) => self.behind().find('\n').map_or(self.text.len(), |end| self.cursor + end),
        }
    }

    pub(super) fn go(&mut self, towards: Towards, by: By) {
        self.cursor = self.target(towards, by);
    }

    pub(super) fn delete(&mut self, towards: Towards, by: By) {
        let target = self.target(towards, by);
        let range = target.min(self.cursor)..target.max(self.cursor);
        let gone: String = self.text.drain(range.clone()).collect();
        if by != By::Character && !gone.is_empty() {
            self.cut = gone;
        }
        self.cursor = range.start;
        self.settle_back();
    }

    /// What is left may have joined: the cursor stands before the whole character.
    fn settle_back(&mut self) {
        let at_start = |(start, grapheme): &(usize, &str)| *start < self.cursor && self.cursor < start + grapheme.len();
        let inside = self.text.grapheme_indices(true).find(at_start);
        if let Some((start, _)) = inside {
            self.cursor = start;
        }
    }

    /// Puts in what was cut out last.
    pub(super) fn paste_cut(&mut self) {
        let cut = self.cut.clone();
        self.insert(&cut);
    }

    /// The text that was sent before the one that is shown; false if there is none.
    pub(super) fn recall(&mut self, towards: Towards) -> bool {
        let at = self.recalled.as_ref().map_or(self.sent.len(), |(at, _)| *at);
        let to = match towards {
            Towards::Back => at.checked_sub(1),
            Towards::Forth => Some(at + 1).filter(|at| *at <= self.sent.len() && self.recalled.is_some()),
        };
        let Some(to) = to else { return false };
        let typed = match self.recalled.take() {
            Some((_, typed)) => typed,
            None => self.text.clone(),
        };
        match self.sent.get(to).cloned() {
            Some(text) => {
                self.set(text);
                self.recalled = Some((to, typed));
            }
            None => self.set(typed),
        }
        true
    }

    /// Moves to the row above or below; if there is none, what was sent before or after comes back.
    pub(super) fn go_row_or_recall(&mut self, towards: Towards, columns: usize) {
        if !self.go_row(towards, columns) {
            self.recall(towards);
        }
    }

    /// Moves to the row above or below; false if there is none.
    pub(super) fn go_row(&mut self, towards: Towards, columns: usize) -> bool {
        let (rows, (row, column)) = self.rows(columns);
        let to = match towards {
            Towards::Back => row.checked_sub(1),
            Towards::Forth => Some(row + 1).filter(|row| *row < rows.len()),
        };
        let Some(target) = to.and_then(|to| rows.get(to)) else { return false };
        let (mut at, mut reached) = (target.start, 0);
        for (character, columns) in &target.characters {
            if reached + columns > column {
                break;
            }
            reached += columns;
            at += character;
        }
        self.cursor = at;
        true
    }

    /// The text in rows of so many columns, and the cursor's row and column among them.
    pub(super) fn rows(&self, columns: usize) -> (Vec<ComposerRow>, (usize, usize)) {
        // One is left for the cursor behind the last character.
        let columns = columns.saturating_sub(1).max(2);
        let (mut rows, mut row, mut cursor) = (Vec::new(), ComposerRow::default(), None);
        for (start, grapheme) in self.text.grapheme_indices(true) {
            let line_break = grapheme == "\n" || grapheme == "\r\n";
            let shown = if line_break { String::new() } else { text::cut(&shown(grapheme), columns) };
            let wide = text::width(&shown);
            if row.columns + wide > columns {
                rows.push(std::mem::replace(&mut row, ComposerRow { start, ..Default::default() }));
            }
            if start == self.cursor {
                cursor = Some((rows.len(), row.columns));
            }
            if line_break {
                rows.push(std::mem::replace(
                    &mut row,
                    ComposerRow { start: start + grapheme.len(), ..Default::default() },
                ));
                continue;
            }
            row.shown.push_str(&shown);
            row.columns += wide;
            row.characters.push((grapheme.len(), wide));
        }
        let cursor = cursor.unwrap_or((rows.len(), row.columns));
        rows.push(row);
        (rows, cursor)
    }
}

/// A row of the text being typed.
#[derive(Clone, Debug, Default)]
pub(super) struct ComposerRow {
    /// Safe to show.
    pub(super) shown: String,
    start: usize,
    columns: usize,
    /// The bytes and columns of each visible character.
    characters: Vec<(usize, usize)>,
}

/// A visible character as the screen shows it; what would be invisible shows as a dot, since it is sent.
fn shown(grapheme: &str) -> String {
    let safe = sanitise(grapheme, Breaks::Spaces);
    match text::width(&safe) {
        0 => "·".to_owned(),
        _ => text::characters(&safe).map(|(character, _)| character).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn typed(text: &str) -> Composer {
        let mut composer = Composer::default();
        composer.insert(text);
        composer
    }

    /// The text with the cursor in it.
    fn seen(composer: &Composer) -> String {
        format!("{}|{}", composer.before(), composer.behind())
    }

    #[test]
    fn the_cursor_moves_by_what_is_seen() {
        let mut composer = typed("ae\u{301}👩‍🚀");
        composer.go(Towards::Back, By::Character);
        assert_eq!(seen(&composer), "ae\u{301}|👩‍🚀");
        composer.delete(Towards::Back, By::Character);
        assert_eq!(seen(&composer), "a|👩‍🚀");
        composer.delete(Towards::Forth, By::Character);
        assert_eq!(seen(&composer), "a|");
    }

    #[test]
    fn words_and_lines_are_jumped_over_cut_and_put_back() {
        let mut composer = typed("see you  soon\nbye now");
        composer.go(Towards::Back, By::Word);
        assert_eq!(seen(&composer), "see you  soon\nbye |now");
        composer.go(Towards::Back, By::Line);
        composer.go(Towards::Back, By::Character);
        composer.delete(Towards::Back, By::Word);
        assert_eq!(seen(&composer), "see you  |\nbye now");
        composer.go(Towards::Forth, By::Word);
        assert_eq!(seen(&composer), "see you  \nbye| now");
        composer.paste_cut();
        assert_eq!(seen(&composer), "see you  \nbyesoon| now");
        composer.delete(Towards::Back, By::Line);
        assert_eq!(seen(&composer), "see you  \n| now");
    }

    #[test]
    fn what_was_sent_comes_back_and_what_was_typed_is_not_lost() {
        let mut composer = Composer::default();
        for text in ["one", "two", "two"] {
            composer.insert(text);
            composer.take();
        }
        composer.insert("thr");
        assert!(composer.recall(Towards::Back));
        assert_eq!(composer.text(), "two");
        assert!(composer.recall(Towards::Back));
        assert_eq!(composer.text(), "one");
        assert!(!composer.recall(Towards::Back));
        assert!(composer.recall(Towards::Forth) && composer.recall(Towards::Forth));
        assert_eq!(composer.text(), "thr");
        assert!(!composer.recall(Towards::Forth));
    }

    #[test]
    fn rows_break_where_the_screen_ends_and_the_cursor_goes_up_and_down() {
        let mut composer = typed("abcdef\nx漢漢");
        let (rows, cursor) = composer.rows(5);
        assert_eq!(rows.iter().map(|row| row.shown.as_str()).collect::<Vec<_>>(), ["abcd", "ef", "x漢", "漢"]);
        assert_eq!(cursor, (3, 2));
        assert!(composer.go_row(Towards::Back, 5));
        assert_eq!(seen(&composer), "abcdef\nx|漢漢");
        assert!(composer.go_row(Towards::Back, 5) && composer.go_row(Towards::Back, 5));
        assert_eq!(seen(&composer), "a|bcdef\nx漢漢");
        assert!(!composer.go_row(Towards::Back, 5));
    }

    #[test]
    fn what_is_pasted_obeys_nobody_and_hides_nothing() {
        let composer = typed("a\u{1b}[2J\r\nb\u{200b}");
        assert_eq!(composer.text(), "a[2J\nb\u{200b}");
        let (rows, _) = composer.rows(20);
        assert!(rows.iter().all(|row| !row.shown.chars().any(char::is_control)));
    }

    proptest! {
        #[test]
        fn whatever_is_typed_and_pressed_the_cursor_stands_between_characters(
            texts in prop::collection::vec(any::<String>(), 1..4),
            moves in prop::collection::vec((any::<bool>(), 0_u8..8), 0..30),
            columns in 3_usize..30,
        ) {
            let mut composer = Composer::default();
            for text in &texts {
                composer.insert(text);
                for (back, step) in &moves {
                    let towards = if *back { Towards::Back } else { Towards::Forth };
                    let by = [By::Character, By::Word, By::Line][usize::from(step % 3)];
                    match step {
                        0..=2 => composer.go(towards, by),
                        3..=5 => composer.delete(towards, by),
                        6 => drop(composer.go_row(towards, columns)),
                        _ => drop(composer.recall(towards)),
                    }
                    prop_assert!(composer.text().is_char_boundary(composer.before().len()));
                    let (rows, (row, column)) = composer.rows(columns);
                    prop_assert!(row < rows.len() && column < columns.max(3));
                    prop_assert!(rows.iter().all(|row| text::width(&row.shown) < columns.max(3)));
                }
                composer.take();
            }
        }
    }
}
