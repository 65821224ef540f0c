//! The kernel's files about PCI functions, below a root that tests may make up.

use super::Address;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How an attribute is written: path and text. Tests put a made-up kernel here.
type Writer = fn(&Path, &str) -> io::Result<()>;

/// `/sys`, `/dev`, `/proc` and `/run` below a root.
#[derive(Clone, Debug)]
pub struct Sysfs {
    root: PathBuf,
    writer: Writer,
}

impl Sysfs {
    /// Those of this system.
    #[must_use]
    pub fn system() -> Self {
        Self::at("/")
    }

    /// Those below `root`, for trees made up by tests.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), writer: write_attribute }
    }

    /// The same tree with another way of writing.
    #[cfg(test)]
    pub(super) fn with_writer(self, writer: Writer) -> Self {
        Self { writer, ..self }
    }

    /// A path below the root; `path` is relative.
    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// The folder of all functions.
    pub(super) fn functions(&self) -> PathBuf {
        self.path("sys/bus/pci/devices")
    }

    /// The folder of a function.
    pub(super) fn function(&self, address: Address) -> PathBuf {
        self.functions().join(address.to_string())
    }

    /// The folder of a driver.
    pub(super) fn driver(&self, name: &str) -> PathBuf {
        self.path("sys/bus/pci/drivers").join(name)
    }

    /// Writes an attribute, which must exist.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        (self.writer)(path, text)
    }
}

/// Writes a text in one call, as attributes want it.
fn write_attribute(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    fs::OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

/// An attribute without the white space around it; `None` when it cannot be read.
pub(super) fn attribute(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// A hexadecimal attribute with `0x` before it.
pub(super) fn hexadecimal(path: &Path) -> Option<u32> {
    u32::from_str_radix(attribute(path)?.strip_prefix("0x")?, 16).ok()
}

/// The last name of what a link points to.
pub(super) fn target(link: &Path) -> Option<String> {
    Some(fs::read_link(link).ok()?.file_name()?.to_str()?.to_owned())
}

/// Names in a folder, sorted; none when there is no such folder.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}
