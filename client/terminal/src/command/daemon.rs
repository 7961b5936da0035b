//! `daemon`: holds the profile, stays online and serves the other commands; it shows nothing.

use crate::{
    Failure,
    cli::Options,
    output::{self, ENROLLED_ANEW, print},
    prompt::Interrupts,
    rpc::{Backend, Happening, Nothing, Purpose, profile::Whoami},
    sanitise::{Breaks, sanitise},
};
use sd_notify::NotifyState;
use std::io::Write as _;
use waxwing_core::{Connection, Error, Event};

pub(crate) async fn run(options: &Options) -> Result<(), Failure> {
    let mut interrupts = Interrupts::new();
    let backend = tokio::select! {
        opened = Backend::open(options, Purpose::Hold) => opened?,
        () = interrupts.wait() => return Err(Failure::Interrupted),
    };
    if let Backend::Holder(holder) = &backend {
        let who = holder.holder().map(|pid| format!(", process {pid}")).unwrap_or_default();
        return Err(Failure::usage(
            format!("another waxwing process holds this profile already{who}"),
            "nothing more is needed: all commands go through that one. To have a daemon instead, end it first",
        ));
    }
    let served = serve(&backend, &mut interrupts).await;
    // Where no systemd waits, there is nobody to tell.
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    backend.finish(served).await
}

async fn serve(backend: &Backend, interrupts: &mut Interrupts) -> Result<(), Failure> {
    if !backend.is_reachable() {
        return Err(Failure::usage(
            "no folder will do for the socket that other commands would use",
            "set XDG_RUNTIME_DIR to a folder of yours (mode 0700), or shorten the path of the data folder",
        ));
    }
    let mut happenings = backend.happenings().await?;
    let me = backend.call::<Whoami>(Nothing {}).await?.username;
    backend.go_online();
    print("ready")?;
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    loop {
        let happening = tokio::select! {
            happening = happenings.next() => happening,
            () = backend.must_lock() => return Err(Error::Locked.into()),
            () = interrupts.wait() => return Ok(()),
        };
        match happening {
            Happening::Event(Event::Connection(Connection::Online)) => log("connected"),
            Happening::Event(Event::Connection(Connection::Offline { reason, retry_in })) => match retry_in {
                Some(_) => log(&format!("not connected: {reason}")),
                // What is stored here can be asked for still.
                None => log(&format!("not connected, and not trying again: {reason}")),
            },
            Happening::Event(Event::IdentityChanged { username }) => {
                log(&format!("the identity of {username} has changed: everything for them is held"));
            }
            Happening::Event(Event::DeviceAdded { username, .. }) if username == me => {
                log("this account has a new device: if that was not you, sign it out and change your password");
            }
            Happening::Event(Event::EnrolledAnew { .. }) => log(ENROLLED_ANEW),
            Happening::Event(Event::Announcement { text, .. }) => log(&output::announcement(&text)),
            Happening::Ended => return Err(Error::Closed.into()),
            _ => {}
        }
    }
}

/// Says something on standard error, where service managers take it from. Never what was written, nor to whom.
fn log(what: &str) {
    let _ = writeln!(std::io::stderr(), "waxwing: {}", sanitise(what, Breaks::Spaces));
}
