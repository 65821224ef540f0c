//! The arena against a plain vector, and its bounds.

use super::*;
use proptest::prelude::*;

fn arena(bytes: usize) -> Arena {
    let mut arena = Arena::new(bytes).unwrap();
    arena.place(Iova(0x1_0000_0000));
    arena
}

#[test]
fn allocations_are_pages_until_the_arena_is_used_up() {
    let arena = arena(3 * 4096);
    assert_eq!(arena.alloc(1), Ok(Iova(0x1_0000_0000)));
    assert_eq!(arena.alloc(4097), Ok(Iova(0x1_0000_1000)));
    assert_eq!(arena.alloc(1), Err(AllocError { wanted: 1, free: 0 }));
    assert_eq!(arena.alloc(usize::MAX), Err(AllocError { wanted: usize::MAX, free: 0 }));
}

#[test]
fn words_are_little_endian() {
    let arena = arena(4096);
    arena.store64(Iova(0x1_0000_0ff8), 0x0807_0605_0403_0201);
    let mut bytes = [0; 8];
    arena.copy_out(Iova(0x1_0000_0ff8), &mut bytes);
    assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(arena.load64(Iova(0x1_0000_0ff8)), 0x0807_0605_0403_0201);
}

#[test]
fn without_hugepages_ordinary_pages_serve() {
    let arena = arena(HUGEPAGE + 1);
    let expected = match arena.backing() {
        Backing::Hugepages => 2 * HUGEPAGE,
        Backing::Pages => HUGEPAGE + PAGE,
    };
    assert_eq!(arena.bytes(), expected);
}

#[test]
#[should_panic(expected = "are not ours")]
fn an_access_beyond_the_end_is_a_bug() {
    arena(4096).copy_in(Iova(0x1_0000_0fff), &[0; 2]);
}

#[test]
#[should_panic(expected = "are not ours")]
fn an_access_before_the_start_is_a_bug() {
    let _ = arena(4096).load64(Iova(0xffff_fff8));
}

#[test]
#[should_panic(expected = "not aligned")]
fn a_word_that_is_not_aligned_is_a_bug() {
    let _ = arena(4096).load64(Iova(0x1_0000_0004));
}

proptest! {
    #[test]
    fn copies_equal_a_plain_vector(
        copies in prop::collection::vec((0..4000usize, prop::collection::vec(any::<u8>(), 0..90)), 1..20),
    ) {
        let arena = arena(4096);
        let mut plain = vec![0; 4096];
        for (at, bytes) in copies {
            arena.copy_in(arena.base().plus(at as u64), &bytes);
            plain[at..at + bytes.len()].copy_from_slice(&bytes);
            let mut out = vec![0xee; bytes.len() + 3];
            let from = at.saturating_sub(1);
            arena.copy_out(arena.base().plus(from as u64), &mut out);
            prop_assert_eq!(&out, &plain[from..from + out.len()]);
        }
        let mut all = vec![0; 4096];
        arena.copy_out(arena.base(), &mut all);
        prop_assert_eq!(all, plain);
    }
}
