//! Where the parts of the screen are, for drawing and for the mouse: a function of its size and of what is typed.

use ratatui::layout::{Position, Rect};

/// Narrower screens have no list of chats beside the messages.
const NARROWEST_WITH_LIST: u16 = 56;

/// The parts; a part that has no room has no rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) whole: Rect,
    /// The list of chats.
    pub(super) list: Rect,
    /// The line between the list and the rest.
    pub(super) fence: Rect,
    /// The name of the chat.
    pub(super) header: Rect,
    pub(super) header_rule: Rect,
    pub(super) messages: Rect,
    /// Above the text being typed: a line, or something to say.
    pub(super) rule: Rect,
    /// The text being typed, with the sign in front of it.
    pub(super) composer: Rect,
    pub(super) status: Rect,
}

impl Layout {
    /// For a screen of this size; `typed` are the rows that the text being typed would like for a number of columns.
    pub(super) fn new((columns, rows): (u16, u16), list: bool, typed: impl Fn(usize) -> usize) -> Self {
        let whole = Rect::new(0, 0, columns, rows);
        let list_width = match list && columns >= NARROWEST_WITH_LIST {
            true => (columns / 5).clamp(18, 34),
            false => 0,
        };
        let fence_width = u16::from(list_width > 0);
        let left = list_width + fence_width;
        let (status_rows, header_rows) = (u16::from(rows >= 4), u16::from(rows >= 7));
        let (rule_rows, header_rule_rows) = (u16::from(rows >= 6), u16::from(rows >= 16));
        let body = Rect::new(left, 0, columns - left, rows - status_rows);
        let most = (rows / 3).clamp(1, 10);
        let wanted = u16::try_from(typed(Self::composer_columns(body.width))).unwrap_or(most);
        let composer_rows = wanted.clamp(1, most).min(body.height);
        let row = |y: u16, height: u16| Rect::new(body.x, y, body.width, height);
        let composer_y = body.height - composer_rows;
        let rule_y = composer_y.saturating_sub(rule_rows);
        let above = header_rows + header_rule_rows;
        Self {
            whole,
            list: Rect::new(0, 0, list_width, body.height),
            fence: Rect::new(list_width, 0, fence_width, body.height),
            header: row(0, header_rows),
            header_rule: row(header_rows, header_rule_rows),
            messages: row(above, rule_y.saturating_sub(above)),
            rule: row(rule_y, rule_rows),
            composer: row(composer_y, composer_rows),
            status: Rect::new(0, rows - status_rows, columns, status_rows),
        }
    }

    /// The columns for the text itself, behind the sign.
    pub(super) fn composer_columns(width: u16) -> usize {
        usize::from(width.saturating_sub(3)).max(1)
    }

    /// The columns of messages.
    pub(super) fn message_columns(&self) -> usize {
        usize::from(self.messages.width)
    }

    /// Which row of an area this is.
    pub(super) fn row_in(area: Rect, column: u16, row: u16) -> Option<usize> {
        area.contains(Position::new(column, row)).then(|| usize::from(row - area.y))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_usual_terminal_shows_everything() {
        let layout = Layout::new((80, 24), true, |_| 1);
        assert_eq!(layout.list.width, 18);
        assert_eq!((layout.messages.height, layout.messages.width), (19, 61));
        assert_eq!((layout.status.y, layout.composer.y, layout.rule.y), (23, 22, 21));
        assert_eq!(Layout::new((40, 10), true, |_| 1).list.width, 0);
    }

    proptest! {
        #[test]
        fn no_size_breaks_it(columns in 0_u16..300, rows in 0_u16..120, list: bool, typed in 0_usize..500) {
            let layout = Layout::new((columns, rows), list, |_| typed);
            let parts = [
                layout.list, layout.fence, layout.header, layout.header_rule, layout.messages, layout.rule,
                layout.composer, layout.status,
            ];
            for (index, part) in parts.iter().enumerate() {
                prop_assert!(part.right() <= columns && part.bottom() <= rows, "{part:?}");
                for other in &parts[index + 1..] {
                    prop_assert!(part.intersection(*other).area() == 0, "{part:?} {other:?}");
                }
            }
        }
    }
}
