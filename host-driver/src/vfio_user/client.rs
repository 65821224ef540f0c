//! The driver's end of a connection, call by call. Every call ends within the connection's
//! patience; after any error but a refusal the connection is of no use.

use super::connection::{Connection, ConnectionError, Message};
use super::message::body::{DeviceInfo, DmaAccess, DmaMap, DmaUnmap, RegionAccess};
use super::message::header::{Command, Header, Kind};
use super::message::interrupt::{InterruptInfo, SetInterrupts, set};
use super::message::region::RegionInfo;
use super::message::version::{Version, VersionError};
use super::message::{BodyError, DATA_MAX, DESCRIPTORS_MAX};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// Requests of the server answered while one reply is waited for, or in one turn.
const ANSWERED_MAX: u32 = 1024;

/// Room for the reply to a question for a region.
const REGION_ROOM: u32 = 1024;

/// Host memory that the card reaches by messages, where it has no file to map.
pub trait HostMemory: Send + Sync {
    /// Reads it.
    ///
    /// # Errors
    /// The system's error number for the card.
    fn read(&self, address: u64, out: &mut [u8]) -> Result<(), Errno>;

    /// Writes it.
    ///
    /// # Errors
    /// The system's error number for the card.
    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno>;
}

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The connection is at its end.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The server refuses; the connection goes on.
    #[error("the server refuses {command:?}: {source}")]
    Refused {
        /// What.
        command: Command,
        /// Its reason.
        source: io::Error,
    },
    /// What came is not the reply to what was asked.
    #[error("the reply to {command:?} is one to something else")]
    Confused {
        /// What was asked.
        command: Command,
    },
    /// The reply makes no sense.
    #[error("the reply to {command:?}: {source}")]
    Body {
        /// What was asked.
        command: Command,
        /// What is wrong.
        source: BodyError,
    },
    /// The server speaks otherwise.
    #[error(transparent)]
    Version(#[from] VersionError),
}

/// Length of a part that is bounded by [`DATA_MAX`].
fn count_of<T>(part: &[T]) -> u32 {
    u32::try_from(part.len()).expect("parts are bounded by DATA_MAX")
}

/// The driver's end.
pub struct Client {
    connection: Connection,
    next_id: u16,
    server: Version,
    memory: Arc<dyn HostMemory>,
    /// Whether replies may come to what a former process has asked.
    is_heir: bool,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Client").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Client {
    /// Greets the server at the other end of `stream`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn greet(
        stream: UnixStream,
        patience: Duration,
        memory: Arc<dyn HostMemory>,
    ) -> Result<Self, CallError> {
        let connection = Connection::new(stream, patience).map_err(ConnectionError::from)?;
        let server = Version::ours();
        let mut client = Self { connection, next_id: 0, server, memory, is_heir: false };
        let reply = client.call(Command::Version, &[&Version::ours().encode()], &[])?;
        client.server = Version::decode(&reply.body)?;
        Ok(client)
    }

    /// The client's end of a connection that has been greeted by a process that is gone. Replies to
    /// that process are passed over; `first_id` should be none that it used lately.
    ///
    /// # Errors
    /// The system's.
    pub fn resume(
        stream: UnixStream,
        patience: Duration,
        memory: Arc<dyn HostMemory>,
        first_id: u16,
    ) -> Result<Self, CallError> {
        let connection = Connection::new(stream, patience).map_err(ConnectionError::from)?;
        let server = Version::ours();
        Ok(Self { connection, next_id: first_id, server, memory, is_heir: true })
    }

    /// What the device is.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn device_info(&mut self) -> Result<DeviceInfo, CallError> {
        let command = Command::DeviceInfo;
        let reply = self.call(command, &[&DeviceInfo::default().encode()], &[])?;
        DeviceInfo::decode(&reply.body).map_err(|source| CallError::Body { command, source })
    }

    /// What a region is, and the file to map it from.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn region_info(&mut self, index: u32) -> Result<(RegionInfo, Option<OwnedFd>), CallError> {
        let command = Command::RegionInfo;
        let mut room = REGION_ROOM;
        loop {
            let mut reply = self.call(command, &[&RegionInfo::request(index, room)], &[])?;
            let (length, info) = RegionInfo::decode(&reply.body)
                .map_err(|source| CallError::Body { command, source })?;
            if info.index != index {
                return Err(CallError::Confused { command });
            }
            // Ends: asked again at most once, with as much room as the server wanted at first.
            if length <= room || room != REGION_ROOM {
                return Ok((info, reply.descriptors.drain(..).next()));
            }
            room = length;
        }
    }

    /// What an interrupt index is.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn interrupt_info(&mut self, index: u32) -> Result<InterruptInfo, CallError> {
        let command = Command::InterruptInfo;
        let body = InterruptInfo { index, ..InterruptInfo::default() }.encode();
        let reply = self.call(command, &[&body], &[])?;
        InterruptInfo::decode(&reply.body).map_err(|source| CallError::Body { command, source })
    }

    /// Gives the card memory in a file.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn dma_map(&mut self, map: &DmaMap, file: BorrowedFd<'_>) -> Result<(), CallError> {
        self.call(Command::DmaMap, &[&map.encode()], &[file]).map(drop)
    }

    /// Takes it away.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn dma_unmap(&mut self, unmap: &DmaUnmap) -> Result<(), CallError> {
        self.call(Command::DmaUnmap, &[&unmap.encode()], &[]).map(drop)
    }

    /// Wires vectors of an interrupt index up, from vector 0 on, as many in one message as the
    /// server takes.
    ///
    /// # Errors
    /// [`CallError`]; some may be wired up then.
    pub fn set_interrupts(&mut self, index: u32, bells: &[OwnedFd]) -> Result<(), CallError> {
        let chunk = self.server.descriptors_max.clamp(1, DESCRIPTORS_MAX);
        let mut start = 0;
        for bells in bells.chunks(chunk) {
            let count = count_of(bells);
            let flags = set::EVENTFD | set::TRIGGER;
            let body = SetInterrupts { flags, index, start, count }.encode();
            let bells: Vec<_> = bells.iter().map(AsFd::as_fd).collect();
            self.call(Command::SetInterrupts, &[&body], &bells)?;
            start += count;
        }
        Ok(())
    }

    /// Disables all vectors of an interrupt index.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn disable_interrupts(&mut self, index: u32) -> Result<(), CallError> {
        let flags = set::NONE | set::TRIGGER;
        let body = SetInterrupts { flags, index, start: 0, count: 0 }.encode();
        self.call(Command::SetInterrupts, &[&body], &[]).map(drop)
    }

    /// Reads a region.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn region_read(
        &mut self,
        region: u32,
        mut offset: u64,
        out: &mut [u8],
    ) -> Result<(), CallError> {
        let command = Command::RegionRead;
        let most = self.server.data_max.clamp(1, DATA_MAX);
        for part in out.chunks_mut(most) {
            let count = count_of(part);
            let access = RegionAccess { offset, region, count };
            let reply = self.call(command, &[&access.encode()], &[])?;
            let (echo, data) = RegionAccess::decode(&reply.body)
                .map_err(|source| CallError::Body { command, source })?;
            if echo != access || data.len() != part.len() {
                return Err(CallError::Confused { command });
            }
            part.copy_from_slice(data);
            offset = offset.saturating_add(count.into());
        }
        Ok(())
    }

    /// Writes a region.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn region_write(
        &mut self,
        region: u32,
        mut offset: u64,
        bytes: &[u8],
    ) -> Result<(), CallError> {
        let most = self.server.data_max.clamp(1, DATA_MAX);
        for part in bytes.chunks(most) {
            let count = count_of(part);
            let access = RegionAccess { offset, region, count };
            self.call(Command::RegionWrite, &[&access.encode(), part], &[])?;
            offset = offset.saturating_add(count.into());
        }
        Ok(())
    }

    /// Resets the function.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn reset(&mut self) -> Result<(), CallError> {
        self.call(Command::DeviceReset, &[], &[]).map(drop)
    }

    /// Answers what the server has asked by now; never waits for more.
    ///
    /// # Errors
    /// [`CallError`] when the connection is at its end.
    pub fn attend(&mut self) -> Result<(), CallError> {
        for _ in 0..ANSWERED_MAX {
            let Some(message) = self.connection.try_receive()? else { break };
            let command = Command::of(message.header.command).unwrap_or(Command::Version);
            match message.header.kind {
                Kind::Command | Kind::Quiet => self.answer(&message)?,
                Kind::Reply | Kind::Refusal(_) if self.is_heir => {}
                Kind::Reply | Kind::Refusal(_) => return Err(CallError::Confused { command }),
            }
        }
        Ok(())
    }

    /// A descriptor of our own for the connection.
    ///
    /// # Errors
    /// The process has no descriptors left.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.connection.as_fd().try_clone_to_owned()
    }

    /// Asks and waits for the reply.
    fn call(
        &mut self,
        command: Command,
        body: &[&[u8]],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Message, CallError> {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let header = Header { id, command: command as u16, bytes: 0, kind: Kind::Command };
        self.connection.send(header, body, descriptors)?;
        for _ in 0..ANSWERED_MAX {
            let message = self.connection.receive()?;
            let Header { id: of, command: to, kind, .. } = message.header;
            match kind {
                Kind::Command | Kind::Quiet => {
                    self.answer(&message)?;
                    continue;
                }
                _ if (of, to) != (id, command as u16) && self.is_heir => continue,
                _ if (of, to) != (id, command as u16) => {
                    return Err(CallError::Confused { command });
                }
                Kind::Reply => return Ok(message),
                Kind::Refusal(number) => {
                    let source = match i32::try_from(number) {
                        Ok(number) if number > 0 => io::Error::from_raw_os_error(number),
                        // rust-vmm's server tells one reason only.
                        _ => io::Error::other("without a reason"),
                    };
                    return Err(CallError::Refused { command, source });
                }
            }
        }
        Err(CallError::Confused { command })
    }

    /// Answers a request of the server.
    fn answer(&mut self, message: &Message) -> Result<(), CallError> {
        let result = self.carry_out(message);
        let kind = match &result {
            _ if message.header.kind == Kind::Quiet => return Ok(()),
            Ok(_) => Kind::Reply,
            Err(error) => Kind::Refusal(error.raw_os_error().unsigned_abs()),
        };
        let body = result.unwrap_or_default();
        let header = Header { kind, ..message.header };
        Ok(self.connection.send(header, &[&body], &[])?)
    }

    fn carry_out(&self, message: &Message) -> Result<Vec<u8>, Errno> {
        let command = Command::of(message.header.command);
        if !matches!(command, Some(Command::DmaRead | Command::DmaWrite)) {
            return Err(Errno::OPNOTSUPP);
        }
        let (access, data) = DmaAccess::decode(&message.body).map_err(|_| Errno::INVAL)?;
        let count = usize::try_from(access.count).expect("bounded by DATA_MAX");
        let mut body = Vec::from(access.encode());
        if command == Some(Command::DmaRead) {
            body.resize(DmaAccess::BYTES + count, 0);
            self.memory.read(access.address, &mut body[DmaAccess::BYTES..])?;
        } else if data.len() == count {
            self.memory.write(access.address, data)?;
        } else {
            return Err(Errno::INVAL);
        }
        Ok(body)
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}
