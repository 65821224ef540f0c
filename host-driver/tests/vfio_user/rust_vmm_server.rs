//! Our client against rust-vmm's server, whose known defects must not hang or deceive us.

use crate::served::socket;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use twinpath_abi::bus::Bus as _;
use twinpath_abi::register::{BAR_BYTES, IDENTITY_VALUE};
use twinpath_host_driver::vfio_user::bus::{ConnectError, RemoteBus};
use twinpath_host_driver::vfio_user::client::{CallError, Client, HostMemory};
use twinpath_host_driver::vfio_user::identity::ConfigSpace;
use twinpath_host_driver::vfio_user::message::body::{DmaMap, DmaUnmap};
use twinpath_host_driver::vfio_user::sealed;
use twinpath_host_driver::vfio_user::shared::SharedMapping;
use vfio_bindings::bindings::vfio::{vfio_region_info, vfio_region_sparse_mmap_area};
use vfio_user::{
    DmaMapFlags, DmaUnmapFlags, IrqInfo, Server, ServerBackend, ServerRegion, SparseArea,
};

/// What the device was told.
#[derive(Default)]
struct Told {
    maps: Vec<(u64, u64, u64)>,
    memory: Option<SharedMapping>,
    bells: Vec<(u32, File)>,
    resets: u32,
}

/// A device that knows what a twin card shows, and refuses registers beyond its BAR.
struct Device {
    bar: SharedMapping,
    config: ConfigSpace,
    told: Arc<Mutex<Told>>,
}

impl ServerBackend for Device {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        match region {
            0 if offset + data.len() <= self.bar.bytes() => self.bar.read(offset, data),
            7 => self.config.read(offset, data),
            _ => return Err(io::Error::from_raw_os_error(22)),
        }
        Ok(())
    }
    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        match region {
            0 => self.bar.write(offset, data),
            _ => self.config.write(offset, data),
        }
        Ok(())
    }
    fn dma_map(
        &mut self,
        _: DmaMapFlags,
        offset: u64,
        address: u64,
        size: u64,
        file: Option<File>,
    ) -> io::Result<()> {
        let mut told = self.told.lock().unwrap();
        told.maps.push((offset, address, size));
        let file = file.unwrap();
        told.memory = Some(SharedMapping::new(file.as_fd(), offset, size).unwrap());
        Ok(())
    }
    fn dma_unmap(&mut self, _: DmaUnmapFlags, address: u64, _: u64) -> io::Result<()> {
        let mut told = self.told.lock().unwrap();
        let known = told.maps.iter().position(|map| map.1 == address);
        told.maps.remove(known.ok_or_else(|| io::Error::from_raw_os_error(2))?);
        Ok(())
    }
    fn reset(&mut self) -> io::Result<()> {
        self.told.lock().unwrap().resets += 1;
        Ok(())
    }
    fn set_irqs(&mut self, _: u32, _: u32, start: u32, _: u32, files: Vec<File>) -> io::Result<()> {
        let files = files.into_iter().enumerate();
        let numbered = files.map(|(index, file)| (start + u32::try_from(index).unwrap(), file));
        self.told.lock().unwrap().bells.extend(numbered);
        Ok(())
    }
}

struct Peer {
    path: PathBuf,
    told: Arc<Mutex<Told>>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    /// A device with that file as BAR 0, for one connection.
    fn start(file: OwnedFd) -> Self {
        let offered = file.try_clone().unwrap();
        Self::start_with(file, offered)
    }

    /// The same, but another file is offered to the client.
    fn start_with(file: OwnedFd, offered: OwnedFd) -> Self {
        let bar = SharedMapping::new(file.as_fd(), 0, BAR_BYTES.into()).unwrap();
        bar.store32(0, IDENTITY_VALUE);
        let region = |index: u32, size: u64| ServerRegion {
            region_info: vfio_region_info {
                argsz: 32,
                flags: if index == 0 { 7 } else { 3 },
                index,
                size,
                ..vfio_region_info::default()
            },
            sparse_areas: Vec::new(),
            mmap_fd: None,
        };
        let mut regions: Vec<_> = (0..9).map(|index| region(index, 0)).collect();
        regions[7] = region(7, 256);
        regions[0] = region(0, BAR_BYTES.into());
        // It sends the file only with an area.
        let area = vfio_region_sparse_mmap_area { offset: 0, size: BAR_BYTES.into() };
        regions[0].sparse_areas.push(SparseArea { area });
        regions[0].mmap_fd = Some(offered.as_raw_fd());
        let count = |index| if index == 2 { 20 } else { 0 };
        let irqs = (0..5).map(|index| IrqInfo { index, flags: 1, count: count(index) }).collect();
        let path = socket("rust-vmm");
        let server = Server::new(&path, true, irqs, regions).unwrap();
        let told = Arc::new(Mutex::new(Told::default()));
        let device = Device { bar, config: ConfigSpace::new(20), told: Arc::clone(&told) };
        let thread = std::thread::spawn(move || {
            let (mut device, _offered) = (device, offered);
            let _ = server.run(&mut device);
        });
        Self { path, told, thread: Some(thread) }
    }

    fn client(&self) -> Client {
        let stream = UnixStream::connect(&self.path).unwrap();
        Client::greet(stream, Duration::from_secs(2), Arc::new(NoMemory)).unwrap()
    }

    /// Waits for the end of the connection.
    fn end(&mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

/// No request of the server is expected.
struct NoMemory;

impl HostMemory for NoMemory {
    fn read(&self, _: u64, _: &mut [u8]) -> Result<(), rustix::io::Errno> {
        Err(rustix::io::Errno::FAULT)
    }
    fn write(&self, _: u64, _: &[u8]) -> Result<(), rustix::io::Errno> {
        Err(rustix::io::Errno::FAULT)
    }
}

#[test]
fn the_bus_connects_to_it_and_both_reach_all_memory() {
    let mut peer = Peer::start(sealed::create("bar", BAR_BYTES.into()).unwrap());
    let bus = RemoteBus::new(&peer.path, 1 << 20, 18, Duration::from_secs(2)).unwrap();
    assert_eq!(bus.read32(0), u32::MAX, "nobody there yet");
    bus.connect().unwrap();
    assert_eq!(bus.read32(0), IDENTITY_VALUE);
    let iova = bus.alloc(4096).unwrap();
    bus.copy_in(iova, b"from the host");
    {
        let told = peer.told.lock().unwrap();
        assert_eq!(told.maps, [(0, 0x1_0000_0000, 1 << 20)]);
        let mut bytes = [0; 13];
        let start = usize::try_from(iova.0 - 0x1_0000_0000).unwrap();
        told.memory.as_ref().unwrap().read(start, &mut bytes);
        assert_eq!(&bytes, b"from the host");
        // One descriptor a message is all that it promises to take.
        let vectors: Vec<u32> = told.bells.iter().map(|(vector, _)| *vector).collect();
        assert_eq!(vectors, (0..18).collect::<Vec<_>>());
        rustix::io::write(&told.bells[17].1, &1_u64.to_ne_bytes()).unwrap();
    }
    assert!(bus.wait_interrupt(Duration::from_secs(2)));
    assert_eq!((bus.poll_interrupt(16), bus.poll_interrupt(17)), (0, 1));
    assert!(bus.reset_function());
    assert_eq!(peer.told.lock().unwrap().resets, 1);
    bus.disconnect();
    assert_eq!(bus.read32(0), u32::MAX);
    peer.end();
}

#[test]
fn refusals_without_a_reason_are_refusals() {
    let peer = Peer::start(sealed::create("bar", BAR_BYTES.into()).unwrap());
    let mut client = peer.client();
    // Its own client would wait for ever here, or take stale bytes.
    let refusal = client.region_read(0, u64::from(BAR_BYTES) - 2, &mut [0; 4]).unwrap_err();
    assert!(matches!(refusal, CallError::Refused { .. }), "{refusal}");
    assert!(refusal.to_string().ends_with("refuses RegionRead: without a reason"), "{refusal}");
    let unmap = DmaUnmap { flags: 0, address: 0x5000, bytes: 4096 };
    assert!(matches!(client.dma_unmap(&unmap), Err(CallError::Refused { .. })));
    // The connection goes on.
    let mut word = [0; 4];
    client.region_read(0, 0, &mut word).unwrap();
    assert_eq!(word, IDENTITY_VALUE.to_le_bytes());
    assert_eq!(client.device_info().unwrap().regions, 9);
}

#[test]
fn a_server_that_loses_its_place_ends_the_call_and_not_the_client() {
    let peer = Peer::start(sealed::create("bar", BAR_BYTES.into()).unwrap());
    let mut client = peer.client();
    // It refuses an unknown region before it has read the data, and takes those for a header.
    let refusal = client.region_write(12, 0, &[0xff; 32]).unwrap_err();
    assert!(matches!(refusal, CallError::Refused { .. }), "{refusal}");
    let file = sealed::create("arena", 4096).unwrap();
    let map = DmaMap { flags: 3, offset: 0, address: 0, bytes: 4096 };
    client.dma_map(&map, file.as_fd()).unwrap_err();
}

#[test]
fn a_file_that_could_be_cut_off_is_not_mapped() {
    let flags = rustix::fs::MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create("loose", flags).unwrap();
    rustix::fs::ftruncate(&file, BAR_BYTES.into()).unwrap();
    let loose = file.try_clone().unwrap();
    // The device's own mapping wants a seal, too; it gets another file.
    let sealed_file = sealed::create("bar", BAR_BYTES.into()).unwrap();
    let peer = Peer::start_with(sealed_file, loose);
    let bus = RemoteBus::new(&peer.path, 4096, 1, Duration::from_secs(2)).unwrap();
    let refusal = bus.connect().unwrap_err();
    assert!(matches!(refusal, ConnectError::File(_)), "{refusal}");
    assert_eq!(bus.read32(0), u32::MAX);
}
