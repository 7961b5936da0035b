//! Where a load goes: a private server that this program sets up and starts, or one that a link names.
//!
//! A private server is set up as `waxwing-setup init` does it, in a folder that goes with it; what its users may do is not
//! limited, and nothing else differs from the usual configuration.

use crate::{
    failure::{Failure, Kind},
    floor,
    process::Process,
    progress,
    wire::{Account, Device, Endpoint},
};
use anyhow::{Context as _, Result};
use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
    task::JoinSet,
};
use waxwing_protocol::{KdfParameters, Link};
use waxwing_server::{
    install::{
        Config, Folder, Installation, SignUp,
        database::{self as server_database, NobodyListens},
    },
    store::{NewAccount, SealedVault, SignUpOutcome},
};
use waxwing_setup::{
    apply::{Applying, Step},
    plan::{Answers, Plan, database},
};
use zeroize::Zeroizing;

/// What is said of the server in a command.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Where {
    /// Measure this server instead of a private one. Accounts are made there; its limits hold.
    #[arg(long, value_name = "LINK", conflicts_with_all = ["database", "server_program"])]
    pub(crate) server: Option<String>,
    /// The private server's database: `sqlite`, or `mysql://user:password@host:port/schema` with a schema that is empty.
    #[arg(long, value_name = "URL", default_value = "sqlite", hide_default_value = false)]
    pub(crate) database: String,
    /// The program of the private server [default: waxwing-server beside this program].
    #[arg(long, value_name = "FILE")]
    pub(crate) server_program: Option<PathBuf>,
    /// Where databases go while it is measured: the disk of this folder counts [default: the system's temporary folder].
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// A server that is ready for a load.
pub(crate) struct Place {
    pub(crate) link: Link,
    pub(crate) endpoint: Endpoint,
    /// Accounts that were there before it began.
    pub(crate) accounts: Vec<Account>,
    private: Option<Private>,
    /// Where the private server tells its numbers.
    health: Option<SocketAddr>,
}

/// A server of our own. Dropping it kills it and deletes all that it has.
struct Private {
    child: Child,
    _root: TempDir,
}

/// Servers of our own that share a database. Dropping them kills them; the schema stays.
pub(crate) struct Nodes {
    pub(crate) link: Link,
    pub(crate) endpoints: Vec<Endpoint>,
    children: Vec<Child>,
    _root: TempDir,
}

impl Where {
    /// The folder for databases.
    pub(crate) fn folder(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// `sqlite`, `mysql` or `unknown`, for reports.
    pub(crate) fn database(&self) -> &'static str {
        match (&self.server, self.database.as_str()) {
            (Some(_), _) => "unknown",
            (None, "sqlite") => "sqlite",
            (None, _) => "mysql",
        }
    }

    /// The floors of a server that is like this one; the one that counts last.
    pub(crate) fn floors(&self) -> [floor::Kind; 2] {
        let stored = if self.database() == "mysql" { floor::Kind::Mysql } else { floor::Kind::Sqlite };
        [floor::Kind::Tls, stored]
    }

    /// Sets the private server up and starts it, or looks where the link leads.
    pub(crate) async fn prepare(&self) -> Result<Place> {
        self.prepare_with(0).await
    }

    /// The same; a private server has so many accounts from the beginning. They were not signed up,
    /// which would take two Argon2id each, but written into the database.
    pub(crate) async fn prepare_with(&self, accounts: usize) -> Result<Place> {
        match &self.server {
            Some(link) => {
                let wrong = |error| Failure::user(format!("--server is no link: {error}"), "copy it whole, in quotes");
                let link: Link = link.parse().map_err(wrong)?;
                let endpoint = Endpoint::of(&link).await?;
                Ok(Place { endpoint, link, accounts: Vec::new(), private: None, health: None })
            }
            None => {
                let (private, link, accounts, health) = self.start(accounts).await?;
                let endpoint = Endpoint::of(&link).await?;
                Ok(Place { endpoint, link, accounts, private: Some(private), health: Some(health) })
            }
        }
    }

    async fn start(&self, accounts: usize) -> Result<(Private, Link, Vec<Account>, SocketAddr)> {
        let program = self.program()?;
        let root = self.root()?;
        let (link, accounts, health) = set_up(root.path(), &self.database, &[], accounts).await?;
        let child = run(&program, root.path(), "server").await?;
        Ok((Private { child, _root: root }, link, accounts, health))
    }

    /// Sets so many nodes up and starts them, on a schema of their own: that of `--database`, with their number behind it.
    /// Returns the database's URL, too.
    pub(crate) async fn nodes(&self, count: usize, nats: &str) -> Result<(Nodes, String)> {
        if self.database() != "mysql" {
            let next = "name one with --database mysql://user:password@host:port/schema";
            return Err(Failure::user("only a MySQL database can be shared", next));
        }
        let (program, root) = (self.program()?, self.root()?);
        let url = format!("{}_{count}", self.database);
        let wrong = |wrong: waxwing_setup::plan::WrongAnswer| Failure::user(wrong.reason, wrong.next);
        let nats = waxwing_setup::plan::nats(nats).map_err(wrong)?;
        let (mut link, ..) = set_up(root.path(), &url, &nats, 0).await?;
        let mut children = vec![run(&program, root.path(), "server").await?];
        for number in 1..count {
            let name = format!("node-{number}");
            let listen = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr())?;
            let made = Command::new(beside("waxwing-setup")?)
                .args(["node", "--yes", "--json", "--listen", &listen.to_string(), "--from"])
                .arg(root.path().join("server"))
                .arg("--dir")
                .arg(root.path().join(&name))
                .arg("--server-password-file")
                .arg(root.path().join("password"))
                .stdin(Stdio::null())
                .output()
                .await?;
            if !made.status.success() {
                let message = format!("a node was not made: {}", String::from_utf8_lossy(&made.stderr).trim());
                return Err(Failure::error(Kind::Unexpected, message, "try `waxwing-setup node` by hand"));
            }
            link.addresses.push(waxwing_protocol::Address { host: listen.ip().to_string(), port: listen.port() });
            children.push(run(&program, root.path(), &name).await?);
        }
        let mut endpoints = Vec::new();
        for address in &link.addresses {
            endpoints.push(Endpoint::of(&Link { addresses: vec![address.clone()], ..link.clone() }).await?);
        }
        Ok((Nodes { link, endpoints, children, _root: root }, url))
    }

    fn root(&self) -> Result<TempDir> {
        let folder = self.folder();
        let made = tempfile::Builder::new().prefix("waxwing-bench-").tempdir_in(&folder);
        made.map_err(|error| {
            let message = format!("no folder can be made in {}: {error}", folder.display());
            Failure::user(message, "name another with --dir")
        })
    }

    fn program(&self) -> Result<PathBuf> {
        let Some(path) = &self.server_program else { return beside("waxwing-server") };
        match path.is_file() {
            true => Ok(path.clone()),
            false => Err(missing(path, "name another with --server-program")),
        }
    }
}

/// A program in the folder of this one.
fn beside(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    match path.is_file() {
        true => Ok(path),
        false => Err(missing(&path, "build it with `cargo build --release --workspace --bins`")),
    }
}

fn missing(path: &Path, next: &str) -> anyhow::Error {
    Failure::user(format!("there is no {}", path.display()), next)
}

/// Starts the server in a folder below `root`; done when it listens.
async fn run(program: &Path, root: &Path, name: &str) -> Result<Child> {
    let log_file = root.join(format!("{name}.log"));
    let mut child = Command::new(program)
        .args(["run", "--dir"])
        .arg(root.join(name))
        .arg("--password-file")
        .arg(root.join("password"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&log_file)?)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    let mut lines = BufReader::new(child.stdout.take().context("the server's output")?).lines();
    if lines.next_line().await?.is_none() {
        let log = std::fs::read_to_string(log_file).unwrap_or_default();
        let message = format!("the server did not start: {}", log.trim());
        return Err(Failure::error(Kind::Unexpected, message, "try `waxwing-server check`"));
    }
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(child)
}

/// Sets a server up in `root`, with so many accounts; returns its link, them, and where it tells its numbers.
async fn set_up(root: &Path, url: &str, nats: &[String], accounts: usize) -> Result<(Link, Vec<Account>, SocketAddr)> {
    let wrong = |wrong: waxwing_setup::plan::WrongAnswer| Failure::user(wrong.reason, wrong.next);
    let (mysql, database_password) = database(url).map_err(wrong)?;
    let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let (listen, health) = (free()?, free()?);
    let sign_up = Some(SignUp::Open);
    let nats = nats.to_vec();
    let answers = Answers { database: Some(mysql), listen: Some(listen), sign_up, nats, ..Answers::default() };
    let mut config = answers.config().map_err(wrong)?;
    lift(&mut config);
    // Nodes are made from one configuration, and cannot share a port.
    config.health = config.cluster.nats.is_empty().then_some(health);
    let server_password = Zeroizing::new(waxwing_server::relay::new_invite_code()?);
    std::fs::write(root.join("password"), server_password.as_bytes())?;
    let folder = Folder::new(root.join("server"));
    let plan = Plan {
        folder: folder.clone(),
        config: config.clone(),
        config_found: false,
        server_password: server_password.clone(),
        database_password,
        sign_up_secret: None,
        secrets: None,
    };
    let mut applying = Applying::new(plan);
    let failed = |failure: waxwing_server::cli::Failure| Failure::user(failure.message, failure.next);
    for step in Step::ALL {
        applying.step(step).await.map_err(failed)?;
    }
    let link = applying.finished().map_err(failed)?.link;
    // Its lock on the folder goes with it.
    drop(applying);
    if accounts == 0 {
        return Ok((link, Vec::new(), health));
    }
    let installation = Installation::open(folder, config, &server_password)?;
    Ok((link, seed(&installation, accounts).await?, health))
}

/// Writes accounts with one device each into the database of a server that does not run.
async fn seed(installation: &Installation, count: usize) -> Result<Vec<Account>> {
    let Installation { folder, config, secrets, .. } = installation;
    let password = secrets.database_password.as_deref();
    let store = server_database::open(folder, config, password, Arc::new(NobodyListens)).await?;
    let new = |index| anyhow::Ok(Account { username: format!("bench-{index}").parse()?, device: Device::random()? });
    let accounts = (0..count).map(new).collect::<Result<Vec<_>>>()?;
    let bar = progress::bar("making accounts", count as u64);
    let mut writing = JoinSet::new();
    for account in &accounts {
        // As many as share a transaction.
        if writing.len() >= 512 {
            written(&mut writing, &bar).await?;
        }
        let account = row(account);
        let store = Arc::clone(&store);
        writing.spawn(async move { store.create_account(account).await });
    }
    while !writing.is_empty() {
        written(&mut writing, &bar).await?;
    }
    store.close().await;
    bar.finish_and_clear();
    Ok(accounts)
}

type Writing = JoinSet<Result<SignUpOutcome, waxwing_server::store::StoreError>>;

async fn written(writing: &mut Writing, bar: &indicatif::ProgressBar) -> Result<()> {
    if let Some(one) = writing.join_next().await {
        one??;
        bar.inc(1);
    }
    Ok(())
}

/// An account that nobody can log in to by a password.
fn row(account: &Account) -> NewAccount {
    NewAccount {
        username: account.username.clone(),
        full_name: None,
        email: None,
        kdf: KdfParameters { salt: vec![9; 16].into(), memory_kib: 65536, iterations: 3, parallelism: 4 },
        password_hash: vec![0; 128],
        recovery_hash: vec![0; 128],
        sealed: SealedVault { vault: vec![0; 428], password_wrap: vec![0; 88], recovery_wrap: vec![0; 88] },
        identity_key: vec![0; 400],
        backup_key: vec![0; 400],
        device_list: vec![0; 600],
        device: account.device.record(),
        invite: None,
        now_ms: 1,
    }
}

/// Lets everybody do as much as they like.
fn lift(config: &mut Config) {
    let limits = &mut config.policy.limits;
    for limit in [
        &mut limits.sign_ups,
        &mut limits.login_failures,
        &mut limits.account_login_failures,
        &mut limits.probes,
        &mut limits.tunnels,
        &mut limits.look_ups,
        &mut limits.key_packages,
        &mut limits.key_packages_of_one,
        &mut limits.messages,
        &mut limits.upload_kib,
    ] {
        *limit = None;
    }
    config.policy.room_disk_mib = 0;
    config.policy.room_memory_mib = 0;
    config.max_connections = 100_000;
}

impl Nodes {
    /// Their processes.
    pub(crate) fn processes(&self) -> Vec<Process> {
        self.children.iter().filter_map(Child::id).map(Process).collect()
    }
}

impl Place {
    /// How many requests the private server has refused with this code so far; 0 of another server.
    pub(crate) async fn refusals(&self, code: &str) -> Result<u64> {
        let Some(health) = self.health else { return Ok(0) };
        let mut stream = TcpStream::connect(health).await?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let name = format!("waxwing_refusals_total{{code=\"{code}\"}} ");
        Ok(answer.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse().ok()).unwrap_or(0))
    }

    /// The server's process, if it is ours.
    pub(crate) fn process(&self) -> Option<Process> {
        self.private.as_ref().and_then(|private| private.child.id()).map(Process)
    }
}
