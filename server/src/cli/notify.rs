//! Telling the service manager how the server is: readiness, the end, and a watchdog's beat. Where none asks, nothing happens.

use sd_notify::NotifyState;
use std::{convert::Infallible, future::pending};

/// The server takes connections.
pub(super) fn ready() {
    tell(NotifyState::Ready);
}

/// It ends.
pub(super) fn stopping() {
    tell(NotifyState::Stopping);
}

/// Says again and again that the server's tasks get their turn, as often as the manager wants to hear it.
pub(super) async fn stay_alive() -> Infallible {
    let Some(patience) = sd_notify::watchdog_enabled() else { return pending().await };
    loop {
        tell(NotifyState::Watchdog);
        tokio::time::sleep(patience / 2).await;
    }
}

/// A manager that does not listen is no reason to fail.
fn tell(state: NotifyState<'_>) {
    let _ = sd_notify::notify(&[state]);
}
