//! The list of chats: who, how much is new, when.

use crate::{
    command::users::sign,
    screen::{
        label,
        model::{Link, Model},
        safe,
        text::{cut, width},
    },
};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};
use waxwing_core::{Chat, Presence};

/// Rows above the first chat.
const ABOVE: usize = 2;

impl Model {
    /// The place of the chat in this row of the list.
    pub(in crate::screen) fn list_row(&self, row: usize) -> Option<usize> {
        let index = row.checked_sub(ABOVE)? + self.list_start();
        (index < self.chats.len()).then_some(index)
    }

    /// The first chat that shows.
    fn list_start(&self) -> usize {
        let rows = usize::from(self.layout().list.height).saturating_sub(ABOVE);
        self.list_from.min(self.chats.len().saturating_sub(rows))
    }
}

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let columns = usize::from(area.width);
    let unread: u64 = model.chats.iter().map(|entry| entry.unread).sum();
    let news = if unread > 0 { format!("{unread} new ") } else { String::new() };
    let me = cut(&safe(&model.me), columns.saturating_sub(width(&news) + 2));
    let gap = columns.saturating_sub(1 + width(&me) + width(&news));
    let name = if model.link == Link::Online { model.theme.strong } else { model.theme.dim };
    let head = vec![
        Span::raw(" "),
        Span::styled(me, name),
        Span::raw(" ".repeat(gap)),
        Span::styled(news, model.theme.accent),
    ];
    let mut lines = vec![Line::from(head), Line::styled("─".repeat(columns), model.theme.border)];
    lines.extend(model.chats.iter().enumerate().skip(model.list_start()).map(|(_, entry)| row(model, entry, columns)));
    lines.truncate(usize::from(area.height));
    frame.render_widget(Paragraph::new(lines), area);
}

fn row(model: &Model, entry: &Chat, columns: usize) -> Line<'static> {
    let theme = &model.theme;
    let open = model.open.as_deref() == Some(&entry.name);
    let (end, end_style) = if entry.identity_changed {
        ("!".to_owned(), theme.danger)
    } else if entry.request {
        ("?".to_owned(), theme.accent)
    } else if entry.mentions > 0 {
        (format!(" @{} ", entry.unread), theme.mention)
    } else if entry.unread > 0 {
        (entry.unread.to_string(), theme.badge)
    } else if model.drafts.contains_key(&entry.name) || (!open && entry.draft.is_some()) {
        ("✎".to_owned(), theme.dim)
    } else if entry.queued > 0 {
        ("…".to_owned(), theme.dim)
    } else {
        let time = entry.last.as_ref().map(|last| model.short_time(last.sent_at));
        (time.unwrap_or_default(), theme.dim)
    };
    let name = if entry.name == model.me { format!("{} (notes)", safe(&entry.name)) } else { label(entry) };
    let name = cut(&name, columns.saturating_sub(width(&end) + 5));
    let gap = " ".repeat(columns.saturating_sub(width(&name) + width(&end) + 4));
    let there = match model.presence(&entry.name) {
        _ if entry.name == model.me => Span::raw(" "),
        Presence::Gone => Span::raw(" "),
        presence => {
            Span::styled(sign(presence.into()), if presence == Presence::Here { theme.good } else { theme.dim })
        }
    };
    let muted = entry.blocked || entry.muted_until.is_some_and(|until| until > model.now);
    let name_style = match entry.unread > 0 {
        _ if muted => theme.dim,
        true => theme.strong,
        false => theme.text,
    };
    let mark = if open { "▌" } else { " " };
    let line = Line::from(vec![
        Span::styled(mark, theme.accent),
        there,
        Span::raw(" "),
        Span::styled(name, name_style),
        Span::raw(gap),
        Span::styled(end, end_style),
        Span::raw(" "),
    ]);
    if open { line.patch_style(theme.chosen) } else { line }
}
