//! Colours. Three themes, and none at all where `NO_COLOR` asks for it: what colours tell, words or signs tell too.

use crate::highlight::Token;
use ratatui::style::{Color, Modifier, Style};
use serde::Deserialize;

/// Which colours are used.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Palette {
    /// The sixteen colours that the terminal's user has chosen, on their background.
    #[default]
    Terminal,
    /// For a dark background.
    Dark,
    /// For a light background.
    Light,
}

/// The styles of everything on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Theme {
    pub(super) text: Style,
    /// What may be overlooked: times, marks, hints.
    pub(super) dim: Style,
    /// Lines between parts.
    pub(super) border: Style,
    /// What is chosen, asked for or new.
    pub(super) accent: Style,
    pub(super) strong: Style,
    pub(super) good: Style,
    pub(super) warning: Style,
    pub(super) danger: Style,
    /// The bar under everything.
    pub(super) bar: Style,
    /// The chat that is open, the entry that Enter takes.
    pub(super) chosen: Style,
    /// The number of unread messages.
    pub(super) badge: Style,
    /// The number of unread mentions.
    pub(super) mention: Style,
    /// Words that were searched for.
    pub(super) found: Style,
    /// Code in messages.
    pub(super) code: Style,
    /// Black on white.
    pub(super) paper: Style,
    names: &'static [Color],
}

/// Readable on dark and on light backgrounds as people set them up.
const TERMINAL: &[Color] = &[Color::Cyan, Color::Green, Color::Magenta, Color::Blue, Color::Yellow, Color::Red];
const DARK: &[Color] = &[
    Color::Indexed(117),
    Color::Indexed(150),
    Color::Indexed(216),
    Color::Indexed(183),
    Color::Indexed(222),
    Color::Indexed(80),
    Color::Indexed(211),
    Color::Indexed(146),
];
const LIGHT: &[Color] = &[
    Color::Indexed(25),
    Color::Indexed(28),
    Color::Indexed(130),
    Color::Indexed(90),
    Color::Indexed(94),
    Color::Indexed(30),
    Color::Indexed(125),
    Color::Indexed(61),
];

/// The first and the last of the colours that no palette changes.
const PAPER: Style = Style::new().fg(Color::Indexed(16)).bg(Color::Indexed(231));

impl Theme {
    pub(super) fn new(palette: Palette, colours: bool) -> Self {
        match (colours, palette) {
            (false, _) => Self::colourless(),
            (true, Palette::Terminal) => Self::terminal(),
            (true, Palette::Dark) => Self::indexed([252, 244, 238, 110, 114, 179, 203], [236, 238], 236, DARK),
            (true, Palette::Light) => Self::indexed([235, 244, 250, 25, 28, 130, 160], [254, 252], 254, LIGHT),
        }
    }

    fn colourless() -> Self {
        let (plain, dim) = (Style::new(), Style::new().add_modifier(Modifier::DIM));
        let (strong, reversed) = (plain.add_modifier(Modifier::BOLD), plain.add_modifier(Modifier::REVERSED));
        Self {
            text: plain,
            dim,
            border: dim,
            accent: strong,
            strong,
            good: plain,
            warning: strong,
            danger: strong,
            bar: plain,
            chosen: reversed,
            badge: strong,
            mention: reversed,
            found: reversed,
            code: dim,
            paper: plain,
            names: &[],
        }
    }

    fn terminal() -> Self {
        let colour = |colour| Style::new().fg(colour);
        Self {
            accent: colour(Color::Cyan).add_modifier(Modifier::BOLD),
            good: colour(Color::Green),
            warning: colour(Color::Yellow),
            danger: colour(Color::Red).add_modifier(Modifier::BOLD),
            badge: colour(Color::Cyan).add_modifier(Modifier::BOLD),
            mention: colour(Color::Red).add_modifier(Modifier::BOLD | Modifier::REVERSED),
            found: colour(Color::Yellow).add_modifier(Modifier::REVERSED),
            code: colour(Color::Cyan),
            paper: PAPER,
            names: TERMINAL,
            ..Self::colourless()
        }
    }

    /// From the 256 colours that nearly every terminal has.
    fn indexed(
        [text, dim, border, accent, good, warning, danger]: [u8; 7],
        [bar, chosen]: [u8; 2],
        paper: u8,
        names: &'static [Color],
    ) -> Self {
        let colour = |colour| Style::new().fg(Color::Indexed(colour));
        let on = |style: Style, colour| style.bg(Color::Indexed(colour));
        Self {
            text: colour(text),
            dim: colour(dim),
            border: colour(border),
            accent: colour(accent).add_modifier(Modifier::BOLD),
            strong: colour(text).add_modifier(Modifier::BOLD),
            good: colour(good),
            warning: colour(warning),
            danger: colour(danger).add_modifier(Modifier::BOLD),
            bar: on(colour(text), bar),
            chosen: on(colour(text), chosen).add_modifier(Modifier::BOLD),
            badge: colour(accent).add_modifier(Modifier::BOLD),
            mention: on(Style::new().fg(Color::Indexed(paper)), danger).add_modifier(Modifier::BOLD),
            found: on(Style::new().fg(Color::Indexed(paper)), warning),
            code: on(colour(text), bar),
            paper: PAPER,
            names,
        }
    }

    /// The style of a piece of code.
    pub(super) fn token(&self, token: Token) -> Style {
        let colour = match token {
            Token::Plain => return self.code,
            Token::Keyword => return self.code.patch(self.accent),
            Token::Text => self.good,
            Token::Number => self.warning,
            Token::Comment => return self.code.patch(self.dim).add_modifier(Modifier::ITALIC),
        };
        // Without colours texts and numbers look like all else.
        colour.fg.map_or(self.code, |colour| self.code.fg(colour))
    }

    /// The style of a name: always the same for the same name.
    pub(super) fn name(&self, name: &str) -> Style {
        // FNV-1a: the same in every version and on every machine.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let colour = usize::try_from(hash % self.names.len().max(1) as u64).ok().and_then(|at| self.names.get(at));
        let style = Style::new().add_modifier(Modifier::BOLD);
        colour.map_or(style, |colour| style.fg(*colour))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_colour_and_names_differ() {
        let theme = Theme::new(Palette::Dark, true);
        assert_eq!(theme.name("bob"), theme.name("bob"));
        let names = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy"];
        let different: std::collections::HashSet<_> = names.iter().map(|name| theme.name(name).fg).collect();
        assert!(different.len() >= 4, "{different:?}");
    }

    #[test]
    fn without_colours_code_has_none_either() {
        let tokens = [Token::Plain, Token::Keyword, Token::Text, Token::Number, Token::Comment];
        let plain = Theme::new(Palette::Dark, false);
        assert!(tokens.iter().all(|token| plain.token(*token).fg.is_none()));
        for palette in [Palette::Terminal, Palette::Dark, Palette::Light] {
            let theme = Theme::new(palette, true);
            let styles: std::collections::HashSet<_> = tokens.iter().map(|token| theme.token(*token)).collect();
            assert_eq!(styles.len(), tokens.len(), "{palette:?}");
        }
    }

    #[test]
    fn without_colours_there_are_none() {
        let theme = Theme::new(Palette::Dark, false);
        for style in [theme.text, theme.accent, theme.danger, theme.mention, theme.chosen, theme.name("bob")] {
            assert_eq!((style.fg, style.bg), (None, None));
        }
    }
}
