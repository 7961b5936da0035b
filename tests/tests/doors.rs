//! The other ways in: a WebSocket, on the server's own port and behind a real nginx, and a SOCKS proxy.

use anyhow::{Context, Result, ensure};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};
use waxwing_protocol::{Link, Pin, ServerCertificate};
use waxwing_tests::{
    DEADLINE, Database, Gateway, Nginx, Proxy, RawClient, Running, Server, User, free_port, link_with_port,
    on_both_databases, run_with_deadline, texts,
};

on_both_databases!(everything_works_behind_nginx);

/// A server with a door for proxies, and its port.
fn behind_proxies(database: Database) -> Result<(Server, u16)> {
    let mut server = Server::set_up(database, "open")?;
    let port = free_port()?;
    server.set("WAXWING_HTTP_LISTEN", format!("127.0.0.1:{port}"));
    server.restart()?;
    Ok((server, port))
}

/// nginx ends TLS, so the plain way is blocked: the client finds the other one by itself.
fn everything_works_behind_nginx(database: Database) -> Result<()> {
    let (server, port) = behind_proxies(database)?;
    let mut nginx = Nginx::start(port)?;
    let watched = Proxy::start(nginx.port())?;
    let link = link_with_port(server.link(), watched.port())?;
    let alice = User::sign_up(&link, "alice")?;
    let bob = User::sign_up(server.link(), "bob")?;
    User::new("bob")?.try_log_in(&link, &["--remember"])?.expect_code(0)?;
    assert_eq!(alice.run(&["ping", &link])?.expect_code(0)?.json()?["via"], "websocket");
    let refused = alice.run(&["ping", &link, "--via", "direct"])?.expect_code(3)?;
    ensure!(refused.error()?.contains("no secure connection"), "{}", refused.stderr);

    let mut follow = alice.follow()?;
    bob.send("alice", "pushed through the tunnel")?;
    assert_eq!(follow.next_texts(1)?, ["pushed through the tunnel"]);
    nginx.restart()?;
    bob.send("alice", "after the proxy came back")?;
    assert_eq!(follow.next_texts(1)?, ["after the proxy came back"]);
    follow.stop()?;
    let long = "a long text, which takes many records and messages of the WebSocket. ".repeat(400);
    // The way is remembered: the blocked one is not tried before.
    let before = watched.connections();
    alice.send("bob", long.trim())?;
    assert_eq!(watched.connections(), before + 1);
    assert_eq!(texts(&bob.receive()?), [long.trim()]);
    Ok(())
}

#[test]
fn the_servers_own_port_has_the_tunnel_too() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let alice = User::new("alice")?;
    alice.try_sign_up(server.link(), &["--remember", "--via", "websocket"])?.expect_code(0)?;
    let bob = User::sign_up(server.link(), "bob")?;
    alice.run(&["send", "bob", "through", "--via", "websocket"])?.expect_code(0)?;
    let mut command = bob.command(&["receive", "--timeout", "20", "--json"])?;
    let received = run_with_deadline(command.env("WAXWING_VIA", "websocket"), DEADLINE)?.expect_code(0)?;
    assert_eq!(texts(&received.json_lines()?), ["through"]);

    let (head, body) = RawClient::browse(server.port())?.http("GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
    ensure!(head.starts_with("http/1.1 200") && body.contains("Waxwing"), "{head}{body}");
    Ok(())
}

/// Inside the tunnel the server proves its key as everywhere.
#[test]
fn a_tunnel_to_another_server_is_a_hard_stop() -> Result<()> {
    let (server, other) = (Server::start(Database::Sqlite)?, Server::start(Database::Sqlite)?);
    let wrong = link_with_port(server.link(), other.port())?;
    for way in ["websocket", "auto"] {
        let refused = User::new("alice")?.run(&["ping", &wrong, "--via", way])?.expect_code(3)?;
        ensure!(refused.error()?.contains("its key is another"), "{}", refused.stderr);
    }
    Ok(())
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn upgrade(port: u16, more: &str) -> Result<String> {
    Ok(RawClient::browse(port)?.http(&format!("{UPGRADE}{more}\r\n"))?.0)
}

fn prove(port: u16, body: &str) -> Result<(String, String)> {
    let length = body.len();
    RawClient::browse(port)?.http(&format!("POST /auth HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"))
}

#[test]
fn strangers_are_few_at_a_time_and_devices_with_a_ticket_come_in() -> Result<()> {
    let mut server = Server::set_up(Database::Sqlite, "open")?;
    server.set("WAXWING_LIMITS_LOOPBACK", "yes");
    server.set("WAXWING_LIMITS_TUNNELS", "20 then 20/m");
    server.restart()?;
    let port = server.port();
    let alice = User::sign_up(server.link(), "alice")?;
    let full = AtomicBool::new(false);
    let done = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        // Takes every place that becomes free, without being told where to stop.
        let crowd = scope.spawn(|| -> Result<()> {
            while !done.load(Ordering::Acquire) {
                let head = upgrade(port, "Sec-WebSocket-Protocol: waxwing-tunnel\r\n")?;
                if head.starts_with("http/1.1 429") {
                    ensure!(head.contains("retry-after: "), "{head}");
                    full.store(true, Ordering::Release);
                } else {
                    ensure!(head.starts_with("http/1.1 101") && head.contains("waxwing-tunnel"), "{head}");
                }
            }
            Ok(())
        });
        while !full.load(Ordering::Acquire) && !crowd.is_finished() {
            thread::yield_now();
        }
        let tried = || -> Result<()> {
            let stranger = User::new("mallory")?;
            stranger.run(&["ping", server.link(), "--via", "websocket"])?.expect_code(5)?;
            alice.run(&["receive", "--via", "websocket"])?.expect_code(0)?;
            // The plain way is another matter.
            stranger.run(&["ping", server.link()])?.expect_code(0).map(drop)
        };
        let tried = tried();
        done.store(true, Ordering::Release);
        crowd.join().ok().context("the crowd panicked")??;
        tried
    })
}

#[test]
fn only_a_proof_gives_a_ticket_and_only_a_ticket_counts() -> Result<()> {
    let mut server = Server::set_up(Database::Sqlite, "open")?;
    server.set("WAXWING_LIMITS_LOOPBACK", "yes");
    server.set("WAXWING_LIMITS_PROBES", "25 then 1/m");
    server.restart()?;
    let port = server.port();
    let (head, body) = prove(port, "{}")?;
    ensure!(head.starts_with("http/1.1 200") && head.contains("cache-control: no-store"), "{head}");
    let challenge: serde_json::Value = serde_json::from_str(&body)?;
    let challenge = challenge["challenge"].as_str().context("no challenge")?;

    // A challenge is no ticket, and neither is anything made up; what stands in a URL is not even looked at.
    for token in [challenge, "x", "eyJhbGciOiJub25lIn0.e30."] {
        let head = upgrade(port, &format!("Authorization: Bearer {token}\r\n"))?;
        ensure!(head.starts_with("http/1.1 401"), "{head}");
        let head = upgrade(port, &format!("Sec-WebSocket-Protocol: waxwing-tunnel, waxwing-ticket.{token}\r\n"))?;
        ensure!(head.starts_with("http/1.1 401"), "{head}");
    }
    ensure!(prove(port, "{\"device\":7}")?.0.starts_with("http/1.1 400"), "a wrong shape was taken");
    ensure!(prove(port, "{\"device\":\"x\"}")?.0.starts_with("http/1.1 400"), "half a proof was taken");
    ensure!(prove(port, &"x".repeat(5000))?.0.starts_with("http/1.1 413"), "a long body was taken");

    // Guessing costs.
    let proof = |device: &str| format!(r#"{{"challenge":"{challenge}","device":"{device}","signature":"AAAA"}}"#);
    let mut answers = Vec::new();
    for number in 0..200 {
        let (head, _) = prove(port, &proof(&format!("{number:032x}")))?;
        answers.push(head.split(' ').nth(1).unwrap_or_default().to_owned());
        if head.starts_with("http/1.1 429") {
            break;
        }
    }
    let (last, before) = answers.split_last().context("no answers")?;
    ensure!(last == "429" && before.len() >= 20 && before.iter().all(|code| code == "401"), "{answers:?}");
    Ok(())
}

#[test]
fn an_own_certificate_is_shown_to_browsers_and_pins_stay() -> Result<()> {
    let mut server = Server::set_up(Database::Sqlite, "open")?;
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(vec!["chat.example.org".to_owned()])?.self_signed(&key)?;
    let place = tempfile::tempdir()?;
    let (certificate_file, key_file) = (place.path().join("fullchain.pem"), place.path().join("privkey.pem"));
    fs::write(&certificate_file, certificate.pem())?;
    fs::write(&key_file, key.serialize_pem())?;
    server.set("WAXWING_HTTP_CERTIFICATE", certificate_file.display());
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600))?;

    let alone = run_with_deadline(&mut server.command("run")?, DEADLINE)?.expect_code(1)?;
    ensure!(alone.stderr.contains("belong together"), "{}", alone.stderr);
    server.set("WAXWING_HTTP_KEY", key_file.display());
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o644))?;
    let open = run_with_deadline(&mut server.command("run")?, DEADLINE)?.expect_code(1)?;
    ensure!(open.stderr.contains("chmod 600"), "{}", open.stderr);
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o640))?;
    server.restart()?;

    let shown = RawClient::browse(server.port())?.certificate().context("no certificate")?;
    ensure!(shown == certificate.der().to_vec(), "another certificate is shown to browsers");
    let pinned = RawClient::greet(server.port())?.certificate().context("no certificate")?;
    let pin: Pin = ServerCertificate::read(&pinned)?.pin();
    assert_eq!(pin, server.link().parse::<Link>()?.pin);
    let alice = User::sign_up(server.link(), "alice")?;
    alice.run(&["receive", "--via", "websocket"])?.expect_code(0)?;

    // Renewed while the server runs; a broken one changes nothing.
    let renewed = rcgen::CertificateParams::new(vec!["chat.example.org".to_owned()])?.self_signed(&key)?;
    let certificate_shown =
        || -> Result<Vec<u8>> { RawClient::browse(server.port())?.certificate().context("no certificate") };
    fs::write(&certificate_file, "no certificate")?;
    server.hang_up()?;
    server.wait_for_log("was not read anew")?;
    assert_eq!(certificate_shown()?, shown);
    fs::write(&certificate_file, renewed.pem())?;
    server.hang_up()?;
    server.wait_for_log("read the configuration anew")?;
    assert_eq!(certificate_shown()?, renewed.der().to_vec());

    fs::write(&key_file, rcgen::KeyPair::generate()?.serialize_pem())?;
    server.stop()?;
    let other = run_with_deadline(&mut server.command("run")?, DEADLINE)?.expect_code(1)?;
    ensure!(other.stderr.contains("http.certificate and http.key"), "{}", other.stderr);
    Ok(())
}

/// Where tickets are wanted, devices that came in by the plain way get through later, and strangers do not.
#[test]
fn an_operator_may_want_tickets() -> Result<()> {
    let mut server = Server::set_up(Database::Sqlite, "open")?;
    server.set("WAXWING_HTTP_TICKETS", "required");
    server.restart()?;
    let stranger =
        User::new("bob")?.try_sign_up(server.link(), &["--remember", "--via", "websocket"])?.expect_code(3)?;
    ensure!(stranger.error()?.contains("ticket"), "{}", stranger.stderr);
    let alice = User::sign_up(server.link(), "alice")?;
    alice.run(&["receive", "--via", "websocket"])?.expect_code(0)?;
    Ok(())
}

#[test]
fn plain_http_is_for_trusted_proxies_alone() -> Result<()> {
    let (mut server, port) = behind_proxies(Database::Sqlite)?;
    let nginx = Nginx::start(port)?;
    let link = link_with_port(server.link(), nginx.port())?;
    let alice = User::new("alice")?;
    alice.run(&["ping", &link])?.expect_code(0)?;
    server.set("WAXWING_HTTP_TRUSTED_PROXIES", "10.0.0.0/8");
    server.restart()?;
    alice.run(&["ping", &link])?.expect_code(3)?;
    ensure!(server.log().contains("http.trusted_proxies"), "the log does not say why");
    alice.run(&["ping", server.link()])?.expect_code(0)?;
    Ok(())
}

#[test]
fn a_proxy_on_the_way_out_is_used_or_refused_but_never_passed_by() -> Result<()> {
    let server = Server::start(Database::Sqlite)?;
    let gateway = Gateway::start(server.port())?;
    // A name that only the proxy knows.
    let link = server.link().replace("127.0.0.1", "chat.example.org");
    let alice = User::new("alice")?;
    let ping = |flags: &[&str], all: &str, none: &str| {
        let mut command = alice.command(&["ping", &link, "--json"])?;
        run_with_deadline(command.args(flags).env("ALL_PROXY", all).env("NO_PROXY", none), DEADLINE)
    };
    let target = format!("chat.example.org:{}", server.port());
    let (socks, http) =
        (format!("socks5h://127.0.0.1:{}", gateway.port()), format!("http://127.0.0.1:{}", gateway.port()));
    for way in ["direct", "websocket"] {
        for proxy in [&socks, &http] {
            let pong = ping(&["--via", way], proxy, "")?.expect_code(0)?.json()?;
            assert_eq!((gateway.asked()?, pong["via"].as_str()), (target.clone(), Some(way)));
        }
    }
    ping(&["--proxy", &http], "socks5h://127.0.0.1:1", "")?.expect_code(0)?;
    assert_eq!(gateway.asked()?, target);
    ping(&[], &http.replace("//", "//user:hunter2@"), "")?.expect_code(0)?;
    assert_eq!(gateway.asked()?, format!("{target} dXNlcjpodW50ZXIy"));

    ping(&[], &socks, "example.org")?.expect_code(3)?;
    ping(&["--proxy", "off"], &socks, "")?.expect_code(3)?;
    let refused = ping(&[], "https://user:hunter2@127.0.0.1:3128", "")?.expect_code(1)?;
    ensure!(refused.error()?.contains("ALL_PROXY") && !refused.stderr.contains("hunter2"), "{}", refused.stderr);
    let refused = ping(&["--proxy", "http://user:hunter2@127.0.0.1:3128"], "", "")?.expect_code(1)?;
    ensure!(refused.error()?.contains("ALL_PROXY") && !refused.stderr.contains("hunter2"), "{}", refused.stderr);
    let dead = format!("socks5h://127.0.0.1:{}", free_port()?);
    let refused = ping(&[], &dead, "")?.expect_code(3)?;
    ensure!(refused.error()?.contains("SOCKS proxy"), "{}", refused.stderr);
    Ok(())
}

#[test]
fn draining_ends_tunnels_and_idle_visitors() -> Result<()> {
    let mut server = Server::start(Database::Sqlite)?;
    let alice = User::new("alice")?;
    alice.try_sign_up(server.link(), &["--remember", "--via", "websocket"])?.expect_code(0)?;
    let bob = User::sign_up(server.link(), "bob")?;
    let mut command = alice.command(&["receive", "--follow", "--json", "--via", "websocket"])?;
    let mut follow = waxwing_tests::Follow(Running::start(command.stdin(std::process::Stdio::null()))?);
    bob.send("alice", "one")?;
    assert_eq!(follow.next_texts(1)?, ["one"]);
    let _idle = RawClient::browse(server.port())?;
    server.stop()?;
    server.restart()?;
    bob.send("alice", "two")?;
    assert_eq!(follow.next_texts(1)?, ["two"]);
    follow.stop()
}
