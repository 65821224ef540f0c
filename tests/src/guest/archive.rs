//! A cpio archive in the "newc" form, the only one the kernel unpacks as its first file system.
//!
//! Written here because device nodes and owners would need root with the program of that name.
//! Source: Documentation/driver-api/early-userspace/buffer-format.rst.

use std::fs;
use std::io;
use std::path::Path;

/// Regular file, without permission bits.
const REGULAR: u32 = 0o100_000;
/// Folder, without permission bits.
const FOLDER: u32 = 0o040_000;
/// Everything is aligned to this.
const ALIGNMENT: usize = 4;

/// An archive being written.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    /// Adds a folder; parents come first.
    pub(super) fn folder(&mut self, name: &str) {
        self.entry(name, FOLDER | 0o755, &[]);
    }

    /// Adds an executable file with the contents of one on this machine.
    pub(super) fn copy(&mut self, name: &str, source: &Path) -> io::Result<()> {
        let contents = fs::read(source)?;
        self.entry(name, REGULAR | 0o755, &contents);
        Ok(())
    }

    /// Adds a text file.
    pub(super) fn text(&mut self, name: &str, contents: &str) {
        self.entry(name, REGULAR | 0o644, contents.as_bytes());
    }

    /// Closes the archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, contents: &[u8]) {
        self.inode += 1;
        let length = u32::try_from(contents.len()).expect("files of the guest are small");
        let name_length = u32::try_from(name.len() + 1).expect("names are short");
        let (owner, links, time, device) = (0, 1, 0, 0);
        let fields = [
            self.inode,
            mode,
            owner,
            owner,
            links,
            time,
            length,
            device,
            device,
            device,
            device,
            name_length,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(contents);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_headers_names_and_contents_on_multiples_of_four() {
        let mut archive = Archive::default();
        archive.folder("bin");
        archive.text("a", "xyz");
        let bytes = archive.finish();
        assert_eq!(&bytes[..22], b"07070100000001000041ed");
        assert_eq!(&bytes[110..116], b"bin\0\0\0");
        assert_eq!(&bytes[116..122], b"070701");
        // Header and name take 112 bytes, the contents 4.
        assert_eq!(&bytes[226..232], b"a\0xyz\0");
        assert!(bytes.ends_with(b"TRAILER!!!\0\0\0\0"));
    }
}
