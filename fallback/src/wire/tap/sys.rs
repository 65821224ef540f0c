//! The kernel calls behind TAP and packet wires that take an interface by name.
//!
//! Linux: `include/uapi/linux/if_tun.h`, `net/if.h`; netdevice(7).
#![expect(unsafe_code, reason = "ioctl has no safe form in libc")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// An `ifreq` for the interface `name`, else zero. The name was checked to fit.
fn request(name: &str) -> libc::ifreq {
    assert!(name.len() < libc::IFNAMSIZ, "interface names are checked when they are parsed");
    // SAFETY: ifreq is plain integers, arrays of them and a union of such; all zeros is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *slot = libc::c_char::from_ne_bytes([byte]);
    }
    request
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes the open `/dev/net/tun` the other end of the TAP interface `name`, created if absent.
pub(in super::super) fn attach_tap(tun: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let mut request = request(name);
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_TAP | libc::IFF_NO_PI)
        .expect("both flags are in the lower 15 bits");
    // SAFETY: TUNSETIFF reads and writes one ifreq; the pointer is to a live one on our stack, and
    // the descriptor is open for the duration of the borrow.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })
}

/// A socket to ask about interfaces.
pub(in super::super) fn control_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: socket takes three integers and no memory of ours.
    let descriptor = unsafe { libc::socket(libc::AF_INET, kind, 0) };
    check(descriptor)?;
    // SAFETY: the descriptor was just opened (checked not negative) and nobody else holds it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Whether the interface is up; fails with `ENODEV` when there is none of that name.
pub(in super::super) fn is_up(control: BorrowedFd<'_>, name: &str) -> io::Result<bool> {
    Ok(flags(control, name)? & UP != 0)
}

/// Brings the interface up.
pub(in super::super) fn bring_up(control: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let mut request = request(name);
    request.ifr_ifru.ifru_flags = flags(control, name)? | UP;
    // SAFETY: SIOCSIFFLAGS reads one ifreq; the pointer is to a live one on our stack.
    check(unsafe { libc::ioctl(control.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) })
}

/// `IFF_UP` as wide as `ifreq` holds flags.
const UP: i16 = 1;

fn flags(control: BorrowedFd<'_>, name: &str) -> io::Result<i16> {
    let mut request = request(name);
    // SAFETY: SIOCGIFFLAGS reads the name and writes the flags of one live ifreq on our stack.
    check(unsafe { libc::ioctl(control.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) })?;
    // SAFETY: the call has filled the union's flags, and any bits are a valid i16.
    Ok(unsafe { request.ifr_ifru.ifru_flags })
}

/// The interface's number.
pub(in super::super) fn index(control: BorrowedFd<'_>, name: &str) -> io::Result<i32> {
    let mut request = request(name);
    // SAFETY: SIOCGIFINDEX reads the name and writes the index of one live ifreq on our stack.
    check(unsafe { libc::ioctl(control.as_raw_fd(), libc::SIOCGIFINDEX, &raw mut request) })?;
    // SAFETY: the call has filled the union's index, and any bits are a valid i32.
    Ok(unsafe { request.ifr_ifru.ifru_ifindex })
}

/// The interface's link type (`ARPHRD_*`).
pub(in super::super) fn link_type(control: BorrowedFd<'_>, name: &str) -> io::Result<u16> {
    let mut request = request(name);
    // SAFETY: SIOCGIFHWADDR reads the name and writes the address of one live ifreq on our stack.
    check(unsafe { libc::ioctl(control.as_raw_fd(), libc::SIOCGIFHWADDR, &raw mut request) })?;
    // SAFETY: the call has filled the union's address, and any bits are a valid sockaddr.
    let address = unsafe { request.ifr_ifru.ifru_hwaddr };
    Ok(address.sa_family)
}
