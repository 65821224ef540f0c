//! A simulated card on a socket, served by a thread.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use twinpath_flow::time::Time;
use twinpath_host_driver::vfio_user::memory::ServedMemory;
use twinpath_host_driver::vfio_user::server::{Function, Server};
use twinpath_hw_sim::{Card, Profile};

static SOCKETS: AtomicU64 = AtomicU64::new(0);

/// A path for a socket of this test.
pub(crate) fn socket(name: &str) -> PathBuf {
    let number = SOCKETS.fetch_add(1, Ordering::Relaxed);
    let name = format!("twinpath-{name}-{}-{number}.sock", std::process::id());
    std::env::temp_dir().join(name)
}

struct Resettable(Arc<Mutex<Card<ServedMemory>>>, Arc<AtomicU64>);

impl Function for Resettable {
    fn reset(&mut self) {
        self.0.lock().unwrap().function_reset();
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

/// The card in service.
pub(crate) struct Service {
    pub(crate) path: PathBuf,
    pub(crate) memory: ServedMemory,
    pub(crate) resets: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// A card of 4 ports with so many queues.
    pub(crate) fn start(queues: u32) -> Self {
        let path = socket("served");
        let mut profile = Profile::named("tiny").unwrap();
        (profile.ports, profile.queues) = (4, queues);
        let vectors = u16::try_from(1 + queues).unwrap();
        let mut server = Server::bind(&path, vectors).unwrap();
        let memory = server.memory();
        let card = Arc::new(Mutex::new(Card::new(profile, memory.clone())));
        let (resets, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut function = Resettable(card, Arc::clone(&resets));
        let end = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            let mut now = Time(0);
            while !end.load(Ordering::Relaxed) {
                let mut descriptors =
                    [PollFd::from_borrowed_fd(server.descriptor(), PollFlags::IN)];
                let timeout = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
                // A clock of its own: patience ends in a fiftieth of the time where nothing comes.
                if poll(&mut descriptors, Some(&timeout)).unwrap() == 0 {
                    now.0 += 100_000_000;
                }
                server.serve(now, &mut function);
            }
        });
        Self { path, memory, resets, ended, thread: Some(thread) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let ended = self.thread.take().unwrap().join();
        // A server that panicked is a server that a client has killed.
        assert!(ended.is_ok() || std::thread::panicking());
    }
}
