//! Whole messages over a Unix socket, with the descriptors that come with them.
//!
//! Nothing here waits for long: a message must come in few pieces, and every wait for a piece is
//! bounded by the connection's patience.

use super::message::header::{HEADER_BYTES, Header, HeaderError};
use super::message::{DESCRIPTORS_MAX, MESSAGE_MAX};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Waits for one message; a peer that sends bytes singly is not waited for longer.
const PIECES_MAX: u32 = 64;

/// A message as it came.
#[derive(Debug)]
pub struct Message {
    /// Its header.
    pub header: Header,
    /// What follows the header.
    pub body: Vec<u8>,
    /// Descriptors that came with it.
    pub descriptors: Vec<OwnedFd>,
}

/// Why a connection is at its end.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The peer is gone.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer did not do its part in time.
    #[error("the peer did not answer within {} ms", .0.as_millis())]
    Silent(Duration),
    /// What came is no message.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// More descriptors than agreed.
    #[error("more than {DESCRIPTORS_MAX} descriptors in one message")]
    Descriptors,
    /// A message in crumbs.
    #[error("a message came in more than {PIECES_MAX} pieces")]
    Crumbs,
    /// The system refuses.
    #[error("socket: {0}")]
    System(#[from] io::Error),
}

/// What has come of the next message.
#[derive(Debug, Default)]
struct Inbox {
    bytes: Vec<u8>,
    header: Option<Header>,
    descriptors: Vec<OwnedFd>,
    pieces: u32,
}

/// Longest message that is taken whole if it is there whole.
const SMALL_MAX: usize = 4096;

/// One end of a connection.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    patience: Duration,
    inbox: Inbox,
}

impl Connection {
    /// A connection over a connected socket; no wait for a piece is longer than `patience`.
    ///
    /// # Errors
    /// The system refuses to make the socket non-blocking.
    pub fn new(stream: UnixStream, patience: Duration) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, patience, inbox: Inbox::default() })
    }

    /// Whether a message has come in part.
    #[must_use]
    pub fn is_in_the_middle(&self) -> bool {
        !self.inbox.bytes.is_empty()
    }

    /// Whether something can be read: bytes, or the end.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        matches!(self.wait(PollFlags::IN, Duration::ZERO), Ok(()))
    }

    fn wait(&self, wanted: PollFlags, patience: Duration) -> Result<(), ConnectionError> {
        let timeout = Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: patience.subsec_nanos().into(),
        };
        let mut descriptors = [PollFd::from_borrowed_fd(self.stream.as_fd(), wanted)];
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(0) => Err(ConnectionError::Silent(patience)),
            // After a signal the caller tries, and counts it as a piece.
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    /// Takes the next message if all of it has come.
    ///
    /// # Errors
    /// [`ConnectionError`]; the connection is of no use afterwards.
    pub fn try_receive(&mut self) -> Result<Option<Message>, ConnectionError> {
        // Ends: every turn takes at least one byte of a message of bounded length.
        loop {
            let have = self.inbox.bytes.len();
            let wanted = match self.inbox.header {
                Some(header) => header.bytes as usize,
                None if have == 0 => self.length_ahead().unwrap_or(HEADER_BYTES),
                None => HEADER_BYTES,
            };
            if have < wanted {
                if !self.take_piece(wanted)? {
                    return Ok(None);
                }
                continue;
            }
            let Some(header) = self.inbox.header else {
                if let Some(bytes) = self.inbox.bytes.first_chunk() {
                    self.inbox.header = Some(Header::decode(bytes)?);
                }
                continue;
            };
            let mut inbox = std::mem::take(&mut self.inbox);
            let body = inbox.bytes.split_off(HEADER_BYTES);
            return Ok(Some(Message { header, body, descriptors: inbox.descriptors }));
        }
    }

    /// Length of a small message that comes next: it is taken at once, so that a process that is killed
    /// leaves none in part to the next.
    fn length_ahead(&self) -> Option<usize> {
        let mut bytes = [0; HEADER_BYTES];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let (count, _) = recv(&self.stream, &mut bytes[..], flags).ok()?;
        let header = Header::decode(&bytes).ok().filter(|_| count == HEADER_BYTES)?;
        usize::try_from(header.bytes).ok().filter(|length| *length <= SMALL_MAX)
    }

    /// Takes bytes up to a length of `wanted`; whether any came.
    fn take_piece(&mut self, wanted: usize) -> Result<bool, ConnectionError> {
        let inbox = &mut self.inbox;
        let have = inbox.bytes.len();
        inbox.bytes.resize(wanted, 0);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut buffer = [IoSliceMut::new(&mut inbox.bytes[have..])];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(&self.stream, &mut buffer, &mut ancillary, flags);
        let count = received.as_ref().map_or(0, |received| received.bytes);
        inbox.bytes.truncate(have + count);
        let received = match received {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            Err(Errno::CONNRESET) => return Err(ConnectionError::Closed),
            Err(error) => return Err(io::Error::from(error).into()),
            Ok(received) => received,
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                inbox.descriptors.extend(descriptors);
            }
        }
        let too_many = inbox.descriptors.len() > DESCRIPTORS_MAX;
        if too_many || received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(ConnectionError::Descriptors);
        }
        if count == 0 {
            return Err(ConnectionError::Closed);
        }
        inbox.pieces += 1;
        if inbox.pieces > PIECES_MAX { Err(ConnectionError::Crumbs) } else { Ok(true) }
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// [`ConnectionError`]; the connection is of no use afterwards.
    pub fn receive(&mut self) -> Result<Message, ConnectionError> {
        for _ in 0..=PIECES_MAX {
            if let Some(message) = self.try_receive()? {
                return Ok(message);
            }
            self.wait(PollFlags::IN, self.patience)?;
        }
        Err(ConnectionError::Crumbs)
    }

    /// Sends a message; `header.bytes` is set to its length.
    ///
    /// # Errors
    /// [`ConnectionError`]; the connection is of no use afterwards.
    ///
    /// # Panics
    /// When the message or the number of descriptors is over the bound.
    pub fn send(
        &mut self,
        header: Header,
        body: &[&[u8]],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ConnectionError> {
        let length = HEADER_BYTES + body.iter().map(|part| part.len()).sum::<usize>();
        assert!(length <= MESSAGE_MAX && descriptors.len() <= DESCRIPTORS_MAX, "callers split");
        let bytes = u32::try_from(length).expect("just checked");
        let mut message = Vec::with_capacity(length);
        message.extend(Header { bytes, ..header }.encode());
        body.iter().for_each(|part| message.extend_from_slice(part));
        let mut sent = 0;
        for _ in 0..PIECES_MAX {
            // The descriptors go with the first byte.
            let with = if sent == 0 { descriptors } else { &[] };
            match self.send_piece(&message[sent..], with) {
                Ok(count) => sent += count,
                Err(Errno::AGAIN | Errno::INTR) => self.wait(PollFlags::OUT, self.patience)?,
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(ConnectionError::Closed),
                Err(error) => return Err(io::Error::from(error).into()),
            }
            if sent == length {
                return Ok(());
            }
        }
        Err(ConnectionError::Crumbs)
    }

    fn send_piece(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            let fits = ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
            assert!(fits, "the space is for the most descriptors");
        }
        sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
