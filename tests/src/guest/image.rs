//! What the guest boots from: busybox, the modules, the static `twinpath`, its first process.

use super::archive::Archive;
use super::kernel::Kernel;
use crate::tool;
use std::fs;
use std::path::{Path, PathBuf};

/// First process.
const INIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/guest/init");

/// Writes the archive to `target` and returns its size in bytes.
///
/// # Panics
/// When a part is missing; the message has the remedy.
pub(super) fn write(kernel: &Kernel, target: &Path) -> usize {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "etc", "lib", "lib/modules", "proc", "run", "sys", "tmp"] {
        archive.folder(folder);
    }
    archive.text("etc/passwd", "root::0:0::/:/bin/sh\nguest::1000:1000::/tmp:/bin/sh\n");
    archive.text("etc/group", "root::0:\nguest::1000:\n");
    let mut order = String::new();
    for module in &kernel.modules {
        let name = module.file_name().expect("modules are files").to_string_lossy();
        order.push_str(&format!("/lib/modules/{name}\n"));
        copy(&mut archive, &format!("lib/modules/{name}"), module);
    }
    archive.text("lib/modules/order", &order);
    copy(&mut archive, "bin/busybox", &busybox());
    copy(&mut archive, "bin/twinpath", &twinpath());
    copy(&mut archive, "init", Path::new(INIT));
    let bytes = archive.finish();
    fs::write(target, &bytes).unwrap_or_else(|error| panic!("{}: {error}", target.display()));
    bytes.len()
}

fn copy(archive: &mut Archive, name: &str, source: &Path) {
    archive.copy(name, source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
}

/// A busybox that needs no libraries: nothing else is in the guest.
fn busybox() -> PathBuf {
    let path = tool::find("busybox");
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        !wants_loader(&bytes),
        "{} needs libraries: apt-get install busybox-static",
        path.display()
    );
    path
}

/// Whether an ELF64 file names a program interpreter (ELF-64 Object File Format, sections 3 and 9).
fn wants_loader(elf: &[u8]) -> bool {
    const INTERPRETER: [u8; 4] = [3, 0, 0, 0];
    let number = |at: usize, length: usize| {
        let bytes = elf.get(at..at + length).unwrap_or_default();
        bytes.iter().rev().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|index| {
        elf.get(start + index * size..).is_some_and(|header| header.starts_with(&INTERPRETER))
    })
}

/// The static binary, as `./check guest` builds it.
fn twinpath() -> PathBuf {
    let default = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../target/guest/x86_64-unknown-linux-gnu/release/twinpath"
    );
    let path = std::env::var_os("TWINPATH_GUEST_BIN").map_or_else(|| default.into(), PathBuf::from);
    assert!(path.is_file(), "{} is not there: ./check guest builds it", path.display());
    path
}
