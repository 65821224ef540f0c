//! What the guest boots from: busybox, the modules, the static `twinpath`, its first process.

use super::archive::Archive;
use super::kernel::Kernel;
use crate::tool;
use std::collections::BTreeSet;
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
    modules(&mut archive, kernel);
    copy(&mut archive, "bin/busybox", &busybox());
    for program in ["twinpath", "probe"] {
        copy(&mut archive, &format!("bin/{program}"), &built(program));
    }
    copy(&mut archive, "init", Path::new(INIT));
    let bytes = archive.finish();
    fs::write(target, &bytes).unwrap_or_else(|error| panic!("{}: {error}", target.display()));
    bytes.len()
}

/// The modules where `modprobe` looks for them.
fn modules(archive: &mut Archive, kernel: &Kernel) {
    let root = format!("lib/modules/{}", kernel.release);
    let mut folders = BTreeSet::from([root.clone()]);
    let paths: Vec<&str> =
        kernel.modules.iter().filter_map(|line| line.split(':').next()).collect();
    for path in &paths {
        let parents = path.match_indices('/').map(|(at, _)| format!("{root}/{}", &path[..at]));
        folders.extend(parents);
    }
    folders.iter().for_each(|folder| archive.folder(folder));
    for path in paths {
        copy(archive, &format!("{root}/{path}"), &kernel.folder.join(path));
    }
    archive.text(&format!("{root}/modules.dep"), &(kernel.modules.join("\n") + "\n"));
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

/// A static program, as `./check guest` builds it.
fn built(program: &str) -> PathBuf {
    let default =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../target/guest/x86_64-unknown-linux-gnu/release");
    let folder = std::env::var_os("TWINPATH_GUEST_BINS");
    let path = folder.map_or_else(|| default.into(), PathBuf::from).join(program);
    assert!(path.is_file(), "{} is not there: ./check guest builds it", path.display());
    path
}
