//! `waxwing-server rotate-key`.

use super::{Common, Failure};
use crate::install::Installation;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn rotate_key(common: &Common) -> Result<ExitCode, Failure> {
    let folder = common.folder()?;
    let config = common.config(&folder, &[])?;
    let _lock = folder.lock()?;
    let password = super::server_password(common.password_file.as_deref())?;
    let mut installation = Installation::open(folder, config, &password)?;
    let former = installation.pin;
    installation.rotate_key(&password)?;
    let link = installation.link().to_string();
    match common.json {
        true => {
            println!("{}", json!({"link": link, "pin": installation.pin.to_string(), "former_pin": former.to_string()}))
        }
        false => {
            println!(
                "The server has a new key, vouched for by the old one. Start the server; clients follow by themselves."
            );
            println!("For new accounts and devices: {link}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
