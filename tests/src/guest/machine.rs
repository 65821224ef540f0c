//! The QEMU process: which devices it has, where its sockets are, its end.

use super::kernel::Kernel;
use crate::tool;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Ports of the rocker.
pub const PORTS: usize = 3;

/// Whether the machine has an IOMMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Iommu {
    /// VT-d with interrupt remapping.
    Present,
    /// None.
    Absent,
}

/// A running QEMU; ended on drop, and by the kernel if the test dies first.
#[derive(Debug)]
pub(super) struct Machine {
    child: Child,
}

impl Machine {
    /// Starts it with its sockets in `folder`; those of the wires must be bound already.
    pub(super) fn start(kernel: &Kernel, image: &Path, iommu: Iommu, folder: &Path) -> Self {
        let file = |name: &str| {
            let path = folder.join(name);
            File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let mut command = Command::new(tool::find("setpriv"));
        command.args(["--pdeathsig", "KILL", "--"]).arg(tool::find("qemu-system-x86_64"));
        // The rocker's ports exist before its port properties are set only if their number is a
        // global default (QEMU 7.2).
        command.args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "512"]);
        command.args(["-nodefaults", "-display", "none", "-serial"]);
        command.arg(format!("file:{}/console", folder.display()));
        command.arg("-serial").arg(socket(folder, "channel"));
        command.arg("-qmp").arg(socket(folder, "monitor"));
        command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(image);
        match iommu {
            Iommu::Present => {
                command.args(["-machine", "q35,kernel-irqchip=split"]);
                command.args(["-device", "intel-iommu,intremap=on,caching-mode=on"]);
            }
            Iommu::Absent => {
                command.args(["-machine", "q35"]);
            }
        }
        // The kernel counts ticks to see whether its timer works, and panics on a host too busy for them.
        command.args(["-append", "console=ttyS0 intel_iommu=on quiet panic=-1 no_timer_check"]);
        devices(&mut command, folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file("errors"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child }
    }

    /// Whether it still runs.
    pub(super) fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn socket(folder: &Path, name: &str) -> String {
    format!("unix:{}/{name},server=on,wait=off", folder.display())
}

/// Each function but the last two is behind a root port of its own: alone in its group, and a bus
/// to be reset.
fn devices(command: &mut Command, folder: &Path) {
    let mut rocker = "rocker,name=sw1,id=rocker,bus=root1".to_owned();
    for port in 1..=PORTS {
        let [near, far] = ["near", "far"].map(|end| folder.join(format!("{end}{port}")));
        command.arg("-netdev").arg(format!(
            "dgram,id=wire{port},local.type=unix,local.path={},remote.type=unix,remote.path={}",
            far.display(),
            near.display()
        ));
        rocker.push_str(&format!(",ports[{}]=wire{port}", port - 1));
    }
    command.arg("-global").arg(format!("rocker.len-ports={PORTS}"));
    let functions = [
        &*rocker,
        "e1000e,id=e1000e,bus=root2",
        "virtio-net-pci,id=virtio,bus=root3,\
         disable-legacy=on,iommu_platform=on",
    ];
    for (number, function) in (1..).zip(functions) {
        command.arg("-device");
        command.arg(format!("pcie-root-port,id=root{number},chassis={number},slot={number}"));
        command.arg("-device").arg(function);
    }
    // Behind a bridge to conventional PCI functions cannot be told apart: one group.
    command.args(["-device", "pcie-pci-bridge,id=bridge"]);
    command.args(["-device", "e1000,bus=bridge,addr=1"]);
    command
        .args(["-device", "virtio-rng-pci,bus=bridge,addr=2,disable-legacy=on,iommu_platform=on"]);
}

/// The last lines of what the guest's kernel and QEMU wrote, for a failure's report.
pub(super) fn last_words(folder: &Path) -> String {
    let mut text = String::new();
    for name in ["console", "errors"] {
        let bytes = fs::read(folder.join(name)).unwrap_or_default();
        let written = String::from_utf8_lossy(&bytes).into_owned();
        let lines: Vec<&str> = written.lines().rev().take(12).collect();
        for line in lines.iter().rev() {
            text.push_str(&format!("    {name}: {}\n", line.trim_end()));
        }
    }
    text
}
