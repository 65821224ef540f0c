//! The running process's end of the control socket: never waits for a client.
//!
//! At most [`CLIENTS_MAX`] clients are connected; later ones are closed at once. A client that
//! takes longer than [`IDLE`] to send a request or to read any of its answer is closed, as is one
//! whose request is longer than [`REQUEST_MAX`]. An answer to a change of rules waits until the change
//! is in force everywhere, so that who has it may rely on it.

use super::REQUEST_MAX;
use super::path::{self, SocketError};
use super::peer::{Standing, Trust};
use super::request::{Answer, Request};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use twinpath_flow::card::Generation;
use twinpath_flow::time::Time;

/// Clients connected at once.
pub(crate) const CLIENTS_MAX: usize = 16;

/// How long a client may take to send a request, or to read any part of its answer.
pub(crate) const IDLE: Duration = Duration::from_secs(5);

/// How long an answer waits for its change; then the client is told that it is still under way.
pub(crate) const HOLD_MAX: Duration = Duration::from_secs(3);

/// Bytes read from one client in one round.
const READ_MAX: usize = 1 << 16;

/// An answer, and the generation that must be in force before it is given.
pub(crate) type Reply = (Answer, Option<Generation>);

/// Listens, reads requests, sends answers.
#[derive(Debug)]
pub(crate) struct Server {
    listener: UnixListener,
    path: PathBuf,
    trust: Trust,
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    standing: Standing,
    incoming: Vec<u8>,
    /// Bytes of `incoming` known to hold no end of line.
    searched: usize,
    outgoing: Vec<u8>,
    sent: usize,
    /// What `outgoing` waits for.
    held: Option<Generation>,
    progress: Time,
}

impl Server {
    /// Listens on `path` for this process's user alone; see [`path::listen`].
    ///
    /// # Errors
    /// The socket is taken or cannot be made.
    pub(crate) fn open(path: &Path) -> Result<Self, SocketError> {
        let users = vec![rustix::process::geteuid().as_raw()];
        Self::open_for(path, 0o600, None, Trust { users, group: None })
    }

    /// Listens on `path` with `mode`; the socket is `owner`'s and the trusted group's, if any.
    ///
    /// # Errors
    /// The socket is taken or cannot be made.
    pub(crate) fn open_for(
        path: &Path,
        mode: u32,
        owner: Option<u32>,
        trust: Trust,
    ) -> Result<Self, SocketError> {
        let group = trust.group.as_ref().map(|group| group.gid);
        let listener = path::listen(path, mode, (owner, group))?;
        Ok(Self { listener, path: path.to_owned(), trust, clients: Vec::new() })
    }

    /// Descriptors to poll: (descriptor, whether writing is wanted).
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        let clients =
            self.clients.iter().map(|client| (client.stream.as_fd(), client.is_sending()));
        std::iter::once((self.listener.as_fd(), false)).chain(clients)
    }

    /// When [`Self::serve`] must be called at the latest, to close idle clients.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.clients.iter().map(|client| client.progress.after(IDLE)).min()
    }

    /// Whether an answer waits that can be given when `in_force` is in force.
    pub(crate) fn can_answer(&self, in_force: Generation) -> bool {
        self.clients.iter().any(|client| client.held.is_some_and(|until| until <= in_force))
    }

    /// Takes new clients, answers complete requests with `answer`, and sends what can be sent.
    /// `now` is real time.
    pub(crate) fn serve(
        &mut self,
        now: Time,
        in_force: Generation,
        mut answer: impl FnMut(Request) -> Reply,
    ) {
        self.accept(now);
        self.clients.retain_mut(|client| {
            client.release(now, in_force);
            client.work(now, &mut answer).is_ok() && now.since(client.progress) < IDLE
        });
    }

    fn accept(&mut self, now: Time) {
        // Bounded: one round takes at most the listen backlog's worth of clients.
        for _ in 0..CLIENTS_MAX {
            let Ok((stream, _)) = self.listener.accept() else { return };
            let Some(standing) = self.trust.judge(&stream) else { continue };
            if self.clients.len() < CLIENTS_MAX && stream.set_nonblocking(true).is_ok() {
                self.clients.push(Client {
                    stream,
                    standing,
                    incoming: Vec::new(),
                    searched: 0,
                    outgoing: Vec::new(),
                    sent: 0,
                    held: None,
                    progress: now,
                });
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Best effort: a socket that stays is found stale and replaced.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Client {
    fn is_sending(&self) -> bool {
        self.held.is_none() && self.sent < self.outgoing.len()
    }

    /// Lets the answer go when what it waits for has come, or does not come.
    fn release(&mut self, now: Time, in_force: Generation) {
        let Some(until) = self.held else { return };
        if until <= in_force {
            self.held = None;
        } else if now.since(self.progress) >= HOLD_MAX {
            self.held = None;
            let told = "the rules are changed, but not in force yet: the card does not confirm";
            let answer = serde_json::to_vec(&Answer::Failed(told.to_owned()));
            self.outgoing = answer.unwrap_or_default();
            self.outgoing.push(b'\n');
        }
    }

    /// An error means that the client is done with.
    fn work(&mut self, now: Time, answer: &mut impl FnMut(Request) -> Reply) -> io::Result<()> {
        self.send(now)?;
        if self.held.is_some() || self.is_sending() {
            return Ok(());
        }
        let open = self.receive()?;
        let end = self.incoming[self.searched..].iter().position(|byte| *byte == b'\n');
        if let Some(end) = end {
            let line: Vec<u8> = self.incoming.drain(..=self.searched + end).collect();
            self.searched = 0;
            let (reply, held) = match serde_json::from_slice::<Request>(&line) {
                Ok(request) => match self.standing {
                    Standing::Onlooker(uid) if !request.only_looks() => (refusal(uid), None),
                    _ => answer(request),
                },
                Err(error) => (Answer::Refused(format!("not a request: {error}")), None),
            };
            self.held = held;
            self.outgoing = serde_json::to_vec(&reply)?;
            self.outgoing.push(b'\n');
            self.sent = 0;
            self.progress = now;
            return self.send(now);
        }
        self.searched = self.incoming.len();
        if open && self.searched <= REQUEST_MAX { Ok(()) } else { Err(closed()) }
    }

    /// Reads what is there; `false` when the client sends no more.
    fn receive(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        let mut total = 0;
        while total < READ_MAX && self.incoming.len() <= REQUEST_MAX {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.incoming.extend_from_slice(&buffer[..count]);
                    total += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn send(&mut self, now: Time) -> io::Result<()> {
        while self.is_sending() {
            match self.stream.write(&self.outgoing[self.sent..]) {
                Ok(0) => return Err(closed()),
                Ok(count) => {
                    self.sent += count;
                    self.progress = now;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn refusal(uid: u32) -> Answer {
    let may = "may look but not change anything: only root, the user it runs as and the members of \
               control_group may";
    Answer::Refused(format!("user {uid} {may}"))
}

fn closed() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionAborted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::{BufRead as _, BufReader};

    fn server(name: &str) -> Server {
        let path = std::env::temp_dir().join(format!("tw-{name}-{}.sock", std::process::id()));
        Server::open(&path).unwrap()
    }

    fn echo(request: Request) -> Reply {
        (Answer::Ok(json!(format!("{request:?}"))), None)
    }

    #[test]
    fn an_answer_waits_until_its_change_is_in_force() {
        let mut server = server("held");
        let client = UnixStream::connect(&server.path).unwrap();
        client.set_nonblocking(true).unwrap();
        let ask = || (&client).write_all(b"{\"ask\":\"stats\"}\n").unwrap();
        let read = || {
            let mut text = [0; 200];
            let length = (&client).read(&mut text).unwrap_or(0);
            String::from_utf8_lossy(&text[..length]).into_owned()
        };
        let change = |request| (echo(request).0, Some(Generation(4)));
        ask();
        server.serve(Time(0), Generation(3), change);
        server.serve(Time(1), Generation(3), change);
        assert_eq!((read().as_str(), server.can_answer(Generation(3))), ("", false));
        assert!(server.can_answer(Generation(4)));
        server.serve(Time(2), Generation(4), change);
        assert_eq!(read(), "{\"ok\":\"Stats\"}\n");
        ask();
        server.serve(Time(3), Generation(3), change);
        server.serve(Time::from_secs(4), Generation(3), change);
        assert!(read().contains("not in force yet"));
    }

    #[test]
    fn a_request_in_pieces_is_answered_when_its_line_is_complete() {
        let mut server = server("pieces");
        let mut client = UnixStream::connect(&server.path).unwrap();
        client.write_all(br#"{"ask":"#).unwrap();
        server.serve(Time(0), Generation(0), echo);
        client.write_all(b"\"stats\"}\n").unwrap();
        server.serve(Time(1), Generation(0), echo);
        let mut line = String::new();
        BufReader::new(&client).read_line(&mut line).unwrap();
        assert_eq!(line, "{\"ok\":\"Stats\"}\n");
    }

    #[test]
    fn idle_flooding_and_surplus_clients_are_closed() {
        let mut server = server("hostile");
        let idle = UnixStream::connect(&server.path).unwrap();
        server.serve(Time::from_secs(0), Generation(0), echo);
        assert_eq!(server.clients.len(), 1);
        assert_eq!(server.deadline(), Some(Time::from_secs(5)));
        server.serve(Time::from_secs(6), Generation(0), echo);
        assert_eq!(server.clients.len(), 0);
        drop(idle);

        let mut flood = UnixStream::connect(&server.path).unwrap();
        flood.set_nonblocking(true).unwrap();
        // Ends: the server takes what is sent until it has had enough.
        while flood.write(&[b'x'; 1 << 16]).is_ok_and(|sent| sent > 0) {
            server.serve(Time::from_secs(6), Generation(0), echo);
        }
        assert_eq!(server.clients.len(), 0);

        let many: Vec<_> = (0..40).map(|_| UnixStream::connect(&server.path).unwrap()).collect();
        server.serve(Time::from_secs(7), Generation(0), echo);
        server.serve(Time::from_secs(7), Generation(0), echo);
        server.serve(Time::from_secs(7), Generation(0), echo);
        assert_eq!(server.clients.len(), CLIENTS_MAX);
        drop(many);
    }

    #[test]
    fn garbage_is_refused_and_the_client_may_go_on() {
        let mut server = server("garbage");
        let mut client = UnixStream::connect(&server.path).unwrap();
        client.write_all(b"hello\n{\"ask\":\"events\"}\n").unwrap();
        server.serve(Time(0), Generation(0), echo);
        server.serve(Time(0), Generation(0), echo);
        let mut reader = BufReader::new(&client);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(line.starts_with("{\"refused\":\"not a request"), "{line}");
        line.clear();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "{\"ok\":\"Events\"}\n");
    }
}
