//! The daemon's end: gives descriptors away and takes them back, from either kind of store.

use super::message::{Answer, MESSAGE_MAX, Name, Request};
use super::{inherited, wire};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect,
    socket_with,
    sockopt::{Timeout, set_socket_timeout},
};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest wait for an answer of the holder.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which store a configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// systemd's.
    Systemd,
    /// The process that listens there.
    Holder(PathBuf),
}

/// Why a store is of no use.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No holder.
    #[error("hold: {}: {source}; start one with: twinpath hold --socket {}", path.display(), path.display())]
    NoHolder {
        /// Its socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// systemd did not start this process, or its unit keeps nothing.
    #[error(
        "hold: NOTIFY_SOCKET is not set; the unit needs FileDescriptorStoreMax= and NotifyAccess=main"
    )]
    NotUnderSystemd,
    /// It does not answer as it should.
    #[error("hold: {0}")]
    System(#[from] io::Error),
    /// It refuses.
    #[error("hold: refused: {0}")]
    Refused(String),
    /// What it says makes no sense.
    #[error("hold: the answer is none")]
    Confused,
}

impl From<Errno> for StoreError {
    fn from(error: Errno) -> Self {
        Self::System(error.into())
    }
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    socket: OwnedFd,
    place: Place,
    /// What systemd gave us at the start.
    inherited: Vec<(Name, OwnedFd)>,
}

impl Store {
    /// Opens the store. For systemd's call it before anything else is opened.
    ///
    /// # Errors
    /// There is none.
    pub fn open(place: Place) -> Result<Self, StoreError> {
        let (kind, address) = match &place {
            Place::Systemd => (SocketType::DGRAM, notify_address()?),
            Place::Holder(path) => (SocketType::SEQPACKET, SocketAddrUnix::new(path.as_path())?),
        };
        let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        connect(&socket, &address).map_err(|error| match &place {
            Place::Systemd => error.into(),
            Place::Holder(path) => {
                StoreError::NoHolder { path: path.clone(), source: error.into() }
            }
        })?;
        for timeout in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&socket, timeout, Some(PATIENCE))?;
        }
        let inherited = if place == Place::Systemd { inherited::take() } else { Vec::new() };
        Ok(Self { socket, place, inherited })
    }

    /// Gives a descriptor away, in place of one of that name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn keep(&self, name: &Name, descriptor: BorrowedFd<'_>) -> Result<(), StoreError> {
        self.ask(&Request::Store(name.clone()), Some(descriptor)).map(drop)
    }

    /// Has a descriptor closed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove(&self, name: &Name) -> Result<(), StoreError> {
        self.ask(&Request::Remove(name.clone()), None).map(drop)
    }

    /// All that is held, with copies; once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn take(&mut self) -> Result<Vec<(Name, OwnedFd)>, StoreError> {
        if self.place == Place::Systemd {
            return Ok(std::mem::take(&mut self.inherited));
        }
        let (Answer::Names(names), _) = self.ask(&Request::List, None)? else {
            return Err(StoreError::Confused);
        };
        let fetch = |name: Name| {
            let (_, descriptor) = self.ask(&Request::Fetch(name.clone()), None)?;
            Ok((name, descriptor.ok_or(StoreError::Confused)?))
        };
        names.into_iter().map(fetch).collect()
    }

    fn ask(
        &self,
        request: &Request,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(Answer, Option<OwnedFd>), StoreError> {
        wire::send(&self.socket, &request.encode(), descriptor, SendFlags::empty())?;
        if self.place == Place::Systemd {
            // It never answers.
            return Ok((Answer::Done, None));
        }
        let (bytes, descriptor) = wire::receive(&self.socket, MESSAGE_MAX, RecvFlags::empty())?;
        match Answer::decode(&bytes).ok_or(StoreError::Confused)? {
            Answer::Refused(reason) => Err(StoreError::Refused(reason)),
            answer => Ok((answer, descriptor)),
        }
    }
}

/// Where systemd listens: a path, or an abstract address behind `@`.
fn notify_address() -> Result<SocketAddrUnix, StoreError> {
    let text = std::env::var_os("NOTIFY_SOCKET").ok_or(StoreError::NotUnderSystemd)?;
    match text.as_bytes().strip_prefix(b"@") {
        Some(name) => Ok(SocketAddrUnix::new_abstract_name(name)?),
        None => Ok(SocketAddrUnix::new(Path::new(&text))?),
    }
}
