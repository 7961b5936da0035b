//! The mouse, and what is pasted.

use super::Effect;
use crate::{
    file_commands,
    screen::{
        layout::Layout,
        model::{Model, Overlay},
        window::key,
    },
};
use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};

/// Rows that one step of the wheel moves.
const STEP: isize = 3;

impl Model {
    /// Puts a text in where one types. Line breaks send nothing.
    pub(super) fn paste(&mut self, text: &str) -> Vec<Effect> {
        self.awake();
        match &mut self.overlay {
            Some(Overlay::Switch { typed, chosen }) => {
                typed.insert(&text.replace(['\n', '\r'], " "));
                *chosen = 0;
            }
            Some(Overlay::Search { typed }) => {
                typed.insert(&text.replace(['\n', '\r'], " "));
                self.marked = typed.text().to_owned();
            }
            Some(Overlay::React { typed, .. }) => typed.insert(&text.replace(['\n', '\r'], " ")),
            Some(Overlay::Help(_) | Overlay::Verify { .. } | Overlay::Found { .. }) => {}
            None => {
                self.selected = None;
                self.completion = None;
                // A file that is dropped onto a terminal comes as its path.
                match file_commands::dropped(text).filter(|_| ["", "/file"].contains(&self.composer.text().trim_end()))
                {
                    Some(path) => {
                        self.composer.set(format!("/file {path}"));
                        self.say("Enter sends the file".to_owned());
                    }
                    None => self.composer.insert(text),
                }
            }
        }
        Vec::new()
    }

    pub(super) fn mouse(&mut self, event: MouseEvent) -> Vec<Effect> {
        let layout = self.layout();
        let (column, row) = (event.column, event.row);
        match event.kind {
            MouseEventKind::ScrollUp | MouseEventKind::ScrollDown => {
                let step = if event.kind == MouseEventKind::ScrollUp { -STEP } else { STEP };
                self.awake();
                match &mut self.overlay {
                    Some(Overlay::Help(from)) => *from = from.saturating_add_signed(step),
                    Some(_) => {}
                    None if Layout::row_in(layout.list, column, row).is_some() => {
                        let most = self.chats.len().saturating_sub(1);
                        self.list_from = self.list_from.saturating_add_signed(step.signum()).min(most);
                    }
                    None => self.scroll(step),
                }
            }
            MouseEventKind::Down(MouseButton::Left) => {
                self.awake();
                if self.overlay.is_some() {
                    return Vec::new();
                }
                if let Some(row) = Layout::row_in(layout.list, column, row) {
                    let Some(index) = self.list_row(row) else { return Vec::new() };
                    let name = self.chats.get(index).map(|entry| entry.name.clone());
                    return name.map(|name| self.open_chat(&name)).unwrap_or_default();
                }
                if let Some(row) = Layout::row_in(layout.messages, column, row) {
                    self.select_row(row);
                }
            }
            _ => {}
        }
        Vec::new()
    }

    /// Somebody is there.
    pub(super) fn awake(&mut self) {
        self.last_key = self.now;
        self.away = false;
    }

    fn select_row(&mut self, row: usize) {
        let Some(window) = self.window() else { return };
        let rows = self.rows_shown(window);
        let blank = usize::from(self.layout().messages.height).saturating_sub(rows.len());
        let index = row.checked_sub(blank).and_then(|row| rows.get(row)).and_then(|(index, _)| *index);
        let chosen = index.and_then(|index| window.messages.get(index)).map(key);
        self.selected = if chosen == self.selected { None } else { chosen };
    }
}
