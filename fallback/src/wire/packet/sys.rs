//! The kernel calls behind packet wires: opening the socket, receiving and sending in batches.
//!
//! packet(7); Linux `include/uapi/linux/if_packet.h`, `net/packet/af_packet.c`.
#![expect(unsafe_code, reason = "socket options and batched messages have no safe form in libc")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use super::vnet::HEADER_LEN;

/// Messages moved by one call.
pub(super) const BATCH: usize = 32;
/// Wanted size of the kernel's receive queue; without CAP_NET_ADMIN it is cut to the system's limit.
const RECEIVE_QUEUE_LEN: libc::c_int = 16 << 20;
/// Wanted size of what the kernel holds of ours until the interface took it, likewise.
const SEND_QUEUE_LEN: libc::c_int = 4 << 20;
/// Room for one `tpacket_auxdata` and its control header.
const CONTROL_LEN: usize = 64;
/// Length of a control message's header: a length and two integers.
const CONTROL_HEADER_LEN: usize = 16;

/// What the kernel says beside a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Auxiliary {
    pub(super) status: u32,
    pub(super) vlan_tci: u16,
    pub(super) vlan_type: u16,
}

/// One received message: the virtio header, then the frame without its outer VLAN tag.
pub(super) struct Slot {
    pub(super) buffer: Box<[u8]>,
    pub(super) length: usize,
    pub(super) is_truncated: bool,
    pub(super) auxiliary: Auxiliary,
}

#[derive(Clone, Copy)]
#[repr(align(8))]
struct Control([u8; CONTROL_LEN]);

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn socket_len(bytes: usize) -> libc::socklen_t {
    libc::socklen_t::try_from(bytes).expect("sizes of small structures")
}

pub(super) fn set<T>(
    socket: RawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let (pointer, length) = (ptr::from_ref(value).cast(), socket_len(size_of::<T>()));
    // SAFETY: the pointer and length describe the value behind the reference, which is only read.
    check(unsafe { libc::setsockopt(socket, level, name, pointer, length) }).map(drop)
}

/// Opens a raw packet socket for the interface, not yet bound to it: promiscuous, without its own
/// sent frames, with VLAN tags as auxiliary data and with virtio headers in both directions.
pub(super) fn open(index: i32) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket takes three integers. Protocol 0 receives nothing until bind.
    let descriptor = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the descriptor was just opened (checked not negative) and nobody else holds it.
    let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
    for option in [libc::PACKET_IGNORE_OUTGOING, libc::PACKET_AUXDATA, libc::PACKET_VNET_HDR] {
        set(descriptor, libc::SOL_PACKET, option, &1)?;
    }
    for (force, plain, length) in [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_QUEUE_LEN),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_QUEUE_LEN),
    ] {
        set(descriptor, libc::SOL_SOCKET, force, &length)
            .or_else(|_| set(descriptor, libc::SOL_SOCKET, plain, &length))?;
    }
    let membership = libc::packet_mreq {
        mr_ifindex: index,
        mr_type: u16::try_from(libc::PACKET_MR_PROMISC).expect("a small constant"),
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set(descriptor, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &membership)?;
    Ok(socket)
}

/// Binds the socket to the interface, from where it receives from now on.
pub(super) fn bind(socket: BorrowedFd<'_>, index: i32) -> io::Result<()> {
    let all = u16::try_from(libc::ETH_P_ALL).expect("a small constant");
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).expect("a small constant"),
        sll_protocol: all.to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = socket_len(size_of::<libc::sockaddr_ll>());
    // SAFETY: the pointer and length describe a live address on our stack, which is only read.
    check(unsafe { libc::bind(socket.as_raw_fd(), ptr::from_ref(&address).cast(), length) })
        .map(drop)
}

/// An empty message header.
fn message() -> libc::mmsghdr {
    // SAFETY: mmsghdr is integers and pointers; zeros are a value (null, lengths zero).
    unsafe { std::mem::zeroed() }
}

/// Receives at most one message per slot without waiting; how many came.
pub(super) fn receive(socket: BorrowedFd<'_>, slots: &mut [Slot]) -> io::Result<usize> {
    let count = slots.len().min(BATCH);
    let mut messages: [libc::mmsghdr; BATCH] = std::array::from_fn(|_| message());
    let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
    let mut controls = [Control([0; CONTROL_LEN]); BATCH];
    for (i, slot) in slots.iter_mut().take(count).enumerate() {
        vectors[i].iov_base = slot.buffer.as_mut_ptr().cast();
        vectors[i].iov_len = slot.buffer.len();
        messages[i].msg_hdr.msg_iov = &raw mut vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_control = (&raw mut controls[i]).cast();
        messages[i].msg_hdr.msg_controllen = CONTROL_LEN;
    }
    let (pointer, number) = (messages.as_mut_ptr(), u32::try_from(count).expect("at most a batch"));
    // SAFETY: the first `number` headers are filled: each points to one iovec over its slot's whole
    // buffer and to one control buffer of the length given; all outlive the call and none is shared.
    let received = check(unsafe {
        libc::recvmmsg(socket.as_raw_fd(), pointer, number, libc::MSG_DONTWAIT, ptr::null_mut())
    })?;
    let received = usize::try_from(received).expect("checked not negative");
    for (i, slot) in slots.iter_mut().take(received).enumerate() {
        let header = &messages[i].msg_hdr;
        // MSG_TRUNC among the flags says that the frame was longer than the buffer.
        slot.is_truncated = header.msg_flags & libc::MSG_TRUNC != 0;
        slot.length = (messages[i].msg_len as usize).min(slot.buffer.len());
        slot.auxiliary = auxiliary(&controls[i].0[..header.msg_controllen.min(CONTROL_LEN)]);
    }
    Ok(received)
}

/// Reads the one control message we asked for; its numbers are in the machine's byte order.
fn auxiliary(control: &[u8]) -> Auxiliary {
    let word = |at: usize| {
        control
            .get(at..at + 4)
            .map_or(0, |bytes| u32::from_ne_bytes(bytes.try_into().expect("four bytes were taken")))
    };
    let half = |at: usize| {
        control
            .get(at..at + 2)
            .map_or(0, |bytes| u16::from_ne_bytes(bytes.try_into().expect("two bytes were taken")))
    };
    let is_ours = word(8) == libc::SOL_PACKET.cast_unsigned()
        && word(12) == libc::PACKET_AUXDATA.cast_unsigned();
    if !is_ours {
        return Auxiliary::default();
    }
    let data = CONTROL_HEADER_LEN;
    Auxiliary { status: word(data), vlan_tci: half(data + 16), vlan_type: half(data + 18) }
}

/// Sends the frames (at most a batch), each behind an empty virtio header, without waiting; how many
/// the kernel took. The error is the one of the first frame.
pub(super) fn send<'a>(
    socket: BorrowedFd<'_>,
    frames: impl Iterator<Item = &'a [u8]>,
) -> io::Result<usize> {
    let mut plain = [0u8; HEADER_LEN];
    let mut messages: [libc::mmsghdr; BATCH] = std::array::from_fn(|_| message());
    let mut vectors = [[libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; 2]; BATCH];
    let mut count = 0;
    for frame in frames.take(BATCH) {
        vectors[count][0].iov_base = plain.as_mut_ptr().cast();
        vectors[count][0].iov_len = HEADER_LEN;
        // sendmmsg only reads what an iovec points to, so taking away `const` is sound.
        vectors[count][1].iov_base = frame.as_ptr().cast_mut().cast();
        vectors[count][1].iov_len = frame.len();
        messages[count].msg_hdr.msg_iov = vectors[count].as_mut_ptr();
        messages[count].msg_hdr.msg_iovlen = 2;
        count += 1;
    }
    let (pointer, number) = (messages.as_mut_ptr(), u32::try_from(count).expect("at most a batch"));
    // SAFETY: the first `number` headers are filled: each points to two iovecs over the empty header
    // and over a borrowed frame; all outlive the call and are only read.
    let sent =
        check(unsafe { libc::sendmmsg(socket.as_raw_fd(), pointer, number, libc::MSG_DONTWAIT) })?;
    Ok(usize::try_from(sent).expect("checked not negative"))
}

/// What went wrong with the socket since the last call.
pub(super) fn take_error(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut code: libc::c_int = 0;
    let mut length = socket_len(size_of::<libc::c_int>());
    let pointer = (&raw mut code).cast();
    // SAFETY: pointer and length describe a live integer on our stack that the call fills.
    check(unsafe {
        let (level, name) = (libc::SOL_SOCKET, libc::SO_ERROR);
        libc::getsockopt(socket.as_raw_fd(), level, name, pointer, &raw mut length)
    })?;
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// Frames the kernel dropped for want of room since the last call.
pub(super) fn take_dropped(socket: BorrowedFd<'_>) -> u32 {
    let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = socket_len(size_of::<libc::tpacket_stats>());
    let (level, name) = (libc::SOL_PACKET, libc::PACKET_STATISTICS);
    let pointer = (&raw mut statistics).cast();
    // SAFETY: pointer and length describe a live structure on our stack that the call fills.
    let result = check(unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, pointer, &raw mut length)
    });
    result.map_or(0, |_| statistics.tp_drops)
}
