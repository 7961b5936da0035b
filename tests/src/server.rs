//! A server: set up by `waxwing-setup init`, run by `waxwing-server run`, killed and restarted at will.

use crate::{
    DEADLINE, Database, Outcome, Running,
    database::Schema,
    process::{bear_full_disks, run_with_deadline},
    programs::program,
};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// A server in a folder of its own. Dropping it kills it and deletes everything.
pub struct Server {
    running: Option<Running>,
    place: TempDir,
    folder: PathBuf,
    schema: Option<Schema>,
    /// Dropped with the server.
    further: Vec<Schema>,
    announced: Value,
    port: u16,
    settings: Vec<(String, String)>,
}

/// A copy of a server's database.
pub struct Snapshot(Vec<u8>);

impl Server {
    /// Sets a server up where anyone may sign up, and starts it.
    ///
    /// # Errors
    /// Either fails; says what the program printed.
    pub fn start(database: Database) -> Result<Self> {
        Self::start_with(database, "open")
    }

    /// The same with a policy for sign-up: `open`, `invite` or `closed`.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(database: Database, sign_up: &str) -> Result<Self> {
        let mut server = Self::set_up(database, sign_up)?;
        server.restart()?;
        Ok(server)
    }

    /// Sets a server up and does not start it.
    ///
    /// # Errors
    /// Says what the program printed.
    pub fn set_up(database: Database, sign_up: &str) -> Result<Self> {
        Self::set_up_with(database, &["--signup", sign_up])
    }

    /// Sets a server up with flags of `waxwing-setup init`, and does not start it.
    ///
    /// # Errors
    /// Says what the program printed.
    pub fn set_up_with(database: Database, flags: &[&str]) -> Result<Self> {
        let schema = match database {
            Database::Sqlite => None,
            Database::Mysql => Some(Schema::fresh()?),
        };
        Self::set_up_on(schema, flags)
    }

    /// Sets a server up with flags of `waxwing-setup init` and a fresh schema on the MySQL or MariaDB that this URL names, and
    /// does not start it.
    ///
    /// # Errors
    /// Says what the program printed.
    pub fn set_up_at(url: &str, flags: &[&str]) -> Result<Self> {
        Self::set_up_on(Some(Schema::at(url)?), flags)
    }

    fn set_up_on(schema: Option<Schema>, flags: &[&str]) -> Result<Self> {
        let place = tempfile::Builder::new().prefix("waxwing-server.").tempdir()?;
        fs::write(place.path().join("password"), "the-server-password 81\n")?;
        let (folder, further) = (place.path().join("server"), Vec::new());
        let mut server = Self {
            running: None,
            place,
            folder,
            schema,
            further,
            announced: Value::Null,
            port: free_port()?,
            settings: Vec::new(),
        };
        server.announced = server.init(flags)?.expect_code(0)?.json()?;
        Ok(server)
    }

    /// Makes a further server on the same database, and does not start it. The first must outlive it.
    ///
    /// # Errors
    /// Says what the program printed.
    pub fn node(&self) -> Result<Self> {
        let place = tempfile::Builder::new().prefix("waxwing-node.").tempdir()?;
        fs::copy(self.password_file(), place.path().join("password"))?;
        let (folder, further) = (place.path().join("server"), Vec::new());
        let (announced, settings) = (Value::Null, self.settings.clone());
        let mut node =
            Self { running: None, place, folder, schema: None, further, announced, port: free_port()?, settings };
        let mut command = bare(&program("waxwing-setup")?);
        command.args(["node", "--yes", "--json", "--listen", &format!("127.0.0.1:{}", node.port), "--from"]);
        command.arg(self.folder()).arg("--dir").arg(node.folder());
        command.arg("--server-password-file").arg(node.password_file());
        node.announced = run_with_deadline(&mut command, DEADLINE)?.expect_code(0)?.json()?;
        Ok(node)
    }

    /// The link of this server with its own address alone.
    ///
    /// # Errors
    /// There is no link.
    pub fn own_link(&self) -> Result<String> {
        let mut link: waxwing_protocol::Link = self.link().parse()?;
        link.addresses.retain(|address| address.port == self.port);
        ensure!(!link.addresses.is_empty(), "the link does not name it: {}", self.link());
        Ok(link.to_string())
    }

    /// Runs `waxwing-setup init` on the folder (again).
    ///
    /// # Errors
    /// It does not end.
    pub fn init(&self, flags: &[&str]) -> Result<Outcome> {
        let database = self.schema.as_ref().map_or_else(|| "sqlite".to_owned(), Schema::url);
        let mut command = bare(&program("waxwing-setup")?);
        command.arg("init").arg("--dir").arg(self.folder()).args(["--yes", "--json", "--database", &database]);
        command.args(["--listen", &format!("127.0.0.1:{}", self.port)]).arg("--server-password-file");
        run_with_deadline(command.arg(self.password_file()).args(flags), DEADLINE)
    }

    /// Any command of `waxwing-server` on this folder, not started yet.
    ///
    /// # Errors
    /// The program does not build.
    pub fn command(&self, name: &str) -> Result<Command> {
        let mut command = bare(&program("waxwing-server")?);
        command.arg(name).arg("--dir").arg(self.folder()).arg("--password-file").arg(self.password_file());
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Runs a command of `waxwing-server` on this folder with `--json`, as its operator does.
    ///
    /// # Errors
    /// It does not end.
    pub fn operate(&self, words: &[&str]) -> Result<Outcome> {
        run_with_deadline(&mut self.operation(words)?, DEADLINE)
    }

    /// The same, not started yet.
    ///
    /// # Errors
    /// The program does not build.
    pub fn operation(&self, words: &[&str]) -> Result<Command> {
        let mut command = bare(&program("waxwing-server")?);
        command.args(words).arg("--dir").arg(self.folder()).arg("--json");
        command.arg("--password-file").arg(self.password_file());
        Ok(command)
    }

    /// Runs a command of `waxwing-server` that concerns no folder or another one.
    ///
    /// # Errors
    /// It does not end.
    pub fn operate_elsewhere(words: &[&str]) -> Result<Outcome> {
        let mut command = bare(&program("waxwing-server")?);
        run_with_deadline(command.args(words).arg("--json"), DEADLINE)
    }

    /// A file with the URL of another schema, which goes with this server; none on embedded SQLite.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn another_schema(&mut self) -> Result<Option<PathBuf>> {
        if self.schema.is_none() {
            return Ok(None);
        }
        let schema = Schema::fresh()?;
        let file = self.place.path().join("url");
        fs::write(&file, schema.url())?;
        self.further.push(schema);
        Ok(Some(file))
    }

    /// Goes on with another folder, which a backup was restored into.
    pub fn move_to(&mut self, folder: PathBuf) {
        self.kill();
        self.folder = folder;
    }

    /// A path in the server's temporary place, outside its folder.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Sets an environment variable for its commands from now on.
    pub fn set(&mut self, variable: &str, value: impl ToString) {
        self.settings.push((variable.to_owned(), value.to_string()));
    }

    /// Takes a variable back.
    pub fn unset(&mut self, variable: &str) {
        self.settings.retain(|(name, _)| name != variable);
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.running.as_mut().is_none_or(Running::has_ended)
    }

    /// Starts it (again) on its port and waits until it listens.
    ///
    /// # Errors
    /// It does not; says what it printed.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_file())?;
        let mut running = Running::start_with_log(bear_full_disks(&self.command("run")?).stdin(Stdio::null()), log)?;
        while let Some(line) = running.next_line(DEADLINE) {
            if line.contains("listening on") {
                self.running = Some(running);
                return Ok(());
            }
        }
        let outcome = running.end(Duration::from_secs(5))?;
        bail!("the server does not listen (exit code {}): {}{}", outcome.code, outcome.stdout, self.log())
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Its process, while it runs.
    pub fn process(&self) -> Option<&Running> {
        self.running.as_ref()
    }

    /// Leaves its folder and its log where they are when it is dropped; returns where.
    pub fn keep(&mut self) -> PathBuf {
        self.place.disable_cleanup(true);
        self.place.path().to_owned()
    }

    /// Its process.
    ///
    /// # Errors
    /// It does not run.
    pub fn id(&self) -> Result<i32> {
        self.running.as_ref().context("it does not run")?.id()
    }

    /// SIGHUP, and does not wait.
    ///
    /// # Errors
    /// It does not run.
    pub fn hang_up(&self) -> Result<()> {
        self.running.as_ref().context("it does not run")?.hang_up()
    }

    /// SIGTERM, and waits until it has drained.
    ///
    /// # Errors
    /// It does not end, or not with exit code 0.
    pub fn stop(&mut self) -> Result<()> {
        let running = self.running.take().context("it does not run")?;
        running.terminate()?;
        running.end(DEADLINE)?.expect_code(0).map(drop)
    }

    /// Changes the database while the server does not run, by SQL that all databases know.
    ///
    /// # Errors
    /// It runs, or the statement is wrong.
    pub fn execute(&self, statement: &str) -> Result<()> {
        ensure!(self.running.is_none(), "the server runs");
        match &self.schema {
            Some(schema) => schema.execute(statement.as_bytes()),
            None => Ok(rusqlite::Connection::open(self.database_file())?.execute_batch(statement)?),
        }
    }

    /// All that the database holds, while the server does not run.
    ///
    /// # Errors
    /// It runs, or cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot> {
        ensure!(self.running.is_none(), "the server runs");
        Ok(Snapshot(match &self.schema {
            Some(schema) => schema.dump()?,
            None => fs::read(self.database_file())?,
        }))
    }

    /// Puts a copy of the database back, as an operator does without telling the server.
    ///
    /// # Errors
    /// The server runs, or the database cannot be written.
    pub fn put_back(&self, snapshot: &Snapshot) -> Result<()> {
        ensure!(self.running.is_none(), "the server runs");
        match &self.schema {
            Some(schema) => schema.execute(&snapshot.0),
            None => Ok(fs::write(self.database_file(), &snapshot.0)?),
        }
    }

    /// The file of an embedded database.
    pub fn database_file(&self) -> PathBuf {
        self.folder().join("waxwing.db")
    }

    /// Waits until it has logged a line that contains this.
    ///
    /// # Errors
    /// It does not, before the deadline.
    pub fn wait_for_log(&self, part: &str) -> Result<()> {
        let begun = std::time::Instant::now();
        while !self.log().contains(part) {
            ensure!(begun.elapsed() < DEADLINE, "the log never says {part:?}: {}", self.log());
            std::thread::yield_now();
        }
        Ok(())
    }

    /// The link for sign-up and login.
    pub fn link(&self) -> &str {
        self.announced["link"].as_str().unwrap_or_default()
    }

    /// What `waxwing-setup init --json` printed.
    pub fn announced(&self) -> &Value {
        &self.announced
    }

    /// Where its database server listens on 127.0.0.1.
    ///
    /// # Errors
    /// Its database is embedded.
    pub fn database_port(&self) -> Result<u16> {
        Ok(self.schema.as_ref().context("the database is embedded")?.port().parse()?)
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its folder.
    pub fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// The file with its password.
    pub fn password_file(&self) -> PathBuf {
        self.place.path().join("password")
    }

    fn log_file(&self) -> PathBuf {
        self.place.path().join("log")
    }

    /// All that it has logged, over all its lives.
    pub fn log(&self) -> String {
        fs::read(self.log_file()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// All bytes that the server keeps: its folder and its schema.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn stored(&self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        for file in files(&self.folder())? {
            all.extend(fs::read(&file).with_context(|| file.display().to_string())?);
        }
        if let Some(schema) = &self.schema {
            all.extend(schema.dump()?);
        }
        ensure!(!all.is_empty(), "the server keeps nothing at all");
        Ok(all)
    }
}

/// A command without any variable of ours or of the desktop.
pub(crate) fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("TERM", "dumb");
    command
}

/// All files below a folder.
///
/// # Errors
/// It cannot be read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => found.extend(files(&entry.path())?),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    Ok(found)
}

/// A port of 127.0.0.1 on which nobody listens.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
