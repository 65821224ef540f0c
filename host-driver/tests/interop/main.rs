//! Both ends of our vfio-user with rust-vmm's (`vfio_user` 0.1.7), an independent peer.
//!
//! Its client waits for ever on an error reply and does not read error codes, so only what must
//! succeed is asked; it runs in a thread that the test gives up on after ten seconds.

#![cfg(test)]

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use twinpath_abi::bus::Bus;
use twinpath_abi::command::Command;
use twinpath_abi::register::{BAR_BYTES, IDENTITY, IDENTITY_VALUE, WINDOW_COMMAND, WINDOW_SUBMIT};
use twinpath_abi::register::{WINDOW_COMPLETION, WINDOW_DONE};
use twinpath_flow::time::Time;
use twinpath_host_driver::vfio_user::bus::RemoteBus;
use twinpath_host_driver::vfio_user::memory::ServedMemory;
use twinpath_host_driver::vfio_user::server::{Function, Served, Server};
use twinpath_hw_sim::{Card, Profile};
use vfio_bindings::bindings::vfio::{
    VFIO_REGION_INFO_FLAG_MMAP, VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE,
    vfio_region_info, vfio_region_sparse_mmap_area,
};
use vfio_user::{
    Client, DmaMapFlags, DmaUnmapFlags, IrqInfo, ServerBackend, ServerRegion, SparseArea,
};

/// Index of the configuration space among the regions.
const CONFIG_REGION: u32 = 7;
/// Index of MSI-X among the interrupts.
const MSIX: u32 = 2;
/// `VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER`.
const SET_EVENTFDS: u32 = 0x24;
/// Interrupt vectors of the card: its own and one for each of four queues.
const VECTORS: u16 = 5;
/// Turns of 10 ms after which the test gives up.
const TURNS_MAX: u64 = 1000;

/// A card that a server may reset.
struct Resettable<'a>(&'a mut Card<ServedMemory>);

impl Function for Resettable<'_> {
    fn reset(&mut self) {
        self.0.function_reset();
    }
}

fn word(client: &mut Client, offset: u32) -> u32 {
    let mut bytes = [0; 4];
    client.region_read(0, offset.into(), &mut bytes).unwrap();
    u32::from_le_bytes(bytes)
}

/// Memory as the server demands it: a file that cannot shrink.
fn memory(bytes: u64) -> OwnedFd {
    let file = memfd_create("interop", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, bytes).unwrap();
    fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
    file
}

fn has_fired(bell: &OwnedFd) -> bool {
    rustix::io::read(bell, &mut [0; 8]).is_ok()
}

/// Everything the client can ask, and a command through the card's window.
fn drive(path: &Path) {
    let mut client = Client::new(path).unwrap();
    let bar = client.region(0).expect("BAR 0");
    assert_eq!(bar.size, u64::from(BAR_BYTES));
    assert!(bar.file_offset.is_some(), "BAR 0 can be mapped");
    let mut ids = [0; 4];
    client.region_read(CONFIG_REGION, 0, &mut ids).unwrap();
    assert_eq!(ids, [0x34, 0x12, 0x57, 0x74]);
    assert_eq!(word(&mut client, IDENTITY.offset), IDENTITY_VALUE);
    let arena = memory(0x10000);
    client.dma_map(0, 0x1_0000_0000, 0x10000, arena.as_raw_fd()).unwrap();
    let interrupts = client.get_irq_info(MSIX).unwrap();
    assert_eq!(interrupts.count, u32::from(VECTORS));
    let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
    let bells: Vec<OwnedFd> = (0..VECTORS).map(|_| eventfd(0, flags).unwrap()).collect();
    let raw: Vec<i32> = bells.iter().map(AsRawFd::as_raw_fd).collect();
    client.set_irqs(MSIX, SET_EVENTFDS, 0, u32::from(VECTORS), &raw).unwrap();
    client.region_write(0, WINDOW_COMMAND.into(), &Command::Nop.encode(7)).unwrap();
    client.region_write(0, WINDOW_SUBMIT.offset.into(), &1_u32.to_le_bytes()).unwrap();
    // Ends: the main thread gives up on this one.
    while word(&mut client, WINDOW_DONE.offset) != 1 {}
    assert_eq!(word(&mut client, WINDOW_COMPLETION + 64), 7, "the command's tag comes back");
    while !has_fired(&bells[0]) {}
    assert!(!has_fired(&bells[1]), "no other vector fires");
    client.dma_unmap(0x1_0000_0000, 0x10000).unwrap();
    client.reset().unwrap();
    while word(&mut client, WINDOW_DONE.offset) != 0 {}
    client.shutdown().unwrap();
}

#[test]
fn the_client_of_rust_vmm_drives_a_card_that_we_serve() {
    let name = format!("twinpath-interop-{}.sock", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut server = Server::bind(&path, VECTORS).unwrap();
    let mut profile = Profile::named("tiny").unwrap();
    profile.queues = u32::from(VECTORS) - 1;
    let mut card = Card::new(profile, server.memory());
    card.step(0);
    let client = {
        let path = path.clone();
        std::thread::spawn(move || drive(&path))
    };
    let mut departed = false;
    for turn in 1..TURNS_MAX {
        let mut descriptors = [PollFd::from_borrowed_fd(server.descriptor(), PollFlags::IN)];
        let timeout = Timespec::try_from(Duration::from_millis(10)).unwrap();
        poll(&mut descriptors, Some(&timeout)).unwrap();
        departed |= server.serve(Time(turn), &mut Resettable(&mut card)) == Served::Departed;
        card.step(turn * 10_000_000);
        if departed || client.is_finished() {
            break;
        }
    }
    assert!(client.is_finished() || departed, "the client still waits for an answer");
    client.join().expect("the client met nothing unexpected");
}

/// What a server of rust-vmm's was asked.
#[derive(Default)]
struct Backend {
    mapped: Option<(u64, u64, File)>,
    bells: Vec<File>,
    resets: u32,
}

impl ServerBackend for Backend {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> io::Result<()> {
        data.fill(0);
        if region == CONFIG_REGION && offset == 0 {
            data[..4].copy_from_slice(&[0x34, 0x12, 0x57, 0x74]);
        }
        Ok(())
    }

    fn region_write(&mut self, _: u32, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn dma_map(
        &mut self,
        _: DmaMapFlags,
        _: u64,
        address: u64,
        size: u64,
        file: Option<File>,
    ) -> io::Result<()> {
        self.mapped = file.map(|file| (address, size, file));
        Ok(())
    }

    fn dma_unmap(&mut self, _: DmaUnmapFlags, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn reset(&mut self) -> io::Result<()> {
        self.resets += 1;
        Ok(())
    }

    fn set_irqs(&mut self, _: u32, _: u32, _: u32, _: u32, bells: Vec<File>) -> io::Result<()> {
        for bell in &bells {
            rustix::io::write(bell, &1_u64.to_ne_bytes())?;
        }
        self.bells.extend(bells);
        Ok(())
    }
}

fn region(index: u32, size: u64, mapped: Option<&OwnedFd>) -> ServerRegion {
    let access = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
    let mmap = if mapped.is_some() { VFIO_REGION_INFO_FLAG_MMAP } else { 0 };
    // Its server passes the file only along with a sparse area: one that covers the region.
    let area = SparseArea { area: vfio_region_sparse_mmap_area { offset: 0, size } };
    ServerRegion {
        region_info: vfio_region_info {
            argsz: 32,
            flags: access | mmap,
            index,
            size,
            ..vfio_region_info::default()
        },
        sparse_areas: mapped.map(|_| area).into_iter().collect(),
        mmap_fd: mapped.map(AsRawFd::as_raw_fd),
    }
}

#[test]
fn our_client_takes_a_card_that_rust_vmm_serves() {
    let name = format!("twinpath-interop-served-{}.sock", std::process::id());
    let path = std::env::temp_dir().join(name);
    let _ = std::fs::remove_file(&path);
    let bar = memory(BAR_BYTES.into());
    rustix::io::pwrite(&bar, &IDENTITY_VALUE.to_le_bytes(), IDENTITY.offset.into()).unwrap();
    let mut regions: Vec<ServerRegion> = (0..9).map(|index| region(index, 0, None)).collect();
    regions[0] = region(0, BAR_BYTES.into(), Some(&bar));
    regions[CONFIG_REGION as usize] = region(CONFIG_REGION, 256, None);
    let irqs = (0..5).map(|index| {
        let count = if index == MSIX { u32::from(VECTORS) } else { 0 };
        IrqInfo { index, flags: 1, count }
    });
    let server = vfio_user::Server::new(&path, true, irqs.collect(), regions).unwrap();
    let served = std::thread::spawn(move || {
        let mut backend = Backend::default();
        // Ends when the client goes; its reading side then fails.
        let _ = server.run(&mut backend);
        backend
    });
    let bus = RemoteBus::new(&path, 0x10000, VECTORS, Duration::from_secs(5)).unwrap();
    bus.connect().expect("it agrees with our client");
    assert_eq!(bus.read32(IDENTITY.offset), IDENTITY_VALUE, "read from the mapped file");
    bus.write32(WINDOW_SUBMIT.offset, 0x1234_5678);
    let mut submitted = [0; 4];
    rustix::io::pread(&bar, &mut submitted, WINDOW_SUBMIT.offset.into()).unwrap();
    assert_eq!(submitted, 0x1234_5678_u32.to_le_bytes());
    let address = bus.alloc(4096).unwrap();
    bus.copy_in(address, b"twin");
    for vector in 0..VECTORS {
        assert_eq!(bus.poll_interrupt(vector), 1, "vector {vector}");
    }
    assert!(bus.reset_function());
    bus.disconnect();
    let backend = served.join().expect("its server ends without a panic");
    assert_eq!(backend.resets, 1);
    let (base, size, file) = backend.mapped.expect("DMA memory was mapped");
    assert!(size >= 0x10000);
    let mut seen = [0; 4];
    rustix::io::pread(&file, &mut seen, address.0 - base).unwrap();
    assert_eq!(&seen, b"twin", "the card sees what the host writes");
}
