//! The `waxwing-server` program as its operator meets it: starting, stopping, and each way of refusing to start.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};
use tempfile::TempDir;
use waxwing_server::install::{Config, Folder, Secrets, SignUp, database, seal};

struct Place {
    root: TempDir,
}

impl Place {
    /// A folder that is set up and listens on a free port.
    fn new() -> Self {
        let place = Self { root: tempfile::tempdir().unwrap() };
        fs::write(place.path("password"), "correct horse battery\n").unwrap();
        fs::write(place.path("wrong"), "incorrect horse battery\n").unwrap();
        let folder = place.folder();
        folder.create().unwrap();
        let sealed = seal(&Secrets::generate().unwrap(), "correct horse battery").unwrap();
        folder.write(&folder.sealed(), &sealed).unwrap();
        let config = Config { listen: "127.0.0.1:0".parse().unwrap(), sign_up: SignUp::Open, ..Config::default() };
        folder.write(&folder.config(), config.render().as_bytes()).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(database::migrate(&folder, &config, None)).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn folder(&self) -> Folder {
        Folder::new(self.path("server"))
    }

    fn command(&self, name: &str, password: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waxwing-server"));
        command.env_clear().stdin(Stdio::null()).arg(name).arg("--dir").arg(self.path("server"));
        command.arg("--password-file").arg(self.path(password));
        command
    }

    /// Runs a command that is to be refused with this status and code, alike for people and scripts.
    fn refused(&self, name: &str, flags: &[&str], password: &str, status: i32, code: &str) -> String {
        let people = self.command(name, password).args(flags).output().unwrap();
        let told = String::from_utf8(people.stderr).unwrap();
        assert_eq!(people.status.code(), Some(status), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(told.contains("Next: "), "{told}");
        let scripts = self.command(name, password).args(flags).arg("--json").output().unwrap();
        assert_eq!(scripts.status.code(), Some(status));
        let error: serde_json::Value = serde_json::from_slice(&scripts.stderr).unwrap();
        assert_eq!(error["error"]["code"], code, "{error}");
        told
    }

    fn check(&self, flags: &[&str], password: &str) -> (Output, serde_json::Value) {
        let output = self.command("check", password).args(flags).arg("--json").output().unwrap();
        let report = serde_json::from_slice(&output.stdout).unwrap();
        (output, report)
    }
}

struct Running {
    child: Child,
    address: String,
}

impl Running {
    fn start(place: &Place) -> Self {
        let mut child = place.command("run", "password").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("waxwing-server listening on ").unwrap_or_else(|| panic!("{line:?}"));
        Self { child, address: address.to_owned() }
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn failed(report: &serde_json::Value) -> Vec<(&str, &str)> {
    let checks = report["checks"].as_array().unwrap().iter();
    let failed = checks.filter(|check| check["result"] == "failed");
    failed.map(|check| (check["name"].as_str().unwrap(), check["code"].as_str().unwrap())).collect()
}

#[test]
fn it_says_where_it_listens_and_ends_in_order_on_both_signals() {
    let place = Place::new();
    for signal in ["-TERM", "-INT"] {
        let mut server = Running::start(&place);
        std::net::TcpStream::connect(&server.address).unwrap();
        server.signal(signal);
        assert_eq!(server.child.wait().unwrap().code(), Some(0), "{signal}");
    }
}

#[test]
fn a_second_process_is_told_of_the_first() {
    let place = Place::new();
    let server = Running::start(&place);
    let told = place.refused("run", &[], "password", 1, "locked");
    assert!(told.contains(&server.child.id().to_string()), "{told}");
    let (output, report) = place.check(&[], "password");
    assert!(output.status.success(), "{report}");
}

#[test]
fn a_folder_in_order_passes_the_check_and_stays_as_it_is() {
    let place = Place::new();
    let before = fs::read(place.folder().sealed()).unwrap();
    let (output, report) = place.check(&[], "password");
    assert!(output.status.success() && report["ok"] == true, "{report}");
    let names: Vec<_> = report["checks"].as_array().unwrap().iter().map(|check| check["name"].clone()).collect();
    assert_eq!(names, ["folder", "configuration", "password", "identity", "attachments", "database", "port"]);
    assert_eq!(fs::read(place.folder().sealed()).unwrap(), before);
}

#[test]
fn each_fault_is_named_with_a_next_step() {
    let place = Place::new();
    place.refused("run", &[], "wrong", 1, "wrong-password");
    assert_eq!(failed(&place.check(&[], "wrong").1), [("password", "wrong-password")]);
    place.refused("run", &[], "missing", 1, "password-file");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    place.refused("run", &["--listen", &address], "password", 1, "port-taken");
    let (output, report) = place.check(&["--listen", &address], "password");
    assert_eq!((output.status.code(), failed(&report)), (Some(1), vec![("port", "port-taken")]));
    place.refused("run", &["--listen", "nowhere"], "password", 1, "usage");
    place.refused("run", &["--log-level", "loud"], "password", 1, "usage");

    fs::set_permissions(place.folder().sealed(), fs::Permissions::from_mode(0o644)).unwrap();
    let told = place.refused("run", &[], "password", 1, "exposed");
    assert!(told.contains("chmod 600"), "{told}");
    fs::set_permissions(place.folder().sealed(), fs::Permissions::from_mode(0o600)).unwrap();

    let config = place.folder().config();
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, good.replace("sign_up =", "sign_upp =")).unwrap();
    let line = 1 + good.lines().position(|line| line.starts_with("sign_up =")).unwrap();
    let told = place.refused("run", &[], "password", 1, "bad-configuration");
    assert!(told.contains(&format!("config.toml, line {line}: ")), "{told}");
    fs::write(&config, &good).unwrap();

    let mut sealed = fs::read(place.folder().sealed()).unwrap();
    *sealed.last_mut().unwrap() ^= 1;
    fs::write(place.folder().sealed(), sealed).unwrap();
    place.refused("run", &[], "password", 1, "damaged");
    fs::remove_file(place.folder().sealed()).unwrap();
    let told = place.refused("run", &[], "password", 1, "incomplete");
    assert!(told.contains("waxwing-setup init --dir"), "{told}");
}

#[test]
fn newer_missing_and_damaged_tables_are_told_apart() {
    let place = Place::new();
    let database = place.folder().database();
    let set = |version: i64| {
        let connection = rusqlite::Connection::open(&database).unwrap();
        connection.pragma_update(None, "user_version", version).unwrap();
    };
    set(99);
    place.refused("run", &[], "password", 1, "schema-newer");
    place.refused("migrate", &[], "password", 1, "schema-newer");
    assert_eq!(failed(&place.check(&[], "password").1), [("database", "schema-newer")]);
    fs::write(&database, "no database").unwrap();
    remove(&database, &["-wal", "-shm"]);
    place.refused("run", &[], "password", 1, "damaged");
    remove(&database, &[""]);
    place.refused("run", &[], "password", 1, "schema-unmigrated");
    assert!(!database.exists(), "run made a database");
}

fn remove(path: &Path, suffixes: &[&str]) {
    for suffix in suffixes {
        let _ = fs::remove_file(format!("{}{suffix}", path.display()));
    }
}

#[test]
fn a_database_that_is_gone_ends_in_3() {
    let place = Place::new();
    let gone =
        [("WAXWING_DATABASE_KIND", "mysql"), ("WAXWING_DATABASE_HOST", "127.0.0.1"), ("WAXWING_DATABASE_PORT", "1")];
    let refused = place.command("run", "password").envs(gone).output().unwrap();
    assert_eq!(refused.status.code(), Some(3), "{}", String::from_utf8_lossy(&refused.stderr));
    assert_eq!(place.command("check", "password").envs(gone).output().unwrap().status.code(), Some(1));
}

#[test]
fn usage_errors_end_in_1_and_help_in_0() {
    let program = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_waxwing-server")).args(arguments).env_clear().output().unwrap();
        output.status.code().unwrap()
    };
    assert_eq!([program(&["--help"]), program(&["run", "--help"]), program(&["--version"])], [0, 0, 0]);
    assert_eq!([program(&["run", "--no-such"]), program(&["dance"]), program(&[])], [1, 1, 1]);
    assert_eq!(program(&["run", "--dir", "/nonexistent/folder"]), 1);
}

#[test]
fn an_invite_is_a_link_that_works_once() {
    let place = Place::new();
    place.refused("invite", &[], "password", 1, "no-invite-needed");
    let open = fs::read_to_string(place.folder().config()).unwrap();
    let by_invite = open.replace("sign_up = \"open\"", "sign_up = \"invite\"");
    assert_ne!(by_invite, open);
    fs::write(place.folder().config(), by_invite).unwrap();
    let made = place.command("invite", "password").env("WAXWING_PUBLIC", "chat.example.org").output().unwrap();
    let link: waxwing_protocol::Link = String::from_utf8(made.stdout).unwrap().trim().parse().unwrap();
    let code = link.invite.unwrap();
    let connection = rusqlite::Connection::open(place.folder().database()).unwrap();
    let hash = waxwing_server::relay::invite_hash(&code);
    let uses: i64 = connection
        .query_row("SELECT uses_left FROM invite WHERE code_hash = ?1", [hash.as_slice()], |row| row.get(0))
        .unwrap();
    assert_eq!(uses, 1);
}
