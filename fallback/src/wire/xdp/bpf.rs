//! The program that hands an interface's frames to an AF_XDP socket, and its attachment.
//!
//! Six instructions, put together by hand: what arrives on a queue with a socket goes there, what
//! arrives on another goes on to the system's stack. The attachment is a link: it ends when its
//! descriptor is closed, so that a process which is killed leaves nothing behind.
//!
//! bpf(2); Linux `include/uapi/linux/bpf.h`.
#![expect(unsafe_code, reason = "bpf(2) takes addresses")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// `BPF_MAP_CREATE`, `BPF_MAP_UPDATE_ELEM`, `BPF_PROG_LOAD`, `BPF_LINK_CREATE`.
const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE: libc::c_int = 2;
const PROGRAM_LOAD: libc::c_int = 5;
const LINK_CREATE: libc::c_int = 28;
/// `BPF_MAP_TYPE_XSKMAP`.
const SOCKETS: u32 = 17;
/// `BPF_PROG_TYPE_XDP`.
const XDP: u32 = 6;
/// `BPF_XDP`, the kind of attachment.
const ATTACH_XDP: u32 = 37;
/// `XDP_FLAGS_SKB_MODE`.
const IN_STACK: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE`.
const IN_DRIVER: u32 = 1 << 2;

/// Where the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// In the driver, before the system makes its own packet.
    Driver,
    /// In the system's stack: any driver, slower.
    Stack,
}

/// The argument of bpf(2): as long as any of the four commands reads, zeros where nothing is said.
#[repr(C, align(8))]
struct Attributes([u8; 128]);

impl Attributes {
    const fn new() -> Self {
        Self([0; 128])
    }

    fn word(mut self, at: usize, value: u32) -> Self {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn descriptor(self, at: usize, value: RawFd) -> Self {
        self.word(at, value.cast_unsigned())
    }

    /// The address of `value`, which must outlive the call.
    fn address<T: ?Sized>(mut self, at: usize, value: &T) -> Self {
        let address = std::ptr::from_ref(value).addr() as u64;
        self.0[at..at + 8].copy_from_slice(&address.to_ne_bytes());
        self
    }

    fn call(&self, command: libc::c_int) -> io::Result<libc::c_int> {
        let (pointer, length) = (self.0.as_ptr(), self.0.len());
        // SAFETY: the kernel reads `length` bytes at `pointer`, and behind the addresses among them
        // what the callers below keep alive and long enough; it writes to none.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, pointer, length) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(libc::c_int::try_from(result).expect("a descriptor or zero"))
    }

    fn open(&self, command: libc::c_int) -> io::Result<OwnedFd> {
        let descriptor = self.call(command)?;
        // SAFETY: the call has just opened the descriptor, and nobody else holds it.
        Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
    }
}

/// One instruction: code, registers (source above, target below), offset, number.
const fn instruction(code: u8, registers: u8, offset: i16, number: i32) -> [u8; 8] {
    let (offset, number) = (offset.to_ne_bytes(), number.to_ne_bytes());
    let [a, b] = offset;
    let [c, d, e, f] = number;
    [code, registers, a, b, c, d, e, f]
}

/// Redirects to the socket at the queue's number in `map`, and passes where there is none.
fn program(map: RawFd) -> [[u8; 8]; 6] {
    [
        // r2 = the packet's rx_queue_index, at 16 of its description.
        instruction(0x61, 0x12, 16, 0),
        // r1 = the map, by its descriptor: an instruction of two parts.
        instruction(0x18, 0x11, 0, map),
        instruction(0, 0, 0, 0),
        // r3 = XDP_PASS, the answer when there is no socket.
        instruction(0xb7, 0x03, 0, 2),
        // r0 = bpf_redirect_map(r1, r2, r3); return r0.
        instruction(0x85, 0, 0, 51),
        instruction(0x95, 0, 0, 0),
    ]
}

/// The sockets of an interface's queues, and the program that reads them.
#[derive(Debug)]
pub(super) struct Redirect {
    map: OwnedFd,
    program: OwnedFd,
}

impl Redirect {
    /// Loads the program with places for `queues` sockets.
    pub(super) fn load(queues: u32) -> io::Result<Self> {
        let sizes = Attributes::new().word(0, SOCKETS).word(4, 4).word(8, 4);
        let map = sizes.word(12, queues).open(MAP_CREATE)?;
        let code = program(map.as_raw_fd());
        let length = u32::try_from(code.len()).expect("six instructions");
        let licence = c"Dual MIT/GPL";
        let program = Attributes::new()
            .word(0, XDP)
            .word(4, length)
            .address(8, &code)
            .address(16, licence.to_bytes_with_nul())
            .open(PROGRAM_LOAD)?;
        Ok(Self { map, program })
    }

    /// Lets the program run for the frames that interface number `interface` receives, until the
    /// returned descriptor is closed.
    pub(super) fn attach(&self, interface: u32, hook: Hook) -> io::Result<OwnedFd> {
        let flags = if hook == Hook::Driver { IN_DRIVER } else { IN_STACK };
        Attributes::new()
            .descriptor(0, self.program.as_raw_fd())
            .word(4, interface)
            .word(8, ATTACH_XDP)
            .word(12, flags)
            .open(LINK_CREATE)
    }

    /// Sends the frames of `queue` to `socket`.
    pub(super) fn direct(&self, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        let socket = socket.as_raw_fd().cast_unsigned();
        Attributes::new()
            .descriptor(0, self.map.as_raw_fd())
            .address(8, &queue)
            .address(16, &socket)
            .call(MAP_UPDATE)
            .map(drop)
    }
}
