//! `waxwing-server rotate-key`.
//!
//! Invariant: the new key is sealed before anybody is shown it. A running server shows it from then on, and lets the connections under
//! the old one end; if it cannot be told, it does so when it is started again.

use super::{Common, Failure, operate::lost};
use crate::{
    admin::{self, Hidden, Reply, Request},
    install::Installation,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;
use std::process::ExitCode;
use zeroize::Zeroizing;

pub(super) fn rotate_key(common: &Common) -> Result<ExitCode, Failure> {
    let folder = common.folder()?;
    let config = common.config(&folder, &[])?;
    // Held by whoever writes the sealed file; the server does not hold it.
    let _secrets = folder.lock_secrets()?;
    let lock = folder.lock();
    // Whoever else has the folder is no server, or one that is just starting or stopping.
    let running = match &lock {
        Ok(_) => false,
        Err(_) => admin::connect(&folder)?.is_some(),
    };
    let _lock = if running { None } else { Some(lock?) };
    let password = super::server_password(common.password_file.as_deref())?;
    let mut installation = Installation::open(folder.clone(), config, &password)?;
    let former = installation.pin;
    installation.rotate_key(&password)?;
    let told = if running { Some(tell(&installation)) } else { None };
    let link = installation.link().to_string();
    match common.json {
        true => {
            let pin = installation.pin.to_string();
            let in_use = matches!(told, Some(Ok(_)));
            println!("{}", json!({"link": link, "pin": pin, "former_pin": former.to_string(), "in_use": in_use}));
        }
        false => {
            println!("The server has a new key, vouched for by the old one. Clients follow by themselves.");
            match &told {
                None => println!("Start the server: it shows the new key."),
                Some(Ok(devices)) => {
                    println!(
                        "The running server shows it already; devices that are connected ({devices}) connect again."
                    );
                }
                Some(Err(_)) => {}
            }
            println!("For new accounts and devices: {link}");
        }
    }
    match told {
        Some(Err(failure)) => Err(Failure { next: "restart the server: it still shows the old key".into(), ..failure }),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Tells the running server; gives how many devices were connected.
fn tell(installation: &Installation) -> Result<usize, Failure> {
    let gone = || Failure::user("not-running", "the server ended meanwhile", "start it");
    let server = admin::connect(&installation.folder)?.ok_or_else(gone)?;
    let request = Request::Identity {
        certificate: BASE64_STANDARD.encode(&installation.secrets.certificate_der),
        key: Hidden(Zeroizing::new(BASE64_STANDARD.encode(&installation.secrets.private_key_der))),
    };
    match server.ask(&request).map_err(lost)? {
        Reply::Ok(admin::Answer::Done { connections, .. }) => Ok(connections),
        Reply::Ok(_) => Err(Failure::unexpected("the server answered something else than was asked")),
        Reply::Error(problem) => Err(problem.into()),
    }
}
