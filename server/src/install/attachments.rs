//! Opening the place of the attachments as the configuration says.

use super::{Config, Folder, InstallError, config::AttachmentPlace};
use crate::attachments::{Attachments, Keys, Place, S3};
use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path};
use zeroize::Zeroizing;

/// Opens it. `serving`: for the one process that serves it, before it does.
///
/// # Errors
/// It cannot be used; the text says why.
pub fn open(
    folder: &Folder,
    config: &Config,
    environment: impl Fn(&str) -> Option<String>,
    serving: bool,
) -> Result<Attachments, InstallError> {
    let AttachmentPlace { store, endpoint, region, ca_file } = &config.attachment_place;
    match store {
        Place::Folder => {
            let path = folder.attachments();
            let opened = if serving { Attachments::take_over(&path) } else { Attachments::in_folder(&path) };
            opened.map_err(|error| InstallError::Attachments {
                place: path.display().to_string(),
                reason: error.to_string(),
                next: "give the server's user this folder, or move away what is in its place".into(),
            })
        }
        Place::S3 { bucket, prefix } => {
            let failed = |reason, next: &str| InstallError::Attachments {
                place: store.to_string(),
                reason,
                next: next.to_owned(),
            };
            let keys = Keys {
                id: secret("AWS_ACCESS_KEY_ID", &environment).map_err(|reason| failed(reason, KEYS))?,
                secret: secret("AWS_SECRET_ACCESS_KEY", &environment).map_err(|reason| failed(reason, KEYS))?,
            };
            let s3 = S3 {
                bucket: bucket.clone(),
                prefix: prefix.clone(),
                endpoint: endpoint.clone(),
                region: region.clone(),
                ca_file: ca_file.clone(),
            };
            let next = "see attachments.store in config.toml";
            Attachments::in_bucket(&s3, &keys).map_err(|reason| failed(reason, next))
        }
    }
}

/// Looks whether it can be used, changing nothing; gives where it is. A folder that is not there is made when the server starts.
///
/// # Errors
/// It cannot be used; the text says why.
pub async fn examine(
    folder: &Folder,
    config: &Config,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<String, InstallError> {
    let store = &config.attachment_place.store;
    if *store == Place::Folder {
        let path = folder.attachments();
        return match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(format!("{} will be made", path.display())),
            Err(source) => Err(InstallError::Io { action: "read", path, source }),
            Ok(found) if !found.is_dir() => Err(InstallError::Attachments {
                place: path.display().to_string(),
                reason: "it is no folder".into(),
                next: "move away what is there".into(),
            }),
            Ok(found) => {
                super::folder::private(&path, found.permissions().mode(), 0o700)?;
                // What could not be written would fail when somebody sends a file.
                rustix::fs::access(&path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).map_err(
                    |error| InstallError::Attachments {
                        place: path.display().to_string(),
                        reason: error.to_string(),
                        next: "give the server's user this folder".into(),
                    },
                )?;
                Ok(path.display().to_string())
            }
        };
    }
    let opened = open(folder, config, environment, false)?;
    opened.reach().await.map_err(|error| InstallError::Attachments {
        place: store.to_string(),
        reason: error.to_string(),
        next: "check attachments.store, attachments.s3_endpoint and the keys".into(),
    })?;
    Ok(format!("{store} answers"))
}

const KEYS: &str = "name files with the store's keys: AWS_ACCESS_KEY_ID_FILE and AWS_SECRET_ACCESS_KEY_FILE";

/// From a variable, or from the file that the variable with `_FILE` behind its name names.
fn secret(name: &str, environment: &impl Fn(&str) -> Option<String>) -> Result<Zeroizing<String>, String> {
    let set = |name: &str| environment(name).filter(|value| !value.is_empty());
    match (set(name), set(&format!("{name}_FILE"))) {
        (Some(value), _) => Ok(Zeroizing::new(value)),
        (None, Some(file)) => super::password::read(Path::new(&file)).map_err(|error| error.to_string()),
        (None, None) => Err(format!("neither {name} nor {name}_FILE is set")),
    }
}
