//! Where control sockets are, and who may take one.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Why a control socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// Another process answers on it.
    #[error("{}: another instance is running on this control socket", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else is there.
    #[error("{}: exists and is not a socket", path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    System {
        /// The socket or its folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// No process to talk to.
    #[error("no running twinpath found in {}; give --socket", folder.display())]
    NoneRunning {
        /// Where sockets were looked for.
        folder: PathBuf,
    },
    /// Several processes to talk to.
    #[error("several are running; give --socket with one of: {}", list(sockets))]
    SeveralRunning {
        /// Their sockets.
        sockets: Vec<PathBuf>,
    },
}

fn list(sockets: &[PathBuf]) -> String {
    let names: Vec<String> = sockets.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}

/// The folder of default sockets: `$XDG_RUNTIME_DIR/twinpath`, else `/run/twinpath` for root and
/// `/tmp/twinpath-UID` for others.
pub(crate) fn folder() -> PathBuf {
    match env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()) {
        Some(path) => Path::new(&path).join("twinpath"),
        None if rustix::process::geteuid().is_root() => PathBuf::from("/run/twinpath"),
        None => env::temp_dir().join(format!("twinpath-{}", rustix::process::geteuid().as_raw())),
    }
}

/// The default socket of a run of that name.
pub(crate) fn default_socket(name: &str) -> PathBuf {
    folder().join(format!("{name}.sock"))
}

/// The control socket of a card served on that socket.
pub(crate) fn of_card(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".control");
    name.into()
}

/// Listens on `path` with `mode`, as `owner` (user and group, the process's where `None`); a socket
/// that nobody answers on is replaced.
///
/// # Errors
/// Another instance answers on it, or the system refuses.
pub(crate) fn listen(
    path: &Path,
    mode: u32,
    owner: (Option<u32>, Option<u32>),
) -> Result<UnixListener, SocketError> {
    let system =
        |action| move |source| SocketError::System { path: path.to_owned(), action, source };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty())
        && !parent.exists()
    {
        fs::create_dir_all(parent).map_err(system("create its folder"))?;
        fs::set_permissions(parent, fs::Permissions::from_mode(0o700))
            .map_err(system("protect its folder"))?;
    }
    remove_stale(path)?;
    let umask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(umask);
    let listener = bound.map_err(system("listen"))?;
    if owner != (None, None) {
        std::os::unix::fs::lchown(path, owner.0, owner.1).map_err(system("give to its users"))?;
    }
    // Not before it is theirs: until then it is this process's user's alone.
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(system("protect"))?;
    listener.set_nonblocking(true).map_err(system("listen"))?;
    Ok(listener)
}

/// Removes a socket that nobody answers on.
///
/// # Errors
/// Somebody does, it is no socket, or the system refuses.
pub(crate) fn remove_stale(path: &Path) -> Result<(), SocketError> {
    use std::os::unix::fs::FileTypeExt as _;
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(SocketError::NotASocket { path: path.to_owned() });
    }
    // A holder's socket is of another type than a control socket.
    let other = Some(rustix::io::Errno::PROTOTYPE.raw_os_error());
    let answer = UnixStream::connect(path);
    if answer.map_or_else(|error| error.raw_os_error() == other, |_| true) {
        return Err(SocketError::InUse { path: path.to_owned() });
    }
    fs::remove_file(path).map_err(|source| {
        let action = "replace the stale socket";
        SocketError::System { path: path.to_owned(), action, source }
    })
}

/// The socket of the only running process in `folder`.
///
/// # Errors
/// None or several answer.
pub(crate) fn only_socket(folder: &Path) -> Result<PathBuf, SocketError> {
    let mut sockets: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "sock"))
        .filter(|path| UnixStream::connect(path).is_ok())
        .collect();
    sockets.sort();
    match sockets.len() {
        0 => Err(SocketError::NoneRunning { folder: folder.to_owned() }),
        1 => Ok(sockets.remove(0)),
        _ => Err(SocketError::SeveralRunning { sockets }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty_folder(name: &str) -> PathBuf {
        let folder = env::temp_dir().join(format!("twinpath-path-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn a_socket_is_private_taken_once_and_replaced_when_stale() {
        let folder = empty_folder("listen");
        let path = folder.join("a.sock");
        let listener = listen(&path, 0o600, (None, None)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(listen(&path, 0o600, (None, None)), Err(SocketError::InUse { .. })));
        assert_eq!(only_socket(&folder).unwrap(), path);
        drop(listener);
        assert!(matches!(only_socket(&folder), Err(SocketError::NoneRunning { .. })));
        let first = listen(&path, 0o600, (None, None)).unwrap();
        let second = listen(&folder.join("b.sock"), 0o600, (None, None)).unwrap();
        assert!(matches!(only_socket(&folder), Err(SocketError::SeveralRunning { .. })));
        drop((first, second));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_of_somebody_else_is_not_removed() {
        let folder = empty_folder("file");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("precious.sock");
        fs::write(&path, "x").unwrap();
        assert!(matches!(listen(&path, 0o600, (None, None)), Err(SocketError::NotASocket { .. })));
        assert!(path.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
