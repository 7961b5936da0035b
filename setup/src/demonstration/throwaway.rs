//! A server on loopback that lives in a temporary folder, as a process of its own.

use crate::{
    apply::{Applying, Step},
    plan::{Answers, Plan},
};
use anyhow::{Context as _, bail};
use std::{net::TcpListener, path::Path, process::Stdio};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};
use waxwing_core::Link;
use waxwing_server::install::{Folder, SignUp};
use zeroize::Zeroizing;

/// The server and its folder. Dropping it kills the process and removes the folder.
pub(super) struct Throwaway {
    root: TempDir,
    /// What clients connect to.
    pub(super) link: Link,
    process: Option<Child>,
}

impl Throwaway {
    /// Sets it up as `waxwing-setup init` does: embedded database, open sign-up, a free port of this machine.
    pub(super) async fn set_up() -> anyhow::Result<Self> {
        let root = tempfile::Builder::new().prefix("waxwing-try-").tempdir().context("making a temporary folder")?;
        let password = Zeroizing::new(waxwing_server::relay::new_invite_code()?);
        tokio::fs::write(root.path().join("password"), password.as_bytes()).await?;
        let listen = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let answers = Answers {
            listen: Some(listen.context("looking for a free port")?),
            sign_up: Some(SignUp::Open),
            ..Answers::default()
        };
        let plan = Plan {
            folder: Folder::new(root.path().join("server")),
            config: answers.config()?,
            config_found: false,
            server_password: password,
            database_password: None,
            sign_up_secret: None,
            secrets: None,
        };
        let mut applying = Applying::new(plan);
        for step in Step::ALL {
            applying.step(step).await.map_err(|failure| anyhow::anyhow!("{failure}"))?;
        }
        let finished = applying.finished().map_err(|failure| anyhow::anyhow!("{failure}"))?;
        Ok(Self { root, link: finished.link, process: None })
    }

    /// The folder of the clients' profiles.
    pub(super) fn clients(&self) -> std::path::PathBuf {
        self.root.path().join("clients")
    }

    /// The server's own folder.
    pub(super) fn folder(&self) -> Folder {
        Folder::new(self.root.path().join("server"))
    }

    /// Starts the process and waits until it listens.
    pub(super) async fn start(&mut self) -> anyhow::Result<()> {
        let mut child = Command::new(std::env::current_exe().context("finding this program")?)
            .args(["server", "run", "--dir"])
            .arg(self.folder().path())
            .arg("--password-file")
            .arg(self.root.path().join("password"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(self.root.path().join("server.log"))?)
            // Ctrl+C is for the person at the terminal, not for the server that it talks to.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("starting the server")?;
        let stdout = child.stdout.take().context("the server's output")?;
        let mut lines = BufReader::new(stdout).lines();
        if lines.next_line().await?.is_none() {
            let log = tokio::fs::read_to_string(self.root.path().join("server.log")).await.unwrap_or_default();
            bail!("the server did not start: {}", log.trim());
        }
        // Whatever else it says has somewhere to go.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.process = Some(child);
        Ok(())
    }

    /// Kills the process without warning (SIGKILL).
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill().await.context("killing the server")?;
        }
        Ok(())
    }

    /// The files below a folder that contain one of these texts.
    pub(super) fn files_with(folder: &Path, texts: &[&str]) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                found.extend(Self::files_with(&path, texts)?);
                continue;
            }
            // The sockets of the server and of open profiles hold nothing.
            if !path.is_file() {
                continue;
            }
            let bytes = std::fs::read(&path)?;
            let has = |text: &&str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
            if texts.iter().any(has) {
                found.push(path.display().to_string());
            }
        }
        Ok(found)
    }
}
