//! Bytes as the state file of the daemon before: read, or refused with a line that names it.

/// Bytes: the file; its check word is made to fit, or nothing would get behind it.
pub(super) fn run(data: &[u8]) {
    if let Err(line) = twinpath_cli::hostile::read_state(data) {
        assert!(line.starts_with("state: "), "{line}");
    }
}
