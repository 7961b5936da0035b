use super::*;
use dialoguer::console::strip_ansi_codes;
use proptest::prelude::*;

fn plain(text: &str) -> Span {
    Span { text: text.to_owned(), ..Span::default() }
}

fn paragraph(spans: &[Span]) -> Block {
    Block::Paragraph(spans.to_vec())
}

#[test]
fn marks_within_a_line_become_spans() {
    let bold = Span { bold: true, ..plain("bold") };
    let italic = Span { italic: true, ..plain("italic") };
    let code = Span { code: true, ..plain("a*b*") };
    assert_eq!(
        parse("**bold** and _italic_ and `a*b*`"),
        [paragraph(&[bold, plain(" and "), italic, plain(" and "), code])]
    );
    let both = Span { bold: true, italic: true, ..plain("both") };
    assert_eq!(parse("***both***"), [paragraph(&[both])]);
    for text in ["2 * 3 * 4", "snake_case_name", "**open", "\\*no\\*"] {
        assert!(is_plain(&parse(text)), "{text}");
    }
}

#[test]
fn a_line_has_the_words_of_a_text_and_not_its_marks() {
    assert_eq!(
        line("two *of* them, `08:10`\n> at the **lagoon**\n\n- one\n- two"),
        "two of them, 08:10 at the lagoon one two"
    );
    assert_eq!(line("2 * 3\n= 6\u{1b}[2J"), sanitise("2 * 3\n= 6\u{1b}[2J", Breaks::Spaces));
}

#[test]
fn quotations_lists_and_code_are_blocks() {
    let quote = Block::Quote(vec![paragraph(&[plain("he said\nthis")])]);
    assert_eq!(parse("> he said\n> this\n\nno"), [quote, paragraph(&[plain("no")])]);
    let items = vec![vec![paragraph(&[plain("tea")])], vec![paragraph(&[plain("milk")])]];
    assert_eq!(parse("- tea\n- milk"), [Block::List { start: None, items: items.clone() }]);
    assert_eq!(parse("3. tea\n4. milk"), [Block::List { start: Some(3), items }]);
    let code = Block::Code { language: Some("rust".into()), text: "fn main() {\n    **x**\n}".into() };
    assert_eq!(parse("```rust\nfn main() {\n    **x**\n}\n```"), [code]);
    // Without its end it goes to the end of the text.
    assert_eq!(parse("```\nx"), [Block::Code { language: None, text: "x".into() }]);
}

#[test]
fn what_is_not_of_the_safe_part_shows_as_it_was_typed() {
    let shown = |text: &str| match parse(text).as_slice() {
        [Block::Paragraph(spans)] => spans.iter().map(|span| span.text.as_str()).collect::<String>(),
        other => panic!("{text}: {other:?}"),
    };
    for text in [
        "[bank](http://evil.example)",
        "![x](http://evil.example/x.png)",
        "<http://x.example>",
        "a <b>bold</b> word",
        "# no heading",
        "---",
        "&amp; &lt;",
    ] {
        let expected = if text.starts_with('&') { "& <" } else { text };
        assert_eq!(shown(text), expected);
    }
    assert!(is_plain(&parse("<script>\nalert(1)\n</script>")));
}

#[test]
fn nothing_gets_past_the_sanitiser() {
    let blocks = format!(
        "{:?}",
        parse("**a\u{1b}[2J** `\u{202e}x\u{9b}` \n```\u{7}sh\n\u{1b}]0;t\u{7}\n```\n> \u{200b}&#27;[2J&#x202e;")
    );
    assert!(!blocks.contains("\\u{1b}") && !blocks.contains("\\u{202e}") && !blocks.contains("\\u{9b}"), "{blocks}");
    assert!(!ansi("**x** &#27;[2J", 0).replace("\u{1b}[1m", "").replace("\u{1b}[0m", "").contains('\u{1b}'));
}

#[test]
fn a_terminal_shows_styles_and_no_line_poses_as_another() {
    assert_eq!(ansi("no marks,\n  as typed", 2), "no marks,\n    as typed");
    assert_eq!(ansi("**a** b", 2), "\u{1b}[1ma\u{1b}[0m b");
    let drawn = ansi("- **one**\n- two\n\n> three\n> four\n\n```\nx\ny\n```", 2);
    assert_eq!(strip_ansi_codes(&drawn), "• one\n  • two\n  │ three\n  │ four\n    x\n    y");
    assert_eq!(strip_ansi_codes(&ansi(&"> ".repeat(40), 0)).lines().count(), 1);
}

proptest! {
    #[test]
    fn whatever_is_typed_is_drawn_and_is_safe(text in "[-#>*_`~\\[\\]()<>!0-9. \\na-c\u{1b}\u{202e}&;x]{0,200}") {
        let drawn = ansi(&text, 3);
        let bare = strip_ansi_codes(&drawn).into_owned();
        prop_assert!(!bare.chars().any(|c| c.is_control() && c != '\n'), "{:?}", bare);
        prop_assert!(bare.lines().skip(1).all(|line| line.starts_with("   ")), "{:?}", bare);
    }
}
