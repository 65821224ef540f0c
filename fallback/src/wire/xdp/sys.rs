//! The kernel calls behind AF_XDP wires: the socket, its memory, its options.
//!
//! Linux `Documentation/networking/af_xdp.rst`, `include/uapi/linux/if_xdp.h`.
#![expect(unsafe_code, reason = "socket options and addresses have no safe form in libc")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use super::ring::ENTRIES;
use crate::packet::region;

/// Bytes of a buffer that the kernel may use: its most, one page.
const CHUNK: u32 = 4096;
/// Buffers that are told to the kernel; packets in others are copied on their way out.
const BUFFERS: usize = 8192;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn socket_len(bytes: usize) -> libc::socklen_t {
    libc::socklen_t::try_from(bytes).expect("sizes of small structures")
}

fn set<T>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let (pointer, length) = (ptr::from_ref(value).cast(), socket_len(size_of::<T>()));
    // SAFETY: the pointer and length describe the value behind the reference, which is only read.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, pointer, length) }).map(drop)
}

/// What the kernel fills in: the value with what it wrote, zeros behind that.
trait Plain: Sized {
    const ZERO: Self;
}

impl Plain for libc::xdp_statistics {
    const ZERO: Self = Self {
        rx_dropped: 0,
        rx_invalid_descs: 0,
        tx_invalid_descs: 0,
        rx_ring_full: 0,
        rx_fill_ring_empty_descs: 0,
        tx_ring_empty_descs: 0,
    };
}

const NO_OFFSETS: libc::xdp_ring_offset =
    libc::xdp_ring_offset { producer: 0, consumer: 0, desc: 0, flags: 0 };

impl Plain for libc::xdp_mmap_offsets {
    const ZERO: Self = Self { rx: NO_OFFSETS, tx: NO_OFFSETS, fr: NO_OFFSETS, cr: NO_OFFSETS };
}

impl Plain for libc::xdp_options {
    const ZERO: Self = Self { flags: 0 };
}

fn ask<T: Plain>(socket: BorrowedFd<'_>, name: libc::c_int) -> io::Result<T> {
    let mut value = T::ZERO;
    let mut length = socket_len(size_of::<T>());
    let pointer = (&raw mut value).cast();
    // SAFETY: pointer and length describe a live structure of integers on our stack.
    check(unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_XDP, name, pointer, &raw mut length)
    })?;
    Ok(value)
}

/// Opens an AF_XDP socket.
pub(super) fn open() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: socket takes three integers and no memory of ours.
    let descriptor = check(unsafe { libc::socket(libc::AF_XDP, kind, 0) })?;
    // SAFETY: the descriptor was just opened (checked not negative) and nobody else holds it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Tells the kernel of the packet buffers and makes the four rings; how many bytes it was told of.
pub(super) fn prepare(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let (base, length) = region(BUFFERS).ok_or(io::ErrorKind::OutOfMemory)?;
    let memory = libc::xdp_umem_reg {
        addr: base.addr().get() as u64,
        len: length as u64,
        chunk_size: CHUNK,
        // The kernel leaves 256 bytes by itself: our headroom.
        headroom: 0,
        flags: libc::XDP_UMEM_UNALIGNED_CHUNK_FLAG,
        tx_metadata_len: 0,
    };
    set(socket, libc::SOL_XDP, libc::XDP_UMEM_REG, &memory)?;
    for ring in [
        libc::XDP_UMEM_FILL_RING,
        libc::XDP_UMEM_COMPLETION_RING,
        libc::XDP_RX_RING,
        libc::XDP_TX_RING,
    ] {
        set(socket, libc::SOL_XDP, ring, &ENTRIES)?;
    }
    Ok(length)
}

/// Where in the mappings of the rings their parts are.
pub(super) fn offsets(socket: BorrowedFd<'_>) -> io::Result<libc::xdp_mmap_offsets> {
    ask(socket, libc::XDP_MMAP_OFFSETS)
}

/// Binds to a queue of an interface; `flags` are `XDP_COPY` and the like.
pub(super) fn bind(
    socket: BorrowedFd<'_>,
    interface: u32,
    queue: u32,
    flags: u16,
) -> io::Result<()> {
    let address = libc::sockaddr_xdp {
        sxdp_family: u16::try_from(libc::AF_XDP).expect("a small constant"),
        sxdp_flags: flags,
        sxdp_ifindex: interface,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: 0,
    };
    let length = socket_len(size_of::<libc::sockaddr_xdp>());
    // SAFETY: pointer and length describe a live address on our stack, which is only read.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) }).map(drop)
}

/// Whether the driver reads and writes the buffers itself.
pub(super) fn is_zero_copy(socket: BorrowedFd<'_>) -> bool {
    ask::<libc::xdp_options>(socket, libc::XDP_OPTIONS)
        .is_ok_and(|options| options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
}

/// What the kernel has counted since the socket was opened.
pub(super) fn statistics(socket: BorrowedFd<'_>) -> Option<libc::xdp_statistics> {
    ask(socket, libc::XDP_STATISTICS).ok()
}

/// Lets calls on the socket poll the driver for `microseconds`, in place of its interrupts.
pub(super) fn busy_poll(socket: BorrowedFd<'_>, microseconds: u32) -> io::Result<()> {
    /// Frames handled by one such call at most.
    const BUDGET: u32 = 64;
    set(socket, libc::SOL_SOCKET, libc::SO_PREFER_BUSY_POLL, &1u32)?;
    set(socket, libc::SOL_SOCKET, libc::SO_BUSY_POLL, &microseconds)?;
    set(socket, libc::SOL_SOCKET, libc::SO_BUSY_POLL_BUDGET, &BUDGET)
}

/// Receives everything that arrives on the interface, whatever its address, while the descriptor
/// is open.
pub(super) fn promiscuous(interface: i32) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: socket takes three integers. Protocol 0 receives nothing.
    let descriptor = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the descriptor was just opened (checked not negative) and nobody else holds it.
    let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let membership = libc::packet_mreq {
        mr_ifindex: interface,
        mr_type: u16::try_from(libc::PACKET_MR_PROMISC).expect("a small constant"),
        mr_alen: 0,
        mr_address: [0; 8],
    };
    let socket_ref = std::os::fd::AsFd::as_fd(&socket);
    set(socket_ref, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &membership)?;
    Ok(socket)
}

/// Waits a hundredth of a second.
pub(super) fn pause() {
    // SAFETY: no descriptors are passed. An interrupted wait is only a shorter one.
    unsafe { libc::poll(ptr::null_mut(), 0, 10) };
}

/// Lets the kernel send what lies in the ring to it.
pub(super) fn call_to_send(socket: BorrowedFd<'_>) -> io::Result<()> {
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: no memory is passed, only zero lengths.
    let sent = unsafe { libc::sendto(socket.as_raw_fd(), ptr::null(), 0, flags, ptr::null(), 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets the kernel go on receiving into new buffers.
pub(super) fn call_to_receive(socket: BorrowedFd<'_>) {
    let (none, no_length) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: no memory is passed, only zero lengths. Whatever it answers, the next round asks again.
    unsafe {
        libc::recvfrom(socket.as_raw_fd(), none, 0, libc::MSG_DONTWAIT, ptr::null_mut(), no_length)
    };
}
