//! Sanitised text as rows of a screen: how wide it is, where it breaks, where it is cut off.
//!
//! What comes out never takes more columns than it was given. It knows nothing of messages, and does not sanitise itself.

use ratatui::{
    style::Style,
    text::{Line, Span},
};
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

/// The most code points that one visible character may pile up.
const PILE: usize = 8;

/// The visible characters of a text with the columns that each takes: 1 or 2, or 0 for a line break. What would show
/// nothing is left out, and what piles up marks without end is cut.
pub(super) fn characters(text: &str) -> impl Iterator<Item = (&str, usize)> {
    text.graphemes(true).filter_map(|grapheme| {
        if grapheme == "\n" {
            return Some((grapheme, 0));
        }
        let grapheme = match grapheme.char_indices().nth(PILE) {
            Some((end, _)) => grapheme.get(..end).unwrap_or(grapheme),
            None => grapheme,
        };
        let columns = grapheme.width();
        // A row of a wide script may join more than two columns' worth; the screen counts as we do.
        (columns > 0).then_some((grapheme, columns))
    })
}

/// The columns that a text of one line takes.
pub(super) fn width(text: &str) -> usize {
    characters(text).map(|(_, columns)| columns).sum()
}

/// The text, or as much of it as fits with a `…`.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return characters(text).map(|(character, _)| character).collect();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    let mut taken = 0;
    let fits = characters(text).take_while(|(_, columns)| {
        taken += columns;
        taken <= room
    });
    fits.map(|(character, _)| character).chain(["…"]).collect()
}

/// Cut or filled up with spaces to exactly so many columns.
pub(super) fn pad(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let missing = columns.saturating_sub(width(&text));
    text + &" ".repeat(missing)
}

/// Breaks runs of styled text into rows of at most so many columns: at line breaks, else at spaces, else anywhere.
pub(super) fn wrap(runs: &[(String, Style)], columns: usize) -> Vec<Line<'static>> {
    let columns = columns.max(1);
    let (mut rows, mut row) = (Vec::new(), Row::default());
    for (text, style) in runs {
        for (character, wide) in characters(text) {
            if character == "\n" {
                rows.push(std::mem::take(&mut row).line());
                continue;
            }
            let (character, wide) = if wide > columns { ("…", 1) } else { (character, wide) };
            if row.columns + wide > columns {
                if character == " " {
                    // It would only be seen as an indentation of the next row.
                    row.breakable();
                    continue;
                }
                let rest = row.split();
                rows.push(std::mem::replace(&mut row, rest).line());
                if row.columns + wide > columns {
                    rows.push(std::mem::take(&mut row).line());
                }
            }
            row.push(character, wide, *style);
        }
    }
    rows.push(row.line());
    rows
}

/// A row that is being filled.
#[derive(Default)]
struct Row<'a> {
    characters: Vec<(&'a str, usize, Style)>,
    columns: usize,
    /// Behind the last space: where the row may be broken.
    wordless: Option<usize>,
}

impl<'a> Row<'a> {
    fn push(&mut self, character: &'a str, columns: usize, style: Style) {
        self.characters.push((character, columns, style));
        self.columns += columns;
        if character == " " {
            self.breakable();
        }
    }

    fn breakable(&mut self) {
        self.wordless = Some(self.characters.len());
    }

    /// Takes the word away that is not complete; the rest stays. Nothing is taken where no space stands before it.
    fn split(&mut self) -> Self {
        let at = self.wordless.unwrap_or(self.characters.len());
        let characters = self.characters.split_off(at);
        let columns = characters.iter().map(|(_, columns, _)| columns).sum();
        self.columns -= columns;
        Self { characters, columns, wordless: None }
    }

    fn line(mut self) -> Line<'static> {
        // Spaces at an end are not seen, but would be underlined.
        while self.wordless == Some(self.characters.len()) && self.characters.pop_if(|last| last.0 == " ").is_some() {
            self.breakable();
        }
        let mut spans: Vec<Span<'static>> = Vec::new();
        for (character, _, style) in self.characters {
            match spans.last_mut() {
                Some(last) if last.style == style => last.content.to_mut().push_str(character),
                _ => spans.push(Span::styled(character.to_owned(), style)),
            }
        }
        Line::from(spans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sanitise::{Breaks, sanitise};
    use proptest::prelude::*;

    fn rows(text: &str, columns: usize) -> Vec<String> {
        wrap(&[(text.to_owned(), Style::new())], columns).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn words_stay_whole_where_they_can() {
        assert_eq!(rows("a calm and quick screen", 10), ["a calm and", "quick", "screen"]);
        assert_eq!(rows("unbreakable", 4), ["unbr", "eaka", "ble"]);
        assert_eq!(rows("to unbreakable", 6), ["to", "unbrea", "kable"]);
        assert_eq!(rows("one\n\n  two", 8), ["one", "", "  two"]);
        assert_eq!(rows("", 8), [""]);
    }

    #[test]
    fn wide_and_piled_characters_are_counted_as_they_show() {
        assert_eq!(rows("漢字漢字", 5), ["漢字", "漢字"]);
        assert_eq!(rows("漢", 1), ["…"]);
        assert_eq!(width("❤\u{fe0f}é"), 3);
        let piled = format!("a{}", "\u{301}".repeat(500));
        assert_eq!(cut(&piled, 5).chars().count(), PILE);
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(cut("lagoon", 6), "lagoon");
        assert_eq!(cut("lagoons", 6), "lagoo…");
        assert_eq!(cut("漢字漢字", 6), "漢字…");
        assert_eq!((cut("漢", 1), cut("x", 0)), ("…".to_owned(), String::new()));
        assert_eq!(pad("漢", 4), "漢  ");
    }

    proptest! {
        #[test]
        fn no_text_leaves_its_columns(text in any::<String>(), columns in 1_usize..40) {
            let safe = sanitise(&text, Breaks::Indented(0));
            for row in rows(&safe, columns) {
                prop_assert!(width(&row) <= columns, "{row:?} in {columns}");
                prop_assert!(!row.chars().any(char::is_control));
            }
            prop_assert!(width(&cut(&sanitise(&text, Breaks::Spaces), columns)) <= columns);
            prop_assert_eq!(width(&pad(&sanitise(&text, Breaks::Spaces), columns)), columns);
        }

        #[test]
        fn nothing_that_is_visible_is_lost(text in "[a-z漢é \\n]{0,200}", columns in 2_usize..30) {
            let kept = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(kept(&rows(&text, columns).concat()), kept(&text));
        }
    }
}
