//! Markdown: a heading per chat and day, a quotation per message. Nothing that somebody wrote works as markup.

use super::{ExportCursor, ExportedChat, Format, Visible, author, rfc3339, visible, words};
use crate::Message;

pub(super) struct Markdown;

impl Format for Markdown {
    fn begin(&mut self, out: &mut String, own: &str, time_ms: u64) {
        out.push_str("# Waxwing: messages of ");
        escape(out, own);
        let time = rfc3339(time_ms);
        let (day, clock) = (time.get(..10).unwrap_or(""), time.get(11..16).unwrap_or(""));
        out.push_str(&format!("\n\nExported on {day} at {clock}. All times are UTC.\n"));
    }

    fn begin_chat(&mut self, out: &mut String, _: usize, chat: &ExportedChat) {
        out.push_str("\n## ");
        escape(out, &chat.name);
        if let Some(name) = &chat.full_name {
            out.push_str(" (");
            escape(out, &name.replace('\n', " "));
            out.push(')');
        }
        out.push('\n');
    }

    fn message(&mut self, out: &mut String, _: &str, message: &Message, _: u64, cursor: &mut ExportCursor) {
        let time = rfc3339(message.sent_at);
        let (day, clock) = (time.get(..10).unwrap_or(""), time.get(11..16).unwrap_or(""));
        if cursor.day != day {
            out.push_str(&format!("\n### {day}\n"));
            cursor.day = day.to_owned();
        }
        let (from, imported) = author(&message.from);
        out.push_str("\n**");
        escape(out, from);
        out.push_str("** ");
        if imported {
            out.push_str("(imported) ");
        }
        out.push_str(clock);
        out.push_str("\n\n> ");
        let (text, is_mark) = words(&message.content);
        out.push_str(if is_mark { "*" } else { "" });
        visible(text, |shown| match shown {
            Visible::Plain(c) => escape_char(out, c),
            Visible::Code(c) => out.push_str(&format!("⟨U+{:04X}⟩", u32::from(c))),
            // Two spaces keep the break.
            Visible::Break => out.push_str("  \n> "),
        });
        out.push_str(if is_mark { "*\n" } else { "\n" });
    }

    fn end_chat(&mut self, _: &mut String) {}

    fn end(&mut self, _: &mut String) {}
}

fn escape(out: &mut String, text: &str) {
    visible(text, |shown| match shown {
        Visible::Plain(c) => escape_char(out, c),
        Visible::Code(c) => out.push_str(&format!("⟨U+{:04X}⟩", u32::from(c))),
        Visible::Break => out.push(' '),
    });
}

fn escape_char(out: &mut String, c: char) {
    match c {
        // Markdown passes HTML through.
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '&' => out.push_str("&amp;"),
        // A backslash makes any ASCII punctuation plain.
        c if c.is_ascii_punctuation() => {
            out.push('\\');
            out.push(c);
        }
        c => out.push(c),
    }
}
