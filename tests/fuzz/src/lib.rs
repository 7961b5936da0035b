//! Everything of Waxwing that reads bytes of others, as functions of bytes: each target takes any bytes and must neither
//! panic, hang nor grow without bound; some also check what must hold of whatever was read.
//!
//! [`mutate`] drives them on any toolchain, from [`corpus`]; `tests/fuzz/cargo-fuzz` drives the same functions by libFuzzer.

pub mod corpus;
pub mod mutate;
pub mod targets;

/// A function that takes any bytes.
pub type Target = fn(&[u8]);

/// All targets by name. A new one has its line here, and its seeds in [`corpus::seeds`].
pub const TARGETS: &[(&str, Target)] = &[
    ("client_frame", targets::client_frame),
    ("server_frame", targets::server_frame),
    ("hello", targets::hello),
    ("content", targets::content),
    ("vault", targets::vault),
    ("account", targets::account),
    ("segment", targets::segment),
    ("state", targets::state),
    ("sealed_segment", targets::sealed_segment),
    ("manifest", targets::manifest),
    ("attachment", targets::attachment),
    ("local_key", targets::local_key),
    ("link", targets::link),
    ("configuration", targets::configuration),
    ("markdown", targets::markdown),
    ("import", targets::import),
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}
