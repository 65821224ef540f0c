//! Received frames in blocks that the kernel fills and hands over whole (`TPACKET_V3`).
//!
//! No call and no frame's own wake-up: the kernel puts frames one behind the other into a block, and
//! gives the block to us when it is full or a millisecond has passed. When it has none left it drops.
//! While a block is ours the kernel does not touch it; we read it by copies and give it back.
//!
//! packet(7); Linux `Documentation/networking/packet_mmap.rst`, `include/uapi/linux/if_packet.h`.
#![expect(unsafe_code, reason = "the blocks lie in memory that the kernel maps")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use super::sys::{Auxiliary, Slot, set};
use super::vnet::HEADER_LEN;

/// Bytes of a block: above the longest frame, a large one of 64 KB left to be cut.
const BLOCK: usize = 256 << 10;
/// Blocks: 16 MB, as much as the queue that calls read from.
const BLOCKS: usize = 64;
/// Unit that the kernel reckons in; frames of any length up to a block's are taken.
const UNIT: usize = 2048;
/// Milliseconds after which a block that is not full is handed over.
const PATIENCE_MS: u32 = 1;

/// `struct tpacket_block_desc`: whose it is, frames in it, place of the first.
const STATUS_AT: usize = 8;
const COUNT_AT: usize = 12;
const FIRST_AT: usize = 16;
/// `struct tpacket3_hdr`: distance to the next, bytes kept, bytes there were, status, place of the
/// frame, VLAN tag and its type.
const NEXT_AT: usize = 0;
const KEPT_AT: usize = 12;
const LENGTH_AT: usize = 16;
const FLAGS_AT: usize = 20;
const FRAME_AT: usize = 24;
const TAG_AT: usize = 32;
const TYPE_AT: usize = 36;

/// The blocks of a socket.
#[derive(Debug)]
pub(super) struct Blocks {
    base: NonNull<u8>,
    /// The block to be read now or next.
    block: usize,
    /// Where in it the next frame's header is.
    at: usize,
    /// Frames left in it; zero when it is the kernel's or was not looked at yet.
    left: u32,
}

// SAFETY: the mapping belongs to this value alone on our side, and addresses are good in any thread.
unsafe impl Send for Blocks {}

impl Blocks {
    /// Lets the kernel put what the socket receives into blocks. The socket must not be bound yet.
    pub(super) fn open(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let word = |value: usize| u32::try_from(value).expect("a few megabytes");
        let version = libc::tpacket_versions::TPACKET_V3 as libc::c_int;
        set(socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
        let request = libc::tpacket_req3 {
            tp_block_size: word(BLOCK),
            tp_block_nr: word(BLOCKS),
            tp_frame_size: word(UNIT),
            tp_frame_nr: word(BLOCK / UNIT * BLOCKS),
            tp_retire_blk_tov: PATIENCE_MS,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set(socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe {
            let (length, flags) = (BLOCK * BLOCKS, libc::MAP_SHARED | libc::MAP_POPULATE);
            libc::mmap(ptr::null_mut(), length, access, flags, socket.as_raw_fd(), 0)
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).expect("a mapping is not at zero");
        Ok(Self { base, block: 0, at: 0, left: 0 })
    }

    /// The next frame, behind its virtio header, into `slot`; `false` when none waits.
    pub(super) fn next(&mut self, slot: &mut Slot) -> bool {
        if self.left == 0 && !self.enter() {
            return false;
        }
        let at = self.at;
        let (kept, length) = (self.word(at + KEPT_AT), self.word(at + LENGTH_AT));
        let start = at + usize::from(self.half(at + FRAME_AT)) - HEADER_LEN;
        let whole = HEADER_LEN + kept as usize;
        slot.length = whole.min(slot.buffer.len());
        slot.is_truncated = kept < length || slot.length < whole;
        self.read(start, &mut slot.buffer[..slot.length]);
        slot.auxiliary = Auxiliary {
            status: self.word(at + FLAGS_AT),
            vlan_tci: self.half(at + TAG_AT),
            vlan_type: self.half(at + TYPE_AT),
        };
        self.at += self.word(at + NEXT_AT) as usize;
        self.left -= 1;
        if self.left == 0 {
            self.leave();
        }
        true
    }

    /// Begins the next block, if it is ours and there are frames in it.
    fn enter(&mut self) -> bool {
        // Ends: a block without frames goes back to the kernel, and there are so many.
        for _ in 0..BLOCKS {
            // Acquire: the kernel's writes to the block come before it gave it away.
            if self.status().load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
                return false;
            }
            self.left = self.word(COUNT_AT);
            self.at = self.word(FIRST_AT) as usize;
            if self.left > 0 {
                return true;
            }
            self.leave();
        }
        false
    }

    /// Gives the block back and moves on.
    fn leave(&mut self) {
        // Release: what we read of it was read before the kernel writes there.
        self.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.block = (self.block + 1) % BLOCKS;
    }

    /// Whose the block is.
    fn status(&self) -> &AtomicU32 {
        let at = self.base.as_ptr().wrapping_add(self.block * BLOCK + STATUS_AT).cast();
        // SAFETY: four bytes inside of the mapping, aligned as blocks are; both sides access them
        // atomically; the mapping outlives the borrow.
        unsafe { AtomicU32::from_ptr(at) }
    }

    /// Copies what lies at `at` in the block.
    fn read(&self, at: usize, into: &mut [u8]) {
        assert!(at <= BLOCK && into.len() <= BLOCK - at, "a frame outside of its block");
        let from = self.base.as_ptr().wrapping_add(self.block * BLOCK + at);
        // SAFETY: just checked to lie inside of the block, which is mapped; the kernel does not
        // write to it while it is ours; `into` is memory of our own.
        unsafe { ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
    }

    fn word(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        self.read(at, &mut bytes);
        u32::from_ne_bytes(bytes)
    }

    fn half(&self, at: usize) -> u16 {
        let mut bytes = [0; 2];
        self.read(at, &mut bytes);
        u16::from_ne_bytes(bytes)
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `open` with this length, and no borrow of it is left.
        unsafe { libc::munmap(self.base.as_ptr().cast(), BLOCK * BLOCKS) };
    }
}
