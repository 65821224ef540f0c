//! The newest Debian cloud kernel of this machine, and the modules the guest needs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What the guest can load; what these need comes along.
const MODULES: [&str; 5] =
    ["vfio_iommu_type1", "vfio-pci", "aer_inject", "virtio_pci", "virtio_net"];

/// A kernel image with the modules the guest needs.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Release, as `uname -r` tells it.
    pub release: String,
    /// Image.
    pub image: PathBuf,
    /// Folder of its modules.
    pub folder: PathBuf,
    /// Lines of its `modules.dep`: the modules the guest needs.
    pub modules: Vec<String>,
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
        let modules = closure(&table, &MODULES);
        Self { release, image, folder, modules }
    }
}

/// The numbers of a release; a larger one is newer.
fn version(release: &str) -> Vec<u64> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// The lines of the wanted modules and of all they need.
///
/// A line of `modules.dep` lists everything the module before the colon needs.
fn closure(table: &str, wanted: &[&str]) -> Vec<String> {
    let line_of =
        |found: &dyn Fn(&str) -> bool| table.lines().find(|line| found(line)).map(str::to_owned);
    let mut lines = BTreeSet::new();
    for name in wanted {
        let line = line_of(&|line| module_name(line) == *name);
        let line = line.unwrap_or_else(|| panic!("this kernel has no module {name}"));
        let (_, needs) = line.split_once(':').expect("every line of modules.dep has a colon");
        let needed = needs.split_whitespace().filter_map(|path| {
            line_of(&|line| line.strip_prefix(path).is_some_and(|rest| rest.starts_with(':')))
        });
        lines.extend(needed);
        lines.insert(line);
    }
    lines.into_iter().collect()
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
    fn modules_bring_what_they_need() {
        let table = "a/core.ko: v/vfio.ko\nv/vfio.ko:\na/vfio-pci.ko: a/core.ko v/vfio.ko\n\
                     v/type1.ko: v/vfio.ko\nv/other.ko:\n";
        assert_eq!(
            closure(table, &["vfio-pci"]),
            ["a/core.ko: v/vfio.ko", "a/vfio-pci.ko: a/core.ko v/vfio.ko", "v/vfio.ko:"]
        );
    }
}
