//! The simulated card served on a vfio-user socket, its messages by a thread of their own; the
//! card itself is stepped by the test, as in process.

use crate::rig::Rig;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use twinpath_flow::time::Time;
use twinpath_host_driver::vfio_user::bus::RemoteBus;
use twinpath_host_driver::vfio_user::memory::ServedMemory;
use twinpath_host_driver::vfio_user::server::{Function, Server};
use twinpath_hw_sim::{Card, Profile};

type SharedCard = Arc<Mutex<Card<ServedMemory>>>;

/// Sockets of one process have different names.
static SOCKETS: AtomicU64 = AtomicU64::new(0);

/// A card that a server may reset.
struct Served(SharedCard);

impl Function for Served {
    fn reset(&mut self) {
        self.0.lock().unwrap().function_reset();
    }
}

/// The rig.
pub(crate) struct OverSocket {
    bus: Arc<RemoteBus>,
    card: SharedCard,
    ended: Arc<AtomicBool>,
}

impl Rig for OverSocket {
    type Bus = RemoteBus;

    fn new(profile: Profile, arena: usize) -> Self {
        let vectors = u16::try_from(1 + profile.queues).unwrap();
        let number = SOCKETS.fetch_add(1, Ordering::Relaxed);
        let name = format!("twinpath-suite-{}-{number}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut server = Server::bind(&path, vectors).unwrap();
        let card = Arc::new(Mutex::new(Card::new(profile, server.memory())));
        let ended = Arc::new(AtomicBool::new(false));
        let (mut served, end) = (Served(Arc::clone(&card)), Arc::clone(&ended));
        std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                let mut descriptors =
                    [PollFd::from_borrowed_fd(server.descriptor(), PollFlags::IN)];
                let timeout = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
                poll(&mut descriptors, Some(&timeout)).unwrap();
                server.serve(Time(0), &mut served);
            }
        });
        let bus = RemoteBus::new(&path, arena, vectors, Duration::from_secs(5)).unwrap();
        bus.connect().unwrap();
        Self { bus: Arc::new(bus), card, ended }
    }
    fn bus(&self) -> Arc<RemoteBus> {
        Arc::clone(&self.bus)
    }
    fn port_in(&mut self, port: usize, frame: &[u8], now: u64) {
        self.card.lock().unwrap().port_in(port, frame, now);
    }
    fn step(&mut self, now: u64) {
        self.card.lock().unwrap().step(now);
    }
    fn port_out(&mut self, port: usize) -> Option<Vec<u8>> {
        self.card.lock().unwrap().port_out(port)
    }
    fn function_reset(&mut self) {
        assert!(self.bus.reset_function());
    }
}

impl OverSocket {
    /// The driver's process is killed and another one comes: all that is left of its bus is what a
    /// holder has.
    pub(crate) fn succeed(&mut self, arena: usize) {
        let keepsakes = self.bus.keepsakes().unwrap().unwrap();
        let path = self.bus.path().to_owned();
        let patience = Duration::from_secs(5);
        self.bus = Arc::new(RemoteBus::resume(&path, keepsakes, arena, patience).unwrap());
    }
}

impl Drop for OverSocket {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}
