//! The end-to-end harness: real servers, real clients, real databases, and faults between them.
//!
//! Everything lives in temporary folders and on loopback, and is gone when its value is dropped. It drives the programs
//! as a user does, by their command lines; beyond that it knows the wire language only, to play a misbehaving peer.

mod clock;
mod database;
mod gateway;
mod impostor;
mod mail;
mod nats;
mod nginx;
mod process;
mod programs;
mod proxy;
mod raw;
mod server;
mod tty;
mod user;

pub use clock::{Clock, DAY};
pub use database::{Database, MariaDb};
pub use gateway::Gateway;
pub use impostor::{Impostor, Met};
pub use mail::MailServer;
pub use nats::Nats;
pub use nginx::Nginx;
pub use process::{Outcome, Running, bear_full_disks, run_with_deadline};
pub use programs::program;
pub use proxy::{Direction, Fault, Proxy};
pub use raw::{RawClient, Tls};
pub use server::{Server, Snapshot, files, free_port};
pub use tty::Tty;
pub use user::{Chat, Follow, PASSWORD, User, copy_folder, texts};

use std::time::Duration;

/// How long anything may take before a test gives up on it.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// A GIF of one pixel.
pub const PICTURE: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\xff\xff\xff\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

/// Makes two tests of each function, one on embedded SQLite and one on MySQL/MariaDB.
#[macro_export]
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test] fn $name() -> anyhow::Result<()> { super::$name($crate::Database::Sqlite) })+
        }
        mod mysql {
            $(#[test] fn $name() -> anyhow::Result<()> { super::$name($crate::Database::Mysql) })+
        }
    };
}

/// The certificate in a PEM file, as DER.
pub fn certificate(pem: &[u8]) -> anyhow::Result<Vec<u8>> {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    Ok(CertificateDer::from_pem_slice(pem)?.to_vec())
}

/// The same link with another port: the way through a proxy, or to an impostor.
pub fn link_with_port(link: &str, port: u16) -> anyhow::Result<String> {
    let mut link: waxwing_protocol::Link = link.parse()?;
    link.addresses.iter_mut().for_each(|address| address.port = port);
    Ok(link.to_string())
}
