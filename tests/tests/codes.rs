//! One-time codes by e-mail, against a real mail server.

use anyhow::{Context, Result, ensure};
use std::fs;
use waxwing_tests::{Database, MailServer, Server, User, on_both_databases, texts};

on_both_databases!(a_code_opens_an_account_and_a_new_device, codes_are_not_worth_guessing_or_stealing);

/// Lets a stopped server ask for codes.
fn configure(server: &Server, mail: &MailServer, further: &[(&str, &str)]) -> Result<()> {
    let file = server.folder().join("config.toml");
    let text = fs::read_to_string(&file)?;
    let (before, smtp) = text.split_once("[smtp]").context("[smtp]")?;
    let set = |section: &str, name: &str, value: &str| -> Result<String> {
        let line = section.lines().find(|line| line.starts_with(&format!("{name} = "))).context("a setting")?;
        Ok(section.replace(line, &format!("{name} = {value}")))
    };
    let (mut before, mut smtp) = (before.to_owned(), smtp.to_owned());
    for (name, value) in mail.settings() {
        smtp = set(&smtp, name, &value)?;
    }
    for (name, value) in further {
        before = set(&before, name, value)?;
    }
    Ok(fs::write(&file, format!("{before}[smtp]{smtp}"))?)
}

/// Any other code than this one.
fn another(code: &str) -> String {
    let first = if code.starts_with('0') { '1' } else { '0' };
    format!("{first}{}", &code[1..])
}

fn a_code_opens_an_account_and_a_new_device(database: Database) -> Result<()> {
    let (mut server, mut mail) = (Server::set_up(database, "invite")?, MailServer::start()?);
    let template = mail.beside("template.txt");
    fs::write(&template, "Subject: {server} says\n\nHello {username}! {code} ({minutes} min)\n")?;
    let template = format!("\"{}\"", template.display());
    let further =
        [("for", "\"new-device\""), ("digits", "8"), ("template", &template), ("domains", "[\"example.org\"]")];
    configure(&server, &mail, &further)?;
    server.operate(&["smtp", "test", "operator@example.org"])?.expect_code(0)?;
    assert_eq!(mail.next_mail()?["to"][0], "operator@example.org");
    server.restart()?;
    let invite = server.operate(&["invite", "create"])?.expect_code(0)?.json()?;
    let link = invite["link"].as_str().context("link")?;

    let alice = User::new("alice")?;
    let email = ["--email", "alice@example.org", "--remember"];
    // What is wrong without a code is said before any mail is sent.
    for (flags, reason) in [
        (vec!["--remember"], "needs an e-mail address"),
        (vec!["--email", "alice@example.com"], "does not take this e-mail address"),
    ] {
        let refused = alice.try_sign_up(link, &flags)?.expect_code(1)?;
        ensure!(refused.error()?.contains(reason), "{}", refused.stderr);
    }
    let uninvited = alice.try_sign_up(server.link(), &email)?.expect_code(1)?;
    ensure!(uninvited.error()?.contains("invite"), "{}", uninvited.stderr);
    let asked = alice.try_sign_up(link, &email)?.expect_code(6)?;
    ensure!(asked.error()?.contains("8 digits"), "{}", asked.stderr);
    let code = mail.next_code("alice@example.org")?;
    assert_eq!(code.len(), 8);
    let wrong = alice.try_sign_up(link, &[&email[..], &["--otp", &another(&code)]].concat())?.expect_code(6)?;
    ensure!(wrong.error()?.contains("2 more tries"), "{}", wrong.stderr);
    alice.try_sign_up(link, &[&email[..], &["--otp", &code]].concat())?.expect_code(0)?;

    // A new device: the password first, then the code. An enrolled one needs none for what takes the password.
    let phone = User::new("alice")?;
    phone.try_log_in(server.link(), &["--remember"])?.expect_code(6)?;
    let code = mail.next_code("alice@example.org")?;
    phone.try_log_in(server.link(), &["--remember", "--otp", &code])?.expect_code(0)?;
    let tablet = User::new("alice")?;
    // Used up.
    let used = tablet.try_log_in(server.link(), &["--otp", &code])?.expect_code(6)?;
    ensure!(used.error()?.contains("not valid any more"), "{}", used.stderr);
    alice
        .run(&["devices", "rename", &alice.run(&["whoami"])?.json()?["device"].as_str().context("id")?[..8], "laptop"])?
        .expect_code(0)?;
    let log = server.log();
    ensure!(!log.contains(&code) && !log.contains("alice"), "the log tells of codes or people");
    let stored = server.stored()?;
    ensure!(!stored.windows(17).any(|window| window == b"alice@example.org"), "the address is stored as it is");
    Ok(())
}

fn codes_are_not_worth_guessing_or_stealing(database: Database) -> Result<()> {
    let (mut server, mut mail) = (Server::set_up(database, "open")?, MailServer::start()?);
    configure(&server, &mail, &[("for", "\"new-device\"")])?;
    server.restart()?;
    let sign_up = |name: &str, flags: &[&str]| {
        let email = format!("{name}@example.org");
        User::new(name)?.try_sign_up(server.link(), &[&["--email", &email], flags].concat())
    };
    // A code of another request opens nothing, and costs its own nothing.
    sign_up("alice", &[])?.expect_code(6)?;
    let alices = mail.next_code("alice@example.org")?;
    sign_up("bob", &[])?.expect_code(6)?;
    let bobs = mail.next_code("bob@example.org")?;
    if alices != bobs {
        sign_up("bob", &["--otp", &alices])?.expect_code(6)?;
    }
    sign_up("alice", &["--otp", &alices])?.expect_code(0)?;
    // Past its tries even the right one is worthless, and nobody is sent another one that soon.
    let wrong = another(&bobs);
    for _ in 0..3 {
        sign_up("bob", &["--otp", &wrong])?.expect_code(6)?;
    }
    sign_up("bob", &["--otp", &bobs])?.expect_code(6)?;
    sign_up("bob", &[])?.expect_code(6)?;
    // Whoever reads the mails, but has not the password, gets neither in nor a mail sent.
    let thief = User::new("alice")?;
    thief.set_password("something-Else.47 entirely wrong")?;
    thief.try_log_in(server.link(), &[])?.expect_code(6)?;
    let owner = User::new("alice")?;
    owner.try_log_in(server.link(), &["--remember"])?.expect_code(6)?;
    let code = mail.next_code("alice@example.org")?;
    let stolen = thief.try_log_in(server.link(), &["--otp", &code])?.expect_code(6)?;
    ensure!(stolen.error()?.contains("wrong username or password"), "{}", stolen.stderr);
    owner.try_log_in(server.link(), &["--remember", "--otp", &code])?.expect_code(0)?;
    owner.send("alice", "to myself")?;
    assert_eq!(texts(&owner.history("alice")?), ["to myself"]);
    Ok(())
}
