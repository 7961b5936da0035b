//! Thumbnails in the history: which are known, how large they show, and what a terminal is told so that it shows them.
//!
//! The invariant: a picture is rows of cells like any text, so that scrolling and drawing treat it like one. With half blocks the
//! cells are the picture; for kitty and sixel they are placeholders, for which the terminal has the picture (kitty) or which
//! are replaced by bands of it when everything else is drawn (sixel). No text of others can hold a placeholder: `sanitise`
//! takes it away. This module must not know where thumbnails come from.

mod sixel;

use super::window::Key;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ratatui::{
    buffer::{Buffer, CellDiffOption},
    layout::{Position, Rect},
    style::{Color, Style},
    text::{Line, Span},
};
use serde::Deserialize;
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    num::NonZeroU16,
};
use waxwing_core::Picture;

/// The most columns and rows that one takes.
const COLUMNS: usize = 40;
const ROWS: usize = 12;
/// So many are kept in memory; which are not seen go first.
const KEPT: usize = 48;
/// Stands for a part of a picture: kitty's own sign for it.
const PLACEHOLDER: char = '\u{10eeee}';
/// Behind a placeholder they say which row and which column of the picture it is (kitty's `rowcolumn-diacritics.txt`).
const NUMBERS: [char; COLUMNS] = [
    '\u{305}', '\u{30d}', '\u{30e}', '\u{310}', '\u{312}', '\u{33d}', '\u{33e}', '\u{33f}', '\u{346}', '\u{34a}',
    '\u{34b}', '\u{34c}', '\u{350}', '\u{351}', '\u{352}', '\u{357}', '\u{35b}', '\u{363}', '\u{364}', '\u{365}',
    '\u{366}', '\u{367}', '\u{368}', '\u{369}', '\u{36a}', '\u{36b}', '\u{36c}', '\u{36d}', '\u{36e}', '\u{36f}',
    '\u{483}', '\u{484}', '\u{485}', '\u{486}', '\u{487}', '\u{592}', '\u{593}', '\u{594}', '\u{595}', '\u{597}',
];
/// How much of a picture kitty takes at a time, in bytes of base64.
const PIECE: usize = 4096;

/// What the user has set.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Images {
    /// The best that this terminal is known to show.
    #[default]
    Auto,
    /// None.
    Off,
    /// Half blocks, two pixels in a cell.
    Blocks,
    /// Sixel.
    Sixel,
    /// The graphics protocol of kitty, with Unicode placeholders.
    Kitty,
}

/// How pictures are shown here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Graphics {
    Off,
    Blocks {
        /// Whether the terminal knows all colours, or 256.
        all_colours: bool,
    },
    Kitty,
    Sixel {
        /// A cell's width and height in pixels.
        cell: (u16, u16),
    },
}

impl Graphics {
    /// What this terminal is known to show. Terminals are not asked: their answers would come between what is typed, and late
    /// where the way is long. `cell` is the size of a cell in pixels, if the terminal tells it.
    pub(super) fn of(
        images: Images,
        colours: bool,
        variable: impl Fn(&str) -> Option<String>,
        cell: Option<(u16, u16)>,
    ) -> Self {
        let value = |name: &str| variable(name).unwrap_or_default().to_ascii_lowercase();
        let (term, program) = (value("TERM"), value("TERM_PROGRAM"));
        let all_colours = ["truecolor", "24bit"].contains(&value("COLORTERM").as_str()) || term.ends_with("-direct");
        // What lies between, a multiplexer, hands no pictures on.
        let direct = !["tmux", "screen"].iter().any(|name| term.starts_with(name) || program == *name);
        let kitty = direct && (term == "xterm-kitty" || term == "xterm-ghostty" || program == "ghostty");
        let draws_sixel = ["foot", "mlterm", "contour", "yaft"].iter().any(|name| term.starts_with(name))
            || ["wezterm", "iterm.app", "mintty", "contour"].contains(&program.as_str());
        let sixel = cell.filter(|(columns, rows)| *columns > 0 && *rows > 0).map(|cell| Self::Sixel { cell });
        match images {
            _ if !colours => Self::Off,
            Images::Off => Self::Off,
            Images::Kitty => Self::Kitty,
            Images::Sixel => sixel.unwrap_or(Self::Sixel { cell: (10, 20) }),
            Images::Auto if kitty => Self::Kitty,
            Images::Auto if direct && draws_sixel => sixel.unwrap_or(Self::Blocks { all_colours }),
            Images::Auto | Images::Blocks => Self::Blocks { all_colours },
        }
    }
}

/// A message of a chat.
pub(super) type Where = (String, Key);

/// Columns and rows.
pub(super) type Room = (usize, usize);

/// A picture that is here.
#[derive(Debug)]
struct Shown {
    /// What the terminal calls it: three bytes, not 0.
    id: u32,
    picture: Picture,
    /// How many columns and rows it took last.
    size: Cell<Room>,
    /// Its bands as they were drawn last, and for which size.
    bands: RefCell<(Room, Vec<String>)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pictures {
    pub(super) graphics: Graphics,
    /// None while it is asked for, or if there is none.
    known: HashMap<Where, Option<Shown>>,
    next_id: u32,
}

impl Pictures {
    pub(super) fn new(graphics: Graphics) -> Self {
        // Another program in the same terminal may have pictures of its own.
        let next_id = ((std::process::id() & 0x7fff) << 8) + 1;
        Self { graphics, known: HashMap::new(), next_id }
    }

    /// Whether a picture is to be asked for; from then on it counts as asked for.
    pub(super) fn want(&mut self, wanted: &Where) -> bool {
        if self.graphics == Graphics::Off || self.known.contains_key(wanted) {
            return false;
        }
        self.known.insert(wanted.clone(), None);
        true
    }

    /// A picture is here, or cannot be opened. `seen` says which are needed.
    pub(super) fn arrived(&mut self, which: Where, picture: Option<Picture>, seen: impl Fn(&Where) -> bool) {
        let Some(picture) = picture else { return };
        let id = self.next_id;
        self.next_id = if id < 0x00ff_ffff { id + 1 } else { 1 };
        let (size, bands) = (Cell::default(), RefCell::default());
        self.known.insert(which, Some(Shown { id, picture, size, bands }));
        if self.known.len() > KEPT {
            // They are asked for again when somebody scrolls there.
            self.known.retain(|known, _| seen(known));
        }
    }

    /// The rows of a message's picture; none if it has none, or not yet.
    pub(super) fn rows(&self, which: &Where, columns: usize) -> Vec<Line<'static>> {
        let Some(Some(shown)) = self.known.get(which) else { return Vec::new() };
        let size = cells((shown.picture.width(), shown.picture.height()), columns);
        shown.size.set(size);
        match self.graphics {
            Graphics::Off => Vec::new(),
            Graphics::Blocks { all_colours } => half_blocks(&shown.picture, size, all_colours),
            Graphics::Kitty | Graphics::Sixel { .. } => placeholders(shown.id, size),
        }
    }

    /// What kitty must be told: of pictures that it does not have, and of those that take another room than the one that it
    /// was told (`told` by their ids). With their ids and the room that they take.
    pub(super) fn unsent(&self, told: impl Fn(u32) -> Option<Room>) -> Vec<(u32, Room, String)> {
        let all = self.known.values().flatten().filter(|_| self.graphics == Graphics::Kitty);
        all.filter_map(|shown| {
            let (id, room) = (shown.id, shown.size.get());
            let sequence = match told(id) {
                Some(told) if told == room => return None,
                Some(_) => placed(id, room),
                None => sent(id, room, &shown.picture)?,
            };
            // Before it was drawn once nobody knows its room.
            (room != (0, 0)).then_some((id, room, sequence))
        })
        .collect()
    }

    /// Whether a picture of this id is here.
    pub(super) fn has(&self, id: u32) -> bool {
        self.known.values().flatten().any(|shown| shown.id == id)
    }

    /// Puts bands of sixels in place of placeholders, or blanks where something lies on top.
    pub(super) fn paint(&self, buffer: &mut Buffer, area: Rect, covered: bool) {
        let Graphics::Sixel { cell } = self.graphics else { return };
        for y in area.top()..area.bottom() {
            let mut x = area.left();
            while x < area.right() {
                let Some((id, row, wide)) = run(buffer, area, (x, y)) else {
                    x += 1;
                    continue;
                };
                let band = (!covered).then(|| self.band(id, row, cell)).flatten();
                for at in x..x + wide {
                    if let Some(cell) = buffer.cell_mut(Position::new(at, y)) {
                        cell.reset();
                        if band.is_some() && at > x {
                            cell.set_diff_option(CellDiffOption::Skip);
                        }
                    }
                }
                if let (Some(band), Some(cell)) = (band, buffer.cell_mut(Position::new(x, y))) {
                    cell.set_symbol(&band).set_diff_option(CellDiffOption::ForcedWidth(NonZeroU16::MIN));
                }
                x += wide;
            }
        }
    }

    fn band(&self, id: u32, row: usize, cell: (u16, u16)) -> Option<String> {
        let shown = self.known.values().flatten().find(|shown| shown.id == id)?;
        let mut bands = shown.bands.borrow_mut();
        if bands.0 != shown.size.get() {
            *bands = (shown.size.get(), sixel::bands(&shown.picture, shown.size.get(), cell));
        }
        bands.1.get(row).cloned()
    }
}

/// How many columns and rows a picture of so many pixels takes, where there are so many columns. A cell is twice as high as
/// it is wide.
fn cells((width, height): (u32, u32), columns: usize) -> (usize, usize) {
    let (width, height) = (width.max(1) as usize, height.max(1) as usize);
    // A small picture stays small.
    let wide = columns.min(COLUMNS).min(width.div_ceil(4)).max(1);
    let high = (wide * height).div_ceil(2 * width).max(1);
    if high <= ROWS { (wide, high) } else { ((2 * ROWS * width / height).clamp(1, wide), ROWS) }
}

fn half_blocks(picture: &Picture, (columns, rows): (usize, usize), all_colours: bool) -> Vec<Line<'static>> {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let small = picture.scaled(number(columns), number(2 * rows));
    let pixels: Vec<Color> = small
        .pixels()
        .chunks_exact(3)
        .map(|pixel| match *pixel {
            [red, green, blue] if all_colours => Color::Rgb(red, green, blue),
            [red, green, blue] => nearest(red, green, blue),
            _ => Color::Reset,
        })
        .collect();
    let mut lines = pixels.chunks_exact(columns);
    let mut blocks = Vec::with_capacity(rows);
    while let (Some(upper), Some(lower)) = (lines.next(), lines.next()) {
        let cells = upper.iter().zip(lower).map(|(upper, lower)| Span::styled("▀", Style::new().fg(*upper).bg(*lower)));
        blocks.push(Line::from(cells.collect::<Vec<_>>()));
    }
    blocks
}

/// The nearest of the 6 · 6 · 6 colours that most terminals have.
fn nearest(red: u8, green: u8, blue: u8) -> Color {
    // They are 0, 95, 135, 175, 215 and 255 strong.
    let step = |strength: u8| match strength {
        0..48 => 0,
        48..115 => 1,
        strength => (strength - 35) / 40,
    };
    Color::Indexed(16 + 36 * step(red) + 6 * step(green) + step(blue))
}

fn placeholders(id: u32, (columns, rows): (usize, usize)) -> Vec<Line<'static>> {
    let [_, red, green, blue] = id.to_be_bytes();
    let style = Style::new().fg(Color::Rgb(red, green, blue));
    let row = |row: &char| {
        let cell = |column: &char| Span::styled(format!("{PLACEHOLDER}{row}{column}"), style);
        Line::from(NUMBERS.iter().take(columns).map(cell).collect::<Vec<_>>())
    };
    NUMBERS.iter().take(rows).map(row).collect()
}

/// The placeholders that stand side by side from there on: of which picture, which row of it, and how many.
fn run(buffer: &Buffer, area: Rect, (x, y): (u16, u16)) -> Option<(u32, usize, u16)> {
    let placeholder = |x: u16| {
        let cell = buffer.cell(Position::new(x, y)).filter(|_| x < area.right())?;
        let mut signs = cell.symbol().chars();
        let row = (signs.next() == Some(PLACEHOLDER)).then(|| signs.next())??;
        let Color::Rgb(red, green, blue) = cell.fg else { return None };
        Some((u32::from_be_bytes([0, red, green, blue]), NUMBERS.iter().position(|number| *number == row)?))
    };
    let first = placeholder(x)?;
    let more = (x + 1..area.right()).take_while(|x| placeholder(*x) == Some(first)).count();
    Some((first.0, first.1, u16::try_from(more).ok()? + 1))
}

/// A picture for kitty, which answers nothing and shows it wherever its placeholders stand, fitted into so many columns and rows.
fn sent(id: u32, (columns, rows): Room, picture: &Picture) -> Option<String> {
    let png = STANDARD.encode(picture.png()?);
    let mut pieces = png.as_bytes().chunks(PIECE).peekable();
    let (mut text, mut first) = (String::with_capacity(png.len() + 256), true);
    while let Some(piece) = pieces.next() {
        let more = u8::from(pieces.peek().is_some());
        text.push_str("\u{1b}_G");
        if std::mem::take(&mut first) {
            text.push_str(&format!("a=T,U=1,q=2,f=100,i={id},c={columns},r={rows},"));
        }
        text.push_str(&format!("m={more};{}\u{1b}\\", std::str::from_utf8(piece).ok()?));
    }
    Some(text)
}

/// A picture that kitty has is fitted into other columns and rows.
fn placed(id: u32, (columns, rows): Room) -> String {
    format!("\u{1b}_Ga=p,U=1,q=2,i={id},c={columns},r={rows}\u{1b}\\")
}

/// What makes kitty forget a picture.
pub(super) fn forgotten(id: u32) -> String {
    format!("\u{1b}_Ga=d,d=I,q=2,i={id}\u{1b}\\")
}

#[cfg(test)]
mod tests;
