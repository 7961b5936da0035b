//! What of the history shows, and how it moves: everything hangs on the message at the bottom of the pane.

use super::{
    model::Model,
    window::{Anchor, Wanted, Window, key},
};
use ratatui::text::Line;

/// So many messages beyond the pane's ends are fetched before they are needed.
const AHEAD: usize = 30;

/// A row of the pane, with the place of its message.
pub(super) type Row = (Option<usize>, Line<'static>);

impl Model {
    fn height_of(&self, window: &Window, index: usize) -> usize {
        self.block(window, index, self.layout().message_columns()).len()
    }

    /// The message at the bottom of the pane, and how many of its rows are below it.
    fn bottom(&self, window: &Window) -> (usize, usize) {
        let end = window.messages.len().saturating_sub(1);
        match &window.anchor {
            Anchor::End => (end, 0),
            Anchor::At { key, below } => match window.position(key) {
                Some(index) => (index, (*below).min(self.height_of(window, index).saturating_sub(1))),
                None => (end, 0),
            },
            Anchor::Top(key) => {
                let Some(mut index) = window.position(key) else { return (end, 0) };
                let height = usize::from(self.layout().messages.height);
                let mut rows = self.height_of(window, index);
                while rows < height && index < end {
                    index += 1;
                    rows += self.height_of(window, index);
                }
                (index, rows.saturating_sub(height))
            }
        }
    }

    /// The rows that show, the newest last; fewer than the pane has if there are no more.
    pub(super) fn rows_shown(&self, window: &Window) -> Vec<Row> {
        let layout = self.layout();
        let (columns, height) = (layout.message_columns(), usize::from(layout.messages.height));
        let (bottom, below) = self.bottom(window);
        let mut rows: Vec<Row> = Vec::new();
        for index in (0..window.messages.len().min(bottom + 1)).rev() {
            let mut block = self.block(window, index, columns);
            if index == bottom {
                block.truncate(block.len().saturating_sub(below));
            }
            rows.extend(block.into_iter().rev().map(|row| (Some(index), row)));
            if rows.len() >= height {
                break;
            }
        }
        if rows.len() < height {
            rows.extend(self.first_notices(window, columns).into_iter().rev().map(|row| (None, row)));
        }
        rows.truncate(height);
        rows.reverse();
        rows
    }

    /// Moves the history by rows: below zero is back.
    pub(super) fn scroll(&mut self, rows: isize) {
        let Some(window) = self.window() else { return };
        if window.messages.is_empty() {
            return;
        }
        let (mut at, mut below) = self.bottom(window);
        if rows < 0 {
            (at, below) = self.back(window, (at, below), rows.unsigned_abs());
            // The first row of all stays at the pane's top.
            let height = usize::from(self.layout().messages.height);
            let mut above = self.height_of(window, at).saturating_sub(below);
            for index in (0..at).rev() {
                if above >= height {
                    break;
                }
                above += self.height_of(window, index);
            }
            if above < height {
                (at, below) = self.forth(window, (at, below), height - above);
            }
        } else {
            (at, below) = self.forth(window, (at, below), rows.unsigned_abs());
        }
        let end = at + 1 == window.messages.len() && below == 0 && window.last;
        let anchor = match window.messages.get(at) {
            Some(message) if !end => Anchor::At { key: key(message), below },
            _ => Anchor::End,
        };
        if let Some(window) = self.window_mut() {
            window.anchor = anchor;
        }
    }

    fn back(&self, window: &Window, (mut at, mut below): (usize, usize), rows: usize) -> (usize, usize) {
        below += rows;
        loop {
            let height = self.height_of(window, at);
            if below < height {
                return (at, below);
            }
            if at == 0 {
                return (0, height.saturating_sub(1));
            }
            below -= height;
            at -= 1;
        }
    }

    fn forth(&self, window: &Window, (mut at, mut below): (usize, usize), mut rows: usize) -> (usize, usize) {
        while rows > below {
            if at + 1 >= window.messages.len() {
                return (at, 0);
            }
            rows -= below;
            at += 1;
            below = self.height_of(window, at);
        }
        (at, below - rows)
    }

    /// Shows the message at this place whole, if it does not show.
    pub(super) fn reveal(&mut self, index: usize) {
        let Some(window) = self.window() else { return };
        let Some(message) = window.messages.get(index) else { return };
        let (wanted, height) = (key(message), self.height_of(window, index));
        let rows = self.rows_shown(window);
        let shown = rows.iter().filter(|(at, _)| *at == Some(index)).count();
        let first = rows.iter().find_map(|(at, _)| *at);
        if shown == height || (shown > 0 && height > rows.len()) {
            return;
        }
        let anchor = match first {
            Some(first) if index <= first => Anchor::Top(wanted),
            _ if index + 1 == window.messages.len() && window.last => Anchor::End,
            _ => Anchor::At { key: wanted, below: 0 },
        };
        if let Some(window) = self.window_mut() {
            window.anchor = anchor;
        }
    }

    /// The page that scrolling will need next.
    pub(super) fn page_ahead(&mut self) -> Option<Wanted> {
        let window = self.window()?;
        if !window.loaded || window.loading.is_some() || (window.first && window.last) {
            return None;
        }
        let rows = self.rows_shown(window);
        let top = rows.iter().find_map(|(at, _)| *at).unwrap_or(0);
        let bottom = rows.iter().rev().find_map(|(at, _)| *at).unwrap_or(0);
        let (older, newer) = (top < AHEAD, bottom + AHEAD >= window.messages.len());
        let window = self.window_mut()?;
        match (older, newer) {
            (true, _) if !window.first => window.want_older(),
            (_, true) => window.want_newer(),
            _ => None,
        }
    }
}
