//! The command ring: one command at a time, carried out within the doorbell's store.

use super::command::{BUFFER_BYTES, Command};
use super::io::RockerIo;
use super::notes::Notes;
use super::register::RingRegisters;
use super::ring::{Ring, RingSize, Work};
use super::tlv::TooLong;
use twinpath_abi::bus::Iova;
use twinpath_flow::card::{DeathCause, Refusal};

/// One command is under way at most; a few more slots keep the indices moving.
pub(crate) const RING: RingSize = RingSize::log2(3);

/// Memory of the command ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ControlMemory {
    /// Descriptors.
    pub base: Iova,
    /// Buffer of [`BUFFER_BYTES`].
    pub buffer: Iova,
}

/// Why a command was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    /// The device refused it.
    #[error("card error code {0}")]
    Card(u16),
    /// It does not fit a buffer.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The device does not work any more.
    #[error(transparent)]
    Dead(DeathCause),
}

/// `ENOMEM` and `ENOBUFS`, as the device numbers them.
const OUT_OF_MEMORY: [u16; 2] = [12, 105];

/// `ENOENT`.
const NOT_THERE: u16 = 2;

impl CommandError {
    /// What to answer for the operation; `Err` when the device is dead.
    pub(crate) const fn refusal(self) -> Result<Refusal, DeathCause> {
        match self {
            Self::Card(code) if code == OUT_OF_MEMORY[0] || code == OUT_OF_MEMORY[1] => {
                Ok(Refusal::TableFull)
            }
            Self::Card(code) => Ok(Refusal::Card(code)),
            Self::TooLong(_) => Ok(Refusal::Unsupported),
            Self::Dead(cause) => Err(cause),
        }
    }
}

/// The command ring.
#[derive(Debug)]
pub(crate) struct Control {
    ring: Ring,
    buffer: Iova,
    sequence: u64,
    /// For a driver to come.
    pub notes: Notes,
}

impl Control {
    pub(crate) fn program(io: &impl RockerIo, memory: ControlMemory, notes: Notes) -> Self {
        let ring = Ring::program(io, RingRegisters::COMMAND, memory.base, RING);
        Self { ring, buffer: memory.buffer, sequence: 0, notes }
    }

    /// Has something deleted that may be gone already.
    ///
    /// # Errors
    /// As [`Control::execute`].
    pub(crate) fn delete(
        &mut self,
        io: &impl RockerIo,
        command: &Command<'_>,
    ) -> Result<(), CommandError> {
        match self.execute(io, command) {
            Err(CommandError::Card(NOT_THERE)) => Ok(()),
            result => result,
        }
    }

    /// Has a command carried out.
    ///
    /// # Errors
    /// [`CommandError`]. The device is dead when its completion is not there at once: it could not
    /// write it (its tail moved all the same) or did not work at all.
    pub(crate) fn execute(
        &mut self,
        io: &impl RockerIo,
        command: &Command<'_>,
    ) -> Result<(), CommandError> {
        let request = command.encode()?;
        match command {
            Command::AddFlow(cookie, _) => self.notes.adds_flow(io, cookie.0),
            Command::AddInterface(interface) => self.notes.adds_group(io, interface.id().0),
            Command::AddRewrite(id, _) | Command::AddFlood(id, _) => {
                self.notes.adds_group(io, id.0);
            }
            Command::Settings(_)
            | Command::StopLearning(_)
            | Command::DeleteFlow(_)
            | Command::DeleteGroup(_) => {}
        }
        let tlv_bytes = u16::try_from(request.len()).map_err(|_| TooLong(request.len()))?;
        io.copy_in(self.buffer, &request);
        self.sequence += 1;
        let work = Work { buffer: self.buffer, buffer_bytes: BUFFER_BYTES, tlv_bytes };
        self.ring.push(io, work, self.sequence);
        self.ring.ring(io);
        let Some(completion) = self.ring.pop(io) else {
            let tail = self.ring.device_tail(io);
            tracing::warn!(tail, sequence = self.sequence, "command without completion");
            let gone = tail == u32::MAX;
            return Err(CommandError::Dead(if gone {
                DeathCause::AllOnes
            } else {
                DeathCause::Deadline
            }));
        };
        self.ring.give_back(io, 1);
        if completion.cookie != self.sequence || completion.tlv_bytes > BUFFER_BYTES {
            return Err(CommandError::Dead(DeathCause::Garbage));
        }
        match completion.error {
            0 => Ok(()),
            code => Err(CommandError::Card(code)),
        }
    }
}
