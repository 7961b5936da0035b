//! `waxwing-setup node`: a further server ("node") on the database of one that is set up: the same identity, the same sealed
//! keys, a folder of its own.
//!
//! Invariants: safe to repeat, like `init`; the folder that it is made from only learns one address more. It must not know
//! how nodes talk.

use crate::{
    apply::{Applying, Step},
    cli::{absolute_folder, conclude, listen},
    plan::{Plan, WrongAnswer},
};
use clap::{Args, builder::BoolishValueParser};
use std::path::PathBuf;
use toml_edit::{Array, DocumentMut, value};
use waxwing_server::{
    cli::{Failure, server_password},
    install::{Config, Finished, Folder, InstallError, Installation, Web, config::parse_public},
};
use zeroize::Zeroizing;

#[derive(Args, Clone)]
pub(crate) struct Node {
    /// The folder of a server that runs on the same database, or a copy of it.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The new node's folder.
    #[arg(long, env = "WAXWING_DIR", value_name = "DIR")]
    dir: PathBuf,
    /// Where the new node listens; port 0 picks a free one.
    #[arg(long, env = "WAXWING_LISTEN", value_name = "ADDR:PORT")]
    listen: String,
    /// How people reach it, if that is not where it listens.
    #[arg(long, env = "WAXWING_PUBLIC", value_name = "HOST[:PORT]")]
    public: Option<String>,
    /// What it is called in `waxwing-server cluster status` [default: by where it listens].
    #[arg(long, env = "WAXWING_CLUSTER_NAME", value_name = "NAME")]
    name: Option<String>,
    /// A file with the servers' password. Without it: $WAXWING_SERVER_PASSWORD_FILE, the systemd credential
    /// server-password, or the terminal.
    #[arg(long, value_name = "FILE")]
    server_password_file: Option<PathBuf>,
    /// Ask nothing.
    #[arg(long, env = "WAXWING_YES", value_parser = BoolishValueParser::new())]
    yes: bool,
    /// Print one JSON object with link, dir and pin; errors as JSON too.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Makes the node.
pub(crate) async fn make(flags: &Node) -> Result<(), Failure> {
    let (from, folder) = (absolute_folder(&flags.from, "--from")?, absolute_folder(&flags.dir, "--dir")?);
    if let Some(finished) = folder.finished()? {
        return conclude(flags.json, &folder, &finished, true);
    }
    let there = from.finished()?.ok_or_else(|| {
        let reason = format!("{} holds no server that is set up", from.path().display());
        WrongAnswer::new(reason, "name the folder of one with --from DIR; the first is made with waxwing-setup init")
    })?;
    let path = from.config();
    let config = from.config_file()?.ok_or_else(|| InstallError::Damaged { file: path.clone() })?;
    if config.cluster.nats.is_empty() {
        let reason = format!("the server in {} is alone on its database", from.path().display());
        let next = "put the address of NATS into its config.toml (cluster.nats), restart it, and try again";
        return Err(WrongAnswer::new(reason, next).into());
    }
    let password = server_password(flags.server_password_file.as_deref())?;
    let secrets = Installation::open(from.clone(), config.clone(), &password)?.secrets.clone();
    let mine = mine(flags, &config, &there)?;
    let unfinished = crate::apply::unfinished(&folder)?;
    let plan = Plan {
        config_found: unfinished.is_some(),
        config: unfinished.unwrap_or_else(|| mine.clone()),
        folder: folder.clone(),
        server_password: password,
        database_password: secrets.database_password.clone().map(Zeroizing::new),
        sign_up_secret: None,
        secrets: Some(secrets),
    };
    if !flags.json {
        println!("{plan}\n");
    }
    let mut applying = Applying::new(plan);
    for step in Step::ALL {
        if step == Step::Invite {
            share_invite(&there, &folder, &mine)?;
        }
        if let Some(done) = applying.step(step).await?.filter(|_| !flags.json) {
            println!("  \u{2713} {:<14} {done}", step.name());
        }
    }
    tell(&from, &there, &mine)?;
    conclude(flags.json, &folder, &applying.finished()?, false)?;
    if !flags.json {
        println!(
            "  Other nodes    {} learns the new address when it restarts; others by their config.toml (public).",
            { from.path().display() }
        );
    }
    Ok(())
}

/// The node's configuration: that of the other one, but for where it is.
fn mine(flags: &Node, config: &Config, there: &Finished) -> Result<Config, Failure> {
    let listen = listen(&flags.listen)?;
    let own = match &flags.public {
        Some(public) => {
            let wrong = |reason| WrongAnswer::new(reason, "give a host name with --public HOST[:PORT]");
            let mut own = parse_public(public).map_err(wrong)?;
            for (address, text) in own.iter_mut().zip(public.split(',')) {
                if address.to_string() != text.trim() {
                    address.port = listen.port();
                }
            }
            own
        }
        None if listen.ip().is_unspecified() => {
            let reason = format!("the node would listen on {listen}, every address of this machine");
            let next = "say by which host name people reach it with --public HOST[:PORT]";
            return Err(WrongAnswer::new(reason, next).into());
        }
        None => parse_public(&listen.to_string()).map_err(Failure::unexpected)?,
    };
    let mut public = there.link.addresses.clone();
    public.extend(own.into_iter().filter(|address| !there.link.addresses.contains(address)));
    let mut mine = Config { listen, public, ..config.clone() };
    mine.cluster.name = flags.name.clone().unwrap_or_default();
    // Two nodes of one machine cannot listen on the same ports.
    mine.health = None;
    mine.web = Web { listen: None, ..mine.web };
    mine.validate().map_err(|reason| WrongAnswer::new(reason, "check the flags, and config.toml of the other node"))?;
    Ok(mine)
}

/// The first invite is the other node's, if that has one.
fn share_invite(there: &Finished, folder: &Folder, mine: &Config) -> Result<(), Failure> {
    if let Some(mut invite) = there.invite.clone().filter(|_| !folder.invite().exists()) {
        invite.addresses.clone_from(&mine.public);
        folder.write(&folder.invite(), format!("{invite}\n").as_bytes())?;
    }
    Ok(())
}

/// Lets the other node's link name the new one too. What else stands in its configuration stays, comments and all.
fn tell(from: &Folder, there: &Finished, mine: &Config) -> Result<(), Failure> {
    let path = from.config();
    let damaged = || InstallError::Damaged { file: path.clone() };
    let text = String::from_utf8(from.read(&path)?.unwrap_or_default()).map_err(|_| damaged())?;
    let mut document: DocumentMut = text.parse().map_err(|_| damaged())?;
    let public: Array = mine.public.iter().map(ToString::to_string).collect();
    if let Some(item) = document.get_mut("public") {
        *item = value(public);
    } else {
        document.insert("public", value(public));
    }
    from.write(&path, document.to_string().as_bytes())?;
    let mut link = there.link.clone();
    link.addresses.clone_from(&mine.public);
    Ok(from.write(&from.link(), format!("{link}\n").as_bytes())?)
}
