//! What packages rely on: how the server speaks with a service manager, the unit's sandbox, completions and manual pages.

use anyhow::{Context, Result, ensure};
use std::{fs, os::unix::net::UnixDatagram, path::Path, process::Command};
use waxwing_tests::{DEADLINE, Database, Server, program, run_with_deadline};

#[test]
fn the_service_manager_hears_that_it_is_ready_alive_and_ending() -> Result<()> {
    let place = tempfile::tempdir()?;
    let path = place.path().join("notify");
    let manager = UnixDatagram::bind(&path)?;
    manager.set_read_timeout(Some(DEADLINE))?;
    let hear = || -> Result<String> {
        let mut buffer = [0; 256];
        let length = manager.recv(&mut buffer)?;
        Ok(String::from_utf8(buffer[..length].to_vec())?.trim().to_owned())
    };
    let mut server = Server::set_up(Database::Sqlite, "open")?;
    server.set("NOTIFY_SOCKET", path.display());
    server.set("WATCHDOG_USEC", 20_000);
    server.restart()?;
    assert_eq!(hear()?, "READY=1");
    for _ in 0..3 {
        assert_eq!(hear()?, "WATCHDOG=1");
    }
    server.stop()?;
    // Beats that were on their way come first.
    let mut last = hear()?;
    while last == "WATCHDOG=1" {
        last = hear()?;
    }
    assert_eq!(last, "STOPPING=1");
    Ok(())
}

/// Measured where systemd is installed.
#[test]
fn the_units_sandbox_is_tight() -> Result<()> {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../setup/packaging/waxwing-server.service");
    let mut analyze = Command::new("systemd-analyze");
    // Fails if the exposure is above 2.0.
    analyze.args(["security", "--offline=true", "--no-pager", "--threshold=20", unit]);
    match analyze.output() {
        Ok(measured) => ensure!(measured.status.success(), "{}", String::from_utf8_lossy(&measured.stdout)),
        Err(_) => ensure!(Path::new(unit).exists(), "there is no unit"),
    }
    // The server reads /proc/meminfo, to take no new accounts while memory is low.
    ensure!(!fs::read_to_string(unit)?.lines().any(|line| line == "ProcSubset=pid"));
    Ok(())
}

/// The commands that a program's help names.
fn commands(name: &str) -> Result<Vec<String>> {
    let help = run_with_deadline(Command::new(program(name)?).arg("--help"), DEADLINE)?.expect_code(0)?.stdout;
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    Ok(names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect())
}

#[test]
fn completions_and_manual_pages_name_every_command() -> Result<()> {
    let place = tempfile::tempdir()?;
    for (name, known) in [("waxwing", "history"), ("waxwing-server", "rotate-key"), ("waxwing-setup", "init")] {
        let run = |arguments: &[&str]| run_with_deadline(Command::new(program(name)?).args(arguments), DEADLINE);
        let commands = commands(name)?;
        ensure!(commands.iter().any(|command| command == known), "{name}: {commands:?}");
        for shell in ["bash", "zsh", "fish"] {
            let text = run(&["completions", shell])?.expect_code(0)?.stdout;
            let missing = commands.iter().find(|command| !text.contains(*command));
            ensure!(missing.is_none(), "{shell} does not complete {name} {missing:?}");
            let file = place.path().join(shell);
            fs::write(&file, text)?;
            // Shells that are not installed are passed over; bash is everywhere.
            match Command::new(shell).arg("-n").arg(&file).output() {
                Ok(parsed) => ensure!(parsed.status.success(), "{name}: {}", String::from_utf8_lossy(&parsed.stderr)),
                Err(error) => ensure!(shell != "bash", "bash: {error}"),
            }
        }
        let page = run(&["man"])?.expect_code(0)?.stdout;
        let hidden = format!("{}\\-server(1)", name.replace('-', "\\-"));
        ensure!(!page.contains(&hidden), "a hidden command has a page");
        let pages = place.path().join(format!("{name}.pages"));
        fs::create_dir(&pages)?;
        run(&["man", "--to", pages.to_str().context("not UTF-8")?])?.expect_code(0)?;
        for command in commands {
            ensure!(page.contains(&command.replace('-', "\\-")), "the page of {name} does not name {command}");
            let own = run(&["man", &command])?.expect_code(0)?.stdout;
            ensure!(own.contains(".SH SYNOPSIS"), "{own}");
            assert_eq!(fs::read_to_string(pages.join(format!("{name}-{command}.1")))?, own);
        }
        let unknown = run(&["man", "fly"])?.expect_code(1)?;
        ensure!(
            unknown.stderr.contains("there is no command \"fly\"") && unknown.stderr.contains(known),
            "{unknown:?}"
        );
    }
    Ok(())
}
