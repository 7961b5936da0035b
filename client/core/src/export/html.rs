//! HTML: one page with its style in it, for light and dark, on screen and paper. It runs no script and loads nothing; what
//! people wrote is escaped and kept from turning the direction of anything around it.

use super::{ExportCursor, ExportedChat, Format, Visible, answers, author, done, rfc3339, visible, words};
use crate::Message;

pub(super) struct Html;

const STYLE: &str = include_str!("style.css");

impl Format for Html {
    fn begin(&mut self, out: &mut String, own: &str, time_ms: u64) {
        let time = rfc3339(time_ms);
        let (day, clock) = (time.get(..10).unwrap_or(""), time.get(11..16).unwrap_or(""));
        out.push_str(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>",
        );
        out.push_str("Waxwing: messages of ");
        escape(out, own);
        out.push_str("</title>\n<style>\n");
        out.push_str(STYLE);
        out.push_str("</style>\n</head>\n<body>\n<header><h1>Messages of ");
        escape(out, own);
        out.push_str(&format!(
            "</h1><p>Exported from Waxwing on {day} at {clock}. All times are UTC.</p></header>\n<main>\n"
        ));
    }

    fn begin_chat(&mut self, out: &mut String, _: usize, chat: &ExportedChat) {
        out.push_str("<section>\n<h2><bdi>");
        escape(out, chat.full_name.as_deref().unwrap_or(&chat.name));
        out.push_str("</bdi>");
        if chat.full_name.is_some() {
            out.push_str(" <small><bdi>");
            escape(out, &chat.name);
            out.push_str("</bdi></small>");
        }
        out.push_str("</h2>\n");
    }

    fn message(&mut self, out: &mut String, own: &str, message: &Message, _: u64, cursor: &mut ExportCursor) {
        let time = rfc3339(message.sent_at);
        let (day, clock) = (time.get(..10).unwrap_or(""), time.get(11..16).unwrap_or(""));
        if cursor.day != day {
            out.push_str(&format!("<h3><time datetime=\"{day}\">{day}</time></h3>\n"));
            cursor.day = day.to_owned();
        }
        let (from, imported) = author(&message.from);
        let (text, is_mark) = words(&message.content);
        let class = match (is_mark, !imported && from == own) {
            (true, _) => "mark",
            (false, true) => "mine",
            (false, false) => "theirs",
        };
        out.push_str(&format!("<article class=\"{class}\"><p class=\"by\"><bdi>"));
        escape(out, from);
        out.push_str("</bdi>");
        if imported {
            out.push_str(" <i>imported</i>");
        }
        out.push_str(&format!(" <time datetime=\"{time}\">{clock}</time></p>"));
        if let Some(answers) = answers(message) {
            out.push_str("<p class=\"aside\" dir=\"auto\">");
            escape(out, &answers);
            out.push_str("</p>");
        }
        out.push_str("<p class=\"text\" dir=\"auto\">");
        escape(out, &text);
        out.push_str("</p>");
        if let Some(done) = done(message) {
            out.push_str("<p class=\"aside\" dir=\"auto\">");
            escape(out, &done);
            out.push_str("</p>");
        }
        out.push_str("</article>\n");
    }

    fn end_chat(&mut self, out: &mut String) {
        out.push_str("</section>\n");
    }

    fn end(&mut self, out: &mut String) {
        out.push_str("</main>\n</body>\n</html>\n");
    }
}

fn escape(out: &mut String, text: &str) {
    visible(text, |shown| match shown {
        Visible::Plain('&') => out.push_str("&amp;"),
        Visible::Plain('<') => out.push_str("&lt;"),
        Visible::Plain('>') => out.push_str("&gt;"),
        Visible::Plain('"') => out.push_str("&quot;"),
        Visible::Plain('\'') => out.push_str("&#39;"),
        Visible::Plain(c) => out.push(c),
        Visible::Code(c) => out.push_str(&format!("<code>U+{:04X}</code>", u32::from(c))),
        Visible::Break => out.push_str("<br>"),
    });
}
