//! One request to the running process.

use super::ANSWER_MAX;
use super::path::{self, SocketError};
use super::request::{Answer, Request};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest wait for the running process to take or send something.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// No socket to ask.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// No socket, or one that a process left behind.
    #[error("{}: nobody answers: no `twinpath run` has that control socket", path.display())]
    Nobody {
        /// The socket.
        path: PathBuf,
    },
    /// The connection.
    #[error("{}: {source}", path.display())]
    Connection {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not an answer.
    #[error("{}: not an answer: {source}", path.display())]
    Garbled {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Sends `request` to `socket`, or to the only running process, and returns the answer.
///
/// # Errors
/// Nobody answers, or not in time.
pub(crate) fn ask(socket: Option<&Path>, request: &Request) -> Result<Answer, AskError> {
    let path = match socket {
        Some(path) => path.to_owned(),
        None => path::only_socket(&path::folder())?,
    };
    let line = exchange(&path, request).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            AskError::Nobody { path: path.clone() }
        }
        _ => AskError::Connection { path: path.clone(), source },
    })?;
    serde_json::from_str(&line).map_err(|source| AskError::Garbled { path, source })
}

fn exchange(path: &Path, request: &Request) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(ANSWER_MAX as u64)).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer"));
    }
    Ok(answer)
}
