//! The floor: the least that a relay of messages must do on this machine, without accounts, logs, order or anything else.
//!
//! Each is a process of its own: one hands every frame on over TLS; the others also store it first, many in one transaction
//! (SQLite with synchronous=FULL, or MySQL by batch inserts), in rows with a counter for each pair and a unique number for each
//! message, as the server's are. The same load drives them that drives the server.

mod mysql;
mod relay;
mod storage;

pub(crate) use relay::{RECEIVER, SENDER, run};

use crate::{process::Process, wire::Endpoint};
use anyhow::{Context as _, Result};
use std::{net::SocketAddr, path::Path, process::Stdio};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
};

/// Which floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// A relay and nothing more.
    Tls,
    /// A relay that stores in SQLite first.
    Sqlite,
    /// A relay that stores in MySQL or MariaDB first.
    Mysql,
}

impl Kind {
    /// For reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Sqlite => "sqlite",
            Self::Mysql => "mysql",
        }
    }
}

/// A floor that runs. It ends when this is dropped.
pub(crate) struct Floor {
    child: Child,
    pub(crate) endpoint: Endpoint,
    /// Of the database.
    _folder: tempfile::TempDir,
}

impl Floor {
    /// Starts one: with its database in a new folder of `place`, or beside the schema of this URL.
    pub(crate) async fn start(kind: Kind, place: &Path, url: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("waxwing-floor-").tempdir_in(place)?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["floor-relay", kind.name()])
            // It ends with its input.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting the floor")?;
        let file = folder.path().join("floor.db");
        let database = if kind == Kind::Mysql { url } else { file.to_str().context("the folder's name")? };
        // Not as an argument: an URL holds a password.
        child.stdin.as_mut().context("the floor's input")?.write_all(format!("{database}\n").as_bytes()).await?;
        let output = child.stdout.take().context("the floor's output")?;
        let line = BufReader::new(output).lines().next_line().await?.context("the floor did not start")?;
        let address: SocketAddr = line.parse().context("the floor's address")?;
        Ok(Self { child, endpoint: Endpoint::new(address, None)?, _folder: folder })
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        self.child.wait().await?;
        Ok(())
    }

    pub(crate) fn process(&self) -> Result<Process> {
        Ok(Process(self.child.id().context("the floor has ended")?))
    }
}
