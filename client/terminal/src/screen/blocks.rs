//! A message as rows: the line of a new day above it, its author where another one wrote before, the text, how far it
//! has come. The same function tells how it looks and how high it is, so scrolling and drawing cannot differ.
//!
//! Every text of others goes through `sanitise` here.

mod file;

use super::{
    model::{Model, mention},
    text::{cut, pad, width, wrap},
    window::{Notice, Window, key},
};
use crate::{
    highlight,
    markdown::{self, Block},
    output::{self, mark},
    sanitise::{Breaks, sanitise},
};
use jiff::Timestamp;
use ratatui::{
    style::{Modifier, Style},
    text::{Line, Span},
};
use waxwing_core::{ChatKind, Content, Message, MessageState, Reply};

/// Messages of one author within this time stand together, in milliseconds.
const TOGETHER: u64 = 5 * 60 * 1000;

/// Panes of so many rows have room for a blank one between authors.
const ROOMY: u16 = 24;

/// The column in which texts begin: one for the mark of the selected message, one to breathe.
const INDENT: usize = 2;

/// The most columns of what is called an emoji: it comes from others.
const EMOJI: usize = 12;

impl Model {
    /// The rows of the message at this place of the window, with what stands above and below it.
    pub(super) fn block(&self, window: &Window, index: usize, columns: usize) -> Vec<Line<'static>> {
        let Some(message) = window.messages.get(index) else { return Vec::new() };
        let before = index.checked_sub(1).and_then(|index| window.messages.get(index));
        let mut rows = Vec::new();
        let day = self.day(message.sent_at);
        let new_day = before.is_none_or(|before| self.day(before.sent_at) != day);
        if new_day {
            rows.push(self.line_with(&self.day_in_words(message.sent_at), self.theme.dim, columns));
        }
        let new = window.new_from.as_ref().is_some_and(|from| *from == key(message));
        if new {
            rows.push(self.line_with("new", self.theme.accent, columns));
        }
        let interrupted = window.notices_behind(index.checked_sub(1)).next().is_some();
        let alone = new_day || new || interrupted || before.is_none_or(|before| !together(before, message));
        // What this device tells of the chat itself has no author.
        let said = !matches!(message.content, Content::Notice(_));
        if alone && said {
            if self.layout().messages.height >= ROOMY && rows.is_empty() && index > 0 {
                rows.push(Line::default());
            }
            rows.push(self.author(message, columns));
        }
        let selected = self.selected.as_ref().is_some_and(|selected| *selected == key(message));
        let sign = match selected {
            true => Span::styled("▌ ", self.theme.accent),
            false => Span::raw("  "),
        };
        let read = |message: &Message| message.from == self.me && message.state == MessageState::Read;
        let newest_read = read(message) && !window.messages.iter().skip(index + 1).any(read);
        for row in self.body(message, newest_read, columns.saturating_sub(INDENT)) {
            let mut spans = vec![sign.clone()];
            spans.extend(row.spans);
            let row = Line::from(spans);
            rows.push(if selected { row.patch_style(Style::new().add_modifier(Modifier::BOLD)) } else { row });
        }
        for notice in window.notices_behind(Some(index)) {
            rows.extend(self.notice(notice, columns));
        }
        rows
    }

    /// What was said in a chat before there was a message.
    pub(super) fn first_notices(&self, window: &Window, columns: usize) -> Vec<Line<'static>> {
        window.notices_behind(None).flat_map(|notice| self.notice(notice, columns)).collect()
    }

    fn author(&self, message: &Message, columns: usize) -> Line<'static> {
        let time = output::time_of_day(message.sent_at, &self.zone);
        let room = columns.saturating_sub(INDENT + 2 + width(&time));
        let (name, style) = match message.from == self.me {
            true => ("you".to_owned(), self.theme.strong),
            false => (sanitise(&message.from, Breaks::Spaces), self.theme.name(&message.from)),
        };
        let mut spans = vec![
            Span::raw(" "),
            Span::styled(cut(&name, room), style),
            Span::raw("  "),
            Span::styled(time, self.theme.dim),
        ];
        if let Some(other) = self.taken_for(&message.from) {
            let words = cut(&format!("  ! not {}", super::safe(other)), room.saturating_sub(width(&name)));
            spans.push(Span::styled(words, self.theme.warning));
        }
        Line::from(spans)
    }

    /// What it answers, what the message says and how far it has come, what readers put under it.
    fn body(&self, message: &Message, newest_read: bool, columns: usize) -> Vec<Line<'static>> {
        let theme = &self.theme;
        let aside = |text: String| vec![(text, theme.dim)];
        let foreign = message.from != self.me;
        let mut said = match &message.content {
            Content::Text(text) => match output::action(text) {
                Some(does) => self.action_rows(&message.from, does, foreign, columns),
                None => self.text_rows(text, foreign, columns),
            },
            Content::File(file) => self.file_rows(message, file, columns),
            Content::Deleted { by } if *by != message.from => {
                wrap(&aside(format!("[deleted by {}]", super::safe(by))), columns)
            }
            Content::Deleted { .. } | Content::Timer(_) => {
                wrap(&aside(output::words(&message.content, Breaks::Spaces)), columns)
            }
            Content::Unknown => wrap(&[(output::words(&message.content, Breaks::Spaces), theme.warning)], columns),
            Content::Unreadable(_) => {
                let words = format!("⚠ {}", output::words(&message.content, Breaks::Spaces));
                wrap(&[(words, theme.warning)], columns)
            }
            // In a chat of two it is about what the server did; in groups who came and went.
            Content::Notice(text) if ChatKind::of(&message.chat) == ChatKind::Direct => {
                wrap(&[(format!("⚠ {}", super::safe(text)), theme.warning)], columns)
            }
            Content::Notice(text) => wrap(&aside(format!("· {}", super::safe(text))), columns),
        };
        let mut behind = Vec::new();
        if message.edited_at.is_some() && matches!(message.content, Content::Text(_)) {
            behind.push((" (edited)".to_owned(), theme.dim));
        }
        if message.told_by.is_some() {
            behind.push((output::told_by(message), theme.dim));
        }
        if message.pinned {
            behind.push((" (pinned)".to_owned(), theme.dim));
        }
        let (sign, style) = match &message.state {
            // The word stands once: all before it was read too.
            MessageState::Read if newest_read => (mark(&message.state, false), theme.good),
            MessageState::Read => (mark(&MessageState::Delivered, false), theme.good),
            MessageState::Failed(_) => (mark(&message.state, false), theme.danger),
            state => (mark(state, false), theme.dim),
        };
        // What was taken back has come nowhere any more.
        if !sign.is_empty() && !matches!(message.content, Content::Deleted { .. }) {
            behind.push((format!(" {sign}"), style));
        }
        append(&mut said, behind, columns);
        let mut rows = Vec::new();
        if let Some(reply) = &message.reply_to {
            rows.push(self.answered(reply, columns));
        }
        rows.extend(said);
        if let MessageState::Failed(reason) = &message.state {
            let reason = format!("not sent: {}", sanitise(reason, Breaks::Spaces));
            rows.extend(wrap(&[(reason, theme.danger)], columns));
        }
        if !message.reactions.is_empty() {
            rows.extend(self.reactions(message, columns));
        }
        rows
    }

    /// The message that is answered, in one row.
    fn answered(&self, reply: &Reply, columns: usize) -> Line<'static> {
        let author = if reply.author == self.me { "you".to_owned() } else { super::safe(&reply.author) };
        let author = format!("↳ {}", cut(&author, columns / 2));
        let excerpt = reply.excerpt.as_deref().map_or("a message that is not here".to_owned(), markdown::line);
        let excerpt = cut(&format!(": {excerpt}"), columns.saturating_sub(width(&author)));
        let name = self.theme.name(&reply.author).remove_modifier(Modifier::BOLD).add_modifier(Modifier::DIM);
        Line::from(vec![Span::styled(cut(&author, columns), name), Span::styled(excerpt, self.theme.dim)])
    }

    /// Emoji with how many put them there; one's own stand out.
    fn reactions(&self, message: &Message, columns: usize) -> Vec<Line<'static>> {
        let runs = message.reactions.iter().flat_map(|reaction| {
            let emoji = cut(&super::safe(&reaction.emoji), EMOJI);
            let count = reaction.by.len();
            let text = if count > 1 { format!("{emoji} {count}") } else { emoji };
            let style = if reaction.by.contains(&self.me) { self.theme.accent } else { self.theme.text };
            [(text, style), ("   ".to_owned(), Style::new())]
        });
        wrap(&runs.collect::<Vec<_>>(), columns)
    }

    /// What somebody does.
    fn action_rows(&self, who: &str, does: &str, foreign: bool, columns: usize) -> Vec<Line<'static>> {
        let style = self.theme.text.add_modifier(Modifier::ITALIC);
        let mut runs =
            vec![("* ".to_owned(), self.theme.dim), (super::safe(who), self.theme.name(who)), (" ".to_owned(), style)];
        runs.extend(self.marked(&sanitise(does, Breaks::Indented(0)), style, foreign));
        wrap(&runs, columns)
    }

    /// A text of somebody: formatted if it is, else as it was typed.
    fn text_rows(&self, text: &str, foreign: bool, columns: usize) -> Vec<Line<'static>> {
        let blocks = markdown::parse(text);
        if markdown::is_plain(&blocks) {
            return wrap(&self.marked(&sanitise(text, Breaks::Indented(0)), self.theme.text, foreign), columns);
        }
        let mut rows = Vec::new();
        self.draw(&blocks, foreign, columns, &mut rows);
        rows
    }

    fn draw(&self, blocks: &[Block], foreign: bool, columns: usize, rows: &mut Vec<Line<'static>>) {
        let theme = &self.theme;
        let inner = |blocks: &[Block], used: usize| {
            let mut inner = Vec::new();
            self.draw(blocks, foreign, columns.saturating_sub(used), &mut inner);
            inner
        };
        for block in blocks {
            match block {
                Block::Paragraph(spans) => {
                    let runs = spans.iter().flat_map(|span| {
                        let style = if span.code { theme.code } else { theme.text };
                        let style = if span.bold { style.add_modifier(Modifier::BOLD) } else { style };
                        let style = if span.italic { style.add_modifier(Modifier::ITALIC) } else { style };
                        self.marked(&span.text, style, foreign)
                    });
                    rows.extend(wrap(&runs.collect::<Vec<_>>(), columns));
                }
                Block::Quote(blocks) => {
                    let quoted = inner(blocks, 2).into_iter().map(|row| row.patch_style(theme.dim));
                    rows.extend(behind(quoted, &Span::styled("│ ", theme.border), &Span::styled("│ ", theme.border)));
                }
                Block::List { start, items } => {
                    for (index, item) in items.iter().enumerate() {
                        let sign = match start {
                            Some(start) => format!("{}. ", start.saturating_add(index as u64)),
                            None => "• ".to_owned(),
                        };
                        let used = width(&sign);
                        let item = inner(item, used).into_iter();
                        rows.extend(behind(item, &Span::styled(sign, theme.dim), &Span::raw(" ".repeat(used))));
                    }
                }
                Block::Code { language, text } => {
                    let safe = sanitise(text, Breaks::Indented(0));
                    let tokens = highlight::tokens(language.as_deref(), &safe).into_iter();
                    let runs = tokens.flat_map(|(token, text)| self.marked(text, theme.token(token), false));
                    let code = wrap(&runs.collect::<Vec<_>>(), columns.saturating_sub(2));
                    let bar = Span::styled("▏ ", theme.border);
                    rows.extend(behind(code.into_iter(), &bar, &bar));
                }
            }
        }
    }

    /// A safe text as runs of styles: who is named, what is searched for, where links are.
    fn marked(&self, safe: &str, style: Style, foreign: bool) -> Vec<(String, Style)> {
        let mut marks: Vec<(std::ops::Range<usize>, Style)> = Vec::new();
        marks.extend(found(safe, &self.marked).map(|range| (range, self.theme.found)));
        if foreign {
            marks.extend(mention(safe, &self.me).map(|range| (range, style.patch(self.theme.accent))));
        }
        marks.extend(links(safe).map(|range| (range, style.add_modifier(Modifier::UNDERLINED))));
        marks.sort_by_key(|(range, _)| range.start);
        let (mut runs, mut at) = (Vec::new(), 0);
        for (range, marked) in marks {
            if range.start < at {
                continue;
            }
            runs.push((safe.get(at..range.start).unwrap_or_default().to_owned(), style));
            runs.push((safe.get(range.clone()).unwrap_or_default().to_owned(), marked));
            at = range.end;
        }
        runs.push((safe.get(at..).unwrap_or_default().to_owned(), style));
        runs
    }

    fn notice(&self, notice: &Notice, columns: usize) -> Vec<Line<'static>> {
        let (sign, style) = match notice.grave {
            true => ("! ", self.theme.warning),
            false => ("· ", self.theme.dim),
        };
        let time = output::time_of_day(notice.at, &self.zone);
        let runs = [(sign.to_owned() + &notice.words + "  ", style), (time, self.theme.dim)];
        let rows = wrap(&runs, columns.saturating_sub(INDENT + 2));
        rows.into_iter()
            .enumerate()
            .map(|(index, row)| {
                let indent = if index == 0 { INDENT } else { INDENT + 2 };
                Line::from([vec![Span::raw(" ".repeat(indent))], row.spans].concat())
            })
            .collect()
    }

    /// A word in the middle of a line across the pane.
    fn line_with(&self, words: &str, style: Style, columns: usize) -> Line<'static> {
        let words = cut(words, columns.saturating_sub(4));
        let left = columns.saturating_sub(width(&words) + 2) / 2;
        let right = columns.saturating_sub(left + width(&words) + 2);
        let border = |length: usize| Span::styled("─".repeat(length), self.theme.border);
        Line::from(vec![border(left), Span::styled(format!(" {words} "), style), border(right)])
    }

    /// The local day of a time, as a number that grows.
    pub(super) fn day(&self, milliseconds: u64) -> (i16, i16) {
        let day = timestamp(milliseconds).to_zoned(self.zone.clone());
        (day.year(), day.day_of_year())
    }

    fn day_in_words(&self, milliseconds: u64) -> String {
        let today = self.day(self.now);
        let day = timestamp(milliseconds).to_zoned(self.zone.clone());
        if (day.year(), day.day_of_year()) == today {
            return "Today".to_owned();
        }
        day.strftime(if day.year() == today.0 { "%A, %-d %B" } else { "%A, %-d %B %Y" }).to_string()
    }

    /// A time as a list shows it: the time of day, or the day.
    pub(super) fn short_time(&self, milliseconds: u64) -> String {
        if self.day(milliseconds) == self.day(self.now) {
            return output::time_of_day(milliseconds, &self.zone);
        }
        timestamp(milliseconds).to_zoned(self.zone.clone()).strftime("%-d %b").to_string()
    }

    /// A name with something at the right end of its row.
    pub(super) fn ends(left: &str, right: &str, columns: usize) -> String {
        let room = columns.saturating_sub(width(right) + usize::from(!right.is_empty()));
        let left = pad(left, room);
        if right.is_empty() { left } else { format!("{left} {right}") }
    }
}

fn timestamp(milliseconds: u64) -> Timestamp {
    let known = i64::try_from(milliseconds).ok().and_then(|time| Timestamp::from_millisecond(time).ok());
    known.unwrap_or(Timestamp::MAX)
}

/// Whether the second message stands under the name of the first one.
fn together(first: &Message, second: &Message) -> bool {
    let notice = |message: &Message| matches!(message.content, Content::Notice(_));
    first.from == second.from && notice(first) == notice(second) && second.sent_at.abs_diff(first.sent_at) < TOGETHER
}

/// Rows with something in front of the first one and of the others.
fn behind<'a>(
    rows: impl Iterator<Item = Line<'static>> + 'a,
    first: &'a Span<'static>,
    others: &'a Span<'static>,
) -> impl Iterator<Item = Line<'static>> + 'a {
    rows.enumerate().map(move |(index, row)| {
        let sign = if index == 0 { first } else { others };
        let style = row.style;
        let spans = row.spans.into_iter().map(|span| Span::styled(span.content, style.patch(span.style)));
        Line::from(std::iter::once(sign.clone()).chain(spans).collect::<Vec<_>>())
    })
}

/// Puts something behind the last row, or below it where there is no room.
fn append(rows: &mut Vec<Line<'static>>, more: Vec<(String, Style)>, columns: usize) {
    let wide: usize = more.iter().map(|(text, _)| width(text)).sum();
    match rows.last_mut() {
        Some(last) if last.spans.iter().map(|span| width(&span.content)).sum::<usize>() + wide <= columns => {
            last.spans.extend(more.into_iter().map(|(text, style)| Span::styled(text, style)));
        }
        _ if wide == 0 => {}
        _ => {
            // Nothing stands before it in its row.
            let more: Vec<_> =
                more.into_iter().map(|(text, style)| (text.trim_start().to_owned() + " ", style)).collect();
            rows.extend(wrap(&more, columns));
        }
    }
}

/// Where links stand in a text: to the next space.
fn links(text: &str) -> impl Iterator<Item = std::ops::Range<usize>> {
    ["https://", "http://"].into_iter().flat_map(move |scheme| {
        text.match_indices(scheme).map(move |(start, _)| {
            let rest = text.get(start..).unwrap_or_default();
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let link = rest.get(..end).unwrap_or_default().trim_end_matches(['.', ',', ')', '!', '?', ':', ';']);
            start..start + link.len()
        })
    })
}

/// Where words stand in a text, in whatever case.
pub(super) fn found<'a>(text: &'a str, words: &str) -> impl Iterator<Item = std::ops::Range<usize>> + use<'a> {
    let wanted: Vec<char> = words.chars().flat_map(char::to_lowercase).collect();
    let mut from = 0;
    text.char_indices().filter_map(move |(start, _)| {
        if wanted.is_empty() || start < from {
            return None;
        }
        let mut left = wanted.iter();
        for (at, character) in text.get(start..)?.char_indices() {
            for lower in character.to_lowercase() {
                match left.next() {
                    Some(wanted) if *wanted == lower => {}
                    _ => return None,
                }
            }
            if left.len() == 0 {
                from = start + at + character.len_utf8();
                return Some(start..from);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_any_case_and_do_not_overlap() {
        let ranges = |text, words| found(text, words).collect::<Vec<_>>();
        assert_eq!(ranges("Lagoon, lagoon", "LAG"), [0..3, 8..11]);
        assert_eq!(ranges("aaaa", "aa"), [0..2, 2..4]);
        assert_eq!(ranges("GRÜSSE grüße", "grü"), [0..4, 8..12]);
        assert!(ranges("x", "").is_empty() && ranges("x", "xy").is_empty());
    }
}
