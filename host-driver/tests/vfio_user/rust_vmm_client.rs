//! rust-vmm's client against our server.

use crate::served::Service;
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::Ordering;
use twinpath_abi::bus::CardMemory as _;
use twinpath_abi::register::{BAR_BYTES, EPOCH, IDENTITY_VALUE};
use twinpath_host_driver::vfio_user::sealed;
use twinpath_host_driver::vfio_user::shared::SharedMapping;
use vfio_user::Client;

/// MSI-X, event descriptors that trigger (VFIO's numbers).
const MSIX: u32 = 2;
const TRIGGER_BY_EVENTFD: u32 = 4 | 32;
/// No data, trigger: with a count of 0 all vectors are disabled.
const DISABLE: u32 = 1 | 32;

fn bell() -> OwnedFd {
    eventfd(0, EventfdFlags::NONBLOCK).unwrap()
}

fn rings(bell: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    rustix::io::read(bell, &mut count).map_or(0, |_| u64::from_ne_bytes(count))
}

#[test]
fn it_finds_the_device_maps_its_bar_and_reads_what_it_maps() {
    let service = Service::start(2);
    let mut client = Client::new(service.path()).unwrap();
    let bar = client.region(0).unwrap();
    assert_eq!((bar.size, bar.flags & 7, bar.sparse_areas.len()), (BAR_BYTES.into(), 7, 1));
    let file = bar.file_offset.clone().unwrap();
    assert_eq!(file.start(), 0);
    let mapped = SharedMapping::new(file.file().as_fd(), 0, BAR_BYTES.into()).unwrap();
    assert_eq!(mapped.load32(0), IDENTITY_VALUE);
    mapped.store32(0x1000, 0x1122_3344);
    let mut word = [0; 4];
    client.region_read(0, 0x1000, &mut word).unwrap();
    assert_eq!(word, 0x1122_3344_u32.to_le_bytes());
    client.region_write(0, 0x1000, &[1, 2, 3, 4]).unwrap();
    assert_eq!(service.memory.load32(0x1000), 0x0403_0201);
    client.region_read(7, 0, &mut word).unwrap();
    assert_eq!(word, [0x34, 0x12, 0x57, 0x74]);
    assert_eq!(client.get_irq_info(MSIX).unwrap().count, 3);
    // Its `resettable` says the contrary of what the device says.
    assert!(!client.resettable());
}

#[test]
fn the_card_reaches_its_memory_until_it_is_unmapped() {
    let service = Service::start(2);
    let mut client = Client::new(service.path()).unwrap();
    let file = sealed::create("arena", 8192).unwrap();
    client.dma_map(4096, 0x10_0000, 4096, file.as_raw_fd()).unwrap();
    service.memory.dma_write(0x10_0010, b"by the card").unwrap();
    let arena = SharedMapping::new(file.as_fd(), 4096, 4096).unwrap();
    let mut bytes = [0; 11];
    arena.read(0x10, &mut bytes);
    assert_eq!(&bytes, b"by the card");
    assert!(service.memory.dma_read(0x10_0ff8, &mut [0; 9]).is_err(), "beyond the map");
    client.dma_unmap(0x10_0000, 4096).unwrap();
    assert!(service.memory.dma_read(0x10_0000, &mut [0; 8]).is_err());
}

#[test]
fn maps_that_touch_are_one_for_the_card_and_overlaps_are_refused() {
    let service = Service::start(2);
    let mut client = Client::new(service.path()).unwrap();
    let file = sealed::create("arena", 8192).unwrap();
    client.dma_map(4096, 0x10_1000, 4096, file.as_raw_fd()).unwrap();
    client.dma_map(0, 0x10_0000, 4096, file.as_raw_fd()).unwrap();
    let bytes: Vec<u8> = (0..100).collect();
    service.memory.dma_write(0x10_0fd0, &bytes).unwrap();
    let mut read = vec![0; 100];
    service.memory.dma_read(0x10_0fd0, &mut read).unwrap();
    assert_eq!(read, bytes);
    // This client takes every answer for a success; the map it asks for is not there all the same.
    client.dma_map(0, 0xf_f000, 8192, file.as_raw_fd()).unwrap();
    assert!(service.memory.dma_read(0xf_f000, &mut read).is_err());
}

#[test]
fn vectors_ring_each_their_own_bell_also_beyond_one_message() {
    let service = Service::start(16);
    let mut client = Client::new(service.path()).unwrap();
    let bells: Vec<_> = (0..17).map(|_| bell()).collect();
    let raw: Vec<RawFd> = bells.iter().map(|bell| bell.as_raw_fd()).collect();
    client.set_irqs(MSIX, TRIGGER_BY_EVENTFD, 0, 16, &raw[..16]).unwrap();
    client.set_irqs(MSIX, TRIGGER_BY_EVENTFD, 16, 1, &raw[16..]).unwrap();
    for vector in [0, 3, 16, 17, 999] {
        service.memory.raise(vector);
    }
    let rang: Vec<u64> = bells.iter().map(rings).collect();
    assert_eq!(rang, [1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    client.set_irqs(MSIX, DISABLE, 0, 0, &[]).unwrap();
    service.memory.raise(0);
    assert_eq!(rings(&bells[0]), 0);
}

#[test]
fn it_resets_the_function_and_leaves_nothing_behind() {
    let service = Service::start(2);
    let mut client = Client::new(service.path()).unwrap();
    let file = sealed::create("arena", 4096).unwrap();
    client.dma_map(0, 0x10_0000, 4096, file.as_raw_fd()).unwrap();
    let epoch = service.memory.load32(EPOCH.offset);
    client.reset().unwrap();
    assert_eq!(service.memory.load32(EPOCH.offset), epoch + 1);
    service.memory.dma_read(0x10_0000, &mut [0; 8]).unwrap();
    // A client that is gone may keep its mapping of the BAR: it is not the next one's.
    let kept = client.region(0).unwrap().file_offset.clone().unwrap();
    let kept = SharedMapping::new(kept.file().as_fd(), 0, BAR_BYTES.into()).unwrap();
    client.region_write(0, 0, &[0; 4]).unwrap();
    drop(client);
    let mut next = Client::new(service.path()).unwrap();
    assert_eq!(service.resets.load(Ordering::Relaxed), 2);
    assert!(service.memory.dma_read(0x10_0000, &mut [0; 8]).is_err());
    kept.store32(0x1000, 7);
    let mut word = [9; 4];
    next.region_read(0, 0x1000, &mut word).unwrap();
    assert_eq!(word, [0; 4]);
    next.region_read(0, 0, &mut word).unwrap();
    assert_eq!(word, IDENTITY_VALUE.to_le_bytes(), "scribbled registers are mended");
}
