//! What strangers hand in, as plain calls: for the fuzz targets and whoever else wants to try.

use crate::config::Config;
use crate::control::request::{Answer, Request};
use crate::control::server::Server;
use crate::run::idle;
use crate::run::state::file;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use twinpath_flow::card::Generation;
use twinpath_flow::port::PortTable;
use twinpath_flow::time::Time;

/// Reads `text` as the configuration file at `path`, looking at no other file.
///
/// # Errors
/// The line people see.
pub fn read_config(path: &Path, text: String) -> Result<(), String> {
    Config::parse(path, text).map(drop).map_err(|error| error.to_string())
}

/// Reads `bytes` as a state file, as they are and with a check word that fits.
///
/// # Errors
/// The line people see, of the latter.
pub fn read_state(bytes: &[u8]) -> Result<(), String> {
    let (path, ports) = (Path::new("state"), PortTable::default());
    let _ = file::decode(path, bytes, &ports);
    file::decode(path, &file::forge(bytes), &ports).map(drop).map_err(|error| error.to_string())
}

/// A running process without packets that answers requests, and its control socket.
#[derive(Debug)]
pub struct Answering {
    session: idle::Idle,
    server: Server,
    path: std::path::PathBuf,
    now: Time,
}

impl Answering {
    /// Listens on a socket at `path`.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn open(path: &Path) -> Result<Self, String> {
        let server = Server::open(path).map_err(|error| error.to_string())?;
        Ok(Self { session: idle::Idle::new(), server, path: path.to_owned(), now: Time(0) })
    }

    /// Carries out one request line and returns the answer line; `None` for a line that is no
    /// request.
    pub fn request(&mut self, line: &[u8]) -> Option<String> {
        let request: Request = serde_json::from_slice(line).ok()?;
        let answer: Answer = self.session.answer(&request);
        serde_json::to_string(&answer).ok()
    }

    /// A client sends `bytes`, half-closes, and reads what comes: the answers to its lines.
    ///
    /// # Errors
    /// The socket does not work.
    pub fn client(&mut self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut client = UnixStream::connect(&self.path)?;
        client.set_nonblocking(true)?;
        let mut answers = Vec::new();
        let mut rest = bytes;
        let mut shut = false;
        // Ends: a round without progress ends it, and there are so many bytes.
        loop {
            let sent = client.write(rest).unwrap_or(0);
            rest = &rest[sent..];
            if rest.is_empty() && !shut {
                shut = true;
                client.shutdown(std::net::Shutdown::Write)?;
            }
            self.now = Time(self.now.0 + 1);
            let session = &mut self.session;
            self.server
                .serve(self.now, Generation(u32::MAX), |request| (session.answer(&request), None));
            let before = answers.len();
            let _ = client.read_to_end(&mut answers);
            if sent == 0 && answers.len() == before {
                return Ok(answers);
            }
        }
    }
}
