//! What the store is given and gives back about backups. Segments and manifests are sealed by the clients, for more than
//! the server could add: they are kept as they come. Plain data; it must not know how it is kept.

use waxwing_protocol::{Bytes, DeviceId, SegmentId};

/// For how long a new manifest leaves alone what other devices have stored: they may be about to name it.
pub(super) const OTHERS_SEGMENTS_MS: u64 = 24 * 60 * 60 * 1000;

/// A segment of the backup of its device's account.
#[derive(Clone, Debug)]
pub struct NewSegment {
    /// By whom.
    pub device: DeviceId,
    /// Its id.
    pub id: SegmentId,
    /// The ciphertext.
    pub payload: Bytes,
    /// The bytes that the account's segments may take.
    pub quota: u64,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// How storing a segment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentOutcome {
    /// It is there (now, or since an earlier try).
    Stored,
    /// It would exceed the quota, or the most segments that there may be.
    QuotaExceeded,
    /// There is another one of this id.
    Different,
    /// The device was removed.
    UnknownDevice,
}

/// A manifest of the backup of its device's account.
#[derive(Clone, Debug)]
pub struct NewManifest {
    /// By whom.
    pub device: DeviceId,
    /// Its version.
    pub version: u64,
    /// The manifest.
    pub manifest: Bytes,
    /// All segments that it speaks of.
    pub segments: Vec<SegmentId>,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// How replacing a manifest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestOutcome {
    /// It is the manifest now, and what it does not name is gone, save what other devices stored lately.
    Stored,
    /// The stored version is this one, and not the one before.
    Conflict(u64),
    /// It names a segment that is not there.
    UnknownSegment,
    /// The device was removed.
    UnknownDevice,
}

/// A backup as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupRecord {
    /// The version of the last manifest; 0 if there never was any.
    pub version: u64,
    /// The manifest, if there is one now.
    pub manifest: Option<Bytes>,
    /// The bytes of the segments.
    pub used: u64,
}
