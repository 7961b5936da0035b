//! Formatted text: a small, safe part of Markdown, as blocks of spans that any kind of screen can draw.
//!
//! Bold, italic, code, quotations, lists and fenced code count; everything else, HTML and links above all, shows as it was
//! typed, so that no text hides where it leads. What comes out is sanitised. It must not know terminals or colours, save
//! for [`ansi`].

use crate::{
    highlight::{self, Token},
    sanitise::{Breaks, sanitise},
};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use std::ops::Range;

/// So many quotations and lists may stand within each other; what is deeper shows as it was typed.
const DEEPEST: usize = 6;

/// A block of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// Words; line breaks are `\n` in them.
    Paragraph(Vec<Span>),
    /// What somebody else said.
    Quote(Vec<Block>),
    /// Items; numbered from there, or not at all.
    List {
        /// The first number.
        start: Option<u64>,
        /// What the items are made of.
        items: Vec<Vec<Block>>,
    },
    /// Code, line by line as it was typed.
    Code {
        /// The language, if one was named.
        language: Option<String>,
        /// The code, without a line break at its end.
        text: String,
    },
}

/// Words that look alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    /// Safe to show.
    pub(crate) text: String,
    /// Whether they are bold.
    pub(crate) bold: bool,
    /// Whether they are italic.
    pub(crate) italic: bool,
    /// Whether they are code.
    pub(crate) code: bool,
}

/// Reads a text. It comes from others: what this returns is sanitised.
pub(crate) fn parse(text: &str) -> Vec<Block> {
    // Before it is read, so that nothing invisible splits or makes up a mark; and once more what entities stood for.
    let safe = sanitise(text, Breaks::Indented(0));
    let mut reader = Reader { source: &safe, open: vec![Open::new(Kind::Text)], bold: 0, italic: 0, raw: None };
    for (event, range) in Parser::new_ext(&safe, Options::empty()).into_offset_iter() {
        reader.take(event, range);
    }
    reader.finish()
}

/// Whether a text has nothing that is formatted.
pub(crate) fn is_plain(blocks: &[Block]) -> bool {
    blocks.iter().all(|block| match block {
        Block::Paragraph(spans) => spans.iter().all(|span| !(span.bold || span.italic || span.code)),
        _ => false,
    })
}

/// What is being read.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Quote,
    List(Option<u64>),
    Item,
    Code(Option<String>),
}

#[derive(Debug)]
struct Open {
    kind: Kind,
    blocks: Vec<Block>,
    items: Vec<Vec<Block>>,
    spans: Vec<Span>,
    code: String,
}

impl Open {
    fn new(kind: Kind) -> Self {
        Self { kind, blocks: Vec::new(), items: Vec::new(), spans: Vec::new(), code: String::new() }
    }

    /// What was read of a paragraph is one.
    fn end_paragraph(&mut self) {
        if !self.spans.is_empty() {
            self.blocks.push(Block::Paragraph(std::mem::take(&mut self.spans)));
        }
    }
}

struct Reader<'a> {
    source: &'a str,
    /// The innermost last; the first is the text itself.
    open: Vec<Open>,
    bold: usize,
    italic: usize,
    /// How many starts without their ends there are within what shows as it was typed.
    raw: Option<usize>,
}

impl Reader<'_> {
    fn take(&mut self, event: Event<'_>, range: Range<usize>) {
        if let Some(depth) = &mut self.raw {
            match event {
                Event::Start(_) => *depth += 1,
                Event::End(_) if *depth == 0 => self.raw = None,
                Event::End(_) => *depth -= 1,
                _ => {}
            }
            return;
        }
        match event {
            Event::Start(Tag::Paragraph) => {}
            Event::End(TagEnd::Paragraph) => self.top().end_paragraph(),
            Event::Start(Tag::Strong) => self.bold += 1,
            Event::End(TagEnd::Strong) => self.bold = self.bold.saturating_sub(1),
            Event::Start(Tag::Emphasis) => self.italic += 1,
            Event::End(TagEnd::Emphasis) => self.italic = self.italic.saturating_sub(1),
            Event::Start(Tag::BlockQuote(_)) if self.open.len() <= DEEPEST => self.begin(Kind::Quote),
            Event::Start(Tag::List(start)) if self.open.len() <= DEEPEST => self.begin(Kind::List(start)),
            Event::Start(Tag::Item) => self.begin(Kind::Item),
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                let language = language.split_whitespace().next().map(str::to_owned);
                self.begin(Kind::Code(language));
            }
            Event::End(TagEnd::BlockQuote(_) | TagEnd::List(_) | TagEnd::Item | TagEnd::CodeBlock) => self.end(),
            Event::Text(text) if matches!(self.top().kind, Kind::Code(_)) => self.top().code.push_str(&text),
            Event::Text(text) => self.say(&sanitise(&text, Breaks::Spaces), false),
            Event::Code(code) => self.say(&sanitise(&code, Breaks::Spaces), true),
            Event::SoftBreak | Event::HardBreak => self.say("\n", false),
            // Everything else shows as it was typed.
            Event::Start(_) => {
                self.raw = Some(0);
                self.say_source(range);
            }
            Event::End(_) => {}
            _ => self.say_source(range),
        }
    }

    #[expect(clippy::expect_used, reason = "the text itself is never closed")]
    fn top(&mut self) -> &mut Open {
        self.open.last_mut().expect("the text itself")
    }

    fn begin(&mut self, kind: Kind) {
        self.top().end_paragraph();
        self.open.push(Open::new(kind));
    }

    fn end(&mut self) {
        if self.open.len() < 2 {
            return;
        }
        let Some(mut closed) = self.open.pop() else { return };
        closed.end_paragraph();
        let top = self.top();
        match closed.kind {
            Kind::Text => {}
            Kind::Quote => top.blocks.push(Block::Quote(closed.blocks)),
            Kind::Item => top.items.push(closed.blocks),
            Kind::List(start) => top.blocks.push(Block::List { start, items: closed.items }),
            Kind::Code(language) => {
                let text = closed.code.strip_suffix('\n').unwrap_or(&closed.code).to_owned();
                top.blocks.push(Block::Code { language, text });
            }
        }
    }

    fn say(&mut self, text: &str, code: bool) {
        let (bold, italic) = (self.bold > 0, self.italic > 0);
        let spans = &mut self.top().spans;
        match spans.last_mut() {
            Some(last) if (last.bold, last.italic, last.code) == (bold, italic, code) => last.text.push_str(text),
            _ => spans.push(Span { text: text.to_owned(), bold, italic, code }),
        }
    }

    fn say_source(&mut self, range: Range<usize>) {
        let source = self.source.get(range).unwrap_or_default().to_owned();
        let is_block = source.ends_with('\n');
        self.say(source.trim_end_matches('\n'), false);
        if is_block {
            self.top().end_paragraph();
        }
    }

    fn finish(mut self) -> Vec<Block> {
        while self.open.len() > 1 {
            self.end();
        }
        let top = self.top();
        top.end_paragraph();
        std::mem::take(&mut top.blocks)
    }
}

/// What a text says, in one line and without its marks.
pub(crate) fn line(text: &str) -> String {
    let blocks = parse(text);
    if is_plain(&blocks) {
        return sanitise(text, Breaks::Spaces);
    }
    let mut words = Vec::new();
    gather(&blocks, &mut words);
    words.join(" ").replace('\n', " ")
}

fn gather(blocks: &[Block], words: &mut Vec<String>) {
    for block in blocks {
        match block {
            Block::Paragraph(spans) => words.push(spans.iter().map(|span| span.text.as_str()).collect()),
            Block::Quote(blocks) => gather(blocks, words),
            Block::List { items, .. } => items.iter().for_each(|item| gather(item, words)),
            Block::Code { text, .. } => words.push(text.clone()),
        }
    }
}

/// A text for a terminal that knows ANSI's styles, each further line indented by so many columns.
pub(crate) fn ansi(text: &str, indent: usize) -> String {
    let blocks = parse(text);
    if is_plain(&blocks) {
        // As it was typed, with its spaces.
        return sanitise(text, Breaks::Indented(indent));
    }
    let mut lines = Vec::new();
    draw(&blocks, &mut lines);
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

fn draw(blocks: &[Block], lines: &mut Vec<String>) {
    use dialoguer::console::style;
    for block in blocks {
        match block {
            Block::Paragraph(spans) => {
                let mut line = String::new();
                for span in spans {
                    for (index, piece) in span.text.split('\n').enumerate() {
                        if index > 0 {
                            lines.push(std::mem::take(&mut line));
                        }
                        let mut styled = style(piece).force_styling(true);
                        styled = if span.bold { styled.bold() } else { styled };
                        styled = if span.italic { styled.italic() } else { styled };
                        styled = if span.code { styled.cyan() } else { styled };
                        let is_styled = (span.bold || span.italic || span.code) && !piece.is_empty();
                        line.push_str(&if is_styled { styled.to_string() } else { piece.to_owned() });
                    }
                }
                lines.push(line);
            }
            Block::Quote(blocks) => {
                let mut inner = Vec::new();
                draw(blocks, &mut inner);
                lines.extend(inner.into_iter().map(|line| format!("│ {line}")));
            }
            Block::List { start, items } => {
                for (index, item) in items.iter().enumerate() {
                    let sign = match start {
                        Some(start) => format!("{}. ", start.saturating_add(index as u64)),
                        None => "• ".to_owned(),
                    };
                    let width = sign.chars().count();
                    let mut inner = Vec::new();
                    draw(item, &mut inner);
                    let mut inner = inner.into_iter();
                    lines.push(sign + &inner.next().unwrap_or_default());
                    lines.extend(inner.map(|line| " ".repeat(width) + &line));
                }
            }
            Block::Code { language, text } => {
                let mut line = "  ".to_owned();
                for (token, piece) in highlight::tokens(language.as_deref(), text) {
                    for (index, part) in piece.split('\n').enumerate() {
                        if index > 0 {
                            lines.push(std::mem::replace(&mut line, "  ".to_owned()));
                        }
                        let part = style(part).force_styling(true);
                        let styled = match token {
                            Token::Plain => part.cyan(),
                            Token::Keyword => part.cyan().bold(),
                            Token::Text => part.green(),
                            Token::Number => part.yellow(),
                            Token::Comment => part.dim(),
                        };
                        line.push_str(&styled.to_string());
                    }
                }
                lines.push(line);
            }
        }
    }
}

#[cfg(test)]
mod tests;
