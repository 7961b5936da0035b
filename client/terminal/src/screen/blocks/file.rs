//! A message's file as rows: what it is called, how far it has come, its picture, what was said about it.

use super::super::{model::Model, text::wrap, window::key};
use crate::{
    output,
    sanitise::{Breaks, sanitise},
};
use ratatui::{style::Style, text::Line};
use waxwing_core::{File, Message};

/// How long a bar is, in columns.
const BAR: usize = 12;

impl Model {
    pub(super) fn file_rows(&self, message: &Message, file: &File, columns: usize) -> Vec<Line<'static>> {
        let theme = &self.theme;
        let sign = match output::sort(file) {
            "image" => "▣ ",
            "audio" | "video" => "▶ ",
            _ => "▤ ",
        };
        let mut runs = vec![
            (sign.to_owned(), theme.accent),
            (sanitise(&file.name, Breaks::Spaces), theme.strong),
            (format!("  {}", output::about(file)), theme.dim),
        ];
        let which = (message.chat.clone(), key(message));
        match self.transfers.get(&which) {
            Some((done, total, _)) => runs.extend(bar(*done, *total, (theme.accent, theme.dim))),
            None if file.saved.is_some() && message.from != self.me => runs.push(("  saved".to_owned(), theme.good)),
            None => {}
        }
        let mut rows = wrap(&runs, columns);
        rows.extend(self.pictures.rows(&which, columns));
        if !file.caption.is_empty() {
            rows.extend(self.text_rows(&file.caption, message.from != self.me, columns));
        }
        rows
    }
}

/// How far a file has come.
fn bar(done: u64, total: u64, (full, empty): (Style, Style)) -> [(String, Style); 3] {
    let part = |of: u64| done.saturating_mul(of).checked_div(total).unwrap_or(of).min(of);
    let length = usize::try_from(part(BAR as u64)).unwrap_or(BAR);
    let percent = format!(" {} %", part(100));
    [(format!("  {}", "━".repeat(length)), full), ("─".repeat(BAR - length), empty), (percent, empty)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_what_is_done() {
        let text = |done, total| bar(done, total, Default::default()).map(|(text, _)| text).concat();
        assert_eq!(text(0, 100), "  ──────────── 0 %");
        assert_eq!(text(50, 100), "  ━━━━━━────── 50 %");
        assert_eq!(text(100, 100), "  ━━━━━━━━━━━━ 100 %");
        // Whatever the server says.
        assert_eq!(text(7, 0), "  ━━━━━━━━━━━━ 100 %");
        assert_eq!(text(u64::MAX, 3), "  ━━━━━━━━━━━━ 100 %");
    }
}
