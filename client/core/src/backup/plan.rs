//! What is to be written next of one log: which messages the backup does not have yet, and which small segments become
//! part of bigger ones.
//!
//! The invariant: once a plan is carried out, every message of this device that the backup lacked is in exactly one
//! segment, and whatever it had is still there, save what was deleted here. A plan never takes the place of a segment that
//! this device has not read whole. It is pure: it must not know of servers, ciphertexts or databases.

use super::ranges::{Range, Ranges};

/// The most messages in one segment.
pub(crate) const MESSAGES: usize = 512;
/// The most bytes of messages in one segment; a single longer one still gets a segment.
pub(crate) const BYTES: usize = 256 * 1024;
/// Segments with fewer messages are taken into the next one whatever its size.
const SMALL: usize = 16;

/// A segment that the manifest speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) id: [u8; 16],
    pub(crate) range: Range,
    pub(crate) count: usize,
}

/// A message as planning sees it: its place, and about how many bytes it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) seq: u64,
    pub(crate) bytes: usize,
}

/// Segments that take the place of others (or of none).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// In order, each behind the one before; none if nothing is left of what they replace.
    pub(crate) write: Vec<Range>,
    pub(crate) replaces: Vec<[u8; 16]>,
}

/// One log as this device and the manifest have it.
pub(crate) struct Log<'a> {
    /// The places that this device has read.
    pub(crate) held: &'a Ranges,
    /// What the manifest has of it.
    pub(crate) stored: &'a [Stored],
    /// Places whose messages were changed or deleted since they were stored.
    pub(crate) changed: &'a [u64],
}

/// Plans what is missing. `items` gives the messages of a stretch in order.
pub(crate) fn plan<E>(log: &Log<'_>, mut items: impl FnMut(Range) -> Result<Vec<Item>, E>) -> Result<Vec<Change>, E> {
    let covered: Ranges = log.stored.iter().map(|stored| stored.range).collect();
    let mut wanted: Vec<(Range, Vec<[u8; 16]>)> =
        log.held.without(&covered).iter().map(|range| (range, Vec::new())).collect();
    for stored in log.stored {
        if log.held.contains_all(stored.range) && log.changed.iter().any(|seq| stored.range.contains(*seq)) {
            wanted.push((stored.range, vec![stored.id]));
        }
    }
    wanted.sort_by_key(|(range, _)| range.first);

    let mut changes: Vec<Change> = Vec::new();
    let mut used: Vec<[u8; 16]> = wanted.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
    for (mut range, mut replaces) in wanted {
        let mut content = items(range)?;
        if content.is_empty() && replaces.is_empty() {
            // Nothing is shown there: receipts and the like.
            continue;
        }
        while let Some(neighbour) = neighbour(log, range, &content, &used) {
            let more = items(neighbour.range)?;
            if content.len() + more.len() > MESSAGES || size(&content) + size(&more) > BYTES {
                break;
            }
            content.extend(more);
            content.sort_by_key(|item| item.seq);
            range = Range { first: range.first.min(neighbour.range.first), last: range.last.max(neighbour.range.last) };
            replaces.push(neighbour.id);
            used.push(neighbour.id);
        }
        changes.push(Change { write: cut(range, &content), replaces });
    }
    Ok(changes)
}

/// A segment next to the stretch that is so small that it is better written again with it: each message is so written a
/// few times only, however the history grows.
fn neighbour(log: &Log<'_>, range: Range, content: &[Item], used: &[[u8; 16]]) -> Option<Stored> {
    let touches = |stored: &&Stored| {
        stored.range.last.checked_add(1) == Some(range.first) || range.last.checked_add(1) == Some(stored.range.first)
    };
    let small = |stored: &&Stored| stored.count < SMALL || stored.count <= 2 * content.len();
    let alone = |stored: &&Stored| !log.stored.iter().any(|o| o.id != stored.id && o.range.overlaps(&stored.range));
    let free = log.stored.iter().filter(|stored| !used.contains(&stored.id));
    free.filter(touches).filter(small).filter(alone).find(|stored| log.held.contains_all(stored.range)).copied()
}

fn size(items: &[Item]) -> usize {
    items.iter().map(|item| item.bytes).sum()
}

/// Cuts a stretch into segments that are small enough; together they are the whole stretch.
fn cut(range: Range, content: &[Item]) -> Vec<Range> {
    let mut ranges = Vec::new();
    let (mut first, mut count, mut bytes) = (range.first, 0, 0);
    for item in content {
        if count == MESSAGES || (count > 0 && bytes + item.bytes > BYTES) {
            ranges.push(Range { first, last: item.seq - 1 });
            (first, count, bytes) = (item.seq, 0, 0);
        }
        count += 1;
        bytes += item.bytes;
    }
    if count > 0 {
        ranges.push(Range { first, last: range.last });
    }
    ranges
}

#[cfg(test)]
mod tests;
