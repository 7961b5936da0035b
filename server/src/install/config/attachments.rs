//! The part of the configuration that says where attachments lie: in the section `attachments`, beside how much of them.
//!
//! It is read and written like the rest, by [`super::Config`]. It must not know who opens it.

use super::{
    toml_text,
    web::{optional, path},
};
use crate::attachments::Place;
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachmentPlace {
    /// The folder, or a bucket.
    pub store: Place,
    /// The URL of an S3 store; none: Amazon's.
    pub endpoint: Option<String>,
    /// Its region.
    pub region: String,
    /// Certificates (PEM) to trust there beside the usual ones.
    pub ca_file: Option<PathBuf>,
}

impl Default for AttachmentPlace {
    fn default() -> Self {
        Self { store: Place::Folder, endpoint: None, region: "us-east-1".into(), ca_file: None }
    }
}

impl AttachmentPlace {
    /// Sets one value; none if there is no such setting here.
    pub(super) fn set(&mut self, setting: &str, value: &str) -> Option<Result<(), String>> {
        Some(match setting {
            "attachments.store" => value.parse().map(|place| self.store = place),
            "attachments.s3_endpoint" => optional(value, url).map(|endpoint| self.endpoint = endpoint),
            "attachments.s3_region" => super::word(value).map(|region| self.region = region),
            "attachments.s3_ca_file" => optional(value, path).map(|file| self.ca_file = file),
            _ => return None,
        })
    }

    /// Its values as they stand in the file.
    pub(super) fn rendered(&self) -> [String; 4] {
        let path = |path: &Option<PathBuf>| path.as_deref().map(Path::to_string_lossy).unwrap_or_default().into_owned();
        [
            toml_text(&self.store.to_string()),
            toml_text(self.endpoint.as_deref().unwrap_or_default()),
            toml_text(&self.region),
            toml_text(&path(&self.ca_file)),
        ]
    }
}

/// A URL of a store. Plain HTTP is for one on this machine or in a network of one's own.
fn url(text: &str) -> Result<String, String> {
    let host = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let sound = |host: &str| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']);
    match host.map(|host| host.trim_end_matches('/')).is_some_and(sound) {
        true => Ok(text.trim_end_matches('/').to_owned()),
        false => Err(format!("{text:?} is not a URL such as \"https://minio.example.org:9000\"")),
    }
}
