//! The newest Debian cloud kernel of this machine, and its modules in the order of loading.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What is loaded for VFIO; what these need comes along.
const MODULES: [&str; 3] = ["vfio_iommu_type1", "vfio-pci", "aer_inject"];

/// A kernel image with the modules the guest needs.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Release, as `uname -r` tells it.
    pub release: String,
    /// Image.
    pub image: PathBuf,
    /// Modules in an order in which they can be loaded one by one.
    pub modules: Vec<PathBuf>,
}

impl Kernel {
    /// Finds the newest.
    ///
    /// # Panics
    /// When there is none, or its image cannot be read; the message has the remedy.
    #[must_use]
    pub fn newest() -> Self {
        let entries = fs::read_dir("/lib/modules").into_iter().flatten().flatten();
        let release = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.ends_with("-cloud-amd64"))
            .filter(|name| Path::new(&format!("/boot/vmlinuz-{name}")).exists())
            .max_by_key(|name| version(name))
            .expect("no cloud kernel is installed: apt-get install linux-image-cloud-amd64");
        let image = PathBuf::from(format!("/boot/vmlinuz-{release}"));
        fs::File::open(&image).unwrap_or_else(|error| {
            panic!("{}: {error}: sudo chmod +r {0}", image.display());
        });
        let folder = Path::new("/lib/modules").join(&release);
        let table = fs::read_to_string(folder.join("modules.dep")).unwrap_or_else(|error| {
            panic!("{}/modules.dep: {error}: sudo depmod {release}", folder.display());
        });
        let modules = closure(&table, &MODULES).iter().map(|path| folder.join(path)).collect();
        Self { release, image, modules }
    }
}

/// The numbers of a release; a larger one is newer.
fn version(release: &str) -> Vec<u64> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// Paths of the wanted modules and all they need, each after what it needs.
///
/// `modules.dep` lists for each module everything it needs, the deepest last.
fn closure(table: &str, wanted: &[&str]) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    let mut known = BTreeSet::new();
    for name in wanted {
        let line = table.lines().find(|line| module_name(line) == *name);
        let line = line.unwrap_or_else(|| panic!("this kernel has no module {name}"));
        let (path, needs) = line.split_once(':').expect("every line of modules.dep has a colon");
        for path in needs.split_whitespace().rev().chain([path]) {
            if known.insert(path.to_owned()) {
                order.push(path.to_owned());
            }
        }
    }
    order
}

/// `vfio-pci` of `kernel/drivers/vfio/pci/vfio-pci.ko: …`.
fn module_name(line: &str) -> &str {
    let path = line.split(':').next().expect("split gives one");
    path.rsplit('/').next().expect("split gives one").split('.').next().expect("split gives one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_number_is_newer_than_a_longer_text() {
        assert!(version("6.1.0-56-cloud-amd64") > version("6.1.0-9-cloud-amd64"));
        assert!(version("6.12.1-cloud-amd64") > version("6.2.0-56-cloud-amd64"));
    }

    #[test]
    fn modules_come_after_what_they_need_and_once() {
        let table = "a/core.ko: v/vfio.ko\nv/vfio.ko:\na/vfio-pci.ko: a/core.ko v/vfio.ko\n\
                     v/type1.ko: v/vfio.ko\n";
        assert_eq!(
            closure(table, &["type1", "vfio-pci"]),
            ["v/vfio.ko", "v/type1.ko", "a/core.ko", "a/vfio-pci.ko"]
        );
    }
}
