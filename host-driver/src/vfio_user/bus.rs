//! `Bus` to a card in another process, over any number of connections, one at a time.

use super::arena::Arena;
use super::bell;
use super::client::{CallError, Client};
use super::identity::{DEVICE_ID, VENDOR_ID};
use super::message::body::{DmaMap, dma};
use super::message::interrupt::MSIX;
use super::message::region::flag;
use super::sealed::{self, SealError};
use super::shared::{Pages, SharedMapping};
use super::{CONFIG_REGION, message};
use rustix::event::{PollFd, PollFlags};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;
use twinpath_abi::bus::{AllocError, Bus, Iova};
use twinpath_abi::register::BAR_BYTES;

/// Command register of the configuration space, and its bits memory space and bus master.
const COMMAND: (u64, [u8; 2]) = (4, [6, 0]);

/// Why there is no connection to a card.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens.
    #[error("{}: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A call did not succeed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Another device.
    #[error("the device is {vendor:04x}:{device:04x}, not a twin card")]
    OtherDevice {
        /// Vendor id.
        vendor: u16,
        /// Device id.
        device: u16,
    },
    /// Its registers cannot be mapped whole.
    #[error("BAR 0 cannot be mapped whole ({bytes} bytes, flags {flags:#x})")]
    NotMappable {
        /// Its length.
        bytes: u64,
        /// Its flags.
        flags: u32,
    },
    /// The server's file for them.
    #[error("BAR 0: {0}")]
    File(#[from] SealError),
}

/// What a bus is made of, for a process to come.
#[derive(Debug)]
pub struct Keepsakes {
    /// The connection.
    pub socket: OwnedFd,
    /// DMA memory.
    pub memory: OwnedFd,
    /// Interrupt vectors, in order.
    pub bells: Vec<OwnedFd>,
}

/// The bus. Without a connection, registers read as all ones, as of a function that is gone.
#[derive(Debug)]
pub struct RemoteBus {
    path: PathBuf,
    patience: Duration,
    bar: SharedMapping,
    /// What the BAR reads where there is no card.
    vacancy: OwnedFd,
    arena: Arc<Arena>,
    bells: Vec<OwnedFd>,
    client: Mutex<Option<Client>>,
}

impl RemoteBus {
    /// A bus without a connection, to the card served on the socket at `path`: DMA memory of
    /// `arena` bytes, at most `vectors` interrupt vectors; no answer is waited for longer than
    /// `patience`.
    ///
    /// # Errors
    /// The system has no memory or descriptors.
    ///
    /// # Panics
    /// When a memory file takes only a part of what is written.
    pub fn new(
        path: &Path,
        arena: usize,
        vectors: u16,
        patience: Duration,
    ) -> Result<Self, SealError> {
        let bells: io::Result<Vec<_>> = (0..vectors).map(|_| bell::create()).collect();
        Self::with(path, Arena::new(arena)?, bells?, patience)
    }

    /// A bus without a connection.
    fn with(
        path: &Path,
        arena: Arena,
        bells: Vec<OwnedFd>,
        patience: Duration,
    ) -> Result<Self, SealError> {
        let vacancy = sealed::create("twinpath-vacancy", BAR_BYTES.into())?;
        let ones = vec![0xff; BAR_BYTES as usize];
        let written = rustix::io::pwrite(&vacancy, &ones, 0).map_err(io::Error::from)?;
        assert_eq!(written, ones.len(), "a memory file takes all");
        let bar = SharedMapping::new(vacancy.as_fd(), 0, BAR_BYTES.into())?;
        bar.replace(vacancy.as_fd(), Pages::Private)?;
        let (path, arena) = (path.to_owned(), Arc::new(arena));
        Ok(Self { path, patience, bar, vacancy, arena, bells, client: Mutex::new(None) })
    }

    /// The bus of a process that is gone: its connection, memory and bells, which the server never
    /// stopped to use. Nothing of the memory is allocated.
    ///
    /// # Errors
    /// [`ConnectError`] when the connection has ended or the memory is another.
    pub fn resume(
        path: &Path,
        keepsakes: Keepsakes,
        arena: usize,
        patience: Duration,
    ) -> Result<Self, ConnectError> {
        let Keepsakes { socket, memory, bells } = keepsakes;
        let bus = Self::with(path, Arena::resume(memory, arena)?, bells, patience)?;
        let memory = Arc::clone(&bus.arena);
        // Processes that follow on each other have different numbers.
        let [.., high, low] = std::process::id().to_be_bytes();
        let first_id = u16::from_be_bytes([high, low]).wrapping_mul(64);
        let mut client = Client::resume(UnixStream::from(socket), patience, memory, first_id)?;
        let bar = bus.bar_file(&mut client)?;
        bus.bar.replace(bar.as_fd(), Pages::Shared)?;
        *bus.lock() = Some(client);
        Ok(bus)
    }

    /// Descriptors with which [`RemoteBus::resume`] goes on in another process, if there is a
    /// connection.
    ///
    /// # Errors
    /// The process has no descriptors left.
    pub fn keepsakes(&self) -> io::Result<Option<Keepsakes>> {
        let place = self.lock();
        let Some(client) = place.as_ref() else { return Ok(None) };
        let bells: io::Result<Vec<_>> =
            self.bells().map(|bell| bell.try_clone_to_owned()).collect();
        Ok(Some(Keepsakes {
            socket: client.duplicate()?,
            memory: self.arena.file().try_clone_to_owned()?,
            bells: bells?,
        }))
    }

    /// Connects, in place of an earlier connection. May be called by any thread: others go on
    /// with what there was until all is agreed.
    ///
    /// # Errors
    /// [`ConnectError`]; what there was stays.
    pub fn connect(&self) -> Result<(), ConnectError> {
        let stream = UnixStream::connect(&self.path)
            .map_err(|source| ConnectError::Socket { path: self.path.clone(), source })?;
        self.adopt(stream)
    }

    /// As [`RemoteBus::connect`], over a connected socket.
    ///
    /// # Errors
    /// [`ConnectError`]; what there was stays.
    pub fn adopt(&self, stream: UnixStream) -> Result<(), ConnectError> {
        let memory = Arc::clone(&self.arena);
        let mut client = Client::greet(stream, self.patience, memory)?;
        let mut ids = [0; 4];
        client.region_read(CONFIG_REGION, 0, &mut ids)?;
        let [vendor, device] = [[ids[0], ids[1]], [ids[2], ids[3]]].map(u16::from_le_bytes);
        if (vendor, device) != (VENDOR_ID, DEVICE_ID) {
            return Err(ConnectError::OtherDevice { vendor, device });
        }
        let bar = self.bar_file(&mut client)?;
        let (address, bytes) = (self.arena.base(), self.arena.bytes());
        let map = DmaMap { flags: dma::READ | dma::WRITE, offset: 0, address, bytes };
        client.dma_map(&map, self.arena.file())?;
        let vectors = client.interrupt_info(MSIX)?.count as usize;
        client.set_interrupts(MSIX, &self.bells[..self.bells.len().min(vectors)])?;
        client.region_write(CONFIG_REGION, COMMAND.0, &COMMAND.1)?;
        let mut place = self.lock();
        self.bar.replace(bar.as_fd(), Pages::Shared)?;
        *place = Some(client);
        Ok(())
    }

    /// The file of the registers, all of which must be mappable.
    fn bar_file(&self, client: &mut Client) -> Result<OwnedFd, ConnectError> {
        let (info, file) = client.region_info(0)?;
        let (bytes, flags) = (info.bytes, info.flags);
        let covered = |area: &message::region::Area| area.offset == 0 && area.bytes >= bytes;
        let whole = info.areas.is_empty() || info.areas.iter().any(covered);
        let usable = flags & flag::MMAP != 0 && bytes >= BAR_BYTES.into() && info.offset == 0;
        file.filter(|_| usable && whole).ok_or(ConnectError::NotMappable { bytes, flags })
    }

    /// Whether there is a connection; notices its end, and answers what the server asks.
    pub fn is_connected(&self) -> bool {
        let mut place = match self.client.try_lock() {
            Ok(place) => place,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // A connection is being put in place right now.
            Err(TryLockError::WouldBlock) => return false,
        };
        self.look(&mut place)
    }

    fn look(&self, place: &mut MutexGuard<'_, Option<Client>>) -> bool {
        let Some(client) = &mut **place else { return false };
        let Err(error) = client.attend() else { return true };
        tracing::debug!(path = %self.path.display(), %error, "connection to the card ended");
        self.vacate(place);
        false
    }

    /// Ends the connection: registers read as all ones from now on.
    pub fn disconnect(&self) {
        self.vacate(&mut self.lock());
    }

    fn vacate(&self, place: &mut Option<Client>) {
        *place = None;
        if let Err(error) = self.bar.replace(self.vacancy.as_fd(), Pages::Private) {
            // The old registers stay in view; their heart does not beat any more.
            tracing::warn!(%error, "registers of a card that is gone");
        }
    }

    /// Resets the function; `false` when there is none to reset or it refuses.
    pub fn reset_function(&self) -> bool {
        let mut place = self.lock();
        match place.as_mut().map(Client::reset) {
            Some(Ok(())) => true,
            Some(Err(CallError::Refused { .. })) | None => false,
            Some(Err(error)) => {
                tracing::debug!(%error, "function reset");
                self.vacate(&mut place);
                false
            }
        }
    }

    /// Descriptors that become readable when an interrupt came; [`Bus::poll_interrupt`] takes it.
    pub fn bells(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.bells.iter().map(OwnedFd::as_fd)
    }

    /// The socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&self) -> MutexGuard<'_, Option<Client>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, address: Iova, length: usize) -> usize {
        self.arena.locate(address.0, length).expect("the driver reaches what it allocated")
    }
}

impl Bus for RemoteBus {
    fn bar_bytes(&self) -> u32 {
        BAR_BYTES
    }

    fn read32(&self, offset: u32) -> u32 {
        self.bar.load32(offset as usize)
    }

    fn write32(&self, offset: u32, value: u32) {
        self.bar.store32(offset as usize, value);
    }

    fn alloc(&self, bytes: usize) -> Result<Iova, AllocError> {
        self.arena.alloc(bytes)
    }

    fn reclaim(&self) {
        self.arena.reclaim();
    }

    fn copy_out(&self, from: Iova, out: &mut [u8]) {
        self.arena.mapping.read(self.place(from, out.len()), out);
    }

    fn copy_in(&self, to: Iova, bytes: &[u8]) {
        self.arena.mapping.write(self.place(to, bytes.len()), bytes);
    }

    fn load64(&self, from: Iova) -> u64 {
        self.arena.mapping.load64(self.place(from, 8))
    }

    fn store64(&self, to: Iova, value: u64) {
        self.arena.mapping.store64(self.place(to, 8), value);
    }

    fn vectors(&self) -> u16 {
        u16::try_from(self.bells.len()).expect("made from a u16")
    }

    fn poll_interrupt(&self, vector: u16) -> u64 {
        bell::take(&self.bells[usize::from(vector)])
    }

    fn wait_interrupt(&self, timeout: Duration) -> bool {
        let mut place = self.lock();
        let watch = |bell| PollFd::from_borrowed_fd(bell, PollFlags::IN);
        let mut descriptors: Vec<_> = self.bells().map(watch).collect();
        descriptors.extend(place.as_ref().map(|client| watch(client.as_fd())));
        let came = bell::is_ready(&mut descriptors, timeout);
        let rang =
            came && descriptors[..self.bells.len()].iter().any(|bell| !bell.revents().is_empty());
        drop(descriptors);
        self.look(&mut place);
        rang
    }
}
