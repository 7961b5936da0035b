//! What the user has set for the screen in `config.toml`, checked, and what the terminal asks for.

use super::{
    keys::{KeyTable, Keys},
    picture::Images,
    theme::Palette,
};
use serde::Deserialize;
use std::time::Duration;

/// The longest time without a key, in minutes: a week.
const LONGEST: f64 = 7.0 * 24.0 * 60.0;

/// The part of the file that is the screen's.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScreenTable {
    /// terminal, dark or light.
    theme: Option<Palette>,
    /// Whether the mouse scrolls and chooses; then the terminal selects text only with Shift.
    mouse: Option<bool>,
    /// Ring the terminal's bell when something new comes that nobody looks at.
    bell: Option<bool>,
    /// What desktop notifications tell.
    notify: Option<Notify>,
    /// How thumbnails show: auto, off, blocks, sixel or kitty.
    images: Option<Images>,
    /// After so many minutes without a key the user is away: 0 never.
    away_minutes: Option<f64>,
}

/// What a desktop notification tells.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Notify {
    /// There are none.
    Off,
    /// Who wrote.
    #[default]
    Sender,
    /// Who wrote what.
    Content,
}

/// The settings as they are.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(super) keys: Keys,
    pub(super) palette: Palette,
    pub(super) colours: bool,
    pub(super) mouse: bool,
    pub(super) bell: bool,
    pub(super) notify: Notify,
    pub(super) images: Images,
    pub(super) away_after: Option<Duration>,
}

impl Settings {
    /// After how long without a key the user is away.
    pub(crate) fn away_after(&self) -> Option<Duration> {
        self.away_after
    }

    /// # Errors
    /// In words: what cannot be.
    pub(crate) fn new(screen: &ScreenTable, keys: &KeyTable, colours: bool) -> Result<Self, String> {
        let away_after = match screen.away_minutes.unwrap_or(10.0) {
            0.0 => None,
            minutes if minutes > 0.0 && minutes <= LONGEST => Some(Duration::from_secs_f64(minutes * 60.0)),
            minutes => return Err(format!("away_minutes cannot be {minutes}: give minutes up to {LONGEST}, or 0")),
        };
        Ok(Self {
            keys: Keys::set(keys)?,
            palette: screen.theme.unwrap_or_default(),
            colours,
            mouse: screen.mouse.unwrap_or(true),
            bell: screen.bell.unwrap_or(true),
            notify: screen.notify.unwrap_or_default(),
            images: screen.images.unwrap_or_default(),
            away_after,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Result<Settings, String> {
        let table: ScreenTable = toml::from_str(text).map_err(|error| error.to_string())?;
        Settings::new(&table, &KeyTable::default(), true)
    }

    #[test]
    fn what_is_not_set_is_as_usual() {
        let settings = set("").unwrap();
        assert!(settings.mouse && settings.bell && settings.notify == Notify::Sender);
        assert_eq!(settings.away_after, Some(Duration::from_secs(600)));
        assert_eq!(settings.palette, Palette::Terminal);
    }

    #[test]
    fn what_is_set_counts_and_what_is_wrong_is_said() {
        let settings =
            set("theme = 'light'\nnotify = 'off'\nimages = 'off'\nbell = false\naway_minutes = 0\nmouse = false")
                .unwrap();
        assert_eq!(settings.images, Images::Off);
        assert!(!settings.mouse && !settings.bell && settings.notify == Notify::Off && settings.away_after.is_none());
        for wrong in ["theme = 'pink'", "images = true", "notify = 'all'", "away_minutes = -1", "beep = true"] {
            assert!(set(wrong).is_err(), "{wrong}");
        }
    }
}
