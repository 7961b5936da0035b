//! The questions, asked in a terminal.
//!
//! Invariants: a wrong answer is asked again with a reason; nothing is changed before the plan is confirmed; what a flag
//! answered is not asked. It must not know how a plan is carried out.

use crate::{
    cli::Init,
    plan::{self, Answers, PASSWORD_FLOOR, Plan, WrongAnswer},
};
use dialoguer::{Confirm, Input, Password, Select, theme::ColorfulTheme};
use std::{
    io::{self, Read as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _},
    path::Path,
    time::Duration,
};
use tokio::runtime::Handle;
use waxwing_server::{
    cli::Failure,
    install::{
        Config, Database, Finished, Folder, InstallError, MysqlSettings, SignUp, TlsMode, config, database, open,
    },
};
use waxwing_terminal::{FoundTerminal, interrupted};
use zeroize::Zeroizing;

/// How long NATS may take to say that it is there.
const NATS_GREETING: Duration = Duration::from_secs(3);

/// Whether NATS is there: it says `INFO` to whoever connects, before TLS and passwords.
fn greets(url: &str) -> io::Result<()> {
    let place = url.split_once("://").map_or(url, |(_, place)| place);
    let has_port = place.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let place = if has_port { place.to_owned() } else { format!("{place}:4222") };
    let address = place.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&address, NATS_GREETING)?;
    stream.set_read_timeout(Some(NATS_GREETING))?;
    let mut greeting = [0; 5];
    stream.read_exact(&mut greeting)?;
    match &greeting {
        b"INFO " => Ok(()),
        _ => Err(io::Error::other("something else than NATS listens there")),
    }
}

/// How the questions ended.
pub(crate) enum Asked {
    /// With a confirmed plan.
    Plan(Box<Plan>),
    /// There was nothing to ask.
    Already(Folder, Finished),
    /// With a no.
    Declined,
    /// With Ctrl+C or SIGTERM.
    Interrupted,
}

/// Asks what the flags leave open.
///
/// A question that was interrupted may still read the terminal on a thread of the runtime: shut it down with
/// `shutdown_timeout`.
pub(crate) async fn ask(flags: Init) -> Result<Asked, Failure> {
    // A password's question does not end at Ctrl+C by itself: the terminal comes back here, whatever was asked.
    let _terminal = FoundTerminal::new();
    let runtime = Handle::current();
    let questions = tokio::task::spawn_blocking(move || {
        let wizard = Wizard { theme: ColorfulTheme::default(), runtime };
        wizard.plan(&flags)
    });
    let asked = tokio::select! {
        asked = questions => asked.map_err(Failure::unexpected)?,
        () = interrupted() => Ok(Asked::Interrupted),
    };
    match asked {
        Err(Stop::Asking(dialoguer::Error::IO(error))) if error.kind() == std::io::ErrorKind::Interrupted => {
            Ok(Asked::Interrupted)
        }
        Err(Stop::Asking(error)) => Err(Failure::user("terminal", error.to_string(), "use --yes with flags instead")),
        Err(Stop::Failed(failure)) => Err(failure),
        Ok(asked) => Ok(asked),
    }
}

enum Stop {
    Asking(dialoguer::Error),
    Failed(Failure),
}

impl From<dialoguer::Error> for Stop {
    fn from(error: dialoguer::Error) -> Self {
        Self::Asking(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<WrongAnswer> for Stop {
    fn from(wrong: WrongAnswer) -> Self {
        Self::Failed(wrong.into())
    }
}

impl From<InstallError> for Stop {
    fn from(error: InstallError) -> Self {
        Self::Failed(error.into())
    }
}

struct Wizard {
    theme: ColorfulTheme,
    runtime: Handle,
}

impl Wizard {
    fn plan(&self, flags: &Init) -> Result<Asked, Stop> {
        let mut answers = flags.answers()?;
        println!("Waxwing \u{2013} setting up a server");
        println!("A few questions; Enter takes what is proposed, and nothing is changed before you confirm.\n");
        let folder = match &flags.dir {
            Some(_) => flags.folder()?,
            None => Some(self.folder(flags)?),
        };
        let folder = folder.ok_or_else(|| WrongAnswer::new("the set-up needs a folder", "name it with --dir DIR"))?;
        if let Some(finished) = folder.finished()? {
            return Ok(Asked::Already(folder, finished));
        }
        usable_folder(folder.path())?;
        let found = crate::apply::unfinished(&folder)?;
        let (config, server_password) = match &found {
            Some(config) => {
                println!("\n{} holds a set-up that was not finished.", folder.path().display());
                println!("It will be completed as it was begun.\n");
                (config.clone(), self.server_password(flags, &folder)?)
            }
            None => self.answers(flags, &folder, &mut answers)?,
        };
        let Answers { database_password, sign_up_secret, .. } = answers;
        let config_found = found.is_some();
        let secrets = None;
        let plan = Plan { folder, config, config_found, server_password, database_password, sign_up_secret, secrets };
        println!("\nThis will be set up:\n\n{plan}\n");
        let confirmed = self.confirm("Go ahead?", true)?;
        Ok(if confirmed { Asked::Plan(Box::new(plan)) } else { Asked::Declined })
    }

    fn answers(
        &self,
        flags: &Init,
        folder: &Folder,
        answers: &mut Answers,
    ) -> Result<(Config, Zeroizing<String>), Stop> {
        if answers.database.is_none() {
            self.database(folder, answers)?;
        }
        let server_password = self.server_password(flags, folder)?;
        if answers.listen.is_none() {
            answers.listen = Some(self.listen()?);
        }
        if answers.public.is_none() && !answers.listen().ip().is_loopback() {
            answers.public = Some(self.public()?);
        }
        if answers.sign_up.is_none() {
            self.sign_up(answers)?;
        }
        if answers.sign_up == Some(SignUp::Secret) && answers.sign_up_secret.is_none() {
            let secret = Password::with_theme(&self.theme)
                .with_prompt("What people must know to sign up")
                .with_confirmation("Once more", "That was different; again, please.");
            answers.sign_up_secret = Some(Zeroizing::new(secret.interact()?));
        }
        Ok((answers.config()?, server_password))
    }

    fn folder(&self, flags: &Init) -> Result<Folder, Stop> {
        let usual = flags.folder()?.map(|folder| folder.path().display().to_string());
        let usable = |text: &String| {
            let path = std::path::absolute(expand_home(text)).map_err(|error| error.to_string())?;
            usable_folder(&path).map_err(|wrong| format!("{}; {}", wrong.reason, wrong.next))
        };
        let mut input =
            Input::with_theme(&self.theme).with_prompt("Folder for the server's files").validate_with(usable);
        if let Some(usual) = usual {
            input = input.default(usual);
        }
        let path = std::path::absolute(expand_home(&input.interact_text()?));
        Ok(Folder::new(path.map_err(Failure::unexpected)?))
    }

    fn database(&self, folder: &Folder, answers: &mut Answers) -> Result<(), Stop> {
        let items = [
            "Embedded (SQLite): nothing to install, in the server's folder",
            "MySQL or MariaDB: a database server that you have",
        ];
        let (mut proposed, mut kind) = (Config::default().mysql, 0);
        loop {
            kind = self.select("Database", &items, kind)?;
            if kind == 0 {
                answers.database = Some(None);
                return Ok(());
            }
            let (settings, password) = self.mysql(&proposed)?;
            let config = Config { database: Database::Mysql, mysql: settings.clone(), ..Config::default() };
            println!("  Trying {} \u{2026}", database::place(folder, &config));
            match self.runtime.block_on(database::probe(folder, &config, password.as_ref().map(|word| word.as_str()))) {
                Ok(()) => {
                    println!("  It answers.");
                    answers.database = Some(Some(settings));
                    answers.database_password = password;
                    return self.nats(answers);
                }
                Err(error) => println!("  That did not work: {error}.\n  To do: {}.\n", error.next()),
            }
            proposed = settings;
        }
    }

    /// Only a database server can be shared.
    fn nats(&self, answers: &mut Answers) -> Result<(), Stop> {
        if !answers.nats.is_empty() || !self.confirm("Will further servers share this database?", false)? {
            return Ok(());
        }
        let usable = |text: &String| config::parse_nats(text).map(|_| ());
        let input =
            Input::with_theme(&self.theme).with_prompt("Where NATS is").default("nats://127.0.0.1:4222".to_owned());
        answers.nats = plan::nats(&input.validate_with(usable).interact_text()?)?;
        for url in &answers.nats {
            println!("  Trying {url} \u{2026}");
            match greets(url) {
                Ok(()) => println!(
                    "  It answers. If it wants a password, write that into config.toml afterwards ([cluster])."
                ),
                Err(error) => {
                    println!("  It does not answer yet ({error}). The server runs all the same, and goes on trying.");
                }
            }
        }
        Ok(())
    }

    fn mysql(&self, proposed: &MysqlSettings) -> Result<(MysqlSettings, Option<Zeroizing<String>>), Stop> {
        let text = |prompt: &str, default: &str| {
            Input::with_theme(&self.theme).with_prompt(prompt).default(default.to_owned()).interact_text()
        };
        let host = text("  Host", &proposed.host)?;
        let port = Input::with_theme(&self.theme).with_prompt("  Port").default(proposed.port).interact_text()?;
        let user = text("  User", &proposed.user)?;
        let password =
            Password::with_theme(&self.theme).with_prompt("  Password (may be empty)").allow_empty_password(true);
        let password = Some(Zeroizing::new(password.interact()?)).filter(|password| !password.is_empty());
        let schema = Input::with_theme(&self.theme)
            .with_prompt("  Schema (made if it does not exist)")
            .default(proposed.schema.clone())
            .validate_with(|text: &String| config::parse_schema(text).map(drop));
        let settings = MysqlSettings { host, port, user, schema: schema.interact_text()?, tls: TlsMode::Preferred };
        Ok((settings, password))
    }

    /// A new one, typed twice; or the one that the folder's secrets are sealed under.
    fn server_password(&self, flags: &Init, folder: &Folder) -> Result<Zeroizing<String>, Stop> {
        let sealed = folder.read(&folder.sealed())?;
        if let Some(password) = flags.server_password()? {
            plan::check_password(&password)?;
            return Ok(password);
        }
        if let Some(sealed) = sealed {
            loop {
                let asked = Password::with_theme(&self.theme).with_prompt("The server's password, as chosen before");
                let password = Zeroizing::new(asked.interact()?);
                match open(&sealed, &password) {
                    Ok(_) => return Ok(password),
                    Err(error) => println!("  {error}."),
                }
            }
        }
        println!("\nThe server's password seals its keys. The server needs it at each start; it cannot be recovered.");
        let asked = Password::with_theme(&self.theme)
            .with_prompt(format!("Server password ({PASSWORD_FLOOR} characters or more)"))
            .with_confirmation("Once more", "Those were different; again, please.")
            .validate_with(|text: &String| {
                plan::check_password(text).map_err(|wrong| format!("{wrong}; {}", wrong.next))
            });
        Ok(Zeroizing::new(asked.interact()?))
    }

    fn listen(&self) -> Result<SocketAddr, Stop> {
        let here = Config::default().listen;
        // The IPv6 one takes IPv4 too, where the machine has IPv6.
        let everywhere = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), here.port());
        let everywhere = match TcpListener::bind((everywhere.ip(), 0)) {
            Ok(_) => everywhere,
            Err(_) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), here.port()),
        };
        let items = [
            format!("Only this machine ({here}): to try it out"),
            format!("Every address ({everywhere}): for people elsewhere"),
            "Another address or port".to_owned(),
        ];
        println!();
        loop {
            let address = match self.select("Where should the server listen?", &items, 0)? {
                0 => here,
                1 => everywhere,
                _ => {
                    let asked = Input::<String>::with_theme(&self.theme)
                        .with_prompt("  Address and port")
                        .default(here.to_string())
                        .validate_with(|text: &String| plan::listen(text).map(drop))
                        .interact_text()?;
                    plan::listen(&asked)?
                }
            };
            match TcpListener::bind(address).and_then(|listener| listener.local_addr()) {
                // Port 0 has become a real one.
                Ok(real) => return Ok(real),
                Err(error) => println!("  The server could not listen on {address}: {error}. Choose another one.\n"),
            }
        }
    }

    fn public(&self) -> Result<String, Stop> {
        let known = std::fs::read_to_string("/etc/hostname").ok().map(|name| name.trim().to_owned());
        let mut asked = Input::<String>::with_theme(&self.theme)
            .with_prompt("Host name or address by which people reach it")
            .validate_with(|text: &String| match text.trim().is_empty() {
                true => Err("the link needs one".to_owned()),
                false => config::parse_public(text).map(drop),
            });
        if let Some(name) = known.filter(|name| !name.is_empty() && config::parse_public(name).is_ok()) {
            asked = asked.default(name);
        }
        Ok(asked.interact_text()?)
    }

    fn sign_up(&self, answers: &mut Answers) -> Result<(), Stop> {
        let choices = [SignUp::Invite, SignUp::Open, SignUp::Secret, SignUp::Closed];
        let items = [
            "By invite: one link per person; the first one is made now",
            "Anyone who reaches the server",
            "Whoever knows a shared secret",
            "Nobody for now",
        ];
        let proposed = choices.iter().position(|choice| *choice == answers.sign_up()).unwrap_or_default();
        println!();
        loop {
            let chosen = self.select("Who may sign up?", &items, proposed)?;
            let chosen = choices.get(chosen).copied().unwrap_or(SignUp::Invite);
            if chosen == SignUp::Open && !answers.listen().ip().is_loopback() {
                let prompt = "Everybody who finds the server can then make accounts. Is that meant?";
                if !self.confirm(prompt, false)? {
                    continue;
                }
                answers.open_to_the_world = true;
            }
            answers.sign_up = Some(chosen);
            return Ok(());
        }
    }

    fn confirm(&self, prompt: &str, default: bool) -> Result<bool, Stop> {
        let asked = Confirm::with_theme(&self.theme).with_prompt(prompt).default(default);
        // "yes" is three keys, and the last two must not answer the next question.
        Ok(asked.wait_for_newline(true).interact()?)
    }

    fn select(&self, prompt: &str, items: &[impl std::fmt::Display], default: usize) -> Result<usize, Stop> {
        Ok(Select::with_theme(&self.theme).with_prompt(prompt).items(items).default(default).interact()?)
    }
}

/// Whether a server's files can go to this absolute path; leaves nothing there.
fn usable_folder(path: &Path) -> Result<(), WrongAnswer> {
    use std::os::unix::fs::PermissionsExt;
    let place = path.ancestors().find(|place| place.symlink_metadata().is_ok()).unwrap_or(path);
    let wrong = |reason: String| WrongAnswer::new(reason, "choose another folder");
    let found = std::fs::metadata(place).map_err(|error| wrong(format!("{}: {error}", place.display())))?;
    if !found.is_dir() {
        return Err(WrongAnswer::new(format!("{} is a file", place.display()), "choose a folder"));
    }
    // Rights alone do not tell: some file systems take no folders from anybody.
    tempfile::Builder::new()
        .prefix(".waxwing-")
        .tempdir_in(place)
        .and_then(tempfile::TempDir::close)
        .map_err(|_| wrong(format!("this user cannot create anything in {}", place.display())))?;
    if place != path {
        return Ok(());
    }
    let empty = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    match empty || found.permissions().mode() & 0o077 == 0 {
        true => Ok(()),
        false => Err(WrongAnswer::new("that folder has other things in it", "choose a new or an empty one")),
    }
}

fn expand_home(text: &str) -> String {
    match (text.strip_prefix("~/"), std::env::var("HOME")) {
        (Some(rest), Ok(home)) => format!("{home}/{rest}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn a_folder_that_cannot_be_made_is_refused_at_the_question() {
        let place = tempfile::tempdir().unwrap();
        usable_folder(&place.path().join("a/b/c")).unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        assert!(usable_folder(Path::new("/proc/zzz")).unwrap_err().reason.contains("/proc"));
        fs::write(place.path().join("file"), "x").unwrap();
        assert!(usable_folder(&place.path().join("file/below")).unwrap_err().reason.ends_with("is a file"));
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(usable_folder(place.path()).unwrap_err().reason.contains("other things"));
    }
}
