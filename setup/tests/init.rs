//! Setting up with the real programs: what is made, that a second run changes nothing, and that a killed one is completed.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;
use waxwing_server::install::Folder;
use waxwing_setup::{
    apply::{Applying, Step},
    plan::{Answers, Plan},
};
use zeroize::Zeroizing;

const PASSWORD: &str = "correct horse battery";

struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("password"), format!("{PASSWORD}\n")).unwrap();
        fs::write(root.path().join("wrong"), "incorrect horse battery\n").unwrap();
        fs::write(root.path().join("short"), "short\n").unwrap();
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn folder(&self) -> Folder {
        Folder::new(self.path("server"))
    }

    fn init(&self, flags: &[&str]) -> Output {
        let mut command = bare(env!("CARGO_BIN_EXE_waxwing-setup"));
        command.args(["init", "--yes"]).arg("--dir").arg(self.path("server"));
        if !flags.contains(&"--server-password-file") {
            command.arg("--server-password-file").arg(self.path("password"));
        }
        command.args(flags).output().unwrap()
    }

    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(self.path("server")).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
    }

    fn plan(&self, flags: Answers) -> Plan {
        Plan {
            folder: self.folder(),
            config: flags.config().unwrap(),
            config_found: false,
            server_password: Zeroizing::new(PASSWORD.into()),
            database_password: None,
            sign_up_secret: None,
            secrets: None,
        }
    }
}

/// A command without the environment of whoever runs the tests.
fn bare(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
    command
}

fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn init_prints_the_link_and_a_second_run_changes_nothing() {
    let place = Place::new();
    let first = place.init(&["--json", "--listen", "127.0.0.1:0"]);
    assert!(first.status.success(), "{}", text(&first.stderr));
    let told = json(&first.stdout);
    let link = told["link"].as_str().unwrap();
    assert_eq!(fs::read_to_string(place.path("server/link.txt")).unwrap().trim(), link);
    assert!(link.ends_with(told["pin"].as_str().unwrap()) && !link.contains(":0/"), "{link}");
    assert_eq!(told["dir"], place.path("server").to_str().unwrap());
    assert!(told.get("invite_link").is_none());

    let before = place.files();
    let second = place.init(&["--json", "--listen", "127.0.0.1:0", "--server-password-file", "/nowhere"]);
    assert!(second.status.success(), "{}", text(&second.stderr));
    assert_eq!(json(&second.stdout), told);
    assert!(place.files() == before, "a file changed");
    let people = place.init(&[]);
    assert!(people.status.success() && text(&people.stdout).contains("already set up"));
    assert!(text(&people.stdout).contains(link));
}

#[test]
fn an_invite_comes_with_the_policy_and_stays_the_same() {
    let place = Place::new();
    let first = place.init(&["--json", "--signup", "invite"]);
    let told = json(&first.stdout);
    let (link, invite) = (told["link"].as_str().unwrap(), told["invite_link"].as_str().unwrap());
    assert!(invite.starts_with(&format!("{link}?invite=")), "{invite}");
    assert_eq!(json(&place.init(&["--json"]).stdout), told);
}

#[test]
fn a_set_up_killed_after_any_step_is_completed_with_the_same_key() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for steps in 0..Step::ALL.len() {
        let place = Place::new();
        let answers = Answers { sign_up: Some(waxwing_server::install::SignUp::Invite), ..Answers::default() };
        let mut applying = Applying::new(place.plan(answers));
        for step in &Step::ALL[..steps] {
            runtime.block_on(applying.step(*step)).unwrap();
        }
        drop(applying);
        // And in the middle of writing the next file.
        if steps > 1 {
            for name in ["secrets.sealed.new", "config.toml.new", "link.txt.new"] {
                fs::write(place.path("server").join(name), "half a fi").unwrap();
            }
        }
        let before = fs::read(place.folder().sealed()).ok();
        let wrong = place.path("wrong").display().to_string();
        if before.is_some() {
            let refused = place.init(&["--json", "--signup", "invite", "--server-password-file", &wrong]);
            assert_eq!(refused.status.code(), Some(1));
            assert_eq!(json(&refused.stderr)["error"]["code"], "wrong-password");
        }
        let rerun = place.init(&["--json", "--signup", "invite"]);
        assert!(rerun.status.success(), "after {steps} steps: {}", text(&rerun.stderr));
        assert!(json(&rerun.stdout)["invite_link"].is_string());
        if let Some(before) = before {
            assert!(fs::read(place.folder().sealed()).unwrap() == before, "after {steps} steps the keys changed");
        }
    }
}

#[test]
fn lost_keys_are_not_replaced_by_new_ones() {
    let place = Place::new();
    assert!(place.init(&[]).status.success());
    fs::remove_file(place.folder().sealed()).unwrap();
    let refused = place.init(&["--json"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(json(&refused.stderr)["error"]["code"], "keys-missing");
    assert!(!place.folder().sealed().exists());
}

#[test]
fn nothing_is_open_to_others_under_umask_000() {
    let place = Place::new();
    let line = "umask 000; exec \"$0\" init --yes --dir \"$1\" --server-password-file \"$2\" --signup invite";
    let setup = env!("CARGO_BIN_EXE_waxwing-setup");
    let (server, password) = (place.path("server"), place.path("password"));
    let done = bare("sh").args(["-c", line, setup]).arg(&server).arg(password).output().unwrap();
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(mode(&server), 0o700);
    for path in place.files().keys() {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
}

#[test]
fn wrong_values_end_in_1_with_a_reason_and_change_nothing() {
    let place = Place::new();
    let short = place.path("short").display().to_string();
    let cases: &[(&[&str], &str)] = &[
        (&["--listen", "chat"], "is not an IP address with a port"),
        (&["--listen", "0.0.0.0:7443"], "--public"),
        (&["--listen", "203.0.113.3:7443", "--signup", "open"], "--yes-open-to-the-world"),
        (&["--listen", "0.0.0.0:1", "--public", "a b"], "is not a host name"),
        (&["--database", "oracle"], "neither sqlite nor"),
        (&["--database", "mysql://u:hunter2@127.0.0.1:1"], "names no database"),
        (&["--signup", "everyone"], "is not one of: invite, open, secret, closed"),
        (&["--signup", "secret"], "--signup-secret-file"),
        (&["--server-password-file", "/nowhere"], "/nowhere"),
        (&["--server-password-file", &short], "at least 10"),
        (&["--no-such-flag"], "--no-such-flag"),
    ];
    for (flags, reason) in cases {
        let refused = place.init(flags);
        assert_eq!(refused.status.code(), Some(1), "{flags:?}");
        let told = text(&refused.stderr);
        assert!(told.contains(reason) && !told.contains("hunter2"), "{flags:?}: {told}");
        let refused = place.init(&[*flags, &["--json"]].concat());
        assert_eq!(refused.status.code(), Some(1), "{flags:?}");
        assert!(json(&refused.stderr)["error"]["message"].is_string());
        assert!(!place.path("server").exists(), "{flags:?}");
    }
}

#[test]
fn a_lost_database_is_to_be_restored_and_never_made_anew() {
    let place = Place::new();
    assert!(place.init(&["--json"]).status.success());
    let server = |command: &str| {
        let mut server = bare(env!("CARGO_BIN_EXE_waxwing-setup"));
        server.args(["server", command, "--json", "--dir"]).arg(place.path("server"));
        server.arg("--password-file").arg(place.path("password")).output().unwrap()
    };
    fs::remove_file(place.folder().database()).unwrap();
    for command in ["run", "migrate"] {
        let refused = server(command);
        assert_eq!(refused.status.code(), Some(1), "{command}: {}", text(&refused.stderr));
        let error = &json(&refused.stderr)["error"];
        assert!(error["message"].as_str().unwrap().contains("missing or empty"), "{command}: {error}");
        assert!(error["next"].as_str().unwrap().contains("backup"), "{command}: {error}");
        // The second time it is there, and empty.
        fs::write(place.folder().database(), "").unwrap();
        fs::set_permissions(place.folder().database(), fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert!(text(&server("check").stdout).contains("missing or empty"));
    assert_eq!(fs::metadata(place.folder().database()).unwrap().len(), 0);
}

#[test]
fn an_invite_is_refused_where_nobody_needs_one() {
    let place = Place::new();
    assert!(place.init(&["--json", "--signup", "open"]).status.success());
    let mut invite = bare(env!("CARGO_BIN_EXE_waxwing-setup"));
    invite.args(["server", "invite", "--json", "--dir"]).arg(place.path("server"));
    let refused = invite.arg("--password-file").arg(place.path("password")).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(json(&refused.stderr)["error"]["code"], "no-invite-needed");
}

#[test]
fn an_unreachable_database_ends_in_3_and_leaves_nothing() {
    let place = Place::new();
    let refused = place.init(&["--json", "--database", "mysql://u:hunter2@127.0.0.1:1/chat"]);
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused.stderr));
    assert_eq!(json(&refused.stderr)["error"]["code"], "database-unreachable");
    assert!(!text(&refused.stderr).contains("hunter2"));
    assert!(!place.path("server").exists());
}

#[test]
fn a_folder_with_other_peoples_things_is_left_alone() {
    let place = Place::new();
    fs::create_dir(place.path("server")).unwrap();
    fs::write(place.path("server/letter"), "dear").unwrap();
    fs::set_permissions(place.path("server"), fs::Permissions::from_mode(0o755)).unwrap();
    let refused = place.init(&["--json"]);
    assert_eq!((refused.status.code(), &json(&refused.stderr)["error"]["code"]), (Some(1), &"bad-folder".into()));
    assert_eq!((place.files().len(), mode(&place.path("server"))), (1, 0o755));
}

#[test]
fn every_flag_is_also_a_variable() {
    let place = Place::new();
    let done = bare(env!("CARGO_BIN_EXE_waxwing-setup"))
        .args(["init", "--json"])
        .env("WAXWING_DIR", place.path("server"))
        .env("WAXWING_YES", "1")
        .env("WAXWING_LISTEN", "0.0.0.0:9443")
        .env("WAXWING_PUBLIC", "chat.example.org")
        .env("WAXWING_SIGN_UP", "closed")
        .env("WAXWING_SERVER_PASSWORD_FILE", place.path("password"))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(json(&done.stdout)["link"].as_str().unwrap().starts_with("waxwing://chat.example.org:9443/#"));
}

#[test]
fn without_a_terminal_nothing_is_asked() {
    let alone = bare(env!("CARGO_BIN_EXE_waxwing-setup")).env("HOME", "/nonexistent").output().unwrap();
    assert_eq!(alone.status.code(), Some(1));
    assert!(text(&alone.stderr).contains("--yes"), "{}", text(&alone.stderr));
}
