//! What lies on top of the chat: help, quick switch, search, the safety number.

use super::{card, destination, shorten};
use crate::{
    chat::typed::HELP,
    file_commands, group_commands,
    screen::{
        composer::Composer,
        keys::Action,
        layout::Layout,
        model::{Hit, Model, Overlay},
        safe,
        text::{cut, pad, width, wrap},
        update::USUAL,
    },
};
use qrcode::{QrCode, render::unicode};
use ratatui::{
    Frame,
    layout::{Position, Rect},
    text::{Line, Span},
    widgets::{Clear, Paragraph},
};

/// Columns of a key's name in the help.
const KEY: usize = 16;
/// Columns of a command in the help.
const COMMAND: usize = 19;
/// Columns of the help, where there are so many.
const HELP_COLUMNS: u16 = 104;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, layout: &Layout) {
    match &model.overlay {
        None => {}
        Some(Overlay::Help(from)) => help(model, frame, layout, *from),
        Some(Overlay::Switch { typed, chosen }) => switch(model, frame, layout, typed, *chosen),
        Some(Overlay::Search { typed }) => search(model, frame, layout, typed),
        Some(Overlay::Verify { name, .. }) => verify(model, frame, layout, name),
        Some(Overlay::Found { title, hits, chosen }) => found(model, frame, layout, (title, hits.as_deref()), *chosen),
        Some(Overlay::React { typed, .. }) => react(model, frame, layout, typed),
    }
}

fn help(model: &Model, frame: &mut Frame<'_>, layout: &Layout, from: usize) {
    let keys = model.keys.help().chain([
        ("Enter".to_owned(), "send"),
        ("Tab".to_owned(), "complete a name, /command or :emoji"),
        ("Alt+1…9".to_owned(), "go to one of the first nine chats"),
        ("Ctrl+P, Ctrl+N".to_owned(), "what you sent before"),
        ("Ctrl+W, Ctrl+U".to_owned(), "cut a word, the line; Ctrl+Y puts it back"),
        ("Up, then".to_owned(), "R answers, E changes, D deletes, + reacts, P pins, Y copies a message"),
    ]);
    let columns = usize::from(layout.whole.width.min(HELP_COLUMNS)).saturating_sub(4);
    let explained = |(head, about): (String, &str), width: usize| {
        let style = model.theme.strong;
        let rows = wrap(&[(about.to_owned(), model.theme.text)], columns.saturating_sub(width));
        let row = move |(index, row): (usize, Line<'static>)| {
            let head = if index == 0 { head.as_str() } else { "" };
            let mut spans = vec![Span::styled(pad(head, width), style)];
            spans.extend(row.spans);
            Line::from(spans)
        };
        rows.into_iter().enumerate().map(row).collect::<Vec<_>>()
    };
    let mut lines: Vec<Line<'_>> = keys.flat_map(|key| explained(key, KEY)).collect();
    lines.push(Line::default());
    lines.extend(HELP.lines().flat_map(|line| match line.split_once("  ") {
        Some((head, about)) => explained((head.to_owned(), about.trim_start()), COMMAND),
        None => wrap(&[(line.to_owned(), model.theme.text)], columns),
    }));
    lines.push(Line::default());
    let further = file_commands::COMMANDS.iter().chain(group_commands::COMMANDS);
    lines.extend(further.flat_map(|(name, takes, does)| {
        let head = format!("/{name} {takes}").trim_end().to_owned();
        let wide = head.chars().count() + 1;
        explained((head, *does), wide.max(COMMAND))
    }));
    let rows = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
    let all = rows <= layout.whole.height;
    let title = if all { "Help · any key closes" } else { "Help · ↓ and PageDown: more · Esc closes" };
    let inside = card(model, frame, layout.whole, title, (HELP_COLUMNS, rows));
    let most = lines.len().saturating_sub(usize::from(inside.height));
    let lines: Vec<Line<'_>> = lines.split_off(from.min(most));
    frame.render_widget(Paragraph::new(lines), inside);
}

fn switch(model: &Model, frame: &mut Frame<'_>, layout: &Layout, typed: &Composer, chosen: usize) {
    let destinations = model.destinations();
    let rows = u16::try_from(destinations.len().max(1)).unwrap_or(u16::MAX).min(14) + 4;
    let inside = card(model, frame, layout.whole, "Go to", (48, rows));
    let columns = usize::from(inside.width);
    line(model, frame, Rect { height: inside.height.min(1), ..inside }, typed);
    let below = Rect::new(inside.x, inside.y + 2.min(inside.height), inside.width, inside.height.saturating_sub(2));
    if destinations.is_empty() {
        let hint = Line::styled(cut("type a username to start a chat", columns), model.theme.dim);
        return frame.render_widget(Paragraph::new(hint), below);
    }
    let height = usize::from(below.height);
    let from = (chosen + 1).saturating_sub(height);
    let rows = destinations.iter().enumerate().skip(from).take(height).map(|(index, place)| {
        let (name, unread) = destination(model, place);
        let unread = if unread > 0 { unread.to_string() } else { String::new() };
        let row = Model::ends(&format!(" {name}"), &format!("{unread} "), columns);
        Line::styled(row, if index == chosen { model.theme.chosen } else { model.theme.text })
    });
    frame.render_widget(Paragraph::new(rows.collect::<Vec<_>>()), below);
}

/// A line to type in, with the cursor.
fn line(model: &Model, frame: &mut Frame<'_>, area: Rect, typed: &Composer) {
    let room = usize::from(area.width).saturating_sub(3);
    // Far longer than any name or word, the end is what matters.
    let (rows, (row, column)) = typed.rows(room.max(3));
    let shown = rows.get(row).map(|row| row.shown.clone()).unwrap_or_default();
    let spans = vec![Span::styled("› ", model.theme.accent), Span::styled(shown, model.theme.text)];
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
    let x = area.x + u16::try_from(column + 2).unwrap_or(0);
    frame.set_cursor_position(Position::new(x.min(area.right().saturating_sub(1)), area.y));
}

fn search(model: &Model, frame: &mut Frame<'_>, layout: &Layout, typed: &Composer) {
    let everywhere = format!(" Enter further back · ↓ on · {} everywhere ", model.keys.name(Action::Search));
    asked(model, frame, layout, "find", typed, &everywhere);
}

fn react(model: &Model, frame: &mut Frame<'_>, layout: &Layout, typed: &Composer) {
    let usual = USUAL.iter().enumerate().map(|(index, emoji)| format!(" {} {emoji} ", index + 1)).collect::<String>();
    asked(model, frame, layout, "react", typed, &format!("{usual} or a name "));
}

/// A line to type in above the text being typed, with a hint at its end.
fn asked(model: &Model, frame: &mut Frame<'_>, layout: &Layout, label: &str, typed: &Composer, hint: &str) {
    let area = if layout.rule.height > 0 { layout.rule } else { layout.composer };
    let area = Rect { height: 1.min(area.height), ..area };
    frame.render_widget(Clear, area);
    let label = format!(" {label} ");
    let roomy = usize::from(area.width) >= 60;
    let said = model.toast.as_ref().map(|toast| format!(" {} ", toast.words));
    let hint = said.unwrap_or_else(|| hint.to_owned());
    let hint = if roomy { cut(&hint, usize::from(area.width).saturating_sub(24)) } else { String::new() };
    let label_columns = u16::try_from(width(&label)).unwrap_or(0).min(area.width);
    let hint_columns = u16::try_from(width(&hint)).unwrap_or(0).min(area.width);
    frame.render_widget(Paragraph::new(Line::styled(label, model.theme.accent)), area);
    let typing =
        Rect { x: area.x + label_columns, width: area.width.saturating_sub(label_columns + hint_columns), ..area };
    line(model, frame, typing, typed);
    let end = Rect { x: area.right().saturating_sub(hint_columns), width: hint_columns, ..area };
    frame.render_widget(Paragraph::new(Line::styled(hint, model.theme.dim)), end);
}

/// Messages to go to: where and when, and the words.
fn found(model: &Model, frame: &mut Frame<'_>, layout: &Layout, (title, hits): (&str, Option<&[Hit]>), chosen: usize) {
    let theme = &model.theme;
    let width = layout.whole.width.saturating_sub(4).min(100);
    let rows = hits.map_or(1, |hits| hits.len() * 2).clamp(1, 24);
    let title = cut(&safe(title), usize::from(width).saturating_sub(6));
    let inside = card(model, frame, layout.whole, &title, (width, u16::try_from(rows).unwrap_or(24) + 2));
    let (columns, height) = (usize::from(inside.width), usize::from(inside.height));
    let hits = match hits {
        None => return frame.render_widget(Paragraph::new(Line::styled("a moment…", theme.dim)), inside),
        Some([]) => return frame.render_widget(Paragraph::new(Line::styled("nothing", theme.dim)), inside),
        Some(hits) => hits,
    };
    let shown = (height / 2).max(1);
    let lines =
        hits.iter().enumerate().skip((chosen + 1).saturating_sub(shown)).take(shown).flat_map(|(index, hit)| {
            let message = &hit.message;
            let place = match message.chat == message.from {
                true => safe(&message.from),
                false => format!("{} in {}", safe(&message.from), model.called(&message.chat)),
            };
            let head = Model::ends(&format!(" {place}"), &format!("{} ", model.short_time(message.sent_at)), columns);
            let head = Line::styled(head, if index == chosen { theme.chosen } else { theme.strong });
            [head, snippet(model, hit, columns)]
        });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), inside);
}

/// The part of a message that was found, on one row, with the words marked.
fn snippet(model: &Model, hit: &Hit, columns: usize) -> Line<'static> {
    let (text, mut spans, mut at) = (&hit.snippet.text, vec![Span::raw("   ")], 0);
    for range in &hit.snippet.matches {
        if range.start < at {
            continue;
        }
        spans.push(Span::styled(safe(text.get(at..range.start).unwrap_or_default()), model.theme.text));
        spans.push(Span::styled(safe(text.get(range.clone()).unwrap_or_default()), model.theme.found));
        at = range.end;
    }
    spans.push(Span::styled(safe(text.get(at..).unwrap_or_default()), model.theme.text));
    shorten(spans, columns)
}

fn verify(model: &Model, frame: &mut Frame<'_>, layout: &Layout, name: &str) {
    let Some(Overlay::Verify { identity, .. }) = &model.overlay else { return };
    let title = format!("Safety number with {}", safe(name));
    let Some(identity) = identity else {
        let inside = card(model, frame, layout.whole, &title, (48, 3));
        return frame.render_widget(Paragraph::new(Line::styled("a moment…", model.theme.dim)), inside);
    };
    let number = |number: &str| -> Vec<Line<'static>> {
        let groups: Vec<String> = number.split_whitespace().map(safe).collect();
        groups.chunks(4).map(|row| Line::styled(row.join("  "), model.theme.strong).centered()).collect()
    };
    let columns = 60.min(usize::from(layout.whole.width).saturating_sub(4)).max(1);
    let mut lines = number(&identity.safety_number);
    lines.push(Line::default());
    let words = match identity.verification.as_str() {
        "verified" => "You have compared this number: the contact is verified. N takes the mark back.",
        "renewed" => {
            "You have compared an earlier number, and that identity vouches for the new one. Compare again: if both are \
             the same, press Y."
        }
        _ => "Compare it with theirs, in person or by a call. If both are the same, nobody is in between: press Y.",
    };
    lines.extend(wrap(&[(words.to_owned(), model.theme.text)], columns));
    if let Some(changed) = &identity.changed {
        let words = format!(
            "The server shows another identity now, which the known one does not vouch for. Nothing is sent. 'waxwing \
             trust {}' shows it and asks. Its number would be:",
            safe(name)
        );
        lines.push(Line::default());
        lines.extend(wrap(&[(words, model.theme.danger)], columns));
        lines.extend(number(&changed.safety_number));
    }
    let room = usize::from(layout.whole.height).saturating_sub(lines.len() + 3);
    let code = QrCode::new(identity.qr.as_bytes()).ok();
    let code = code.map(|code| code.render::<unicode::Dense1x2>().quiet_zone(true).build());
    if let Some(code) = code.filter(|code| code.lines().count() <= room) {
        lines.push(Line::default());
        // Dark on light, as cameras expect it, whatever the terminal's colours are.
        lines.extend(code.lines().map(|row| Line::styled(row.to_owned(), model.theme.paper).centered()));
    }
    let rows = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
    let inside = card(model, frame, layout.whole, &title, (64, rows));
    frame.render_widget(Paragraph::new(lines), inside);
}
