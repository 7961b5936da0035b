//! Named points of servers and clients at which a test lets them die, as a power cut would: before and after what is durable.
//!
//! Without the feature `enabled`, which no ordinary build has, a point is nothing at all, and nothing reads the variable.

/// The variable that names the point: `seal.after`, or `seal.after#3` for the third time that it is reached.
#[cfg(feature = "enabled")]
const VARIABLE: &str = "WAXWING_CRASH_AT";

/// Ends the process here if that was asked for: without unwinding, flushing or goodbye.
#[cfg(feature = "enabled")]
pub fn crash_point(step: &str, moment: &str) {
    use std::sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    };
    static WANTED: OnceLock<Option<(String, usize)>> = OnceLock::new();
    static REACHED: AtomicUsize = AtomicUsize::new(0);
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let (name, times) = text.split_once('#').unwrap_or((&text, "1"));
        Some((name.to_owned(), times.parse().unwrap_or(1)))
    });
    if let Some((name, times)) = wanted
        && name.split_once('.') == Some((step, moment))
        && REACHED.fetch_add(1, Ordering::Relaxed) + 1 == *times
    {
        std::process::abort();
    }
}

/// Nothing.
#[cfg(not(feature = "enabled"))]
#[inline(always)]
pub fn crash_point(_step: &str, _moment: &str) {}
