//! Why a wire could not be opened, read or written.

use std::io;
use std::path::{Path, PathBuf};

/// Failure of a wire; each message names the file or interface, and the remedy where there is one.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// A capture could not be opened or created.
    #[error("{}: cannot open: {source}", path.display())]
    OpenCapture {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Reading failed.
    #[error("{}: cannot read at byte {offset}: {source}", path.display())]
    ReadCapture {
        /// The file.
        path: PathBuf,
        /// Where the record begins.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The capture is not what a capture should be.
    #[error("{}: at byte {offset}: {fault}", path.display())]
    CorruptCapture {
        /// The file.
        path: PathBuf,
        /// Where the faulty header, record or block begins.
        offset: u64,
        /// What is wrong there.
        fault: CaptureFault,
    },
    /// Writing failed, for instance because the disk is full.
    #[error("{}: cannot write: {source}", path.display())]
    WriteCapture {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The process may not do this.
    #[error("{wire}: no permission to {operation}; {remedy}")]
    Permission {
        /// The wire, for instance `tap:tap0`.
        wire: String,
        /// What was refused.
        operation: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// There is no such interface.
    #[error(
        "{wire}: there is no interface of that name; create it, or see `ip link` for the names"
    )]
    NoInterface {
        /// The wire.
        wire: String,
    },
    /// Somebody else holds the interface.
    #[error("{wire}: the interface is in use by another process; end it or use another name")]
    Busy {
        /// The wire.
        wire: String,
    },
    /// An interface of that name exists and is no TAP.
    #[error(
        "{wire}: an interface of that name exists and is not a TAP; use packet: or another name"
    )]
    NotTap {
        /// The wire.
        wire: String,
    },
    /// The interface does not carry Ethernet frames.
    #[error("{wire}: the interface carries link type {link_type}, not Ethernet")]
    NotEthernet {
        /// The wire.
        wire: String,
        /// `ARPHRD_*` number.
        link_type: u16,
    },
    /// The kernel has no TAP driver.
    #[error("{wire}: /dev/net/tun is missing; load the kernel's tun module (`modprobe tun`)")]
    NoTun {
        /// The wire.
        wire: String,
    },
    /// The interface disappeared while in use.
    #[error("{wire}: the interface was removed")]
    Removed {
        /// The wire.
        wire: String,
    },
    /// The interface or the system cannot do what was asked for.
    #[error("{wire}: {fault}; {remedy}")]
    Unusable {
        /// The wire.
        wire: String,
        /// What does not go.
        fault: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// Anything else the system said.
    #[error("{wire}: cannot {operation}: {source}")]
    System {
        /// The wire.
        wire: String,
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// What is wrong with a capture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaptureFault {
    /// The file does not begin like a capture.
    #[error("not a pcap or pcapng capture (it begins with {0:08x})")]
    Magic(u32),
    /// The file ends inside a header, record or block.
    #[error("truncated: the {what} needs {need} bytes, the file has {have} more")]
    Truncated {
        /// What was cut.
        what: &'static str,
        /// Its length.
        need: usize,
        /// What is left of the file.
        have: usize,
    },
    /// A version nobody has defined.
    #[error("unknown version {0}.{1} of the format")]
    Version(u16, u16),
    /// Frames of another kind of link.
    #[error("link type {0} is not Ethernet (1)")]
    LinkType(u32),
    /// A length that cannot be.
    #[error("impossible length {length} of the {what}")]
    Length {
        /// Of what.
        what: &'static str,
        /// As written.
        length: u32,
    },
    /// Both copies of a block's length must agree.
    #[error("the block says {head} bytes at its head and {tail} at its end")]
    Tail {
        /// Length at the head.
        head: u32,
        /// Length at the end.
        tail: u32,
    },
    /// A pcapng byte-order mark that is neither order.
    #[error("byte-order mark {0:08x} is not 1a2b3c4d in either order")]
    ByteOrder(u32),
    /// A packet of an interface that was not described.
    #[error("packet of interface {0}, which no block describes")]
    Interface(u32),
    /// More interfaces than we keep.
    #[error("more than {0} interfaces in one section")]
    Interfaces(usize),
    /// A clock resolution we cannot convert.
    #[error("timestamp resolution {0:#04x} is out of range")]
    Resolution(u8),
}

impl WireError {
    /// A failed write of that capture, with a copy of the cause.
    pub(super) fn write(path: &Path, cause: &io::Error) -> Self {
        let source = cause.raw_os_error().map_or_else(
            || io::Error::new(cause.kind(), cause.to_string()),
            io::Error::from_raw_os_error,
        );
        Self::WriteCapture { path: path.to_owned(), source }
    }
}
