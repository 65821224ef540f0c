//! The card's end: serves one client at a time, never waits for one.
//!
//! [`Server::serve`] does what can be done now. A client that is gone, breaks the protocol or
//! stays in the middle of a message leaves nothing behind: the function is reset, its memory and
//! bells are forgotten, and the next client gets registers in a file that the last one never had.

mod answer;

use super::connection::{Connection, ConnectionError, Message};
use super::identity::{ConfigSpace, MSIX_BAR_BYTES};
use super::memory::ServedMemory;
use super::message::header::{Command, Header, Kind};
use super::message::version::Version;
use super::sealed::SealError;
use answer::Reply;
use rustix::io::Errno;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use twinpath_abi::register::BAR_BYTES;
use twinpath_flow::time::Time;

/// Messages handled in one call, so that the card goes on working.
const MESSAGES_MAX: usize = 64;

/// How long a client may be in the middle of a message, or silent before its first, and how long
/// it may leave replies unread.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a server serves.
pub trait Function {
    /// Function-level reset; no DMA happens after it returns until the card is set up again.
    fn reset(&mut self);
}

/// Why a card cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another server listens there.
    #[error("{}: another process serves a card there", .0.display())]
    Taken(PathBuf),
    /// The system refuses the socket.
    #[error("{}: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The system refuses memory.
    #[error(transparent)]
    Memory(#[from] SealError),
}

/// What a call of [`Server::serve`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// There was nothing to do.
    Nothing,
    /// Messages were answered.
    Messages(usize),
    /// A client came.
    Arrived,
    /// The client is gone; the function was reset.
    Departed,
}

/// A client.
#[derive(Debug)]
struct Session {
    connection: Connection,
    greeted: bool,
    /// Since when it owes us the rest of a message.
    owing: Option<Time>,
}

/// The card's end of a socket.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    memory: ServedMemory,
    config: ConfigSpace,
    /// MSI-X table and pending bits: scratch, vectors are told by bells.
    msix: Vec<u8>,
    session: Option<Session>,
    /// Registers of a card that nobody has touched.
    image: Option<Vec<u8>>,
}

impl Server {
    /// Listens on a socket at `path`, for this user only, in place of one that nobody listens on.
    /// The card over [`Server::memory`] must be powered up before the first [`Server::serve`].
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn bind(path: &Path, vectors: u16) -> Result<Self, ServeError> {
        let socket = |source| ServeError::Socket { path: path.to_owned(), source };
        match UnixStream::connect(path) {
            Ok(_) => return Err(ServeError::Taken(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(socket)?;
            }
            // Nothing there; anything else is told by the bind.
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(socket)?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(socket)?;
        listener.set_nonblocking(true).map_err(socket)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            memory: ServedMemory::new(vectors)?,
            config: ConfigSpace::new(vectors),
            msix: vec![0; MSIX_BAR_BYTES as usize],
            session: None,
            image: None,
        })
    }

    /// The card's memory.
    #[must_use]
    pub fn memory(&self) -> ServedMemory {
        self.memory.clone()
    }

    /// Whether there is a client.
    #[must_use]
    pub const fn has_client(&self) -> bool {
        self.session.is_some()
    }

    /// What becomes readable when there is something to serve.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.session
            .as_ref()
            .map_or_else(|| self.listener.as_fd(), |session| session.connection.as_fd())
    }

    /// When the client's patience ends, if it owes something.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let owing = self.session.as_ref()?.owing?;
        Some(owing.after(PATIENCE))
    }

    /// Does what can be done now.
    pub fn serve(&mut self, now: Time, function: &mut dyn Function) -> Served {
        let Some(mut session) = self.session.take() else { return self.accept(now) };
        let mut handled = 0;
        while handled < MESSAGES_MAX {
            match self.serve_message(&mut session, function) {
                Ok(true) => handled += 1,
                Ok(false) => break,
                Err(end) => return self.depart(&end, function),
            }
        }
        let owes = !session.greeted || session.connection.is_in_the_middle();
        session.owing =
            session.owing.filter(|_| owes && handled == 0).or_else(|| owes.then_some(now));
        if session.owing.is_some_and(|since| now.since(since) > PATIENCE) {
            return self.depart(&ConnectionError::Silent(PATIENCE), function);
        }
        self.session = Some(session);
        if handled == 0 { Served::Nothing } else { Served::Messages(handled) }
    }

    fn accept(&mut self, now: Time) -> Served {
        let Ok((stream, _)) = self.listener.accept() else { return Served::Nothing };
        let Ok(connection) = Connection::new(stream, PATIENCE) else { return Served::Nothing };
        self.session = Some(Session { connection, greeted: false, owing: Some(now) });
        let memory = &self.memory;
        self.image.get_or_insert_with(|| {
            let mut image = vec![0; BAR_BYTES as usize];
            memory.bar().read(0, &mut image);
            image
        });
        Served::Arrived
    }

    /// Ends a session. The session itself is dropped by the caller, which took it out.
    fn depart(&mut self, end: &ConnectionError, function: &mut dyn Function) -> Served {
        tracing::debug!(path = %self.path.display(), %end, "client of the card is gone");
        let image = self.image.as_deref().unwrap_or_default();
        if let Err(error) = self.memory.forget(image) {
            tracing::warn!(%error, "the next client shares the registers of the last one");
        }
        self.config = ConfigSpace::new(self.vectors());
        self.msix.fill(0);
        // Rings stop, and the registers, those of power-up, become the card's again.
        function.reset();
        Served::Departed
    }

    fn vectors(&self) -> u16 {
        u16::try_from(self.memory.vectors()).expect("made from a u16")
    }

    /// Takes and answers one message, if one has come.
    fn serve_message(
        &mut self,
        session: &mut Session,
        function: &mut dyn Function,
    ) -> Result<bool, ConnectionError> {
        let Some(message) = session.connection.try_receive()? else { return Ok(false) };
        let quiet = match message.header.kind {
            Kind::Command => false,
            Kind::Quiet => true,
            // We never ask, so nothing is an answer.
            Kind::Reply | Kind::Refusal(_) => return Err(ConnectionError::Closed),
        };
        let header = message.header;
        let greeted = std::mem::replace(&mut session.greeted, true);
        let result = if greeted { self.answer(message, function) } else { greet(&message) };
        // Whoever cannot greet is not talked to any further.
        let ended = result.is_err() && !greeted;
        if !quiet {
            reply(&mut session.connection, header, result)?;
        }
        if ended { Err(ConnectionError::Closed) } else { Ok(true) }
    }
}

/// Answers the first message, which must be a greeting.
fn greet(message: &Message) -> Result<Reply, Errno> {
    if message.header.command != Command::Version as u16 {
        return Err(Errno::PROTO);
    }
    match Version::decode(&message.body) {
        Ok(_) => Ok(Reply::body(Version::ours().encode())),
        Err(error) => {
            tracing::debug!(%error, "greeting refused");
            Err(Errno::INVAL)
        }
    }
}

fn reply(
    connection: &mut Connection,
    header: Header,
    result: Result<Reply, Errno>,
) -> Result<(), ConnectionError> {
    match result {
        Ok(reply) => {
            let file = reply.file.as_ref().map(|file| file.as_fd());
            let header = Header { kind: Kind::Reply, ..header };
            connection.send(header, &[&reply.body], file.as_slice())
        }
        Err(error) => {
            let kind = Kind::Refusal(error.raw_os_error().unsigned_abs());
            connection.send(Header { kind, ..header }, &[], &[])
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Somebody may have put another socket there; that is then theirs to make anew.
        let _ = fs::remove_file(&self.path);
    }
}
