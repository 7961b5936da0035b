//! The model as a picture. It changes nothing, and every text of others that it shows has gone through `sanitise`.

mod list;
mod overlay;

use super::{
    completion::Completion,
    keys::Action,
    model::{Link, Model, Purpose},
    safe,
    text::{cut, width},
    update::Destination,
};
use crate::{
    command::{preferences::kind_in_words, users::sign},
    output,
    sanitise::{Breaks, preview},
};
use ratatui::{
    Frame,
    layout::{Position, Rect},
    style::Style,
    text::{Line, Span},
    widgets::{Clear, Paragraph},
};
use waxwing_core::{ChatKind, Content, Presence};

/// The sign in front of what is typed.
const SIGN: &str = "› ";

/// Draws everything.
pub(super) fn draw(model: &Model, frame: &mut Frame<'_>) {
    let layout = model.layout();
    if layout.whole.area() == 0 {
        return;
    }
    frame.render_widget(Paragraph::default().style(model.theme.text), layout.whole);
    list::draw(model, frame, layout.list);
    let said = between(model, layout.rule.width);
    let joints = |y: u16| match y {
        1 if layout.header_rule.height > 0 => "┼",
        1 => "┤",
        y if layout.rule.height > 0 && y == layout.rule.y && said.is_none() => "├",
        _ => "│",
    };
    let fence = (0..layout.fence.height).map(|y| Line::styled(joints(y), model.theme.border));
    frame.render_widget(Paragraph::new(fence.collect::<Vec<_>>()), layout.fence);
    header(model, frame, layout.header);
    rule(model, frame, layout.header_rule);
    messages(model, frame, layout.messages);
    match said {
        Some(line) => frame.render_widget(Paragraph::new(line), layout.rule),
        None => rule(model, frame, layout.rule),
    }
    composer(model, frame, layout.composer);
    status(model, frame, layout.status);
    overlay::draw(model, frame, &layout);
    model.pictures.paint(frame.buffer_mut(), layout.messages, model.overlay.is_some());
}

fn rule(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    frame.render_widget(Paragraph::new(Line::styled("─".repeat(usize::from(area.width)), model.theme.border)), area);
}

/// The chat's name, and what must be known of it.
fn header(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let Some(name) = &model.open else {
        frame.render_widget(Paragraph::new(Line::styled(" waxwing", model.theme.strong)), area);
        return;
    };
    let columns = usize::from(area.width);
    let entry = model.entry(name);
    let mut spans =
        vec![Span::raw(" "), Span::styled(cut(&model.called(name), columns.saturating_sub(2)), model.theme.name(name))];
    if let Some(full_name) = entry.and_then(|entry| entry.full_name.as_deref()).filter(|one| *one != name.as_str()) {
        spans.push(Span::styled(format!("  {}", safe(full_name)), model.theme.dim));
    }
    if let Some((words, style)) = company(model, name) {
        spans.push(Span::styled(format!("  {words}"), style));
    }
    if let Some(topic) = entry.and_then(|entry| entry.topic.as_deref()).filter(|topic| !topic.is_empty()) {
        spans.push(Span::styled(format!("  {}", safe(topic)), model.theme.dim));
    }
    if let Some(other) = entry.and_then(|entry| entry.looks_like.as_deref()) {
        spans.push(Span::styled(format!("  ! not {}", other_name(model, other)), model.theme.warning));
    }
    if entry.is_some_and(|entry| entry.over) {
        spans.push(Span::styled("  you are not in it any more", model.theme.warning));
    }
    if *name == model.me {
        spans.push(Span::styled("  notes to yourself", model.theme.dim));
    }
    if let Some((who, until)) = model.typing.get(name)
        && *until > model.now
    {
        let words = if who == name { "  is typing…".to_owned() } else { format!("  {} is typing…", safe(who)) };
        spans.push(Span::styled(words, model.theme.accent));
    }
    if let Some(seconds) = entry.and_then(|entry| entry.timer) {
        spans.push(Span::styled(format!("  ⧗ {}", output::duration(seconds)), model.theme.dim));
    }
    for (is, words) in [
        (entry.is_some_and(|entry| entry.muted_until.is_some_and(|until| until > model.now)), "  muted"),
        (entry.is_some_and(|entry| entry.blocked), "  blocked"),
    ] {
        if is {
            spans.push(Span::styled(words, model.theme.dim));
        }
    }
    if entry.is_some_and(|entry| entry.identity_changed) {
        spans.push(Span::styled("  ! identity changed: nothing is sent (/verify)", model.theme.danger));
    }
    frame.render_widget(Paragraph::new(shorten(spans, columns)), area);
}

/// Who is there in a chat.
fn company(model: &Model, chat: &str) -> Option<(String, Style)> {
    if ChatKind::of(chat) != ChatKind::Direct {
        let count = model.company(chat);
        return (count > 0).then(|| (format!("{} {count} online", sign(Presence::Here.into())), model.theme.dim));
    }
    match model.presence(chat) {
        _ if chat == model.me => None,
        Presence::Gone => None,
        presence @ Presence::Away => Some((format!("{} away", sign(presence.into())), model.theme.dim)),
        presence @ Presence::Here => Some((format!("{} online", sign(presence.into())), model.theme.good)),
    }
}

/// A name that could be taken for another one.
fn other_name(model: &Model, other: &str) -> String {
    if other == model.me { format!("you ({})", safe(other)) } else { safe(other) }
}

/// The spans, or as many of their columns as there are.
fn shorten(spans: Vec<Span<'static>>, columns: usize) -> Line<'static> {
    let mut left = columns;
    let mut line = Vec::new();
    for span in spans {
        let text = cut(&span.content, left);
        left = left.saturating_sub(width(&text));
        line.push(Span::styled(text, span.style));
    }
    Line::from(line)
}

fn messages(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let Some(window) = model.window() else {
        return welcome(model, frame, area);
    };
    if let Some(entry) = model.open.as_deref().and_then(|open| model.entry(open))
        && entry.request
    {
        let lines = match &entry.invited_by {
            Some(by) => [
                format!("{}, whom you do not know yet, invites you into {}.", safe(by), kind_in_words(&entry.name)),
                "Nothing of it is shown until you accept.".to_owned(),
                String::new(),
                "/accept shows it, /decline leaves it, /block ends all".to_owned(),
            ],
            None => [
                format!("{}, whom you do not know yet, wants to write to you.", safe(&entry.name)),
                "Nothing of it is shown until you accept.".to_owned(),
                String::new(),
                "/accept shows it, /block lets nothing of them arrive".to_owned(),
            ],
        };
        let mut lines = lines.to_vec();
        if let Some(other) = &entry.looks_like {
            lines.insert(1, format!("It is not {}: the names only look alike.", other_name(model, other)));
        }
        return middle(model, frame, area, &lines);
    }
    if window.messages.is_empty() && window.loaded && window.notices.is_empty() {
        let name = model.open.as_deref().map(|open| model.called(open)).unwrap_or_default();
        let lines = [
            format!("Nothing here yet. What you write to {name} is sealed"),
            "on this device and opened on theirs.".into(),
        ];
        return middle(model, frame, area, &lines);
    }
    let rows = model.rows_shown(window);
    let blank = usize::from(area.height).saturating_sub(rows.len());
    let lines = std::iter::repeat_n(Line::default(), blank).chain(rows.into_iter().map(|(_, row)| row));
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).style(model.theme.text), area);
}

fn welcome(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let switch = model.keys.name(Action::QuickSwitch);
    let lines = match model.chats.is_empty() {
        true => [
            "Sealed letters, carried by a bird that cannot open them.".to_owned(),
            String::new(),
            format!("{switch}, then a username: a chat with them"),
            format!("{}: help", model.keys.name(Action::Help)),
        ],
        false => [
            format!("{} reads what is new", model.keys.name(Action::NextUnread)),
            format!("{switch} goes to a chat"),
            format!("{}: help", model.keys.name(Action::Help)),
            String::new(),
        ],
    };
    middle(model, frame, area, &lines);
}

fn middle(model: &Model, frame: &mut Frame<'_>, area: Rect, lines: &[String]) {
    let skip = area.height.saturating_sub(u16::try_from(lines.len()).unwrap_or(u16::MAX)) / 2;
    let area = Rect::new(area.x, area.y + skip, area.width, area.height - skip);
    let lines: Vec<Line<'_>> =
        lines.iter().map(|line| Line::styled(cut(line, usize::from(area.width)), model.theme.dim).centered()).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

/// What is said in passing, or offered, in place of the line above the composer.
fn between(model: &Model, columns: u16) -> Option<Line<'static>> {
    let columns = usize::from(columns);
    if let Some(completion) = &model.completion {
        return Some(offered(model, completion, columns));
    }
    if let Some(toast) = &model.toast {
        let (sign, style) = if toast.grave { ("! ", model.theme.warning) } else { ("", model.theme.accent) };
        return Some(Line::styled(cut(&format!(" {sign}{}", toast.words), columns), style));
    }
    if let Some(line) = purpose(model, columns) {
        return Some(line);
    }
    if model.selected.is_some() && model.overlay.is_none() {
        let is_file = model.selected_message().is_some_and(|message| matches!(message.content, Content::File(_)));
        let hint = match is_file {
            true => " O opens · S saves · R answers · D deletes · + reacts · P pins · Esc",
            false => " R answers · E changes · D deletes · + reacts · P pins · Y copies · Esc",
        };
        return Some(Line::styled(cut(hint, columns), model.theme.dim));
    }
    let window = model.window()?;
    let (away, new) = (window.anchor != super::window::Anchor::End || !window.last, unread(model));
    if away && window.loaded {
        let new = if new > 0 { format!("{new} new below · ") } else { String::new() };
        let style = if new.is_empty() { model.theme.dim } else { model.theme.accent };
        return Some(Line::styled(cut(&format!(" ↓ {new}Esc goes to the newest"), columns), style));
    }
    None
}

/// Which message is answered or changed by what is typed.
fn purpose(model: &Model, columns: usize) -> Option<Line<'static>> {
    let (message, sign) = match &model.purpose {
        Purpose::Say => return None,
        Purpose::Reply(message) => (message, "↳"),
        Purpose::Edit(message) => (message, "✎"),
    };
    let window = model.window()?;
    let message = window.position(message).and_then(|at| window.messages.get(at));
    let said =
        message.map(|message| preview(&output::words(&message.content, Breaks::Spaces), 200)).unwrap_or_default();
    let whom = message.map(|message| safe(&message.from)).unwrap_or_default();
    let about = match &model.purpose {
        Purpose::Edit(_) => format!(" {sign} changes \"{said}"),
        _ => format!(" {sign} answers {whom}: \"{said}"),
    };
    let end = "\" · Esc ends that";
    let about = cut(&about, columns.saturating_sub(width(end)));
    Some(Line::from(vec![Span::styled(about, model.theme.accent), Span::styled(end, model.theme.dim)]))
}

fn unread(model: &Model) -> u64 {
    model.open.as_deref().and_then(|open| model.entry(open)).map_or(0, |entry| entry.unread)
}

fn offered(model: &Model, completion: &Completion, columns: usize) -> Line<'static> {
    // The chosen one is always among those that show.
    let from = completion.chosen.saturating_sub(completion.chosen % 5);
    let shown = completion.candidates.iter().enumerate().skip(from).take(8);
    let spans = shown.flat_map(|(index, candidate)| {
        let style = if index == completion.chosen { model.theme.chosen } else { model.theme.dim };
        [Span::raw(" "), Span::styled(format!(" {} ", safe(&candidate.label)), style)]
    });
    shorten(spans.collect(), columns)
}

fn composer(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let columns = super::layout::Layout::composer_columns(area.width);
    let (rows, (cursor_row, cursor_column)) = model.composer.rows(columns);
    let height = usize::from(area.height);
    // The cursor's row always shows.
    let from = (cursor_row + 1).saturating_sub(height);
    let placeholder = match &model.open {
        Some(name) if model.composer.is_empty() && model.entry(name).is_some_and(|entry| entry.request) => {
            "/accept, or write: that accepts, too".to_owned()
        }
        Some(name) if model.composer.is_empty() => format!("Message {}", model.called(name)),
        _ => String::new(),
    };
    let lines = rows.iter().enumerate().skip(from).take(height).map(|(index, row)| {
        let sign = if index == 0 { SIGN } else { "  " };
        let text = match placeholder.is_empty() {
            true => Span::styled(row.shown.clone(), model.theme.text),
            false => Span::styled(cut(&placeholder, columns), model.theme.dim),
        };
        Line::from(vec![Span::styled(sign, model.theme.accent), text])
    });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
    if model.overlay.is_none() && area.height > 0 {
        let x = u16::try_from(cursor_column + width(SIGN)).unwrap_or(u16::MAX);
        let y = u16::try_from(cursor_row - from).unwrap_or(0);
        let position = Position::new(area.x.saturating_add(x).min(area.right().saturating_sub(1)), area.y + y);
        frame.set_cursor_position(position);
    }
}

/// The connection, encryption and verification, and what waits.
fn status(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let theme = &model.theme;
    let seconds = |at: u64| at.saturating_sub(model.now).div_ceil(1000);
    let mut parts: Vec<(String, Style)> = vec![match &model.link {
        Link::Online => ("● connected".to_owned(), theme.good),
        Link::Connecting => ("◌ connecting".to_owned(), theme.dim),
        Link::Offline { again_at: Some(at), .. } if seconds(*at) > 0 => {
            (format!("○ offline, again in {} s", seconds(*at)), theme.warning)
        }
        Link::Offline { again_at: Some(_), .. } => ("○ offline, trying again".to_owned(), theme.warning),
        Link::Offline { again_at: None, reason } => (format!("○ offline: {reason}"), theme.danger),
    }];
    if let Some(open) = &model.open {
        parts.push(trust(model, open));
        let queued = model.entry(open).map_or(0, |entry| entry.queued);
        if queued > 0 && model.link != Link::Online {
            parts.push((format!("{queued} waiting"), theme.warning));
        }
    }
    if let Some((done, total)) = model.restoring {
        parts.push((format!("restoring {done} of {total}"), theme.accent));
    }
    if model.away {
        parts.push(("away".to_owned(), theme.dim));
    }
    if let Link::Offline { again_at: Some(_), reason } = &model.link {
        parts.push((reason.clone(), theme.dim));
    }
    let mut spans = vec![Span::raw(" ")];
    for (index, (words, style)) in parts.into_iter().enumerate() {
        if index > 0 {
            spans.push(Span::styled("  ·  ", theme.dim));
        }
        spans.push(Span::styled(words, style));
    }
    let hint = format!("{} help ", model.keys.name(Action::Help));
    let columns = usize::from(area.width);
    let room = columns.saturating_sub(width(&hint) + 1);
    let used: usize = spans.iter().map(|span| width(&span.content)).sum();
    let line = if used <= room {
        let gap = " ".repeat(columns.saturating_sub(used + width(&hint)));
        spans.extend([Span::raw(gap), Span::styled(hint, theme.dim)]);
        Line::from(spans)
    } else {
        shorten(spans, columns)
    };
    frame.render_widget(Paragraph::new(line).style(theme.bar), area);
}

/// Who can read the open chat, in words.
fn trust(model: &Model, chat: &str) -> (String, Style) {
    let theme = &model.theme;
    if chat == model.me {
        return ("encrypted, for your devices".to_owned(), theme.dim);
    }
    if ChatKind::of(chat) != ChatKind::Direct {
        return ("encrypted, for its members".to_owned(), theme.dim);
    }
    let changed = model.entry(chat).is_some_and(|entry| entry.identity_changed);
    match model.identities.get(chat) {
        Some(identity) if identity.changed.is_some() || changed => ("held: identity changed".to_owned(), theme.danger),
        _ if changed => ("held: identity changed".to_owned(), theme.danger),
        Some(identity) if identity.verification == "verified" => ("encrypted, verified ✓".to_owned(), theme.good),
        Some(identity) if identity.verification == "renewed" => {
            ("encrypted, compare again (/verify)".to_owned(), theme.warning)
        }
        Some(_) => ("encrypted, not verified".to_owned(), theme.dim),
        None => ("encrypted".to_owned(), theme.dim),
    }
}

/// An empty box with a title in the middle of an area, of at most this size; returns its inside.
fn card(model: &Model, frame: &mut Frame<'_>, area: Rect, title: &str, (columns, rows): (u16, u16)) -> Rect {
    use ratatui::widgets::{Block, BorderType, Padding};
    let (width, height) = (columns.min(area.width), rows.min(area.height));
    let place = Rect::new(area.x + (area.width - width) / 2, area.y + (area.height - height) / 3, width, height);
    frame.render_widget(Clear, place);
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(model.theme.border)
        .title(Span::styled(format!(" {title} "), model.theme.accent))
        .padding(Padding::horizontal(1))
        .style(model.theme.text);
    let inside = block.inner(place);
    frame.render_widget(block, place);
    inside
}

/// Where the quick switch goes, in words.
fn destination(model: &Model, destination: &Destination) -> (String, u64) {
    match destination {
        Destination::Chat(name) => {
            let entry = model.entry(name);
            let full_name = entry.and_then(|entry| entry.full_name.as_deref()).map(safe);
            let unread = entry.map_or(0, |entry| entry.unread);
            (format!("{}  {}", model.called(name), full_name.unwrap_or_default()).trim_end().to_owned(), unread)
        }
        Destination::Join(room) => (format!("come into {}, or make it", safe(room)), 0),
        Destination::New(name) => (format!("start a chat with {}", safe(name)), 0),
    }
}

#[cfg(test)]
mod tests;
