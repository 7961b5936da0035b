//! Replacing the server's key by one that it vouches for.
//!
//! Invariant: the sealed file holds the old key or the new one, whenever the process is killed. The other files that tell
//! the pin follow it, at the latest when the server starts.

use super::{Identity, InstallError, Installation, identity, sealed};
use waxwing_protocol::Link;
use zeroize::Zeroizing;

impl Installation {
    /// Replaces the server's key. The caller holds the lock of the secrets, and tells a server that runs.
    pub fn rotate_key(&mut self, password: &Zeroizing<String>) -> Result<(), InstallError> {
        let path = self.folder.sealed();
        let old = Identity {
            private_key_der: Zeroizing::new(self.secrets.private_key_der.clone()),
            certificate_der: self.secrets.certificate_der.clone(),
        };
        let new = old.successor()?;
        let mut secrets = self.secrets.clone();
        secrets.private_key_der = new.private_key_der.to_vec();
        secrets.certificate_der = new.certificate_der;
        let file = sealed::seal(&secrets, password);
        self.folder.write(&path, &file.map_err(|reason| InstallError::Sealed { file: path.clone(), reason })?)?;
        self.pin = identity::pin(&secrets.certificate_der)?;
        self.secrets = secrets;
        self.publish_identity()
    }

    /// Brings `identity.crt`, and the pin in `link.txt` and `invite.txt`, in line with the sealed key. Files that are not
    /// there are the set-up's business. The caller holds the folder's lock.
    pub fn publish_identity(&self) -> Result<(), InstallError> {
        let folder = &self.folder;
        let (path, certificate) = (folder.certificate(), identity::pem(&self.secrets.certificate_der));
        if folder.read(&path)?.is_some_and(|written| written != certificate.as_bytes()) {
            folder.write(&path, certificate.as_bytes())?;
        }
        for path in [folder.link(), folder.invite()] {
            let written = folder.read(&path)?.and_then(|bytes| String::from_utf8(bytes).ok());
            let link: Option<Link> = written.and_then(|text| text.trim().parse().ok());
            if let Some(link) = link.filter(|link| link.pin != self.pin) {
                folder.write(&path, format!("{}\n", Link { pin: self.pin, ..link }).as_bytes())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::{Config, Folder, Secrets, seal};
    use waxwing_protocol::ServerCertificate;

    #[test]
    fn files_that_a_killed_rotation_left_behind_follow_the_sealed_key() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(place.path().join("server"));
        folder.create().unwrap();
        let (secrets, password) = (Secrets::generate().unwrap(), Zeroizing::new("a password".to_owned()));
        folder.write(&folder.sealed(), &seal(&secrets, &password).unwrap()).unwrap();
        folder.write(&folder.certificate(), identity::pem(&secrets.certificate_der).as_bytes()).unwrap();
        let mut installation = Installation::open(folder.clone(), Config::default(), &password).unwrap();
        let first = installation.link();
        folder.write(&folder.link(), first.to_string().as_bytes()).unwrap();
        let invite = Link { invite: Some("abcd".into()), ..first.clone() };
        folder.write(&folder.invite(), invite.to_string().as_bytes()).unwrap();
        let old =
            [folder.certificate(), folder.link(), folder.invite()].map(|path| (std::fs::read(&path).unwrap(), path));

        installation.rotate_key(&password).unwrap();
        for (content, path) in &old {
            folder.write(path, content).unwrap();
        }
        let reopened = Installation::open(folder.clone(), Config::default(), &password).unwrap();
        assert_ne!(reopened.pin, first.pin);
        assert_eq!(reopened.secrets.data_key, secrets.data_key);
        reopened.publish_identity().unwrap();
        let read = |path: std::path::PathBuf| String::from_utf8(folder.read(&path).unwrap().unwrap()).unwrap();
        let link: Link = read(folder.link()).trim().parse().unwrap();
        assert_eq!(link, reopened.link());
        assert_eq!(read(folder.invite()).trim().parse(), Ok(Link { invite: Some("abcd".into()), ..link }));
        assert_eq!(read(folder.certificate()), identity::pem(&reopened.secrets.certificate_der));
        let named = ServerCertificate::read(&reopened.secrets.certificate_der).unwrap();
        assert_eq!((named.pin(), named.former.len()), (reopened.pin, 1));
    }
}
