//! Where the socket of a profile lies, and who may use it: this user only.
//!
//! It lies in a folder (0700) in `$XDG_RUNTIME_DIR`, else in the data folder, else, where such a path is too long for a
//! socket, in the folder for temporary files. The profile's folder names it, so that every process finds it whatever its
//! environment is. Whoever holds the profile's lock may replace what a killed process left.

use sha2::{Digest as _, Sha256};
use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};
use tokio::net::{UnixListener, UnixStream};
use waxwing_core::ProfilePath;

/// The longest path of a socket that every system takes.
const PATH: usize = 103;

/// The file in the profile's folder that names the socket.
const NOTE: &str = "socket";

/// A socket that this process listens on.
pub(super) struct Listening {
    pub(super) listener: UnixListener,
    pub(super) place: Place,
}

/// Where a socket lies; its files go when this is dropped.
pub(super) struct Place {
    socket: PathBuf,
    note: PathBuf,
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.note);
        let _ = fs::remove_file(&self.socket);
    }
}

/// Listens for commands on this profile, which this process must hold.
pub(super) fn listen(profile: &ProfilePath) -> io::Result<Listening> {
    let name = name(profile)?;
    let socket = folder(profile, &name)?.join(name);
    match fs::remove_file(&socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&socket)?;
    let place = Place { note: profile.folder().join(NOTE), socket };
    fs::set_permissions(&place.socket, fs::Permissions::from_mode(0o600))?;
    let fresh = profile.folder().join("socket.new");
    let _ = fs::remove_file(&fresh);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(place.socket.as_os_str().as_bytes())?;
    fs::rename(&fresh, &place.note)?;
    Ok(Listening { listener, place })
}

/// Connects to the process that holds the profile, if there is one that listens.
pub(super) async fn connect(profile: &ProfilePath) -> Option<UnixStream> {
    let mut path = Vec::new();
    fs::File::open(profile.folder().join(NOTE)).ok()?.take(4096).read_to_end(&mut path).ok()?;
    let socket = Path::new(std::ffi::OsStr::from_bytes(&path));
    // A copy of a profile's folder names the socket of the original.
    if socket.file_name()? != name(profile).ok()?.as_str() || !is_private(socket.parent()?).ok()? {
        return None;
    }
    let stream = UnixStream::connect(socket).await.ok()?;
    is_own(&stream).then_some(stream)
}

/// Whether the other end belongs to this user.
pub(super) fn is_own(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own_uid())
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn name(profile: &ProfilePath) -> io::Result<String> {
    let folder = profile.folder().canonicalize()?;
    let digest = Sha256::digest(folder.as_os_str().as_bytes());
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{hex}.sock"))
}

/// The first folder that will do.
fn folder(profile: &ProfilePath, name: &str) -> io::Result<PathBuf> {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let data = profile.folder().canonicalize()?.parent().map(|data| data.join(".run"));
    let temporary = env::temp_dir().join(format!("waxwing-{}", own_uid()));
    let candidates = [runtime.map(|folder| folder.join("waxwing")), data, Some(temporary)];
    let mut trouble = io::Error::from(io::ErrorKind::InvalidFilename);
    for folder in candidates.into_iter().flatten() {
        if folder.as_os_str().len() + 1 + name.len() > PATH {
            continue;
        }
        match prepare(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) => {
                tracing::debug!(folder = %folder.display(), %error, "no place for the socket");
                trouble = error;
            }
        }
    }
    Err(trouble)
}

/// Makes the folder, or sees to it that it is this user's and nobody else's.
fn prepare(folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if is_private(folder)? {
        return Ok(());
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

/// Whether only this user can enter the folder.
///
/// # Errors
/// It is somebody else's, or no folder.
fn is_private(folder: &Path) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(folder)?;
    if !metadata.is_dir() || metadata.uid() != own_uid() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not a folder of this user"));
    }
    Ok(metadata.mode() & 0o077 == 0)
}
