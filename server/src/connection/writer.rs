//! The writing half of a connection: what waits in its outbox leaves in as few writes as it fits into.
//!
//! Invariant: a peer that takes nothing is given up after a bounded time. It must not know frames.

use super::outbox::{End, Outbox};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

/// How long a write may make no progress.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Writes what the outbox holds, all of it at once, until it is closed or the peer does not take anything for so long.
pub(super) async fn write_out(mut write: impl AsyncWrite + Unpin, outbox: Arc<Outbox>, patience: Duration) -> End {
    let mut buffer = Vec::new();
    loop {
        // Boxed: what is not written needs no room.
        if let Err(end) = outbox.take(&mut buffer).await {
            let _ = Box::pin(timeout(patience, write.shutdown())).await;
            return end;
        }
        if let Err(end) = Box::pin(write_all(&mut write, &buffer, patience)).await {
            return end;
        }
    }
}

async fn write_all(write: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8], patience: Duration) -> Result<(), End> {
    while !bytes.is_empty() {
        let written = timeout(patience, write.write(bytes)).await.map_err(|_| End::SlowReader)?;
        bytes = match written {
            Ok(count) if count > 0 => bytes.get(count..).unwrap_or_default(),
            _ => return Err(End::Lost),
        };
    }
    timeout(patience, write.flush()).await.map_err(|_| End::SlowReader)?.map_err(|_| End::Lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (_peer, write) = tokio::io::duplex(16);
        let outbox = Arc::new(Outbox::default());
        outbox.push_event(&[0; 1000]);
        assert_eq!(write_out(write, outbox, Duration::from_millis(10)).await, End::SlowReader);
    }
}
