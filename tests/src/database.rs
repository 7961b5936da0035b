//! Databases for servers: embedded, or a fresh schema of a MySQL or MariaDB server.
//!
//! That server is the one that `WAXWING_TEST_MYSQL` names, else a private MariaDB that ends with the test process.

use anyhow::{Context, Result, bail, ensure};
use std::{
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};
use tempfile::TempDir;

/// Which database a server gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// Embedded in the server's folder.
    Sqlite,
    /// A schema of its own on MySQL or MariaDB.
    Mysql,
}

/// A schema that is dropped with this value.
pub(crate) struct Schema {
    user: String,
    password: String,
    host: String,
    port: String,
    name: String,
}

impl Schema {
    /// A name that no schema has yet; the set-up program makes the schema.
    pub(crate) fn fresh() -> Result<Self> {
        Self::at(&mysql_url()?)
    }

    /// The same on the server that this URL names.
    pub(crate) fn at(url: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let rest = url.strip_prefix("mysql://").context("the URL begins with mysql://")?;
        let (who, place) = rest.rsplit_once('@').context("the URL names a user")?;
        let (user, password) = who.split_once(':').unwrap_or((who, ""));
        let place = place.split('/').next().unwrap_or_default();
        let (host, port) = place.rsplit_once(':').unwrap_or((place, "3306"));
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_micros();
        Ok(Self {
            user: user.into(),
            password: password.into(),
            host: host.into(),
            port: port.into(),
            name: format!("waxwing_test_{}_{number}_{now}", std::process::id()),
        })
    }

    /// For the set-up program.
    pub(crate) fn url(&self) -> String {
        let Self { user, password, host, port, name } = self;
        format!("mysql://{user}:{password}@{host}:{port}/{name}")
    }

    /// All that the schema holds, as SQL.
    pub(crate) fn dump(&self) -> Result<Vec<u8>> {
        let output = self.client("mariadb-dump").arg("--skip-lock-tables").arg(&self.name).output()?;
        ensure!(output.status.success(), "mariadb-dump: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    }

    /// Runs statements.
    pub(crate) fn execute(&self, statements: &[u8]) -> Result<()> {
        let mut client = self.client("mariadb");
        let mut running = client.arg(&self.name).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        running.stdin.take().context("standard input")?.write_all(statements)?;
        ensure!(running.wait()?.success(), "the statements failed");
        Ok(())
    }

    /// Where its server listens.
    pub(crate) fn port(&self) -> &str {
        &self.port
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let Self { user, host, port, .. } = self;
        command.args(["--no-defaults", "--protocol=tcp", "--user", user, "--host", host, "--port", port]);
        command.env("MYSQL_PWD", &self.password).stdin(Stdio::null());
        command
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let statement = format!("DROP DATABASE IF EXISTS `{}`", self.name);
        let _ = self.client("mariadb").args(["--execute", &statement]).output();
    }
}

fn mysql_url() -> Result<String> {
    if let Ok(url) = std::env::var("WAXWING_TEST_MYSQL")
        && !url.is_empty()
    {
        return Ok(url);
    }
    static PRIVATE: OnceLock<Result<(String, Child), String>> = OnceLock::new();
    match PRIVATE.get_or_init(|| start_private().map_err(|error| format!("{error:#}"))) {
        Ok((url, _)) => Ok(url.clone()),
        Err(error) => bail!("{error}"),
    }
}

/// A MariaDB of its own, which can be killed. Dropping it stops it and deletes everything.
pub struct MariaDb {
    place: TempDir,
    url: String,
}

impl MariaDb {
    /// Starts one.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn start() -> Result<Self> {
        let place = tempfile::Builder::new().prefix("waxwing-mariadb.").tempdir()?;
        let url = script("start", place.path())?;
        Ok(Self { place, url })
    }

    /// For [`crate::Server::set_up_at`].
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&self) -> Result<()> {
        let pid = std::fs::read_to_string(self.place.path().join("mariadbd.pid"))?;
        let killed = Command::new("kill").args(["-9", pid.trim()]).status()?;
        ensure!(killed.success(), "no process {pid}");
        Ok(())
    }

    /// Starts it again, at the same port.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&self) -> Result<()> {
        let url = script("start", self.place.path())?;
        ensure!(url == self.url, "the database came back at {url} and not at {}", self.url);
        Ok(())
    }

    /// Runs statements as its administrator.
    ///
    /// # Errors
    /// They fail; says why.
    pub fn execute(&self, statements: &str) -> Result<()> {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "--user=root", "--batch", "--skip-column-names", "--execute", statements]);
        client.arg(format!("--socket={}", self.place.path().join("socket").display()));
        let output = client.stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "MariaDB refuses: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        let _ = script("stop", self.place.path());
    }
}

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/mariadb.sh");

/// Runs the script that starts and stops a MariaDB; returns its last line.
fn script(command: &str, folder: &Path) -> Result<String> {
    let output = Command::new(SCRIPT).arg(command).arg(folder).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "mariadb.sh {command}: {said}");
    Ok(String::from_utf8(output.stdout)?.lines().last().unwrap_or_default().to_owned())
}

/// Starts a MariaDB, and a shell that stops it when this process ends, however it ends: then its input closes.
fn start_private() -> Result<(String, Child)> {
    let folder = tempfile::Builder::new().prefix("waxwing-mariadb.").tempdir()?.keep();
    let url = script("start", &folder)?;
    let mut stop = Command::new("sh");
    stop.args(["-c", r#"cat >/dev/null; "$0" stop "$1"; rm -rf "$1""#]).arg(SCRIPT).arg(folder);
    let stop = stop.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    Ok((url, stop))
}
