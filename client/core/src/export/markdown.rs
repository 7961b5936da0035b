//! Markdown: a heading per chat and day, a quotation per message. Nothing that somebody wrote works as markup.

use super::{ExportCursor, ExportedChat, Format, Visible, answers, author, done, rfc3339, visible, words};
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
        if let Some(answers) = answers(message) {
            out.push('*');
            escape(out, &answers);
            out.push_str("*  \n> ");
        }
        let (text, is_mark) = words(&message.content);
        out.push_str(if is_mark { "*" } else { "" });
        // Two spaces keep the break.
        write(out, &text, "  \n> ");
        out.push_str(if is_mark { "*\n" } else { "\n" });
        if let Some(done) = done(message) {
            out.push_str(">\n> *");
            escape(out, &done);
            out.push_str("*\n");
        }
    }

    fn end_chat(&mut self, _: &mut String) {}

    fn end(&mut self, _: &mut String) {}
}

fn escape(out: &mut String, text: &str) {
    write(out, text, " ");
}

/// What lets a line's first characters make a list of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Begins,
    Digits,
    Goes,
}

fn write(out: &mut String, text: &str, line_break: &str) {
    let mut line = Line::Begins;
    visible(text, |shown| {
        let begun = line;
        line = match shown {
            Visible::Break => Line::Begins,
            Visible::Plain(' ') if begun == Line::Begins => Line::Begins,
            Visible::Plain(c) if c.is_ascii_digit() && begun != Line::Goes => Line::Digits,
            _ => Line::Goes,
        };
        match shown {
            // Markdown passes HTML through.
            Visible::Plain('<') => out.push_str("&lt;"),
            Visible::Plain('>') => out.push_str("&gt;"),
            Visible::Plain('&') => out.push_str("&amp;"),
            Visible::Plain(c) => {
                let list = (begun == Line::Begins && "+-=".contains(c)) || (begun == Line::Digits && ".)".contains(c));
                // A backslash makes any ASCII punctuation plain.
                if list || "\\`*_[]#|~$^".contains(c) {
                    out.push('\\');
                }
                out.push(c);
            }
            Visible::Code(c) => out.push_str(&format!("⟨U+{:04X}⟩", u32::from(c))),
            Visible::Break => out.push_str(line_break),
        }
    });
}
