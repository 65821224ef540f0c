//! Bytes as a configuration file: read, or refused with a line that names the place.

use std::path::Path;

/// Bytes: text.
pub(super) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(line) = twinpath_cli::hostile::read_config(Path::new("fuzz.toml"), text.to_owned()) {
        assert!(line.starts_with("fuzz.toml"), "{line}");
    }
}
