//! Colours in fenced code: words, texts, numbers and comments, as nearly all languages have them in common.
//!
//! The invariant: every piece of the code comes out once and in its order, in time that grows with its length alone, whoever
//! wrote it. It knows no grammar and no colours, and does not sanitise.
//!
//! A highlighter with grammars (syntect) would be larger than all the rest of the client's tree and take longer to load than the
//! screen does; a few lines of somebody's code in a chat need no more than this.

mod languages;

use languages::{LANGUAGES, Language};

/// What a piece of code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// All else.
    Plain,
    /// A word of the language.
    Keyword,
    /// A text, quotes included.
    Text,
    Number,
    Comment,
}

/// The pieces of a code; in a language that is not known it is one piece.
pub(crate) fn tokens<'a>(language: Option<&str>, code: &'a str) -> Vec<(Token, &'a str)> {
    let wanted = language.map(str::to_ascii_lowercase).unwrap_or_default();
    let Some(language) = LANGUAGES.iter().find(|language| language.names.contains(&wanted.as_str())) else {
        return vec![(Token::Plain, code)];
    };
    let (mut pieces, mut at, mut plain_from) = (Vec::new(), 0, 0);
    let mut piece = |token, from: usize, to: usize| {
        if let Some(text) = code.get(from..to).filter(|text| !text.is_empty()) {
            pieces.push((token, text));
        }
    };
    let mut before = None;
    while let Some(rest) = code.get(at..).filter(|rest| !rest.is_empty()) {
        let (token, length) = next(language, before, rest);
        before = rest.get(..length).and_then(|text| text.chars().next_back());
        // What is nothing special is one piece with what was nothing special before it.
        if token != Token::Plain {
            piece(Token::Plain, plain_from, at);
            piece(token, at, at + length);
            plain_from = at + length;
        }
        at += length;
    }
    piece(Token::Plain, plain_from, code.len());
    pieces
}

/// What stands at the beginning of the rest, and how long it is: one character at least. Whatever is looked at is taken, so
/// that nothing is looked at twice.
fn next(language: &Language, before: Option<char>, rest: &str) -> (Token, usize) {
    let Some(first) = rest.chars().next() else { return (Token::Plain, 1) };
    // A # within a word begins none: `$#`, `#{x}`.
    let apart = first != '#' || before.is_none_or(char::is_whitespace);
    if apart && language.line.iter().any(|mark| rest.starts_with(mark)) {
        return (Token::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if let Some((begin, end)) = language.block.filter(|(begin, _)| rest.starts_with(begin)) {
        return (Token::Comment, enclosed(rest, begin, end));
    }
    if let Some(quote) = language.long_quote.filter(|quote| rest.starts_with(quote)) {
        return (Token::Text, enclosed(rest, quote, quote));
    }
    if language.quotes.contains(&first) {
        return (Token::Text, quoted(rest, first));
    }
    if !first.is_alphanumeric() && first != '_' {
        return (Token::Plain, first.len_utf8());
    }
    let is_number = first.is_ascii_digit();
    let ends = |c: char| !(c.is_alphanumeric() || c == '_' || (is_number && c == '.'));
    let length = rest.find(ends).unwrap_or(rest.len());
    let word = rest.get(..length).unwrap_or_default();
    let is_keyword = || match language.any_case {
        true => language.keywords.iter().any(|keyword| keyword.eq_ignore_ascii_case(word)),
        false => language.keywords.contains(&word),
    };
    let token = match is_number {
        true => Token::Number,
        false if is_keyword() => Token::Keyword,
        false => Token::Plain,
    };
    (token, length)
}

/// Up to and with what ends it, else all.
fn enclosed(rest: &str, begin: &str, end: &str) -> usize {
    let inside = rest.get(begin.len()..).unwrap_or_default();
    inside.find(end).map_or(rest.len(), |at| begin.len() + at + end.len())
}

/// Up to and with the same quote, unless a backslash stands before it; at most to the end of the line.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '\n' => return at,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each piece that is something, with a letter for what it is.
    fn marked(language: &str, code: &str) -> Vec<String> {
        let pieces = tokens(Some(language), code).into_iter().filter(|(token, _)| *token != Token::Plain);
        let letter = |token| match token {
            Token::Plain => ' ',
            Token::Keyword => 'k',
            Token::Text => 't',
            Token::Number => 'n',
            Token::Comment => 'c',
        };
        pieces.map(|(token, text)| format!("{}:{text}", letter(token))).collect()
    }

    #[test]
    fn words_texts_numbers_and_comments_are_told_apart() {
        assert_eq!(
            marked("rust", "fn main() { let life: &'a str = \"if \\\" 7\"; x1(0x2a, 1.5) } // fn 3"),
            ["k:fn", "k:let", "t:\"if \\\" 7\"", "n:0x2a", "n:1.5", "c:// fn 3"]
        );
        assert_eq!(marked("Python", "def f(): # if\n  \"\"\"a\n'b\"\"\""), ["k:def", "c:# if", "t:\"\"\"a\n'b\"\"\""]);
        assert_eq!(marked("sql", "SELECT 'it' FROM t -- x"), ["k:SELECT", "t:'it'", "k:FROM", "c:-- x"]);
        assert_eq!(marked("sh", "echo $# ${a#b} # done"), ["k:echo", "c:# done"]);
        assert_eq!(marked("c", "/* if\n1 */ int a = 'x';"), ["c:/* if\n1 */", "k:int", "t:'x'"]);
        assert_eq!(marked("json", "{\"a\": [1, true]}"), ["t:\"a\"", "n:1", "k:true"]);
        // What does not end goes to the end of its line, or of all.
        assert_eq!(marked("js", "a = \"b\nlet c /* d"), ["t:\"b", "k:let", "c:/* d"]);
    }

    #[test]
    fn a_language_that_is_not_known_is_plain() {
        for language in [None, Some("klingon"), Some(""), Some("rust,ignore")] {
            assert_eq!(tokens(language, "fn main() {}"), [(Token::Plain, "fn main() {}")]);
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_doubled(language in 0..LANGUAGES.len(), code in "[\"'`#/*\\-!<>a1 é\n\\\\]{0,200}") {
            let name = LANGUAGES[language].names[0];
            let pieces = tokens(Some(name), &code);
            prop_assert_eq!(&pieces.iter().map(|(_, text)| *text).collect::<String>(), &code);
            prop_assert!(pieces.iter().all(|(_, text)| !text.is_empty()));
        }
    }
}
