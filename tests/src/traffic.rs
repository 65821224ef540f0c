//! Senders and receivers of the real-traffic tests: a TCP stream whose every byte is known, and
//! UDP datagrams with sequence numbers at a steady pace.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use rustix::event::{Timespec, poll};

use crate::netns::{Namespace, wait_for};

/// Longest silence of a TCP connection.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Longest transfer: a gigabyte takes a quarter of a minute.
const TRANSFER_MAX: Duration = Duration::from_secs(120);
/// Silence after which a UDP receiver takes no more to come.
const UDP_SILENCE: Duration = Duration::from_secs(2);
/// Bytes written at once.
const CHUNK_LEN: usize = 64 * 1024;
/// Length of a datagram: sequence number and filling.
const DATAGRAM_LEN: usize = 400;

/// A stream of bytes that anybody can make again, and the checksum of what passed.
#[derive(Clone, Copy, Debug)]
struct Stream {
    state: u64,
    checksum: u64,
}

impl Stream {
    const fn new() -> Self {
        Self { state: 0x5eed, checksum: 0 }
    }

    fn fill(&mut self, chunk: &mut [u8]) {
        let (words, rest) = chunk.as_chunks_mut::<8>();
        assert!(rest.is_empty(), "chunks are whole words");
        for word in words {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *word = self.state.to_le_bytes();
        }
    }

    /// Adds bytes to the checksum; their order matters.
    fn sum(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.checksum = (self.checksum.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(31);
        }
    }
}

fn listen(address: SocketAddr) -> TcpListener {
    TcpListener::bind(address).expect("the address is the namespace's own")
}

fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).expect("sockets can be made non-blocking");
    let (stream, _) = wait_for("a connection", || listener.accept().ok());
    stream.set_nonblocking(false).expect("and blocking");
    stream.set_read_timeout(Some(SILENCE_MAX)).expect("not zero");
    stream
}

/// Connects as soon as somebody listens.
fn connect(target: SocketAddr) -> TcpStream {
    let stream =
        wait_for("a listener", || TcpStream::connect_timeout(&target, Duration::from_secs(5)).ok());
    stream.set_write_timeout(Some(SILENCE_MAX)).expect("not zero");
    stream.set_read_timeout(Some(SILENCE_MAX)).expect("not zero");
    stream
}

/// Sends `length` bytes (whole chunks of 64 KB) over TCP; what left and what arrived: bytes and
/// checksum of each side.
///
/// # Panics
/// When the connection breaks, is silent for twenty seconds or takes more than two minutes.
#[must_use]
pub fn transfer(
    from: &Namespace,
    to: &Namespace,
    target: SocketAddr,
    length: usize,
) -> [(usize, u64); 2] {
    let (done, is_done) = std::sync::mpsc::channel();
    let receiver = to.thread(move || {
        let drained = drain(&mut accept(&listen(target)));
        // Nobody listens any more when it took too long.
        let _ = done.send(());
        drained
    });
    let sender = from.thread(move || {
        let mut connection = connect(target);
        let mut stream = Stream::new();
        let mut chunk = vec![0; CHUNK_LEN];
        for _ in 0..length / CHUNK_LEN {
            stream.fill(&mut chunk);
            stream.sum(&chunk);
            connection.write_all(&chunk).expect("the connection stays up");
        }
        (length / CHUNK_LEN * CHUNK_LEN, stream.checksum)
    });
    is_done.recv_timeout(TRANSFER_MAX).expect("the transfer neither crawls nor breaks");
    [sender.join().expect("the sender is done"), receiver.join().expect("the receiver is done")]
}

/// A TCP connection that carries a stream of bytes, 16 MB/s at most, until it is ended.
#[derive(Debug)]
pub struct Flood {
    sender: std::thread::JoinHandle<(usize, u64)>,
    receiver: std::thread::JoinHandle<(usize, u64)>,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Flood {
    /// Starts it.
    ///
    /// # Panics
    /// In its threads, when the connection cannot be made, breaks or is silent for twenty seconds.
    #[must_use]
    pub fn start(from: &Namespace, to: &Namespace, target: SocketAddr) -> Self {
        let receiver = to.thread(move || drain(&mut accept(&listen(target))));
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let ended = std::sync::Arc::clone(&stop);
        let sender = from.thread(move || {
            let mut connection = connect(target);
            let (mut stream, mut total) = (Stream::new(), 0);
            let mut chunk = vec![0; CHUNK_LEN];
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                stream.fill(&mut chunk);
                stream.sum(&chunk);
                connection.write_all(&chunk).expect("the connection stays up");
                total += CHUNK_LEN;
                tick(4_000_000);
            }
            (total, stream.checksum)
        });
        Self { sender, receiver, stop }
    }

    /// Ends it; bytes and checksum of what was sent and of what came.
    ///
    /// # Panics
    /// When the connection broke.
    #[must_use]
    pub fn end(self) -> [(usize, u64); 2] {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        [self.sender, self.receiver].map(|side| side.join().expect("the connection stays up"))
    }
}

/// Reads to the end: bytes and checksum.
fn drain(connection: &mut TcpStream) -> (usize, u64) {
    let (mut stream, mut total) = (Stream::new(), 0);
    let mut chunk = vec![0; CHUNK_LEN];
    loop {
        match connection.read(&mut chunk).expect("the connection stays up") {
            0 => return (total, stream.checksum),
            count => {
                stream.sum(&chunk[..count]);
                total += count;
            }
        }
    }
}

/// A TCP connection over which questions go and answers come back until it is closed.
#[derive(Debug)]
pub struct Conversation {
    asker: std::thread::JoinHandle<u64>,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Conversation {
    /// One question of 64 bytes every twenty milliseconds, each answered by the same bytes.
    ///
    /// # Panics
    /// When the connection cannot be made.
    #[must_use]
    pub fn start(from: &Namespace, to: &Namespace, target: SocketAddr) -> Self {
        drop(to.thread(move || {
            let mut connection = accept(&listen(target));
            let mut words = [0; 64];
            while connection.read_exact(&mut words).is_ok() {
                if connection.write_all(&words).is_err() {
                    break;
                }
            }
        }));
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let ended = std::sync::Arc::clone(&stop);
        let asker = from.thread(move || {
            let mut connection = connect(target);
            connection.set_nodelay(true).expect("TCP has that option");
            let mut asked = 0u64;
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                let mut question = [0; 64];
                question[..8].copy_from_slice(&asked.to_be_bytes());
                connection.write_all(&question).expect("the connection stays up");
                let mut answer = [0; 64];
                connection.read_exact(&mut answer).expect("the connection stays up");
                assert_eq!(answer, question);
                asked += 1;
                tick(20_000_000);
            }
            asked
        });
        Self { asker, stop }
    }

    /// Ends it and returns how many questions were answered.
    ///
    /// # Panics
    /// When the connection broke.
    #[must_use]
    pub fn end(self) -> u64 {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        self.asker.join().expect("every question was answered")
    }
}

fn tick(nanoseconds: i64) {
    // An interrupted wait is only a shorter one.
    let _ = poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: nanoseconds }));
}

/// What became of numbered datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Datagrams {
    /// Sent.
    pub sent: u64,
    /// Received, each counted once.
    pub received: u64,
    /// Received after one with a higher number of the same target port.
    pub reordered: u64,
    /// Received again.
    pub repeated: u64,
}

/// Sends `count` datagrams, a burst of `burst` every millisecond, round robin to `ports`
/// consecutive target ports.
///
/// # Panics
/// When the sockets cannot be used.
#[must_use]
pub fn datagrams(
    from: &Namespace,
    to: &Namespace,
    (address, first_port, ports): (IpAddr, u16, u16),
    (count, burst): (u64, u64),
) -> Datagrams {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let receiver = to.thread(move || receive(address, first_port..first_port + ports, &ready));
    is_ready.recv().expect("the receiver has bound its sockets");
    let sender = from.thread(move || {
        let any: SocketAddr =
            if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).expect("any port");
        let mut datagram = [0; DATAGRAM_LEN];
        for number in 0..count {
            datagram[..8].copy_from_slice(&number.to_be_bytes());
            let turn = u16::try_from(number % u64::from(ports)).expect("below a 16-bit number");
            socket.send_to(&datagram, (address, first_port + turn)).expect("the link is up");
            if number % burst == burst - 1 {
                tick(1_000_000);
            }
        }
    });
    sender.join().expect("all were sent");
    Datagrams { sent: count, ..receiver.join().expect("the receiver is done") }
}

/// One socket that listens to all ports would need raw sockets; so each port has its own.
fn receive(
    address: IpAddr,
    ports: std::ops::Range<u16>,
    ready: &std::sync::mpsc::Sender<()>,
) -> Datagrams {
    let bind = |port| {
        let socket = UdpSocket::bind((address, port)).expect("the address is the namespace's own");
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 8 << 20)
            .expect("root may exceed the limit");
        socket.set_nonblocking(true).expect("sockets can be made non-blocking");
        socket
    };
    let sockets: Vec<UdpSocket> = ports.map(bind).collect();
    ready.send(()).expect("the caller waits");
    let mut seen = Datagrams::default();
    let mut latest = vec![None::<u64>; sockets.len()];
    let mut numbers = std::collections::HashSet::new();
    let mut quiet_ms = 0;
    while quiet_ms < UDP_SILENCE.as_millis() {
        let mut taken = false;
        for (socket, latest) in sockets.iter().zip(&mut latest) {
            let mut datagram = [0; DATAGRAM_LEN];
            while let Ok((_, _)) = socket.recv_from(&mut datagram) {
                let number = *datagram.first_chunk().expect("longer than a number");
                let number = u64::from_be_bytes(number);
                taken = true;
                if !numbers.insert(number) {
                    seen.repeated += 1;
                    continue;
                }
                seen.received += 1;
                seen.reordered += u64::from(latest.is_some_and(|latest| number < latest));
                *latest = Some(latest.map_or(number, |latest| latest.max(number)));
            }
        }
        if taken {
            quiet_ms = 0;
        } else {
            quiet_ms += 1;
            tick(1_000_000);
        }
    }
    seen
}
