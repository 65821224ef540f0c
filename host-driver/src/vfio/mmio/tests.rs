//! A plain file stands in for the device: what is written through the BAR is in the file.

use super::*;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

const START: u64 = 8192;
const WHOLE: Range<u32> = 0..16384;

fn file() -> Arc<File> {
    let file = memfd_create("bar", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, START + 16384).unwrap();
    Arc::new(File::from(file))
}

fn bar<const N: usize>(file: &Arc<File>, mappable: [Range<u32>; N]) -> Bar {
    let region = Region { offset: START, length: 16384, mappable: mappable.into() };
    Bar::map(Arc::clone(file), &region).unwrap()
}

#[test]
fn registers_are_little_endian_words_at_their_offset() {
    let file = file();
    let bar = bar(&file, [WHOLE]);
    bar.write32(0x10, 0x0403_0201);
    bar.write64(0x3ff8, 0x0807_0605_0403_0201);
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, START + 0x10).unwrap();
    assert_eq!(bytes, [1, 2, 3, 4, 0, 0, 0, 0]);
    file.read_exact_at(&mut bytes, START + 0x3ff8).unwrap();
    assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(bar.read32(0x3ffc), 0x0807_0605);
    assert_eq!(bar.read64(0x3ff8), 0x0807_0605_0403_0201);
}

#[test]
fn what_is_not_mapped_goes_by_system_call() {
    let file = file();
    let bar = bar(&file, [0..4096, 12288..16384]);
    assert_eq!(bar.areas.len(), 2);
    for offset in [0, 4088, 4096, 8192, 12280, 12288, 16376] {
        bar.write64(offset, u64::from(offset) << 32 | 7);
        assert_eq!(bar.read64(offset), u64::from(offset) << 32 | 7);
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, START + u64::from(offset)).unwrap();
        assert_eq!(u64::from_le_bytes(bytes), u64::from(offset) << 32 | 7);
    }
}

#[test]
fn a_device_that_answers_no_call_reads_as_all_ones() {
    let file = file();
    let bar = bar(&file, []);
    ftruncate(&*file, 0).unwrap();
    assert_eq!(bar.read32(0), u32::MAX);
    assert_eq!(bar.read64(8), u64::MAX);
}

#[test]
fn areas_outside_the_bar_are_refused() {
    for mappable in [0..20480, 4096..4096, 4..4096] {
        let region = Region { offset: START, length: 16384, mappable: Vec::from([mappable]) };
        assert!(Bar::map(file(), &region).is_err());
    }
}

#[test]
#[should_panic(expected = "not aligned")]
fn a_register_that_is_not_aligned_is_a_bug() {
    let _ = bar(&file(), [WHOLE]).read32(2);
}

#[test]
#[should_panic(expected = "outside the BAR")]
fn a_register_beyond_the_bar_is_a_bug() {
    bar(&file(), [WHOLE]).write64(16384, 0);
}
