//! `twinpath hold`: a process that does nothing but keep descriptors while daemons come and go.
//!
//! It understands no card and reads no memory. Only its own user and root are listened to. When it
//! ends, what it held is closed: a simulated card is then reset by its server, a real one by the
//! kernel.

use super::message::{Answer, HELD_MAX, MESSAGE_MAX, Name, Request};
use super::wire;
use crate::args;
use crate::control::path::{SocketError, remove_stale};
use crate::failure::Failure;
use crate::run::signals::Signals;
use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with,
    bind, listen, socket_with,
};
use rustix::process::{geteuid, umask};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Daemons connected at once; the next one is closed.
const CLIENTS_MAX: usize = 8;

/// What is held, by name.
#[derive(Debug, Default)]
struct Held {
    descriptors: BTreeMap<Name, OwnedFd>,
}

impl Held {
    /// Does what a request says; the answer, and the name of a descriptor that goes with it.
    fn answer(&mut self, request: Request, brought: Option<OwnedFd>) -> (Answer, Option<Name>) {
        let refused = |reason: &str| (Answer::Refused(reason.to_owned()), None);
        match (request, brought) {
            (Request::Store(name), Some(descriptor)) => {
                let full = self.descriptors.len() >= HELD_MAX;
                if full && !self.descriptors.contains_key(&name) {
                    return refused("no more descriptors are held");
                }
                self.descriptors.insert(name, descriptor);
                (Answer::Done, None)
            }
            (Request::Store(_), None) => refused("no descriptor came with it"),
            (_, Some(_)) => refused("a descriptor came that was not wanted"),
            (Request::Remove(name), None) => {
                self.descriptors.remove(&name);
                (Answer::Done, None)
            }
            (Request::List, None) => {
                (Answer::Names(self.descriptors.keys().cloned().collect()), None)
            }
            (Request::Fetch(name), None) if self.descriptors.contains_key(&name) => {
                (Answer::Done, Some(name))
            }
            (Request::Fetch(_), None) => refused("nothing of that name is held"),
        }
    }
}

/// The listening socket, removed at the end.
#[derive(Debug)]
struct Listener {
    socket: OwnedFd,
    path: PathBuf,
}

impl Listener {
    /// Listens at `path`, for this user only.
    fn open(path: &Path) -> Result<Self, SocketError> {
        remove_stale(path)?;
        let system = |action| {
            move |error: Errno| SocketError::System {
                path: path.to_owned(),
                action,
                source: error.into(),
            }
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(system("listen"))?;
        let address = SocketAddrUnix::new(path).map_err(system("listen"))?;
        let before = umask(Mode::from_raw_mode(0o177));
        let bound = bind(&socket, &address);
        umask(before);
        bound.map_err(system("listen"))?;
        listen(&socket, 8).map_err(system("listen"))?;
        Ok(Self { socket, path: path.to_owned() })
    }

    /// The next daemon, if it may talk to us.
    fn accept(&self) -> Option<OwnedFd> {
        let client =
            accept_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).ok()?;
        let uid = socket_peercred(&client).ok()?.uid;
        (uid.is_root() || uid == geteuid()).then_some(client)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Somebody may have put another socket there; that is then theirs to make anew.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Holds descriptors until a signal ends it.
///
/// # Errors
/// The socket cannot be made.
pub(crate) fn hold(arguments: &args::Hold) -> Result<(), Failure> {
    let listener = Listener::open(&arguments.socket).map_err(Failure::run)?;
    let signals = Signals::catch().context("signals").map_err(Failure::run)?;
    let mut held = Held::default();
    let mut clients: Vec<OwnedFd> = Vec::new();
    while !signals.end_wanted() {
        let ready = wait(&listener, &clients, signals.descriptor());
        let mut index = 0;
        clients.retain(|client| {
            index += 1;
            !ready.get(index - 1).is_some_and(|ready| *ready) || serve(client, &mut held)
        });
        if let Some(client) = listener.accept().filter(|_| clients.len() < CLIENTS_MAX) {
            clients.push(client);
        }
    }
    Ok(())
}

/// Waits for a request, a new client or a signal; which clients have said something.
fn wait(listener: &Listener, clients: &[OwnedFd], signals: BorrowedFd<'_>) -> Vec<bool> {
    let watch = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
    let mut descriptors: Vec<_> = clients.iter().map(|client| watch(client.as_fd())).collect();
    descriptors.extend([watch(listener.socket.as_fd()), watch(signals)]);
    // An interrupted wait only means to look again.
    let _ = poll(&mut descriptors, None);
    descriptors[..clients.len()].iter().map(|client| !client.revents().is_empty()).collect()
}

/// Answers one request; whether the client stays.
fn serve(client: &OwnedFd, held: &mut Held) -> bool {
    let received = wire::receive(client, MESSAGE_MAX, RecvFlags::DONTWAIT);
    let (bytes, brought) = match received {
        Ok((bytes, _)) if bytes.is_empty() => return false,
        Ok(received) => received,
        Err(Errno::AGAIN | Errno::INTR) => return true,
        Err(_) => return false,
    };
    let (answer, name) = match Request::decode(&bytes) {
        Ok(request) => held.answer(request, brought),
        Err(error) => (Answer::Refused(error.to_string()), None),
    };
    let descriptor = name.and_then(|name| held.descriptors.get(&name)).map(OwnedFd::as_fd);
    // Who does not read its answers is not served any more.
    let sent = wire::send(client, &answer.encode(), descriptor, SendFlags::DONTWAIT);
    sent.map_err(io::Error::from).inspect_err(|error| tracing::debug!("client: {error}")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn what_is_held_is_replaced_by_name_and_bounded() {
        let mut held = Held::default();
        let name = |number: usize| Name::new(&format!("n{number}")).unwrap();
        for number in 0..HELD_MAX {
            let stored = held.answer(Request::Store(name(number)), Some(descriptor()));
            assert_eq!(stored, (Answer::Done, None));
        }
        let refused = |(answer, name): (Answer, Option<Name>)| {
            matches!(answer, Answer::Refused(_)) && name.is_none()
        };
        assert!(refused(held.answer(Request::Store(name(HELD_MAX)), Some(descriptor()))));
        let replaced = held.answer(Request::Store(name(3)), Some(descriptor()));
        assert_eq!(replaced, (Answer::Done, None));
        assert!(refused(held.answer(Request::Store(name(3)), None)));
        assert!(refused(held.answer(Request::List, Some(descriptor()))));
        assert_eq!(held.answer(Request::Remove(name(3)), None), (Answer::Done, None));
        assert!(refused(held.answer(Request::Fetch(name(3)), None)));
        let (_, fetched) = held.answer(Request::Fetch(name(4)), None);
        assert_eq!(fetched, Some(name(4)));
    }
}
