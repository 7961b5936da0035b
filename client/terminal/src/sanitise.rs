//! The one door through which foreign text goes on its way to a terminal.
//!
//! What comes out moves no cursor, sets no title or clipboard, turns no text around and hides nothing: no control
//! character, no bidirectional override and no invisible character leaves. It knows nothing of who wrote the text.

use std::fmt::Write as _;

/// What becomes of line breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breaks {
    /// They become spaces.
    Spaces,
    /// They stay, and each further line is indented by so many columns, so that none can pose as a line of ours.
    Indented(usize),
}

/// Makes a foreign text safe for a terminal. Control characters show as their pictures (`␛`), invisible ones vanish.
pub(crate) fn sanitise(text: &str, breaks: Breaks) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut characters = text.trim_end_matches(['\n', '\r']).chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' if characters.peek() == Some(&'\n') => {}
            '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => match breaks {
                Breaks::Spaces => safe.push(' '),
                Breaks::Indented(columns) => {
                    safe.push('\n');
                    safe.extend(std::iter::repeat_n(' ', columns));
                }
            },
            '\t' => safe.push_str("    "),
            '\u{7f}' => safe.push('\u{2421}'),
            '\0'..='\u{1f}' => safe.push(char::from_u32(0x2400 + u32::from(character)).unwrap_or('\u{fffd}')),
            '\u{80}'..='\u{9f}' => safe.push('\u{fffd}'),
            _ if is_invisible(character) => {}
            _ => safe.push(character),
        }
    }
    safe
}

/// The same on one line and at most so many characters long, with `…` where something was cut off.
pub(crate) fn preview(text: &str, length: usize) -> String {
    let line = sanitise(text, Breaks::Spaces);
    match line.char_indices().nth(length) {
        None => line,
        Some(_) => line.chars().take(length.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Escapes in a JSON document what [`sanitise`] would change, so that it may go to a terminal and still says the same.
pub(crate) fn json(document: &str) -> String {
    let mut safe = String::with_capacity(document.len());
    for character in document.chars() {
        match character {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => escape(character, &mut safe),
            _ if is_invisible(character) => escape(character, &mut safe),
            _ => safe.push(character),
        }
    }
    safe
}

fn escape(character: char, json: &mut String) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        // Writing to a string cannot fail.
        let _ = write!(json, "\\u{unit:04x}");
    }
}

/// Characters of Unicode's Cf and Default_Ignorable classes; the emoji and text presentation selectors stay.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{34f}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0d}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{110bd}'
            | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
            // With it kitty shows a part of any picture that it has.
            | '\u{10eeee}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        sanitise(text, Breaks::Spaces)
    }

    #[test]
    fn escape_sequences_reach_no_terminal() {
        let attacks = [
            "\u{1b}]52;c;ZXZpbA==\u{7}",                                   // writes the clipboard
            "\u{1b}]8;;http://evil.example\u{1b}\\bank\u{1b}]8;;\u{1b}\\", // a link that shows another text
            "\u{1b}[2J\u{1b}[1;1H",                                        // clears the screen
            "\u{9b}31m \u{9d}0;title\u{9c}",                               // the same by C1 controls
            "a\u{8}b\u{0}c\u{7f}",
        ];
        for attack in attacks {
            let safe = line(attack);
            assert!(!safe.chars().any(char::is_control), "{attack:?} became {safe:?}");
        }
        assert_eq!(line("\u{1b}[31mred"), "␛[31mred");
    }

    #[test]
    fn nothing_turns_the_text_around_or_hides_in_it() {
        assert_eq!(line("pay \u{202e}001\u{202c} \u{2066}x\u{2069}\u{200f}"), "pay 001 x");
        assert_eq!(line("b\u{200b}o\u{200d}b\u{feff}\u{2060}\u{ad}"), "bob");
        assert_eq!(line("tag\u{e0041}\u{e0100}"), "tag");
        assert_eq!(line("a\u{10eeee}b"), "ab");
        assert_eq!(line("Grüße, שלום ❤\u{fe0f}"), "Grüße, שלום ❤\u{fe0f}");
    }

    #[test]
    fn a_message_of_many_lines_cannot_pose_as_another_message() {
        assert_eq!(line("one\r\ntwo\u{2028}three\n"), "one two three");
        assert_eq!(sanitise("hi\n12:00 bob: fake\u{85}x", Breaks::Indented(2)), "hi\n  12:00 bob: fake\n  x");
        assert_eq!(line("over\rwritten\tby"), "over written    by");
    }

    #[test]
    fn a_preview_is_cut_at_characters() {
        assert_eq!(preview("grüßen", 6), "grüßen");
        assert_eq!(preview("grüßen!", 6), "grüße…");
        assert_eq!(preview("a\nb", 6), "a b");
    }

    #[test]
    fn json_says_the_same_but_holds_nothing_that_a_terminal_obeys() {
        let text = "\u{9b}31m\u{202e}\u{200b}\u{e0041}\u{1b}]52;\u{7f}ü";
        let safe = json(&serde_json::to_string(text).unwrap());
        assert!(!safe.chars().any(|c| c.is_control() || is_invisible(c)), "{safe:?}");
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
    }
}
