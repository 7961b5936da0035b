//! The server's log: one line per event on standard error, as text or JSON.
//!
//! Invariant of everyone who logs: no message bodies, no secrets, no usernames, and network addresses at `debug` only.

use std::io::IsTerminal as _;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;

/// Changes which lines are logged.
static FILTER: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is none, such as `info` or `waxwing_server=debug`.
    #[error("the log filter is not valid: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// This process logs already.
    #[error("logging was started before")]
    Started,
}

/// Starts logging for the whole process, to standard error.
pub fn init(format: LogFormat, filter: &str) -> Result<(), LogError> {
    let lines = tracing_subscriber::fmt().with_env_filter(parse(filter)?).with_writer(std::io::stderr);
    // On a full disk lines are lost; complaining about that where nothing can be written would end the server.
    let lines = lines.log_internal_errors(false);
    // A line that is not written for want of its filter is no failure.
    match format {
        LogFormat::Text => {
            let lines = lines.with_ansi(std::io::stderr().is_terminal()).with_filter_reloading();
            let handle = lines.reload_handle();
            let _ = FILTER.set(Box::new(move |filter| drop(handle.reload(filter))));
            lines.try_init()
        }
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_filter_reloading();
            let handle = lines.reload_handle();
            let _ = FILTER.set(Box::new(move |filter| drop(handle.reload(filter))));
            lines.try_init()
        }
    }
    .map_err(|_| LogError::Started)
}

/// A filter. What NATS' library says of each try is left out, unless it is asked for by name: the server says why itself, once.
fn parse(filter: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(format!("async_nats=off,{filter}"))
}

/// Logs by this filter from now on, if this process logs at all.
pub(crate) fn set_filter(filter: &str) {
    if let (Some(set), Ok(filter)) = (FILTER.get(), parse(filter)) {
        set(filter);
    }
}
