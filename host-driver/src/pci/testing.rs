//! Made-up trees of the kernel's files, for tests.

use super::{Process, Sysfs};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

static TREES: AtomicU32 = AtomicU32::new(0);

/// A tree in a folder of its own, removed with it. It starts as a system with VFIO, without groups.
pub(super) struct Tree {
    root: PathBuf,
}

/// A process that may do all and wants 64 MiB of DMA memory.
pub(super) fn process() -> Process {
    Process { memory_lock: None, wanted: 64 << 20, may_use: |_| Ok(()) }
}

impl Tree {
    pub(super) fn new() -> Self {
        let number = TREES.fetch_add(1, Ordering::Relaxed);
        let name = format!("twinpath-sysfs-{}-{number}", process::id());
        let tree = Self { root: std::env::temp_dir().join(name) };
        tree.folder("sys/bus/pci/devices");
        tree.file("sys/bus/pci/drivers_probe", "");
        tree.folder("sys/kernel/iommu_groups");
        tree.folder("sys/module/vfio_iommu_type1");
        tree.driver("vfio-pci");
        tree.file("dev/vfio/vfio", "");
        tree.file("proc/sys/kernel/osrelease", "6.1.0-56-cloud-amd64\n");
        tree
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub(super) fn sysfs(&self) -> Sysfs {
        Sysfs::at(&self.root).with_writer(kernel)
    }

    pub(super) fn folder(&self, path: &str) {
        fs::create_dir_all(self.path(path)).unwrap();
    }

    pub(super) fn file(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    pub(super) fn link(&self, path: &str, target: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        symlink(target, self.path(path)).unwrap();
    }

    pub(super) fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    pub(super) fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    pub(super) fn driver(&self, name: &str) {
        self.file(&format!("sys/bus/pci/drivers/{name}/bind"), "");
        self.file(&format!("sys/bus/pci/drivers/{name}/unbind"), "");
    }

    /// A function without driver and group; its folder.
    pub(super) fn function(&self, address: &str, class: &str) -> String {
        let folder = format!("sys/bus/pci/devices/{address}");
        for (name, text) in [
            ("class", class),
            ("vendor", "0x1b36"),
            ("device", "0x0006"),
            ("driver_override", "(null)"),
        ] {
            self.file(&format!("{folder}/{name}"), &format!("{text}\n"));
        }
        folder
    }

    pub(super) fn group(&self, number: u32, members: &[&str]) {
        for member in members {
            let folder = format!("sys/kernel/iommu_groups/{number}");
            self.link(&format!("{folder}/devices/{member}"), "x");
            let target = format!("../../../../kernel/iommu_groups/{number}");
            self.link(&format!("sys/bus/pci/devices/{member}/iommu_group"), &target);
        }
        self.file(&format!("dev/vfio/{number}"), "");
    }

    pub(super) fn bind(&self, address: &str, driver: &str) {
        self.driver(driver);
        let link = format!("sys/bus/pci/devices/{address}/driver");
        self.link(&link, &format!("../../drivers/{driver}"));
    }

    pub(super) fn interface(&self, address: &str, name: &str, flags: &str) {
        self.folder(&format!("sys/bus/pci/devices/{address}/net/{name}"));
        self.file(&format!("sys/class/net/{name}/flags"), &format!("{flags}\n"));
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Writes as the kernel would take it: `unbind`, `bind` and `drivers_probe` move the driver's link.
///
/// A probe binds the driver of `driver_override`, else the one a made-up attribute `native` names.
/// A driver with a file `refuses` takes nothing.
fn kernel(path: &Path, text: &str) -> io::Result<()> {
    if !path.exists() {
        return Err(io::ErrorKind::NotFound.into());
    }
    // An attribute is what was written last, not what is left of longer texts.
    fs::write(path, text)?;
    let bus = path.ancestors().find(|folder| folder.ends_with("sys/bus/pci"));
    let Some(bus) = bus else { return Ok(()) };
    let folder = bus.join("devices").join(text);
    let take = |driver: &str| {
        let is_free = !folder.join("driver").is_symlink();
        if is_free
            && !driver.is_empty()
            && !bus.join("drivers").join(driver).join("refuses").exists()
        {
            symlink(format!("../../drivers/{driver}"), folder.join("driver")).unwrap();
        }
    };
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    match path.file_name().and_then(|name| name.to_str()) {
        Some("unbind") => fs::remove_file(folder.join("driver")).unwrap(),
        Some("bind") => take(path.parent().unwrap().file_name().unwrap().to_str().unwrap()),
        Some("drivers_probe") => {
            let (wanted, native) = (read("driver_override"), read("native"));
            let wanted = wanted.trim();
            take(if wanted.is_empty() || wanted == "(null)" { native.trim() } else { wanted });
        }
        _ => {}
    }
    Ok(())
}
