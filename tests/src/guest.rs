//! A guest: QEMU without KVM, Debian's own kernel, an emulated VT-d, and `twinpath` in it.
//!
//! Needs no root: `./check tools` installs QEMU, the kernel and busybox. The guest has a `rocker`
//! switch, an e1000e and a virtio-net, each behind a root port of its own. The test holds the
//! cables of the rocker's ports ([`Wire`]), runs commands over a serial port ([`Guest::run`]) and
//! looks at the device from outside ([`Monitor`]), where the guest's driver cannot.

mod archive;
pub mod cases;
mod channel;
mod daemon;
mod folder;
pub mod frame;
mod image;
mod kernel;
mod machine;
mod monitor;
pub mod runner;
mod wire;

pub use channel::Output;
pub use daemon::Daemon;
pub use kernel::Kernel;
pub use machine::{Iommu, PORTS};
pub use monitor::{Cable, Monitor};
pub use wire::Wire;

use channel::Channel;
use folder::Folder;
use machine::Machine;
use std::path::PathBuf;

/// Resets at most: now and then QEMU's firmware hangs in one, long before anything of ours runs.
const RESET_TRIES: u32 = 3;

/// What all machines of a run boot from.
#[derive(Debug)]
pub struct Laboratory {
    kernel: Kernel,
    image: PathBuf,
    image_bytes: usize,
    _folder: Folder,
}

impl Laboratory {
    /// Finds the kernel and packs the image.
    ///
    /// # Panics
    /// When a part is missing; the message has the remedy.
    #[must_use]
    pub fn new() -> Self {
        let (kernel, folder) = (Kernel::newest(), Folder::new());
        let image = folder.path().join("initramfs");
        let image_bytes = image::write(&kernel, &image);
        Self { kernel, image, image_bytes, _folder: folder }
    }

    /// Boots a machine.
    ///
    /// # Panics
    /// When it does not come up; the message has the last lines of its console.
    #[must_use]
    pub fn boot(&self, iommu: Iommu) -> Guest {
        let folder = Folder::new();
        let wires = Wire::bind_all(folder.path());
        let machine = Machine::start(&self.kernel, &self.image, iommu, folder.path());
        let up = || {
            let mut channel = Channel::connect(&folder.path().join("channel"))?;
            let monitor = Monitor::connect(&folder.path().join("monitor"))?;
            let greeting = channel.wait_ready()?;
            Ok::<_, String>((channel, monitor, greeting))
        };
        let (channel, monitor, (release, uptime)) = up().unwrap_or_else(|error| {
            panic!("no guest: {error}\n{}", machine::last_words(folder.path()));
        });
        Guest { wires, monitor, release, uptime, channel, machine, folder }
    }

    /// The kernel.
    #[must_use]
    pub const fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Bytes of the image.
    #[must_use]
    pub const fn image_bytes(&self) -> usize {
        self.image_bytes
    }
}

impl Default for Laboratory {
    fn default() -> Self {
        Self::new()
    }
}

/// A running guest; ended on drop.
#[derive(Debug)]
pub struct Guest {
    /// Cables of the rocker's ports; port 1 is the first.
    pub wires: Vec<Wire>,
    /// The machine from outside.
    pub monitor: Monitor,
    /// Kernel release, as the guest tells it.
    pub release: String,
    /// Seconds the kernel was up when it took the first command.
    pub uptime: String,
    channel: Channel,
    machine: Machine,
    folder: Folder,
}

impl Guest {
    /// Runs a shell command to its end.
    ///
    /// # Panics
    /// When the guest does not answer.
    pub fn run(&mut self, command: &str) -> Output {
        self.channel.run(command).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs a shell command that must succeed; what it wrote, without the last line's end.
    ///
    /// # Panics
    /// When it fails.
    pub fn succeed(&mut self, command: &str) -> String {
        let output = self.run(command);
        assert_eq!(output.code, 0, "{command}: {}", output.text.trim_end());
        output.text.trim_end().to_owned()
    }

    /// Resets the machine and waits until it takes commands again.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&mut self) {
        let mut tried = String::new();
        for _ in 0..RESET_TRIES {
            let reset = self.monitor.command("system_reset", serde_json::json!({}));
            match reset.and_then(|_| self.channel.wait_ready()) {
                Ok(_) => return,
                Err(error) => tried = error,
            }
        }
        panic!("the guest comes up again: {tried}");
    }

    /// Whether QEMU still runs.
    pub fn is_running(&mut self) -> bool {
        self.machine.is_running()
    }

    /// The last lines of the guest's console and of QEMU's complaints.
    #[must_use]
    pub fn last_words(&self) -> String {
        machine::last_words(self.folder.path())
    }
}
