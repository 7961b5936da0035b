//! Ten thousand connections that say nothing, or almost nothing: others do not notice, and the server gets rid of them.

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};
use waxwing_tests::{Database, Server, User, free_port, texts};

const SLOW: usize = 10_000;
/// The server gives a connection a minute to sign in.
const LATE: Duration = Duration::from_secs(90);

/// The server's resident memory, in KiB.
fn memory(server: &Server) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}

/// A number of `/metrics`.
fn metric(port: u16, name: &str) -> Result<u64> {
    let mut health = TcpStream::connect(("127.0.0.1", port))?;
    health.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    health.read_to_string(&mut text)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).context("no such number")?;
    Ok(line.trim().parse()?)
}

#[test]
fn ten_thousand_slow_connections_hold_up_nobody() -> Result<()> {
    // For this process and, inherited, for the server.
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files)?;
    let enough = files.current.is_none_or(|files| files > SLOW as u64 + 1000);
    ensure!(enough, "this system does not allow that many open files");

    let (mut server, health) = (Server::set_up(Database::Sqlite, "open")?, free_port()?);
    server.set("WAXWING_MAX_CONNECTIONS", 2 * SLOW);
    server.set("WAXWING_HEALTH_LISTEN", format!("127.0.0.1:{health}"));
    server.restart()?;
    let (alice, bob) = (User::sign_up(server.link(), "alice")?, User::sign_up(server.link(), "bob")?);
    alice.send("bob", "before")?;
    let before = memory(&server)?;

    let mut slow = Vec::with_capacity(SLOW);
    for number in 0..SLOW {
        let mut connection = TcpStream::connect(("127.0.0.1", server.port()))?;
        // Every other one begins a TLS hello of 16 KiB, byte by byte, and never ends it.
        if number % 2 == 0 {
            connection.write_all(&[0x16, 0x03, 0x01, 0x40, 0x00, 0x01])?;
        }
        slow.push(connection);
    }
    while metric(health, "waxwing_connections_open")? < SLOW as u64 {
        std::thread::yield_now();
    }
    for connection in slow.iter_mut().step_by(2) {
        connection.write_all(&[0x00])?;
    }
    alice.send("bob", "while they are there")?;
    assert_eq!(texts(&bob.receive()?), ["before", "while they are there"]);
    User::sign_up(server.link(), "carol")?;
    let grown = memory(&server)?.saturating_sub(before);
    ensure!(grown < SLOW as u64 * 32, "{grown} KiB for {SLOW} connections");

    // Nobody stays longer than it takes to sign in.
    for mut connection in slow {
        connection.set_read_timeout(Some(LATE))?;
        match connection.read(&mut [0; 16]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => anyhow::bail!("a slow connection is not ended: {other:?}"),
        }
    }
    bob.send("alice", "afterwards")?;
    assert_eq!(texts(&alice.receive()?), ["afterwards"]);
    Ok(())
}
