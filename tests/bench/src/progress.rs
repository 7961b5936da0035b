//! Bars on the terminal, while somebody looks; nothing elsewhere (indicatif sees to that).

use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// A bar of so many things to be done.
pub(crate) fn bar(what: impl Into<String>, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total).with_message(what.into());
    let style = ProgressStyle::with_template("{msg:32} {wide_bar} {pos}/{len}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A bar that runs as long as a measurement.
pub(crate) async fn run_for(what: &str, begin: Instant, duration: Duration) {
    let total = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let bar = ProgressBar::new(total).with_message(what.to_owned());
    let style = ProgressStyle::with_template("{msg:32} {wide_bar} {percent} %");
    let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    while begin.elapsed() < duration {
        bar.set_position(u64::try_from(begin.elapsed().as_millis()).unwrap_or(total));
        // Seldom, so that the bar costs the measurement nothing.
        let left = duration.saturating_sub(begin.elapsed());
        tokio::time::sleep(left.min(Duration::from_millis(200))).await;
    }
    bar.finish_and_clear();
}
