//! Opening an AF_XDP wire: modes are tried from fast to slow, and faults told with their remedies.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::super::tap::sys as interface;
use super::super::{Opened, WireCounters, WireError};
use super::bpf::{Hook, Redirect};
use super::ring::{Consumer, Producer};
use super::spec::{Mode, XdpSpec};
use super::{Checksums, OWN_PACKETS, Xdp, sys};
use crate::packet::{Lent, PacketPool};

const REMEDY: &str = "run as root or with CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF";
/// Link type that carries Ethernet frames.
const ETHERNET: u16 = 1;
/// Longest frame received: a page less the kernel's headroom.
const RECEIVED_MAX: u32 = 3840;

/// Times that a busy queue is asked again, a hundredth of a second apart: the kernel gives the queue
/// of a socket back a moment after that was closed.
const BUSY_TRIES_MAX: u32 = 20;

/// What is tried for a mode: where the program runs, and the flags of the binding.
fn attempts(mode: Mode) -> &'static [(Hook, u16)] {
    match mode {
        Mode::Auto => &[(Hook::Driver, 0), (Hook::Stack, libc::XDP_COPY)],
        Mode::ZeroCopy => &[(Hook::Driver, libc::XDP_ZEROCOPY)],
        Mode::Copy => &[(Hook::Driver, libc::XDP_COPY)],
        Mode::Stack => &[(Hook::Stack, libc::XDP_COPY)],
    }
}

/// What the failure of an operation means.
fn explain(spec: &XdpSpec, operation: &'static str, source: io::Error) -> WireError {
    let wire = format!("xdp:{}", spec.interface);
    let unusable = |fault, remedy| WireError::Unusable { wire: wire.clone(), fault, remedy };
    match (source.raw_os_error(), operation) {
        (Some(libc::EPERM | libc::EACCES), _) => {
            WireError::Permission { wire, operation, remedy: REMEDY }
        }
        (Some(libc::ENODEV | libc::ENXIO), _) => WireError::NoInterface { wire },
        (Some(libc::EAFNOSUPPORT), _) => {
            unusable("the kernel has no AF_XDP sockets", "use packet: instead")
        }
        (Some(libc::ENOBUFS), TELL_MEMORY) => unusable(
            "the process may not lock the packet buffers in memory",
            "raise `ulimit -l`, or run with CAP_IPC_LOCK",
        ),
        (Some(libc::EBUSY), BIND) => unusable(
            "the queue is in use by another AF_XDP socket",
            "end its process or use another queue=",
        ),
        (Some(libc::EINVAL), BIND) => {
            unusable("there is no such queue", "see `ethtool -l` for the interface's queues")
        }
        (Some(libc::EOPNOTSUPP), BIND) if spec.mode == Mode::ZeroCopy => {
            unusable("the driver has no zero copy", "use mode=auto or mode=copy")
        }
        (Some(libc::EBUSY | libc::EEXIST), ATTACH) => unusable(
            "the interface has another XDP program",
            "end its process, or `ip link set dev IFACE xdp off`",
        ),
        (Some(libc::EOPNOTSUPP | libc::EINVAL), ATTACH) if spec.mode != Mode::Stack => {
            unusable("the driver runs no XDP programs", "use mode=auto or mode=skb")
        }
        _ => WireError::System { wire, operation, source },
    }
}

const TELL_MEMORY: &str = "tell the kernel of the packet buffers";
const BIND: &str = "bind to the queue";
const ATTACH: &str = "attach the XDP program";

/// A bound socket whose queue's frames come to it.
struct Bound {
    socket: OwnedFd,
    known: usize,
    link: OwnedFd,
}

fn bind(spec: &XdpSpec, index: u32, hook: Hook, flags: u16) -> Result<Bound, WireError> {
    let failed = |operation| move |source| explain(spec, operation, source);
    let socket = sys::open().map_err(failed("open an AF_XDP socket"))?;
    let known = sys::prepare(socket.as_fd()).map_err(failed(TELL_MEMORY))?;
    if spec.busy_poll > 0 {
        sys::busy_poll(socket.as_fd(), spec.busy_poll).map_err(failed("poll the driver"))?;
    }
    let flags = flags | libc::XDP_USE_NEED_WAKEUP;
    let mut tries = 0..BUSY_TRIES_MAX;
    // Ends: after so many tries.
    while let Err(source) = sys::bind(socket.as_fd(), index, spec.queue, flags) {
        let is_busy = source.raw_os_error() == Some(libc::EBUSY);
        if !is_busy || tries.next().is_none() {
            return Err(explain(spec, BIND, source));
        }
        sys::pause();
    }
    let redirect = Redirect::load(spec.queue + 1).map_err(failed("load the XDP program"))?;
    redirect.direct(spec.queue, socket.as_fd()).map_err(failed("name the socket"))?;
    let link = redirect.attach(index, hook).map_err(failed(ATTACH))?;
    Ok(Bound { socket, known, link })
}

/// A number that the system tells of the interface in a file.
fn told(name: &str, file: &str) -> Option<u32> {
    fs::read_to_string(format!("/sys/class/net/{name}/{file}")).ok()?.trim().parse().ok()
}

/// What the operator should see to.
fn warnings(spec: &XdpSpec) -> Vec<String> {
    let name = &spec.interface;
    let mut warnings = Vec::new();
    if told(name, "mtu").is_some_and(|mtu| mtu + 18 > RECEIVED_MAX) {
        warnings
            .push(format!("xdp:{name}: received frames above {RECEIVED_MAX} bytes are dropped"));
    }
    let queues = fs::read_dir(format!("/sys/class/net/{name}/queues"));
    let is_receive = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("rx-");
    let count = queues.map_or(1, |entries| {
        entries.flatten().filter(|entry| is_receive(&entry.file_name())).count()
    });
    if count > 1 {
        warnings.push(format!(
            "xdp:{name}: only queue {} of {count} is seen; `ethtool -L {name} combined 1` joins them",
            spec.queue
        ));
    }
    warnings
}

/// Opens an AF_XDP socket on a queue of an interface.
pub(in super::super) fn open(spec: &XdpSpec) -> Result<Opened, WireError> {
    let failed = |operation| move |source| explain(spec, operation, source);
    let name = &spec.interface;
    let control = interface::control_socket().map_err(failed("open a control socket"))?;
    let number = interface::index(control.as_fd(), name).map_err(failed("find the interface"))?;
    let link_type =
        interface::link_type(control.as_fd(), name).map_err(failed("ask for the link type"))?;
    if link_type != ETHERNET {
        return Err(WireError::NotEthernet { wire: format!("xdp:{name}"), link_type });
    }
    let index = u32::try_from(number).expect("the kernel's numbers are positive");
    let attempts = attempts(spec.mode).iter();
    let mut outcome = None;
    for (hook, flags) in attempts {
        let bound = bind(spec, index, *hook, *flags).map(|bound| (bound, *hook));
        let goes_on = matches!(&bound, Err(WireError::Unusable { .. } | WireError::System { .. }));
        outcome = Some(bound);
        if !goes_on {
            break;
        }
    }
    let (bound, hook) = outcome.expect("every mode has an attempt")?;
    let mut warnings = warnings(spec);
    let is_zero_copy = sys::is_zero_copy(bound.socket.as_fd());
    let manner = match (hook, is_zero_copy) {
        (Hook::Driver, true) => "zero copy",
        (Hook::Driver, false) => "the driver copies frames",
        (Hook::Stack, _) => "the system's stack copies frames (skb mode)",
    };
    let notices = vec![format!("xdp:{name}: queue {}, {manner}", spec.queue)];
    if !interface::is_up(control.as_fd(), name).map_err(failed("ask for the interface's state"))? {
        warnings.push(format!("xdp:{name}: is down; `ip link set {name} up` starts it"));
    }
    let wire = assemble(spec, bound, control, number)?;
    Ok(Opened { wire: Box::new(wire), notices, warnings })
}

fn assemble(spec: &XdpSpec, bound: Bound, control: OwnedFd, number: i32) -> Result<Xdp, WireError> {
    let failed = |operation| move |source| explain(spec, operation, source);
    let Bound { socket, known, link } = bound;
    let promiscuous = sys::promiscuous(number).map_err(failed("receive for all addresses"))?;
    let at = socket.as_fd();
    let map = failed("map the rings");
    let places = sys::offsets(at).map_err(failed("ask for the rings"))?;
    let place =
        |place: libc::c_ulonglong| libc::off_t::try_from(place).expect("a few bits above 32");
    let rings = (|| {
        Ok((
            Producer::map(at, places.fr, place(libc::XDP_UMEM_PGOFF_FILL_RING))?,
            Consumer::map(at, places.cr, place(libc::XDP_UMEM_PGOFF_COMPLETION_RING))?,
            Consumer::map(at, places.rx, libc::XDP_PGOFF_RX_RING)?,
            Producer::map(at, places.tx, libc::XDP_PGOFF_TX_RING)?,
        ))
    })();
    let (fill, completion, rx, tx) = rings.map_err(map)?;
    // Only frames of this machine's own stack can be unfinished, and they come over no real card.
    let is_card = Path::new("/sys/class/net").join(&spec.interface).join("device").exists();
    let mut wire = Xdp {
        name: spec.interface.clone(),
        _link: link,
        _promiscuous: promiscuous,
        fill,
        completion,
        rx,
        tx,
        socket,
        lent: Lent::new(),
        control,
        known,
        checksums: if is_card { Checksums::Whole } else { Checksums::MayBePartial },
        is_busy_polling: spec.busy_poll > 0,
        own: PacketPool::new(OWN_PACKETS),
        batch: Vec::new(),
        descriptors: Vec::new(),
        addresses: Vec::new(),
        counters: WireCounters::default(),
        dropped: WireCounters::default(),
        calls_unasked: 0,
        removed: false,
    };
    wire.stock();
    Ok(wire)
}
