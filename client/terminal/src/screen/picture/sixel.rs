//! Pictures as sixels: bands of one row of cells each, so that they scroll and are cut off like text.
//!
//! Each band is complete in itself, in 216 colours with ordered dithering, and leaves the cursor behind its first cell, where
//! one character would have left it. It knows nothing of where bands are drawn.

use std::{collections::BTreeMap, fmt::Write as _};
use waxwing_core::Picture;

/// The largest cell, in pixels.
const CELL: u16 = 64;
/// How much brighter a pixel must be to count as the next colour, in sixteenths of a step.
const THRESHOLDS: [[u32; 4]; 4] = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]];

/// The bands of a picture that takes so many columns and rows of cells of this size.
pub(super) fn bands(picture: &Picture, (columns, rows): (usize, usize), (wide, high): (u16, u16)) -> Vec<String> {
    let (wide, high) = (usize::from(wide.clamp(1, CELL)), usize::from(high.clamp(1, CELL)));
    let width = columns * wide;
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let scaled = picture.scaled(number(width), number(rows * high));
    let colours: Vec<u8> = scaled
        .pixels()
        .chunks_exact(3)
        .enumerate()
        .map(|(at, pixel)| {
            let threshold = THRESHOLDS[(at / width) % 4][at % width % 4];
            let step = |strength: u8| (u32::from(strength) * 5 * 16 + threshold * 255) / (255 * 16);
            let step = |at: usize| pixel.get(at).map_or(0, |strength| step(*strength).min(5));
            u8::try_from(36 * step(0) + 6 * step(1) + step(2)).unwrap_or(0)
        })
        .collect();
    colours.chunks(width * high).map(|band| sixels(band, width)).collect()
}

fn sixels(band: &[u8], width: usize) -> String {
    let height = band.len() / width.max(1);
    // Pixels that are not set stay as they are; the cursor comes back to where it was.
    let mut text = format!("\u{1b}7\u{1b}P0;1;0q\"1;1;{width};{height}");
    let mut used: Vec<u8> = band.to_vec();
    used.sort_unstable();
    used.dedup();
    for colour in used {
        let percent = |step: u8| u16::from(step) * 20;
        let (red, green, blue) = (percent(colour / 36), percent(colour / 6 % 6), percent(colour % 6));
        // Writing to a string cannot fail.
        let _ = write!(text, "#{colour};2;{red};{green};{blue}");
    }
    for six in band.chunks(6 * width) {
        let mut colours: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        for (at, colour) in six.iter().enumerate() {
            let columns = colours.entry(*colour).or_insert_with(|| vec![0; width]);
            if let Some(column) = columns.get_mut(at % width) {
                *column |= 1 << (at / width);
            }
        }
        for (colour, columns) in colours {
            let _ = write!(text, "#{colour}");
            for run in columns.chunk_by(|one, next| one == next) {
                let sign = char::from(63 + run.first().copied().unwrap_or(0));
                match run.len() {
                    1..=3 => text.extend(std::iter::repeat_n(sign, run.len())),
                    length => {
                        let _ = write!(text, "!{length}{sign}");
                    }
                }
            }
            text.push('$');
        }
        text.push('-');
    }
    text.push_str("\u{1b}\\\u{1b}8\u{1b}[C");
    text
}
